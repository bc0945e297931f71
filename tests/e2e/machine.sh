#!/usr/bin/env bash
# The machine misbehaves under `nightsweep run`: a worker is stopped, file descriptors are used up, the terminal goes, the
# time of day jumps, the coordinator is killed. Nothing is lost, nothing is left running, every result is as without.
# Trainers that train nothing. BUILD: the folder of the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
# A sanitizer wants to be the first library, in front of the one that moves the clock.
export ASAN_OPTIONS="verify_asan_link_order=0:${ASAN_OPTIONS:-}"
folder=$(mktemp -d) || exit 1
# shellcheck source=tests/support/fake_programs.sh
. tests/support/fake_programs.sh
# shellcheck source=tests/support/sweep_cases.sh
. tests/support/sweep_cases.sh

await() { # seconds, command: until it holds
    local tries
    for ((tries = 0; tries < $1 * 20; tries++)); do
        "${@:2}" && return 0
        sleep 0.05
    done
    return 1
}
# shellcheck disable=SC2317 # called by await
gives() { [ "$(sql "$1" 2>/dev/null)" = "$2" ]; }
start() { # options
    "$bin/nightsweep" run "$folder/s.json" --store "$db" --quiet "$@" >>"$folder/out" 2>&1 &
    runner=$!
}
results() { sqlite3 "$1" "SELECT number, state, value, steps FROM trial ORDER BY 1;
    SELECT t.number, n.name, m.step, quote(m.value) FROM metric m JOIN trial t ON t.id = m.trial_id
    JOIN metric_name n ON n.id = m.name_id ORDER BY 1, 2, 3;
    SELECT count(*) FROM event WHERE kind = 'nondeterministic'; PRAGMA integrity_check"; }
same() {
    results "$db" >"$folder/found"
    diff "$folder/expected" "$folder/found" >"$folder/out" || fail 'the results are others'
}
# shellcheck disable=SC2317 # called by await
none_left() { [ -z "$(pgrep -f "$bin/nightsweep")" ]; }
# shellcheck disable=SC2317 # called by await
four() { [ "$(pgrep -fc "$bin/nightsweep")" = 4 ]; }
# Of this run's: other programs of that name may be on the machine.
zombies() { ps -eo ppid=,stat= | awk -v of=" $runner $(pgrep -P "$runner" | tr '\n' ' ')" '$2 ~ /^Z/ && index(of, " " $1 " ")' | wc -l; }
running="SELECT count(*) FROM trial WHERE state = 'RUNNING'"

printf '{"name":"s","seed":3,"model":"model","task":{"kind":"classification","train":"train.jsonl","validation":
"validation.jsonl","text":"text","label":"label"},"parameters":{"rank":{"values":[1,2,4,8]}},"settings":{"method":"lora",
"steps":12},"resources":{"slots":2,"retries":1}}' >"$folder/s.json"

begin quiet
start
ends 0
results "$db" >"$folder/expected"

# Noticed within two heartbeats, killed after ten; its trials go on with another.
begin stopped
export FAKE_STEP_MS=100
start --checkpoint-every 0s
await 20 gives "SELECT count(*) > 0 FROM checkpoint" 1 || fail 'nothing runs'
worker=$(pgrep -P "$runner")
kill -STOP "$worker"
began=$(date +%s%N)
await 10 gives "SELECT count(*) FROM event WHERE kind = 'worker_silent'" 1 || fail 'a stopped worker is not noticed'
ms=$((($(date +%s%N) - began) / 1000000))
# Two heartbeats, and what this machine and the query take.
[ "$ms" -lt 3500 ] || fail "noticed after $ms ms"
printf 'a stopped worker is noticed after %d ms\n' "$ms"
ends 0
expect "SELECT count(*) FROM event WHERE kind = 'worker_lost'" 1
expect "SELECT count(*) FROM attempt WHERE state = 'FAILED'" 0
expect "SELECT count(*) > 0 FROM attempt WHERE resumed_step > 0" 1
same

# Stopped and gone on before that: nothing happens.
begin slept
export FAKE_STEP_MS=100
start
await 20 gives "$running" 2 || fail 'nothing runs'
worker=$(pgrep -P "$runner")
kill -STOP "$worker"
sleep 3
kill -CONT "$worker"
ends 0
expect "SELECT count(*) FROM event WHERE kind = 'worker_lost'" 0
expect 'SELECT count(*) FROM attempt' 4
same

# With few file descriptors it ends and says why, or works; then, with enough, what is left is done.
for n in 4 6 8 10 12 14 16 18 20 22 24 26 28 30 34 40; do
    begin "descriptors-$n"
    (
        ulimit -n "$n"
        exec timeout 60 "$bin/nightsweep" run "$folder/s.json" --store "$db" --quiet
    ) >"$folder/out" 2>&1
    status=$?
    case $status in
    0) ;;
    1 | 2 | 3 | 127) [ -s "$folder/out" ] || fail "with $n descriptors it ends with $status and says nothing" ;;
    *) fail "with $n descriptors it ends with $status" ;;
    esac
    "$bin/nightsweep" retry s --store "$db" >/dev/null 2>&1
    start
    ends 0
    same
done
none_left || fail 'processes are left'

# The terminal goes: SIGHUP, and every write to it fails. Where SIGHUP is ignored, as by nohup, the run goes on.
cat >"$folder/terminal.py" <<'PYTHON'
import os, pty, signal, subprocess, sys, time
"""Runs argv[2:] on a terminal of its own, and takes it away once the store argv[1] has two running trials."""
pid, master = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
query = ["sqlite3", sys.argv[1], "SELECT count(*) FROM trial WHERE state = 'RUNNING'"]
for _ in range(400):
    if subprocess.run(query, capture_output=True, text=True).stdout.strip() == "2":
        break
    time.sleep(0.05)
os.close(master)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
PYTHON
begin terminal
export FAKE_STEP_MS=100
status=$(timeout 60 python3 "$folder/terminal.py" "$db" "$bin/nightsweep" run "$folder/s.json" --store "$db")
[ "$status" = 1 ] || fail "without its terminal the run ends with '$status'"
expect "SELECT state FROM sweep" STOPPED
expect "SELECT count(*) FROM attempt WHERE state = 'STOPPED'" 2
none_left || fail 'processes are left'
unset FAKE_STEP_MS
start
ends 0
same
begin nohup
export FAKE_STEP_MS=50
# shellcheck disable=SC2016 # expanded there
status=$(timeout 60 python3 "$folder/terminal.py" "$db" sh -c 'trap "" HUP; exec "$@" >"$0"' "$folder/out" \
    "$bin/nightsweep" run "$folder/s.json" --store "$db")
[ "$status" = 0 ] || fail "where SIGHUP is ignored the run ends with '$status'"
same

# The time of day jumps a day ahead, then two back: deadlines, heartbeats and durations do not care.
begin clock
export FAKE_STEP_MS=100
echo 0 >"$folder/offset"
LD_PRELOAD=$BUILD/faults.so FAULTS_CLOCK=$folder/offset start --for 1h
await 20 gives "$running" 2 || fail 'nothing runs'
echo 86400 >"$folder/offset"
sleep 1
echo -86400 >"$folder/offset"
ends 0
expect "SELECT count(DISTINCT day) > 1 FROM (SELECT substr(started_at, 1, 10) AS day FROM attempt
    UNION SELECT substr(ended_at, 1, 10) FROM attempt)" 1
expect "SELECT count(*) FROM attempt WHERE seconds NOT BETWEEN 0 AND 60" 0
expect "SELECT count(*) FROM event WHERE kind IN ('worker_lost', 'deadline')" 0
same

# Killed, the coordinator leaves nobody behind; while it works, and after, there are no zombies.
begin orphans
export FAKE_STEP_MS=100
start
await 20 gives "$running" 2 || fail 'nothing runs'
await 5 four || fail "there are $(pgrep -fc "$bin/nightsweep") processes, expected 4" # a row comes before its process
kill -KILL "$runner"
wait "$runner" 2>/dev/null
await 5 none_left || fail "left behind: $(pgrep -fa "$bin/nightsweep")"
export FAKE_STEP_MS=20
start
for ((i = 0; i < 10; i++)); do
    sleep 0.1
    [ "$(zombies)" -le 2 ] || fail "there are $(zombies) zombies"
done
ends 0
await 5 none_left || fail 'processes are left'
same

[ "$failed" = 0 ] && echo 'machine.sh: ok'
exit "$failed"
