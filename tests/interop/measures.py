#!/usr/bin/env python3
"""Our statistics and metrics against the programs people trust: expected values of the unit tests made anew by numpy,
scipy, fairlearn and sacrebleu; `nightsweep score` against sacrebleu on files it has not seen; `nightsweep compare --json`
against scipy on a store. BUILD: the folder of the programs. Prints what differs; exits 1 if anything did.
"""
import json
import math
import os
import random
import sqlite3
import subprocess
import sys
import tempfile

import numpy as np
from sacrebleu.metrics import BLEU, CHRF
from scipy import stats
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, log_loss

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
PROGRAM = os.path.join(os.environ.get("BUILD", os.path.join(ROOT, "build", "release")), "nightsweep")
failures = checked = 0


def same(what, ours, theirs, tolerance=1e-9):
    global failures, checked
    checked += 1
    if ours is None or theirs is None or (isinstance(theirs, float) and not math.isfinite(theirs)):
        equal = ours is None and (theirs is None or not math.isfinite(theirs))
    else:
        equal = abs(ours - theirs) <= tolerance * max(1, abs(theirs))
    if not equal:
        failures += 1
        print("%s: %r, expected %r" % (what, ours, theirs))


def walk(what, ours, theirs):
    """Equal structure, equal numbers; versions may differ."""
    if isinstance(theirs, dict):
        for key in theirs:
            if key != "versions":
                walk("%s.%s" % (what, key), ours[key], theirs[key])
    elif isinstance(theirs, list):
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            walk("%s[%d]" % (what, i), a, b)
    elif isinstance(theirs, (int, float)) and not isinstance(theirs, bool):
        same(what, ours, theirs)
    elif ours != theirs:
        same(what, None, 1.0)


def committed():
    for name, script in (("expected", "make_expected"), ("translation", "make_translation"), ("fairness", "make_fairness"),
                         ("association", "make_association")):
        path = os.path.join(ROOT, "tests", "stats", name + ".json")
        made = subprocess.run([sys.executable, os.path.join(ROOT, "tests", "stats", script + ".py")], check=True,
                              capture_output=True, text=True).stdout
        with open(path, encoding="utf-8") as file:
            walk(name, json.load(file), json.loads(made))


def run(*arguments):
    return json.loads(subprocess.run([PROGRAM, *arguments, "--json"], check=True, capture_output=True, text=True).stdout)


def translations(folder):
    rng = random.Random(99)
    words = "ja või sõna, lause. 1.5 1,000 \"nii\" (see) x-y isn't — … 你好 été e\u0301 &amp; - ? ! ; a b c the of".split(" ")
    for n_references in (1, 2, 3):
        files = [[" ".join(rng.choices(words, k=rng.randint(0, 25))) for _ in range(200)] for _ in range(n_references)]
        hypotheses = [" ".join(w if rng.random() < 0.6 else rng.choice(words) for w in line.split(" ")) for line in files[0]]
        paths = []
        for i, lines in enumerate([hypotheses] + files):
            paths.append(os.path.join(folder, "%d.txt" % i))
            with open(paths[-1], "w", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
        ours = run("score", "--hypotheses", paths[0], "--references", *paths[1:])
        same("BLEU, %d references" % n_references, ours["bleu"], BLEU(force=True).corpus_score(hypotheses, files).score)
        same("chrF, %d references" % n_references, ours["chrf"], CHRF().corpus_score(hypotheses, files).score)
        same("chrF++, %d references" % n_references, ours["chrf++"], CHRF(word_order=2).corpus_score(hypotheses, files).score)


def holm(p):
    order = sorted(range(len(p)), key=lambda i: p[i])
    out, least = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(p) - rank) * p[i]))
        out[i] = least
    return out


def comparison(folder):
    store = os.path.join(folder, "made.db")
    subprocess.run([sys.executable, os.path.join(ROOT, "tests", "support", "make_store.py"), store, "--configurations", "30",
                    "--seeds", "5"], check=True, capture_output=True)
    db = sqlite3.connect(store)
    sweep, = db.execute("SELECT name FROM sweep LIMIT 1").fetchone()
    ours = run("compare", sweep, "--store", store)
    scores = {}
    for method in ours["methods"]:
        rows = db.execute(
            "SELECT t.seed, json_extract(e.metrics, '$.accuracy') FROM trial t JOIN configuration c ON c.id = t.configuration_id"
            " JOIN evaluation e ON e.trial_id = t.id AND e.split = 'test' AND e.is_final WHERE c.number = ? AND t.state = 'COMPLETE'"
            " ORDER BY t.seed", (method["configuration"],)).fetchall()
        scores[method["method"]] = dict(rows)
        values = list(scores[method["method"]].values())
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        same("mean of " + method["method"], method["test"]["mean"], float(np.mean(values)))
        same("low of " + method["method"], method["test"]["low"], float(low))
        same("high of " + method["method"], method["test"]["high"], float(high))
    for pair in ours["pairs"]:
        a, b = scores[pair["a"]], scores[pair["b"]]
        common = sorted(set(a) & set(b))
        result = stats.ttest_rel([a[s] for s in common], [b[s] for s in common])
        what = "%s - %s: " % (pair["a"], pair["b"])
        same(what + "p", pair["over_seeds"]["p"], float(result.pvalue))
        x, y = list(a.values()), list(b.values())
        same(what + "Cliff's delta", pair["cliff_delta"], float(2 * stats.mannwhitneyu(x, y).statistic / (len(x) * len(y)) - 1))
    for pair, adjusted in zip(ours["pairs"], holm([pair["p"] for pair in ours["pairs"]])):
        same("Holm", pair["p_holm"], adjusted)


def calibration(folder):
    """A short training; its records' items, decoded, through scikit-learn."""
    rng = random.Random(4)
    model = os.path.join(folder, "model")
    source = os.path.join(ROOT, "tests", "golden", "cases", "models", "bert")
    os.mkdir(model)
    words = ["w%d" % i for i in range(40)]
    vocabulary = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]"] + words)}
    for name in ("config.json", "model.safetensors"):
        os.symlink(os.path.join(source, name), os.path.join(model, name))
    with open(os.path.join(model, "tokenizer.json"), "w", encoding="utf-8") as file:
        json.dump({"added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None,
                   "model": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": vocabulary}}, file)
    paths = {}
    for split, n in (("train", 200), ("validation", 120)):
        paths[split] = os.path.join(folder, split + ".jsonl")
        with open(paths[split], "w", encoding="utf-8") as file:
            for _ in range(n):
                text = rng.choices(words, k=6)
                file.write(json.dumps({"text": " ".join(text), "label": int(text[0] < "w2")}) + "\n")
    job = {"v": 1, "type": "job", "attempt": 1, "identity": "", "output": os.path.join(folder, "trial"), "resume": None,
           "model": {"path": model}, "task": {"kind": "classification", "test": None, "text": "text", "label": "label", **paths},
           "settings": {"method": "full", "learning_rate": 1e-3, "epochs": 2, "batch_size": 16, "max_tokens": 16}, "seed": 3,
           "objective": {"metric": "validation/loss", "goal": "minimize"}, "checks": [], "limits": {"memory_bytes": 0, "threads": 1}}
    out = subprocess.run([PROGRAM + "-trainer"], input=json.dumps(job) + "\n", capture_output=True, text=True, check=True).stdout
    final = [r for r in map(json.loads, out.splitlines()) if r["type"] == "evaluation" and r["is_final"]][-1]
    import base64
    items = np.frombuffer(base64.b64decode(final["items"]),
                          dtype=[("label", "<i4"), ("predicted", "<i4"), ("loss", "<f4"), ("p", "<f4", 2)])
    label, p, metrics = items["label"], items["p"].astype(float), final["metrics"]
    same("accuracy", metrics["accuracy"], float(accuracy_score(label, items["predicted"])))
    same("macro F1", metrics["macro_f1"], float(f1_score(label, items["predicted"], average="macro")))
    same("Brier, twice the binary score", metrics["brier"], 2 * float(brier_score_loss(label, p[:, 1])), 1e-6)  # float32
    same("loss", metrics["loss"], float(log_loss(label, p / p.sum(1, keepdims=True))), 1e-5)                # float32


def main():
    with tempfile.TemporaryDirectory() as folder:
        committed()
        translations(folder)
        comparison(folder)
        calibration(folder)
    print("statistics and metrics: %d values compared, %d differ" % (checked, failures))
    sys.exit(failures > 0)


main()
