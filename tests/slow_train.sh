#!/bin/sh
# SPDX-License-Identifier: MIT
# Training at length: twenty kills (tests/cli/test_kill.py).
set -u
OUT=${OUT:-build}
REPEXP=$OUT/repexp REPEXP_KILLS=20 python3 -B tests/cli/test_kill.py
