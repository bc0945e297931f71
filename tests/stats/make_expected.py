#!/usr/bin/env python3
"""Expected values of common/stats_*.c from numpy and scipy, for tests/unit/test_stats_compare.c.

    tests/stats/make_expected.py > tests/stats/expected.json      (numpy 2.x, scipy 1.x)

Nothing here shares code or formulas with the C sources where scipy has the function; the rest is written out directly
from the definition, in another form than in C.
"""
import itertools
import json
import math

import numpy as np
from scipy import integrate, optimize, stats

rng = np.random.default_rng(20)


def clean(value):
    if value is None:
        return None
    value = float(value)
    return value if math.isfinite(value) else None


SAMPLES = [
    ([0.81, 0.83, 0.82, 0.85, 0.80], [0.79, 0.80, 0.82, 0.81, 0.78]),
    ([0.81, 0.83], [0.79, 0.80]),
    ([1, 2, 3, 4], [4, 3, 2, 1]),
    ([0.5, 0.5, 0.7, 0.7], [0.5, 0.6, 0.7, 0.9]),
    ([1e-3, 2e-3, 5e-3], [3e3, 1e3, 7e3]),
    (list(rng.normal(0.8, 0.02, 10)), list(rng.normal(0.79, 0.05, 10))),
    (list(rng.normal(0.8, 0.02, 30)), list(rng.normal(0.8, 0.02, 30))),
]
UNEQUAL = [
    ([0.81, 0.83, 0.82], [0.79, 0.80, 0.82, 0.81, 0.78]),
    ([0.9, 0.7], [0.79, 0.80, 0.82, 0.81, 0.78, 0.6, 0.9]),
    (list(rng.normal(0.8, 0.02, 4)), list(rng.normal(0.75, 0.05, 9))),
]
MARGIN = 0.01


def detectable(se, df, alpha=0.05, power=0.8):
    critical = stats.t.ppf(1 - alpha / 2, df)

    def found(shift):
        # The far tail, which scipy gives as NaN where it is below about 1e-16.
        other = np.nan_to_num(stats.nct.cdf(-critical, df, shift))
        return stats.nct.sf(critical, df, shift) + other - power

    high = 1.0
    while found(high) < 0:
        high *= 1.5
    return se * optimize.brentq(found, 0.1, high, xtol=1e-13, rtol=1e-13)


def ratio(a, b):
    """Violation ratio by adaptive integration of the quantile functions over their common steps."""
    a, b = np.sort(a), np.sort(b)
    cuts = sorted({0.0} | {i / len(a) for i in range(1, len(a) + 1)} | {j / len(b) for j in range(1, len(b) + 1)})
    total = violated = 0.0
    for low, high in itertools.pairwise(cuts):
        middle = (low + high) / 2
        d = a[math.ceil(len(a) * middle) - 1] - b[math.ceil(len(b) * middle) - 1]
        part, _ = integrate.quad(lambda t, d=d: d * d, low, high)
        total += part
        violated += part if d < 0 else 0
    return violated / total if total > 0 else 0.5


def almost_order(a, b, confidence, n=20000):
    """ε_min with a bootstrap of its own: equal to C's only up to the noise of σ̂."""
    a, b = np.asarray(a), np.asarray(b)
    samples = [ratio(rng.choice(a, len(a)), rng.choice(b, len(b))) for _ in range(n // 10)]
    scale = math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    sigma = np.std(scale * (np.array(samples) - ratio(a, b)))
    return float(np.clip(ratio(a, b) - sigma / scale * stats.norm.ppf(1 - confidence), 0, 1))


def cliff(a, b):
    return 2 * stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)) - 1


def cohen(a, b):
    n, m = len(a), len(b)
    s2 = ((n - 1) * np.var(a, ddof=1) + (m - 1) * np.var(b, ddof=1)) / (n + m - 2)
    return (np.mean(a) - np.mean(b)) / math.sqrt(s2)


def effect(a, b, result, se, df):
    interval = result.confidence_interval(0.95)
    mean = np.mean(a) - np.mean(b)
    lower = stats.t.sf((mean + MARGIN) / se, df)
    upper = stats.t.sf((MARGIN - mean) / se, df)
    return {"a": a, "b": b, "mean": clean(mean), "se": clean(se), "df": clean(df), "p": clean(result.pvalue),
            "low": clean(interval.low), "high": clean(interval.high), "margin": MARGIN, "inferior": clean(lower),
            "tost": clean(max(lower, upper)), "detectable": clean(detectable(se, df)), "cohen": clean(cohen(a, b)),
            "cliff": clean(cliff(a, b)), "ratio": clean(ratio(a, b)), "order": almost_order(a, b, 0.95)}


def paired(a, b):
    result = stats.ttest_rel(a, b)
    return effect(a, b, result, stats.sem(np.array(a) - np.array(b)), result.df)


def welch(a, b):
    result = stats.ttest_ind(a, b, equal_var=False)
    return effect(a, b, result, math.sqrt(stats.sem(a) ** 2 + stats.sem(b) ** 2), result.df)


def holm(p):
    """Holm by its definition: p_i's adjusted value is the largest of min(1, (m − rank + 1)·p) over ranks up to its own."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    out = [0.0] * len(p)
    for position, i in enumerate(order):
        out[i] = max(min(1.0, (len(p) - k) * p[order[k]]) for k in range(position + 1))
    return out


def expected_best(values, minimize):
    """By the distribution of the best of k, Σ over all draws for small n; checked against sampling-free enumeration."""
    n, out = len(values), []
    for k in range(1, n + 1):
        best = min if minimize else max
        if n ** k <= 300000:
            out.append(float(np.mean([best(draw) for draw in itertools.product(values, repeat=k)])))
        else:
            v = np.sort(values)[::-1] if minimize else np.sort(values)
            cdf = (np.arange(0, n + 1) / n) ** k
            out.append(float(np.dot(np.diff(cdf), v)))
    return out


def nested():
    """The nested bootstrap, vectorised: two methods, three seeds, 120 items; equal to C's up to the draws' noise."""
    n_items, n_seeds, resamples = 120, 3, 40000
    ability = rng.normal(0, 1, n_items)
    a = (ability + rng.normal(0.55, 0.8, (n_seeds, n_items)) > 0).astype(float)
    b = (ability + rng.normal(0.25, 0.8, (n_seeds, n_items)) > 0).astype(float)
    difference = a - b
    items = rng.integers(0, n_items, (resamples, n_items))
    by_seed = np.stack([difference[s][items].mean(1) for s in range(n_seeds)], 1)
    seeds = rng.integers(0, n_seeds, (resamples, n_seeds))
    drawn = np.take_along_axis(by_seed, seeds, 1).mean(1)
    mean = by_seed.mean(1)
    final = mean + math.sqrt(n_seeds / (n_seeds - 1)) * (drawn - mean)
    p = 2 * min(np.mean(final <= 0), np.mean(final >= 0))
    return {"a": a.astype(int).tolist(), "b": b.astype(int).tolist(), "low": clean(np.quantile(final, 0.025)),
            "high": clean(np.quantile(final, 0.975)), "low90": clean(np.quantile(final, 0.05)),
            "high90": clean(np.quantile(final, 0.95)), "p": clean(p)}


def main():
    ps = [[0.01, 0.04, 0.03, 0.005], [0.2], [0.5, 0.5, 0.5], [0.001, 0.001, 0.8, 0.04, 0.9], [0, 1], [0.03, 0.03, 0.02]]
    budgets = [([0.8], False), ([0.7, 0.9], False), ([0.7, 0.9, 0.8, 0.8, 0.75], False), ([3.0, 1.0, 2.0, 2.5], True),
               (rng.normal(0.8, 0.05, 40).tolist(), False)]
    out = {
        "versions": {"numpy": np.__version__, "scipy": __import__("scipy").__version__},
        "t_tail": [{"t": t, "df": df, "p": clean(stats.t.sf(t, df))}
                   for t in (-3.5, -0.2, 0, 0.7, 2.5, 12) for df in (1, 1.7, 4, 29, 400)],
        "normal": [{"p": p, "z": clean(stats.norm.ppf(p))} for p in (1e-6, 0.005, 0.05, 0.3, 0.5, 0.975, 0.999)],
        "noncentral": [{"t": t, "df": df, "shift": shift, "p": clean(stats.nct.sf(t, df, shift))}
                       for t in (0.5, 2.0, 2.776445105197793) for df in (1, 1.7, 2, 4, 29) for shift in (0, 0.3, 1, 4)],
        "paired": [paired(a, b) for a, b in SAMPLES],
        "welch": [welch(a, b) for a, b in UNEQUAL],
        "holm": [{"p": p, "adjusted": holm(p)} for p in ps],
        "budget": [{"values": v, "minimize": m, "best": expected_best(v, m)} for v, m in budgets],
        "nested": nested(),
    }
    print(json.dumps(out, indent=1, ensure_ascii=False))


main()
