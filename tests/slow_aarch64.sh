#!/bin/sh
# SPDX-License-Identifier: MIT
# The law of numbers across processors: the program is compiled for AArch64 and run under qemu-user
# with the tables ref and neon; samples, log-probabilities, features, an order and the weights after
# three steps of training must be the bytes of the program of this machine. Needs the cross compiler
# of Debian (gcc-aarch64-linux-gnu), qemu-user and, once, Debian's arm64 packages of the libraries,
# which are unpacked below $OUT and not installed.
set -u
OUT=${OUT:-build} MAKE=${MAKE:-make}
top=$(pwd) root=$OUT/aarch64-root arm=$OUT/aarch64 triple=aarch64-linux-gnu
skip() {
    echo "skipped: $1"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
}
for tool in $triple-gcc qemu-aarch64 apt-get dpkg-deb; do
    command -v $tool >/dev/null || skip "no $tool"
done

if [ ! -f "$root/complete" ]; then
    rm -rf "$root"
    mkdir -p "$root/apt/lists/partial" "$root/apt/archives/partial" "$root/debs"
    : >"$root/apt/status"
    fetch="apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Debug::NoLocking=1
        -o Dir::State=$top/$root/apt -o Dir::State::status=$top/$root/apt/status -o Dir::Cache=$top/$root/apt"
    (
        cd "$root/debs" && $fetch update && $fetch download libyaml-dev libyaml-0-2 libpcre2-dev \
            libpcre2-8-0 libutf8proc-dev libutf8proc2 libgmp-dev libgmp10 libmpfr-dev libmpfr6 libflint-dev \
            libflint17 libflint-arb-dev libflint-arb2 libntl44 libgf2x3 libstdc++6
    ) >"$root/log" 2>&1 || skip "the arm64 libraries cannot be fetched: $(tail -1 "$root/log")"
    for d in "$root"/debs/*.deb; do dpkg-deb -x "$d" "$root" || exit 1; done
    rm -rf "$root/debs" "$root/apt"
    : >"$root/complete"
fi
lib=$top/$root/usr/lib/$triple
"$MAKE" --no-print-directory OUT="$OUT" "$OUT/repexp" || exit 1
"$MAKE" --no-print-directory OUT="$arm" AR=$triple-ar CC="$triple-gcc -isystem $top/$root/usr/include -isystem \
$top/$root/usr/include/$triple -L$lib -Wl,-rpath-link,$lib" "$arm/repexp" || exit 1

# Everything that a run writes, in a folder of its own, by relative names; prints its digest.
run() {
    dir=$OUT/aarch64-run/$1
    shift
    rm -rf "$dir"
    mkdir -p "$dir"
    (
        cd "$dir" || exit 1
        ln -s "$top/models/countdown4" model
        ln -s "$top/tests/golden/models" tiny
        i=0
        while [ $i -lt 6 ]; do
            echo "{\"prompt_id\":\"$i\",\"prompt_ids\":[$((3 + i)),40,7,$((9 * i + 1))]}"
            i=$((i + 1))
        done >ids.jsonl
        echo '{"prompt_id":"a","prompt":"5 4 11 1:10>"}' >text.jsonl
        i=10
        while [ $i -lt 60 ]; do
            echo "{\"prompt_id\":\"$i\",\"prompt\":\"$i+7=\",\"response\":\"$((i + 7))\"}"
            i=$((i + 1))
        done >data.jsonl
        "$@" generate --model model --prompts text.jsonl -n 8 --max-tokens 40 --seed 3 --out pool.jsonl \
            --features pool.npy --quiet || exit 1
        "$@" logprob --model model --pairs pool.jsonl --json --quiet >logp.jsonl || exit 1
        "$@" select --features pool.npy -k all --json --seed 1 --quiet >order.jsonl || exit 1
        for m in qwen2 qwen3 gemma3 phi3_long mistral llama3; do
            "$@" generate --model tiny/$m --prompts ids.jsonl -n 4 --max-tokens 12 --seed 5 --top-p 0.9 \
                --features $m.npy --out $m.jsonl --quiet || exit 1
        done
        "$@" generate --model tiny/qwen2 --prompts ids.jsonl -n 4 --max-tokens 12 --compute bf16 --kv bf16 \
            --out bf16.jsonl --quiet || exit 1
        for c in f32 bf16; do
            "$@" sft --init tiny --build chars --layers 2 --width 32 --heads 2 --ffn 48 --context 32 --data data.jsonl \
                --steps 3 --seqs 8 --lr 3e-3 --warmup 1 --compute $c --out sft_$c --quiet >/dev/null || exit 1
            mv sft_$c/steps.jsonl sft_$c.steps
            mv sft_$c/checkpoints/step_3/model.safetensors sft_$c.weights
        done
        sha256sum ./*.jsonl ./*.npy ./*.steps ./*.weights >digest
        sha256sum <digest
    ) | cut -c1-64
}

pass=0 fail=0
want=$(run native "$top/$OUT/repexp")
[ -n "$want" ] || { echo "the program of this machine failed"; fail=1; }
for table in ref neon; do
    got=$(run $table env REX_KERNEL=$table qemu-aarch64 -L /usr/$triple -E "LD_LIBRARY_PATH=$lib" "$top/$arm/repexp")
    echo "$table: ${got:-nothing}, this machine: $want"
    if [ -n "$got" ] && [ "$got" = "$want" ]; then pass=$((pass + 1)); else
        fail=$((fail + 1))
        diff "$OUT/aarch64-run/native/digest" "$OUT/aarch64-run/$table/digest"
    fi
done
echo "$pass passed, $fail failed, 0 skipped"
[ $fail = 0 ]
