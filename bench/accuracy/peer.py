#!/usr/bin/env python3
"""The peer of bench/accuracy: the same run in PyTorch + PEFT, with the same data and hyperparameters.

    peer.py METHOD SEED OUTPUT.json        METHOD: lora or full

Movie data, MiniLM, 2 epochs, batch 32, 64 tokens, AdamW (weight decay 0.01, none on biases and layer norms), linear
schedule with 6 % warm-up, gradients clipped at 1, the model's own dropout. LoRA: rank 8, alpha 16, query and value,
2e-3; full: 1e-4. Of the two epochs the better one on validation is kept, as the sweep does. Writes accuracies and the
probability of the positive label for every test row.
"""
import copy
import json
import math
import pathlib
import sys
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
EPOCHS, BATCH, TOKENS, WARMUP, DECAY, CLIP = 2, 32, 64, 0.06, 0.01, 1.0
RATES = {"lora": 2e-3, "full": 1e-4}


def rows(split):
    lines = (ROOT / "data" / "movies" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [(row["text"], row["label"]) for row in map(json.loads, lines)]


def encode(tokenizer, batch):
    encoded = tokenizer([text for text, _ in batch], truncation=True, max_length=TOKENS, padding=True, return_tensors="pt")
    return encoded, torch.tensor([label for _, label in batch])


@torch.no_grad()
def probabilities(model, tokenizer, data):
    model.eval()
    out = []
    for start in range(0, len(data), 64):
        encoded, _ = encode(tokenizer, data[start:start + 64])
        out += model(**encoded).logits.softmax(-1)[:, 1].tolist()
    return out


def accuracy(predicted, data):
    return sum((p > 0.5) == bool(label) for p, (_, label) in zip(predicted, data)) / len(data)


def groups(model):
    plain = [p for n, p in model.named_parameters() if p.requires_grad and (n.endswith("bias") or "LayerNorm" in n)]
    decayed = [p for n, p in model.named_parameters() if p.requires_grad and not (n.endswith("bias") or "LayerNorm" in n)]
    return [{"params": decayed, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}]


def main():
    method, seed, output = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    folder = ROOT / "models" / "minilm"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    if method == "lora":
        model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules=["query", "value"]))
    train, validation, test = rows("train"), rows("validation"), rows("test")
    per_epoch = math.ceil(len(train) / BATCH)
    total, warmup = EPOCHS * per_epoch, math.ceil(WARMUP * EPOCHS * per_epoch)
    optimizer = torch.optim.AdamW(groups(model), lr=RATES[method])
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: s / max(1, warmup) if s < warmup else max(0.0, (total - s) / max(1, total - warmup)))
    start, best = time.time(), None
    for _ in range(EPOCHS):
        model.train()
        order = torch.randperm(len(train)).tolist()
        for first in range(0, len(train), BATCH):
            encoded, labels = encode(tokenizer, [train[i] for i in order[first:first + BATCH]])
            loss = model(**encoded, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], CLIP)
            optimizer.step()
            schedule.step()
        score = accuracy(probabilities(model, tokenizer, validation), validation)
        if best is None or score > best[0]:
            best = (score, copy.deepcopy(model.state_dict()))
    model.load_state_dict(best[1])
    predicted = probabilities(model, tokenizer, test)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({
        "method": method, "seed": seed, "validation_accuracy": best[0], "test_accuracy": accuracy(predicted, test),
        "seconds": time.time() - start, "test_probabilities": predicted}))
    print(f"{method} seed {seed}: validation {best[0]:.4f}, test {accuracy(predicted, test):.4f}", flush=True)


if __name__ == "__main__":
    main()
