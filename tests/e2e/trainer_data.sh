#!/usr/bin/env bash
# Own data and own models: JSONL, CSV, TSV, pairs, labels, splits, heads; every refusal names its place.
exec python3 "$(dirname "$0")/../support/trainer/data.py"
