#!/usr/bin/env python3
""""frozen_prefix": "shared": whatever the file that trainers share holds, a trial's metrics, items and files are the same to
the bit: without it, when it is new, full, damaged, too small, removed meanwhile, written by two trainers at once or by killed
ones; with one thread and with two; resumed after kills. And near those of a trial without it when there is no dropout."""
import contextlib
import os
import random
import signal
import subprocess
import json
import time

from common import TRAINER, Run, check, finish, folder, job, name_of, near, rows, write_data, write_rows
from language import write_task
from resume import same

UPPER = [{"method": "linear_probe"}, {"method": "partial", "top_layers": 1},
         {"method": "lora", "rank": 3, "layers": [1], "method_dropout": 0.2},
         {"method": "adapter", "adapter_size": 4, "layers": [1], "method_dropout": 0.1}]
SHARED = {"frozen_prefix": "shared"}
COUNTS = ("prefix_read", "prefix_computed")


@contextlib.contextmanager
def environment(**values):
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    yield
    for name, value in before.items():
        os.environ.pop(name)
        if value is not None:
            os.environ[name] = value


def counts(run):
    return tuple(run.finished()[name] for name in COUNTS)


def equal(a, b, *what):
    """Two runs that must not be told apart."""
    return check(a.finished() and b.finished(), *what, a.why(), b.why()) and check(
        a.points() == b.points() and a.evaluations() == b.evaluations() and a.artifacts() == b.artifacts(), *what, "differs")


def cache_file(cache):
    found = list(cache.glob("*.prefix"))
    check(len(found) == 1, "one file for all trials of this prefix, not", len(found))
    return found[0]


def damage(path, draw):
    data = bytearray(path.read_bytes())
    for _ in range(40):
        data[draw.randrange(64, len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def states_of_the_file(base, task, settings, model, draw):
    what, cache = f"{model}, {name_of(settings)}:", base / "cache"
    cache.mkdir()
    number = [0]

    def run(place=cache, **more):
        number[0] += 1
        after = more.pop("after", None)
        with environment(NIGHTSWEEP_CACHE=str(place)):
            return Run(job(base / f"run-{number[0]}", task, {**settings, **SHARED}, model, **more), kill_after=after)

    absent = run("no absolute path")
    if not check(absent.finished(), what, absent.why()):
        return
    layers = 2 if settings["method"] == "linear_probe" else 1
    check(absent.last("started")["prefix_layers"] == layers, what, "layers", absent.last("started")["prefix_layers"])
    check(counts(absent)[0] == 0, what, "read without a file")
    cold, warm = run(), run()
    equal(absent, cold, what, "a new file")
    equal(absent, warm, what, "a full file")
    check(0 < counts(cold)[1] < sum(counts(cold)), what, "cold", counts(cold))
    check(counts(warm)[1] == 0 and sum(counts(warm)) == sum(counts(absent)), what, "warm", counts(warm))
    equal(absent, run(limits={"memory_bytes": 0, "threads": 2}), what, "two threads, a full file")
    size = cache_file(cache).stat().st_size
    damage(cache_file(cache), draw)
    equal(absent, run(), what, "a damaged file")
    cache_file(cache).write_bytes(cache_file(cache).read_bytes()[:size // 2 + 5])
    equal(absent, run(), what, "a cut file")
    cache_file(cache).unlink()
    equal(absent, run(limits={"memory_bytes": 0, "threads": 2}), what, "two threads, a new file")

    def remove(record):
        if record["type"] == "started":
            cache_file(cache).unlink()
        return False

    equal(absent, run(after=remove), what, "removed while in use")
    with environment(NIGHTSWEEP_CACHE_BYTES="4000"):
        equal(absent, run(), what, "no room")
    check(cache_file(cache).stat().st_size <= 4000, what, "beyond the bound:", cache_file(cache).stat().st_size)


def at_once(base, task, settings, model, draw):
    """Two trainers side by side on a file that begins empty, then the same with one killed in the middle."""
    what, cache = f"{model}, {name_of(settings)}:", base / "cache"
    with environment(NIGHTSWEEP_CACHE="none"):
        absent = Run(job(base / "absent", task, {**settings, **SHARED}, model))
    for kills in (False, True):
        for left in cache.glob("*.prefix"):
            left.unlink()
        with environment(NIGHTSWEEP_CACHE=str(cache)):
            other = subprocess.Popen([TRAINER], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
            other.stdin.write(json.dumps(job(base / f"other-{kills}", task, {**settings, **SHARED}, model)) + "\n")
            other.stdin.flush()
            if kills:
                time.sleep(draw.uniform(0, 0.05))
                other.send_signal(signal.SIGKILL)
            equal(absent, Run(job(base / f"one-{kills}", task, {**settings, **SHARED}, model)), what, "beside another")
            other.stdin.close()
            other.wait()
            equal(absent, Run(job(base / f"after-{kills}", task, {**settings, **SHARED}, model)), what, "after both")


def near_without(base, task, settings, model):
    """Without dropout the setting changes only the shape of the matrix products."""
    plain = {**settings, "dropout": 0, "attention_dropout": 0}
    with environment(NIGHTSWEEP_CACHE=str(base / "cache")):
        a, b = (Run(job(base / f"near-{name}", task, {**plain, "frozen_prefix": name}, model)) for name in ("none", "shared"))
    what = f"{model}, {name_of(settings)}:"
    if not check(a.finished() and b.finished(), what, a.why(), b.why()):
        return
    check(a.last("started")["prefix_layers"] == 0, what, "a prefix that nobody asked for")
    # 20 AdamW steps make some 1e-6 of a product's last bits.
    check(a.points().keys() == b.points().keys()
          and all(near(v, b.points()[k], 2e-3, 2e-4) for k, v in a.points().items() if k[0].endswith("loss")), what,
          "another loss than without", max(abs(v - b.points()[k]) for k, v in a.points().items() if k[0].endswith("loss")))


def nothing_to_share(base, task):
    """What trains or changes the lowest layer computes as ever, dropout and all."""
    for settings in ({"method": "full"}, {"method": "lora", "rank": 2}, {"method": "prompt", "prompt_length": 2},
                     {"method": "prefix", "prompt_length": 2}, {"method": "partial", "top_layers": 2},
                     {"method": ["partial", "lora"], "top_layers": 1, "rank": 2}, {"method": "bitfit"}):
        a, b = (Run(job(base / f"{name_of(settings)[:20].replace(' ', '')}-{name}", task, {**settings, "frozen_prefix": name}))
                for name in ("none", "shared"))
        check(b.last("started") and b.last("started")["prefix_layers"] == 0, name_of(settings), b.why())
        files = [{path: digest for path, digest in run.artifacts().items() if path != "adapter/nightsweep.json"} for run in (a, b)]
        check(a.points() == b.points() and a.evaluations() == b.evaluations() and files[0] == files[1] and len(files[0]) > 0,
              name_of(settings), "nothing to share, but differs")


def refused(base, task):
    run = Run(job(base / "m2m", write_task(base, "seq2seq"), {"method": "lora", "dropout": 0, **SHARED}, "m2m"))
    check("settings.frozen_prefix: shared is not built in for 'm2m_100' models" in run.why(), run.why())
    with environment(NIGHTSWEEP_CACHE_BYTES="much"):
        run = Run(job(base / "bytes", task, {"method": "full"}))
    check("NIGHTSWEEP_CACHE_BYTES: 'much'" in run.why(), run.why())


def main():
    seed = int(os.environ.get("TEST_SEED", random.randrange(1 << 30)))
    print("TEST_SEED", seed)
    draw = random.Random(seed)
    with folder() as base:
        task = write_data(base)
        large = {**task, "train": write_rows(base / "large.jsonl", rows(90, 4))}
        causal = {**write_task(base, "causal"), "text": "all"}
        cases = [(model, large, settings) for model in ("bert", "gpt2", "llama") for settings in UPPER]
        cases += [("roberta", large, UPPER[0]), ("llama", causal, UPPER[2]), ("gpt2", causal, UPPER[1])]
        for i, (model, data, settings) in enumerate(cases):
            here = base / str(i)
            here.mkdir()
            settings = {**settings, "batch_size": 45}
            states_of_the_file(here, data, settings, model, draw)
            at_once(here, data, settings, model, draw)
            near_without(here, data, settings, model)
            with environment(NIGHTSWEEP_CACHE=str(here / "cache")):
                same(here, data if data is causal else task, {**settings, **SHARED, "batch_size": 8}, model, draw)
        nothing_to_share(base, task)
        refused(base, task)
    finish()


if __name__ == "__main__":
    main()
