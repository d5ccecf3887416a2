/* SPDX-License-Identifier: MIT
 *
 * tokjson: the model of a tokenizer.json: vocabulary, merges, added tokens.
 *
 * The file is the format of the package `tokenizers`, version 1.0, model BPE. Everything is checked
 * here once: ids are 0 .. n-1 without hole and each once, every merge joins two tokens into a
 * third. Components that are not implemented are refused by name, in here and in tokparts.c, which
 * reads the normaliser, pre-tokeniser, decoder and post-processor.
 */
#include "tok.h"

#include <string.h>

/* ---- small readers
 * ------------------------------------------------------------------------------------------ */

rex_status rex_tj_bool(const rex_jval *obj, const char *key, bool def, const char *what, bool *out,
                       rex_err *e) {
    const rex_jval *const v = rex_json_get(obj, key);
    *out = def;
    if (!v || v->kind == REX_J_NULL) return REX_OK;
    if (v->kind != REX_J_TRUE && v->kind != REX_J_FALSE)
        return rex_fail(e, REX_EFORMAT, v->at,
                        "%s: byte %lld: \"%s\" is %s, expected true or false", what,
                        (long long)v->at, key, rex_json_kind_name(v->kind));
    *out = v->kind == REX_J_TRUE;
    return REX_OK;
}

rex_status rex_tj_str(const rex_jval *obj, const char *key, const char *what, rex_str *out,
                      rex_err *e) {
    const rex_jval *const v = rex_json_get(obj, key);
    *out = (rex_str){NULL, 0};
    if (!v || v->kind == REX_J_NULL) return REX_OK;
    if (v->kind != REX_J_STR)
        return rex_fail(e, REX_EFORMAT, v->at, "%s: byte %lld: \"%s\" is %s, expected a string",
                        what, (long long)v->at, key, rex_json_kind_name(v->kind));
    *out = v->u.s;
    return REX_OK;
}

static rex_status member(const rex_jval *obj, const char *key, rex_jkind kind, const char *what,
                         const rex_jval **out, rex_err *e) {
    *out = rex_json_get(obj, key);
    if (!*out)
        return rex_fail(e, REX_EFORMAT, obj->at, "%s: byte %lld: \"%s\" is missing", what,
                        (long long)obj->at, key);
    if ((*out)->kind != kind)
        return rex_fail(e, REX_EFORMAT, (*out)->at, "%s: byte %lld: \"%s\" is %s, expected %s",
                        what, (long long)(*out)->at, key, rex_json_kind_name((*out)->kind),
                        rex_json_kind_name(kind));
    return REX_OK;
}

/* Shortened for a sentence. */
static int shown(rex_str s) { return (int)(s.n < 64 ? s.n : 64); }

/* ---- vocabulary
 * --------------------------------------------------------------------------------------------- */

typedef struct {
    rex_tok *t;
    const char *what;
    const rex_jval *vocab, *merges, *added;
    rex_str unk;
    uint8_t *bytes; /* raw bytes of pieces, handed out from the front */
    rex_err *e;
} loader;

static rex_status id_of(const loader *l, const rex_jval *v, rex_str piece, int64_t *id) {
    if (v->kind != REX_J_NUM || rex_json_i64(v, "id", id, NULL) != REX_OK || *id < 0 ||
        *id > INT32_MAX)
        return rex_fail(l->e, REX_EFORMAT, v->at,
                        "%s: byte %lld: the id of \"%.*s\" is not a number of "
                        "0 .. 2147483647",
                        l->what, (long long)v->at, shown(piece), piece.p);
    if (*id >= l->t->n)
        return rex_fail(l->e, REX_EFORMAT, v->at,
                        "%s: byte %lld: id %lld of \"%.*s\" leaves a hole: there "
                        "are %lld tokens",
                        l->what, (long long)v->at, (long long)*id, shown(piece), piece.p,
                        (long long)l->t->n);
    return REX_OK;
}

static rex_status piece_put(loader *l, int64_t id, rex_str s, int64_t at) {
    rex_tok *const t = l->t;
    if (t->piece[id].p)
        return rex_fail(l->e, REX_EFORMAT, at,
                        "%s: byte %lld: id %lld is given to \"%.*s\" and to \"%.*s\"", l->what,
                        (long long)at, (long long)id, shown(t->piece[id]), t->piece[id].p, shown(s),
                        s.p);
    return rex_str_copy(t->arena, s, &t->piece[id], l->e);
}

/* The bytes that merging sees of a piece: those of its characters, or those its characters say. */
static void raw_put(loader *l, int64_t id) {
    rex_tok *const t = l->t;
    const rex_str s = t->piece[id];
    if (!t->byte_level) {
        t->raw[id] = s;
        if (rex_byte_piece(s) >= 0) t->kind[id] |= REX_P_BYTE;
        return;
    }
    size_t n;
    if (!rex_byte_unmap(s, l->bytes, &n)) return;
    t->raw[id] = (rex_str){(const char *)l->bytes, n};
    l->bytes += n;
}

static rex_status tables_take(loader *l, size_t n, size_t raw_bytes) {
    rex_tok *const t = l->t;
    if (n == 0 || n > INT32_MAX)
        return rex_fail(l->e, REX_EFORMAT, l->vocab->at, "%s: a vocabulary of %zu tokens", l->what,
                        n);
    t->n = t->n_sym = (int64_t)n;
    t->piece = rex_arena_zero(t->arena, n, sizeof *t->piece, l->e);
    t->raw = rex_arena_zero(t->arena, n, sizeof *t->raw, l->e);
    t->kind = rex_arena_zero(t->arena, n, 1, l->e);
    l->bytes = rex_arena_take(t->arena, raw_bytes + 1, 1, l->e);
    return t->piece && t->raw && t->kind && l->bytes ? REX_OK : REX_ENOMEM;
}

static rex_status added_shape(const loader *l) {
    for (uint32_t i = 0; l->added && i < l->added->n; i++) {
        const rex_jval *const a = &l->added->u.c.item[i], *id, *text;
        if (a->kind != REX_J_OBJ)
            return rex_fail(l->e, REX_EFORMAT, a->at,
                            "%s: byte %lld: an added token is %s, expected an "
                            "object",
                            l->what, (long long)a->at, rex_json_kind_name(a->kind));
        REX_TRY(member(a, "id", REX_J_NUM, l->what, &id, l->e));
        REX_TRY(member(a, "content", REX_J_STR, l->what, &text, l->e));
    }
    return REX_OK;
}

static rex_status vocab_read(loader *l) {
    rex_tok *const t = l->t;
    size_t raw_bytes = 0;
    REX_TRY(added_shape(l));
    for (uint32_t i = 0; i < l->vocab->n; i++) raw_bytes += l->vocab->u.c.key[i].n;
    /* Ids of added tokens that the vocabulary has, too, do not make the table longer; how many
     * those are is known only when both are read, so the table is taken at its longest first. */
    REX_TRY(tables_take(l, (size_t)l->vocab->n + (l->added ? l->added->n : 0), raw_bytes));
    for (uint32_t i = 0; i < l->vocab->n; i++) {
        const rex_str s = l->vocab->u.c.key[i];
        int64_t id;
        REX_TRY(id_of(l, &l->vocab->u.c.item[i], s, &id));
        REX_TRY(piece_put(l, id, s, l->vocab->u.c.item[i].at));
        t->kind[id] |= REX_P_MODEL;
        raw_put(l, id);
    }
    return REX_OK;
}

static rex_status added_read(loader *l) {
    rex_tok *const t = l->t;
    const uint32_t n = l->added ? l->added->n : 0;
    t->added = rex_arena_zero(t->arena, n ? n : 1, sizeof *t->added, l->e);
    if (!t->added) return REX_ENOMEM;
    for (uint32_t i = 0; i < n; i++) {
        const rex_jval *const a = &l->added->u.c.item[i];
        rex_added *const d = &t->added[i];
        const rex_str s = rex_json_get(a, "content")->u.s;
        int64_t id;
        REX_TRY(id_of(l, rex_json_get(a, "id"), s, &id));
        if (!(t->kind[id] & REX_P_ADDED) && t->piece[id].p && rex_str_eq(t->piece[id], s))
            t->kind[id] |= REX_P_ADDED;
        else REX_TRY(piece_put(l, id, s, a->at));
        t->kind[id] |= REX_P_ADDED;
        d->id = (int32_t)id;
        d->text = t->piece[id];
        REX_TRY(rex_tj_bool(a, "special", false, l->what, &d->control, l->e));
        REX_TRY(rex_tj_bool(a, "normalized", !d->control, l->what, &d->normalized, l->e));
        REX_TRY(rex_tj_bool(a, "lstrip", false, l->what, &d->lstrip, l->e));
        REX_TRY(rex_tj_bool(a, "rstrip", false, l->what, &d->rstrip, l->e));
        REX_TRY(rex_tj_bool(a, "single_word", false, l->what, &d->single_word, l->e));
        if (d->control) t->kind[id] |= REX_P_CONTROL;
    }
    t->n_added = n;
    int64_t top = t->n; /* the ids that exist must be the first ones */
    while (top > 0 && !t->piece[top - 1].p) top--;
    for (int64_t id = 0; id < top; id++)
        if (!t->piece[id].p)
            return rex_fail(l->e, REX_EFORMAT, id,
                            "%s: the vocabulary has a hole: no token has id %lld, "
                            "the highest is %lld",
                            l->what, (long long)id, (long long)top - 1);
    t->n = t->n_sym = top;
    return REX_OK;
}

/* An added token that the vocabulary spells under another id would be two tokens in one text. */
static rex_status added_check(const loader *l) {
    for (size_t i = 0; i < l->t->n_added; i++) {
        const rex_added *const d = &l->t->added[i];
        uint8_t bytes[256];
        size_t n = d->text.n;
        if (n > sizeof bytes) continue;
        memcpy(bytes, d->text.p, n);
        if (l->t->byte_level && !rex_byte_unmap(d->text, bytes, &n)) continue;
        const int32_t id = rex_vocab_find(l->t, bytes, n);
        if (id >= 0 && id != d->id)
            return rex_fail(l->e, REX_EFORMAT, d->id,
                            "%s: \"%.*s\" has id %d in the vocabulary and id %d "
                            "among the added tokens",
                            l->what, shown(d->text), d->text.p, id, d->id);
    }
    return REX_OK;
}

/* ---- merges ------------------------------------------------------------------------------ */

/* The two parts of a merge; their bytes lie one after the other in `buf`. */
typedef struct {
    uint8_t *buf;
    size_t room, left, both;
} joint;

static rex_status bad_merge(const loader *l, const rex_jval *m, uint32_t rank, const char *why) {
    return rex_fail(l->e, REX_EFORMAT, m->at, "%s: byte %lld: merge %u %s", l->what,
                    (long long)m->at, rank, why);
}

static rex_status merge_text(const loader *l, const rex_jval *m, uint32_t rank, rex_str part[2]) {
    if (m->kind == REX_J_STR) {
        const char *const sp = m->u.s.n ? memchr(m->u.s.p, ' ', m->u.s.n) : NULL;
        const size_t k = sp ? (size_t)(sp - m->u.s.p) : 0;
        if (!sp || memchr(sp + 1, ' ', m->u.s.n - k - 1))
            return bad_merge(l, m, rank, "is not two parts with one space between");
        part[0] = (rex_str){m->u.s.p, k};
        part[1] = (rex_str){sp + 1, m->u.s.n - k - 1};
        return REX_OK;
    }
    if (m->kind != REX_J_ARR || m->n != 2 || m->u.c.item[0].kind != REX_J_STR ||
        m->u.c.item[1].kind != REX_J_STR)
        return bad_merge(l, m, rank, "is neither a string nor a pair of strings");
    part[0] = m->u.c.item[0].u.s;
    part[1] = m->u.c.item[1].u.s;
    return REX_OK;
}

static rex_status merge_put(const loader *l, const rex_jval *m, uint32_t rank, joint *j) {
    rex_str part[2];
    REX_TRY(merge_text(l, m, rank, part));
    if (part[0].n == 0 || part[1].n == 0)
        return bad_merge(l, m, rank, "is cyclic: it merges a token with nothing into itself");
    if (part[0].n + part[1].n > j->room)
        return bad_merge(l, m, rank,
                         "joins into a token that is longer than any in the vocabulary");
    size_t n[2];
    for (int i = 0; i < 2; i++) {
        uint8_t *const at = j->buf + (i ? n[0] : 0);
        n[i] = part[i].n;
        if (!l->t->byte_level) memcpy(at, part[i].p, n[i]);
        else if (!rex_byte_unmap(part[i], at, &n[i]))
            return bad_merge(l, m, rank, "has a character outside the byte-level alphabet");
    }
    const int32_t a = rex_vocab_find(l->t, j->buf, n[0]);
    const int32_t b = rex_vocab_find(l->t, j->buf + n[0], n[1]);
    const int32_t c = rex_vocab_find(l->t, j->buf, n[0] + n[1]);
    if (a < 0 || b < 0)
        return rex_fail(l->e, REX_EFORMAT, m->at,
                        "%s: byte %lld: merge %u joins \"%.*s\", which is not in "
                        "the vocabulary",
                        l->what, (long long)m->at, rank, shown(part[a >= 0]), part[a >= 0].p);
    if (c < 0)
        return rex_fail(l->e, REX_EFORMAT, m->at,
                        "%s: byte %lld: merge %u of \"%.*s\" and \"%.*s\" gives a "
                        "token that is not in the vocabulary",
                        l->what, (long long)m->at, rank, shown(part[0]), part[0].p, shown(part[1]),
                        part[1].p);
    rex_merges_put(l->t, a, b, rank, c);
    return REX_OK;
}

static rex_status merges_read(loader *l, rex_arena *tmp) {
    joint j = {0};
    for (uint32_t i = 0; i < l->vocab->n; i++)
        if (l->vocab->u.c.key[i].n > j.room) j.room = l->vocab->u.c.key[i].n;
    j.buf = rex_arena_take(tmp, j.room + 1, 1, l->e);
    if (!j.buf) return REX_ENOMEM;
    REX_TRY(rex_merges_room(l->t, l->merges->n, l->e));
    for (uint32_t i = 0; i < l->merges->n; i++)
        REX_TRY(merge_put(l, &l->merges->u.c.item[i], i, &j));
    return REX_OK;
}

/* ---- the model
 * ---------------------------------------------------------------------------------------------- */

static rex_status model_flags(loader *l, const rex_jval *model) {
    static const char *const known[] = {"type",
                                        "dropout",
                                        "unk_token",
                                        "continuing_subword_prefix",
                                        "end_of_word_suffix",
                                        "fuse_unk",
                                        "byte_fallback",
                                        "ignore_merges",
                                        "vocab",
                                        "merges"};
    for (uint32_t i = 0; i < model->n; i++) {
        size_t k = 0;
        while (k < sizeof known / sizeof known[0] && !rex_str_is(model->u.c.key[i], known[k])) k++;
        if (k == sizeof known / sizeof known[0])
            rex_say(REX_LOG_WARN, "%s: the model has \"%.*s\", which is not known here", l->what,
                    shown(model->u.c.key[i]), model->u.c.key[i].p);
    }
    rex_str s;
    REX_TRY(rex_tj_str(model, "type", l->what, &s, l->e));
    if (s.p && !rex_str_is(s, "BPE"))
        return rex_fail(l->e, REX_EUNSUP, model->at, "%s: model %.*s is not supported, only BPE is",
                        l->what, shown(s), s.p);
    static const char *const empty[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (int i = 0; i < 2; i++) {
        REX_TRY(rex_tj_str(model, empty[i], l->what, &s, l->e));
        if (s.n > 0)
            return rex_fail(l->e, REX_EUNSUP, model->at,
                            "%s: \"%s\" other than empty is not supported", l->what, empty[i]);
    }
    const rex_jval *const drop = rex_json_get(model, "dropout");
    double p = 0;
    if (drop && drop->kind != REX_J_NULL &&
        (rex_json_f64(drop, "dropout", &p, NULL) != REX_OK || p != 0))
        return rex_fail(l->e, REX_EUNSUP, drop->at, "%s: \"dropout\" other than 0 is not supported",
                        l->what);
    REX_TRY(rex_tj_str(model, "unk_token", l->what, &l->unk, l->e));
    REX_TRY(rex_tj_bool(model, "fuse_unk", false, l->what, &l->t->fuse_unk, l->e));
    REX_TRY(rex_tj_bool(model, "byte_fallback", false, l->what, &l->t->byte_fallback, l->e));
    REX_TRY(rex_tj_bool(model, "ignore_merges", false, l->what, &l->t->ignore_merges, l->e));
    REX_TRY(member(model, "vocab", REX_J_OBJ, l->what, &l->vocab, l->e));
    return member(model, "merges", REX_J_ARR, l->what, &l->merges, l->e);
}

static rex_status unk_find(loader *l) {
    if (!l->unk.p) return REX_OK;
    uint8_t bytes[256];
    size_t n = l->unk.n;
    if (n <= sizeof bytes) {
        memcpy(bytes, l->unk.p, n);
        if (!l->t->byte_level || rex_byte_unmap(l->unk, bytes, &n))
            l->t->unk = rex_vocab_find(l->t, bytes, n);
    }
    if (l->t->unk < 0)
        return rex_fail(l->e, REX_EFORMAT, l->vocab->at,
                        "%s: unk_token \"%.*s\" is not in the vocabulary", l->what, shown(l->unk),
                        l->unk.p);
    return REX_OK;
}

/* What stands beside the model. Cutting and filling up change ids: whoever encodes with the file's
 * own settings would get other ones, and we do neither silently. */
static rex_status root_keys(const rex_jval *root, const char *what, rex_err *e) {
    static const char *const known[] = {"model",          "added_tokens", "normalizer",
                                        "pre_tokenizer",  "decoder",      "post_processor",
                                        "version"};
    static const char *const null[] = {"truncation", "padding"};
    for (uint32_t i = 0; i < root->n; i++) {
        const rex_str key = root->u.c.key[i];
        const rex_jval *const v = &root->u.c.item[i];
        size_t k = 0;
        while (k < sizeof known / sizeof known[0] && !rex_str_is(key, known[k])) k++;
        if (k < sizeof known / sizeof known[0]) continue;
        if (!rex_str_is(key, null[0]) && !rex_str_is(key, null[1])) {
            rex_say(REX_LOG_WARN, "%s: \"%.*s\" is not known and has no effect here", what,
                    shown(key), key.p);
        } else if (v->kind != REX_J_NULL) {
            return rex_fail(e, REX_EUNSUP, v->at,
                            "%s: byte %lld: \"%.*s\" is %s, only null is implemented", what,
                            (long long)v->at, shown(key), key.p, rex_json_kind_name(v->kind));
        }
    }
    return REX_OK;
}

rex_status rex_tokjson_parse(rex_tok *t, rex_arena *tmp, rex_str text, const char *what,
                             rex_err *e) {
    rex_jval *root;
    const rex_jval *model;
    loader l = {.t = t, .what = what, .e = e};
    REX_TRY(rex_json_parse(tmp, text, what, &root, e));
    if (root->kind != REX_J_OBJ)
        return rex_fail(e, REX_EFORMAT, root->at, "%s: the file holds %s, expected an object", what,
                        rex_json_kind_name(root->kind));
    REX_TRY(root_keys(root, what, e));
    REX_TRY(member(root, "model", REX_J_OBJ, what, &model, e));
    l.added = rex_json_get(root, "added_tokens");
    if (l.added && l.added->kind != REX_J_ARR)
        REX_TRY(member(root, "added_tokens", REX_J_ARR, what, &l.added, e));
    REX_TRY(rex_tj_before(t, root, what, e)); /* tells whether the pieces are bytes */
    REX_TRY(model_flags(&l, model));
    REX_TRY(vocab_read(&l));
    REX_TRY(added_read(&l));
    REX_TRY(rex_vocab_index(t, what, e));
    REX_TRY(added_check(&l));
    REX_TRY(merges_read(&l, tmp));
    REX_TRY(unk_find(&l));
    return rex_tj_after(t, root, what, e);
}

rex_status rex_tokjson_load(rex_tok *t, rex_arena *tmp, const char *path, rex_err *e) {
    rex_map *map;
    REX_TRY(rex_map_open(path, &map, e));
    const rex_view v = rex_map_view(map);
    const rex_status st = rex_tokjson_parse(t, tmp, (rex_str){(const char *)v.p, v.n}, path, e);
    rex_map_close(map);
    return st;
}
