#!/usr/bin/env bash
# Population-based training with the real trainer: the last of each generation go on from the checkpoints of the first,
# with other learning rates. One slot, two slots, and a run that is killed KILLS times (6) decide the same and end with the
# same values, bit for bit. BUILD: the folder of the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
kills=${KILLS:-6}
seed=${SEED:-$RANDOM}
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
fail() {
    printf 'population.sh: %s (SEED=%s)\n' "$1" "$seed"
    tail -n 20 "$folder/log"
    exit 1
}
expect() { # store, query, expected answer
    local found
    found=$(sqlite3 "$folder/$1.db" "$2")
    [ "$found" = "$3" ] || fail "$1: '$2' gives '$found', expected '$3'"
}
tests/support/sentences.py "$folder" 6 train=240 validation=96 || exit 1
define() { # name, slots
    cat >"$folder/$1.json" <<JSON
{ "name": "p", "seed": 5, "model": "$PWD/tests/golden/cases/models/bert",
  "task": { "kind": "classification", "train": "train.jsonl", "validation": "validation.jsonl", "text": "text",
            "label": "label" },
  "settings": { "epochs": 4, "batch_size": 8, "max_tokens": 16, "dropout": 0.1, "evaluate_every": 15 },
  "parameters": {
    "method": { "values": ["lora", "bitfit"] },
    "rank": { "values": [1, 4], "when": { "method": "lora" } },
    "learning_rate": { "min": 1e-4, "max": 1e-1, "scale": "log" } },
  "search": { "algorithm": "random", "configurations": 6 },
  "objectives": [ { "metric": "validation/loss" } ],
  "stopping": { "rule": "pbt", "interval": 30, "max_resource": 120 },
  "resources": { "slots": $2 } }
JSON
}
# shellcheck source=tests/support/killed_runs.sh
. tests/support/killed_runs.sh
define one 1
define two 2
define killed 2
: >"$folder/log"
sweep one || fail "one slot ended with status $?"
sweep two || fail "two slots ended with status $?"
sweep_killed killed "$kills" 100 500
sweep killed || fail "the last run ended with status $?"

# Three generations end before the last, one of six is replaced each time, and what it becomes is better than what it was.
expect one "SELECT count(*) FROM trial" 9
expect one "SELECT count(*) FROM trial WHERE state = 'COMPLETE'" 6
expect one "SELECT count(*) FROM trial WHERE state = 'PRUNED' AND message LIKE 'generation %: goes on from trial %'" 3
expect one "SELECT count(*) FROM decision WHERE action = 'propose' AND reason LIKE 'generation %'" 3
# A trial that goes on from another one trains the rest only, from that one's checkpoint.
expect one "SELECT count(*) FROM trial t WHERE number > 6 AND EXISTS (SELECT 1 FROM metric m JOIN metric_name n
    ON n.id = m.name_id WHERE m.trial_id = t.id AND n.name = 'train/loss' AND m.step <= 30)" 0
expect one "SELECT count(*) FROM trial t WHERE number > 6 AND (SELECT MIN(resumed_step) FROM attempt a
    WHERE a.trial_id = t.id) NOT IN (30, 60, 90)" 0
expect one "SELECT count(*) FROM checkpoint" 0
[ -z "$(find "$folder/one" -name '*.checkpoint')" ] || fail 'checkpoints are left'

# The same decisions and values, whoever ran when.
for name in one two killed; do
    sqlite3 "$folder/$name.db" "SELECT t.number, c.parameters, t.identity, t.state, t.value, t.message FROM trial t
        JOIN configuration c ON c.id = t.configuration_id ORDER BY t.number" >"$folder/$name.trials"
    expect "$name" "SELECT count(*) FROM event WHERE kind IN ('nondeterministic', 'checkpoint_lost')" 0
done
cmp -s "$folder/one.trials" "$folder/two.trials" || fail "two slots decided otherwise: $(diff "$folder/one.trials" "$folder/two.trials")"
cmp -s "$folder/one.trials" "$folder/killed.trials" ||
    fail "the killed run decided otherwise: $(diff "$folder/one.trials" "$folder/killed.trials")"

# The checkpoint that an heir goes on from is damaged from outside: that trial fails and says whose it was, the others go on.
define damaged 1
NIGHTSWEEP_CRASH_AT=inherited:1 NIGHTSWEEP_CRASH_MARK="$folder/mark" sweep damaged
parent=$(sqlite3 "$folder/damaged.db" "SELECT substr(message, instr(message, 'from trial ') + 11) + 0 FROM trial
    WHERE message LIKE 'generation 1: goes on from trial %'")
path=$(sqlite3 "$folder/damaged.db" "SELECT path FROM checkpoint c JOIN trial t ON t.id = c.trial_id
    WHERE t.number = '$parent' AND c.step = 30")
[ -s "$path" ] || fail "trial '$parent' has no checkpoint of step 30"
echo damaged >"$path"
sweep damaged
[ $? = 1 ] || fail 'a damaged checkpoint of a parent ends with another status than 1'
expect damaged "SELECT number, state, reason, message FROM trial WHERE state = 'FAILED'" \
    "7|FAILED|bad_data|it goes on from step 30 of trial $parent, whose checkpoint of that step is damaged"
expect damaged "SELECT count(*) FROM event WHERE kind = 'checkpoint_lost'" 1
expect damaged "SELECT state FROM trial WHERE number = $parent" COMPLETE
