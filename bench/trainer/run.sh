#!/usr/bin/env bash
# bench.py with its own Python: build/bench/venv, made when missing (PYTHON names another). docs/performance.md
set -eu
cd "$(dirname "$0")/../.."
venv=build/bench/venv
if [ -z "${PYTHON:-}" ]; then
    [ -x "$venv/bin/python" ] || { python3 -m venv "$venv" && "$venv/bin/python" -m pip install -q -r bench/trainer/requirements.txt; }
    export PYTHON=$PWD/$venv/bin/python
fi
exec python3 bench/trainer/bench.py "$@"
