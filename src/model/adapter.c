/* SPDX-License-Identifier: MIT
 *
 * adapter.c: adapters in and out. A folder in the form of PEFT 0.5 and later holds
 * adapter_config.json and adapter_model.safetensors, tensors named
 * base_model.model.<module>.lora_A.weight (rank, in) and lora_B.weight (out, rank), of any type
 * that widens to f32. The tensors of the file say which layers have an adapter; each must fit its
 * layer, none may be left over.
 */
#include "adapter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME = 160, MAX_RANK = 65536 };

/* Slots that are linear layers, in the order of a block. */
static const rex_slot slots[] = {REX_SLOT_Q,   REX_SLOT_K,       REX_SLOT_V,
                                 REX_SLOT_QKV, REX_SLOT_O,       REX_SLOT_GATE,
                                 REX_SLOT_UP,  REX_SLOT_GATE_UP, REX_SLOT_DOWN};
enum { SLOTS = sizeof slots / sizeof slots[0] };

bool rex_slot_lin(const rex_shape *s, rex_slot slot, rex_lin_id *id, int64_t *rows, int64_t *cols) {
    const int64_t q = (int64_t)s->H * s->hd, k = (int64_t)s->K * s->hd;
    const struct {
        rex_slot slot;
        bool there;
        rex_lin_id id;
        int64_t rows, cols;
    } all[SLOTS] = {
        {REX_SLOT_Q, !s->fused_qkv, REX_LIN_Q, q, s->D},
        {REX_SLOT_K, !s->fused_qkv, REX_LIN_K, k, s->D},
        {REX_SLOT_V, !s->fused_qkv, REX_LIN_V, k, s->D},
        {REX_SLOT_QKV, s->fused_qkv, REX_LIN_Q, q + 2 * k, s->D},
        {REX_SLOT_O, true, REX_LIN_O, s->D, q},
        {REX_SLOT_GATE, !s->fused_up, REX_LIN_GATE, s->F, s->D},
        {REX_SLOT_UP, !s->fused_up, REX_LIN_UP, s->F, s->D},
        {REX_SLOT_GATE_UP, s->fused_up, REX_LIN_GATE, 2 * s->F, s->D},
        {REX_SLOT_DOWN, true, REX_LIN_DOWN, s->D, s->F},
    };
    for (int i = 0; i < SLOTS; i++) {
        if (all[i].slot != slot || !all[i].there) continue;
        *id = all[i].id;
        *rows = all[i].rows;
        *cols = all[i].cols;
        return true;
    }
    return false;
}

static bool has_slot(const rex_model *m, rex_slot slot) {
    rex_lin_id id;
    int64_t rows, cols;
    return rex_slot_lin(&m->s, slot, &id, &rows, &cols);
}

/* "q_proj" of "model.layers.%d.self_attn.q_proj.weight". */
static rex_str short_name(const rex_model *m, rex_slot slot) {
    const char *const f = rex_slot_hf(m->src.arch, slot);
    const char *const end = strrchr(f, '.'), *from = end;
    while (from > f && from[-1] != '.') from--;
    return (rex_str){from, (size_t)(end - from)};
}

static void name_list(const rex_model *m, uint32_t which, char *out, size_t room) {
    size_t n = 0;
    out[0] = 0;
    for (int i = 0; i < SLOTS; i++) {
        if (!(which >> slots[i] & 1)) continue;
        const rex_str s = short_name(m, slots[i]);
        const int got = snprintf(out + n, room - n, "%s%.*s", n ? "," : "", (int)s.n, s.p);
        n += (size_t)got;
        rex_assert(n < room);
    }
}

static uint32_t all_slots(const rex_model *m) {
    uint32_t which = 0;
    for (int i = 0; i < SLOTS; i++)
        if (has_slot(m, slots[i])) which |= 1u << slots[i];
    return which;
}

/* The slot of a target's name, by its last part; -1: the model has none. */
static int slot_of(const rex_model *m, rex_str name) {
    for (size_t i = name.n; i > 0; i--)
        if (name.p[i - 1] == '.') {
            name = (rex_str){name.p + i, name.n - i};
            break;
        }
    for (int i = 0; i < SLOTS; i++)
        if (has_slot(m, slots[i]) && rex_str_eq(name, short_name(m, slots[i])))
            return (int)slots[i];
    return -1;
}

static rex_status unknown_target(const rex_model *m, const char *what, rex_str name, rex_err *e) {
    char known[128];
    name_list(m, all_slots(m), known, sizeof known);
    return rex_fail(
        e, REX_EARG, -1,
        "%s: target `%.*s` is no linear layer of a %s block; there are %s, and all-linear", what,
        (int)(name.n > 60 ? 60 : name.n), name.p, m->src.arch->name, known);
}

static rex_status read_targets(const rex_model *m, const char *list, uint32_t *out, rex_err *e) {
    *out = 0;
    if (!list || !*list || strcmp(list, "all-linear") == 0) {
        *out = all_slots(m);
        return REX_OK;
    }
    for (const char *p = list; p;) {
        const size_t n = strcspn(p, ",");
        const int slot = slot_of(m, (rex_str){p, n});
        if (slot < 0) return unknown_target(m, "lora targets", (rex_str){p, n}, e);
        *out |= 1u << slot;
        p = p[n] ? p + n + 1 : NULL;
    }
    return REX_OK;
}

static void tensor_name(const rex_model *m, rex_slot slot, int layer, int part, char out[NAME]) {
    const char *const f = rex_slot_hf(m->src.arch, slot), *const mark = strstr(f, "%d");
    const char *const end = strrchr(f, '.');
    const int n = snprintf(out, NAME, "base_model.model.%.*s%d%.*s.lora_%c.weight", (int)(mark - f),
                           f, layer, (int)(end - mark - 2), mark + 2, part == 1 ? 'A' : 'B');
    rex_assert(n > 0 && n < NAME);
}

/* ---- the config -------------------------------------------------------------------------- */

static bool is_nothing(const rex_jval *v) {
    return v->kind == REX_J_NULL || v->kind == REX_J_FALSE ||
           ((v->kind == REX_J_ARR || v->kind == REX_J_OBJ) && v->n == 0) ||
           (v->kind == REX_J_STR && (v->u.s.n == 0 || rex_str_is(v->u.s, "none")));
}

static bool is_one_of(rex_str s, const char *const *list) {
    for (; *list; list++)
        if (rex_str_is(s, *list)) return true;
    return false;
}

static rex_status check_targets(const rex_model *m, const rex_jval *v, const char *what,
                                rex_err *e) {
    if (v->kind == REX_J_STR) return REX_OK; /* a pattern: the tensors tell what it meant */
    for (uint32_t i = 0; v->kind == REX_J_ARR && i < v->n; i++) {
        const rex_jval *const t = &v->u.c.item[i];
        if (t->kind != REX_J_STR)
            return rex_fail(e, REX_EFORMAT, t->at, "%s: byte %lld: a target is %s", what,
                            (long long)t->at, rex_json_kind_name(t->kind));
        if (slot_of(m, t->u.s) < 0) {
            const rex_status s = unknown_target(m, what, t->u.s, e);
            if (e) e->code = REX_EUNSUP;
            return s == REX_EARG ? REX_EUNSUP : s;
        }
    }
    return REX_OK;
}

/* Ways of starting that change the base as well: the file alone does not tell the model. */
static rex_status check_start(const rex_jval *v, const char *what, rex_err *e) {
    static const char *const moves_base[] = {"pissa", "olora", "corda", "loftq", "lora_ga", NULL};
    for (const char *const *p = moves_base; v->kind == REX_J_STR && *p; p++)
        if (v->u.s.n >= strlen(*p) && memcmp(v->u.s.p, *p, strlen(*p)) == 0)
            return rex_fail(e, REX_EUNSUP, v->at,
                            "%s: `init_lora_weights` is %.*s, which changes the base as well; it "
                            "is not implemented",
                            what, (int)v->u.s.n, v->u.s.p);
    return REX_OK;
}

rex_status rex_lora_config_read(const rex_model *m, const rex_jval *doc, const char *what,
                                rex_lora_config *out, rex_err *e) {
    static const char *const refused[] = {
        "use_dora",      "bias",          "modules_to_save",         "rank_pattern",
        "alpha_pattern", "fan_in_fan_out", "layer_replication",      "use_qalora",
        "lora_bias",     "target_parameters", "trainable_token_indices", "alora_invocation_tokens",
        "use_bdlora",    "arrow_config",  "megatron_config",          NULL};
    static const char *const harmless[] = {
        "auto_mapping",     "base_model_name_or_path", "revision",        "task_type",
        "inference_mode",   "peft_version",            "exclude_modules", "layers_to_transform",
        "layers_pattern",   "megatron_core",           "loftq_config",    "eva_config",
        "corda_config",     "lora_ga_config",          "lora_dropout",    "runtime_config",
        "qalora_group_size", "ensure_weight_tying",    NULL};
    if (doc->kind != REX_J_OBJ)
        return rex_fail(e, REX_EFORMAT, doc->at, "%s holds %s, expected an object", what,
                        rex_json_kind_name(doc->kind));
    *out = (rex_lora_config){.rank = 0, .alpha = -1.0};
    for (uint32_t i = 0; i < doc->n; i++) {
        const rex_str key = doc->u.c.key[i];
        const rex_jval *const v = &doc->u.c.item[i];
        if (rex_str_is(key, "peft_type")) {
            if (v->kind != REX_J_STR || !rex_str_is(v->u.s, "LORA"))
                return rex_fail(e, REX_EUNSUP, v->at, "%s: `peft_type` is not LORA", what);
        } else if (rex_str_is(key, "r")) {
            const rex_status s = rex_json_i64(v, "r", &out->rank, e);
            if (s != REX_OK) return rex_fail_in(e, s, "%s", what);
        } else if (rex_str_is(key, "lora_alpha")) {
            const rex_status s = rex_json_f64(v, "lora_alpha", &out->alpha, e);
            if (s != REX_OK) return rex_fail_in(e, s, "%s", what);
        } else if (rex_str_is(key, "use_rslora")) {
            out->rslora = v->kind == REX_J_TRUE;
        } else if (rex_str_is(key, "target_modules")) {
            REX_TRY(check_targets(m, v, what, e));
        } else if (rex_str_is(key, "init_lora_weights")) {
            REX_TRY(check_start(v, what, e));
        } else if (is_nothing(v)) {
            continue;
        } else if (is_one_of(key, refused)) {
            return rex_fail(e, REX_EUNSUP, v->at, "%s: byte %lld: `%.*s` is not implemented", what,
                            (long long)v->at, (int)key.n, key.p);
        } else if (is_one_of(key, harmless)) {
            continue;
        } else if (v->kind == REX_J_TRUE || v->kind == REX_J_OBJ) { /* a method that we know not */
            return rex_fail(e, REX_EUNSUP, v->at, "%s: byte %lld: `%.*s` is not known", what,
                            (long long)v->at, (int)(key.n > 60 ? 60 : key.n), key.p);
        } else {
            rex_say(REX_LOG_WARN, "%s: key `%.*s` is not known and has no effect here", what,
                    (int)(key.n > 60 ? 60 : key.n), key.p);
        }
    }
    if (out->rank < 1 || out->rank > MAX_RANK)
        return rex_fail(e, REX_EFORMAT, -1, "%s: `r` is %lld, expected a rank of 1 .. %d", what,
                        (long long)out->rank, MAX_RANK);
    if (!isfinite(out->alpha) || out->alpha < 0.0)
        return rex_fail(e, REX_EFORMAT, -1, "%s: no usable `lora_alpha`", what);
    return REX_OK;
}

static void put_null(rex_jw *w, const char *key) {
    rex_jw_key(w, key);
    rex_jw_null(w);
}

static void put_bool(rex_jw *w, const char *key, bool v) {
    rex_jw_key(w, key);
    rex_jw_bool(w, v);
}

void rex_adapter_config(const rex_model *m, const char *base, rex_buf *out) {
    const rex_adapter *const a = m->adapter;
    rex_jw w;
    rex_jw_init(&w, out);
    rex_jw_obj(&w);
    put_null(&w, "auto_mapping");
    rex_jw_key(&w, "base_model_name_or_path");
    rex_jw_cstr(&w, base);
    rex_jw_key(&w, "bias");
    rex_jw_cstr(&w, "none");
    put_bool(&w, "fan_in_fan_out", false);
    put_bool(&w, "inference_mode", true);
    put_bool(&w, "init_lora_weights", true);
    rex_jw_key(&w, "lora_alpha");
    rex_jw_f64(&w, a->alpha);
    rex_jw_key(&w, "lora_dropout");
    rex_jw_f64(&w, 0.0);
    put_null(&w, "modules_to_save");
    rex_jw_key(&w, "peft_type");
    rex_jw_cstr(&w, "LORA");
    rex_jw_key(&w, "r");
    rex_jw_i64(&w, a->rank);
    rex_jw_key(&w, "target_modules");
    rex_jw_arr(&w);
    for (int i = 0; i < SLOTS; i++)
        if (a->slots >> slots[i] & 1) rex_jw_str(&w, short_name(m, slots[i]));
    rex_jw_arr_end(&w);
    rex_jw_key(&w, "task_type");
    rex_jw_cstr(&w, "CAUSAL_LM");
    put_bool(&w, "use_dora", false);
    put_bool(&w, "use_rslora", a->rslora);
    rex_jw_obj_end(&w);
    rex_buf_addf(out, "\n");
}

/* ---- opening ----------------------------------------------------------------------------- */

typedef struct {
    rex_model *m;
    rex_adapter *a;
    rex_pool *pool;
    rex_st *st;       /* NULL: a new one */
    const char *path; /* of its tensors */
    uint64_t seed;
    size_t at;        /* floats of the slab handed out */
    float *row;       /* row-major scratch of one matrix */
} opening;

static size_t panel_floats(int64_t rows, int64_t cols) {
    return (size_t)(rex_panel_count(rows) * REX_PANEL * cols);
}

static rex_status fits(const opening *o, const rex_tensor *t, const char *name, int64_t rows,
                       int64_t cols, rex_err *e) {
    if (!t) return rex_fail(e, REX_EFORMAT, -1, "%s: tensor %s is missing", o->path, name);
    const rex_dtype_info *const type = rex_dtype_get(t->type);
    if (!type->wide || type->block != 1)
        return rex_fail(e, REX_EUNSUP, -1, "%s: tensor %s is of type %s, expected F32, F16 or BF16",
                        o->path, name, type->name);
    if (t->ndim != 2 || t->rows != rows || t->cols != cols)
        return rex_fail(e, REX_EFORMAT, -1,
                        "%s: tensor %s is %lld x %lld, expected %lld x %lld: the adapter is not "
                        "one of rank %lld for %s",
                        o->path, name, (long long)t->rows, (long long)t->cols, (long long)rows,
                        (long long)cols, (long long)o->a->rank, o->m->src.path);
    return REX_OK;
}

/* Drawn as PEFT does: uniform within 1/sqrt(in); B begins at zero. */
static void draw(const opening *o, const char *name, int part, int64_t rows, int64_t cols) {
    const rex_key key = rex_key_make(o->seed);
    const uint64_t id = rex_hash64(name, strlen(name));
    const double bound = 1.0 / sqrt((double)cols);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            const double u =
                part == 2 ? 0.5
                          : rex_rand_unit(key, REX_STREAM_INIT, (uint32_t)c, (uint32_t)r, id);
            o->row[r * cols + c] = (float)((2.0 * u - 1.0) * bound);
        }
}

static rex_status one_part(opening *o, rex_slot slot, int layer, int part, int64_t rows,
                           int64_t cols, rex_lin *lin, rex_err *e) {
    char name[NAME];
    tensor_name(o->m, slot, layer, part, name);
    if (o->st) {
        const rex_tensor *const t = rex_st_find(o->st, name);
        REX_TRY(fits(o, t, name, rows, cols, e));
        for (int64_t r = 0; r < rows; r++) rex_tensor_get_f32(t, r, 0, cols, o->row + r * cols);
    } else {
        draw(o, name, part, rows, cols);
    }
    float *const panels = o->a->slab + o->at;
    o->at += panel_floats(rows, cols);
    lin->w = (rex_panels){.type = REX_K_F32, .n = rows, .k = cols, .ld = 0, .data = panels};
    const rex_pack job = {.from = REX_K_F32, .to = REX_K_F32, .src = o->row, .row = cols, .col = 1,
                          .n = rows, .k = cols, .dst = panels};
    rex_pack_run(&o->m->kern, o->pool, &job);
    o->a->params += rows * cols;
    return REX_OK;
}

static bool wanted(const opening *o, rex_slot slot, int layer) {
    char name[NAME];
    if (!o->st) return o->a->slots >> slot & 1;
    for (int part = 1; part <= 2; part++) {
        tensor_name(o->m, slot, layer, part, name);
        if (rex_st_find(o->st, name)) return true;
    }
    return false;
}

/* Every layer that gets an adapter; the first walk sums up sizes. */
static rex_status walk(opening *o, bool fill, size_t *floats, size_t *largest, size_t *tensors,
                       rex_err *e) {
    *floats = *largest = *tensors = 0;
    for (int l = 0; l < o->m->s.L; l++)
        for (int i = 0; i < SLOTS; i++) {
            rex_lin_id id;
            int64_t out, in;
            const int64_t r = o->a->rank;
            if (!rex_slot_lin(&o->m->s, slots[i], &id, &out, &in) || !wanted(o, slots[i], l))
                continue;
            const size_t most = (size_t)(r * (in > out ? in : out));
            *floats += panel_floats(r, in) + panel_floats(out, r);
            *largest = most > *largest ? most : *largest;
            *tensors += 2;
            o->a->slots |= 1u << slots[i];
            if (!fill) continue;
            rex_lora *const low = rex_arena_zero(o->m->arena, 1, sizeof *low, e);
            if (!low) return REX_ENOMEM;
            REX_TRY(one_part(o, slots[i], l, 1, r, in, &low->a, e));
            REX_TRY(one_part(o, slots[i], l, 2, out, r, &low->b, e));
            o->m->layer[l].lin[id].low = low;
        }
    return REX_OK;
}

/* Names the first tensor of the file that no layer has taken. */
static rex_status left_over(const opening *o, rex_err *e) {
    char name[NAME];
    for (size_t k = 0; k < rex_st_count(o->st); k++) {
        const rex_str t = rex_st_at(o->st, k)->name;
        bool known = false;
        for (int l = 0; l < o->m->s.L && !known; l++)
            for (int i = 0; i < SLOTS && !known; i++)
                for (int part = 1; part <= 2 && has_slot(o->m, slots[i]) && !known; part++) {
                    tensor_name(o->m, slots[i], l, part, name);
                    known = rex_str_is(t, name);
                }
        if (!known)
            return rex_fail(e, REX_EUNSUP, -1,
                            "%s: tensor `%.*s` belongs to no linear layer of %s's %d %s blocks",
                            o->path, (int)(t.n > 120 ? 120 : t.n), t.p, o->m->src.path, o->m->s.L,
                            o->m->src.arch->name);
    }
    return rex_fail(e, REX_EFORMAT, -1, "%s: no tensor of an adapter in this file", o->path);
}

static rex_status fill(opening *o, rex_err *e) {
    size_t floats, largest, tensors;
    rex_adapter *const a = o->a;
    REX_TRY(walk(o, false, &floats, &largest, &tensors, e));
    if (o->st && (tensors == 0 || rex_st_count(o->st) > tensors)) return left_over(o, e);
    a->scale = (float)(a->alpha / (a->rslora ? sqrt((double)a->rank) : (double)a->rank));
    a->floats = floats;
    a->slab = rex_mem_take(floats, sizeof *a->slab, e);
    if (!a->slab) return REX_ENOMEM;
    o->row = rex_mem_take(largest, sizeof *o->row, e);
    if (!o->row) return REX_ENOMEM;
    REX_TRY(walk(o, true, &floats, &largest, &tensors, e));
    name_list(o->m, a->slots, a->targets, sizeof a->targets);
    return REX_OK;
}

static rex_status from_folder(opening *o, const char *folder, rex_err *e) {
    char path[4096];
    rex_str kept;
    rex_jval *doc = NULL;
    rex_lora_config c;
    if (!rex_path_join(path, sizeof path, folder, "adapter_config.json"))
        return rex_fail(e, REX_EARG, -1, "adapter %s: path is too long", folder);
    REX_TRY(rex_json_load(o->m->arena, path, &doc, e));
    REX_TRY(rex_lora_config_read(o->m, doc, path, &c, e));
    REX_TRY(rex_str_copy(o->m->arena, rex_str_of(folder), &kept, e));
    o->a->path = kept.p;
    o->a->rank = c.rank;
    o->a->alpha = c.alpha;
    o->a->rslora = c.rslora;
    if (!rex_path_join(path, sizeof path, folder, "adapter_model.safetensors"))
        return rex_fail(e, REX_EARG, -1, "adapter %s: path is too long", folder);
    REX_TRY(rex_str_copy(o->m->arena, rex_str_of(path), &kept, e));
    o->path = kept.p;
    return rex_st_open(path, &o->st, e);
}

static rex_status new_one(opening *o, const rex_model_opts *opts, rex_err *e) {
    if (opts->lora_rank > MAX_RANK)
        return rex_fail(e, REX_EARG, -1, "lora: a rank of %lld, expected 1 .. %d",
                        (long long)opts->lora_rank, MAX_RANK);
    o->a->rank = opts->lora_rank;
    o->a->alpha = opts->lora_alpha > 0.0 ? opts->lora_alpha : 2.0 * (double)opts->lora_rank;
    return read_targets(o->m, opts->lora_targets, &o->a->slots, e);
}

rex_status rex_adapter_open(rex_model *m, const rex_model_opts *opts, rex_pool *pool, rex_err *e) {
    if (opts->adapter && opts->lora_rank > 0)
        return rex_fail(e, REX_EARG, -1,
                        "an adapter's folder and a new adapter of rank %lld exclude each other",
                        (long long)opts->lora_rank);
    if (!m->layer) m->layer = rex_arena_zero(m->arena, (size_t)m->s.L, sizeof *m->layer, e);
    m->adapter = m->layer ? rex_mem_take(1, sizeof *m->adapter, e) : NULL;
    if (!m->adapter) return REX_ENOMEM;
    opening o = {.m = m, .a = m->adapter, .pool = pool, .seed = opts->seed};
    rex_status s = opts->adapter ? from_folder(&o, opts->adapter, e) : new_one(&o, opts, e);
    if (s == REX_OK) s = fill(&o, e);
    rex_mem_free(o.row);
    rex_st_close(o.st);
    return s;
}

void rex_adapter_close(rex_adapter *a) {
    if (!a) return;
    rex_mem_free(a->slab);
    rex_mem_free(a);
}

void rex_adapter_info(const rex_model *m, rex_model_info *i) {
    i->lora_rank = m->adapter->rank;
    i->lora_alpha = m->adapter->alpha;
    i->lora_params = m->adapter->params;
    i->lora_targets = m->adapter->targets;
    i->adapter = m->adapter->path;
}

size_t rex_adapter_params(rex_model *m, rex_param *out) {
    size_t n = 0;
    for (int l = 0; l < m->s.L; l++)
        for (int i = 0; i < SLOTS; i++) {
            rex_lin_id id;
            int64_t rows, cols;
            if (!rex_slot_lin(&m->s, slots[i], &id, &rows, &cols)) continue;
            rex_lora *const low = m->layer[l].lin[id].low;
            for (int part = 1; low && part <= 2; part++, n++) {
                rex_lin *const x = part == 1 ? &low->a : &low->b;
                if (!out) continue;
                out[n] = (rex_param){.slot = slots[i], .layer = l, .part = part, .rows = x->w.n,
                                     .cols = x->w.k, .lin = x};
                tensor_name(m, slots[i], l, part, out[n].name);
            }
        }
    return n;
}

void rex_adapter_merge_row(const rex_adapter *a, const rex_lora *low, int64_t row, float *w) {
    const float *const A = low->a.w.data, *const B = low->b.w.data;
    const int64_t in = low->a.w.k, r = a->rank;
    const float *const b = B + row / REX_PANEL * REX_PANEL * r + row % REX_PANEL;
    for (int64_t k = 0; k < in; k++) {
        double sum = 0.0;
        for (int64_t j = 0; j < r; j++) {
            const float *const panel = A + j / REX_PANEL * REX_PANEL * in;
            sum += (double)b[j * REX_PANEL] * (double)panel[k * REX_PANEL + j % REX_PANEL];
        }
        w[k] = (float)((double)w[k] + (double)a->scale * sum);
    }
}
