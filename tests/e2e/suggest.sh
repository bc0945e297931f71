#!/usr/bin/env bash
# suggest --serve: the exact replies, errors that do not end it, and a session that was killed and goes on.
set -eu
BUILD=${BUILD:-build/release}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cat >"$dir/sweep.json" <<'JSON'
{"parameters": {"learning_rate": {"min": 1e-5, "max": 0.1, "scale": "log"},
                "method": {"values": ["lora", "full"]},
                "rank": {"values": [1, 2, 4, 8], "when": {"method": "lora"}}},
 "objectives": [{"metric": "loss", "goal": "minimize"}],
 "stopping": {"rule": "threshold", "upper": 2}, "budget": {"trials": 12}}
JSON

fail() { echo "suggest.sh: $*" >&2; exit 1; }

# Requests of trials $1 to $2, told at once.
requests() {
    for ((i = $1; i <= $2; i++)); do
        echo '{"op":"ask"}'
        echo "{\"op\":\"tell\",\"trial\":$i,\"step\":1,\"metrics\":{\"loss\":1.$((i * 7 % 10))}}"
        echo "{\"op\":\"tell\",\"trial\":$i,\"metrics\":{\"loss\":0.$((i * 7 % 10))}}"
    done
}

serve() { "$BUILD/nightsweep" suggest --serve --quiet "$@"; }

{ requests 1 12; echo '{"op":"ask"}'; } | NIGHTSWEEP_STORE="$dir/none.db" serve "$dir/sweep.json" >"$dir/whole"
[ "$(wc -l <"$dir/whole")" = 37 ] || fail "a reply a request"
[ "$(tail -1 "$dir/whole")" = '{"done":true}' ] || fail "the budget ends it"
[ "$(sed -n 2p "$dir/whole")" = '{"ok":true,"continue":true}' ] || fail "reply to a step"
[ "$(sed -n 3p "$dir/whole")" = '{"ok":true}' ] || fail "reply to a tell"
[ ! -e "$dir/none.db" ] || fail "NIGHTSWEEP_STORE is not looked at"

# Killed after any request and started again: the same proposals.
for at in 1 5 14 29; do
    rm -f "$dir"/kept.db*
    { requests 1 12; echo '{"op":"ask"}'; } >"$dir/in"
    head -n "$at" "$dir/in" | serve --store "$dir/kept.db" "$dir/sweep.json" >"$dir/parts"
    tail -n "+$((at + 1))" "$dir/in" | serve --store "$dir/kept.db" "$dir/sweep.json" >>"$dir/parts"
    cmp -s "$dir/whole" "$dir/parts" || fail "restarted after request $at: other replies"
done

# What is wrong is answered, and the session goes on.
printf '%s\n' 'garbage' '{"op":"tel"}' '[]' '{"op":"tell","trial":9,"metrics":{"loss":1}}' '{"op":"tell","trial":1}' \
    '{"op":"ask"}' '{"op":"tell","trial":1,"metrics":{"los":1}}' '{"op":"tell","trial":1,"step":1,"metrics":{"loss":3}}' \
    '{"op":"fail","trial":1}' | serve "$dir/sweep.json" >"$dir/wrong" || fail "exit status"
[ "$(grep -c '^{"error":' "$dir/wrong")" = 7 ] || fail "seven errors: $(cat "$dir/wrong")"
grep -q "nearest is 'los'" "$dir/wrong" || fail "the nearest metric is named"
grep -qx '{"ok":true,"continue":false}' "$dir/wrong" || fail "the rule ends the trial"

# Rules that go on from checkpoints are refused, with what works; a message names the file once.
sed 's/"stopping": {[^}]*}/"stopping": {"rule": "pbt", "interval": 10, "max_resource": 40}/' "$dir/sweep.json" >"$dir/pbt.json"
if serve "$dir/pbt.json" </dev/null 2>"$dir/err"; then fail "pbt was taken"; fi
grep -q "of trials that are trained elsewhere there are none.*asha" "$dir/err" || fail "$(cat "$dir/err")"
[ "$(grep -o "pbt.json" "$dir/err" | wc -l)" = 1 ] || fail "the file is named twice: $(cat "$dir/err")"
sed 's/"max": 0.1/"max": 1e-6/' "$dir/sweep.json" >"$dir/empty.json"
if serve "$dir/empty.json" </dev/null 2>"$dir/err"; then fail "an empty range was taken"; fi
[ "$(grep -o "empty.json" "$dir/err" | wc -l)" = 1 ] || fail "the file is named twice: $(cat "$dir/err")"

# Steps of several open trials: what they train until they report is reserved, and not a step more is asked for.
sed 's/"stopping".*/"budget": {"steps": 20}}/' "$dir/sweep.json" >"$dir/steps.json"
printf '%s\n' '{"op":"ask"}' '{"op":"tell","trial":1,"step":5,"metrics":{"loss":1}}' '{"op":"ask"}' '{"op":"ask"}' \
    '{"op":"ask"}' '{"op":"tell","trial":1,"step":10,"metrics":{"loss":1}}' \
    '{"op":"tell","trial":2,"step":5,"metrics":{"loss":1}}' '{"op":"tell","trial":3,"step":5,"metrics":{"loss":1}}' \
    '{"op":"ask"}' | serve "$dir/steps.json" >"$dir/steps" || fail "exit status"
[ "$(sed -n '5p;9p' "$dir/steps" | sort -u)" = '{"done":true}' ] || fail "more steps than there are: $(cat "$dir/steps")"
[ "$(grep -c '"continue":false' "$dir/steps")" = 3 ] || fail "three reports that end a trial: $(cat "$dir/steps")"

# Another search under the same name is refused.
sed 's/0.1/0.2/' "$dir/sweep.json" >"$dir/other.json"
if serve --store "$dir/kept.db" "$dir/other.json" </dev/null 2>"$dir/err"; then fail "another definition was taken"; fi
grep -q "another 'parameters'" "$dir/err" || fail "$(cat "$dir/err")"

# One at a time.
"$BUILD/nightsweep" suggest --quiet --store "$dir/one.db" "$dir/sweep.json" | grep -q '^{"trial":1,' || fail "one proposal"
[ "$("$BUILD/nightsweep" tell --store "$dir/one.db" "$dir/sweep.json" 1 loss=0.5)" = '{"ok":true}' ] || fail "tell"

# A sweep file of Weights & Biases: imported, and taken as it is.
cat >"$dir/Their Sweep.yaml" <<'YAML'
program: train.py
method: random
metric: {name: val_loss}
run_cap: 3
parameters:
  lr: {distribution: log_uniform_values, min: 1e-5, max: 1e-1}
  epochs: {value: 2}
YAML
"$BUILD/nightsweep" import "$dir/Their Sweep.yaml" --output "$dir/imported.json" 2>"$dir/err" || fail "import: $(cat "$dir/err")"
grep -q '^program, command: ' "$dir/err" || fail "what has no counterpart is not named"
"$BUILD/nightsweep" suggest --count 4 "$dir/imported.json" 2>/dev/null >"$dir/a"
"$BUILD/nightsweep" suggest --count 4 "$dir/Their Sweep.yaml" 2>/dev/null >"$dir/b"
cmp -s "$dir/a" "$dir/b" || fail "the imported definition proposes something else"
[ "$(tail -1 "$dir/a")" = '{"done":true}' ] || fail "run_cap: $(cat "$dir/a")"
[ "$("$BUILD/nightsweep" suggest --quiet --store "$dir/yaml.db" "$dir/Their Sweep.yaml")" = "$(head -1 "$dir/a")" ] || fail "kept"
"$BUILD/nightsweep" tell --store "$dir/yaml.db" "$dir/Their Sweep.yaml" 1 val_loss=0.5 >/dev/null || fail "tell with YAML"
sed -i 's/log_uniform_values/log_uniform/' "$dir/Their Sweep.yaml"
if "$BUILD/nightsweep" import "$dir/Their Sweep.yaml" >/dev/null 2>"$dir/err"; then fail "bounds that are values were taken"; fi
grep -q "log_uniform_values with these bounds is likely meant" "$dir/err" || fail "$(cat "$dir/err")"
# A grid of a million points is not begun by oversight.
printf '{"parameters": {"a": {"values": [%s]}, "b": {"values": [%s]}}, "search": {"algorithm": "grid"}}' \
    "$(seq -s , 1000)" "$(seq -s , 1000)" >"$dir/million.json"
if "$BUILD/nightsweep" suggest --serve "$dir/million.json" </dev/null >/dev/null 2>"$dir/err"; then fail "a million points were taken"; fi
grep -q "asks for 1000000 trials, 100000 can be listed" "$dir/err" || fail "$(cat "$dir/err")"
echo "suggest.sh: passed"
