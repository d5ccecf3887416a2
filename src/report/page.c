/* SPDX-License-Identifier: MIT
 *
 * page.c: run folders to one HTML page that needs no network. The page itself, its style and the
 * script that draws the figures, is page.html, which the build turns into bytes; this file puts the
 * runs' data into it. Nothing in the data can end the script element: every '<' is escaped.
 */
#include "report.h"

#include "page_html.h"

#include <string.h>
#include <time.h>

enum { PAGE_CAP = 20 << 20, TEXT_SHARE = 14 << 20 };

void rex_report_defaults(rex_report_opts *o) {
    memset(o, 0, sizeof *o);
    o->size = sizeof *o;
    o->samples = 2000;
    o->stamp = true;
}

static rex_status gather_all(const char *const *run, size_t n, const rex_report_opts *o, rex_buf *b,
                             rex_err *e) {
    rex_jw w;
    rex_jw_init(&w, b);
    rex_jw_obj(&w);
    rex_jw_key(&w, "title");
    rex_jw_cstr(&w, o->title ? o->title : n == 1 ? "A run of repexp" : "Runs of repexp");
    if (o->lead) {
        rex_jw_key(&w, "lead");
        rex_jw_cstr(&w, o->lead);
    }
    rex_jw_key(&w, "version");
    rex_jw_cstr(&w, rex_version());
    if (o->stamp) {
        char text[32];
        const time_t now = time(NULL);
        struct tm tm;
        if (gmtime_r(&now, &tm) && strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &tm)) {
            rex_jw_key(&w, "made");
            rex_jw_cstr(&w, text);
        }
    }
    rex_jw_key(&w, "runs");
    rex_jw_arr(&w);
    for (size_t i = 0; i < n; i++)
        REX_TRY(rex_run_gather(run[i], o->samples / (int64_t)n, TEXT_SHARE / n, &w, e));
    rex_jw_arr_end(&w);
    rex_jw_obj_end(&w);
    return rex_buf_check(b, e);
}

static void put_escaped(rex_out *out, const char *p, size_t n) {
    for (size_t from = 0; from < n;) {
        const char *const lt = memchr(p + from, '<', n - from);
        const size_t to = lt ? (size_t)(lt - p) : n;
        rex_out_add(out, p + from, to - from);
        if (lt) rex_out_add(out, "\\u003c", 6);
        from = to + 1;
    }
}

static rex_status write_page(const char *path, const rex_buf *data, rex_err *e) {
    static const char mark[] = "@DATA@";
    const char *const html = (const char *)rex_page_html;
    const size_t n = sizeof rex_page_html;
    const char *at = html;
    while ((at = memchr(at, '@', n - (size_t)(at - html))) &&
           memcmp(at, mark, sizeof mark - 1) != 0)
        at++;
    rex_assert(at);
    rex_out *out = NULL;
    REX_TRY(rex_out_open(path, &out, e));
    rex_out_add(out, html, (size_t)(at - html));
    put_escaped(out, data->p, data->n);
    const size_t rest = (size_t)(at - html) + sizeof mark - 1;
    rex_out_add(out, html + rest, n - rest);
    return rex_out_commit(out, e);
}

rex_status rex_report_page(const char *const *run, size_t n, const char *path,
                           const rex_report_opts *o, rex_err *e) {
    if (n == 0) return rex_fail(e, REX_EARG, -1, "a report needs at least one run folder");
    rex_buf data;
    rex_buf_init(&data, PAGE_CAP);
    rex_status s = gather_all(run, n, o, &data, e);
    if (s == REX_OK && path) s = write_page(path, &data, e);
    if (s == REX_OK && o->figures) {
        rex_arena *a = NULL;
        rex_jval *page = NULL;
        s = rex_arena_open(0, &a, e);
        if (s == REX_OK)
            s = rex_json_parse(a, (rex_str){data.p, data.n}, "the page's data", &page, e);
        if (s == REX_OK) s = rex_figures_write(page, o->figures, e);
        rex_arena_close(a);
    }
    rex_buf_free(&data);
    return s;
}
