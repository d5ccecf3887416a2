/* SPDX-License-Identifier: MIT
 *
 * gather.c: what one run folder has to show, as JSON for the page. It reads run.json (settings),
 * explore.json or eval.json (results), pool.jsonl and features.npy (samples, the picture of a
 * problem), orders.jsonl (picks), prompts.jsonl (problems) and steps.jsonl (training). Every file
 * may be missing; one that is there and broken is an error. A pool without results gets its
 * pass@k here. Only as many samples are held in memory as the page will show.
 */
#include "report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SCENES = 6, SCENE_POINTS = 256, STEP_POINTS = 400, TEXT_CAP = 6000 };

typedef struct {
    const char *folder;
    rex_arena *a;
    rex_jw *w;
    rex_jval *run, *result; /* run.json; explore.json or eval.json; NULL if absent */
    const char *pool;       /* path or NULL */
    const char *features;
    int64_t samples;
    size_t share;
} gather;

static rex_status path_of(gather *g, const char *name, const char **out, rex_err *e) {
    rex_str s;
    REX_TRY(rex_str_fmt(g->a, &s, e, "%s/%s", g->folder, name));
    *out = access(s.p, R_OK) == 0 ? s.p : NULL;
    return REX_OK;
}

static rex_status load(gather *g, const char *name, rex_jval **out, rex_err *e) {
    const char *path = NULL;
    *out = NULL;
    REX_TRY(path_of(g, name, &path, e));
    return path ? rex_json_load(g->a, path, out, e) : REX_OK;
}

static void put_member(rex_jw *w, const rex_jval *from, const char *key, const char *as) {
    const rex_jval *const v = rex_json_get(from, key);
    if (!v) return;
    rex_jw_key(w, as);
    rex_jw_val(w, v);
}

/* ---- settings and facts ------------------------------------------------------------------ */

static void put_setting(rex_jw *w, rex_str key, const rex_jval *v) {
    rex_jw_arr(w);
    rex_jw_str(w, key);
    rex_jw_val(w, v);
    rex_jw_arr_end(w);
}

/* run.json flat, options lifted out; nested objects keep their own rows as "outer.inner". */
static rex_status put_settings(gather *g, rex_err *e) {
    rex_jw_key(g->w, "settings");
    rex_jw_arr(g->w);
    for (uint32_t i = 0; g->run && i < g->run->n; i++) {
        const rex_str key = g->run->u.c.key[i];
        const rex_jval *const v = &g->run->u.c.item[i];
        if (rex_str_is(key, "facts")) continue;
        if (v->kind != REX_J_OBJ) {
            put_setting(g->w, key, v);
            continue;
        }
        for (uint32_t k = 0; k < v->n; k++) {
            rex_str name = v->u.c.key[k];
            if (!rex_str_is(key, "options"))
                REX_TRY(rex_str_fmt(g->a, &name, e, "%.*s.%.*s", (int)key.n, key.p,
                                    (int)v->u.c.key[k].n, v->u.c.key[k].p));
            put_setting(g->w, name, &v->u.c.item[k]);
        }
    }
    rex_jw_arr_end(g->w);
    return REX_OK;
}

static void put_fact(rex_jw *w, const char *name, const char *fmt, long long v) {
    char text[32];
    snprintf(text, sizeof text, fmt, v);
    rex_jw_arr(w);
    rex_jw_cstr(w, name);
    rex_jw_cstr(w, text);
    rex_jw_arr_end(w);
}

static void put_fact_text(rex_jw *w, const char *name, rex_str text) {
    rex_jw_arr(w);
    rex_jw_cstr(w, name);
    rex_jw_str(w, text);
    rex_jw_arr_end(w);
}

/* "1, top-p 0.9": how a model was sampled; not where a pool was brought. */
static void put_sampler(gather *g) {
    const rex_jval *const o = rex_json_get(g->run, "options");
    const rex_jval *const model = rex_json_get(o, "model");
    static const char *const key[4] = { "temperature", "top_p", "top_k", "min_p" };
    static const char *const form[4] = { "%g", ", top-p %g", ", top-k %g", ", min-p %g" };
    static const double silent[4] = { -1.0, 1.0, 0.0, 0.0 };
    char text[96] = "";
    if (!model || model->kind != REX_J_STR) return;
    for (int i = 0; i < 4; i++) {
        rex_err quiet;
        double v = silent[i];
        const rex_jval *const x = rex_json_get(o, key[i]);
        if (!x || rex_json_f64(x, key[i], &v, &quiet) != REX_OK || v == silent[i]) continue;
        const size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, form[i], v);
    }
    if (text[0]) put_fact_text(g->w, "temperature", rex_str_of(text));
}

/* What the run says of itself, then what its options and its pool say. */
static void put_facts(gather *g, const rex_records *r) {
    rex_jw_key(g->w, "facts");
    rex_jw_arr(g->w);
    const rex_jval *const told = rex_json_get(g->run, "facts");
    const rex_jval *const command = rex_json_get(g->run, "command");
    for (uint32_t i = 0; told && told->kind == REX_J_ARR && i < told->n; i++)
        rex_jw_val(g->w, &told->u.c.item[i]);
    if (!told && command && command->kind == REX_J_STR)
        put_fact_text(g->w, "made by", command->u.s);
    put_sampler(g);
    if (r) {
        put_fact(g->w, "problems", "%lld", (long long)rex_records_groups(r));
        put_fact(g->w, "samples", "%lld", (long long)rex_records_rows(r));
    }
    rex_jw_arr_end(g->w);
}

/* ---- results ----------------------------------------------------------------------------- */

/* {"1": {value, low, high}, ...} as parallel arrays in ascending k. */
static rex_status put_curve(gather *g, const rex_jval *pass, rex_err *e) {
    uint32_t *const at = rex_arena_take(g->a, pass->n + 1u, sizeof *at, e);
    double *const k = at ? rex_arena_take(g->a, pass->n + 1u, sizeof *k, e) : NULL;
    if (!k) return REX_ENOMEM;
    for (uint32_t i = 0; i < pass->n; i++) {
        double ki = 0.0;
        if (!rex_num_parse(pass->u.c.key[i], &ki))
            return rex_fail(e, REX_EFORMAT, pass->at, "%s: pass@k has the key \"%.*s\", not a k",
                            g->folder, (int)pass->u.c.key[i].n, pass->u.c.key[i].p);
        uint32_t j = i;
        for (; j > 0 && k[j - 1] > ki; j--) {
            k[j] = k[j - 1];
            at[j] = at[j - 1];
        }
        k[j] = ki;
        at[j] = i;
    }
    static const char *const part[3] = { "value", "low", "high" };
    rex_jw_key(g->w, "passk");
    rex_jw_obj(g->w);
    rex_jw_key(g->w, "k");
    rex_jw_arr(g->w);
    for (uint32_t i = 0; i < pass->n; i++) rex_jw_f64(g->w, k[i]);
    rex_jw_arr_end(g->w);
    for (int p = 0; p < 3; p++) {
        rex_jw_key(g->w, part[p]);
        rex_jw_arr(g->w);
        for (uint32_t i = 0; i < pass->n; i++) {
            double v = 0.0;
            REX_TRY(rex_json_f64(rex_json_get(&pass->u.c.item[at[i]], part[p]), part[p], &v, e));
            rex_jw_f64(g->w, v);
        }
        rex_jw_arr_end(g->w);
    }
    rex_jw_obj_end(g->w);
    return REX_OK;
}

/* pass@k at the powers of two that every problem can bear, from the rewards of a bare pool. */
static rex_status put_own_curve(gather *g, const rex_records *r, rex_err *e) {
    if (!r || rex_records_groups(r) == 0 || rex_records_lacks(r, REX_FI_REWARD) != SIZE_MAX)
        return REX_OK;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < rex_records_groups(r); i++) {
        size_t n = 0;
        rex_records_of(r, i, &n);
        if (n < least) least = n;
    }
    int64_t k[40];
    size_t n_k = 0;
    for (int64_t v = 1; v <= (int64_t)least && n_k < 40; v *= 2) k[n_k++] = v;
    rex_scored scored;
    if (rex_records_scored(r, g->pool, true, g->a, &scored, NULL) != REX_OK)
        return REX_OK; /* graded rewards have no pass@k */
    rex_passk_opts o;
    rex_passk_defaults(&o);
    o.k = k;
    o.n_k = n_k;
    rex_passk p;
    REX_TRY(rex_passk_run(g->a, NULL, &scored, &o, &p, e));
    rex_str json;
    rex_jval *v = NULL;
    REX_TRY(rex_passk_json(g->a, &p, NULL, &json, e));
    REX_TRY(rex_json_parse(g->a, json, "pass@k", &v, e));
    return put_curve(g, rex_json_get(v, "pass"), e);
}

static rex_status put_note(gather *g, const rex_jval *settings, rex_err *e) {
    rex_buf b;
    rex_buf_init(&b, 4096);
    for (uint32_t i = 0; settings && settings->kind == REX_J_OBJ && i < settings->n; i++) {
        const rex_jval *const v = &settings->u.c.item[i];
        const rex_str key = settings->u.c.key[i];
        if (v->kind != REX_J_NUM && v->kind != REX_J_STR && v->kind != REX_J_TRUE &&
            v->kind != REX_J_FALSE)
            continue;
        const rex_str s = v->kind == REX_J_TRUE    ? rex_str_of("yes")
                          : v->kind == REX_J_FALSE ? rex_str_of("no")
                                                   : v->u.s;
        rex_buf_addf(&b, "%s%.*s %.*s", b.n ? ", " : "", (int)key.n, key.p, (int)s.n, s.p);
    }
    rex_status s = rex_buf_check(&b, e);
    if (s == REX_OK && b.n) {
        rex_jw_key(g->w, "note");
        rex_jw_str(g->w, (rex_str){ b.p, b.n });
    }
    rex_buf_free(&b);
    return s;
}

static rex_status put_rules(gather *g, rex_err *e) {
    const rex_jval *const rules = rex_json_get(g->result, "rules");
    if (!rules || rules->kind != REX_J_OBJ) return REX_OK;
    static const char *const keep[] = { "s2c", "calls", "vs_random", "pass", "bins" };
    rex_jw_key(g->w, "rules");
    rex_jw_arr(g->w);
    for (uint32_t i = 0; i < rules->n; i++) {
        const rex_jval *const rule = &rules->u.c.item[i];
        rex_jw_obj(g->w);
        rex_jw_key(g->w, "name");
        rex_jw_str(g->w, rules->u.c.key[i]);
        REX_TRY(put_note(g, rex_json_get(rule, "settings"), e));
        for (size_t k = 0; k < sizeof keep / sizeof *keep; k++)
            put_member(g->w, rule, keep[k], keep[k]);
        rex_jw_obj_end(g->w);
    }
    rex_jw_arr_end(g->w);
    put_member(g->w, g->result, "bins", "bins");
    return REX_OK;
}

/* ---- the picture of a problem ------------------------------------------------------------ */

/* Solvable problems whose share of correct samples is smallest come first: they show most. */
static size_t choose_scenes(const rex_records *r, uint32_t pick[SCENES]) {
    const double *const reward = rex_records_num(r, REX_FI_REWARD);
    double share[SCENES];
    size_t n_pick = 0;
    for (size_t i = 0; i < rex_records_groups(r); i++) {
        size_t n = 0;
        const uint32_t *const row = rex_records_of(r, i, &n);
        double c = 0.0;
        for (size_t k = 0; k < n && reward; k++) c += reward[row[k]] > 0.0;
        const double s = c > 0.0 ? c / (double)n : 2.0;
        size_t at = n_pick;
        for (; at > 0 && s < share[at - 1]; at--)
            if (at < SCENES) {
                share[at] = share[at - 1];
                pick[at] = pick[at - 1];
            }
        if (at < SCENES) {
            share[at] = s;
            pick[at] = (uint32_t)i;
            if (n_pick < SCENES) n_pick++;
        }
    }
    return n_pick;
}

/* The first trial's order of every rule for one problem. */
static rex_status put_orders(gather *g, rex_str prompt_id, size_t shown, rex_err *e) {
    const char *path = NULL;
    REX_TRY(path_of(g, "orders.jsonl", &path, e));
    rex_jw_key(g->w, "orders");
    rex_jw_obj(g->w);
    rex_lines *l = NULL;
    rex_status s = path ? rex_lines_open(path, &l, e) : REX_OK;
    const rex_str want[3] = { rex_str_of("prompt_id"), rex_str_of("rule"), rex_str_of("order") };
    for (bool more = path != NULL; s == REX_OK && more;) {
        rex_str line, raw[3], id, rule;
        int64_t no = 0;
        s = rex_lines_next(l, &line, &no, &more, e);
        if (s != REX_OK || !more) break;
        const rex_mark mark = rex_arena_mark(g->a);
        rex_jval *order = NULL;
        s = rex_jscan(line, want, 3, raw, e);
        if (s == REX_OK && raw[0].p && raw[1].p && raw[2].p) {
            s = rex_jraw_str(g->a, raw[0], &id, e);
            if (s == REX_OK && rex_str_eq(id, prompt_id)) {
                s = rex_jraw_str(g->a, raw[1], &rule, e);
                if (s == REX_OK) s = rex_json_parse(g->a, raw[2], "order", &order, e);
                if (s == REX_OK) {
                    rex_jw_keys(g->w, rule);
                    rex_jw_arr(g->w);
                    for (uint32_t i = 0; i < order->n && order->kind == REX_J_ARR; i++) {
                        int64_t at = -1;
                        s = rex_json_i64(&order->u.c.item[i], "order", &at, e);
                        if (s != REX_OK) break;
                        if (at >= 0 && (size_t)at < shown) rex_jw_i64(g->w, at);
                    }
                    rex_jw_arr_end(g->w);
                }
            }
        }
        if (s != REX_OK) s = rex_fail_in(e, s, "%s, line %lld", path, (long long)no);
        rex_arena_back(g->a, mark);
    }
    rex_lines_close(l);
    rex_jw_obj_end(g->w);
    return s;
}

static rex_status put_scene(gather *g, const rex_records *r, const rex_rows *f, size_t group,
                            rex_err *e) {
    size_t n = 0;
    const uint32_t *const row = rex_records_of(r, group, &n);
    const double *const reward = rex_records_num(r, REX_FI_REWARD);
    const double *const sample = rex_records_num(r, REX_FI_SAMPLE);
    const size_t d = (size_t)rex_rows_dim(f);
    if (n > SCENE_POINTS) n = SCENE_POINTS;
    double *const v = rex_arena_take(g->a, n * d + 1, sizeof *v, e);
    double *const xy = v ? rex_arena_take(g->a, 2 * n + 1, sizeof *xy, e) : NULL;
    if (!xy) return REX_ENOMEM;
    for (size_t i = 0; i < n; i++) rex_rows_get_f64(f, row[i], 1, v + i * d);
    for (size_t i = 0; i < n * d; i++)
        if (!isfinite(v[i])) return REX_OK; /* nothing to draw */
    double explained[2];
    REX_TRY(rex_plane(g->a, v, n, d, xy, explained, e));
    rex_jw_obj(g->w);
    rex_jw_key(g->w, "prompt_id");
    rex_jw_str(g->w, rex_records_name(r, group));
    rex_jw_key(g->w, "explained");
    rex_jw_arr(g->w);
    rex_jw_f64(g->w, explained[0]);
    rex_jw_f64(g->w, explained[1]);
    rex_jw_arr_end(g->w);
    rex_jw_key(g->w, "points");
    rex_jw_arr(g->w);
    for (size_t i = 0; i < n; i++) {
        rex_str text = rex_records_str(r, REX_FI_EXTRACTED, row[i]);
        rex_jw_arr(g->w);
        rex_jw_f32(g->w, (float)xy[2 * i]);
        rex_jw_f32(g->w, (float)xy[2 * i + 1]);
        if (!reward || isnan(reward[row[i]])) rex_jw_null(g->w);
        else rex_jw_i64(g->w, reward[row[i]] > 0.0);
        const double no = sample ? sample[row[i]] : NAN;
        rex_jw_i64(g->w, isnan(no) ? (int64_t)i : (int64_t)no);
        if (text.p && text.n < 200) rex_jw_str(g->w, text);
        rex_jw_arr_end(g->w);
    }
    rex_jw_arr_end(g->w);
    REX_TRY(put_orders(g, rex_records_name(r, group), n, e));
    rex_jw_obj_end(g->w);
    return REX_OK;
}

static rex_status put_scenes(gather *g, const rex_records *r, rex_err *e) {
    if (!r || !g->features) return REX_OK;
    rex_rows *f = NULL;
    REX_TRY(rex_rows_open(g->features, &f, e));
    rex_status s = REX_OK;
    if ((uint64_t)rex_rows_count(f) != rex_records_rows(r)) {
        s = rex_fail(e, REX_EFORMAT, -1, "%s has %lld rows and %s has %zu samples", g->features,
                     (long long)rex_rows_count(f), g->pool, rex_records_rows(r));
    } else {
        uint32_t pick[SCENES];
        const size_t n = choose_scenes(r, pick);
        rex_jw_key(g->w, "scenes");
        rex_jw_arr(g->w);
        for (size_t i = 0; i < n && s == REX_OK; i++) s = put_scene(g, r, f, pick[i], e);
        rex_jw_arr_end(g->w);
    }
    rex_rows_close(f);
    return s;
}

/* ---- samples ----------------------------------------------------------------------------- */

/* Marks the rows to show: of every problem its first correct and its first other samples, in turn,
 * until the number is reached. */
static rex_status choose_rows(gather *g, const rex_records *r, uint8_t **out, int64_t *n_out,
                              rex_err *e) {
    const size_t rows = rex_records_rows(r), groups = rex_records_groups(r);
    uint8_t *const keep = rex_arena_zero(g->a, rows + 1, 1, e);
    if (!keep) return REX_ENOMEM;
    const double *const reward = rex_records_num(r, REX_FI_REWARD);
    int64_t left = g->samples, before = -1;
    while (left > 0 && left != before) {
        before = left;
        for (size_t i = 0; i < groups && left > 0; i++) {
            size_t n = 0;
            const uint32_t *const row = rex_records_of(r, i, &n);
            for (int right = 1; right >= 0 && left > 0; right--)
                for (size_t k = 0; k < n; k++) {
                    if (keep[row[k]] || (reward && reward[row[k]] > 0.0) != (right == 1)) continue;
                    keep[row[k]] = 1;
                    left--;
                    break;
                }
        }
    }
    *out = keep;
    *n_out = g->samples - left;
    return REX_OK;
}

static void put_text(rex_jw *w, const char *key, rex_str s) {
    if (!s.p) return;
    rex_jw_key(w, key);
    if (s.n > TEXT_CAP) s.n = TEXT_CAP;
    rex_jw_str(w, s);
}

static rex_status put_sample(gather *g, const rex_records *r, rex_str line, size_t row,
                             rex_err *e) {
    rex_sample x;
    REX_TRY(rex_sample_parse(g->a, line, rex_records_line(r, row), NULL, &x, e));
    rex_jw_obj(g->w);
    rex_jw_key(g->w, "p");
    rex_jw_i64(g->w, rex_records_group(r, row));
    rex_jw_key(g->w, "s");
    rex_jw_i64(g->w, x.has & REX_F(SAMPLE) ? x.sample : (int64_t)row);
    put_text(g->w, "t",
             x.has & REX_F(TEXT)       ? x.text
             : x.has & REX_F(RESPONSE) ? x.response
                                       : rex_str_of(""));
    const bool right = x.has & REX_F(REWARD) && x.reward > 0.0;
    rex_str verdict = x.has & REX_F(VERDICT) ? x.verdict : (rex_str){ NULL, 0 };
    if (!verdict.p && x.has & REX_F(REWARD))
        verdict = rex_str_of(isnan(x.reward) ? "broken" : right ? "correct" : "wrong");
    put_text(g->w, "v", verdict);
    if (x.has & REX_F(REASON)) put_text(g->w, "r", x.reason);
    if (x.has & REX_F(EXTRACTED)) put_text(g->w, "x", x.extracted);
    if (x.has & REX_F(REWARD) && !isnan(x.reward)) {
        rex_jw_key(g->w, "w");
        rex_jw_f64(g->w, x.reward);
    }
    const double l = rex_records_loglik(r, row, false);
    if (isfinite(l)) {
        rex_jw_key(g->w, "l");
        rex_jw_f32(g->w, (float)l);
    }
    rex_jw_obj_end(g->w);
    return REX_OK;
}

static rex_status put_rows(gather *g, const rex_records *r, const uint8_t *keep, int64_t *shown,
                           rex_err *e) {
    rex_lines *l = NULL;
    REX_TRY(rex_lines_open(g->pool, &l, e));
    const size_t rows = rex_records_rows(r), start = g->w->b->n;
    rex_status s = REX_OK;
    size_t row = 0;
    for (bool more = true; row < rows && s == REX_OK;) {
        rex_str line;
        int64_t no = 0;
        s = rex_lines_next(l, &line, &no, &more, e);
        if (s != REX_OK || !more) break;
        if (no != rex_records_line(r, row)) continue;
        if (keep[row] && g->w->b->n - start < g->share) {
            const rex_mark mark = rex_arena_mark(g->a);
            s = put_sample(g, r, line, row, e);
            rex_arena_back(g->a, mark);
            (*shown)++;
        }
        row++;
    }
    rex_lines_close(l);
    return s;
}

static rex_status put_prompts(gather *g, const rex_records *r, rex_err *e) {
    const char *path = NULL;
    REX_TRY(path_of(g, "prompts.jsonl", &path, e));
    rex_prompt *p = NULL;
    size_t n = 0;
    if (path) REX_TRY(rex_prompts_read(g->a, path, NULL, &p, &n, e));
    const size_t groups = rex_records_groups(r);
    uint32_t *const of = rex_arena_take(g->a, groups + 1, sizeof *of, e);
    if (!of) return REX_ENOMEM;
    for (size_t i = 0; i < groups; i++) of[i] = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        const size_t at = rex_records_find(r, p[i].id);
        if (at != SIZE_MAX) of[at] = (uint32_t)i;
    }
    rex_jw_key(g->w, "prompts");
    rex_jw_arr(g->w);
    for (size_t i = 0; i < groups; i++) {
        rex_jw_obj(g->w);
        put_text(g->w, "id", rex_records_name(r, i));
        const rex_prompt *const q = of[i] == UINT32_MAX ? NULL : &p[of[i]];
        if (q) {
            put_text(g->w, "text",
                     q->has_text ? q->text
                     : q->n_msg  ? q->msg[q->n_msg - 1].content
                                 : (rex_str){NULL, 0});
            if (q->answer.p && q->answer.n < 400) {
                rex_jw_key(g->w, "answer");
                rex_jw_raw(g->w, q->answer);
            }
        }
        rex_jw_obj_end(g->w);
    }
    rex_jw_arr_end(g->w);
    return REX_OK;
}

static rex_status put_samples(gather *g, const rex_records *r, rex_err *e) {
    if (!r) return REX_OK;
    uint8_t *keep = NULL;
    int64_t chosen = 0, shown = 0;
    REX_TRY(choose_rows(g, r, &keep, &chosen, e));
    rex_jw_key(g->w, "samples");
    rex_jw_arr(g->w);
    REX_TRY(put_rows(g, r, keep, &shown, e));
    rex_jw_arr_end(g->w);
    rex_jw_key(g->w, "omitted");
    rex_jw_i64(g->w, (int64_t)rex_records_rows(r) - shown);
    rex_jw_key(g->w, "pool");
    rex_jw_cstr(g->w, g->pool);
    return put_prompts(g, r, e);
}

/* ---- training ---------------------------------------------------------------------------- */

static size_t count_lines(const char *path) {
    rex_lines *l = NULL;
    size_t n = 0;
    if (rex_lines_open(path, &l, NULL) != REX_OK) return 0;
    rex_str line;
    int64_t no = 0;
    for (bool more = true; rex_lines_next(l, &line, &no, &more, NULL) == REX_OK && more;) n++;
    rex_lines_close(l);
    return n;
}

/* One pass over steps.jsonl for the curve of one key, thinned to STEP_POINTS. */
static rex_status put_key(gather *g, const char *path, rex_str key, size_t every, rex_err *e) {
    rex_lines *l = NULL;
    REX_TRY(rex_lines_open(path, &l, e));
    const rex_str want[2] = { rex_str_of("step"), key };
    rex_status s = REX_OK;
    rex_jw_keys(g->w, key);
    rex_jw_arr(g->w);
    for (bool more = true; s == REX_OK;) {
        rex_str line, raw[2];
        int64_t no = 0;
        double step = 0.0, v = 0.0;
        s = rex_lines_next(l, &line, &no, &more, e);
        if (s != REX_OK || !more) break;
        if ((size_t)(no - 1) % every != 0) continue;
        s = rex_jscan(line, want, 2, raw, e);
        if (s != REX_OK) s = rex_fail_in(e, s, "%s, line %lld", path, (long long)no);
        else if (raw[0].p && raw[1].p && rex_num_parse(raw[0], &step) &&
                 rex_num_parse(raw[1], &v)) {
            rex_jw_arr(g->w);
            rex_jw_f64(g->w, step);
            rex_jw_f32(g->w, (float)v);
            rex_jw_arr_end(g->w);
        }
    }
    rex_jw_arr_end(g->w);
    rex_lines_close(l);
    return s;
}

static rex_status put_steps(gather *g, rex_err *e) {
    const char *path = NULL;
    REX_TRY(path_of(g, "steps.jsonl", &path, e));
    const size_t n = path ? count_lines(path) : 0;
    if (n == 0) return REX_OK;
    rex_lines *l = NULL;
    REX_TRY(rex_lines_open(path, &l, e));
    rex_str line;
    int64_t no = 0;
    bool more = false;
    rex_jval *first = NULL;
    rex_status s = rex_lines_next(l, &line, &no, &more, e);
    if (s == REX_OK) s = rex_json_parse(g->a, line, path, &first, e);
    if (s == REX_OK) {
        rex_jw_key(g->w, "steps");
        rex_jw_obj(g->w);
        for (uint32_t i = 0; first->kind == REX_J_OBJ && i < first->n && s == REX_OK; i++)
            if (first->u.c.item[i].kind == REX_J_NUM && !rex_str_is(first->u.c.key[i], "step"))
                s = put_key(g, path, first->u.c.key[i], (n + STEP_POINTS - 1) / STEP_POINTS, e);
        rex_jw_obj_end(g->w);
    }
    rex_lines_close(l);
    return s;
}

/* ---- one run ----------------------------------------------------------------------------- */

/* Where the pool lies: in the folder, or where run.json says (relative to the folder first). */
static rex_status locate(gather *g, const char *key, const char *plain, const char **out,
                         rex_err *e) {
    REX_TRY(path_of(g, plain, out, e));
    const rex_jval *const v = rex_json_get(g->run, key);
    if (*out || !v || v->kind != REX_J_STR) return REX_OK;
    rex_str s;
    REX_TRY(rex_str_copy(g->a, v->u.s, &s, e));
    REX_TRY(path_of(g, s.p, out, e));
    if (!*out && access(s.p, R_OK) == 0) *out = s.p;
    return REX_OK;
}

static rex_status put_run(gather *g, rex_records **r, rex_err *e) {
    REX_TRY(load(g, "run.json", &g->run, e));
    REX_TRY(load(g, "explore.json", &g->result, e));
    if (!g->result) REX_TRY(load(g, "eval.json", &g->result, e));
    REX_TRY(locate(g, "pool", "pool.jsonl", &g->pool, e));
    REX_TRY(locate(g, "features", "features.npy", &g->features, e));
    struct stat sb;
    if (!g->pool && stat(g->folder, &sb) == 0 && S_ISREG(sb.st_mode)) g->pool = g->folder;
    const char *steps = NULL;
    REX_TRY(path_of(g, "steps.jsonl", &steps, e));
    if (!g->run && !g->result && !g->pool && !steps)
        return rex_fail(e, REX_EFORMAT, -1,
                        "%s: no run folder and no pool file: neither run.json, explore.json, "
                        "eval.json, pool.jsonl "
                        "nor steps.jsonl is there",
                        g->folder);
    if (g->pool) {
        rex_records_opts o;
        rex_records_defaults(&o);
        o.want = REX_F(REWARD) | REX_F(SAMPLE) | REX_F(LOGPROB) | REX_F(N_TOK) | REX_F(LOGP) |
                 REX_F(EXTRACTED);
        o.broken = REX_BROKEN_KEEP;
        REX_TRY(rex_records_open(g->pool, &o, r, e));
    }
    put_facts(g, *r);
    const rex_jval *const told = rex_json_get(g->result, "pool");
    const rex_jval *const pass =
        rex_json_get(told && told->kind == REX_J_OBJ ? told : g->result, "pass");
    if (pass && pass->kind == REX_J_OBJ) REX_TRY(put_curve(g, pass, e));
    else REX_TRY(put_own_curve(g, *r, e));
    REX_TRY(put_rules(g, e));
    REX_TRY(put_scenes(g, *r, e));
    REX_TRY(put_steps(g, e));
    REX_TRY(put_samples(g, *r, e));
    return put_settings(g, e);
}

rex_status rex_run_gather(const char *folder, int64_t samples, size_t share, rex_jw *w,
                          rex_err *e) {
    gather g = { .folder = folder, .w = w, .samples = samples, .share = share };
    REX_TRY(rex_arena_open(0, &g.a, e));
    const char *name = folder + strlen(folder);
    while (name > folder && name[-1] == '/') name--;
    const char *end = name;
    while (name > folder && name[-1] != '/') name--;
    rex_jw_obj(w);
    rex_jw_key(w, "name");
    rex_jw_str(w, (rex_str){ name, (size_t)(end - name) });
    rex_records *r = NULL;
    const rex_status s = put_run(&g, &r, e);
    rex_jw_obj_end(w);
    rex_records_close(r);
    rex_arena_close(g.a);
    return s;
}
