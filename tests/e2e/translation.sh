#!/usr/bin/env bash
# The pieces of low-resource translation with the real programs: vocabularies, their extension, stages that start from an
# extended model and from translated rows, the check, scores in a normal form; and what each refuses. BUILD: the folder of
# the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
unset NIGHTSWEEP_STORE
export NO_COLOR=1
failed=0
fail() {
    printf 'translation.sh: %s\n' "$1"
    tail -n 10 "$folder/out"
    failed=1
}
nightsweep() { # expected exit status, arguments...
    local expected=$1 status
    shift
    "$BUILD/nightsweep" "$@" >"$folder/out" 2>&1
    status=$?
    [ "$status" = "$expected" ] || fail "exit status $status of '$*', expected $expected"
}
says() { grep -qE -- "$1" "$folder/out" || fail "nothing said like '$1'"; }
expect() { # query, expected answer
    local found
    found=$(sqlite3 "$folder/s.db" "$1")
    [ "$found" = "$2" ] || fail "'$1' gives '$found', expected '$2'"
}

# Texts of the same seed are the same.
tools/make_languages.py data "$folder/data" >"$folder/out" || fail 'the languages cannot be made'
tools/make_languages.py data "$folder/again" >>"$folder/out"
diff -r "$folder/data" "$folder/again" >"$folder/out" || fail 'the languages are others the second time'
for name in related all pivot dovin test-alva-dovin test-dovin-alva; do
    head -n 60 "$folder/data/$name.jsonl" >"$folder/$name.jsonl"
done

tags='<2alva>,<2berin>,<2celin>,<2dovin>'
mkdir -p "$folder/family" "$folder/donor"
nightsweep 0 vocabulary "$folder/data/related.jsonl" --columns text,target --special "$tags" --size 300 --output "$folder/family/tokenizer.json"
nightsweep 0 vocabulary "$folder/data/all.jsonl" "$folder/data/dovin.jsonl" --columns text,target --special "$tags" --size 360 --output "$folder/donor/tokenizer.json"
# Encoded and decoded again it is the text in its normal form; a tag is one token.
python3 - "$folder" "$BUILD" <<'PY' || fail 'encoded and decoded it is another text'
import json, subprocess, sys, unicodedata
folder, build = sys.argv[1:]
texts = [json.loads(l)["text"] for l in open(folder + "/test-alva-dovin.jsonl")] + [json.loads(l)["target"] for l in open(folder + "/test-alva-dovin.jsonl")]
trainer = [build + "/nightsweep-trainer"]
ids = subprocess.run(trainer + ["--tokens", folder + "/donor", "200"], input="\n".join(map(json.dumps, texts)), text=True, capture_output=True).stdout
back = subprocess.run(trainer + ["--tokens-decode", folder + "/donor", "200"], input=ids, text=True, capture_output=True).stdout
back = [json.loads(l) for l in back.splitlines()]
assert len(back) == len(texts)
for text, decoded, numbers in zip(texts, back, ids.splitlines()):
    body = text.split(" ", 1)[1] if text.startswith("<") else text
    assert unicodedata.normalize("NFC", body) in decoded, (text, decoded)
    assert 3 not in json.loads(numbers), "a character is unknown"
    assert not text.startswith("<") or json.loads(numbers)[0] in (4, 5, 6, 7)
PY
nightsweep 3 vocabulary "$folder/all.jsonl" --size 12 --output "$folder/x.json"
says 'tokens do not hold the [0-9]+ characters'
nightsweep 3 vocabulary "$folder/all.jsonl" --columns text,side --output "$folder/x.json"
says "side"
nightsweep 3 vocabulary "$folder/all.jsonl" --form NFB --output "$folder/x.json"
says "form: 'NFB', none, NFC, NFD, NFKC or NFKD was expected"
nightsweep 2 vocabulary "$folder/all.jsonl"
says -- '--output FILE was expected'
[ ! -e "$folder/x.json" ] || fail 'a refused vocabulary leaves a file'

tools/make_languages.py model "$folder/family" 16 >"$folder/out" || fail 'no model'
tools/make_languages.py model "$folder/donor" 8 >"$folder/out" || fail 'no model'
nightsweep 0 extend "$folder/family" "$folder/donor" --output "$folder/aligned" --json
python3 - "$folder/out" <<'PY' || fail 'what is kept and what is aligned is not all'
import json, sys
answer = json.load(open(sys.argv[1]))
assert answer["tokens"] == 360 and answer["kept"] + answer["aligned"] == 360 and answer["drawn"] == 0 and answer["aligned"] > 20, answer
PY
nightsweep 0 extend "$folder/family" "$folder/donor" --output "$folder/drawn" --no-align
says '360 tokens: [0-9]+ kept, 0 aligned, [0-9]+ drawn'
nightsweep 3 extend "$folder/family" "$folder/donor" --output "$folder/drawn"
says 'exists already'
nightsweep 3 extend "$folder/family" "$folder/data" --output "$folder/y"
says 'tokenizer.json'
# A vocabulary without the end of texts cannot be this model's.
mkdir "$folder/other"
sed 's,"</s>","<//s>",g' "$folder/donor/tokenizer.json" >"$folder/other/tokenizer.json"
nightsweep 3 extend "$folder/family" "$folder/other" --output "$folder/y" --no-align
says "eos_token_id is 2 .*which the new vocabulary does not have"
[ -z "$(find "$folder" -name '*.tmp-*')" ] || fail 'unfinished folders are left'

# Stages that start from an extended model and from rows that one translates.
cat >"$folder/low.json" <<JSON
{ "name": "low", "seed": 3, "seeds": 2,
  "task": { "kind": "seq2seq", "train": "all.jsonl", "validation": "test-alva-dovin.jsonl", "text": "text", "target": "target" },
  "settings": { "method": "full", "steps": 2, "batch_size": 8, "max_tokens": 24 },
  "checks": [ { "kind": "translation", "file": "test-alva-dovin.jsonl", "back": "<2alva>", "no_repeat": "2" } ],
  "resources": { "slots": 2 },
  "stages": [
    { "name": "family", "model": "family", "task": { "train": "related.jsonl", "validation": "related.jsonl" }, "checks": null },
    { "name": "donor", "model": "donor", "checks": null },
    { "name": "wide", "model": { "from": "family", "vocabulary": "donor", "trial": "seed" } },
    { "name": "made", "model": { "from": "wide", "trial": "seed" },
      "task": { "train": { "from": "wide", "trial": "seed", "translate": "pivot.jsonl", "tag": "<2dovin>", "beside": "all.jsonl" } } } ] }
JSON
nightsweep 0 run "$folder/low.json" --store "$folder/s.db" --quiet
expect "SELECT count(*) FROM trial WHERE state = 'COMPLETE'" 12
expect "SELECT s.name, o.role, count(*), count(DISTINCT o.sha256) FROM origin o JOIN sweep s ON s.id = o.sweep_id GROUP BY 1, 2 ORDER BY 1, 2" \
    $'low.made|model|2|2\nlow.made|train|2|2\nlow.wide|model|2|2'
expect "SELECT count(DISTINCT metric), count(before) FROM bias_check b JOIN trial t ON t.id = b.trial_id JOIN configuration c ON c.id =
    t.configuration_id AND c.role = 'search' JOIN sweep s ON s.id = t.sweep_id WHERE s.name = 'low.made'" '5|10'
made=$(sqlite3 "$folder/s.db" "SELECT path FROM origin WHERE role = 'train' LIMIT 1")
[ "$(wc -l <"$made")" -gt 60 ] || fail 'the rows beside are missing'
head -n 1 "$made" | grep -q '"text":"<2dovin> ' || fail 'the tag is missing'
n=$(sqlite3 "$folder/s.db" 'SELECT count(*) FROM attempt')
rm "$made"
nightsweep 0 run "$folder/low.json" --store "$folder/s.db" --quiet
expect 'SELECT count(*) FROM attempt' "$n"
[ -e "$made" ] || fail 'rows that are gone are not made again'
[ -z "$(find "$folder" -name '*.tmp-*')" ] || fail 'unfinished files are left'
sed 's/"vocabulary": "donor", //; s/"model": { "from": "family"/"model": { "align": false, "from": "family"/' "$folder/low.json" >"$folder/bad.json"
nightsweep 2 plan "$folder/bad.json" --no-timing
says "model.align: stands without 'vocabulary'"
sed 's/"kind": "seq2seq"/"kind": "causal"/; s/"checks": \[.*\],//' "$folder/low.json" >"$folder/bad.json"
nightsweep 2 plan "$folder/bad.json" --no-timing
says 'task.train.from: rows are translated for the kind seq2seq alone'

# Equal words in other forms: the score says so, and beside it what they are worth.
printf 'A\314\212 ring is a mark here .\n' >"$folder/h"
printf '\303\205 ring is a mark here .\n' >"$folder/r"
nightsweep 0 score --hypotheses "$folder/h" --references "$folder/r" --form NFC
says 'BLEU +80\.91 '
says 'BLEU +100\.00 .*form:NFC'
nightsweep 2 score --hypotheses "$folder/h" --references "$folder/r" --form NFB
says -- "--form: 'NFB'"
exit $failed
