/* SPDX-License-Identifier: MIT
 *
 * test_adapter: adapters read and written in the form of PEFT, merged, and refused with a reason;
 * models written as GGUF and read back to the same bits; failing allocations. The gradients of
 * adapters are in test_train.c.
 */
#include "rex_test.h"

#include "../src/rl/sft.h"
#include "../src/rl/export.h"

#include <sys/stat.h>
#include <unistd.h>

#define GOLDEN "tests/golden/models/"

static const char *const golden[] = {"llama", "llama3", "llama_linear", "mistral", "qwen2",
                                     "qwen3", "phi3",   "phi3_long",    "gemma3"};
enum { N_GOLDEN = sizeof golden / sizeof golden[0], T = 20 };

static rex_model *open_with(const char *path, rex_model_opts o) {
    rex_model *m = NULL;
    rex_err e = {0};
    o.size = sizeof o;
    if (rex_model_open(path, &o, NULL, &m, &e) != REX_OK)
        rex_test_fail(__FILE__, __LINE__, "%s", e.text);
    return m;
}

/* Logits of T tokens, (T, V), in steps of `chunk` rows. The caller frees. */
static float *logits_of(const rex_model *m, int chunk) {
    rex_ctx_opts o;
    rex_ctx *c = NULL;
    rex_err e;
    rex_ctx_defaults(&o);
    o.rows = T;
    o.per_seq = 32;
    o.logit_rows = T;
    CHECK_OK(rex_ctx_open(m, NULL, &o, &c, &e), e);
    float *const out = calloc((size_t)(T * m->s.V), sizeof *out);
    const int32_t seq = rex_seq_open(c);
    for (int t = 0; t < T; t += chunk) {
        rex_row row[T];
        const float *state[T];
        const int n = t + chunk < T ? chunk : T - t;
        for (int i = 0; i < n; i++) row[i] = (rex_row){seq, 3 + ((t + i) * 31) % 90};
        CHECK_OK(rex_ctx_step(c, row, n, &e), e);
        for (int i = 0; i < n; i++) state[i] = rex_ctx_state(c, i);
        memcpy(out + t * m->s.V, rex_ctx_head(c, state, n),
               (size_t)(n * m->s.V) * sizeof *out);
    }
    rex_ctx_close(c);
    return out;
}

/* B begins at zero; here it is as after some training. */
static void fill_b(rex_model *m) {
    const rex_key key = rex_key_make(9);
    for (int l = 0; l < m->s.L; l++)
        for (int id = 0; id < REX_LIN_COUNT; id++) {
            const rex_lora *const low = m->layer[l].lin[id].low;
            if (!low) continue;
            union {
                const void *seen;
                float *own;
            } b = {.seen = low->b.w.data};
            for (int64_t o = 0; o < low->b.w.n; o++)
                for (int64_t j = 0; j < low->b.w.k; j++)
                    b.own[(o / 32 * low->b.w.k + j) * 32 + o % 32] =
                        0.05f * (float)rex_rand_normal(key, REX_STREAM_TEST, (uint32_t)j,
                                                       (uint32_t)o, (uint64_t)(l * 16 + id));
        }
}

static void put_file(const char *folder, const char *name, const void *p, size_t n) {
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *const f = fopen(path, "wb");
    if (!f || fwrite(p, 1, n, f) != n || fclose(f) != 0) ck_abort_msg("cannot write %s", path);
}

/* The adapter of a model as a folder below this run's. */
static void save_adapter(rex_model *m, const char *folder) {
    rex_grads *g = NULL;
    rex_err e;
    rex_buf b;
    rex_buf_init(&b, 0);
    (void)mkdir(folder, 0777);
    rex_adapter_config(m, "base", &b);
    put_file(folder, "adapter_config.json", b.p, b.n);
    rex_buf_free(&b);
    CHECK_OK(rex_grads_open(m, NULL, &g, &e), e);
    CHECK_OK(rex_weights_save(g, folder, &e), e);
    rex_grads_close(g);
}

static void check_same(const float *a, const float *b, int64_t n, const char *what) {
    if (memcmp(a, b, (size_t)n * sizeof *a) == 0) return;
    for (int64_t i = 0; i < n; i++)
        if (a[i] != b[i]) {
            rex_test_fail(__FILE__, __LINE__, "%s: logit %lld is %.9g and %.9g", what, (long long)i,
                          (double)a[i], (double)b[i]);
            return;
        }
}

/* The largest difference of two rows of logits as a part of the largest logit. */
static double farthest(const float *a, const float *b, int64_t n) {
    double most = 0.0;
    double scale = 0.0;
    for (int64_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        scale = fmax(scale, fabs((double)a[i]));
    }
    return most / scale;
}

static rex_status export_as(const char *model, const char *out, rex_weights_as type, rex_err *e) {
    rex_export_opts x;
    rex_export_defaults(&x);
    x.model = model;
    x.out = out;
    x.gguf = true;
    x.type = type;
    return rex_export_run(&x, e);
}

/* ---- there and back ---------------------------------------------------------------------- */

START_TEST(t_adapter_new_one_changes_nothing_and_a_saved_one_everything) {
    for (int k = 0; k < N_GOLDEN; k++) {
        char path[256], folder[256], merged[300];
        rex_err e;
        (void)snprintf(path, sizeof path, GOLDEN "%s", golden[k]);
        (void)snprintf(folder, sizeof folder, "%s", rex_test_tmp(golden[k]));
        (void)snprintf(merged, sizeof merged, "%s.merged", folder);
        rex_model *const base = open_with(path, (rex_model_opts){0});
        rex_model *const m = open_with(path, (rex_model_opts){.lora_rank = 3 + k, .lora_alpha = 5.0,
                                                              .seed = 4});
        const int64_t n = T * base->s.V;
        float *const plain = logits_of(base, T), *const fresh = logits_of(m, T);
        check_same(plain, fresh, n, golden[k]); /* B is zero */
        fill_b(m);
        float *const want = logits_of(m, T), *const cut = logits_of(m, 3);
        check_same(want, cut, n, "cut into steps");
        CHECK(farthest(want, plain, n) > 1e-2);
        save_adapter(m, folder);
        rex_model *const again = open_with(path, (rex_model_opts){.adapter = folder});
        float *const got = logits_of(again, T);
        check_same(want, got, n, "read again");
        CHECK_EQ(again->info.lora_rank, 3 + k);
        CHECK(again->info.lora_alpha == 5.0);
        CHECK_EQ(again->info.lora_params, m->info.lora_params);
        rex_export_opts x;
        rex_export_defaults(&x);
        x.model = path;
        x.adapter = folder;
        x.out = merged;
        CHECK_OK(rex_export_run(&x, &e), e);
        rex_model *const whole = open_with(merged, (rex_model_opts){0});
        float *const one = logits_of(whole, T);
        const double off = farthest(want, one, n);
        if (!(off <= 1e-5))
            rex_test_fail(__FILE__, __LINE__, "%s: merged logits are off by %.3g", golden[k], off);
        float *const all[] = {plain, fresh, want, cut, got, one};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
        rex_model_close(base);
        rex_model_close(m);
        rex_model_close(again);
        rex_model_close(whole);
    }
} END_TEST

typedef struct {
    double logp[T];
} seen;

static void see(void *ud, int64_t i0, int64_t n, const double *logp, const double *entropy,
                float *dlogp, float *dent) {
    seen *const s = ud;
    (void)entropy;
    for (int64_t i = 0; i < n; i++) {
        s->logp[i0 + i] = logp[i];
        dlogp[i] = 1.0f;
        dent[i] = 0.0f;
    }
}

/* One token after the other as a sampler goes, and all at once as the trainer does, from a base in
 * the form of its file: the same log-probabilities, bit for bit. */
static void check_sampled_is_trained(const char *path, rex_compute compute) {
    const rex_model_opts how = {.lora_rank = 5, .seed = 2, .compute = compute};
    rex_model_opts train = how;
    rex_ctx_opts o;
    rex_ctx *c = NULL;
    rex_grads *g = NULL;
    rex_back *b = NULL;
    rex_err e;
    train.train = true;
    rex_model *const m = open_with(path, how), *const t = open_with(path, train);
    fill_b(m);
    fill_b(t);
    float *const x = logits_of(m, 1);
    rex_ctx_defaults(&o);
    o.rows = T;
    o.per_seq = 32;
    o.keep = true;
    o.redo = 1;
    CHECK_OK(rex_ctx_open(t, NULL, &o, &c, &e), e);
    CHECK_OK(rex_grads_open(t, NULL, &g, &e), e);
    CHECK_OK(rex_back_open(c, g, &b, &e), e);
    rex_row row[T];
    int32_t idx[T], target[T];
    const int32_t seq = rex_seq_open(c);
    for (int i = 0; i < T; i++) {
        row[i] = (rex_row){seq, 3 + (i * 31) % 90};
        idx[i] = i;
        target[i] = 3 + ((i + 1) * 31) % 90;
    }
    seen s;
    CHECK_OK(rex_ctx_step(c, row, T, &e), e);
    CHECK_OK(rex_back_run(b, idx, target, T, see, &s, &e), e);
    for (int i = 0; i < T; i++) {
        const float *const z = x + i * m->s.V;
        const double want = (double)z[target[i]] - rex_lse_log(m->kern.lse(z, 1.0f, m->s.V));
        if (memcmp(&want, &s.logp[i], sizeof want) != 0)
            rex_test_fail(__FILE__, __LINE__, "%s: token %d: sampled %.17g, trained %.17g", path, i,
                          want, s.logp[i]);
    }
    free(x);
    rex_back_close(b);
    rex_grads_close(g);
    rex_ctx_close(c);
    rex_model_close(m);
    rex_model_close(t);
}

START_TEST(t_adapter_sampled_is_trained) {
    rex_err e;
    char path[512];
    for (int k = 0; k < N_GOLDEN; k++) {
        (void)snprintf(path, sizeof path, GOLDEN "%s", golden[k]);
        check_sampled_is_trained(path, REX_COMPUTE_F32);
        check_sampled_is_trained(path, REX_COMPUTE_BF16);
    }
    (void)snprintf(path, sizeof path, "%s", rex_test_tmp("base.q8_0.gguf"));
    CHECK_OK(export_as(GOLDEN "qwen3", path, REX_WEIGHTS_Q8_0, &e), e);
    check_sampled_is_trained(path, REX_COMPUTE_F32);
    check_sampled_is_trained(path, REX_COMPUTE_BF16);
} END_TEST

START_TEST(t_adapter_targets) {
    rex_err e;
    rex_model *m = open_with(GOLDEN "llama", (rex_model_opts){.lora_rank = 2,
                                                              .lora_targets = "v_proj,q_proj"});
    CHECK_TEXT(rex_str_of(m->info.lora_targets), "q_proj,v_proj");
    CHECK_EQ(m->info.lora_params, 2 * (2 * (32 + 32) + 2 * (32 + 16)));
    CHECK(m->info.lora_alpha == 4.0);
    CHECK(m->layer[1].lin[REX_LIN_Q].low && !m->layer[1].lin[REX_LIN_O].low);
    rex_model_close(m);
    m = open_with(GOLDEN "phi3", (rex_model_opts){.lora_rank = 2});
    CHECK_TEXT(rex_str_of(m->info.lora_targets), "qkv_proj,o_proj,gate_up_proj,down_proj");
    rex_model_close(m);
    rex_model_opts o = {.size = sizeof o, .lora_rank = 2, .lora_targets = "q_proj,w_proj"};
    m = NULL;
    CHECK_STATUS(rex_model_open(GOLDEN "llama", &o, NULL, &m, &e), REX_EARG);
    CHECK_HAS(e.text, "`w_proj`");
    CHECK_HAS(e.text, "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj");
    o.lora_targets = "q_proj"; /* fused there */
    CHECK_STATUS(rex_model_open(GOLDEN "phi3", &o, NULL, &m, &e), REX_EARG);
    CHECK_HAS(e.text, "qkv_proj");
    o = (rex_model_opts){.size = sizeof o, .lora_rank = 2, .init = true};
    CHECK_STATUS(rex_model_open(GOLDEN "llama", &o, NULL, &m, &e), REX_EARG);
    CHECK_HAS(e.text, "needs a base");
} END_TEST

/* ---- what is refused --------------------------------------------------------------------- */

/* A good adapter for `llama`, into a folder whose name is kept. */
static const char *good_adapter(void) {
    static char folder[256];
    rex_model *const m = open_with(GOLDEN "llama", (rex_model_opts){.lora_rank = 2});
    (void)snprintf(folder, sizeof folder, "%s", rex_test_tmp("adapter"));
    save_adapter(m, folder);
    rex_model_close(m);
    return folder;
}

static void refused(const char *model, const char *folder, rex_status want, const char *saying) {
    rex_model *m = NULL;
    rex_err e = {0};
    const rex_model_opts o = {.size = sizeof o, .adapter = folder};
    CHECK_STATUS(rex_model_open(model, &o, NULL, &m, &e), want);
    CHECK_HAS(e.text, saying);
    rex_model_close(m);
}

START_TEST(t_adapter_config_that_lies_is_refused) {
    static const struct {
        const char *text, *saying;
        rex_status want;
    } bad[] = {
        {"{\"r\": 0, \"lora_alpha\": 4}", "`r` is 0, expected a rank", REX_EFORMAT},
        {"{\"r\": -3, \"lora_alpha\": 4}", "`r` is -3", REX_EFORMAT},
        {"{\"r\": 70000, \"lora_alpha\": 4}", "`r` is 70000", REX_EFORMAT},
        {"{\"r\": 2.5, \"lora_alpha\": 4}", "r", REX_EFORMAT},
        {"{\"lora_alpha\": 4}", "`r` is 0", REX_EFORMAT},
        {"{\"r\": 2}", "no usable `lora_alpha`", REX_EFORMAT},
        {"{\"r\": 2, \"lora_alpha\": \"x\"}", "lora_alpha", REX_EFORMAT},
        {"[1]", "expected an object", REX_EFORMAT},
        {"{\"r\": 2, \"lora_alpha\": 4", "adapter_config.json", REX_EFORMAT},
        {"{\"r\": 2, \"lora_alpha\": 4, \"peft_type\": \"IA3\"}", "`peft_type` is not LORA",
         REX_EUNSUP},
        {"{\"r\": 2, \"lora_alpha\": 4, \"use_dora\": true}", "`use_dora` is not implemented",
         REX_EUNSUP},
        {"{\"r\": 2, \"lora_alpha\": 4, \"bias\": \"all\"}", "`bias` is not implemented",
         REX_EUNSUP},
        {"{\"r\": 2, \"lora_alpha\": 4, \"modules_to_save\": [\"lm_head\"]}",
         "`modules_to_save` is not implemented", REX_EUNSUP},
        {"{\"r\": 2, \"lora_alpha\": 4, \"rank_pattern\": {\"q_proj\": 4}}",
         "`rank_pattern` is not implemented", REX_EUNSUP},
        {"{\"r\": 2, \"lora_alpha\": 4, \"new_config\": {\"x\": 1}}", "`new_config` is not known",
         REX_EUNSUP},
        {"{\"r\": 2, \"lora_alpha\": 4, \"fan_in_fan_out\": true}", "`fan_in_fan_out`", REX_EUNSUP},
        {"{\"r\": 2, \"lora_alpha\": 4, \"init_lora_weights\": \"pissa_niter_4\"}",
         "changes the base", REX_EUNSUP},
        {"{\"r\": 2, \"lora_alpha\": 4, \"target_modules\": [\"q_proj\", \"lm_head\"]}",
         "target `lm_head`", REX_EUNSUP},
        {"{\"r\": 2, \"lora_alpha\": 4, \"target_modules\": [7]}", "a target is a number",
         REX_EFORMAT},
    };
    const char *const folder = good_adapter();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_file(folder, "adapter_config.json", bad[i].text, strlen(bad[i].text));
        refused(GOLDEN "llama", folder, bad[i].want, bad[i].saying);
    }
    static const char rs[] =
        "{\"r\": 2, \"lora_alpha\": 4, \"use_rslora\": true, \"bias\": \"none\", "
        "\"modules_to_save\": null, \"target_modules\": \".*_proj\"}";
    put_file(folder, "adapter_config.json", rs, sizeof rs - 1);
    rex_model *const m = open_with(GOLDEN "llama", (rex_model_opts){.adapter = folder});
    CHECK(m->adapter->scale == (float)(4.0 / sqrt(2.0)));
    rex_model_close(m);
} END_TEST

/* One tensor as a file of its own, beside the good config. */
static void one_tensor(const char *folder, const char *name, rex_dtype type, int64_t rows,
                       int64_t cols) {
    static const char zeros[1 << 14];
    char path[1024];
    rex_err e;
    rex_st_out *out = NULL;
    rex_tensor t = {.name = rex_str_of(name), .type = type, .ndim = 2, .dim = {rows, cols}};
    uint64_t bytes = 0;
    (void)snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
    CHECK_OK(rex_tensor_shape(&t, &bytes, &e), e);
    CHECK_OK(rex_st_out_open(path, &t, 1, NULL, 0, &out, &e), e);
    rex_st_out_add(out, zeros, (size_t)bytes);
    CHECK_OK(rex_st_out_commit(out, &e), e);
}

#define LAYER "base_model.model.model.layers.1.self_attn.q_proj"
START_TEST(t_adapter_tensors_that_do_not_fit_are_refused) {
    const char *const folder = good_adapter();
    refused(GOLDEN "qwen3", folder, REX_EFORMAT, "adapter is not one of rank 2 for");
    refused(GOLDEN "phi3", folder, REX_EUNSUP, "q_proj");
    one_tensor(folder, LAYER ".lora_A.weight", REX_T_F32, 2, 32);
    refused(GOLDEN "llama", folder, REX_EFORMAT, LAYER ".lora_B.weight is missing");
    one_tensor(folder, LAYER ".lora_A.weight", REX_T_F32, 3, 32);
    refused(GOLDEN "llama", folder, REX_EFORMAT, "is 3 x 32, expected 2 x 32");
    one_tensor(folder, LAYER ".lora_A.weight", REX_T_I32, 2, 32);
    refused(GOLDEN "llama", folder, REX_EUNSUP, "of type I32");
    one_tensor(folder, LAYER ".lora_magnitude_vector", REX_T_F32, 2, 32);
    refused(GOLDEN "llama", folder, REX_EUNSUP, "lora_magnitude_vector");
    one_tensor(folder, "base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight", REX_T_F32,
               2, 32);
    refused(GOLDEN "llama", folder, REX_EUNSUP, "layers.2.");
    one_tensor(folder, "base_model.model.lm_head.lora_A.weight", REX_T_F32, 2, 32);
    refused(GOLDEN "llama", folder, REX_EUNSUP, "lm_head");
    put_file(folder, "adapter_model.safetensors", "123", 3);
    refused(GOLDEN "llama", folder, REX_EFORMAT, "adapter_model.safetensors");
    refused(GOLDEN "llama", "/nonexistent", REX_EIO, "adapter_config.json");
} END_TEST

/* ---- GGUF -------------------------------------------------------------------------------- */

/* A copy of a golden model whose config has `from` replaced by `to`. */
static const char *variant(const char *name, const char *from, const char *to) {
    static char folder[256];
    char path[512], text[8192];
    (void)snprintf(folder, sizeof folder, "%s", rex_test_tmp(name));
    (void)mkdir(folder, 0777);
    (void)snprintf(path, sizeof path, GOLDEN "%s/config.json", name);
    FILE *f = fopen(path, "rb");
    const size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f) (void)fclose(f);
    text[n] = 0;
    char *const at = strstr(text, from);
    if (!at) ck_abort_msg("%s has no %s", path, from);
    char out[9000];
    const int m =
        snprintf(out, sizeof out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    put_file(folder, "config.json", out, (size_t)m);
    char cwd[512], link[512];
    (void)snprintf(link, sizeof link, "%s/model.safetensors", folder);
    if (!getcwd(cwd, sizeof cwd)) ck_abort_msg("no folder");
    (void)snprintf(path, sizeof path, "%.300s/" GOLDEN "%s/model.safetensors", cwd, name);
    if (symlink(path, link) != 0) ck_abort_msg("cannot link %s", link);
    return folder;
}

static void same_as_gguf(const char *path) {
    char file[512];
    rex_err e;
    (void)snprintf(file, sizeof file, "%s", rex_test_tmp("model.gguf"));
    CHECK_OK(export_as(path, file, REX_WEIGHTS_F32, &e), e);
    rex_model *const a = open_with(path, (rex_model_opts){0});
    rex_model *const b = open_with(file, (rex_model_opts){0});
    if (!a || !b) return;
    float *const x = logits_of(a, T), *const y = logits_of(b, T);
    check_same(x, y, T * a->s.V, path);
    free(x);
    free(y);
    CHECK_EQ(a->s.n_eos, b->s.n_eos);
    CHECK_EQ(a->s.bos, b->s.bos);
    rex_model_close(a);
    rex_model_close(b);
    /* and back: the folder made of the file has the same numbers */
    if (a && strstr(path, "gemma3")) return;
    rex_export_opts o;
    rex_export_defaults(&o);
    char folder[600];
    (void)snprintf(folder, sizeof folder, "%s.folder", file);
    o.model = file;
    o.out = folder;
    CHECK_OK(rex_export_run(&o, &e), e);
    rex_st *s = NULL, *t = NULL;
    CHECK_OK(rex_st_open(path, &s, &e), e);
    CHECK_OK(rex_st_open(folder, &t, &e), e);
    CHECK_EQ(rex_st_count(s), rex_st_count(t));
    for (size_t i = 0; i < rex_st_count(s); i++) {
        const rex_tensor *const u = rex_st_at(s, i);
        char name[256];
        (void)snprintf(name, sizeof name, "%.*s", (int)u->name.n, u->name.p);
        const rex_tensor *const v = rex_st_find(t, name);
        if (!v || v->rows != u->rows || v->cols != u->cols) {
            rex_test_fail(__FILE__, __LINE__, "%s: %s is gone", path, name);
            continue;
        }
        float p[256], q[256];
        for (int64_t r = 0; r < u->rows; r++) {
            rex_tensor_get_f32(u, r, 0, u->cols, p);
            rex_tensor_get_f32(v, r, 0, v->cols, q);
            CHECK_MEM(p, q, (size_t)u->cols * sizeof *p);
        }
    }
    rex_st_close(s);
    rex_st_close(t);
    char file_in[700];
    (void)snprintf(file_in, sizeof file_in, "%s/model.safetensors", folder);
    (void)unlink(file_in);
    (void)snprintf(file_in, sizeof file_in, "%s/config.json", folder);
    (void)unlink(file_in);
    (void)rmdir(folder);
}

START_TEST(t_export_gguf_is_the_same_model_bit_for_bit) {
    for (int k = 0; k < N_GOLDEN; k++) {
        char path[256];
        (void)snprintf(path, sizeof path, GOLDEN "%s", golden[k]);
        if (strcmp(golden[k], "mistral") != 0 && strcmp(golden[k], "gemma3") != 0)
            same_as_gguf(path);
    }
    same_as_gguf(variant("mistral", "\"sliding_window\": 20", "\"sliding_window\": null"));
    same_as_gguf(
        variant("gemma3", "\"query_pre_attn_scalar\": 24", "\"query_pre_attn_scalar\": 16"));
} END_TEST

START_TEST(t_export_refuses_what_gguf_cannot_say) {
    rex_err e;
    char file[512];
    (void)snprintf(file, sizeof file, "%s", rex_test_tmp("refused.gguf"));
    CHECK_STATUS(export_as(GOLDEN "mistral", file, REX_WEIGHTS_F32, &e), REX_EUNSUP);
    CHECK_HAS(e.text, "a sliding window of 20");
    CHECK_STATUS(export_as(GOLDEN "gemma3", file, REX_WEIGHTS_F32, &e), REX_EUNSUP);
    CHECK_HAS(e.text, "how its scores are scaled");
    CHECK(access(file, F_OK) != 0); /* nothing is left behind */
    (void)snprintf(file, sizeof file, "%s", rex_test_tmp("refused.gguf.part"));
    CHECK(access(file, F_OK) != 0);
} END_TEST

/* The largest error of an element as a part of the largest one of its row. */
static double row_error(rex_model *a, rex_model *b) {
    rex_arena *arena = NULL;
    rex_weight *w = NULL;
    size_t n = 0;
    rex_err e;
    double most = 0.0;
    CHECK_OK(rex_arena_open(0, &arena, &e), e);
    CHECK_OK(rex_weights_list(a, arena, &w, &n, &e), e);
    for (size_t i = 0; i < n; i++)
        for (int64_t r = 0; r < w[i].rows; r++) {
            float x[128], y[128];
            double scale = 0.0, off = 0.0;
            CHECK_OK(rex_weights_row(a, &w[i], r, x, &e), e);
            CHECK_OK(rex_weights_row(b, &w[i], r, y, &e), e);
            for (int64_t k = 0; k < w[i].cols; k++) {
                scale = fmax(scale, fabs((double)x[k]));
                off = fmax(off, fabs((double)x[k] - (double)y[k]));
            }
            if (w[i].vector) CHECK(off == 0.0);
            most = fmax(most, off / scale);
        }
    rex_arena_close(arena);
    return most;
}

/* Half a unit in the last place of 24, 11 and 8 bits; half a step of 127 and the scale's f16. */
START_TEST(t_export_types_round_once) {
    static const char *const names[] = {"f32", "f16", "bf16", "q8_0"};
    static const double bound[] = {0.0, 0x1p-11, 0x1p-8, 0.5 / 127 + 0x1p-11};
    rex_err e;
    char file[512];
    rex_model *const a = open_with(GOLDEN "llama", (rex_model_opts){0});
    for (int k = 0; k < 4; k++) {
        (void)snprintf(file, sizeof file, "%s", rex_test_tmp(names[k]));
        CHECK_OK(export_as(GOLDEN "llama", file, (rex_weights_as)k, &e), e);
        rex_model *const b = open_with(file, (rex_model_opts){0});
        CHECK_TEXT(rex_str_of(b->info.weights), names[k]);
        const double off = row_error(a, b);
        if (!(off <= bound[k]) || (k > 0 && off < bound[k] / 16))
            rex_test_fail(__FILE__, __LINE__, "%s: a row is off by %.3g", names[k], off);
        rex_model_close(b);
    }
    rex_model_close(a);
} END_TEST

/* ---- too little memory ------------------------------------------------------------------- */

static rex_status open_adapted(const char *folder) {
    rex_model *m = NULL;
    rex_err e;
    const rex_model_opts o = {.size = sizeof o, .adapter = folder};
    const rex_status s = rex_model_open(GOLDEN "llama", &o, NULL, &m, &e);
    rex_model_close(m);
    return s;
}

static rex_status open_new(void) {
    rex_model *m = NULL;
    rex_err e;
    const rex_model_opts o = {.size = sizeof o, .lora_rank = 4};
    const rex_status s = rex_model_open(GOLDEN "phi3", &o, NULL, &m, &e);
    rex_model_close(m);
    return s;
}

static rex_status export_once(const char *model, const char *out, bool gguf) {
    rex_err e;
    rex_export_opts x;
    rex_export_defaults(&x);
    x.model = model;
    x.out = out;
    x.gguf = gguf;
    const rex_status s = rex_export_run(&x, &e);
    if (s != REX_OK) CHECK(access(out, F_OK) != 0);
    return s;
}

START_TEST(t_adapter_torture) {
    char file[512], folder[512];
    (void)snprintf(file, sizeof file, "%s", rex_test_tmp("torture.gguf"));
    (void)snprintf(folder, sizeof folder, "%s", rex_test_tmp("torture"));
    const char *const adapter = good_adapter();
    REX_TORTURE(open_adapted(adapter));
    REX_TORTURE(open_new());
    REX_TORTURE(export_once(GOLDEN "phi3_long", file, true));
    REX_TORTURE(export_once(GOLDEN "llama", folder, false));
} END_TEST

REX_TEST_MAIN("adapter", t_adapter_new_one_changes_nothing_and_a_saved_one_everything,
              t_adapter_sampled_is_trained, t_adapter_targets,
              t_adapter_config_that_lies_is_refused, t_adapter_tensors_that_do_not_fit_are_refused,
              t_export_gguf_is_the_same_model_bit_for_bit, t_export_refuses_what_gguf_cannot_say,
              t_export_types_round_once, t_adapter_torture)
