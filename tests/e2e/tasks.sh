#!/usr/bin/env bash
# Tasks from a sweep file to answers: run, predict, eval equal to what was recorded; what does not apply is refused in plan.
set -eu
cd "$(dirname "$0")/../.."
build=${BUILD:-build/release}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export NIGHTSWEEP_CACHE="$work/cache"
models=$PWD/tests/golden/cases/models
failed=0

fail() { echo "FAILED: $*"; failed=1; }

# name, model, members of the task, rows; the text that `predict` must find in its column of answers
sweep() {
    printf '%b' "$4" >"$work/$1.jsonl"
    cat >"$work/$1.json" <<JSON
{ "name": "$1", "model": "$models/$2", "task": { "train": "$1.jsonl", "validation": "$1.jsonl", "test": "$1.jsonl", $3 },
  "settings": { "method": "lora", "rank": 2, "epochs": 2, "batch_size": 2, "pooling": "mean" },
  "parameters": { "learning_rate": { "values": [0.01] } } }
JSON
    "$build/nightsweep" run "$work/$1.json" --store "$work/$1.db" >"$work/log" 2>&1 || { fail "$1: run"; cat "$work/log"; return; }
    trial=$(sqlite3 "$work/$1.db" "SELECT number FROM trial WHERE state = 'COMPLETE' LIMIT 1")
    "$build/nightsweep" eval "$1/$trial" --store "$work/$1.db" >"$work/eval" || { fail "$1: eval"; return; }
    awk 'NR > 1 && $4 + 0 != 0 { bad = 1 } END { exit bad || NR < 3 }' "$work/eval" || { fail "$1: eval is not what was recorded"; cat "$work/eval"; }
    "$build/nightsweep" predict "$1/$trial" --store "$work/$1.db" --input "$work/$1.jsonl" --output "$work/out.csv" ||
        { fail "$1: predict"; return; }
    head -1 "$work/out.csv" | grep -q "$5" || { fail "$1: predict has no '$5'"; head -2 "$work/out.csv"; }
    [ "$(wc -l <"$work/out.csv")" = $(($(wc -l <"$work/$1.jsonl") + 1)) ] || fail "$1: predict gives another number of rows"
    echo "ok      $1: run, eval, predict"
}

sweep regression bert '"kind": "regression", "text": "t", "label": "y"' \
    '{"t":"w7 w8","y":0.5}\n{"t":"w9","y":-1}\n{"t":"w12","y":2}\n' 'predicted'
sweep choice bert '"kind": "multiple_choice", "text": "t", "choices": ["a", "b"], "label": "y"' \
    '{"t":"w7 w8","a":"w9","b":"w10","y":0}\n{"t":"w9","a":"w9","b":"w11","y":1}\n' 'predicted,p(0),p(1)'
sweep tags gpt2 '"kind": "token_classification", "text": "w", "label": "g"' \
    '{"w":["w7","w8"],"g":["B-A","O"]}\n{"w":"w9 w10","g":"O B-A"}\n' 'predicted'
sweep answers bert '"kind": "question_answering", "text": "q", "text_pair": "c", "answer": "a"' \
    '{"q":"w7","c":"w8 w9 w10","a":"w9"}\n{"q":"w11","c":"w12 w13","a":["w13","w12"]}\n' 'predicted'
sweep cloze gpt2 '"kind": "cloze", "text": "t", "label": "y", "template": "{text} w60 {mask}", "label_words": {"no": "w61", "yes": "w62"}' \
    '{"t":"w7 w8","y":"no"}\n{"t":"w9","y":"yes"}\n' 'predicted,p(no),p(yes)'

# What plan refuses.
refuse() { # what it must say, members beside the task's
    cat >"$work/refused.json" <<JSON
{ "name": "refused", "model": "$models/bert", "task": { "kind": "regression", "train": "regression.jsonl", "text": "t", "label": "y" }, $2 }
JSON
    if "$build/nightsweep" plan "$work/refused.json" >"$work/log" 2>&1; then fail "plan took $2"; fi
    grep -qF "$1" "$work/log" || { fail "plan does not say '$1'"; cat "$work/log"; }
}
refuse "settings.class_weights: does not apply to the task regression" '"settings": {"class_weights": "balanced"}, "parameters": {"method": {"values": ["lora"]}}'
refuse "parameters.mask_probability: does not apply to the task regression" '"parameters": {"mask_probability": {"values": [0.1, 0.2]}}'
refuse "'counterfactual' does not apply" '"checks": [{"kind": "counterfactual", "file": "regression.jsonl"}], "parameters": {"method": {"values": ["lora"]}}'
refuse "objectives[0].metric: 'validation/accuracy'" '"objectives": [{"metric": "validation/accuracy"}], "parameters": {"method": {"values": ["lora"]}}'
[ "$failed" = 0 ] && echo "ok      plan refuses what does not apply"
exit "$failed"
