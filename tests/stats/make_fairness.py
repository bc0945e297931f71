#!/usr/bin/env python3
"""Group fairness by fairlearn, for tests/unit/test_fairness.c.

    tests/stats/make_fairness.py > tests/stats/fairness.json      (fairlearn 0.1x)

A case of which some group's rate is undefined expects null where fairlearn fills in a number.
"""
import json
import random

import fairlearn
from fairlearn.metrics import (demographic_parity_difference, demographic_parity_ratio, equalized_odds_difference,
                               equalized_odds_ratio)

rng = random.Random(3)
METRICS = {"demographic_parity_difference": demographic_parity_difference,
           "demographic_parity_ratio": demographic_parity_ratio,
           "equalized_odds_difference": equalized_odds_difference, "equalized_odds_ratio": equalized_odds_ratio}


def case(n, groups, rate):
    group = [i % groups for i in range(n)]
    label = [int(rng.random() < 0.4) for _ in range(n)]
    predicted = [int(rng.random() < rate + 0.1 * g + 0.3 * y) for g, y in zip(group, label)]
    return group, label, predicted


def main():
    cases = [case(40, 2, 0.3), case(60, 3, 0.2), case(200, 5, 0.1), case(1000, 2, 0.5)]
    cases.append(([0, 0, 1, 1], [0, 1, 0, 1], [1, 1, 0, 0]))          # all or nothing: ratios of 0
    cases.append(([0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 0, 1]))          # perfect
    out = []
    for group, label, predicted in cases:
        values = {n: float(f(label, predicted, sensitive_features=group)) for n, f in METRICS.items()}
        if not any(p and not y for p, y in zip(predicted, label)):    # no false alarm anywhere: 0 to 0
            values["equalized_odds_ratio"] = None
        out.append({"group": group, "label": label, "predicted": predicted, "metrics": values})
    print(json.dumps({"versions": {"fairlearn": fairlearn.__version__}, "cases": out}, indent=None))


main()
