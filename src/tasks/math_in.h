/* SPDX-License-Identifier: MIT
 *
 * math_in.h: what the files of the maths grader share, and nobody else includes. The walk of the
 * data: text -> tokens (math_lex) -> tree (math_parse, math_norm) -> comparison of shapes
 * (math_equal, math_sets) -> scalars as rational functions over generators (math_field,
 * math_gens, math_eval) -> balls (math_ball) where the exact form does not decide.
 *
 * One context per reading of a pair of answers. It owns every FLINT object made on the way (a list
 * cleared at the end), counts steps, and holds a sticky fault: after a fault every function
 * returns NULL or UNKNOWN quickly and the verdict is at most `ambiguous`.
 */
#ifndef REX_TASKS_MATH_IN_H
#define REX_TASKS_MATH_IN_H

#include "math.h"

#include <acb.h>
#include <flint/fmpq.h>
#include <flint/fmpz_mpoly.h>

enum {
    REX_MX_GENS = 20,       /* generators of one field */
    REX_MX_DEPTH = 60,      /* nesting of brackets and operators */
    REX_MX_NODES = 3000,    /* nodes of one tree */
    REX_MX_BYTES = 4000,    /* length of an answer that is read */
    REX_MX_BITS = 1 << 16,  /* size of an integer */
    REX_MX_STEPS = 250000,  /* elementary steps of one verdict, over all texts and readings */
};

typedef enum {
    REX_MF_NONE,
    REX_MF_NOMEM,  /* the arena is full or the system has no memory */
    REX_MF_SYNTAX, /* the text cannot be read */
    REX_MF_UNDEF,  /* division by zero, logarithm of zero, ... */
    REX_MF_LIMIT,  /* a size or the step budget */
} rex_mx_fault;

/* ---- tree -------------------------------------------------------------------------------- */

typedef enum {
    MX_NUM,      /* q; sig > 0: a decimal literal with sig digits, last at 10^exp10 */
    MX_SYM,      /* s */
    MX_CONST,    /* op: MXC_... */
    MX_ADD,      /* n terms */
    MX_MUL,      /* n factors */
    MX_NEG,      /* arg[0] */
    MX_DIV,      /* arg[0] / arg[1] */
    MX_POW,      /* arg[0] ^ arg[1] */
    MX_ROOT,     /* arg[1]-th root of arg[0] */
    MX_FN,       /* op: a function; s: its name; arguments */
    MX_APP,      /* s applied to arg[0]: f(2) */
    MX_PM,       /* arg[0] +- arg[1]; op 1: the lower sign first */
    MX_DEG,      /* arg[0] degrees */
    MX_PERCENT,  /* arg[0] per cent */
    MX_UNIT,     /* arg[0] with a unit or currency; s: the unit; op 1: a bare letter */
    MX_BASE,     /* digits s in base op; q the value */
    MX_RATIO,    /* a : b : ... */
    MX_PAIR,     /* two items in brackets lb, rb: an interval or an ordered pair */
    MX_TUPLE,    /* ordered items */
    MX_SET,      /* braces */
    MX_LIST,     /* bare commas */
    MX_UNION,    /* of sets */
    MX_INTER,
    MX_MINUS,    /* a set without another */
    MX_MATRIX,   /* op rows, n entries */
    MX_REL,      /* a chain: n operands, s holds n-1 operator characters */
    MX_IN,       /* arg[0] in arg[1] */
    MX_OR,       /* relations joined by "or" */
    MX_TEXT,     /* words, normalised */
} rex_mx_kind;

enum {
    MXC_PI, MXC_E, MXC_I, MXC_INF, MXC_EMPTY, MXC_REALS, MXC_INTS, MXC_NATS, MXC_RATS, MXC_CPLX
};

/* Relation characters inside MX_REL.s: = < > l(<=) g(>=) n(!=) a(approximately) */

#define REX_MX_FNS(X)                                                                        \
    X(sqrt) X(cbrt) X(exp) X(log) X(ln) X(lg) X(abs) X(floor) X(ceiling) X(factorial)        \
    X(binomial) X(gcd) X(lcm) X(max) X(min) X(sin) X(cos) X(tan) X(sec) X(csc) X(cot)        \
    X(asin) X(acos) X(atan) X(asec) X(acsc) X(acot) X(sinh) X(cosh) X(tanh) X(sech) X(csch)  \
    X(coth) X(asinh) X(acosh) X(atanh) X(asech) X(acsch) X(acoth) X(re) X(im) X(conj) X(arg)
typedef enum {
#define X(n) MXF_##n,
    REX_MX_FNS(X)
#undef X
    MXF_COUNT
} rex_mx_fn;

typedef struct rex_mx rex_mx;
struct rex_mx {
    uint8_t kind, op;
    char lb, rb;
    uint32_t n;
    int32_t sig, exp10;
    rex_mx **arg;
    rex_str s;
    fmpq *q;
};

/* ---- context ----------------------------------------------------------------------------- */

enum {                 /* readings: a bit is set in `seen` when the text has such a place */
    REX_RD_LOG10 = 1,  /* \log is base 10 */
    REX_RD_RAD = 2,    /* degrees are multiplied by pi/180 */
    REX_RD_PRINC = 4,  /* odd roots of negatives are the principal, complex ones */
    REX_RD_SLASH = 8,  /* 1/2x is 1/(2x) */
    REX_RD_ALL = 15,
    REX_RD_MURKY = 16, /* seen only: sloppy text; never better than ambiguous */
};

typedef struct { /* a rational function num / den over the generators */
    fmpz_mpoly_struct n, d;
} rex_fe;

typedef enum { G_SYM, G_PI, G_I, G_PRIME, G_ZETA, G_LOGP, G_EXP, G_ROOT, G_ABS, G_FN } rex_gen_kind;

typedef struct {
    rex_gen_kind kind;
    uint32_t order;      /* of a root, of zeta; the denominator of an exponent */
    uint8_t fn;          /* G_FN */
    bool closed;         /* depends on no symbol */
    bool sure;           /* G_PRIME: the base is a proved prime */
    bool real;           /* closed and known to be real */
    rex_str name;        /* G_SYM */
    fmpz base;           /* G_PRIME, G_LOGP */
    rex_fe *arg, *arg2;  /* radicand, exponent, function arguments */
    slong prec;          /* of `val`; 0: not yet evaluated */
    acb_ptr val;         /* owned by the context */
} rex_gen;

typedef struct rex_own rex_own; /* one FLINT object to clear */

typedef struct {
    rex_arena *a;
    rex_err *e;
    rex_mx_fault fault;
    char why[80];        /* of a fault of syntax or limit */
    int reading;         /* bits REX_RD_ in force */
    int seen;            /* bits that could matter */
    int64_t steps;
    rex_own *own;
    uint32_t nodes, depth, trig;
    bool identity;       /* equal trees prove equality */
    bool rounded;        /* the rounding rule was used */
    bool radical;        /* under a root sign: odd roots of negatives are real */
    fmpz_mpoly_ctx_t mp;
    bool mp_open, again; /* again: an order grew; evaluate anew */
    rex_gen gen[REX_MX_GENS];
    int n_gen;
    uint32_t hint[REX_MX_GENS]; /* orders found by an earlier pass, by index */
    int trial;           /* which point the symbols stand at */
} rex_mctx;

typedef enum { REX_NE, REX_EQ, REX_UNK } rex_tri;

bool rex_mx_fail(rex_mctx *c, rex_mx_fault f, const char *why); /* always false; keeps the first */
bool rex_mx_step(rex_mctx *c, int64_t cost);
void *rex_mx_take(rex_mctx *c, size_t n, size_t size);
fmpq *rex_mx_q(rex_mctx *c); /* owned by the context, 0 */
acb_ptr rex_mx_acb(rex_mctx *c);
void rex_mctx_again(rex_mctx *c); /* forgets the generators, keeps their orders as hints */
void rex_mctx_init(rex_mctx *c, rex_arena *a, int reading, bool identity, rex_err *e);
void rex_mctx_done(rex_mctx *c);

/* A node of kind k with n children (or the ones given); a whole number. NULL after a fault. */
rex_mx *rex_mx_new(rex_mctx *c, rex_mx_kind k, uint32_t n);
rex_mx *rex_mx_new1(rex_mctx *c, rex_mx_kind k, rex_mx *a);
rex_mx *rex_mx_new2(rex_mctx *c, rex_mx_kind k, rex_mx *a, rex_mx *b);
rex_mx *rex_mx_int(rex_mctx *c, slong v);

/* ---- tokens (math_lex.c) ------------------------------------------------------------------- */

typedef enum {
    TK_END, TK_NUM, TK_ID, TK_FN, TK_CONST, TK_TEXT, TK_SEP, TK_OP, TK_REL, TK_OPEN, TK_CLOSE,
    TK_BAR, TK_FRAC, TK_SQRT, TK_BINOM, TK_CHOOSE, TK_BEGIN, TK_ENDENV, TK_AMP, TK_ROW, TK_PERCENT,
    TK_DEG, TK_CURR, TK_CUP, TK_CAP, TK_SETMINUS, TK_IN, TK_BANG, TK_PRIME, TK_SUB, TK_OVER,
    TK_DOTS,
} rex_tk_kind;

typedef struct {
    uint8_t kind;
    char op;      /* the operator, bracket or relation; a constant; a function */
    bool sp;      /* white space stands before it */
    bool tight;   /* a comma with no space behind it */
    bool cmd;     /* written as a command */
    rex_str s;
    int32_t at;
} rex_tk;

/* Brackets in `op`: ( ) [ ] { } group, S Z set braces, F G floor, C D ceiling, A B angle, V abs */
bool rex_mx_lex(rex_mctx *c, rex_str text, rex_tk **out, uint32_t *n, bool *latex);
/* The name of a function ("arcsin" too); MXF_COUNT if it is none. */
rex_mx_fn rex_mx_fn_find(rex_str s);
bool rex_mx_is_unit(rex_str s);

/* ---- parsing (math_parse.c, math_norm.c) --------------------------------------------------- */

/* A whole answer as a tree; NULL and a fault in `c` when it is no mathematics. */
rex_mx *rex_mx_parse(rex_mctx *c, rex_str text);
/* A literal: digits with separators, point, exponent, repeating part. */
rex_mx *rex_mx_number(rex_mctx *c, rex_str s);
/* Words: lower case, single spaces, no markup and no outer punctuation. NULL if nothing is left. */
rex_mx *rex_mx_text(rex_mctx *c, rex_str text);
/* The text if it is words, a clock time or choice letters, not mathematics; else NULL. */
rex_mx *rex_mx_words(rex_mctx *c, rex_str text);
bool rex_mx_is_prose(rex_str w); /* "there", "know": no part of an answer */
rex_mx *rex_mx_strip(rex_mx *x); /* without units, degrees and currency around it */
bool rex_mx_same(const rex_mx *a, const rex_mx *b); /* equal trees */
/* "3,14" as 3.14: one comma, not followed by a group of three. NULL if it is not of that form. */
rex_mx *rex_mx_decimal_comma(rex_mctx *c, rex_str text);

/* ---- scalars (math_field.c, math_gens.c, math_eval.c, math_ball.c) --------------------------- */

/* Elements of the field: 0, a rational, p / q. Owned by the context; NULL after a fault. */
rex_fe *rex_fe_new(rex_mctx *c);
rex_fe *rex_fe_q(rex_mctx *c, const fmpq *q);
rex_fe *rex_fe_si(rex_mctx *c, slong p, slong q);
rex_fe *rex_fe_gen(rex_mctx *c, int g, slong pow); /* generator to a power, negative too */
rex_fe *rex_fe_add(rex_mctx *c, const rex_fe *a, const rex_fe *b);
rex_fe *rex_fe_sub(rex_mctx *c, const rex_fe *a, const rex_fe *b);
rex_fe *rex_fe_mul(rex_mctx *c, const rex_fe *a, const rex_fe *b);
rex_fe *rex_fe_div(rex_mctx *c, const rex_fe *a, const rex_fe *b);
rex_fe *rex_fe_neg(rex_mctx *c, const rex_fe *a);
rex_fe *rex_fe_pow(rex_mctx *c, const rex_fe *a, slong n);
bool rex_fe_is_q(rex_mctx *c, const rex_fe *a, fmpq_t q);
bool rex_fe_closed(rex_mctx *c, const rex_fe *a);
bool rex_fe_uses(rex_mctx *c, const rex_fe *a, int g);
bool rex_poly_mul(rex_mctx *c, fmpz_mpoly_t r, const fmpz_mpoly_t a, const fmpz_mpoly_t b);
bool rex_poly_reduce(rex_mctx *c, fmpz_mpoly_t p); /* by the relations of the generators */
/* Is the polynomial zero as a function? Proved both ways; UNKNOWN otherwise. */
rex_tri rex_poly_zero(rex_mctx *c, const fmpz_mpoly_t p);
rex_tri rex_fe_equal(rex_mctx *c, const rex_fe *a, const rex_fe *b); /* EQ: a == b */
rex_tri rex_fe_zero(rex_mctx *c, const rex_fe *a);                   /* EQ: a == 0 */
/* Sign of a closed real: -1, 0, 1; 2 if unknown or not real. */
int rex_fe_sign(rex_mctx *c, const rex_fe *a);

int rex_gen_find(rex_mctx *c, const rex_gen *like); /* finds or adds; -1 after a fault */
rex_fe *rex_fe_sym(rex_mctx *c, rex_str name);
rex_fe *rex_fe_pi(rex_mctx *c);
rex_fe *rex_fe_i(rex_mctx *c);
rex_fe *rex_fe_root(rex_mctx *c, const rex_fe *a, ulong q);
rex_fe *rex_fe_exp(rex_mctx *c, const rex_fe *u);
rex_fe *rex_fe_log(rex_mctx *c, const rex_fe *u);
rex_fe *rex_fe_abs(rex_mctx *c, const rex_fe *u);
rex_fe *rex_fe_fn(rex_mctx *c, rex_mx_fn f, const rex_fe *a, const rex_fe *b); /* opaque */
bool rex_fe_real(rex_mctx *c, const rex_fe *a); /* made of real generators only */
rex_fe *rex_fe_conj(rex_mctx *c, const rex_fe *a); /* NULL without a fault: not known */

/* Value of a tree; the field grows as needed. NULL after a fault. */
rex_fe *rex_mx_eval(rex_mctx *c, const rex_mx *x);

/* Balls. `closed` polynomials; symbols stand at the values of c->trial. */
void rex_poly_ball(rex_mctx *c, acb_t r, const fmpz_mpoly_t p, slong prec);
void rex_fe_ball(rex_mctx *c, acb_t r, const rex_fe *a, slong prec);
/* A closed polynomial: separated from zero, or proved zero by a root bound or by logarithms. */
rex_tri rex_closed_zero(rex_mctx *c, const fmpz_mpoly_t p);
/* log2 bounds of |conjugates| of num and den, and the degree; false if not algebraic. */
bool rex_poly_bound(rex_mctx *c, const fmpz_mpoly_t p, double *u, double *l, double *deg);

/* ---- comparison (math_equal.c, math_sets.c) ------------------------------------------------- */

/* Scalars and all shapes. `a` is the gold. A fault is left in the context for the caller. */
rex_tri rex_mx_equal(rex_mctx *c, const rex_mx *a, const rex_mx *b);
rex_tri rex_mx_scalar(rex_mctx *c, const rex_mx *a, const rex_mx *b); /* with the rounding rule */
bool rex_mx_is_scalar(const rex_mx *x);
bool rex_mx_is_set(const rex_mx *x); /* interval, union, ... (a pair in round brackets, too) */
rex_tri rex_mx_sets(rex_mctx *c, const rex_mx *a, const rex_mx *b);
rex_tri rex_mx_rels(rex_mctx *c, const rex_mx *a, const rex_mx *b);

/* ---- extraction (math_extract.c) ------------------------------------------------------------ */

typedef struct {
    rex_str text;     /* the answer */
    rex_str list;     /* several boxes as one list, or empty */
    const char *step; /* "last box", "answer is", "last expression", "whole text" */
    const char *none; /* why nothing was found; NULL if something was */
} rex_found;

/* The last answer that a response gives; false and found->none when it gives none. */
bool rex_math_extract(rex_mctx *c, rex_str text, rex_found *out);

#endif
