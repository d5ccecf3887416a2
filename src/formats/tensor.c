/* SPDX-License-Identifier: MIT
 *
 * tensor.c: the element types, the arithmetic of shapes, and the plain types widened and packed.
 * Relies on nothing but base. Invariant: a tensor whose shape has passed rex_tensor_shape and
 * whose data has the bytes that it gave can be read anywhere within rows x cols; nobody forms a
 * pointer into a tensor by other arithmetic than row * row_bytes + first / block * bytes.
 */
#include "formats.h"
#include "quant.h"

#include <string.h>

static const rex_dtype_info info[] = {
#define X(name, block, bytes, gguf, wide) { #name, block, bytes, gguf, wide },
    REX_DTYPES(X)
#undef X
};

const rex_dtype_info *rex_dtype_get(rex_dtype t) {
    rex_assert((unsigned)t < REX_T_COUNT);
    return &info[t];
}

rex_dtype rex_dtype_find(rex_str name) {
    for (int t = 0; t < REX_T_COUNT; t++)
        if (rex_str_is(name, info[t].name)) return (rex_dtype)t;
    return REX_T_COUNT;
}

static int shown(rex_str s) { return (int)(s.n > 120 ? 120 : s.n); }

static rex_status shape_bad(const rex_tensor *t, const char *what, rex_err *e) {
    return rex_fail(e, REX_EFORMAT, -1, "tensor '%.*s': %s", shown(t->name),
                    t->name.p ? t->name.p : "", what);
}

rex_status rex_tensor_shape(rex_tensor *t, uint64_t *bytes, rex_err *e) {
    const rex_dtype_info *d = rex_dtype_get(t->type);
    if (t->ndim < 0 || t->ndim > REX_DIMS) return shape_bad(t, "more than 8 dimensions", e);
    t->cols = t->ndim ? t->dim[t->ndim - 1] : 1;
    t->rows = 1;
    bool none = t->cols == 0;
    for (int i = 0; i < t->ndim; i++) {
        if (t->dim[i] < 0) return shape_bad(t, "a negative dimension", e);
        none = none || t->dim[i] == 0;
    }
    /* a zero anywhere makes the product zero, however large the others are */
    for (int i = 0; i + 1 < t->ndim && !none; i++)
        if (__builtin_mul_overflow(t->rows, t->dim[i], &t->rows))
            return shape_bad(t, "dimensions whose product overflows", e);
    if (none) t->rows = 0;
    if (t->cols % d->block != 0)
        return rex_fail(
            e, REX_EFORMAT, -1, "tensor '%.*s': rows of %lld elements, %s needs a multiple of %d",
            shown(t->name), t->name.p ? t->name.p : "", (long long)t->cols, d->name, d->block);
    uint64_t row = 0;
    uint64_t all = 0;
    if (__builtin_mul_overflow((uint64_t)(t->cols / d->block), (uint64_t)d->bytes, &row) ||
        __builtin_mul_overflow(row, (uint64_t)t->rows, &all) || all > INT64_MAX)
        return shape_bad(t, "dimensions whose product overflows", e);
    t->row_bytes = (size_t)row;
    *bytes = all;
    return REX_OK;
}

/* ---- widening and packing ---- */

static void widen_f64(const uint8_t *src, int64_t n, float *out) {
    for (int64_t i = 0; i < n; i++) {
        double v;
        memcpy(&v, src + 8 * i, 8);
        out[i] = (float)v;
    }
}

static void widen_f16(const uint8_t *src, int64_t n, float *out) {
    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, src + 2 * i, 2);
        out[i] = rex_f16_f32(h);
    }
}

static void widen_bf16(const uint8_t *src, int64_t n, float *out) {
    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, src + 2 * i, 2);
        const uint32_t bits = (uint32_t)h << 16;
        memcpy(out + i, &bits, 4);
    }
}

void rex_dtype_widen(rex_dtype t, const uint8_t *src, int64_t n, float *out) {
    rex_assert(rex_dtype_get(t)->wide && n % rex_dtype_get(t)->block == 0);
    if (n == 0) return;
    switch (t) {
    case REX_T_F64: widen_f64(src, n, out); return;
    case REX_T_F32: memcpy(out, src, 4 * (size_t)n); return;
    case REX_T_F16: widen_f16(src, n, out); return;
    case REX_T_BF16: widen_bf16(src, n, out); return;
    default: rex_quant_widen(t, src, n, out); return;
    }
}

void rex_dtype_pack(rex_dtype t, const float *src, int64_t n, uint8_t *dst) {
    rex_assert(n % rex_dtype_get(t)->block == 0);
    if (n == 0) return;
    switch (t) {
    case REX_T_F32: memcpy(dst, src, 4 * (size_t)n); return;
    case REX_T_F16:
    case REX_T_BF16:
        for (int64_t i = 0; i < n; i++) {
            const uint16_t h = t == REX_T_F16 ? rex_f32_f16(src[i]) : rex_f32_bf16(src[i]);
            memcpy(dst + 2 * i, &h, 2);
        }
        return;
    case REX_T_Q8_0: rex_quant_pack_q8_0(src, n, dst); return;
    default: rex_die(__FILE__, __LINE__, "a type that can be packed");
    }
}

void rex_tensor_get_f32(const rex_tensor *t, int64_t row, int64_t first, int64_t n, float *out) {
    const rex_dtype_info *d = rex_dtype_get(t->type);
    rex_assert(row >= 0 && row < t->rows && first >= 0 && n >= 0 && n <= t->cols - first);
    rex_assert(first % d->block == 0);
    const uint8_t *src =
        t->data.p + (size_t)row * t->row_bytes + (size_t)(first / d->block) * (size_t)d->bytes;
    rex_dtype_widen(t->type, src, n, out);
}
