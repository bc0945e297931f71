#!/usr/bin/env bash
# A model's file is cut off, or exchanged, while a trainer maps it. That costs the attempt, with the file's name in its
# message, and no worker; the next one refuses the changed file; with the old one back the trial goes on from its
# checkpoint to the end of one that nobody disturbed. BUILD: the folder of the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
folder=$(mktemp -d) || exit 1
failed=0
runner=
trap 'kill -KILL $runner 2>/dev/null; rm -rf "$folder"' EXIT
fail() {
    printf 'truncated.sh: %s\n' "$1"
    tail -n 15 "$folder/out"
    sqlite3 "$folder/cut.db" 'SELECT number, state, reason, message FROM attempt'
    failed=1
}
sql() { sqlite3 "$folder/$1.db" "$2" 2>/dev/null; }
await() { # seconds, query, answer: of the store cut.db
    local tries
    for ((tries = 0; tries < $1 * 10; tries++)); do
        [ "$(sql cut "$2")" = "$3" ] && return 0
        sleep 0.1
    done
    fail "'$2' never gave '$3'"
}
expect() { # store, query, answer
    local found
    found=$(sql "$1" "$2")
    [ "$found" = "$3" ] || fail "'$2' gives '$found', expected '$3'"
}
run() { # store, options
    "$BUILD/nightsweep" run "$folder/s.json" --store "$folder/$1.db" --checkpoint-every 0s --quiet "${@:2}" >>"$folder/out" 2>&1
}
results() {
    sql "$1" "SELECT t.number, n.name, m.step, quote(m.value) FROM metric m JOIN trial t ON t.id = m.trial_id
        JOIN metric_name n ON n.id = m.name_id ORDER BY 1, 2, 3;
        SELECT path, sha256 FROM artifact ORDER BY 1; SELECT state, value FROM trial"
}

export NIGHTSWEEP_CACHE=$folder/cache
cp -r tests/golden/cases/models/bert "$folder/model"
weights=$folder/model/model.safetensors
cp "$weights" "$folder/weights"
tests/support/sentences.py "$folder" 6 train=2400 validation=32 || exit 1
printf '{"name":"s","seed":3,"model":"model","task":{"kind":"classification","train":"train.jsonl","validation":
"validation.jsonl","text":"text","label":"label"},"parameters":{"method":{"values":["lora"]}},"settings":{"epochs":2,"batch_size":4,"max_tokens":16},
"resources":{"slots":1,"retries":1}}' >"$folder/s.json"
run whole || fail "undisturbed it ends with $?"

run cut &
runner=$!
await 60 "SELECT count(*) FROM checkpoint WHERE step >= 5" 1
truncate -s 100 "$weights"
wait "$runner"
[ $? = 1 ] || fail 'a file that was cut off ends the run with another status than 1'
expect cut "SELECT state, reason, signal, message LIKE '%$weights'' cannot be read at byte % any more: it was cut off%'
    FROM attempt WHERE number = 1" 'FAILED|crashed|7|1'
expect cut "SELECT state, reason, message LIKE '%/model'' has changed since the sweep began%' FROM attempt WHERE number = 2" \
    'FAILED|bad_data|1'
expect cut "SELECT count(*) FROM event WHERE kind = 'worker_lost'" 0
expect cut "SELECT count(*) FROM attempt" 2

cp "$folder/weights" "$weights"
"$BUILD/nightsweep" retry s --failed --store "$folder/cut.db" >>"$folder/out" 2>&1 || fail 'it is not tried again'
run cut || fail "with the file as it was it ends with $?"
expect cut "SELECT count(*) FROM attempt WHERE state = 'COMPLETE' AND resumed_step >= 5" 1
expect cut "SELECT count(*) FROM event WHERE kind = 'nondeterministic'" 0
results whole >"$folder/expected"
results cut | diff "$folder/expected" - >"$folder/out" || fail 'the results differ from those of an undisturbed trial'
exit "$failed"
