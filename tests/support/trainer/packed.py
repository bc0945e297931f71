#!/usr/bin/env python3
"""Weights that stay as their file stores them: a Llama in bfloat16 trains as the same one expanded, with every method, and
resumes bit for bit; refused where nothing can stay."""
import json
import random
import shutil
import struct

from common import MODELS, Run, check, finish, folder, job, methods, name_of, near, write_data
from language import write_task
from resume import same

RESUMED = ({"method": "lora", "rank": 3, "method_dropout": 0.2}, {"method": "prompt", "prompt_length": 2}, {"method": "dora", "rank": 2})
TARGETS = ["q_proj", "v_proj", "down_proj"]


def in_halves(path):
    """The golden cases' Llama with its matrices cut to bfloat16 (the upper halves of the floats)."""
    shutil.copytree(MODELS / "llama", path)
    whole = (path / "model.safetensors").read_bytes()
    n = struct.unpack("<Q", whole[:8])[0]
    header, data, at = json.loads(whole[8:8 + n]), b"", 0
    header.pop("__metadata__", None)
    for entry in header.values():
        first, last = entry["data_offsets"]
        values = whole[8 + n + first:8 + n + last]
        if len(entry["shape"]) == 2:
            entry["dtype"] = "BF16"
            values = b"".join(values[i + 2:i + 4] for i in range(0, len(values), 4))
        data += values
        entry["data_offsets"] = [at, len(data)]
        at = len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def trains_alike(base, task, settings, model):
    what = f"{task['kind']}, {name_of(settings)}:"
    whole, stays = (Run(job(base / storage, task, {**settings, "weight_storage": storage}, model))
                    for storage in ("float32", "file"))
    if whole.why().startswith("infeasible") or whole.why().startswith("usage"):
        check(stays.why() == whole.why(), what, stays.why(), "expanded:", whole.why())
        return 0
    if not check(whole.finished() and stays.finished(), what, whole.why(), stays.why()):
        return 0
    a, b = whole.points(), stays.points()
    check(a.keys() == b.keys() and len(a) > 5, what, "other points")
    for key, value in a.items():
        check(near(b[key], value, 2e-3), what, key, b[key], "expanded:", value)
    return 1


def refused(base, task, halves):
    for model, settings, expected in (
            ("bert", {}, "infeasible: settings.weight_storage: 'file' is not built in for bert models"),
            ("llama", {}, "infeasible: settings.weight_storage: 'file', but these weights are float32 already"),
            (halves, {"compute": "bf16"}, "infeasible: settings.compute: 'bf16' does not go with weight_storage 'file' yet")):
        run = Run(job(base / "refused", task, {"method": "lora", "weight_storage": "file", "pooling": "first", **settings}, model))
        check(run.why() == expected, model, run.why())


def main():
    with folder() as base:
        halves, task = in_halves(base / "halves"), write_data(base)
        causal = write_task(base, "causal")
        refused(base, task, halves)
        trained = 0
        for settings in methods():
            settings = {key: TARGETS if key == "targets" else value for key, value in settings.items() if key not in ("bias_terms", "rank_pattern")}
            trained += trains_alike(base, {**causal, "target": "answer"}, settings, halves)
        print(trained, "trained")
        check(trained >= 12, "only", trained, "methods trained")
        trains_alike(base, task, {"method": "lora", "rank": 2, "targets": TARGETS}, halves)
        for i, settings in enumerate(RESUMED):
            here = base / str(i)
            here.mkdir()
            check(same(here, {**causal, "target": "answer"}, {**settings, "weight_storage": "file"}, halves, random.Random(i)),
                  name_of(settings), "was not resumed")
    finish()


if __name__ == "__main__":
    main()
