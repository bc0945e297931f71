#!/usr/bin/env bash
# bench/compare.py on small files: what got better and worse, other machines, figures of one file, and files that are none.
set -u
cd "$(dirname "$0")/../.." || exit 1
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
fail() {
    printf 'bench_compare: %s\n' "$*" >&2
    cat "$folder/out" "$folder/errors" >&2
    exit 1
}
compare() { # expected status, old, new
    bench/compare.py "$folder/$2" "$folder/$3" >"$folder/out" 2>"$folder/errors"
    local status=$?
    [ "$status" = "$1" ] || fail "$2 and $3: status $status, $1 was expected"
}
said() { grep -qE -- "$1" "$folder/out" "$folder/errors" || fail "'$1' is not said"; }
never_said() { ! grep -qE -- "$1" "$folder/out" || fail "'$1' is said"; }
result() { # file, machine, figures
    printf '{"v":1,"commit":"c-%s","when":"now","machine":{"cpu":"%s","cores":2},"load":{"before":[0.5,0,0],"after":[1.5,0,0]},"figures":[%s]}\n' \
        "$1" "$2" "$3" >"$folder/$1"
}
figure() { # name, better, min, median, max, further members
    printf '{"name":"%s","unit":"u","better":"%s","ours":{"min":%s,"median":%s,"max":%s},"peer":null%s}' "$1" "$2" "$3" "$4" "$5" "${6:-}"
}

peer=',"peer":{"min":9,"median":10,"max":11},"ratio":10'
result a one "$(figure speed higher 90 100 110 "$peer"),$(figure memory lower 50 50 50),$(figure noisy higher 80 100 120),$(figure small higher 100 100 100),$(figure gone lower 1 1 1)"
result b one "$(figure speed higher 120 130 140 "${peer/:10/:11}"),$(figure memory lower 60 60 60),$(figure noisy higher 70 90 119),$(figure small higher 102 102 102),$(figure new lower 2 2 2)"
compare 1 a b
said '^speed +u +100 +130 +\+30\.0 %.*10\.00 -> 10\.00 +better$'
said '^memory .*\+20\.0 % +worse$'
said '^noisy .*-10\.0 %$'
said '^small .*\+2\.0 %$'
said '^only in the old file: gone$'
said '^only in the new file: new$'
said '^old: commit c-a, now, load before 0\.5, after 1\.5$'
never_said 'machines differ'

# The other way round: less memory is better, fewer tokens are worse.
compare 1 b a
said '^memory .*better$'
said '^speed .*worse$'
compare 0 a a
never_said '(better|worse)$'

# Another machine: it is said with what differs, and nothing is called worse.
result c two "$(figure speed higher 10 10 10)"
compare 0 a c
said '^The machines differ'
said 'cpu: one -> two'
never_said '(better|worse)$'
result units one "$(figure speed lower 10 10 10)"
compare 0 a units
said 'not comparable'
result zero one "$(figure speed higher 0 0 0)"
compare 0 zero zero

# Files that are no results: which file, where, what was expected.
compare 2 a missing
said "missing': No such file"
printf '{' >"$folder/broken" && compare 2 broken a && said "broken' is not JSON"
printf '\xff\xfe' >"$folder/bytes" && compare 2 bytes a && said "bytes' is not JSON"
printf '[]' >"$folder/list" && compare 2 a list && said "'figures' was expected"
printf '{"v":2,"machine":{},"figures":[]}' >"$folder/version" && compare 2 version a && said 'version 2, 1 was expected'
printf '{"v":1,"figures":[]}' >"$folder/nowhere" && compare 2 nowhere a && said "'machine' is missing"
result nan one "$(figure speed higher 1 NaN 1)"
compare 2 a nan && said 'figures\[0\]\.ours\.median: NaN is not a number'
result words one "$(figure speed higher 1 '"x"' 1)"
compare 2 a words && said 'is not a number'
result order one "$(figure speed higher 3 2 4)"
compare 2 a order && said 'not in order'
result twice one "$(figure speed higher 1 1 1),$(figure speed higher 1 1 1)"
compare 2 a twice && said "'speed' is there twice"
result direction one "$(figure speed up 1 1 1)"
compare 2 a direction && said "'higher' or 'lower' was expected"
result ratio one "$(figure speed higher 1 1 1 ',"peer":{"min":1,"median":1,"max":1}')"
compare 2 a ratio && said 'ratio: null is not a number'
bench/compare.py "$folder/a" >"$folder/out" 2>"$folder/errors"
[ $? = 2 ] || fail 'one file alone is accepted'
said '^usage:'
echo 'bench_compare: passed'
