#!/usr/bin/env bash
# nightsweep-worker with fake trainers: every command, every way an attempt ends, limits, backpressure, and that no
# trainer outlives its worker. BUILD: the folder of the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
folder=$(mktemp -d) || exit 1
failed=0
worker=
prefix=(env)

# Starts a worker with the arguments: commands go to descriptor 3, its lines to $folder/out.
open_worker() {
    rm -f "$folder/in" "$folder/out"
    mkfifo "$folder/in"
    : >"$folder/out"
    "${prefix[@]}" "$BUILD/nightsweep-worker" "$@" <"$folder/in" >"$folder/out" 2>"$folder/errors" &
    worker=$!
    exec 3>"$folder/in"
}
# Waits for the worker's end; its exit status in $status.
close_worker() {
    exec 3>&-
    wait "$worker"
    status=$?
    worker=
}
# A job line's start command: attempt, slot, limits, members of the job behind the common ones.
start() {
    printf '{"v":1,"type":"start","attempt":%d,"slot":%d,"limits":%s,"job":{"v":1,"type":"job","attempt":%d,' \
        "$1" "$2" "$3" "$1" >&3
    printf '"output":"%s/trial","seed":7,"objective":{"metric":"validation/accuracy","goal":"maximize"},%s}}\n' \
        "$folder" "$4" >&3
}
send() { printf '%s\n' "$1" >&3; }
# Waits up to 20 s until a line of the output matches all patterns.
await() {
    local pattern lines tries
    for ((tries = 0; tries < 400; tries++)); do
        lines=$(grep -E -- "$1" "$folder/out")
        for pattern in "${@:2}"; do lines=$(grep -E -- "$pattern" <<<"$lines"); done
        [ -n "$lines" ] && return 0
        sleep 0.05
    done
    fail "no line with: $*"
    return 1
}
fail() {
    printf 'worker.sh: %s\n--- output\n%s\n--- errors\n%s\n' "$1" "$(tail -c 3000 "$folder/out")" \
        "$(tail -c 2000 "$folder/errors")"
    failed=1
}
check() { # what is claimed, command...
    local claim=$1
    shift
    "$@" || fail "not so: $claim"
}
count() { grep -cE -- "$1" "$folder/out"; }
# Process numbers of the running worker's trainers.
trainers() { pgrep -P "$worker"; }
# shellcheck disable=SC2317 # called by check
# Waits up to 10 s until none of the processes lives.
gone() {
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        kill -0 "$@" 2>/dev/null || return 0
        sleep 0.05
    done
    return 1
}
# shellcheck disable=SC2317 # called by the trap
clean() {
    exec 3>&-
    [ -n "$worker" ] && kill -9 "$worker" 2>/dev/null
    rm -rf "$folder"
}
trap clean EXIT
none='{"time_seconds":0,"memory_bytes":0}'
fake="$BUILD/fake-trainer"
export NIGHTSWEEP_PASS=FAKE_ # to trainers, whose environment is a fixed one

a_trial_from_hello_to_quit() {
    echo 'one folder' >"$folder/marker"
    open_worker --slots 2 --marker "$folder/marker" --trainer "$fake" --heartbeat-ms 100
    await '"type":"hello"' '"slots":2' '"marker":"one folder"' "\"pid\":$worker"
    check 'hello is the first line' grep -q '"hello"' <<<"$(head -1 "$folder/out")"
    start 1 1 "$none" '"settings":{"steps":6},"limits":{"threads":3}'
    await '"type":"ended"' '"attempt":1,"slot":1,"exit_status":0,"signal":0,"seconds"' '3 threads'
    check 'every record has passed' [ "$(count '"attempt":1,"seq":')" = "$(count '"seq":')" ]
    # started, 6 + 3 points, 3 evaluations, a checkpoint, an artifact, finished
    check 'all 16 records are there' [ "$(count '"seq":')" = 16 ]
    check 'ended comes after the last record' \
        grep -q '"ended"' <<<"$(grep '"attempt":1[,}]' "$folder/out" | tail -1)"
    check 'the checkpoint is on disk' [ -s "$folder/trial/1-3.checkpoint" ]
    await '"type":"heartbeat"'
    send '{"v":1,"type":"stop","attempt":99}'
    send '{"v":1,"type":"quit"}'
    close_worker
    check 'quit ends with status 0' [ "$status" = 0 ]
}

a_trainer_gets_a_fixed_environment() {
    printf '#!/bin/sh\nenv >%s\n' "'$folder/environment'" >"$folder/env-trainer"
    chmod +x "$folder/env-trainer"
    SECRET_TOKEN=x LC_ALL=C.UTF-8 OPENBLAS_CORETYPE=Haswell OMP_NUM_THREADS=7 SLURM_JOB_ID=3 NIGHTSWEEP_CPU=portable \
        open_worker --slots 1 --trainer "$folder/env-trainer"
    start 1 1 "$none" '"settings":{},"limits":{"threads":3}'
    await '"type":"ended"'
    close_worker
    check 'what it does not need is not passed' [ "$(grep -cE '^(SECRET_TOKEN|SLURM_JOB_ID)=' "$folder/environment")" = 0 ]
    local line
    for line in OPENBLAS_CORETYPE=Haswell OMP_NUM_THREADS=3 OPENBLAS_NUM_THREADS=3 NIGHTSWEEP_CPU=portable LC_ALL=C; do
        check "$line is" grep -qx "$line" "$folder/environment"
    done
}

a_trainer_that_is_ended_from_elsewhere_is_interrupted() {
    FAKE_STEP_MS=60000 open_worker --slots 1 --trainer "$fake"
    start 1 1 "$none" '"settings":{"steps":6}'
    await '"type":"started"'
    kill -TERM "$(pgrep -P "$worker")"
    await '"type":"ended"' '"reason":"interrupted"'
    close_worker
    open_worker --slots 1 --file /etc/passwd --file "$folder/none" --trainer "$fake"
    await '"type":"hello"' "\"missing\":\[\"$folder/none\"\]"
    close_worker
}

a_stopped_trial_resumes_to_the_same_end() {
    local settings='"checkpoint_seconds":30,"settings":{"steps":40}'
    FAKE_STEP_MS=20 open_worker --slots 2 --trainer "$fake"
    start 1 1 "$none" "$settings"
    await '"attempt":1,' '"train/loss",5,'
    send '{"v":1,"type":"stop","attempt":1}'
    await '"type":"ended"' '"attempt":1,' '"exit_status":0'
    check 'it says stopped' grep -q '"type":"stopped","attempt":1' "$folder/out"
    check 'it has not finished' [ "$(count '"finished"')" = 0 ]
    local last
    last=$(grep '"type":"checkpoint","attempt":1' "$folder/out" | tail -1 | grep -o '"path":"[^"]*"' | cut -d'"' -f4)
    start 2 1 "$none" "$settings,\"resume\":\"$last\""
    start 3 2 "$none" "$settings"
    await '"type":"ended"' '"attempt":2,' && await '"type":"ended"' '"attempt":3,'
    local resumed whole
    resumed=$(grep '"type":"artifact","attempt":2' "$folder/out" | grep -o '"sha256.*')
    whole=$(grep '"type":"artifact","attempt":3' "$folder/out" | grep -o '"sha256.*')
    check 'the artifact of the resumed trial is that of the whole one' [ -n "$whole" -a "$resumed" = "$whole" ]
    check 'the peak was measured' [ "$(count '"ended","attempt":3,.*"peak_bytes":[1-9]')" = 1 ]
    close_worker
    check 'the end of input ends it with status 0' [ "$status" = 0 ]
}

refused_starts() {
    FAKE_STEP_MS=100 open_worker --slots 2 --trainer "$fake"
    start 1 1 "$none" '"settings":{"steps":1000}'
    start 2 1 "$none" '"settings":{"steps":1}'
    await '"ended","attempt":2,' '"reason":"crashed"' 'slot 1 is busy'
    start 1 2 "$none" '"settings":{"steps":1}'
    await '"ended","attempt":1,"slot":2' 'attempt 1 runs in slot 1 already'
    start 3 9 "$none" '"settings":{"steps":1}'
    await '"ended","attempt":3,' 'slot 9 does not exist, the slots are 1 to 2'
    send '{"v":1,"type":"kill","attempt":1}'
    await '"ended","attempt":1,"slot":1,"exit_status":0,"signal":9,"seconds"'
    start 4 1 "$none" '"settings":{"steps":1}'
    await '"ended","attempt":4,"slot":1,"exit_status":0,"signal":0'
    check 'each attempt ended once' [ "$(count '"ended","attempt":(1,"slot":1|2|3|4),')" = 4 ]
    close_worker
    open_worker --slots 1 --trainer "$folder/missing"
    start 1 1 "$none" '"settings":{}'
    await '"ended","attempt":1,"slot":1,"exit_status":3' 'missing.: cannot be started'
    close_worker
}

# how, limits, patterns of the ended line
misbehaving() {
    local how=$1 limits=$2
    shift 2
    FAKE_TRAINER=$how open_worker --slots 1 --trainer "$fake"
    start 1 1 "$limits" '"settings":{"steps":4}'
    await '"ended","attempt":1,' "$@"
    check "$how: it ended once" [ "$(count '"ended"')" = 1 ]
    close_worker
}

# A memory limit of the control group, as batch systems and containers set it: the kernel ends the trainer, and the worker
# knows why. Where this machine lets us make a group.
the_groups_memory_is_used_up() {
    local own group limit=memory.limit_in_bytes
    own=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
    group=/sys/fs/cgroup/memory$own/nightsweep-test-$$
    if [ -z "$own" ]; then
        group=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/nightsweep-test-$$
        limit=memory.max
    fi
    if ! mkdir "$group" 2>/dev/null || ! [ -w "$group/$limit" ] || ! echo 200000000 2>/dev/null >"$group/$limit"; then
        rmdir "$group" 2>/dev/null
        echo 'no control group can be made here: not tested'
        return
    fi
    printf '#!/bin/sh\necho $$ >%s/cgroup.procs && exec "$@"\n' "'$group'" >"$folder/in-group"
    chmod +x "$folder/in-group"
    prefix=("$folder/in-group")
    misbehaving oom "$none" '"signal":9,"reason":"out_of_memory"' 'memory of its control group is used up'
    prefix=(env)
    rmdir "$group"
}

a_wrong_command_ends_it() {
    FAKE_TRAINER=hang open_worker --slots 1 --trainer "$fake"
    start 1 1 "$none" '"settings":{"steps":4}'
    await '"checkpoint"|"evaluation"'
    local pids
    pids=$(trainers)
    send '{"v":1,"type":"dance"}'
    close_worker
    check 'an unknown command ends it with status 2' [ "$status" = 2 ]
    check 'the message names it' grep -q "'dance' is unknown" "$folder/errors"
    check 'its trainer is gone' gone "$pids"
}

# A signal to a worker whose trainer answers nothing: signal, expected status
no_trainer_outlives_it() {
    FAKE_TRAINER=hang open_worker --slots 1 --trainer "$fake"
    start 1 1 "$none" '"settings":{"steps":4}'
    await '"evaluation"'
    local pids
    pids=$(trainers)
    kill -INT "$worker"
    sleep 0.1
    check 'SIGINT is ignored' kill -0 "$worker"
    kill "-$1" "$worker"
    wait "$worker" 2>/dev/null
    status=$?
    close_worker 2>/dev/null
    check "SIG$1: its trainer is gone" gone "$pids"
}

# The coordinator takes nothing for a while: the worker holds the trainer back instead of growing, and nothing is lost.
slow_reader() {
    local steps=150000
    rm -f "$folder/in" "$folder/pipe"
    mkfifo "$folder/in" "$folder/pipe"
    "$BUILD/nightsweep-worker" --slots 1 --trainer "$fake" <"$folder/in" >"$folder/pipe" 2>"$folder/errors" &
    worker=$!
    exec 3>"$folder/in" 4<"$folder/pipe"
    start 1 1 "$none" "\"settings\":{\"steps\":$steps}"
    sleep 2
    local kilobytes
    kilobytes=$(grep VmRSS "/proc/$worker/status" | grep -o '[0-9]*')
    # 25 MB with the brake, 58 MB without it; the sanitizers' own memory hides the difference.
    case $BUILD in
    *asan | *tsan) ;;
    *) check "it holds little ($kilobytes kB)" [ "$kilobytes" -lt 40000 ] ;;
    esac
    check 'the trainer waits' [ -n "$(trainers)" ]
    : >"$folder/out"
    cat <&4 >"$folder/out" 3>&- & # without our end of the commands, which must end
    local reader=$!
    await '"ended","attempt":1,"slot":1,"exit_status":0'
    check 'no record is lost' [ "$(count '"train/loss"')" = "$steps" ]
    exec 4<&-
    close_worker
    wait "$reader"
}

wrong_command_line() {
    local message
    message=$("$BUILD/nightsweep-worker" --slots 0 2>&1 </dev/null)
    check 'no slots is refused' [ "$?" = 2 ]
    check 'and named' grep -q -- "--slots: '0'" <<<"$message"
    message=$("$BUILD/nightsweep-worker" --slot 1 2>&1 </dev/null)
    check 'the nearest option is named' grep -q 'nearest is --slots' <<<"$message"
    message=$("$BUILD/nightsweep-worker" --slots 1 2>&1 </dev/null)
    check 'a file as input is refused' grep -q 'a pipe, socket or terminal was expected' <<<"$message"
    check 'it has a version' grep -q '^nightsweep-worker [0-9]' <<<"$("$BUILD/nightsweep-worker" --version)"
    check 'it has help' grep -q -- '--marker' <<<"$("$BUILD/nightsweep-worker" --help)"
}

a_trial_from_hello_to_quit
a_trainer_gets_a_fixed_environment
a_trainer_that_is_ended_from_elsewhere_is_interrupted
a_stopped_trial_resumes_to_the_same_end
refused_starts
misbehaving crash "$none" '"signal":6,"seconds"' 'asked to crash at step 2'
misbehaving exit "$none" '"exit_status":0,"signal":0,"seconds"'
misbehaving fail "$none" '"exit_status":1,"signal":0,"seconds"'
misbehaving garbage "$none" '"reason":"crashed"' 'output is refused: line 1, column 1'
misbehaving hang '{"time_seconds":0.5,"memory_bytes":0}' '"signal":9,"reason":"timeout"' 'limit of 0.5 seconds'
misbehaving oom '{"time_seconds":0,"memory_bytes":100000000}' '"signal":9,"reason":"out_of_memory"' 'limit is 100000000'
the_groups_memory_is_used_up
a_wrong_command_ends_it
no_trainer_outlives_it TERM
check 'SIGTERM ends it with status 0' [ "$status" = 0 ]
no_trainer_outlives_it KILL
slow_reader
wrong_command_line
exit "$failed"
