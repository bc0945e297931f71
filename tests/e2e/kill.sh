#!/usr/bin/env bash
# SIGKILL at random moments to the coordinator, the worker, a trainer or all of them, KILLS times (100), then `run` again
# until it is done: every trial finishes once, and every metric, check and artifact equals those of a run nobody
# disturbed, bit for bit. A tiny model, dropout on, a checkpoint after every step. BUILD: the folder of the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
kills=${KILLS:-100}
seed=${SEED:-$RANDOM}
folder=$(mktemp -d) || exit 1
trap 'pkill -KILL -f "$folder" 2>/dev/null; rm -rf "$folder"' EXIT
fail() {
    printf 'kill.sh: %s (SEED=%s)\n' "$1" "$seed"
    [ -f "$folder/log" ] && tail -n 40 "$folder/log"
    exit 1
}

tests/support/sentences.py "$folder" 5 train=320 validation=48 test=48 || fail "no data"
model=$PWD/tests/golden/cases/models/bert
checks=$PWD/sweeps/checks/names.json
cat >"$folder/sweep.json" <<JSON
{ "name": "kill", "seed": 11, "model": "$model",
  "task": { "kind": "classification", "train": "train.jsonl", "validation": "validation.jsonl", "test": "test.jsonl",
            "text": "text", "label": "label" },
  "settings": { "epochs": 3, "batch_size": 8, "max_tokens": 16, "dropout": 0.1, "evaluate_every": 7 },
  "parameters": {
    "method": { "values": ["full", "lora", "bitfit", "adapter"] },
    "rank": { "values": [2], "when": { "method": "lora" } },
    "method_dropout": { "values": [0.1], "when": { "method": ["lora", "adapter"] } },
    "learning_rate": { "values": [0.01] } },
  "search": { "algorithm": "grid" }, "seeds": 2,
  "checks": [ { "kind": "counterfactual", "file": "$checks" } ],
  "resources": { "slots": 2, "retries": 1000 } }
JSON

start() { # store
    "$BUILD/nightsweep" run "$folder/sweep.json" --store "$1" --checkpoint-every 0s --quiet >>"$folder/log" 2>&1
}
# All that a trial came to. Attempts, seconds and times are left out: they may differ.
results() {
    sqlite3 "$1" "
        SELECT number, state, reason, value, steps, total_steps, trained_parameters, stored_bytes, flops FROM trial ORDER BY 1;
        SELECT t.number, n.name, m.step, quote(m.value) FROM metric m JOIN trial t ON t.id = m.trial_id
            JOIN metric_name n ON n.id = m.name_id ORDER BY 1, 2, 3;
        SELECT t.number, e.split, e.step, e.is_final, e.metrics, hex(e.items) FROM evaluation e
            JOIN trial t ON t.id = e.trial_id ORDER BY 1, 2, 3, 4;
        SELECT t.number, b.check_name, b.metric, quote(b.before), quote(b.after), quote(b.low), quote(b.high)
            FROM bias_check b JOIN trial t ON t.id = b.trial_id ORDER BY 1, 2, 3;
        SELECT t.number, a.path, a.bytes, a.sha256 FROM artifact a JOIN trial t ON t.id = a.trial_id ORDER BY 1, 2;"
}
# Processes of this test: those that carry its folder in their command line or are children of one that does.
programs() { # name
    pgrep -f "nightsweep run $folder/sweep.json" | while read -r coordinator; do
        worker=$(pgrep -P "$coordinator" | head -1)
        case $1 in
        coordinator) echo "$coordinator" ;;
        worker) [ -n "$worker" ] && echo "$worker" ;;
        trainer) [ -n "$worker" ] && pgrep -P "$worker" | head -1 ;;
        all) echo "$coordinator" && [ -n "$worker" ] && echo "$worker" && pgrep -P "$worker" ;;
        esac
    done
}

# Lets the disturbed sweep finish and compares it with the undisturbed one.
compare() {
    start "$folder/noisy.db" || fail "the last run failed"
    [ "$(sqlite3 "$folder/noisy.db" 'PRAGMA integrity_check')" = ok ] || fail "the store is damaged"
    [ "$(sqlite3 "$folder/noisy.db" "SELECT count(*) FROM trial WHERE state <> 'COMPLETE'")" = 0 ] || fail "a trial is lost"
    [ "$(sqlite3 "$folder/noisy.db" "SELECT count(*) FROM event WHERE kind = 'nondeterministic'")" = 0 ] ||
        fail "something repeated with another value"
    results "$folder/noisy.db" >"$folder/found"
    [ -s "$folder/expected" ] || fail "there are no results to compare"
    diff "$folder/expected" "$folder/found" >"$folder/log" || fail "the results differ"
    while IFS='|' read -r path hash; do
        [ "$(sha256sum <"$folder/noisy/kill/$path" | cut -d' ' -f1)" = "$hash" ] || fail "artifact '$path' is not what its row says"
    done < <(sqlite3 "$folder/noisy.db" 'SELECT path, sha256 FROM artifact')
    [ -z "$(find "$folder/noisy" -name '*.checkpoint*')" ] || fail "checkpoints of finished trials are left"
    attempts="$attempts $(sqlite3 "$folder/noisy.db" \
        "SELECT count(*), sum(state = 'INTERRUPTED'), sum(resumed_step > 0) FROM attempt")"
}

attempts=
start "$folder/quiet.db" || fail "the undisturbed run failed"
results "$folder/quiet.db" >"$folder/expected"
RANDOM=$seed
who=(coordinator worker trainer all)
for ((i = 0; i < kills; i++)); do
    "$BUILD/nightsweep" run "$folder/sweep.json" --store "$folder/noisy.db" --checkpoint-every 0s --quiet \
        >>"$folder/log" 2>&1 &
    runner=$!
    sleep "0.$(printf '%03d' $((RANDOM % 400)))"
    target=${who[RANDOM % 4]}
    # shellcheck disable=SC2046 # a list of process numbers
    kill -KILL $(programs "$target") 2>/dev/null
    # A coordinator that lost worker or trainer goes on by itself; let it work a little, then end it too.
    if [ "$target" = worker ] || [ "$target" = trainer ]; then
        sleep "0.$(printf '%03d' $((RANDOM % 300)))"
        # shellcheck disable=SC2046
        kill -KILL $(programs coordinator) 2>/dev/null
    fi
    wait "$runner" 2>/dev/null
    left=$(sqlite3 "$folder/noisy.db" "SELECT count(*) FROM trial WHERE state <> 'COMPLETE'" 2>/dev/null)
    [ "${left:-1}" = 0 ] && compare && rm -rf "$folder"/noisy*
done
compare
printf 'kills %d, attempts|interrupted|resumed: %s\n' "$kills" "$attempts"
