#!/usr/bin/env bash
# bench.py (or, named first, another script of this folder) with its own Python: build/bench/venv, made when missing
# (PYTHON names another). docs/performance.md
set -eu
cd "$(dirname "$0")/../.."
venv=build/bench/venv
if [ -z "${PYTHON:-}" ]; then
    [ -x "$venv/bin/python" ] || { python3 -m venv "$venv" && "$venv/bin/python" -m pip install -q -r bench/trainer/requirements.txt; }
    export PYTHON=$PWD/$venv/bin/python
fi
script=bench/trainer/bench.py
case ${1:-} in *.py) script=bench/trainer/$1 && shift ;; esac
exec "$PYTHON" "$script" "$@"
