#!/usr/bin/env python3
"""predict and eval on a small sweep: the figures of its final tests again, to the last digit, for every kind of adapter; rows
without labels; what is refused, and where."""
import csv
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "trainer"))
from common import LABELS, MODELS, ROOT, check, finish, folder, near, rows, write_data, write_rows  # noqa: E402
from language import write_task  # noqa: E402

NIGHTSWEEP = pathlib.Path(os.environ.get("BUILD", ROOT / "build/release")).absolute() / "nightsweep"
METHODS = ["full", "partial", "linear_probe", "bitfit", "lora", "dora", "pissa", "ia3", "adapter", "compacter", "prefix", "prompt",
           "p_tuning", ["lora", "adapter"]]


def nightsweep(base, *arguments, status=0):
    run = subprocess.run([NIGHTSWEEP, *map(str, arguments), "--store", base / "store.db"], capture_output=True, text=True,
                         check=False)
    check(run.returncode == status, arguments, "ended with", run.returncode, run.stderr)
    return run.stdout if status == 0 else run.stderr


def sweep(base, name, model, task, methods, goal, **settings):
    definition = {"name": name, "model": str(MODELS / model), "seed": 3, "task": task,
                  "settings": {"epochs": 2, "batch_size": 8, "learning_rate": 0.003, **settings},
                  "parameters": {"method": {"values": methods}}, "objectives": [goal], "seeds": 1}
    path = base / f"{name}.json"
    path.write_text(json.dumps(definition))
    nightsweep(base, "run", path, "--quiet")
    return path


def same_figures(base, name, n):
    for trial in range(1, n + 1):
        answer = json.loads(nightsweep(base, "eval", "--trial", f"{name}/{trial}", "--json"))
        check(answer["recorded"] and answer["metrics"] == answer["recorded"], name, trial, answer)


def new_rows(base):
    """Without labels, in CSV; the answers are those of the same rows with labels."""
    items = rows(30, 9)
    labelled = write_rows(base / "labelled.jsonl", items)
    with open(base / "new.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["other", "text"])
        writer.writerows(["with, comma", item["text"]] for item in items)
    nightsweep(base, "predict", "--trial", "classes/5", "--input", base / "new.csv", "--output", base / "out.csv")
    with open(base / "out.csv", encoding="utf-8", newline="") as file:
        answers = list(csv.DictReader(file))
    check([a["text"] for a in answers] == [i["text"] for i in items], "other texts")
    check([int(a["line"]) for a in answers] == list(range(2, 32)), "lines", [a["line"] for a in answers])
    columns = [f"p({label})" for label in sorted(LABELS)]
    check(list(answers[0]) == ["line", "text", "predicted", *columns], list(answers[0]))
    for a in answers:
        p = {column: float(a[column]) for column in columns}
        check(near(sum(p.values()), 1, 1e-5) and p[f"p({a['predicted']})"] == max(p.values()), a)
    right = sum(a["predicted"] == i["label"] for a, i in zip(answers, items))
    metrics = json.loads(nightsweep(base, "eval", "classes/5", "--input", labelled, "--json"))
    check(metrics["recorded"] is None and near(metrics["metrics"]["accuracy"], right / 30), right, metrics)
    lines = nightsweep(base, "predict", "classes/5", "--input", base / "new.csv", "--json").splitlines()
    check([json.loads(line)["predicted"] for line in lines] == [a["predicted"] for a in answers], "JSON differs")
    table = nightsweep(base, "eval", "classes/5")
    check("recorded" in table.splitlines()[0] and "accuracy" in table, table)


def refused(base, definition):
    for status, arguments, expected in (
            (2, ["predict", "classes/5"], "--input FILE was expected"),
            (2, ["predict", "--input", "x.csv"], "a trial was expected"),
            (2, ["predict", "classes/5", "--trial", "4", "--input", "x.csv"], "named twice"),
            (2, ["predict", "classes/99", "--input", "x.csv"], "its trials are 1 to"),
            (2, ["predict", "classes/5", "--input", base / "new.csv", "--output", base / "out.txt"], ".csv or .jsonl"),
            (3, ["predict", "classes/5", "--input", base / "none.csv"], "none.csv': cannot be opened"),
            (3, ["eval", "classes/5", "--input", base / "new.csv"], "there is no column 'label'"),
            (3, ["eval", "classes/5", "--input", base / "strange.jsonl"], "strange.jsonl', line 1"),
            (2, ["eval", "words/1"], "no test file")):
        write_rows(base / "strange.jsonl", [{"text": "w6 w7", "label": "strange"}])
        error = nightsweep(base, *arguments, status=status)
        check(expected in error, arguments, error)
    check(not (base / "out.txt").exists(), "an output was written")
    # Another base: refused with both hashes, before anything is computed.
    text = definition.read_text()
    moved = base / "moved"
    moved.mkdir()
    for file in (MODELS / "bert").iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    definition.write_text(text.replace(str(MODELS / "bert"), str(moved)).replace('"classes"', '"moved"'))
    nightsweep(base, "run", definition, "--quiet")
    whole, taken = (nightsweep(base, "predict", f"{name}/5", "--input", base / "new.csv") for name in ("classes", "moved"))
    check(whole == taken, "a result that was taken from an equal trial predicts otherwise")
    data = bytearray((moved / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (moved / "model.safetensors").write_bytes(data)
    error = nightsweep(base, "predict", "moved/1", "--input", base / "new.csv", status=2)
    check("is not the one the trial was trained on" in error, error)


def main():
    with folder() as base:
        definition = sweep(base, "classes", "bert", write_data(base), METHODS, {"metric": "validation/accuracy", "goal": "maximize"})
        same_figures(base, "classes", len(METHODS))
        sweep(base, "prefix", "bert", write_data(base), ["partial", "linear_probe"], {"metric": "validation/accuracy", "goal": "maximize"},
              frozen_prefix="shared", top_layers=1)
        same_figures(base, "prefix", 2)
        new_rows(base)
        causal = {**write_task(base, "causal"), "target": "answer"}
        goal = {"metric": "validation/loss", "goal": "minimize"}
        sweep(base, "words", "llama", causal, ["lora"], goal)
        sweep(base, "tested", "llama", {**causal, "test": causal["validation"]}, ["lora", "full"], goal)
        same_figures(base, "tested", 2)
        refused(base, definition)
    finish()


if __name__ == "__main__":
    main()
