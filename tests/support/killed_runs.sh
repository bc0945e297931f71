# shellcheck shell=bash
# shellcheck disable=SC2154 # folder, seed: of the script that sources it
# Sourced with BUILD, folder and seed set: runs of $folder/NAME.json in a store of its own, checkpoints after every step.
sweep() { # name
    "$BUILD/nightsweep" run "$folder/$1.json" --store "$folder/$1.db" --checkpoint-every 0s --quiet >>"$folder/log" 2>&1
}
# Runs it and kills the coordinator so many times, each after `least` milliseconds and at most `spread` more; leaves the
# rest to sweep().
sweep_killed() { # name, times, least, spread
    local i runner
    RANDOM=$seed
    for ((i = 0; i < $2; i++)); do
        "$BUILD/nightsweep" run "$folder/$1.json" --store "$folder/$1.db" --checkpoint-every 0s --quiet \
            >>"$folder/log" 2>&1 &
        runner=$!
        sleep "0.$(printf '%03d' $(($3 + RANDOM % $4)))"
        kill -KILL "$runner" 2>/dev/null
        wait "$runner" 2>/dev/null
    done
}
