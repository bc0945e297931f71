#!/usr/bin/env bash
# A sweep in stages with the real programs: what starts from what, what waits and says so, kills at the moment between a
# stage's model and its row, a folder that is gone, an adapter that is passed on. BUILD: the folder of the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
unset NIGHTSWEEP_STORE NIGHTSWEEP_CRASH_AT NIGHTSWEEP_CRASH_MARK
export NO_COLOR=1
failed=0
db=$folder/a/s.db
fail() {
    printf 'stages.sh: %s\n' "$1"
    tail -n 15 "$folder/out"
    failed=1
}
sql() { sqlite3 "$db" "$1"; }
expect() { # query, expected answer
    local found
    found=$(sql "$1")
    [ "$found" = "$2" ] || fail "'$1' gives '$found', expected '$2'"
}
nightsweep() { # expected exit status, arguments...
    local expected=$1 status
    shift
    "$BUILD/nightsweep" "$@" --store "$db" >"$folder/out" 2>&1
    status=$?
    [ "$status" = "$expected" ] || fail "exit status $status of '$*', expected $expected"
}
killed() { # crash point: a run that ends there
    { NIGHTSWEEP_CRASH_AT=$1 NIGHTSWEEP_CRASH_MARK=$folder/mark "$BUILD/nightsweep" run "$folder/low.json" --quiet \
        --store "$db" >"$folder/out"; } 2>/dev/null && fail "no kill at $1"
    rm -f "$folder/mark"
}
says() { grep -qE -- "$1" "$folder/out" || fail "nothing said like '$1'"; }

tests/support/sentences.py "$folder" 6 train=80 validation=48 || exit 1
define() { # members of the second stage
    cat <<JSON
{ "name": "low", "seed": 5, "model": "$PWD/tests/golden/cases/models/bert", "seeds": 2,
  "task": { "kind": "classification", "train": "train.jsonl", "validation": "validation.jsonl", "text": "text",
            "label": "label" },
  "settings": { "epochs": 1, "batch_size": 8, "max_tokens": 16, "dropout": 0.1 },
  "resources": { "slots": 2 },
  "stages": [
    { "name": "align", "settings": { "method": "lora" }, "parameters": { "learning_rate": { "values": [1e-3, 1e-2] } } },
    { "name": "tune", "model": { "from": "align", "trial": "seed" }, $1
      "parameters": { "method": { "values": ["lora", "full"] } } },
    { "name": "last", "model": { "from": "tune" }, "settings": { "method": "bitfit" } } ] }
JSON
}
define '' >"$folder/low.json"

nightsweep 0 plan "$folder/low.json" --no-timing
says "sweep 'low.align' .*2 configurations with 2 seeds, 4 trials"
says "waits for sweep 'low.align'"
says "waits for sweep 'low.tune'"
[ ! -e "$db" ] || fail 'a plan makes a store'
nightsweep 0 plan "$folder/low.json" --quiet
says "sweep 'low.last' .*1 configuration with 2 seeds, 2 trials"

# Killed in the first stage: the others wait, and say for what.
killed attempt_begun:1
expect "SELECT name, state FROM sweep ORDER BY id" $'low.align|OPEN\nlow.tune|OPEN\nlow.last|OPEN'
nightsweep 0 status
says "waits for"
says "low.align +OPEN +4 +0"
nightsweep 2 explain low.tune/1
says "sweep 'low.tune' has no trials yet: it waits for sweep 'low.align', which has 4 open of 4"

nightsweep 0 run "$folder/low.json" --quiet
expect "SELECT count(*) FROM sweep WHERE state = 'COMPLETE'" 3
expect "SELECT count(*) FROM trial WHERE state = 'COMPLETE'" 10
# Each seed from the same seed, of the configuration with the best mean; all of the last from the best.
expect "SELECT count(*) FROM origin o JOIN sweep s ON s.id = o.sweep_id JOIN sweep f ON f.name = o.from_sweep
    JOIN trial t ON t.sweep_id = f.id AND t.number = o.from_trial AND t.identity = o.from_identity
    JOIN leaderboard l ON l.sweep = f.name AND l.rank = 1 JOIN configuration c ON c.id = t.configuration_id
    AND c.number = l.configuration WHERE s.name = 'low.tune' AND o.seed = CAST(t.seed AS TEXT)" 2
expect "SELECT o.seed, o.from_sweep FROM origin o JOIN sweep s ON s.id = o.sweep_id WHERE s.name = 'low.last'" 'all|low.tune'
# What a trial was trained on is the folder its seed starts from.
expect "SELECT count(*) FROM trial t JOIN sweep s ON s.id = t.sweep_id AND s.name = 'low.tune' JOIN attempt a ON a.trial_id = t.id
    JOIN environment e ON e.id = a.environment_id JOIN origin o ON o.sweep_id = s.id AND o.seed = CAST(t.seed AS TEXT)
    WHERE e.model_sha256 = o.sha256" 4
nightsweep 0 show low.tune/1
says 'starts from'
says 'low.align'
nightsweep 0 merge low.last/1 --output "$folder/merged"
[ -e "$folder/merged/model.safetensors" ] || fail 'a later stage cannot be merged'
grep -qs 'low.tune' "${db%/*}/low.html" || fail 'the page does not have the stages'

everything="SELECT s.name, t.number, t.identity, t.value FROM trial t JOIN sweep s ON s.id = t.sweep_id ORDER BY 1, 2;
    SELECT s.name, o.role, o.seed, o.from_sweep, o.from_trial, o.sha256 FROM origin o JOIN sweep s ON s.id = o.sweep_id
    ORDER BY 1, 2, 3"
sql "$everything" >"$folder/expected"
n=$(sql 'SELECT count(*) FROM attempt')
nightsweep 0 run "$folder/low.json" --quiet
expect 'SELECT count(*) FROM attempt' "$n"

# A killed run goes on, at the moment between a model and its row and at any other.
for point in origin_made:1 origin_made:2 origin_made:3 attempt_sent:6 checks_paired:2 sweep_added:2 trials_added:3; do
    db=$folder/${point/:/-}/s.db
    mkdir "${db%/*}"
    killed $point
    nightsweep 0 run "$folder/low.json" --quiet
    sql "$everything" | diff "$folder/expected" - >"$folder/out" || fail "$point: the results are others"
done

# A folder that is gone is made again; one that is another is refused.
db=$folder/a/s.db
made=$(sql "SELECT path FROM origin ORDER BY sweep_id LIMIT 1")
sed 's/\[1e-3, 1e-2\]/[1e-3, 1e-2, 3e-3]/; s/\["lora", "full"\]/["lora", "full", "bitfit"]/' "$folder/low.json" >"$folder/more.json"
rm -r "$made"
nightsweep 0 run "$folder/more.json" --quiet
expect "SELECT count(*), count(DISTINCT o.from_trial) FROM origin o JOIN sweep s ON s.id = o.sweep_id WHERE s.name = 'low.tune'" '2|2'
expect "SELECT count(*) FROM trial t JOIN sweep s ON s.id = t.sweep_id WHERE s.name = 'low.tune' AND t.state = 'COMPLETE'" 6
sql "$everything" | grep -c -F -f "$folder/expected" | grep -qx "$(wc -l <"$folder/expected")" || fail 'what was there has changed'
printf ' ' >>"$made/config.json"
nightsweep 2 run "$folder/more.json" --quiet
says "is not what the sweep began with"

# An adapter is passed on as it is, and what has none for a seed is named.
define '"settings": { "init_adapter": { "from": "align" } },' |
    sed 's/"model": { "from": "align", "trial": "seed" },//; s/\["lora", "full"\]/["lora"]/; s/{ "name": "last".*/{"name":"none","parameters":{}} ] }/' |
    sed 's/"name": "low"/"name": "passed"/' >"$folder/passed.json"
nightsweep 0 run "$folder/passed.json" --quiet
expect "SELECT role, seed, from_sweep FROM origin WHERE from_sweep = 'passed.align'" 'init_adapter|all|passed.align'
define '"seeds": 3,' | sed 's/"name": "low"/"name": "many"/' >"$folder/many.json"
nightsweep 2 run "$folder/many.json" --quiet
says "no configuration of sweep 'many.align' has a finished trial of each of the 3 seeds"
define '' | sed 's/"from": "align"/"from": "low.aling"/; s/"name": "low"/"name": "typo"/' >"$folder/typo.json"
nightsweep 2 run "$folder/typo.json" --quiet
says "there is no sweep 'low.aling' to start from .*nearest is 'low.align'"
exit $failed
