#!/usr/bin/env bash
# Runs the fuzz targets given as arguments RUNS times each (100,000), JOBS at a time (2), and prints a line each:
# executions, seconds, inputs in the corpus, coverage. The corpus grows in CORPUS (build/fuzz/corpus), from seeds made of
# the fixtures, and is kept there. Fails at a finding, whose input it leaves as <target>-crash-… beside the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
export RUNS=${RUNS:-100000} SEED=${SEED:-1} CORPUS=${CORPUS:-build/fuzz/corpus}
export ASAN_OPTIONS="detect_leaks=1:allocator_may_return_null=1:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:${UBSAN_OPTIONS:-}"

run() { # program
    local target start=$SECONDS log
    target=$(basename "$1")
    target=${target#fuzz_}
    log=$(mktemp) || return 1
    if "$1" -runs="$RUNS" -max_len=8192 -timeout=25 -rss_limit_mb=2048 -malloc_limit_mb=1024 -len_control=20 \
        -dict=tests/fuzz/json.dict -print_final_stats=1 -seed="$SEED" -artifact_prefix="$(dirname "$1")/$target-" \
        "$CORPUS/$target" >"$log" 2>&1; then
        printf '%-12s %9d executions, %5d s, %5d inputs kept, %s\n' "$target" \
            "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" $((SECONDS - start)) \
            "$(find "$CORPUS/$target" -type f | wc -l)" "$(sed -n 's/.*DONE *\(cov: [0-9]* ft: [0-9]*\).*/\1/p' "$log")"
        rm -f "$log"
        return 0
    fi
    tail -n 60 "$log"
    printf '%-12s FAILED\n' "$target"
    rm -f "$log"
    return 255 # xargs starts nothing more
}

if [ "${1:-}" = --one ]; then
    run "$2"
    exit
fi
tests/fuzz/seeds.py "$CORPUS" || exit 1
printf '%s\n' "$@" | xargs -P "${JOBS:-2}" -n 1 "$0" --one
