#!/usr/bin/env bash
# Checks that need no build: which folder includes which, banned calls, formatting, cppcheck, shell scripts.
# Prints every finding with its place; exits 1 if there was one.
set -u
cd "$(dirname "$0")/../.." || exit 1
failed=0
report() { # title, findings
    [ -z "$2" ] && return
    printf '%s\n%s\n\n' "lint: $1" "$2"
    failed=1
}
tracked() { git ls-files --cached --others --exclude-standard -- "$@" | sort -u | while read -r file; do [ -f "$file" ] && echo "$file"; done; }

mapfile -t sources < <(tracked '*.c' '*.h')
mapfile -t libraries < <(tracked 'common/*.[ch]' 'trainer/*.[ch]' 'worker/*.[ch]' 'orchestrator/*.[ch]')
mapfile -t scripts < <(tracked '*.sh' '.ci/run')

# No arrow runs between orchestrator, worker and trainer; common stands alone.
for layer in common trainer worker orchestrator; do
    allowed="common|embed|$layer"
    report "$layer/ includes another layer" \
        "$(grep -nE '^#include "[a-z0-9_]+/' "$layer" -r --include='*.[ch]' | grep -vE "#include \"($allowed)/")"
done
report 'includes are written from the root ("common/err.h")' "$(grep -nE '^#include "[^/"]+"' "${libraries[@]}" | grep -v '"store_sql.h"\|_embedded.h"')"

# Calls that overflow, keep hidden state, run a shell or hide a jump.
banned='sprintf|vsprintf|strcpy|strcat|strncpy|strncat|gets|strtok|atoi|atol|atof|system|popen|alloca|rand|srand|setjmp|longjmp|tmpnam|mktemp'
report 'banned calls' "$(grep -nE "(^|[^a-zA-Z0-9_>.\"])($banned)\(" "${sources[@]}" | grep -vE '^[^:]+:[0-9]+:[[:space:]]*(/?\*|//)')"
# Libraries neither print nor exit: only main.c, cmd_*.c and the progress display do.
mapfile -t quiet < <(printf '%s\n' "${libraries[@]}" | grep -vE '/main\.c$|/cmd_[a-z_]+\.c$|_command\.c$|/progress[a-z_]*\.c$|common/log\.c$')
report 'printing or exiting in a library' "$(grep -nE '(^|[^a-zA-Z0-9_])(printf|puts|putchar|perror|exit)\(' "${quiet[@]}" | grep -vE '^[^:]+:[0-9]+:[[:space:]]*(/?\*|//)')"
report 'fast-math' "$(grep -nE 'Ofast|ffast-math' Makefile "${sources[@]}")"
report 'TODO belongs to the tracker' "$(grep -nE '\b(TODO|FIXME|XXX)\b' "${sources[@]}")"
report 'tabs or trailing space' "$(grep -nE $'\t|[[:space:]]+$' "${sources[@]}")"
report 'every source says what it is in its first line' \
    "$(for file in "${sources[@]}"; do head -1 "$file" | grep -q '^/\*' || echo "$file:1"; done)"

if command -v clang-format >/dev/null; then
    report 'clang-format (make format)' "$(clang-format --dry-run "${sources[@]}" 2>&1 | grep -E 'warning|error' | head -40)"
else
    report 'missing tool' 'clang-format is not installed (make deps)'
fi
if command -v cppcheck >/dev/null; then
    report 'cppcheck' "$(cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr -I. -j 2 \
        --suppress=missingIncludeSystem --suppress=invalidPointerCast --suppress=internalAstError --suppress=readdirCalled --suppress='uninitvar:orchestrator/store_write_points.c' --library=posix --error-exitcode=0 --template='{file}:{line}: {severity}: {message} [{id}]' \
        common trainer worker orchestrator 2>&1 | head -40)"
else
    report 'missing tool' 'cppcheck is not installed (make deps)'
fi
if command -v shellcheck >/dev/null; then
    report 'shellcheck' "$(shellcheck -x "${scripts[@]}" 2>&1 | head -60)"
else
    report 'missing tool' 'shellcheck is not installed (make deps)'
fi
[ "$failed" = 0 ] && echo "lint: ${#sources[@]} sources and ${#scripts[@]} scripts, nothing found"
exit "$failed"
