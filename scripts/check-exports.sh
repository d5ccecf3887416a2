#!/bin/sh
# SPDX-License-Identifier: MIT
# The shared library exports only rex_* names, and exactly the REX_API functions of the header.
# Usage: scripts/check-exports.sh LIBRARY
set -eu
seen=$(nm -D --defined-only "$1" | awk '{ print $3 }' | grep -v '^_' | sort)
want=$(tr '\n' ' ' <include/repexp.h | grep -oE 'REX_API[^;{]*' | grep -v '^REX_API __attr' |
    grep -oE 'rex_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u)
bad=$(echo "$seen" | grep -v '^rex_' || true)
[ -z "$bad" ] || { echo "exported, but not rex_*: $bad"; exit 1; }
miss=$(echo "$want" | while read -r n; do echo "$seen" | grep -qx "$n" || echo "$n"; done)
[ -z "$miss" ] || { echo "in repexp.h, but not exported:" $miss; exit 1; }
echo "$(echo "$seen" | wc -l) names exported"
