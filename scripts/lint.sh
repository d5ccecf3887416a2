#!/bin/sh
# SPDX-License-Identifier: MIT
# The rules of the house that a script can check. Prints each breach as file:line: sentence; exit 1
# if there is any. Needs sh, awk, grep and git (or find) only; takes about a second.
# Usage: scripts/lint.sh [full]   Without "full", what a half-built room cannot keep is left out:
# widths, lengths, contracts, a test for every room, a fuzz target for every parser.
set -u
full=${1:-}
export LC_ALL=C
cd "$(dirname "$0")/.." || exit 1
bad=$(mktemp)
trap 'rm -f "$bad"' EXIT
say() { echo "$*" >>"$bad"; }

if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    files=$(git ls-files --cached --others --exclude-standard | while read -r f; do
        [ -f "$f" ] && echo "$f"; done)
else
    files=$(find . -type f -not -path './build*' -not -path './.git/*' | sed 's|^\./||')
fi
pick() { echo "$files" | grep -E "$1"; }
code=$(pick '^(include|src|cli|tests|fuzz|bench|examples)/.*\.[ch]$')
own=$(echo "$code" | grep -E '^(include|src|cli)/')
scripts=$(pick '^(scripts|tests)/.*\.(sh|py)$')

# ---- text: tabs, trailing blanks, ASCII, width, licence line ---------------------------------
# shellcheck disable=SC2086
awk -v full="$full" '
    FNR == 1 { if (last != "" && !seen) print last ":1: no SPDX line"; last = FILENAME; seen = 0 }
    FNR <= 3 && /SPDX-License-Identifier: MIT/ { seen = 1 }
    /\t/ { print FILENAME ":" FNR ": a tab" }
    /[ \t]$/ { print FILENAME ":" FNR ": blanks at the end of the line" }
    /[^ -~\t]/ { print FILENAME ":" FNR ": a character that is not ASCII" }
    FNR == 1 { wide = FILENAME ~ /\.[ch]$/ ? 100 : 145 }
    full && length($0) > wide {
        print FILENAME ":" FNR ": " length($0) " columns, at most " wide }
    /^#[ ]*if 0/ { print FILENAME ":" FNR ": #if 0" }
    /(TODO|FIXME|(^|[^X])XXX([^X]|$))/ && FILENAME !~ /lint\.sh$/ {
        print FILENAME ":" FNR ": unfinished work in a comment" }
    END { if (!seen) print last ":1: no SPDX line" }
' $code $scripts >>"$bad"

if [ "$full" ]; then
# ---- length of files and functions -----------------------------------------------------------
# shellcheck disable=SC2086
wc -l $own | awk '$2 != "total" {
    max = $2 ~ /^include\// ? 1200 : $2 ~ /\.h$/ ? 300 : 900
    if ($1 > max) print $2 ":1: " $1 " lines, at most " max }' >>"$bad"
# A function runs from a line that ends in "{" in column one (or a signature that does) to "}" in
# column one; tables (a "=" before the brace) and types are no functions.
# shellcheck disable=SC2086
awk '
    FNR == 1 { open = 0; head = "" }
    /^[a-zA-Z_]/ && !/;$/ { head = $0; at = FNR }
    /^[^ \t#\/}].*\{$/ || (/^[ \t].*\) \{$/ && head != "" && !open) {
        if (!open && head !~ /=/ && head ~ /\(/ &&
            head !~ /^(static )?(const )?(typedef|struct|enum|union)/) {
            open = 1; from = at }
    }
    /^\}/ {
        n = FNR - from + 1
        if (open && n > 80) print FILENAME ":" from ": a function of " n " lines, at most 80"
        open = 0; head = "" }
' $own >>"$bad"

fi
# ---- forbidden names -------------------------------------------------------------------------
# Name by name, the files of src/ and cli/ that may use it.
# shellcheck disable=SC2086
awk '
    BEGIN {
        n = split("strcpy strcat strncpy gets strtok atoi atof atol rand srand random time exit " \
                  "alloca setjmp longjmp system", never, " ")
        for (i = 1; i <= n; i++) allow[never[i]] = "-"
        n = split("malloc calloc realloc free", mem, " ")
        for (i = 1; i <= n; i++) allow[mem[i]] = "^src/base/mem\\.c$"
        allow["posix_memalign"] = "^src/base/mem\\.c$"
        allow["abort"] = "^src/base/err\\.c$"
        allow["time"] = "^src/report/page\\.c$" # the date in a page\047s foot
        allow["printf"] = "-"
        allow["fprintf"] = "^(src/base/err\\.c|cli/.*)$"
        allow["sprintf"] = "-"
        allow["getenv"] = "^(cli/.*|src/kernels/kern\\.c)$"
        allow["fork"] = "^src/tasks/"
        n = split("mkdir flock", files, " ")
        for (i = 1; i <= n; i++) allow[files[i]] = "^src/base/io\\.c$"
        allow["setlocale"] = "-"
        n = split("exp log pow sin cos tan tanh expm1 log1p lgamma tgamma erf exp2 log2 log10 " \
                  "cbrt hypot expf logf powf sinf cosf tanhf exp2f log2f", libm, " ")
        for (i = 1; i <= n; i++) allow[libm[i]] = "-"
        for (name in allow) if (allow[name] == "-") allow[name] = "^$"
    }
    FNR == 1 { comment = 0 }
    {
        line = $0
        gsub(/\\"/, "", line); gsub(/"[^"]*"/, "\"\"", line)
        gsub(/\/\*.*\*\//, "", line); sub(/\/\/.*/, "", line)
        if (comment) { if (line ~ /\*\//) { sub(/^.*\*\//, "", line); comment = 0 } else next }
        if (line ~ /\/\*/) { sub(/\/\*.*/, "", line); comment = 1 }
        rest = line
        while (match(rest, /[A-Za-z_][A-Za-z_0-9]*\(/)) {
            name = substr(rest, RSTART, RLENGTH - 1)
            before = RSTART > 1 ? substr(rest, RSTART - 1, 1) : ""
            if (name in allow && before != "." && before != ">" && FILENAME !~ allow[name])
                print FILENAME ":" FNR ": " name "() is not for this file"
            rest = substr(rest, RSTART + RLENGTH)
        }
    }
' $own >>"$bad"

# ---- include directions ----------------------------------------------------------------------
# A room includes itself, base, flow.h, repexp.h, and the rooms that layers.txt names for it; cli
# only repexp.h, cli.h and base.
# shellcheck disable=SC2086
awk '
    FILENAME == "scripts/layers.txt" {
        if ($0 ~ /^#/ || $0 !~ /:/) next
        room = $1; sub(/:$/, "", room); known[room] = 1
        for (i = 2; i <= NF; i++) may[room, $i] = 1
        next
    }
    FNR == 1 {
        n = split(FILENAME, part, "/")
        room = part[1] == "src" ? (n > 2 ? part[2] : "flow") : part[1]
        if (part[1] == "src" && n > 2 && !(room in known))
            print FILENAME ":1: the room " room " is not in scripts/layers.txt"
    }
    /^#[ ]*include[ ]*"/ {
        to = $0; sub(/^[^"]*"/, "", to); sub(/".*/, "", to)
        k = split(to, p, "/")
        target = room
        for (i = 1; i < k; i++) if (p[i] != ".." && p[i] != "." && p[i] != "src") target = p[i]
        if (to ~ /(^|\/)flow\.h$/ || target == "include" || target == "base" || target == room) next
        if (room == "include") { print FILENAME ":" FNR ": the public header includes " to; next }
        if (!((room, target) in may))
            print FILENAME ":" FNR ": " room " may not include " target
    }
' scripts/layers.txt $own >>"$bad"

if [ "$full" ]; then
# ---- contracts -------------------------------------------------------------------------------
# A function declared in a header has a comment above it, or stands in a block of declarations
# that begins with one, or carries one at its end.
# shellcheck disable=SC2086,SC2046
awk '
    FNR == 1 { told = 0; inside = 0; depth = 0 }
    /\/\*/ { if ($0 !~ /----/) told = 1 }
    /\/\*/ && !/\*\// { inside = 1 }
    inside { if (/\*\//) inside = 0; next }
    /^[ \t]*$/ { told = 0; next }
    /^#/ { next }
    { depth += gsub(/\{/, "{"); d = gsub(/\}/, "}"); depth -= d }
    depth == 0 && /^[A-Za-z_].*[ *]rex_[a-z0-9_]+\(/ && !/^typedef/ && !told {
        print FILENAME ":" FNR ": a function without its contract above it" }
' $(echo "$own" | grep '\.h$') >>"$bad"

# ---- what every room brings ------------------------------------------------------------------
for room in $(echo "$own" | sed -n 's|^src/\([a-z0-9]*\)/.*\.c$|\1|p' | sort -u); do
    # shellcheck disable=SC2046
    grep -l "src/$room/" $(pick '^tests/(test|prop)_.*\.c$') >/dev/null ||
        pick "^tests/(test|prop)_$room(_[a-z0-9_]*)?\.c$" >/dev/null ||
        say "src/$room:1: a room without a test (tests/test_$room.c)"
done
for f in $(pick '^fuzz/fuzz_.*\.c$'); do
    name=$(basename "$f" .c)
    pick "^fuzz/corpus/${name#fuzz_}/" >/dev/null || say "$f:1: a fuzz target without a seed corpus"
done
while read -r parser targets; do
    case $parser in '' | '#'*) continue ;; esac
    [ -e "$parser" ] || continue
    for t in $targets; do
        [ -e "fuzz/fuzz_$t.c" ] || say "$parser:1: a parser without its fuzz target fuzz/fuzz_$t.c"
    done
done <scripts/parsers.txt
if [ -e src/kernels/kern.h ] && [ -e bench/bench_kern.c ]; then
    for op in $(sed -n 's/^    X([a-z_0-9]*, \([a-z_0-9]*\),.*/\1/p' src/kernels/kern.h); do
        grep -q "$op" bench/bench_kern.c ||
            say "src/kernels/kern.h:1: $op has no line in bench/bench_kern.c"
    done
fi
fi
dup=$(echo "$own" | sed 's|.*/||' | sort | uniq -d)
[ -z "$dup" ] || say "src:1: a file name that occurs twice: $dup"

if [ -s "$bad" ]; then
    sort -u "$bad"
    echo "lint: $(sort -u "$bad" | wc -l) breaches"
    exit 1
fi
echo "lint: $(echo "$code" | wc -l) files are clean"
