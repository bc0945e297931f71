#!/usr/bin/env bash
# A throw-away Slurm cluster for tests, to be sourced: one controller and N node daemons on this machine, everything in
# one folder. No systemd, no cgroups, no database. Needs root; installs Slurm's packages when they are missing.
#
#   slurm_up FOLDER N CPUS      starts it and sets SLURM_CONF
#   slurm_lose_node FOLDER NAME kills a node: its daemon, its steps and all they run
#   slurm_lose_controller FOLDER / slurm_start_controller FOLDER
#   slurm_down FOLDER           ends it

slurm_install() {
    local package missing=()
    for package in slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return 0
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

slurm_configure() { # folder, nodes, cpus, first port
    local host node
    host=$(hostname -s)
    cat >"$1/slurm.conf" <<CONF
ClusterName=torture
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$4
SlurmUser=root
SlurmdUser=root
AuthInfo=socket=$1/munge.socket
StateSaveLocation=$1/state
SlurmdSpoolDir=$1/spool-%n
SlurmctldPidFile=$1/slurmctld.pid
SlurmdPidFile=$1/%n.pid
SlurmctldLogFile=$1/slurmctld.log
SlurmdLogFile=$1/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
SlurmdTimeout=10
ReturnToService=2
JobRequeue=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
MailProg=/bin/true
CONF
    for ((node = 1; node <= $2; node++)); do
        echo "NodeName=n$node NodeHostname=$host NodeAddr=127.0.0.1 Port=$(($4 + node)) CPUs=$3 State=UNKNOWN"
    done >>"$1/slurm.conf"
    echo "PartitionName=all Nodes=n[1-$2] Default=YES MaxTime=INFINITE State=UP" >>"$1/slurm.conf"
}

slurm_await() { # seconds, command...
    local tries=$(($1 * 10)) i
    shift
    for ((i = 0; i < tries; i++)); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    return 1
}

slurm_answers() { scontrol ping | grep -q 'is UP'; }
slurm_ready() { [ "$(sinfo -h -N -o %t | grep -cE '^(idle|mix|alloc)$')" = "$1" ]; }

slurm_start_controller() {
    slurmctld -i -f "$1/slurm.conf" </dev/null >>"$1/slurmctld.out" 2>&1 && slurm_await 20 slurm_answers
}

slurm_up() {
    local folder=$1 node
    slurm_install || return 1
    mkdir -p "$folder/state"
    dd if=/dev/urandom of="$folder/munge.key" bs=1024 count=1 2>/dev/null
    chmod 400 "$folder/munge.key"
    chmod 755 "$folder"
    munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
        --seed-file="$folder/munge.seed" --log-file="$folder/munged.log" >/dev/null 2>&1 || return 1
    slurm_configure "$folder" "$2" "$3" $((20000 + RANDOM % 10000))
    export SLURM_CONF=$folder/slurm.conf
    slurm_start_controller "$folder" || return 1
    for ((node = 1; node <= $2; node++)); do
        mkdir -p "$folder/spool-n$node"
        slurmd -N "n$node" -f "$folder/slurm.conf" </dev/null >>"$folder/n$node.out" 2>&1 || return 1
    done
    slurm_await 30 slurm_ready "$2"
}

# All that a process has started, itself last.
slurm_family() {
    local process child
    for process in "$@"; do
        for child in $(pgrep -P "$process"); do slurm_family "$child"; done
        echo "$process"
    done
}

slurm_lose_node() {
    local steps=() step
    for step in $(pgrep -x slurmstepd); do
        find "/proc/$step/fd" -lname "$1/$2.log" 2>/dev/null | grep -q . && steps+=("$step")
    done
    # shellcheck disable=SC2046 # a list of process numbers
    kill -KILL "$(cat "$1/$2.pid")" $(slurm_family "${steps[@]}") 2>/dev/null
}

slurm_lose_controller() { kill -KILL "$(cat "$1/slurmctld.pid")"; }

slurm_down() {
    local file step
    for step in $(pgrep -x slurmstepd); do
        # shellcheck disable=SC2046
        { tr '\0' '\n' <"/proc/$step/environ"; } 2>/dev/null | grep -qx "SLURM_CONF=$1/slurm.conf" &&
            kill -KILL $(slurm_family "$step") 2>/dev/null
    done
    for file in "$1"/*.pid; do kill -KILL "$(cat "$file")" 2>/dev/null; done
}
