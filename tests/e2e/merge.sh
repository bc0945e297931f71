#!/usr/bin/env bash
# merge: folders that compute what base and adapter computed; refusals.
exec python3 "$(dirname "$0")/../support/merge.py"
