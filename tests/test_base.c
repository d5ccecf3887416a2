/* SPDX-License-Identifier: MIT
 *
 * Memory, errors, named draws, workers, output files.
 */
#include "rex_test.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- errors ------------------------------------------------------------------------------ */

START_TEST(t_err_sentence_is_one_line) {
    rex_err e;
    CHECK_STATUS(rex_fail(&e, REX_EFORMAT, 7, "name \"%s\"", "a\nb\tc"), REX_EFORMAT);
    CHECK_STR(e.text, "name \"a?b?c\"");
    CHECK_EQ(e.at, 7);
    CHECK_STATUS(rex_fail_in(&e, e.code, "file.json: line %d", 3), REX_EFORMAT);
    CHECK_STR(e.text, "file.json: line 3: name \"a?b?c\"");
    CHECK_STATUS(rex_fail(NULL, REX_EIO, -1, "x"), REX_EIO);
}
END_TEST

START_TEST(t_err_long_sentence_ends_at_a_character) {
    rex_err e;
    char text[700];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    for (size_t i = 510; i + 2 < sizeof text; i += 2) memcpy(text + i, "\xC3\xA9", 2);
    (void)rex_fail(&e, REX_EIO, -1, "%s", text);
    CHECK_EQ(strlen(e.text), 510); /* the cut fell into the first two-byte character */
    (void)rex_fail_in(&e, REX_EIO, "%s", text);
    CHECK(strlen(e.text) < sizeof e.text);
}
END_TEST

START_TEST(t_err_every_status_has_texts) {
    for (int s = 0; s < REX_STATUS_COUNT; s++) {
        CHECK(strlen(rex_status_name((rex_status)s)) > 1);
        CHECK(strlen(rex_status_text((rex_status)s)) > 3);
    }
    CHECK_STR(rex_status_name(REX_EFORMAT), "EFORMAT");
    CHECK_STR(rex_version(), REX_VERSION);
}
END_TEST

static int heard;
static char heard_text[128];
static void on_log(void *ud, rex_log_level level, const char *text) {
    (void)ud;
    (void)level;
    heard++;
    snprintf(heard_text, sizeof heard_text, "%s", text);
}
static int evaluated(void) { return ++heard; }

START_TEST(t_log_level_before_arguments) {
    rex_say(REX_LOG_ERROR, "%d", evaluated());
    CHECK_EQ(heard, 0); /* silent by default, and nothing evaluated */
    rex_log_set(on_log, NULL, REX_LOG_INFO);
    rex_say(REX_LOG_DEBUG, "%d", evaluated());
    CHECK_EQ(heard, 0);
    rex_say(REX_LOG_WARN, "found %d", 5);
    CHECK_EQ(heard, 1);
    CHECK_STR(heard_text, "found 5");
}
END_TEST

/* ---- memory ------------------------------------------------------------------------------ */

START_TEST(t_mem_overflow_is_refused) {
    rex_err e;
    size_t n;
    CHECK_STATUS(rex_mul_size(SIZE_MAX / 2, 3, &n, &e), REX_ELIMIT);
    CHECK_STATUS(rex_mul_size(1u << 20, 1u << 20, &n, &e), REX_OK);
    CHECK(rex_mem_take(SIZE_MAX / 4, 8, &e) == NULL);
    CHECK_STATUS(e.code, REX_ELIMIT);
    CHECK(rex_mem_take(SIZE_MAX - 10, 1, &e) == NULL);
    CHECK_STATUS(e.code, REX_ENOMEM);
}
END_TEST

START_TEST(t_mem_slabs_are_zero_and_aligned) {
    static const size_t sizes[] = {0, 1, 63, 64, 4097, (2u << 20) - 65, (2u << 20) - 64, 5u << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        unsigned char *const p = rex_mem_take(sizes[i], 1, NULL);
        CHECK(p != NULL);
        CHECK_EQ((uintptr_t)p % 64, 0);
        size_t set = 0;
        for (size_t j = 0; j < sizes[i]; j++) set += p[j] != 0;
        CHECK_EQ(set, 0);
        memset(p, 0xA5, sizes[i]);
        rex_mem_free(p);
    }
    rex_mem_free(NULL);
}
END_TEST

START_TEST(t_arena_objects_do_not_meet) {
    rex_arena *a;
    rex_err e;
    CHECK_OK(rex_arena_open(0, &a, &e), e);
    unsigned char *p[300];
    size_t n[300];
    for (size_t i = 0; i < 300; i++) {
        n[i] = (i * i * 37) % 9000;
        p[i] = rex_arena_take(a, n[i], 1, &e);
        ck_assert(p[i] != NULL);
        CHECK_EQ((uintptr_t)p[i] % (n[i] >= 4096 ? 64 : 16), 0);
        memset(p[i], (int)i, n[i]);
    }
    for (size_t i = 0; i < 300; i++) {
        size_t wrong = 0;
        for (size_t j = 0; j < n[i]; j++) wrong += p[i][j] != (unsigned char)i;
        CHECK_EQ(wrong, 0);
    }
    rex_arena_close(a);
    rex_arena_close(NULL);
}
END_TEST

START_TEST(t_arena_back_is_exact) {
    rex_arena *a;
    rex_err e;
    CHECK_OK(rex_arena_open(0, &a, &e), e);
    char *const first = rex_arena_take(a, 100, 1, &e);
    memset(first, 1, 100);
    const rex_mark m = rex_arena_mark(a);
    char *const next = rex_arena_take(a, 16, 1, &e);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 50; i++) CHECK(rex_arena_take(a, 5000, 1, &e) != NULL);
        rex_arena_back(a, m);
        CHECK(rex_arena_take(a, 16, 1, &e) == next); /* the same place is given out again */
        rex_arena_back(a, m);
    }
    for (int i = 0; i < 100; i++) CHECK_EQ(first[i], 1);
    const rex_mark empty = {NULL, 0};
    rex_arena_back(a, empty);
    CHECK(rex_arena_take(a, 1, 1, &e) != NULL);
    rex_arena_close(a);
}
END_TEST

START_TEST(t_arena_cap_holds) {
    rex_arena *a;
    rex_err e;
    CHECK_OK(rex_arena_open(10000, &a, &e), e);
    size_t got = 0;
    while (rex_arena_take(a, 500, 1, &e)) got += 500;
    CHECK_STATUS(e.code, REX_ELIMIT);
    CHECK(got >= 8000 && got <= 10000);
    CHECK(rex_arena_bytes(a) <= 10000);
    CHECK(rex_arena_take(a, SIZE_MAX, 2, &e) == NULL);
    CHECK(rex_arena_take(a, SIZE_MAX - 5, 1, &e) == NULL);
    rex_arena_close(a);
}
END_TEST

START_TEST(t_buf_cap_and_status_stick) {
    rex_buf b;
    rex_err e;
    rex_buf_init(&b, 10);
    rex_buf_add(&b, "hello", 5);
    rex_buf_addf(&b, " %s", "you");
    CHECK_STR(b.p, "hello you");
    CHECK_STATUS(rex_buf_check(&b, &e), REX_OK);
    rex_buf_addf(&b, "%d", 123);
    rex_buf_add(&b, "x", 1);
    CHECK_STR(b.p, "hello you"); /* nothing half written, nothing after the failure */
    CHECK_STATUS(rex_buf_check(&b, &e), REX_ELIMIT);
    rex_buf_reset(&b);
    rex_buf_addf(&b, "%s", "0123456789");
    CHECK_STATUS(rex_buf_check(&b, &e), REX_OK);
    CHECK_EQ(b.n, 10);
    rex_buf_free(&b);
    rex_buf_free(&b);
}
END_TEST

START_TEST(t_view_never_leaves_the_file) {
    const uint8_t bytes[10] = {0};
    const rex_view all = {bytes, 10};
    rex_view v;
    rex_err e;
    CHECK_STATUS(rex_view_sub(all, 10, 0, &v, &e), REX_OK);
    CHECK_STATUS(rex_view_sub(all, 3, 7, &v, &e), REX_OK);
    CHECK_EQ(v.p - bytes, 3);
    CHECK_STATUS(rex_view_sub(all, 3, 8, &v, &e), REX_EFORMAT);
    CHECK_EQ(e.at, 3);
    CHECK_STATUS(rex_view_sub(all, 11, 0, &v, &e), REX_EFORMAT);
    CHECK_STATUS(rex_view_sub(all, UINT64_MAX, 2, &v, &e), REX_EFORMAT);
    CHECK_STATUS(rex_view_sub(all, 2, UINT64_MAX, &v, &e), REX_EFORMAT);
}
END_TEST

START_TEST(t_str_hash_is_stable) {
    /* FNV-1a, 64 bits, then the 64-bit finaliser of MurmurHash3: names ids in stored files. */
    CHECK(rex_hash64("", 0) == 0xEFD01F60BA992926u);
    CHECK(rex_hash64("gsm8k/test/17", 13) == 0xE36472DFD770ED17u);
    CHECK(rex_str_eq(rex_str_of("ab"), (rex_str){"abc", 2}));
    CHECK(!rex_str_is((rex_str){"ab", 2}, "abc"));
    CHECK(rex_str_is((rex_str){NULL, 0}, ""));
}
END_TEST

static rex_status memory_round(void) {
    rex_arena *a;
    rex_err e;
    REX_TRY(rex_arena_open(0, &a, &e));
    rex_status s = REX_OK;
    rex_str text = {NULL, 0};
    for (int i = 0; i < 20 && s == REX_OK; i++) {
        s = rex_str_fmt(a, &text, &e, "%d %s", i, "some more text to fill a block");
        if (s == REX_OK && !rex_arena_zero(a, 3000, 3, &e)) s = e.code;
    }
    rex_buf b;
    rex_buf_init(&b, 0);
    for (int i = 0; i < 500; i++) rex_buf_addf(&b, "%d,", i);
    if (s == REX_OK) s = rex_buf_check(&b, &e);
    rex_buf_free(&b);
    rex_arena_close(a);
    return s;
}

static rex_status pool_round(void) {
    rex_pool *p;
    REX_TRY(rex_pool_open(3, &p, NULL));
    rex_pool_close(p);
    return REX_OK;
}

START_TEST(t_mem_torture) {
    REX_TORTURE(memory_round());
    REX_TORTURE(pool_round());
}
END_TEST

/* ---- files ------------------------------------------------------------------------------- */

static char *slurp(const char *path) {
    static char text[1 << 17];
    FILE *const f = fopen(path, "rb");
    if (!f) return NULL;
    const size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    return text;
}

static rex_status write_file(const char *path, const char *text, bool commit) {
    rex_out *o;
    rex_err e;
    REX_TRY(rex_out_open(path, &o, &e));
    rex_out_addf(o, "%s", text);
    if (commit) return rex_out_commit(o, &e);
    rex_out_close(o);
    return REX_OK;
}

START_TEST(t_out_appears_whole_or_not_at_all) {
    const char *const path = rex_test_tmp("out.txt");
    CHECK_STATUS(write_file(path, "never", false), REX_OK);
    CHECK(access(path, F_OK) != 0);
    CHECK_STATUS(write_file(path, "one\n", true), REX_OK);
    CHECK_STR(slurp(path), "one\n");
    rex_out *o;
    rex_err e;
    CHECK_OK(rex_out_open(path, &o, &e), e);
    for (int i = 0; i < 20000; i++) rex_out_add(o, "abcd", 4);
    CHECK_STR(slurp(path), "one\n"); /* the old content stays until the commit */
    CHECK_OK(rex_out_commit(o, &e), e);
    CHECK_EQ(strlen(slurp(path)), 80000);
    REX_TORTURE(write_file(path, "two\n", true));
    CHECK_STR(slurp(path), "two\n");
}
END_TEST

START_TEST(t_out_failures_are_told) {
    rex_out *o;
    rex_err e;
    CHECK_STATUS(rex_out_open(rex_test_tmp("none/out.txt"), &o, &e), REX_EIO);
    CHECK_HAS(e.text, "none/out.txt");
    if (access("/dev/full", W_OK) != 0) SKIP("no /dev/full here");
    CHECK_OK(rex_out_open("/dev/full", &o, &e), e);
    for (int i = 0; i < 70000; i++) rex_out_add(o, "x", 1);
    CHECK_STATUS(rex_out_commit(o, &e), REX_EIO);
    CHECK_HAS(e.text, "/dev/full");
}
END_TEST

START_TEST(t_out_append_cuts_a_torn_line) {
    const char *const path = rex_test_file("lines.jsonl", "{\"a\":1}\n{\"b\":", 13);
    rex_out *o;
    rex_err e;
    CHECK_OK(rex_out_append(path, &o, &e), e);
    rex_out_addf(o, "{\"c\":3}\n");
    CHECK_OK(rex_out_flush(o, &e), e);
    CHECK_STR(slurp(path), "{\"a\":1}\n{\"c\":3}\n");
    CHECK_OK(rex_out_commit(o, &e), e);
    char torn[9000];
    memset(torn, 'y', sizeof torn);
    const char *const all = rex_test_file("torn.jsonl", torn, sizeof torn);
    CHECK_OK(rex_out_append(all, &o, &e), e);
    CHECK_OK(rex_out_commit(o, &e), e);
    CHECK_STR(slurp(all), "");
}
END_TEST

START_TEST(t_folder_is_made_once_on_the_way_or_fresh) {
    rex_err e;
    struct stat st;
    char path[512], below[600];
    snprintf(path, sizeof path, "%s", rex_test_tmp("folder"));
    snprintf(below, sizeof below, "%s/a//b/c/", path);
    CHECK_STATUS(rex_folder_make(below, REX_FOLDER_ANY, &e), REX_EIO); /* nothing on the way */
    CHECK_HAS(e.text, below);
    CHECK_OK(rex_folder_make(below, REX_FOLDER_ALL, &e), e);
    CHECK_OK(rex_folder_make(below, REX_FOLDER_ALL, &e), e);
    CHECK(stat(below, &st) == 0 && S_ISDIR(st.st_mode));
    CHECK_OK(rex_folder_make(path, REX_FOLDER_ANY, &e), e);
    CHECK_STATUS(rex_folder_make(path, REX_FOLDER_NEW, &e), REX_EIO);
    CHECK_OK(rex_folder_sync(path, &e), e);
    const char *const file = rex_test_file("plain", "x", 1);
    CHECK_STATUS(rex_folder_make(file, REX_FOLDER_ANY, &e), REX_EIO); /* a file is no folder */
    snprintf(below, sizeof below, "%s/below", file);
    CHECK_STATUS(rex_folder_make(below, REX_FOLDER_ALL, &e), REX_EIO);
    CHECK_HAS(e.text, "plain");
    static char longer[5000];
    memset(longer, 'x', sizeof longer - 1);
    CHECK_STATUS(rex_folder_make(longer, REX_FOLDER_ALL, &e), REX_EIO);
}
END_TEST

START_TEST(t_folder_is_removed_with_its_files) {
    rex_err e;
    char path[512];
    CHECK_OK(rex_folder_make(rex_test_tmp("gone"), REX_FOLDER_NEW, &e), e);
    (void)rex_test_file("gone/one", "1", 1);
    (void)rex_test_file("gone/two", "2", 1);
    snprintf(path, sizeof path, "%s", rex_test_tmp("gone"));
    rex_folder_remove(path);
    CHECK(access(path, F_OK) != 0);
    rex_folder_remove(path); /* what is not there stays so */
}
END_TEST

START_TEST(t_folder_has_one_holder) {
    rex_err e;
    int mine, theirs;
    char path[512];
    snprintf(path, sizeof path, "%s", rex_test_tmp("held"));
    CHECK_OK(rex_folder_make(path, REX_FOLDER_NEW, &e), e);
    CHECK(rex_folder_claim(path, &mine) && mine >= 0);
    CHECK(!rex_folder_claim(path, &theirs)); /* another opening counts as another program */
    CHECK_EQ(theirs, -1);
    rex_folder_release(theirs);
    rex_folder_release(mine);
    CHECK(rex_folder_claim(path, &theirs));
    rex_folder_release(theirs);
    CHECK(rex_folder_claim(rex_test_tmp("no such"), &mine));
    CHECK_EQ(mine, -1);
}
END_TEST

START_TEST(t_map_reads_what_is_there) {
    rex_map *m;
    rex_err e;
    CHECK_STATUS(rex_map_open(rex_test_tmp("absent"), &m, &e), REX_EIO);
    CHECK_HAS(e.text, "absent");
    CHECK_STATUS(rex_map_open("/", &m, &e), REX_EIO);
    CHECK_HAS(e.text, "is a directory");
    CHECK_OK(rex_map_open(rex_test_file("empty", "", 0), &m, &e), e);
    CHECK_EQ(rex_map_view(m).n, 0);
    rex_map_close(m);
    static char big[300000];
    for (size_t i = 0; i < sizeof big; i++) big[i] = (char)(i * 7);
    CHECK_OK(rex_map_open(rex_test_file("big", big, sizeof big), &m, &e), e);
    CHECK_EQ(rex_map_view(m).n, sizeof big);
    rex_map_drop(m, rex_map_view(m));
    CHECK_MEM(rex_map_view(m).p, big, sizeof big); /* dropped pages come back */
    rex_map_close(m);
    rex_map_close(NULL);
}
END_TEST

/* ---- randomness -------------------------------------------------------------------------- */

START_TEST(t_rng_known_answers) {
    /* kat_vectors of the authors' Random123: philox4x32 10. */
    static const struct {
        uint32_t ctr[4], key[2], out[4];
    } kat[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof kat / sizeof kat[0]; i++) {
        rex_key k;
        rex_u32x4 c;
        memcpy(k.v, kat[i].key, sizeof k.v);
        memcpy(c.v, kat[i].ctr, sizeof c.v);
        const rex_u32x4 r = rex_rand_u32x4(k, c);
        CHECK_MEM(r.v, kat[i].out, sizeof r.v);
    }
}
END_TEST

START_TEST(t_rng_draws_are_named) {
    const rex_key k = rex_key_make(1), other = rex_key_fold(k, 1);
    const double u = rex_rand_unit(k, REX_STREAM_TEST, 2, 3, 4);
    CHECK(u == rex_rand_unit(k, REX_STREAM_TEST, 2, 3, 4));
    CHECK(u != rex_rand_unit(k, REX_STREAM_BOOT, 2, 3, 4));
    CHECK(u != rex_rand_unit(k, REX_STREAM_TEST, 3, 3, 4));
    CHECK(u != rex_rand_unit(k, REX_STREAM_TEST, 2, 4, 4));
    CHECK(u != rex_rand_unit(k, REX_STREAM_TEST, 2, 3, 4 + ((uint64_t)1 << 40)));
    CHECK(u != rex_rand_unit(other, REX_STREAM_TEST, 2, 3, 4));
    CHECK(memcmp(&other, &k, sizeof k) != 0);
}
END_TEST

/* Means and variances within 5 standard errors; the seed is fixed, so this cannot flicker. */
START_TEST(t_rng_moments) {
    const rex_key k = rex_key_make(42);
    const int n = 200000;
    double mean = 0, nmean = 0, nvar = 0, lo = 1, hi = 0;
    int bin[7] = {0};
    for (int i = 0; i < n; i++) {
        const double u = rex_rand_unit(k, REX_STREAM_TEST, (uint32_t)i, 0, 0);
        const double z = rex_rand_normal(k, REX_STREAM_TEST, (uint32_t)i, 1, 0);
        lo = fmin(lo, u);
        hi = fmax(hi, u);
        mean += u / n;
        nmean += z / n;
        nvar += z * z / n;
        bin[rex_rand_below(k, REX_STREAM_TEST, (uint32_t)i, 2, 0, 7)]++;
    }
    CHECK(lo >= 0 && hi < 1);
    CHECK_NEAR(mean, 0.5, 5 * sqrt(1.0 / 12 / n));
    CHECK_NEAR(nmean, 0.0, 5 * sqrt(1.0 / n));
    CHECK_NEAR(nvar, 1.0, 5 * sqrt(2.0 / n));
    for (int i = 0; i < 7; i++) CHECK_NEAR(bin[i], n / 7.0, 5 * sqrt(n * 6.0 / 49));
}
END_TEST

START_TEST(t_rng_below_reaches_both_ends) {
    const rex_key k = rex_key_make(3);
    CHECK_EQ(rex_rand_below(k, REX_STREAM_TEST, 0, 0, 0, 1), 0);
    const uint64_t huge = ((uint64_t)1 << 63) + 1; /* nearly every second word is rejected */
    uint64_t top = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        const uint64_t v = rex_rand_below(k, REX_STREAM_TEST, i, 0, 0, huge);
        if (v >= huge) rex_test_fail(__FILE__, __LINE__, "draw %u is out of range", i);
        top = v > top ? v : top;
    }
    CHECK(top > huge / 100 * 99);
}
END_TEST

START_TEST(t_rng_perm_is_uniform) {
    int count[24] = {0};
    for (uint64_t id = 0; id < 24000; id++) {
        uint32_t p[4];
        rex_rand_perm(rex_key_make(5), REX_STREAM_PERM, id, p, 4);
        uint32_t seen = 0;
        for (int i = 0; i < 4; i++) seen |= 1u << p[i];
        CHECK_EQ(seen, 15);
        int rank = 0;
        for (int i = 0; i < 4; i++) {
            int less = 0;
            for (int j = i + 1; j < 4; j++) less += p[j] < p[i];
            rank = rank * (4 - i) + less;
        }
        count[rank]++;
    }
    for (int i = 0; i < 24; i++) CHECK_NEAR(count[i], 1000, 5 * sqrt(1000.0));
}
END_TEST

/* ---- workers ----------------------------------------------------------------------------- */

typedef struct {
    rex_pool *pool;
    atomic_int hits[1000];
    atomic_int scratch[8];
    atomic_int nested, wrong;
} job;

static void inner(void *ud, size_t item, int worker) {
    job *const j = ud;
    (void)item;
    (void)worker;
    atomic_fetch_add(&j->nested, 1);
}

static void outer(void *ud, size_t item, int worker) {
    job *const j = ud;
    if (worker < 0 || worker >= rex_pool_size(j->pool)) atomic_fetch_add(&j->wrong, 1);
    else if (atomic_fetch_add(&j->scratch[worker], 1) != 0) atomic_fetch_add(&j->wrong, 1);
    atomic_fetch_add(&j->hits[item], 1);
    rex_pool_run(j->pool, 3, inner, j);
    if (worker >= 0 && worker < 8) atomic_fetch_sub(&j->scratch[worker], 1);
}

START_TEST(t_pool_each_item_once) {
    for (int threads = 0; threads <= 5; threads++) {
        static job j;
        memset(&j, 0, sizeof j);
        rex_err e;
        if (threads > 0) CHECK_OK(rex_pool_open(threads, &j.pool, &e), e);
        for (int round = 1; round <= 20; round++) {
            rex_pool_run(j.pool, 1000, outer, &j);
            rex_pool_run(j.pool, 1, outer, &j);
            rex_pool_run(j.pool, 0, outer, &j);
        }
        for (int i = 0; i < 1000; i++) CHECK_EQ(j.hits[i], i ? 20 : 40);
        CHECK_EQ(j.nested, 3 * 1001 * 20);
        CHECK_EQ(j.wrong, 0);
        rex_pool_close(j.pool);
    }
    rex_err e;
    rex_pool *p;
    CHECK_STATUS(rex_pool_open(-1, &p, &e), REX_EARG);
    CHECK_EQ(rex_pool_size(NULL), 1);
    rex_pool_close(NULL);
}
END_TEST

static void tiny(void *ud, size_t item, int worker) {
    (void)worker;
    ((float *)ud)[item] = ((float *)ud)[item] * 0.5f;
}

START_TEST(t_pool_keeps_denormals) {
    rex_pool *p;
    rex_err e;
    CHECK_OK(rex_pool_open(2, &p, &e), e);
    float v[64];
    for (int i = 0; i < 64; i++) v[i] = FLT_MIN;
    rex_pool_run(p, 64, tiny, v);
    for (int i = 0; i < 64; i++) CHECK(v[i] == FLT_MIN / 2 && v[i] > 0);
    rex_pool_close(p);
}
END_TEST

REX_TEST_MAIN("base", t_err_sentence_is_one_line, t_err_long_sentence_ends_at_a_character,
              t_err_every_status_has_texts, t_log_level_before_arguments, t_mem_overflow_is_refused,
              t_mem_slabs_are_zero_and_aligned, t_arena_objects_do_not_meet, t_arena_back_is_exact,
              t_arena_cap_holds, t_buf_cap_and_status_stick, t_view_never_leaves_the_file,
              t_str_hash_is_stable, t_mem_torture, t_out_appears_whole_or_not_at_all,
              t_out_failures_are_told, t_out_append_cuts_a_torn_line,
              t_folder_is_made_once_on_the_way_or_fresh, t_folder_is_removed_with_its_files,
              t_folder_has_one_holder, t_map_reads_what_is_there,
              t_rng_known_answers, t_rng_draws_are_named, t_rng_moments,
              t_rng_below_reaches_both_ends, t_rng_perm_is_uniform, t_pool_each_item_once,
              t_pool_keeps_denormals)
