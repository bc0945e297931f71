#!/usr/bin/env bash
# The power is cut CUTS (10) times while a sweep runs: its store lies on a file system of its own in an image (a loop device), the
# programs are stopped at a random moment, and the image is copied as it is then, without what was not synced. In each copy the
# store must be whole and have every row that a reader saw at that moment; from some of them the sweep is run to its end.
# What is not tried: a disk that loses what it said was written. BUILD: the folder of the programs. Needs root and mkfs.ext4; without
# them, or where nothing can be mounted, it says so and tests nothing.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
cuts=${CUTS:-10}
seed=${SEED:-$RANDOM}
RANDOM=$seed
folder=$(mktemp -d) || exit 1
# shellcheck source=tests/support/fake_programs.sh
. tests/support/fake_programs.sh
runner=
worker=
# shellcheck disable=SC2317 # called by the trap
clean() {
    # shellcheck disable=SC2046,SC2086 # lists of numbers
    [ -n "$runner" ] && kill -KILL "$runner" $worker $([ -n "$worker" ] && pgrep -P "$worker") 2>/dev/null
    wait 2>/dev/null
    sleep 0.5
    umount "$folder/cut" "$folder/disk" 2>/dev/null
    rm -rf "$folder"
}
trap clean EXIT
fail() {
    printf 'power.sh: %s (SEED=%s)\n' "$1" "$seed"
    tail -n 5 "$folder/out" 2>/dev/null
    exit 1
}
export PATH=/usr/sbin:/sbin:$PATH
mkdir "$folder/disk" "$folder/cut"
if ! { truncate -s 96M "$folder/image" && mkfs.ext4 -q -F "$folder/image" && mount -o loop,commit=600 "$folder/image" "$folder/disk"; } 2>/dev/null; then
    echo 'power.sh: not tested: no file system can be mounted from an image here'
    exit 0
fi
printf '{"name":"power","seed":3,"model":"model","task":{"kind":"classification","train":"train.jsonl",' >"$folder/power.json"
printf '"validation":"validation.jsonl","test":"test.jsonl","text":"text","label":"label"},"parameters":{"rank":' >>"$folder/power.json"
printf '{"values":[1,2,3,4,5,6,7,8]}},"seeds":500,"settings":{"method":"lora","steps":30},"resources":{"slots":4}}\n' >>"$folder/power.json"
start() {
    FAKE_STEP_MS=5 "$bin/nightsweep" run "$folder/power.json" --store "$folder/disk/power.db" --quiet --checkpoint-every 1s \
        >>"$folder/out" 2>&1 &
    runner=$!
}
start
for ((i = 0; i < 100; i++)); do
    [ "$(sqlite3 -readonly "$folder/disk/power.db" "SELECT count(*) FROM attempt" 2>/dev/null || echo 0)" -gt 4 ] && break
    sleep 0.1
done
rows=0
for ((cut = 1; cut <= cuts; cut++)); do
    sleep "0.$(printf '%03d' $((RANDOM % 400)))"
    kill -0 "$runner" 2>/dev/null || start
    # All of it stands still: nothing is written while the image is copied.
    worker=$(pgrep -P "$runner")
    # shellcheck disable=SC2046,SC2086 # lists of numbers
    kill -STOP "$runner" $worker $([ -n "$worker" ] && pgrep -P "$worker") 2>/dev/null
    sleep 0.05
    cp --sparse=always "$folder/image" "$folder/copy" || fail 'no copy'
    mount -o loop "$folder/copy" "$folder/cut" || fail "cut $cut: the file system is lost"
    db=$folder/cut/power.db
    [ "$(sqlite3 "$db" 'PRAGMA integrity_check')" = ok ] || fail "cut $cut: the store is damaged: $(sqlite3 "$db" 'PRAGMA integrity_check' | head -3)"
    # The copy may be one commit ahead of what was seen: synced, and not said yet.
    lost=$(sqlite3 "$db" "ATTACH 'file:$folder/disk/power.db?mode=ro' AS seen;
        SELECT (SELECT count(*) FROM (SELECT * FROM seen.metric EXCEPT SELECT * FROM main.metric)) +
               (SELECT count(*) FROM (SELECT * FROM seen.evaluation EXCEPT SELECT * FROM main.evaluation)) +
               (SELECT count(*) FROM (SELECT * FROM seen.event EXCEPT SELECT * FROM main.event)) +
               (SELECT count(*) FROM seen.attempt s LEFT JOIN main.attempt m ON m.id = s.id
                WHERE m.id IS NULL OR (s.state <> 'RUNNING' AND s.state <> m.state)) +
               (SELECT count(*) FROM seen.trial s LEFT JOIN main.trial m ON m.id = s.id
                WHERE m.id IS NULL OR m.steps < s.steps OR (s.value IS NOT NULL AND s.value IS NOT m.value))") ||
        fail "cut $cut: not compared"
    [ "$lost" = 0 ] || fail "cut $cut: $lost rows that were there are lost"
    rows=$(sqlite3 "$db" 'SELECT count(*) FROM metric')
    if [ $((cut % 10)) = 5 ]; then # whatever was running goes on in the copy
        before=$(sqlite3 "$db" "SELECT count(*) FROM trial WHERE state = 'COMPLETE'")
        "$bin/nightsweep" run "$folder/power.json" --store "$db" --quiet --for 3s >>"$folder/out" 2>&1
        [ $? -le 1 ] || fail "cut $cut: the sweep does not go on"
        [ "$(sqlite3 "$db" "SELECT count(*) > $before FROM trial WHERE state = 'COMPLETE'")" = 1 ] || fail "cut $cut: nothing is trained"
        [ "$(sqlite3 "$db" "SELECT count(*) FROM trial WHERE state = 'RUNNING'")" = 0 ] || fail "cut $cut: trials are left running"
        [ "$(sqlite3 "$db" "SELECT count(*) FROM event WHERE kind = 'nondeterministic'")" = 0 ] || fail "cut $cut: rows differ"
    fi
    umount "$folder/cut" || fail "cut $cut: cannot be unmounted"
    # shellcheck disable=SC2046,SC2086
    kill -CONT $([ -n "$worker" ] && pgrep -P "$worker") $worker "$runner" 2>/dev/null
done
printf 'power.sh: %d cuts, 0 of the rows that were there lost (%d points at the last), every store whole\n' "$cuts" "$rows"
