#!/usr/bin/env bash
# The live page: what it answers, whom it refuses, that it tells of changes within a second, and that slow or hostile
# clients harm nobody and it ends when asked to.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
server=
python3 "$root/tests/support/make_store.py" "$folder/x.db" --configurations 12 --seeds 2 --points 20 --state OPEN >/dev/null
sqlite3 "$folder/x.db" 'PRAGMA journal_mode = WAL' >/dev/null

if "$BUILD/nightsweep" serve nobody --store "$folder/x.db" 2>"$folder/err"; then echo "a sweep that is not there is served"; exit 1; fi
grep -q "there is no sweep 'nobody'" "$folder/err"

"$BUILD/nightsweep" serve --store "$folder/x.db" >"$folder/url" 2>"$folder/log" &
server=$!
for _ in $(seq 100); do [ -s "$folder/url" ] && break; sleep 0.1; done
python3 - "$folder" "$server" <<'PYTHON'
import json, os, re, socket, sqlite3, sys, time
folder, pid = sys.argv[1], int(sys.argv[2])
url = open(folder + "/url").read().strip()
port, token = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=([0-9a-f]{32})", url).groups()
port = int(port)

def connect():
    s = socket.create_connection(("127.0.0.1", port), timeout=20)
    return s

def ask(raw):
    s = connect()
    s.sendall(raw)
    data = b""
    while True:
        try:
            piece = s.recv(65536)
        except ConnectionResetError:
            break
        if not piece:
            break
        data += piece
    s.close()
    return data

def get(path, host="127.0.0.1:%d" % port, method="GET", more=""):
    return ask(("%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (method, path, host, more)).encode())

def status(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0

with_token = "?token=" + token
page = get("/" + with_token)
assert status(page) == 200 and b'data-kind="live"' in page and b"connect-src 'self'" in page, page[:500]
head, body = page.split(b"\r\n\r\n", 1)
assert int(re.search(rb"Content-Length: (\d+)", head).group(1)) == len(body)
data = json.loads(get("/data" + with_token).split(b"\r\n\r\n", 1)[1])
assert data["sweeps"][0]["name"] == "methods" and data["sweeps"][0]["trials"]["n"] == 26, data["sweeps"][0]["trials"]["n"]

refused = [
    (403, get("/")), (403, get("/?token=" + "0" * 32)), (403, get("/" + with_token[:-1])), (403, get("/data?token=")), (403, get("/events")),
    (403, get("/" + with_token, host="evil.example:%d" % port)), (403, get("/" + with_token, host="127.0.0.1:1")),
    (405, get("/" + with_token, method="POST")), (405, get("/" + with_token, method="DELETE")), (405, get("/" + with_token, method="OPTIONS")),
    (404, get("/../../etc/passwd" + with_token)), (404, get("/x.db" + with_token)), (404, get("/%2e%2e/" + with_token)),
    (400, ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n")), (400, ask(b"A" * 20000)), (400, ask(b"GET / HTTP/1.1\r\n\r\n")),
    (400, get("/" + with_token, more="Content-Length: 9\r\n")), (400, ask(b"\0" * 100 + b"\r\n\r\n")), (400, ask(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")),
]
for i, (wanted, answer) in enumerate(refused):
    assert status(answer) == wanted, (i, wanted, answer[:200])
    assert b"methods" not in answer, (i, "a refusal tells something")

# News within a second, while others dawdle: half a request, a page that nobody reads, a stream that nobody reads.
slow = [connect() for _ in range(20)]
for i, s in enumerate(slow):
    s.sendall(b"GET /" if i % 3 == 0 else ("GET /%s%s HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % ("events" if i % 3 == 1 else "", with_token, port)).encode())
stream = connect()
stream.sendall(("GET /events%s HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % (with_token, port)).encode())
seen = b""
while b"retry:" not in seen:
    seen += stream.recv(4096)
assert b"text/event-stream" in seen
time.sleep(0.5)
db = sqlite3.connect(folder + "/x.db")
for n in range(3):
    db.execute("UPDATE trial SET steps = steps + 1 WHERE number = 2")
    db.commit()
    changed = time.monotonic()
    news = b""
    while b"event: changed" not in news:
        news += stream.recv(4096)
    # Half a second on an idle machine; the test must not fail on a busy one.
    assert time.monotonic() - changed < 15, time.monotonic() - changed
steps = db.execute("SELECT steps FROM trial WHERE number = 2").fetchone()[0]
assert status(get("/data" + with_token)) == 200
# A crowd: whoever comes too many is turned away, and the next one is served again.
crowd = []
for _ in range(120):
    try:
        crowd.append(connect())
    except OSError:
        break
for s in crowd + slow:
    s.close()
for _ in range(100):
    if status(get("/data" + with_token)) == 200:
        break
    time.sleep(0.1)
else:
    raise SystemExit("nobody is served after a crowd")
peak = int(re.search(r"VmHWM:\s+(\d+) kB", open("/proc/%d/status" % pid).read()).group(1)) / 1000
print("resident at most: %.1f MB" % peak)
assert peak < 15 or "asan" in os.environ["BUILD"] or "tsan" in os.environ["BUILD"], peak
PYTHON
kill "$server"
wait "$server"
server=

# A larger store: the server stays as small, and what it sends is the page and the data of `export`.
python3 "$root/tests/support/make_store.py" "$folder/y.db" --configurations 700 --seeds 2 --no-items >/dev/null
"$BUILD/nightsweep" serve --store "$folder/y.db" >"$folder/url" 2>>"$folder/log" &
server=$!
for _ in $(seq 100); do [ -s "$folder/url" ] && break; sleep 0.1; done
"$BUILD/nightsweep" export methods --store "$folder/y.db" --format live --output - >"$folder/y.html"
python3 - "$folder" "$server" <<'PYTHON'
import json, os, re, sys, urllib.request
folder, pid = sys.argv[1], int(sys.argv[2])
url = open(folder + "/url").read().strip()
sent = [urllib.request.urlopen(url, timeout=60).read() for _ in range(3)]
moment = re.compile(rb'"exported_at":"[^"]*"')
written = open(folder + "/y.html", "rb").read()
assert len(written) > 1000000 and all(moment.sub(b"", s) == moment.sub(b"", written) for s in sent), [len(s) for s in sent + [written]]
data = json.loads(urllib.request.urlopen(url.replace("/?", "/data?"), timeout=60).read())
assert data["sweeps"][0]["trials"]["n"] == 1402, data["sweeps"][0]["trials"]["n"]
peak = int(re.search(r"VmHWM:\s+(\d+) kB", open("/proc/%d/status" % pid).read()).group(1)) / 1000
print("with a page of %.1f MB: %.1f MB" % (len(written) / 1e6, peak))
assert peak < 15 or "asan" in os.environ["BUILD"] or "tsan" in os.environ["BUILD"], peak
PYTHON
if "$BUILD/nightsweep" export methods --store "$folder/y.db" --format csv --output - 2>"$folder/err"; then echo "a csv stream"; exit 1; fi
grep -q "only html is" "$folder/err"
kill "$server"
wait "$server"
server=
[ ! -s "$folder/log" ] || { cat "$folder/log"; exit 1; }
