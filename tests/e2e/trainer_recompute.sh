#!/usr/bin/env bash
# Too little memory for a step: layers are computed again in backward, bit for bit the same in less memory.
exec python3 "$(dirname "$0")/../support/trainer/recompute.py"
