#!/usr/bin/env bash
# Every query of docs/cookbook.md runs against a store and has an answer.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 "$root/tests/support/make_store.py" "$folder/x.db" --configurations 30 --seeds 3 --points 20 >/dev/null
python3 - "$root/docs/cookbook.md" "$folder/x.db" <<'PYTHON'
import re, sqlite3, sys
text = open(sys.argv[1], encoding="utf-8").read()
queries = re.findall(r"^## (\d+\. .*?)\n(?:.*?)```sql\n(.*?)```", text, re.M | re.S)
assert len(queries) == 10, len(queries)
db = sqlite3.connect(sys.argv[2])
for title, sql in queries:
    rows = db.execute(sql).fetchall()
    assert rows, title + ": no row"
    assert any(value is not None for value in rows[0]), title + ": nothing in the first row"
    print(title, len(rows))
PYTHON
