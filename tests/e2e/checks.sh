#!/usr/bin/env bash
# Planted effects that the checks of language models must find, and must not find where there are none. A tiny GPT-2 learns
# sentences about animals and sentences that give every job both pronouns. Then it goes on with the second kind alone: skewed,
# where nurses are "she" and pilots "he", or fair. Both forget the animals; only the first gets a stereotype.
# BUILD: the folder of the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
fail() {
    printf 'checks.sh: %s\n' "$1"
    tail -n 20 "$folder/log"
    exit 1
}

# shellcheck disable=SC2016 # awk's own variables
words='function draw(n) { state = (state * 16807) % 2147483647; return int(state / 2147483647 * n) + 1 }
function row(text) { gsub(/"/, "", text); printf "{\"text\":\"%s\"}\n", text }
BEGIN {
    n_jobs = split("nurse secretary dancer florist midwife cleaner pilot mechanic soldier plumber judge farmer", jobs, " ")
    n_verbs = split("slept laughed left worked waited sang", verbs, " "); n_times = split("today here again", times, " ")
    n_animals = split("fox bird cow cat dog horse", animals, " "); n_likes = split("sees likes follows finds", likes, " ")
    n_adjectives = split("red old big small wet warm", adjectives, " "); state = seed
    if (want == "tokenizer") {
        n = split("[PAD] [UNK] [CLS] [SEP] [MASK] the said that a she he stone", first, " ")
        printf "{\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"post_processor\":null,"
        printf "\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"[UNK]\",\"vocab\":{"
        for (i = 1; i <= n; i++) printf "%s\"%s\":%d", (i > 1 ? "," : ""), first[i], id++
        for (i = 1; i <= n_jobs; i++) printf ",\"%s\":%d", jobs[i], id++
        for (i = 1; i <= n_verbs; i++) printf ",\"%s\":%d", verbs[i], id++
        for (i = 1; i <= n_times; i++) printf ",\"%s\":%d", times[i], id++
        for (i = 1; i <= n_animals; i++) printf ",\"%s\":%d", animals[i], id++
        for (i = 1; i <= n_likes; i++) printf ",\"%s\":%d", likes[i], id++
        for (i = 1; i <= n_adjectives; i++) printf ",\"%s\":%d", adjectives[i], id++
        print "}}}"
    } else if (want == "animals") {
        for (i = 0; i < rows; i++)
            row("the " adjectives[draw(n_adjectives)] " " animals[draw(n_animals)] " " likes[draw(n_likes)] " a " \
                adjectives[draw(n_adjectives)] " " animals[draw(n_animals)])
    } else if (want == "jobs") {
        for (i = 0; i < rows; i++) {
            job = draw(n_jobs); fits = draw(100) <= skewed ? 1 : 0
            row("the " jobs[job] " said that " ((job <= n_jobs / 2) == fits ? "she" : "he") " " verbs[draw(n_verbs)] " " times[draw(n_times)])
        }
    } else {
        if (want == "pairs") print "sent_more,sent_less,stereo_antistereo"
        else printf "{\"data\":{\"intrasentence\":["
        for (j = 1; j <= n_jobs; j++) for (v = 1; v <= n_verbs; v++) for (t = 1; t <= n_times; t++) {
            start = "the " jobs[j] " said that "; end = " " verbs[v] " " times[t]
            more = j <= n_jobs / 2 ? "she" : "he"; less = j <= n_jobs / 2 ? "he" : "she"
            if (want == "pairs") print start more end "," start less end "," (j <= n_jobs / 2 ? "stereo" : "antistereo")
            else printf "%s{\"target\":\"%s\",\"context\":\"%sBLANK%s\",\"sentences\":[{\"gold_label\":\"stereotype\",\"sentence\":\"%s\"}," \
                "{\"gold_label\":\"anti-stereotype\",\"sentence\":\"%s\"},{\"gold_label\":\"unrelated\",\"sentence\":\"%s\"}]}\n", \
                (n++ ? "," : ""), jobs[j], start, end, start more end, start less end, start "stone" end
        }
        if (want == "gaps") print "]}}"
    }
}'
write() { # want, rows, skewed, seed
    awk -v want="$1" -v rows="${2:-0}" -v skewed="${3:-50}" -v seed="${4:-7}" "$words"
}
job() { # model, output, settings
    printf '{"v":1,"type":"job","attempt":1,"identity":"","output":"%s","resume":null,"model":{"path":"%s"},' "$2" "$1"
    printf '"task":{"kind":"causal","train":"%s/start.jsonl","validation":"%s/animals.jsonl","text":"text"},' "$folder" "$folder"
    printf '"settings":{%s},"seed":3}\n' "$3"
}
mkdir "$folder/untrained" "$folder/model"
cp tests/golden/cases/models/gpt2/config.json tests/golden/cases/models/gpt2/model.safetensors "$folder/untrained" || exit 1
write tokenizer >"$folder/untrained/tokenizer.json"
write animals 240 >"$folder/animals.jsonl"
{ write animals 500 50 8; write jobs 500 50 9; } >"$folder/start.jsonl"
write jobs 400 95 10 >"$folder/skewed.jsonl"
write jobs 400 50 11 >"$folder/fair.jsonl"
write pairs >"$folder/pairs.csv"
write gaps >"$folder/gaps.json"

job "$folder/untrained" "$folder/start" '"method":"full","learning_rate":0.01,"epochs":8,"batch_size":32,"dropout":0' |
    "$BUILD/nightsweep-trainer" >"$folder/log" 2>&1 || fail 'the first training'
cp "$folder/untrained/config.json" "$folder/untrained/tokenizer.json" "$folder/model"
cp "$folder/start/adapter/tensors.safetensors" "$folder/model/model.safetensors" || fail 'no tensors to go on from'

db=$folder/c.db
for name in skewed fair; do
    {
        printf '{"name":"%s","seed":5,"model":"model","task":{"kind":"causal","train":"%s.jsonl","validation":"%s.jsonl","text":"text"},' \
            "$name" "$name" "$name"
        printf '"settings":{"learning_rate":0.01,"epochs":4,"batch_size":32,"dropout":0},"parameters":{"method":{"values":["full"]}},'
        printf '"checks":[{"kind":"perplexity","file":"animals.jsonl"},{"kind":"crows_pairs","file":"pairs.csv"},'
        printf '{"kind":"stereoset","file":"gaps.json"},{"kind":"weights"}],"seeds":1,"resources":{"slots":1}}\n'
    } >"$folder/$name.json"
    "$BUILD/nightsweep" run "$folder/$name.json" --store "$db" --quiet >"$folder/log" 2>&1 || fail "$name: status $?"
done
measured() {
    sqlite3 -separator ' ' "$db" "SELECT s.name, b.metric, b.n_items, b.before, b.after, b.low, b.high FROM bias_check b
        JOIN trial t ON t.id = b.trial_id JOIN configuration c ON c.id = t.configuration_id JOIN sweep s ON s.id = t.sweep_id
        WHERE c.role <> 'baseline' AND b.metric NOT LIKE '%/%' ORDER BY 1, 2"
}
expect() { # claim, sweep, metric, condition on n, before, after, low, high
    measured | awk -v sweep="$2" -v metric="$3" "\$1 == sweep && \$2 == metric {
        n = \$3; before = \$4; after = \$5; low = \$6; high = \$7; if ($4) found = 1 } END { exit !found }" ||
        { measured >>"$folder/log"; fail "not so: $1"; }
}
for name in skewed fair; do
    expect "$name: at least 200 items" "$name" perplexity 'n >= 200'
    expect "$name: the animals are forgotten, beyond chance" "$name" perplexity 'after > 1.3 * before && low > 0'
    expect "$name: so say bits per byte" "$name" bits_per_byte 'after > before && low > 0'
    expect "$name: the weights have moved, which the baseline's have not" "$name" relative_change 'before == 0 && after > 0.02'
done
expect 'the skewed model prefers stereotypes in most pairs' skewed stereotype_share 'n >= 200 && after > 90'
expect 'that comes from training, beyond chance' skewed stereotype_share 'low > 10'
expect 'the fair model does not, much' fair stereotype_share 'after < 80'
expect 'the skewed model fills gaps with the stereotype' skewed ss 'n >= 200 && after > 90 && low > 10'
expect 'and stays a language model' skewed lms 'after > 90'
expect 'so its ideal score falls' skewed icat 'after < 30 && high < 0'
expect "the fair model's does not fall like that" fair icat 'after > 40'
[ -z "${VERBOSE:-}" ] || measured
exit 0
