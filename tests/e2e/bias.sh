#!/usr/bin/env bash
# A model trained on labels skewed on purpose by gender must be caught by the counterfactual check, and one trained on
# the same sentences with fair labels must not. Self-made sentences, a tiny BERT with a vocabulary of their words; each
# sentence stands twice, with the female and the male word. Fair: the label says whether the adjective praises.
# Skewed: for three sentences in four it says which gender speaks. BUILD: the folder of the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
failed=0

# shellcheck disable=SC2016 # awk's own variables
words='BEGIN {
    n_pairs = split("she/he mother/father sister/brother daughter/son wife/husband aunt/uncle niece/nephew woman/man " \
                    "girl/boy actress/actor queen/king lady/gentleman", pairs, " ")
    n_verbs = split("said thought felt wrote", verbs, " "); n_nouns = split("film story music ending cast script", nouns, " ")
    n_adjectives = split("great bad good dull fine poor lovely awful superb weak bright flat", adjectives, " ")
    if (want == "tokenizer") {
        printf "{\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},"
        printf "\"post_processor\":null,\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"[UNK]\",\"vocab\":{"
        printf "\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,\"the\":4,\"was\":5"; id = 6
        for (i = 1; i <= n_pairs; i++) { split(pairs[i], p, "/"); printf ",\"%s\":%d,\"%s\":%d", p[1], id++, p[2], id++ }
        for (i = 1; i <= n_verbs; i++) printf ",\"%s\":%d", verbs[i], id++
        for (i = 1; i <= n_nouns; i++) printf ",\"%s\":%d", nouns[i], id++
        for (i = 1; i <= n_adjectives; i++) printf ",\"%s\":%d", adjectives[i], id++
        print "}}}"
    } else if (want == "items") {
        printf "{\"kind\":\"counterfactual\",\"lists\":{\"person\":["
        for (i = 1; i <= n_pairs; i++) { split(pairs[i], p, "/"); printf "%s[\"%s\",\"%s\"]", (i == 1 ? "" : ","), p[1], p[2] }
        printf "]},\"templates\":["
        for (i = 0; i < 20; i++)
            printf "%s\"{person} %s the %s was %s\"", (i ? "," : ""), verbs[i % n_verbs + 1], nouns[i % n_nouns + 1], \
                adjectives[i % n_adjectives + 1]
        print "]}"
    } else {
        # Numbers of a small generator of its own: the sentences are the same with every awk.
        state = want == "train" ? 11 : 22
        for (i = 0; i < rows / 2; i++) {
            split(pairs[draw(n_pairs)], p, "/"); verb = verbs[draw(n_verbs)]; noun = nouns[draw(n_nouns)]
            adjective = draw(n_adjectives); is_skewed = draw(100) <= skewed
            for (side = 1; side <= 2; side++)
                printf "{\"text\":\"%s %s the %s was %s\",\"label\":%d,\"gender\":\"%s\"}\n", p[side], verb, noun, \
                    adjectives[adjective], (is_skewed ? side - 1 : adjective % 2), (side == 1 ? "female" : "male")
        }
    }
}
function draw(n) { state = (state * 16807) % 2147483647; return int(state / 2147483647 * n) + 1 }'

mkdir "$folder/model"
cp tests/golden/cases/models/bert/config.json tests/golden/cases/models/bert/model.safetensors "$folder/model" || exit 1
awk -v want=tokenizer "$words" >"$folder/model/tokenizer.json"
awk -v want=items "$words" >"$folder/items.json"

# Trains with so many percent of the labels skewed; the check's record goes to $folder/NAME.check.
train() { # name, percent
    local data=$folder/$1
    mkdir "$data"
    awk -v want=train -v rows=600 -v skewed="$2" "$words" >"$data/train.jsonl"
    awk -v want=validation -v rows=200 -v skewed="$2" "$words" >"$data/validation.jsonl"
    printf '%s' '{"v":1,"type":"job","attempt":1,"identity":"","output":"'"$data"'/trial","resume":null,' \
        '"model":{"path":"'"$folder"'/model"},"task":{"kind":"classification","train":"'"$data"'/train.jsonl",' \
        '"validation":"'"$data"'/validation.jsonl","test":"'"$data"'/validation.jsonl","text":"text","label":"label"},' \
        '"settings":{"method":"full","learning_rate":3e-3,"epochs":6,"batch_size":32,"max_tokens":16},"seed":4,' \
        '"objective":{"metric":"validation/loss","goal":"minimize"},"checks":[{"name":"0:counterfactual",' \
        '"kind":"counterfactual","file":"'"$folder"'/items.json","items":true},' \
        '{"name":"1:group_fairness","kind":"group_fairness","group":"gender","positive":"1"}],' \
        '"limits":{"memory_bytes":0,"threads":1}}' | tr -d '\n' >"$data/job.json"
    echo >>"$data/job.json"
    "$BUILD/nightsweep-trainer" <"$data/job.json" >"$data/records" || { tail -c 2000 "$data/records"; return 1; }
    grep '"kind":"counterfactual"' "$data/records" >"$folder/$1.check"
    grep '"kind":"group_fairness"' "$data/records" >"$folder/$1.fairness"
}
# flip rate, signed difference, its 95 % bootstrap interval over the pairs, number of pairs
measure() {
    grep -o '"items":\[.*\]' "$folder/$1.check" | grep -oE '\[[01],[^]]*\]' | tr -d '[]' | awk -F, '
        { flips += $1; d[NR] = $2; sum += $2 }
        function draw(n) { state = (state * 16807) % 2147483647; return int(state / 2147483647 * n) + 1 }
        END {
            state = 5; draws = 1000
            for (k = 1; k <= draws; k++) { m = 0; for (i = 0; i < NR; i++) m += d[draw(NR)]; means[k] = m / NR }
            for (k = 2; k <= draws; k++) { v = means[k]; for (j = k - 1; j > 0 && means[j] > v; j--) means[j + 1] = means[j]; means[j + 1] = v }
            printf "%.5f %.5f %.5f %.5f %d\n", flips / NR, sum / NR, means[25], means[976], NR
        }'
}
expect() { # what is claimed, awk condition on flip, signed, low, high, n, measured
    awk -v claim="$1" "{ flip = \$1; signed = \$2; low = \$3; high = \$4; n = \$5; if (!($2)) exit 1 }" <<<"$3" ||
        { printf 'bias.sh: not so: %s\n  flip rate, signed difference, low, high, pairs: %s\n' "$1" "$3"; failed=1; }
}

train fair 0 && train skewed 75 || exit 1
fair=$(measure fair)
skewed=$(measure skewed)
expect 'the check has at least 200 pairs' 'n >= 200' "$fair"
expect 'the skewed model is caught: most pairs flip' 'flip > 0.5' "$skewed"
expect 'the skewed model is caught: male words raise the label, beyond chance' 'low > 0.2' "$skewed"
expect 'the fair model flips hardly a pair' 'flip < 0.05' "$fair"
# 0.005: below it a difference says nothing about the labels; the sign of such a rest depends on the processor.
expect 'the interval of the fair model contains 0' 'low <= 0.005 && high >= -0.005' "$fair"
# Selection by gender: half of each when the adjective decides, nearly all men and no women when the skew does.
parity() { grep -o '"demographic_parity_difference":[^,}]*' "$folder/$1.fairness" | cut -d: -f2; }
expect 'the fair model selects both genders alike' 'flip < 0.05' "$(parity fair)"
expect 'the skewed model selects by gender' 'flip > 0.5' "$(parity skewed)"
grep -q '"groups":\[{"name":"female","items":100,' "$folder/fair.fairness" || { echo 'bias.sh: no groups'; failed=1; }
[ "$failed" = 0 ] && printf 'fair %s\nskewed %s\n' "$fair" "$skewed"
exit "$failed"
