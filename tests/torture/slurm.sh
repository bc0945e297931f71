#!/usr/bin/env bash
# A sweep of TRIALS short trials (1,000) as one job on a real Slurm cluster of four nodes: one node is killed, the
# controller twice, the batch script is signaled as before a time limit. Every trial finishes once, Slurm sees few jobs.
# Needs root. BUILD: the folder of the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
trials=${TRIALS:-1000}
# shellcheck source=tests/support/slurm.sh
. tests/support/slurm.sh
folder=$(mktemp -d /tmp/slurm-XXXXXX) || exit 1
trap 'slurm_down "$folder/cluster"; rm -rf "$folder"' EXIT
fail() {
    printf 'slurm.sh: %s\n' "$1"
    tail -n 20 "$folder/s.slurm.log"
    squeue
    sinfo
    exit 1
}
mkdir -p "$folder/bin" "$folder/model" "$folder/cluster"
cp "$BUILD/nightsweep" "$BUILD/nightsweep-worker" "$folder/bin" && cp "$BUILD/fake-trainer" "$folder/bin/nightsweep-trainer" || exit 1
for name in config.json tokenizer.json model.safetensors; do echo "$name" >"$folder/model/$name"; done
for name in train validation test; do echo '{"text":"a","label":0}' >"$folder/$name.jsonl"; done
printf '{"name":"s","seed":3,"model":"model","task":{"kind":"classification","train":"train.jsonl","validation":
    "validation.jsonl","test":"test.jsonl","text":"text","label":"label"},"parameters":{"rank":{"min":1,"max":%d,
    "type":"int"}},"search":{"algorithm":"grid"},"seeds":10,"settings":{"method":"lora","steps":6}}\n' $((trials / 10)) \
    >"$folder/s.json"
db=$folder/s.db
complete() { sqlite3 "$db" "SELECT count(*) FROM trial WHERE state = 'COMPLETE'" 2>/dev/null || echo 0; }
has_complete() { [ "$(complete)" -ge "$1" ]; }

is_restarted() { scontrol show job 1 -o | grep -q 'JobState=RUNNING .*Restarts=[1-9]'; }

slurm_up "$folder/cluster" 4 4 || fail 'the cluster does not start'
export FAKE_STEP_MS=5
"$folder/bin/nightsweep" slurm submit "$folder/s.json" --store "$db" --slots 4 -- --nodes=3-4 --ntasks-per-node=1 \
    --cpus-per-task=4 >/dev/null || fail 'sbatch refused the job'
slurm_await 60 has_complete $((trials / 10)) || fail 'nothing is trained'
slurm_lose_controller "$folder/cluster"
slurm_start_controller "$folder/cluster" || fail 'the controller does not come back'
slurm_await 120 has_complete $((trials / 5)) || fail 'nothing goes on after the controller was lost'
node=$(scontrol show hostnames "$(squeue -h -t R -o %N | head -1)" | tail -1)
slurm_lose_node "$folder/cluster" "$node"
slurm_await 120 has_complete $((trials / 3)) || fail 'nothing goes on after a node was lost'
scancel --batch --signal=TERM --name=nightsweep-s
slurm_await 120 is_restarted || fail 'the job does not run again after the signal'
slurm_lose_controller "$folder/cluster"
slurm_start_controller "$folder/cluster" || fail 'the controller does not come back a second time'
slurm_await 300 has_complete "$trials" || fail "$(complete) of $trials trials are complete"
jobs=$(scontrol show jobs -o | grep -c '^JobId=')
[ "$jobs" -le 10 ] || fail "Slurm saw $jobs jobs"
[ "$(sqlite3 "$db" 'SELECT count(*) FROM trial')" = "$trials" ] || fail 'there are trials too many'
[ "$(sqlite3 "$db" "SELECT count(*) FROM attempt WHERE state = 'COMPLETE'")" = "$trials" ] || fail 'a trial was finished twice'
[ "$(sqlite3 "$db" "SELECT count(*) FROM attempt WHERE state = 'FAILED'")" = 0 ] || fail 'the loss of a node counted as a failure'
printf 'slurm: %d trials on %d workers, %d interrupted or stopped attempts, %d job\n' "$trials" \
    "$(sqlite3 "$db" 'SELECT count(DISTINCT worker) FROM attempt')" \
    "$(sqlite3 "$db" "SELECT count(*) FROM attempt WHERE state IN ('INTERRUPTED', 'STOPPED')")" "$jobs"
