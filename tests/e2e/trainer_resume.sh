#!/usr/bin/env bash
# Every method killed at random moments and resumed: equal to an undisturbed run, bit for bit. TEST_SEED repeats one.
exec python3 "$(dirname "$0")/../support/trainer/resume.py"
