/* SPDX-License-Identifier: MIT
 *
 * records: prompts and samples as lines of JSON. The public part (columns, whole records, the line
 * of a sample) stands in repexp.h; here is what the files of this room share. A record says what it
 * says: absent is not zero, null is absent except for a reward, where it is a broken verifier.
 */
#ifndef REX_RECORDS_H
#define REX_RECORDS_H

#include "../base/base.h"

/* Where a field is found in a record. `whole` is tried first as one member's name, then the dotted
 * steps through nested objects. */
#define REX_PATH_STEPS 4
typedef struct {
    rex_str whole;
    rex_str step[REX_PATH_STEPS];
    size_t n;
} rex_path;

/* The names behind the fields: first those of REX_FIELDS, then these, which have several spellings.
 */
enum {
    REX_NAME_PROMPT_ID = REX_FIELD_COUNT,
    REX_NAME_GROUP,
    REX_NAME_PROMPT,
    REX_NAME_COUNT
};
typedef struct {
    rex_path path[REX_NAME_COUNT];
    bool given[REX_NAME_COUNT]; /* by --map */
} rex_fieldmap;

/* Reads "field=their.field,..."; NULL or "" leaves the fields' own names. REX_EARG for a field that
 * is none (with the nearest name), one named twice, an empty path or one too deep. */
REX_MUST rex_status rex_fieldmap_read(rex_arena *a, const char *map, rex_fieldmap *out, rex_err *e);

/* The own name of a field, and its kind: one letter of "IFBTVJ". */
const char *rex_field_name(int field);
char rex_field_kind(int field);

/* What a scan asks of every line: the member names, without repeats, and where each name's value
 * is then found. Names are added, then every line is scanned. */
#define REX_WANT_MAX 64
typedef struct {
    rex_str want[REX_WANT_MAX], raw[REX_WANT_MAX];
    size_t n;
} rex_scan;
typedef struct {
    const rex_path *path;
    size_t whole, first; /* indices into the scan */
} rex_place;
rex_place rex_scan_add(rex_scan *s, const rex_path *path);
rex_place rex_scan_add_name(rex_scan *s, const char *name, rex_path *path); /* an own spelling */
/* The source text of the value, p NULL if absent or null (then *null is set, if not NULL). */
REX_MUST rex_status rex_scan_get(const rex_scan *s, rex_place at, rex_str *raw, bool *null,
                                 rex_err *e);

/* The next number of a JSON array of numbers: *p moves on from just after '[' or a number. */
REX_MUST rex_status rex_array_next(const char **p, const char *end, double *out, bool *more,
                                   rex_err *e);
/* Checks that `raw` is a list and sets *p behind its bracket. */
REX_MUST rex_status rex_array_open(rex_str raw, const char **p, rex_err *e);

/* A text value: a string decoded; a number or bool by its source. */
REX_MUST rex_status rex_text_value(rex_arena *a, rex_str raw, rex_str *out, rex_err *e);
/* The id of a record: a string or a number, or the number of its line from 0. */
REX_MUST rex_status rex_id_value(rex_arena *a, rex_str raw, int64_t no, rex_str *out, rex_err *e);

/* Texts to numbers 0, 1, ... in order of first appearance; equality is by bytes. */
typedef struct {
    rex_str s;
    uint64_t hash;
} rex_named;
typedef struct {
    rex_buf store;  /* n of rex_named */
    uint32_t *slot; /* open addressing; mask + 1 is a power of two; UINT32_MAX is free */
    size_t n, mask;
    rex_arena *arena;
} rex_names;
/* The names so far, n of them; moves when one is added. */
static inline const rex_named *rex_names_all(const rex_names *t) {
    return (const rex_named *)(const void *)t->store.p;
}

/* An empty table; what it copies goes into the arena. */
REX_MUST rex_status rex_names_open(rex_names *t, rex_arena *arena, rex_err *e);
/* The number of `s`, new or known; `copy` puts a new one's bytes into the arena, otherwise they are
 * borrowed. At most 2^32 - 2 names. */
REX_MUST rex_status rex_names_put(rex_names *t, rex_str s, uint64_t hash, bool copy, uint32_t *id,
                                  rex_err *e);
/* The number of `s` or UINT32_MAX. */
uint32_t rex_names_find(const rex_names *t, rex_str s, uint64_t hash);
/* A known name other than `s` with the same hash, or UINT32_MAX. */
uint32_t rex_names_twin(const rex_names *t, rex_str s, uint64_t hash);
void rex_names_close(rex_names *t);

#endif
