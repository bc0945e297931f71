#!/usr/bin/env python3
"""Seeds of the fuzz targets out of the fixtures: seeds.py FOLDER makes FOLDER/<target>/ with a file a seed."""
import glob, hashlib, json, os, struct, sys


def add(target, data):
    data = data if isinstance(data, bytes) else data.encode()
    folder = os.path.join(sys.argv[1], target)
    os.makedirs(folder, exist_ok=True)
    if len(data) <= 1 << 17:
        with open(os.path.join(folder, hashlib.sha1(data).hexdigest()), "wb") as out:
            out.write(data)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def merge(base, patch):
    for key, value in patch.items():
        if value is None:
            base.pop(key, None)
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = value


def safetensors(header, n):
    header = header if isinstance(header, str) else json.dumps(header)
    return struct.pack("<Q", len(header.encode())) + header.encode() + bytes(n)


models = "tests/golden/cases/models"
for case in json.load(open("tests/fixtures/malformed-definitions.json")):
    if "text" in case:
        add("definition", case["text"])
        add("json", case["text"])
for path in glob.glob("sweeps/*.json"):
    add("definition", read(path))
    add("json", read(path))
project = {"name": "small", "model": "models/tiny", "task": {"kind": "classification", "train": "data/train.jsonl",
           "validation": "data/validation.jsonl", "text": "text", "label": "label"}}
for extra in (
    {"settings": {"epochs": 2}, "parameters": {"method": {"values": ["lora", "full"]},
     "rank": {"values": [2, 4], "when": {"method": "lora"}}}, "seeds": 2},
    {"parameters": {"learning_rate": {"min": 1e-5, "max": 1e-2, "scale": "log"}},
     "search": {"algorithm": "tpe", "configurations": 5}, "stopping": {"rule": "asha", "max_resource": 100}},
    {"parameters": {"rank": {"min": 1, "max": 64, "step": 1}, "alpha": {"expression": "2 * rank"}},
     "constraints": ["rank <= 32", "bias/flip_rate <= 0.05"], "search": {"algorithm": "random", "configurations": 3}},
    {"parameters": {}, "checks": [{"kind": "counterfactual", "file": "names.json"}], "resources": {"memory": "2GiB"},
     "budget": {"trials": 5, "for": "1h30m", "until": "07:00"}, "objectives": [{"metric": "validation/accuracy"}]},
    {"parameters": {"method": {"values": [["lora", "bitfit"], "adapter"]}}},
):
    add("definition", json.dumps({**project, **extra}))
    elsewhere = {k: v for k, v in {**project, **extra}.items() if k not in ("model", "task", "checks")}
    add("definition", json.dumps(elsewhere))
for path in glob.glob(models + "/*/config.json"):
    add("config", read(path))
for path in glob.glob(models + "/*/tokenizer.json"):
    add("tokenizer", read(path))
for case in json.load(open("tests/fixtures/malformed-models.json")):
    for kind in ("config", "tokenizer"):
        if kind + "_raw" in case:
            add(kind, case[kind + "_raw"])
        elif kind in case:
            whole = json.loads(read(f"{models}/bert/{kind}.json"))
            merge(whole, case[kind])
            add(kind, json.dumps(whole))
    if "header" in case:
        add("safetensors", safetensors(case["header"], case["data"]))
    if "weights_hex" in case:
        add("safetensors", bytes.fromhex(case["weights_hex"]))
for dtype, size in (("F32", 4), ("F16", 2), ("BF16", 2), ("F64", 8), ("I64", 8)):
    add("safetensors", safetensors({"__metadata__": {"format": "pt"},
        "a": {"dtype": dtype, "shape": [2, 3], "data_offsets": [0, 6 * size]},
        "b.weight": {"dtype": dtype, "shape": [], "data_offsets": [6 * size, 7 * size]}}, 7 * size))
for path in glob.glob("sweeps/checks/*.json"):
    add("items", read(path))
add("items", json.dumps({"kind": "counterfactual", "templates": ["{who} is {adj}.", "He or she {verb}"],
    "lists": {"who": [["she", "he"], ["her", "him"]]}, "slots": {"adj": ["a", "b"], "verb": ["c", "d"]},
    "swaps": [["mother", "father"]]}))
rows = ['{"text":"a b","label":"x"}\n{"text":"c","label":1,"pair":"d"}\n', 'text,label,pair\n"a ""b""\nc",x,y\r\nd,1,e\n',
        "text\tlabel\na\tb\n", '\ufefftext,label\n', '{"text":"a","label":"b"}\r\n\n{"text":"c","label":true}']
for text in rows:
    for format in range(4):
        add("rows", bytes([format]) + text.encode())
items = "AAAAAAAAAAAAAAAAAAAAAAAAAAA="
for record in (
    {"type": "started", "fingerprint": {k: "x" for k in ("program_version", "git_commit", "blas_version", "blas_core", "cpu",
     "kernel_level", "compute")}, "hashes": {"model": "m", "tokenizer": "t", "data": "d"}, "resumed_step": 3,
     "bit_exact": True, "total_steps": 10, "steps_per_epoch": 5, "trained_parameters": 4, "total_parameters": 9, "flops": 1e9},
    {"type": "points", "points": [["train/loss", 1, 0.5], ["train/loss", 2, None]]},
    {"type": "evaluation", "split": "validation", "step": 2, "is_final": False, "n_items": 1,
     "metrics": {"accuracy": 0.5, "confusion": [[1]]}, "item_set_sha256": "a", "items": items},
    {"type": "check", "name": "0:counterfactual", "kind": "counterfactual", "step": 2, "metrics": {"flip_rate": 0.5},
     "n_items": 1, "item_set_sha256": "a", "items": [[1, 0.5]]},
    {"type": "checkpoint", "step": 2, "path": "@", "bytes": 3, "sha256": "a"},
    {"type": "artifact", "kind": "adapter", "path": "adapter/x", "bytes": 3, "sha256": "a"},
    {"type": "progress", "step": 2, "total_steps": 3, "tokens_per_second": 4, "loss": 0.5}, {"type": "stopped", "step": 2},
    {"type": "finished", "step": 3, "value": 0.5, "best_step": 3, "objectives": {"validation/accuracy": 0.5},
     "stored_bytes": 3, "peak_bytes": 4, "seconds": 5, "tokens_per_second": 6, "message": ""},
    {"type": "failed", "reason": "diverged", "message": "m", "step": 2},
    {"type": "ended", "slot": 1, "exit_status": 0, "signal": 9, "reason": "timeout", "seconds": 1, "peak_bytes": 3, "log_tail": "x"},
    {"type": "hello", "version": "1", "host": "h", "pid": 3, "slots": 2, "marker": "m"}, {"type": "heartbeat"},
    {"type": "start", "slot": 1, "limits": {"time_seconds": 0, "memory_bytes": 0}, "job": {"v": 1, "type": "job"}},
    {"type": "stop"}, {"type": "kill"}, {"type": "quit"},
    {"type": "job", "identity": "", "output": "/o", "resume": None, "model": {"path": "/m"}, "task": {"kind": "classification",
     "train": "/t", "validation": None, "test": None, "text": "text", "label": "label"}, "settings": {"method": "lora", "rank": 8},
     "seed": 1, "objective": {"metric": "validation/accuracy", "goal": "maximize"}, "checks": [{"name": "0:counterfactual",
     "kind": "counterfactual", "file": "/n", "items": False}], "limits": {"memory_bytes": 0, "threads": 1},
     "checkpoint_seconds": 30, "stop_after_steps": 0},
):
    line = json.dumps({"v": 1, "attempt": 7, "seq": 1, **record}) + "\n"
    add("record", line)
    add("record", line + line)
    add("json", line)
for text in (
    "program: train.py\nmethod: bayes\nmetric: {name: loss, goal: minimize}\nparameters:\n  lr: {distribution: log_uniform_values, min: 1e-5, max: 1e-2}\n  rank: {values: [2, 4, 8], probabilities: [0.2, 0.3, 0.5]}\n  d: {value: 3}\n",
    "method: grid\nparameters:\n  a:\n    values: &v [1, 2]\n  b:\n    values: *v\nearly_terminate: {type: hyperband, min_iter: 3, eta: 2}\nrun_cap: 5\n",
    "method: random\nname: x\nparameters:\n" + "".join(f"  p{i}: {{distribution: {d}, mu: 0, sigma: 1, min: 0, max: 1, q: 0.1}}\n" for i, d in enumerate(
        "constant categorical int_uniform uniform q_uniform log_uniform q_log_uniform inv_log_uniform normal q_normal log_normal q_log_normal beta q_beta".split())),
    "method: random\nparameters: {o: {parameters: {a: {min: 1, max: 3}, b: {min: 0.1, max: 1.0}}}}\n",
):
    add("wandb", text)


def gguf(entries, tensors):
    """A GGUF file: entries (key, type, packed value), tensors (name, sizes, type, data)."""
    def text(t):
        return struct.pack("<Q", len(t.encode())) + t.encode()
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries))
    for key, kind, value in entries:
        out += text(key) + struct.pack("<I", kind) + (text(value) if kind == 8 else value)
    at = 0
    for name, sizes, kind, data in tensors:
        out += text(name) + struct.pack("<I", len(sizes)) + struct.pack(f"<{len(sizes)}Q", *sizes) + struct.pack("<IQ", kind, at)
        at += (len(data) + 31) // 32 * 32
    out += bytes(-len(out) % 32)
    for _, _, _, data in tensors:
        out += data + bytes(-len(data) % 32)
    return out


def texts(*items):
    return struct.pack("<IQ", 8, len(items)) + b"".join(struct.pack("<Q", len(t.encode())) + t.encode() for t in items)


for arch, pre in ("llama", "smollm"), ("qwen2", "qwen2"), ("llama", "llama-bpe"):
    add("gguf", gguf(
        [("general.architecture", 8, arch), ("tokenizer.ggml.model", 8, "gpt2"), ("tokenizer.ggml.pre", 8, pre),
         ("tokenizer.ggml.tokens", 9, texts("a", "b", "ab", "\u0120", "\u0120a", "1", "<|end|>")), ("tokenizer.ggml.merges", 9, texts("a b", "\u0120 a")),
         ("tokenizer.ggml.token_type", 9, struct.pack("<IQ7i", 5, 7, 1, 1, 1, 1, 1, 1, 3)), ("tokenizer.ggml.eos_token_id", 4, struct.pack("<I", 6)),
         ("tokenizer.ggml.bos_token_id", 4, struct.pack("<I", 6)), ("tokenizer.ggml.add_bos_token", 7, b"\1")]
        + [(f"{arch}.{key}", 4, struct.pack("<I", n)) for key, n in (("embedding_length", 32), ("block_count", 1), ("feed_forward_length", 32),
                                                                     ("attention.head_count", 4), ("context_length", 64))]
        + [(f"{arch}.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", 1e-5))],
        [("token_embd.weight", (32, 7), 8, bytes(range(238))), ("blk.0.attn_q.weight", (32, 32), 3, bytes(640)),
         ("blk.0.attn_norm.weight", (32,), 0, bytes(128)), ("x", (256, 1), 12, bytes(144)), ("y", (256, 1), 14, bytes(210)),
         ("z", (32, 1), 2, bytes(18)), ("h", (3, 2), 1, bytes(12)), ("b", (3, 2), 30, bytes(12))]))
