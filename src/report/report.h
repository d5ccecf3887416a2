/* SPDX-License-Identifier: MIT
 *
 * report: run folders to one page, to figures, to TensorBoard event files. It reads run files and
 * never the structs of a live run, so a run of two years ago can be drawn again.
 */
#ifndef REX_REPORT_H
#define REX_REPORT_H

#include "../base/base.h"

/* One run folder's share of the page's data, as a JSON object written into `w`: name, facts, passk,
 * rules, bins, scenes, steps, samples, prompts, settings; what the folder does not have is left
 * out. `samples` bounds how many samples are embedded, `share` how many bytes their texts may take.
 */
REX_MUST rex_status rex_run_gather(const char *folder, int64_t samples, size_t share, rex_jw *w,
                                   rex_err *e);

/* The same data (a parsed page object) as gnuplot figures in a folder: for each figure a .dat with
 * the numbers, a .gp script, and .svg .png .pdf made from them. No gnuplot: REX_ECHILD saying so.
 */
REX_MUST rex_status rex_figures_write(const rex_jval *page, const char *folder, rex_err *e);

/* Two principal components of n rows of d numbers: xy (n, 2) and the share of the variance that
 * each explains. Signs are fixed by the largest coordinate being positive. Scratch from the arena.
 */
REX_MUST rex_status rex_plane(rex_arena *a, const double *row, size_t n, size_t d, double *xy,
                              double explained[2], rex_err *e);

/* A TensorBoard event file: scalars by step. Sticky status, told by close. */
typedef struct rex_events rex_events;
REX_MUST rex_status rex_events_open(const char *folder, double wall, rex_events **out, rex_err *e);
void rex_events_scalar(rex_events *v, const char *tag, int64_t step, double wall, double value);
REX_MUST rex_status rex_events_close(rex_events *v, rex_err *e);

#endif
