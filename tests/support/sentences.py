#!/usr/bin/env python3
"""Two made-up languages of sentiment over the words that the tiny tokenizer knows.

    sentences.py FOLDER SEED SPLIT=ROWS...        writes FOLDER/SPLIT.jsonl
"""
import json
import pathlib
import random
import sys

CASES = pathlib.Path(__file__).resolve().parents[1] / "golden/cases"
vocabulary = json.loads((CASES / "models/bert/tokenizer.json").read_text())["model"]["vocab"]
words = [w for w in vocabulary if w[0] not in "[<"]
folder, draw = pathlib.Path(sys.argv[1]), random.Random(int(sys.argv[2]))
for split, rows in (argument.split("=") for argument in sys.argv[3:]):
    with open(folder / f"{split}.jsonl", "w") as out:
        for _ in range(int(rows)):
            label = draw.randrange(2)
            text = [draw.choice(words[:12] if (draw.random() < 0.75) == (label == 0) else words[12:24])
                    for _ in range(draw.randrange(3, 10))]
            out.write(json.dumps({"text": " ".join(text), "label": label}) + "\n")
