#!/usr/bin/env python3
"""Nightsweep and PyTorch + PEFT on the same cores: each side in turns (A B A B), ratio of medians, one JSON file.

    bench.py trainer|sweep|all|list [--cases 'lora-20 full-20'] [--repeats 2] [--output FILE]
    bench.py table FILE.json

trainer: one trial on two threads, case by case; two trials side by side; peak memory; start-up; time outside products.
sweep:   eight short trials in two slots through `nightsweep run`, and what other scripts measure of sweeps.
all:     both, in one file that a later commit can be compared with (bench/compare.py).
list:    the cases and what each is to reach.
table:   a result as the table of docs/performance.md, in Markdown.

Both sides read the same texts; variables that steer BLAS libraries and kernels are unset for both. The load of the machine is
printed: ratios of wall times mean little on a busy one, and ratios of processor time are printed beside them. Environment: BUILD
(build/release), PYTHON (a Python with requirements.txt), CASES, QUICK=1 (two steps a run: whether a case runs, not how fast). docs/performance.md tells what came out.
"""
import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

from inputs import BUILD, ROOT, TRAINER, WORK, fail
from outside import share_outside
from runs import ENVIRONMENT, PYTHON, Ours, Side, Theirs, in_turns, sweep, together

GROUP, BF16 = ["--group"], ["--group", "--bf16"]
FP32, HALF = {}, {"compute": "bf16"}


class Figure:
    """One number of both sides; `runs` of the peer are empty where it has none."""

    def __init__(self, name, unit, ours, peer=(), goal=None, better="higher", most=None):
        self.name, self.unit, self.goal, self.better, self.most = name, unit, goal, better, most
        self.ours, self.peer = [v for v in ours if v is not None], [v for v in peer if v is not None]

    def as_json(self):
        def spread(values):
            return {"min": min(values), "median": statistics.median(values), "max": max(values), "n": len(values)} if values else None

        ours, peer = spread(self.ours), spread(self.peer)
        row = {"name": self.name, "unit": self.unit, "better": self.better, "ours": ours, "peer": peer}
        if peer:
            parts = (ours["median"], peer["median"])
            row["ratio"] = parts[0] / parts[1] if self.better == "higher" else parts[1] / parts[0]
        if self.goal is not None and peer:
            row |= {"goal": self.goal, "reached": row["ratio"] >= self.goal}
        if self.most is not None:
            row |= {"most": self.most, "reached": ours["median"] <= self.most}
        return row


def take(runs, key):
    return [run[key] for run in runs]


class Speed:
    """Tokens a second of one trial on two threads beside peers: name -> (options, ratio to reach)."""

    def __init__(self, side, peers, memory=None, settings=None):
        self.side, self.peers, self.memory, self.settings = side, peers, memory, settings or FP32
        self.side.settings = {**self.side.settings, **self.settings}

    def goals(self):
        return ", ".join(f"{goal} x {peer}" for peer, (_, goal) in self.peers.items())

    def run(self, name, repeats):
        ours, theirs = [], {peer: [] for peer in self.peers}
        for _ in range(repeats):
            for peer, (options, _) in self.peers.items():
                theirs[peer].append(Theirs(self.side, options).result())
            ours.append(Ours(self.side).result())
        figures = []
        for peer, (_, goal) in self.peers.items():
            title = f"{name} against {peer}"
            figures += [Figure(title, "tokens/s", take(ours, "tok_s"), take(theirs[peer], "tok_s"), goal),
                        Figure(f"{title}, processor time", "tokens/s", take(ours, "tok_cpu_s"), take(theirs[peer], "tok_cpu_s")),
                        Figure(f"{title}, peak memory", "MiB", take(ours, "rss_mib"), take(theirs[peer], "rss_mib"), self.memory, "lower")]
        return figures, {"ours": ours, **theirs}


class Pair:
    """Two trials side by side on one thread each: sums."""

    def __init__(self, options, settings, goal, memory):
        self.options, self.settings, self.goal, self.memory = options, settings, goal, memory

    def goals(self):
        return f"{self.goal} x, memory {self.memory or '-'} x"

    def run(self, name, repeats):
        side, ours, theirs = Side("lora", settings=self.settings), [], []
        for _ in range(repeats):
            theirs.append(together(lambda i: Theirs(side, self.options, threads=1)))
            ours.append(together(lambda i: Ours(side, threads=1, output=WORK / f"out-{i}")))
        return [Figure(name, "tokens/s", take(ours, "tok_s"), take(theirs, "tok_s"), self.goal),
                Figure(f"{name}, processor time", "tokens/s", take(ours, "tok_cpu_s"), take(theirs, "tok_cpu_s")),
                Figure(f"{name}, PSS of both", "MiB", take(ours, "pss_mib"), take(theirs, "pss_mib"), self.memory, "lower")], \
            {"ours": ours, "peer": theirs}


class Memory:
    """A whole trial on one thread, with validation and files: its peak resident memory."""

    def __init__(self, method, most):
        self.method, self.most = method, most

    def goals(self):
        return f"at most {self.most} MiB"

    def run(self, name, repeats):
        runs = [Ours(Side(self.method), threads=1, steps=12, stops=False).result() for _ in range(repeats)]
        return [Figure(name, "MiB", take(runs, "rss_mib"), better="lower", most=self.most)], {"ours": runs}


class Start:
    """Process start to the end of the first LoRA step, warm caches; Trainer and the plain loop do the same."""

    def goals(self):
        return "at most 0.2 s"

    def run(self, name, repeats):
        side, ours, one, theirs = Side("lora"), [], [], {"loop": [], "Trainer": []}
        Ours(side, steps=0).result()  # fills the caches
        for _ in range(repeats):
            theirs["loop"].append(Theirs(side, [*GROUP, "--warmup", "0"], steps=1).result())
            theirs["Trainer"].append(Theirs(side, ["--mode", "trainer", "--warmup", "1"], steps=1).result())
            for _ in range(5):
                ours.append(Ours(side, steps=0).result())
                one.append(Ours(side, steps=0, threads=1).result())
        figures = [Figure(name, "s", take(ours, "start_s"), take(theirs["loop"], "start_s"), better="lower", most=0.2),
                   Figure(f"{name}, one thread", "s", take(one, "start_s"), better="lower"),
                   Figure(f"{name} against Trainer", "s", take(ours, "start_s"), take(theirs["Trainer"], "start_s"), better="lower"),
                   Figure(f"{name}, processor time of the whole process", "s", take(ours, "cpu_s"), take(theirs["loop"], "cpu_s"), better="lower")]
        return figures, {"ours": ours, "ours, one thread": one, **theirs}


class Outside:
    """Share of the processor time of training steps that is spent outside the library's matrix products."""

    def __init__(self, method, length, most):
        self.method, self.length, self.most = method, length, most

    def goals(self):
        return f"at most {self.most} %"

    def run(self, name, repeats):
        shares, parts = share_outside(Side(self.method, length=self.length, steps=30 if self.length < 100 else 8), repeats)
        if not shares:
            print(f"{name}: perf is not there or may not sample; not measured", flush=True)
            return [], {"parts": parts}
        return [Figure(name, "%", shares, better="lower", most=self.most)], {"parts": parts}


class Short:
    """Eight LoRA trials of 16 steps, two at a time: ours a sweep with store and page, the peer's a process each."""

    def goals(self):
        return "4.7 x loop, 6.5 x Trainer"

    def run(self, name, repeats):
        side, ours, theirs = Side("lora"), [], {"loop": [], "Trainer": []}
        peers = {"loop": (["--group", "--warmup", "0", "--maxsec", "600"], 4.7),
                 "Trainer": (["--mode", "trainer", "--group", "--warmup", "1", "--maxsec", "600"], 6.5)}
        for _ in range(repeats):
            for peer, (options, _) in peers.items():
                theirs[peer].append(in_turns(lambda i: Theirs(side, options, threads=1, steps=16)))
            ours.append(sweep(8))
        figures = []
        for peer, (_, goal) in peers.items():
            figures += [Figure(f"{name} against {peer}", "s", take(ours, "seconds"), take(theirs[peer], "seconds"), goal, "lower"),
                        Figure(f"{name} against {peer}, processor time", "s", take(ours, "cpu_s"), take(theirs[peer], "cpu_s"), better="lower")]
        return figures, {"ours": ours, **theirs}


class Many:
    """64 short trials of ours, without a peer: eight times the figure above shows what a sweep adds."""

    def goals(self):
        return "-"

    def run(self, name, repeats):
        runs = [sweep(64) for _ in range(min(repeats, 1))]
        return [Figure(name, "s", take(runs, "seconds"), better="lower")], {"ours": runs}


class Script:
    """What another script measures: it prints a JSON object with `figures` like those of our file."""

    def __init__(self, path, goal, *arguments):
        self.path, self.goal, self.arguments = ROOT / path, goal, arguments

    def goals(self):
        return self.goal

    def run(self, name, repeats):
        if not os.access(self.path, os.X_OK):
            print(f"{name}: '{self.path.relative_to(ROOT)}' is not there; not measured", flush=True)
            return [], {}
        done = subprocess.run([self.path, "--json", *self.arguments], stdout=subprocess.PIPE, text=True, env={**ENVIRONMENT, "BUILD": str(BUILD)})
        if done.returncode:
            fail(f"'{self.path.relative_to(ROOT)}' ended with status {done.returncode}")
        return json.loads(done.stdout.strip().splitlines()[-1])["figures"], {}


def method(name):
    return Speed(Side(name), {"best fp32": (GROUP, 2.5)})


TRAINER_CASES = {
    "lora-20": Speed(Side("lora"), {"Trainer": (["--mode", "trainer"], 7), "best fp32": (GROUP, 2.8)}),
    "lora-20-bf16": Speed(Side("lora"), {"bf16 autocast": (BF16, 2)}, settings=HALF),
    "full-20": Speed(Side("full"), {"best fp32": (GROUP, 3)}),
    "full-20-bf16": Speed(Side("full"), {"bf16 autocast": (BF16, 1.7)}, settings=HALF),
    **{f"{name}-20": method(name) for name in ("bitfit", "ia3", "prefix", "houlsby", "prompt", "p_tuning")},
    "lora-128": Speed(Side("lora", length=128, steps=8), {"best fp32": (GROUP, 3)}),
    "full-128": Speed(Side("full", length=128, steps=6), {"best fp32": (GROUP, 3)}),
    "bert-base-lora": Speed(Side("lora", "bert-base", steps=7), {"best fp32": (GROUP, 2.5)}),
    "bert-base-lora-bf16": Speed(Side("lora", "bert-base", steps=10), {"bf16 autocast": (BF16, 1.4)}, settings=HALF),
    "gpt2-lora": Speed(Side("lora", "gpt2", steps=5), {"best fp32": (GROUP, 2.5)}),
    "gpt2-lora-bf16": Speed(Side("lora", "gpt2", steps=7), {"bf16 autocast": (BF16, 1.4)}, settings=HALF),
    "smollm2-lora-8x256": Speed(Side("lora", "smollm2", length=256, batch=8, steps=3), {"best fp32": (GROUP + ["--warmup", "2"], 3)}, memory=4),
    "two-trials": Pair(GROUP, FP32, 2.7, 6),
    "two-trials-bf16": Pair(BF16, HALF, 1.8, None),
    "memory-lora": Memory("lora", 180),
    "memory-full": Memory("full", 560),
    "start": Start(),
    "outside-20": Outside("lora", 20, 12),
    "outside-128": Outside("lora", 128, 20),
}
SWEEP_CASES = {
    "eight-trials": Short(),
    "sixty-four-trials": Many(),
    "shared-prefix": Script("bench/prefix/bench.py", "2 x", "--examples", "200", "--repeats", "1"),  # 64 trials
}
NOT_BY_DEFAULT = {"sixty-four-trials"}


def machine():
    doctor = json.loads(subprocess.run([TRAINER, "--doctor"], capture_output=True, text=True, check=True, env=ENVIRONMENT).stdout)
    memory = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    return {"cpu": doctor["cpu"], "cores": os.cpu_count(), "memory_gib": round(memory / 2 ** 20, 1), "system": platform.release(),
            "blas": doctor["blas_version"], "blas_core": doctor["blas_core"], "kernels": doctor["kernel_level"], "bf16": doctor["bf16"]}, \
        {"version": doctor["program_version"], "commit": doctor["git_commit"]}


def show(row):
    peer, ours = row.get("peer"), row["ours"]
    text = f"  {row['name']:52} {ours['median']:9.4g} {row['unit']:8}"
    if peer:
        text += f" peer {peer['median']:9.4g}  ratio {row['ratio']:5.2f}"
    if "goal" in row:
        text += f"  to reach {row['goal']}"
    if "most" in row:
        text += f"  at most {row['most']}"
    if "reached" in row:
        text += "  reached" if row["reached"] else "  NOT REACHED"
    print(text, flush=True)


def write(path, content):
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    temporary.rename(path)


def measure(cases, repeats, output):
    where, program = machine()
    versions = [None]
    result = {"v": 1, **program, "when": time.strftime("%Y-%m-%d %H:%M"), "machine": where, "repeats": repeats, "peer": None,
              "load": {"before": os.getloadavg()}, "figures": [], "cases": {}}
    print(f"{where['cpu']}, {where['cores']} cores, {where['blas_core']} kernels, load {os.getloadavg()[0]:.1f}", flush=True)
    for name, case in cases.items():
        began, load = time.monotonic(), os.getloadavg()[0]
        figures, runs = case.run(name, repeats)
        rows = [figure.as_json() if isinstance(figure, Figure) else figure for figure in figures]
        for row in rows:
            show(row)
        versions += [run["torch"] for side in runs.values() for run in side if isinstance(run, dict) and "torch" in run]
        result["figures"] += rows
        result["cases"][name] = {"seconds": time.monotonic() - began, "load": [load, os.getloadavg()[0]], "runs": runs}
        result |= {"peer": {"torch": versions[-1]}, "load": {**result["load"], "after": os.getloadavg()}}
        write(output, result)  # what has been measured so far is kept whatever comes
    print(f"load {os.getloadavg()[0]:.1f}; {output}")


def table(path):
    """Median of both sides with least and most behind it; figures without an aim are left out."""
    try:
        result = json.loads(pathlib.Path(path).read_text())
        rows = [figure for figure in result["figures"] if "reached" in figure]
        lines = ["| what | here | peer | ratio | to reach |", "|---|---|---|---|---|"]
        for row in rows:
            sides = [f"{side['median']:,.4g} [{side['min']:,.4g}–{side['max']:,.4g}]" if side else "–" for side in (row["ours"], row.get("peer"))]
            aim = f"{row['goal']} ×" if "goal" in row else f"at most {row['most']}"
            ratio = f"{row['ratio']:.2f} ×" if "ratio" in row else "–"
            lines.append(f"| {row['name']}, {row['unit']} | {sides[0]} | {sides[1]} | {ratio} | {aim}{'' if row['reached'] else ': **not reached**'} |")
        load = result["load"]
        lines.append(f"\n{result['machine']['cpu']}, {result['machine']['cores']} cores, {result['machine']['blas']} ({result['machine']['blas_core']}), "
                     f"{result['machine']['bf16']}, commit {result['commit']}, {result['when']}, load {load['before'][0]:.1f} before and {load['after'][0]:.1f} after.")
    except (OSError, ValueError, KeyError, TypeError) as error:
        fail(f"'{path}' is no result of this program: {error!r}")
    print("\n".join(lines))


def main():
    if sys.argv[1:2] == ["table"] and len(sys.argv) == 3:
        return table(sys.argv[2])
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("what", choices=("trainer", "sweep", "all", "list"))
    parser.add_argument("--cases", default=os.environ.get("CASES", ""), help="names, separated by spaces or commas")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--output", type=pathlib.Path)
    options = parser.parse_args()
    known = {"trainer": TRAINER_CASES, "sweep": SWEEP_CASES}.get(options.what, {**TRAINER_CASES, **SWEEP_CASES})
    names = options.cases.replace(",", " ").split() or [name for name in known if name not in NOT_BY_DEFAULT]
    unknown = [name for name in names if name not in known]
    if unknown:
        fail(f"no case '{unknown[0]}'; there are {', '.join(known)}")
    if options.repeats < 1:
        fail(f"--repeats is {options.repeats}, expected 1 or more")
    if options.what == "list":
        for name in names:
            print(f"{name:24} {known[name].goals()}")
        return
    if not TRAINER.exists():
        fail(f"'{TRAINER}' is not there: `make` builds it")
    WORK.mkdir(parents=True, exist_ok=True)
    measure({name: known[name] for name in names}, options.repeats, options.output or WORK / f"{options.what}.json")


if __name__ == "__main__":
    sys.exit(main())
