#!/usr/bin/env python3
"""limits.threads decides who computes, not what: with dropout on, points, items and files are the same bits."""
from common import LABELS, Run, check, finish, folder, job, methods, name_of, rows, write_rows

# 64 sequences of at least five tokens: above TRIAL_UNDIVIDED_TOKENS, so that a batch has two groups.
BATCH = 64


def data(base):
    files = {name: write_rows(base / f"{name}.jsonl", rows(n, seed))
             for name, n, seed in (("train", BATCH + 20, 1), ("validation", 40, 2), ("test", 40, 3))}
    return {"kind": "classification", "text": "text", "label": "label", **files}


def outcome(base, task, settings, model, threads):
    run = Run(job(base / f"threads-{threads}", task, {**settings, "batch_size": BATCH, "class_weights": "balanced"}, model,
                  limits={"memory_bytes": 0, "threads": threads}))
    if run.why().startswith("infeasible"):
        return None
    check(run.finished(), model, name_of(settings), run.why())
    return [run.points(), [e["items"] for e in run.evaluations() if e["is_final"]],
            sorted((r["path"], r["sha256"]) for r in run.records if r["type"] == "artifact")]


with folder() as base:
    task = data(base)
    for model in ("bert", "gpt2"):
        for i, settings in enumerate(methods()):
            here = base / f"{model}-{i}"
            one, two = (outcome(here, task, settings, model, threads) for threads in (1, 2))
            check(one == two, model, name_of(settings), "differs between one thread and two")
finish()
