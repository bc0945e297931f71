#!/usr/bin/env python3
"""Runs `nightsweep suggest --serve` beside Optuna on the test functions, paired by seed, and prints medians.

    bench/search/compare.py --nightsweep build/release/nightsweep --seeds 30 [--functions branin hartmann6] [--trials 100]
                            [--samplers gp tpe cmaes] [--algorithms auto] [--cache build/optuna.jsonl [--cached-only]]

--cache keeps Optuna's runs, one a line, as they are done, and takes from there what was run before: a comparison that
was stopped goes on, and one with another nightsweep runs nightsweep alone. With --cached-only no run of Optuna is
started: a sampler's median is over the seeds there are, nightsweep's beside it over the same ones too. Needs Optuna (and torch for its Gaussian process, cmaes for CMA-ES) in the Python that runs it; with --samplers none only
nightsweep runs. Regret is the noise-free value of the trial with the best told value, less the optimum.
"""
import argparse
import json
import math
import os
import statistics
import subprocess
import tempfile
import time

import functions as F

HERE = os.path.dirname(os.path.abspath(__file__))
OPTIMUM = {k: v[2] for k, v in F.SUITE.items()}
OPTIMUM.update(peft_mixed_noisy=0.292, peft_grid=0.3045293125656058)


def evaluate(name, config, seed, trial):
    """-> (told, true) of one objective, (pair, pair) of two."""
    if name in F.MO:
        pair = F.MO[name][1](config)
        return pair, pair
    true = F.SUITE["peft_mixed" if name == "peft_mixed_noisy" else name][1](config)
    return true + (F.NOISY_SIGMA * F.gauss(seed, trial, 0) if name == "peft_mixed_noisy" else 0.0), true


def score(name, history):
    if name in F.MO:
        return F.hypervolume2([true for _, true in history], F.MO[name][2])
    return min(history, key=lambda h: h[0])[1] - OPTIMUM[name]


def run_nightsweep(program, name, algorithm, seed, trials, at):
    with open(os.path.join(HERE, "spaces.json")) as file:
        definition = json.load(file)[name]
    definition.update(seed=seed, search={"algorithm": algorithm}, budget={"trials": trials})
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(definition, file)
        file.flush()
        child = subprocess.Popen([program, "suggest", "--serve", file.name], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

        def request(message):
            child.stdin.write(json.dumps(message) + "\n")
            child.stdin.flush()
            return json.loads(child.stdout.readline())

        history, reached, seen, repeats = [], {}, set(), 0
        while True:
            reply = request({"op": "ask"})
            if reply.get("done"):
                break
            key = json.dumps(reply["parameters"], sort_keys=True)
            repeats += key in seen
            seen.add(key)
            told, true = evaluate(name, reply["parameters"], seed, reply["trial"])
            metrics = {"first": told[0], "second": told[1]} if name in F.MO else {"value": told}
            request({"op": "tell", "trial": reply["trial"], "metrics": metrics})
            history.append((told, true))
            if len(history) in at:
                reached[len(history)] = score(name, history)
        child.stdin.close()
        child.wait()
    return reached, repeats


def run_optuna(name, sampler_name, seed, trials, at):
    import optuna
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = {"tpe": lambda: optuna.samplers.TPESampler(seed=seed, multivariate=name not in F.MO),
               "gp": lambda: optuna.samplers.GPSampler(seed=seed),
               "cmaes": lambda: optuna.samplers.CmaEsSampler(seed=seed),
               "nsgaii": lambda: optuna.samplers.NSGAIISampler(seed=seed),
               "random": lambda: optuna.samplers.RandomSampler(seed=seed)}[sampler_name]()
    space = F.MO[name][0] if name in F.MO else F.SUITE["peft_mixed" if name == "peft_mixed_noisy" else name][0]
    study = optuna.create_study(sampler=sampler, directions=["minimize"] * (2 if name in F.MO else 1))
    history, reached, seen, repeats = [], {}, set(), 0
    for _ in range(trials):
        trial = study.ask()
        config = {}
        for p in space:
            if p.get("when") and any(config.get(k) not in v for k, v in p["when"].items()):
                continue
            if p["type"] == "cat":
                config[p["name"]] = trial.suggest_categorical(p["name"], p["values"])
            elif p["type"] == "int":
                config[p["name"]] = trial.suggest_int(p["name"], p["low"], p["high"], log=p["log"])
            else:
                config[p["name"]] = trial.suggest_float(p["name"], p["low"], p["high"], log=p["log"])
        key = json.dumps(config, sort_keys=True)
        repeats += key in seen
        seen.add(key)
        told, true = evaluate(name, config, seed, trial.number + 1)
        study.tell(trial, told)
        history.append((told, true))
        if len(history) in at:
            reached[len(history)] = score(name, history)
    return reached, repeats


class Cache:
    """Runs of Optuna by function, sampler, seed and number of trials."""

    def __init__(self, path):
        self.path = path
        self.runs = {}
        if path and os.path.exists(path):
            with open(path) as file:
                for line in file:
                    if line.endswith("\n"):  # a line that a kill cut off is run again
                        run = json.loads(line)
                        self.runs[tuple(run["key"])] = ({int(n): v for n, v in run["reached"].items()}, run["repeats"],
                                                        run["seconds"])

    def run(self, name, sampler, seed, trials, at, cached_only):
        key = (name, sampler, seed, trials)
        if key not in self.runs and not cached_only:
            start = time.time()
            reached, repeats = run_optuna(name, sampler, seed, trials, at)
            self.runs[key] = (reached, repeats, time.time() - start)
            if self.path:
                with open(self.path, "a") as file:
                    file.write(json.dumps({"key": key, "reached": reached, "repeats": repeats,
                                           "seconds": round(self.runs[key][2], 2)}) + "\n")
        return self.runs.get(key)


def run_timed(program, name, algorithm, seed, trials, at):
    start = time.time()
    return (*run_nightsweep(program, name, algorithm, seed, trials, at), time.time() - start)


def print_row(name, who, results, at):
    medians = [statistics.median(r[0].get(n, math.nan) for r in results) for n in at]
    print(f"| {name} | {who} | {len(results)} | " + " | ".join(f"{m:.4g}" for m in medians) +
          f" | {sum(r[1] for r in results)} | {sum(r[2] for r in results) / len(results):.1f} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nightsweep", default=os.path.join(HERE, "../../build/release/nightsweep"))
    parser.add_argument("--functions", nargs="*", default=["branin", "hartmann6", "peft_mixed", "peft_mixed_noisy",
                                                           "rosenbrock5", "peft_grid", "ackley10"])
    parser.add_argument("--algorithms", nargs="*", default=["auto"])
    parser.add_argument("--samplers", nargs="*", default=["gp", "tpe", "cmaes"])
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--cache")
    parser.add_argument("--cached-only", action="store_true")
    args = parser.parse_args()
    at = [n for n in (50, 100, 200) if n <= args.trials]
    cache = Cache(args.cache)
    print("| function | who | seeds | " + " | ".join(f"@{n}" for n in at) + " | repeats | s/run |")
    for name in args.functions:
        for algorithm in args.algorithms:
            ours = [run_timed(args.nightsweep, name, algorithm, seed, args.trials, at) for seed in range(args.seeds)]
            print_row(name, algorithm, ours, at)
        for sampler in args.samplers if args.samplers != ["none"] else []:
            theirs = [cache.run(name, sampler, seed, args.trials, at, args.cached_only) for seed in range(args.seeds)]
            there = [seed for seed in range(args.seeds) if theirs[seed]]
            if not there:
                continue
            print_row(name, "optuna " + sampler, [theirs[seed] for seed in there], at)
            if args.algorithms and len(there) < args.seeds:
                print_row(name, args.algorithms[-1] + " beside it", [ours[seed] for seed in there], at)


if __name__ == "__main__":
    main()
