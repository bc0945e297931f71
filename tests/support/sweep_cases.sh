# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # folder, bin: of fake_programs.sh and the script that sources this; failed: for that one
# Sourced behind fake_programs.sh: cases with a store each, and what is asked of the store.
failed=0
case_name=
db=
runner=
unset NIGHTSWEEP_STORE
trap 'pkill -KILL -f "$bin/" 2>/dev/null; rm -rf "$folder"' EXIT

begin() { # name: a store of its own
    case_name=$1
    db=$folder/$1.db
    unset FAKE_TRAINER FAKE_STEP_MS
    : >"$folder/out"
}
fail() {
    printf '%s: %s: %s\n' "${0##*/}" "$case_name" "$1"
    tail -n 15 "$folder/out" "$folder/run" 2>/dev/null
    sqlite3 -header "$db" 'SELECT number, state, reason, message FROM trial LIMIT 8' 2>/dev/null
    failed=1
}
ends() { # expected exit status of the run in the background
    wait "$runner"
    local status=$?
    [ "$status" = "$1" ] || fail "the run ends with $status, expected $1"
}
sql() { sqlite3 "$db" "$1"; }
expect() { # query, expected answer
    local found
    found=$(sql "$1")
    [ "$found" = "$2" ] || fail "'$1' gives '$found', expected '$2'"
}
says() { grep -qE -- "$1" "$folder/out" || fail "nothing said like '$1'"; }
