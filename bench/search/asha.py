#!/usr/bin/env python3
"""Random search beside ASHA on MiniLM: runs the ready sweeps with several seeds, prints the table and draws the picture.

    bench/search/asha.py [--nightsweep build/release/nightsweep] [--folder build/asha] [--seeds 7 8] [--slots 2]
                         [--sides random asha "asha + auto"] [--picture docs/images/asha.svg]

A seed is one of the search: the sweeps of a seed draw from the same stream, each in a store of its own, so that nothing is
taken from another one. `random` is sweeps/random.json, `asha` sweeps/asha.json, `asha + auto` the same with the default
search in the place of random draws. A store that is there goes on or is taken as it is. Steps are those that were
trained (points of train/loss), also where a trial ended later than it was told.
"""
import argparse
import json
import os
import sqlite3
import subprocess

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
SIDES = [("random", "random.json", None), ("asha", "asha.json", "random"), ("asha + auto", "asha.json", "auto")]
COLOURS = {"random": "#777", "asha": "#1b6ca8", "asha + auto": "#c25e00"}


def definition_of(file, algorithm, seed):
    with open(os.path.join(ROOT, "sweeps", file)) as text:
        definition = json.load(text)
    definition.pop("$schema", None)
    definition["seed"] = seed
    if algorithm:
        definition["search"]["algorithm"] = algorithm
    definition["model"] = os.path.abspath(os.path.join(ROOT, "sweeps", definition["model"]))
    for role in ("train", "validation"):
        definition["task"][role] = os.path.abspath(os.path.join(ROOT, "sweeps", definition["task"][role]))
    return definition


def run(args, side, seed):
    name, file, algorithm = side
    stem = os.path.join(args.folder, f"{name.replace(' + ', '-')}-{seed}")
    if not os.path.exists(stem + ".json"):
        with open(stem + ".json", "w") as out:
            json.dump(definition_of(file, algorithm, seed), out, indent=1)
    status = subprocess.run([args.nightsweep, "run", stem + ".json", "--store", stem + ".db", "--slots", str(args.slots), "--quiet"],
                            stdout=subprocess.DEVNULL).returncode
    if status not in (0, 1):  # 1: some trials failed, as those with a learning rate of 10 may
        raise SystemExit(f"{stem}: `nightsweep run` ended with status {status}")
    return read(stem + ".db")


def read(store):
    """-> trials, trials to their end, steps trained, [(steps of all trials so far, best validation accuracy)]."""
    db = sqlite3.connect(store)
    trained = db.execute("SELECT sum(m) FROM (SELECT max(step) m FROM metric JOIN metric_name n ON n.id = name_id "
                         "WHERE n.name = 'train/loss' GROUP BY trial_id)").fetchone()[0]
    n, whole = db.execute("SELECT count(*), sum(state = 'COMPLETE') FROM trial").fetchone()
    steps, best, line = {}, 0.0, [(0, 0.0)]
    for trial, step, metrics in db.execute("SELECT trial_id, step, metrics FROM evaluation WHERE split = 'validation' AND "
                                           "NOT is_final ORDER BY id"):
        steps[trial] = max(step, steps.get(trial, 0))
        best = max(best, json.loads(metrics)["accuracy"])
        line.append((sum(steps.values()), best))
    return n, whole, trained, line


def steps_to(line, accuracy):
    return next((str(steps) for steps, best in line if best >= accuracy - 1e-9), "")


def print_table(results):
    print("| seed | search | trials (to their end) | steps trained | best validation accuracy | steps to random's best |")
    print("|---|---|---|---|---|---|")
    for seed, sides in results.items():
        goal = sides["random"][3][-1][1]
        for name, (n, whole, trained, line) in sides.items():
            print(f"| {seed} | {name} | {n} ({whole}) | {trained} | {line[-1][1]:.4f} | {steps_to(line, goal)} |")


PANEL, LEFT, TOP, HEIGHT = 300, 46, 30, 200
LOW, HIGH = 0.45, 0.85


def draw_panel(index, seed, sides, longest):
    width = PANEL - 60
    left = LEFT + index * PANEL

    def x(steps):
        return left + width * steps / longest

    def y(accuracy):
        return TOP + HEIGHT * (HIGH - min(max(accuracy, LOW), HIGH)) / (HIGH - LOW)

    out = [f'<text x="{left + width / 2:.1f}" y="18" text-anchor="middle">seed {seed}</text>']
    for i in range(9):
        level = LOW + i * 0.05
        out.append(f'<path d="M{left} {y(level):.1f}h{width}" stroke="#ddd"/>'
                   f'<text x="{left - 6}" y="{y(level) + 4:.1f}" text-anchor="end">{level:.2f}</text>')
    for steps in range(0, longest + 1, 500 if longest < 3000 else 2000):
        out.append(f'<path d="M{x(steps):.1f} {TOP + HEIGHT}v4" stroke="#444"/>'
                   f'<text x="{x(steps):.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{steps}</text>')
    goal = sides["random"][3][-1][1]
    out.append(f'<path d="M{left} {y(goal):.1f}h{width}" stroke="#777" stroke-dasharray="2 3"/>')
    for name, (_, _, _, line) in sides.items():
        path, last = f"M{x(0):.1f} {y(LOW):.1f}", LOW
        for steps, best in line[1:]:
            if max(best, LOW) > last:
                path += f"H{x(steps):.1f}V{y(best):.1f}"
                last = best
        path += f"H{x(line[-1][0]):.1f}"
        out.append(f'<path d="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>'
                   f'<circle cx="{x(line[-1][0]):.1f}" cy="{y(line[-1][1]):.1f}" r="3.5" fill="{COLOURS[name]}"/>')
    return out


def draw(results, path):
    longest = max(line[-1][0] for sides in results.values() for _, _, _, line in sides.values())
    width = LEFT + PANEL * len(results)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {TOP + HEIGHT + 70}" '
           'font-family="sans-serif" font-size="12">', '<rect width="100%" height="100%" fill="#fff"/>']
    for index, (seed, sides) in enumerate(results.items()):
        out += draw_panel(index, seed, sides, longest)
    out.append(f'<text x="{LEFT}" y="{TOP + HEIGHT + 38}">best validation accuracy against training steps of all trials '
               'together; dotted: random\'s best</text>')
    at = LEFT
    for name in next(iter(results.values())):
        out.append(f'<path d="M{at} {TOP + HEIGHT + 54}h22" stroke="{COLOURS[name]}" stroke-width="2"/>'
                   f'<text x="{at + 28}" y="{TOP + HEIGHT + 58}">{name}</text>')
        at += 120
    out.append("</svg>")
    with open(path, "w") as file:
        file.write("\n".join(out) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nightsweep", default=os.path.join(ROOT, "build/release/nightsweep"))
    parser.add_argument("--folder", default=os.path.join(ROOT, "build/asha"))
    parser.add_argument("--seeds", type=int, nargs="*", default=[7, 8, 9])
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--sides", nargs="*", default=[side[0] for side in SIDES], choices=[side[0] for side in SIDES])
    parser.add_argument("--picture")
    args = parser.parse_args()
    os.makedirs(args.folder, exist_ok=True)
    results = {seed: {side[0]: run(args, side, seed) for side in SIDES if side[0] in args.sides} for seed in args.seeds}
    print_table(results)
    if args.picture:
        draw(results, args.picture)


if __name__ == "__main__":
    main()
