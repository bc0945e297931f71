#!/usr/bin/env bash
# Strict order with the real trainer: a model-based search under ASHA proposes, pauses, promotes and ends the same trials
# with one slot, with three, and killed again and again. BUILD: the folder of the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
kills=${KILLS:-4}
seed=${SEED:-$RANDOM}
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
fail() {
    printf 'strict.sh: %s (SEED=%s)\n' "$1" "$seed"
    tail -n 20 "$folder/log"
    exit 1
}
tests/support/sentences.py "$folder" 6 train=160 validation=64 || exit 1
define() { # name, slots
    cat >"$folder/$1.json" <<JSON
{ "name": "s", "seed": 5, "order": "strict", "model": "$PWD/tests/golden/cases/models/bert",
  "task": { "kind": "classification", "train": "train.jsonl", "validation": "validation.jsonl", "text": "text",
            "label": "label" },
  "settings": { "steps": 45, "batch_size": 8, "max_tokens": 16, "evaluate_every": 5 },
  "parameters": {
    "method": { "values": ["lora", "bitfit"] },
    "learning_rate": { "min": 1e-4, "max": 1e-1, "scale": "log" } },
  "search": { "algorithm": "gp", "configurations": 14 },
  "objectives": [ { "metric": "validation/loss" } ],
  "stopping": { "rule": "asha", "min_resource": 5, "max_resource": 45, "reduction_factor": 3 },
  "resources": { "slots": $2 } }
JSON
}
# shellcheck source=tests/support/killed_runs.sh
. tests/support/killed_runs.sh
define one 1
define three 3
define killed 2
: >"$folder/log"
sweep one || fail "one slot ended with status $?"
sweep three || fail "three slots ended with status $?"
sweep_killed killed "$kills" 150 700
sweep killed || fail "the last run ended with status $?"
for name in one three killed; do
    # Of a trial that ends early the order decides; how far it had come by then does not count.
    sqlite3 "$folder/$name.db" "SELECT t.number, c.parameters, t.state, t.value FROM trial t
        JOIN configuration c ON c.id = t.configuration_id ORDER BY t.number;
        SELECT t.number, d.step, d.action, d.reason FROM decision d JOIN trial t ON t.id = d.trial_id
        ORDER BY t.number, d.id" >"$folder/$name.found"
    [ "$(sqlite3 "$folder/$name.db" "SELECT count(*) FROM event WHERE kind IN ('nondeterministic', 'checkpoint_lost')")" = 0 ] ||
        fail "$name is not exact"
done
[ "$(sqlite3 "$folder/one.db" "SELECT count(*) FROM trial WHERE state = 'PRUNED'")" -gt 4 ] || fail 'hardly a trial ended early'
[ "$(sqlite3 "$folder/one.db" "SELECT count(*) FROM trial")" = 14 ] || fail 'not as many trials as asked for'
cmp -s "$folder/one.found" "$folder/three.found" || fail "three slots: $(diff "$folder/one.found" "$folder/three.found")"
cmp -s "$folder/one.found" "$folder/killed.found" || fail "killed: $(diff "$folder/one.found" "$folder/killed.found")"
