#!/bin/sh
# SPDX-License-Identifier: MIT
# Finds the libraries and prints make variables; the answer is kept in $(OUT)/config.mk.
# Usage: CC=gcc scripts/config.sh
set -u
CC=${CC:-gcc}
mods="yaml-0.1 libpcre2-8 libutf8proc gmp"
for m in $mods; do
    pkg-config --exists "$m" || {
        echo "missing library: $m (scripts/install-deps.sh installs what is missing)" >&2
        exit 1
    }
done
# Arb is a library of its own in Debian 12 and a part of FLINT from version 3 on.
links() { echo 'int main(void){return 0;}' | $CC -x c - -o /dev/null "$@" 2>/dev/null; }
arb=
for l in -lflint-arb -larb; do links $l && arb=$l && break; done
links -lflint || { echo "missing library: flint (scripts/install-deps.sh)" >&2; exit 1; }
echo "LIB_CFLAGS := $(pkg-config --cflags $mods)"
echo "LIBS := $(pkg-config --libs $mods) $arb -lflint -lgmp -lm -ldl -pthread"
