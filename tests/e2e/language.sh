#!/usr/bin/env bash
# A sweep over a language model from definition to page: tasks causal and seq2seq, perplexity as the objective.
# BUILD: the folder of the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
db=$folder/l.db
fail() {
    printf 'language.sh: %s\n' "$1"
    tail -n 20 "$folder/log"
    exit 1
}
expect() { # query, expected answer
    local found
    found=$(sqlite3 "$db" "$1")
    [ "$found" = "$2" ] || fail "'$1' gives '$found', expected '$2'"
}
for ((i = 0; i < 60; i++)); do
    printf '{"all":"w%d w%d w%d w%d","text":"w%d w%d","answer":"w%d"}\n' $((6 + i % 20)) $((7 + i % 20)) $((8 + i % 20)) \
        $((9 + i % 20)) $((6 + i % 20)) $((7 + i * 7 % 20)) $((8 + i % 20))
done >"$folder/train.jsonl"
define() { # name, model, members of the task, objective
    printf '{"name":"%s","seed":2,"model":"%s","task":{"train":"train.jsonl",%s},"settings":{"epochs":4,"batch_size":8,' \
        "$1" "$PWD/tests/golden/cases/models/$2" "$3"
    printf '"learning_rate":0.01,"max_tokens":16,"dropout":0},"parameters":{"method":{"values":["full","lora"]}},'
    printf '"objectives":[{"metric":"%s"}],"seeds":1,"resources":{"slots":1}}\n' "$4"
}
define causal gpt2 '"kind":"causal","text":"all"' validation/perplexity >"$folder/causal.json"
define answers llama '"kind":"causal","text":"text","target":"answer"' validation/loss >"$folder/answers.json"
define pairs m2m '"kind":"seq2seq","text":"text","target":"answer"' validation/perplexity >"$folder/pairs.json"
for name in causal answers pairs; do
    "$BUILD/nightsweep" plan "$folder/$name.json" --store "$db" >"$folder/log" 2>&1 || fail "plan of $name: status $?"
    "$BUILD/nightsweep" run "$folder/$name.json" --store "$db" --quiet >>"$folder/log" 2>&1 || fail "$name: status $?"
done
expect 'SELECT count(*), min(state), max(state), count(value) FROM trial' '6|COMPLETE|COMPLETE|6'
# Guessing among 80, 80 and 72 words has their number as perplexity; the loss is compared as it is.
expect "SELECT count(*) FROM trial WHERE number = 1 AND value < 40" 3
expect "SELECT count(*) FROM evaluation WHERE json_extract(metrics, '\$.perplexity') IS NULL OR json_array_length(metrics) > 0" 0
"$BUILD/nightsweep" export causal --store "$db" --output "$folder/causal.html" >>"$folder/log" 2>&1 || fail "export: status $?"
[ -s "$folder/causal.html" ] || fail 'the page is empty'
"$BUILD/nightsweep" show causal/1 --store "$db" >>"$folder/log" 2>&1 || fail "show: status $?"
