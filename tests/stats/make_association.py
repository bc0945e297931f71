#!/usr/bin/env python3
"""WEAT effect sizes and permutation tests with numpy, for tests/unit/test_association.c.

    tests/stats/make_association.py > tests/stats/association.json
"""
import itertools
import json

import numpy as np

rng = np.random.default_rng(11)


def case(n_x, n_y, n_a, n_b, width, shift):
    x, y, a, b = (rng.normal(0, 1, (n, width)) for n in (n_x, n_y, n_a, n_b))
    a[:, 0] += 2
    b[:, 0] -= 2
    x[:, 0] += shift
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y, a, b)]
    words = np.concatenate(unit[:2])
    s = (words @ unit[2].T).mean(1) - (words @ unit[3].T).mean(1)
    effect = (s[:n_x].mean() - s[n_x:].mean()) / s.std(ddof=1)
    sums = np.array([s[list(c)].sum() for c in itertools.combinations(range(len(s)), n_x)])
    p = float(np.mean(sums >= s[:n_x].sum() - 1e-12))
    return {"x": x.ravel().tolist(), "y": y.ravel().tolist(), "a": a.ravel().tolist(), "b": b.ravel().tolist(),
            "sizes": [n_x, n_y, n_a, n_b, width], "effect_size": float(effect), "p": p, "divisions": len(sums)}


def main():
    cases = [case(4, 4, 3, 3, 5, 1.0), case(1, 1, 1, 1, 2, 0.0), case(5, 3, 2, 6, 7, 0.5), case(8, 8, 8, 8, 10, 0.7),
             case(6, 6, 4, 4, 3, 0.0)]
    print(json.dumps({"versions": {"numpy": np.__version__}, "cases": cases}))


main()
