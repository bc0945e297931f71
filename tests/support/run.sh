#!/usr/bin/env bash
# Runs the test programs given as arguments, one after another, and ends with one line: 'N passed, N failed'.
# Prints the output of those that fail. Under the sanitizers a run also fails when a report was written: Criterion counts
# a test that leaks as passing.
set -u
reports=$(mktemp -d) || exit 1
trap 'rm -rf "$reports"' EXIT
export ASAN_OPTIONS="log_path=$reports/asan:detect_stack_use_after_return=1:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="log_path=$reports/ubsan:print_stacktrace=1:${UBSAN_OPTIONS:-}"
passed=0
failed=0
for program in "$@"; do
    output=$("$program" --color=never 2>&1)
    status=$?
    line=$(printf '%s\n' "$output" | grep -o 'Synthesis:.*' | tail -1)
    ok=$(printf '%s' "$line" | sed -n 's/.*Passing: \([0-9]*\).*/\1/p')
    total=$(printf '%s' "$line" | sed -n 's/.*Tested: \([0-9]*\).*/\1/p')
    : "${ok:=0}" "${total:=0}"
    bad=$((total - ok))
    # A program that crashes outside its tests, or has none, is a failure of its own.
    if [ "$bad" = 0 ] && { [ "$status" != 0 ] || [ "$total" = 0 ]; }; then bad=1; fi
    if [ -n "$(ls -A "$reports")" ]; then
        bad=$((bad + 1))
        output="$output"$'\n'"$(cat "$reports"/*)"
        rm -f "$reports"/*
    fi
    passed=$((passed + ok))
    failed=$((failed + bad))
    printf '%-28s %3d passed' "${program##*/}" "$ok"
    if [ "$bad" = 0 ]; then printf '\n'; else printf ', %d FAILED\n%s\n' "$bad" "$output"; fi
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
