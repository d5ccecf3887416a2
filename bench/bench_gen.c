/* SPDX-License-Identifier: MIT
 *
 * bench_gen.c: the engine against its floor, the larger of FLOPs over peak and bytes over read
 * speed. Both ceilings are measured right before and right after each figure, at the same number of
 * threads, so a share of the floor is a share of that minute. Weights are random, made on the spot.
 *
 *     bench_gen SHAPE FORMAT THREADS [REPEATS] [SCENES]
 *
 * SHAPE 135m|0.5b, FORMAT f32|bf16|q8_0|bf16c (bf16c: bf16 weights, bf16 compute), SCENES letters
 * of lpdsf: load, prefill, decode, samples, feature pairs. One JSON line on stdout for each scene,
 * medians and quartiles over the repeats. With one thread all times but those of `load` are
 * processor time, so that a busy machine disturbs little; with more they are wall time.
 */
#include "../src/gen/gen.h"
#include "ceiling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    const char *name, *type;
    int layers, width, heads, kv, ffn, vocab;
    bool bias;
} shape;

static const shape SHAPES[] = {
    {"135m", "llama", 30, 576, 9, 3, 1536, 49152, false},
    {"0.5b", "qwen2", 24, 896, 14, 2, 4864, 151936, true},
};

static void die(const rex_err *e) {
    fprintf(stderr, "bench_gen: %s\n", e->text);
    exit(1);
}

/* ---- ceilings ---------------------------------------------------------------------------- */

enum { READ_BYTES = 256 << 20 };

static float *read_buf;
static volatile float sink;

typedef struct {
    double flops, bytes; /* per second */
} ceiling;

static ceiling measure(rex_pool *pool) {
    return (ceiling){ceiling_flops(pool, CEILING_LONG), ceiling_read(pool, read_buf, READ_BYTES)};
}

/* ---- a model with random weights --------------------------------------------------------- */

static uint64_t dice = 88172645463325252u;

static void fill(float *v, int64_t n, float scale) {
    for (int64_t i = 0; i < n; i++) {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        v[i] = ((float)(dice >> 40) * 0x1p-24F - 0.5F) * scale;
    }
}

typedef struct {
    rex_tensor t[1024];
    char name[1024][96];
    size_t n;
    rex_dtype type;
    bool gguf;
} listing;

static void add(listing *l, rex_slot slot, int layer, int64_t rows, int64_t cols) {
    const rex_source s = {.arch = rex_arch_find(rex_str_of("llama"), false),
                          .gguf = l->gguf ? (void *)l : NULL};
    char *name = l->name[l->n];
    rex_source_name(&s, slot, layer, name, sizeof l->name[0]);
    rex_tensor *t = &l->t[l->n++];
    *t = (rex_tensor){.name = rex_str_of(name), .type = rows > 1 ? l->type : REX_T_F32,
                      .ndim = rows > 1 ? 2 : 1, .rows = rows, .cols = cols};
    if (rows > 1) t->dim[0] = rows;
    t->dim[rows > 1] = cols;
}

static void list(listing *l, const shape *s) {
    const int64_t hd = 64, q = s->heads * hd, k = s->kv * hd;
    add(l, REX_SLOT_EMBED, 0, s->vocab, s->width);
    for (int i = 0; i < s->layers; i++) {
        add(l, REX_SLOT_IN_NORM, i, 1, s->width);
        add(l, REX_SLOT_Q, i, q, s->width);
        add(l, REX_SLOT_K, i, k, s->width);
        add(l, REX_SLOT_V, i, k, s->width);
        if (s->bias) {
            add(l, REX_SLOT_Q_B, i, 1, q);
            add(l, REX_SLOT_K_B, i, 1, k);
            add(l, REX_SLOT_V_B, i, 1, k);
        }
        add(l, REX_SLOT_O, i, s->width, q);
        add(l, REX_SLOT_FFN_NORM, i, 1, s->width);
        add(l, REX_SLOT_GATE, i, s->ffn, s->width);
        add(l, REX_SLOT_UP, i, s->ffn, s->width);
        add(l, REX_SLOT_DOWN, i, s->width, s->ffn);
    }
    add(l, REX_SLOT_NORM, 0, 1, s->width);
}

static void row_of(const rex_tensor *t, float *v, uint8_t *out) {
    fill(v, t->cols, t->rows > 1 ? 0.07F : 0.2F);
    if (t->rows == 1)
        for (int64_t i = 0; i < t->cols; i++) v[i] += 1.0F;
    rex_dtype_pack(t->type, v, t->cols, out);
}

static void make_hf(const char *dir, const shape *s, listing *l) {
    char path[4096];
    rex_err e;
    snprintf(path, sizeof path, "%s/config.json", dir);
    FILE *f = fopen(path, "w");
    fprintf(
        f,
        "{\"model_type\":\"%s\",\"hidden_size\":%d,\"intermediate_size\":%d,\"num_hidden_layers\":%"
        "d,"
        "\"num_attention_heads\":%d,\"num_key_value_heads\":%d,\"vocab_size\":%d,\"rms_norm_eps\":"
        "1e-5,"
        "\"max_position_embeddings\":8192,\"rope_theta\":100000.0,\"tie_word_embeddings\":true}",
        s->type, s->width, s->ffn, s->layers, s->heads, s->kv, s->vocab);
    fclose(f);
    list(l, s);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    rex_st_out *o = NULL;
    if (rex_st_out_open(path, l->t, l->n, NULL, 0, &o, &e) != REX_OK) die(&e);
    float v[8192];
    uint8_t row[8192 * 4];
    for (size_t i = 0; i < l->n; i++)
        for (int64_t r = 0; r < l->t[i].rows; r++) {
            row_of(&l->t[i], v, row);
            rex_st_out_add(o, row, (size_t)(l->t[i].cols * (l->t[i].type == REX_T_F32 ? 4 : 2)));
        }
    if (rex_st_out_commit(o, &e) != REX_OK) die(&e);
}

static void make_gguf(const char *path, const shape *s, listing *l) {
    rex_err e;
    rex_gguf_out *o = NULL;
    if (rex_gguf_out_open(path, &o, &e) != REX_OK) die(&e);
    char key[64];
    const struct {
        const char *key;
        int64_t v;
    } num[] = {{"block_count", s->layers}, {"context_length", 8192}, {"embedding_length", s->width},
               {"feed_forward_length", s->ffn}, {"attention.head_count", s->heads},
               {"attention.head_count_kv", s->kv}};
    rex_gguf_out_str(o, "general.architecture", rex_str_of(s->type));
    for (size_t i = 0; i < sizeof num / sizeof num[0]; i++) {
        snprintf(key, sizeof key, "%s.%s", s->type, num[i].key);
        rex_gguf_out_i64(o, key, REX_G_U32, num[i].v);
    }
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", s->type);
    rex_gguf_out_f32(o, key, 1e-5F);
    snprintf(key, sizeof key, "%s.rope.freq_base", s->type);
    rex_gguf_out_f32(o, key, 100000.0F);
    l->gguf = true;
    list(l, s);
    for (size_t i = 0; i < l->n; i++) rex_gguf_out_tensor(o, &l->t[i]);
    float v[8192];
    uint8_t row[8192 * 4];
    for (size_t i = 0; i < l->n; i++) {
        const rex_dtype_info *d = rex_dtype_get(l->t[i].type);
        for (int64_t r = 0; r < l->t[i].rows; r++) {
            row_of(&l->t[i], v, row);
            rex_gguf_out_add(o, row, (size_t)(l->t[i].cols / d->block * d->bytes));
        }
    }
    if (rex_gguf_out_commit(o, &e) != REX_OK) die(&e);
}

/* ---- work and its floor ------------------------------------------------------------------ */

typedef struct {
    const shape *s;
    rex_model *m;
    rex_pool *pool;
    int threads;
    double weights, head; /* numbers in the blocks, in the head */
    double block_bytes, head_bytes;
} setup;

static void count(setup *u) {
    const shape *s = u->s;
    const double q = s->heads * 64.0, k = s->kv * 64.0;
    u->weights = s->layers * (s->width * (2 * q + 2 * k) + 3.0 * s->width * s->ffn);
    u->head = (double)s->vocab * s->width;
    const double per = (double)u->m->info.panel_bytes / (u->weights + u->head);
    u->block_bytes = u->weights * per;
    u->head_bytes = u->head * per;
}

/* Scores and sums of a query that sees n keys. */
static double attn(const shape *s, double n) { return s->layers * s->heads * 64.0 * 4.0 * n; }

static double floor_of(ceiling c, double flops, double bytes) {
    const double a = flops / c.flops, b = bytes / c.bytes;
    return a > b ? a : b;
}

static double prefill(setup *u, rex_ctx *c, int n, double *least, ceiling at) {
    static rex_row row[512];
    const int32_t seq = rex_seq_open(c);
    for (int i = 0; i < n; i++) row[i] = (rex_row){seq, (i * 7919 + 13) % u->s->vocab};
    rex_err e;
    const double t = ceiling_now();
    if (rex_ctx_step(c, row, n, &e) != REX_OK) die(&e);
    const float *x = rex_ctx_state(c, n - 1);
    sink = rex_ctx_head(c, &x, 1)[0];
    const double took = ceiling_now() - t;
    rex_seq_close(c, seq);
    double flops = 2 * u->weights * n + 2 * u->head;
    for (int i = 1; i <= n; i++) flops += attn(u->s, i);
    *least = floor_of(at, flops, u->block_bytes + u->head_bytes);
    return took;
}

static double decode(setup *u, rex_ctx *c, int n, double *least, ceiling at) {
    const int32_t seq = rex_seq_open(c);
    rex_err e;
    int32_t token = 1;
    *least = 0.0;
    const double t = ceiling_now();
    for (int i = 0; i < n; i++) {
        const rex_row row = {seq, token};
        if (rex_ctx_step(c, &row, 1, &e) != REX_OK) die(&e);
        const float *x = rex_ctx_state(c, 0);
        token = (int32_t)u->m->kern.argmax(rex_ctx_head(c, &x, 1), u->s->vocab);
        const double kv = u->s->layers * u->s->kv * 64.0 * 8.0 * (i + 1);
        *least += floor_of(at, 2 * (u->weights + u->head) + attn(u->s, i + 1),
                           u->block_bytes + u->head_bytes + kv);
    }
    const double took = ceiling_now() - t;
    rex_seq_close(c, seq);
    return took;
}

static rex_status drop(void *ud, const rex_gen_sample *s, rex_err *e) {
    (void)e;
    *(size_t *)ud += s->n;
    return REX_OK;
}

enum { SAMPLES = 64, PROMPT = 128, NEW = 128 };

static rex_engine *open_samples(setup *u, bool feature) {
    rex_gen_opts o;
    rex_gen_defaults(&o);
    o.max_tokens = NEW;
    o.max_prompt = PROMPT;
    o.batch = SAMPLES;
    o.group = SAMPLES;
    o.ignore_eos = true;
    if (feature) o.pooling = REX_POOLING_MEAN;
    rex_engine *g = NULL;
    rex_err e;
    if (rex_gen_open(u->m, NULL, u->pool, &o, &g, &e) != REX_OK) die(&e);
    return g;
}

static double samples(setup *u, rex_engine *g, double *least, ceiling at) {
    static int32_t ids[PROMPT];
    for (int i = 0; i < PROMPT; i++) ids[i] = (i * 7919 + 13) % u->s->vocab;
    const rex_gen_prompt p = {1, ids, PROMPT, 0, SAMPLES};
    rex_err e;
    size_t got = 0;
    const double t = ceiling_now();
    if (rex_gen_run(g, &p, 1, drop, &got, &e) != REX_OK) die(&e);
    const double took = ceiling_now() - t;
    if (got != (size_t)SAMPLES * NEW) exit(1);
    double flops = 2 * u->weights * PROMPT + 2 * u->head;
    for (int i = 1; i <= PROMPT; i++) flops += attn(u->s, i);
    *least = floor_of(at, flops, u->block_bytes + u->head_bytes);
    const double kv = u->s->layers * u->s->kv * 64.0 * 8.0;
    for (int i = 1; i < NEW; i++)
        *least += floor_of(at, SAMPLES * (2 * (u->weights + u->head) + attn(u->s, PROMPT + i)),
                           u->block_bytes + u->head_bytes + kv * (PROMPT + SAMPLES * i));
    return took;
}

/* ---- report ------------------------------------------------------------------------------ */

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double at_rank(double *v, int n, double q) {
    qsort(v, (size_t)n, sizeof *v, by_size);
    return v[(int)(q * (n - 1) + 0.5)];
}

enum { MAX_REPEATS = 64 };
typedef struct {
    const char *what, *format;
    double tokens;
    double rate[MAX_REPEATS], share[MAX_REPEATS];
    int n;
} figure;

static void note(figure *f, double took, double least) {
    f->rate[f->n] = f->tokens / took;
    f->share[f->n++] = 100.0 * least / took;
}

static void print(const setup *u, figure *f) {
    struct rusage ru;
    getrusage(RUSAGE_SELF, &ru);
    printf(
        "{\"bench\":\"engine\",\"shape\":\"%s\",\"format\":\"%s\",\"kernel\":\"%s\",\"threads\":%d,"
        "\"scene\":\"%s\",\"tok_per_s\":%.1f,\"floor_pct\":%.1f,\"low\":%.1f,\"high\":%.1f,\"n\":%"
        "d,"
        "\"peak_rss_mib\":%ld}\n",
        u->s->name, f->format, u->m->kern.name, u->threads, f->what, at_rank(f->rate, f->n, 0.5),
        at_rank(f->share, f->n, 0.5), at_rank(f->share, f->n, 0.25), at_rank(f->share, f->n, 0.75),
        f->n, ru.ru_maxrss >> 10);
    fflush(stdout);
}

static ceiling join(ceiling a, ceiling b) {
    return (ceiling){(a.flops + b.flops) / 2, (a.bytes + b.bytes) / 2};
}

static void steps_scene(setup *u, const char *format, int repeats, const char *scenes) {
    rex_ctx_opts o;
    rex_ctx_defaults(&o);
    o.rows = 512;
    o.per_seq = 1024;
    rex_ctx *c = NULL;
    rex_err e;
    if (rex_ctx_open(u->m, u->pool, &o, &c, &e) != REX_OK) die(&e);
    figure p = {.what = "prefill 512", .format = format, .tokens = 512};
    figure d = {.what = "one sequence", .format = format, .tokens = 48};
    double least = 0.0;
    prefill(u, c, 512, &least, measure(u->pool));
    for (int i = 0; i < repeats; i++) {
        if (strchr(scenes, 'p')) {
            const ceiling a = measure(u->pool);
            const double took = prefill(u, c, 512, &least, a);
            const ceiling b = join(a, measure(u->pool));
            prefill(u, c, 1, &least, b);
            double flops = 2 * u->weights * 512 + 2 * u->head;
            for (int k = 1; k <= 512; k++) flops += attn(u->s, k);
            note(&p, took, floor_of(b, flops, u->block_bytes + u->head_bytes));
        }
        if (strchr(scenes, 'd')) {
            const ceiling a = measure(u->pool);
            double took = decode(u, c, 48, &least, a);
            const ceiling b = measure(u->pool);
            note(&d, took, least * (a.bytes / join(a, b).bytes));
        }
    }
    if (p.n) print(u, &p);
    if (d.n) print(u, &d);
    rex_ctx_close(c);
}

static void samples_scene(setup *u, const char *format, int repeats) {
    rex_engine *g = open_samples(u, false);
    figure f = {
        .what = "64 samples of one prompt", .format = format, .tokens = (double)SAMPLES * NEW};
    for (int i = 0; i < repeats; i++) {
        double least = 0.0, after = 0.0;
        const ceiling a = measure(u->pool);
        const double took = samples(u, g, &least, a);
        const ceiling b = measure(u->pool);
        after = least * (a.flops / join(a, b).flops);
        note(&f, took, after);
    }
    print(u, &f);
    rex_gen_close(g);
}

/* One run with an engine of its own, so that on and off find the same memory: of two engines side
 * by side the one with fewer huge pages is slower, whatever it does. */
static double alone(setup *u, bool feature) {
    double least = 0.0;
    rex_engine *g = open_samples(u, feature);
    const double took = samples(u, g, &least, (ceiling){1.0, 1.0});
    rex_gen_close(g);
    return took;
}

/* Pooled features, on and off, in turns: the price is the median of the pairs. */
static void feature_scene(setup *u, const char *format, int repeats) {
    double price[MAX_REPEATS];
    for (int i = 0; i < repeats; i++) {
        const bool first = i % 2 == 0;
        const double a = alone(u, first);
        const double b = alone(u, !first);
        price[i] = 100.0 * ((first ? a / b : b / a) - 1.0);
    }
    printf("{\"bench\":\"engine\",\"shape\":\"%s\",\"format\":\"%s\",\"threads\":%d,\"scene\":"
           "\"pooled features\",\"price_pct\":%.2f,\"low\":%.2f,\"high\":%.2f,\"n\":%d}\n",
           u->s->name, format, u->threads, at_rank(price, repeats, 0.5),
           at_rank(price, repeats, 0.25), at_rank(price, repeats, 0.75), repeats);
}

static double status_mib(const char *key) {
    char text[256];
    double kib = 0.0;
    FILE *f = fopen("/proc/self/status", "r");
    if (!f) return 0.0;
    while (fgets(text, sizeof text, f))
        if (strncmp(text, key, strlen(key)) == 0) kib = strtod(text + strlen(key), NULL);
    fclose(f);
    return kib / 1024;
}

/* From the first byte of the file to the first token of a prompt of 16. */
static void load_scene(setup *u, const char *format, double open_s, double rss, double peak) {
    rex_ctx_opts o;
    rex_ctx_defaults(&o);
    o.rows = 16;
    o.per_seq = 1024;
    rex_ctx *c = NULL;
    rex_err e;
    double least;
    const double t = rex_clock();
    if (rex_ctx_open(u->m, u->pool, &o, &c, &e) != REX_OK) die(&e);
    prefill(u, c, 16, &least, (ceiling){1.0, 1.0});
    const double first = rex_clock() - t;
    printf("{\"bench\":\"engine\",\"shape\":\"%s\",\"format\":\"%s\",\"threads\":%d,\"scene\":"
           "\"load\",\"open_s\":%.3f,\"first_token_s\":%.3f,\"panels_mib\":%.0f,\"rss_mib\":%.0f,"
           "\"peak_rss_mib\":%.0f}\n",
           u->s->name, format, u->threads, open_s, open_s + first,
           (double)u->m->info.panel_bytes / 1048576, rss, peak);
    rex_ctx_close(c);
}

static const shape *find_shape(const char *name) {
    for (size_t i = 0; i < sizeof SHAPES / sizeof SHAPES[0]; i++)
        if (strcmp(SHAPES[i].name, name) == 0) return &SHAPES[i];
    fprintf(stderr, "bench_gen: no shape %s\n", name);
    exit(1);
}

int main(int argc, char **argv) {
    const char *format = argc > 2 ? argv[2] : "bf16";
    const shape *s = find_shape(argc > 1 ? argv[1] : "135m");
    setup u = {.s = s, .threads = argc > 3 ? atoi(argv[3]) : 1};
    int repeats = argc > 4 ? atoi(argv[4]) : 3;
    const char *scenes = argc > 5 ? argv[5] : "pds";
    if (repeats < 1 || repeats > MAX_REPEATS) repeats = MAX_REPEATS;
    char dir[] = "/tmp/rex-bench-XXXXXX", path[4096];
    static listing l;
    rex_err e = {0};
    if (!mkdtemp(dir)) return 1;
    const bool q8 = strcmp(format, "q8_0") == 0;
    l.type = q8 ? REX_T_Q8_0 : strcmp(format, "f32") == 0 ? REX_T_F32 : REX_T_BF16;
    snprintf(path, sizeof path, q8 ? "%s/model.gguf" : "%s", dir);
    if (q8) make_gguf(path, s, &l);
    else make_hf(dir, s, &l);
    rex_model_opts o;
    rex_model_defaults(&o);
    if (strcmp(format, "bf16c") == 0) o.compute = REX_COMPUTE_BF16;
    if (rex_pool_open(u.threads, &u.pool, &e) != REX_OK) die(&e);
    const double t = rex_clock();
    if (rex_model_open(path, &o, u.pool, &u.m, &e) != REX_OK) die(&e);
    const double open_s = rex_clock() - t;
    const double rss = status_mib("VmRSS:"), peak_rss = status_mib("VmHWM:");
    ceiling_open(u.m->kern.name, u.threads);
    read_buf = rex_mem_take(READ_BYTES, 1, &e);
    if (!read_buf) die(&e);
    memset(read_buf, 1, READ_BYTES);
    count(&u);
    if (strchr(scenes, 'l')) load_scene(&u, format, open_s, rss, peak_rss);
    if (strpbrk(scenes, "pd")) steps_scene(&u, format, repeats, scenes);
    if (strchr(scenes, 's')) samples_scene(&u, format, repeats);
    if (strchr(scenes, 'f')) feature_scene(&u, format, repeats);
    rex_model_close(u.m);
    rex_pool_close(u.pool);
    rex_mem_free(read_buf);
    const char *const files[] = {"model.gguf", "model.safetensors", "config.json"};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        (void)unlink(path);
    }
    return rmdir(dir) != 0;
}
