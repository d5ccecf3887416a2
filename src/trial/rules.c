/* SPDX-License-Identifier: MIT
 *
 * rules: rules of selection as a person writes them, `elliptical/lambda=rel:0.01/unit`, to options
 * and back. The words are those of the options of `select`; what a rule does not say is its
 * default.
 */
#include "trial.h"

#include <math.h>
#include <string.h>

static const char *const first_words[] = {"random", "norm", "best"};
static const char *const outcome_words[] = {"none", "text", "answer", "auto"};
static const char *const loglik_words[] = {"mean", "sum"};
static const char *const project_words[] = {"sparse", "gauss", "none"};

static bool word_of(rex_str v, const char *const *word, int n, int *out) {
    for (int i = 0; i < n; i++)
        if (rex_str_is(v, word[i])) {
            *out = i;
            return true;
        }
    return false;
}

static bool whole(rex_str v, double most, int64_t *out) {
    double x = 0.0;
    if (v.n == 0 || v.p[0] < '0' || v.p[0] > '9' || !rex_num_parse(v, &x) || x != floor(x) ||
        x > most)
        return false;
    *out = (int64_t)x;
    return true;
}

/* One "key=value"; false if the value is none of the key's. */
static bool set_value(rex_trial_rule *r, rex_str key, rex_str v, bool *known) {
    rex_select_opts *const o = &r->o;
    int w = 0;
    *known = true;
    if (rex_str_is(key, "lambda")) {
        o->lambda_rel = v.n > 4 && memcmp(v.p, "rel:", 4) == 0;
        const rex_str x = o->lambda_rel ? (rex_str){v.p + 4, v.n - 4} : v;
        return rex_num_parse(x, &o->lambda) && o->lambda > 0.0;
    }
    if (rex_str_is(key, "proj-dim") || rex_str_is(key, "proj_dim"))
        return whole(v, 1048576.0, &o->proj_dim);
    if (rex_str_is(key, "sharpness"))
        return rex_num_parse(v, &o->sharpness) && fabs(o->sharpness) <= 1e6;
    if (rex_str_is(key, "alpha")) return rex_num_parse(v, &o->alpha) && fabs(o->alpha) <= 1e6;
    if (rex_str_is(key, "first")) {
        o->first = REX_FIRST_INDEX;
        if (word_of(v, first_words, 3, &w)) {
            o->first = (rex_first)w;
            return true;
        }
        return whole(v, 9e15, &o->first_index);
    }
    if (rex_str_is(key, "outcome")) {
        const bool ok = word_of(v, outcome_words, 4, &w);
        o->outcome = (rex_outcome)w;
        return ok;
    }
    if (rex_str_is(key, "likelihood")) {
        const bool ok = word_of(v, loglik_words, 2, &w);
        o->likelihood = (rex_loglik)w;
        return ok;
    }
    if (rex_str_is(key, "projection")) {
        const bool ok = word_of(v, project_words, 3, &w);
        r->project = w != 2;
        r->proj = w == 1 ? REX_PROJECT_GAUSS : REX_PROJECT_SPARSE;
        return ok;
    }
    *known = false;
    return false;
}

static rex_status set_part(rex_trial_rule *r, rex_str part, const char *what, rex_err *e) {
    static const char *const flags[] = {"unit", "no-unit", "center", "no-center"};
    int f = 0;
    if (word_of(part, flags, 4, &f)) {
        if (f < 2) r->o.unit = f == 0;
        else r->o.center = f == 2;
        return REX_OK;
    }
    const char *const eq = part.n ? memchr(part.p, '=', part.n) : NULL;
    bool known = false;
    if (eq) {
        const rex_str key = {part.p, (size_t)(eq - part.p)}, v = {eq + 1, part.n - key.n - 1};
        if (set_value(r, key, v, &known)) return REX_OK;
    }
    const int cut = (int)(part.n < 80 ? part.n : 80);
    if (known)
        return rex_fail(e, REX_EARG, -1, "%s: rule %.*s: '%.*s' is no value of that setting", what,
                        (int)(r->name.n < 120 ? r->name.n : 120), r->name.p, cut, part.p);
    return rex_fail(
        e, REX_EARG, -1,
        "%s: rule %.*s: there is no setting '%.*s'; there are lambda, proj-dim, "
        "projection, first, outcome, likelihood, sharpness, alpha, unit, center, no-unit, "
        "no-center",
        what, (int)(r->name.n < 120 ? r->name.n : 120), r->name.p, cut, part.p);
}

static rex_status find_rule(rex_str name, const char *what, rex_trial_rule *r, rex_err *e) {
    const char *names[REX_SELECT_COUNT + 1];
    char text[64];
    for (int i = 0; i < REX_SELECT_COUNT; i++) {
        names[i] = rex_select_name((rex_rule)i);
        if (!rex_str_is(name, names[i])) continue;
        rex_select_defaults((rex_rule)i, &r->o);
        return REX_OK;
    }
    names[REX_SELECT_COUNT] = "auto";
    if (rex_str_is(name, "auto")) {
        rex_select_defaults(REX_SELECT_QUALITY, &r->o);
        r->learned = true;
        return REX_OK;
    }
    const size_t n = name.n < sizeof text - 1 ? name.n : sizeof text - 1;
    if (n) memcpy(text, name.p, n);
    text[n] = '\0';
    const char *const near = rex_nearest(text, names, REX_SELECT_COUNT + 1);
    return rex_fail(e, REX_EARG, -1,
                    "%s: there is no rule '%s'%s%s; there are elliptical, quality, votes, "
                    "likelihood, farthest, dpp, random and auto",
                    what, text, near ? "; did you mean " : "", near ? near : "");
}

static rex_status read_rule(rex_str text, const char *what, uint64_t seed, rex_trial_rule *r,
                            rex_err *e) {
    *r = (rex_trial_rule){.name = text, .project = true, .proj = REX_PROJECT_SPARSE};
    const char *slash = text.n ? memchr(text.p, '/', text.n) : NULL;
    const rex_str name = {text.p, slash ? (size_t)(slash - text.p) : text.n};
    REX_TRY(find_rule(name, what, r, e));
    r->o.seed = seed;
    for (const char *p = slash, *const end = text.p + text.n; p;) {
        const char *const from = p + 1;
        p = from < end ? memchr(from, '/', (size_t)(end - from)) : NULL;
        const rex_str part = {from, (size_t)((p ? p : end) - from)};
        if (r->learned)
            return rex_fail(e, REX_EARG, -1,
                            "%s: auto takes no settings; its candidates have their own", what);
        REX_TRY(set_part(r, part, what, e));
    }
    return REX_OK;
}

rex_status rex_rules_read(rex_arena *a, const char *text, const char *what, uint64_t seed,
                          rex_trial_rule **out, size_t *n, rex_err *e) {
    size_t most = 1;
    for (const char *p = text; *p; p++) most += *p == ',';
    rex_trial_rule *const r = rex_arena_take(a, most, sizeof *r, e);
    if (!r) return REX_ENOMEM;
    *n = 0;
    for (const char *p = text;;) {
        rex_str one = {p, strcspn(p, ",")}, kept;
        const bool last = p[one.n] == '\0';
        p += one.n + 1;
        REX_TRY(rex_str_copy(a, one, &kept, e));
        REX_TRY(read_rule(kept, what, seed, &r[*n], e));
        for (size_t i = 0; i < *n; i++)
            if (rex_str_eq(r[i].name, kept))
                return rex_fail(e, REX_EARG, -1, "%s: rule %s twice", what, kept.p);
        ++*n;
        if (last) break;
    }
    *out = r;
    return REX_OK;
}

void rex_rule_json(const rex_trial_rule *r, rex_jw *w) {
    const rex_select_opts *const o = &r->o;
    rex_jw_key(w, "method");
    rex_jw_cstr(w, rex_select_name(o->rule));
    const bool ridge = o->rule == REX_SELECT_ELLIPTICAL || o->rule == REX_SELECT_QUALITY;
    if (rex_select_uses_rows(o)) {
        rex_jw_key(w, "center");
        rex_jw_bool(w, o->center);
        rex_jw_key(w, "unit");
        rex_jw_bool(w, o->unit);
        rex_jw_key(w, "proj_dim");
        rex_jw_i64(w, r->project ? o->proj_dim : 0);
    }
    if (ridge) {
        rex_jw_key(w, o->lambda_rel ? "lambda_rel" : "lambda");
        rex_jw_f64(w, o->lambda);
    }
    rex_jw_key(w, "first");
    if (o->first == REX_FIRST_INDEX) rex_jw_i64(w, o->first_index);
    else rex_jw_cstr(w, first_words[o->first]);
    rex_jw_key(w, "outcome");
    rex_jw_cstr(w, outcome_words[o->outcome]);
    rex_jw_key(w, "likelihood");
    rex_jw_cstr(w, loglik_words[o->likelihood]);
    rex_jw_key(w, "sharpness");
    rex_jw_f64(w, o->sharpness);
    rex_jw_key(w, "alpha");
    rex_jw_f64(w, o->alpha);
}
