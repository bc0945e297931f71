#!/usr/bin/env python3
"""Makes the data of the hypernetwork sweeps out of data/{movies,products,tweets,editorials} (tools/fetch.py data).

    tools/make_multitask.py      data/multitask/{train,validation,test}.jsonl   three tasks, told apart by `source`
                                 data/multitask/unseen-{train,validation,test}.jsonl   a fourth: editorials

The same question everywhere (is it meant well?), asked of other texts. Rows are taken from the top of the files.
"""
import json
import pathlib
import random

ROOT = pathlib.Path(__file__).resolve().parent.parent
SEEN, UNSEEN = ("movies", "products", "tweets"), ("editorials",)
ROWS = {"train": 800, "validation": 250, "test": 300}  # of a task
UNSEEN_ROWS = {"train": 64, "validation": 250, "test": 400}


def read(source, split, n):
    lines = (ROOT / "data" / source / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [{**json.loads(line), "source": source} for line in lines[:n]]


def write(name, items):
    random.Random(name).shuffle(items)
    path = ROOT / "data/multitask" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items), encoding="utf-8")
    print(f"data/multitask/{name}: {len(items)} rows")


def main():
    for split in ROWS:
        write(f"{split}.jsonl", [row for source in SEEN for row in read(source, split, ROWS[split])])
        write(f"unseen-{split}.jsonl", [row for source in UNSEEN for row in read(source, split, UNSEEN_ROWS[split])])
    (ROOT / "data/multitask/README.md").write_text("---\nlicense: mit\n---\nParts of the other data sets, by tools/make_multitask.py.\n")


if __name__ == "__main__":
    main()
