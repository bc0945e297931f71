"""What a trial reports, computed again from what it wrote: metrics from the items' probabilities, loss with weights and
smoothing, the learning rate, clipping, when it validates, which weights it keeps, and what it says it cost."""
import json
import math

from common import LABELS, MODELS, Run, check, finish, folder, items_of, job, name_of, near, rows, tensors, write_data, write_rows


def metrics_of(evaluation):
    """Accuracy, macro F1, loss, ECE (15 bins), F1 and confusion of the items, by their definitions."""
    items = items_of(evaluation)
    n, classes = len(items), len(items[0][3])
    confusion = [[0] * classes for _ in range(classes)]
    bins = [[0, 0.0, 0] for _ in range(15)]
    for label, predicted, loss, p in items:
        confusion[label][predicted] += 1
        check(predicted == max(range(classes), key=lambda c: (p[c], -c)), "a prediction is not the most probable class")
        check(near(sum(p), 1, 1e-5), "probabilities sum to", sum(p))
        check(near(loss, -math.log(p[label]), 1e-4, 1e-6), "an item's loss is", loss, "for p =", p[label])
        bin_ = bins[max(0, math.ceil(p[predicted] * 15) - 1)]
        bin_[0] += 1
        bin_[1] += p[predicted]
        bin_[2] += label == predicted
    f1 = {}
    for c in range(classes):
        of_label, of_prediction = sum(confusion[c]), sum(row[c] for row in confusion)
        if of_label + of_prediction:
            f1[c] = 2 * confusion[c][c] / (of_label + of_prediction)
    return {"accuracy": sum(confusion[c][c] for c in range(classes)) / n, "macro_f1": sum(f1.values()) / len(f1),
            "loss": sum(i[2] for i in items) / n, "ece": sum(abs(right - sure) for _, sure, right in bins) / n,
            "f1": [f1.get(c, 0) for c in range(classes)], "confusion": confusion}


def check_metrics(run, split):
    evaluation = run.final(split)
    expected, found = metrics_of(evaluation), evaluation["metrics"]
    for name in ("accuracy", "macro_f1", "loss", "ece"):
        # Items carry single precision: 15 sums of probabilities of 1e-7 each.
        check(near(found[name], expected[name], 1e-5, 1e-6), split, name, found[name], expected[name])
        check(run.finished()["objectives"][f"{split}/{name}"] == found[name], split, name, "in finished")
    check(found["confusion"] == expected["confusion"], split, "confusion")
    check(list(found["f1"]) == sorted(LABELS), split, "F1 by label:", list(found["f1"]))
    for a, b in zip(found["f1"].values(), expected["f1"]):
        check(near(a, b, 1e-9), split, "F1 of a class", a, b)


def steps_and_best(base, task):
    """Validations every N steps and each epoch; the best one's weights are the trial's."""
    settings = {"method": "bitfit", "epochs": 3, "batch_size": 8, "evaluate_every": 4, "learning_rate": 0.02}
    for metric, goal in (("accuracy", "maximize"), ("loss", "minimize")):
        run = Run(job(base / metric, task, settings, objective={"metric": f"validation/{metric}", "goal": goal}))
        started = run.last("started")
        per_epoch = math.ceil(44 / 8)
        check((started["steps_per_epoch"], started["total_steps"]) == (per_epoch, 3 * per_epoch), "steps of", started)
        values = {step: value for (name, step), value in run.points().items() if name == f"validation/{metric}"}
        due = sorted({s for s in range(1, 3 * per_epoch + 1) if s % 4 == 0 or s % per_epoch == 0})
        check(sorted(values) == due, "validations at", sorted(values), "due at", due)
        best = (max if goal == "maximize" else min)(values.values())
        first = min(s for s in values if values[s] == best)
        end = run.finished()
        check((end["best_step"], end["value"]) == (first, best), "best", end["best_step"], end["value"], first, best)
        at_best = [e for e in run.evaluations() if e["step"] == first and not e["is_final"]][0]
        check(run.final("validation")["metrics"] == at_best["metrics"], "the final validation is not the best one's")
        check_metrics(run, "validation")
        check_metrics(run, "test")
        test_points = [key for key in run.points() if key[0].startswith("test/")]
        check({step for _, step in test_points} == {first} and len(test_points) == 4, "test points", test_points)
    stopped = Run(job(base / "early", task, {**settings, "epochs": 50, "patience": 2, "learning_rate": 0.2, "clip": 0}))
    end = stopped.finished()
    values = [v for (name, _), v in stopped.points().items() if name == "validation/accuracy"]
    check(end and end["step"] < 50 * per_epoch and "early" in end["message"], "early stopping:", end)
    check(max(values) == values[-3], "two validations behind the best one:", values[-4:])


def schedules(base, task):
    total = 12
    for name, factor in (("linear", lambda s, w: (total - s) / (total - w)),
                         ("cosine", lambda s, w: 0.5 * (1 + math.cos(math.pi * (s - w) / (total - w)))),
                         ("inverse_sqrt", lambda s, w: math.sqrt(max(w, 1) / max(s, 1))), ("constant", lambda s, w: 1)):
        for warmup, w in ((0, 0), (0.3, 4), (5, 5)):
            run = Run(job(base / "schedule", task, {"method": "linear_probe", "schedule": name, "warmup": warmup,
                                                    "learning_rate": 0.25, "epochs": 2}))
            rates = [v for (n, _), v in sorted(run.points().items()) if n == "train/learning_rate"]
            expected = [0.25 * (s / w if s < w else factor(s, w)) for s in range(total)]
            check(len(rates) == total and all(near(a, b, 1e-12, 1e-15) for a, b in zip(rates, expected)), name, warmup, rates)


def weighted_loss(base):
    """Training rows that are also the validation rows, one batch, a learning rate of 0: the items give the loss again."""
    data = [{"text": r["text"], "label": LABELS.index(r["label"])} for r in rows(40, 5)][:38]
    path = write_rows(base / "same.jsonl", data)
    task = {"kind": "classification", "train": path, "validation": path, "text": "text", "label": "label"}
    count = [sum(r["label"] == c for r in data) for c in range(3)]
    balanced = [len(data) / (3 * n) for n in count]
    for weights, values in (("none", [1, 1, 1]), ("balanced", balanced), ({"0": 3, "2": 0.5}, [3, 1, 0.5])):
        for smoothing in (0, 0.2):
            run = Run(job(base / "loss", task, {"method": "linear_probe", "batch_size": 64, "steps": 1, "warmup": 1, "dropout": 0,
                                                "attention_dropout": 0, "class_weights": weights, "label_smoothing": smoothing,
                                                "order": "file"}))
            total, divisor = 0.0, 0.0
            for label, _, _, p in items_of(run.final("validation")):
                total += values[label] * (1 - smoothing) * -math.log(p[label])
                total += smoothing / 3 * sum(w * -math.log(q) for w, q in zip(values, p))
                divisor += values[label]
            found = run.points()[("train/loss", 1)]
            check(near(found, total / divisor, 2e-6), "loss", weights, smoothing, found, total / divisor)


def one_step_of_sgd(base):
    """‖Δw‖ of a step of SGD is rate · min(norm, clip): over all tensors of full fine-tuning from the model's own head."""
    data = [{"text": r["text"], "label": LABELS.index(r["label"])} for r in rows(16, 6)]
    path = write_rows(base / "sgd.jsonl", data)
    task = {"kind": "classification", "train": path, "validation": path, "text": "text", "label": "label"}
    before = tensors(MODELS / "bert/model.safetensors")
    for clip in (0, 0.25):
        run = Run(job(base / "sgd", task, {"method": "full", "optimizer": "sgd", "momentum": 0, "weight_decay": 0, "clip": clip,
                                           "steps": 1, "warmup": 0, "schedule": "constant", "learning_rate": 0.5,
                                           "batch_size": 16, "init_head": "model", "dropout": 0, "attention_dropout": 0}))
        after = tensors(base / "sgd/adapter/tensors.safetensors")
        check(after.keys() == before.keys(), "full fine-tuning saves every tensor")
        moved = math.sqrt(sum((a - b) ** 2 for n in after for a, b in zip(after[n][1], before[n][1])))
        norm = run.points()[("train/grad_norm", 1)]
        check(norm > 0.25, "the gradient's norm is too small to be clipped:", norm)
        check(near(moved, 0.5 * (min(norm, clip) if clip else norm), 1e-4), "moved by", moved, "norm", norm, "clip", clip)


def accumulation(base, task):
    """Two batches of 4 summed are one batch of 8, but for rounding; a short last batch weighs as its own."""
    plain = {"dropout": 0, "attention_dropout": 0, "method": "lora", "epochs": 2}
    task = {**task, "train": write_rows(base / "even.jsonl", rows(40, 1))}
    whole = Run(job(base / "whole", task, {**plain, "batch_size": 8}))
    parts = Run(job(base / "parts", task, {**plain, "batch_size": 4, "accumulation": 2}))
    a, b = whole.points(), parts.points()
    check(a.keys() == b.keys(), "accumulation changes the steps")
    for key in a:
        if key[0] in ("train/loss", "train/grad_norm"):
            check(near(a[key], b[key], 5e-4), "accumulation", key, a[key], b[key])
    dropped = [Run(job(base / "d", task, {"method": "lora", "batch_size": 4, "accumulation": n})).points() for n in (1, 2)]
    check(dropped[0][("train/loss", 1)] != dropped[1][("train/loss", 1)], "a second batch changes the loss")


def costs(base, task):
    """Trained parameters, stored bytes and FLOPs against the files and the model's sizes."""
    config = json.loads((MODELS / "bert/config.json").read_text())
    d, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    total = sum(len(values) for _, values in tensors(MODELS / "bert/model.safetensors").values())
    for settings, file in (({"method": "lora", "rank": 3}, "adapter_model"), ({"method": "bitfit"}, "tensors"),
                           ({"method": "full"}, "tensors"), ({"method": "linear_probe"}, "tensors"),
                           ({"method": "partial", "top_layers": 1}, "tensors"), ({"method": "layer_norm"}, "tensors")):
        run = Run(job(base / "cost", task, settings))
        started, end = run.last("started"), run.finished()
        saved = tensors(base / f"cost/adapter/{file}.safetensors")
        trained = sum(len(values) for _, values in saved.values())
        what = name_of(settings)
        check(started["trained_parameters"] == trained, what, started["trained_parameters"], trained)
        extra = 2 * 3 * (d + d) * layers if settings["method"] == "lora" else 0
        check(started["total_parameters"] == total + extra, what, started["total_parameters"], total + extra)
        head = 3 * d + 3
        check(started["parameters_by_method"][settings["method"]] == trained - head, what, started["parameters_by_method"])
        files = [p for p in (base / "cost/adapter").rglob("*") if p.is_file()]
        check(end["stored_bytes"] == sum(p.stat().st_size for p in files), what, "stored bytes")
        check(sorted(run.artifacts()) == sorted(str(p.relative_to(base / "cost")) for p in files), what, "artifacts")
        check(end["seconds"] > 0 and end["tokens_per_second"] > 0 and end["peak_bytes"] > 1 << 20, what, "costs", end)
        # Forward: 2 · in · out a token and linear layer of the encoder, 4 · n · d a token and layer in attention. Backward: the
        # same again for activations from the lowest trained layer up, and for the share of the matrices that is trained.
        lines = [json.loads(line) for line in open(task["train"])]
        mean = math.ceil(sum(len(r["text"].split()) for r in lines) / len(lines))
        forward = mean * (2 * layers * (4 * d * d + 2 * d * inner) + 4 * mean * d * layers)
        matrices = sum(len(v) for n, (shape, v) in saved.items() if len(shape) == 2 and "embedding" not in n)
        above = {"linear_probe": 0, "partial": 1 / layers}.get(settings["method"], 1)
        expected = started["total_steps"] * 8 * forward * (1 + above + min(1, matrices / (layers * (4 * d * d + 2 * d * inner))))
        check(abs(started["flops"] / expected - 1) < 0.06, what, "FLOPs", started["flops"], expected)
    flops = [Run(job(base / "cost", task, {"method": m})).last("started")["flops"] for m in ("linear_probe", "lora", "full")]
    check(flops == sorted(flops) and len(set(flops)) == 3, "a probe is cheaper than LoRA, LoRA than full fine-tuning:", flops)


def limits(base, task):
    """max_tokens is capped at the model's positions; what is cut is counted; too little memory is refused with the need."""
    long = [{"text": " ".join(["w7"] * 200), "label": label} for label in LABELS] + rows(9, 8)
    task = {**task, "train": write_rows(base / "long.jsonl", long)}
    for model, positions in (("bert", 48), ("roberta", 44 - 1)):
        for max_tokens, same in ((512, True), (20, False)):
            run = Run(job(base / "long", task, {"method": "linear_probe", "max_tokens": max_tokens}, model))
            check(run.finished(), model, max_tokens, run.why())
            check(run.last("started")["truncated"] == 3, model, max_tokens, "truncated", run.last("started")["truncated"])
            capped = Run(job(base / "cap", task, {"method": "linear_probe", "max_tokens": positions}, model))
            check((capped.points() == run.points()) == same, model, max_tokens, "against", positions)
    run = Run(job(base / "memory", task, {"method": "full"}, limits={"memory_bytes": 1 << 20, "threads": 1}))
    check(run.status == 1 and run.why().startswith("out_of_memory: about"), "memory:", run.why())
    run = Run(job(base / "nan", task, {"method": "full", "learning_rate": 1e14}))
    check(run.status == 1 and run.why().startswith("diverged: ") and "step" in run.why(), "diverged:", run.why())
    trapped = Run(job(base / "nan", task, {"method": "full", "learning_rate": 1e14}), "--trap-nan")
    check("step " in trapped.why() and "gave a value that is not finite" in trapped.why(), "trap:", trapped.why())
    stopped = Run(job(base / "few", task, {"method": "lora"}, stop_after_steps=2))
    check(stopped.status == 0 and stopped.last("stopped")["step"] == 2 and not stopped.finished(), "stop_after_steps")


def main():
    with folder() as base:
        task = write_data(base)
        steps_and_best(base, task)
        schedules(base, task)
        weighted_loss(base)
        one_step_of_sgd(base)
        accumulation(base, task)
        costs(base, task)
        limits(base, task)
    finish()


main()
