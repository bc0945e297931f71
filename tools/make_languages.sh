#!/usr/bin/env bash
# The languages and models of sweeps/translation-low-resource.json: texts, a vocabulary of the three related languages and
# one of all four, and models of two encoder and two decoder layers drawn by a fixed seed. BUILD: the folder of the programs.
set -eu
cd "$(dirname "$0")/.."
BUILD=$(realpath "${BUILD:-build/release}")
data=data/languages
models=models/languages
tags='<2alva>,<2berin>,<2celin>,<2dovin>'
tools/make_languages.py data "$data"
learn() { # folder, file, tokens, width
    mkdir -p "$models/$1"
    "$BUILD/nightsweep" vocabulary "$data/$2" --columns text,target --special "$tags" --size "$3" --output "$models/$1/tokenizer.json"
    tools/make_languages.py model "$models/$1" "$4"
}
learn family related.jsonl 400 64 # what is known: no word of dovin
learn donor all.jsonl 500 32      # a narrow model that has seen dovin
learn whole all.jsonl 500 64      # as wide as the first, with all words from the beginning
