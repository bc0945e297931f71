"""Language models through the real trainer: next tokens, answers to prompts, second sequences; resume; refusals."""
import math
import random

import resume
from common import Run, check, finish, folder, items_of, job, near, write_rows


def chain(start, n):
    """A word is followed by the one a fixed rule gives: what a model can learn, and only by looking at the last word."""
    words = [start]
    while len(words) < n:
        words.append((words[-1] * 5 + 7) % 40)
    return [f"w{6 + w}" for w in words]


def texts(n, seed):
    draw = random.Random(seed)
    return [chain(draw.randrange(40), draw.randint(4, 10)) for _ in range(n)]


def write_task(base, kind):
    task = {"kind": kind, "text": "text"}
    for name, n, seed in (("train", 80, 1), ("validation", 20, 2)):
        words = texts(n, seed)
        if kind == "seq2seq":
            items = [{"text": " ".join(w), "answer": " ".join(reversed(w[-4:]))} for w in words]
        else:
            items = [{"text": " ".join(w[:2]), "answer": " ".join(w[2:]), "all": " ".join(w)} for w in words]
        task[name] = write_rows(base / f"{kind}-{name}.jsonl", items)
    return {**task, "target": "answer"} if kind == "seq2seq" else task


def learns(base, task, model, settings, counts, best, what):
    """Perplexity starts at about the vocabulary's size and ends below `best`; `counts`: predicted tokens of each item."""
    run = Run(job(base / "out", task, {"epochs": 20, "learning_rate": 0.01, "dropout": 0, **settings}, model))
    if not check(run.finished(), what, run.why()):
        return
    points, final = run.points(), run.final("validation")
    losses = [value for (name, _), value in sorted(points.items(), key=lambda p: p[0][1]) if name == "validation/loss"]
    check(losses[0] > 1.2 and math.exp(min(losses)) < best, what, "perplexity", math.exp(losses[0]), "→", math.exp(min(losses)))
    check(near(final["metrics"]["perplexity"], math.exp(final["metrics"]["loss"])), what, "perplexity is exp(loss)")
    check(set(final["metrics"]) == {"loss", "perplexity"}, what, "metrics", final["metrics"])
    items = items_of(final)
    check([i[0] for i in items] == counts, what, "predicted tokens", [i[0] for i in items], counts)
    mean = sum(i[0] * i[2] for i in items) / sum(counts)
    check(near(mean, final["metrics"]["loss"], 1e-5), what, "loss is the mean over tokens", mean, final["metrics"]["loss"])
    objectives = run.finished()["objectives"]
    check(objectives["validation/loss"] == final["metrics"]["loss"] == run.finished()["value"], what, "objective", objectives)


def all_learn(base):
    words = texts(20, 2)
    causal, pairs = write_task(base, "causal"), write_task(base, "seq2seq")
    whole = [len(w) for w in words]  # all words but the first, and the end
    answer = [len(w) - 2 + 1 for w in words]
    for model in ("gpt2", "llama"):
        learns(base, {**causal, "text": "all"}, model, {"method": "full"}, whole, 3, f"{model}, next words:")
        learns(base, {**causal, "target": "answer"}, model, {"method": "full"}, answer, 3, f"{model}, answers:")
    learns(base, {**causal, "target": "answer"}, "llama", {"method": "lora", "rank": 8, "targets": ["q_proj", "v_proj",
           "up_proj", "down_proj"], "epochs": 30}, answer, 20, "llama, answers with LoRA:")
    learns(base, pairs, "m2m", {"method": "full"}, [4 + 1] * 20, 12, "m2m, reversed ends:")
    for name in ("csv", "tsv"):
        separator = "," if name == "csv" else "\t"
        path = base / f"train.{name}"
        path.write_text(f"all{separator}other\n" + "".join(f"{' '.join(w)}{separator}x\n" for w in texts(30, 3)))
        run = Run(job(base / "out", {"kind": "causal", "train": str(path), "text": "all"}, {"method": "full", "epochs": 1},
                      "gpt2"))
        check(run.finished() and run.last("started")["examples"]["validation"] >= 3, name, "splits itself:", run.why())


def divides(base):
    """A large batch is computed in groups: its loss is still the mean over its tokens, with any number of threads."""
    causal, pairs = write_task(base, "causal"), write_task(base, "seq2seq")
    for task, model in (({**causal, "target": "answer"}, "gpt2"), (pairs, "m2m")):
        seen = set()
        for threads in (1, 2):
            settings = {"method": "full", "steps": 1, "batch_size": 80, "learning_rate": 1e-9, "dropout": 0, "attention_dropout": 0}
            run = Run(job(base / "out", {**task, "validation": task["train"]}, settings, model, limits={"threads": threads}))
            if not check(run.finished(), model, "in groups:", run.why()):
                return
            points = {name: value for (name, _), value in run.points().items()}
            check(near(points["train/loss"], points["validation/loss"], 1e-6), model, "loss in groups", points)
            seen.add((points["train/loss"], points["train/grad_norm"]))
        check(len(seen) == 1, model, "threads change the result", seen)


def resumes(base):
    draw = random.Random(5)
    causal, pairs = write_task(base, "causal"), write_task(base, "seq2seq")
    for task, model, settings in (({**causal, "target": "answer"}, "gpt2", {"method": "lora", "rank": 2, "method_dropout": 0.2}),
                                  ({**causal, "text": "all"}, "llama", {"method": "prefix", "prompt_length": 3}),
                                  (pairs, "m2m", {"method": "adapter", "adapter_size": 4, "method_dropout": 0.1}),
                                  (pairs, "m2m", {"method": ["full", "smoe"], "expert_kind": "feed_forward", "strata": [2, 2], "expert_top": 2,
                                                  "expert_capacity": 1, "expert_masking": 0.1})):
        resume.same(base, task, settings, model, draw)


def refusals(base):
    causal, pairs = write_task(base, "causal"), write_task(base, "seq2seq")
    for task, model, settings, more, expected in (
            (pairs, "gpt2", {}, {}, "sequence to sequence is not built in for 'gpt2'"),
            (causal, "m2m", {}, {}, "causal language modelling is not built in for 'm2m_100'"),
            (causal, "bert", {}, {}, "causal language modelling is not built in for 'bert'"),
            ({**pairs, "kind": "classification", "label": "answer"}, "m2m", {}, {}, "classification is not built in"),
            ({**pairs, "kind": "translation"}, "m2m", {}, {}, "classification, causal, seq2seq, "),
            ({k: v for k, v in pairs.items() if k != "target"}, "m2m", {}, {}, "'target'"),
            ({**pairs, "target": "anwser"}, "m2m", {}, {}, "nearest is 'answer'"),
            (causal, "gpt2", {}, {"checks": [{"name": "0", "kind": "counterfactual", "file": "x"}]}, "measures the task classification"),
            (causal, "gpt2", {}, {"objective": {"metric": "validation/accuracy", "goal": "maximize"}}, "validation/accuracy"),
            ({**causal, "target": "answer"}, "gpt2", {"max_tokens": 1}, {}, "nothing is left of it to predict")):
        run = Run(job(base / "out", task, {"method": "full", "epochs": 1, **settings}, model, **more))
        check(not run.finished() and expected in run.why(), "refused with", repr(expected), "but:", run.why())


def main():
    with folder() as base:
        all_learn(base)
        divides(base)
        resumes(base)
        refusals(base)
    finish()


if __name__ == "__main__":
    main()
