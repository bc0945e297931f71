#!/usr/bin/env bash
# A sweep of TRIALS (1,000) short trials as one Slurm job on four nodes, while a step is ended, a node is lost and the controller
# is killed twice; then a job that is told that its time is up, and one whose first node is lost. Every trial finishes once, and
# what Slurm takes away is no trial's fault. BUILD: the folder of the programs. Needs root and Slurm (cluster.sh says which
# packages).
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
trials=${TRIALS:-1000}
folder=$(mktemp -d) || exit 1
# shellcheck source=tests/support/fake_programs.sh
. tests/support/fake_programs.sh
cluster=$PWD/tests/cluster/cluster.sh
trap '"$cluster" down "$folder/cluster"; [ -n "${KEEP:-}" ] || rm -rf "$folder"' EXIT
export SLURM_CONF=$folder/cluster/slurm.conf
fail() {
    printf 'slurm.sh: %s: %s\n' "$case_name" "$1"
    tail -n 20 "$folder"/*.slurm.log 2>/dev/null
    squeue 2>/dev/null
    exit 1
}
sql() { sqlite3 "$db" "$1" 2>/dev/null; }
await() { # seconds, query, answer
    local left
    for ((left = 5 * $1; left > 0; left--)); do
        [ "$(sql "$2")" = "$3" ] && return 0
        sleep 0.2
    done
    fail "'$2' gives '$(sql "$2")' after $1 s, expected '$3'"
}
expect() { # query, answer
    [ "$(sql "$1")" = "$2" ] || fail "'$1' gives '$(sql "$1")', expected '$2'"
}
begin() { # name, ranks, seeds
    local i values=
    case_name=$1
    db=$folder/$1.db
    for ((i = 1; i <= $2; i++)); do values=$values,$i; done
    printf '{"name":"%s","seed":3,"model":"model","task":{"kind":"classification","train":"train.jsonl",' "$1" >"$folder/$1.json"
    printf '"validation":"validation.jsonl","test":"test.jsonl","text":"text","label":"label"},"parameters":{"rank":' >>"$folder/$1.json"
    printf '{"values":[%s]}},"seeds":%d,"settings":{"method":"lora","steps":%d},"resources":{"retries":0}}\n' \
        "${values#,}" "$3" "${4:-4}" >>"$folder/$1.json"
}
submit() { # options behind --
    "$bin/nightsweep" slurm submit "$folder/$case_name.json" --store "$db" --slots 4 -- "$@" >"$folder/submitted" ||
        fail "not submitted"
    job=$(grep -oE '[0-9]+$' "$folder/submitted")
}
await_job() { # seconds: until the job is over
    local left n_over=0
    for ((left = 5 * $1; left > 0 && n_over < 25; left--)); do
        # Slurm lets a job that went back into the queue wait for two minutes.
        [ "$(squeue -h -j "$job" -o %r 2>/dev/null)" = BeginTime ] && scontrol update jobid="$job" starttime=now
        # On its way back into the queue a job is over for a moment.
        if scontrol show job "$job" 2>/dev/null | grep -qE 'JobState=(COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL) '; then
            n_over=$((n_over + 1))
        else
            n_over=0
        fi
        sleep 0.2
    done
    [ $n_over = 25 ] || fail "job $job still runs after $1 s: $(sql 'SELECT state, count(*) FROM trial GROUP BY state' | tr '\n' ' ')"
}
# Slurm saves what it knows every five seconds; a controller that is killed before that forgets that the job has begun.
await_saved() {
    local left
    touch "$folder/now"
    for ((left = 150; left > 0; left--)); do
        [ "$folder/cluster/controller/job_state" -nt "$folder/now" ] && return 0
        sleep 0.1
    done
    fail 'the controller saves nothing'
}
all_once() { # trials
    expect 'SELECT count(*), min(state), max(state) FROM trial' "$1|COMPLETE|COMPLETE"
    expect "SELECT count(*) FROM attempt WHERE state = 'COMPLETE'" "$1"
    expect "SELECT count(*) FROM attempt WHERE state = 'FAILED'" 0
    expect "SELECT count(*) FROM event WHERE kind = 'nondeterministic'" 0
}

"$cluster" up "$folder/cluster" 4 4 || exit 1

begin losses $((trials / 4)) 4
export FAKE_STEP_MS=60
submit --nodes=3-4
await 60 "SELECT count(*) >= $((trials / 10)) FROM trial WHERE state = 'COMPLETE'" 1
step=$(squeue -h -s -j "$job" -o '%i %N' | awk '$2 == "n2" && $1 !~ /batch/ { print $1; exit }')
scancel "$step" || fail "step '$step' is not ended"
await 60 "SELECT count(*) > 0 FROM event WHERE kind = 'worker_lost'" 1
await_saved
"$cluster" kill-controller "$folder/cluster"
await 60 "SELECT count(*) >= $((trials * 3 / 10)) FROM trial WHERE state = 'COMPLETE'" 1
"$cluster" start-controller "$folder/cluster"
"$cluster" kill-node "$folder/cluster" n3
await 60 "SELECT count(*) >= $((trials / 2)) FROM trial WHERE state = 'COMPLETE'" 1
await_saved
"$cluster" kill-controller "$folder/cluster"
"$cluster" start-controller "$folder/cluster"
await_job 60
all_once "$trials"
jobs=$(scontrol show jobs | grep -c '^JobId=')
[ "$jobs" -le 10 ] || fail "$jobs jobs"
printf 'slurm.sh: %d trials on 4 nodes, a step ended, a node lost, the controller killed twice: all finished once, %d job, %s\n' \
    "$trials" "$jobs" "$(sql "SELECT count(*) || ' attempts interrupted' FROM attempt WHERE state = 'INTERRUPTED'")"

# Time is up: what runs writes checkpoints, the job goes back into the queue and goes on from there.
"$cluster" start-node "$folder/cluster" n3
scontrol update nodename=n3 state=resume 2>/dev/null
begin walltime 4 2 40
export FAKE_STEP_MS=100
submit --nodes=2
await 60 "SELECT count(*) FROM trial WHERE state = 'RUNNING'" 8
sleep 1
scancel --batch --signal=USR1 "$job"
await 60 "SELECT count(*) FROM attempt WHERE state = 'STOPPED'" 8
[ "$("$bin/nightsweep" slurm status --store "$db" | grep -c "$job")" -ge 1 ] || fail "slurm status does not show job $job"
await_job 60
all_once 8
[ "$(scontrol show job "$job" | grep -oE 'Restarts=[0-9]+')" = Restarts=1 ] || fail "$(scontrol show job "$job")"
expect "SELECT count(*) FROM attempt WHERE resumed_step > 0" 8
expect "SELECT count(*) FROM attempt WHERE reason = 'time_limit'" 8
echo 'slurm.sh: told that its time is up: checkpoints, back into the queue, went on'

# The node of the coordinator is lost: Slurm starts the job again.
begin first-node 4 2 40
submit --nodes=1
await 60 "SELECT count(*) FROM trial WHERE state = 'RUNNING'" 4
node=$(squeue -h -j "$job" -o %N)
"$cluster" kill-node "$folder/cluster" "$node"
"$cluster" start-node "$folder/cluster" "$node"
await_job 60
all_once 8
expect "SELECT count(*) > 0 FROM event WHERE kind = 'recovered'" 1
echo "slurm.sh: the coordinator's node lost: the job was started again and went on"

# How fast one coordinator hands out, with workers that train nothing in 64 slots: printed, since it depends on the machine.
cp "$BUILD/bench-worker" "$bin/nightsweep-worker" || exit 1
# First as fast as it goes: then a slot waits for the 63 others. Then trials of 40 ms: how long one waits.
for BENCH_MS in 0 40; do
    begin "dispatch$BENCH_MS" 1000 10
    export BENCH_MS BENCH_REPORT=$folder/reports$BENCH_MS
    mkdir "$BENCH_REPORT"
    "$bin/nightsweep" slurm submit "$folder/$case_name.json" --store "$db" --slots 16 -- --nodes=4 >"$folder/submitted" || fail "not submitted"
    job=$(grep -oE '[0-9]+$' "$folder/submitted")
    await_job 120
    all_once 10000
    cat "$BENCH_REPORT"/* | awk -v load="$(cut -d' ' -f1 /proc/loadavg)" -v ms="$BENCH_MS" '
        { if (!first || $1 < first) first = $1; if ($2 > last) last = $2; n += $3; gap += $4 / 1e6 / 4 }
        END { printf "slurm.sh: %d trials of %d ms without training on 4 nodes of 16 slots: %d a second, %.1f ms from an end to the next start (median of a worker), load %s\n",
              n, ms, n / ((last - first) / 1e9), gap, load }'
done
