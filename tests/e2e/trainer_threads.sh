#!/usr/bin/env bash
# Every method with one thread and with two: the same results, bit for bit, in batches that are cut into groups.
exec python3 "$(dirname "$0")/../support/trainer/threads.py"
