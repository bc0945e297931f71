"""The text classifiers that are no transformers, in PyTorch: what trainer/models/bilstm.c and text_cnn.c must equal.

Plain modules with the names of our tensors, a sequence at a time, so that padding has no part in anything; PEFT's LoRA attaches to
their linear layers as it does to a transformer's, and Bottlenecks to what goes into the residual sum.
"""
import json, os
from types import SimpleNamespace

import torch
from safetensors.torch import load_file, save_file
from torch import nn


class Config(SimpleNamespace):
    def to_dict(self):
        return dict(self.__dict__)


class Lstm(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.h = h
        for side in ("forward", "backward"):
            setattr(self, f"{side}_input", nn.Linear(d, 4 * h))
            setattr(self, f"{side}_recurrent", nn.Linear(h, 4 * h))
        self.output = nn.Linear(2 * h, d)
        self.norm = nn.LayerNorm(d)

    def side(self, x, name):
        gates, recurrent = getattr(self, f"{name}_input")(x), getattr(self, f"{name}_recurrent")
        h = c = x.new_zeros(self.h)
        out = [None] * len(x)
        for t in range(len(x)) if name == "forward" else reversed(range(len(x))):
            i, f, g, o = (gates[t] + recurrent(h)).chunk(4)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            out[t] = h
        return torch.stack(out)

    def forward(self, x):
        return self.norm(x + self.output(torch.cat([self.side(x, "forward"), self.side(x, "backward")], 1)))


class Window(nn.Module):
    def __init__(self, d, inner, size):
        super().__init__()
        self.size = size
        self.window = nn.Linear(size * d, inner)
        self.output = nn.Linear(inner, d)
        self.norm = nn.LayerNorm(d)

    def forward(self, x):
        w = self.size // 2
        padded = nn.functional.pad(x, (0, 0, w, w))
        windows = torch.stack([padded[t:t + self.size].flatten() for t in range(len(x))])
        return self.norm(x + self.output(torch.relu(self.window(windows))))


class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = c = Config(use_cache=False, **config)
        self.embedding = nn.Embedding(c.vocab_size, c.hidden_size)
        self.layers = nn.ModuleList(Lstm(c.hidden_size, c.inner_size) if c.model_type == "bilstm" else
                                    Window(c.hidden_size, c.inner_size, c.kernel_size) for _ in range(c.num_hidden_layers))
        self.classifier = nn.Linear(c.hidden_size, c.num_labels)

    def one(self, ids):
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        return self.classifier(x.mean(0))

    def forward(self, input_ids=None, attention_mask=None, **_):
        logits = [self.one(ids[:int(mask.sum())]) for ids, mask in zip(input_ids, attention_mask)]
        return SimpleNamespace(logits=torch.stack(logits))

    def save(self, folder):
        os.makedirs(folder, exist_ok=True)
        save_file({n: p.detach().contiguous() for n, p in self.named_parameters()}, f"{folder}/model.safetensors")
        json.dump({k: v for k, v in self.config.to_dict().items() if k != "use_cache"}, open(f"{folder}/config.json", "w"), indent=1)


def load(folder):
    model = Stack(json.load(open(f"{folder}/config.json")))
    model.load_state_dict(load_file(f"{folder}/model.safetensors"))
    return model


class Adapted(nn.Module):
    """Bottleneck adapters on each layer's own output, as the generator's hand-written ones."""
    def __init__(self, base, hp, bottleneck):
        super().__init__()
        self.base, self.extra, self.auxloss = base, nn.ModuleDict(), None
        for i, layer in enumerate(base.layers):
            adapter = self.extra[f"layers__{i}__output_adapters"] = bottleneck(base.config.hidden_size, hp["bottleneck"], hp["act"])
            layer.output.register_forward_hook(lambda module, x, y, adapter=adapter: y + hp["scale"] * adapter(y))

    def forward(self, **batch):
        return self.base(**batch)
