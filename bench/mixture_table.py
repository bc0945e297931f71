#!/usr/bin/env python3
"""The tables of docs/mixture.md out of a store: one row a configuration, means over seeds.

    bench/mixture_table.py STORE [SWEEP]
"""
import collections
import json
import sqlite3
import statistics
import sys


def mean(values):
    values = [v for v in values if v is not None]
    return statistics.mean(values) if values else float("nan")


def read(store, sweep):
    db = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    trials = db.execute("SELECT t.id, t.seed, c.settings FROM trial t JOIN configuration c ON c.id = t.configuration_id "
                        "JOIN sweep s ON s.id = t.sweep_id WHERE s.name = ? AND t.state = 'COMPLETE'", (sweep,)).fetchall()
    groups = collections.defaultdict(list)
    for trial, seed, settings in trials:
        settings = json.loads(settings)
        points = collections.defaultdict(list)
        for name, step, value in db.execute("SELECT n.name, m.step, m.value FROM metric m JOIN metric_name n ON n.id = m.name_id "
                                            "WHERE m.trial_id = ? ORDER BY m.step", (trial,)):
            points[name].append(value)
        size = db.execute("SELECT trained_parameters FROM trial WHERE id = ?", (trial,)).fetchone()[0]
        key = (json.dumps(settings["strata"]), settings.get("expert_inner_size"), settings.get("expert_top", 1))
        groups[key].append((points, size))
    return groups


def last(runs, name):
    return mean([points[name][-1] for points, _ in runs if points.get(name)])


def of_group(runs, prefix, wanted):
    """Mean of the last values of the points below `prefix` whose rest `wanted` accepts."""
    return mean([values[-1] for points, _ in runs for name, values in points.items()
                 if name.startswith(prefix) and wanted(name[len(prefix):])])


def main():
    groups = read(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "mixture")
    print("| strata | inner | top | trained | test loss | scarce | others | capacity | training FLOPs of experts | overflow | variation | unused |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for (strata, inner, top), runs in sorted(groups.items(), key=lambda item: last(item[1], "test/loss")):
        flops = mean([3 * sum(points["train/expert_flops"]) for points, _ in runs])
        losses = [points["test/loss"][-1] for points, _ in runs]
        scarce = of_group(runs, "test/task/", lambda rest: "west" in rest and rest.endswith("/loss"))
        others = of_group(runs, "test/task/", lambda rest: "west" not in rest and rest.endswith("/loss"))
        print(f"| {strata} | {inner} | {top} | {runs[0][1]:,} | {mean(losses):.3f} ({min(losses):.3f}–{max(losses):.3f}) | {scarce:.3f} | {others:.3f} "
              f"| {last(runs, 'test/capacity'):.3f} | {flops / 1e9:.0f} G | {100 * mean([mean(p['train/expert_overflow']) for p, _ in runs]):.1f} % "
              f"| {of_group(runs, 'test/expert_load_variation/', lambda rest: True):.2f} | {of_group(runs, 'test/unused_experts/', lambda rest: True):.1f} |")
    print("\n| strata | top | " + " | ".join(f"from {name}" for name in ("north", "south", "east", "west")) + " | " +
          " | ".join(f"into {name}" for name in ("north", "south", "east", "west")) + " | frequency 1 | 2 | 3 | 4 | encoder | decoder |")
    print("|" + "---|" * 16)
    for (strata, inner, top), runs in sorted(groups.items()):
        if len(json.loads(strata)) < 2:
            continue
        cells = [of_group(runs, "test/capacity/task/", lambda rest, l=l: rest.startswith(l + "-")) for l in ("north", "south", "east", "west")]
        cells += [of_group(runs, "test/capacity/task/", lambda rest, l=l: rest.endswith("-" + l)) for l in ("north", "south", "east", "west")]
        cells += [last(runs, f"test/capacity/frequency/{band}") for band in (1, 2, 3, 4)]
        cells += [last(runs, f"test/capacity/layer/{layer}") for layer in (1, 3)]
        print(f"| {strata} | {top} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
