/* SPDX-License-Identifier: MIT
 *
 * The tokenizer room: ids and texts of the reference packages (tests/golden/tok_*.jsonl, made by
 * scripts/make_golden_tok.py), the scanners against their patterns, streams, broken files, torture.
 */
#include "../src/formats/formats.h"
#include "../src/tokenizer/tok.h"
#include "rex_test.h"

typedef struct {
    rex_arena *a;
    rex_str *line;
    size_t n;
} golden;

static void golden_open(golden *g, const char *path) {
    rex_lines *l;
    rex_err e;
    rex_str s;
    int64_t no;
    bool more = true;
    *g = (golden){0};
    CHECK_OK(rex_arena_open(0, &g->a, &e), e);
    g->line = rex_arena_take(g->a, 2000, sizeof *g->line, &e);
    if (rex_lines_open(path, &l, &e) != REX_OK) {
        rex_test_fail(__FILE__, __LINE__, "%s", e.text);
        return;
    }
    while (rex_lines_next(l, &s, &no, &more, &e) == REX_OK && more && g->n < 2000)
        CHECK_OK(rex_str_copy(g->a, s, &g->line[g->n++], &e), e);
    CHECK(g->n > 0);
    rex_lines_close(l);
}

static const rex_jval *parse(golden *g, rex_str s) {
    rex_jval *v = NULL;
    rex_err e;
    CHECK_OK(rex_json_parse(g->a, s, "golden", &v, &e), e);
    return v;
}

/* The ids that encoding gives against those of the record. */
static void check_ids(const char *name, const rex_tok *t, rex_arena *a, const rex_jval *c,
                      const char *key, uint32_t flags) {
    const rex_jval *const want = rex_json_get(c, key);
    const rex_str text = rex_json_get(c, "text")->u.s;
    rex_ids ids;
    rex_err e;
    CHECK_OK(rex_tok_encode(t, text, flags, a, &ids, NULL, &e), e);
    bool same = ids.n == want->n;
    for (size_t i = 0; same && i < ids.n; i++) {
        int64_t id;
        CHECK_OK(rex_json_i64(&want->u.c.item[i], "id", &id, &e), e);
        same = id == ids.v[i];
    }
    if (!same)
        rex_test_fail(__FILE__, __LINE__, "%s: %s of \"%.*s\": %zu ids, want %u", name, key,
                      (int)text.n, text.p, ids.n, want->n);
}

/* The record's ids decoded against its text; a U+FFFD of the reference is bytes of ours. */
static void check_back(const char *name, const rex_tok *t, rex_arena *a, const rex_jval *c) {
    const rex_jval *const ids = rex_json_get(c, "ids");
    const rex_str want = rex_json_get(c, "back")->u.s;
    int32_t *const v = rex_arena_take(a, ids->n + 1, sizeof *v, NULL);
    rex_str got;
    rex_err e;
    for (uint32_t i = 0; i < ids->n; i++) {
        int64_t id = -1;
        CHECK_OK(rex_json_i64(&ids->u.c.item[i], "id", &id, &e), e);
        v[i] = (int32_t)id;
    }
    CHECK_OK(rex_tok_decode(t, v, ids->n, 0, a, &got, &e), e);
    bool lossy = false;
    for (size_t i = 0; i + 2 < want.n; i++)
        lossy = lossy || memcmp(want.p + i, "\xEF\xBF\xBD", 3) == 0;
    if (!lossy && !rex_str_eq(got, want))
        rex_test_fail(__FILE__, __LINE__, "%s: decoded \"%.*s\", want \"%.*s\"", name, (int)got.n,
                      got.p, (int)want.n, want.p);
    /* The stream gives the same text, whole characters at a time. */
    rex_tok_stream s;
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_tok_stream_init(&s, t, 0);
    for (uint32_t i = 0; i <= ids->n; i++) {
        rex_str part;
        CHECK_OK(rex_tok_stream_put(&s, i < ids->n ? v[i] : -1, i == ids->n, a, &part, &e), e);
        rex_buf_add(&b, part.p, part.n);
    }
    CHECK(rex_str_eq((rex_str){b.n ? b.p : "", b.n}, got));
    rex_buf_free(&b);
}

START_TEST(t_tok_every_component_as_the_reference) {
    golden g;
    golden_open(&g, "tests/golden/tok_variants.jsonl");
    for (size_t i = 0; i < g.n; i++) {
        const rex_str want[] = {rex_str_of("name"), rex_str_of("tokenizer"), rex_str_of("cases")};
        rex_str raw[3], name;
        rex_err e;
        CHECK_OK(rex_jscan(g.line[i], want, 3, raw, &e), e);
        CHECK_OK(rex_jraw_str(g.a, raw[0], &name, &e), e);
        rex_tok *t;
        CHECK_OK(rex_tok_open(rex_test_file("v.json", raw[1].p, raw[1].n), &t, &e), e);
        if (!t) continue;
        const rex_jval *const cases = parse(&g, raw[2]);
        CHECK(cases->n > 40);
        for (uint32_t k = 0; k < cases->n; k++) {
            const rex_jval *const c = &cases->u.c.item[k];
            check_ids(name.p, t, g.a, c, "ids", REX_TOK_BOS | REX_TOK_SPECIAL);
            check_ids(name.p, t, g.a, c, "plain", 0);
            check_back(name.p, t, g.a, c);
        }
        rex_tok_close(t);
    }
    rex_arena_close(g.a);
}
END_TEST

static void real(const char *folder, const char *file) {
    golden g;
    rex_tok *t;
    rex_err e;
    golden_open(&g, file);
    CHECK_OK(rex_tok_open(folder, &t, &e), e);
    for (size_t i = 0; t && i < g.n; i++) {
        const rex_jval *const c = parse(&g, g.line[i]);
        check_ids(file, t, g.a, c, "ids", REX_TOK_BOS | REX_TOK_SPECIAL);
        check_ids(file, t, g.a, c, "plain", 0);
        check_back(file, t, g.a, c);
    }
    rex_tok_close(t);
    rex_arena_close(g.a);
}

START_TEST(t_tok_gpt2) {
    NEED_DATA(p, "tokenizers/gpt2");
    real(p, "tests/golden/tok_gpt2.jsonl");
}
END_TEST
START_TEST(t_tok_smollm2) {
    NEED_DATA(p, "tokenizers/smollm2");
    real(p, "tests/golden/tok_smollm2.jsonl");
}
END_TEST
START_TEST(t_tok_qwen25) {
    NEED_DATA(p, "tokenizers/qwen2.5");
    real(p, "tests/golden/tok_qwen2.5.jsonl");
}
END_TEST

START_TEST(t_tok_gguf_as_sentencepiece) {
    NEED_DATA(p, "models/stories260K/stories260K.gguf");
    golden g;
    rex_tok *t;
    rex_err e;
    golden_open(&g, "tests/golden/tok_spm.jsonl");
    CHECK_OK(rex_tok_open(p, &t, &e), e);
    for (size_t i = 0; t && i < g.n; i++) {
        const rex_jval *const c = parse(&g, g.line[i]);
        const rex_str text = rex_json_get(c, "text")->u.s;
        rex_ids ids;
        rex_str back;
        check_ids("spm", t, g.a, c, "ids", 0);
        CHECK_OK(rex_tok_encode(t, text, 0, g.a, &ids, NULL, &e), e);
        CHECK_OK(rex_tok_decode(t, ids.v, ids.n, 0, g.a, &back, &e), e);
        CHECK(rex_str_eq(back, text));
    }
    CHECK_EQ(rex_tok_special(t)->bos, 1);
    CHECK_EQ(rex_tok_special(t)->eos, 2);
    rex_tok_close(t);
    rex_arena_close(g.a);
}
END_TEST

/* The four pre-tokenisers of byte-level files, ids of the tokenizer.json that each was made from.
 */
START_TEST(t_tok_gguf_as_its_tokenizer_json) {
    golden g;
    rex_tok *t = NULL;
    rex_err e;
    char path[80], open_now[80] = "";
    golden_open(&g, "tests/golden/tok_gguf.jsonl");
    size_t files = 0;
    for (size_t i = 0; i < g.n; i++) {
        const rex_jval *const c = parse(&g, g.line[i]);
        const rex_str pre = rex_json_get(c, "pre")->u.s;
        snprintf(path, sizeof path, "tests/golden/tok_gguf_%.*s.gguf", (int)pre.n, pre.p);
        if (strcmp(path, open_now) != 0) {
            rex_tok_close(t);
            t = NULL;
            CHECK_OK(rex_tok_open(path, &t, &e), e);
            if (!t) break;
            CHECK_EQ(rex_tok_special(t)->bos, 1);
            CHECK_EQ(rex_tok_special(t)->eos, 2);
            strcpy(open_now, path);
            files++;
        }
        check_ids(path, t, g.a, c, "ids", REX_TOK_SPECIAL);
        check_ids(path, t, g.a, c, "plain", 0);
        check_back(path, t, g.a, c);
    }
    CHECK_EQ(files, 4);
    rex_tok_close(t);
    rex_arena_close(g.a);
}
END_TEST

/* The files that a folder made from such a GGUF carries do what the reference does. */
START_TEST(t_tok_gguf_as_files_of_a_folder) {
    golden g;
    rex_tok *gguf = NULL, *t = NULL;
    rex_err e;
    char path[80], open_now[80] = "";
    golden_open(&g, "tests/golden/tok_gguf.jsonl");
    CHECK_OK(rex_folder_make(rex_test_tmp("files"), REX_FOLDER_NEW, &e), e);
    for (size_t i = 0; i < g.n; i++) {
        const rex_jval *const c = parse(&g, g.line[i]);
        const rex_str pre = rex_json_get(c, "pre")->u.s;
        snprintf(path, sizeof path, "tests/golden/tok_gguf_%.*s.gguf", (int)pre.n, pre.p);
        if (strcmp(path, open_now) != 0) {
            rex_str text[2];
            rex_tok_close(gguf);
            rex_tok_close(t);
            gguf = t = NULL;
            CHECK_OK(rex_tok_open(path, &gguf, &e), e);
            CHECK_OK(rex_tok_put_json(gguf, path, g.a, &text[0], &text[1], &e), e);
            (void)rex_test_file("files/tokenizer.json", text[0].p, text[0].n);
            (void)rex_test_file("files/tokenizer_config.json", text[1].p, text[1].n);
            CHECK_OK(rex_tok_open(rex_test_tmp("files"), &t, &e), e);
            if (!t) break;
            CHECK_EQ(rex_tok_special(t)->bos, 1);
            CHECK_EQ(rex_tok_special(t)->eos, 2);
            CHECK_EQ(rex_tok_size(t), rex_tok_size(gguf) - 3); /* without the padding */
            strcpy(open_now, path);
        }
        check_ids(path, t, g.a, c, "ids", REX_TOK_SPECIAL);
        check_ids(path, t, g.a, c, "plain", 0);
        check_back(path, t, g.a, c);
        rex_ids with[2];
        const rex_str text = rex_json_get(c, "text")->u.s;
        CHECK_OK(rex_tok_encode(gguf, text, REX_TOK_BOS, g.a, &with[0], NULL, &e), e);
        CHECK_OK(rex_tok_encode(t, text, REX_TOK_BOS, g.a, &with[1], NULL, &e), e);
        CHECK_EQ(with[1].n, with[0].n);
        CHECK_MEM(with[1].v, with[0].v, with[0].n * sizeof *with[0].v);
    }
    rex_tok_close(gguf);
    rex_tok_close(t);
    rex_arena_close(g.a);
}
END_TEST

/* ---- scanners ---------------------------------------------------------------------------- */

/* Random texts of the characters that decide, cut by the scanner and by the pattern in PCRE2. */
START_TEST(t_tok_scanners_are_their_patterns) {
    static const char *const part[] = {"a",
                                       "Z",
                                       " ",
                                       "  ",
                                       "\n",
                                       "\r\n",
                                       "\t",
                                       "1",
                                       "23",
                                       "'",
                                       "'s",
                                       "'LL",
                                       "'re",
                                       "'D",
                                       "'\xC5\xBF",
                                       ".",
                                       "!?",
                                       "\xC3\xA9",
                                       "\xE4\xB8\xAD",
                                       "\xC2\xA0",
                                       "\xE2\x80\x83",
                                       "\xC2\xBD",
                                       "\xF0\x9F\x98\x80",
                                       "\xCC\x81",
                                       "\xE1\xA0\x8E",
                                       "\xC2\x85",
                                       "_",
                                       "\xF0\x90\x97\x80",
                                       "\xFF",
                                       "\xE2\x82"};
    rex_tok *t;
    rex_err e;
    CHECK_OK(rex_tok_new(&t, &e), e);
    const rex_key key = rex_key_make(11);
    for (int k = 0; k < REX_SCAN_COUNT; k++) {
        const char *const pattern = rex_scan_pattern((rex_scan_kind)k);
        CHECK_EQ(rex_scan_find(rex_str_of(pattern)), k);
        pcre2_code *re = NULL;
        CHECK_OK(rex_regex_make(t, rex_str_of(pattern), &re, &e), e);
        rex_work w = {.t = t, .e = &e};
        for (uint32_t c = 0; c < 20000; c++) {
            uint8_t s[256];
            size_t n = 0;
            const uint64_t parts = rex_rand_below(key, REX_STREAM_TEST, 0, c, (uint64_t)k, 24);
            for (uint32_t i = 1; i <= parts; i++) {
                const char *const p = part[rex_rand_below(key, REX_STREAM_TEST, i, c, (uint64_t)k,
                                                          sizeof part / sizeof *part)];
                memcpy(s + n, p, strlen(p));
                n += strlen(p);
            }
            const uint8_t *safe;
            CHECK_OK(rex_regex_text(&w, s, n, &safe), e);
            for (size_t i = 0; i < n;) {
                bool found = false;
                rex_span m = {0, 0};
                CHECK_OK(rex_regex_next(&w, re, safe, n, i, &found, &m), e);
                const size_t end = rex_scan_next(&t->cls, (rex_scan_kind)k, s, i, n);
                if (!found || m.from != i || m.to != end) {
                    rex_test_fail(__FILE__, __LINE__,
                                  "pattern %d, case %u: at byte %zu %zu..%zu, want ..%zu", k, c, i,
                                  m.from, end, m.to);
                    break;
                }
                i = end;
            }
            if (w.tmp) rex_arena_back(w.tmp, (rex_mark){0});
        }
        pcre2_match_data_free(w.md);
        rex_arena_close(w.tmp);
        pcre2_code_free(re);
    }
    rex_tok_close(t);
}
END_TEST

/* ---- what must hold for any bytes -------------------------------------------------------- */

/* All bytes, trained on a few words. */
static rex_status tiny(rex_arena *a, rex_str *json, rex_err *e) {
    const rex_str text[] = {
        rex_str_of("the theory then there their aaaaaaaa banana bananas 123 123")};
    static const char *const special[] = {"<pad>", "<end>"};
    rex_tok_build_opts o;
    rex_tok_build_defaults(&o);
    o.vocab = 290;
    o.special = special;
    o.n_special = 2;
    o.bos = "<end>";
    return rex_tok_build(text, 1, &o, a, json, e);
}

START_TEST(t_tok_any_bytes_come_back) {
    rex_arena *a;
    rex_tok *t;
    rex_err e;
    rex_str json, back;
    CHECK_OK(rex_arena_open(0, &a, &e), e);
    CHECK_OK(tiny(a, &json, &e), e);
    CHECK_OK(rex_tok_open(rex_test_file("tiny.json", json.p, json.n), &t, &e), e);
    CHECK(rex_tok_size(t) > 2 + 256 && rex_tok_size(t) <= 290);
    const rex_key key = rex_key_make(5);
    for (uint32_t c = 0; c < 2000; c++) {
        uint8_t s[300];
        const size_t n = (size_t)rex_rand_below(key, REX_STREAM_TEST, 0, c, 0, sizeof s);
        for (size_t i = 0; i < n; i++)
            s[i] = (uint8_t)rex_rand_below(key, REX_STREAM_TEST, (uint32_t)i + 1, c, 0,
                                           c % 2 ? 256 : 128);
        rex_ids ids;
        size_t lost = 9;
        CHECK_OK(rex_tok_encode(t, (rex_str){(char *)s, n}, 0, a, &ids, &lost, &e), e);
        CHECK_EQ(lost, 0);
        CHECK_OK(rex_tok_decode(t, ids.v, ids.n, 0, a, &back, &e), e);
        CHECK(back.n == n && memcmp(back.p, s, n) == 0);
    }
    rex_ids ids;
    CHECK_OK(rex_tok_encode(t, rex_str_of("<end>"), REX_TOK_BOS, a, &ids, NULL, &e), e);
    CHECK(ids.n > 2 && ids.v[0] == 1);
    CHECK_OK(rex_tok_encode(t, rex_str_of("<end>"), REX_TOK_SPECIAL, a, &ids, NULL, &e), e);
    CHECK(ids.n == 1 && ids.v[0] == 1);
    CHECK_EQ(rex_tok_find(t, rex_str_of("<pad>")), 0);
    const int32_t bad = 290;
    CHECK_STATUS(rex_tok_decode(t, &bad, 1, 0, a, &back, &e), REX_EARG);
    CHECK_HAS(e.text, "id 290");
    rex_tok_close(t);
    rex_arena_close(a);
}
END_TEST

/* The heap of long words gives what looking at all pairs gives: one word around the border. */
START_TEST(t_tok_long_words_merge_as_short_ones) {
    rex_arena *a;
    rex_tok *t;
    rex_err e;
    rex_str json;
    CHECK_OK(rex_arena_open(0, &a, &e), e);
    CHECK_OK(tiny(a, &json, &e), e);
    CHECK_OK(rex_tok_open(rex_test_file("tiny.json", json.p, json.n), &t, &e), e);
    const rex_key key = rex_key_make(6);
    for (uint32_t c = 0; c < 400; c++) {
        char s[2 * REX_BPE_SMALL];
        const size_t n = REX_BPE_SMALL + 1 +
                         (size_t)rex_rand_below(key, REX_STREAM_TEST, 0, c, 0, REX_BPE_SMALL - 2);
        for (size_t i = 0; i < n; i++)
            s[i] = "abnther"[rex_rand_below(key, REX_STREAM_TEST, (uint32_t)i + 1, c, 0, 7)];
        rex_ids ids;
        CHECK_OK(rex_tok_encode(t, (rex_str){s, n}, 0, a, &ids, NULL, &e), e);
        /* by the definition: lowest rank, leftmost, again and again */
        int32_t sym[2 * REX_BPE_SMALL];
        size_t k = n;
        for (size_t i = 0; i < n; i++) sym[i] = t->byte_id[(uint8_t)s[i]];
        for (;;) {
            const rex_merge *best = NULL;
            size_t at = 0;
            for (size_t i = 0; i + 1 < k; i++) {
                const rex_merge *const m = rex_merges_find(t, sym[i], sym[i + 1]);
                if (m && (!best || m->rank < best->rank)) {
                    best = m;
                    at = i;
                }
            }
            if (!best) break;
            sym[at] = best->id;
            memmove(sym + at + 1, sym + at + 2, (k - at - 2) * sizeof *sym);
            k--;
        }
        CHECK_EQ(ids.n, k);
        CHECK(ids.n == k && memcmp(ids.v, sym, k * sizeof *sym) == 0);
    }
    rex_tok_close(t);
    rex_arena_close(a);
}
END_TEST

/* A megabyte that is one word: seconds would mean quadratic time. */
START_TEST(t_tok_one_long_word_is_quick) {
    rex_arena *a;
    rex_tok *t;
    rex_err e;
    rex_str json;
    CHECK_OK(rex_arena_open(0, &a, &e), e);
    CHECK_OK(tiny(a, &json, &e), e);
    CHECK_OK(rex_tok_open(rex_test_file("tiny.json", json.p, json.n), &t, &e), e);
    const size_t n = (size_t)1 << 20;
    char *const s = rex_arena_take(a, n, 1, &e);
    memset(s, 'a', n);
    rex_ids ids;
    const double start = rex_clock();
    CHECK_OK(rex_tok_encode(t, (rex_str){s, n}, 0, a, &ids, NULL, &e), e);
    CHECK(rex_clock() - start < 20.0);
    CHECK(ids.n < n);
    rex_tok_close(t);
    rex_arena_close(a);
}
END_TEST

/* ---- building ---------------------------------------------------------------------------- */

START_TEST(t_tok_build_characters) {
    static const char *const special[] = {"<pad>", "<end>"};
    const rex_str text[] = {rex_str_of("12+3=15"), rex_str_of("(4-2)*6/3")};
    rex_tok_build_opts o;
    rex_arena *a;
    rex_err e;
    rex_str json, back;
    rex_tok *t;
    rex_ids ids;
    rex_tok_build_defaults(&o);
    o.vocab = 100;
    o.chars = true;
    o.special = special;
    o.n_special = 2;
    CHECK_OK(rex_arena_open(0, &a, &e), e);
    CHECK_OK(rex_tok_build(text, 2, &o, a, &json, &e), e);
    CHECK_OK(rex_tok_open(rex_test_file("chars.json", json.p, json.n), &t, &e), e);
    CHECK_EQ(rex_tok_size(t), 2 + 13);
    CHECK_OK(rex_tok_encode(t, text[1], 0, a, &ids, NULL, &e), e);
    CHECK_EQ(ids.n, text[1].n);
    CHECK_EQ(ids.v[0], 2); /* '(' is the smallest code point */
    CHECK_OK(rex_tok_decode(t, ids.v, ids.n, 0, a, &back, &e), e);
    CHECK(rex_str_eq(back, text[1]));
    rex_tok_close(t);
    o.bos = "<s>";
    CHECK_STATUS(rex_tok_build(text, 2, &o, a, &json, &e), REX_EARG);
    o.bos = NULL;
    o.vocab = 5;
    CHECK_STATUS(rex_tok_build(text, 2, &o, a, &json, &e), REX_EARG);
    rex_arena_close(a);
}
END_TEST

/* ---- broken files ------------------------------------------------------------------------ */

START_TEST(t_tok_broken_files_are_named) {
#define ABC "{\"a\":0,\"b\":1,\"ab\":2}"
    static const struct {
        const char *json, *says;
        rex_status code;
    } bad[] = {
        {"", "byte 0", REX_EFORMAT},
        {"[]", "expected an object", REX_EFORMAT},
        {"{}", "\"model\" is missing", REX_EFORMAT},
        {"{\"model\":{\"type\":\"Unigram\"}}", "Unigram", REX_EUNSUP},
        {"{\"truncation\":{\"max_length\":8},\"model\":{\"vocab\":" ABC ",\"merges\":[]}}",
         "byte 14: \"truncation\" is an object, only null", REX_EUNSUP},
        {"{\"padding\":true,\"model\":{\"vocab\":" ABC ",\"merges\":[]}}", "\"padding\" is true",
         REX_EUNSUP},
        {"{\"model\":{\"type\":\"BPE\",\"merges\":[]}}", "\"vocab\" is missing", REX_EFORMAT},
        {"{\"model\":{\"vocab\":{},\"merges\":[]}}", "a vocabulary of 0", REX_EFORMAT},
        {"{\"model\":{\"vocab\":{\"a\":0,\"b\":2,\"c\":3},\"merges\":[]}}", "leaves a hole",
         REX_EFORMAT},
        {"{\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", "is given to", REX_EFORMAT},
        {"{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", "is not a number of 0", REX_EFORMAT},
        {"{\"model\":{\"vocab\":{\"a\":0.5},\"merges\":[]}}", "is not a number of 0", REX_EFORMAT},
        {"{\"model\":{\"vocab\":" ABC ",\"merges\":[\"a\"]}}", "merge 0 is not two parts",
         REX_EFORMAT},
        {"{\"model\":{\"vocab\":" ABC ",\"merges\":[\"a \"]}}", "merge 0 is cyclic", REX_EFORMAT},
        {"{\"model\":{\"vocab\":" ABC ",\"merges\":[[\"\",\"a\"]]}}", "merge 0 is cyclic",
         REX_EFORMAT},
        {"{\"model\":{\"vocab\":" ABC ",\"merges\":[\"a x\"]}}", "\"x\", which is not in",
         REX_EFORMAT},
        {"{\"model\":{\"vocab\":" ABC ",\"merges\":[\"a b\",\"b a\"]}}", "merge 1 of", REX_EFORMAT},
        {"{\"model\":{\"vocab\":" ABC ",\"merges\":[3]}}", "merge 0 is neither", REX_EFORMAT},
        {"{\"model\":{\"vocab\":" ABC ",\"merges\":[],\"dropout\":0.1}}", "dropout", REX_EUNSUP},
        {"{\"model\":{\"vocab\":" ABC ",\"merges\":[],\"end_of_word_suffix\":\"</w>\"}}",
         "end_of_word_suffix", REX_EUNSUP},
        {"{\"model\":{\"vocab\":" ABC ",\"merges\":[],\"unk_token\":\"?\"}}", "unk_token",
         REX_EFORMAT},
        {"{\"normalizer\":{\"type\":\"Nmt\"},\"model\":{\"vocab\":" ABC ",\"merges\":[]}}",
         "normalizer Nmt", REX_EUNSUP},
        {"{\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"},\"model\":{\"vocab\":" ABC
         ",\"merges\":[]}}",
         "pre_tokenizer UnicodeScripts", REX_EUNSUP},
        {"{\"decoder\":{\"type\":\"CTC\"},\"model\":{\"vocab\":" ABC ",\"merges\":[]}}",
         "decoder CTC", REX_EUNSUP},
        {"{\"post_processor\":{\"type\":\"BertProcessing\"},\"model\":{\"vocab\":" ABC
         ",\"merges\":[]}}",
         "post_processor BertProcessing", REX_EUNSUP},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":"
         "\"Isolated\"},\"model\":"
         "{\"vocab\":" ABC ",\"merges\":[]}}",
         "regular expression", REX_EUNSUP},
        {"{\"added_tokens\":[{\"id\":1,\"content\":\"x\"}],\"model\":{\"vocab\":" ABC
         ",\"merges\":[]}}",
         "is given to", REX_EFORMAT},
        {"{\"added_tokens\":[{\"id\":3,\"content\":\"a\"}],\"model\":{\"vocab\":" ABC
         ",\"merges\":[]}}",
         "has id 0 in the vocabulary and id 3", REX_EFORMAT},
        {"{\"added_tokens\":[{\"id\":9,\"content\":\"x\"}],\"model\":{\"vocab\":" ABC
         ",\"merges\":[]}}",
         "hole", REX_EFORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rex_tok *t = NULL;
        rex_err e = {0};
        const char *const path = rex_test_file("bad.json", bad[i].json, strlen(bad[i].json));
        CHECK_STATUS(rex_tok_open(path, &t, &e), bad[i].code);
        CHECK(t == NULL);
        CHECK_HAS(e.text, bad[i].says);
        CHECK_HAS(e.text, bad[i].code == REX_EUNSUP && strstr(bad[i].says, "regular") ? "regular"
                                                                                      : "bad.json");
    }
    rex_tok *t;
    rex_err e;
    CHECK_STATUS(rex_tok_open("no/such/file", &t, &e), REX_EIO);
}
END_TEST

static char warned[600];
static void on_log(void *ud, rex_log_level level, const char *text) {
    (void)ud;
    (void)level;
    snprintf(warned + strlen(warned), sizeof warned - strlen(warned), "%s\n", text);
}

/* A key that nobody here knows is one warning that names it; those that are known are none. */
START_TEST(t_tok_unknown_keys_are_told) {
    static const struct {
        const char *json, *says;
    } odd[] = {
        {"{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"model\":{\"vocab\":" ABC
         ",\"merges\":[]}}",
         ""},
        {"{\"stride\":1,\"model\":{\"vocab\":" ABC ",\"merges\":[]}}", "\"stride\" is not known"},
        {"{\"model\":{\"vocab\":" ABC ",\"merges\":[],\"flux\":1}}",
         "\"flux\", which is not known"},
    };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        rex_tok *t = NULL;
        rex_err e;
        const char *const path = rex_test_file("odd.json", odd[i].json, strlen(odd[i].json));
        warned[0] = 0;
        rex_log_set(on_log, NULL, REX_LOG_WARN);
        CHECK_OK(rex_tok_open(path, &t, &e), e);
        rex_log_set(NULL, NULL, REX_LOG_WARN);
        CHECK_HAS(warned, odd[i].says);
        const char *const end = strchr(warned, '\n');
        CHECK(odd[i].says[0] ? end && end[1] == 0 : warned[0] == 0);
        rex_tok_close(t);
    }
}
END_TEST

/* A GGUF of four tokens, one of them wrong in one way. */
typedef struct {
    const char *model, *pre, *merge, *token3;
    int n_types, type3, bos, byte;
    float score;
    const char *says;
    rex_status code;
} bad_gguf;

static const char *write_bad(const bad_gguf *b) {
    const rex_str token[] = {rex_str_of("a"), rex_str_of("b"), rex_str_of("ab"),
                             rex_str_of(b->token3)};
    const rex_str merge[] = {rex_str_of("a b"), rex_str_of(b->merge ? b->merge : "a b")};
    const int32_t type[] = {1, 1, b->byte ? 6 : 1, b->type3};
    const float score[] = {0, 0, b->score, 0};
    static char path[600];
    rex_gguf_out *o = NULL;
    rex_err e;
    snprintf(path, sizeof path, "%s", rex_test_tmp("bad.gguf"));
    CHECK_OK(rex_gguf_out_open(path, &o, &e), e);
    if (b->model) rex_gguf_out_str(o, "tokenizer.ggml.model", rex_str_of(b->model));
    if (b->pre) rex_gguf_out_str(o, "tokenizer.ggml.pre", rex_str_of(b->pre));
    rex_gguf_out_strs(o, "tokenizer.ggml.tokens", token, 4);
    rex_gguf_out_i32s(o, "tokenizer.ggml.token_type", type, (size_t)b->n_types);
    if (b->pre) rex_gguf_out_strs(o, "tokenizer.ggml.merges", merge, b->merge ? 2 : 1);
    else rex_gguf_out_f32s(o, "tokenizer.ggml.scores", score, 4);
    rex_gguf_out_i64(o, "tokenizer.ggml.bos_token_id", REX_G_U32, b->bos);
    CHECK_OK(rex_gguf_out_commit(o, &e), e);
    return path;
}

START_TEST(t_tok_broken_ggufs_are_named) {
    static const bad_gguf bad[] = {
        {"gpt2", "gpt-2", NULL, "c", 4, 1, 0, 0, 0, NULL, REX_OK},
        {"llama", NULL, NULL, "c", 4, 1, 0, 0, 0, NULL, REX_OK},
        {NULL, "gpt-2", NULL, "c", 4, 1, 0, 0, 0, "tokenizer.ggml.model", REX_EFORMAT},
        {"bert", "gpt-2", NULL, "c", 4, 1, 0, 0, 0, "\"bert\" is not supported", REX_EUNSUP},
        {"gpt2", NULL, NULL, "c", 4, 1, 0, 0, 0, "tokenizer.ggml.pre", REX_EFORMAT},
        {"gpt2", "tekken", NULL, "c", 4, 1, 0, 0, 0, "\"tekken\" is not supported", REX_EUNSUP},
        {"gpt2", "gpt-2", "ab", "c", 4, 1, 0, 0, 0, "merge 1 \"ab\" is not two parts", REX_EFORMAT},
        {"gpt2", "gpt-2", "a ", "c", 4, 1, 0, 0, 0, "merge 1", REX_EFORMAT},
        {"gpt2", "gpt-2", "a z", "c", 4, 1, 0, 0, 0, "merge 1 \"a z\" joins", REX_EFORMAT},
        {"gpt2", "gpt-2", "b a", "c", 4, 1, 0, 0, 0, "merge 1 \"b a\" joins or gives", REX_EFORMAT},
        {"gpt2", "gpt-2", NULL, "c", 3, 1, 0, 0, 0, "token_type has 3 entries for 4", REX_EFORMAT},
        {"gpt2", "gpt-2", NULL, "c", 4, 7, 0, 0, 0, "token 3 has type 7", REX_EFORMAT},
        {"gpt2", "gpt-2", NULL, "c", 4, 1, 4, 0, 0, "bos_token_id is 4", REX_EFORMAT},
        {"gpt2", "gpt-2", NULL, "a", 4, 1, 0, 0, 0, "\"a\"", REX_EFORMAT},
        {"llama", NULL, NULL, "c", 4, 1, 0, 1, 0, "token 2 is of type byte", REX_EFORMAT},
        {"llama", NULL, NULL, "c", 4, 1, 0, 0, NAN, "score of token 2", REX_EFORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rex_tok *t = NULL;
        rex_err e = {.text = ""};
        const rex_status got = rex_tok_open(write_bad(&bad[i]), &t, &e);
        if (got != bad[i].code)
            rex_test_fail(__FILE__, __LINE__, "file %zu: %s: %s", i, rex_status_name(got), e.text);
        CHECK_EQ(t != NULL, bad[i].code == REX_OK);
        if (bad[i].says) {
            CHECK_HAS(e.text, bad[i].says);
            CHECK_HAS(e.text, "bad.gguf");
        }
        rex_tok_close(t);
    }
}
END_TEST

/* ---- chat -------------------------------------------------------------------------------- */

static size_t messages(rex_arena *a, const rex_jval *list, rex_msg **out) {
    rex_msg *const m = rex_arena_take(a, list->n + 1, sizeof *m, NULL);
    for (uint32_t i = 0; i < list->n; i++)
        m[i] = (rex_msg){rex_json_get(&list->u.c.item[i], "role")->u.s,
                         rex_json_get(&list->u.c.item[i], "content")->u.s};
    *out = m;
    return list->n;
}

START_TEST(t_chat_as_the_templates) {
    golden g;
    golden_open(&g, "tests/golden/tok_chat.jsonl");
    for (size_t i = 0; i < g.n; i++) {
        const rex_jval *const c = parse(&g, g.line[i]), *const want = rex_json_get(c, "text");
        const rex_chat *layout;
        rex_msg *m;
        rex_err e;
        rex_str got;
        CHECK_OK(rex_chat_find(rex_json_get(c, "layout")->u.s.p, &layout, &e), e);
        const size_t n = messages(g.a, rex_json_get(c, "messages"), &m);
        const bool open = rex_json_get(c, "open")->kind == REX_J_TRUE;
        const rex_status st = rex_chat_render(layout, m, n, open, g.a, &got, &e);
        /* We refuse all that the template refuses, and nothing that it takes. */
        CHECK_EQ(st == REX_OK, want->kind == REX_J_STR);
        if (st == REX_OK && want->kind == REX_J_STR && !rex_str_eq(got, want->u.s))
            rex_test_fail(__FILE__, __LINE__, "%s: \"%.*s\", want \"%.*s\"", rex_chat_name(layout),
                          (int)got.n, got.p, (int)want->u.s.n, want->u.s.p);
    }
    rex_arena_close(g.a);
}
END_TEST

/* The layout of each template is found from the template, and only with its control tokens. */
START_TEST(t_chat_is_recognised) {
    static const char *const control[] = {
        "<s>", "</s>", "<bos>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
        "<|eot_id|>", "<|im_start|>", "<|im_sep|>", "<|im_end|>", "<|system|>", "<|user|>",
        "<|assistant|>", "<|end|>", "<start_of_turn>", "<end_of_turn>"};
    enum { N = sizeof control / sizeof *control };
    rex_arena *a;
    rex_jval *all;
    rex_buf json;
    rex_err e;
    rex_buf_init(&json, 0);
    rex_buf_addf(&json, "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"added_tokens\":[");
    for (int i = 0; i < N; i++)
        rex_buf_addf(&json, "%s{\"id\":%d,\"content\":\"%s\",\"special\":true}", i ? "," : "",
                     i + 1, control[i]);
    rex_buf_addf(&json, "]}");
    CHECK_OK(rex_arena_open(0, &a, &e), e);
    CHECK_OK(rex_json_load(a, "tests/golden/chat_templates.json", &all, &e), e);
    CHECK_EQ(all->n, 14);
    for (uint32_t i = 0; i < 2 * all->n; i++) {
        static const char none[] = "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}";
        const bool with = i < all->n;
        const uint32_t k = i % all->n;
        const rex_chat *c = NULL;
        rex_tok *t;
        CHECK_OK(rex_tok_new(&t, &e), e);
        CHECK_OK(rex_tokjson_parse(t, a, with ? (rex_str){json.p, json.n} : rex_str_of(none),
                                   "tiny", &e),
                 e);
        t->template_text = rex_json_get(&all->u.c.item[k], "template")->u.s;
        CHECK_OK(rex_tok_finish(t, "tiny", &e), e);
        CHECK_STATUS(rex_chat_of(t, &c, &e), with ? REX_OK : REX_EUNSUP);
        if (c) CHECK_TEXT(all->u.c.key[k], rex_chat_name(c));
        rex_tok_close(t);
    }
    rex_buf_free(&json);
    rex_arena_close(a);
}
END_TEST

START_TEST(t_chat_of_a_model_and_its_ids) {
    NEED_DATA(p, "tokenizers/smollm2");
    rex_tok *t;
    rex_err e;
    rex_arena *a;
    const rex_chat *c;
    CHECK_OK(rex_arena_open(0, &a, &e), e);
    CHECK_OK(rex_tok_open(p, &t, &e), e);
    CHECK_OK(rex_chat_of(t, &c, &e), e);
    CHECK_STR(rex_chat_name(c), "chatml");
    CHECK_EQ(rex_tok_special(t)->end_of_turn, 2);
    const rex_msg m[] = {{rex_str_of("user"), rex_str_of("say <|im_end|>")}};
    rex_ids plain, control;
    rex_str shown;
    CHECK_OK(rex_chat_encode(t, c, m, 1, true, 0, a, &plain, &shown, &e), e);
    CHECK_OK(rex_chat_encode(t, c, m, 1, true, REX_TOK_SPECIAL, a, &control, NULL, &e), e);
    CHECK_TEXT(
        shown,
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
        "<|im_end|>\n<|im_start|>user\nsay <|im_end|><|im_end|>\n<|im_start|>assistant\n");
    size_t ends[2] = {0, 0};
    for (size_t i = 0; i < plain.n; i++) ends[0] += plain.v[i] == 2;
    for (size_t i = 0; i < control.n; i++) ends[1] += control.v[i] == 2;
    CHECK_EQ(ends[0], 2);
    CHECK_EQ(ends[1], 3);
    rex_ids whole;
    CHECK_OK(rex_tok_encode(t, shown, REX_TOK_SPECIAL, a, &whole, NULL, &e), e);
    CHECK_EQ(whole.n, control.n);
    CHECK_MEM(whole.v, control.v, control.n * sizeof *whole.v);
    CHECK_OK(rex_chat_find("llama-3", &c, &e), e);
    CHECK_STATUS(rex_chat_encode(t, c, m, 1, true, 0, a, &plain, NULL, &e), REX_EFORMAT);
    CHECK_HAS(e.text, "<|begin_of_text|>");
    CHECK_STATUS(rex_chat_find("nonsense", &c, &e), REX_EARG);
    CHECK_HAS(e.text, "chatml");
    rex_tok_close(t);
    rex_arena_close(a);
}
END_TEST

START_TEST(t_chat_bad_roles_are_named) {
    const rex_chat *c;
    rex_err e;
    rex_arena *a;
    rex_str s;
    CHECK_OK(rex_arena_open(0, &a, &e), e);
    CHECK_OK(rex_chat_find("mistral", &c, &e), e);
    const rex_msg odd[] = {{rex_str_of("narrator"), rex_str_of("x")}},
                  sys[] = {{rex_str_of("system"), rex_str_of("x")}};
    CHECK_STATUS(rex_chat_render(c, odd, 1, true, a, &s, &e), REX_EFORMAT);
    CHECK_HAS(e.text, "narrator");
    CHECK_STATUS(rex_chat_render(c, sys, 1, true, a, &s, &e), REX_EFORMAT);
    CHECK_HAS(e.text, "system");
    CHECK_STATUS(rex_chat_render(c, sys, 0, true, a, &s, &e), REX_EFORMAT);
    rex_arena_close(a);
}
END_TEST

/* ---- torture ----------------------------------------------------------------------------- */

static rex_status whole_life(const char *path) {
    rex_tok *t = NULL;
    rex_arena *a = NULL;
    rex_ids ids;
    rex_str back;
    char s[300];
    memset(s, 'a', sizeof s);
    rex_status st = rex_tok_open(path, &t, NULL);
    if (st == REX_OK) st = rex_arena_open(0, &a, NULL);
    if (st == REX_OK)
        st = rex_tok_encode(t, (rex_str){s, sizeof s}, REX_TOK_BOS, a, &ids, NULL, NULL);
    if (st == REX_OK) st = rex_tok_decode(t, ids.v, ids.n, 0, a, &back, NULL);
    rex_arena_close(a);
    rex_tok_close(t);
    return st;
}

static rex_status build_life(void) {
    rex_arena *a;
    rex_str json;
    rex_status st = rex_arena_open(0, &a, NULL);
    if (st != REX_OK) return st;
    st = tiny(a, &json, NULL);
    rex_arena_close(a);
    return st;
}

static rex_status json_life(void) {
    rex_arena *a = NULL;
    rex_tok *t = NULL;
    rex_str text[2];
    rex_err e;
    rex_status st = rex_arena_open(0, &a, &e);
    if (st == REX_OK) st = rex_tok_open("tests/golden/tok_gguf_llama-bpe.gguf", &t, &e);
    if (st == REX_OK) st = rex_tok_put_json(t, "x", a, &text[0], &text[1], &e);
    rex_tok_close(t);
    rex_arena_close(a);
    return st;
}

START_TEST(t_tok_every_allocation_may_fail) {
    static const char json[] = "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":"
                               "\"NFKD\"},{\"type\":\"Replace\",\"pattern\":"
                               "{\"Regex\":\"x+\"},\"content\":\"a\"}]},\"pre_tokenizer\":{"
                               "\"type\":\"Metaspace\",\"replacement\":\"_\","
                               "\"prepend_scheme\":\"always\"},\"decoder\":{\"type\":\"Metaspace\","
                               "\"replacement\":\"_\"},\"added_tokens\":"
                               "[{\"id\":3,\"content\":\"<s>\",\"special\":true}],\"model\":{"
                               "\"vocab\":{\"a\":0,\"_\":1,\"aa\":2},\"merges\":"
                               "[\"a a\"]}}";
    const char *const path = rex_test_file("torture.json", json, sizeof json - 1);
    REX_TORTURE(whole_life(path));
    REX_TORTURE(build_life());
    REX_TORTURE(json_life());
}
END_TEST

REX_TEST_MAIN("tokenizer", t_tok_every_component_as_the_reference, t_tok_gpt2, t_tok_smollm2,
              t_tok_qwen25, t_tok_gguf_as_sentencepiece, t_tok_gguf_as_its_tokenizer_json,
              t_tok_gguf_as_files_of_a_folder, t_tok_scanners_are_their_patterns,
              t_tok_any_bytes_come_back, t_tok_long_words_merge_as_short_ones,
              t_tok_one_long_word_is_quick, t_tok_build_characters, t_tok_broken_files_are_named,
              t_tok_unknown_keys_are_told, t_tok_broken_ggufs_are_named, t_chat_as_the_templates,
              t_chat_is_recognised, t_chat_of_a_model_and_its_ids, t_chat_bad_roles_are_named,
              t_tok_every_allocation_may_fail)
