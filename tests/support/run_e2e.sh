#!/usr/bin/env bash
# Runs every executable tests/e2e/*.sh, or those whose names are given, with BUILD in the environment (build/release
# unless given), one line each:
# 'name ok' or 'name FAILED' with its output behind it. Fails if any fails or a sanitizer wrote a report.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}") || exit 1
export BUILD
# shellcheck source=tests/support/reports.sh
. tests/support/reports.sh
passed=0
failed=0
if [ $# = 0 ]; then
    for script in tests/e2e/*.sh; do set -- "$@" "$(basename "$script" .sh)"; done
fi
for name in "$@"; do
    script=tests/e2e/$name.sh
    [ -x "$script" ] || continue
    start=$SECONDS
    output=$("$script" 2>&1 </dev/null)
    status=$?
    written=$(take_reports)
    if [ -n "$written" ]; then
        status=1
        output="$output"$'\n'"$written"
    fi
    if [ "$status" = 0 ]; then
        passed=$((passed + 1))
        printf '%-28s ok, %d s\n' "$name" $((SECONDS - start))
    else
        failed=$((failed + 1))
        printf '%-28s FAILED, status %d\n%s\n' "$name" "$status" "$output"
    fi
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
