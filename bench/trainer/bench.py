#!/usr/bin/env python3
"""Nightsweep's trainer and PyTorch + PEFT on the same cores: A B A B, ratio of medians, one JSON file.

    bench.py compare OLD.json NEW.json
    bench.py trainer|sweep|busy [--only 'NAME;NAME'] [--repeats 2] [--steps 30] [--output FILE]

trainer: tokens a second, peak memory and start-up of one trial on two threads, method by method.
sweep:   two trials side by side on one thread each (sum of tokens a second, PSS), and eight short ones in two slots.
busy:    LoRA and full fine-tuning on one thread each, by processor time: for a machine that others use too.
Both sides read the same texts (data/movies; for "128 tokens" six texts in a row); BLAS variables are unset together.
Environment: BUILD (build/release), PYTHON (a Python with requirements.txt). docs/performance.md tells what came out.
"""
import argparse
import json
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build/release")).resolve()
PYTHON = os.environ.get("PYTHON", sys.executable)
WORK = ROOT / "build/bench"
MODEL = ROOT / "models/minilm"
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}

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
# name: method, mean length, the peer's options, the ratio to reach
CASES = {
    "lora, against Trainer's default": ("lora", 20, ["--mode", "trainer"], 7),
    "lora": ("lora", 20, ["--group"], 2.8),
    "lora, against bf16": ("lora", 20, ["--group", "--bf16"], 2),
    "full": ("full", 20, ["--group"], 3),
    "full, against bf16": ("full", 20, ["--group", "--bf16"], 1.7),
    "bitfit": ("bitfit", 20, ["--group"], 2.5),
    "ia3": ("ia3", 20, ["--group"], 2.5),
    "prefix": ("prefix", 20, ["--group"], 2.5),
    "houlsby": ("houlsby", 20, ["--group"], 2.5),
    "prompt": ("prompt", 20, ["--group"], 2.5),
    "p_tuning": ("p_tuning", 20, ["--group"], 2.5),
    "lora, 128 tokens": ("lora", 128, ["--group"], 3),
    "full, 128 tokens": ("full", 128, ["--group"], 3),
}


def texts(length):
    rows = [json.loads(line) for line in open(ROOT / "data/movies/train.jsonl", encoding="utf-8")]
    if length < 100:
        return rows
    return [{"text": " ".join(r["text"] for r in rows[i:i + 6]), "label": rows[i]["label"]} for i in range(0, len(rows) - 6, 6)]


def data_of(length):
    """The texts for us, their token ids for the peer; made once."""
    WORK.mkdir(parents=True, exist_ok=True)
    ours, theirs = WORK / f"texts-{length}.jsonl", WORK / f"tokens-{length}.bin"
    if not theirs.exists():
        rows = texts(length)
        ours.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
        said = subprocess.run([BUILD / "nightsweep-trainer", "--tokens", MODEL, "256"], check=True, capture_output=True, text=True,
                              input="".join(json.dumps(r["text"]) + "\n" for r in rows)).stdout
        ids = [json.loads(line) for line in said.splitlines()]
        ids = [line["ids"] if isinstance(line, dict) else line for line in ids]
        numbers = [len(ids), *map(len, ids), *(r["label"] for r in rows), *(i for line in ids for i in line)]
        theirs.write_bytes(struct.pack(f"<{len(numbers)}i", *numbers))
    return ours, theirs


def pss_kib(pid):
    try:
        return next(int(line.split()[1]) for line in open(f"/proc/{pid}/smaps_rollup") if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


class Ours:
    """One run of the trainer; PSS is looked at while it runs."""

    def __init__(self, settings, length, threads, steps, output):
        path = str(data_of(length)[0])
        job = {"v": 1, "type": "job", "attempt": 1, "output": str(output), "model": {"path": str(MODEL)},
               "task": {"kind": "classification", "train": path, "validation": str(ROOT / "data/movies/validation.jsonl"),
                        "text": "text", "label": "label"},
               "settings": {"batch_size": 32, "max_tokens": 256, "steps": 10 ** 6, "learning_rate": 1e-4, "clip": 1, **settings},
               "seed": 1, "objective": {"metric": "validation/accuracy", "goal": "maximize"},
               "limits": {"memory_bytes": 0, "threads": threads}, "checkpoint_seconds": 1e6, "stop_after_steps": steps}
        self.began = time.monotonic()
        self.process = subprocess.Popen([BUILD / "nightsweep-trainer"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=ENVIRONMENT)
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.close()

    def result(self):
        speed, pss, done = 0, 0, threading.Event()

        def watch():
            nonlocal pss
            while not done.wait(0.1):
                pss = max(pss, pss_kib(self.process.pid))

        threading.Thread(target=watch, daemon=True).start()
        for line in self.process.stdout:
            record = json.loads(line)
            if record["type"] == "progress":
                speed = record["tokens_per_second"]
            if record["type"] == "failed":
                raise SystemExit(record["message"])
        done.set()
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = status
        return {"tok_s": speed, "rss_mib": usage.ru_maxrss / 1024, "pss_mib": pss / 1024,
                "seconds": time.monotonic() - self.began, "cpu_seconds": usage.ru_utime + usage.ru_stime}


class Theirs:
    def __init__(self, method, length, threads, steps, options):
        command = [PYTHON, ROOT / "bench/trainer/peer_bench.py", "--method", method, "--seq", str(length), "--path", MODEL,
                   "--data", data_of(length)[1], "--threads", str(threads), "--steps", str(steps), *options]
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)

    def result(self):
        said = self.process.stdout.read().strip().splitlines()
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = status
        if status or not said:
            raise SystemExit("the peer's run failed")
        row = json.loads(said[-1])
        return {"tok_s": row["tok_s"], "rss_mib": row["rss_mib"], "pss_mib": row["pss_mib"],
                "start_s": row["start_to_first_step_s"], "seconds": time.monotonic() - self.began,
                "cpu_seconds": usage.ru_utime + usage.ru_stime}


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def computing(settings, peer):
    """Ours computes in bf16 where the peer does."""
    return {**settings, "compute": "bf16"} if "--bf16" in peer else settings


def one_trial(name, options):
    method, length, peer, goal = CASES[name]
    settings, peer_name = computing(METHODS[method][0], peer), METHODS[method][1]
    ours, theirs, starts = [], [], []
    for _ in range(options.repeats):
        theirs.append(Theirs(peer_name, length, 2, options.steps, peer).result())
        ours.append(Ours(settings, length, 2, options.steps, WORK / "out").result())
        starts.append(Ours(settings, length, 2, 1, WORK / "out").result()["seconds"])
    return {"name": name, "goal": goal, "ratio": median(ours, "tok_s") / median(theirs, "tok_s"), "ours": ours, "theirs": theirs,
            "start_s": statistics.median(starts)}


def two_at_once(make, n=2):
    running = [make(i) for i in range(n)]
    results = [None] * n

    def wait(i):
        results[i] = running[i].result()

    threads = [threading.Thread(target=wait, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"tok_s": sum(r["tok_s"] for r in results), "pss_mib": sum(r["pss_mib"] for r in results),
            "cpu_seconds": sum(r["cpu_seconds"] for r in results)}


def in_turns(make, n=8, slots=2):
    """n short trials, `slots` at a time: seconds until the last has ended."""
    began, left, lock = time.monotonic(), list(range(n)), threading.Lock()

    def slot():
        while True:
            with lock:
                if not left:
                    return
                i = left.pop()
            make(i).result()

    threads = [threading.Thread(target=slot) for _ in range(slots)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"seconds": time.monotonic() - began}


def ours_lora(steps, *options):
    return lambda i: Ours(computing(LORA, options), 20, 1, steps, WORK / f"out-{i}")


def theirs_lora(steps, *options):
    return lambda i: Theirs("lora8qv", 20, 1, steps, list(options))


def sweep(options):
    rows = []
    for name, peer, goal in (("two trials", ["--group"], 2.7), ("two trials, against bf16", ["--group", "--bf16"], 1.8)):
        pairs = [(two_at_once(ours_lora(options.steps, *peer)), two_at_once(theirs_lora(options.steps, *peer)))
                 for _ in range(options.repeats)]
        ours, theirs = zip(*pairs)
        rows.append({"name": name, "goal": goal, "ratio": median(ours, "tok_s") / median(theirs, "tok_s"), "ours": ours,
                     "theirs": theirs, "memory_ratio": median(theirs, "pss_mib") / median(ours, "pss_mib")})
    for name, peer, goal in (("eight short trials", ["--group", "--warmup", "0"], 4.7),
                             ("eight short trials, against Trainer", ["--mode", "trainer", "--group", "--warmup", "1"], 6.5)):
        pairs = [(in_turns(ours_lora(16)), in_turns(theirs_lora(16, *peer))) for _ in range(options.repeats)]
        ours, theirs = zip(*pairs)
        rows.append({"name": name, "goal": goal, "ratio": median(theirs, "seconds") / median(ours, "seconds"), "ours": ours,
                     "theirs": theirs})
    return rows


def mean_tokens():
    with open(data_of(20)[1], "rb") as file:
        n = struct.unpack("<i", file.read(4))[0]
        return sum(struct.unpack(f"<{n}i", file.read(4 * n))) / n


def busy(options):
    """Our tokens: steps x 32 x the mean length, within 2 %; the first step and start-up are taken off."""
    rows = []
    for name, peer in (("lora", []), ("lora, against bf16", ["--bf16"]), ("full", []), ("full, against bf16", ["--bf16"])):
        method, peer_name = METHODS[name.split(",")[0]]
        settings = computing(method, peer)
        ours, theirs = [], []
        for _ in range(options.repeats):
            theirs.append(Theirs(peer_name, 20, 1, options.steps, ["--group", "--cpu", *peer]).result())
            first, all_steps = (Ours(settings, 20, 1, n, WORK / "out").result() for n in (1, 1 + options.steps))
            seconds = all_steps["cpu_seconds"] - first["cpu_seconds"]
            ours.append({**all_steps, "tok_s": options.steps * 32 * mean_tokens() / seconds})
        rows.append({"name": f"{name}, processor time", "goal": CASES[name][3], "ours": ours, "theirs": theirs,
                     "ratio": median(ours, "tok_s") / median(theirs, "tok_s")})
    return rows


def compare(old, new):
    """Our own figures, the new beside the old."""
    rows = [{row["name"]: row for row in json.load(open(path, encoding="utf-8"))["rows"]} for path in (old, new)]
    for name in [name for name in rows[0] if name in rows[1]]:
        for key in ("tok_s", "rss_mib", "pss_mib", "seconds"):
            before, after = ([run[key] for run in part[name]["ours"] if key in run] for part in rows)
            if before and after and statistics.median(before) > 0:
                before, after = statistics.median(before), statistics.median(after)
                print(f"{name:40} {key:8} {before:10.1f} {after:10.1f} {100 * (after / before - 1):+6.1f} %")


def main():
    if sys.argv[1:2] == ["compare"] and len(sys.argv) == 4:
        return compare(*sys.argv[2:])
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("what", choices=("trainer", "sweep", "busy"))
    parser.add_argument("--only", help="cases, separated by ';'")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--output")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    names = options.only.split(";") if options.only else list(CASES)
    if options.what == "trainer":
        rows = [one_trial(name, options) for name in names]
    else:
        rows = sweep(options) if options.what == "sweep" else busy(options)
    doctor = json.loads(subprocess.run([BUILD / "nightsweep-trainer", "--doctor"], capture_output=True, text=True, check=True,
                                       env=ENVIRONMENT).stdout)
    output = pathlib.Path(options.output or WORK / f"{options.what}.json")
    output.write_text(json.dumps({"when": time.strftime("%Y-%m-%d %H:%M"), "cores": os.cpu_count(), "load_before": load,
                                  "load_after": os.getloadavg()[0], "program": doctor, "rows": rows}, indent=1) + "\n")
    for row in rows:
        print(f"{row['name']:40} ratio {row['ratio']:5.2f}  to reach {row['goal']}")
    print(output)


main()
