#!/usr/bin/env bash
# The accuracy comparison (docs/accuracy.md): the same runs in PyTorch + PEFT and here, five seeds each, then compare.py.
# One core a side, both sides at once. Results stand in build/accuracy; what is there is not run again.
#   SEEDS     default '1 2 3 4 5'
#   DRAWS     own: PyTorch draws order, initial weights and dropout masks itself, instead of taking the trial's
#   PYTHON    a Python with bench/accuracy/requirements.txt; default: build/accuracy/venv, made when missing
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}") || exit 1
results=build/accuracy
mkdir -p "$results"
python=${PYTHON:-$results/venv/bin/python}
if [ -z "${PYTHON:-}" ] && [ ! -x "$python" ]; then
    python3 -m venv "$results/venv" && "$python" -m pip install -q -r bench/accuracy/requirements.txt || exit 3
fi
# Both libraries pick their own best kernels: the comparison is about learning, not about bits.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 HF_HUB_OFFLINE=1

gcc -shared -fPIC -O2 -std=c11 -D_GNU_SOURCE -I. -o "$results/draws.so" bench/accuracy/draws.c common/rng.c -lm || exit 3

side() { # name, command...
    local name=$1 method seed output
    shift
    for seed in ${SEEDS:-1 2 3 4 5}; do
        for method in lora full; do
            output=$results/$name/$method-$seed.json
            [ -s "$output" ] || nice -n 10 "$@" "$method" "$seed" "$output" 2>>"$results/$name.log" || return 1
        done
    done
}

side peer "$python" bench/accuracy/peer.py &
peer=$!
status=0
side ours python3 bench/accuracy/ours.py "$BUILD/nightsweep-trainer" || status=3
wait "$peer" || status=3
[ "$status" = 0 ] || { tail -n 5 "$results"/*.log >&2; exit "$status"; }
python3 bench/accuracy/compare.py "$results" | tee "$results/comparison.md"
exit "${PIPESTATUS[0]}"
