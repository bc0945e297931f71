# shellcheck shell=bash
# Sourced by the runners: where the sanitizers write, and what of it is a finding.
reports=$(mktemp -d) || exit 1
trap 'rm -rf "$reports"' EXIT
export ASAN_OPTIONS="log_path=$reports/asan:detect_stack_use_after_return=1:${ASAN_OPTIONS:-}"
export TSAN_OPTIONS="log_path=$reports/tsan:suppressions=$PWD/tests/support/tsan.supp:second_deadlock_stack=1:${TSAN_OPTIONS:-}"
export UBSAN_OPTIONS="log_path=$reports/ubsan:print_stacktrace=1:${UBSAN_OPTIONS:-}"

# Prints what the programs since the last call wrote, and empties the folder. The leak checker's notice of a thread that
# was killed while it looked is no finding: the kill tests end processes in the middle of their exit.
take_reports() {
    find "$reports" -type f -exec cat {} + | grep -vE '^==[0-9]+==Unable to get registers from thread [0-9]+\.$'
    find "$reports" -type f -delete
}
