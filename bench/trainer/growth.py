#!/usr/bin/env python3
"""Our tokens a second and peak memory against length, batch, rank, layers and slots: docs/images/growth.svg.

    growth.py [--curves 'length batch'] [--output build/bench/growth.json] [--svg docs/images/growth.svg] [--draw FILE.json]

LoRA r8 on BERT layers of MiniLM's width, one thread, fp32; one of the five grows at a time. Tokens a second are by processor time
(slots: sums by the clock), so that a machine that others use gives the same curves. --draw only draws a result again.
"""
import argparse
import json
import os
import pathlib
import sys
import time

from inputs import MAX_TOKENS, MINILM, ROOT, WORK, fail, need, read_rows, tokens_of
from runs import LORA, QUICK, Ours, Side, together

TOKENS_A_STEP = 2048
LENGTHS = (32, 64, 128, 256, 512, 1024, 2048)


def texts_of(length):
    """Texts of at least so many tokens (the trainer cuts them there), enough for a few batches."""
    path = WORK / f"growth-{length}.jsonl"
    if not path.exists():
        rows = read_rows(need(ROOT / "data/movies/train.jsonl", "make data"))
        counts = [len(ids) - 2 for ids in tokens_of(MINILM, [row["text"] for row in rows], 4 * MAX_TOKENS)]
        made, at = [], 0
        for _ in range(max(64, 8 * TOKENS_A_STEP // length)):
            texts, n, label = [], 2, rows[at % len(rows)]["label"]
            while n < length:
                texts.append(rows[at % len(rows)]["text"])
                n += counts[at % len(rows)]
                at += 1
            made.append({"text": " ".join(texts), "label": label})
        path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return path


class Texts(Side):
    """A side whose texts all have one length."""

    def data(self):
        return texts_of(self.length), None, self.length


def side_of(length=32, batch=None, rank=8, model="minilm"):
    batch = batch or max(1, TOKENS_A_STEP // length)
    steps = max(2, min(12, 8 * TOKENS_A_STEP // (batch * length)))
    return Texts("lora", model, length, batch, steps, {**LORA, "rank": rank, "max_tokens": length, "validation_examples": 2})


def one(x, side):
    run = Ours(side, threads=1).result()
    return {"x": x, "tok_s": run["tok_cpu_s"], "mib": run["rss_mib"]}


def by_length():
    return [one(n, side_of(n, model="bert-2048")) for n in LENGTHS]


def by_batch():
    return [one(n, side_of(32, n)) for n in (1, 2, 4, 8, 16, 32, 64, 128)]


def by_rank():
    return [one(n, side_of(rank=n)) for n in (1, 4, 16, 64, 256)]


def by_layers():
    return [one(n, side_of(model=f"bert-{n}")) for n in (1, 2, 4, 8, 16)]


def by_slots():
    points = []
    for n in range(1, 2 * (os.cpu_count() or 1) + 1):
        run = together(lambda i: Ours(side_of(), threads=1, output=WORK / f"out-{i}"), n)
        points.append({"x": n, "tok_s": run["tok_s"], "mib": run["pss_mib"]})
    return points


CURVES = {  # name: what grows, points
    "length": ("tokens in a sequence", by_length),
    "batch": ("sequences of 32 tokens in a batch", by_batch),
    "rank": ("rank of LoRA", by_rank),
    "layers": ("layers", by_layers),
    "slots": ("trials at once (sums)", by_slots),
}

# Drawing ---------------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT, LEFT, TOP, GAP = 250, 120, 56, 24, 60


def nice(most):
    """The next 1, 2 or 5 times a power of ten."""
    power = 1
    while power * 10 <= most:
        power *= 10
    return next(step * power for step in (1, 2, 5, 10) if step * power >= most)


def short(value):
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def panel(points, key, x0, y0, colour, title, unit):
    """One curve with its axes: x by position (the values are powers of two or so), y from 0."""
    top = nice(max(point[key] for point in points))
    xs = [x0 + WIDTH * (i + 0.5) / len(points) for i in range(len(points))]
    ys = [y0 + HEIGHT * (1 - point[key] / top) for point in points]
    out = [f'<text x="{x0}" y="{y0 - 8}" class="t">{title}</text>']
    for part in (0, 0.5, 1):
        y = y0 + HEIGHT * (1 - part)
        out.append(f'<path d="M{x0} {y:.1f}h{WIDTH}" class="g"/><text x="{x0 - 5}" y="{y + 3:.1f}" class="y">{short(top * part)}</text>')
    out.append(f'<text x="{x0 - 5}" y="{y0 - 8}" class="y">{unit}</text>')
    out += [f'<text x="{x:.1f}" y="{y0 + HEIGHT + 13}" class="x">{short(point["x"])}</text>' for x, point in zip(xs, points)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys))
    out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in zip(xs, ys)]
    return out


def draw(curves):
    """Two panels a curve, one below the other: tokens a second, MiB."""
    n = len(curves)
    width, height = 2 * (LEFT + WIDTH) + 24, n * (TOP + HEIGHT + GAP - 20) + 10
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" font-family="sans-serif">',
           "<style>text{fill:#333;font-size:10px}.t{font-weight:bold;font-size:11px}.y{text-anchor:end}.x{text-anchor:middle}.g{stroke:#ccc}</style>",
           f'<rect width="{width}" height="{height}" fill="#fff"/>']
    for i, (name, points) in enumerate(curves.items()):
        y0 = TOP + i * (TOP + HEIGHT + GAP - 20)
        what = CURVES[name][0]
        out += panel(points, "tok_s", LEFT, y0, "#1b6ca8", f"tokens/s against {what}", "")
        out += panel(points, "mib", 2 * LEFT + WIDTH + 12, y0, "#b3541e", f"MiB against {what}", "")
    return "\n".join(out + ["</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--curves", default=os.environ.get("CURVES", ""))
    parser.add_argument("--output", type=pathlib.Path, default=WORK / "growth.json")
    parser.add_argument("--svg", type=pathlib.Path, default=ROOT / "docs/images/growth.svg")
    parser.add_argument("--draw", type=pathlib.Path)
    options = parser.parse_args()
    names = options.curves.replace(",", " ").split() or list(CURVES)
    unknown = [name for name in names if name not in CURVES]
    if unknown:
        fail(f"no curve '{unknown[0]}'; there are {', '.join(CURVES)}")
    if options.draw:
        try:
            curves = json.loads(options.draw.read_text())["curves"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            fail(f"'{options.draw}' is no result of this script: {error!r}")
    else:
        WORK.mkdir(parents=True, exist_ok=True)
        curves, began = {}, os.getloadavg()[0]
        for name in names:
            curves[name] = CURVES[name][1]()
            for point in curves[name]:
                print(f"{name:8} {point['x']:6} {point['tok_s']:9.0f} tokens/s {point['mib']:7.0f} MiB", flush=True)
            options.output.write_text(json.dumps({"v": 1, "when": time.strftime("%Y-%m-%d %H:%M"), "load": [began, os.getloadavg()[0]],
                                                  "curves": curves}, indent=1) + "\n")
    if QUICK and not options.draw:
        return
    options.svg.write_text(draw(curves))
    print(options.svg)


if __name__ == "__main__":
    sys.exit(main())
