#!/usr/bin/env python3
"""Writes a store with a made-up sweep through schemas/store.sql: several methods, failures, pruned trials, checks,
decisions, several attempts, and names that try to break a page. For tests of pages and exports and for measuring them;
equal arguments give an equal store.

    tests/support/make_store.py runs/made-up.db --configurations 40 --seeds 3 --points 60 --hostile
"""
import argparse
import hashlib
import json
import math
import os
import random
import sqlite3
import struct
from datetime import datetime, timedelta

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")

# name, searched parameter, its values, parameters trained per value, ceiling of accuracy, best learning rate
METHODS = [
    ("full", None, [None], lambda v: 22713986, 0.852, 1e-4),
    ("lora", "rank", [1, 4, 16, 64], lambda v: 148226 + 18432 * v, 0.838, 2e-3),
    ("adapter", "adapter_size", [8, 32, 128], lambda v: 148226 + 9400 * v, 0.841, 1e-3),
    ("bitfit", None, [None], lambda v: 202370, 0.826, 3e-3),
    ("partial", "top_layers", [1, 2, 4], lambda v: 148226 + 1774464 * v, 0.835, 3e-4),
    ("layer_norm", None, [None], lambda v: 157826, 0.815, 5e-3),
]

HOSTILE = [
    "<script>window.hacked=1</script>", "</script><script>window.hacked=1</script>", "<img src=x onerror=window.hacked=1>",
    "\"'><svg onload=window.hacked=1>", "javascript:window.hacked=1", "${window.hacked=1}", "{{window.hacked=1}}", "__proto__",
    "constructor", "toString", "hasOwnProperty", "<!--", "]]>", "@@data@@", "@@page.js@@", "a" * 10000,
    "\u202eright to left\u202c", "\u0645\u0631\u062d\u0628\u0627", "\U0001f47e\U0001f469\u200d\U0001f4bb", "\u2028\u2029", "tab\there", "line\nbreak",
    "comma, quote \"q\"", "=1+1", "a/b\\c", "..", "%00", "&lt;b&gt;", "'; DROP TABLE trial; --", "-1e999", "NaN", "null",
]


def stamp(moment):
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + "%03d" % (moment.microsecond // 1000)


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


class Writer:
    def __init__(self, path, arguments):
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(path + suffix):
                os.remove(path + suffix)
        self.db = sqlite3.connect(path)
        self.db.executescript(open(os.path.join(ROOT, "schemas", "store.sql"), encoding="utf-8").read())
        self.db.execute("PRAGMA application_id = %d" % 0x4E535750)
        self.db.execute("PRAGMA user_version = %d" % self.version())
        self.db.execute("PRAGMA synchronous = OFF")
        self.a = arguments
        self.rng = random.Random(arguments.seed)
        self.now = datetime(2026, 3, 1, 22, 0, 0)
        self.metric_ids = {}

    @staticmethod
    def version():
        for line in open(os.path.join(ROOT, "orchestrator", "store.h"), encoding="utf-8"):
            if "STORE_VERSION =" in line:
                return int(line.split("=")[1].split(",")[0])
        raise SystemExit("orchestrator/store.h does not say STORE_VERSION")

    def add(self, table, **row):
        names = ", ".join('"%s"' % n for n in row)
        return self.db.execute("INSERT INTO %s (%s) VALUES (%s)" % (table, names, ", ".join("?" * len(row))),
                               list(row.values())).lastrowid

    def metric(self, name):
        if name not in self.metric_ids:
            self.metric_ids[name] = self.add("metric_name", name=name)
        return self.metric_ids[name]

    # A sweep ---------------------------------------------------------------------------------------------------------
    def sweep(self, name, configurations, seeds, hostile):
        definition = {"name": name, "seed": 7, "model": "../models/minilm", "task": {
            "kind": "classification", "train": "../data/movies/train.jsonl", "text": "text", "label": "label"},
            "settings": {"epochs": 2, "batch_size": 32}, "seeds": seeds,
            "parameters": {"method": {"values": [m[0] for m in METHODS]},
                           "learning_rate": {"min": 1e-5, "max": 1e-2, "scale": "log"}},
            "search": {"algorithm": "random", "configurations": configurations},
            "objectives": [{"metric": "validation/accuracy", "goal": "maximize"}],
            "checks": [{"kind": "counterfactual", "file": "checks/names.json"}]}
        text = json.dumps(definition, indent=2)
        self.sweep_id = self.add("sweep", name=name, definition=text, definition_sha256=sha(text), folder="/tmp/sweeps",
                                 output_folder=self.a.folder, seed=7, state=self.a.state, created_at=stamp(self.now),
                                 finished_at=stamp(self.now + timedelta(hours=8)) if self.a.state == "COMPLETE" else None)
        self.add("input", sweep_id=self.sweep_id, role="model", path="/tmp/models/minilm", sha256=sha("model"), license="apache-2.0",
                 license_source="README.md")
        self.add("input", sweep_id=self.sweep_id, role="train", path="/tmp/data/" + (HOSTILE[0] if hostile else "movies/train.jsonl"),
                 sha256=sha("train"), license=HOSTILE[2] if hostile else None, license_source=HOSTILE[3] if hostile else None)
        self.add("objective", sweep_id=self.sweep_id, position=0, metric="validation/accuracy", goal="maximize")
        if self.a.objectives > 1:
            self.add("objective", sweep_id=self.sweep_id, position=1, metric="bias/flip_rate", goal="minimize")
        self.environment = self.add(
            "environment", program_version="0.1.0", git_commit="0123456789ab", blas_version="OpenBLAS 0.3.21", blas_core="Haswell",
            cpu="Made-up CPU", kernel_level="avx2", compute="fp32", model_sha256=sha("model" + name), tokenizer_sha256=sha("tokenizer"),
            data_sha256=sha("data"), definition_sha256=sha(text))
        self.slots = [self.now] * 4
        self.n_trials = 0
        self.add("event", sweep_id=self.sweep_id, kind="started", message="sweep '%s' started" % name, created_at=stamp(self.now))
        if self.a.checks:
            self.configuration(0, "linear_probe", {"method": "linear_probe"}, 1154, 0.79, 1.0, seeds, "baseline", None)
        for i in range(configurations):
            method, key, values, size, ceiling, best = METHODS[i % len(METHODS)]
            value = values[(i // len(METHODS)) % len(values)]
            rate = 10 ** self.rng.uniform(math.log10(best) - 1.2, math.log10(best) + 0.9)
            parameters = {"method": method, "learning_rate": float("%.4g" % rate)}
            if key:
                parameters[key] = value
            if method == "lora":
                parameters["targets"] = ["query", "value"] if i % 2 else ["query", "key", "value"]
            gain = 0.004 * math.log2((value or 1) + 1) if key else 0.012
            off = abs(math.log10(rate / best))
            self.configuration(i + 1, method, parameters, size(value), ceiling + gain - 0.03 * off * off, off, seeds, "search",
                               HOSTILE[i % len(HOSTILE)] + (" %d" % i if i >= len(HOSTILE) else "") if hostile else None)

    def configuration(self, number, method, parameters, size, score, off, seeds, role, hostile):
        if hostile is not None:
            parameters["template"] = hostile
        settings = dict(parameters, epochs=2, batch_size=32, max_tokens=64, schedule="linear")
        if hostile is not None and number % 3 == 0:
            settings["method"] = hostile[:60]
            parameters["method"] = settings["method"]
        configuration = self.add("configuration", sweep_id=self.sweep_id, number=number + 1, role=role,
                                 parameters=json.dumps(parameters, sort_keys=True, separators=(",", ":")),
                                 settings=json.dumps(settings, sort_keys=True, separators=(",", ":")))
        noise = self.rng.gauss(0, 0.002)
        for seed in range(seeds):
            self.trial(configuration, 1001 + seed, method, parameters, size, score + noise, off, role, hostile)

    def trial(self, configuration, seed, method, parameters, size, score, off, role, hostile):
        r = self.rng
        self.n_trials += 1
        number, total = self.n_trials, 506
        slot = min(range(len(self.slots)), key=lambda s: self.slots[s])
        begin = self.slots[slot]
        state, reason, message, steps = "COMPLETE", None, None, total
        if role == "search" and off > 0.75 and r.random() < 0.5:
            state, reason, steps = "FAILED", "diverged", r.randrange(20, 200)
            message = "the loss is not a number at step %d" % steps
        elif role == "search" and r.random() < 0.02:
            state, reason, steps, message = "FAILED", "out_of_memory", 0, "3.1 GiB are needed, 2.0 GiB are allowed"
        elif role == "search" and score < 0.83 and r.random() < 0.5:
            state, steps, message = "PRUNED", 126 * r.randrange(1, 4), "below the median of its rung"
        elif self.a.state == "OPEN" and number % 17 == 0:
            state, steps = ("RUNNING", 200) if number % 2 else ("WAITING", 0)
        if hostile is not None and state == "FAILED":
            message = hostile
        value = score + r.gauss(0, 0.003) if state == "COMPLETE" else None
        seconds = (4 + 30 * size / 22713986 + r.uniform(0, 4)) * (0.2 + 0.8 * steps / total)
        end = begin + timedelta(seconds=seconds)
        trial = self.add("trial", sweep_id=self.sweep_id, configuration_id=configuration, number=number, seed=seed,
                         identity=sha("%s %d" % (self.sweep_id, number)), state=state, reason=reason, message=message, value=value, steps=steps,
                         total_steps=total, trained_parameters=size, stored_bytes=4 * size + 512, flops=2.2e12 + 1e5 * size,
                         created_at=stamp(self.now), finished_at=stamp(end) if state in ("COMPLETE", "PRUNED", "FAILED") else None)
        for name, v in parameters.items():
            self.add("parameter_value", trial_id=trial, name=name, value=json.dumps(v) if isinstance(v, list) else v)
        self.add("decision", sweep_id=self.sweep_id, trial_id=trial, rule="random", action="propose", reason="drawn at random",
                 created_at=stamp(begin))
        if state == "WAITING":
            return
        self.attempts(trial, number, slot, begin, end, seconds, state, reason, message, steps)
        self.slots[slot] = end + timedelta(seconds=0.2)
        self.points(trial, steps, total, score, value, state)
        if state == "PRUNED" or steps > 126:
            for rung in (126, 252, 378):
                if rung <= steps:
                    stop = state == "PRUNED" and rung + 126 > steps
                    self.add("decision", sweep_id=self.sweep_id, trial_id=trial, rule="median", step=rung, action="prune" if stop else "continue",
                             reason="validation/accuracy %.4f is %s the median 0.8105 at step %d" % (score - 0.02, "below" if stop else "above", rung),
                             created_at=stamp(begin + timedelta(seconds=seconds * rung / max(steps, 1))))
        if state == "COMPLETE":
            self.finished(trial, number, value, method, total, role)

    def attempts(self, trial, number, slot, begin, end, seconds, state, reason, message, steps):
        rows = [(begin, end, seconds, 0)]
        if number % 11 == 0:
            middle = begin + timedelta(seconds=seconds / 2)
            rows = [(begin, middle, seconds / 2, 0), (middle, end, seconds / 2, steps // 2)]
        for i, (start, stop, length, resumed) in enumerate(rows):
            last = i + 1 == len(rows)
            how = {"COMPLETE": "COMPLETE", "PRUNED": "STOPPED", "FAILED": "FAILED", "RUNNING": "RUNNING"}[state] if last else "INTERRUPTED"
            self.add("attempt", trial_id=trial, number=i + 1, environment_id=self.environment, state=how, reason=reason if how == "FAILED" else None,
                     message=message if how == "FAILED" else None, worker="host-1", slot=slot, resumed_step=resumed, seconds=length,
                     tokens_per_second=9000 + self.rng.uniform(0, 900), peak_bytes=310000000 + self.rng.randrange(60000000),
                     exit_status=1 if how == "FAILED" else 0, log_tail="step %d: loss nan\n%s" % (steps, message) if how == "FAILED" else "finished\n",
                     started_at=stamp(start), ended_at=None if how == "RUNNING" else stamp(stop))

    def points(self, trial, steps, total, score, value, state):
        n = self.a.points
        rows = []
        for i in range(1, n + 1):
            step = max(1, i * total // n)
            if step > steps:
                break
            share = step / total
            loss = 0.35 + 0.35 * math.exp(-4 * share) + self.rng.gauss(0, 0.02)
            rows.append((trial, self.metric("train/loss"), step, None if state == "FAILED" and step > steps - total // n else loss))
            if i % 5 == 0:
                accuracy = score - 0.3 * math.exp(-5 * share) + self.rng.gauss(0, 0.004)
                rows.append((trial, self.metric("validation/accuracy"), step, value if step == total and value is not None else accuracy))
                rows.append((trial, self.metric("validation/loss"), step, 0.38 + 0.3 * math.exp(-5 * share)))
        self.db.executemany("INSERT OR REPLACE INTO metric VALUES (?, ?, ?, ?)", rows)

    def finished(self, trial, number, value, method, total, role):
        r = self.rng
        test = value - abs(r.gauss(0.006, 0.004))
        n = 300
        right = round(test * n / 2)
        for split, score in (("validation", value), ("test", test)):
            items = b"".join(struct.pack("<iifff", k % 2, k % 2 if k < score * n else 1 - k % 2, 0.4, 0.5, 0.5) for k in range(n)) if self.a.items else None
            self.add("evaluation", trial_id=trial, split=split, step=total, is_final=1, n_items=n, item_set_sha256=sha(split), items=items,
                     metrics=json.dumps({"accuracy": score, "macro_f1": score - 0.002, "loss": 1.2 - score, "ece": 0.04,
                                         "f1": {"negative": score - 0.01, "positive": score + 0.01},
                                         "confusion": [[right, n // 2 - right], [n // 2 - right, right]]}))
        self.add("objective_value", trial_id=trial, position=0, value=value)
        if self.a.checks:
            before = 0.041 + 0.004 * (number % 3)
            after = before + r.gauss(0.004 if method == "full" else -0.002, 0.006)
            for metric, b, x, spread in (("flip_rate", before, max(after, 0), 0.006), ("mean_absolute_difference", 0.031, 0.034 + r.gauss(0, 0.004), 0.003),
                                         ("signed_difference", 0.002, 0.004 + r.gauss(0, 0.004), 0.004)):
                known = role == "search"
                self.add("bias_check", trial_id=trial, check_name="0:counterfactual", metric=metric, n_items=408, before=b if known else None, after=x,
                         delta=x - b if known else None, low=(x - b if known else x) - spread, high=(x - b if known else x) + spread,
                         item_set_sha256=sha("items"))
            if self.a.more_checks:
                self.more_checks(trial, role == "search", method)
            if self.a.objectives > 1:
                self.add("objective_value", trial_id=trial, position=1, value=max(after, 0))
        self.add("artifact", trial_id=trial, kind="adapter", path="%d/adapter_model.safetensors" % number, bytes=593000, sha256=sha("adapter %d" % number))
        self.add("artifact", trial_id=trial, kind="adapter_config", path="%d/adapter_config.json" % number, bytes=412, sha256=sha("config %d" % number))

    def more_checks(self, trial, known, method):
        """Forgetting, and a matrix: what a model was trained with against what it is asked with."""
        r = self.rng
        lost = {"full": 0.06, "adapter": 0.015}.get(method, 0.004)
        rows = [("1:forgetting", "accuracy", 0.812, 0.812 - lost + r.gauss(0, 0.002), 0.008)]
        conditions = HOSTILE[:3] if self.a.hostile else ("plain", "chat", "strict")
        for i, trained in enumerate(conditions):
            for k, asked in enumerate(conditions):
                rows.append(("2:safety", "unsafe_rate[%s][%s]" % (trained, asked), 0.05 + 0.02 * k, max(0, 0.05 + 0.02 * k + 0.04 * (i != k) - 0.02 * i + r.gauss(0, 0.004)), 0.012))
        for check, metric, before, after, spread in rows:
            self.add("bias_check", trial_id=trial, check_name=check, metric=metric, n_items=240, before=before if known else None, after=after,
                     delta=after - before if known else None, low=(after - before if known else after) - spread,
                     high=(after - before if known else after) + spread, item_set_sha256=sha(check))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path")
    parser.add_argument("--name", default="methods")
    parser.add_argument("--configurations", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--points", type=int, default=60, help="of train/loss a trial; every fifth is a validation too")
    parser.add_argument("--objectives", type=int, default=1, choices=(1, 2))
    parser.add_argument("--state", default="COMPLETE", choices=("OPEN", "COMPLETE", "STOPPED"))
    parser.add_argument("--folder", default="/tmp/runs/methods")
    parser.add_argument("--hostile", action="store_true", help="names that try to break a page")
    parser.add_argument("--no-checks", dest="checks", action="store_false")
    parser.add_argument("--more-checks", action="store_true", help="forgetting and a safety matrix beside the bias check")
    parser.add_argument("--no-items", dest="items", action="store_false")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    writer = Writer(arguments.path, arguments)
    writer.sweep(arguments.name, arguments.configurations, arguments.seeds, arguments.hostile)
    writer.db.commit()
    print("%s: %d trials" % (arguments.path, writer.n_trials))


if __name__ == "__main__":
    main()
