#!/usr/bin/env python3
"""Vocabularies against the tokenizers library, and their extension against numpy: the same merges, the same ids, the same
vectors to the rounding of float32. BUILD: the folder of the programs."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
from safetensors.numpy import load_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("BUILD", "build/release")).resolve()
TAGS = ["<2alva>", "<2berin>", "<2celin>", "<2dovin>"]


def run(*words, **more):
    return subprocess.run([str(w) for w in words], check=True, capture_output=True, text=True, **more).stdout


def learn(folder, texts, size):
    folder.mkdir()
    run(BUILD / "nightsweep", "vocabulary", texts, "--columns", "text,target", "--special", ",".join(TAGS), "--size", size, "--output", folder / "tokenizer.json")
    return json.load(open(folder / "tokenizer.json"))


def rows(path):
    return [json.loads(line) for line in open(path)]


def compare_vocabulary(folder, texts, size):
    ours = learn(folder, texts, size)
    theirs = Tokenizer(models.BPE(unk_token="<unk>"))
    theirs.normalizer = normalizers.NFC()
    theirs.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    words = [text for row in rows(texts) for text in (row["text"].split(" ", 1)[1], row["target"])]
    theirs.train_from_iterator(words, trainers.BpeTrainer(vocab_size=size, special_tokens=["<s>", "<pad>", "</s>", "<unk>"] + TAGS, show_progress=False))
    expected = json.loads(theirs.to_str())["model"]
    assert ours["model"]["vocab"] == expected["vocab"], "other tokens"
    assert ours["model"]["merges"] == expected["merges"], "other merges"
    print("vocabulary of %d tokens, %d merges: equal" % (size, len(expected["merges"])))


def compare_ids(folder, texts):
    reference = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found = run(BUILD / "nightsweep-trainer", "--tokens", folder, 256, input="\n".join(json.dumps(row["text"]) for row in rows(texts)))
    for row, ids in zip(rows(texts), found.splitlines()):
        assert reference.encode(row["text"]).ids == json.loads(ids), row["text"]
    print("ids of %d texts: equal" % len(found.splitlines()))


def compare_extension(family, donor, output):
    run(BUILD / "nightsweep", "extend", family, donor, "--output", output)
    own, narrow, found = (load_file(f / "model.safetensors")["model.shared.weight"].astype("f8") for f in (family, donor, output))
    old, new = (json.load(open(f / "tokenizer.json"))["model"]["vocab"] for f in (family, donor))
    common = [token for token in new if token in old]
    a, b = numpy.array([narrow[new[t]] for t in common]), numpy.array([own[old[t]] for t in common])
    u, _, v = numpy.linalg.svd(b.T @ a, full_matrices=False)
    expected = numpy.array([own[old[t]] if t in old else (u @ v) @ narrow[i] for t, i in sorted(new.items(), key=lambda x: x[1])])
    difference = numpy.abs(expected - found).max()
    assert difference < 1e-5, difference  # float32 sums of a few hundred products
    print("extension of %d by %d tokens: largest difference %.1e" % (len(old), len(new) - len(common), difference))


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        run(sys.executable, ROOT / "tools/make_languages.py", "data", folder / "data")
        for size in (300, 800):
            compare_vocabulary(folder / str(size), folder / "data/all.jsonl", size)
        compare_ids(folder / "800", folder / "data/test-alva-dovin.jsonl")
        learn(folder / "family", folder / "data/related.jsonl", 400)
        learn(folder / "donor", folder / "data/all.jsonl", 500)
        for model, width in (("family", 48), ("donor", 20)):
            run(sys.executable, ROOT / "tools/make_languages.py", "model", folder / model, width)
        compare_extension(folder / "family", folder / "donor", folder / "extended")


main()
