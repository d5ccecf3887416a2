/* SPDX-License-Identifier: MIT
 *
 * tokenizer: text to ids and back, exactly as the tokenizer's own files say. What other rooms use
 * is in repexp.h (rex_tok_*, rex_chat_*); here is what the files of this room share and the one
 * function that other rooms may want besides: encoding with parts that stay literal.
 */
#ifndef REX_TOKENIZER_H
#define REX_TOKENIZER_H

#include "../base/base.h"

/* Bytes from .. to-1 of a text. */
typedef struct {
    size_t from, to;
} rex_span;

/* As rex_tok_encode with REX_TOK_SPECIAL, but control text that touches one of the `literal` spans
 * (ascending, disjoint) is ordinary text: the contents of chat messages. */
REX_MUST rex_status rex_tok_encode_spans(const rex_tok *t, rex_str text, uint32_t flags,
                                         const rex_span *literal, size_t n_literal, rex_arena *a,
                                         rex_ids *out, size_t *lost, rex_err *e);

struct rex_gguf_out;
/* The tokenizer as metadata of a GGUF file that is being written; `what` names it in errors.
 * REX_EUNSUP, with the reason, where GGUF cannot say exactly what it does. */
REX_MUST rex_status rex_tok_put_gguf(const rex_tok *t, const char *what, struct rex_gguf_out *out,
                                     rex_err *e);
/* The texts of a tokenizer.json and a tokenizer_config.json that do what a byte-level tokenizer
 * does. REX_EUNSUP, with the reason, where they cannot say exactly that. */
REX_MUST rex_status rex_tok_put_json(const rex_tok *t, const char *what, rex_arena *a,
                                     rex_str *tokenizer, rex_str *config, rex_err *e);

#endif
