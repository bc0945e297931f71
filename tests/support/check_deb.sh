#!/usr/bin/env bash
# The Debian package in a folder: lintian finds nothing, its programs find each other where they are unpacked, and a small
# sweep runs. check_deb.sh FOLDER
set -eu
cd "$(dirname "$0")/../.."
package=$(realpath "$1"/nightsweep_*.deb)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
lintian --fail-on error,warning "$package"
dpkg -x "$package" "$folder/root"
dpkg-deb -f "$package" Depends | grep -q libsqlite3
program=$folder/root/usr/bin/nightsweep
"$program" --version
for file in share/man/man1/nightsweep.1.gz share/man/man1/nightsweep-trainer.1.gz share/zsh/vendor-completions/_nightsweep \
    share/bash-completion/completions/nightsweep share/fish/vendor_completions.d/nightsweep.fish share/doc/nightsweep/copyright; do
    [ -s "$folder/root/usr/$file" ] || { echo "check_deb: no $file"; exit 1; }
done
for ((i = 0; i < 60; i++)); do printf '{"text":"w%d w%d","label":%d}\n' $((6 + i % 20)) $((7 + i % 9)) $((i % 2)); done >"$folder/train.jsonl"
cd "$folder"
"$program" init train.jsonl --model "$OLDPWD/tests/golden/cases/models/bert" --name small
"$program" run small.json --store small.db --quiet
sqlite3 small.db "SELECT count(*), min(state) FROM trial" | grep -q '^16|COMPLETE$'
echo 'check_deb: ok'
