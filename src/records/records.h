/* SPDX-License-Identifier: MIT
 *
 * records: prompts and samples as lines of JSON. The public part (columns, whole records, the line
 * of a sample) stands in repexp.h; here is what the files of this room share. A record says what it
 * says: absent is not zero, null is absent except for a reward, where it is a broken verifier.
 */
#ifndef REX_RECORDS_H
#define REX_RECORDS_H

#include "../base/base.h"

/* Where a field is found in a record: up to four dotted steps, tried in order of spelling. */
#define REX_PATH_STEPS 4
typedef struct {
    rex_str whole;                 /* the name as given, tried first as one member's name */
    rex_str step[REX_PATH_STEPS];  /* the same cut at its dots */
    size_t n;
} rex_path;

/* Where every known field of a record is found, after --map. */
typedef struct {
    rex_path field[REX_FIELD_COUNT], prompt_id, group, prompt;
    uint64_t given; /* bit i: field i was mapped; bits 61..63: prompt, group, prompt_id */
} rex_fieldmap;

/* Reads "field=their.field,..."; NULL or "" leaves the fields' own names. REX_EARG for a field that
 * is none (with the nearest name), one named twice, an empty path or one too deep. */
REX_MUST rex_status rex_fieldmap_read(rex_arena *a, const char *map, rex_fieldmap *out, rex_err *e);

/* Texts to numbers 0, 1, ... in order of first appearance; equality is by bytes. */
typedef struct {
    rex_str *str;   /* n of them */
    uint64_t *hash; /* of each */
    uint32_t *slot; /* open addressing, room + 1 is a power of two; UINT32_MAX is free */
    size_t n, room, mask;
    rex_arena *arena;
} rex_names;

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
