#!/usr/bin/env bash
# `nightsweep run` with trainers that train nothing: whole sweeps, extensions, reuse, budgets, deadlines, signals, every
# way a trial fails, lost workers, launchers, damaged checkpoints. BUILD: the folder of the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
folder=$(mktemp -d) || exit 1
# shellcheck source=tests/support/fake_programs.sh
. tests/support/fake_programs.sh
# shellcheck source=tests/support/sweep_cases.sh
. tests/support/sweep_cases.sh

# A definition: name, members behind the common ones.
define() {
    printf '{"name":"%s","seed":3,"model":"model","task":{"kind":"classification","train":"train.jsonl",' "$1"
    printf '"validation":"validation.jsonl","test":"test.jsonl","text":"text","label":"label"},%s}\n' "$2"
}
ranks='"parameters":{"rank":{"values":[1,4]}},"seeds":2,"settings":{"method":"lora","steps":6}'
run() { # expected exit status, arguments...
    local expected=$1 status
    shift
    "$bin/nightsweep" run --store "$db" --quiet "$@" >>"$folder/out" 2>&1
    status=$?
    [ "$status" = "$expected" ] || fail "exit status $status of 'run $*', expected $expected"
}
# Waits up to 20 s for a query's answer.
await() {
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        [ "$(sql "$1" 2>/dev/null)" = "$2" ] && return 0
        sleep 0.1
    done
    fail "'$1' never gave '$2'"
}

begin whole
define s "$ranks" >"$folder/s.json"
run 0 "$folder/s.json"
expect 'SELECT count(*), min(state), count(value) FROM trial' '4|COMPLETE|4'
expect 'SELECT state FROM sweep' COMPLETE
expect 'SELECT count(*) FROM attempt' 4
run 0 "$folder/s.json"
expect 'SELECT count(*) FROM attempt' 4

begin extension
run 0 "$folder/s.json"
define s "${ranks/\[1,4\]/[1,4,8]}" >"$folder/more.json"
run 0 "$folder/more.json"
expect 'SELECT count(*), count(DISTINCT number) FROM trial' '6|6'
expect 'SELECT count(*) FROM attempt' 6
define s "${ranks/\"steps\":6/\"steps\":7}" >"$folder/changed.json"
run 2 "$folder/changed.json"
says 'settings.steps: was 6, is now 7'
expect 'SELECT count(*) FROM attempt' 6
run 0 "$folder/changed.json" --new other
expect "SELECT count(*) FROM trial t JOIN sweep s ON s.id = t.sweep_id WHERE s.name = 'other'" 4

begin reuse
define a "$ranks" >"$folder/a.json"
define b "$ranks" >"$folder/b.json"
define c "$ranks,\"reuse\":false" >"$folder/c.json"
run 0 "$folder/a.json" "$folder/b.json" "$folder/c.json"
expect 'SELECT s.name, count(t.value), sum(EXISTS (SELECT 1 FROM attempt WHERE trial_id = t.id)) FROM trial t
    JOIN sweep s ON s.id = t.sweep_id GROUP BY s.id' $'a|4|4\nb|4|0\nc|4|4'
expect 'SELECT max(n) FROM (SELECT count(DISTINCT value) AS n FROM trial GROUP BY number)' 1

begin budget
define s "$ranks,\"budget\":{\"trials\":3}" >"$folder/s3.json"
run 0 "$folder/s3.json"
run 0 "$folder/s3.json"
expect 'SELECT count(*) FROM trial' 3

begin second
export FAKE_STEP_MS=100
"$bin/nightsweep" run --store "$db" --quiet "$folder/s.json" >/dev/null 2>&1 &
first=$!
await "SELECT count(*) > 0 FROM trial WHERE state = 'RUNNING'" 1
run 3 "$folder/s.json"
says "process $first"
wait "$first"
expect "SELECT count(*) FROM trial WHERE state = 'COMPLETE'" 4

begin interrupted
export FAKE_STEP_MS=150
define s "$ranks,\"resources\":{\"slots\":2}" >"$folder/slow.json"
"$bin/nightsweep" run --store "$db" "$folder/slow.json" >"$folder/out" 2>&1 &
runner=$!
await "SELECT count(*) FROM trial WHERE state = 'RUNNING'" 2
sleep 0.3
kill -INT "$runner"
wait "$runner"
says 'stopping'
expect "SELECT state FROM sweep" STOPPED
expect "SELECT count(*), min(reason), max(reason) FROM attempt WHERE state = 'STOPPED'" '2|asked|asked'
expect "SELECT count(*) FROM trial WHERE state IN ('RUNNING', 'FAILED')" 0
unset FAKE_STEP_MS
run 0 "$folder/slow.json"
expect "SELECT count(*) FROM trial WHERE state = 'COMPLETE'" 4
expect "SELECT count(*) FROM attempt WHERE resumed_step > 0" 2
expect "SELECT count(*) FROM event WHERE kind = 'nondeterministic'" 0

begin twice
export FAKE_STEP_MS=60000
"$bin/nightsweep" run --store "$db" --quiet "$folder/slow.json" >>"$folder/out" 2>&1 &
runner=$!
await "SELECT count(*) FROM trial WHERE state = 'RUNNING'" 2
start=$SECONDS
kill -INT "$runner"
sleep 0.5
kill -INT "$runner"
wait "$runner"
[ $((SECONDS - start)) -lt 10 ] || fail 'the second Ctrl-C did not end it at once'
expect "SELECT count(*) FROM trial WHERE state = 'WAITING'" 4
[ -z "$(pgrep -f "$bin/nightsweep-(worker|trainer)")" ] || fail 'processes are left'

begin deadline
export FAKE_STEP_MS=200
run 1 "$folder/slow.json" --for 1s
expect "SELECT state FROM sweep" STOPPED
expect "SELECT min(reason), max(reason) FROM attempt WHERE state = 'STOPPED'" 'time_limit|time_limit'
expect "SELECT count(*) > 0 FROM trial WHERE state = 'WAITING'" 1
unset FAKE_STEP_MS
run 0 "$folder/slow.json"

# Budgets of time hold over all runs, killed ones too, and a larger one goes on.
used() { sql "SELECT round(json_extract(message, '\$.$1'), 3) FROM event WHERE kind = 'budget' ORDER BY id DESC LIMIT 1"; }
for kind in for cpu; do
    begin "budget-$kind"
    export FAKE_STEP_MS=100
    [ "$kind" = cpu ] && export FAKE_BURN=1
    sed "s/\"seeds\":2/\"seeds\":12,\"budget\":{\"$kind\":1.5}/" "$folder/slow.json" >"$folder/budget.json"
    "$bin/nightsweep" run --store "$db" --quiet "$folder/budget.json" >>"$folder/out" 2>&1 &
    runner=$!
    sleep 0.6
    kill -KILL "$runner"
    wait "$runner" 2>/dev/null
    run 1 "$folder/budget.json"
    expect "SELECT state FROM sweep" STOPPED
    expect "SELECT count(*) > 0 FROM event WHERE kind = 'budget_used_up' AND message LIKE 'the budget of % is used up%'" 1
    column=$([ "$kind" = cpu ] && echo cpu_seconds || echo seconds)
    # What one look at the clock, a heartbeat and a checkpoint take may come on top.
    [ "$(sql "SELECT $(used "$column") BETWEEN 1.5 AND 3.6")" = 1 ] || fail "used $(used "$column") of 1.5 s"
    attempts=$(sql 'SELECT count(*) FROM attempt')
    run 1 "$folder/budget.json"
    expect 'SELECT count(*) FROM attempt' "$attempts"
    sed -i 's/1\.5/3600/' "$folder/budget.json"
    unset FAKE_STEP_MS FAKE_BURN
    run 0 "$folder/budget.json"
    expect "SELECT state FROM sweep" COMPLETE
done

# Every way a trial fails: the mode, further resources, the reason, attempts of a trial.
while IFS='|' read -r mode resources reason attempts; do
    begin "fails-$mode"
    export FAKE_TRAINER=$mode
    define s "\"parameters\":{\"rank\":{\"values\":[1,4]}},\"settings\":{\"method\":\"lora\",\"steps\":6},
        \"resources\":{\"slots\":2,\"retries\":1$resources}" >"$folder/f.json"
    run 1 "$folder/f.json"
    expect 'SELECT DISTINCT state, reason FROM trial' "FAILED|$reason"
    expect 'SELECT count(*) FROM attempt' $((2 * attempts))
    expect 'SELECT count(*) FROM trial WHERE message IS NULL' 0
    expect 'SELECT state FROM sweep' COMPLETE
done <<'MODES'
crash||crashed|2
exit||crashed|2
garbage||crashed|2
hang|,"time":"1s"|timeout|2
oom|,"memory":"200MiB"|out_of_memory|2
MODES

begin worker-killed
export FAKE_STEP_MS=100
"$bin/nightsweep" run --store "$db" --quiet "$folder/slow.json" >>"$folder/out" 2>&1 &
runner=$!
await "SELECT count(*) FROM trial WHERE state = 'RUNNING'" 2
pkill -KILL -P "$runner"
wait "$runner" || fail "the run ended with status $?"
expect "SELECT count(*) FROM trial WHERE state = 'COMPLETE'" 4
expect "SELECT count(*) FROM attempt WHERE state = 'FAILED'" 0
expect "SELECT count(*), min(reason), max(reason) FROM attempt WHERE state = 'INTERRUPTED'" '2|worker_lost|worker_lost'
expect "SELECT count(*) FROM event WHERE kind = 'worker_lost'" 1
"$bin/nightsweep" status --store "$db" >"$folder/out" 2>&1
says 'elsewhere +worker_lost +2 +2'

# A batch system's signals: the time limit is near, the machine is wanted, a trainer is ended. Counted apart, none a retry.
begin taken-away
define s "${ranks/\"steps\":6/\"steps\":400},\"resources\":{\"slots\":2}" >"$folder/long.json"
for signal in USR1 TERM; do
    export FAKE_STEP_MS=100
    "$bin/nightsweep" run --store "$db" --quiet "$folder/long.json" >>"$folder/out" 2>&1 &
    runner=$!
    await "SELECT count(*) FROM trial WHERE state = 'RUNNING'" 2
    sleep 0.3
    kill "-$signal" "$runner"
    wait "$runner"
    [ $? = 1 ] || fail "after SIG$signal it ends with another status than 1"
done
expect "SELECT reason, count(*) FROM attempt WHERE state = 'STOPPED' GROUP BY 1" $'preempted|2\ntime_limit|2'
"$bin/nightsweep" run --store "$db" --quiet "$folder/long.json" >>"$folder/out" 2>&1 &
runner=$!
await "SELECT count(*) FROM trial WHERE state = 'RUNNING'" 2
sleep 0.3
pkill -TERM -f "$bin/nightsweep-trainer" || fail 'no trainer runs'
await "SELECT count(*) FROM attempt WHERE state = 'INTERRUPTED'" 2
await "SELECT count(*) FROM trial WHERE state = 'RUNNING'" 2
sleep 0.3
kill -KILL "$runner"
wait "$runner" 2>/dev/null
unset FAKE_STEP_MS
run 0 "$folder/long.json"
expect "SELECT reason, count(*) FROM attempt WHERE state = 'INTERRUPTED' GROUP BY 1" $'coordinator_lost|2\npreempted|2'
expect "SELECT count(*) FROM attempt WHERE state = 'FAILED'" 0
expect "SELECT count(*) FROM trial WHERE state = 'COMPLETE'" 4
"$bin/nightsweep" status --store "$db" >"$folder/out" 2>&1
says 'elsewhere +time_limit +2 +2'
"$bin/nightsweep" show 1 --store "$db" >"$folder/out" 2>&1
says 'STOPPED +time_limit'

begin launcher
run 0 "$folder/s.json" --launcher 'env LAUNCHED=1'
expect "SELECT count(*) FROM trial WHERE state = 'COMPLETE'" 4
begin launcher-fails
run 3 "$folder/s.json" --launcher false
says 'the worker ended'
run 3 "$folder/s.json" --launcher /there/is/none
says "'/there/is/none' cannot be started"
run 0 "$folder/s.json"

begin workers
run 0 "$folder/s.json" --workers 3 --slots 1 --launcher 'env WORKER={worker}'
expect "SELECT count(*) FROM trial WHERE state = 'COMPLETE'" 4
expect "SELECT count(DISTINCT worker) > 1 FROM attempt" 1
begin worker-lost
cat >"$folder/node" <<'NODE'
#!/bin/sh
[ "$1" = 0 ] && exit 9
shift
exec "$@"
NODE
chmod +x "$folder/node"
run 0 "$folder/s.json" --workers 2 --slots 1 --launcher "$folder/node {worker}"
expect "SELECT count(*) FROM trial WHERE state = 'COMPLETE'" 4
expect "SELECT group_concat(DISTINCT substr(worker, -2)) FROM attempt" '#1'

# A worker that hangs gets nothing new from its first missed heartbeat on, goes on when it is heard again, and is killed
# after ten.
begin worker-hangs
export FAKE_STEP_MS=300
"$bin/nightsweep" run --store "$db" --checkpoint-every 0s "$folder/slow.json" >>"$folder/out" 2>&1 &
runner=$!
await "SELECT count(*) FROM trial WHERE state = 'RUNNING'" 2
worker=$(pgrep -P "$runner")
kill -STOP "$worker"
await "SELECT count(*) FROM event WHERE kind = 'worker_silent'" 1
kill -CONT "$worker"
sleep 1
expect "SELECT count(*) FROM event WHERE kind = 'worker_lost'" 0
await "SELECT count(*) > 0 FROM trial WHERE state = 'RUNNING'" 1
kill -STOP "$worker"
await "SELECT count(*) FROM event WHERE kind = 'worker_lost'" 1
says 'said nothing for 10 seconds'
wait "$runner"
expect "SELECT count(*) FROM trial WHERE state = 'COMPLETE'" 4
expect "SELECT count(*) FROM attempt WHERE state = 'FAILED'" 0

# A coordinator that was stopped itself does not blame its worker.
begin stopped-coordinator
export FAKE_STEP_MS=300
"$bin/nightsweep" run --store "$db" "$folder/slow.json" >>"$folder/out" 2>&1 &
runner=$!
await "SELECT count(*) FROM trial WHERE state = 'RUNNING'" 2
kill -STOP "$runner"
sleep 11
kill -CONT "$runner"
wait "$runner"
expect "SELECT count(*) FROM event WHERE kind = 'worker_lost'" 0
expect "SELECT count(*) FROM trial WHERE state = 'COMPLETE'" 4
unset FAKE_STEP_MS

begin checkpoint-damaged
export FAKE_STEP_MS=100
"$bin/nightsweep" run --store "$db" --quiet --checkpoint-every 0s "$folder/slow.json" >>"$folder/out" 2>&1 &
runner=$!
await "SELECT count(*) FROM checkpoint WHERE step >= 2" 2
kill -KILL "$runner"
wait "$runner" 2>/dev/null
for path in $(sql 'SELECT path FROM checkpoint LIMIT 1'); do echo damaged >"$path"; done
unset FAKE_STEP_MS
run 0 "$folder/slow.json"
expect "SELECT count(*) FROM event WHERE kind = 'checkpoint_lost'" 1
expect "SELECT count(*) FROM trial WHERE state = 'COMPLETE'" 4

# The same while the run goes on: what was committed is looked at again before a trial goes on from it.
begin checkpoint-damaged-at-work
define s "${ranks/\"steps\":6/\"steps\":80},\"resources\":{\"slots\":2}" >"$folder/long.json"
export FAKE_STEP_MS=100
"$bin/nightsweep" run --store "$db" --quiet --checkpoint-every 0s "$folder/long.json" >>"$folder/out" 2>&1 &
runner=$!
await "SELECT count(*) FROM checkpoint WHERE step >= 2" 2
worker=$(pgrep -P "$runner")
kill -STOP "$worker"
pkill -STOP -P "$worker"
sleep 0.3
for path in $(sql 'SELECT path FROM checkpoint LIMIT 1'); do echo damaged >"$path"; done
kill -KILL "$worker"
wait "$runner" || fail "the run ended with status $?"
unset FAKE_STEP_MS
expect "SELECT count(*) FROM event WHERE kind = 'checkpoint_lost' AND message LIKE '%is damaged: the trial starts again'" 1
expect "SELECT count(*) FROM trial WHERE state = 'COMPLETE'" 4
expect "SELECT count(*) FROM attempt WHERE state = 'FAILED'" 0

begin bad
run 2 "$folder/none.json"
says "none.json"
echo '{"name":"x"' >"$folder/broken.json"
run 2 "$folder/broken.json"
says 'line'
[ ! -e "$db" ] || expect 'SELECT count(*) FROM sweep' 0
exit "$failed"
