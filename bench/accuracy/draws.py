"""What a trial draws from its seed, for the peer: order, initial weights, dropout masks. With them both sides do the same run.

Needs build/accuracy/draws.so (bench/accuracy/run.sh makes it).
"""
import ctypes
import pathlib

import numpy
import torch

GOLDEN = 0x9E3779B9  # rows and heads are this far apart in the counter's word for the site
library = ctypes.CDLL(str(pathlib.Path(__file__).resolve().parent.parent.parent / "build/accuracy/draws.so"))
library.draws_order.argtypes = [ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32]
library.draws_kept.argtypes = [ctypes.c_uint64] + [ctypes.c_uint32] * 4 + [ctypes.c_void_p, ctypes.c_uint64]
for name in ("normal", "uniform"):
    getattr(library, "draws_" + name).argtypes = [ctypes.c_uint64, ctypes.c_char_p, ctypes.c_double, ctypes.c_void_p, ctypes.c_uint64]
library.draws_site.restype = ctypes.c_uint32


def order(seed, epoch, n):
    out = numpy.empty(n, numpy.uint32)
    library.draws_order(seed, epoch, out.ctypes.data, n)
    return out.tolist()


def fill(tensor, kind, seed, name, scale):
    """Puts the trial's initial values of the tensor called `name` into a torch tensor."""
    values = numpy.empty(tuple(tensor.shape), numpy.float32)
    getattr(library, "draws_" + kind)(seed, name.encode(), scale, values.ctypes.data, values.size)
    with torch.no_grad():
        tensor.copy_(torch.from_numpy(values))


class Dropout:
    """Stands in for torch.nn.functional.dropout in a BERT classifier: the masks of the trial with this seed.

    A forward pass calls it at the embeddings, then in each layer for the probabilities, the attention's output and the
    feed-forward's, then for the pooled rows; `begin` names the step, the examples of the batch and their lengths."""

    def __init__(self, seed, n_layers):
        names = ["bert.embeddings"]
        for layer in range(n_layers):
            names += [f"bert.encoder.layer.{layer}.{place}" for place in ("attention.self", "attention.output", "output")]
        self.sites = [library.draws_site(name.encode()) for name in names + ["classifier"]]
        self.seed = seed

    def begin(self, step, examples, lengths):
        self.step, self.examples, self.lengths, self.calls = step, examples, lengths, 0

    def kept(self, example, site, shape, threshold):
        out = numpy.empty(shape, numpy.uint8)
        library.draws_kept(self.seed, self.step, example, site % 2**32, threshold, out.ctypes.data, out.size)
        return out

    def __call__(self, x, p=0.5, training=True, inplace=False):
        if not training or p == 0:
            return x
        site, threshold = self.sites[self.calls], int(p * 65536 + 0.5)
        self.calls += 1
        mask = numpy.ones(tuple(x.shape), numpy.uint8)
        for b, (example, n) in enumerate(zip(self.examples, self.lengths)):
            if x.dim() == 4:
                for head in range(x.shape[1]):
                    mask[b, head, :n, :n] = self.kept(example, site + head * GOLDEN, (n, n), threshold)
            elif x.dim() == 3:
                for row in range(n):
                    mask[b, row] = self.kept(example, site + row * GOLDEN, x.shape[2], threshold)
            else:
                mask[b] = self.kept(example, site, x.shape[1], threshold)
        return x * torch.from_numpy(mask).float() * float(numpy.float32(1 / (1 - p)))
