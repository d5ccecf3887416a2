/* SPDX-License-Identifier: MIT
 *
 * chat: messages into the text that a model was trained on, and into ids.
 *
 * A layout is a row of a closed table. A model's own layout is found by fragments of its chat
 * template that no other template has together; what is not surely one of the table is an error
 * with the list of names. A template's own default system prompt is read out of the template where
 * it stands there as one literal. Contents of messages never become control tokens unless asked:
 * rendering remembers where they lie.
 */
#include "tok.h"

#include <string.h>

/* Where a system message goes: a turn of its own, nowhere, before the first user's text, before the
 * text of the last message (and nowhere if that is an answer). */
typedef enum { SYS_TURN, SYS_REFUSED, SYS_FIRST_USER, SYS_LAST } sys_mode;
enum { TRIM_ALL = 7, TRIM_ANSWERS = 4 }; /* bits of roles */

enum { MARKS = 4, FRAGMENTS = 6 };
struct rex_chat_def {
    const char *name;
    const char *begin;              /* once, before everything */
    const char *open[3], *close[3]; /* around system, user, assistant */
    const char *answer;             /* opens the answer */
    const char *end;                /* instead of an answer's opening */
    const char *head;               /* before the system prompt, which is then always there */
    const char *intro;              /* default system prompt; NULL: none, or the template's own */
    sys_mode sys;
    int trim;
    bool alternate, think, no_empty_sys;
    const char *end_of_turn;
    const char *control[MARKS];   /* the vocabulary must have these */
    const char *must[FRAGMENTS];  /* of the template, all of them; none: only by name */
    const char *never[FRAGMENTS]; /* of the template, none of them */
};

#define IM(role) "<|im_start|>" role "\n"
#define HEADER(role) "<|start_header_id|>" role "<|end_header_id|>\n\n"
#define CHATML                                                                            \
    .open = {IM("system"), IM("user"), IM("assistant")},                                  \
    .close = {"<|im_end|>\n", "<|im_end|>\n", "<|im_end|>\n"}, .answer = IM("assistant"), \
    .end_of_turn = "<|im_end|>", .control = {"<|im_start|>", "<|im_end|>"}
#define LLAMA3                                                                                     \
    .begin = "<|begin_of_text|>", .open = {HEADER("system"), HEADER("user"), HEADER("assistant")}, \
    .close = {"<|eot_id|>", "<|eot_id|>", "<|eot_id|>"}, .answer = HEADER("assistant"),            \
    .trim = TRIM_ALL, .end_of_turn = "<|eot_id|>",                                                 \
    .control = {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}
#define MISTRAL_SYS(mode)                                                                \
    .begin = "<s>", .sys = (mode), .alternate = true, .answer = "", .end_of_turn = "</s>", \
    .control = {"<s>", "</s>"}
#define MISTRAL MISTRAL_SYS(SYS_REFUSED)
#define GEMMA                                                                                \
    .begin = "<bos>", .open = {"", "<start_of_turn>user\n", "<start_of_turn>model\n"},       \
    .close = {"", "<end_of_turn>\n", "<end_of_turn>\n"}, .answer = "<start_of_turn>model\n", \
    .trim = TRIM_ALL, .alternate = true, .end_of_turn = "<end_of_turn>",                         \
    .control = {"<bos>", "<start_of_turn>", "<end_of_turn>"}

static const struct rex_chat_def defs[] = {
    {.name = "chatml",
     CHATML,
     .must = {"<|im_start|>", "<|im_end|>"},
     .never = {"<|im_sep|>", "think>", "trim", "set system_message", "bos_token",
               "<|start_header_id|>"}},
    {.name = "qwen2.5",
     CHATML,
     .intro = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."},
    {.name = "smollm2",
     CHATML,
     .intro = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"},
    {.name = "qwen3",
     CHATML,
     .think = true,
     .must = {"<|im_start|>", "<|im_end|>", "last_query_index", "</think>", "loop.last or"},
     .never = {"<|im_sep|>", "| trim", "bos_token", "assistant\\n<think>", "assistant\n<think>"}},
    {.name = "llama-3",
     LLAMA3,
     .must = {"<|start_header_id|>", "<|end_header_id|>", "message['content'] | trim", "<|eot_id|>",
              "bos_token"},
     .never = {"Cutting Knowledge Date", "<|im_start|>", "function", "tool"}},
    /* Llama 3.1 to 3.3. The date is the one that the template falls back to: the day on which a
     * program runs must not change its prompts. */
    {.name = "llama-3.1",
     LLAMA3,
     .intro = "",
     .head = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n",
     .must = {"<|start_header_id|>", "<|eot_id|>", "Cutting Knowledge Date: December 2023",
              "26 Jul 2024"}},
    {.name = "mistral",
     MISTRAL,
     .open = {"", "[INST] ", ""},
     .close = {"", " [/INST]", "</s>"},
     .must = {"'[INST] ' + message['content'] + ' [/INST]'", "message['content'] + eos_token}}"},
     .never = {"<<SYS>>", "system_message"}},
    {.name = "mistral-v0.1",
     MISTRAL,
     .open = {"", "[INST] ", ""},
     .close = {"", " [/INST]", "</s> "},
     .must = {"'[INST] ' + message['content'] + ' [/INST]'",
              "message['content'] + eos_token + ' '"},
     .never = {"<<SYS>>", "system_message"}},
    /* The templates of the same models since mid-2024: a space more on both sides, a system
       message. */
    {.name = "mistral-v1",
     MISTRAL_SYS(SYS_FIRST_USER),
     .open = {"", " [INST] ", " "},
     .close = {"", " [/INST]", "</s>"},
     .must = {"' [INST] ' + system_message", "loop.first and system_message is defined",
              "' ' + message['content'] + eos_token"},
     .never = {"<<SYS>>", "[SYSTEM_PROMPT]"}},
    {.name = "mistral-v3",
     MISTRAL_SYS(SYS_LAST),
     .trim = TRIM_ANSWERS,
     .open = {"", "[INST] ", " "},
     .close = {"", "[/INST]", "</s>"},
     .must = {"\"[INST] \" + system_message", "loop.last and system_message is defined",
              "\" \" + message[\"content\"]|trim + eos_token"},
     .never = {"<<SYS>>", "[SYSTEM_PROMPT]"}},
    {.name = "mistral-nemo",
     MISTRAL_SYS(SYS_LAST),
     .open = {"", "[INST]", ""},
     .close = {"", "[/INST]", "</s>"},
     .must = {"\"[INST]\" + system_message", "loop.last and system_message is defined",
              "{{- message[\"content\"] + eos_token"},
     .never = {"<<SYS>>", "[SYSTEM_PROMPT]"}},
    {.name = "phi-3",
     .open = {"<|system|>\n", "<|user|>\n", "<|assistant|>\n"},
     .close = {"<|end|>\n", "<|end|>\n", "<|end|>\n"},
     .answer = "<|assistant|>\n",
     .end = "<|endoftext|>",
     .end_of_turn = "<|end|>",
     .control = {"<|system|>", "<|user|>", "<|assistant|>", "<|end|>"},
     .must = {"<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "eos_token"},
     .never = {"bos_token", "trim", "'system' and message['content']"}},
    {.name = "phi-3.5",
     .open = {"<|system|>\n", "<|user|>\n", "<|assistant|>\n"},
     .close = {"<|end|>\n", "<|end|>\n", "<|end|>\n"},
     .answer = "<|assistant|>\n",
     .end = "<|endoftext|>",
     .end_of_turn = "<|end|>",
     .no_empty_sys = true,
     .control = {"<|system|>", "<|user|>", "<|assistant|>", "<|end|>"},
     .must = {"'system' and message['content']", "<|user|>", "<|assistant|>", "<|end|>",
              "eos_token"},
     .never = {"bos_token", "trim"}},
    {.name = "phi-4",
     .open = {"<|im_start|>system<|im_sep|>", "<|im_start|>user<|im_sep|>",
              "<|im_start|>assistant<|im_sep|>"},
     .close = {"<|im_end|>", "<|im_end|>", "<|im_end|>"},
     .answer = "<|im_start|>assistant<|im_sep|>",
     .end_of_turn = "<|im_end|>",
     .control = {"<|im_start|>", "<|im_sep|>", "<|im_end|>"},
     .must = {"<|im_start|>", "<|im_sep|>", "<|im_end|>"},
     .never = {"think>", "trim"}},
    {.name = "gemma",
     GEMMA,
     .sys = SYS_REFUSED,
     .must = {"<start_of_turn>", "<end_of_turn>", "System role not supported"}},
    {.name = "gemma-3",
     GEMMA,
     .sys = SYS_FIRST_USER,
     .must = {"<start_of_turn>", "<end_of_turn>", "first_user_prefix"}},
};
enum { DEFS = sizeof defs / sizeof defs[0] };

static const char *const roles[3] = {"system", "user", "assistant"};

static rex_str str_of(const char *s) { return (rex_str){s ? s : "", s ? strlen(s) : 0}; }

/* ---- the table
 * ---------------------------------------------------------------------------------------------- */

/* One public row per layout; built at compile time would need the table twice, so the rows point
 * into it and are told apart by their address. */
#define ROW(i) \
    { .name = NULL, .intro = {NULL, 0}, .def = &defs[i] }
static const struct rex_chat rows[DEFS] = {
    ROW(0), ROW(1), ROW(2),  ROW(3),  ROW(4),  ROW(5),  ROW(6),  ROW(7),
    ROW(8), ROW(9), ROW(10), ROW(11), ROW(12), ROW(13), ROW(14), ROW(15),
};
_Static_assert(DEFS == 16, "one row per layout");

size_t rex_chat_count(void) { return DEFS; }
const rex_chat *rex_chat_at(size_t i) { return i < DEFS ? &rows[i] : NULL; }
const char *rex_chat_name(const rex_chat *c) { return c->def->name; }

static void names(char out[256]) {
    size_t n = 0;
    for (size_t i = 0; i < DEFS; i++) {
        const size_t len = strlen(defs[i].name);
        if (n + len + 2 > 256) break;
        if (n) out[n++] = ' ';
        memcpy(out + n, defs[i].name, len);
        n += len;
    }
    out[n] = 0;
}

rex_status rex_chat_find(const char *name, const rex_chat **out, rex_err *e) {
    char known[256];
    for (size_t i = 0; i < DEFS; i++)
        if (strcmp(defs[i].name, name) == 0) {
            *out = &rows[i];
            return REX_OK;
        }
    names(known);
    return rex_fail(e, REX_EARG, -1, "chat layout \"%s\" is not known; known: %s", name, known);
}

/* ---- recognising
 * -------------------------------------------------------------------------------------------- */

static const char *find_in(rex_str s, const char *what) {
    const size_t n = strlen(what);
    for (size_t i = 0; i + n <= s.n; i++) {
        const char *const hit = memchr(s.p + i, what[0], s.n - i - n + 1);
        if (!hit) return NULL;
        if (memcmp(hit, what, n) == 0) return hit;
        i = (size_t)(hit - s.p);
    }
    return NULL;
}

static bool fits(const rex_tok *t, const struct rex_chat_def *d) {
    if (!d->must[0]) return false;
    for (int i = 0; i < FRAGMENTS && d->must[i]; i++)
        if (!find_in(t->template_text, d->must[i])) return false;
    for (int i = 0; i < FRAGMENTS && d->never[i]; i++)
        if (find_in(t->template_text, d->never[i])) return false;
    for (int i = 0; i < MARKS && d->control[i]; i++)
        if (rex_tok_find(t, str_of(d->control[i])) < 0) return false;
    return true;
}

/* The default system prompt of a chatml template: what stands in one literal between the opening of
 * a system turn and its end, if anything does. Its line ends may be written "\n". */
static rex_str intro_of(rex_str text) {
    static const char open[] = "<|im_start|>system";
    for (const char *p; (p = find_in(text, open));) {
        const size_t at = (size_t)(p - text.p) + sizeof open - 1;
        text = (rex_str){text.p + at, text.n - at};
        size_t k = text.n > 0 && text.p[0] == '\n'               ? 1
                   : text.n > 1 && memcmp(text.p, "\\n", 2) == 0 ? 2
                                                                 : 0;
        const char *const end = find_in(text, "<|im_end|>");
        if (!k || !end) continue;
        const rex_str intro = {text.p + k, (size_t)(end - text.p) - k};
        bool plain = intro.n > 0;
        for (size_t i = 0; i < intro.n; i++) plain = plain && !strchr("'\"\\{}", intro.p[i]);
        if (plain) return intro;
    }
    return (rex_str){NULL, 0};
}

void rex_chat_choose(rex_tok *t) {
    const struct rex_chat_def *found = NULL;
    if (!t->template_text.p) return;
    for (size_t i = 0; i < DEFS; i++) {
        if (!fits(t, &defs[i])) continue;
        if (found) return; /* two: in doubt */
        found = &defs[i];
    }
    if (!found) return;
    t->chat = (struct rex_chat){.name = found->name, .def = found};
    if (found == &defs[0]) t->chat.intro = intro_of(t->template_text);
    t->has_chat = true;
    if (t->marks.end_of_turn < 0)
        t->marks.end_of_turn = rex_tok_find(t, str_of(found->end_of_turn));
}

rex_status rex_chat_of(const rex_tok *t, const rex_chat **out, rex_err *e) {
    char known[256];
    if (t->has_chat) {
        *out = &t->chat;
        return REX_OK;
    }
    names(known);
    return rex_fail(e, REX_EUNSUP, -1, "the model %s; name the layout yourself, known: %s",
                    t->template_text.p ? "has a chat template of a layout that is not known"
                                       : "has no chat template",
                    known);
}

/* ---- rendering
 * ---------------------------------------------------------------------------------------------- */

typedef struct {
    rex_buf text, spans; /* spans: rex_span of contents */
} page;

static void put(page *p, const char *s) { rex_buf_add(&p->text, s, strlen(s)); }

static void put_content(page *p, rex_str s) {
    const rex_span at = {p->text.n, p->text.n + s.n};
    rex_buf_add(&p->text, s.p, s.n);
    if (s.n) rex_buf_add(&p->spans, &at, sizeof at);
}

/* White space as the templates' trim knows it. */
static bool is_space(uint32_t c) {
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

static rex_str trimmed(rex_str s) {
    size_t from = s.n, to = s.n;
    for (size_t i = 0, len; i < s.n; i += len) {
        uint32_t cp;
        len = (size_t)rex_utf8_next((const uint8_t *)s.p, i, s.n, &cp);
        if (is_space(cp)) continue;
        if (from == s.n) from = i;
        to = i + len;
    }
    return (rex_str){s.p + from, from == s.n ? 0 : to - from};
}

static rex_str strip_lines(rex_str s, bool left, bool right) {
    while (left && s.n && s.p[0] == '\n') s = (rex_str){s.p + 1, s.n - 1};
    while (right && s.n && s.p[s.n - 1] == '\n') s.n--;
    return s;
}

static const char *find_last(rex_str s, const char *what) {
    const char *last = NULL;
    for (const char *p; (p = find_in(s, what));) {
        last = p;
        const size_t at = (size_t)(p - s.p) + strlen(what);
        s = (rex_str){s.p + at, s.n - at};
    }
    return last;
}

/* Qwen3: the reasoning of an answer is kept only behind the last question. */
static void put_thinking(page *p, rex_str s, bool late, bool last) {
    rex_str reason = {"", 0};
    const char *const first = find_in(s, "</think>"), *const end = find_last(s, "</think>");
    if (first) {
        reason = strip_lines((rex_str){s.p, (size_t)(first - s.p)}, false, true);
        const char *const open = find_last(reason, "<think>");
        if (open) {
            const size_t at = (size_t)(open - reason.p) + strlen("<think>");
            reason = (rex_str){reason.p + at, reason.n - at};
        }
        reason = strip_lines(reason, true, true);
        const size_t at = (size_t)(end - s.p) + strlen("</think>");
        s = strip_lines((rex_str){s.p + at, s.n - at}, true, false);
    }
    if (late && (last || reason.n)) {
        put(p, "<think>\n");
        put_content(p, reason);
        put(p, "\n</think>\n\n");
        s = strip_lines(s, true, false);
    }
    put_content(p, s);
}

static int role_of(rex_str role) {
    for (int i = 0; i < 3; i++)
        if (rex_str_is(role, roles[i])) return i;
    return -1;
}

static rex_status check(const struct rex_chat_def *d, const rex_msg *msg, size_t n, rex_err *e) {
    if (n == 0) return rex_fail(e, REX_EFORMAT, 0, "chat layout %s: no messages", d->name);
    size_t turn = 0;
    for (size_t i = 0; i < n; i++) {
        const int role = role_of(msg[i].role);
        const int len = (int)(msg[i].role.n < 40 ? msg[i].role.n : 40);
        if (role < 0)
            return rex_fail(e, REX_EFORMAT, (int64_t)i,
                            "chat layout %s: message %zu has role \"%.*s\", "
                            "expected system, user or assistant",
                            d->name, i, len, msg[i].role.p);
        if (role == 0 && (d->sys == SYS_REFUSED || (i > 0 && d->sys != SYS_TURN)))
            return rex_fail(e, REX_EFORMAT, (int64_t)i,
                            "chat layout %s: message %zu has role \"system\", "
                            "which this layout %s",
                            d->name, i,
                            d->sys == SYS_REFUSED ? "does not have"
                                                  : "has as the first message only");
        if (role == 0) continue;
        if (d->alternate && (role == 1) != (turn % 2 == 0))
            return rex_fail(e, REX_EFORMAT, (int64_t)i,
                            "chat layout %s: message %zu has role \"%s\", but "
                            "user and assistant must take turns, user first",
                            d->name, i, roles[role]);
        turn++;
    }
    if (d->sys == SYS_FIRST_USER && turn == 0)
        return rex_fail(e, REX_EFORMAT, 0, "chat layout %s: a system message without a user's",
                        d->name);
    return REX_OK;
}

static void put_turn(page *p, const struct rex_chat_def *d, int role, rex_str content) {
    put(p, d->open[role]);
    put_content(p, d->trim >> role & 1 ? trimmed(content) : content);
    put(p, d->close[role]);
}

/* The question behind which Qwen3 keeps reasoning. */
static size_t last_question(const rex_msg *msg, size_t n) {
    static const char open[] = "<tool_response>", end[] = "</tool_response>";
    for (size_t i = n; i-- > 0;) {
        const rex_str c = msg[i].content;
        const bool tool = c.n >= sizeof end - 1 && memcmp(c.p, open, sizeof open - 1) == 0 &&
                          memcmp(c.p + c.n - (sizeof end - 1), end, sizeof end - 1) == 0;
        if (role_of(msg[i].role) == 1 && !tool) return i;
    }
    return n - 1;
}

static rex_status render(const rex_chat *c, const rex_msg *msg, size_t n, bool open, page *p,
                         rex_err *e) {
    const struct rex_chat_def *const d = c->def;
    REX_TRY(check(d, msg, n, e));
    const size_t question = d->think ? last_question(msg, n) : 0;
    const bool has_sys = role_of(msg[0].role) == 0;
    const rex_str intro = c->intro.p ? c->intro : str_of(d->intro);
    if (d->begin) put(p, d->begin);
    if (d->head) {
        put(p, d->open[0]);
        put(p, d->head);
        if (has_sys) put_content(p, trimmed(msg[0].content));
        put(p, d->close[0]);
    } else if (!has_sys && intro.n) {
        put(p, d->open[0]);
        rex_buf_add(&p->text, intro.p, intro.n);
        put(p, d->close[0]);
    }
    for (size_t i = 0; i < n; i++) {
        const int role = role_of(msg[i].role);
        if (role == 0 && i == 0 && (d->head || d->sys != SYS_TURN)) continue;
        if (role == 0 && d->no_empty_sys && msg[i].content.n == 0) continue;
        const bool here = d->sys == SYS_FIRST_USER ? i == 1 : d->sys == SYS_LAST && i + 1 == n;
        if (role == 1 && has_sys && here) {
            put(p, d->open[1]);
            put_content(p, msg[0].content);
            put(p, "\n\n");
            put_content(p, d->trim >> 1 & 1 ? trimmed(msg[i].content) : msg[i].content);
            put(p, d->close[1]);
        } else if (role == 2 && d->think) {
            put(p, d->open[2]);
            put_thinking(p, msg[i].content, i > question, i + 1 == n);
            put(p, d->close[2]);
        } else {
            put_turn(p, d, role, msg[i].content);
        }
    }
    if (open) put(p, d->answer);
    else if (d->end) put(p, d->end);
    REX_TRY(rex_buf_check(&p->spans, e));
    return rex_buf_check(&p->text, e);
}

rex_status rex_chat_render(const rex_chat *c, const rex_msg *msg, size_t n, bool open, rex_arena *a,
                           rex_str *out, rex_err *e) {
    page p;
    rex_buf_init(&p.text, 0);
    rex_buf_init(&p.spans, 0);
    rex_status st = render(c, msg, n, open, &p, e);
    if (st == REX_OK) st = rex_str_copy(a, (rex_str){p.text.n ? p.text.p : "", p.text.n}, out, e);
    rex_buf_free(&p.text);
    rex_buf_free(&p.spans);
    return st;
}

rex_status rex_chat_encode(const rex_tok *t, const rex_chat *c, const rex_msg *msg, size_t n,
                           bool open, uint32_t flags, rex_arena *a, rex_ids *out, rex_str *shown,
                           rex_err *e) {
    for (int i = 0; i < MARKS && c->def->control[i]; i++)
        if (rex_tok_find(t, str_of(c->def->control[i])) < 0)
            return rex_fail(e, REX_EFORMAT, -1,
                            "chat layout %s needs the control token %s, which this "
                            "vocabulary lacks",
                            c->def->name, c->def->control[i]);
    page p;
    rex_buf_init(&p.text, 0);
    rex_buf_init(&p.spans, 0);
    rex_str text;
    rex_status st = render(c, msg, n, open, &p, e);
    if (st == REX_OK) st = rex_str_copy(a, (rex_str){p.text.n ? p.text.p : "", p.text.n}, &text, e);
    if (st == REX_OK)
        st =
            rex_tok_encode_spans(t, text, flags & ~REX_TOK_BOS, (const rex_span *)(void *)p.spans.p,
                                 p.spans.n / sizeof(rex_span), a, out, NULL, e);
    if (st == REX_OK && shown) *shown = text;
    rex_buf_free(&p.text);
    rex_buf_free(&p.spans);
    return st;
}
