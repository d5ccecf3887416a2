/* SPDX-License-Identifier: MIT
 *
 * formats: bytes on disk to typed views and back; knows no model. Files are mapped; every number
 * of a header has been checked before a pointer is formed from it (rex_view_sub), so a
 * `rex_tensor` that a caller holds always lies wholly inside its file. Sentences name the file,
 * the tensor or key, what was found and what was expected.
 * The rows API that explore and the command line use (rex_rows) is in repexp.h.
 */
#ifndef REX_FORMATS_H
#define REX_FORMATS_H

#include "../base/base.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are read in place: little-endian");

/* ---- element types (tensor.c, quant.c) ---- */

/* name, elements per block, bytes per block, GGUF number (-1: none), kind: 1 can be widened to
 * f32; 0 is described only. F16 and before are what rex_rows takes. */
#define REX_DTYPES(X)                                                                        \
    X(F64, 1, 8, 28, 1) X(F32, 1, 4, 0, 1) X(BF16, 1, 2, 30, 1) X(F16, 1, 2, 1, 1)           \
    X(I64, 1, 8, 27, 0) X(I32, 1, 4, 26, 0) X(I16, 1, 2, 25, 0) X(I8, 1, 1, 24, 0)           \
    X(U64, 1, 8, -1, 0) X(U32, 1, 4, -1, 0) X(U16, 1, 2, -1, 0) X(U8, 1, 1, -1, 0)           \
    X(BOOL, 1, 1, -1, 0) X(F8_E4M3, 1, 1, -1, 0) X(F8_E5M2, 1, 1, -1, 0)                     \
    X(Q4_0, 32, 18, 2, 1) X(Q4_1, 32, 20, 3, 1) X(Q5_0, 32, 22, 6, 1) X(Q5_1, 32, 24, 7, 1)  \
    X(Q8_0, 32, 34, 8, 1)                                                                 \
    X(Q2_K, 256, 84, 10, 0) X(Q3_K, 256, 110, 11, 0) X(Q4_K, 256, 144, 12, 1)                \
    X(Q5_K, 256, 176, 13, 1) X(Q6_K, 256, 210, 14, 1) X(Q8_K, 256, 292, 15, 0)               \
    X(IQ2_XXS, 256, 66, 16, 0) X(IQ2_XS, 256, 74, 17, 0) X(IQ3_XXS, 256, 98, 18, 0)          \
    X(IQ1_S, 256, 50, 19, 0) X(IQ4_NL, 32, 18, 20, 0) X(IQ3_S, 256, 110, 21, 0)              \
    X(IQ2_S, 256, 82, 22, 0) X(IQ4_XS, 256, 136, 23, 0) X(IQ1_M, 256, 56, 29, 0)             \
    X(TQ1_0, 256, 54, 34, 0) X(TQ2_0, 256, 66, 35, 0) X(MXFP4, 32, 17, 39, 0)            \
    X(NVFP4, 64, 36, 40, 0) X(Q1_0, 128, 18, 41, 0)

typedef enum {
#define X(name, block, bytes, gguf, wide) REX_T_##name,
    REX_DTYPES(X)
#undef X
    REX_T_COUNT
} rex_dtype;

typedef struct {
    const char *name;
    int block, bytes;
    int gguf;
    bool wide;
} rex_dtype_info;
/* What a type is; `t` must be one. */
const rex_dtype_info *rex_dtype_get(rex_dtype t);
/* By name ("BF16"); REX_T_COUNT if there is none. */
rex_dtype rex_dtype_find(rex_str name);

enum { REX_DIMS = 8 };

/* A borrowed view: name, dims and data are valid until the handle that gave it closes. Dims are
 * outermost first, whatever the file's own order. cols is the last dim (1 for a scalar), rows the
 * product of the others, row_bytes = cols / block * bytes; rows * row_bytes == data.n. */
typedef struct {
    rex_str name;
    rex_dtype type;
    int ndim;
    int64_t dim[REX_DIMS];
    int64_t rows, cols;
    size_t row_bytes;
    rex_view data; /* may be unaligned: read through memcpy or rex_tensor_get_f32 */
} rex_tensor;

/* Fills rows, cols, row_bytes from type and dims and gives the bytes that the data must have;
 * data is not looked at. Negative dims, overflow, a last dim that is no multiple of the block:
 * REX_EFORMAT naming the tensor. */
REX_MUST rex_status rex_tensor_shape(rex_tensor *t, uint64_t *bytes, rex_err *e);

/* Elements first .. first+n-1 of one row, widened to f32: exact for F32 F16 BF16, to nearest for
 * F64, by the block's formula for the quantised. `first` and `n` are multiples of the block. The
 * type must be wide. */
void rex_tensor_get_f32(const rex_tensor *t, int64_t row, int64_t first, int64_t n, float *out);
/* Raw blocks to f32: n elements from src; what rex_tensor_get_f32 does, for data elsewhere. */
void rex_dtype_widen(rex_dtype t, const uint8_t *src, int64_t n, float *out);
/* f32 to F32 F16 BF16 Q8_0 (nearest even; Q8_0 by scale = max|x| / 127): n a multiple of the
 * block; dst has n / block * bytes. */
void rex_dtype_pack(rex_dtype t, const float *src, int64_t n, uint8_t *dst);

/* ---- npy (npy.c): NumPy array files, format 1.0, 2.0, 3.0 ---- */

typedef struct rex_npy rex_npy;
/* Refused with a sentence: Fortran order, big-endian, objects, strings, structured types, a size
 * that is not what the header says. */
REX_MUST rex_status rex_npy_open(const char *path, rex_npy **out, rex_err *e);
const rex_tensor *rex_npy_tensor(const rex_npy *n); /* its name is empty */
void rex_npy_close(rex_npy *n);
/* The header of a C-order array of rows x cols (F32 or F16), format 1.0, always REX_NPY_HEAD bytes
 * so that it can be patched when the number of rows is known. */
enum { REX_NPY_HEAD = 128 };
void rex_npy_head(uint8_t out[REX_NPY_HEAD], rex_dtype t, int64_t rows, int64_t cols);
/* The header dictionary of an array, for tests and fuzzing: fills type and dims. `at` is where it
 * lies in the file. */
REX_MUST rex_status rex_npy_parse(rex_str text, int64_t at, const char *path, rex_tensor *t,
                                  rex_err *e);

/* ---- safetensors (safetensors.c) ---- */

typedef struct rex_st rex_st;
/* A .safetensors file, a `*.index.json`, or a folder with `model.safetensors` or
 * `model.safetensors.index.json`. As the format demands, tensors tile the data without overlap or
 * hole. Tensors come in the order of their data, shard by shard. */
REX_MUST rex_status rex_st_open(const char *path, rex_st **out, rex_err *e);
size_t rex_st_count(const rex_st *s);
const rex_tensor *rex_st_at(const rex_st *s, size_t i);
const rex_tensor *rex_st_find(const rex_st *s, const char *name); /* NULL if there is none */
/* Entries of `__metadata__` of the first shard: text, valid until close. */
size_t rex_st_meta_count(const rex_st *s);
void rex_st_meta_at(const rex_st *s, size_t i, rex_str *key, rex_str *value);
rex_str rex_st_meta(const rex_st *s, const char *key); /* p NULL if absent */
/* Gives the pages of a tensor that has been consumed back to the system; it may be read again. */
void rex_st_drop(rex_st *s, const rex_tensor *t);
void rex_st_close(rex_st *s);

/* A writer: tensors (name, type, ndim, dim; the rest ignored) are declared at once, their bytes
 * then follow in that order, in pieces of any size. `meta`: n_meta pairs key, value. */
typedef struct rex_st_out rex_st_out;
REX_MUST rex_status rex_st_out_open(const char *path, const rex_tensor *t, size_t n,
                                    const rex_str *meta, size_t n_meta, rex_st_out **out,
                                    rex_err *e);
void rex_st_out_add(rex_st_out *o, const void *p, size_t n);
/* REX_EBUG if the bytes given are not those declared. Written aside, fsynced, renamed. Closes. */
REX_MUST rex_status rex_st_out_commit(rex_st_out *o, rex_err *e);
void rex_st_out_close(rex_st_out *o);

/* ---- GGUF v2 and v3 (gguf.c, gguf_out.c) ---- */

#define REX_GGUF_KINDS(X)                                                                    \
    X(U8, 1) X(I8, 1) X(U16, 2) X(I16, 2) X(U32, 4) X(I32, 4) X(F32, 4) X(BOOL, 1) X(STR, 0) \
    X(ARR, 0) X(U64, 8) X(I64, 8) X(F64, 8)
typedef enum {
#define X(name, bytes) REX_G_##name,
    REX_GGUF_KINDS(X)
#undef X
    REX_G_COUNT
} rex_gguf_kind;

/* One metadata entry. A scalar has n == 1 and elem == kind. An array has kind ARR, its elements'
 * kind in elem, and n of them. Arrays of arrays can be described, not read. */
typedef struct {
    rex_str key;
    rex_gguf_kind kind, elem;
    uint64_t n;
    rex_view raw; /* the packed elements; for strings and arrays of arrays their encoding */
    rex_str *str; /* elem STR: n strings, else NULL */
} rex_gguf_meta;

/* An open GGUF file: owns its map and what was read of its head. Every view and tensor that it
 * hands out is valid until rex_gguf_close; indices are below the count. */
typedef struct rex_gguf rex_gguf;
REX_MUST rex_status rex_gguf_open(const char *path, rex_gguf **out, rex_err *e);
uint32_t rex_gguf_version(const rex_gguf *g);
size_t rex_gguf_count(const rex_gguf *g);
const rex_tensor *rex_gguf_at(const rex_gguf *g, size_t i);
const rex_tensor *rex_gguf_find(const rex_gguf *g, const char *name); /* NULL if there is none */
size_t rex_gguf_meta_count(const rex_gguf *g);
const rex_gguf_meta *rex_gguf_meta_at(const rex_gguf *g, size_t i);
const rex_gguf_meta *rex_gguf_meta_find(const rex_gguf *g, const char *key); /* NULL if absent */
/* A scalar of the wanted sort; absent or of another sort is REX_EFORMAT naming file and key. Any
 * integer kind serves i64 (u64 beyond is REX_EFORMAT), any integer or float kind serves f64. */
REX_MUST rex_status rex_gguf_i64(const rex_gguf *g, const char *key, int64_t *out, rex_err *e);
REX_MUST rex_status rex_gguf_f64(const rex_gguf *g, const char *key, double *out, rex_err *e);
REX_MUST rex_status rex_gguf_bool(const rex_gguf *g, const char *key, bool *out, rex_err *e);
REX_MUST rex_status rex_gguf_str(const rex_gguf *g, const char *key, rex_str *out, rex_err *e);
/* An array whose elements are strings (want STR), integers (want I64) or numbers (want F64). */
REX_MUST rex_status rex_gguf_arr(const rex_gguf *g, const char *key, rex_gguf_kind want,
                                 const rex_gguf_meta **out, rex_err *e);
/* Element i < n of a scalar or array, by its own kind; 0 where the kind has no such value. */
int64_t rex_gguf_elem_i64(const rex_gguf_meta *m, uint64_t i);
double rex_gguf_elem_f64(const rex_gguf_meta *m, uint64_t i);
void rex_gguf_drop(rex_gguf *g, const rex_tensor *t);
void rex_gguf_close(rex_gguf *g);

/* A writer, version 3, alignment 32: metadata first, then the tensors are declared (dims outermost
 * first), then their bytes follow in that order; padding is the writer's business. Sticky status;
 * a wrong order of calls is REX_EBUG at commit. */
typedef struct rex_gguf_out rex_gguf_out;
REX_MUST rex_status rex_gguf_out_open(const char *path, rex_gguf_out **out, rex_err *e);
/* One metadata entry each; rex_gguf_out_i64 takes any kind of whole number. */
void rex_gguf_out_i64(rex_gguf_out *o, const char *key, rex_gguf_kind int_kind, int64_t v);
void rex_gguf_out_f32(rex_gguf_out *o, const char *key, float v);
void rex_gguf_out_bool(rex_gguf_out *o, const char *key, bool v);
void rex_gguf_out_str(rex_gguf_out *o, const char *key, rex_str v);
void rex_gguf_out_strs(rex_gguf_out *o, const char *key, const rex_str *v, size_t n);
void rex_gguf_out_i32s(rex_gguf_out *o, const char *key, const int32_t *v, size_t n);
void rex_gguf_out_f32s(rex_gguf_out *o, const char *key, const float *v, size_t n);
void rex_gguf_out_meta(rex_gguf_out *o, const rex_gguf_meta *m); /* an entry as it was read */
void rex_gguf_out_tensor(rex_gguf_out *o, const rex_tensor *t);
void rex_gguf_out_add(rex_gguf_out *o, const void *p, size_t n);
REX_MUST rex_status rex_gguf_out_commit(rex_gguf_out *o, rex_err *e); /* closes, too */
void rex_gguf_out_close(rex_gguf_out *o);

#endif
