#!/usr/bin/env python3
"""Compares the results of ours.py and peer.py: means over seeds, and a paired bootstrap over the test rows.

    compare.py FOLDER        FOLDER/ours/METHOD-SEED.json, FOLDER/peer/METHOD-SEED.json

Seeds that only one side has are left out. Both sides must have the same hyperparameters and test rows in the same order. A test row's score is the share of
seeds that got it right; the bootstrap draws rows with replacement and takes the mean difference of the two sides' scores,
so the interval says what other test sentences would have made of it. Exit status 1 when the mean validation or test
accuracy differs by more than MARGIN, the interval does not contain 0, or there are fewer than SEEDS seeds. Standard
library only.
"""
import json
import pathlib
import random
import statistics
import sys

MARGIN, DRAWS, SEEDS = 0.015, 10000, 5


def results(folder, method):
    """Results of ours and of the peer for the seeds that both have, in order of seed."""
    sides = []
    for side in ("ours", "peer"):
        found = [json.loads(path.read_text()) for path in (folder / side).glob(f"{method}-*.json")]
        sides.append({result["seed"]: result for result in found})
    seeds = sorted(sides[0].keys() & sides[1].keys())
    if not seeds:
        sys.exit(f"{method}: no seed that both sides have in {folder}")
    return tuple([side[seed] for seed in seeds] for side in sides)


def check_comparable(method, both):
    for result in both:
        for key in ("run", "test_labels"):
            if result[key] != both[0][key]:
                sys.exit(f"{method} seed {result['seed']}: its {key} differs from that of ours, seed {both[0]['seed']}")


def row_scores(side):
    """Share of seeds that got each test row right."""
    rows = zip(side[0]["test_labels"], *(result["test_probabilities"] for result in side))
    return [statistics.fmean((p > 0.5) == bool(label) for p in predicted) for label, *predicted in rows]


def interval(differences):
    """95 % percentile interval of the mean over DRAWS bootstrap samples of the rows."""
    draw, n = random.Random(0), len(differences)
    means = sorted(sum(draw.choices(differences, k=n)) / n for _ in range(DRAWS))
    return means[int(0.025 * DRAWS)], means[int(0.975 * DRAWS)]


def mean(side, key):
    return statistics.fmean(result[key] for result in side)


def spread(side, key):
    values = [result[key] for result in side]
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.4f} ± {deviation:.4f}"


def compare(folder, method):
    ours, peer = results(folder, method)
    check_comparable(method, ours + peer)
    low, high = interval([a - b for a, b in zip(row_scores(ours), row_scores(peer))])
    gaps = [mean(ours, key) - mean(peer, key) for key in ("validation_accuracy", "test_accuracy")]
    for name, side in (("nightsweep", ours), ("PyTorch + PEFT", peer)):
        print(f"| {method} | {name} | {spread(side, 'validation_accuracy')} | {spread(side, 'test_accuracy')} |")
    furthest = max(abs(a - b) for mine, theirs in zip(ours, peer)
                   for a, b in zip(mine["test_probabilities"], theirs["test_probabilities"]))
    agrees = max(map(abs, gaps)) <= MARGIN and low <= 0 <= high
    verdict = "DIFFERS" if not agrees else "agrees" if len(ours) >= SEEDS else f"agrees so far, of {SEEDS} seeds"
    return verdict == "agrees", (
        f"{method}, {len(ours)} seeds: validation {gaps[0]:+.4f}, test {gaps[1]:+.4f}, paired bootstrap over "
        f"{len(ours[0]['test_labels'])} test rows [{low:+.4f}, {high:+.4f}], largest difference of a probability "
        f"{furthest:.1e}: {verdict}")


def main():
    folder = pathlib.Path(sys.argv[1])
    print("| method | side | validation accuracy | test accuracy |\n|---|---|---|---|")
    verdicts = [compare(folder, method) for method in ("lora", "full")]
    print("\nours − peer\n" + "\n".join(text for _, text in verdicts))
    sys.exit(0 if all(agrees for agrees, _ in verdicts) else 1)


if __name__ == "__main__":
    main()
