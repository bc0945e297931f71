#!/usr/bin/env python3
"""Opens our store and our exports with the programs they are made for, and counts rows.

Run by `make check-interop` in a virtual environment with tests/interop/requirements.txt. A made-up store stands in for
a sweep: made by tests/support/make_store.py, with failures, pruned trials and hostile names.
"""
import csv
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings

warnings.simplefilter("ignore")
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build/release"))
BIN = os.path.dirname(sys.executable)
passed = failed = 0


def expect(what, found, wanted):
    global passed, failed
    if found == wanted:
        passed += 1
        print("ok      %s: %s" % (what, found))
    else:
        failed += 1
        print("FAILED  %s: %s, expected %s" % (what, found, wanted))


def run(*command, **keywords):
    return subprocess.run(command, check=True, capture_output=True, text=True, **keywords).stdout


def get(url, data=None, headers=None):
    request = urllib.request.Request(url, data=data, headers=headers or {})
    return json.load(urllib.request.urlopen(request, timeout=60))


class Server:
    """A program that serves on a loopback port until the block ends."""

    def __init__(self, command, folder):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.command = [c.replace("PORT", str(self.port)) for c in command]
        self.log = open(os.path.join(folder, os.path.basename(command[0]) + ".log"), "w+")

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        for _ in range(240):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return "http://127.0.0.1:%d" % self.port
            except OSError:
                if self.process.poll() is not None:
                    self.log.seek(0)
                    raise SystemExit("%s ended:\n%s" % (self.command[0], self.log.read()))
                time.sleep(0.25)
        raise SystemExit("%s does not listen" % self.command[0])

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def counts(store):
    out = run("sqlite3", "-json", store, "SELECT (SELECT COUNT(*) FROM trial) AS trials, (SELECT COUNT(*) FROM metric) AS points,"
              " (SELECT COUNT(*) FROM trial WHERE state = 'COMPLETE') AS complete, (SELECT COUNT(*) FROM trial WHERE state = 'FAILED') AS failed,"
              " (SELECT COUNT(*) FROM trial WHERE state = 'PRUNED') AS pruned, (SELECT COUNT(*) FROM parameter_value) AS parameters,"
              " (SELECT COUNT(*) FROM metric m JOIN metric_name n ON n.id = m.name_id AND n.name = 'validation/accuracy') AS validations,"
              " (SELECT MAX(value) FROM trial) AS best")
    return json.loads(out)[0]


def check_optuna(name, storage, n):
    import optuna
    study = optuna.load_study(study_name="methods", storage=storage)
    trials = study.trials
    state = optuna.trial.TrialState
    expect(name + ": trials", len(trials), n["trials"])
    expect(name + ": complete", sum(t.state == state.COMPLETE for t in trials), n["complete"])
    expect(name + ": failed", sum(t.state == state.FAIL for t in trials), n["failed"])
    expect(name + ": pruned", sum(t.state == state.PRUNED for t in trials), n["pruned"])
    expect(name + ": parameters", sum(len(t.params) for t in trials), n["parameters"])
    expect(name + ": validations", sum(len(t.intermediate_values) for t in trials), n["validations"])
    expect(name + ": best value to the last bit", max(t.values[0] for t in trials if t.state == state.COMPLETE), n["best"])
    copy = optuna.create_study(directions=[d.name.lower() for d in study.directions])
    copy.add_trials(trials)  # refuses a value outside of its distribution
    expect(name + ": copied trials", len(copy.trials), n["trials"])


def check_optuna_dashboard(store, n, folder):
    with Server([BIN + "/optuna-dashboard", "sqlite:///" + store, "--port", "PORT", "--host", "127.0.0.1"], folder) as url:
        studies = get(url + "/api/studies")["study_summaries"]
        expect("optuna-dashboard: studies", [s["study_name"] for s in studies], ["methods"])
        detail = get(url + "/api/studies/%d" % studies[0]["study_id"])
        expect("optuna-dashboard: trials", len(detail["trials"]), n["trials"])


def check_tensorboard(tree, n, folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    runs = sorted(os.path.join(tree, "methods", d) for d in os.listdir(os.path.join(tree, "methods")))
    points = 0
    for one in runs:
        accumulator = EventAccumulator(one, size_guidance={"scalars": 0})
        accumulator.Reload()
        points += sum(len(accumulator.Scalars(tag)) for tag in accumulator.Tags()["scalars"])
    expect("tensorboard: runs", len(runs), n["trials"])
    expect("tensorboard: points", points, n["points"])
    with Server([BIN + "/tensorboard", "--logdir", tree, "--port", "PORT", "--host", "127.0.0.1"], folder) as url:
        question = json.dumps({"experimentName": "", "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
                               "colParams": [{"hparam": "rank"}, {"hparam": "adapter_size"}, {"hparam": "method"}], "startIndex": 0, "sliceSize": 1000}).encode()
        groups = []
        for _ in range(120):  # the server loads in the background
            answer = get(url + "/experiment/defaultExperimentId/data/plugin/hparams/session_groups", question, {"Content-Type": "application/json"})
            groups = answer.get("sessionGroups", [])
            if len(groups) >= n["trials"]:
                break
            time.sleep(0.5)
        expect("tensorboard: HParams rows with rank and adapter_size as columns", len(groups), n["trials"])


def check_mlflow(tree, n, folder):
    database = tree + ".db"  # one each: the client keeps the file it opened, also when another takes its name
    target = "sqlite:///" + database
    environment = dict(os.environ, MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
    os.environ.update(environment)
    run(BIN + "/mlflow", "migrate-filestore", "--source", tree, "--target", target, env=environment, cwd=folder)
    from mlflow.tracking import MlflowClient
    client = MlflowClient(tracking_uri=target)
    experiment = client.get_experiment_by_name("methods")
    runs = []
    token = None
    while True:
        some = client.search_runs([experiment.experiment_id], max_results=1000, page_token=token)
        runs += some
        token = some.token
        if not token:
            break
    expect("mlflow: runs", len(runs), n["trials"])
    expect("mlflow: parameters", sum(len(r.data.params) for r in runs), n["parameters"])
    expect("mlflow: finished", sum(r.info.status == "FINISHED" for r in runs), n["complete"])
    expect("mlflow: failed", sum(r.info.status == "FAILED" for r in runs), n["failed"])
    points = json.loads(run("sqlite3", "-json", database, "SELECT COUNT(*) AS n FROM metrics"))[0]["n"]
    expect("mlflow: points", points, n["points"])


def check_datasette(store, n):
    base = os.path.splitext(os.path.basename(store))[0]
    rows = json.loads(run(BIN + "/datasette", "serve", store, "--get", "/%s.json?sql=select+count(*)+as+n+from+trial_summary" % base))
    expect("datasette: trial_summary", rows["rows"][0] if isinstance(rows["rows"][0], list) else list(rows["rows"][0].values()), [n["trials"]])
    html = run(BIN + "/datasette", "serve", store, "--get", "/%s/leaderboard" % base)
    expect("datasette: leaderboard opens", "configuration" in html, True)


def check_tables(folder, prefix, n):
    with open(os.path.join(folder, prefix + ".csv"), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    expect(prefix + " csv: rows", len(rows), n["trials"])
    expect(prefix + " csv: best value to the last bit", max(float(r["value"]) for r in rows if r["value"]), n["best"])
    expect(prefix + " csv: parameters", sum(1 for r in rows for k, v in r.items() if k.startswith("params.") and v), n["parameters"])
    with open(os.path.join(folder, prefix + ".jsonl"), encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    expect(prefix + " jsonl: lines", len(lines), n["trials"])
    expect(prefix + " jsonl: points", sum(len(v) for line in lines for v in line["metrics"].values()), n["points"])


def main():
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        for prefix, options in (("plain", ["--configurations", "40"]),
                                ("hostile", ["--configurations", "100", "--seeds", "1", "--hostile", "--objectives", "2", "--state", "OPEN"])):
            store = os.path.join(folder, prefix + ".db")
            run(sys.executable, os.path.join(ROOT, "tests/support/make_store.py"), store, *options)
            n = counts(store)
            for form, ending in (("csv", ".csv"), ("jsonl", ".jsonl"), ("optuna-journal", ".log"), ("tensorboard", "-tensorboard"), ("mlflow", "-mlflow")):
                run(BUILD + "/nightsweep", "export", "methods", "--store", store, "--format", form, "--output", os.path.join(folder, prefix + ending))
            check_tables(folder, prefix, n)
            check_optuna(prefix + " optuna on the store", "sqlite:///" + store, n)
            check_optuna(prefix + " optuna on the journal", JournalStorage(JournalFileBackend(os.path.join(folder, prefix + ".log"))), n)
            check_optuna_dashboard(store, n, folder)
            check_tensorboard(os.path.join(folder, prefix + "-tensorboard"), n, folder)
            check_datasette(store, n)
            check_mlflow(os.path.join(folder, prefix + "-mlflow"), n, folder)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
