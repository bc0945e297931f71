"""What the end-to-end tests of the trainer share: jobs, running them, reading what they say and write.

The models are the golden cases' (tests/golden/cases/models): words w6, w7, … and sizes at which a trial takes a moment.
"""
import base64
import contextlib
import hashlib
import json
import math
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
TRAINER = pathlib.Path(os.environ.get("BUILD", ROOT / "build/release")) / "nightsweep-trainer"
MODELS = ROOT / "tests/golden/cases/models"
LABELS = ("negative", "neutral", "positive")

failures = []


def check(condition, *what):
    if not condition:
        failures.append(" ".join(str(w) for w in what))
        print("FAILED:", *what, flush=True)
    return condition


def finish():
    sys.exit(1 if failures else 0)


@contextlib.contextmanager
def folder():
    path = pathlib.Path(tempfile.mkdtemp(prefix="trainer-test-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def methods():
    """Every method of the published schema, each in the ways that differ in code; lists of several at the end."""
    settings = json.loads((ROOT / "schemas/job.schema.json").read_text())["properties"]["settings"]["properties"]
    names = settings["method"]["anyOf"][0]["enum"]
    special = {
        "partial": [{"top_layers": 1}],
        "bitfit": [{}, {"bias_terms": ["query", "intermediate.dense"]}],
        "lora": [{"rank": 3, "method_dropout": 0.2}, {"rank": 2, "alpha": 5, "rank_stabilized": True, "lora_bias": "lora_only",
                 "targets": ["query", "output.dense"], "rank_pattern": {"query": 1}, "method_dropout": 0.1}],
        "adalora": [{"rank": 4, "target_rank": 2, "allocation_warmup": 0.2}],
        "adapter": [{"adapter_placement": placement, "adapter_size": 5, "method_dropout": 0.2}
                    for placement in ("houlsby", "pfeiffer", "parallel")]
                   + [{"adapter_placement": "houlsby", "adapter_size": 4, "adapter_norm_before": True,
                       "adapter_norm_after": True, "adapter_scaling": "channel"}],
        "pissa": [{"rank": 2, "method_dropout": 0.1}],
        "hyper_lora": [{"rank": 2, "hyper_tasks": 2, "hyper_task": 1, "hyper_embedding_size": 4, "hyper_hidden_size": 5}],
        "hyper_adapter": [{"adapter_size": 3, "hyper_embedding_size": 4, "hyper_hidden_size": 5, "hyper_projected_size": 3,
                           "method_dropout": 0.1}],
        "smoe": [{"strata": [2, 3], "expert_size": 4},
                 {"strata": [2, 1, 2], "expert_kind": "lora", "expert_size": 3, "expert_top": 2, "expert_capacity": 1.5,
                  "expert_masking": 0.2}],
        "compacter": [{"adapter_size": 8, "phm_dim": 2, "method_dropout": 0.1}],
        "dora": [{"rank": 2, "method_dropout": 0.1}],
        "adalora": [{"rank": 4, "target_rank": 2, "allocation_warmup": 0.1, "allocation_final": 0.3, "method_dropout": 0.1}],
        "prompt": [{"prompt_length": 3}, {"prompt_length": 2, "prompt_init": "random", "prompt_position": "behind_first"},
                   {"prompt_length": 2, "prompt_space": "hidden"}],
        "p_tuning": [{"prompt_length": 3}, {"prompt_length": 3, "prompt_encoder": "lstm", "prompt_hidden_size": 5}],
        "prefix": [{"prompt_length": 3}, {"prompt_length": 2, "prefix_mlp": True, "prompt_hidden_size": 5},
                   {"prompt_length": 2, "prefix_positions": "kept"}],
    }
    for name in names:
        for more in special.get(name, [{}]):
            yield {"method": name, **more}
    yield {"method": ["lora", "adapter"], "rank": 2, "adapter_size": 3, "method_dropout": 0.1}
    yield {"method": ["partial", "lora"], "top_layers": 1, "rank": 2, "method_dropout": 0.1}
    yield {"method": ["bitfit", "layer_norm"]}
    yield {"method": ["lora", "prefix", "adapter"], "rank": 2, "adapter_size": 3, "prompt_length": 2, "prefix_mlp": True,
           "prompt_hidden_size": 5, "prefix_positions": "kept", "gating": "masked", "method_dropout": 0.1}
    yield {"method": "adapter", "adapter_size": 3, "adapter_invertible": True}
    yield {"method": ["prefix", "adapter", "prompt"], "adapter_placement": "parallel", "adapter_size": 3, "prompt_length": 2,
           "prefix_positions": "kept", "prompt_space": "hidden", "method_dropout": 0.1}


def name_of(settings):
    return " ".join(str(value) if key == "method" else f"{key}={value}" for key, value in settings.items())


def rows(n, seed, labels=LABELS):
    """Texts whose words lean towards a label; none is there twice."""
    draw = random.Random(seed)
    out = []
    for i in range(n):
        label = draw.randrange(len(labels))
        words = [f"w{draw.randrange(6 + 25 * label, 31 + 25 * label) if draw.random() < 0.5 else draw.randrange(6, 80)}"
                 for _ in range(draw.randint(3, 12))]
        out.append({"text": " ".join(words) + f" {seed}.{i}", "label": labels[label]})
    return out


def write_rows(path, items):
    path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    return str(path)


def write_data(base):
    for name, n, seed in (("train", 44, 1), ("validation", 15, 2), ("test", 15, 3)):
        write_rows(base / f"{name}.jsonl", rows(n, seed))
    return {"kind": "classification", "text": "text", "label": "label",
            **{name: str(base / f"{name}.jsonl") for name in ("train", "validation", "test")}}


def job(output, task, settings, model="bert", **more):
    return {"v": 1, "type": "job", "attempt": 1, "identity": "test", "output": str(output),
            "model": {"path": str(model if isinstance(model, pathlib.Path) else MODELS / model)}, "task": task,
            "settings": {"epochs": 2, "batch_size": 8, "learning_rate": 0.003, "dropout": 0.1, "attention_dropout": 0.1,
                         **settings},
            "seed": 7, "checkpoint_seconds": 0, **more}


class Run:
    """A trainer's records. `kill_after(record)` true: SIGKILL right after that record."""

    def __init__(self, job_, *arguments, kill_after=None, after_job=""):
        process = subprocess.Popen([TRAINER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        self.records = []
        process.stdin.write(json.dumps(job_) + "\n" + after_job)
        process.stdin.flush()
        for line in process.stdout:
            if not line.endswith("\n"):
                break  # torn by the kill
            self.records.append(json.loads(line))
            if kill_after and kill_after(self.records[-1]):
                process.kill()
                break
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        self.errors = process.stderr.read()
        process.stderr.close()
        self.status = process.wait()
        self.output = pathlib.Path(job_["output"])

    def all(self, kind):
        return [r for r in self.records if r["type"] == kind]

    def last(self, kind):
        found = self.all(kind)
        return found[-1] if found else None

    def points(self):
        return {(name, step): value for r in self.all("points") for name, step, value in r["points"]}

    def evaluations(self):
        return [{k: v for k, v in r.items() if k not in ("attempt", "seq")} for r in self.all("evaluation")]

    def final(self, split):
        return [e for e in self.evaluations() if e["is_final"] and e["split"] == split][-1]

    def artifacts(self):
        return {r["path"]: r["sha256"] for r in self.all("artifact")}

    def finished(self):
        return self.last("finished")

    def why(self):
        failed = self.last("failed")
        return f"{failed['reason']}: {failed['message']}" if failed else self.errors.strip()


def items_of(evaluation):
    """(label, prediction, loss, probabilities) of each item of an evaluation record."""
    blob = base64.b64decode(evaluation["items"])
    size = len(blob) // evaluation["n_items"]
    return [(*struct.unpack_from("<iif", blob, at), struct.unpack_from(f"<{(size - 12) // 4}f", blob, at + 12))
            for at in range(0, len(blob), size)]


def tensors(path):
    """Name → (shape, values) of a float32 safetensors file."""
    data = pathlib.Path(path).read_bytes()
    length = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:8 + length])
    out = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            out[name] = (entry["shape"], struct.unpack_from(f"<{(end - begin) // 4}f", data, 8 + length + begin))
    return out


def sha256(data):
    return hashlib.sha256(data if isinstance(data, bytes) else data.encode()).hexdigest()


def near(a, b, relative=1e-9, absolute=0.0):
    return math.isclose(a, b, rel_tol=relative, abs_tol=absolute)
