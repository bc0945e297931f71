#!/usr/bin/env python3
"""merge: a model folder that computes what base and adapter computed, for every method that is a change of weights, on three
families; the others refused with the place, and nothing left behind."""
import json
import os
import pathlib
import subprocess
import time

from predict import nightsweep, sweep
from common import TRAINER, check, finish, folder, near, rows, write_data, write_rows
from language import write_task

FOLDS = ["full", "partial", "linear_probe", "bitfit", "layer_norm", "lora", "dora", "pissa", "vera", "adalora", "ia3"]
STAYS = ["adapter", "compacter", "prefix", "prompt", "p_tuning", ["lora", "adapter"]]
BEST = {"metric": "validation/accuracy", "goal": "maximize"}
LOSS = {"metric": "validation/loss", "goal": "minimize"}


def unchanged(base, name, model, task, goal, method, settings=None):
    """A sweep of one trial that trains next to nothing: the model as its folder has it."""
    definition = {"name": name, "model": str(model), "seed": 3, "task": task, "objectives": [goal], "seeds": 1,
                  "settings": {"steps": 1, "learning_rate": 1e-30, "batch_size": 8, **(settings or {})},
                  "parameters": {"method": {"values": [method]}}}
    path = base / f"{name}.json"
    path.write_text(json.dumps(definition))
    nightsweep(base, "run", path, "--quiet")


def predictions(base, trial, data):
    return [json.loads(line) for line in nightsweep(base, "predict", trial, "--input", data, "--json").splitlines()]


def same_probabilities(base, what, a, b, data):
    first, second = predictions(base, a, data), predictions(base, b, data)
    check(len(first) == len(second) > 0, what, "other rows")
    for x, y in zip(first, second):
        if "loss" in x:
            check(near(x["loss"], y["loss"], 1e-5), what, x["loss"], y["loss"])
        else:
            check(all(near(p, q, 0, 1e-5) for p, q in zip(x["probabilities"], y["probabilities"])), what, x, y)


def classifiers(base):
    task, data = write_data(base), write_rows(base / "new.jsonl", rows(20, 9))
    sweep(base, "classes", "bert", task, FOLDS + STAYS, BEST)
    for i, method in enumerate(FOLDS, 1):
        output = base / f"merged-{i}"
        nightsweep(base, "merge", "--trial", f"classes/{i}", "--output", output)
        unchanged(base, f"again-{i}", output, task, BEST, "linear_probe", {"init_head": "model"})
        same_probabilities(base, method, f"classes/{i}", f"again-{i}/1", data)
        config = json.loads((output / "config.json").read_text())
        check(config["id2label"] == {"0": "negative", "1": "neutral", "2": "positive"}, config)
    for i, method in enumerate(STAYS, len(FOLDS) + 1):
        error = nightsweep(base, "merge", f"classes/{i}", "--output", base / "none", status=3)
        check("cannot be merged: " in error and "'bert." in error, method, error)
    for status, arguments, expected in ((2, ["classes/1"], "--output FOLDER was expected"),
                                        (2, ["classes/1", "--output", base / "merged-1"], "exists already"),
                                        (3, ["classes/1", "--output", base / "new.jsonl" / "x"], "new.jsonl")):
        error = nightsweep(base, "merge", *arguments, status=status)
        check(expected in error, arguments, error)
    check(not list(base.glob("none*")) and not list(base.glob("*.tmp-merge")), "something is left")


def language_models(base):
    task = write_task(base, "causal")
    data = task["validation"]
    task = {**task, "target": "answer"}
    for model in ("llama", "gpt2"):
        sweep(base, model, model, task, ["lora", "dora", "ia3"], LOSS)
        for i in (1, 2, 3):
            output = base / f"{model}-{i}"
            check(nightsweep(base, "merge", f"{model}/{i}", "--output", output).strip() == str(output), "names another folder")
            unchanged(base, f"{model}-again-{i}", output, task, LOSS, "layer_norm")
            same_probabilities(base, f"{model} {i}", f"{model}/{i}", f"{model}-again-{i}/1", data)


def confined(base):
    """What reads an adapter and a model of somebody else has given up all else by then: held at its first file."""
    parts = json.loads(subprocess.run([TRAINER, "--doctor"], capture_output=True, text=True, check=True).stdout)["sandbox"]
    if "no network" not in parts:
        return print(f"sandbox: {parts}: not tested")
    (base / "adapter").mkdir()
    (base / "into").mkdir()
    os.mkfifo(base / "adapter" / "nightsweep.json")
    request = {"model": str(base), "adapter": str(base / "adapter"), "output": str(base / "into"), "task": {"kind": "classification"}}
    process = subprocess.Popen([TRAINER, "--merge"], stdin=subprocess.PIPE, text=True)
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.close()
    for _ in range(200):
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        if "Seccomp:\t2" in status:
            break
        time.sleep(0.05)
    check("Seccomp:\t2" in status and "NoNewPrivs:\t1" in status, "merge reads outside of the sandbox")
    process.kill()
    process.wait()


def main():
    with folder() as base:
        classifiers(base)
        language_models(base)
        confined(base)
    finish()


if __name__ == "__main__":
    main()
