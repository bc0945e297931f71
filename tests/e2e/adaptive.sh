#!/usr/bin/env bash
# A sweep whose trials are proposed and stopped as it goes (random search under ASHA), killed at random: every restart
# replays the search's history and goes on with it. No configuration twice, none too many, paused trials go on from
# their checkpoints, and in the end every trial is COMPLETE or PRUNED with its reason. BUILD: the folder of the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
kills=${KILLS:-10}
seed=${SEED:-$RANDOM}
folder=$(mktemp -d) || exit 1
trap 'pkill -KILL -f "$folder" 2>/dev/null; rm -rf "$folder"' EXIT
db=$folder/a.db
fail() {
    printf 'adaptive.sh: %s (SEED=%s)\n' "$1" "$seed"
    tail -n 20 "$folder/log"
    exit 1
}
expect() { # query, expected answer
    local found
    found=$(sqlite3 "$db" "$1")
    [ "$found" = "$2" ] || fail "'$1' gives '$found', expected '$2'"
}
tests/support/sentences.py "$folder" 6 train=240 validation=48 || exit 1
cat >"$folder/a.json" <<JSON
{ "name": "a", "seed": 5, "model": "$PWD/tests/golden/cases/models/bert",
  "task": { "kind": "classification", "train": "train.jsonl", "validation": "validation.jsonl", "text": "text",
            "label": "label" },
  "settings": { "epochs": 4, "batch_size": 8, "max_tokens": 16, "dropout": 0.1, "evaluate_every": 10 },
  "parameters": {
    "method": { "values": ["full", "lora", "bitfit"] },
    "rank": { "values": [1, 4], "when": { "method": "lora" } },
    "learning_rate": { "min": 1e-4, "max": 1e-1, "scale": "log" } },
  "search": { "algorithm": "random", "configurations": 16 },
  "stopping": { "rule": "asha", "min_resource": 10, "max_resource": 120, "reduction_factor": 3 },
  "resources": { "slots": 2 } }
JSON
RANDOM=$seed
: >"$folder/log"
for ((i = 0; i < kills; i++)); do
    "$BUILD/nightsweep" run "$folder/a.json" --store "$db" --checkpoint-every 0s --quiet >>"$folder/log" 2>&1 &
    runner=$!
    sleep "0.$(printf '%03d' $((100 + RANDOM % 500)))"
    kill -KILL "$runner" 2>/dev/null
    wait "$runner" 2>/dev/null
done
"$BUILD/nightsweep" run "$folder/a.json" --store "$db" --checkpoint-every 0s --quiet >>"$folder/log" 2>&1 ||
    fail "the last run ended with status $?"
expect 'SELECT count(*), count(DISTINCT configuration_id), max(number) FROM trial' '16|16|16'
expect 'SELECT count(DISTINCT settings) FROM configuration' 16
expect "SELECT count(*) FROM trial WHERE state NOT IN ('COMPLETE', 'PRUNED')" 0
expect "SELECT state FROM sweep" COMPLETE
expect "SELECT count(*) FROM event WHERE kind IN ('nondeterministic', 'checkpoint_lost')" 0
expect "SELECT count(*) FROM checkpoint" 0
# Every pruned trial was paused or ended by a decision that says why, and none was trained to its end.
expect "SELECT count(*) FROM trial t WHERE state = 'PRUNED' AND (steps >= 120 OR NOT EXISTS (SELECT 1 FROM decision d
    WHERE d.trial_id = t.id AND d.action IN ('pause', 'prune') AND d.reason LIKE 'rung%'))" 0
expect "SELECT count(*) FROM trial t WHERE NOT EXISTS (SELECT 1 FROM decision d WHERE d.trial_id = t.id
    AND d.action = 'propose' AND d.reason <> '')" 0
# What was promoted went on from its checkpoint, not from the beginning.
expect "SELECT count(*) FROM trial t JOIN decision d ON d.trial_id = t.id AND d.action = 'resume' WHERE NOT EXISTS
    (SELECT 1 FROM attempt a WHERE a.trial_id = t.id AND a.resumed_step > 0)" 0
complete=$(sqlite3 "$db" "SELECT count(*) FROM trial WHERE state = 'COMPLETE'")
{ [ "$complete" -ge 1 ] && [ "$complete" -lt 16 ]; } || fail "$complete of 16 trials were trained to their end"
again=$(sqlite3 "$db" 'SELECT count(*) FROM attempt')
"$BUILD/nightsweep" run "$folder/a.json" --store "$db" --quiet >>"$folder/log" 2>&1 || fail "a finished sweep does not end with 0"
expect 'SELECT count(*) FROM attempt' "$again"

# Undisturbed, no trial is trained a step beyond the decision about it, and the budget of steps is used exactly.
sed -e 's/"name": "a"/"name": "steps"/' -e 's/"seed": 5/"seed": 6/' -e 's/"slots": 2/"slots": 1/' \
    -e 's/"stopping"/"budget": { "steps": 300 },&/' "$folder/a.json" >"$folder/steps.json"
"$BUILD/nightsweep" run "$folder/steps.json" --store "$db" --quiet >>"$folder/log" 2>&1 || fail "sweep steps ended with status $?"
steps_of() { # sweep
    expect "SELECT sum(m), max(m % 10) FROM (SELECT max(step) m FROM metric JOIN metric_name n ON n.id = name_id
        JOIN trial t ON t.id = trial_id JOIN sweep s ON s.id = t.sweep_id
        WHERE n.name = 'train/loss' AND s.name = '$1' GROUP BY t.id)" '300|0'
}
steps_of steps
# With two slots the one does not train what the other has begun.
sed -e 's/"name": "steps"/"name": "steps2"/' -e 's/"slots": 1/"slots": 2/' -e 's/"seed": 6/"seed": 7/' "$folder/steps.json" >"$folder/steps2.json"
"$BUILD/nightsweep" run "$folder/steps2.json" --store "$db" --quiet >>"$folder/log" 2>&1 || fail "sweep steps2 ended with status $?"
steps_of steps2

# Another sweep finds the equal trials that are through, and its search hears of them; a third one starts from what both
# found, whose best it trains first.
sed -e 's/"name": "a"/"name": "b"/' -e '/"stopping"/c\  "constraints": ["learning_rate > 0"],' "$folder/a.json" >"$folder/b.json"
"$BUILD/nightsweep" run "$folder/b.json" --store "$db" --quiet >>"$folder/log" 2>&1 || fail "sweep b ended with status $?"
expect "SELECT count(*) FROM event e JOIN sweep s ON s.id = e.sweep_id WHERE s.name = 'b' AND e.kind = 'reused'" "$complete"
expect "SELECT count(*) FROM event e JOIN sweep s ON s.id = e.sweep_id WHERE s.name = 'b' AND e.kind = 'study'
    AND json_extract(message, '\$.op') = 'tell' AND json_extract(message, '\$.step') IS NULL" 16
sed -e 's/"name": "a"/"name": "c"/' -e '/"stopping"/d' \
    -e 's/"algorithm": "random", "configurations": 16/"algorithm": "gp", "cost": "parameters", "configurations": 4, "warm_start": ["a", "b"]/' \
    "$folder/a.json" >"$folder/c.json"
"$BUILD/nightsweep" run "$folder/c.json" --store "$db" --quiet >>"$folder/log" 2>&1 || fail "sweep c ended with status $?"
expect "SELECT count(*) FROM decision d JOIN sweep s ON s.id = d.sweep_id WHERE s.name = 'c' AND d.reason LIKE 'warm start%'" 3
expect "SELECT count(DISTINCT json_extract(message, '\$.sweep')) FROM event WHERE kind = 'study'
    AND json_extract(message, '\$.op') = 'observe'" 2
# A history whose end does not follow from what stands before is not guessed at.
sqlite3 "$db" "UPDATE event SET message = (SELECT message FROM event WHERE kind = 'study' ORDER BY id LIMIT 1) WHERE id =
    (SELECT max(e.id) FROM event e JOIN sweep s ON s.id = e.sweep_id WHERE s.name = 'a' AND e.kind = 'study')"
"$BUILD/nightsweep" run "$folder/a.json" --store "$db" --quiet 2>&1 | grep -q "does not follow from those before: another version" ||
    fail "a history that does not follow was taken"
sed -i 's/\["a", "b"\]/["a", "bb"]/; s/"name": "c"/"name": "d"/' "$folder/c.json"
"$BUILD/nightsweep" run "$folder/c.json" --store "$db" --quiet 2>&1 | grep -q "there is no sweep 'bb' in .*, nearest is 'b'" ||
    fail "a sweep that is not there was taken"
