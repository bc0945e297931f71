#!/usr/bin/env bash
# What takes long, in parts: PARTS chooses (all, in this order). A part that went well at this commit is not run again
# unless AGAIN=1, so an interrupted `make torture` goes on where it was. Each part's output is build/torture/PART.log; what
# came of it is a line of build/torture/results: date, commit, part, result, seconds, the part's last line.
#
#   kills       1,000 random kills (KILLS)         simulate  20,000 simulated sweeps (SEEDS)
#   resumes     200 kills of trainers              cuts      100 power cuts (root)
#   adaptive    100 kills under a stopping rule    slurm     a Slurm of four nodes (root)
#   population  100 kills of a population          tsan      the programs under the thread sanitizer
#   recover     every page of a store garbage      valgrind  the programs under memcheck
#   faults      every failing allocation           fuzz      ten million executions of each target (RUNS, TARGETS)
set -u
cd "$(dirname "$0")/.." || exit 1
export BUILD=${BUILD:-build/release}
all='kills adaptive population resumes recover faults simulate cuts slurm tsan valgrind fuzz'
commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
results=build/torture/results
mkdir -p build/torture
run() { # part
    case $1 in
    kills) KILLS=${KILLS:-1000} tests/e2e/kill.sh ;;
    adaptive) KILLS=100 tests/e2e/adaptive.sh ;;
    population) KILLS=100 tests/e2e/population.sh ;;
    resumes) KILLS=200 tests/e2e/trainer_resume.sh ;;
    recover) RECOVER_STRIDE=1 tests/e2e/faults.sh ;;
    faults)
        local programs=()
        for source in tests/unit/test_faults*.c; do programs+=("$BUILD/unit/$(basename "$source" .c)"); done
        make -s "${programs[@]}" && FAULTS_STRIDE=1 tests/support/run.sh "${programs[@]}"
        ;;
    simulate) SEEDS=${SEEDS:-20000} FROM=1001 tests/e2e/simulate.sh ;;
    cuts) CUTS=${CUTS:-100} tests/e2e/power.sh ;;
    slurm) make -s check-slurm ;;
    tsan) make -s check-tsan ;;
    valgrind) make -s check-valgrind ;;
    fuzz) make -s fuzz RUNS="${RUNS:-10000000}" ;;
    *)
        echo "torture: there is no part '$1', the parts are: $all"
        return 2
        ;;
    esac
}
status=0
for part in ${PARTS:-$all}; do
    if [ -z "${AGAIN:-}" ] && grep -q " $commit $part ok " "$results" 2>/dev/null; then
        printf 'torture: %s went well at %s already\n' "$part" "$commit"
        continue
    fi
    start=$SECONDS
    if run "$part" >"build/torture/$part.log" 2>&1; then result=ok; else
        result=FAILED
        status=1
        tail -n 40 "build/torture/$part.log"
    fi
    line="$(date -u +%F) $commit $part $result $((SECONDS - start)) s: $(tail -n 1 "build/torture/$part.log")"
    printf '%s\n' "$line" >>"$results"
    printf 'torture: %s\n' "$line"
done
exit "$status"
