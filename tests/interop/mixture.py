#!/usr/bin/env python3
"""Experts in the place of feed-forwards against an implementation of the same equations in PyTorch, in double: losses of
training steps, balance losses, capacity, load, overflow and entropy. The model around them is M2M100 of transformers.

Needs $BUILD and a Python with torch and transformers 5.
"""
import math
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

import torch
import transformers
from common import MODELS, Run, check, finish, folder, job, near, write_rows
from safetensors.torch import load_file

END = 5  # </s>, with which decoders start too
STEPS, BATCH = 5, 6
# Float32 beside double over five steps of training; losses of about 4. SGD: AdamW divides by gradients' sizes, and so
# makes steps of what is rounding. A token whose two best experts are nearer than MARGIN may go to either of them, which
# changes all that follows: the comparison ends there.
TOLERANCE, MARGIN = 2e-5, 1e-5
CASES = ({"strata": [4], "expert_top": 1}, {"strata": [4], "expert_top": 2, "expert_capacity": 1},
         {"strata": [2, 2], "expert_top": 2}, {"strata": [2, 1, 3], "expert_top": 2, "expert_capacity": 1.25},
         {"strata": [1, 2], "expert_top": 1, "expert_interval": 1, "balance_weight": 0.3},
         {"strata": [3, 3], "expert_top": 1, "expert_init": "seeded", "expert_inner_size": 20})


def rows(n, seed):
    draw = random.Random(seed)
    words = [[f"w{6 + draw.randrange(40)}" for _ in range(draw.randint(4, 10))] for _ in range(n)]
    return [{"text": " ".join(w), "answer": " ".join(reversed(w[-3:])), "way": draw.choice("ab")} for w in words]


class Mixture(torch.nn.Module):
    """One layer's experts: a loop over gates, every token in the state that says which gate is its next."""

    def __init__(self, tensors, prefix, settings):
        super().__init__()
        self.sizes, self.top = settings["strata"], settings["expert_top"]
        self.capacity, self.prefix = settings.get("expert_capacity", 0), prefix
        self.own = torch.nn.ParameterDict()
        for key, value in tensors.items():
            if key.startswith(prefix + ".smoe."):
                self.own[key[len(prefix) + 6:].replace(".", "_")] = torch.nn.Parameter(value.double())
        self.names = [(s, e) for s, size in enumerate(self.sizes) for e in range(size)]  # all experts in order
        self.reset()

    def reset(self):
        self.tokens = self.passes = self.choices = self.overflowed = 0
        self.entropy, self.load, self.loss, self.margin = 0.0, [0] * len(self.names), [], 1.0

    def expert(self, index, x):
        stratum, e = self.names[index]
        w = {part: self.own[f"e{stratum + 1}_{e}_{part}"] for part in ("fc1_weight", "fc1_bias", "fc2_weight", "fc2_bias")}
        return torch.relu(x @ w["fc1_weight"].T + w["fc1_bias"]) @ w["fc2_weight"].T + w["fc2_bias"]

    def forward(self, x, h):
        """x, its norm: (tokens, width); what is added to x."""
        start, state, losses = x, torch.zeros(len(x), dtype=torch.long), []
        self.tokens += len(x)
        for gate in range(len(self.sizes)):
            here = torch.nonzero(state == gate)[:, 0]
            if len(here) == 0:
                continue
            read = h[here] if gate == 0 else torch.nn.functional.layer_norm(
                x[here], x.shape[1:], self.own[f"ln{gate + 1}_weight"], self.own[f"ln{gate + 1}_bias"], 1e-5)
            first = sum(self.sizes[:gate])
            p = torch.softmax(read @ self.own[f"g{gate + 1}_weight"].T, -1)
            seen, top = p.shape[1], min(self.top, p.shape[1])
            best = torch.topk(p, top, -1).indices
            ranked = torch.topk(p, min(top + 1, seen), -1).values.detach()
            if ranked.shape[1] > 1:
                self.margin = min(self.margin, float((ranked[:, :-1] - ranked[:, 1:]).min()))
            room = max(1, int(self.capacity * math.ceil(len(here) / seen))) if self.training and self.capacity else len(here)
            used, keeps = [0] * seen, torch.zeros(len(here), top, dtype=torch.bool)
            for k in range(top):
                for i in range(len(here)):
                    keeps[i, k] = used[best[i, k]] < room
                    used[best[i, k]] += 1
            g = p.gather(1, best) * keeps
            if top == 2:
                g = g / g.sum(-1, keepdim=True).clamp(min=1e-12)
            update = torch.zeros_like(x)
            for e in range(seen):
                for k in range(top):
                    mine = torch.nonzero((best[:, k] == e) & keeps[:, k])[:, 0]
                    if len(mine):
                        update = update.index_add(0, here[mine], g[mine, k, None] * self.expert(first + e, read[mine]))
                        self.load[first + e] += len(mine)
            x = x + update
            share = torch.nn.functional.one_hot(best[:, 0], seen).double().mean(0)
            losses.append(seen * (share * p.mean(0)).sum())
            state = state.clone()
            state[here] = torch.tensor([self.names[first + int(b)][0] + 1 for b in best[:, 0]])
            self.passes += len(here)
            self.choices += keeps.numel()
            self.overflowed += int((~keeps).sum())
            self.entropy += float(-(p * p.log()).sum())
        self.loss.append(sum(losses) / len(losses))
        return x - start


class Instead(torch.nn.Module):
    """In fc1's place: the mixture, on the tokens that are no padding."""

    def __init__(self, mixture, layer, masks, side):
        super().__init__()
        self.mixture, self.masks, self.side, self.residual = mixture, masks, side, None
        layer.final_layer_norm.register_forward_pre_hook(lambda _, inputs: setattr(self, "residual", inputs[0]))

    def forward(self, h):
        mask = self.masks[self.side].bool()
        out = torch.zeros_like(h)
        out[mask] = self.mixture(self.residual[mask], h[mask])
        return out


def build(base, tensors, settings):
    model = transformers.M2M100ForConditionalGeneration.from_pretrained(base).double()
    model.eval()
    masks, mixtures = {}, []
    for side, stack in (("encoder", model.model.encoder.layers), ("decoder", model.model.decoder.layers)):
        for i, layer in enumerate(stack):
            prefix = f"model.{side}.layers.{i}"
            if not any(key.startswith(prefix + ".smoe.") for key in tensors):
                continue
            mixtures.append(Mixture(tensors, prefix, settings))
            layer.fc1 = Instead(mixtures[-1], layer, masks, side)
            layer.fc2, layer.activation_fn = torch.nn.Identity(), torch.nn.Identity()
    return model, masks, mixtures


def batch_loss(model, masks, mixtures, vocabulary, items, weight):
    texts = [[vocabulary[w] for w in item["text"].split()] + [END] for item in items]
    answers = [[vocabulary[w] for w in item["answer"].split()] + [END] for item in items]
    pad = lambda lists, fill: torch.tensor([ids + [fill] * (max(map(len, lists)) - len(ids)) for ids in lists])
    labels = pad(answers, -100)
    masks["encoder"], masks["decoder"] = pad([[1] * len(t) for t in texts], 0), (labels != -100).long()
    decoder = pad([[END] + a[:-1] for a in answers], 0)
    for mixture in mixtures:
        mixture.loss = []
    logits = model(input_ids=pad(texts, 0), attention_mask=masks["encoder"], decoder_input_ids=decoder,
                   decoder_attention_mask=masks["decoder"]).logits
    loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100)
    balances = [m.loss[0] for m in mixtures]
    return loss, loss + weight * sum(balances), float(sum(balances)) / len(balances)


def measured(mixtures):
    total = lambda name: sum(getattr(m, name) for m in mixtures)
    return {"capacity": total("passes") / total("tokens"), "expert_overflow": total("overflowed") / total("choices"),
            "gate_entropy": total("entropy") / total("passes")}


def compare(base, task, train, validation, settings):
    what, weight = json.dumps(settings), settings.get("balance_weight", 0.01)
    full = {"method": ["full", "smoe"], "expert_kind": "feed_forward", "order": "file", "batch_size": BATCH, "dropout": 0,
            "attention_dropout": 0, "weight_decay": 0, "clip": 0, "optimizer": "sgd", "momentum": 0, "schedule": "constant", "warmup": 0, **settings}
    start = Run(job(base / "start", task, {**full, "steps": 1, "learning_rate": 1e-30}, "m2m"))
    run = Run(job(base / "run", task, {**full, "steps": STEPS, "learning_rate": 0.01}, "m2m"))
    if not check(start.finished() and run.finished(), what, start.why(), run.why()):
        return
    points = run.points()
    tensors = load_file(base / "start/adapter/smoe/tensors.safetensors")
    model, masks, mixtures = build(MODELS / "m2m", tensors, settings)
    vocabulary = json.loads((MODELS / "m2m/tokenizer.json").read_text())["model"]["vocab"]
    trained = list(dict.fromkeys(p for p in model.parameters()))
    optimizer = torch.optim.SGD(trained, lr=0.01)
    check(sum(p.numel() for p in trained) == run.last("started")["trained_parameters"], what, "trained parameters",
          sum(p.numel() for p in trained), run.last("started")["trained_parameters"])
    for step in range(STEPS):
        first = step * BATCH % len(train)
        for mixture in mixtures:
            mixture.train()
            mixture.reset()
        _, loss, balance = batch_loss(model, masks, mixtures, vocabulary, train[first:first + BATCH], weight)
        if min(m.margin for m in mixtures) < MARGIN:
            check(step > 0, what, "the first step is not to be decided")
            print(what, f"compared up to step {step}")
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for name, value in {"loss": float(loss), "balance_loss": balance, **measured(mixtures)}.items():
            ours = points[f"train/{name}", step + 1]
            check(near(ours, value, TOLERANCE, 1e-6), what, f"step {step + 1}: {name}", ours, value)
    evaluate(model, masks, mixtures, vocabulary, validation, weight, points, what)


def evaluate(model, masks, mixtures, vocabulary, items, weight, points, what):
    """The last validation: no expert is ever full; each layer's capacity and load, and capacity by task."""
    for mixture in mixtures:
        mixture.eval()
        mixture.reset()
    with torch.no_grad():
        losses = [batch_loss(model, masks, mixtures, vocabulary, [item], weight)[0] * (len(item["answer"].split()) + 1)
                  for item in items]
    value = float(sum(losses)) / sum(len(item["answer"].split()) + 1 for item in items)
    if min(m.margin for m in mixtures) < MARGIN:
        return
    check(near(points["validation/loss", STEPS], value, TOLERANCE), what, "validation loss", points["validation/loss", STEPS], value)
    best = max(step for name, step in points if name.startswith("validation/expert_load/"))
    if best != STEPS:
        return  # its details are those of an earlier step
    for name, value in measured(mixtures).items():
        check(near(points[f"validation/{name}", STEPS], value, 1e-4, 1e-9), what, f"validation {name}", value)
    for mixture in mixtures:
        side, number = mixture.prefix.split(".")[1], int(mixture.prefix.split(".")[-1])
        layer = number + (2 if side == "decoder" else 0)
        check(near(points[f"validation/capacity/layer/{layer}", STEPS], mixture.passes / mixture.tokens, 1e-9), what, "layer", layer)
        for (stratum, e), load in zip(mixture.names, mixture.load):
            ours = points[f"validation/expert_load/layer{layer}/{stratum + 1}.{e}", STEPS]
            check(near(ours, load / sum(mixture.load), 1e-9, 1e-12), what, f"load of {stratum + 1}.{e} in layer {layer}", ours)


def main():
    torch.set_num_threads(1)
    train, validation = rows(STEPS * BATCH, 1), rows(14, 2)
    with folder() as base:
        task = {"kind": "seq2seq", "text": "text", "target": "answer", "tasks": "way",
                "train": write_rows(base / "train.jsonl", train), "validation": write_rows(base / "validation.jsonl", validation)}
        for settings in CASES:
            compare(base, task, train, validation, settings)
    print(f"mixtures: {len(CASES)} with PyTorch's figures")
    finish()


main()
