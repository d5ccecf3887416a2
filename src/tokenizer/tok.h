/* SPDX-License-Identifier: MIT
 *
 * tok: what a tokenizer is made of, shared by the files of this room only.
 *
 * A text walks: control and added tokens are cut out; each part left is normalised; added tokens
 * that are matched in normal form are cut out; the steps of the pre-tokeniser cut the rest into
 * words; each word is merged into tokens. Ids are 0 .. n-1, every one has a piece.
 */
#ifndef REX_TOK_INTERNAL_H
#define REX_TOK_INTERNAL_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "tokenizer.h"
#include "uclass.h"

/* ---- vocabulary and merges (vocab.c) -----------------------------------------------------------
 */

enum {
    REX_P_MODEL = 1,   /* in the model's vocabulary, reachable by merging */
    REX_P_ADDED = 2,   /* an added token: cut out of texts before merging */
    REX_P_CONTROL = 4, /* shown and recognised on request only */
    REX_P_WHOLE = 8,   /* merging its own bytes gives this token and nothing else */
    REX_P_BYTE = 16    /* <0xXX>: stands for one byte */
};

typedef struct {
    uint64_t key; /* left << 32 | right; UINT64_MAX: free */
    uint32_t rank;
    int32_t id;
} rex_merge;

typedef struct {
    rex_str text;
    int32_t id;
    bool control, normalized, lstrip, rstrip, single_word;
} rex_added;

/* Added tokens in byte order, for the longest match at a place. */
typedef struct {
    const rex_added **v;
    size_t n;
    uint8_t first[256]; /* some token begins with this byte */
} rex_added_set;

/* ---- steps --------------------------------------------------------------------------------------
 */

typedef enum {
    REX_NORM_FORM,
    REX_NORM_LOWER,
    REX_NORM_PREPEND,
    REX_NORM_REPLACE,
    REX_NORM_STRIP
} rex_norm_kind;
typedef struct {
    rex_norm_kind kind;
    int form;         /* utf8proc options of NFC, NFD, NFKC, NFKD */
    rex_str from, to; /* REPLACE: a literal; PREPEND: to */
    pcre2_code *re;   /* REPLACE by a regular expression; owned */
    bool left, right; /* STRIP */
} rex_norm;

typedef enum {
    REX_PRE_SCAN,
    REX_PRE_REGEX,
    REX_PRE_LITERAL,
    REX_PRE_DIGITS,
    REX_PRE_PREFIX,
    REX_PRE_META
} rex_pre_kind;
typedef enum {
    REX_ISOLATED,
    REX_REMOVED,
    REX_MERGE_PREV,
    REX_MERGE_NEXT,
    REX_CONTIGUOUS
} rex_split_how;
typedef enum { REX_SCAN_GPT2, REX_SCAN_QWEN2, REX_SCAN_LLAMA3, REX_SCAN_COUNT } rex_scan_kind;
typedef enum { REX_META_ALWAYS, REX_META_FIRST, REX_META_NEVER } rex_meta_when;
typedef struct {
    rex_pre_kind kind;
    rex_scan_kind scan;
    pcre2_code *re; /* owned */
    rex_str text;   /* LITERAL: pattern; META: the character that stands for a space */
    rex_split_how how;
    bool invert, each; /* each: DIGITS one by one; META: split */
    rex_meta_when when;
} rex_pre;

enum { REX_STEPS = 16 };

/* How ids become text. */
typedef struct {
    bool join_space; /* no decoder at all: pieces are joined by spaces, as the reference does */
    bool drop_meta;  /* the first token loses every meta character (Metaspace) */
    uint8_t strip;   /* bytes equal to strip_byte taken off the front of the whole text */
    char strip_byte;
} rex_decoder;

struct rex_chat {
    const char *name;
    rex_str intro; /* default system prompt; p NULL: none */
    const struct rex_chat_def *def;
};

struct rex_tok {
    rex_arena *arena; /* owned: all tables */
    char summary[160];
    int64_t n;
    rex_str *piece; /* n: as the files spell it */
    rex_str *raw;   /* n: the bytes that merging sees; p NULL where it cannot see it */
    rex_str *shown; /* n: the bytes that decoding gives */
    rex_str *first; /* n: the same for the first token of a text (drop_meta), else == shown */
    uint8_t *kind;  /* n: REX_P_* */
    int64_t n_sym;  /* n, then symbols that only occur inside pieces: raw has n_sym entries */

    uint64_t *slot; /* bytes -> id: hash's upper half << 32 | id + 1 */
    uint64_t slot_mask;
    rex_merge *merge;
    uint64_t merge_mask;
    int32_t ascii[128];   /* symbol of a one-byte character, or -1 */
    int32_t byte_id[256]; /* byte level: symbol of a byte; else of its <0xXX>; -1: none */
    bool byte_level, byte_fallback, fuse_unk, ignore_merges;
    bool spm; /* from scores: the dummy space is put after every control token */
    int32_t unk;

    rex_added *added;
    size_t n_added;
    rex_added_set raw_set, norm_set, ctl_set; /* ctl: raw_set and the control tokens of norm_set */
    rex_norm norm[REX_STEPS];
    int n_norm;
    rex_pre pre[REX_STEPS];
    int n_pre;
    rex_decoder dec;
    pcre2_general_context *pcre; /* owned */
    pcre2_match_context *pcre_limits;
    rex_uclass cls;

    int32_t *head, *tail; /* what REX_TOK_BOS puts before and behind */
    size_t n_head, n_tail;
    rex_tok_marks marks;
    rex_str template_text; /* the model's chat template; p NULL: none */
    struct rex_chat chat;
    bool has_chat;
};

/* ---- vocab.c ------------------------------------------------------------------------------------
 */

/* Before merges: n, piece, raw, kind filled. Builds the table from bytes to ids; two ids with the
 * same bytes are refused. */
REX_MUST rex_status rex_vocab_index(rex_tok *t, const char *what, rex_err *e);
/* The symbol with these bytes, or -1. */
int32_t rex_vocab_find(const rex_tok *t, const uint8_t *p, size_t n);
/* An empty table for n merges. */
REX_MUST rex_status rex_merges_room(rex_tok *t, size_t n, rex_err *e);
/* A later merge of the same pair replaces the earlier one. */
void rex_merges_put(rex_tok *t, int32_t left, int32_t right, uint32_t rank, int32_t id);
const rex_merge *rex_merges_find(const rex_tok *t, int32_t left, int32_t right); /* NULL: none */
/* Marks the tokens that their own bytes merge into (REX_P_WHOLE); needs bytes and merges. */
void rex_vocab_mark_whole(rex_tok *t);
/* "<0x41>" -> 0x41, else -1. */
int rex_byte_piece(rex_str s);
/* The byte-level alphabet: byte -> code point, and a piece back to bytes (false: some character is
 * outside the alphabet). `out` has room for s.n bytes. */
uint32_t rex_byte_char(uint8_t b);
bool rex_byte_unmap(rex_str s, uint8_t *out, size_t *n);

/* ---- encoding (bpe.c, scan.c, norm.c, tok.c)
 * ------------------------------------------------------ */

typedef struct {
    const rex_tok *t;
    rex_arena *tmp; /* lazily opened by rex_work_tmp */
    rex_buf ids;    /* int32_t */
    size_t lost;
    pcre2_match_data *md;
    rex_err *e;
} rex_work;
/* The call's own arena, opened when first asked for. */
REX_MUST rex_status rex_work_tmp(rex_work *w, rex_arena **out);

/* Appends the ids of one word. */
REX_MUST rex_status rex_bpe_word(rex_work *w, const uint8_t *p, size_t n);
/* The same without looking the whole word up first: n <= REX_BPE_SMALL symbols' worth of bytes. */
enum { REX_BPE_SMALL = 96 };
size_t rex_bpe_small(const rex_tok *t, int32_t *sym, size_t n);

/* Cuts a text by the steps from `step` on and merges the words. `first`: the text's own start. */
REX_MUST rex_status rex_pre_run(rex_work *w, int step, const uint8_t *p, size_t n, bool first);
/* The end of the piece that begins at i: one rule of the known patterns. */
size_t rex_scan_next(const rex_uclass *u, rex_scan_kind k, const uint8_t *s, size_t i, size_t n);
/* The scanner whose pattern is exactly `pattern`, or REX_SCAN_COUNT; and the pattern of one. */
rex_scan_kind rex_scan_find(rex_str pattern);
const char *rex_scan_pattern(rex_scan_kind k);
/* Compiles a pattern of the reference's dialect; what has another meaning in ours and cannot be
 * said in it is REX_EUNSUP. */
REX_MUST rex_status rex_regex_make(rex_tok *t, rex_str pattern, pcre2_code **out, rex_err *e);
/* Next match at or behind `at`: *found false if none. `s` must have passed rex_regex_text. */
REX_MUST rex_status rex_regex_next(rex_work *w, const pcre2_code *re, const uint8_t *s, size_t n,
                                   size_t at, bool *found, rex_span *m);
/* A text of the same length in which everything unknown to the library's edition of Unicode, and
 * every byte that is no UTF-8, is replaced by a character of the same class; `s` if it has none. */
REX_MUST rex_status rex_regex_text(rex_work *w, const uint8_t *s, size_t n, const uint8_t **out);

/* All normalisation steps; *out borrows from `s` where nothing changed. */
REX_MUST rex_status rex_norm_run(rex_work *w, rex_str s, rex_str *out);

/* Sorts the added tokens into the sets that texts are searched for. */
REX_MUST rex_status rex_added_index(rex_tok *t, rex_err *e);

/* ---- loading (tokjson.c, tokparts.c, tokdir.c, tokgguf.c)
 * ------------------------------------------- */

/* A member that may be absent or null. */
REX_MUST rex_status rex_tj_bool(const rex_jval *obj, const char *key, bool def, const char *what,
                                bool *out, rex_err *e);
REX_MUST rex_status rex_tj_str(const rex_jval *obj, const char *key, const char *what, rex_str *out,
                               rex_err *e);
/* The components of a tokenizer.json: normaliser and pre-tokeniser, before the vocabulary is read;
 * decoder and post-processor, after. */
REX_MUST rex_status rex_tj_before(rex_tok *t, const rex_jval *root, const char *what, rex_err *e);
REX_MUST rex_status rex_tj_after(rex_tok *t, const rex_jval *root, const char *what, rex_err *e);

/* Each fills an empty handle from one source; `tmp` holds what loading needs besides. */
REX_MUST rex_status rex_tokjson_load(rex_tok *t, rex_arena *tmp, const char *path, rex_err *e);
REX_MUST rex_status rex_tokjson_parse(rex_tok *t, rex_arena *tmp, rex_str text, const char *what,
                                      rex_err *e);
REX_MUST rex_status rex_tokdir_load(rex_tok *t, rex_arena *tmp, const char *dir, rex_err *e);
REX_MUST rex_status rex_tokgguf_load(rex_tok *t, rex_arena *tmp, const char *path, rex_err *e);
/* The decoders of a GGUF: SentencePiece pieces, byte-level pieces. */
REX_MUST rex_status rex_tj_pieces(rex_tok *t, rex_err *e);
REX_MUST rex_status rex_tj_bytes(rex_tok *t, rex_err *e);
/* A handle with empty tables; rex_tok_finish completes what a loader filled in. */
REX_MUST rex_status rex_tok_new(rex_tok **out, rex_err *e);
REX_MUST rex_status rex_tok_finish(rex_tok *t, const char *what, rex_err *e);
/* Chooses the layout by t->template_text (chat.c); silent where it is none that we know. */
void rex_chat_choose(rex_tok *t);

#endif
