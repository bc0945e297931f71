#!/usr/bin/env bash
# Saved adapters start other trials and give the same evaluation; those that do not belong are refused.
exec python3 "$(dirname "$0")/../support/trainer/adapters.py"
