#!/usr/bin/env bash
# Full and broken disks under the real programs (tests/support/faults, preloaded): the run stops handing out, keeps what
# it has acknowledged, says so, and goes on when there is room; a trainer goes on without its checkpoint. Damaged stores
# are refused untouched. BUILD: the folder of the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
folder=$(mktemp -d) || exit 1
# shellcheck source=tests/support/fake_programs.sh
. tests/support/fake_programs.sh
failed=0
trap 'rm -rf "$folder"' EXIT
# The sanitizers' library is not the first one then, and need not be: faults.so leaves allocation alone.
export ASAN_OPTIONS="verify_asan_link_order=0:${ASAN_OPTIONS:-}"
fail() {
    printf 'faults.sh: %s\n' "$1"
    tail -n 15 "$folder/out"
    failed=1
}
await() { # seconds, command...
    local tries=$(($1 * 10))
    shift
    while ((tries-- > 0)); do
        "$@" && return 0
        sleep 0.1
    done
    return 1
}
says() { grep -q -- "$1" "$folder/out"; }
finished() { sqlite3 "$folder/$1.db" "SELECT count(*) FROM trial WHERE state = 'COMPLETE'"; }
results() {
    sqlite3 "$folder/$1.db" "
        SELECT number, state, value, steps FROM trial ORDER BY 1;
        SELECT t.number, n.name, m.step, quote(m.value) FROM metric m JOIN trial t ON t.id = m.trial_id
            JOIN metric_name n ON n.id = m.name_id ORDER BY 1, 2, 3"
}
printf '{"name":"s","seed":3,"model":"model","task":{"kind":"classification","train":"train.jsonl","validation":
"validation.jsonl","text":"text","label":"label"},"parameters":{"rank":{"values":[1,2,4,8]}},"seeds":2,
"settings":{"method":"lora","steps":6},"resources":{"slots":2}}' >"$folder/s.json"

"$bin/nightsweep" run "$folder/s.json" --store "$folder/quiet.db" --quiet >"$folder/out" 2>&1 || fail "the quiet run failed"
results quiet >"$folder/expected"
[ "$(finished quiet)" = 8 ] || fail "the quiet run is not complete"

# A disk that is full, and one that is broken, for a while under the store.
for kind in FULL BROKEN; do
    rm -f "$folder/fault"
    env LD_PRELOAD="$BUILD/faults.so" FAULTS_PROGRAM=nightsweep "FAULTS_$kind=$folder/fault" FAKE_STEP_MS=60 \
        "$bin/nightsweep" run "$folder/s.json" --store "$folder/$kind.db" >"$folder/out" 2>&1 &
    runner=$!
    # shellcheck disable=SC2317 # called by await
    done_one() { [ "$(finished "$kind" 2>/dev/null || echo 0)" -ge 1 ]; }
    await 30 done_one || fail "$kind: no trial finished"
    touch "$folder/fault"
    await 20 says 'the store cannot be written, waiting: store ' || fail "$kind: nothing said that the store cannot be written"
    before=$(sqlite3 "$folder/$kind.db" 'SELECT count(*) FROM attempt')
    sleep 2
    kill -0 "$runner" 2>/dev/null || fail "$kind: the run ended"
    [ "$(sqlite3 "$folder/$kind.db" 'SELECT count(*) FROM attempt')" = "$before" ] || fail "$kind: something was handed out"
    rm -f "$folder/fault"
    wait "$runner" || fail "$kind: exit status $?"
    says 'the store can be written again' || fail "$kind: nothing said that the store can be written again"
    results "$kind" | diff "$folder/expected" - >"$folder/out" || fail "$kind: the results differ"
    [ "$(sqlite3 "$folder/$kind.db" 'PRAGMA integrity_check')" = ok ] || fail "$kind: the store is damaged"
    [ "$(sqlite3 "$folder/$kind.db" 'SELECT count(*) FROM attempt')" = 8 ] || fail "$kind: a trial ran twice"
done

# No room for checkpoints of the real trainer, for half of its steps.
cp "$BUILD/nightsweep-trainer" "$bin/nightsweep-trainer"
python3 - "$folder" <<'PYTHON' || fail "no data"
import json, random, sys
words = [w for w in json.load(open("tests/golden/cases/models/bert/tokenizer.json"))["model"]["vocab"] if w[0] not in "[<"]
draw = random.Random(5)
for split, n in (("train", 2400), ("validation", 32)):
    with open(f"{sys.argv[1]}/{split}.jsonl", "w") as out:
        for _ in range(n):
            out.write(json.dumps({"text": " ".join(draw.choice(words[:24]) for _ in range(6)), "label": draw.randrange(2)}) + "\n")
PYTHON
printf '{"name":"t","seed":3,"model":"%s","task":{"kind":"classification","train":"train.jsonl","validation":
"validation.jsonl","text":"text","label":"label"},"parameters":{"method":{"values":["lora"]}},
"settings":{"epochs":1,"batch_size":4,"max_tokens":16},"resources":{"slots":1}}' "$PWD/tests/golden/cases/models/bert" >"$folder/t.json"
train() { # store
    "$bin/nightsweep" run "$folder/t.json" --store "$folder/$1.db" --checkpoint-every 0s >"$folder/out" 2>&1
}
train even || fail "the even training failed"
results even >"$folder/expected"
touch "$folder/fault"
export LD_PRELOAD="$BUILD/faults.so" FAULTS_PROGRAM=nightsweep-trai FAULTS_FULL="$folder/fault"
train full &
runner=$!
unset LD_PRELOAD
await 60 says 'goes on without a checkpoint' || fail "nothing said that a checkpoint could not be written"
rm -f "$folder/fault"
wait "$runner" || fail "the training without room ended with $?"
results full | diff "$folder/expected" - >"$folder/out" || fail "the results without room differ"
[ "$(sqlite3 "$folder/full.db" 'SELECT count(*) FROM attempt')" = 1 ] || fail "a full disk cost an attempt"
[ "$(sqlite3 "$folder/full.db" "SELECT count(*) FROM event WHERE kind = 'checkpoint_failed'")" -ge 1 ] || fail "no event"

# A store with a page of garbage: refused, and left as it is.
cp "$folder/quiet.db" "$folder/bad.db"
dd if=/dev/urandom of="$folder/bad.db" bs=4096 seek=3 count=2 conv=notrunc status=none
sum=$(sha256sum <"$folder/bad.db")
"$bin/nightsweep" run "$folder/s.json" --store "$folder/bad.db" >"$folder/out" 2>&1
[ $? = 3 ] || fail "a damaged store ends with another status than 3"
says 'is damaged' || fail "nothing said that the store is damaged"
[ "$(sha256sum <"$folder/bad.db")" = "$sum" ] || fail "a damaged store was changed"

# What can be read of it is saved, whichever page is garbage, and the sweep goes on to the same results.
cp "$BUILD/fake-trainer" "$bin/nightsweep-trainer"
for name in train validation; do echo '{"text":"a","label":0}' >"$folder/$name.jsonl"; done
results quiet >"$folder/expected"
pages=$(sqlite3 "$folder/quiet.db" 'PRAGMA page_count')
page=1
while ((page < pages)); do
    cp "$folder/quiet.db" "$folder/bad.db"
    dd if=/dev/urandom of="$folder/bad.db" bs=4096 seek="$page" count=1 conv=notrunc status=none
    rm -rf "$folder"/bad.db.*
    if "$bin/nightsweep" recover --store "$folder/bad.db" >"$folder/out" 2>&1; then
        [ "$(sqlite3 "$folder/bad.db.recovered" 'PRAGMA integrity_check; PRAGMA foreign_key_check')" = ok ] ||
            fail "page $page: the recovered store is not whole"
        mv "$folder/bad.db.recovered" "$folder/saved.db"
        if "$bin/nightsweep" run "$folder/s.json" --store "$folder/saved.db" --quiet >"$folder/out" 2>&1; then
            [ "$(finished saved)" = 8 ] || fail "page $page: the recovered sweep is not complete"
        else
            says 'has no objective' || fail "page $page: the recovered sweep did not end well"
        fi
        rm -rf "$folder"/saved*
    else
        fail "page $page: nothing was recovered"
    fi
    page=$((page + ${RECOVER_STRIDE:-5}))
done
"$bin/nightsweep" recover --store "$folder/quiet.db" --output "$folder/copy.db" >"$folder/out" 2>&1 || fail "a whole store is not copied"
says 'which is all of it' || fail "a whole store is called damaged"
results copy | diff "$folder/expected" - >"$folder/out" || fail "the copy of a whole store differs"
"$bin/nightsweep" recover --store "$folder/quiet.db" --output "$folder/copy.db" >"$folder/out" 2>&1
[ $? = 2 ] || fail "an existing file is taken for the output"
exit "$failed"
