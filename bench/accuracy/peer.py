#!/usr/bin/env python3
"""The peer of bench/accuracy: the same run in PyTorch + PEFT, with the same data and hyperparameters.

    peer.py METHOD SEED OUTPUT.json        METHOD: lora or full

Movie data, MiniLM, 2 epochs, batch 32, 64 tokens, AdamW (weight decay 0.01, none on biases and layer norms), linear
schedule with 6 % warm-up, gradients clipped at 1, the model's own dropout. LoRA: rank 8, alpha 16, query and value,
2e-3; full: 1e-4. Of the two epochs the better one on validation is kept, as the sweep does. Order of the rows, initial
weights and dropout masks are those that the trial with this seed draws (draws.py), so the two sides do the same run;
with DRAWS=own PyTorch draws its own. Writes accuracies and the probability of the positive label for every test row.
"""
import copy
import json
import math
import os
import pathlib
import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RUN = {"epochs": 2, "batch_size": 32, "max_tokens": 64, "warmup": 0.06, "weight_decay": 0.01, "clip": 1.0}
RATES = {"lora": 2e-3, "full": 1e-4}
LORA_A = ".lora_A.weight"  # what the trial calls the tensor below its site


def rows(split):
    lines = (ROOT / "data" / "movies" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [(row["text"], row["label"]) for row in map(json.loads, lines)]


def encode(tokenizer, batch):
    encoded = tokenizer([text for text, _ in batch], truncation=True, max_length=RUN["max_tokens"], padding=True, return_tensors="pt")
    return encoded, torch.tensor([label for _, label in batch])


@torch.no_grad()
def probabilities(model, tokenizer, data):
    model.eval()
    out, by_length = [0.0] * len(data), sorted(range(len(data)), key=lambda i: len(data[i][0]))
    for start in range(0, len(data), 32):
        rows_here = by_length[start:start + 32]
        encoded, _ = encode(tokenizer, [data[i] for i in rows_here])
        for i, p in zip(rows_here, model(**encoded).logits.softmax(-1)[:, 1].tolist()):
            out[i] = p
    return out


def accuracy(predicted, data):
    return sum((p > 0.5) == bool(label) for p, (_, label) in zip(predicted, data)) / len(data)


def backward(model, tokenizer, data, batch, dropout, step):
    """The gradient of the batch's mean loss, a quarter at a time in order of length: the same sum with less padding."""
    batch = sorted(batch, key=lambda i: len(data[i][0]))
    quarter = math.ceil(len(batch) / 4)
    for first in range(0, len(batch), quarter):
        part = batch[first:first + quarter]
        encoded, labels = encode(tokenizer, [data[i] for i in part])
        if dropout:
            dropout.begin(step, part, encoded["attention_mask"].sum(1).tolist())
        loss = model(**encoded, labels=labels).loss
        assert not dropout or dropout.calls == len(dropout.sites), "other dropouts than the trial's"
        (loss * (len(part) / len(batch))).backward()


def share_draws(model, seed):
    """The trial's initial weights into the model, and its dropout masks into PyTorch."""
    import draws
    for name, parameter in model.named_parameters():
        if "original_module" in name:
            continue
        if "classifier" in name and name.endswith("weight"):
            draws.fill(parameter.data, "normal", seed, "classifier.weight", model.config.initializer_range)
        elif "classifier" in name:
            parameter.data.zero_()
        elif "lora_A" in name:
            site = name.removeprefix("base_model.model.").split(".lora_A")[0]
            draws.fill(parameter.data, "uniform", seed, site + LORA_A, parameter.shape[1] ** -0.5)
    torch.nn.functional.dropout = draws.Dropout(seed, model.config.num_hidden_layers)
    return torch.nn.functional.dropout, draws.order


def groups(model):
    plain = [p for n, p in model.named_parameters() if p.requires_grad and (n.endswith("bias") or "LayerNorm" in n)]
    decayed = [p for n, p in model.named_parameters() if p.requires_grad and not (n.endswith("bias") or "LayerNorm" in n)]
    return [{"params": decayed, "weight_decay": RUN["weight_decay"]}, {"params": plain, "weight_decay": 0.0}]


def main():
    method, seed, output = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    folder = ROOT / "models" / "minilm"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2, attn_implementation="eager")
    if method == "lora":
        model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules=["query", "value"]))
    dropout, order_of = None, lambda _seed, _epoch, n: torch.randperm(n).tolist()
    if os.environ.get("DRAWS") != "own":
        dropout, order_of = share_draws(model, seed)
    train, validation, test = rows("train"), rows("validation"), rows("test")
    batch_size, total = RUN["batch_size"], RUN["epochs"] * math.ceil(len(train) / RUN["batch_size"])
    warmup = math.ceil(RUN["warmup"] * total)
    optimizer = torch.optim.AdamW(groups(model), lr=RATES[method])
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: s / max(1, warmup) if s < warmup else max(0.0, (total - s) / max(1, total - warmup)))
    best, step = None, 0
    for epoch in range(RUN["epochs"]):
        model.train()
        order = order_of(seed, epoch, len(train))
        for first in range(0, len(train), batch_size):
            optimizer.zero_grad()
            backward(model, tokenizer, train, order[first:first + batch_size], dropout, step)
            step += 1
            torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], RUN["clip"])
            optimizer.step()
            schedule.step()
        score = accuracy(probabilities(model, tokenizer, validation), validation)
        if best is None or score > best[0]:
            best = (score, copy.deepcopy(model.state_dict()))
    model.load_state_dict(best[1])
    predicted = probabilities(model, tokenizer, test)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({
        "method": method, "seed": seed, "run": {**RUN, "learning_rate": RATES[method]},
        "validation_accuracy": best[0], "test_accuracy": accuracy(predicted, test),
        "test_labels": [label for _, label in test], "test_probabilities": predicted}))
    print(f"{method} seed {seed}: validation {best[0]:.4f}, test {accuracy(predicted, test):.4f}", flush=True)


if __name__ == "__main__":
    main()
