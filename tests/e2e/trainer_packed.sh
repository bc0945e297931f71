#!/usr/bin/env bash
# Training on weights that stay as their file stores them: as on expanded ones, bit for bit after kills, refused where it cannot be.
exec python3 "$(dirname "$0")/../support/trainer/packed.py"
