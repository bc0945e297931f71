#!/usr/bin/env bash
# The coordinator in its simulated world (tests/simulate/): SEEDS (1000; 200 under the sanitizers) seeds from FROM (1), every
# promise kept, and the same seed goes the same way twice. BUILD: the folder of the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
seeds=1000
case $BUILD in *asan | *coverage | *tsan) seeds=200 ;; esac
export ASAN_OPTIONS="${ASAN_OPTIONS:-}${ASAN_OPTIONS:+:}detect_leaks=0" # a killed process frees nothing
for seed in 1 2 3 4 5 6 7; do
    "$BUILD/simulate" --seed "$seed" --twice >/dev/null 2>&1 || {
        "$BUILD/simulate" --seed "$seed" --twice | tail -n 5
        exit 1
    }
done
"$BUILD/simulate" --from "${FROM:-1}" --seeds "${SEEDS:-$seeds}"
