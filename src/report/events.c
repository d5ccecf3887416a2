/* SPDX-License-Identifier: MIT
 *
 * events.c: scalars for TensorBoard. An event file is a row of records, each `length, crc of the
 * length, bytes, crc of the bytes` in little-endian, with CRC-32C masked by a rotation and a
 * constant; the bytes are one Event message of protocol buffers: wall_time 1 (double), step 2
 * (varint), file_version 3 (string), summary 5 { value 1 { tag 1 (string), simple_value 2
 * (float)}}.
 */
#include "report.h"

#include <string.h>

struct rex_events {
    rex_out *out;
    rex_buf buf;
};

static uint32_t crc32c(const uint8_t *p, size_t n) {
    uint32_t c = ~0u;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int b = 0; b < 8; b++) c = (c >> 1) ^ (0x82f63b78u & (0u - (c & 1u)));
    }
    return ~c;
}

static void le(rex_buf *b, uint64_t v, int bytes) {
    uint8_t raw[8];
    for (int i = 0; i < bytes; i++) raw[i] = (uint8_t)(v >> (8 * i));
    rex_buf_add(b, raw, (size_t)bytes);
}

static void varint(rex_buf *b, uint64_t v) {
    for (; v >= 0x80; v >>= 7) le(b, (v & 0x7f) | 0x80, 1);
    le(b, v, 1);
}

static void bytes(rex_buf *b, int field, const void *p, size_t n) {
    varint(b, (uint64_t)field << 3 | 2u);
    varint(b, n);
    rex_buf_add(b, p, n);
}

static void head(rex_buf *b, double wall) {
    uint64_t raw;
    memcpy(&raw, &wall, sizeof raw);
    le(b, 1u << 3 | 1u, 1);
    le(b, raw, 8);
}

static uint32_t masked(const void *p, size_t n) {
    const uint32_t c = crc32c(p, n);
    return ((c >> 15) | (c << 17)) + 0xa282ead8u;
}

static void record(rex_events *v) {
    rex_buf frame;
    rex_buf_init(&frame, 0);
    le(&frame, v->buf.n, 8);
    if (frame.bad == REX_OK) le(&frame, masked(frame.p, 8), 4);
    rex_buf_add(&frame, v->buf.p, v->buf.n);
    le(&frame, masked(v->buf.p, v->buf.n), 4);
    if (frame.bad != REX_OK) v->buf.bad = frame.bad;
    else rex_out_add(v->out, frame.p, frame.n);
    rex_buf_free(&frame);
}

rex_status rex_events_open(const char *folder, double wall, rex_events **out, rex_err *e) {
    rex_events *const v = rex_mem_take(1, sizeof *v, e);
    if (!v) return REX_ENOMEM;
    rex_buf_init(&v->buf, 0);
    rex_buf path;
    rex_buf_init(&path, 0);
    rex_buf_addf(&path, "%s/events.out.tfevents.%010.0f.repexp", folder, wall);
    rex_status s = rex_buf_check(&path, e);
    if (s == REX_OK) s = rex_out_append(path.p, &v->out, e);
    rex_buf_free(&path);
    if (s != REX_OK) {
        rex_mem_free(v);
        return s;
    }
    head(&v->buf, wall);
    bytes(&v->buf, 3, "brain.Event:2", 13);
    record(v);
    *out = v;
    return REX_OK;
}

void rex_events_scalar(rex_events *v, const char *tag, int64_t step, double wall, double value) {
    rex_buf one, all;
    rex_buf_init(&one, 0);
    rex_buf_init(&all, 0);
    const float f = (float)value;
    uint32_t raw;
    memcpy(&raw, &f, sizeof raw);
    bytes(&one, 1, tag, strlen(tag));
    le(&one, 2u << 3 | 5u, 1);
    le(&one, raw, 4);
    bytes(&all, 1, one.p, one.n);
    if (v->buf.bad == REX_OK) {
        rex_buf_reset(&v->buf);
        head(&v->buf, wall);
        le(&v->buf, 2u << 3, 1);
        varint(&v->buf, (uint64_t)step);
        bytes(&v->buf, 5, all.p, all.n);
        if (one.bad != REX_OK || all.bad != REX_OK) v->buf.bad = REX_ENOMEM;
        if (v->buf.bad == REX_OK) record(v);
    }
    rex_buf_free(&one);
    rex_buf_free(&all);
}

rex_status rex_events_close(rex_events *v, rex_err *e) {
    if (!v) return REX_OK;
    rex_status s = v->buf.bad;
    if (s != REX_OK) s = rex_fail(e, s, -1, "event file: out of memory");
    else s = rex_out_flush(v->out, e);
    rex_out_close(v->out);
    rex_buf_free(&v->buf);
    rex_mem_free(v);
    return s;
}
