#!/usr/bin/env python3
"""What the checks of the ready sweeps cost, beside the trials they belong to: one trial of each method, in processor seconds, so
that other work on the machine does not count. With --masked HEADS checks are added that ask a masked model's head: MiniLM's
package has none, so one with random numbers is put beside its body, which costs what a trained one does.

    bench/checks.py [--methods full,lora] [--sweeps demo,forgetting] [--masked]       BUILD: the folder of the programs
"""
import argparse
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TRAINER = pathlib.Path(os.environ.get("BUILD", ROOT / "build" / "release")).absolute() / "nightsweep-trainer"
MASKED = [{"kind": "perplexity", "file": "checks/general.jsonl"}, {"kind": "crows_pairs", "file": "checks/pairs.csv", "sample": "200"},
          {"kind": "stereoset", "file": "checks/gaps.json"}, {"kind": "bbq", "file": "checks/questions.jsonl"}]


def applies(when, settings):
    return all(settings.get(k) in (v if isinstance(v, list) else [v]) for k, v in when.items())


def choose(definition, method):
    """The settings of the sweep's first configuration with that method."""
    settings = dict(definition.get("settings", {}), method=method)
    for name, parameter in definition["parameters"].items():
        if name != "method" and applies(parameter.get("when", {}), settings) and "values" in parameter:
            settings[name] = parameter["values"][0]
    for name, value in list(settings.items()):
        if isinstance(value, list) and value and isinstance(value[0], dict) and "when" in value[0]:
            fit = [case["value"] for case in value if applies(case["when"], settings)]
            settings.pop(name)
            if fit:
                settings[name] = fit[0]
    if isinstance(settings.get("augmentation_words"), str):
        settings["augmentation_words"] = str(ROOT / "sweeps" / settings["augmentation_words"])
    return settings


def with_head(model, folder):
    """The model's folder with a masked language model's head of random numbers."""
    target = os.path.join(folder, "masked")
    shutil.copytree(model, target)
    path = os.path.join(target, "model.safetensors")
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    with open(os.path.join(target, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    d, words = config["hidden_size"], config["vocab_size"]
    names = {"transform.dense.weight": [d, d], "transform.dense.bias": [d], "transform.LayerNorm.weight": [d], "transform.LayerNorm.bias": [d], "bias": [words]}
    for name, shape in names.items():
        n = shape[0] * (shape[1] if len(shape) > 1 else 1)
        header["cls.predictions." + name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + 4 * n]}
        data += struct.pack("<%df" % n, *((i * 7919 % 1000 / 5e4 - 0.01) for i in range(n)))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)
    return target


def run(definition, method, checks, model, folder):
    base = ROOT / "sweeps"
    task = {"kind": "classification", **definition["task"]}
    task.update({k: str(base / task[k]) for k in ("train", "validation", "test") if k in task})
    named = [{"name": "%d:%s" % (i, c["kind"]), **c, **({"file": str(base / c["file"])} if "file" in c else {})} for i, c in enumerate(checks)]
    job = {"v": 1, "type": "job", "attempt": 1, "identity": "", "output": os.path.join(folder, "out"), "resume": None, "model": {"path": str(model)},
           "task": task, "settings": choose(definition, method), "seed": 1, "checks": named}
    done = subprocess.run([TRAINER], input=json.dumps(job) + "\n", capture_output=True, text=True, check=False)
    shutil.rmtree(os.path.join(folder, "out"), ignore_errors=True)
    last = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    if last.get("type") != "finished":
        sys.exit("%s: %s %s" % (method, last.get("message", ""), done.stderr[-500:]))
    return last


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", default="demo,forgetting,few-shot")
    parser.add_argument("--methods", default="full,lora")
    parser.add_argument("--masked", action="store_true")
    arguments = parser.parse_args()
    print("%-12s %-8s %-18s %9s %9s %7s" % ("sweep", "method", "check", "seconds", "trial", "share"))
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.sweeps.split(","):
            definition = json.loads((ROOT / "sweeps" / (name + ".json")).read_text(encoding="utf-8"))
            model = (ROOT / "sweeps" / definition["model"]).resolve()
            if arguments.masked:
                model = with_head(model, folder) if not os.path.exists(os.path.join(folder, "masked")) else os.path.join(folder, "masked")
            for method in arguments.methods.split(","):
                checks = definition.get("checks", []) + (MASKED if arguments.masked else [])
                last = run(definition, method, checks, model, folder)
                trial = last["processor_seconds"] - sum(last["check_seconds"].values())
                for check, seconds in last["check_seconds"].items():
                    print("%-12s %-8s %-18s %9.2f %9.1f %6.1f%%" % (name, method, check, seconds, trial, 100 * seconds / trial), flush=True)


main()
