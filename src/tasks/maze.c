/* SPDX-License-Identifier: MIT
 *
 * maze.c: find a way from S to E. A maze is made on an odd square: depth-first corridors on the odd
 * cells, then some of the inner walls between two cells opened, so that there are loops. A path is
 * judged by the published rule (methods B7.2): moves are the letters L R U D wherever they stand
 * in the answer, everything else is skipped, and the last place must be E.
 * Invariant: a problem that is handed out has a shortest path of at least three moves.
 */
#include "tasks.h"

#include <stdio.h>
#include <string.h>

enum { NEAREST = 3, PAIR_TRIES = 1000 };

static const char moves[] = "LRUD";
static const int row_step[] = { 0, 0, -1, 1 };
static const int col_step[] = { -1, 1, 0, 0 };

/* ---- a grid ---- */

typedef struct {
    const char *cell; /* rows x cols */
    int rows, cols;
    int start, goal; /* indices of S and E */
} grid;

/* Distance of every cell from `from` over free cells, -1 where there is none; `from_move` (may be
 * NULL) is the move that led there. Queue: rows * cols ints. */
static void walk(const grid *g, int from, int *dist, int *queue, char *from_move) {
    for (int i = 0; i < g->rows * g->cols; i++) dist[i] = -1;
    int n = 0;
    dist[from] = 0;
    queue[n++] = from;
    for (int k = 0; k < n; k++)
        for (int m = 0; m < 4; m++) {
            const int r = queue[k] / g->cols + row_step[m];
            const int c = queue[k] % g->cols + col_step[m];
            if (r < 0 || r >= g->rows || c < 0 || c >= g->cols) continue;
            const int at = r * g->cols + c;
            if (g->cell[at] == '*' || dist[at] >= 0) continue;
            dist[at] = dist[queue[k]] + 1;
            if (from_move) from_move[at] = moves[m];
            queue[n++] = at;
        }
}

/* ---- the generator ---- */

typedef struct {
    rex_key key;
    uint64_t no;
    uint32_t pos;
} dice;

static uint64_t roll(dice *d, uint64_t n) {
    return rex_rand_below(d->key, REX_STREAM_DATA, d->pos++, 0, d->no, n);
}

static double toss(dice *d) { return rex_rand_unit(d->key, REX_STREAM_DATA, d->pos++, 0, d->no); }

/* Corridors: from an odd cell on, always to a random neighbour two steps away that is still wall,
 * back where there is none. */
static void carve(dice *d, char *cell, int n, int *stack) {
    const int half = (n - 1) / 2;
    int top = 0;
    int at = (2 * (int)roll(d, (uint64_t)half) + 1) * n + 2 * (int)roll(d, (uint64_t)half) + 1;
    cell[at] = '.';
    stack[top++] = at;
    while (top) {
        int way[4];
        int ways = 0;
        at = stack[top - 1];
        for (int m = 0; m < 4; m++) {
            const int r = at / n + 2 * row_step[m];
            const int c = at % n + 2 * col_step[m];
            if (r > 0 && r < n && c > 0 && c < n && cell[r * n + c] == '*') way[ways++] = m;
        }
        if (!ways) {
            top--;
            continue;
        }
        const int m = way[roll(d, (uint64_t)ways)];
        cell[at + row_step[m] * n + col_step[m]] = '.';
        at += 2 * (row_step[m] * n + col_step[m]);
        cell[at] = '.';
        stack[top++] = at;
    }
}

/* Walls that stand between two cells side by side or one above the other. */
static void open_walls(dice *d, char *cell, int n, double share) {
    for (int r = 1; r < n - 1; r++)
        for (int c = 1; c < n - 1; c++)
            if ((r + c) % 2 == 1 && cell[r * n + c] == '*' && toss(d) < share)
                cell[r * n + c] = '.';
}

static bool place_ends(dice *d, grid *g, char *cell, int *dist, int *queue) {
    int n_free = 0;
    int *free_cell = queue + g->rows * g->cols; /* a second queue behind the first */
    for (int i = 0; i < g->rows * g->cols; i++)
        if (cell[i] == '.') free_cell[n_free++] = i;
    for (int k = 0; k < PAIR_TRIES; k++) {
        g->start = free_cell[roll(d, (uint64_t)n_free)];
        g->goal = free_cell[roll(d, (uint64_t)n_free)];
        walk(g, g->start, dist, queue, NULL);
        if (dist[g->goal] < NEAREST) continue;
        cell[g->start] = 'S';
        cell[g->goal] = 'E';
        return true;
    }
    return false;
}

static const char asks[] = "Below is a maze. S is the start, E is the goal, * is a wall and . is "
                           "free. Each move goes one cell: L "
                           "(left), R (right), U (up) or D (down); walls cannot be entered. Give "
                           "the moves that lead from S to E "
                           "between answer tags, for example <answer>RRDL</answer>.\n\n";

static rex_status maze_texts(const grid *g, rex_arena *a, rex_draft *d, rex_err *e) {
    rex_buf b;
    rex_jw w;
    rex_buf_init(&b, 0);
    rex_buf_add(&b, asks, sizeof asks - 1);
    for (int r = 0; r < g->rows; r++) {
        rex_buf_add(&b, g->cell + r * g->cols, (size_t)g->cols);
        if (r + 1 < g->rows) rex_buf_add(&b, "\n", 1);
    }
    rex_status s = rex_buf_check(&b, e);
    if (s == REX_OK && !d->prompt.p) s = rex_str_copy(a, (rex_str){ b.p, b.n }, &d->prompt, e);
    rex_buf_reset(&b);
    rex_jw_init(&w, &b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "grid");
    rex_jw_arr(&w);
    for (int r = 0; r < g->rows; r++)
        rex_jw_str(&w, (rex_str){ g->cell + r * g->cols, (size_t)g->cols });
    rex_jw_arr_end(&w);
    rex_jw_obj_end(&w);
    if (s == REX_OK) s = rex_buf_check(&b, e);
    if (s == REX_OK) s = rex_str_copy(a, (rex_str){ b.p, b.n }, &d->problem, e);
    rex_buf_free(&b);
    return s;
}

/* A shortest path in answer tags. False: there is none. */
static rex_status solve(const grid *g, rex_arena *a, rex_str *out, bool *found, rex_err *e) {
    const size_t n = (size_t)(g->rows * g->cols);
    int *dist = rex_arena_take(a, n, sizeof *dist, e);
    int *queue = rex_arena_take(a, n, sizeof *queue, e);
    char *from = rex_arena_take(a, n, 1, e);
    if (!dist || !queue || !from) return REX_ENOMEM;
    walk(g, g->start, dist, queue, from);
    *found = dist[g->goal] >= 0;
    if (!*found) return REX_OK;
    char *path = rex_arena_take(a, (size_t)dist[g->goal] + 1, 1, e);
    if (!path) return REX_ENOMEM;
    int at = g->goal;
    path[dist[at]] = 0;
    for (int k = dist[at]; k-- > 0;) {
        path[k] = from[at];
        const int m = (int)(strchr(moves, from[at]) - moves);
        at -= row_step[m] * g->cols + col_step[m];
    }
    return rex_str_fmt(a, out, e, "<answer>%s</answer>", path);
}

static rex_status open_maze(rex_task *t, rex_err *e) {
    if (t->opt.side % 2 == 0)
        return rex_fail(e, REX_EARG, -1, "maze: --side %lld is even, corridors need an odd number",
                        (long long)t->opt.side);
    return REX_OK;
}

static rex_status draw_maze(const rex_task *t, rex_key key, uint64_t no, bool solutions,
                            rex_arena *a, rex_draft *d, bool *ok, rex_err *e) {
    const int n = (int)t->opt.side;
    const size_t cells = (size_t)n * (size_t)n;
    dice dd = { key, no, 0 };
    char *cell = rex_arena_take(a, cells, 1, e);
    int *dist = rex_arena_take(a, cells, sizeof *dist, e);
    int *queue = rex_arena_take(a, 2 * cells, sizeof *queue, e);
    if (!cell || !dist || !queue) return REX_ENOMEM;
    memset(cell, '*', cells);
    carve(&dd, cell, n, queue);
    open_walls(&dd, cell, n, t->opt.open);
    grid g = { cell, n, n, 0, 0 };
    *ok = place_ends(&dd, &g, cell, dist, queue);
    if (!*ok) return REX_OK;
    REX_TRY(rex_str_fmt(a, &d->id, e, "maze/%d-%016llx", n,
                        (unsigned long long)rex_hash64(cell, cells)));
    REX_TRY(maze_texts(&g, a, d, e));
    if (solutions) {
        bool found;
        REX_TRY(solve(&g, a, &d->response, &found, e));
        rex_assert(found);
    }
    return REX_OK;
}

/* ---- reading a maze ---- */

static rex_status bad(rex_err *e, const char *what) {
    return rex_fail(e, REX_EFORMAT, -1, "the maze %s", what);
}

/* {"grid": ["****", ...]} into a packed grid in the arena. */
static rex_status read_grid(rex_arena *a, rex_str problem, grid *g, rex_err *e) {
    rex_jval *root;
    if (!problem.p) return bad(e, "is missing: {\"grid\": [\"****\", ...]}");
    REX_TRY(rex_json_parse(a, problem, "problem", &root, e));
    const rex_jval *rows = rex_json_get(root, "grid");
    if (!rows || rows->kind != REX_J_ARR || rows->n == 0 || rows->n > 1000)
        return bad(e, "needs \"grid\", a list of 1 to 1000 rows");
    *g = (grid){ NULL, (int)rows->n, 0, -1, -1 };
    char *cell = NULL;
    for (uint32_t r = 0; r < rows->n; r++) {
        const rex_jval *v = &rows->u.c.item[r];
        if (v->kind != REX_J_STR || v->u.s.n == 0 || v->u.s.n > 1000)
            return bad(e, "has a row that is no text of 1 to 1000 characters");
        if (!cell) {
            g->cols = (int)v->u.s.n;
            cell = rex_arena_take(a, (size_t)g->rows * v->u.s.n, 1, e);
            if (!cell) return REX_ENOMEM;
        }
        if ((int)v->u.s.n != g->cols) return bad(e, "has rows of different lengths");
        memcpy(cell + r * v->u.s.n, v->u.s.p, v->u.s.n);
    }
    for (int i = 0; i < g->rows * g->cols; i++) {
        int *end = cell[i] == 'S' ? &g->start : cell[i] == 'E' ? &g->goal : NULL;
        if (!end && cell[i] != '*' && cell[i] != '.')
            return bad(e, "has a character other than * . S E");
        if (end && *end >= 0) return bad(e, "has two starts or two goals");
        if (end) *end = i;
    }
    if (g->start < 0 || g->goal < 0) return bad(e, "has no start S or no goal E");
    g->cell = cell;
    return REX_OK;
}

static rex_status row_maze(const rex_task *t, const rex_jval *row, const char *where,
                           bool solutions, rex_arena *a, rex_draft *d, rex_err *e) {
    grid g;
    (void)t;
    const rex_jval *rows = rex_json_get(row, "grid");
    if (!d->problem.p && rows && rows->kind == REX_J_ARR) {
        rex_buf b;
        rex_jw w;
        rex_buf_init(&b, 0);
        rex_jw_init(&w, &b);
        rex_jw_obj(&w);
        rex_jw_key(&w, "grid");
        rex_jw_arr(&w);
        for (uint32_t i = 0; i < rows->n; i++) {
            const rex_jval *v = &rows->u.c.item[i];
            rex_jw_str(&w, v->kind == REX_J_STR ? v->u.s : (rex_str){ "", 0 });
        }
        rex_jw_arr_end(&w);
        rex_jw_obj_end(&w);
        rex_status s = rex_buf_check(&b, e);
        if (s == REX_OK) s = rex_str_copy(a, (rex_str){ b.p, b.n }, &d->problem, e);
        rex_buf_free(&b);
        REX_TRY(s);
    }
    const rex_status s = read_grid(a, d->problem, &g, e);
    if (s != REX_OK) return rex_fail_in(e, s, "%s", where);
    if (!d->verbatim) REX_TRY(maze_texts(&g, a, d, e));
    if (solutions && !d->response.p) {
        bool found;
        REX_TRY(solve(&g, a, &d->response, &found, e));
        if (!found)
            return rex_fail(e, REX_EFORMAT, -1, "%s: the maze has no way from S to E", where);
    }
    return REX_OK;
}

/* ---- the verdict ---- */

static size_t find(rex_str s, const char *what, size_t from) {
    const size_t n = strlen(what);
    for (size_t i = from; i + n <= s.n; i++)
        if (memcmp(s.p + i, what, n) == 0) return i;
    return SIZE_MAX;
}

/* Steps 1 and 2 of the rule. False: a box with nothing in it. */
static bool answer_part(rex_str s, rex_str *out) {
    const size_t open = rex_find_last(s, "<answer>");
    if (open != SIZE_MAX && find(s, "</answer>", 0) != SIZE_MAX) {
        const size_t from = open + 8;
        const size_t close = find(s, "</answer>", from);
        s = (rex_str){ s.p + from, (close == SIZE_MAX ? s.n : close) - from };
    }
    const size_t box = rex_find_last(s, "boxed");
    *out = s;
    if (box == SIZE_MAX) return true;
    s = (rex_str){ s.p + box + 5, s.n - box - 5 };
    if (s.n == 0) return false;
    if (s.p[0] == '{') {
        int depth = 0;
        size_t i = 0;
        for (; i < s.n; i++) {
            depth += s.p[i] == '{' ? 1 : s.p[i] == '}' ? -1 : 0;
            if (depth == 0) break;
        }
        *out = (rex_str){ s.p + 1, i - 1 };
    } else {
        const char *stop = memchr(s.p, '$', s.n);
        *out = (rex_str){ s.p, stop ? (size_t)(stop - s.p) : s.n };
    }
    return rex_trim(*out).n > 0;
}

static rex_status verify_maze(const rex_task *t, const rex_claim *c, rex_arena *a, rex_judged *out,
                              rex_err *e) {
    grid g;
    rex_str part;
    rex_err why;
    (void)t;
    const rex_status s = read_grid(a, c->problem, &g, &why);
    if (s == REX_ENOMEM) return s;
    if (s != REX_OK) return rex_judge(a, out, e, REX_VERDICT_ambiguous, "gold: %s", why.text);
    if (!answer_part(c->response, &part))
        return rex_judge(a, out, e, REX_VERDICT_unparsed, "the box is empty");
    char *path = rex_arena_take(a, part.n + 1, 1, e);
    if (!path) return REX_ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i < part.n; i++) {
        const char up = part.p[i] >= 'a' && part.p[i] <= 'z' ? (char)(part.p[i] - 32) : part.p[i];
        if (up && strchr(moves, up)) path[n++] = up;
    }
    path[n] = 0;
    if (n == 0) return rex_judge(a, out, e, REX_VERDICT_unparsed, "there is no move in the answer");
    out->extracted = (rex_str){ path, n };
    int r = g.start / g.cols;
    int col = g.start % g.cols;
    for (size_t i = 0; i < n; i++) {
        const int m = (int)(strchr(moves, path[i]) - moves);
        r += row_step[m];
        col += col_step[m];
        if (r < 0 || r >= g.rows || col < 0 || col >= g.cols)
            return rex_judge(a, out, e, REX_VERDICT_wrong, "move %zu, %c, leaves the maze", i + 1,
                             path[i]);
        if (g.cell[r * g.cols + col] == '*')
            return rex_judge(a, out, e, REX_VERDICT_wrong, "move %zu, %c, runs into a wall", i + 1,
                             path[i]);
    }
    if (r * g.cols + col == g.goal)
        return rex_judge(a, out, e, REX_VERDICT_correct, "%zu moves end on E", n);
    return rex_judge(a, out, e, REX_VERDICT_wrong,
                     "the %zu moves end at row %d, column %d, not on E", n, r, col);
}

const rex_task_kind rex_task_kind_maze = {
    .info = { "maze", "a way through a maze, in moves L R U D", "grid", true, true },
    .chat = true,
    .open = open_maze,
    .draw = draw_maze,
    .row = row_maze,
    .verify = verify_maze,
};
