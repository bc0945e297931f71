"""Models and texts that both sides of the benchmark read, made once into build/bench: nothing of it is committed.

Texts: real ones (data/movies, data/instructions), chosen so that their lengths follow a log-normal distribution with the
wanted mean and sigma 0.55. BERT-base and GPT-2 have random weights: a step takes as long as with trained ones. SmolLM2's
GGUF file is read by us as it is; the peer, which cannot train on it, gets random weights of the same sizes.
"""
import json
import math
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build/release")).resolve()
WORK = ROOT / "build/bench"
TRAINER = BUILD / "nightsweep-trainer"
MINILM = ROOT / "models/minilm"
SMOLLM2 = ROOT / "models/smollm2"
# Lengths in tokens: mean -> (smallest, largest, texts)
LENGTHS = {20: (5, 64, 4096), 128: (16, 256, 2048), 256: (256, 256, 512)}
MAX_TOKENS = 256
SIGMA = 0.55


def fail(message):
    raise SystemExit(f"bench: {message}")


def need(path, command):
    if not path.exists():
        fail(f"'{path.relative_to(ROOT)}' is missing: `{command}` brings it")
    return path


def read_rows(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def tokens_of(model, texts, most):
    """The ids of every text, as the trainer makes them."""
    said = subprocess.run([TRAINER, "--tokens", model, str(most)], check=True, capture_output=True, text=True,
                          input="".join(json.dumps(text) + "\n" for text in texts)).stdout
    ids = [json.loads(line) for line in said.splitlines()]
    return [line["ids"] if isinstance(line, dict) else line for line in ids]


def drawn_lengths(mean):
    least, most, count = LENGTHS[mean]
    draw = random.Random(7)
    mu = math.log(mean) - SIGMA * SIGMA / 2
    lengths = [min(max(round(draw.lognormvariate(mu, SIGMA)), least), most) for _ in range(count)]
    factor = mean * count / sum(lengths)
    return [min(max(round(n * factor), least), most) for n in lengths]


def short_texts(rows, counts, mean):
    """Rows whose own length is the one drawn; the nearest when there is none."""
    by_length = {}
    for row, n in zip(rows, counts):
        by_length.setdefault(n, []).append(row)
    draw, chosen = random.Random(11), []
    for wanted in drawn_lengths(mean):
        nearest = min(by_length, key=lambda n: abs(n - wanted))
        chosen.append(draw.choice(by_length[nearest]))
    return chosen


def long_texts(rows, counts, mean, special):
    """Rows one behind another until the length drawn is reached."""
    at, chosen = 0, []
    for wanted in drawn_lengths(mean):
        texts, n, label = [], special, rows[at % len(rows)].get("label", 0)
        while n < wanted:
            texts.append(rows[at % len(rows)]["text"])
            n += counts[at % len(rows)] - special
            at += 1
        chosen.append({"text": " ".join(texts), "label": label})
    return chosen


def data_of(mean, model=MINILM):
    """(texts for us, token ids for the peer, mean length): made once for every mean length and tokenizer."""
    WORK.mkdir(parents=True, exist_ok=True)
    is_language = model == SMOLLM2
    ours, theirs = WORK / f"texts-{model.name}-{mean}.jsonl", WORK / f"tokens-{model.name}-{mean}.bin"
    if not theirs.exists():
        if is_language:
            rows = [{"text": f"{row['instruction']} {row['answer']}"}
                    for row in read_rows(need(ROOT / "data/instructions/train.jsonl", "make models-all"))]
        else:
            rows = read_rows(need(ROOT / "data/movies/train.jsonl", "make data"))
        counts = [len(ids) for ids in tokens_of(model, [row["text"] for row in rows], 4 * MAX_TOKENS)]
        rows = short_texts(rows, counts, mean) if mean < 100 else long_texts(rows, counts, mean, 0 if is_language else 2)
        ours.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        ids = tokens_of(model, [row["text"] for row in rows], MAX_TOKENS)
        numbers = [len(ids), *map(len, ids), *(row.get("label", 0) for row in rows), *(i for line in ids for i in line)]
        temporary = theirs.with_suffix(".tmp")
        temporary.write_bytes(struct.pack(f"<{len(numbers)}i", *numbers))
        temporary.rename(theirs)
    with open(theirs, "rb") as file:
        n = struct.unpack("<i", file.read(4))[0]
        return ours, theirs, sum(struct.unpack(f"<{n}i", file.read(4 * n))) / n


MAKE = """
import sys, torch
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
torch.manual_seed(0); kind, out, sizes = sys.argv[1], sys.argv[2], eval(sys.argv[3])
{"bert": lambda: BertForSequenceClassification(BertConfig(num_labels=2, **sizes)),
 "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**sizes)),
 "llama": lambda: LlamaForCausalLM(LlamaConfig(**sizes))}[kind]().save_pretrained(out)
"""
SIZES = {
    "bert-base": ("bert", {}),
    "gpt2": ("gpt2", {}),
    "smollm2-random": ("llama", {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
                                 "num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 2048,
                                 "tie_word_embeddings": True, "rms_norm_eps": 1e-5}),
}
# Of the growth curves: MiniLM's width with other numbers of layers.
for n_layers in (1, 2, 4, 8, 16):
    SIZES[f"bert-{n_layers}"] = ("bert", {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": n_layers,
                                         "num_attention_heads": 12})
SIZES["bert-2048"] = ("bert", {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 12,
                              "max_position_embeddings": 2048})


def random_model(name, python):
    """A folder with random weights of a known architecture and MiniLM's tokenizer."""
    folder = WORK / "models" / name
    if not (folder / "tokenizer.json").exists():
        kind, sizes = SIZES[name]
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([python, "-c", MAKE, kind, folder, repr(sizes)], check=True, stdout=sys.stderr)
        shutil.copy(need(MINILM / "tokenizer.json", "make models"), folder)
    return folder
