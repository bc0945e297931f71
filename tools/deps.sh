#!/usr/bin/env bash
# Installs what is missing on Debian 12, as root or through sudo. `tools/deps.sh` brings what building and testing need;
# `tools/deps.sh --lint` the linters too, `--page` the browser that the page is tested in, `--fuzz` clang, `--valgrind` valgrind, `--deb` what packaging needs, `--slurm` a Slurm and sshd. Does nothing, quickly, when all is there.
set -eu
packages=(gcc make pkg-config git ca-certificates procps sqlite3 python3 python3-pip
    libopenblas-dev libuv1-dev libcjson-dev libsqlite3-dev libcriterion-dev libssl-dev libutf8proc-dev libpcre2-dev libyaml-dev
    libdnnl-dev uthash-dev)
if [ "${1:-}" = --page ]; then
    packages+=(chromium fonts-dejavu-core)
    command -v npm >/dev/null || packages+=(nodejs npm)
fi
[ "${1:-}" = --valgrind ] && packages+=(valgrind libc6-dbg)
[ "${1:-}" = --fuzz ] && packages+=(clang libclang-rt-14-dev)
[ "${1:-}" = --slurm ] && packages+=(slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge openssh-server openssh-client iproute2)
[ "${1:-}" = --deb ] && packages+=(debhelper dpkg-dev lintian)
[ "${1:-}" = --lint ] && packages+=(clang-format cppcheck shellcheck)

missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "deps: needs root or sudo to install: ${missing[*]}" >&2; exit 3; }
    as_root=(sudo)
fi
echo "deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
