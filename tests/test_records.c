/* SPDX-License-Identifier: MIT
 *
 * Records: columns and whole records from the same lines, spellings and maps, what is kept, and one
 * refusal for each way of being broken.
 */
#include "rex_test.h"

#include "../src/records/records.h"

static const char *file(const char *text) { return rex_test_file("r.jsonl", text, strlen(text)); }

static rex_status open_text(const char *text, uint32_t want, uint32_t need, const char *map,
                            rex_records **out, rex_err *e) {
    rex_records_opts o;
    rex_records_defaults(&o);
    o.want = want;
    o.need = need;
    o.map = map;
    return rex_records_open(file(text), &o, out, e);
}

START_TEST(t_columns_of_mixed_rows) {
    rex_records *r;
    rex_err e = {.text = ""};
    CHECK_OK(
        open_text("{\"prompt_id\":\"b\",\"sample\":0,\"reward\":true,\"extracted\":\"4\\u0032\","
                  "\"logp\":[-1, -0.5 ,-0.25],\"other\":{\"reward\":7,\"x\":[\"}\"]}}\n"
                  "{\"reward\": 0.0, \"prompt_id\": \"a\", \"extracted\": 42, \"logprob\": -3, "
                  "\"n_tok\": 2}\r\n"
                  "{\"prompt_id\":\"b\",\"sample\":1,\"reward\":false,\"extracted\":null,\"logp\":["
                  "]}\n\n",
                  REX_F(REWARD) | REX_F(EXTRACTED) | REX_F(LOGP) | REX_F(LOGPROB) | REX_F(N_TOK),
                  REX_F(REWARD), NULL, &r, &e),
        e);
    CHECK_EQ(rex_records_rows(r), 3);
    CHECK_EQ(rex_records_groups(r), 2);
    CHECK_TEXT(rex_records_name(r, 0), "b");
    CHECK_TEXT(rex_records_name(r, 1), "a");
    CHECK_EQ(rex_records_find(r, rex_str_of("a")), 1);
    CHECK(rex_records_find(r, rex_str_of("c")) == SIZE_MAX);
    size_t n;
    const uint32_t *const rows = rex_records_of(r, 0, &n);
    CHECK_EQ(n, 2);
    CHECK_EQ(rows[0], 0);
    CHECK_EQ(rows[1], 2);
    const double *const reward = rex_records_num(r, REX_FI_REWARD);
    CHECK(reward[0] == 1 && reward[1] == 0 && reward[2] == 0);
    const uint32_t *const id = rex_records_ids(r, REX_FI_EXTRACTED);
    CHECK_EQ(id[0], id[1]); /* the text "42" and the number 42 are one answer */
    CHECK(id[2] == UINT32_MAX);
    CHECK_TEXT(rex_records_str(r, REX_FI_EXTRACTED, 1), "42");
    CHECK(!rex_records_str(r, REX_FI_EXTRACTED, 2).p);
    CHECK_EQ(rex_records_lacks(r, REX_FI_EXTRACTED), 2);
    CHECK(rex_records_lacks(r, REX_FI_REWARD) == SIZE_MAX);
    CHECK_EQ(rex_records_len(r, REX_FI_LOGP)[0], 3);
    CHECK_EQ(rex_records_len(r, REX_FI_LOGP)[1], -1);
    CHECK_EQ(rex_records_len(r, REX_FI_LOGP)[2], 0);
    CHECK_CLOSE(rex_records_loglik(r, 0, false), -1.75, 2, 1);
    CHECK_CLOSE(rex_records_loglik(r, 0, true), -1.75 / 3, 2, 1);
    CHECK_CLOSE(rex_records_loglik(r, 1, true), -1.5, 2, 1);
    CHECK(isnan(rex_records_loglik(r, 2, true)));
    CHECK_EQ(rex_records_line(r, 2), 3);
    CHECK(!rex_records_num(r, REX_FI_BONUS));
    rex_records_close(r);
} END_TEST

START_TEST(t_missing_ids_are_line_numbers) {
    rex_records *r;
    CHECK_STATUS(open_text("{\"reward\":1}\n{\"reward\":1,\"prompt_id\":7}\n{\"reward\":0}\n",
                           REX_F(REWARD), 0, NULL, &r, NULL),
                 REX_OK);
    CHECK_EQ(rex_records_groups(r), 3);
    CHECK_TEXT(rex_records_name(r, 0), "0");
    CHECK_TEXT(rex_records_name(r, 1), "7");
    CHECK_TEXT(rex_records_name(r, 2), "2");
    rex_records_close(r);
} END_TEST

START_TEST(t_maps_reach_into_objects) {
    rex_records *r;
    rex_err e = {.text = ""};
    const char *const text =
        "{\"uid\":\"q\",\"score\":{\"acc\":1},\"a.b\":\"dot\",\"a\":{\"b\":\"deep\"}}\n"
        "{\"uid\":\"q\",\"score\":{\"acc\":0},\"a\":{\"b\":\"deep\"}}\n";
    CHECK_OK(open_text(text, REX_F(REWARD) | REX_F(EXTRACTED), REX_F(REWARD),
                       "prompt_id=uid,reward=score.acc,extracted=a.b", &r, &e), e);
    CHECK_EQ(rex_records_groups(r), 1);
    CHECK(rex_records_num(r, REX_FI_REWARD)[0] == 1 && rex_records_num(r, REX_FI_REWARD)[1] == 0);
    CHECK_TEXT(rex_records_str(r, REX_FI_EXTRACTED, 0), "dot");
    CHECK_TEXT(rex_records_str(r, REX_FI_EXTRACTED, 1), "deep");
    rex_records_close(r);
    static const char *const bad[][2] = {
        {"rewrd=x", "did you mean reward"}, {"reward", "field=their.field"},
        {"reward=", "field=their.field"},   {"reward=a,reward=b", "twice"},
        {"reward=a..b", "empty name"},      {"reward=a.b.c.d.e", "deeper"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_STATUS(open_text(text, REX_F(REWARD), 0, bad[i][0], &r, &e), REX_EARG);
        CHECK_HAS(e.text, bad[i][1]);
        CHECK(!r);
    }
} END_TEST

START_TEST(t_every_way_of_being_broken) {
    static const struct { const char *text, *has[2];
    } bad[] = {{"{\"reward\":1}\n{\"reward\":null}\n", {"line 2", "null"}},
               {"{\"prompt_id\":\"a\"}\n", {"line 1: reward", "missing"}},
               {"{\"reward\":\"1\"}\n", {"line 1: reward", "expected a number, found a string"}},
               {"{\"reward\":1e999}\n", {"line 1: reward", "range"}},
               {"{\"reward\":NaN}\n", {"line 1", "byte"}},
               {"{\"reward\":1\n", {"line 1", "byte"}},
               {"{\"reward\":1}{}\n", {"line 1", "byte"}},
               {"[1]\n", {"line 1", "an object"}},
               {"{\"reward\":1}\n\n{\"reward\":1}\n", {"line 2", "empty"}},
               {"{\"reward\":1,\"reward\":0}\n", {"line 1", "twice"}},
               {"{\"reward\":1,\"prompt_id\":true}\n", {"line 1: prompt_id", "found true"}},
               {"{\"reward\":1,\"sample\":-1}\n", {"line 1: sample", "-1"}},
               {"{\"reward\":1,\"sample\":1.5}\n", {"line 1: sample", "1.5"}},
               {"{\"reward\":1,\"extracted\":[1]}\n", {"line 1: extracted", "an array"}},
               {"{\"reward\":1,\"logp\":[1,]}\n", {"line 1: logp", "list"}},
               {"{\"reward\":1,\"logp\":[1 2]}\n", {"line 1: logp", "','"}},
               {"{\"reward\":1,\"logp\":[\"1\"]}\n", {"line 1: logp", "no number"}},
               {"{\"reward\":1,\"logp\":3}\n", {"line 1: logp", "list"}},
               {"{\"prompt_id\":\"a\",\"sample\":3,\"reward\":1}\n{\"prompt_id\":\"b\",\"sample\":"
                "3,\"reward\":1}\n"
                "{\"prompt_id\":\"a\",\"sample\":1,\"reward\":1}\n{\"prompt_id\":\"a\",\"sample\":"
                "3,\"reward\":0}\n",
                {"lines 1 and 4", "sample 3 of prompt 'a'"}}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rex_records *r;
        rex_err e = {.text = ""};
        CHECK_STATUS(open_text(bad[i].text, REX_F(REWARD) | REX_F(EXTRACTED) | REX_F(LOGP),
                               REX_F(REWARD), NULL, &r, &e) == REX_OK,
                     false);
        CHECK(!r);
        for (int j = 0; j < 2; j++)
            if (!strstr(e.text, bad[i].has[j]))
                rex_test_fail(__FILE__, __LINE__, "case %zu: \"%s\" has no \"%s\"", i, e.text,
                              bad[i].has[j]);
    }
} END_TEST

START_TEST(t_broken_rewards_can_be_dropped_or_kept) {
        const char *const path =
            file("{\"prompt_id\":\"x\",\"reward\":null}\n{\"prompt_id\":\"y\",\"reward\":1}\n");
        rex_records_opts o;
        rex_records *r;
        rex_records_defaults(&o);
        o.want = o.need = REX_F(REWARD);
        o.broken = REX_BROKEN_DROP;
        CHECK_STATUS(rex_records_open(path, &o, &r, NULL), REX_OK);
        CHECK_EQ(rex_records_rows(r), 1);
        CHECK_EQ(rex_records_dropped(r), 1);
        CHECK_EQ(rex_records_groups(r), 1);
        CHECK_EQ(rex_records_line(r, 0), 2);
        rex_records_close(r);
        o.broken = REX_BROKEN_KEEP;
        CHECK_STATUS(rex_records_open(path, &o, &r, NULL), REX_OK);
        CHECK_EQ(rex_records_rows(r), 2);
        CHECK(isnan(rex_records_num(r, REX_FI_REWARD)[0]));
        rex_records_close(r);
} END_TEST

START_TEST(t_group_names_a_row) {
    rex_records_opts o;
    rex_records *r;
    rex_err e;
    rex_records_defaults(&o);
    o.group_field = true;
    CHECK_STATUS(
        rex_records_open(file("{\"group\":\"g\",\"prompt_id\":\"p\"}\n{\"prompt_id\":\"p\"}\n"), &o,
                         &r, NULL),
        REX_OK);
    CHECK_TEXT(rex_records_name(r, 0), "g");
    CHECK_TEXT(rex_records_name(r, 1), "p");
    rex_records_close(r);
    CHECK_STATUS(rex_records_open(file("{\"text\":\"p\"}\n"), &o, &r, &e), REX_EFORMAT);
    CHECK_HAS(e.text, "line 1");
} END_TEST

/* Equality is by bytes, whatever the hashes say: a table with equal hashes for all. */
START_TEST(t_names_with_one_hash_stay_apart) {
    rex_arena *a;
    rex_names t;
    CHECK_STATUS(rex_arena_open(0, &a, NULL), REX_OK);
    CHECK_STATUS(rex_names_open(&t, a, NULL), REX_OK);
    for (uint32_t i = 0; i < 500; i++) {
        char text[16];
        uint32_t id;
        snprintf(text, sizeof text, "%u", i);
        CHECK_STATUS(rex_names_put(&t, rex_str_of(text), 7, true, &id, NULL), REX_OK);
        CHECK_EQ(id, i);
        CHECK_EQ(rex_names_twin(&t, rex_str_of(text), 7) == UINT32_MAX, i == 0);
    }
    CHECK_EQ(rex_names_find(&t, rex_str_of("321"), 7), 321);
    CHECK(rex_names_find(&t, rex_str_of("500"), 7) == UINT32_MAX);
    rex_names_close(&t);
    rex_arena_close(a);
} END_TEST

START_TEST(t_prompts_in_their_spellings) {
    rex_arena *a;
    rex_prompt *p;
    size_t n;
    rex_err e = {.text = ""};
    CHECK_STATUS(rex_arena_open(0, &a, NULL), REX_OK);
    CHECK_OK(rex_prompts_read(a,
                              file("{\"prompt\":\"a\\nb\",\"answer\":[1,2]}\n"
                                   "{\"prompt_id\":\"m\",\"messages\":[{\"role\":\"user\","
                                   "\"content\":\"hi\"}],\"label\":\"x\"}\n"
                                   "{\"question\":\"q?\",\"problem\":{\"n\":1}}\n"
                                   "{\"prompt_ids\":[1,2,3]}\n"),
                              NULL, &p, &n, &e),
             e);
    CHECK_EQ(n, 4);
    CHECK_TEXT(p[0].id, "0");
    CHECK_TEXT(p[0].text, "a\nb");
    CHECK_TEXT(p[0].answer, "[1,2]");
    CHECK(p[1].chat && p[1].n_msg == 1);
    CHECK_TEXT(p[1].msg[0].role, "user");
    CHECK_TEXT(p[1].msg[0].content, "hi");
    CHECK_TEXT(p[1].answer, "\"x\"");
    CHECK_TEXT(p[2].text, "q?");
    CHECK_TEXT(p[2].problem, "{\"n\":1}");
    CHECK_EQ(p[3].n_ids, 3);
    CHECK(!p[3].has_text && !p[3].chat && !p[3].answer.p);
    static const char *const bad[][2] = {
        {"{\"answer\":1}\n", "no prompt"},
        {"{\"prompt\":3}\n", "line 1: prompt"},
        {"{\"prompt\":[]}\n", "no messages"},
        {"{\"prompt\":[{\"role\":\"user\"}]}\n", "content"},
        {"{\"prompt_ids\":[1.5]}\n", "token id"},
        {"{\"prompt_ids\":[-1]}\n", "token id"},
        {"{\"prompt\":\"a\",\"answer\":\"x\xE9\"}\n",
         "line 1: answer: byte 2: a string is not valid"},
        {"{\"prompt\":\"a\",\"problem\":[1 2]}\n", "line 1: problem: byte 3: expected ','"},
        {"{\"prompt\":\"a\",\"prompt_id\":\"x\xE9\"}\n", "line 1: prompt_id"},
        {"{\"prompt\":\"a\",\"prompt_id\":\"1\"}\n{\"prompt\":\"b\"}\n", "lines 1 and 2"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_STATUS(rex_prompts_read(a, file(bad[i][0]), NULL, &p, &n, &e), REX_EFORMAT);
        CHECK_HAS(e.text, bad[i][1]);
    }
    rex_arena_close(a);
} END_TEST

/* What a model reads goes through byte by byte; what is written stays JSON. */
START_TEST(t_texts_may_hold_any_bytes) {
    rex_arena *a;
    rex_prompt p;
    rex_sample s;
    rex_str out;
    rex_err e = {.text = ""};
    CHECK_STATUS(rex_arena_open(0, &a, NULL), REX_OK);
    CHECK_OK(rex_prompt_parse(a, rex_str_of("{\"prompt\":\"caf\xE9\\n\"}"), 1, NULL, &p, &e), e);
    CHECK_TEXT(p.text, "caf\xE9\n");
    const rex_str chat = rex_str_of("{\"prompt\":[{\"role\":\"user\",\"content\":\"\xFF\xE9\"}]}");
    CHECK_OK(rex_prompt_parse(a, chat, 1, NULL, &p, &e), e);
    CHECK_TEXT(p.msg[0].content, "\xFF\xE9");
    const rex_str pair = rex_str_of("{\"text\":\"\xE9\",\"response\":\"r\xE9\"}");
    CHECK_OK(rex_sample_parse(a, pair, 7, NULL, &s, &e), e);
    CHECK_TEXT(s.text, "\xE9");
    CHECK_TEXT(s.response, "r\xE9");
    CHECK_STATUS(rex_sample_line(a, &s, &out, &e), REX_EFORMAT); /* not as another text */
    CHECK_HAS(e.text, "line 7: byte 9: a string is not valid UTF-8");
    CHECK_STATUS(rex_sample_parse(a, rex_str_of("{\"finish\":\"\xE9\"}"), 7, NULL, &s, &e),
                 REX_EFORMAT);
    rex_arena_close(a);
} END_TEST

START_TEST(t_sample_line_keeps_everything) {
        static const char text[] = "{\"prompt_id\":\"p\",\"zz\":{\"a\":[1, "
                                   "2.50]},\"reward\":null,\"sample\":3,\"ids\":[5,6],"
                                   "\"logp\":[-0.1,-2],\"text\":\"a\\\"b\",\"k\\u00e9y\":true,"
                                   "\"extracted\":7,\"finish\":\"stop\",\"bonus\":null}";
        static const char want[] = "{\"v\":1,\"prompt_id\":\"p\",\"sample\":3,\"ids\":[5,6],"
                                   "\"text\":\"a\\\"b\",\"logp\":[-0.1,-2],"
                                   "\"finish\":\"stop\",\"reward\":null,\"extracted\":\"7\",\"zz\":"
                                   "{\"a\":[1, 2.50]},\"k\xc3\xa9y\":true,"
                                   "\"bonus\":null}\n";
        rex_arena *a;
        rex_sample s;
        rex_str line;
        rex_err e = {.text = ""};
        CHECK_STATUS(rex_arena_open(0, &a, NULL), REX_OK);
        CHECK_OK(rex_sample_parse(a, rex_str_of(text), 1, NULL, &s, &e), e);
        CHECK_EQ(s.sample, 3);
        CHECK(isnan(s.reward) && (s.has & REX_F(REWARD)) && !(s.has & REX_F(BONUS)));
        CHECK(s.n_logp == 2 && s.logp[0] == -0.1f);
        CHECK_OK(rex_sample_line(a, &s, &line, &e), e);
        CHECK_TEXT(line, want);
        /* the line read again writes itself */
        rex_sample t;
        rex_str again;
        CHECK_OK(rex_sample_parse(a, (rex_str){line.p, line.n - 1}, 1, NULL, &t, &e), e);
        CHECK_OK(rex_sample_line(a, &t, &again, &e), e);
        CHECK_TEXT(again, want);
        rex_arena_close(a);
} END_TEST

START_TEST(t_samples_of_the_shared_pool) {
    NEED_DATA(path, "pools/countdown4-t06/pool.jsonl");
    rex_arena *a;
    rex_sample *s;
    size_t n;
    rex_records *r;
    rex_records_opts o;
    CHECK_STATUS(rex_arena_open(0, &a, NULL), REX_OK);
    CHECK_STATUS(rex_samples_read(a, path, NULL, &s, &n, NULL), REX_OK);
    rex_records_defaults(&o);
    o.want = REX_F(REWARD) | REX_F(LOGPROB) | REX_F(TEXT) | REX_F(N_TOK);
    CHECK_STATUS(rex_records_open(path, &o, &r, NULL), REX_OK);
    CHECK_EQ(rex_records_rows(r), n);
    for (size_t i = 0; i < n; i++) {
        const rex_str text = rex_records_str(r, REX_FI_TEXT, i);
        CHECK(rex_str_eq(text, s[i].text));
        CHECK(rex_records_num(r, REX_FI_REWARD)[i] == s[i].reward);
        CHECK(rex_records_num(r, REX_FI_LOGPROB)[i] == s[i].logprob);
    }
    rex_records_close(r);
    rex_arena_close(a);
} END_TEST

static rex_status both_ways(const char *path) {
    rex_arena *a = NULL;
    rex_records *r = NULL;
    rex_records_opts o;
    rex_scored scored;
    rex_sample *s;
    size_t n;
    rex_str line;
    rex_records_defaults(&o);
    o.want = REX_F(REWARD) | REX_F(EXTRACTED) | REX_F(LOGP) | REX_F(ENT);
    rex_status st = rex_arena_open(0, &a, NULL);
    if (st == REX_OK) st = rex_records_open(path, &o, &r, NULL);
    if (st == REX_OK) st = rex_records_scored(r, path, true, a, &scored, NULL);
    if (st == REX_OK) st = rex_samples_read(a, path, NULL, &s, &n, NULL);
    if (st == REX_OK) st = rex_sample_line(a, s, &line, NULL);
    rex_records_close(r);
    rex_arena_close(a);
    return st;
}

START_TEST(t_records_survive_failing_memory) {
        const char *const path = file(
            "{\"prompt_id\":\"a\",\"sample\":1,\"reward\":1,\"extracted\":\"\\u0041\",\"x\":1}\n"
            "{\"prompt_id\":\"a\",\"sample\":0,\"reward\":0,\"logp\":[1,2],\"ent\":[3]}\n");
        REX_TORTURE(both_ways(path));
} END_TEST

REX_TEST_MAIN("records", t_columns_of_mixed_rows, t_missing_ids_are_line_numbers,
              t_maps_reach_into_objects, t_every_way_of_being_broken,
              t_broken_rewards_can_be_dropped_or_kept, t_group_names_a_row,
              t_names_with_one_hash_stay_apart, t_prompts_in_their_spellings,
              t_texts_may_hold_any_bytes, t_sample_line_keeps_everything,
              t_samples_of_the_shared_pool, t_records_survive_failing_memory)
