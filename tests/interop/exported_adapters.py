"""PEFT loads what `export --format adapters` wrote after a real sweep, and gives the probabilities that the store has.

A small sweep of three methods and two seeds on the golden cases' BERT; of each method the best trial is exported. Its
folder must open with PeftModel.from_pretrained, answer every test item as the trainer did, and carry a model card."""
import json
import os
import pathlib
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")
import peft  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / os.environ.get("BUILD", "build/release") / "nightsweep"
TOLERANCE = 1e-5  # of a probability: float32 sums in another order
METHODS = ["lora", "ia3", "dora"]


def write_data(folder):
    for name, n in (("train", 48), ("validation", 24), ("test", 30)):
        lines = [{"text": " ".join("w%d" % (6 + (7 * i + 3 * k) % 20) for k in range(3 + i % 5)), "label": i % 3} for i in range(n)]
        (folder / (name + ".jsonl")).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "sweep.json").write_text(json.dumps({
        "name": "cards", "seed": 5, "model": "bert", "task": {"kind": "classification", "train": "train.jsonl", "validation": "validation.jsonl",
                                                              "test": "test.jsonl", "text": "text", "label": "label"},
        "settings": {"epochs": 1, "batch_size": 8, "learning_rate": 0.01, "max_tokens": 16}, "parameters": {"method": {"values": METHODS}}, "seeds": 2}))


def stored(db, number):
    n, items = db.execute("SELECT e.n_items, e.items FROM evaluation e JOIN trial t ON t.id = e.trial_id"
                          " WHERE t.number = ? AND e.split = 'test' AND e.is_final", (number,)).fetchone()
    size = len(items) // n
    return torch.tensor([struct.unpack_from("<iif3f", items, size * i)[3:] for i in range(n)])


def answers(base, adapter, rows, tokenizer):
    model = transformers.BertForSequenceClassification.from_pretrained(base, num_labels=3, attn_implementation="eager", dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(model, str(adapter)).eval()
    with torch.no_grad():
        return torch.cat([model(**tokenizer(row["text"], return_tensors="pt", truncation=True, max_length=16, return_token_type_ids=False)).logits.softmax(-1) for row in rows])


def main():
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        shutil.copytree(ROOT / "tests/golden/cases/models/bert", folder / "bert")
        write_data(folder)
        store, out = folder / "cards.db", folder / "out"
        subprocess.run([PROGRAM, "run", "sweep.json", "--store", store, "--quiet"], check=True, cwd=folder)
        subprocess.run([PROGRAM, "export", "cards", "--store", store, "--format", "adapters", "--output", out], check=True)
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "bert/tokenizer.json"))
        rows = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
        db = sqlite3.connect(store)
        found = sorted(out.iterdir())
        for adapter in found:
            number = int(adapter.name.split("-")[1])
            difference = float((answers(folder / "bert", adapter, rows, tokenizer) - stored(db, number)).abs().max())
            card = (adapter / "README.md").read_text()
            lacks = [part for part in ("## Data", "train.jsonl", "## Configuration", "## Scores", "95 %", "## How to load it", "PeftModel", "base_model: \"bert\"") if part not in card]
            if difference > TOLERANCE or lacks:
                bad += 1
                print(f"FAILED: {adapter.name}: probabilities differ by {difference:.2g}; the card lacks {lacks}")
        if len(found) != len(METHODS):
            bad += 1
            print("FAILED: folders", [f.name for f in found])
        print(f"peft: {len(found)} exported adapters opened, {bad} wrong, {len(rows)} answers each")
    sys.exit(bad > 0)


main()
