#!/usr/bin/env python3
"""Our side of bench/accuracy: one trial through nightsweep-trainer, written down as peer.py writes its own.

    ours.py TRAINER METHOD SEED OUTPUT.json        METHOD: lora or full

The hyperparameters are peer.py's; what they share stands in RUN and RATES there and here, and compare.py refuses results
whose hyperparameters differ. Standard library only.
"""
import base64
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RUN = {"epochs": 2, "batch_size": 32, "max_tokens": 64, "warmup": 0.06, "weight_decay": 0.01, "clip": 1.0}
METHODS = {"lora": {"method": "lora", "rank": 8, "alpha": 16, "targets": ["query", "value"], "learning_rate": 2e-3},
           "full": {"method": "full", "learning_rate": 1e-4}}


def job(method, seed, folder):
    data = {split: str(ROOT / "data" / "movies" / f"{split}.jsonl") for split in ("train", "validation", "test")}
    return {"v": 1, "type": "job", "attempt": 1, "identity": "", "output": folder, "resume": None,
            "model": {"path": str(ROOT / "models" / "minilm")},
            "task": {"kind": "classification", **data, "text": "text", "label": "label"},
            "settings": {**RUN, **METHODS[method], "schedule": "linear"}, "seed": seed,
            "objective": {"metric": "validation/accuracy", "goal": "maximize"}, "checks": [],
            "limits": {"memory_bytes": 0, "threads": 1}}


def items(evaluation, n_classes):
    """(label, probability of class 1) of every test row; the layout is docs/protocol.md's."""
    layout = struct.Struct(f"<iif{n_classes}f")
    return [(row[0], row[4]) for row in layout.iter_unpack(base64.b64decode(evaluation["items"]))]


def main():
    trainer, method, seed, output = sys.argv[1], sys.argv[2], int(sys.argv[3]), pathlib.Path(sys.argv[4])
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([trainer], input=json.dumps(job(method, seed, folder)) + "\n", text=True,
                              stdout=subprocess.PIPE, check=False)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or records[-1]["type"] != "finished":
        sys.exit(f"{method} seed {seed}: exit status {done.returncode}, last record {records[-1:]}")
    test = [r for r in records if r["type"] == "evaluation" and r["split"] == "test"][-1]
    rows = items(test, 2)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({
        "method": method, "seed": seed, "run": {**RUN, "learning_rate": METHODS[method]["learning_rate"]},
        "validation_accuracy": records[-1]["value"], "test_accuracy": test["metrics"]["accuracy"],
        "test_labels": [label for label, _ in rows],
        "test_probabilities": [p for _, p in rows]}))
    print(f"{method} seed {seed}: validation {records[-1]['value']:.4f}, test {test['metrics']['accuracy']:.4f}", flush=True)


if __name__ == "__main__":
    main()
