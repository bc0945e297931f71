#!/usr/bin/env bash
# The command line: help and man page of every command, every kind of wrong usage with its exit status and message, and
# status, show, export, train and doctor on a small store and a tiny model. BUILD: the folder of the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
root=$PWD
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
failed=0
nightsweep="$BUILD/nightsweep"
unset NIGHTSWEEP_STORE
export NO_COLOR=1

fail() {
    printf 'cli.sh: %s\n--- output\n%s\n--- errors\n%s\n' "$1" "$(head -c 3000 "$folder/out")" \
        "$(head -c 2000 "$folder/errors")"
    failed=1
}
# expect STATUS ARGUMENTS...: runs nightsweep, its output in $folder/out and $folder/errors
expect() {
    local wanted=$1 status
    shift
    "$nightsweep" "$@" >"$folder/out" 2>"$folder/errors" </dev/null
    status=$?
    [ "$status" = "$wanted" ] || fail "'nightsweep $*' ends with $status, $wanted was expected"
}
has() { grep -qF -- "$1" "$folder/out" || fail "no '$1' in the output"; }
says() { grep -qF -- "$1" "$folder/errors" || fail "no '$1' in the errors"; }
is_json() { python3 -c 'import json,sys; json.load(open(sys.argv[1]))' "$folder/out" || fail "no JSON: $1"; }
# json PYTHON-EXPRESSION over the output as j
json() {
    python3 -c "import json,sys; j=json.load(open(sys.argv[1])); sys.exit(0 if ($1) else 1)" "$folder/out" ||
        fail "not so: $1"
}

# A target of the Makefile with the programs as they are: this shell need not have the flags they were built with.
built() { make -s --no-print-directory -o all -o "$BUILD/nightsweep" BUILD="$BUILD" "$@"; }

help_of_everything() {
    expect 0 --help
    has 'usage: nightsweep COMMAND'
    local command
    for command in $("$nightsweep" --commands); do
        expect 0 "$command" --help
        has "usage: nightsweep $command"
        has '--store FILE'
        expect 0 help "$command"
        has "usage: nightsweep $command"
    done
    expect 0 --version
    grep -qE '^nightsweep [0-9]+\.[0-9]+\.[0-9]+ \(' "$folder/out" || fail 'no version'
}

man_pages() {
    local page warnings
    built man >/dev/null || fail 'make man fails'
    [ "$(find "$BUILD/man" -name '*.1' | wc -l)" = $(($("$nightsweep" --commands | wc -l) + 1)) ] || fail 'a page is missing'
    for page in "$BUILD"/man/*.1; do
        if command -v man >/dev/null && command -v groff >/dev/null; then
            warnings=$(LC_ALL=C MANROFFSEQ='' man --warnings -E UTF-8 -l "$page" 2>&1 >/dev/null)
            [ -z "$warnings" ] || fail "man --warnings: $warnings"
        fi
        if command -v mandoc >/dev/null; then
            warnings=$(mandoc -Tlint -W warning "$page" 2>&1 | grep -v 'missing date')
            [ -z "$warnings" ] || fail "mandoc: $warnings"
        fi
    done
}

# Completes the words given, in a shell that has read the script; one result a line.
complete_words() {
    bash -c '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _nightsweep; printf "%s\n" "${COMPREPLY[@]}"' \
        "$folder/completion" "$@"
}
completion() {
    "$nightsweep" --completion >"$folder/completion" || fail 'no completion'
    [ "$(complete_words nightsweep sta)" = status ] || fail "completion of sta"
    [ "$(complete_words nightsweep run --unt)" = --until ] || fail "completion of --unt"
    [ "$(complete_words nightsweep status --sto)" = --store ] || fail "completion of --sto"
    # Names of sweeps and trials come from the store that the line names.
    local store=$folder/names.db both
    sqlite3 "$store" <"$root/tests/fixtures/store-v2.sql" >/dev/null
    expect 0 names --store "$store"
    [ "$(cat "$folder/out")" = ranks ] || fail 'names'
    expect 0 names --store "$store" --trials
    [ "$(cat "$folder/out")" = $'ranks/1\nranks/2\nranks/3' ] || fail 'names --trials'
    expect 0 names --store "$store" --trials ranks/2
    [ "$(cat "$folder/out")" = ranks/2 ] || fail 'names that begin so'
    expect 0 names --store "$store" "ra'%"
    [ -s "$folder/out" ] && fail 'names that begin otherwise'
    [ "$(complete_words "$nightsweep" compare --store "$store" ra)" = ranks ] || fail 'completion of a sweep'
    [ "$(complete_words "$nightsweep" compare --store = "$store" ra)" = ranks ] || fail 'completion of a sweep behind --store='
    [ "$(complete_words "$nightsweep" explain --store "$store" ranks/3)" = ranks/3 ] || fail 'completion of a trial'
    [ "$(complete_words "$nightsweep" show --store "$store" --sweep ra)" = ranks ] || fail 'completion of --sweep'
    both=$(complete_words "$nightsweep" cancel --store "$store" ra)
    [ "$both" = $'ranks\nranks/1\nranks/2\nranks/3' ] || fail 'completion of a sweep or trial'
    [ -z "$(complete_words "$nightsweep" compare --store "$folder/none.db" ra)" ] || fail 'completion without a store'
    touch "$folder/names.txt"
    [ "$(complete_words nightsweep status --store "$folder/na")" = "$store" ] || fail 'completion of a store'
    [ "$(complete_words nightsweep plan "$folder/names.t")" = "$folder/names.txt" ] || fail 'completion of a file'
    "$nightsweep" --completion zsh >"$folder/_nightsweep" || fail 'no completion for zsh'
    "$nightsweep" --completion fish >"$folder/nightsweep.fish" || fail 'no completion for fish'
    expect 2 --completion csh
    says "'csh' is none of bash, zsh and fish"
    if command -v zsh >/dev/null; then
        zsh -n "$folder/_nightsweep" 2>"$folder/errors" || fail 'zsh does not read its completion'
        zsh -f "$root/tests/support/complete.zsh" "$folder" 'nightsweep sta' status >"$folder/out" 2>"$folder/errors"
        has status
        zsh -f "$root/tests/support/complete.zsh" "$folder" 'nightsweep adjust --no' --no-deadline >"$folder/out" 2>"$folder/errors"
        has --no-deadline
        PATH="$BUILD:$PATH" zsh -f "$root/tests/support/complete.zsh" "$folder" "nightsweep compare --store $store ra" ranks >"$folder/out" 2>"$folder/errors"
        has ranks
        PATH="$BUILD:$PATH" zsh -f "$root/tests/support/complete.zsh" "$folder" "nightsweep explain --store=$store ranks/" ranks/3 >"$folder/out" 2>"$folder/errors"
        has ranks/3
    fi
    if command -v fish >/dev/null; then
        fish --no-config -c "source $folder/nightsweep.fish; complete -C 'nightsweep sta'" >"$folder/out" 2>"$folder/errors"
        has status
        fish --no-config -c "source $folder/nightsweep.fish; complete -C 'nightsweep adjust --no'" >"$folder/out" 2>"$folder/errors"
        has --no-deadline
        PATH="$BUILD:$PATH" fish --no-config -c "source $folder/nightsweep.fish; complete -C 'nightsweep compare --store $store ra'; complete -C 'nightsweep explain --store=$store ranks/'; complete -C 'nightsweep show --store $store --sweep ra'" >"$folder/out" 2>"$folder/errors"
        [ "$(cut -f 1 "$folder/out")" = $'ranks\nranks/1\nranks/2\nranks/3\nranks' ] || fail 'fish: names'
        [ -s "$folder/errors" ] && fail 'fish complains'
    fi
    if command -v shellcheck >/dev/null; then
        shellcheck -s bash "$folder/completion" >"$folder/out" || fail 'shellcheck of the completion'
    fi
}

installing() {
    built install DESTDIR="$folder/root" prefix=/usr >/dev/null || fail 'make install fails'
    local installed="$folder/root/usr/bin/nightsweep"
    "$installed" --version >"$folder/out" || fail 'the installed program does not run'
    (cd "$folder" && "$installed" doctor >"$folder/out") || fail 'the installed program does not find its trainer'
    [ -s "$folder/root/usr/share/man/man1/nightsweep-status.1" ] || fail 'no man page is installed'
    [ -s "$folder/root/usr/share/zsh/site-functions/_nightsweep" ] || fail 'no completion for zsh is installed'
    [ -s "$folder/root/usr/share/fish/vendor_completions.d/nightsweep.fish" ] || fail 'no completion for fish is installed'
    built uninstall DESTDIR="$folder/root" prefix=/usr >/dev/null
    [ -z "$(find "$folder/root" -type f)" ] || fail 'uninstall leaves files'
}

# A definition from data and model, which plan takes; wrong data is refused, and no file overwritten.
beginning() {
    local models=$root/tests/golden/cases/models i
    mkdir -p "$folder/data/reviews"
    for ((i = 0; i < 40; i++)); do
        printf '{"review":"w%d w%d w%d and so on","stars":"%s"}\n' $i $((i * 7)) $((i * 3)) "$((i % 3))"
    done | tee "$folder/data/reviews/train.jsonl" >"$folder/data/reviews/dev.jsonl"
    for ((i = 0; i < 40; i++)); do
        printf '"hello, %d",hallo %d\n' $i $i
    done | sed '1i en,de' >"$folder/data/en-de.csv"
    (
        cd "$folder" || exit 1
        expect 0 init data/reviews --model "$models/bert"
        has 'task: classification into 3 classes; model: bert'
        has "'review' (text), 'stars' (label)"
        expect 0 plan reviews.json --no-timing
        has '16 trials'
        expect 2 init data/reviews --model "$models/bert"
        says 'is there already'
        expect 0 init data/en-de.csv --model "$models/m2m" --json
        json 'j["task"] == "seq2seq" and j["rows"] == 40 and j["file"] == "en-de.json"'
        expect 0 plan en-de.json --no-timing
        expect 0 init data/en-de.csv --model "$models/gpt2" --text en --target de --name lm --output lm.json
        expect 0 plan lm.json --no-timing
        expect 2 init data/en-de.csv --model "$models/bert" --name x
        says '--label COLUMN was expected'
        expect 2 init data/en-de.csv --model "$models/bert" --name x --label fr
        says "has no column 'fr', its columns are en, de"
        expect 2 init data/en-de.csv
        says '--model is missing'
        expect 2 init data/none.csv --model "$models/bert"
        expect 2 init data/en-de.csv --model "$folder"
        expect 2 init data/en-de.csv --model "$models/m2m" --name 'a/b'
        exit "$failed"
    ) || failed=1
}

wrong_usage() {
    expect 2
    says 'a command is missing'
    expect 2 statu
    says "unknown command 'statu', nearest is 'status'"
    expect 2 status --jsn
    says "nearest is '--json'"
    expect 2 status --store
    says '--store: FILE is missing'
    expect 2 show
    says 'an argument is missing (usage: nightsweep show [options] TRIAL)'
    expect 2 show one
    says "'one' is no trial"
    expect 2 show a/1 --sweep a
    says 'named twice'
    expect 2 export x --format pdf --store "$folder/s.db"
    says "'pdf' is none of html"
    expect 2 score --hypotheses "$folder/none.txt"
    says '--references is missing'
    printf 'the cat sat on the mat\nsecond line here\n' >"$folder/hypotheses.txt"
    printf 'the cat sat on a mat\nsecond line here' >"$folder/references.txt"
    expect 0 score --hypotheses "$folder/hypotheses.txt" --references "$folder/references.txt"
    has '2 segments, 9 words against 9'
    expect 0 score --hypotheses "$folder/hypotheses.txt" --references "$folder/references.txt" --json
    json 'abs(j["bleu"] - 59.6949179201965) < 1e-9'
    echo 'one more' >>"$folder/hypotheses.txt"
    expect 2 score --hypotheses "$folder/hypotheses.txt" --references "$folder/references.txt"
    says "references.txt' has 2 lines"
    expect 2 train "$folder/none.json" --output "$folder/t"
    says 'No such file'
    expect 2 train "$folder/none.json"
    says '--output is missing'
    expect 2 status --store "$folder/none.db"
    says "there is no store"
    echo 'this is no database, it only is longer than a header of one, which has a hundred bytes or so' >"$folder/text.db"
    expect 3 status --store "$folder/text.db"
    says 'text.db'
    expect 2 $'evil\e]0;title\a'
    grep -q $'\e' "$folder/errors" && fail 'an escape sequence reaches the terminal'
    says 'evil\x1b]0;title\x07'
}

small_store() {
    export NIGHTSWEEP_STORE="$folder/s.db"
    sqlite3 "$NIGHTSWEEP_STORE" <"$root/tests/fixtures/store-v2.sql" >/dev/null
    expect 0 status
    has "sweep 'ranks' OPEN, 3 trials: 1 running, 1 complete, 1 failed"
    has 'diverged       1            2  loss is no number at step 3'
    has '0.8750 (1 seed)'
    has 'no run is using it'
    expect 0 status ranks --json
    json 'j["lock"] is None and j["sweeps"][0]["best"][0]["value"] == 0.875'
    json 'j["sweeps"][0]["summary"]["trials"]["FAILED"] == 1'
    expect 2 status rnks
    says "there is no sweep 'rnks'"
    expect 0 show 2
    has 'loss is no number at step 3'
    has '    last line'
    has 'avx2'
    expect 0 show ranks/1 --json
    json 'j["trial"]["state"] == "COMPLETE" and j["evaluation_metrics"][0]["metrics"]["accuracy"] == 0.875'
    json 'j["checks"][0]["after"] == 0.03 and j["artifacts"][0]["path"] == "/runs/ranks/1/adapter_model.safetensors"'
    expect 0 show 1 --sweep ranks
    has 'grid'
    expect 2 show 4
    says 'its trials are 1 to 3'
    expect 0 compare ranks
    has "sweep 'ranks': configurations chosen by"
    has '0.8750 (1 seed)'
    expect 0 compare ranks --json
    json 'j["methods"][0]["validation"]["mean"] == 0.875 and j["pairs"] == []'
    expect 2 compare rnks
    says 'nearest is ranks'
    expect 2 compare ranks --margin none
    says "'none' is no number above 0"
    expect 2 compare ranks --reference lara
    says "'lara' is no method with a finished trial"
    expect 0 advise
    has "take lora" && has 'nothing to look back on'
    expect 0 advise ranks --bytes 1KiB
    has 'nothing fits: all 1 configurations'
    expect 0 advise ranks --memory 1TiB --json
    json 'j["advice"]["score"] == 0.875 and j["admitted"] == 1 and j["earlier"] == []'
    expect 2 advise rnks
    says 'nearest is ranks'
    expect 2 advise ranks --bytes none
    says 'a size above 0'
    expect 0 export ranks --output "$folder/new/page.html"
    has "$folder/new/page.html"
    grep -q '</html>' "$folder/new/page.html" || fail 'no page'
    expect 0 export ranks
    [ -s "$folder/ranks.html" ] || fail 'the page does not stand beside the store'
    expect 2 export rank
    says 'nearest is ranks'
    unset NIGHTSWEEP_STORE
}

# Whatever stands in a store, no control character reaches the terminal, and JSON stays JSON.
explained() {
    local store="$folder/explained.db" trial
    python3 "$root/tests/support/make_store.py" "$store" --configurations 6 --seeds 2 >/dev/null
    expect 0 explain 1 --store "$store"
    has 'is the baseline that checks are compared with, and takes no part'
    trial=$(sqlite3 "$store" "SELECT t.number FROM trial t JOIN configuration c ON c.id = t.configuration_id WHERE c.role = 'search' AND t.state = 'COMPLETE' ORDER BY t.value DESC LIMIT 1")
    expect 0 explain "$trial" --store "$store"
    has ', place 1 of '
}

hostile_store() {
    local store="$folder/hostile.db" evil
    evil="char(27)||'[2J'||char(7)||char(155)||char(8238)||char(10)"
    sqlite3 "$store" <"$root/tests/fixtures/store-v2.sql" >/dev/null
    sqlite3 "$store" "UPDATE trial SET message = $evil;
        UPDATE attempt SET log_tail = $evil || x'ff', worker = CAST(x'ff1b' AS TEXT);
        UPDATE objective SET metric = $evil; UPDATE configuration SET parameters = json_object($evil, $evil);
        UPDATE configuration SET settings = json_object('method', $evil); UPDATE environment SET cpu = $evil;"
    local command
    for command in 'status' 'show 1' 'show 2' 'show 3' 'compare ranks' 'advise ranks'; do
        # shellcheck disable=SC2086 # words on purpose
        expect 0 $command --store "$store"
        tr -d '\n' <"$folder/out" | LC_ALL=C grep -q $'[\x01-\x1f\x7f]\|\xc2\x9b\|\xe2\x80\xae' &&
            fail "$command: a control character reaches the terminal"
        # shellcheck disable=SC2086
        expect 0 $command --store "$store" --json
        is_json "$command"
    done
}

rows() { # n, first row's number
    local i
    for ((i = $2; i < $1 + $2; i++)); do
        if ((i % 2)); then
            printf '{"text":"w%d w20 w21 w22","label":"good"}\n' $((6 + i % 60))
        else
            printf '{"text":"w%d w30 w31 w32","label":"bad"}\n' $((6 + i % 60))
        fi
    done
}

training() {
    mkdir "$folder/job"
    rows 96 0 >"$folder/job/train.jsonl"
    rows 24 1000 >"$folder/job/validation.jsonl"
    ln -s "$root/tests/golden/cases/models/bert" "$folder/job/bert"
    local task='"task":{"kind":"classification","train":"train.jsonl","validation":"validation.jsonl","text":"text","label":"label"}'
    printf '{"model":{"path":"bert"},%s,"settings":{"method":"lora","rank":2,"epochs":2},"seed":1}' "$task" >"$folder/job/job.json"
    expect 0 train "$folder/job/job.json" --output "$folder/trained"
    has 'validation/accuracy'
    has 'trained parameters'
    [ -s "$folder/trained/adapter/adapter_model.safetensors" ] || fail 'no adapter'
    expect 0 train "$folder/job/job.json" --output "$folder/again" --json
    head -1 "$folder/out" | grep -q '"type":"started"' || fail 'the first record is not started'
    tail -1 "$folder/out" | grep -q '"type":"finished"' || fail 'the last record is not finished'
    cmp -s "$folder/trained/adapter/adapter_model.safetensors" "$folder/again/adapter/adapter_model.safetensors" ||
        fail 'the same job gives another adapter'
    printf '{"model":{"path":"bert"},%s,"settings":{"method":"lora","rank":0},"seed":1}' "$task" >"$folder/job/bad.json"
    expect 2 train "$folder/job/bad.json" --output "$folder/t"
    says 'settings.rank: 0 is below 1'
    printf '{"model":{"path":"none"},%s,"seed":1}' "$task" >"$folder/job/bad.json"
    expect 1 train "$folder/job/bad.json" --output "$folder/t"
    says 'job/none'
    echo '[1]' >"$folder/job/bad.json"
    expect 2 train "$folder/job/bad.json" --output "$folder/t"
    says 'an object was expected'
    # Asked to stop, it leaves a checkpoint that another call goes on from.
    printf '{"model":{"path":"bert"},%s,"settings":{"method":"lora","rank":2,"steps":1000000},"seed":1}' "$task" >"$folder/job/long.json"
    "$nightsweep" train "$folder/job/long.json" --output "$folder/long" --quiet >"$folder/out" 2>"$folder/errors" &
    local pid=$! tries
    for ((tries = 0; tries < 200; tries++)); do
        [ -n "$(pgrep -P "$pid")" ] && break
        sleep 0.05
    done
    sleep 0.3
    kill -INT "$pid"
    wait "$pid"
    [ $? = 1 ] || fail 'a stopped trial does not end with 1'
    has 'stopped at step'
    [ -n "$(find "$folder/long" -name '*.checkpoint')" ] || fail 'no checkpoint'
}

# Waits up to 30 s until the command succeeds.
await() {
    local tries
    for ((tries = 0; tries < 600; tries++)); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.05
    done
    fail "in vain: $*"
}
# shellcheck disable=SC2317 # called by await too
is_gone() { ! kill -0 "$1" 2>/dev/null; }

# A definition on the tiny model: name, parameters, more members
definition() {
    printf '{"name":"%s","model":"bert","task":{"kind":"classification","train":"train.jsonl","validation":' "$1"
    printf '"validation.jsonl","text":"text","label":"label"},"settings":{"epochs":3},"seeds":2,"parameters":%s%s}' "$2" "${3:-}"
}

plans() {
    local parameters='{"method":{"values":["lora","bitfit","full"]},"learning_rate":{"values":[0.001,0.01]},"rank":{"values":[1,2,2],"when":{"method":"lora"}}}'
    export NIGHTSWEEP_STORE="$folder/plan/none.db" TMPDIR="$folder/tmp"
    mkdir "$TMPDIR"
    definition small "$parameters" >"$folder/job/small.json"
    expect 0 plan "$folder/job/small.json"
    has "sweep 'small' (grid): 8 configurations with 2 seeds, 16 trials"
    has '16 new, 0 kept, 0 dropped'
    has '2 of 10 proposals are equal'
    has 'rank 2'
    has 'time    about'
    [ -e "$folder/plan" ] && fail 'plan leaves something where the store would be'
    [ -z "$(find "$folder/tmp" -name 'nightsweep-plan-*')" ] || fail 'plan leaves a folder'
    # The data, and the same file as validation: every row leaks.
    expect 0 data "$folder/job/small.json" --json
    json 'j["splits"][0]["split"] == "train" and j["splits"][0]["tokens"]["min"] > 0'
    sed 's/"validation.jsonl"/"train.jsonl"/' "$folder/job/small.json" >"$folder/job/leaky.json"
    expect 0 data "$folder/job/leaky.json"
    has 'stand in train too'
    expect 2 data "$folder/job/leaky.json" --strict
    says 'that would make the scores worthless'
    expect 2 data "$folder/job/none.json"
    expect 0 plan --json "$folder/job/small.json"
    json 'len(j["sweeps"][0]["costs"]) == 4 and all(c["timed"] for c in j["sweeps"][0]["costs"])'
    # lora of rank r on query and value of 2 layers of width 32, and a head of 2 classes: 4 (32 r + 32 r) + 66
    json 'sorted(c["trained_parameters"] for c in j["sweeps"][0]["costs"] if c["method"] == "lora") == [4 * 64 + 66, 8 * 64 + 66]'
    json 'j["sweeps"][0]["seconds"] > 0 and j["sweeps"][0]["memory_bytes"] > 0'
    expect 0 plan --no-timing --json "$folder/job/small.json" "$folder/job/small.json"
    json 'len(j["sweeps"]) == 2 and j["sweeps"][0]["seconds"] is None and not j["sweeps"][0]["costs"][0]["timed"]'
    # A search that proposes as results come in: the most there can be, and what it costs.
    definition adaptive '{"learning_rate":{"min":0.001,"max":0.1,"scale":"log"}}' ',"search":{"algorithm":"gp","configurations":3}' >"$folder/job/adaptive.json"
    expect 0 plan "$folder/job/adaptive.json"
    has "sweep 'adaptive' (gp): at most 3 configurations with 2 seeds, 6 trials"
    has 'time    about'
    expect 0 plan --json "$folder/job/adaptive.json"
    json 'j["sweeps"][0]["adaptive"] and j["sweeps"][0]["new"] == 6 and j["sweeps"][0]["costs"][0]["trained_parameters"] > 0'
    # What the trainer refuses is found before anything runs.
    definition refused '{"method":{"values":["lora"]},"targets":{"values":["query","no.such.layer"]}}' >"$folder/job/refused.json"
    expect 0 plan "$folder/job/refused.json"
    has 'these trials would fail:'
    has 'no.such.layer'
    # Stopped while it times, it leaves nothing behind.
    "$nightsweep" plan "$folder/job/small.json" --quiet >"$folder/out" 2>"$folder/errors" &
    local pid=$!
    until [ -n "$(find "$folder/tmp" -name 'nightsweep-plan-*')" ] || is_gone "$pid"; do sleep 0.01; done
    kill -INT "$pid" 2>/dev/null
    wait "$pid"
    [ -z "$(find "$folder/tmp" -name 'nightsweep-plan-*')" ] || fail 'a stopped plan leaves a folder'
    expect 2 plan --new Bad/Name "$folder/job/small.json"
    says 'Bad/Name'
    expect 2 plan "$folder/job/none.json"
    expect 2 plan
    says 'an argument is missing'
    definition wrong '{"rnk":{"values":[1]}}' >"$folder/job/wrong.json"
    expect 2 plan "$folder/job/wrong.json"
    says "rnk"
    expect 2 plan "$folder/job/small.json" --new x "$folder/job/small.json"
    says '--new names one sweep'
    # Against a store in which a sweep of this name has been begun.
    export NIGHTSWEEP_STORE="$folder/s.db"
    definition ranks "$parameters" >"$folder/job/ranks.json"
    expect 2 plan "$folder/job/ranks.json"
    expect 0 plan --no-timing --new other "$folder/job/ranks.json"
    has "sweep 'other'"
    unset NIGHTSWEEP_STORE TMPDIR
}

runs() {
    export NIGHTSWEEP_STORE="$folder/runs/n.db"
    definition tiny '{"method":{"values":["lora","full"]}}' >"$folder/job/tiny.json"
    # shellcheck disable=SC2016 # for the shell that is called
    expect 0 run "$folder/job/tiny.json" --on-finish 'echo "$NIGHTSWEEP_OUTCOME $NIGHTSWEEP_STATUS $NIGHTSWEEP_FAILED $NIGHTSWEEP_LEFT $NIGHTSWEEP_SWEEPS $NIGHTSWEEP_PAGES"; exit 3'
    has "sweep 'tiny': 4 complete"
    has 'validation/accuracy, 95 % over seeds'
    has "page: $folder/runs/tiny.html"
    has "complete 0 0 0 tiny $folder/runs/tiny.html"
    says 'on-finish ended with status 3'
    [ -s "$folder/runs/tiny.html" ] || fail 'no page'
    expect 0 run "$folder/job/tiny.json" --quiet
    has "sweep 'tiny': 4 complete"
    [ -s "$folder/errors" ] && fail 'quiet is not'
    expect 0 plan --no-timing "$folder/job/tiny.json"
    has 'licenses: model not said; train, validation not said'
    printf -- '---\nlicense: cc-by-4.0\n---\n' >"$folder/job/README.md"
    definition tiny '{"method":{"values":["lora","full"]}}' | sed 's/{/{"licenses":{"model":"mit"},/' >"$folder/job/tiny.json"
    expect 0 plan --no-timing "$folder/job/tiny.json"
    has 'licenses: model mit (definition); train, validation cc-by-4.0 (README.md)'
    expect 0 run "$folder/job/tiny.json" --quiet
    expect 0 status tiny
    has 'train, validation  cc-by-4.0  README.md'
    expect 0 show tiny/1 --json
    json '[(i["input"], i["license"], i["said_by"]) for i in j["inputs"]] == [("model", "mit", "definition"), ("train", "cc-by-4.0", "README.md"), ("validation", "cc-by-4.0", "README.md")]'
    definition tiny '{"method":{"values":["lora","full"]}}' >"$folder/job/tiny.json"
    # Without a validation file the rows are taken from the training file, and the store says so.
    definition split '{"method":{"values":["lora"]}}' | sed 's/"validation":"validation.jsonl",//' >"$folder/job/split.json"
    expect 0 run "$folder/job/split.json" --store "$folder/runs/split.db"
    expect 0 show 1 --store "$folder/runs/split.db"
    has 'taken from the training file: hash of text, 10 % of each label'
    expect 0 run "$folder/job/tiny.json" --new other --json
    python3 -c 'import json,sys; l=[json.loads(x) for x in open(sys.argv[1])]; assert all(x["v"] == 1 for x in l); assert l[-1]["type"] == "end" and l[-1]["outcome"] == "complete"; assert l[-2]["summary"]["trials"]["COMPLETE"] == 4' "$folder/out" ||
        fail 'run --json'
    expect 0 plan --json --no-timing "$folder/job/tiny.json"
    json 'j["sweeps"][0]["kept"] == 4 and j["sweeps"][0]["done"] == 4 and j["sweeps"][0]["new"] == 0'
    definition tiny '{"method":{"values":["lora","bitfit"]}}' >"$folder/job/tiny.json"
    expect 0 plan --no-timing "$folder/job/tiny.json"
    has '2 new, 2 kept (2 of them done), 2 dropped'
    has 'trials 3, 4'
    # Some trials fail.
    expect 1 run "$folder/job/refused.json" --store "$folder/runs/n.db"
    has "2 trials failed; \`nightsweep status --store $folder/runs/n.db\` says why"
    expect 0 status refused
    has 'infeasible'
    # The deadline comes, in the background; a second one is refused meanwhile.
    sed 's/"epochs":3/"steps":10000000/' "$folder/job/small.json" >"$folder/job/long.json"
    expect 0 run "$folder/job/long.json" "$folder/job/tiny.json" --detach --for 1h --slots 1
    local pid
    pid=$(grep -o 'process [0-9]*' "$folder/out" | grep -o '[0-9]*')
    has "its log is '$folder/runs/small.log'"
    await "$nightsweep" show small/1
    expect 3 run "$folder/job/tiny.json"
    says "$pid"
    expect 0 status small
    has "in use by process $pid"
    kill -TERM "$pid"
    await is_gone "$pid"
    grep -q 'stopped as asked: 16 trials are left' "$folder/runs/small.log" || fail "no end in the log: $(cat "$folder/runs/small.log")"
    # shellcheck disable=SC2016
    expect 1 run "$folder/job/long.json" --for 1s --on-finish 'echo "$NIGHTSWEEP_OUTCOME $NIGHTSWEEP_STATUS $NIGHTSWEEP_LEFT"'
    has 'time is up: 16 trials are left; `nightsweep run'
    has 'deadline 1 16'
    says 'the deadline has come'
    expect 2 run "$folder/job/tiny.json" --until 25:00
    says "--until: '25:00' is no time of day"
    expect 2 run "$folder/job/tiny.json" --at soon
    says '--at'
    expect 2 run "$folder/job/tiny.json" --for 0s
    says 'a duration above 0'
    expect 2 run "$folder/job/tiny.json" --slots 0
    says '--slots'
    expect 2 run "$folder/job/tiny.json" --new T
    says "'T'"
    expect 2 run "$folder/job/tiny.json" "$folder/job/tiny.json"
    says "are both the sweep 'tiny'"
    expect 2 run "$folder/job/wrong.json" --detach
    says 'rnk'
    [ -e "$folder/runs/wrong.log" ] && fail 'a wrong definition is detached'
    unset NIGHTSWEEP_STORE
}

doctor() {
    expect 0 doctor --store "$folder/s.db"
    has 'OpenBLAS'
    has 'kernels'
    expect 0 doctor --json --store "$folder/s.db"
    json 'j["ready"] and any(f["name"] == "trainer" and f["kind"] == "ok" for f in j["findings"])'
    # Speeds are numbers, whatever they are; the roofline's estimate is below its ceiling.
    expect 0 doctor --bench --json --store "$folder/s.db"
    json 'all(p["gflops"] > 0 and p["share"] > 0 for p in j["bench"]["products"]) and len(j["bench"]["products"]) >= 9'
    json 'all(k["gb_per_second"] > 0 for k in j["bench"]["kernels"]) and j["bench"]["triad_gb_per_second"] > 0'
    json '{(r["method"], r["compute"]) for r in j["bench"]["roofline"]} >= {("lora", "fp32"), ("full", "fp32")}'
    json 'any(f["name"] == "fp32 linear forward 512x1536x384" and "GFLOP/s" in f["value"] for f in j["findings"])'
    expect 3 doctor --bench --model "$folder/nowhere" --store "$folder/s.db"
    has 'missing  speed'
    has 'there is no such model folder'
    expect 2 doctor --model "$folder" --store "$folder/s.db"
    says 'goes with --bench'
    mkdir "$folder/alone"
    cp "$nightsweep" "$folder/alone"
    "$folder/alone/nightsweep" doctor --store "$folder/s.db" >"$folder/out" 2>"$folder/errors"
    [ $? = 3 ] || fail 'a missing trainer is not status 3'
    grep -q '^missing  trainer' "$folder/out" || fail 'the missing trainer is not named'
    grep -q '^missing  worker' "$folder/out" || fail 'the missing worker is not named'
    expect 3 doctor --store "$folder/text.db"
    has 'missing  store'
}

slurm() {
    mkdir -p "$folder/it's here"
    printf '{"name":"q","model":"%s","task":{"kind":"classification","train":"train.jsonl","text":"text","label":"label"},
        "parameters":{}}' "$PWD/tests/golden/cases/models/bert" >"$folder/it's here/q.json"
    echo '{"text":"a","label":0}' >"$folder/it's here/train.jsonl"
    expect 0 slurm submit "$folder/it's here/q.json" --dry-run --slots 3 --store "$folder/it's here/q.db"
    script=$(cat "$folder/out")
    sh -n "$script" || fail 'the batch script is no shell script'
    grep -q '^#SBATCH --requeue$' "$script" || fail 'the job is not put back into the queue'
    # Run by a shell, with the program replaced by one that prints its arguments, the quoting must come out again.
    sed "s|^'[^']*/nightsweep' run|printf '%s\\n'|" "$script" >"$folder/script"
    sh "$folder/script" >"$folder/arguments"
    grep -qxF "$folder/it's here/q.json" "$folder/arguments" || fail 'the path of the definition is not quoted'
    grep -qxF 3 "$folder/arguments" || fail 'the slots are not in the script'
    expect 2 slurm submit
    says 'a sweep'
    expect 2 slurm sumbit x.json
    says 'nearest is submit'
}

help_of_everything
slurm
man_pages
completion
beginning
installing
wrong_usage
small_store
explained
hostile_store
training
plans
runs
doctor
exit "$failed"
