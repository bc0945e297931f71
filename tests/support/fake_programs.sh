# shellcheck shell=bash
# shellcheck disable=SC2154 # folder, seed: of the script that sources it
# Sourced with BUILD and folder set: the programs beside a trainer that trains nothing, in $bin, where they look for each
# other, and a model and data that nobody reads.
bin=$folder/bin
export NIGHTSWEEP_CACHE=$folder/cache # not that of whoever runs this
export NIGHTSWEEP_PASS=FAKE_,FAULTS_ # to trainers, whose environment is a fixed one
mkdir -p "$bin" "$folder/model" && cp "$BUILD/nightsweep" "$BUILD/nightsweep-worker" "$bin" || exit 1
cp "$BUILD/fake-trainer" "$bin/nightsweep-trainer" || exit 1
for name in config.json tokenizer.json model.safetensors; do echo "$name" >"$folder/model/$name"; done
for name in train validation test; do echo '{"text":"a","label":0}' >"$folder/$name.jsonl"; done
