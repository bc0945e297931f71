"""Share of a training step's processor time outside matrix products, by sampling with perf: one thread, start-up taken off.

The products are the libraries' code (OpenBLAS, oneDNN and what oneDNN generates), copies that they make of their operands
included. Start-up is sampled in a run of one step and taken off the run of many.
"""
import shutil
import subprocess
import tempfile

from runs import ENVIRONMENT, Ours

LIBRARIES = ("libopenblas", "libdnnl", "libgomp", "[JIT]", "perf-", "jit")


def sample(side, steps):
    """(dso, symbol) -> samples of a run of `steps` steps and one; None without perf."""
    with tempfile.NamedTemporaryFile(suffix=".perf") as file:
        prefix = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "999", "-o", file.name]
        Ours(side, threads=1, steps=steps, prefix=prefix).result()
        said = subprocess.run(["perf", "report", "-i", file.name, "--stdio", "-q", "-n", "--sort", "dso,symbol", "-t", "\t"],
                              capture_output=True, text=True, env=ENVIRONMENT).stdout
    counts = {}
    for line in said.splitlines():
        parts = [part.strip() for part in line.split("\t")]
        if len(parts) >= 4 and parts[1].isdigit():
            counts[parts[2], parts[3].removeprefix("[.] ").removeprefix("[k] ")] = int(parts[1])
    return counts or None


def share_outside(side, repeats):
    """Shares in percent, a run each, and the largest parts of the last run in percent of the steps' samples."""
    if not shutil.which("perf"):
        return [], {}
    shares, parts = [], {}
    for _ in range(repeats):
        first, all_steps = sample(side, 0), sample(side, side.steps)
        if not first or not all_steps:
            return [], {}
        steps = {key: max(0, n - first.get(key, 0)) for key, n in all_steps.items()}
        total = sum(steps.values())
        inside = sum(n for (dso, _), n in steps.items() if any(name in dso for name in LIBRARIES))
        shares.append(100 * (1 - inside / total))
        largest = sorted(steps.items(), key=lambda item: -item[1])[:25]
        parts = {f"{dso} {symbol}": round(100 * n / total, 1) for (dso, symbol), n in largest if n}
    return shares, parts
