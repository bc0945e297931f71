"""Every method, dropout on: killed with SIGKILL at random records and resumed from the last checkpoint that was announced,
a trial ends with the metrics, items and files of one that nobody disturbed, bit for bit. KILLS: at least so many, beyond two
of every method with both models."""
import os
import random
import shutil
import signal
import subprocess
import json

from common import LABELS, TRAINER, Run, check, finish, folder, job, methods, name_of, write_data

KILLS = 2  # of a trial


def disturbed(base, task, settings, model, draw):
    """Runs with kills; the points of each attempt up to the checkpoint that the next one starts from."""
    points, evaluations, resume, attempts = {}, [], None, []
    for attempt in range(1, KILLS + 2):
        output = base / "killed"
        countdown = [draw.randint(2, 12)]

        def kill_after(record):
            countdown[0] -= 1
            return countdown[0] <= 0 and any(r["type"] == "checkpoint" for r in run_records)

        run_records = []

        def hook(record):
            run_records.append(record)
            return attempt <= KILLS and kill_after(record)

        run = Run(job(output, task, settings, model, attempt=attempt, resume=resume), kill_after=hook)
        attempts.append(run)
        start = run.last("started")
        if not check(start is not None, model, name_of(settings), "did not start:", run.why()):
            return None
        if resume:
            check(start["resumed_step"] == resume_step and start["bit_exact"], "resumed at", start["resumed_step"])
        checkpoint = run.last("checkpoint")
        limit = checkpoint["step"] if run.finished() is None else float("inf")
        for key, value in run.points().items():
            if key[1] <= limit:
                check(key not in points or points[key] == value, "a repeated point differs:", key)
                points[key] = value
        evaluations += [e for e in run.evaluations() if e["step"] <= limit or e["is_final"]]
        if run.finished():
            return points, evaluations, run, attempt - 1
        resume, resume_step = checkpoint["path"], checkpoint["step"]
    return None


def same(base, task, settings, model, draw):
    what = f"{model}, {name_of(settings)}:"
    whole = Run(job(base / "whole", task, settings, model))
    if whole.why().startswith("infeasible"):
        print(f"{what} not for this model: {whole.why()}")
        return 0
    if not check(whole.status == 0 and whole.finished(), what, whole.why()):
        return 0
    result = disturbed(base, task, settings, model, draw)
    if not check(result is not None, what, "did not finish after the kills"):
        return 0
    points, evaluations, run, kills = result
    check(points == whole.points(), what, "points differ:",
          [k for k in whole.points() if points.get(k) != whole.points()[k]][:3])
    for e in whole.evaluations():
        check(e in evaluations, what, "an evaluation differs:", e["split"], e["step"])
    check(run.artifacts() == whole.artifacts() and whole.artifacts(), what, "files differ")
    a, b = run.finished(), whole.finished()
    for key in ("step", "value", "best_step", "objectives", "stored_bytes", "message"):
        check(a[key] == b[key], what, key, a[key], b[key])
    losses = [v for (name, _), v in sorted(points.items()) if name == "train/loss"]
    check(len(set(losses)) == len(losses), what, "losses repeat")
    return kills


def stopped(base, task):
    """Asked to stop, by a line or by SIGTERM: a checkpoint, `stopped`, exit status 0; then the rest."""
    settings = {"method": "lora", "method_dropout": 0.1, "epochs": 40}
    whole = Run(job(base / "whole", task, settings, checkpoint_seconds=1000))
    check(whole.finished() and not whole.all("checkpoint"), "no checkpoint was due")
    first = Run(job(base / "stopped", task, settings, checkpoint_seconds=1000), after_job='{"v":1,"type":"stop"}\n')
    check(first.status == 0 and first.last("stopped") and first.last("checkpoint"), "stop line:", first.why())
    process = subprocess.Popen([TRAINER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdin.write(json.dumps(job(base / "stopped", task, settings, attempt=2, checkpoint_seconds=1000,
                                       resume=first.last("checkpoint")["path"])) + "\n")
    process.stdin.flush()
    lines = [process.stdout.readline()]
    process.send_signal(signal.SIGTERM)
    lines += process.communicate()[0].splitlines()
    records = [json.loads(line) for line in lines]
    check(process.returncode == 0 and records[-1]["type"] in ("stopped", "finished"), "SIGTERM:", records[-1])
    if records[-1]["type"] == "stopped":
        path = [r for r in records if r["type"] == "checkpoint"][-1]["path"]
        last = Run(job(base / "stopped", task, settings, attempt=3, checkpoint_seconds=1000, resume=path))
        check(last.artifacts() == whole.artifacts(), "stopped twice and resumed: files differ")


def refused(base, task):
    """A damaged checkpoint, one of another trial, of another method, and none at all: each said so."""
    settings = {"method": "lora"}
    run = Run(job(base / "a", task, settings), kill_after=lambda r: r["type"] == "checkpoint")
    path = run.last("checkpoint")["path"]
    data = bytearray(open(path, "rb").read())
    cases = {"cut": bytes(data[:len(data) // 2]), "empty": b"", "text": b"no checkpoint at all, but long enough" * 4}
    for name, at in (("magic", 3), ("length", 10), ("header", 40), ("data", len(data) // 2), ("sum", len(data) - 1)):
        damaged = bytearray(data)
        damaged[at] ^= 0x41
        cases[name] = bytes(damaged)
    for name, content in cases.items():
        bad = base / f"{name}.checkpoint"
        bad.write_bytes(content)
        run = Run(job(base / "b", task, settings, resume=str(bad)))
        check(run.status == 1 and str(bad) in run.why(), "damaged checkpoint", name, run.status, run.why())
    for why, more, other in (("another trial", {"identity": "other"}, settings), ("trained parameters", {}, {"method": "bitfit"})):
        run = Run(job(base / "b", task, other, resume=path, **more))
        check(run.status == 1 and why in run.why(), why, run.why())
    run = Run(job(base / "b", task, settings, resume=str(base / "none")))
    check(run.status == 1 and "none" in run.why(), "missing checkpoint:", run.why())


def main():
    seed = int(os.environ.get("TEST_SEED", random.randrange(1 << 30)))
    print(f"TEST_SEED={seed}")
    draw = random.Random(seed)
    n = kills = 0
    wanted = int(os.environ.get("KILLS", 0))
    trials = [(model, settings) for model in ("bert", "roberta") for settings in methods()]
    with folder() as base:
        task = write_data(base)
        while n < len(trials) or kills < wanted:
            model, settings = trials[n % len(trials)]
            kills += same(base, task, settings, model, draw)
            n += 1
            for name in ("whole", "killed"):
                shutil.rmtree(base / name, ignore_errors=True)
        stopped(base, task)
        refused(base, task)
    print(f"{n} trials, {kills} kills, {len(LABELS)} classes")
    finish()


if __name__ == "__main__":
    main()
