#!/bin/sh
# SPDX-License-Identifier: MIT
# The public header stands alone under C99, C11 and C++17, with warnings as errors.
set -eu
w="-Wall -Wextra -Wpedantic -Werror -fsyntax-only"
for std in c99 c11; do
    echo '#include "include/repexp.h"
int main(void) { return 0; }' | ${CC:-gcc} -std=$std $w -I. -x c -
done
echo '#include "include/repexp.h"
int main() { return 0; }' | ${CXX:-g++} -std=c++17 $w -I. -x c++ -
