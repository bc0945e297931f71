#!/usr/bin/env python3
"""What the tests did not run: lines and branches a folder, the files that lack most, and whether the floors hold.

    report.py BUILD PROGRAM...         takes the counters of these programs (counters.c), runs gcov, prints the table
    report.py BUILD --show FILE...     the lines of a file that were not run, and the branches that were not taken

Exits 1 when a group is below its floors, or when a place that is marked as out of reach was reached. How it counts:
a line is run or not; a branch is one way out of a condition as it is written, so `if (a && b)` has four. Left out:

- the failing side of assert(), which is our own bug and ends the program;
- a statement marked with `/* unreachable: reason */` on the line where it begins: few, each with its reason.

Headers count for the folder that they stand in. Failed allocations are not left out (tests/unit/test_faults*.c)."""
import argparse, collections, fnmatch, json, os, re, subprocess, sys
from concurrent.futures import ThreadPoolExecutor

FLOORS = {"lines": 95.0, "branches": 85.0}
# What reads input from anywhere, in the trainer; the others are folders whole.
PARSERS = [
    "trainer/safetensors.c", "trainer/gguf.c", "trainer/gguf_model.c",             # weights
    "trainer/model.c", "trainer/models/rope.c",                                    # config.json
    "trainer/tokenizer.c", "trainer/tokenizer_*.c",                                # tokenizer.json
    "trainer/rows.c", "trainer/dataset.c",                                         # data files
    "trainer/check_file.c", "trainer/counterfactual.c", "trainer/check_bbq.c",     # item files
    "trainer/check_crows_pairs.c", "trainer/check_stereoset.c", "trainer/check_weat.c",
    "trainer/trial_job.c", "trainer/checkpoint.c",                                 # jobs and checkpoints
]
GROUPS = {"orchestrator": ["orchestrator/*"], "worker": ["worker/*"], "common": ["common/*"], "parsers": PARSERS}
REST = "trainer, the rest"  # told, no floor


class Source:
    """The lines of a file: how often each was run, and its branches."""

    def __init__(self, path):
        self.path = path
        self.counts = collections.Counter()
        self.branches = {}  # (function, line) -> [counts]
        self.text = [""] + open(path, encoding="utf-8").read().split("\n")
        self.asserts, self.marked = self.excluded()

    def excluded(self):
        """Lines of assert statements, and of marked statements as {line: first line}."""
        asserts, marked = set(), {}
        begin, kind = 0, None
        for number, line in enumerate(self.text):
            code = re.sub(r"/\*.*?\*/", "", line)
            if not begin and re.search(r"(^|\W)assert\(", code):
                begin, kind = number, asserts
            elif not begin and "/* unreachable: " in line:
                begin, kind = number, marked
            if begin and kind is asserts:
                asserts.add(number)
            elif begin:
                marked[number] = begin
            if begin and code.rstrip().endswith((";", "}")):
                begin = 0
        return asserts, marked

    def add(self, line):
        number, name = line["line_number"], line.get("function_name", "")
        self.counts[number] += line["count"]
        new = [b["count"] for b in line["branches"]]
        old = self.branches.get((name, number))
        if old and len(old) == len(new):
            new = [a + b for a, b in zip(old, new)]
        if new:
            self.branches[name, number] = new

    def figures(self):
        """(lines run, lines, branches taken, branches)"""
        lines = [n for n in self.counts if self.counts[n] or n not in self.marked]
        taken = total = 0
        for (_, number), counts in self.branches.items():
            hit = sum(c > 0 for c in counts)
            taken += hit
            total += hit if number in self.asserts or number in self.marked else len(counts)
        return sum(self.counts[n] > 0 for n in lines), len(lines), taken, total

    def reached_marks(self):
        """First lines of marked statements of which every line was run and every branch taken."""
        whole = collections.defaultdict(lambda: True)
        for number, begin in self.marked.items():
            ways = [c for (_, n), counts in self.branches.items() if n == number for c in counts]
            if number in self.counts:
                whole[begin] &= self.counts[number] > 0 and all(ways)
        return [begin for begin, is_whole in whole.items() if is_whole]

    def show(self):
        for number in range(1, len(self.text)):
            ways = [c for (_, n), counts in self.branches.items() if n == number for c in counts]
            note = ""
            if number in self.marked or number in self.asserts:
                continue
            if number in self.counts and not self.counts[number]:
                note = "never"
            elif ways and not all(ways):
                note = f"{sum(c > 0 for c in ways)}/{len(ways)}"
            if note:
                print(f"{self.path}:{number}: {note:>5}  {self.text[number].strip()}")


def dump(build, programs):
    """Lets each program add its counters to the .gcda files."""
    for program in programs:
        subprocess.run([program], env={**os.environ, "COVERAGE_DUMP": "1"}, stdout=subprocess.DEVNULL, check=True)
    for name in os.listdir(f"{build}/counters"):
        os.unlink(f"{build}/counters/{name}")


def gcov(note):
    """The reports of one object: what was never run has notes and no data, what was built again has data of another build."""
    data = note[:-4] + "gcda"
    for _ in range(2):
        result = subprocess.run(["gcov", "--stdout", "--json-format", "--branch-probabilities", note], capture_output=True, text=True)
        if result.returncode == 0 and "mismatch" not in result.stderr:
            break
        os.unlink(data)
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def read(build):
    notes = [os.path.join(folder, name) for folder, _, names in os.walk(build) for name in names if name.endswith(".gcno")]
    # What is no longer a source of ours has left its notes behind.
    notes = sorted(n for n in notes if os.path.exists(os.path.relpath(n, build)[:-4] + "c"))
    sources = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for reports in pool.map(gcov, notes):
            for file in (file for report in reports for file in report["files"]):
                path = os.path.normpath(file["file"])
                if not os.path.isabs(path) and path.split("/")[0] in ("orchestrator", "worker", "common", "trainer"):
                    source = sources.setdefault(path, Source(path)) if path not in sources else sources[path]
                    for line in file["lines"]:
                        source.add(line)
    return sources


def group_of(path):
    for name, patterns in GROUPS.items():
        if any(fnmatch.fnmatch(path, pattern) for pattern in patterns):
            return name
    return REST


def percent(part, whole):
    return 100.0 * part / whole if whole else 100.0


def table(sources, n_worst):
    figures = {path: source.figures() for path, source in sources.items()}
    sums = {name: [0, 0, 0, 0] for name in [*GROUPS, REST]}
    for path, numbers in figures.items():
        sums[group_of(path)] = [a + b for a, b in zip(sums[group_of(path)], numbers)]
    is_good = True
    print(f"{'':20} {'lines':>15} {'':>8} {'branches':>17} {'':>8}")
    for name, (run, lines, taken, branches) in sums.items():
        low = name in GROUPS and (percent(run, lines) < FLOORS["lines"] or percent(taken, branches) < FLOORS["branches"])
        is_good &= not low
        print(f"{name:20} {run:7} of {lines:5} {percent(run, lines):7.2f}% {taken:8} of {branches:6} {percent(taken, branches):7.2f}%"
              + (f"   below {FLOORS['lines']:g} % or {FLOORS['branches']:g} %" if low else ""))
    floored = [p for p in figures if group_of(p) in GROUPS]
    worst = sorted(floored, key=lambda p: figures[p][0] - figures[p][1] + 0.5 * (figures[p][2] - figures[p][3]))[:n_worst]
    if worst:
        print(f"\n{'most is missing in':36} {'lines':>6} {'branches':>9}")
    for path in worst:
        run, lines, taken, branches = figures[path]
        print(f"{path:36} {lines - run:6} {branches - taken:9}")
    marks = {path: len(set(s.marked.values())) for path, s in sources.items() if group_of(path) in GROUPS and s.marked}
    print(f"\n{sum(marks.values())} statements are marked as out of reach")
    for path, source in sources.items():
        for number in source.reached_marks():
            print(f"{path}:{number}: marked as out of reach, and reached")
            is_good = False
    return is_good


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("programs", nargs="*")
    parser.add_argument("--show", nargs="+", default=[], metavar="FILE")
    parser.add_argument("--worst", type=int, default=25)
    arguments = parser.parse_args()
    dump(arguments.build, arguments.programs)
    sources = read(arguments.build)
    if arguments.show:
        for pattern in arguments.show:
            for path in sorted(p for p in sources if fnmatch.fnmatch(p, pattern)):
                sources[path].show()
        return 0
    return 0 if table(sources, arguments.worst) else 1


sys.exit(main())
