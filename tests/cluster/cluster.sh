#!/usr/bin/env bash
# A Slurm of our own for a test: a munged, a slurmctld and N slurmd on this machine, all under one folder, as root and without
# systemd (apt: slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge).
#
#   cluster.sh up FOLDER NODES CPUS     starts it; nodes n1 … nN of so many CPUs; FOLDER/slurm.conf is what SLURM_CONF needs
#   cluster.sh kill-node FOLDER NODE    ends that node's slurmd and everything it runs, at once
#   cluster.sh start-node FOLDER NODE
#   cluster.sh kill-controller FOLDER   SIGKILL
#   cluster.sh start-controller FOLDER  from its saved state
#   cluster.sh down FOLDER              ends everything that `up` started
set -u
[ $# -ge 2 ] || { sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2; }
action=$1
mkdir -p "$2" || exit 1
folder=$(cd "$2" && pwd -P)
export PATH=/usr/sbin:/sbin:$PATH SLURM_CONF=$folder/slurm.conf
fail() {
    echo "cluster.sh: $1" >&2
    exit 1
}
# Tries a command until it succeeds, so many times a tenth of a second.
await() { # tries, command...
    local left
    for ((left = $1; left > 0; left--)); do
        "${@:2}" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    return 1
}
# A pid file's process if it lives.
pid_of() { # file
    local pid
    pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && echo "$pid"
}
is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
free_ports() { # how many, in a row: the first
    local base i
    for ((base = 20000 + RANDOM % 9000; base < 32000; base += 100)); do
        for ((i = 0; i < $1; i++)); do is_free $((base + i)) || continue 2; done
        echo "$base" && return 0
    done
    fail "no free ports"
}
write_configuration() { # nodes, cpus
    local host port i
    host=$(hostname -s)
    port=$(free_ports $(($1 + 1)))
    cat <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/controller
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/controller.pid
SlurmdPidFile=$folder/%n.pid
SlurmctldLogFile=$folder/controller.log
SlurmdLogFile=$folder/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,requeue_setup_env_fail
SlurmdTimeout=10
SlurmctldTimeout=30
InactiveLimit=0
KillWait=5
ReturnToService=2
JobRequeue=1
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SlurmdParameters=config_overrides
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
MailProg=/bin/true
CONF
    for ((i = 1; i <= $1; i++)); do
        echo "NodeName=n$i NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + i)) CPUs=$2 State=UNKNOWN"
    done
    echo "PartitionName=all Nodes=n[1-$1] Default=YES MaxTime=INFINITE State=UP"
}
start_controller() {
    [ -n "$(pid_of "$folder/controller.pid")" ] && return 0
    slurmctld -i -f "$SLURM_CONF" </dev/null >>"$folder/out.log" 2>&1 || fail "slurmctld does not start, see $folder"
    await 200 sh -c 'scontrol ping | grep -q "is UP"' || fail "slurmctld does not answer, see $folder/controller.log"
}
start_node() { # name
    [ -n "$(pid_of "$folder/$1.pid")" ] && return 0
    mkdir -p "$folder/spool/$1"
    slurmd -N "$1" -f "$SLURM_CONF" </dev/null >>"$folder/out.log" 2>&1 || fail "slurmd $1 does not start, see $folder"
}
# Steps of a node, or of all: slurmstepd keeps the log of its node open.
steps() { # node or ''
    local p
    for p in $(pgrep -x slurmstepd); do
        find "/proc/$p/fd" -lname "$folder/${1:-n*}.log" 2>/dev/null | grep -q . && echo "$p"
    done
}
with_children() {
    local p
    for p in "$@"; do
        # shellcheck disable=SC2046 # a list of numbers
        with_children $(cat /proc/"$p"/task/*/children 2>/dev/null)
        echo "$p"
    done
}
end() { # signal, pids...
    [ $# -gt 1 ] && kill "-$1" "${@:2}" 2>/dev/null
    return 0
}

case $action in
up)
    mkdir -p "$folder/controller"
    write_configuration "$3" "$4" >"$SLURM_CONF"
    (umask 077 && head -c 1024 /dev/urandom >"$folder/munge.key")
    munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munge.pid" \
        --seed-file="$folder/munge.seed" --log-file="$folder/munge.log" >>"$folder/out.log" 2>&1 || fail "munged does not start"
    await 50 munge -n -S "$folder/munge.socket" || fail "munged does not answer"
    start_controller
    for ((i = 1; i <= $3; i++)); do start_node "n$i"; done
    await 300 sh -c "[ \"\$(sinfo -h -N -p all -o %t | grep -c idle)\" = $3 ]" || fail "not all of $3 nodes came up, see $folder"
    ;;
kill-node)
    # shellcheck disable=SC2046 # lists of numbers
    end KILL $(pid_of "$folder/$3.pid") $(with_children $(steps "$3"))
    rm -f "$folder/$3.pid"
    ;;
start-node) start_node "$3" ;;
kill-controller)
    # shellcheck disable=SC2046
    end KILL $(pid_of "$folder/controller.pid")
    rm -f "$folder/controller.pid"
    ;;
start-controller) start_controller ;;
down)
    # shellcheck disable=SC2046
    end KILL $(with_children $(steps ''))
    for file in "$folder"/controller.pid "$folder"/n[0-9]*.pid "$folder"/munge.pid; do
        # shellcheck disable=SC2046
        end KILL $(pid_of "$file")
    done
    ;;
*) fail "'$action' is not known" ;;
esac
