#!/usr/bin/env python3
"""GGUF files against the gguf package: tensors of all types bit for bit, a whole model and its tokenizer.

    gguf_models.py [MODEL_FOLDER]      (needs gguf, numpy, tokenizers, torch, transformers)

1. A file with a tensor of each type (K-quants of random blocks: the package does not make them): the hashes of the
   expanded values equal those of gguf.dequantize. 2. A tiny Llama as GGUF and as a Hugging Face folder: the same tensors
   after the rotary projections are put in order. 3. With a folder (models/smollm2): all its tensors; and its tokenizer on
   10,000 texts against one built from the same metadata.
"""
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import gguf  # noqa: E402
import numpy  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TRAINER = pathlib.Path(os.environ.get("BUILD", ROOT / "build/release")).absolute() / "nightsweep-trainer"
sys.path.insert(0, str(ROOT / "bench/tokenizer"))
TYPES = gguf.GGMLQuantizationType
failures = []


def said(name, is_good, detail=""):
    print(f"{'ok   ' if is_good else 'WRONG'} {name} {detail}", flush=True)
    if not is_good:
        failures.append(name)


def ours(folder):
    done = subprocess.run([TRAINER, "--weights", folder], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"trainer: {done.stderr}")
    return {t["name"]: t for t in map(json.loads, done.stdout.splitlines())}


def digest(array):
    return hashlib.sha256(numpy.ascontiguousarray(array, dtype=numpy.float32).tobytes()).hexdigest()


def apart(array, heads):
    """Rows of a rotary projection: each head's interleaved halves apart again."""
    rows = array.shape[0]
    return array.reshape(heads, rows // heads // 2, 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def blocks_of(draw, kind, rows, cols):
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = draw.integers(0, 256, (rows, cols // elements, size), dtype=numpy.uint8)
    scales = {TYPES.Q4_K: (0, 2), TYPES.Q6_K: (208,)}[kind]
    for at in scales:
        blocks[:, :, at:at + 2] = draw.normal(0, 0.05, (rows, cols // elements, 1)).astype(numpy.float16).view(numpy.uint8)
    return blocks.reshape(rows, -1)


def every_type():
    draw = numpy.random.default_rng(5)
    with tempfile.TemporaryDirectory() as folder:
        writer = gguf.GGUFWriter(pathlib.Path(folder) / "model.gguf", "llama")
        expected = {}
        for kind in TYPES.F32, TYPES.F16, TYPES.BF16, TYPES.Q8_0, TYPES.Q4_0, TYPES.Q4_1, TYPES.Q4_K, TYPES.Q6_K:
            rows, cols = 7, 512
            if kind in (TYPES.Q4_K, TYPES.Q6_K):
                data = blocks_of(draw, kind, rows, cols)
            else:
                data = gguf.quantize(draw.normal(0, 0.3, (rows, cols)).astype(numpy.float32), kind)
            writer.add_tensor(f"x.{kind.name}", data, raw_dtype=kind)
            expected[f"x.{kind.name}"] = gguf.dequantize(data, kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        found = ours(folder)
    for name, values in expected.items():
        said(f"{name}: {values.size} values", found[name]["sha256"] == digest(values) and found[name]["shape"] == list(values.shape))


def whole_file(folder):
    path = next(pathlib.Path(folder).glob("*.gguf"))
    reader = gguf.GGUFReader(path)
    field = {name: f.contents() for name, f in reader.fields.items()}
    heads, kv_heads = field["llama.attention.head_count"], field["llama.attention.head_count_kv"]
    expected = {}
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(list(reversed(tensor.shape.tolist())))
        if ".attn_q." in tensor.name:
            values = apart(values, heads)
        if ".attn_k." in tensor.name:
            values = apart(values, kv_heads)
        expected[tensor.name] = digest(values)
    found = sorted(t["sha256"] for t in ours(folder).values())
    said(f"{path.name}: {len(expected)} tensors", found == sorted(expected.values()))
    return field


def tokenizer(folder, field):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    import kinds
    tokens = field["tokenizer.ggml.tokens"]
    merges = [tuple(m.split(" ")) for m in field["tokenizer.ggml.merges"]]
    reference = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    reference.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                       pre_tokenizers.ByteLevel(add_prefix_space=False)])
    reference.decoder = decoders.ByteLevel()
    reference.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, kind in zip(tokens, field["tokenizer.ggml.token_type"])
                                  if kind == 3])
    texts = kinds.texts_of(10000, 4)
    ids = [json.loads(line) for line in kinds.run(folder, "".join(json.dumps(t) + "\n" for t in texts), "--tokens")]
    theirs = [e.ids for e in reference.encode_batch(texts)]
    different = sum(a != b for a, b in zip(ids, theirs))
    decoded = [json.loads(line) for line in kinds.run(folder, "".join(json.dumps(i) + "\n" for i in theirs), "--tokens-decode")]
    different += sum(a != reference.decode(b, skip_special_tokens=False) for a, b in zip(decoded, theirs))
    said(f"tokenizer of {pathlib.Path(folder).name}: {len(texts)} texts, {sum(map(len, theirs))} tokens", different == 0, f"{different} different")


def main():
    every_type()
    for folder in sys.argv[1:]:
        tokenizer(folder, whole_file(folder))
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
