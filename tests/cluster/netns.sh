#!/usr/bin/env bash
# Workers through ssh: an sshd in each of two network namespaces of this machine. A sweep runs on both; the second one's cable is
# pulled while it runs; then it does not see the model, and then not the folder of the store. BUILD: the folder of the programs.
# Needs root, ip (iproute2) and sshd (openssh-server).
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build/release}")
export PATH=/usr/sbin:/sbin:$PATH
folder=$(mktemp -d) || exit 1
# shellcheck source=tests/support/fake_programs.sh
. tests/support/fake_programs.sh
id=ns$$
subnet=10.$((RANDOM % 200 + 20)).$((RANDOM % 250))
case_name=start
daemons=
clean() {
    # shellcheck disable=SC2086 # a list of numbers
    [ -n "$daemons" ] && kill $daemons 2>/dev/null
    for i in 0 1; do ip netns del "$id$i" 2>/dev/null; done
    ip link del "$id" 2>/dev/null
    rm -rf "$folder"
}
trap clean EXIT
fail() {
    printf 'netns.sh: %s: %s\n' "$case_name" "$1"
    tail -n 20 "$folder/out" "$folder"/sshd* 2>/dev/null
    exit 1
}
expect() { # query, answer
    local found
    found=$(sqlite3 "$folder/$case_name.db" "$1")
    [ "$found" = "$2" ] || fail "'$1' gives '$found', expected '$2'"
}
await() { # query, answer
    local left
    for ((left = 300; left > 0; left--)); do
        [ "$(sqlite3 "$folder/$case_name.db" "$1" 2>/dev/null)" = "$2" ] && return 0
        sleep 0.1
    done
    fail "'$1' never gave '$2'"
}

for name in key host; do ssh-keygen -q -t ed25519 -N '' -f "$folder/$name" || fail 'no keys'; done
cp "$folder/key.pub" "$folder/authorized" && chmod 600 "$folder/authorized"
mkdir -p /run/sshd "$folder/empty"
# The second node can lose sight of a folder: what it sees is its own mount namespace.
serve() { # node, folder that it does not see, or ''
    cat >"$folder/sshd$1.conf" <<CONF
ListenAddress $subnet.$(($1 + 2))
Port 22
HostKey $folder/host
AuthorizedKeysFile $folder/authorized
PidFile $folder/sshd$1.pid
StrictModes no
UsePAM no
PermitRootLogin yes
CONF
    # shellcheck disable=SC2016 # for the inner shell
    ip netns exec "$id$1" sh -c '[ -z "$2" ] || mount --bind "$3" "$2" || exit 1; exec /usr/sbin/sshd -D -e -f "$1"' sh \
        "$folder/sshd$1.conf" "$2" "$folder/empty" 2>"$folder/sshd$1.log" &
    served=$!
    daemons="$daemons $served"
}
ip link add "$id" type bridge || fail 'no bridge: is this root?'
ip addr add "$subnet.1/24" dev "$id"
ip link set "$id" up
for i in 0 1; do
    ip netns add "$id$i" || fail 'no network namespace'
    ip link add "$id-$i" type veth peer name eth0 netns "$id$i" || fail 'no cable'
    ip link set "$id-$i" master "$id" up
    ip -n "$id$i" addr add "$subnet.$((i + 2))/24" dev eth0
    ip -n "$id$i" link set eth0 up
    ip -n "$id$i" link set lo up
    serve $i ''
    {
        printf 'Host node%d\nHostName %s\nUser root\nIdentityFile %s\n' $i "$subnet.$((i + 2))" "$folder/key"
        printf 'StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\nConnectTimeout 5\n'
    } >>"$folder/ssh.conf"
done
second=$served
for i in 0 1; do
    for ((left = 50; left > 0; left--)); do
        ssh -n -F "$folder/ssh.conf" node$i true 2>/dev/null && continue 2
        sleep 0.1
    done
    fail "node$i does not answer"
done
run() { # expected status, name, steps
    case_name=$2
    printf '{"name":"%s","seed":3,"model":"model","task":{"kind":"classification","train":"train.jsonl",' "$2" >"$folder/$2.json"
    printf '"validation":"validation.jsonl","test":"test.jsonl","text":"text","label":"label"},"parameters":{"rank":' >>"$folder/$2.json"
    printf '{"values":[1,2,3,4,5]}},"seeds":4,"settings":{"method":"lora","steps":%d},"resources":{"retries":0}}\n' "$3" >>"$folder/$2.json"
    "$bin/nightsweep" run "$folder/$2.json" --store "$folder/$2.db" --workers 2 --slots 2 --quiet \
        --launcher "ssh -F $folder/ssh.conf node{worker} env FAKE_STEP_MS=50" >"$folder/out" 2>&1
    status=$?
    [ $status = "$1" ] || fail "exit status $status, expected $1"
    [ "$1" = 3 ] || expect "SELECT count(*), min(state), max(state) FROM trial" '20|COMPLETE|COMPLETE'
}

run 0 both 4
expect 'SELECT count(DISTINCT worker) FROM attempt' 2
echo 'netns.sh: 20 trials on two nodes through ssh'

(
    case_name=pulled
    await "SELECT count(*) FROM attempt WHERE state = 'RUNNING' AND worker LIKE '%#1'" 2
    ip link set "$id-1" down
) &
run 0 pulled 20
wait $!
ip link set "$id-1" up
expect "SELECT count(*) > 0 FROM event WHERE kind = 'worker_silent'" 1
expect "SELECT count(*) > 0 FROM event WHERE kind = 'worker_lost'" 1
expect "SELECT count(*) FROM attempt WHERE state = 'FAILED'" 0
expect "SELECT count(*) FROM attempt WHERE state = 'COMPLETE'" 20
echo 'netns.sh: its cable pulled: noticed, its trials went on elsewhere'

kill "$second"
wait "$second" 2>/dev/null
serve 1 "$folder/model"
sleep 1
rm -rf "$folder/empty/"*
run 0 no-model 4
grep -q "there is no '$folder/model/config.json'" "$folder/out" || fail 'the missing model is not named'
expect "SELECT count(*) FROM attempt WHERE worker LIKE '%#1'" 0
echo 'netns.sh: a node without the model is named and gets no trial'
