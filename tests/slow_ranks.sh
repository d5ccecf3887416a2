#!/bin/sh
# SPDX-License-Identifier: MIT
# Ranks on two hosts: network namespaces with names of their own, joined by a virtual cable. mpirun
# reaches the second one through a launch script instead of ssh. First a run to its end, whose bytes
# must be those of one process; then one whose cable is cut in mid-run. Needs root, ip and mpirun.
set -u
OUT=${OUT:-build}
skip() { echo "skipped: $1"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
[ "$(id -u)" = 0 ] || skip "ranks on two hosts need root"
command -v mpirun >/dev/null || skip "no mpirun"
command -v ip >/dev/null || skip "no ip"
[ -e "$OUT/librepexp-mpi.so" ] || skip "built without MPI"
tag=rex$$
dir=$(mktemp -d)
a=${tag}a b=${tag}b
clean() {
    for n in $a $b; do
        for p in $(ip netns pids $n 2>/dev/null); do kill -9 "$p" 2>/dev/null; done
        ip netns del $n 2>/dev/null
    done
    rm -rf "$dir"
}
trap clean EXIT
ip netns add $a 2>/dev/null || skip "no network namespaces here"
ip netns add $b
ip link add ${tag}x netns $a type veth peer name ${tag}y netns $b || skip "no virtual cables here"
for n in $a $b; do ip -n $n link set lo up; done
ip -n $a addr add 10.77.0.1/24 dev ${tag}x && ip -n $a link set ${tag}x up
ip -n $b addr add 10.77.0.2/24 dev ${tag}y && ip -n $b link set ${tag}y up

# mpirun itself notices a lost host only when TCP gives up what it has sent: a quarter of an hour by default.
for n in $a $b; do ip netns exec $n sysctl -qw net.ipv4.tcp_retries2=3; done

# What ssh would do: the first word is the host, the rest the command.
cat >"$dir/launch" <<END
#!/bin/sh
[ "\$1" = 10.77.0.2 ] || { echo "unknown host \$1" >&2; exit 1; }
shift
exec ip netns exec $b unshare --uts sh -c "hostname hostb; \$*"
END
chmod +x "$dir/launch"
python3 - "$dir/data.jsonl" <<'END'
import json, random, sys
rng = random.Random(1)
with open(sys.argv[1], "w") as f:
    for i in range(120):
        a, b = rng.randrange(10, 99), rng.randrange(10, 99)
        f.write(json.dumps({"prompt": f"{a}+{b}=", "response": str(a + b)}) + "\n")
END
recipe="sft --init tiny --build chars --layers 2 --width 32 --heads 2 --ffn 48 --context 32 --data $dir/data.jsonl
    --seqs 12 --lr 3e-3 --save-every 20 --keep 0 --exact --schedule constant"
bin=$(cd "$OUT" && pwd)/repexp
two() {
    ip netns exec $a unshare --uts sh -c "hostname hosta; exec timeout 120 mpirun --allow-run-as-root \
        --mca plm_rsh_agent $dir/launch --mca btl tcp,self --mca btl_tcp_if_include 10.77.0.0/24 \
        --mca oob_tcp_if_include 10.77.0.0/24 --mca oob_tcp_keepalive_time 3 \
        --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 3 \
        --host 10.77.0.1:1,10.77.0.2:1 -n 2 $*"
}
pass=0 fail=0
good() { pass=$((pass + 1)); }
bad() { fail=$((fail + 1)); echo "FAILED ranks on two hosts: $1"; tail -30 "$dir/log"; }

# shellcheck disable=SC2086
"$bin" $recipe --steps 60 --out "$dir/one" 2>"$dir/log" || bad "one process"
# shellcheck disable=SC2086
two $bin $recipe --steps 60 --out "$dir/two" >"$dir/log" 2>&1 || bad "two hosts"
for f in steps.jsonl checkpoints/step_60/model.safetensors checkpoints/step_60/state.safetensors; do
    if cmp "$dir/one/$f" "$dir/two/$f"; then good; else bad "$f differs"; fi
done

# shellcheck disable=SC2086
two $bin $recipe --steps 1000000 --deadline 3 --out "$dir/cut" >"$dir/log" 2>&1 &
job=$!
n=0
while [ ! -d "$dir/cut/checkpoints/step_40" ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n + 1)); done
ip -n $a link set ${tag}x down
start=$(date +%s)
wait $job
took=$(($(date +%s) - start))
if [ $took -le 60 ]; then good; else bad "the run went on for $took s without its cable"; fi
if grep -Eq 'rank 1 \(hostb, process [0-9]+\) has been silent for 3 s, in step [0-9]+' "$dir/log"; then good
else bad "no sentence about rank 1"; fi
sleep 5
left=$(pgrep -f "$dir/cut" | wc -l)
if [ "$left" = 0 ]; then good; else bad "$left processes are left behind"; fi
last=$(ls "$dir/cut/checkpoints" | sed -n 's/^step_\([0-9]*\)$/\1/p' | sort -n | tail -1)
# shellcheck disable=SC2086
"$bin" $recipe --steps $((last + 5)) --out "$dir/ref" 2>"$dir/log" || bad "reference"
if cmp "$dir/ref/checkpoints/step_$last/state.safetensors" "$dir/cut/checkpoints/step_$last/state.safetensors"
then good; else bad "the last checkpoint is not what it should be"; fi
echo "cut after $last steps; the run ended $took s later"
echo "$pass passed, $fail failed, 0 skipped"
[ $fail = 0 ]
