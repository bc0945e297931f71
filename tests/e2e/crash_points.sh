#!/usr/bin/env bash
# A kill at every named crash point (common/crash.h), taken from the program's own table, then the command again until it
# is through: what comes of it equals what comes of an undisturbed run, decisions and files included. SEED chooses at
# which passage of its point a run is killed; POINTS="name …": only those. BUILD: the folder of the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
seed=${SEED:-$RANDOM}
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
unset NIGHTSWEEP_STORE NIGHTSWEEP_CRASH_AT NIGHTSWEEP_CRASH_MARK
export NO_COLOR=1
point=
fail() {
    printf 'crash_points.sh: %s: %s (SEED=%s)\n' "${point:-before}" "$1" "$seed"
    tail -n 20 "$folder/log"
    exit 1
}
# A population with a check: proposals, pauses, heirs, checkpoints, adapters, pairing.
tests/support/sentences.py "$folder" 6 train=80 validation=48 || exit 1
cat >"$folder/p.json" <<JSON
{ "name": "p", "seed": 5, "model": "$PWD/tests/golden/cases/models/bert",
  "task": { "kind": "classification", "train": "train.jsonl", "validation": "validation.jsonl", "text": "text",
            "label": "label" },
  "settings": { "method": "lora", "epochs": 3, "batch_size": 8, "max_tokens": 16, "dropout": 0.1, "evaluate_every": 10 },
  "parameters": { "learning_rate": { "min": 1e-3, "max": 1e-1, "scale": "log" } },
  "search": { "algorithm": "random", "configurations": 4 },
  "objectives": [ { "metric": "validation/loss" } ],
  "stopping": { "rule": "pbt", "interval": 10, "max_resource": 30 },
  "checks": [ { "kind": "counterfactual", "file": "$PWD/sweeps/checks/names.json" } ],
  "resources": { "slots": 2, "retries": 3 } }
JSON
# All that a sweep came to, but for attempts, seconds and times.
results() { # store, sweep
    sqlite3 "$1" "PRAGMA integrity_check; PRAGMA foreign_key_check;
        SELECT s.state, t.number, t.identity, t.seed, t.state, t.reason, t.value, t.steps, t.message, c.parameters FROM trial t
            JOIN configuration c ON c.id = t.configuration_id JOIN sweep s ON s.id = t.sweep_id WHERE s.name = '$2' ORDER BY 2;
        SELECT trial, metric, step, quote(value) FROM curve WHERE sweep = '$2' ORDER BY 1, 2, 3;
        SELECT t.number, e.split, e.step, e.is_final, e.metrics, hex(e.items) FROM evaluation e JOIN trial t ON t.id = e.trial_id
            JOIN sweep s ON s.id = t.sweep_id WHERE s.name = '$2' ORDER BY 1, 2, 3, 4;
        SELECT t.number, b.check_name, b.metric, quote(b.before), quote(b.after) FROM bias_check b
            JOIN trial t ON t.id = b.trial_id JOIN sweep s ON s.id = t.sweep_id WHERE s.name = '$2' ORDER BY 1, 2, 3;
        SELECT t.number, d.action, d.step, d.rule, d.reason FROM decision d JOIN sweep s ON s.id = d.sweep_id
            LEFT JOIN trial t ON t.id = d.trial_id WHERE s.name = '$2' ORDER BY 1, 2, 3, 4, 5;
        SELECT t.number, a.path, a.sha256 FROM artifact a JOIN trial t ON t.id = a.trial_id
            JOIN sweep s ON s.id = t.sweep_id WHERE s.name = '$2' ORDER BY 1, 2;
        SELECT count(*) FROM event WHERE kind IN ('nondeterministic', 'checkpoint_lost')"
}
same() { # sweep, expected
    results "$db" "$1" >"$folder/found"
    [ -s "$2" ] || fail 'there is nothing to compare'
    diff "$2" "$folder/found" >"$folder/log" || fail 'the results are others'
    while IFS='|' read -r path hash; do
        [ "$(sha256sum <"${db%.db}/$1/$path" | cut -d' ' -f1)" = "$hash" ] || fail "'$path' is not what its row says"
    done < <(sqlite3 "$db" "SELECT a.path, a.sha256 FROM artifact a JOIN trial t ON t.id = a.trial_id
        JOIN sweep s ON s.id = t.sweep_id WHERE s.name = '$1'")
}
# The command, which may be killed once, until it is through.
through() { # arguments
    local i
    for ((i = 0; i < 3; i++)); do
        "$BUILD/nightsweep" "$@" --store "$db" >>"$folder/log" 2>&1 && return 0
    done
    fail "'$*' does not end well"
}
begin() { # passage: a new store, and a crash to come
    rm -rf "$folder/d" "$folder/mark"
    mkdir "$folder/d"
    db=$folder/d/s.db
    : >"$folder/log"
    export NIGHTSWEEP_CRASH_AT=$point:$1 NIGHTSWEEP_CRASH_MARK=$folder/mark
}
prepare() { # without the crash
    env -u NIGHTSWEEP_CRASH_AT "$BUILD/nightsweep" "$@" >>"$folder/log" 2>&1 || fail "'$*' fails"
}
run=("run" "$folder/p.json" --checkpoint-every 0s --quiet)

at_run() {
    begin "$1"
    through "${run[@]}"
    same p "$folder/expected"
    [ -z "$(find "$folder/d/s" -name '*.checkpoint*' -o -name '*.tmp*')" ] || fail 'files are left'
}
# A run that is killed, and the next one while it settles what that left.
at_recovery() {
    begin 1
    env -u NIGHTSWEEP_CRASH_MARK NIGHTSWEEP_CRASH_AT=attempt_sent "$BUILD/nightsweep" "${run[@]}" --store "$db" \
        >>"$folder/log" 2>&1
    through "${run[@]}"
    same p "$folder/expected"
}
at_migration() {
    begin 1
    sqlite3 "$db" <tests/fixtures/store-v1.sql
    name=$(sqlite3 "$db" 'SELECT name FROM sweep LIMIT 1')
    through archive "$name"
    sqlite3 "$db" "$migrated" >"$folder/found"
    diff "$folder/migrated" "$folder/found" >"$folder/log" || fail 'the migrated store is another'
    [ "$(sqlite3 "$db.v1.bak" 'PRAGMA user_version; PRAGMA integrity_check')" = $'1\nok' ] || fail 'no good backup'
}
at_gc() {
    begin 1
    cp -r "$folder/half/." "$folder/d"
    sqlite3 "$db" "UPDATE checkpoint SET path = replace(path, '$folder/half/', '$folder/d/');
        UPDATE sweep SET output_folder = replace(output_folder, '$folder/half/', '$folder/d/')"
    [ "$(sqlite3 "$db" 'SELECT count(*) > 0 FROM checkpoint')" = 1 ] || fail 'there are no checkpoints'
    through gc --checkpoints-older-than 0s
    [ "$(sqlite3 "$db" 'SELECT count(*) FROM checkpoint')" = 0 ] || fail 'rows of checkpoints are left'
    [ -z "$(find "$folder/d/s" -name '*.checkpoint')" ] || fail 'checkpoints are left'
    [ -e "$folder/mark" ] || return
    through run "$folder/g.json" --quiet
    same g "$folder/expected.g"
}
# Rows go first; what is left of the files then belongs to nobody, and gc knows it.
at_delete() {
    begin 1
    cp -r "$folder/quiet/." "$folder/d"
    sqlite3 "$db" "UPDATE sweep SET output_folder = replace(output_folder, '$folder/quiet/', '$folder/d/')"
    "$BUILD/nightsweep" delete p --yes --store "$db" >>"$folder/log" 2>&1
    through gc
    [ "$(sqlite3 "$db" 'SELECT count(*) FROM trial; PRAGMA integrity_check')" = $'0\nok' ] || fail 'rows are left'
    [ ! -e "$folder/d/s/p" ] || fail 'files are left'
}
at_import() {
    begin 1
    "$BUILD/nightsweep" import "$folder/quiet/s.db" --store "$db" >>"$folder/log" 2>&1
    [ "$(sqlite3 "$db" 'SELECT count(*) FROM sweep')" = 1 ] || through import "$folder/quiet/s.db"
    same p "$folder/expected"
    through gc
    same p "$folder/expected"
}

# What undisturbed commands come to.
db=$folder/quiet/s.db
mkdir "$folder/quiet" "$folder/half" "$folder/m"
: >"$folder/log"
prepare "${run[@]}" --store "$db"
results "$db" p >"$folder/expected"
# Of the migration: rows of the tables that every version has.
migrated="PRAGMA user_version; PRAGMA integrity_check; PRAGMA foreign_key_check;
    SELECT id, name, state FROM sweep; SELECT id, number, identity, state, value FROM trial; SELECT count(*), total(value) FROM metric;
    SELECT count(*) FROM event WHERE kind <> 'archived'"
sqlite3 "$folder/m/s.db" <tests/fixtures/store-v1.sql
prepare archive "$(sqlite3 "$folder/m/s.db" 'SELECT name FROM sweep LIMIT 1')" --store "$folder/m/s.db"
sqlite3 "$folder/m/s.db" "$migrated" >"$folder/migrated"
# Of gc: a sweep of a grid that stands halfway.
sed -e 's/"name": "p"/"name": "g"/' -e '/"stopping"/d' -e 's/"algorithm".*4/"algorithm": "grid"/' \
    -e 's/{ "min".*}/{ "values": [0.01, 0.02, 0.03] } }/' "$folder/p.json" >"$folder/g.json"
mkdir "$folder/whole"
prepare run "$folder/g.json" --store "$folder/whole/s.db" --quiet
results "$folder/whole/s.db" g >"$folder/expected.g"
NIGHTSWEEP_CRASH_AT=checkpoint_removed:8 "$BUILD/nightsweep" run "$folder/g.json" --store "$folder/half/s.db" \
    --checkpoint-every 0s --quiet >>"$folder/log" 2>&1

RANDOM=$seed
n=0
exec 2>"$folder/killed" # the shell says so each time
while IFS=$'\t' read -r point where _; do
    [[ -z ${POINTS:-} || " $POINTS " == *" $point "* ]] || continue
    passage=$((1 + RANDOM % 4))
    "at_$where" "$passage"
    [ -e "$folder/mark" ] || "at_$where" 1 # it is passed less often
    [ -e "$folder/mark" ] || fail 'nothing came by it'
    n=$((n + 1))
done < <("$BUILD/nightsweep" --crash-points)
[ -n "${POINTS:-}" ] || [ "$n" -ge 46 ] || fail "there are $n points"
printf '%d points\n' "$n"
