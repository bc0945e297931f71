#!/usr/bin/env bash
# What a trial reports against independent computations: metrics, losses, learning rates, clipping, best weights, costs.
exec python3 "$(dirname "$0")/../support/trainer/measures.py"
