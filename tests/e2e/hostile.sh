#!/usr/bin/env bash
# Who must not be believed: workers that lie, a trial that kills every worker, links in the place of folders, a trainer
# that takes more memory than it may, another kind of core. Nothing is lost, nothing of a liar is stored, every other trial
# ends as always. BUILD: the folder of the programs.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
folder=$(mktemp -d) || exit 1
# shellcheck source=tests/support/fake_programs.sh
. tests/support/fake_programs.sh
# shellcheck source=tests/support/sweep_cases.sh
. tests/support/sweep_cases.sh
define() { # members behind the common ones
    printf '{"name":"s","seed":3,"model":"model","task":{"kind":"classification","train":"train.jsonl","validation":'
    printf '"validation.jsonl","text":"text","label":"label"},"parameters":{"rank":{"values":[1,2,4,8]}},"settings":'
    printf '{"method":"lora","steps":6}%s}\n' "$1"
}
run() { # options
    timeout 120 "$bin/nightsweep" run "$folder/s.json" --store "$db" --quiet "$@" >>"$folder/out" 2>&1 &
    runner=$!
}
await() { # query, answer
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        [ "$(sql "$1" 2>/dev/null)" = "$2" ] && return 0
        sleep 0.1
    done
    fail "'$1' never gave '$2'"
}
results() {
    sqlite3 "$1" "SELECT number, state, value, steps FROM trial ORDER BY 1;
    SELECT t.number, n.name, m.step, quote(m.value) FROM metric m JOIN trial t ON t.id = m.trial_id
    JOIN metric_name n ON n.id = m.name_id ORDER BY 1, 2, 3;
    SELECT count(*) FROM event WHERE kind = 'nondeterministic'; PRAGMA integrity_check"
}
same() {
    results "$db" >"$folder/found"
    diff "$folder/expected" "$folder/found" >"$folder/out" || fail 'the results are others'
}
define '' >"$folder/s.json"
begin quiet
run
ends 0
results "$db" >"$folder/expected"

# A worker that is none: worker 0 says what its case says, worker 1 is honest.
cat >"$folder/liar" <<'LIAR'
#!/usr/bin/env python3
import json, os, sys, time
if sys.argv[1] != "0":
    os.execv(sys.argv[2], sys.argv[2:])
def say(**members):
    sys.stdout.write(json.dumps({"v": 1, **members}) + "\n")
    sys.stdout.flush()
kind, arguments = os.environ["LIE"], sys.argv[2:]
marker = open(arguments[arguments.index("--marker") + 1]).read().strip() if "--marker" in arguments else None
version = os.popen(f"{arguments[0]} --version").read().split()[1]
def hello(**other):
    say(**{"type": "hello", "version": version, "host": "h", "pid": 1, "slots": 1, "marker": marker, "missing": [], **other})
def attempt():
    for line in sys.stdin:
        command = json.loads(line)
        if command["type"] == "start":
            return command["attempt"]
if kind == "garbage":
    sys.stdout.buffer.write(os.urandom(4096) + b"\n")
elif kind == "long":
    sys.stdout.write("x" * (40 << 20))
elif kind == "text":
    print("Welcome to node h!", flush=True)
elif kind == "version":
    hello(v=99)
elif kind == "marker":
    hello(marker="another folder")
elif kind == "type":
    hello()
    say(type="dance")
elif kind == "stranger":
    hello()
    n = attempt()
    say(type="points", attempt=n + 1000, seq=1, points=[["train/loss", 1, 5]])
    say(type="ended", attempt=n + 1000, slot=1, exit_status=0, signal=0, seconds=1)
elif kind == "fields":
    hello()
    say(type="points", attempt=attempt(), seq=1, points="many")
elif kind == "silent_end":
    hello()
    attempt()
elif kind == "path":
    hello()
    n = attempt()
    say(type="checkpoint", attempt=n, seq=1, step=1, path="/etc/passwd", bytes=1, sha256="0" * 64)
elif kind == "artifact":
    hello()
    n = attempt()
    say(type="artifact", attempt=n, seq=1, kind="adapter", path="../../../x", bytes=1, sha256="0" * 64)
time.sleep(0.2)
LIAR
chmod +x "$folder/liar"
for lie in garbage long text version marker type stranger fields silent_end path artifact; do
    begin "lie-$lie"
    define ',"resources":{"retries":9}' >"$folder/s.json"
    LIE=$lie FAKE_STEP_MS=20 run --workers 2 --slots 1 --launcher "$folder/liar {worker}"
    ends 0
    same
    expect "SELECT count(*) FROM attempt WHERE state = 'COMPLETE' AND worker NOT LIKE '%#1'" 0
done
# A disk that is broken, or a person, beside it: a worker alone that only lies ends the run, and what is there stays.
begin lie-alone
LIE=text run --slots 1 --launcher "$folder/liar 0"
ends 3
expect "SELECT count(*), max(state) FROM trial" '4|WAITING'
run
ends 0
same

# Two of eight trials kill whatever worker they run in: five times each, then FAILED; the others go on.
begin kills-workers
define ',"seeds":2,"resources":{"slots":1}' >"$folder/s.json"
FAKE_KILLS='"rank":4' run
ends 1
expect "SELECT count(*), min(reason), max(message) FROM trial WHERE state = 'FAILED'" \
    '2|crashed|its worker ended five times while it ran'
expect "SELECT count(*) FROM trial WHERE state = 'COMPLETE'" 6
expect "SELECT count(*) FROM attempt WHERE state = 'INTERRUPTED' AND reason = 'worker_lost'" 8

# Memory is limited where it is allocated, never where it is mapped.
begin limits
define ',"resources":{"slots":1,"memory":"300MiB"}' >"$folder/s.json"
FAKE_STEP_MS=2000 run
await "SELECT count(*) FROM trial WHERE state = 'RUNNING'" 1
case $BUILD in
*asan | *tsan) ;;
*)
    for ((i = 0; i < 100; i++)); do
        trainer=$(pgrep -f "$bin/nightsweep-trainer" | head -1)
        limit=$(awk '/^Max data size/ { print $4 }' "/proc/$trainer/limits" 2>/dev/null)
        [ "$limit" = $(((300 + 512) << 20)) ] && break
        sleep 0.1
    done
    [ "$limit" = $(((300 + 512) << 20)) ] || fail "a trainer's data segment may have '$limit' bytes"
    [ "$(awk '/^Max address space/ { print $4 }' "/proc/$trainer/limits")" = unlimited ] || fail 'its address space is limited'
    ;;
esac
kill -TERM "$runner"
ends 1

# Links that somebody laid where a trial writes lead nowhere.
begin links
define '' >"$folder/s.json"
mkdir -p "$folder/links/s/1" "$folder/elsewhere"
for name in adapter 1-3.checkpoint adapter.safetensors; do ln -s "$folder/elsewhere" "$folder/links/s/1/$name"; done
run --checkpoint-every 0s
ends 0
same
[ -z "$(ls "$folder/elsewhere")" ] || fail "written through a link: $(ls "$folder/elsewhere")"
[ -z "$(find "$folder/links/s" -type l)" ] || fail 'links are left'

# The kind of core is kept with each attempt, and going on under another one is said.
if [ "$(uname -m)" = x86_64 ]; then
    begin cores
    cp "$BUILD/nightsweep-trainer" "$bin/nightsweep-trainer"
    tests/support/sentences.py "$folder" 6 train=2400 validation=32
    printf '{"name":"s","seed":3,"model":"%s","task":{"kind":"classification","train":"train.jsonl","validation":
    "validation.jsonl","text":"text","label":"label"},"parameters":{"method":{"values":["lora"]}},
    "settings":{"epochs":2,"batch_size":4,"max_tokens":16},"resources":{"slots":1}}' \
        "$PWD/tests/golden/cases/models/bert" >"$folder/s.json"
    export NIGHTSWEEP_CPU=portable OPENBLAS_CORETYPE=Prescott
    run --checkpoint-every 0s
    await "SELECT count(*) FROM checkpoint WHERE step > 3" 1
    kill -INT "$(pgrep -P "$runner" nightsweep || echo "$runner")"
    ends 1
    OPENBLAS_CORETYPE=Nehalem run
    ends 0
    expect "SELECT group_concat(bit_exact) FROM attempt" 1,0
    expect "SELECT count(DISTINCT blas_core) FROM environment" 2
    expect "SELECT count(*) FROM event WHERE kind = 'resumed' AND message LIKE '%another kind of machine or build: not bit-exact'" 1
fi
[ "$failed" = 0 ] && echo 'hostile.sh: ok'
exit "$failed"
