#!/usr/bin/env bash
# Compares whole training runs with transformers and PyTorch, for model families that tests/golden/cases does not have.
# Needs $BUILD and $PYTHON (one with the packages of requirements.txt). An argument selects cases by a pattern.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$PYTHON" tests/interop/make_families.py "$work" "${1:-}" >"$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
"$BUILD/golden-run" --cases "$work/families" --out "$work/out" --check
