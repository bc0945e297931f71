#!/usr/bin/env python3
"""When the memory limit is too small for a step's values, layers are computed again in backward: the same bits as without, of
every method and family, dropout on, in less memory; refused by name where a method's values span layers."""
import compute
from common import LABELS, Run, check, finish, folder, job, methods, name_of, rows, write_data, write_rows
from language import write_task

SPANNING = ("adalora", "fusion", "smoe", "prefix")


def names(settings):
    return settings["method"] if isinstance(settings["method"], list) else [settings["method"]]


def limited(run, threads):
    """One byte less than what the trial says it needs."""
    return {"memory_bytes": run.last("started")["estimated_bytes"] - 1, "threads": threads}


def same(base, task, settings, model, threads=1):
    what = f"{model}, {name_of(settings)}, {threads} threads:"
    whole = Run(job(base / "whole", task, settings, model, limits={"memory_bytes": 0, "threads": threads}))
    if whole.why().startswith("infeasible"):
        return None
    if not check(whole.finished(), what, whole.why()):
        return None
    short = Run(job(base / "short", task, settings, model, limits=limited(whole, threads)))
    if set(names(settings)) & set(SPANNING):
        check(short.why().startswith("out_of_memory: about") and "layers cannot be computed again with method" in short.why(), what,
              short.why())
        return None
    if not check(short.finished(), what, short.why()):
        return None
    a, b = whole.last("started"), short.last("started")
    check(not a["recomputes"] and b["recomputes"] and b["estimated_bytes"] < a["estimated_bytes"], what, a["estimated_bytes"],
          b["estimated_bytes"])
    check(whole.points() == short.points() and whole.evaluations() == short.evaluations()
          and whole.artifacts() == short.artifacts() and len(whole.points()) > 4, what, "differs")
    return whole, short


def too_small_for_both(base, task, model):
    run = Run(job(base / "refused", task, {"method": "lora"}, model, limits={"memory_bytes": 1 << 20, "threads": 1}))
    check(run.why().startswith("out_of_memory: about") and "even when layers are computed again" in run.why(), run.why())


def takes_less(base):
    """Eight layers: most of what a step keeps is theirs."""
    compute.WIDTH, compute.INNER, compute.LAYERS = 128, 512, 8
    model = compute.write_model(base / "deep")
    path = write_rows(base / "long.jsonl", [{"text": " ".join(f"w{6 + (7 * i + j) % 70}" for j in range(40)), "label": LABELS[i % 3]}
                                            for i in range(96)])
    task = {"kind": "classification", "text": "text", "label": "label", "train": path, "validation": path}
    for settings in ({"method": "full"}, {"method": "lora", "rank": 4}, {"method": "lora", "rank": 4, "layers": [2, 3, 4, 5, 6, 7],
                                                                       "frozen_prefix": "shared"}):
        runs = same(base, task, {**settings, "batch_size": 96, "epochs": 1, "max_tokens": 48}, model)
        if runs:
            whole, short = (run.finished()["peak_bytes"] for run in runs)
            estimates = [run.last("started")["estimated_bytes"] for run in runs]
            print(f"{name_of(settings)}: {whole / 2**20:.0f} MiB, {short / 2**20:.0f} when layers are computed again "
                  f"(estimates {estimates[0] / 2**20:.0f}, {estimates[1] / 2**20:.0f})")
            check(whole - short > 6 << 20, name_of(settings), "memory does not fall:", whole, short)


def main():
    with folder() as base:
        task = write_data(base)
        large = {**task, "train": write_rows(base / "large.jsonl", rows(90, 4))}
        causal = {**write_task(base, "causal"), "text": "all"}
        for i, settings in enumerate(list(methods())):
            here = base / f"bert-{i}"
            here.mkdir()
            same(here, large, {**settings, "batch_size": 45}, "bert", 1 + i % 2)
        some = ({"method": "full"}, {"method": "lora", "rank": 2, "method_dropout": 0.2}, {"method": "adapter", "adapter_size": 3},
                {"method": "linear_probe"}, {"method": "partial", "top_layers": 1}, {"method": "full", "accumulation": 2})
        cases = [(model, data, settings) for model, data in (("gpt2", large), ("llama", large), ("gpt2", causal), ("llama", causal),
                                                             ("roberta", large)) for settings in some]
        for i, (model, data, settings) in enumerate(cases):
            here = base / f"{model}-{i}"
            here.mkdir()
            if not (data is causal and settings["method"] == "linear_probe"):
                same(here, data, {**settings, "batch_size": 45}, model)
        takes_less(base)
        too_small_for_both(base, task, "bert")
    finish()


if __name__ == "__main__":
    main()
