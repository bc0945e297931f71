#!/usr/bin/env bash
# The coordinator, its worker and trainers of METHODS (several kinds) end to end under valgrind's memcheck: a sweep that is
# interrupted and goes on, a language model, and the commands that read a store. No errors, no definite leaks. valgrind does
# not know AVX-512: kernels of the portable level, OpenBLAS's for Haswell. About five minutes. BUILD: the folder of the
# programs; KEEP=1 leaves the logs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
root=$PWD
folder=$(mktemp -d) || exit 1
trap '[ -n "${KEEP:-}" ] && echo "$folder" || rm -rf "$folder"' EXIT
read -ra methods <<<"${METHODS:-full bitfit lora adapter prefix prompt compacter adalora dora ia3}"
export NIGHTSWEEP_CPU=portable OPENBLAS_CORETYPE=Haswell OPENBLAS_NUM_THREADS=1 NIGHTSWEEP_CACHE=$folder/cache
mkdir "$folder/logs"
fail() {
    printf 'valgrind.sh: %s\n' "$1"
    tail -n 20 "$folder/out"
    exit 1
}
nightsweep() {
    valgrind --quiet --trace-children=yes --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
        --suppressions="$root/tests/support/valgrind.supp" --log-file="$folder/logs/%p" \
        "$BUILD/nightsweep" "$@" >>"$folder/out" 2>&1
}
# What valgrind said, of all processes so far; quiet ones say nothing.
clean() {
    local written
    # "--pid--": what valgrind says of itself: it does not know seccomp and Landlock, and the trainer goes on without.
    written=$(grep -hvE '^--[0-9]+--' "$folder"/logs/*)
    [ -z "$written" ] && return
    printf '%s\n' "$written" | head -n 150
    fail "valgrind has findings ($1)"
}
define() { # name, model, task, methods
    local values
    values=$(printf ',"%s"' "${@:4}")
    printf '{"name":"%s","seed":3,"model":"%s","task":{%s,"text":"text"},"parameters":{"method":{"values":[%s]}},' \
        "$1" "$PWD/tests/golden/cases/models/$2" "$3" "${values#,}" >"$folder/$1.json"
    printf '"settings":{"epochs":1,"batch_size":4,"max_tokens":16,"dropout":0.1},"resources":{"slots":2,"retries":0}}\n' >>"$folder/$1.json"
}
tests/support/sentences.py "$folder" 6 train=24 validation=8 test=8 || exit 1
files='"train":"train.jsonl","validation":"validation.jsonl","test":"test.jsonl"'
define classes bert "\"kind\":\"classification\",$files,\"label\":\"label\"" "${methods[@]}"
define words llama "\"kind\":\"causal\",$files" lora ia3
store=(--store "$folder/s.db")

nightsweep plan "$folder/classes.json" "${store[@]}" || fail "plan ended with $?"
nightsweep run "$folder/classes.json" "${store[@]}" --checkpoint-every 0s --quiet &
runner=$!
for ((i = 0; i < 600; i++)); do
    [ "$(sqlite3 "$folder/s.db" 'SELECT count(*) > 0 FROM checkpoint' 2>/dev/null)" = 1 ] && break
    sleep 0.1
done
kill -INT "$runner"
wait "$runner"
nightsweep run "$folder/classes.json" "$folder/words.json" "${store[@]}" --quiet || fail "run ended with $?"
n=${#methods[@]}
[ "$(sqlite3 "$folder/s.db" "SELECT count(*) FROM trial WHERE state = 'COMPLETE'")" = $((n + 2)) ] || fail 'not all is complete'
[ "$(sqlite3 "$folder/s.db" "SELECT count(DISTINCT kernel_level) || max(kernel_level) FROM environment")" = 1portable ] ||
    fail 'kernels of another level were used'
[ "$(sqlite3 "$folder/s.db" "SELECT count(*) FROM attempt WHERE state = 'FAILED'")" = 0 ] || fail 'attempts failed'
clean 'run'
for command in status 'show classes/1' 'explain classes/1' 'compare classes' 'export classes --output page.html' 'gc'; do
    # shellcheck disable=SC2086 # words
    (cd "$folder" && nightsweep $command "${store[@]}") || fail "'$command' ended with $?"
done
clean 'commands'
printf 'valgrind.sh: %d trials of %d methods, one interruption: no error, no definite leak\n' $((n + 2)) "$n"
