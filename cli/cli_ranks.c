/* SPDX-License-Identifier: MIT
 *
 * cli_ranks: the program under mpirun. What has started it is read from the environment; MPI itself
 * comes from a plug-in that lies beside the program (or in ../lib), so that the program runs where
 * there is no MPI. Without it, or under a launcher that it cannot use, it refuses to run the same
 * thing several times.
 */
#include "cli.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLUGIN "librepexp-mpi.so"

static rex_dist *joined;

static int number(const char *name) {
    const char *const text = getenv(name);
    int64_t n = -1;
    if (!text || rex_jraw_i64(rex_str_of(text), &n, NULL) != REX_OK || n < 0 || n > 1 << 24)
        return -1;
    return (int)n;
}

int rex_cli_ranks(void) {
    int n = number("OMPI_COMM_WORLD_SIZE");
    if (n < 1) n = number("PMI_SIZE"); /* the launchers of MPICH and its relatives */
    return n < 1 ? 1 : n;
}

int rex_cli_rank(void) {
    int r = number("OMPI_COMM_WORLD_RANK");
    if (r < 0) r = number("PMI_RANK");
    return r < 0 ? 0 : r;
}

rex_status rex_cli_ranks_check(const rex_cmd *c, rex_err *e) {
    if (c->ranks || rex_cli_ranks() == 1) return REX_OK;
    return rex_fail(e, REX_EARG, -1,
                    "%s runs in one process, and mpirun has started %d that would all do the same; "
                    "only sft runs on several",
                    c->name, rex_cli_ranks());
}

/* Beside the program, or where `make install` puts it. */
static bool find_plugin(char out[4096]) {
    char self[4000];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0) return false;
    self[n] = 0;
    char *const slash = strrchr(self, '/');
    if (!slash) return false;
    *slash = 0;
    static const char *const below[] = { "", "/../lib" };
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        (void)snprintf(out, 4096, "%s%s/" PLUGIN, self, below[i]);
        if (access(out, R_OK) == 0) return true;
    }
    return false;
}

static void on_signal(int sig) {
    (void)sig;
    rex_cancel_request();
}

rex_status rex_cli_ranks_open(double deadline, rex_dist **out, rex_err *e) {
    char path[4096];
    *out = NULL;
    const int n = rex_cli_ranks();
    if (n == 1) return REX_OK;
    if (number("OMPI_COMM_WORLD_SIZE") < 1)
        return rex_fail(e, REX_EUNSUP, -1,
                        "a launcher that is not OpenMPI's has started %d processes; several ranks "
                        "need the mpirun of OpenMPI",
                        n);
    if (!find_plugin(path))
        return rex_fail(e, REX_EUNSUP, -1,
                        "mpirun has started %d processes, but this program was built without MPI: "
                        PLUGIN " is not beside it (install libopenmpi-dev and run make again)",
                        n);
    /* mpirun passes this one on: a stop without the haste of the others. */
    struct sigaction stop = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
    sigemptyset(&stop.sa_mask);
    (void)sigaction(SIGUSR1, &stop, NULL);
    if (rex_cli_rank() > 0) rex_cli_mute();
    REX_TRY(rex_dist_open(path, deadline, &joined, e));
    *out = joined;
    return REX_OK;
}

void rex_cli_ranks_close(void) {
    rex_dist_close(joined);
    joined = NULL;
}
