#!/usr/bin/env python3
""""compute": "bf16" on a BERT wide enough for it: close to fp32 and not equal to it, the same bits with one thread, with two
and after kills, refused with the reason where the processor cannot."""
import json
import os
import random
import shutil
import struct
import subprocess

from common import MODELS, TRAINER, Run, check, finish, folder, job, name_of, rows, write_data, write_rows
from resume import same

WIDTH, INNER, LAYERS, WORDS = 96, 192, 2, 96
METHODS = [{"method": "full"}, {"method": "lora", "rank": 4, "targets": ["query", "value"], "method_dropout": 0.1},
           {"method": "bitfit"}, {"method": "adapter", "adapter_placement": "houlsby", "adapter_size": 8},
           {"method": "prefix", "prompt_length": 3}]


def shapes():
    yield "embeddings.word_embeddings.weight", (WORDS, WIDTH)
    yield "embeddings.position_embeddings.weight", (48, WIDTH)
    yield "embeddings.token_type_embeddings.weight", (2, WIDTH)
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        for name, out, width in (("attention.self.query", WIDTH, WIDTH), ("attention.self.key", WIDTH, WIDTH),
                                 ("attention.self.value", WIDTH, WIDTH), ("attention.output.dense", WIDTH, WIDTH),
                                 ("intermediate.dense", INNER, WIDTH), ("output.dense", WIDTH, INNER)):
            yield f"{at}{name}.weight", (out, width)
            yield f"{at}{name}.bias", (out,)
        norms += [f"{at}attention.output.LayerNorm", f"{at}output.LayerNorm"]
    yield "pooler.dense.weight", (WIDTH, WIDTH)
    yield "pooler.dense.bias", (WIDTH,)
    for norm in norms:
        yield f"{norm}.weight", (WIDTH,)
        yield f"{norm}.bias", (WIDTH,)


def write_model(path):
    path.mkdir()
    config = json.loads((MODELS / "bert/config.json").read_text())
    config |= {"hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": LAYERS, "vocab_size": WORDS}
    (path / "config.json").write_text(json.dumps(config))
    shutil.copy(MODELS / "bert/tokenizer.json", path)
    draw, header, data = random.Random(3), {}, b""
    for name, shape in shapes():
        n = shape[0] * (shape[1] if len(shape) > 1 else 1)
        mean = 1.0 if name.endswith("LayerNorm.weight") else 0.0
        data += struct.pack(f"<{n}f", *(draw.gauss(mean, 0.08) for _ in range(n)))
        header["bert." + name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data) - 4 * n, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def losses(run):
    return [v for (name, _), v in sorted(run.points().items(), key=lambda p: p[0][1]) if name == "train/loss"]


def close_but_rounded(base, task, settings, model):
    fp32, bf16 = (Run(job(base / compute, task, {**settings, "compute": compute}, model)) for compute in ("fp32", "bf16"))
    what = name_of(settings)
    if not check(fp32.finished() and bf16.finished(), what, fp32.why(), bf16.why()):
        return
    a, b = losses(fp32), losses(bf16)
    check(len(a) == len(b) > 5, what, "other steps")
    worst = max(abs(x - y) for x, y in zip(a, b))
    check(0 < worst < 0.05, what, "differs from fp32 by", worst)
    check(abs(a[0] - b[0]) < 0.01, what, "the first loss differs:", a[0], b[0])
    check(bf16.last("started")["fingerprint"]["compute"].startswith("bf16 oneDNN"), bf16.last("started")["fingerprint"])


def threads(base, task, settings, model):
    batch = {**settings, "compute": "bf16", "batch_size": 64}
    one, two = (Run(job(base / f"threads-{n}", task, batch, model, limits={"memory_bytes": 0, "threads": n})) for n in (1, 2))
    check(one.finished() and one.points() == two.points() and one.artifacts() == two.artifacts(), name_of(settings),
          "differs between one thread and two:", one.why(), two.why())


def refused(base, task, model):
    os.environ["NIGHTSWEEP_CPU"] = "portable"
    run = Run(job(base / "refused", task, {"method": "full", "compute": "bf16"}, model))
    del os.environ["NIGHTSWEEP_CPU"]
    check(run.why() == "infeasible: bf16 needs a processor with AVX-512, this one has portable", run.why())


def main():
    with folder() as base:
        model, task = write_model(base / "model"), write_data(base)
        answer = json.loads(subprocess.run([TRAINER, "--doctor"], capture_output=True, text=True, check=True).stdout)["bf16"]
        if not answer.startswith("oneDNN"):
            print("bf16 is not to be had here:", answer)
            run = Run(job(base / "none", task, {"method": "full", "compute": "bf16"}, model))
            check(run.why() == "infeasible: " + answer, run.why())
            return finish()
        refused(base, task, model)
        large = {**task, "train": write_rows(base / "large.jsonl", rows(84, 1))}
        for i, settings in enumerate(METHODS):
            here = base / str(i)
            here.mkdir()
            close_but_rounded(here, task, settings, model)
            threads(here, large, settings, model)
            same(here, task, {**settings, "compute": "bf16"}, model, random.Random(i))
    finish()


if __name__ == "__main__":
    main()
