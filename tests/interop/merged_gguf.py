#!/usr/bin/env python3
"""nightsweep merge in half precision and as GGUF: read by transformers and by the gguf package, equal to base and adapter.

    merged_gguf.py      (needs $BUILD; torch, transformers, tokenizers, gguf, numpy)

A tiny random Llama and Qwen2 with a byte-level tokenizer, LoRA trained for a few steps, merged to F32, F16 and Q8_0. Losses of
new rows by our own reader of each file: within 1e-5 of base and adapter in F32, 1e-3 in F16; of Q8_0 the difference is said. The gguf
package must read the same tensors, transformers the half-precision folder.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import gguf
import numpy
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build/release")).absolute()
TEXTS = [f"The {a} {b} the {c} {n} times." for n, (a, b, c) in enumerate(
    (a, b, c) for a in ("cat", "dog", "bird") for b in ("saw", "heard", "lost") for c in ("river", "stone", "moon"))]
failures = 0


def said(what, is_good, detail=""):
    global failures
    print(f"{'ok    ' if is_good else 'WRONG '} {what} {detail}", flush=True)
    failures += not is_good


def nightsweep(*arguments, fails=False):
    done = subprocess.run([BUILD / "nightsweep", *map(str, arguments)], capture_output=True, text=True, check=False)
    if (done.returncode != 0) != fails:
        sys.exit(f"nightsweep {arguments}: {done.stdout}{done.stderr}")
    return done.stderr if fails else done.stdout


def make_model(folder, family):
    tokenizer = Tokenizer(models.BPE())
    cut = [pre_tokenizers.ByteLevel(add_prefix_space=False)]
    if family == "qwen2":
        pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
        from tokenizers import Regex, normalizers
        tokenizer.normalizer = normalizers.NFC()
        cut = [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cut)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                                             special_tokens=["<|end|>"], show_progress=False))
    config_class, model_class = ((transformers.LlamaConfig, transformers.LlamaForCausalLM) if family == "llama" else
                                 (transformers.Qwen2Config, transformers.Qwen2ForCausalLM))
    torch.manual_seed(3)
    model = model_class(config_class(vocab_size=304, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                                     intermediate_size=96, max_position_embeddings=64, bos_token_id=0, eos_token_id=0,
                                     tie_word_embeddings=family == "qwen2"))
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))


def losses(base, definition, trial, data):
    return [json.loads(line)["loss"] for line in nightsweep("predict", f"{definition}/{trial}", "--store", base / "s.db", "--input", data,
                                                            "--json").splitlines()]


def sweep(base, name, model, method, settings):
    path = base / f"{name}.json"
    path.write_text(json.dumps(dict(
        name=name, model=str(model), task=dict(kind="causal", train="rows.jsonl", validation="rows.jsonl", text="text"),
        settings=dict(dict(batch_size=8, max_tokens=32), **settings), parameters=dict(method=dict(values=[method])))))
    nightsweep("run", path, "--store", base / "s.db", "--quiet")


def family(base, name):
    model, data = base / name, base / "rows.jsonl"
    make_model(model, name)
    data.write_text("".join(json.dumps(dict(text=t)) + "\n" for t in TEXTS))
    sweep(base, f"{name}-lora", model, "lora", dict(rank=4, steps=12, learning_rate=0.02, targets=["q_proj", "k_proj", "v_proj", "down_proj"]))
    expected = losses(base, f"{name}-lora", 1, data)
    for form, kind, limit in (("safetensors", "f16", 1e-3), ("gguf", "f32", 1e-5), ("gguf", "f16", 1e-3), ("gguf", "q8_0", None)):
        output = base / f"{name}-{form}-{kind}"
        nightsweep("merge", f"{name}-lora/1", "--store", base / "s.db", "--output", output, "--format", form, "--type", kind)
        sweep(base, output.name.replace("_", "-"), output, "layer_norm", dict(steps=1, learning_rate=1e-30))
        found = losses(base, output.name.replace("_", "-"), 1, data)
        off = max(abs(a - b) for a, b in zip(found, expected))
        size = sum(f.stat().st_size for f in output.iterdir() if f.suffix in (".gguf", ".safetensors"))
        said(f"{name} {form} {kind}: losses of {len(found)} rows", len(found) == len(expected) and (limit is None or off <= limit),
             f"off by at most {off:.1e}, {size} bytes")
    half = transformers.AutoModelForCausalLM.from_pretrained(base / f"{name}-safetensors-f16", dtype=torch.float32)
    tensors = {n.replace("model.layers.", "blk."): p.detach().numpy() for n, p in half.named_parameters()}
    reader = gguf.GGUFReader(base / f"{name}-gguf-f16" / "model.gguf")
    read = {t.name: gguf.dequantize(t.data, t.tensor_type) for t in reader.tensors}
    up = max(float(numpy.abs(read[f"blk.{i}.ffn_up.weight"] - tensors[f"blk.{i}.mlp.up_proj.weight"]).max()) for i in range(2))
    said(f"{name}: the gguf package reads {len(read)} tensors, transformers the folder", up == 0 and len(read) >= 2 * 9 + 2)
    ids = transformers.PreTrainedTokenizerFast(tokenizer_file=str(model / "tokenizer.json"))
    batch = torch.tensor([ids.encode(TEXTS[3]) + [0]])
    with torch.no_grad():
        loss = float(half(input_ids=batch, labels=batch).loss)
    said(f"{name}: transformers' loss", abs(loss - expected[3]) < 1e-3, f"{loss:.6f} {expected[3]:.6f}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        base = pathlib.Path(folder)
        for name in "llama", "qwen2":
            family(base, name)
        error = nightsweep("merge", "llama-lora/1", "--store", base / "s.db", "--output", base / "none", "--type", "q8_0", fails=True)
        said("q8_0 as safetensors is refused", "q8_0 is for format gguf" in error and not (base / "none").exists())
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
