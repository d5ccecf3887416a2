/* SPDX-License-Identifier: MIT
 *
 * fuzz_file: the fuzzer's bytes as a file, for readers that map what they read.
 */
#ifndef REX_FUZZ_FILE_H
#define REX_FUZZ_FILE_H

#include "../src/base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* One file per process, written anew each time; its path. It has no name in a folder, so that a
 * process that dies leaves nothing behind. */
static inline const char *fuzz_file(const uint8_t *p, size_t n) {
    static char path[64];
    static int fd = -1;
    if (fd < 0) {
        snprintf(path, sizeof path, "/tmp/repexp-fuzz-XXXXXX");
        fd = mkstemp(path);
        if (fd < 0 || unlink(path) != 0) abort();
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (ftruncate(fd, 0) != 0 || pwrite(fd, p, n, 0) != (ssize_t)n) abort();
    return path;
}

#endif
