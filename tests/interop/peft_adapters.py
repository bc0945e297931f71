"""PEFT loads the adapters that golden-run saved after training, and the model gives the same logits.

For every golden case of PEFT's: $BUILD/golden/<case>/adapter is read with PeftModel.from_pretrained on the case's base model;
the logits of eval.jsonl must equal the trainer's own (result.json, eval_final). Float32 sums in another order: 2e-5."""
import json
import os
import pathlib
import subprocess
import sys
import warnings

warnings.filterwarnings("ignore")
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CASES = ROOT / "tests/golden/cases"
BUILD = ROOT / os.environ.get("BUILD", "build/release")
sys.path.insert(0, str(CASES))

import make_golden as golden  # noqa: E402
import peft  # noqa: E402
import torch  # noqa: E402

TOLERANCE = 2e-5


def last_logits(model, rows, task):
    """What result.json holds: class logits, or those at the last real position of each row."""
    batch, labels = golden.collate(rows, task)
    with torch.no_grad():
        logits = model(**batch).logits
    if task == "cls":
        return logits
    virtual = logits.shape[1] - labels.shape[1]
    at = [virtual + len(row["input_ids"]) - 1 if task == "clm" else len(row["labels"]) - 1 for row in rows]
    return logits[torch.arange(len(rows)), torch.tensor(at)]


def difference(case, folder, out):
    model_folder = folder / case["model_dir"]
    model_type = json.loads((model_folder / "config.json").read_text())["model_type"]
    base = golden.load_model(str(model_folder), {"m2m_100": "m2m"}.get(model_type, model_type))
    model = peft.PeftModel.from_pretrained(base, str(out / "adapter")).eval()
    rows = [json.loads(line) for line in (folder / "eval.jsonl").read_text().splitlines()]
    ours = torch.tensor(json.loads((out / "result.json").read_text())["eval_final"]["logits"])
    theirs = last_logits(model, rows, case["task"])
    return float(((theirs - ours).abs() / (1 + ours.abs())).max())


def main():
    subprocess.run([BUILD / "golden-run", "--cases", CASES, "--out", BUILD / "golden"], check=True)
    n = bad = 0
    for path in sorted(CASES.glob("*/case.json")):
        case = json.loads(path.read_text())
        # Layer norms and layers trained whole beside LoRA are saved as tensors of the base model, not as PEFT's.
        if case["engine"] != "peft" or "extra_trainable" in case or case["peft"]["peft_type"] == "LN_TUNING":
            continue
        found = difference(case, path.parent, BUILD / "golden" / case["name"])
        n += 1
        if not found <= TOLERANCE:
            bad += 1
            print(f"FAILED: {case['name']}: logits differ by {found:.2g}")
    print(f"peft: {n} adapters loaded, {bad} with other logits")
    sys.exit(bad > 0 or n == 0)


main()
