#!/usr/bin/env bash
# Runs the test programs given as arguments, one after another, and ends with one line: 'N passed, N failed'.
# Prints the output of those that fail. Under the sanitizers a run also fails when a report was written: Criterion counts
# a test that leaks as passing.
set -u
# shellcheck source=tests/support/reports.sh
. "$(dirname "$0")/reports.sh"
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
    written=$(take_reports)
    if [ -n "$written" ]; then
        bad=$((bad + 1))
        output="$output"$'\n'"$written"
    fi
    passed=$((passed + ok))
    failed=$((failed + bad))
    printf '%-28s %3d passed' "${program##*/}" "$ok"
    if [ "$bad" = 0 ]; then printf '\n'; else printf ', %d FAILED\n%s\n' "$bad" "$output"; fi
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
