/* SPDX-License-Identifier: MIT
 *
 * tokparts: the components of a tokenizer.json around its model: normaliser, pre-tokeniser,
 * decoder, post-processor. Each reader turns one component into a step that norm.c, scan.c or tok.c
 * runs, or refuses it by its name: a component that is passed over would give other ids without a
 * word.
 */
#include "tok.h"

#include <string.h>
#include <utf8proc.h>

typedef struct {
    rex_tok *t;
    const char *what;
    rex_err *e;
} reader;

static rex_status unsupported(const reader *r, const char *sort, const rex_jval *v, rex_str name) {
    return rex_fail(r->e, REX_EUNSUP, v->at, "%s: byte %lld: %s %.*s is not supported", r->what,
                    (long long)v->at, sort, (int)(name.n < 64 ? name.n : 64), name.p ? name.p : "");
}

static rex_status wrong(const reader *r, const rex_jval *v, const char *sort, const char *problem) {
    return rex_fail(r->e, REX_EFORMAT, v->at, "%s: byte %lld: %s: %s", r->what, (long long)v->at,
                    sort, problem);
}

static rex_status type_of(const reader *r, const char *sort, const rex_jval *v, rex_str *out) {
    if (v->kind != REX_J_OBJ) return wrong(r, v, sort, "expected an object with a \"type\"");
    REX_TRY(rex_tj_str(v, "type", r->what, out, r->e));
    return out->p ? REX_OK : wrong(r, v, sort, "\"type\" is missing");
}

/* The list of a Sequence. */
static rex_status list_of(const reader *r, const char *sort, const rex_jval *v, const char *key,
                          const rex_jval **out) {
    *out = rex_json_get(v, key);
    if (!*out || (*out)->kind != REX_J_ARR) return wrong(r, v, sort, "a Sequence without its list");
    return REX_OK;
}

static rex_status keep_str(const reader *r, const rex_jval *v, const char *key, const char *sort,
                           rex_str *out) {
    rex_str s;
    REX_TRY(rex_tj_str(v, key, r->what, &s, r->e));
    if (!s.p)
        return rex_fail(r->e, REX_EFORMAT, v->at, "%s: byte %lld: %s: \"%s\" is missing", r->what,
                        (long long)v->at, sort, key);
    return rex_str_copy(r->t->arena, s, out, r->e);
}

/* {"String": s} or {"Regex": s}. */
static rex_status pattern_of(const reader *r, const rex_jval *v, const char *sort, rex_str *literal,
                             rex_str *regex) {
    const rex_jval *const p = rex_json_get(v, "pattern");
    *literal = *regex = (rex_str){NULL, 0};
    if (p && p->kind == REX_J_OBJ) {
        REX_TRY(rex_tj_str(p, "String", r->what, literal, r->e));
        REX_TRY(rex_tj_str(p, "Regex", r->what, regex, r->e));
    }
    if (!literal->p == !regex->p)
        return wrong(r, v, sort, "expected a pattern that is a String or a Regex");
    return REX_OK;
}

/* ---- normaliser
 * --------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int form;
} forms[] = {
    {"NFC", UTF8PROC_STABLE | UTF8PROC_COMPOSE},
    {"NFD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE},
    {"NFKC", UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
    {"NFKD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT},
};

static rex_status norm_fill(const reader *r, const rex_jval *v, rex_str type, rex_norm *f) {
    static const char sort[] = "normalizer";
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        if (rex_str_is(type, forms[i].name)) {
            *f = (rex_norm){.kind = REX_NORM_FORM, .form = forms[i].form};
            return REX_OK;
        }
    if (rex_str_is(type, "Lowercase")) {
        f->kind = REX_NORM_LOWER;
        return REX_OK;
    }
    if (rex_str_is(type, "Prepend")) {
        f->kind = REX_NORM_PREPEND;
        return keep_str(r, v, "prepend", "normalizer Prepend", &f->to);
    }
    if (rex_str_is(type, "Strip")) {
        f->kind = REX_NORM_STRIP;
        REX_TRY(rex_tj_bool(v, "strip_left", false, r->what, &f->left, r->e));
        return rex_tj_bool(v, "strip_right", false, r->what, &f->right, r->e);
    }
    if (rex_str_is(type, "Replace")) {
        f->kind = REX_NORM_REPLACE;
        rex_str literal, regex;
        REX_TRY(pattern_of(r, v, "normalizer Replace", &literal, &regex));
        REX_TRY(keep_str(r, v, "content", "normalizer Replace", &f->to));
        if (regex.p) return rex_regex_make(r->t, regex, &f->re, r->e);
        return rex_str_copy(r->t->arena, literal, &f->from, r->e);
    }
    return unsupported(r, sort, v, type);
}

static rex_status norm_read(const reader *r, const rex_jval *v, int depth) {
    if (!v || v->kind == REX_J_NULL) return REX_OK;
    rex_str type;
    REX_TRY(type_of(r, "normalizer", v, &type));
    if (rex_str_is(type, "Sequence")) {
        const rex_jval *list;
        REX_TRY(list_of(r, "normalizer", v, "normalizers", &list));
        if (depth > 4) return unsupported(r, "normalizer nested in", v, type);
        for (uint32_t i = 0; i < list->n; i++) REX_TRY(norm_read(r, &list->u.c.item[i], depth + 1));
        return REX_OK;
    }
    if (r->t->n_norm == REX_STEPS) return wrong(r, v, "normalizer", "too many steps");
    rex_norm *const f = &r->t->norm[r->t->n_norm++]; /* counted first: close frees what it holds */
    return norm_fill(r, v, type, f);
}

/* ---- pre-tokeniser
 * -------------------------------------------------------------------------------------------- */

static rex_status pre_add(const reader *r, const rex_jval *v, rex_pre **out) {
    if (r->t->n_pre == REX_STEPS) return wrong(r, v, "pre_tokenizer", "too many steps");
    if (r->t->byte_level)
        return rex_fail(r->e, REX_EUNSUP, v->at,
                        "%s: byte %lld: a pre_tokenizer behind ByteLevel is not "
                        "supported",
                        r->what, (long long)v->at);
    *out = &r->t->pre[r->t->n_pre++];
    **out = (rex_pre){.how = REX_ISOLATED};
    return REX_OK;
}

static rex_status pre_regex(const reader *r, rex_pre *p, rex_str regex) {
    p->scan = rex_scan_find(regex);
    p->kind = p->scan == REX_SCAN_COUNT ? REX_PRE_REGEX : REX_PRE_SCAN;
    return p->kind == REX_PRE_SCAN ? REX_OK : rex_regex_make(r->t, regex, &p->re, r->e);
}

static rex_status pre_byte_level(const reader *r, const rex_jval *v) {
    bool prefix, regex;
    rex_pre *p;
    REX_TRY(rex_tj_bool(v, "add_prefix_space", true, r->what, &prefix, r->e));
    REX_TRY(rex_tj_bool(v, "use_regex", true, r->what, &regex, r->e));
    if (prefix) {
        REX_TRY(pre_add(r, v, &p));
        p->kind = REX_PRE_PREFIX;
    }
    if (regex) {
        REX_TRY(pre_add(r, v, &p));
        p->kind = REX_PRE_SCAN;
        p->scan = REX_SCAN_GPT2;
    }
    r->t->byte_level = true;
    return REX_OK;
}

static rex_status pre_split(const reader *r, const rex_jval *v) {
    static const char *const hows[] = {"Isolated", "Removed", "MergedWithPrevious",
                                       "MergedWithNext", "Contiguous"};
    rex_str literal, regex, how;
    rex_pre *p;
    REX_TRY(pattern_of(r, v, "pre_tokenizer Split", &literal, &regex));
    REX_TRY(rex_tj_str(v, "behavior", r->what, &how, r->e));
    int k = 0;
    while (k < 5 && !(how.p && rex_str_is(how, hows[k]))) k++;
    if (k == 5) return unsupported(r, "pre_tokenizer Split with behavior", v, how);
    REX_TRY(pre_add(r, v, &p));
    p->how = (rex_split_how)k;
    REX_TRY(rex_tj_bool(v, "invert", false, r->what, &p->invert, r->e));
    if (regex.p) return pre_regex(r, p, regex);
    p->kind = REX_PRE_LITERAL;
    return rex_str_copy(r->t->arena, literal, &p->text, r->e);
}

static rex_status pre_meta(const reader *r, const rex_jval *v, rex_meta_when *when_out) {
    static const char *const whens[] = {"always", "first", "never"};
    rex_str when;
    bool prefix;
    REX_TRY(rex_tj_str(v, "prepend_scheme", r->what, &when, r->e));
    REX_TRY(rex_tj_bool(v, "add_prefix_space", true, r->what, &prefix, r->e));
    int k = 0; /* absent: always, as older files have it */
    if (when.p)
        while (k < 3 && !rex_str_is(when, whens[k])) k++;
    if (k == 3) return unsupported(r, "Metaspace with prepend_scheme", v, when);
    *when_out = when.p || prefix ? (rex_meta_when)k : REX_META_NEVER;
    return REX_OK;
}

static rex_status pre_plain(const reader *r, const rex_jval *v, rex_str type) {
    /* The plain ones of the reference, said as patterns. */
    static const struct {
        const char *name, *regex;
        rex_split_how how;
        bool invert;
    } plain[] = {
        {"Whitespace", "\\w+|[^\\w\\s]+", REX_REMOVED, true},
        {"WhitespaceSplit", "\\s", REX_REMOVED, false},
    };
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (rex_str_is(type, plain[i].name)) {
            rex_pre *p;
            REX_TRY(pre_add(r, v, &p));
            p->how = plain[i].how;
            p->invert = plain[i].invert;
            return pre_regex(r, p, rex_str_of(plain[i].regex));
        }
    return unsupported(r, "pre_tokenizer", v, type);
}

static rex_status pre_read(const reader *r, const rex_jval *v, int depth) {
    if (!v || v->kind == REX_J_NULL) return REX_OK;
    rex_str type;
    rex_pre *p;
    REX_TRY(type_of(r, "pre_tokenizer", v, &type));
    if (rex_str_is(type, "Sequence")) {
        const rex_jval *list;
        REX_TRY(list_of(r, "pre_tokenizer", v, "pretokenizers", &list));
        if (depth > 4) return unsupported(r, "pre_tokenizer nested in", v, type);
        for (uint32_t i = 0; i < list->n; i++) REX_TRY(pre_read(r, &list->u.c.item[i], depth + 1));
        return REX_OK;
    }
    if (rex_str_is(type, "ByteLevel")) return pre_byte_level(r, v);
    if (rex_str_is(type, "Split")) return pre_split(r, v);
    if (rex_str_is(type, "Digits")) {
        REX_TRY(pre_add(r, v, &p));
        p->kind = REX_PRE_DIGITS;
        REX_TRY(rex_tj_bool(v, "individual_digits", false, r->what, &p->each, r->e));
        if (!p->each) p->how = REX_CONTIGUOUS;
        return REX_OK;
    }
    if (rex_str_is(type, "Metaspace")) {
        REX_TRY(pre_add(r, v, &p));
        p->kind = REX_PRE_META;
        p->how = REX_MERGE_NEXT;
        REX_TRY(keep_str(r, v, "replacement", "pre_tokenizer Metaspace", &p->text));
        if (p->text.n == 0) return wrong(r, v, "pre_tokenizer Metaspace", "an empty replacement");
        REX_TRY(rex_tj_bool(v, "split", true, r->what, &p->each, r->e));
        return pre_meta(r, v, &p->when);
    }
    return pre_plain(r, v, type);
}

/* ---- decoder ----------------------------------------------------------------------------- */

/* A chain acts on each token alone up to Fuse, and on the whole text behind it. */
typedef enum { DEC_BYTE_LEVEL, DEC_META, DEC_REPLACE, DEC_BYTES, DEC_FUSE, DEC_STRIP } dec_kind;
typedef struct {
    dec_kind kind;
    rex_str from, to;
    int64_t start, stop;
    bool drop; /* META: the first token loses its meta characters */
} dec_step;

typedef struct {
    const reader *r;
    dec_step step[REX_STEPS];
    int n;
    bool fused;
} decoder;

static rex_status dec_strip(decoder *d, const rex_jval *v, dec_step *s) {
    const reader *const r = d->r;
    REX_TRY(keep_str(r, v, "content", "decoder Strip", &s->from));
    const rex_jval *const a = rex_json_get(v, "start"), *const b = rex_json_get(v, "stop");
    if (a) REX_TRY(rex_json_i64(a, "start", &s->start, r->e));
    if (b) REX_TRY(rex_json_i64(b, "stop", &s->stop, r->e));
    if (s->start < 0 || s->stop < 0 || s->from.n == 0)
        return wrong(r, v, "decoder Strip", "a negative count or no character");
    if (!d->fused) return REX_OK;
    if (s->stop > 0 || s->start > 1 || s->from.n != 1 || r->t->dec.strip)
        return unsupported(r, "behind Fuse more than one byte at the start: decoder", v,
                           rex_str_of("Strip"));
    r->t->dec.strip = (uint8_t)s->start;
    r->t->dec.strip_byte = s->from.p[0];
    d->n--; /* acts on the whole, no step of each token */
    return REX_OK;
}

static rex_status dec_fill(decoder *d, const rex_jval *v, rex_str type) {
    const reader *const r = d->r;
    if (d->n == REX_STEPS) return wrong(r, v, "decoder", "too many steps");
    dec_step *const s = &d->step[d->n++];
    *s = (dec_step){0};
    if (rex_str_is(type, "Strip")) {
        s->kind = DEC_STRIP;
        return dec_strip(d, v, s);
    }
    if (d->fused) return unsupported(r, "behind Fuse decoder", v, type);
    if (rex_str_is(type, "Fuse")) {
        s->kind = DEC_FUSE;
        d->fused = true;
        return REX_OK;
    }
    if (rex_str_is(type, "ByteLevel")) {
        s->kind = DEC_BYTE_LEVEL;
        return REX_OK;
    }
    if (rex_str_is(type, "ByteFallback")) {
        s->kind = DEC_BYTES;
        return REX_OK;
    }
    if (rex_str_is(type, "Replace")) {
        rex_str literal, regex;
        s->kind = DEC_REPLACE;
        REX_TRY(pattern_of(r, v, "decoder Replace", &literal, &regex));
        if (regex.p) return unsupported(r, "by a regular expression decoder", v, type);
        s->from = literal;
        return rex_tj_str(v, "content", r->what, &s->to, r->e);
    }
    if (rex_str_is(type, "Metaspace")) {
        rex_meta_when when;
        s->kind = DEC_META;
        REX_TRY(rex_tj_str(v, "replacement", r->what, &s->from, r->e));
        REX_TRY(pre_meta(r, v, &when));
        s->to = rex_str_of(" ");
        s->drop = when != REX_META_NEVER;
        return s->from.n ? REX_OK : wrong(r, v, "decoder Metaspace", "no replacement");
    }
    return unsupported(r, "decoder", v, type);
}

static rex_status dec_read(decoder *d, const rex_jval *v, int depth) {
    rex_str type;
    REX_TRY(type_of(d->r, "decoder", v, &type));
    if (!rex_str_is(type, "Sequence")) return dec_fill(d, v, type);
    const rex_jval *list;
    REX_TRY(list_of(d->r, "decoder", v, "decoders", &list));
    if (depth > 4) return unsupported(d->r, "decoder nested in", v, type);
    for (uint32_t i = 0; i < list->n; i++) REX_TRY(dec_read(d, &list->u.c.item[i], depth + 1));
    return REX_OK;
}

static void replace_all(rex_str s, rex_str from, rex_str to, rex_buf *b) {
    for (size_t i = 0; i < s.n;) {
        if (from.n && s.n - i >= from.n && memcmp(s.p + i, from.p, from.n) == 0) {
            rex_buf_add(b, to.p, to.n);
            i += from.n;
        } else {
            rex_buf_add(b, s.p + i++, 1);
        }
    }
}

/* One token through the chain; `first`: it is the first of a text. The result is in `a`. */
static rex_status dec_token(const decoder *d, rex_str s, bool first, rex_arena *a, rex_str *out,
                            rex_err *e) {
    rex_buf b;
    rex_buf_init(&b, 0);
    rex_status st = REX_OK;
    for (int k = 0; st == REX_OK && k < d->n; k++) {
        const dec_step *const f = &d->step[k];
        rex_buf_reset(&b);
        size_t n = 0;
        const int byte = f->kind == DEC_BYTES ? rex_byte_piece(s) : -1;
        if (f->kind == DEC_BYTE_LEVEL) {
            uint8_t *const raw = rex_arena_take(a, s.n + 1, 1, e);
            if (!raw) st = REX_ENOMEM;
            else if (rex_byte_unmap(s, raw, &n)) s = (rex_str){(const char *)raw, n};
        } else if (byte >= 0) {
            const uint8_t c = (uint8_t)byte;
            st = rex_str_copy(a, (rex_str){(const char *)&c, 1}, &s, e);
        } else if (f->kind == DEC_REPLACE || f->kind == DEC_META) {
            replace_all(s, f->from, first && f->drop ? (rex_str){"", 0} : f->to, &b);
            st = rex_buf_check(&b, e);
            if (st == REX_OK) st = rex_str_copy(a, (rex_str){b.n ? b.p : "", b.n}, &s, e);
        } else if (f->kind == DEC_STRIP) {
            for (int64_t i = 0;
                 i < f->start && s.n >= f->from.n && !memcmp(s.p, f->from.p, f->from.n); i++)
                s = (rex_str){s.p + f->from.n, s.n - f->from.n};
            for (int64_t i = 0; i < f->stop && s.n >= f->from.n &&
                                !memcmp(s.p + s.n - f->from.n, f->from.p, f->from.n);
                 i++)
                s.n -= f->from.n;
        }
    }
    rex_buf_free(&b);
    *out = s;
    return st;
}

static rex_status dec_tables(const decoder *d, rex_err *e) {
    rex_tok *const t = d->r->t;
    t->shown = rex_arena_zero(t->arena, (size_t)t->n, sizeof *t->shown, e);
    if (!t->shown) return REX_ENOMEM;
    bool drop = false, bytes = d->n > 0;
    for (int k = 0; k < d->n; k++) {
        drop = drop || d->step[k].drop;
        bytes = bytes && (d->step[k].kind == DEC_BYTE_LEVEL || d->step[k].kind == DEC_FUSE);
    }
    for (int64_t i = 0; i < t->n; i++) {
        /* What the byte-level decoder gives is what merging saw: no second copy. */
        if (bytes && t->byte_level && t->raw[i].p) t->shown[i] = t->raw[i];
        else REX_TRY(dec_token(d, t->piece[i], false, t->arena, &t->shown[i], e));
    }
    t->first = t->shown;
    if (!drop) return REX_OK;
    t->first = rex_arena_zero(t->arena, (size_t)t->n, sizeof *t->first, e);
    if (!t->first) return REX_ENOMEM;
    for (int64_t i = 0; i < t->n; i++)
        REX_TRY(dec_token(d, t->piece[i], true, t->arena, &t->first[i], e));
    return REX_OK;
}

/* ---- post-processor ---------------------------------------------------------------------- */

static rex_status template_ids(const reader *r, const rex_jval *post, const rex_jval *item,
                               int32_t **v, size_t *n) {
    rex_str name = {NULL, 0};
    REX_TRY(rex_tj_str(item, "id", r->what, &name, r->e));
    const rex_jval *ids = rex_json_get(post, "special_tokens");
    for (uint32_t i = 0; ids && ids->kind == REX_J_OBJ && i < ids->n; i++)
        if (name.p && rex_str_eq(ids->u.c.key[i], name)) {
            const rex_jval *const list = rex_json_get(&ids->u.c.item[i], "ids");
            if (!list || list->kind != REX_J_ARR) break;
            int32_t *const out = rex_arena_take(r->t->arena, *n + list->n + 1, sizeof *out, r->e);
            if (!out) return REX_ENOMEM;
            if (*n) memcpy(out, *v, *n * sizeof *out);
            for (uint32_t k = 0; k < list->n; k++) {
                int64_t id;
                REX_TRY(rex_json_i64(&list->u.c.item[k], "an id of the template", &id, r->e));
                if (id < 0 || id >= r->t->n)
                    return wrong(r, &list->u.c.item[k], "post_processor",
                                 "an id beyond the vocabulary");
                out[(*n)++] = (int32_t)id;
            }
            *v = out;
            return REX_OK;
        }
    return wrong(r, item, "post_processor TemplateProcessing", "a special token without its ids");
}

static rex_status template_read(const reader *r, const rex_jval *post) {
    const rex_jval *const single = rex_json_get(post, "single");
    if (!single || single->kind != REX_J_ARR)
        return wrong(r, post, "post_processor TemplateProcessing", "\"single\" is missing");
    bool behind = false;
    for (uint32_t i = 0; i < single->n; i++) {
        const rex_jval *const item = &single->u.c.item[i];
        const rex_jval *const token = rex_json_get(item, "SpecialToken");
        if (rex_json_get(item, "Sequence")) {
            if (behind)
                return unsupported(r, "post_processor with a text twice,", item,
                                   rex_str_of("TemplateProcessing"));
            behind = true;
        } else if (!token) {
            return wrong(r, item, "post_processor TemplateProcessing",
                         "neither a token nor the text");
        } else if (behind) {
            REX_TRY(template_ids(r, post, token, &r->t->tail, &r->t->n_tail));
        } else {
            REX_TRY(template_ids(r, post, token, &r->t->head, &r->t->n_head));
        }
    }
    return behind ? REX_OK
                  : wrong(r, post, "post_processor TemplateProcessing", "the text is missing");
}

static rex_status post_read(const reader *r, const rex_jval *v, int depth) {
    if (!v || v->kind == REX_J_NULL) return REX_OK;
    rex_str type;
    REX_TRY(type_of(r, "post_processor", v, &type));
    if (rex_str_is(type, "ByteLevel")) return REX_OK; /* concerns offsets only */
    if (rex_str_is(type, "TemplateProcessing")) return template_read(r, v);
    if (!rex_str_is(type, "Sequence")) return unsupported(r, "post_processor", v, type);
    const rex_jval *list;
    REX_TRY(list_of(r, "post_processor", v, "processors", &list));
    if (depth > 4) return unsupported(r, "post_processor nested in", v, type);
    for (uint32_t i = 0; i < list->n; i++) REX_TRY(post_read(r, &list->u.c.item[i], depth + 1));
    return REX_OK;
}

/* ---- together ---------------------------------------------------------------------------- */

rex_status rex_tj_before(rex_tok *t, const rex_jval *root, const char *what, rex_err *e) {
    const reader r = {t, what, e};
    REX_TRY(norm_read(&r, rex_json_get(root, "normalizer"), 0));
    return pre_read(&r, rex_json_get(root, "pre_tokenizer"), 0);
}

rex_status rex_tj_after(rex_tok *t, const rex_jval *root, const char *what, rex_err *e) {
    const reader r = {t, what, e};
    decoder d = {.r = &r};
    const rex_jval *const v = rex_json_get(root, "decoder");
    if (v && v->kind != REX_J_NULL) REX_TRY(dec_read(&d, v, 0));
    else t->dec.join_space = true;
    REX_TRY(dec_tables(&d, e));
    return post_read(&r, rex_json_get(root, "post_processor"), 0);
}

/* What a GGUF with SentencePiece pieces asks for, in the same words. */
rex_status rex_tj_pieces(rex_tok *t, rex_err *e) {
    const reader r = {t, "", e};
    decoder d = {.r = &r, .n = 2};
    d.step[0] =
        (dec_step){.kind = DEC_REPLACE, .from = rex_str_of("\xE2\x96\x81"), .to = rex_str_of(" ")};
    d.step[1] = (dec_step){.kind = DEC_BYTES};
    return dec_tables(&d, e);
}

rex_status rex_tj_bytes(rex_tok *t, rex_err *e) {
    const reader r = {t, "", e};
    decoder d = {.r = &r, .n = 1};
    d.step[0] = (dec_step){.kind = DEC_BYTE_LEVEL};
    return dec_tables(&d, e);
}
