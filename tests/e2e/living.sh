#!/usr/bin/env bash
# Living with a store: cancel, retry, pause, resume and adjust, with a run that works and without one; archive, delete,
# gc, backup and import, and what a kill leaves of them. Trainers that train nothing. BUILD: the folder of the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
folder=$(mktemp -d) || exit 1
# shellcheck source=tests/support/fake_programs.sh
. tests/support/fake_programs.sh
# shellcheck source=tests/support/sweep_cases.sh
. tests/support/sweep_cases.sh
export NO_COLOR=1

define() { # name, members behind the common ones
    printf '{"name":"%s","seed":3,"model":"model","task":{"kind":"classification","train":"train.jsonl",' "$1"
    printf '"validation":"validation.jsonl","text":"text","label":"label"},%s}\n' "$2"
}
grid='"parameters":{"rank":{"values":[1,2,4,8]}},"settings":{"method":"lora","steps":12},"resources":{"slots":2,"retries":1}'
# ask EXPECTED-STATUS ARGUMENTS...: any command but run, its output in $folder/out
ask() {
    local expected=$1 status
    shift
    "$bin/nightsweep" "$@" --store "$db" >"$folder/out" 2>&1
    status=$?
    [ "$status" = "$expected" ] || fail "exit status $status of '$*', expected $expected"
}
# A run in the background.
start() { # definitions and options
    "$bin/nightsweep" run --store "$db" "$@" >"$folder/run" 2>&1 &
    runner=$!
}
run_says() { grep -qE -- "$1" "$folder/run" || fail "the run says nothing like '$1'"; }
await() { # query, answer: within 20 s
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        [ "$(sql "$1" 2>/dev/null)" = "$2" ] && return 0
        sleep 0.1
    done
    fail "'$1' never gave '$2'"
}
running="SELECT count(*) FROM trial WHERE state = 'RUNNING'"
# All that a trial came to, of what an undisturbed one would say too.
results() { sqlite3 "$1" "SELECT number, state, value, steps FROM trial ORDER BY 1;
    SELECT t.number, n.name, m.step, quote(m.value) FROM metric m JOIN trial t ON t.id = m.trial_id
    JOIN metric_name n ON n.id = m.name_id ORDER BY 1, 2, 3;"; }

define s "$grid" >"$folder/s.json"

begin quiet
start "$folder/s.json"
ends 0
results "$db" >"$folder/expected"

begin paused
export FAKE_STEP_MS=80
start "$folder/s.json"
await "$running" 2
sleep 0.3
ask 2 pause other
says "works on sweep 's', not on 'other'"
ask 0 pause s
says "'s' pauses"
await "$running" 0
expect "SELECT count(*) FROM attempt WHERE state = 'STOPPED'" 2
ask 0 status
says "paused"
sleep 0.5
expect "$running" 0
[ -S "$db.control" ] || fail 'no socket'
[ "$(stat -c %a "$db.control")" = 600 ] || fail 'the socket is not its owner'"'"'s alone'
ask 0 resume --json
says '^\{"v":1,"sweep":"s"\}$'
ends 0
run_says 'paused'
[ -e "$db.control" ] && fail 'the socket is left'
results "$db" >"$folder/found"
diff "$folder/expected" "$folder/found" >/dev/null || fail 'the results are not those of an undisturbed run'
expect "SELECT group_concat(kind) FROM (SELECT kind FROM event WHERE kind IN ('paused', 'continued') ORDER BY id)" \
    paused,continued
ask 2 pause s
says 'no run is using the store'
ask 2 resume
says 'no run is using the store'

begin explained
export FAKE_STEP_MS=100
start "$folder/s.json"
await "$running" 2
ask 0 explain 1
says 'is RUNNING'
says 'slot [12], step'
ask 0 explain s/4
says '1 waiting trial of lower number comes first; the run has 2 slots'
ask 0 pause
ask 0 explain 4
says 'The run is paused'
ask 0 cancel s/4 --reason 'too small'
ask 0 explain 4
says 'A person canceled it at step 0: too small'
kill -KILL "$runner"
wait "$runner" 2>/dev/null
ask 0 explain 2 --json
python3 -c 'import json,sys; j=json.load(open(sys.argv[1])); sys.exit(not (j["state"] in ("WAITING", "RUNNING") and j["why"]))' \
    "$folder/out" || fail 'no reason in JSON'
FAKE_STEP_MS=0 FAKE_TRAINER=exit start "$folder/s.json"
ends 1
ask 0 explain 1
says 'is FAILED'
says 'nightsweep retry s/1'
ask 2 explain 9
says 'has no trial 9'
FAKE_STEP_MS=0 start "$folder/s.json" --new whole
ends 0
ask 0 explain whole/2
says 'place [1-4] of 4'

begin adjusted
export FAKE_STEP_MS=200
start "$folder/s.json" --slots 1
await "$running" 1
ask 0 adjust --slots 3
await "$running" 3
ask 0 adjust --slots 1
await "$running" 1
sleep 0.2
expect "$running" 1
ask 2 adjust
says 'was expected'
ask 2 adjust --slots 0
ask 2 adjust --until 25:00
ask 2 adjust --for 1m --no-deadline
ask 0 adjust --slots 4 --for 10h --json
says '^\{"v":1,"adjusted":true\}$'
ask 0 adjust --for 1s
ends 1
run_says 'the deadline has come'
expect "SELECT state FROM sweep" STOPPED
start "$folder/s.json"
ends 0
results "$db" >"$folder/found"
diff "$folder/expected" "$folder/found" >/dev/null || fail 'the results are not those of an undisturbed run'

begin canceled
export FAKE_STEP_MS=100
define other "$grid" >"$folder/other.json"
start "$folder/s.json" "$folder/other.json"
await "$running" 2
ask 2 cancel nobody
says "no sweep 'nobody'"
ask 2 cancel s/9
says 'no trial 9'
ask 0 cancel s/2 s/4 --reason 'not needed'
says '1 trial of sweep'
await "SELECT group_concat(number) FROM trial WHERE state = 'PRUNED' AND message = 'not needed'" 2,4
expect "SELECT group_concat(t.number) FROM decision d JOIN trial t ON t.id = d.trial_id WHERE rule = 'person'" 2,4
expect "SELECT state FROM attempt WHERE trial_id = 2" STOPPED
ask 2 cancel s/2
says 'is PRUNED'
ask 0 cancel s --json
says '^\{"v":1,"sweep":"s","canceled":2\}$'
await "SELECT count(*) FROM trial t JOIN sweep s ON s.id = t.sweep_id WHERE s.name = 'other' AND t.state = 'RUNNING'" 2
ask 0 cancel other
ends 1
expect "SELECT group_concat(state) FROM sweep" STOPPED,STOPPED
expect "SELECT count(*) FROM trial WHERE state <> 'PRUNED'" 0
expect "SELECT count(*) FROM checkpoint" 0
[ -z "$(find "$folder/canceled" -name '*.checkpoint*')" ] || fail 'checkpoints are left'

begin direct
define s "$grid,\"budget\":{\"until\":\"07:00\"}" >"$folder/direct.json"
ask 2 cancel s
says 'there is no store'
FAKE_TRAINER=fail start "$folder/s.json"
ends 1
expect "SELECT group_concat(DISTINCT state) FROM trial" FAILED
ask 2 retry s
says '--failed was expected'
ask 0 retry s/1
ask 0 retry --failed --json
says '^\{"v":1,"sweep":"s","retried":3\}$'
expect "SELECT group_concat(DISTINCT state) FROM trial" WAITING
expect "SELECT state FROM sweep" OPEN
before=$(sql 'SELECT count(*) FROM attempt')
ask 0 cancel s/1
start "$folder/s.json"
ends 0
expect "SELECT group_concat(DISTINCT state) FROM trial WHERE number > 1" COMPLETE
expect "SELECT count(*) FROM attempt WHERE state = 'FAILED'" "$before"
ask 2 cancel s/3
says 'is COMPLETE'
ask 0 cancel s
says '0 trials'

begin retried
export FAKE_STEP_MS=60 FAKE_TRAINER=fail
define s "${grid/\"retries\":1/\"retries\":0}" >"$folder/once.json"
start "$folder/once.json"
await "SELECT count(*) > 0 FROM trial WHERE state = 'FAILED'" 1
ask 0 retry --failed s
await "SELECT count(*) > 0 FROM trial t WHERE (SELECT count(*) FROM attempt a WHERE a.trial_id = t.id) = 2" 1
ends 1
expect "SELECT count(*) FROM trial WHERE state = 'FAILED'" 4

# A search that proposes trials as it goes hears of what was canceled, and is replayed with it.
begin searched
export FAKE_STEP_MS=150
define s '"parameters":{"learning_rate":{"min":1e-4,"max":1e-1,"scale":"log"}},"settings":{"method":"lora","steps":8},
    "search":{"algorithm":"tpe","configurations":8},"resources":{"slots":2}' >"$folder/tpe.json"
start "$folder/tpe.json"
await "$running" 2
sleep 0.3
ask 0 cancel s/2
await "SELECT count(*) FROM event WHERE kind = 'study' AND message = '{\"op\":\"cancel\",\"trial\":2}'" 1
kill -KILL "$runner"
wait "$runner" 2>/dev/null
ask 0 cancel "s/$(sql "SELECT max(number) FROM trial WHERE state <> 'PRUNED'")"
start "$folder/tpe.json"
ends 0
expect "SELECT count(*), sum(state = 'COMPLETE'), sum(state = 'PRUNED') FROM trial" '8|6|2'

# Rows and files that a sweep came to, whatever its ids and its folder are.
content() { sqlite3 "$1" "SELECT t.number, t.state, t.value, t.steps, t.identity FROM trial t JOIN sweep s ON s.id = t.sweep_id
    WHERE s.name = '$2' ORDER BY 1; SELECT trial, metric, step, quote(value) FROM curve WHERE sweep = '$2' ORDER BY 1, 2, 3;
    SELECT t.number, a.path, a.sha256 FROM artifact a JOIN trial t ON t.id = a.trial_id JOIN sweep s ON s.id = t.sweep_id
    WHERE s.name = '$2' ORDER BY 1, 2; SELECT t.number, split, step, is_final, metrics, hex(items) FROM evaluation e
    JOIN trial t ON t.id = e.trial_id JOIN sweep s ON s.id = t.sweep_id WHERE s.name = '$2' ORDER BY 1, 2, 3, 4;"; }

begin kept
start "$folder/s.json"
ends 0
content "$db" s >"$folder/expected"
ask 0 archive s --json
says '"archived":true'
ask 0 status
grep -q "sweep 's'" "$folder/out" && fail 'an archived sweep is listed'
ask 0 status --archived
says "sweep 's'"
ask 0 status s
says "sweep 's' COMPLETE, archived"
ask 0 archive s --undo
ask 2 archive nobody
ask 0 backup "$folder/copy.db"
says 'checked: ok'
ask 2 backup "$folder/copy.db"
says 'is there already'
# A backup while a run writes: as of one moment, and whole.
export FAKE_STEP_MS=150
define other "$grid,\"reuse\":false" >"$folder/other.json"
start "$folder/other.json"
await "$running" 2
ask 0 backup "$folder/live.db" --json
says '"integrity":"ok"'
expect_copy=$(sqlite3 "$folder/live.db" "PRAGMA integrity_check; SELECT count(*) FROM sweep")
[ "$expect_copy" = $'ok\n2' ] || fail "the live copy says '$expect_copy'"
# With the run at work: its own sweep is refused, another one goes; nothing else may write.
ask 2 delete other --yes
says 'cancel it first'
ask 3 gc
says 'in use'
ask 3 import "$folder/copy.db" --as again
says 'in use'
ask 0 gc --dry-run
ask 2 delete s
says 'nobody can be asked'
ask 0 delete s --yes
says 'is in use'
[ -d "$folder/kept/s" ] && fail 'the files of a deleted sweep are left'
ends 0
expect "SELECT group_concat(name) FROM sweep" other
ask 0 gc
[ -d "$folder/kept/other/1" ] || fail 'gc took results'

begin unmade
ask 3 import "$folder/s.json"
[ ! -e "$db" ] || fail 'what is no store left one behind'

begin imported
unset FAKE_STEP_MS
sqlite3 "$folder/copy.db" 'UPDATE sweep SET folder = folder' # the copy is a store like any other
cp -r "$folder/kept" "$folder/kept.before"
sum=$(sha256sum <"$folder/quiet.db")
start "$folder/other.json"
ends 0
ask 0 import "$folder/quiet.db"
says '1 sweep with 4 trials imported'
content "$db" s >"$folder/found"
diff "$folder/expected" "$folder/found" >"$folder/out" || fail 'the imported sweep is another'
[ "$(sha256sum <"$folder/quiet.db")" = "$sum" ] || fail 'the other store was written'
while IFS='|' read -r path hash; do
    [ "$(sha256sum <"$folder/imported/s/$path" | cut -d' ' -f1)" = "$hash" ] || fail "'$path' is not what its row says"
done < <(sql "SELECT a.path, a.sha256 FROM artifact a JOIN trial t ON t.id = a.trial_id JOIN sweep s ON s.id = t.sweep_id
    WHERE s.name = 's'")
ask 2 import "$folder/quiet.db"
says "there is a sweep 's'"
ask 0 import "$folder/quiet.db" s --as again --json
says '"sweeps":1,"trials":4,"files":[1-9]'
ask 2 import "$folder/quiet.db" nobody
ask 2 import "$folder/none.db"
ask 3 import "$folder/s.json"
start "$folder/s.json" # it goes on here: everything is there
ends 0
expect "SELECT count(*) FROM attempt a JOIN trial t ON t.id = a.trial_id JOIN sweep s ON s.id = t.sweep_id WHERE s.name = 's'" 4
before=$(stat -c %s "$db")
ask 0 delete again --yes --json
says '"trials":4,"freed_file_bytes":[1-9]'
[ "$(stat -c %s "$db")" -le "$before" ] || fail 'the store did not get smaller'
content "$db" s >"$folder/found"
diff "$folder/expected" "$folder/found" >"$folder/out" || fail 'deleting one sweep changed another'

# Killed at any moment, delete and import leave the store whole, and gc what is needed.
begin killed
start "$folder/s.json" "$folder/other.json"
ends 0
for ((i = 0; i < 12; i++)); do
    delay="0.0$(printf '%02d' $((RANDOM % 60)))"
    if [ $((i % 2)) = 0 ]; then
        "$bin/nightsweep" import "$folder/quiet.db" s --as "kill$i" --store "$db" >/dev/null 2>&1 &
    else
        "$bin/nightsweep" delete "kill$((i - 1))" --yes --store "$db" >/dev/null 2>&1 &
    fi
    victim=$!
    sleep "$delay"
    kill -KILL "$victim" 2>/dev/null
    wait "$victim" 2>/dev/null
    [ "$(sql 'PRAGMA integrity_check; PRAGMA foreign_key_check')" = ok ] || fail "the store is damaged after kill $i"
    expect "SELECT count(*) FROM (SELECT s.id FROM sweep s LEFT JOIN trial t ON t.sweep_id = s.id GROUP BY s.id
        HAVING count(t.id) NOT IN (4))" 0
done
ask 0 gc --dry-run --json
ask 0 gc
for name in "$folder"/killed/kill*; do
    [ -e "$name" ] || continue
    [ "$(sql "SELECT count(*) FROM sweep WHERE name = '$(basename "$name")'")" = 1 ] || fail "gc left '$name'"
done
content "$db" s >"$folder/found"
diff "$folder/expected" "$folder/found" >"$folder/out" || fail 'a finished sweep changed'
[ -n "$(find "$folder/killed/s/1" -type f)" ] || fail 'gc took the files of a finished trial'

begin garbage
FAKE_STEP_MS=80 start "$folder/s.json" --checkpoint-every 0s
await "$running" 2
sleep 0.3
kill -INT "$runner"
ends 1
kept=$(sql 'SELECT count(*) FROM checkpoint')
[ "$kept" = 2 ] || fail "there are $kept checkpoints"
mkdir -p "$folder/garbage/s/99" "$folder/garbage/mine"
echo x >"$folder/garbage/s/99/adapter"
echo x >"$folder/garbage/s/1/0-1.checkpoint"
echo x >"$folder/garbage/s/1/notes.txt"
echo x >"$folder/garbage/mine/letter"
mkdir -p "$NIGHTSWEEP_CACHE"
for name in old.prefix new.prefix hashes; do echo x >"$NIGHTSWEEP_CACHE/$name"; done
touch -d '8 days ago' "$NIGHTSWEEP_CACHE/old.prefix" "$NIGHTSWEEP_CACHE/hashes"
ask 0 gc --dry-run --json
says '"kind":"checkpoint".*0-1.checkpoint'
says '"kind":"trial".*/99'
says '"kind":"kept activations".*/old.prefix'
[ -f "$folder/garbage/s/1/0-1.checkpoint" ] || fail '--dry-run removes'
ask 0 gc
[ -e "$folder/garbage/s/1/0-1.checkpoint" ] && fail 'a checkpoint of nobody is left'
[ -e "$folder/garbage/s/99" ] && fail 'the folder of no trial is left'
[ -f "$folder/garbage/s/1/notes.txt" ] || fail 'gc took what it did not write'
[ -f "$folder/garbage/mine/letter" ] || fail 'gc took what it did not write'
[ -e "$NIGHTSWEEP_CACHE/old.prefix" ] && fail 'activations that nobody used for a week are left'
[ -e "$NIGHTSWEEP_CACHE/new.prefix" ] || fail 'gc took activations of today'
[ -e "$NIGHTSWEEP_CACHE/hashes" ] || fail 'gc took what is no kept activation'
ask 0 gc --cache-unused-for 0s
[ -e "$NIGHTSWEEP_CACHE/new.prefix" ] && fail 'activations are left that should go whatever their age'
expect 'SELECT count(*) FROM checkpoint' 2
ask 0 gc --checkpoints-older-than 1h
expect 'SELECT count(*) FROM checkpoint' 2
ask 0 gc --checkpoints-older-than 0s
expect 'SELECT count(*) FROM checkpoint' 0
[ -z "$(find "$folder/garbage/s" -name '*.checkpoint')" ] || fail 'old checkpoints are left'
start "$folder/s.json"
ends 0
content "$db" s >"$folder/found"
diff "$folder/expected" "$folder/found" >"$folder/out" || fail 'a trial that starts again ends otherwise'

[ "$failed" = 0 ] && echo 'living.sh: ok'
exit "$failed"
