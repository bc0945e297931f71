#!/usr/bin/env bash
# Training in bf16: near fp32, bit for bit with any number of threads and after kills, refused where it cannot be.
exec python3 "$(dirname "$0")/../support/trainer/compute.py"
