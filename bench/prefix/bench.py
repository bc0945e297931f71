#!/usr/bin/env python3
"""A sweep that trains only upper layers, with the shared frozen prefix and without: A B A B, ratio of medians, one JSON file.

    bench.py [--repeats 2] [--examples 2000] [--seeds 4] [--slots 2] [--json] [--output FILE]

The definition is sweeps/upper-layers.json (64 trials), with dropout 0 so that both sides compute the same function, and
"reuse": false. Each run has a store and a cache of its own, so a run with the prefix pays for computing it once. Processor
time (user + system) is of the whole process tree: use it on a machine that others use too. --examples and --seeds make the
sweep smaller. --json prints the figures as an object, for `make bench-all`. Environment: BUILD (build/release).
"""
import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build/release")).resolve()
SIDES = {"with": "shared", "without": "none"}


def definition(folder, side, args):
    sweep = json.loads((ROOT / "sweeps/upper-layers.json").read_text())
    sweep["model"] = str(ROOT / "models/minilm")
    for split in ("train", "validation", "test"):
        sweep["task"][split] = str(ROOT / f"data/movies/{split}.jsonl")
    sweep["reuse"] = False
    sweep["seeds"] = args.seeds
    sweep["settings"] |= {"frozen_prefix": SIDES[side], "train_examples": args.examples, "dropout": 0, "attention_dropout": 0,
                          "validation_examples": args.examples // 4, "test_examples": args.examples // 4}
    path = folder / "sweep.json"
    path.write_text(json.dumps(sweep))
    return path


def run(side, args):
    with tempfile.TemporaryDirectory(dir=ROOT / "build", prefix="bench-prefix-") as name:
        folder = pathlib.Path(name)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS")}
        environment["NIGHTSWEEP_CACHE"] = str(folder / "cache")
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run([BUILD / "nightsweep", "run", definition(folder, side, args), "--store", folder / "store.db", "--slots",
                        str(args.slots)], check=True, env=environment, stdout=subprocess.DEVNULL)
        wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        kept = sum(f.stat().st_size for f in (folder / "cache").glob("*.prefix"))
    return {"side": side, "wall_seconds": wall, "kept_bytes": kept,
            "processor_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def figure(name, key, runs, goal=None):
    """As bench/trainer/bench.py writes its own; the peer is the sweep without the prefix."""
    values = {side: [r[key] for r in runs if r["side"] == side] for side in SIDES}
    ours, peer = ({"min": min(v), "median": statistics.median(v), "max": max(v), "n": len(v)} for v in values.values())
    ratio = peer["median"] / ours["median"]
    row = {"name": f"shared prefix, {name}", "unit": "s", "better": "lower", "ours": ours, "peer": peer, "ratio": ratio}
    return row | ({"goal": goal, "reached": ratio >= goal} if goal else {})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--output", default=ROOT / "build/bench/prefix.json", type=pathlib.Path)
    args = parser.parse_args()
    load, runs = os.getloadavg()[0], []
    say = (lambda text: None) if args.json else (lambda text: print(text, flush=True))
    for repeat in range(args.repeats):
        for side in SIDES:
            runs.append(run(side, args))
            say(f"{side:8} {runs[-1]['wall_seconds']:8.1f} s, {runs[-1]['processor_seconds']:8.1f} s of processor time, "
                f"{runs[-1]['kept_bytes'] >> 20} MiB kept")
    result = {"trials": 16 * args.seeds, "examples": args.examples, "load": {"before": load, "after": os.getloadavg()[0]},
              "figures": [figure("wall time", "wall_seconds", runs, 2), figure("processor time", "processor_seconds", runs)],
              "runs": runs}
    for row in result["figures"]:
        say(f"{row['name']}: {row['ours']['median']:.1f} s with, {row['peer']['median']:.1f} without: "
            f"{row['ratio']:.2f} × as fast (to reach: 2)")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    say(f"load {load:.1f} before, {os.getloadavg()[0]:.1f} after; {args.output}")
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
