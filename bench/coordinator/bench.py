#!/usr/bin/env python3
"""What the coordinator carries (docs/scale.md): durable points a second, empty trials a second, memory, restart, start.

    bench.py [CASE ...]        all cases, or points trials latency wide processes memory restart start noticed

Each case is a run of nightsweep beside a worker that trains nothing (bench_worker.c), in a
store of its own under BENCH_FOLDER (default: a temporary folder). Processor times are those of nightsweep's own process, both
threads, without its children; on a machine that does other things they are what to look at. BUILD: the programs' folder.
"""
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

BUILD = os.path.realpath(os.environ.get("BUILD", "build/release"))
TICK = os.sysconf("SC_CLK_TCK")


class Programs:
    """The programs in a folder where nightsweep finds its worker and trainer beside itself; a model and data nobody reads."""

    def __init__(self, folder, worker, trainer="bench-worker"):
        self.folder = folder
        os.makedirs(f"{folder}/bin")
        os.makedirs(f"{folder}/model")
        for source, name in (("nightsweep", "nightsweep"), (worker, "nightsweep-worker"), (trainer, "nightsweep-trainer")):
            shutil.copy(f"{BUILD}/{source}", f"{folder}/bin/{name}")
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            with open(f"{folder}/model/{name}", "w") as out:
                out.write(name)
        for name in ("train", "validation", "test"):
            with open(f"{folder}/{name}.jsonl", "w") as out:
                out.write('{"text":"a","label":0}\n')

    def define(self, n_configurations, seeds=1, model="model", settings=None):
        definition = {
            "name": "bench", "seed": 1, "model": model,
            "task": {"kind": "classification", "train": "train.jsonl", "validation": "validation.jsonl",
                     "test": "test.jsonl", "text": "text", "label": "label"},
            "objectives": [{"metric": "validation/accuracy", "goal": "maximize"}],
            "parameters": {"learning_rate": {"values": [round(1e-7 * (i + 1), 12) for i in range(n_configurations)]}},
            "seeds": seeds, "resources": {"retries": 100}, "settings": {"method": "bitfit", "steps": 4, **(settings or {})}}
        with open(f"{self.folder}/bench.json", "w") as out:
            json.dump(definition, out)


class Run:
    """One `nightsweep run`, watched: processor time and memory of its own process, what its workers report."""

    def __init__(self, programs, *arguments, **environment):
        self.programs = programs
        self.store = f"{programs.folder}/bench.db"
        self.reports = f"{programs.folder}/reports"
        shutil.rmtree(self.reports, ignore_errors=True)
        os.makedirs(self.reports)
        self.environment = {**os.environ, "BENCH_REPORT": self.reports, **environment}
        self.command = [f"{programs.folder}/bin/nightsweep", "run", f"{programs.folder}/bench.json", "--store", self.store,
                        "--quiet", *arguments]
        self.cpu = self.peak = 0
        self.memory, self.samples = [], []

    def look(self):
        with open(f"/proc/{self.process.pid}/stat") as text:
            fields = text.read().rsplit(")", 1)[1].split()
        with open(f"/proc/{self.process.pid}/status") as text:
            status = dict(line.split(":", 1) for line in text if ":" in line)
        if fields[0] != "Z" and "VmRSS" in status:
            self.cpu = (int(fields[11]) + int(fields[12])) / TICK
            self.samples.append((time.monotonic(), self.cpu))
            self.peak = int(status["VmHWM"].split()[0]) / 1024
            self.memory.append(int(status["VmRSS"].split()[0]) / 1024)

    def start(self):
        self.begun = time.monotonic()
        self.process = subprocess.Popen(self.command, env=self.environment, stdout=subprocess.DEVNULL,
                                        stderr=open(f"{self.programs.folder}/log", "w"))

    def wait(self):
        while self.process.poll() is None:
            try:
                self.look()
            except (FileNotFoundError, ProcessLookupError):
                pass
            time.sleep(0.01)
        self.seconds = time.monotonic() - self.begun
        if self.process.returncode != 0:
            with open(f"{self.programs.folder}/log") as log:
                sys.exit(f"bench: nightsweep ended with status {self.process.returncode}: {log.read()[:500]}")
        lines = [open(f"{self.reports}/{name}").read().split() for name in os.listdir(self.reports)]
        used = [[int(x) for x in line] for line in lines if line and int(line[2]) > 0]
        self.gaps_ms = sorted(x[3] / 1e6 for x in used)
        if used:
            self.first, self.last = min(x[0] for x in used) / 1e9, max(x[1] for x in used) / 1e9
            self.trials = sum(x[2] for x in used)
        return self

    def run(self):
        self.start()
        return self.wait()

    def cpu_between(self, first, last):
        """Processor seconds between two times, to a hundredth."""
        used = [cpu for at, cpu in self.samples if first <= at <= last]
        return used[-1] - used[0] if used else 0

    def ask(self, sql):
        with sqlite3.connect(f"file:{self.store}?mode=ro", uri=True) as db:
            return db.execute(sql).fetchone()[0]


class Dashboard(threading.Thread):
    """What the page asks while a sweep runs, again and again."""
    QUERIES = ("SELECT state, count(*) FROM trial GROUP BY state",
               "SELECT * FROM leaderboard LIMIT 20",
               "SELECT n.name, m.step, m.value FROM metric m JOIN metric_name n ON n.id = m.name_id WHERE m.trial_id = "
               "(SELECT max(trial_id) FROM metric) ORDER BY m.name_id, m.step")

    def __init__(self, store):
        super().__init__(daemon=True)
        self.store, self.n, self.is_over = store, 0, False

    def run(self):
        while not self.is_over:
            try:
                with sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=10) as db:
                    for sql in self.QUERIES:
                        db.execute(sql).fetchall()
                self.n += 1
            except sqlite3.OperationalError:
                pass  # not there yet
            time.sleep(0.2)


def say(case, **values):
    print(case + ": " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items()), flush=True)


def points(folder):
    """8 workers, 400 trials of 10,000 points, 100 a line, a dashboard that asks five times a second."""
    n_trials, n_points = 400, 10000
    programs = Programs(folder, "bench-worker")
    programs.define(n_trials)
    empty = Run(programs, "--workers", "8", "--slots", "1").run()
    os.remove(empty.store)
    run = Run(programs, "--workers", "8", "--slots", "1", BENCH_POINTS=str(n_points), BENCH_BATCH="100")
    dashboard = Dashboard(run.store)
    run.start()
    dashboard.start()
    run.wait()
    dashboard.is_over = True
    n = run.ask("SELECT count(*) FROM metric")
    assert n == n_trials * n_points, n
    seconds = run.last - run.first
    size = os.stat(run.store).st_size
    # Empty trials have rows too: what the same sweep takes without points is not the points'.
    say("points", points=n, a_second=round(n / seconds), cpu_us_each=round(1e6 * (run.cpu - empty.cpu) / n, 2),
        bytes_each=round(size / n, 1), dashboard_queries=dashboard.n, peak_MB=round(run.peak))


def trials(folder):
    """Empty trials answered in process: 256 slots of one worker."""
    n = 20000
    programs = Programs(folder, "bench-worker")
    programs.define(n // 10, 10)
    run = Run(programs, "--workers", "1", "--slots", "256").run()
    assert run.ask("SELECT count(*) FROM trial WHERE state = 'COMPLETE'") == n == run.trials
    say("trials", trials=n, a_second=round(n / (run.last - run.first)), cpu_us_each=round(1e6 * run.cpu_between(run.first, run.last) / n, 1),
        with_plan_and_page_s=round(run.seconds, 2), peak_MB=round(run.peak))


def latency(folder):
    """64 slots of four workers whose trials take 40 ms and no processor: from an end to the next start of that slot."""
    n = 10000
    programs = Programs(folder, "bench-worker")
    programs.define(n // 10, 10)
    run = Run(programs, "--workers", "4", "--slots", "16", BENCH_MS="40").run()
    assert run.ask("SELECT count(*) FROM trial WHERE state = 'COMPLETE'") == n == run.trials
    say("latency", trials=n, a_second=round(n / (run.last - run.first)),
        median_ms_of_each_worker="/".join(f"{x:.1f}" for x in run.gaps_ms), cpu_us_each=round(1e6 * run.cpu_between(run.first, run.last) / n, 1))


def wide(folder):
    """10,000 slots of ten workers whose trials take two seconds and no processor."""
    n = int(os.environ.get("BENCH_TRIALS", "50000"))
    programs = Programs(folder, "bench-worker")
    programs.define(n // 100, 100)
    run = Run(programs, "--workers", "10", "--slots", "1000", BENCH_MS="2000").run()
    assert run.ask("SELECT count(*) FROM trial WHERE state = 'COMPLETE'") == n == run.trials
    say("wide", trials=n, a_second=round(n / (run.last - run.first)), cpu_us_each=round(1e6 * run.cpu_between(run.first, run.last) / n, 1),
        median_ms_from_an_end_to_the_next_start="/".join(f"{x:.0f}" for x in run.gaps_ms), peak_MB=round(run.peak),
        first_start_ms=round(1000 * (run.first - run.begun)))


def processes(folder):
    """The smallest trials there are (a tiny BERT, one step), beside starting the same trainer with the same job as often:
    A B A B. The trainer gets what its worker gives it: one thread, and a session of its own, by which Linux shares out processors."""
    n, slots = 200, 4
    alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    programs = Programs(folder, "nightsweep-worker", "nightsweep-trainer")
    subprocess.run(["tests/support/sentences.py", folder, "5", "train=8", "validation=2", "test=2"], check=True)
    programs.define(n // 10, 10, os.path.abspath("tests/golden/cases/models/bert"), {"steps": 1, "batch_size": 2})
    trainer = f"{folder}/bin/nightsweep-trainer"
    # The job of the first trial, as its worker gets it.
    os.rename(trainer, trainer + ".real")
    with open(trainer, "w") as out:
        out.write(f"#!/bin/sh\nhead -n 1 >{folder}/job.new && mv {folder}/job.new {folder}/job.json\n")
    os.chmod(trainer, 0o755)
    first = Run(programs, "--workers", "1", "--slots", "1")
    first.start()
    while not os.path.exists(f"{folder}/job.json"):
        time.sleep(0.01)
    first.process.kill()
    first.process.wait()
    os.remove(first.store)
    os.rename(trainer + ".real", trainer)
    spawned, ran, cpus = [], [], []
    for _ in range(2):
        for is_run in (False, True):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            start = time.monotonic()
            if is_run:
                run = Run(programs, "--workers", "1", "--slots", str(slots)).run()
                with sqlite3.connect(run.store) as db:
                    done, begun, ended = db.execute(
                        "SELECT count(*), min(julianday(started_at)) * 86400, max(julianday(ended_at)) * 86400 FROM attempt "
                        "WHERE state = 'COMPLETE'").fetchone()
                assert done == n, done
                ran.append(n / (ended - begun))
                os.remove(run.store)
            else:
                subprocess.run([f"{BUILD}/bench-spawn", str(n), str(slots), trainer, f"{folder}/job.json"], check=True,
                               env=alone, start_new_session=True)
                spawned.append(n / (time.monotonic() - start))
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpus.append(1e6 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / n)
    say("processes", trials=n, slots=slots, spawned_a_second="/".join(f"{x:.0f}" for x in spawned),
        trained_a_second="/".join(f"{x:.0f}" for x in ran), ratio=round(sum(ran) / sum(spawned), 2),
        cpu_us_each_spawned="/".join(f"{x:.0f}" for x in cpus[::2]), cpu_us_each_trained="/".join(f"{x:.0f}" for x in cpus[1::2]),
        ratio_of_cpu=round(sum(cpus[::2]) / sum(cpus[1::2]), 2))


def memory(folder):
    """100,000 trials of 100 points: the coordinator's largest size, and how it grew over the run."""
    n = int(os.environ.get("BENCH_TRIALS", "100000"))
    programs = Programs(folder, "bench-worker")
    programs.define(n // 100, 100)
    run = Run(programs, "--workers", "8", "--slots", "8", BENCH_POINTS="100").run()
    assert run.ask("SELECT count(*) FROM metric") == 100 * n
    half = run.memory[len(run.memory) // 4], run.memory[len(run.memory) // 2], run.memory[-2]
    say("memory", trials=n, points=100 * n, peak_MB=round(run.peak, 1),
        at_a_quarter_half_end_MB="/".join(f"{x:.1f}" for x in half), points_a_second=round(100 * n / (run.last - run.first)),
        seconds=round(run.seconds))


def restart(folder):
    """10,000 trials in the store, half of them done: from exec to the first start at a worker."""
    n = 10000
    programs = Programs(folder, "bench-worker")
    programs.define(n // 10, 10)
    run = Run(programs, "--workers", "1", "--slots", "64").run()
    out, cpus = [], []
    for _ in range(5):
        with sqlite3.connect(run.store) as db:
            db.execute("UPDATE trial SET state = 'WAITING', value = NULL, finished_at = NULL WHERE number > ?", (n - 500,))
        again = Run(programs, "--workers", "1", "--slots", "64").run()
        out.append(1000 * (again.first - again.begun))
        cpus.append(again.cpu)
    say("restart", trials=n, to_first_dispatch_ms="/".join(str(round(x)) for x in sorted(out)),
        median_ms=round(sorted(out)[2]))


def start(folder):
    """A new sweep of four trials, files hashed before: from exec to the first start at a worker."""
    programs = Programs(folder, "bench-worker")
    programs.define(4)
    out, again = [], []
    for i in range(21):
        run = Run(programs, "--workers", "1", "--slots", "1").run()
        if i:  # the first one hashes the files
            out.append(1000 * (run.first - run.begun))
        os.remove(run.store)
    out.sort()
    say("start", median_ms=round(out[10], 1), best_ms=round(out[0], 1), worst_ms=round(out[-1], 1))


def noticed(folder):
    """A trainer or worker is killed, a worker stopped: until the store says so."""
    programs = Programs(folder, "nightsweep-worker", "fake-trainer")
    programs.define(4)
    run = Run(programs, "--workers", "1", "--slots", "1", FAKE_STEP_MS="600000")
    run.start()
    db = None

    def await_(sql):
        begun = time.monotonic()
        while time.monotonic() < begun + 30:
            try:
                if db.execute(sql).fetchone()[0]:
                    return 1000 * (time.monotonic() - begun)
            except sqlite3.OperationalError:
                pass
            time.sleep(0.001)
        sys.exit(f"bench: never true: {sql}")

    def child(pid):
        for _ in range(1000):
            with open(f"/proc/{pid}/task/{pid}/children") as text:
                children = text.read().split()
            if children:
                return int(children[0])
            time.sleep(0.01)
        sys.exit("bench: a process has no child")

    while not os.path.exists(run.store):
        time.sleep(0.01)
    db = sqlite3.connect(f"file:{run.store}?mode=ro", uri=True, timeout=10)
    trainers, workers = [], []
    for i in range(5):
        for pids, depth in ((trainers, 2), (workers, 1)):
            await_("SELECT count(*) FROM attempt WHERE state = 'RUNNING' AND environment_id IS NOT NULL")
            n = db.execute("SELECT count(*) FROM attempt WHERE state <> 'RUNNING'").fetchone()[0]
            pid = run.process.pid
            for _ in range(depth):
                pid = child(pid)
            os.kill(pid, signal.SIGKILL)
            pids.append(await_(f"SELECT count(*) > {n} FROM attempt WHERE state <> 'RUNNING'"))
    await_("SELECT count(*) FROM attempt WHERE state = 'RUNNING' AND environment_id IS NOT NULL")
    os.kill(child(run.process.pid), signal.SIGSTOP)
    hung = await_("SELECT count(*) FROM event WHERE kind = 'worker_silent'")
    os.kill(child(run.process.pid), signal.SIGKILL)
    run.process.terminate()
    run.process.terminate()
    run.process.kill()
    run.process.wait()
    say("noticed", killed_trainer_ms="/".join(f"{x:.0f}" for x in sorted(trainers)),
        killed_worker_ms="/".join(f"{x:.0f}" for x in sorted(workers)), hung_worker_ms=round(hung))


CASES = {case.__name__: case for case in (points, trials, latency, wide, processes, memory, restart, start, noticed)}


def main():
    names = sys.argv[1:] or list(CASES)
    for name in names:
        if name not in CASES:
            sys.exit(__doc__)
    print(f"load {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores", flush=True)
    for name in names:
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
            CASES[name](folder)


main()
