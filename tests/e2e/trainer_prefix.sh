#!/usr/bin/env bash
# Layers below what is trained, computed once and kept for all trials: same results whatever the file holds. TEST_SEED
# repeats a run.
exec python3 "$(dirname "$0")/../support/trainer/prefix.py"
