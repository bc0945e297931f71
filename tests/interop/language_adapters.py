#!/usr/bin/env python3
"""Adapters of language models as the trainer leaves them, opened by PEFT: the validation loss must be ours.

Needs $BUILD and a Python with torch, transformers 5 and peft.
"""
import os
import pathlib
import random
import sys
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support/trainer"))
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["TQDM_DISABLE"] = "1"
warnings.filterwarnings("ignore")
import json

import peft
import torch
import transformers
from common import MODELS, Run, check, finish, folder, job, write_rows

END = 5 # </s>, with which decoders start too
METHODS = ({"method": "lora", "rank": 4},
           {"method": "lora", "rank": 4, "targets": ["c_proj", "o_proj", "fc2", "out_proj"], "rank_stabilized": True},
           {"method": "dora", "rank": 3}, {"method": "ia3"}, {"method": "vera", "rank": 4},
           {"method": "adalora", "rank": 4, "target_rank": 2}, {"method": "prompt", "prompt_length": 3},
           {"method": "p_tuning", "prompt_length": 3}, {"method": "prefix", "prompt_length": 3},
           {"method": "prefix", "prompt_length": 2, "prefix_mlp": True})


def rows(n, seed):
    draw = random.Random(seed)
    words = [[f"w{6 + draw.randrange(40)}" for _ in range(draw.randint(4, 10))] for _ in range(n)]
    return [{"text": " ".join(w[:2]), "answer": " ".join(w[2:])} for w in words]


def loss_of(model, vocabulary, items, is_seq2seq):
    """Mean −log p of the answers' tokens and the end."""
    total = count = 0
    for item in items:
        text, answer = ([vocabulary[w] for w in item[key].split()] for key in ("text", "answer"))
        answer += [END]
        ids = text + ([END] if is_seq2seq else answer)
        inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
        if is_seq2seq:
            inputs["decoder_input_ids"] = torch.tensor([[END] + answer[:-1]])
        with torch.no_grad():
            logits = model(**inputs).logits[0]
        if not is_seq2seq: # a prompt's rows lie in front; each row predicts the token behind it
            logits = logits[-len(answer) - 1:-1]
        total += float(torch.nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="sum"))
        count += len(answer)
    return total / count


def main():
    opened = 0
    with folder() as base:
        task = {"text": "text", "target": "answer", "train": write_rows(base / "train.jsonl", rows(60, 1)),
                "validation": write_rows(base / "validation.jsonl", rows(12, 2))}
        for name in ("gpt2", "llama", "llamab", "m2m"):
            is_seq2seq = name == "m2m"
            kind = transformers.AutoModelForSeq2SeqLM if is_seq2seq else transformers.AutoModelForCausalLM
            vocabulary = json.loads((MODELS / name / "tokenizer.json").read_text())["model"]["vocab"]
            for settings in METHODS:
                what = f"{name}, {settings}:"
                run = Run(job(base / "out", {**task, "kind": "seq2seq" if is_seq2seq else "causal"},
                              {**settings, "epochs": 3, "learning_rate": 0.01, "dropout": 0, "attention_dropout": 0}, name))
                if not check(run.finished(), what, run.why()):
                    continue
                ours = run.finished()["objectives"]["validation/loss"]
                model = kind.from_pretrained(MODELS / name, attn_implementation="eager", dtype=torch.float32)
                model = peft.PeftModel.from_pretrained(model, str(base / "out/adapter")).eval()
                theirs = loss_of(model, vocabulary, rows(12, 2), is_seq2seq)
                # float32 sums in another order, through two layers and a mean over tokens
                check(abs(ours - theirs) < 2e-5 * abs(theirs), what, "loss", ours, "PEFT's", theirs)
                opened += 1
    print(f"peft: {opened} adapters of language models opened")
    finish()


main()
