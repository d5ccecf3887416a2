/* SPDX-License-Identifier: MIT
 *
 * repexp.h: the public face of librepexp, exploration with language models.
 *
 * One header, no include beyond three of the standard ones, clean under C99, C11 and C++17.
 * Handles (`rex_x_open` ... `rex_x_close`) are opaque; things that flow are plain records.
 * Option records begin with `size`, filled by `rex_x_defaults`, so that a caller compiled against
 * an older header keeps working. Whatever can fail returns `rex_status` and takes `rex_err *`
 * last (it may be NULL). The library never prints and never exits.
 */
#ifndef REPEXP_H
#define REPEXP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define REX_API __attribute__((visibility("default")))
#define REX_MUST __attribute__((warn_unused_result))

#define REX_VERSION "0.1.0"
/* The version of the library in use, "0.1.0"; compare with REX_VERSION. */
REX_API const char *rex_version(void);

/* ---- status and errors ------------------------------------------------------------------ */

/* One list: the enum, the texts and the exit status of the command line come from it. */
#define REX_STATUSES(X)                                                                      \
    X(OK, "done")                                                                            \
    X(EARG, "misuse: an option or argument that can never be right")                         \
    X(ENOMEM, "out of memory")                                                               \
    X(EIO, "a file or stream could not be read or written")                                  \
    X(EFORMAT, "data that is not what it should be")                                         \
    X(EUNSUP, "well-formed, but not supported")                                              \
    X(ELIMIT, "a size or count beyond its bound")                                            \
    X(ENAN, "a number that is not finite")                                                   \
    X(ECHILD, "a child process failed")                                                      \
    X(ECANCEL, "stopped on request; can be resumed")                                         \
    X(EBUG, "an error of our own")

typedef enum {
#define X(name, text) REX_##name,
    REX_STATUSES(X)
#undef X
    REX_STATUS_COUNT
} rex_status;

/* A finished sentence: what was attempted, on which object, what was found. */
typedef struct {
    rex_status code;
    int64_t at; /* byte, line or step, as the sentence says; -1 if none */
    char text[512];
} rex_err;

/* The name of a status ("EFORMAT") and what it means; never NULL. */
REX_API const char *rex_status_name(rex_status s);
REX_API const char *rex_status_text(rex_status s);

/* ---- logging ---------------------------------------------------------------------------- */

typedef enum {
    REX_LOG_ERROR, REX_LOG_WARN, REX_LOG_INFO, REX_LOG_STEP, REX_LOG_DEBUG
} rex_log_level;
typedef void (*rex_log_fn)(void *ud, rex_log_level level, const char *text);

/* Messages up to `level` go to `fn`; NULL silences the library, which is how it starts. */
REX_API void rex_log_set(rex_log_fn fn, void *ud, rex_log_level level);

/* ---- plain records ---------------------------------------------------------------------- */

typedef struct {
    const char *p;
    size_t n;
} rex_str;

/* Row-major, packed. */
typedef struct {
    float *v;
    int64_t rows, cols;
} rex_mat;

/* ---- memory and workers ----------------------------------------------------------------- */

typedef struct rex_arena rex_arena;
typedef struct rex_pool rex_pool;

/* An arena grows in blocks up to `cap` bytes (0: no cap); everything taken dies with it. */
REX_API REX_MUST rex_status rex_arena_open(size_t cap, rex_arena **out, rex_err *e);
REX_API void rex_arena_close(rex_arena *a);

/* `threads` workers, the caller counted in; 0 means every core. The number of workers never
 * changes a result. */
REX_API REX_MUST rex_status rex_pool_open(int threads, rex_pool **out, rex_err *e);
REX_API int rex_pool_size(const rex_pool *p);
REX_API void rex_pool_close(rex_pool *p);

/* ---- records: prompts and samples, one JSON object a line ------------------------------- */

/* The members of a sample record in the order in which they are written: X(NAME, name, kind).
 * A set of fields is a sum of REX_F_NAME bits. Kinds: I an integer, F a number, B a number or
 * bool, T text (a number or bool counts by its source text), V a list of numbers, J any JSON,
 * kept as source text. */
#define REX_FIELDS(X)                                                                        \
    X(PROMPT_IDS, prompt_ids, V) X(IDS, ids, V) X(TEXT, text, T) X(LOGP, logp, V)            \
    X(LOGQ, logq, V) X(ENT, ent, V) X(LOGPROB, logprob, F) X(N_TOK, n_tok, I)                \
    X(FINISH, finish, T) X(VERDICT, verdict, T) X(REASON, reason, T) X(REWARD, reward, B)    \
    X(BONUS_RAW, bonus_raw, F) X(BONUS, bonus, F) X(ADV, adv, F) X(EXTRACTED, extracted, T)  \
    X(FEAT, feat, T) X(ENTROPY, entropy, F) X(ROW, row, I) X(RESPONSE, response, T)          \
    X(ANSWER, answer, J) X(PROBLEM, problem, J) X(SAMPLE, sample, I)

typedef enum {
#define X(NAME, name, kind) REX_FI_##NAME,
    REX_FIELDS(X)
#undef X
    REX_FIELD_COUNT
} rex_field;
#define REX_F(NAME) (1u << REX_FI_##NAME)

typedef enum { REX_BROKEN_REFUSE, REX_BROKEN_DROP, REX_BROKEN_KEEP } rex_broken;

/* `want`: the fields to read; what is not wanted is skipped unparsed. `need`: fields that every row
 * must have. `map`: "field=their.field,..." with dotted paths into nested objects; NULL for none.
 */
typedef struct {
    size_t size;
    uint32_t want, need;
    const char *map;
    rex_broken broken; /* a null reward: refused, its row dropped and counted, or kept as NaN */
    bool group_field;  /* `group` names the group before `prompt_id` does, and one must be there */
    bool streams;      /* ids name random streams: two ids with one 64-bit hash are refused */
} rex_records_opts;

/* Sample records by column. Rows keep the order of the file; groups (prompts) come in order of
 * first appearance. Everything handed out is valid until close. */
typedef struct rex_records rex_records;

REX_API void rex_records_defaults(rex_records_opts *o);
/* `path` "-" is stdin. Refused, naming the line: what is no JSON object, a field of the wrong kind,
 * numbers that are not finite, a needed field that is missing, the same (prompt_id, sample) twice.
 * A missing prompt_id is the number of its line from 0, as decimal text. */
REX_API REX_MUST rex_status rex_records_open(const char *path, const rex_records_opts *o,
                                             rex_records **out, rex_err *e);
REX_API void rex_records_close(rex_records *r);
REX_API size_t rex_records_rows(const rex_records *r);
REX_API size_t rex_records_groups(const rex_records *r);
REX_API size_t rex_records_dropped(const rex_records *r);
REX_API rex_str rex_records_name(const rex_records *r, size_t group);
REX_API uint64_t rex_records_hash(const rex_records *r, size_t group); /* rex_hash64 of the name */
/* The group of that name, or SIZE_MAX. */
REX_API size_t rex_records_find(const rex_records *r, rex_str name);
/* The rows of a group, ascending: *n of them. */
REX_API const uint32_t *rex_records_of(const rex_records *r, size_t group, size_t *n);
REX_API uint32_t rex_records_group(const rex_records *r, size_t row);
REX_API int64_t rex_records_line(const rex_records *r, size_t row); /* from 1 */
/* Columns of wanted fields, one entry per row. Numbers (I, F, B): NaN where absent. For a V field
 * `num` holds the sum and `len` the length (-1 where absent). For T and J fields equal texts have
 * equal ids, numbered from 0 in order of first appearance, UINT32_MAX where absent; `str` gives the
 * text (p NULL where absent). A field of another kind or not wanted gives NULL. */
REX_API const double *rex_records_num(const rex_records *r, rex_field f);
REX_API const int64_t *rex_records_len(const rex_records *r, rex_field f);
REX_API const uint32_t *rex_records_ids(const rex_records *r, rex_field f);
REX_API rex_str rex_records_str(const rex_records *r, rex_field f, size_t row);
/* The first row without field `f`, or SIZE_MAX when every row has it. */
REX_API size_t rex_records_lacks(const rex_records *r, rex_field f);
/* A row's likelihood l from `logprob` (always a sum) and `n_tok`, or from `logp`: the sum, or the
 * mean per token. NaN where the row does not say. Those three fields must have been wanted. */
REX_API double rex_records_loglik(const rex_records *r, size_t row, bool mean);

/* One sample record in full. `has` tells which fields the record has; V fields are borrowed from
 * the arena of the reader. `line` is the source object: what the record does not write itself is
 * kept from there. */
typedef struct {
    rex_str prompt_id;
    uint32_t has;
    int64_t sample, n_tok, row;
    const int32_t *prompt_ids, *ids;
    const float *logp, *logq, *ent;
    size_t n_prompt_ids, n_ids, n_logp, n_logq, n_ent;
    double logprob, reward, bonus_raw, bonus, adv, entropy; /* reward is NaN for null */
    rex_str text, finish, verdict, reason, extracted, feat, response;
    rex_str answer, problem; /* JSON source */
    rex_str line;
    int64_t no; /* line number from 1; 0 if not from a file */
} rex_sample;

typedef struct {
    rex_str role, content;
} rex_msg;

/* One prompt record: a plain string in `text`, or a chat of `n_msg` messages, or ids alone. */
typedef struct {
    rex_str id;
    bool chat, has_text;
    rex_str text;
    const rex_msg *msg;
    size_t n_msg;
    const int32_t *ids;
    size_t n_ids;
    rex_str answer, problem; /* JSON source; p NULL where absent */
    rex_str line;
    int64_t no;
} rex_prompt;

/* All prompts of a file into the arena. `question` and `label` are accepted for `prompt` and
 * `answer`, `messages` for a chat. A record without prompt and prompt_ids is refused, as is an id
 * that occurs twice and two ids with one hash. */
REX_API REX_MUST rex_status rex_prompts_read(rex_arena *a, const char *path, const char *map,
                                             rex_prompt **out, size_t *n, rex_err *e);
/* All samples of a file, every field, into the arena. */
REX_API REX_MUST rex_status rex_samples_read(rex_arena *a, const char *path, const char *map,
                                             rex_sample **out, size_t *n, rex_err *e);
/* One record from the text of its line; `no` from 1 names it in errors and stands for a missing id.
 */
REX_API REX_MUST rex_status rex_prompt_parse(rex_arena *a, rex_str line, int64_t no,
                                             const char *map, rex_prompt *out, rex_err *e);
REX_API REX_MUST rex_status rex_sample_parse(rex_arena *a, rex_str line, int64_t no,
                                             const char *map, rex_sample *out, rex_err *e);
/* The record as one line, "\n" at its end, in the arena: known fields in the order of the contract,
 * then whatever `line` has besides (fields named by a map stay under their own names). */
REX_API REX_MUST rex_status rex_sample_line(rex_arena *a, const rex_sample *s, rex_str *out,
                                            rex_err *e);

/* ---- metrics: pass@k and its relatives, with intervals ----------------------------------- */

/* Samples with rewards, prompt after prompt: those of prompt g are first[g] .. first[g+1] - 1, in
 * the order in which they were drawn. Arrays that are not needed may be NULL. */
typedef struct {
    size_t n_groups;
    const size_t *first;    /* n_groups + 1 */
    const rex_str *name;    /* per prompt: its id, for errors */
    const uint64_t *stream; /* per prompt: names its random draws; NULL: its index */
    const double *reward;   /* per sample */
    const uint32_t *answer; /* per sample: equal answers have equal numbers; UINT32_MAX: no vote */
    const double *bonus, *logp_mean, *entropy; /* per sample: for advantages */
    const uint32_t *row;    /* per sample: its row in the records it came from */
} rex_scored;

/* The records grouped; `answer` from `extracted`, `logp_mean` from rex_records_loglik, `entropy`
 * from `entropy` or the mean of `ent`: whichever were wanted. `path` names the file in errors.
 * `binary` refuses rewards other than 0 and 1, naming the line. */
REX_API REX_MUST rex_status rex_records_scored(const rex_records *r, const char *path, bool binary,
                                               rex_arena *a, rex_scored *out, rex_err *e);

/* n samples of which c are right, 1 <= k <= n: at least one of k is right; all of k are right. */
REX_API REX_MUST rex_status rex_pass_at_k(int64_t n, int64_t c, int64_t k, double *out, rex_err *e);
REX_API REX_MUST rex_status rex_pow_at_k(int64_t n, int64_t c, int64_t k, double *out, rex_err *e);
/* The expected largest of k of the n rewards (any finite numbers). */
REX_API REX_MUST rex_status rex_best_at_k(const double *reward, size_t n, int64_t k, double *out,
                                          rex_err *e);
/* The expected reward of the majority answer among k of the n samples, for each k of a list. Ties
 * go to the answer whose first sample in the subset came first, and the reward is that sample's; a
 * subset without a vote counts 0. Exact where `exact[j]` comes back true (may be NULL), otherwise
 * the mean of 10,000 subsets named by (seed, stream). */
REX_API REX_MUST rex_status rex_maj_at_k(const uint32_t *answer, const double *reward, size_t n,
                                         const int64_t *k, size_t n_k, uint64_t seed,
                                         uint64_t stream, double *out, bool *exact, rex_err *e);
/* Draws without replacement until the first right one, (n+1)/(c+1), and their standard deviation;
 * with c = 0: n + 1 and 0. */
REX_API REX_MUST rex_status rex_samples_to_correct(int64_t n, int64_t c, double *mean, double *std,
                                                   rex_err *e);
/* The 1-based place of the first sample with reward above 0 in an order of `n` samples (NULL: as
 * they are); 0 if there is none. Pass@k of a selection is the mean of [1 <= place <= k]. */
REX_API size_t rex_first_correct(const double *reward, const uint32_t *order, size_t n);
/* k_base / k of the smallest k at which the curve `method` reaches the value that `base` has at
 * k_base, linear in log2 k between the points; both curves are given at the ascending `k`. 0 if the
 * method never gets there. */
REX_API REX_MUST rex_status rex_horizontal_gap(const double *k, const double *base,
                                               const double *method, size_t n, double k_base,
                                               double *out, rex_err *e);
/* Prompts ranked by `hard` (samples-to-correct under a reference, ascending, ties by index) and cut
 * into `bins` of equal share; bin[i] from 0. */
REX_API REX_MUST rex_status rex_difficulty_bins(const double *hard, size_t n, int bins, int *bin,
                                                rex_err *e);

/* A value with its 95 % interval, its analytic standard error and, for differences, the two-sided
 * p-value of zero (otherwise 1). */
typedef struct {
    double value, low, high, se, p;
} rex_interval;

typedef struct {
    size_t size;
    uint64_t seed;
    int64_t draws; /* bootstrap replicates */
    bool analytic; /* normal theory instead */
    double lo, hi; /* the range that the value can have; -+INFINITY for none */
} rex_boot_opts;
REX_API void rex_boot_defaults(rex_boot_opts *o);
/* The mean over prompts of one value each, or of differences for a paired comparison. */
REX_API REX_MUST rex_status rex_mean_interval(rex_pool *p, const double *v, size_t n,
                                              const rex_boot_opts *o, rex_interval *out,
                                              rex_err *e);
/* mean(num) / mean(den) over the same prompts; p is that of a ratio of 1. */
REX_API REX_MUST rex_status rex_ratio_interval(rex_pool *p, const double *num, const double *den,
                                               size_t n, const rex_boot_opts *o, rex_interval *out,
                                               rex_err *e);

typedef struct {
    size_t size;
    const int64_t *k; /* n_k of them, distinct */
    size_t n_k;
    bool graded; /* any reward: best and avg instead of pass, pow, cov and samples-to-correct */
    uint64_t seed;
    int64_t draws;
    bool analytic;
} rex_passk_opts;

/* What was asked for, one interval per k; what does not apply is NULL. */
typedef struct {
    size_t n_prompts, n_samples, n_dropped, n_k;
    const int64_t *k;
    const rex_interval *pass, *pow, *cov, *maj, *best, *avg;
    bool maj_exact, solvable;
    rex_interval s2c_all, s2c_solvable; /* the second one if `solvable` */
    bool graded, diff;
} rex_passk;

REX_API void rex_passk_defaults(rex_passk_opts *o);
/* Everything over one file. A k above the samples of a prompt is refused, naming the prompt. */
REX_API REX_MUST rex_status rex_passk_run(rex_arena *a, rex_pool *p, const rex_scored *s,
                                          const rex_passk_opts *o, rex_passk *out, rex_err *e);
/* `s` minus `vs`, paired over the prompts whose names both have. */
REX_API REX_MUST rex_status rex_passk_vs(rex_arena *a, rex_pool *p, const rex_scored *s,
                                         const rex_scored *vs, const rex_passk_opts *o,
                                         rex_passk *out, rex_err *e);
/* The object of `repexp passk` (with "vs" if that is not NULL) as JSON text in the arena. */
REX_API REX_MUST rex_status rex_passk_json(rex_arena *a, const rex_passk *p, const rex_passk *vs,
                                           rex_str *out, rex_err *e);

/* ---- advantages -------------------------------------------------------------------------- */

/* X(ID, "name", needs k, "formula"): every estimator of the trainer and of `repexp advantage`. */
#define REX_ADVANTAGES(X)                                                                    \
    X(GRPO, "grpo", 0, "(r - mean) / (std + 1e-6)")                                          \
    X(DR_GRPO, "dr-grpo", 0, "r - mean")                                                     \
    X(RLOO, "rloo", 0, "n/(n-1) * (r - mean)")                                               \
    X(REINFORCE, "reinforce++", 0, "(r - mean) / (std + 1e-8) over everything")              \
    X(REINFORCE_BASE, "reinforce++-baseline", 0, "r - group mean, / (std of all + 1e-8)")    \
    X(PASSK, "passk", 1, "analytic Pass@k training")                                         \
    X(PASSK_FULL, "passk-full", 1, "Pass@k training on groups of k in order")                \
    X(PASSK_BOOT, "passk-bootstrap", 1, "Pass@k training on n drawn groups, summed")         \
    X(PASSK_GENERAL, "passk-general", 1, "analytic Pass@k training on any reward")           \
    X(EXCEED, "exceed", 1, "passk * 4 / (10 ln(c + 1/2))")                                   \
    X(COMBINED, "combined", 1, "c/n * passk + (1 - c/n) * pass@1")                           \
    X(ADAPTIVE, "adaptive", 1, "pass@1 where the entropy is high, passk elsewhere")          \
    X(PKPO, "pkpo", 1, "s_loo1: the gain of the maximum over the runner-up")                 \
    X(PKPO_S, "pkpo-s", 1, "s: the maxima of the k-subsets that hold i")                     \
    X(PKPO_LOO, "pkpo-loo", 1, "s_loo: s less the maxima without i")                         \
    X(BEST_SECOND, "best-minus-second", 0, "best minus second for the best, 0 for others")   \
    X(UNLIKELINESS, "unlikeliness", 0, "reward shaped by the rank of its likelihood, grpo")  \
    X(NSR, "nsr", 0, "-1 wrong, 0 right")                                                    \
    X(W_REINFORCE, "w-reinforce", 0, "-1 wrong, 0.1 right")

typedef enum {
#define X(ID, name, k, text) REX_ADV_##ID,
    REX_ADVANTAGES(X)
#undef X
    REX_ADV_COUNT
} rex_adv_kind;

typedef enum { REX_STD_DEFAULT, REX_STD_SAMPLE, REX_STD_POPULATION, REX_STD_NONE } rex_adv_std;

typedef struct {
    size_t size;
    rex_adv_kind kind;
    int64_t k;           /* 0: none given */
    rex_adv_std std;     /* for grpo, unlikeliness (sample) and best-minus-second (none) */
    double alpha, beta;  /* reward = alpha * reward + beta * gated bonus */
    bool gate_incorrect, gate_none, gate_some, gate_all;
    bool bonus_late;     /* beta * gated bonus goes on top of the finished advantage instead */
    bool paper_form;     /* unlikeliness: the factor as printed, not as published in code */
    double rank_weight;  /* unlikeliness: 0.25 */
    bool group_mean; /* passk-bootstrap: divide by the n k / n groups a sample is in on average */
    uint64_t seed;       /* passk-bootstrap */
} rex_adv_opts;
REX_API void rex_adv_defaults(rex_adv_opts *o);
REX_API const char *rex_adv_name(rex_adv_kind kind);
/* REX_EARG with the nearest name if there is none of that name. */
REX_API REX_MUST rex_status rex_adv_find(const char *name, rex_adv_kind *out, rex_err *e);
/* What the kind reads besides rewards: REX_F bits of LOGPROB or ENTROPY, for a check beforehand. */
REX_API uint32_t rex_adv_reads(rex_adv_kind kind);
/* True for kinds that are defined on right and wrong alone. */
REX_API bool rex_adv_binary(rex_adv_kind kind);
/* One advantage per sample. REX_EARG where no data could make it right, REX_EFORMAT naming the
 * prompt where the data is not what the kind needs. */
REX_API REX_MUST rex_status rex_advantage_run(const rex_scored *s, const rex_adv_opts *o,
                                              double *adv, rex_err *e);

/* ---- rows of numbers in files (formats) -------------------------------------------------- */

/* A matrix in a file: `F.npy`, `F.safetensors` that holds one tensor, or `F.safetensors#name`;
 * two dimensions, f16, bf16, f32 or f64. The file is mapped, not read. What is not finite is
 * handed on as it lies there. */
typedef struct rex_rows rex_rows;
REX_API REX_MUST rex_status rex_rows_open(const char *spec, rex_rows **out, rex_err *e);
REX_API int64_t rex_rows_count(const rex_rows *r);
REX_API int64_t rex_rows_dim(const rex_rows *r);
REX_API const char *rex_rows_type(const rex_rows *r); /* "F32" */
REX_API const char *rex_rows_spec(const rex_rows *r); /* as given to open */
/* The rows where they lie, (count, dim), if they are f32 and aligned; else NULL. Valid until
 * close. */
REX_API const float *rex_rows_f32(const rex_rows *r);
/* The same for rows of any type, packed, at any address; their type is rex_rows_type. */
REX_API const void *rex_rows_data(const rex_rows *r);
/* Rows first .. first+n-1 into out (n, dim); widened exactly (f64 to f32 rounds to nearest). The
 * range must lie within count. */
REX_API void rex_rows_get_f32(const rex_rows *r, int64_t first, int64_t n, float *out);
REX_API void rex_rows_get_f64(const rex_rows *r, int64_t first, int64_t n, double *out);
REX_API void rex_rows_close(rex_rows *r);

/* Rows written one after the other, their number unknown until the end. They go to PATH.part,
 * which commit completes, fsyncs and renames to PATH (.npy or .safetensors, by its name). `meta`
 * is a JSON object that says what the rows are ({} or empty: nothing): written to PATH.json beside
 * an .npy, into `__metadata__` of a .safetensors. */
typedef struct rex_rows_out rex_rows_out;
typedef struct {
    size_t size;
    int64_t dim;
    bool half;      /* f16 instead of f32 */
    bool resumable; /* close without commit leaves PATH.part for rex_rows_out_open with `resume` */
    int64_t resume; /* -1: from the start; else go on behind this many rows (more are cut off,
                     * fewer is an error); a finished PATH is taken up again */
    rex_str meta;
} rex_rows_out_opts;
REX_API void rex_rows_out_defaults(rex_rows_out_opts *o);
REX_API REX_MUST rex_status rex_rows_out_open(const char *path, const rex_rows_out_opts *o,
                                              rex_rows_out **out, rex_err *e);
/* n rows of dim numbers; a failure is sticky and told by flush and commit. */
REX_API void rex_rows_out_add(rex_rows_out *o, const float *row, int64_t n);
REX_API int64_t rex_rows_out_count(const rex_rows_out *o);
/* Everything added so far reaches the system: a later kill cannot lose it. */
REX_API REX_MUST rex_status rex_rows_out_flush(rex_rows_out *o, rex_err *e);
REX_API REX_MUST rex_status rex_rows_out_commit(rex_rows_out *o, rex_err *e); /* closes, too */
REX_API void rex_rows_out_close(rex_rows_out *o);

/* What is in this file or folder, as one JSON object in the arena: arrays, safetensors, GGUF,
 * pools and other record files, model folders, run folders. */
REX_API REX_MUST rex_status rex_file_describe(rex_arena *a, const char *path, rex_str *json,
                                              rex_err *e);

/* ---- tokenizer: text to token ids and back ----------------------------------------------- */

/* A tokenizer is read-only after open; any number of threads may use it. Text is bytes: what is
 * not UTF-8 goes through unchanged wherever the vocabulary has bytes. */
typedef struct rex_tok rex_tok;
typedef struct rex_chat rex_chat;

typedef struct {
    int32_t *v;
    size_t n;
} rex_ids;

/* Ids of -1: the files name none. `stop` holds every id that ends a generation: eos, the end of a
 * turn of the model's own chat layout, all eos_token_id of config.json and generation_config.json;
 * ascending, each once. */
typedef struct {
    int32_t bos, eos, pad, unk, end_of_turn;
    const int32_t *stop;
    size_t n_stop;
} rex_tok_marks;

#define REX_TOK_BOS 1u /* encode: what the tokenizer's own files put before (and behind) a text */
#define REX_TOK_SPECIAL 2u /* encode: control text becomes control tokens; decode: shows them */

/* A Hugging Face folder (tokenizer.json, with tokenizer_config.json, generation_config.json,
 * config.json and chat_template.jinja where they are), a bare tokenizer.json, or a GGUF. A part
 * of a tokenizer.json that is not implemented is REX_EUNSUP naming it. */
REX_API REX_MUST rex_status rex_tok_open(const char *path, rex_tok **out, rex_err *e);
REX_API void rex_tok_close(rex_tok *t);
REX_API int64_t rex_tok_size(const rex_tok *t); /* ids are 0 .. size-1 */
REX_API const rex_tok_marks *rex_tok_special(const rex_tok *t); /* valid until close */
REX_API const char *rex_tok_summary(const rex_tok *t); /* "byte-level BPE, 49152 tokens, ..." */
/* The token as the vocabulary spells it, and whether it is a control token; valid until close.
 * REX_EARG for an id out of range. */
REX_API REX_MUST rex_status rex_tok_piece(const rex_tok *t, int32_t id, rex_str *out, bool *control,
                                          rex_err *e);
/* The id of a token as the vocabulary spells it, or -1. */
REX_API int32_t rex_tok_find(const rex_tok *t, rex_str piece);

/* Ids of a text, in the arena; `flags` is a sum of REX_TOK_*. `lost` (may be NULL): bytes that the
 * vocabulary cannot say and the reference drops, too (SmolLM2 has no U+0004): 0 for most. */
REX_API REX_MUST rex_status rex_tok_encode(const rex_tok *t, rex_str text, uint32_t flags,
                                           rex_arena *a, rex_ids *out, size_t *lost, rex_err *e);
/* Text of ids, in the arena. Without REX_TOK_SPECIAL control tokens are left out. An id out of
 * range is REX_EARG naming it and its place. */
REX_API REX_MUST rex_status rex_tok_decode(const rex_tok *t, const int32_t *id, size_t n,
                                           uint32_t flags, rex_arena *a, rex_str *out, rex_err *e);

/* Text of ids as they come: the pieces joined are the text of rex_tok_decode. A character whose
 * bytes are not all there yet is held back; `last` (id is not looked at) gives what is left, byte
 * for byte. Caller-owned; begin with rex_tok_stream_init. `out` is valid until the next call. */
typedef struct {
    const rex_tok *tok;
    uint32_t flags;
    int held;
    bool begun;
    char hold[8];
} rex_tok_stream;
REX_API void rex_tok_stream_init(rex_tok_stream *s, const rex_tok *t, uint32_t flags);
REX_API REX_MUST rex_status rex_tok_stream_put(rex_tok_stream *s, int32_t id, bool last,
                                               rex_arena *a, rex_str *out, rex_err *e);

/* A new byte-level or character-level tokenizer as the text of a tokenizer.json that the reference
 * loads, too. `special` are control tokens, ids 0 .. n_special-1; then come the characters (every
 * byte, or the distinct characters of `texts` by code point), then merges until `size` ids are
 * reached or no pair occurs twice. The most frequent pair is merged, equal counts by smaller ids;
 * so the same texts give the same bytes. `chars`: character level without merges beyond those. */
typedef struct {
    size_t size;          /* of this struct */
    int64_t vocab;        /* wanted number of ids */
    bool chars;           /* characters, not bytes */
    const char *bos, *eos, *pad; /* names among `special`, or NULL; bos is put before texts */
    const char *const *special;
    size_t n_special;
} rex_tok_build_opts;
REX_API void rex_tok_build_defaults(rex_tok_build_opts *o);
REX_API REX_MUST rex_status rex_tok_build(const rex_str *texts, size_t n,
                                          const rex_tok_build_opts *o, rex_arena *a, rex_str *json,
                                          rex_err *e);

/* Chat layouts: a closed set. rex_chat_find: by name ("chatml"); rex_chat_of: the one that the
 * model's own chat template names without doubt, with the template's own default system prompt.
 * Neither guesses: an unknown name (REX_EARG) or template (REX_EUNSUP) is an error with the list of
 * known ones. A layout of a tokenizer is valid until the tokenizer closes. */
REX_API size_t rex_chat_count(void);
REX_API const rex_chat *rex_chat_at(size_t i);
REX_API const char *rex_chat_name(const rex_chat *c);
REX_API REX_MUST rex_status rex_chat_find(const char *name, const rex_chat **out, rex_err *e);
REX_API REX_MUST rex_status rex_chat_of(const rex_tok *t, const rex_chat **out, rex_err *e);
/* The text that the reference template gives, with the opening of an answer if `open`. A role that
 * the layout does not have, or not in this place, is REX_EFORMAT naming role and message. */
REX_API REX_MUST rex_status rex_chat_render(const rex_chat *c, const rex_msg *msg, size_t n,
                                            bool open, rex_arena *a, rex_str *out, rex_err *e);
/* The same as ids. The layout's control tokens are recognised, those that stand in a message's
 * content only with REX_TOK_SPECIAL; no further BOS is put. `shown` (may be NULL) gets the text. A
 * control token of the layout that the vocabulary lacks is REX_EFORMAT naming it. */
REX_API REX_MUST rex_status rex_chat_encode(const rex_tok *t, const rex_chat *c, const rex_msg *msg,
                                            size_t n, bool open, uint32_t flags, rex_arena *a,
                                            rex_ids *out, rex_str *shown, rex_err *e);

/* ---- models ------------------------------------------------------------------------------ */

/* A language model: a Hugging Face folder (config.json, safetensors in one file or shards) or one
 * GGUF file. Read-only after open; any number of generators may share it. */
typedef struct rex_model rex_model;

/* How the linear layers and the head compute. F32: weights widened exactly, f32 FMA, the bits are
 * portable. BF16: activations and weights rounded to bf16, pairs accumulated in f32. One setting
 * for sampling, scoring and training. */
typedef enum { REX_COMPUTE_F32, REX_COMPUTE_BF16 } rex_compute;

typedef struct {
    size_t size;
    int64_t context; /* positions of a sequence, 0: the model's own number. With LongRoPE the
                      * default is the original context, more selects the long frequencies */
    rex_compute compute;
    const char *kernel; /* a name of rex_kern_list; NULL: the best */
    bool train;         /* everything as f32, writable */
    bool config_only;   /* no weights: rex_model_about alone is of use */
    bool init;          /* for training from scratch: only config.json is read, weights are drawn */
    bool blank;         /* everything is checked and laid out, no weight read or drawn: for plans */
    uint64_t seed;      /* names those draws */
    /* A low-rank adapter (LoRA) on top of the weights, which then stay as they are, in the form of
     * their file, even with `train`: a folder as PEFT writes it, or a new one of rank `lora_rank`
     * (0: none) on the layers of `lora_targets` ("q_proj,v_proj"; NULL or "all-linear": every
     * one). lora_alpha 0: twice the rank. */
    const char *adapter, *lora_targets;
    int64_t lora_rank;
    double lora_alpha;
} rex_model_opts;

/* What was opened; texts and lists are valid until close. */
typedef struct {
    size_t size;
    const char *arch, *format, *kernel, *compute;
    const char *weights; /* the format of most panels: "bf16" */
    int64_t layers, heads, kv_heads, head_dim, width, ffn, vocab, context, params;
    bool tied;
    size_t panel_bytes;
    int32_t bos; /* -1: none */
    size_t n_eos;
    const int32_t *eos; /* of config.json, generation_config.json or the GGUF metadata */
    int64_t lora_rank, lora_params; /* of an adapter; 0: there is none */
    double lora_alpha;
    const char *lora_targets; /* "q_proj,v_proj" */
    const char *adapter;      /* the folder that it was read from */
} rex_model_info;

REX_API void rex_model_defaults(rex_model_opts *o);
/* `o` may be NULL; `pool` (may be NULL) is used for loading only. Errors name file, tensor or key;
 * config keys that nobody knows are warnings. */
REX_API REX_MUST rex_status rex_model_open(const char *path, const rex_model_opts *o,
                                           rex_pool *pool, rex_model **out, rex_err *e);
REX_API const rex_model_info *rex_model_about(const rex_model *m);
REX_API void rex_model_close(rex_model *m);

/* ---- generation: prompts to samples, log-probabilities, features ------------------------- */

/* What is pooled into a feature: nothing, the mean over response tokens, the last response token,
 * the mean over prompt and response. The state of the last sampled token (a stop token, too) is in
 * it; a response without tokens gives zeros under mean and last. */
typedef enum {
    REX_POOLING_NONE,
    REX_POOLING_MEAN,
    REX_POOLING_LAST,
    REX_POOLING_MEAN_ALL
} rex_pooling;

/* Bends a copy of the logits of one sample before the draw; `state` is what `layer` names. Samples
 * come one after the other. logp and entropy stay those of the unbent row. */
typedef void (*rex_bend_fn)(void *ud, size_t prompt, uint32_t sample, int32_t pos,
                            const float *state, int64_t n_state, float *logit, int64_t n_logit);

typedef struct {
    size_t size;
    double temperature, top_p, min_p; /* 0 is greedy; 1 and 0 switch the filters off */
    int64_t top_k;                    /* 0: off */
    int64_t max_tokens;               /* of a response */
    int64_t max_prompt; /* longest prompt that will come; 0: what the context leaves */
    int64_t batch;                    /* sequences decoded at once */
    int64_t chunk;                    /* tokens of one step, prompts included */
    int64_t group; /* samples of one prompt that will come together: sizes the cache */
    uint64_t seed, step;              /* name the draws, with prompt hash, sample and position */
    bool kv_bf16;                     /* keys and values kept in bf16 */
    bool ignore_eos;                  /* the model's own end tokens do not stop */
    bool detail;                      /* per-token logp, logq and entropy; on by default */
    rex_pooling pooling;
    int layer; /* 0 the embeddings, i the state behind block i, -1 after the final norm */
    const int32_t *stop_ids;          /* besides the model's and the tokenizer's own */
    size_t n_stop_ids;
    const char *const *stop; /* texts that end a response and are cut off; need a tokenizer */
    size_t n_stop;
    rex_bend_fn bend;
    void *bend_ud;
} rex_gen_opts;

/* A prompt to be continued: samples first .. first+samples-1 of it are drawn. `hash` names its
 * random streams: rex_name_hash of the prompt_id. */
typedef struct {
    uint64_t hash;
    const int32_t *ids;
    size_t n;
    uint32_t first, samples;
} rex_gen_prompt;

/* One finished sample; everything is borrowed for the call. */
typedef struct {
    size_t prompt; /* index */
    uint32_t sample;
    const int32_t *ids; /* n of them, the stop token included */
    const float *logp, *logq, *ent; /* NULL without `detail`; logq NULL where it equals logp */
    size_t n;
    bool stopped;  /* by a stop token or text; otherwise by length */
    bool has_text; /* there is a tokenizer */
    rex_str text;
    const float *feature; /* (width), NULL without pooling */
} rex_gen_sample;
/* Called in order of (prompt, sample). A status other than REX_OK ends the run with it. */
typedef rex_status (*rex_gen_fn)(void *ud, const rex_gen_sample *s, rex_err *e);

/* A response that is given, to be scored: the numbers that generation would have recorded. */
typedef struct {
    const int32_t *prompt, *ids;
    size_t n_prompt, n;
} rex_gen_pair;

/* Holds cache and scratch, all taken at open; belongs to one caller at a time. */
typedef struct rex_engine rex_engine;
REX_API void rex_gen_defaults(rex_gen_opts *o);
/* The options are copied, what they point to is borrowed; so are model, tokenizer (may be NULL) and
 * pool (may be NULL). Too little memory is an error that says what to lower. */
REX_API REX_MUST rex_status rex_gen_open(const rex_model *m, const rex_tok *tok, rex_pool *pool,
                                         const rex_gen_opts *o, rex_engine **out, rex_err *e);
REX_API void rex_gen_close(rex_engine *g);
REX_API size_t rex_gen_bytes(const rex_engine *g); /* cache and scratch */
/* Names the draws of the following runs; a trainer sets its step. */
REX_API void rex_gen_step(rex_engine *g, uint64_t seed, uint64_t step);
/* Samples of a prompt share its keys and values; a finished sample's place goes to the next at
 * once. A prompt that does not fit is REX_ELIMIT naming it. Stopped on request (a signal) it hands
 * out what is complete and returns REX_ECANCEL. */
REX_API REX_MUST rex_status rex_gen_run(rex_engine *g, const rex_gen_prompt *p, size_t n,
                                        rex_gen_fn fn, void *ud, rex_err *e);
/* Neighbours with equal prompts share them. The bits are those of generation, whatever the order.
 */
REX_API REX_MUST rex_status rex_gen_score(rex_engine *g, const rex_gen_pair *p, size_t n,
                                          rex_gen_fn fn, void *ud, rex_err *e);
REX_API uint64_t rex_name_hash(rex_str prompt_id);

/* ---- tasks ------------------------------------------------------------------------------ */

/* What a verifier says of a response. `broken` is the verifier's own failure: its reward is null,
 * and a reward of zero never stands for it. */
#define REX_VERDICTS(X)                                                                      \
    X(correct) X(wrong) X(unparsed) X(ambiguous) X(timeout) X(crash) X(blocked) X(broken)

typedef enum {
#define X(name) REX_VERDICT_##name,
    REX_VERDICTS(X)
#undef X
    REX_VERDICT_COUNT
} rex_verdict;

/* Options of the tasks, one list: X(KIND, name, default, lo, hi, meta, help) as for rex_opt, so
 * that a command can put them among its own. Each is read by the tasks that its help names. */
#define REX_TASK_OPTS(X)                                                                     \
    X(STR, data, "", 0, 0, "FILE", "problems, one JSON object a line")                       \
    X(ENUM, grader, "strict", 0, 0, "strict|paper", "gsm8k, math, aime: who decides")         \
    X(ENUM, turn, "auto", 0, 0, "auto|chat|plain", "prompts as one user turn or as plain text") \
    X(ENUM, format, "auto", 0, 0, "auto|steps|expression", "countdown: the form of a solution") \
    X(ENUM, use, "all", 0, 0, "all|once", "countdown: every number once, or at most once")   \
    X(I64, numbers, "4", 2, 8, "N", "countdown: numbers of a problem")                       \
    X(I64, low, "1", 1, 10000, "A", "countdown: smallest number")                            \
    X(I64, high, "12", 1, 10000, "B", "countdown: largest number")                           \
    X(I64, target_low, "10", 1, 1000000, "A", "countdown: smallest target")                  \
    X(I64, target_high, "99", 1, 1000000, "B", "countdown: largest target")                  \
    X(I64, limit, "99", 1, 1000000, "N", "countdown: largest value on the way")              \
    X(I64, side, "9", 5, 201, "N", "maze: rows and columns, an odd number")                  \
    X(F64, open, "0.3", 0, 1, "P", "maze: share of the inner walls that is opened")          \
    X(I64, digits, "2", 1, 15, "N", "arithmetic: digits of a number")                        \
    X(I64, terms, "2", 2, 8, "N", "arithmetic: numbers of a sum")                            \
    X(STR, cmd, "", 0, 0, "'PROG ARGS'", "external: the verifier to run")                    \
    X(F64, deadline, "10", 0.001, 86400, "S", "external: seconds that a response may take")  \
    X(STR, pattern, "", 0, 0, "RE", "regex: what the response must hold; group 1 is the answer")

#define REX_TASK_T_STR const char *
#define REX_TASK_T_ENUM int
#define REX_TASK_T_I64 int64_t
#define REX_TASK_T_F64 double
typedef struct {
    size_t size;
    const char *task; /* its name */
#define X(KIND, name, def, lo, hi, meta, help) REX_TASK_T_##KIND name;
    REX_TASK_OPTS(X)
#undef X
} rex_task_opts;
REX_API void rex_task_defaults(rex_task_opts *o);

/* What a task is, for lists and for those who plan calls of a verifier. */
typedef struct {
    const char *name, *help;
    const char *problem; /* the fields that a record of --data has */
    bool makes;          /* has a generator: needs no data */
    bool by_answer;      /* the verdict depends on `extracted` alone */
} rex_task_info;
REX_API size_t rex_task_count(void);
REX_API const rex_task_info *rex_task_at(size_t i);

/* A task with its options. `external` keeps a child process; everything else is pure. */
typedef struct rex_task rex_task;
REX_API REX_MUST rex_status rex_task_open(const rex_task_opts *o, rex_task **out, rex_err *e);
REX_API const rex_task_info *rex_task_what(const rex_task *t);
REX_API void rex_task_close(rex_task *t);

/* One problem: `line` is the whole prompt record, the others are its parts as JSON source (p NULL
 * where there is none). */
typedef struct {
    rex_str id; /* plain text */
    rex_str prompt, answer, problem, response, line;
} rex_item;
/* A generator's problems fall to one side by the hash of their id: test where it is 0 modulo 16.
 * Auto: test, or all where there are only finitely many. Rows of --data are not split. */
typedef enum { REX_SPLIT_AUTO, REX_SPLIT_TRAIN, REX_SPLIT_TEST, REX_SPLIT_ALL } rex_split;
typedef struct {
    size_t size;
    int64_t n; /* -1: all there are */
    rex_split split;
    uint64_t seed;
    bool solutions; /* with a worked `response` */
    bool repeats; /* a generator's draws as they come: a problem may come more than once */
} rex_make_opts;
REX_API void rex_make_defaults(rex_make_opts *o);
/* Problems from --data or from the task's generator, into the arena. From data: n of its rows drawn
 * by the seed, in the order of the file. From a generator: distinct ones unless `repeats`. Fewer
 * than n is REX_ELIMIT. */
REX_API REX_MUST rex_status rex_task_make(const rex_task *t, const rex_make_opts *o, rex_arena *a,
                                          rex_item **out, size_t *n, rex_err *e);

/* What is to be verified: `answer` and `problem` as JSON source, p NULL where absent; `finish` may
 * be empty, "length" marks a response that was cut off. */
typedef struct {
    rex_str prompt, answer, problem, response, finish;
} rex_claim;
typedef struct {
    rex_verdict verdict;
    double reward; /* 1 for correct, 0 for the others, NaN for broken; external: its own */
    rex_str extracted, reason; /* in the arena; extracted.p NULL where there is none */
} rex_judged;
REX_API const char *rex_verdict_name(rex_verdict v);
/* Verdicts on n claims; the same whatever the number of workers (p may be NULL). A failing
 * verifier is the verdict `broken`; five of them in a row are REX_ECHILD. A jump in the mix of
 * verdicts from call to call is logged as a warning. One call at a time per task. */
REX_API REX_MUST rex_status rex_task_verify(rex_task *t, rex_pool *p, const rex_claim *c, size_t n,
                                            rex_arena *a, rex_judged *out, rex_err *e);

/* ---- exploration of pools (explore) ------------------------------------------------------ */

/* Rows of numbers that someone else owns: row-major, packed, of any alignment. */
typedef enum { REX_ELEM_F32, REX_ELEM_F64, REX_ELEM_F16, REX_ELEM_BF16, REX_ELEM_COUNT } rex_elem;
typedef struct {
    const void *p; /* (rows, cols) */
    int64_t rows, cols;
    rex_elem type;
} rex_matrix;

/* The element type named "F32", "F64", "F16" or "BF16"; REX_ELEM_COUNT for any other name. */
REX_API rex_elem rex_elem_find(const char *name);
/* The first number of `m` that is not finite, by row and column; false if all are finite. */
REX_API bool rex_matrix_nonfinite(const rex_matrix *m, int64_t first_row, int64_t *row,
                                  int64_t *col);

/* Random projection of rows to fewer dimensions. `sparse`: entries +v, -v, 0 with density
 * 1/sqrt(dim_in), v = dim_in^(1/4)/sqrt(dim_out); `gauss`: normal with variance 1/dim_out. Every
 * entry is a draw named by (seed, row, column) of the matrix. */
typedef enum { REX_PROJECT_SPARSE, REX_PROJECT_GAUSS } rex_project_kind;
typedef struct rex_project rex_project;
REX_API REX_MUST rex_status rex_project_open(rex_project_kind kind, uint64_t seed, int64_t dim_in,
                                             int64_t dim_out, rex_project **out, rex_err *e);
/* out (rows, dim_out). Rows are brought to f32; sums run in f32 for `sparse`, in double for
 * `gauss`. */
REX_API REX_MUST rex_status rex_project_apply(const rex_project *p, const rex_matrix *in,
                                              rex_pool *workers, float *out, rex_err *e);
/* Of the matrix: same digest, same matrix. */
REX_API uint64_t rex_project_digest(const rex_project *p);
REX_API void rex_project_close(rex_project *p);

/* The regularised covariance lambda I + sum h h' of a set of rows and what it says of others. Rows
 * come and go one by one; after every `refresh` changes (0: dim of them) the inverse is made afresh
 * from the sum, so that rounding does not pile up. */
typedef struct rex_ellipse rex_ellipse;
REX_API REX_MUST rex_status rex_ellipse_open(int64_t dim, double lambda, int64_t refresh,
                                             rex_ellipse **out, rex_err *e);
/* h'(lambda I + sum)^-1 h, not negative. h: dim numbers. */
REX_API double rex_ellipse_bonus(rex_ellipse *x, const double *h);
/* Remove takes back a row that was added; one that cannot have been is REX_EARG. */
REX_API REX_MUST rex_status rex_ellipse_add(rex_ellipse *x, const double *h, rex_err *e);
REX_API REX_MUST rex_status rex_ellipse_remove(rex_ellipse *x, const double *h, rex_err *e);
REX_API double rex_ellipse_logdet(const rex_ellipse *x); /* of lambda I + sum */
REX_API int64_t rex_ellipse_count(const rex_ellipse *x); /* rows in it */
REX_API void rex_ellipse_close(rex_ellipse *x);

/* Bonuses of the rows of one group. */
typedef enum { REX_BONUS_LEVERAGE, REX_BONUS_LOO, REX_BONUS_CONDITIONAL } rex_bonus_kind;
typedef enum { REX_NORMALIZE_NONE, REX_NORMALIZE_RND, REX_NORMALIZE_ZSCORE } rex_normalize;
typedef enum { REX_FORM_AUTO, REX_FORM_PRIMAL, REX_FORM_DUAL } rex_form;
typedef struct {
    size_t size;
    rex_bonus_kind kind;
    rex_form form;       /* AUTO: dual when rows < dim; makes a difference of rounding only */
    bool center, unit;   /* subtract the group's mean; then scale to norm 1 */
    bool lambda_rel;     /* lambda times the mean squared norm of the group's rows before `unit` */
    double lambda;
    rex_normalize normalize;
} rex_bonus_opts;
/* About the bonuses before normalisation: sum, extremes, sample deviation; the ridge that was used;
 * exp of the entropy of the normalised eigenvalues; sum / (n - 1) (NaN for one row). */
typedef struct {
    double lambda, sum, rank, min, mean, max, std, saturation;
} rex_bonus_stat;
REX_API void rex_bonus_defaults(rex_bonus_opts *o); /* leverage, center, lambda 0.01 */
/* `row`: the n rows of the group in `m` (NULL: rows 0 .. n-1); bonus: n numbers out. Rows that are
 * not finite are refused by row and column of `m`. */
REX_API REX_MUST rex_status rex_bonus_rows(const rex_matrix *m, const int64_t *row, int64_t n,
                                           const rex_bonus_opts *o, double *bonus,
                                           rex_bonus_stat *stat, rex_err *e);

/* The rules of selection: X(NAME, name, center, unit, lambda, proj_dim, first, outcome, likelihood)
 * with the defaults of each. Defaults that a rule has no use for are those of the others. */
#define REX_SELECTS(X)                                                                       \
    X(ELLIPTICAL, elliptical, true, false, 1.0, 512, RANDOM, NONE, MEAN)                     \
    X(QUALITY, quality, true, true, 0.01, 0, BEST, AUTO, MEAN)                               \
    X(VOTES, votes, true, true, 1.0, 0, BEST, AUTO, MEAN)                                    \
    X(LIKELIHOOD, likelihood, true, true, 1.0, 0, BEST, NONE, SUM)                           \
    X(FARTHEST, farthest, true, true, 1.0, 0, NORM, NONE, MEAN)                              \
    X(DPP, dpp, true, true, 1.0, 0, BEST, NONE, MEAN)                                        \
    X(RANDOM, random, true, true, 1.0, 0, BEST, NONE, MEAN)
typedef enum {
#define X(NAME, name, center, unit, lambda, proj_dim, first, outcome, likelihood) REX_SELECT_##NAME,
    REX_SELECTS(X)
#undef X
    REX_SELECT_COUNT
} rex_rule;
typedef enum { REX_FIRST_RANDOM, REX_FIRST_NORM, REX_FIRST_BEST, REX_FIRST_INDEX } rex_first;
typedef enum {
    REX_OUTCOME_NONE,
    REX_OUTCOME_TEXT,
    REX_OUTCOME_ANSWER,
    REX_OUTCOME_AUTO
} rex_outcome;
typedef enum { REX_LOGLIK_MEAN, REX_LOGLIK_SUM } rex_loglik;

typedef struct {
    size_t size;
    rex_rule rule;
    bool center, unit, lambda_rel; /* as in rex_bonus_opts */
    double lambda;
    int64_t proj_dim;      /* what the caller should project to; rows are taken as given */
    rex_first first;
    int64_t first_index;   /* for REX_FIRST_INDEX */
    rex_outcome outcome;   /* what the caller should label outcomes by; labels are taken as given */
    rex_loglik likelihood; /* which l the caller should give */
    double sharpness, alpha;
    uint64_t seed;
} rex_select_opts;
/* The defaults of a rule. */
REX_API void rex_select_defaults(rex_rule rule, rex_select_opts *o);
REX_API const char *rex_select_name(rex_rule rule);
/* Does the rule look at features at all, and does it weigh l (so that every row must have one)? */
REX_API bool rex_select_uses_rows(const rex_select_opts *o);
REX_API bool rex_select_uses_l(const rex_select_opts *o);

/* More rows of one pool (one group); everything is borrowed until the selection is closed. */
typedef struct {
    size_t size;
    rex_matrix m;           /* p NULL where the rule uses no rows */
    const int64_t *row;     /* n rows of m; NULL: rows 0 .. n-1 */
    int64_t n;
    const double *l;        /* n log-likelihoods, or NULL */
    const int64_t *outcome; /* n labels, equal for equal outcomes; NULL: each row its own */
} rex_select_rows;

/* A pool being ordered. Rows are numbered from 0 in the order in which they were added. */
typedef struct rex_select rex_select;
/* `id` names the draws of this pool (a hash of its group's name). `workers` may be NULL. */
REX_API REX_MUST rex_status rex_select_open(const rex_select_opts *o, uint64_t id,
                                            rex_pool *workers, rex_select **out, rex_err *e);
/* Rows may come at any time; the mean and a relative ridge are then those of all rows so far, and
 * whatever was picked before counts as verified. */
REX_API REX_MUST rex_status rex_select_add(rex_select *s, const rex_select_rows *rows, rex_err *e);
/* These rows are verified already: they enter the covariance (or the set of picks) and are never
 * picked, nor is a representative of their outcome as one. Before the first pick. */
REX_API REX_MUST rex_status rex_select_start(rex_select *s, const int64_t *row, int64_t n,
                                             rex_err *e);
/* The next k places of the order: index and score of each (either may be NULL). The score is the
 * bonus for `elliptical` and `quality`, the distance for `farthest`, the logarithm of the gain for
 * `dpp` (-infinity: none), of the mass for `votes`, l for `likelihood`, 0 for `random`; under the
 * last three also where rows follow their representatives. k > rex_select_left is REX_EARG. */
REX_API REX_MUST rex_status rex_select_next(rex_select *s, int64_t k, int64_t *index, double *score,
                                            rex_err *e);
REX_API int64_t rex_select_left(const rex_select *s);
REX_API double rex_select_lambda(const rex_select *s); /* the ridge in use, after the first pick */
REX_API void rex_select_close(rex_select *s);

/* ---- trials: what the order of a pool saves of a verifier (trial) ------------------------ */

/* Who is verified: AUTO is ALL for verifiers that are built in, and LAZY (only as far down the
 * orders as the first correct sample) for `external`. */
typedef enum { REX_JUDGE_AUTO, REX_JUDGE_ALL, REX_JUDGE_LAZY } rex_judging;
typedef struct {
    size_t size;
    const char *rules;      /* "quality,random/outcome=answer,auto"; NULL: none (pass@k alone) */
    const char *candidates; /* those that `auto` chooses from; NULL: those of docs/explore.md */
    const char *k;          /* "1,4,16"; NULL: powers of two up to the smallest pool */
    const char *map;        /* as in rex_records_opts */
    int64_t problems;       /* the first ones of the pool; 0: all */
    int64_t trials, learn, draws; /* first picks; whole pools `auto` learns from; replicates */
    bool exact;             /* every first pick instead of `trials` seeded ones */
    bool reverify;          /* stored rewards are not believed */
    bool until;             /* one rule, one trial: what is found first is what counts */
    rex_judging judge;
    uint64_t seed;
    /* A file that keeps the verifier's verdicts as they come; NULL: none. With `resume` those that
     * it has are not asked for again; it must be of the same task, options and pool. Whoever has
     * saved the pool removes it. */
    const char *journal;
    bool resume;
    /* Another pool of the same problems with rewards, of a model not under study: the bins are its
     * tenths by difficulty, not the problems' own shares of correct samples. NULL: none. */
    const char *reference;
} rex_trial_opts;
typedef struct rex_trial rex_trial;
REX_API void rex_trial_defaults(rex_trial_opts *o);
/* Reads a pool and its features (NULL: none) and verifies what is to be verified at once. A stored
 * reward is used; otherwise the gold comes from the record, else by prompt_id from the task's data,
 * else the line is named. `task` (borrowed) may be NULL where every row has a reward. */
REX_API REX_MUST rex_status rex_trial_open(const rex_trial_opts *o, rex_task *task,
                                           rex_pool *workers, const char *pool,
                                           const char *features, rex_trial **out, rex_err *e);
/* Orders by every rule, down to the first correct sample, and what follows from them. */
REX_API REX_MUST rex_status rex_trial_run(rex_trial *t, rex_err *e);
/* Spends `calls` verdicts where the next outcome is most likely the first correct one. */
REX_API REX_MUST rex_status rex_trial_budget(rex_trial *t, int64_t calls, rex_err *e);
/* What came out, as text in the arena: the object of `explore` or of `eval`; tables in Markdown;
 * orders of the first trial, one a line; what was found, one a line or for people. */
typedef enum { REX_TRIAL_JSON, REX_TRIAL_EVAL, REX_TRIAL_TABLE, REX_TRIAL_EVAL_TABLE,
               REX_TRIAL_ORDERS, REX_TRIAL_FOUND, REX_TRIAL_FOUND_TEXT } rex_trial_form;
REX_API REX_MUST rex_status rex_trial_text(rex_trial *t, rex_trial_form form, const rex_trial *vs,
                                           rex_arena *a, rex_str *out, rex_err *e);
/* The pool with its verdicts, written aside and renamed. */
REX_API REX_MUST rex_status rex_trial_save(rex_trial *t, const char *path, rex_err *e);
/* Verdicts that were asked for here; the others were stored. */
REX_API size_t rex_trial_verified(const rex_trial *t);
REX_API void rex_trial_close(rex_trial *t);

/* ---- arithmetic (kernels) ---------------------------------------------------------------- */

/* The kernel tables that this machine can run, best first ("avx512", "avx2", "neon", "ref"); all
 * return the same bits. The environment's REX_KERNEL forces one. Returns their number; the first
 * `room` names are stored. */
REX_API size_t rex_kern_list(const char **name, size_t room);

/* ---- several processes (dist) ------------------------------------------------------------ */

/* The processes (ranks) that an mpirun has started together. NULL stands for one process. */
typedef struct rex_dist rex_dist;
/* Joins the others through a plug-in (librepexp-mpi.so). A rank that is silent for `deadline`
 * seconds, or still computing that long (and ten steps more) after the others, ends the run. */
REX_API REX_MUST rex_status rex_dist_open(const char *plugin, double deadline, rex_dist **out,
                                          rex_err *e);
REX_API int rex_dist_rank(const rex_dist *d);
REX_API int rex_dist_size(const rex_dist *d);
/* All go on only if all are well: otherwise everybody gets the status and sentence of the first
 * rank that is not, with its name. Also the barrier. `s` and `e` are this rank's own. */
REX_API REX_MUST rex_status rex_dist_agree(rex_dist *d, rex_status s, rex_err *e);
/* After a failure this ends all ranks: say first what there is to say. */
REX_API void rex_dist_close(rex_dist *d);

/* ---- supervised training ----------------------------------------------------------------- */

typedef enum { REX_SCHEDULE_CONSTANT, REX_SCHEDULE_LINEAR, REX_SCHEDULE_COSINE } rex_schedule;

typedef struct {
    size_t size;
    const char *model;     /* folder or GGUF; NULL: from scratch, by the sizes below */
    const char *tokenizer; /* NULL: the model's own; from scratch: built from the data */
    const char *data, *val, *out, *map, *chat; /* chat "auto" or NULL: the model's own layout */
    const char *freeze, *no_decay; /* comma-separated patterns of parameter names */
    const char *options;   /* JSON object that run.json shows and resume compares; NULL: none */
    int64_t steps, seqs;   /* updates; documents of one */
    int64_t micro;         /* tokens of one batch; changes no bit */
    int64_t warmup, context; /* context 0: the model's own */
    int64_t eval_every, sample_every, samples, sample_tokens, save_every, keep;
    int64_t recompute;     /* layers whose activations are computed again instead of kept */
    int64_t memory;        /* bytes: micro and recompute are chosen so that it is not passed; 0: the
                            * machine's own, with micro and recompute as given */
    int64_t layers, width, heads, kv_heads, ffn, vocab; /* from scratch */
    int64_t seed, threads;
    double lr, lr_floor, beta1, beta2, eps, weight_decay, clip;
    rex_schedule schedule;
    bool tied, build_chars, loss_on_all, truncate, bf16, state_bf16, dry_run, resume;
    const char *adapter, *lora_targets; /* as in rex_model_opts: an adapter is trained, no weight */
    int64_t lora;                       /* rank of a new one; 0: none */
    double lora_alpha;
    bool exact;            /* sums that do not depend on the number of ranks; see docs */
    rex_dist *dist;        /* the ranks that train together (borrowed); NULL: this process alone */
    const char *lr_for, *decay_for; /* "PATTERN=X,...": X times lr or weight_decay for matching
                                     * parameters, the last match counts */
} rex_sft_opts;
REX_API void rex_sft_defaults(rex_sft_opts *o);

/* What a run will cost. Bytes and seconds; `memory` is the sum of the seven parts above it. */
typedef struct {
    size_t size;
    int64_t params, trained; /* numbers; those that are not frozen */
    int64_t weights, gradients, optimiser, activations, backward, data, program, memory;
    int64_t memory_limit;    /* `memory` of the options, or what the machine has */
    int64_t micro, recompute;          /* as chosen */
    int64_t documents, steps;
    double batches, tokens_per_step;   /* of a step, on average */
    double seconds_per_step;           /* measured on some of the data; 0: not measured */
    int64_t checkpoint, checkpoints;   /* bytes of one; how many there are at once */
    int64_t disk, disk_free;
} rex_sft_cost;
/* Checks everything that a run would check, writes nothing, and tells its cost. REX_ELIMIT where
 * memory or disk do not suffice, naming what would; `out` is filled in then, too, but for the time.
 * Of several ranks the first one plans, for its share of the optimiser; `out` of the others stays
 * as it is. */
REX_API REX_MUST rex_status rex_sft_plan(const rex_sft_opts *o, rex_sft_cost *out, rex_err *e);
/* The whole run, into the folder `out`. REX_ECANCEL after a stop on request: saved, can be resumed.
 * Data, config and weights are checked before the first step; errors name file and line or tensor.
 */
REX_API REX_MUST rex_status rex_sft_run(const rex_sft_opts *o, rex_err *e);

/* ---- models written anew: adapters merged, folders to GGUF ------------------------------- */

typedef enum {
    REX_WEIGHTS_F32,
    REX_WEIGHTS_F16,
    REX_WEIGHTS_BF16,
    REX_WEIGHTS_Q8_0
} rex_weights_as;
typedef struct {
    size_t size;
    const char *model;     /* folder or GGUF */
    const char *adapter;   /* merged into the weights: W + scale * B A; NULL: none */
    const char *tokenizer; /* NULL: the model's own */
    const char *out;       /* a new folder, or with `gguf` a file */
    bool gguf, no_tokenizer;
    rex_weights_as type;   /* of matrices; vectors of a GGUF are f32, q8_0 is for GGUF alone */
} rex_export_opts;
REX_API void rex_export_defaults(rex_export_opts *o);
/* Writes aside and renames: whole or not at all. A GGUF file is read back first; what it cannot say
 * exactly (a layout of layers, a way of cutting texts) is REX_EUNSUP. */
REX_API REX_MUST rex_status rex_export_run(const rex_export_opts *o, rex_err *e);

/* ---- report: run folders to a page ------------------------------------------------------- */

typedef struct {
    size_t size;
    const char *title, *lead; /* NULL: plain ones */
    int64_t samples;          /* embedded for reading, over all runs; 2000 */
    const char *figures;      /* a folder for SVG, PNG and PDF made by gnuplot; NULL: none */
    bool stamp;               /* the date of making in the foot; without it the bytes are a
                               * function of the runs */
} rex_report_opts;
REX_API void rex_report_defaults(rex_report_opts *o);
/* One self-contained HTML page of at most 20 MB from n run folders, written to `path`. A folder
 * without any file of a run is REX_EFORMAT; gnuplot missing is REX_ECHILD, only if figures are
 * wanted. */
REX_API REX_MUST rex_status rex_report_page(const char *const *run, size_t n, const char *path,
                                            const rex_report_opts *o, rex_err *e);

#ifdef __cplusplus
}
#endif
#endif
