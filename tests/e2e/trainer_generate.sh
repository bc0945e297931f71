#!/usr/bin/env bash
# Generation: the cache, adapters, chat templates, the command, refusals.
exec python3 "$(dirname "$0")/../support/trainer/generate.py"
