/* SPDX-License-Identifier: MIT
 *
 * advantage: rewards (and bonuses, log-probabilities, entropies) in, advantages out, by the same
 * registry that the trainer uses. One line per prompt, in order of first appearance.
 */
#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define OPTS(X)                                                                                 \
    REX_CLI_COMMON(X)                                                                           \
    X(STR, rewards, "", 0, 0, "FILE", "sample records with prompt_id and reward; - is stdin")   \
    X(STR, kind, "", 0, 0, "KIND", "the estimator, one of those above") \
    X(I64, k, "0", 0, 1e9, "K",                                                                 \
      "k=of the passk and pkpo kinds, exceed, combined, adaptive; 0: none")                     \
    X(ENUM, std, "default", 0, 0, "default|sample|population|none",                             \
      "what grpo, unlikeliness (sample) and best-minus-second (none) divide by")                \
    X(F64, alpha, "1", -1e300, 1e300, "X", "weight of the reward")                              \
    X(F64, beta, "0", -1e300, 1e300, "X", "weight of bonus_raw")                                \
    X(ENUM, bonus_at, "reward", 0, 0, "reward|advantage",                                       \
      "add the bonus before or after normalising")                                              \
    X(BOOL, gate_incorrect, "false", 0, 0, "", "no bonus for a wrong sample")                   \
    X(BOOL, gate_none, "true", 0, 0, "", "no bonus for a prompt with no right sample")          \
    X(BOOL, gate_some, "false", 0, 0, "", "no bonus for a prompt with right and wrong samples") \
    X(BOOL, gate_all, "false", 0, 0, "", "no bonus for a prompt with right samples only")       \
    X(ENUM, form, "code", 0, 0, "code|paper",                                                   \
      "unlikeliness: the factor as in its code or as printed")                                  \
    X(F64, rank_weight, "0.25", 0, 1, "X",                                                      \
      "unlikeliness: what the most probable right sample loses")                                \
    X(BOOL, group_mean, "false", 0, 0, "",                                                      \
      "passk-bootstrap: mean over a sample's groups, not sum")                                  \
    X(ENUM, broken, "refuse", 0, 0, "refuse|drop",                                              \
      "null rewards: refused, or dropped and counted")                                          \
    X(STR, map, "", 0, 0, "MAP", "field=their.field,... for other programs' records")

REX_OPT_STRUCT(advantage_opts, OPTS);
#define REX_OPT_TYPE advantage_opts
static const rex_opt table[] = {OPTS(REX_OPT_ROW)};

static void adv_opts(const advantage_opts *o, rex_adv_kind kind, rex_adv_opts *out) {
    rex_adv_defaults(out);
    out->kind = kind;
    out->k = o->k;
    out->std = (rex_adv_std)o->std;
    out->alpha = o->alpha;
    out->beta = o->beta;
    out->gate_incorrect = o->gate_incorrect;
    out->gate_none = o->gate_none;
    out->gate_some = o->gate_some;
    out->gate_all = o->gate_all;
    out->bonus_late = o->bonus_at == 1;
    out->paper_form = o->form == 1;
    out->rank_weight = o->rank_weight;
    out->group_mean = o->group_mean;
    out->seed = (uint64_t)o->seed;
}

/* A column that the kind reads must be there for every row: the line is named here, where it is
 * known. */
static rex_status check_rows(const rex_records *r, const char *path, const double *v,
                             const rex_scored *s, const char *kind, const char *what, rex_err *e) {
    size_t worst = SIZE_MAX;
    for (size_t i = 0; i < s->first[s->n_groups]; i++)
        if ((!v || isnan(v[i])) && s->row[i] < worst) worst = s->row[i];
    if (worst == SIZE_MAX) return REX_OK;
    const long long no = (long long)rex_records_line(r, worst);
    return rex_fail(e, REX_EFORMAT, no, "%s: line %lld: %s needs %s", path, no, kind, what);
}

static rex_status read_rows(const advantage_opts *o, rex_adv_kind kind, rex_arena *a,
                            rex_records **rec, rex_scored *s, rex_err *e) {
    const uint32_t reads = rex_adv_reads(kind);
    rex_records_opts r;
    rex_records_defaults(&r);
    r.want = REX_F(REWARD);
    if (o->beta != 0.0) r.want |= REX_F(BONUS_RAW);
    if (reads & REX_F(LOGPROB)) r.want |= REX_F(LOGPROB) | REX_F(N_TOK) | REX_F(LOGP);
    if (reads & REX_F(ENTROPY)) r.want |= REX_F(ENTROPY) | REX_F(ENT);
    r.need = REX_F(REWARD);
    r.map = o->map;
    r.broken = o->broken == 1 ? REX_BROKEN_DROP : REX_BROKEN_REFUSE;
    r.streams = kind == REX_ADV_PASSK_BOOT;
    REX_TRY(rex_records_open(o->rewards, &r, rec, e));
    if (rex_records_dropped(*rec) > 0)
        rex_cli_note("%s: %zu records with a null reward were dropped", o->rewards,
                     rex_records_dropped(*rec));
    if (rex_records_rows(*rec) == 0)
        return rex_fail(e, REX_EFORMAT, -1, "%s: no records", o->rewards);
    REX_TRY(rex_records_scored(*rec, o->rewards, rex_adv_binary(kind), a, s, e));
    const char *const name = rex_adv_name(kind);
    if (o->beta != 0.0)
        REX_TRY(check_rows(*rec, o->rewards, s->bonus, s, "--beta", "bonus_raw", e));
    if (reads & REX_F(LOGPROB))
        REX_TRY(check_rows(*rec, o->rewards, s->logp_mean, s, name,
                           "logprob with n_tok of 1 or more, or logp", e));
    if (reads & REX_F(ENTROPY))
        REX_TRY(check_rows(*rec, o->rewards, s->entropy, s, name, "entropy, or ent", e));
    return REX_OK;
}

static void put_json(rex_buf *b, const rex_scored *s, const double *adv) {
    for (size_t g = 0; g < s->n_groups; g++) {
        rex_jw w;
        rex_jw_init(&w, b);
        rex_jw_obj(&w);
        rex_jw_key(&w, "prompt_id");
        rex_jw_str(&w, s->name[g]);
        rex_jw_key(&w, "advantage");
        rex_jw_arr(&w);
        for (size_t i = s->first[g]; i < s->first[g + 1]; i++) rex_jw_f64(&w, adv[i]);
        rex_jw_arr_end(&w);
        rex_jw_obj_end(&w);
        rex_buf_addf(b, "\n");
    }
}

static void put_table(rex_buf *b, const rex_scored *s, const double *adv, const char *kind) {
    rex_buf_addf(b, "%-28s %7s %10s %10s %10s %10s\n", kind, "n", "reward", "least", "most",
                 "mean |A|");
    size_t idle = 0;
    for (size_t g = 0; g < s->n_groups; g++) {
        double sum = 0.0, size = 0.0, lo = INFINITY, hi = -INFINITY;
        const size_t n = s->first[g + 1] - s->first[g];
        for (size_t i = s->first[g]; i < s->first[g + 1]; i++) {
            sum += s->reward[i];
            size += fabs(adv[i]);
            lo = fmin(lo, adv[i]);
            hi = fmax(hi, adv[i]);
        }
        idle += size == 0.0;
        rex_buf_addf(b, "%-28.*s %7zu %10.4g %10.5f %10.5f %10.5f\n",
                     (int)(s->name[g].n < 28 ? s->name[g].n : 28), s->name[g].p, n, sum / (double)n,
                     lo, hi, size / (double)n);
    }
    rex_buf_addf(b, "%zu prompts, %zu samples; %zu prompts have no advantage other than 0\n",
                 s->n_groups, s->first[s->n_groups], idle);
}

static rex_status work(const advantage_opts *o, rex_adv_kind kind, rex_arena *a, rex_records **rec,
                       rex_buf *b, rex_err *e) {
    rex_adv_opts p;
    adv_opts(o, kind, &p);
    const rex_scored none = {.first = (const size_t[]){0}};
    REX_TRY(rex_advantage_run(&none, &p, NULL, e)); /* misuse is told before the file is read */
    rex_scored s;
    REX_TRY(read_rows(o, kind, a, rec, &s, e));
    double *const adv = rex_arena_take(a, s.first[s.n_groups], sizeof *adv, e);
    if (!adv) return REX_ENOMEM;
    const rex_status st = rex_advantage_run(&s, &p, adv, e);
    if (st != REX_OK) return st == REX_EARG ? st : rex_fail_in(e, st, "%s", o->rewards);
    if (o->json) put_json(b, &s, adv);
    else put_table(b, &s, adv, rex_adv_name(kind));
    return rex_cli_print(b, e);
}

static rex_status run(const void *opts, int n_pos, char **pos, rex_err *e) {
    const advantage_opts *const o = opts;
    if (n_pos > 0) return rex_fail(e, REX_EARG, -1, "advantage: '%s' is no option", pos[0]);
    if (!o->rewards || !*o->rewards)
        return rex_fail(e, REX_EARG, -1, "advantage needs --rewards FILE");
    if (!o->kind || !*o->kind) return rex_fail(e, REX_EARG, -1, "advantage needs --kind KIND");
    rex_adv_kind kind;
    REX_TRY(rex_adv_find(o->kind, &kind, e));
    const bool divides = kind == REX_ADV_GRPO || kind == REX_ADV_UNLIKELINESS ||
                         kind == REX_ADV_BEST_SECOND;
    if (o->std != 0 && !divides) rex_cli_note("--std does not concern %s", o->kind);
    rex_arena *a = NULL;
    rex_records *rec = NULL;
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_status s = rex_arena_open(0, &a, e);
    if (s == REX_OK) s = work(o, kind, a, &rec, &b, e);
    rex_buf_free(&b);
    rex_records_close(rec);
    rex_arena_close(a);
    return s;
}

#define X(ID, name, k, text) name ": " text "; "
const rex_cmd rex_cmd_advantage = {
    .name = "advantage",
    .summary = "rewards in, advantages out: every estimator of the trainer",
    .usage = "--rewards FILE --kind KIND [-k K] [options]",
    .text =
        "Reads one JSON object per sample with prompt_id and reward, and where the kind or --beta "
        "asks "
        "for them bonus_raw, logprob with n_tok (or logp), entropy (or ent). Prints one object per "
        "prompt with the advantages of its samples in the order of the file. "
        "Kinds: " REX_ADVANTAGES(X) "r is alpha * reward + beta * gated bonus.",
    .opt = table,
    .n_opt = sizeof table / sizeof *table,
    .opt_bytes = sizeof(advantage_opts),
    .run = run,
};
#undef X
