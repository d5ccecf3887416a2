/* SPDX-License-Identifier: MIT
 *
 * replay: runs a fuzz target over its seed corpus without libFuzzer, so that every input that once
 * mattered is tried in each run of the tests. Every input is given whole, cut off at places
 * spread over its length, and with single bits turned over (by a fixed pattern): a few thousand
 * runs per target in a second or two.
 *
 * Without arguments the corpus is fuzz/corpus/NAME for the program fuzz_NAME; arguments name
 * files instead. The last line is "N passed, N failed, N skipped"; a crash ends the program.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CUTS 24
#define FLIPS 96

/* The exact size from malloc, so that a sanitizer sees a read of one byte too many. */
static void once(const uint8_t *data, size_t size) {
    uint8_t *const copy = malloc(size ? size : 1);
    if (!copy) exit(1);
    if (size) memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static int replay(const char *path) {
    FILE *const f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "%s: cannot open\n", path);
        return 1;
    }
    static uint8_t data[1 << 20];
    const size_t n = fread(data, 1, sizeof data, f);
    fclose(f);
    once(data, n);
    for (size_t i = 0; i < CUTS && n > 0; i++) once(data, n * i / CUTS);
    uint32_t at = 2463534242u;
    for (size_t i = 0; i < FLIPS && n > 0; i++) {
        at ^= at << 13;
        at ^= at >> 17;
        at ^= at << 5;
        const uint8_t bit = (uint8_t)(1u << (at >> 29));
        data[at % n] ^= bit;
        once(data, n);
        if (i % 4 != 3) data[at % n] ^= bit; /* every fourth stays: damage adds up */
    }
    return 0;
}

int main(int argc, char **argv) {
    int ran = 0, failed = 0;
    for (int i = 1; i < argc; i++, ran++) failed += replay(argv[i]);
    if (argc == 1) {
        const char *const name = strstr(argv[0], "fuzz_");
        const char *last = name;
        for (const char *p = name; p; p = strstr(p + 1, "fuzz_")) last = p;
        char dir[512];
        snprintf(dir, sizeof dir, "fuzz/corpus/%s", last ? last + 5 : "");
        DIR *const d = opendir(dir);
        if (!d) fprintf(stderr, "%s: no corpus\n", dir);
        for (const struct dirent *x; d && (x = readdir(d));) {
            char path[1024];
            if (x->d_name[0] == '.') continue;
            snprintf(path, sizeof path, "%s/%s", dir, x->d_name);
            failed += replay(path);
            ran++;
        }
        if (d) closedir(d);
    }
    if (ran == 0) failed = 1;
    printf("%d passed, %d failed, 0 skipped\n", ran - failed > 0 ? ran - failed : 0, failed);
    return failed != 0;
}
