#!/usr/bin/env bash
# predict and eval: the figures that the sweep recorded, new rows, refusals.
exec python3 "$(dirname "$0")/../support/predict.py"
