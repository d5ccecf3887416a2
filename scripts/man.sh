#!/bin/sh
# SPDX-License-Identifier: MIT
# Man pages from the option lists. Usage: scripts/man.sh PROGRAM FOLDER
set -eu
mkdir -p "$2"
"$1" man >"$2/repexp.1"
for page in $("$1" man --list); do "$1" man "$page" >"$2/repexp-$page.1"; done
