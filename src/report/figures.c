/* SPDX-License-Identifier: MIT
 *
 * figures.c: the page's figures for papers. Each figure is three things in the folder: NAME.dat
 * with the numbers (what was drawn, with its intervals), NAME.gp, a gnuplot script that draws it,
 * and NAME.svg, NAME.png, NAME.pdf, made by running the script. gnuplot is looked for in PATH;
 * nothing else is started.
 */
#include "report.h"

#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

typedef struct {
    const char *folder;
    rex_buf dat, gp;
    unsigned rows; /* of a legend below the plot, one a line; 0: it fits */
} figure;

/* A name as a label, in lines of at most `line` characters that end behind a slash: a rule with
 * many settings would leave no room for what it labels. */
static void put_name(rex_buf *b, rex_str s, size_t line) {
    size_t from = 0;
    rex_buf_add(b, "\"", 1);
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        rex_buf_add(b, c == '"' || c == '\\' || c == '\n' ? "'" : &c, 1);
        if (c != '/') continue;
        const char *const next = memchr(s.p + i + 1, '/', s.n - i - 1);
        const size_t end = next ? (size_t)(next - s.p) : s.n;
        if (end - from <= line) continue;
        rex_buf_add(b, "\\n", 2);
        from = i + 1;
    }
    rex_buf_add(b, "\"", 1);
}

static rex_str text_of(const rex_jval *v) {
    return v && v->kind == REX_J_STR ? v->u.s : rex_str_of("?");
}

static double num_of(const rex_jval *v) {
    double x = NAN;
    return v && v->kind == REX_J_NUM && rex_num_parse(v->u.s, &x) ? x : NAN;
}

static double at_of(const rex_jval *arr, uint32_t i) {
    return arr && arr->kind == REX_J_ARR && i < arr->n ? num_of(&arr->u.c.item[i]) : NAN;
}

/* `pt` of text, one line of NAME.gp that all figures share. */
static void begin(figure *f, const char *x, const char *y, bool log2) {
    rex_buf_reset(&f->dat);
    rex_buf_reset(&f->gp);
    f->rows = 0;
    rex_buf_addf(&f->gp,
                 "set encoding utf8\nset datafile missing 'nan'\nset grid lc rgb '#dddddd'\n"
                 "set border 3\nset tics nomirror\nset key outside bottom center horizontal\n"
                 "set xlabel '%s'\nset ylabel '%s'\n%s", x, y, log2 ? "set logscale x 2\n" : "");
}

static rex_status put_file(const char *folder, const char *name, const char *end, const rex_buf *b,
                           rex_err *e) {
    rex_buf path;
    rex_buf_init(&path, 0);
    rex_buf_addf(&path, "%s/%s%s", folder, name, end);
    rex_out *out = NULL;
    rex_status s = rex_buf_check(&path, e);
    if (s == REX_OK) s = rex_buf_check(b, e);
    if (s == REX_OK) s = rex_out_open(path.p, &out, e);
    if (s == REX_OK) {
        rex_out_add(out, b->p, b->n);
        s = rex_out_commit(out, e);
    }
    rex_buf_free(&path);
    return s;
}

static rex_status run_gnuplot(const char *folder, const char *name, rex_err *e) {
    rex_buf script;
    rex_buf_init(&script, 0);
    rex_buf_addf(&script, "cd '%s'; load '%s.gp'", folder, name);
    rex_status s = rex_buf_check(&script, e);
    if (s == REX_OK && strchr(folder, '\''))
        s = rex_fail(e, REX_EARG, -1, "figures: the folder's name must not hold a quote: %s",
                     folder);
    if (s == REX_OK) {
        char plot[] = "gnuplot", dash_e[] = "-e";
        char *const argv[] = { plot, dash_e, script.p, NULL };
        pid_t pid = 0;
        const int rc = posix_spawnp(&pid, "gnuplot", NULL, NULL, argv, environ);
        int state = 0;
        if (rc != 0)
            s = rex_fail(e, REX_ECHILD, -1, "figures need gnuplot, which cannot be started: %s",
                         strerror(rc));
        else if (waitpid(pid, &state, 0) < 0 || !WIFEXITED(state) || WEXITSTATUS(state) != 0)
            s = rex_fail(e, REX_ECHILD, -1, "gnuplot failed on %s/%s.gp", folder, name);
    }
    rex_buf_free(&script);
    return s;
}

/* The script's end: the same `plot` for three terminals. */
static rex_status finish(figure *f, const char *name, const char *plot, rex_err *e) {
    static const char *const term[3] = { "svg", "png", "pdf" };
    const unsigned n = f->rows;
    for (int i = 0; i < 3; i++) {
        rex_buf_addf(&f->gp, "set terminal ");
        if (i == 0) rex_buf_addf(&f->gp, "svg size 720,%u font 'sans,13'", 440 + 17 * n);
        if (i == 1) rex_buf_addf(&f->gp, "pngcairo size 1440,%u fontscale 1.8", 880 + 34 * n);
        if (i == 2)
            rex_buf_addf(&f->gp, "pdfcairo size %ucm,%.2fcm fontscale 0.7", n ? 20 : 16,
                         (n ? 12.5 : 10) + 0.45 * n);
        rex_buf_addf(&f->gp, "\nset output '%s.%s'\n%s\nunset output\n", name, term[i], plot);
    }
    REX_TRY(put_file(f->folder, name, ".dat", &f->dat, e));
    REX_TRY(put_file(f->folder, name, ".gp", &f->gp, e));
    return run_gnuplot(f->folder, name, e);
}

static rex_status draw_passk(figure *f, const rex_jval *runs, rex_err *e) {
    int drawn = 0;
    begin(f, "k", "pass@k", true);
    rex_buf_addf(&f->gp, "set yrange [0:1]\n");
    for (uint32_t r = 0; r < runs->n; r++) {
        const rex_jval *const p = rex_json_get(&runs->u.c.item[r], "passk");
        const rex_jval *const k = rex_json_get(p, "k");
        if (!k) continue;
        rex_buf_addf(&f->dat, "%s", drawn++ ? "\n\n" : "# k value low high, one block a run\n");
        put_name(&f->dat, text_of(rex_json_get(&runs->u.c.item[r], "name")), SIZE_MAX);
        rex_buf_addf(&f->dat, "\n");
        for (uint32_t i = 0; i < k->n; i++)
            rex_buf_addf(&f->dat, "%g %.9g %.9g %.9g\n", at_of(k, i),
                         at_of(rex_json_get(p, "value"), i), at_of(rex_json_get(p, "low"), i),
                         at_of(rex_json_get(p, "high"), i));
    }
    if (!drawn) return REX_OK;
    rex_buf_addf(&f->gp, "n = %d\n", drawn);
    return finish(
        f, "passk",
        "plot for [i=0:n-1] 'passk.dat' index i skip 1 using 1:3:4 with filledcurves fs "
        "transparent solid 0.15 lc i+1 notitle, for [i=0:n-1] 'passk.dat' index i using 1:2 "
        "with linespoints lw 2 pt 7 ps 0.5 lc i+1 title columnheader(1)",
        e);
}

static rex_status draw_rules(figure *f, const rex_jval *rules, const char *name, rex_err *e) {
    begin(f, "samples verified until the first correct one", "", false);
    rex_buf_addf(&f->gp,
                 "unset key\nset xrange [0:*]\nset yrange [-0.5:%u-0.5]\nset offsets 0,0,0,0\n",
                 (unsigned)rules->n);
    rex_buf_addf(&f->dat, "# place name value low high\n");
    for (uint32_t i = 0; i < rules->n; i++) {
        const rex_jval *const v =
            rex_json_get(rex_json_get(&rules->u.c.item[i], "s2c"), "solvable");
        rex_buf_addf(&f->dat, "%u ", (unsigned)(rules->n - 1 - i));
        put_name(&f->dat, text_of(rex_json_get(&rules->u.c.item[i], "name")), 30);
        rex_buf_addf(&f->dat, " %.9g %.9g %.9g\n", num_of(rex_json_get(v, "value")),
                     num_of(rex_json_get(v, "low")), num_of(rex_json_get(v, "high")));
    }
    rex_buf plot;
    rex_buf_init(&plot, 0);
    rex_buf_addf(&plot,
                 "plot '%s.dat' using 3:1:4:5:ytic(2) with xerrorbars lw 2 pt 7 lc rgb '#1f5fa8'",
                 name);
    rex_status s = rex_buf_check(&plot, e);
    if (s == REX_OK) s = finish(f, name, plot.p, e);
    rex_buf_free(&plot);
    return s;
}

/* Problems solved within a budget, one block a rule. */
static rex_status draw_budget(figure *f, const rex_jval *rules, const char *name, rex_err *e) {
    begin(f, "samples verified", "problems solved", true);
    f->rows = (unsigned)rules->n;
    rex_buf_addf(&f->gp, "set yrange [0:1]\nset key bmargin left horizontal maxcols 1 Left reverse "
                         "samplen 2 font ',10'\n");
    for (uint32_t i = 0; i < rules->n; i++) {
        const rex_jval *const pass = rex_json_get(&rules->u.c.item[i], "pass");
        rex_buf_addf(&f->dat, "%s", i ? "\n\n" : "# k value, one block a rule\n");
        put_name(&f->dat, text_of(rex_json_get(&rules->u.c.item[i], "name")), SIZE_MAX);
        rex_buf_addf(&f->dat, "\n");
        for (uint32_t k = 0; pass && pass->kind == REX_J_OBJ && k < pass->n; k++)
            rex_buf_addf(&f->dat, "%.*s %.9g\n", (int)pass->u.c.key[k].n, pass->u.c.key[k].p,
                         num_of(rex_json_get(&pass->u.c.item[k], "value")));
    }
    rex_buf plot;
    rex_buf_init(&plot, 0);
    rex_buf_addf(&plot,
                 "plot for [i=0:%u] '%s.dat' index i using 1:2 with linespoints lw 2 pt 7 ps 0.5 "
                 "lc i%%8+1 dt i/8+1 title columnheader(1)",
                 (unsigned)(rules->n - 1), name);
    rex_status s = rex_buf_check(&plot, e);
    if (s == REX_OK) s = finish(f, name, plot.p, e);
    rex_buf_free(&plot);
    return s;
}

static rex_status draw_run(figure *f, const rex_jval *run, uint32_t at, uint32_t n, rex_err *e) {
    const rex_jval *const rules = rex_json_get(run, "rules");
    if (!rules || rules->kind != REX_J_ARR || rules->n == 0) return REX_OK;
    char end[16] = "", name[40];
    if (n > 1) (void)snprintf(end, sizeof end, "_%u", (unsigned)at + 1);
    (void)snprintf(name, sizeof name, "samples_to_correct%s", end);
    REX_TRY(draw_rules(f, rules, name, e));
    (void)snprintf(name, sizeof name, "solved_by_budget%s", end);
    return draw_budget(f, rules, name, e);
}

rex_status rex_figures_write(const rex_jval *page, const char *folder, rex_err *e) {
    REX_TRY(rex_folder_make(folder, REX_FOLDER_ANY, e));
    figure f = { .folder = folder };
    rex_buf_init(&f.dat, 0);
    rex_buf_init(&f.gp, 0);
    const rex_jval *const runs = rex_json_get(page, "runs");
    rex_status s = draw_passk(&f, runs, e);
    for (uint32_t i = 0; i < runs->n && s == REX_OK; i++)
        s = draw_run(&f, &runs->u.c.item[i], i, runs->n, e);
    rex_buf_free(&f.dat);
    rex_buf_free(&f.gp);
    return s;
}
