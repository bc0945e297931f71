#!/usr/bin/env bash
# The demo behind `make demo`: runs sweeps/demo.json on all cores, ends with the table of methods and leaves the page and
# the store in runs/. Goes on where it was when it is started again. Programs, model and data must be there.
#   DEMO_ROWS   a shortened form: so many training rows, a fifth of them for validation and test, one seed
#   BUILD       default build/release
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build/release}
sweep=sweeps/demo.json
name=demo
if [ -n "${DEMO_ROWS:-}" ]; then
    [[ $DEMO_ROWS =~ ^[1-9][0-9]{1,4}$ ]] || { echo "demo: DEMO_ROWS='$DEMO_ROWS' is no number from 10 to 99999" >&2; exit 2; }
    name=demo-$DEMO_ROWS
    mkdir -p runs
    # Beside the store; the paths in it start at the file's own folder, which is as deep as sweeps/.
    sed -e "s/\"name\": \"demo\"/\"name\": \"$name\"/" -e "s/\"train_examples\": [0-9]*/\"train_examples\": $DEMO_ROWS/" \
        -e "s/\"\(validation\|test\)_examples\": [0-9]*/\"\1_examples\": $((DEMO_ROWS / 5))/" \
        -e 's/"seeds": [0-9]*/"seeds": 1/' -e 's|"checks/names.json"|"../sweeps/checks/names.json"|' \
        "$sweep" >"runs/$name.json" || exit 3
    sweep=runs/$name.json
fi
store=${NIGHTSWEEP_STORE:-runs/demo.db}
start=$SECONDS
"$BUILD/nightsweep" run "$sweep" --store "$store"
status=$?
printf '\nDone in %d s. The page is %s, the store %s.\n' $((SECONDS - start)) "$(dirname "$store")/$name.html" "$store"
exit "$status"
