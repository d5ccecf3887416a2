/* SPDX-License-Identifier: MIT
 *
 * cmd_report.c: run folders (or pool files) to one page, and to figure files for papers.
 */
#include "cli.h"

#include <string.h>
#include <sys/stat.h>

#define REPORT_OPTS(X)                                                                      \
    REX_CLI_COMMON(X)                                                                       \
    X(STR, out, "", 0, 0, "FILE", "the page; default: report.html in the first run's folder") \
    X(STR, title, "", 0, 0, "TEXT", "the page's title")                                     \
    X(I64, samples, "2000", 0, 2000, "N", "samples embedded for reading, at most")          \
    X(STR, figures, "", 0, 0, "DIR",                                                        \
      "also the figures as SVG, PNG and PDF, with data and script (gnuplot)")               \
    X(BOOL, stamp, "true", 0, 0, "", "the date in the page's foot")

REX_OPT_STRUCT(report_opts, REPORT_OPTS);
#define REX_OPT_TYPE report_opts
static const rex_opt options[] = { REPORT_OPTS(REX_OPT_ROW) };
#undef REX_OPT_TYPE

static rex_status run(const void *given, int n_pos, char **pos, rex_err *e) {
    const report_opts *const o = given;
    if (n_pos == 0) return rex_fail(e, REX_EARG, -1, "report needs a run folder, or several");
    rex_report_opts r;
    rex_report_defaults(&r);
    r.title = o->title;
    r.samples = o->samples;
    r.figures = o->figures;
    r.stamp = o->stamp;
    rex_buf path, line;
    struct stat sb;
    rex_buf_init(&path, 0);
    rex_buf_init(&line, 0);
    if (o->out) rex_buf_addf(&path, "%s", o->out);
    else if (stat(pos[0], &sb) == 0 && !S_ISDIR(sb.st_mode)) rex_buf_addf(&path, "%s.html", pos[0]);
    else rex_buf_addf(&path, "%s/report.html", pos[0]);
    rex_status s = rex_buf_check(&path, e);
    if (s == REX_OK) s = rex_report_page((const char *const *)pos, (size_t)n_pos, path.p, &r, e);
    if (s == REX_OK) {
        if (o->json) {
            rex_jw w;
            rex_jw_init(&w, &line);
            rex_jw_obj(&w);
            rex_jw_key(&w, "page");
            rex_jw_cstr(&w, path.p);
            if (o->figures) {
                rex_jw_key(&w, "figures");
                rex_jw_cstr(&w, o->figures);
            }
            rex_jw_obj_end(&w);
            rex_buf_addf(&line, "\n");
        } else {
            rex_buf_addf(&line, "%s\n", path.p);
        }
        s = rex_cli_print(&line, e);
    }
    rex_buf_free(&path);
    rex_buf_free(&line);
    return s;
}

const rex_cmd rex_cmd_report = {
    .name = "report",
    .summary = "run folders to one self-contained HTML page",
    .usage = "RUN [RUN ...] [--out page.html] [--figures DIR]",
    .text =
        "Draws what a run folder holds: pass@k with its bands, samples-to-correct by order and by "
        "difficulty, the feature space of some problems with the picks numbered, training curves, "
        "and the samples themselves, searchable. A pool file may stand for a folder. The page "
        "fetches nothing. At most 2,000 samples are embedded; it names the pool for the rest.",
    .opt = options,
    .n_opt = sizeof options / sizeof *options,
    .opt_bytes = sizeof(report_opts),
    .run = run,
};
