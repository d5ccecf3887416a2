#!/bin/sh
# SPDX-License-Identifier: MIT
# embed.sh FILE NAME: the bytes of FILE as a C array `rex_NAME` on stdout.
set -eu
printf '/* Made from %s by scripts/embed.sh. */\nstatic const unsigned char rex_%s[] = {\n' "$(basename "$1")" "$2"
od -An -v -tx1 "$1" | sed 's/\([0-9a-f][0-9a-f]\)/0x\1,/g'
printf '};\n'
