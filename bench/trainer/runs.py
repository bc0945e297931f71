"""Runs of both sides: one trial, several at once, several in turns; each gives a dictionary of numbers."""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import threading
import time

from inputs import BUILD, MAX_TOKENS, MINILM, ROOT, SMOLLM2, TRAINER, WORK, data_of, fail, random_model

# Both sides' libraries choose their kernels and threads themselves: what the caller has set is unset together.
BLAS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "MKL_DEBUG_CPU_TYPE", "OMP_NUM_THREADS",
        "NIGHTSWEEP_CPU")
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in BLAS} | {"NIGHTSWEEP_CACHE": str(WORK / "cache")}
PYTHON = os.environ.get("PYTHON", "python3")
SECONDS = 6  # a peer's run measures about so long
QUICK = bool(os.environ.get("QUICK"))  # two steps a run: whether a case runs, not how fast

LORA = {"method": "lora", "rank": 8, "alpha": 16}
METHODS = {  # ours, the peer's name
    "lora": (LORA, "lora8qv"),
    "full": ({"method": "full"}, "full"),
    "bitfit": ({"method": "bitfit"}, "bitfit"),
    "ia3": ({"method": "ia3"}, "ia3"),
    "prefix": ({"method": "prefix", "prompt_length": 20}, "prefix20"),
    "houlsby": ({"method": "adapter", "adapter_placement": "houlsby", "adapter_size": 64}, "houlsby64"),
    "prompt": ({"method": "prompt", "prompt_length": 20}, "prompt20"),
    "p_tuning": ({"method": "p_tuning", "prompt_length": 20, "prompt_hidden_size": 128}, "ptuning20"),
}


class Side:
    """What is trained: model, method, length of the texts, batch; the same for both."""

    def __init__(self, method="lora", model="minilm", length=20, batch=32, steps=40, settings=None):
        self.method, self.model, self.length, self.batch, self.steps = method, model, length, batch, steps
        self.settings = settings or {}

    def is_language(self):
        return self.model in ("gpt2", "smollm2")

    def folder(self):
        return {"minilm": MINILM, "smollm2": SMOLLM2}.get(self.model) or random_model(self.model, PYTHON)

    def peer_folder(self):
        return random_model("smollm2-random", PYTHON) if self.model == "smollm2" else self.folder()

    def data(self):
        return data_of(self.length, SMOLLM2 if self.model == "smollm2" else MINILM)


def pss_kib(pid):
    try:
        return next(int(line.split()[1]) for line in open(f"/proc/{pid}/smaps_rollup") if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def job_of(side, threads, steps, output, stops=True):
    ours = str(side.data()[0])
    task = {"kind": "causal" if side.is_language() else "classification", "train": ours, "validation": ours, "text": "text"}
    if not side.is_language():
        task |= {"label": "label"}
    metric = ("validation/loss", "minimize") if side.is_language() else ("validation/accuracy", "maximize")
    settings = {"batch_size": side.batch, "max_tokens": MAX_TOKENS, "steps": 10 ** 6 if stops else steps, "learning_rate": 1e-4, "clip": 1,
                "validation_examples": 64, **METHODS[side.method][0], **side.settings}
    return {"v": 1, "type": "job", "attempt": 1, "output": str(output), "model": {"path": str(side.folder())}, "task": task,
            "settings": settings, "seed": 1, "objective": {"metric": metric[0], "goal": metric[1]},
            "limits": {"memory_bytes": 0, "threads": threads}, "checkpoint_seconds": 1e6, **({"stop_after_steps": steps} if stops else {})}


class Ours:
    """One run of the trainer: `steps` and one more in front, which is taken off as warm-up."""

    def __init__(self, side, threads=2, steps=None, output=None, stops=True, prefix=()):
        self.output = pathlib.Path(output or WORK / "out")
        self.steps = min(2, side.steps if steps is None else steps) if QUICK else side.steps if steps is None else steps
        job = job_of(side, threads, self.steps + (1 if stops else 0), self.output, stops)
        self.began = time.monotonic()
        self.process = subprocess.Popen([*prefix, TRAINER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=ENVIRONMENT)
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.close()

    def result(self):
        points, pss, done, started = [], 0, threading.Event(), {}

        def watch():
            nonlocal pss
            while not done.wait(0.1):
                pss = max(pss, pss_kib(self.process.pid))

        threading.Thread(target=watch, daemon=True).start()
        first = None
        for line in self.process.stdout:
            record = json.loads(line)
            if record["type"] == "started":
                started = record
            if record["type"] == "progress" and "tokens" in record:
                first = first or time.monotonic() - self.began
                point = (record["tokens"], record["training_seconds"], record["processor_seconds"])
                if points[-1:] != [point]:
                    points.append(point)
            if record["type"] == "failed":
                fail(f"our run failed: {record['message']}")
        done.set()
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = status
        shutil.rmtree(self.output, ignore_errors=True)
        if not points or status:
            fail(f"our run ended with status {status}")
        tokens, seconds, processor = (points[-1][i] - (points[0][i] if len(points) > 1 else 0) for i in range(3))
        return {"tok_s": tokens / seconds, "tok_cpu_s": tokens / processor, "rss_mib": usage.ru_maxrss / 1024, "pss_mib": pss / 1024,
                "start_s": first, "seconds": time.monotonic() - self.began, "cpu_s": usage.ru_utime + usage.ru_stime,
                "trained": started.get("trained_parameters"), "core": started.get("fingerprint", {}).get("blas_core")}


class Theirs:
    def __init__(self, side, options, threads=2, steps=None):
        command = [PYTHON, ROOT / "bench/trainer/peer_bench.py", "--model", side.model, "--method", METHODS[side.method][1],
                   "--path", side.peer_folder(), "--data", side.data()[1], "--batch", str(side.batch), "--threads", str(threads),
                   "--steps", str(side.steps if steps is None else steps), "--maxsec", str(SECONDS), *options,
                   *(["--steps", "2", "--warmup", "1"] if QUICK else [])]
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)

    def result(self):
        said, errors = self.process.communicate()
        if self.process.returncode or not said.strip():
            fail(f"the peer's run failed: {(errors.strip().splitlines() or ['it says nothing'])[-1]}")
        row = json.loads(said.strip().splitlines()[-1])
        return {"tok_s": row["tok_s"], "tok_cpu_s": row.get("tok_cpu_s"), "rss_mib": row["rss_mib"], "pss_mib": row["pss_mib"],
                "start_s": row["start_to_first_step_s"], "seconds": time.monotonic() - self.began, "cpu_s": row["cpu_s"],
                "trained": row["trainable"], "real_share": row["real_frac"], "torch": row["torch"]}


def together(make, n=2):
    """n runs at once: the sums."""
    running = [make(i) for i in range(n)]
    results = [None] * n

    def wait(i):
        results[i] = running[i].result()

    waiting = [threading.Thread(target=wait, args=(i,)) for i in range(n)]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join()
    if None in results:
        fail("one of the runs side by side failed")
    return {key: sum(result[key] for result in results) for key in ("tok_s", "pss_mib", "cpu_s")} | {
        "tok_cpu_s": statistics.mean(result["tok_cpu_s"] for result in results),
        "rss_mib": max(result["rss_mib"] for result in results)}


def in_turns(make, n=8, slots=2):
    """n runs, `slots` at a time: seconds until the last has ended."""
    began, left, lock, cpu, failed = time.monotonic(), list(range(n)), threading.Lock(), [], []

    def slot():
        while True:
            with lock:
                if not left or failed:
                    return
                i = left.pop()
            try:
                cpu.append(make(i).result()["cpu_s"])
            except SystemExit as error:
                failed.append(error)

    waiting = [threading.Thread(target=slot) for _ in range(slots)]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join()
    if failed:
        raise failed[0]
    return {"seconds": time.monotonic() - began, "cpu_s": sum(cpu)}


def sweep(n_trials, steps=2 if QUICK else 16, slots=2, settings=None, name="bench"):
    """A whole sweep through `nightsweep run`: n trials of LoRA with learning rates of their own; every trial is trained."""
    side, folder = Side("lora"), WORK / f"sweep-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    texts = str(side.data()[0])
    definition = {
        "name": name, "seed": 1, "model": str(MINILM), "reuse": False,
        "task": {"kind": "classification", "train": texts, "validation": texts, "text": "text", "label": "label"},
        "settings": {**LORA, "batch_size": 32, "max_tokens": MAX_TOKENS, "steps": steps, "validation_examples": 64, "clip": 1, **(settings or {})},
        "parameters": {"learning_rate": {"values": [round(1e-5 * (i + 1), 10) for i in range(n_trials)]}},
        "objectives": [{"metric": "validation/accuracy", "goal": "maximize"}],
        "resources": {"threads": 1, "memory": "2GiB", "time": "60m"},
    }
    (folder / "sweep.json").write_text(json.dumps(definition))
    began, before = time.monotonic(), os.times()
    done = subprocess.run([BUILD / "nightsweep", "run", folder / "sweep.json", "--store", folder / "store.db", "--slots", str(slots)],
                          capture_output=True, text=True, env=ENVIRONMENT)
    seconds, after = time.monotonic() - began, os.times()
    if done.returncode:
        fail(f"our sweep ended with status {done.returncode}: {(done.stderr.strip() or done.stdout.strip())[-300:]}")
    shutil.rmtree(folder, ignore_errors=True)
    return {"seconds": seconds, "cpu_s": after.children_user + after.children_system - before.children_user - before.children_system}
