#!/usr/bin/env python3
"""What changed between two results of `make bench-all`: every figure of both files, the new beside the old.

    compare.py OLD.json NEW.json

A change counts when it is more than 3 % and the two files' ranges (least to most of the repeated runs) do not meet; it is then
marked better or worse. Figures that only one file has are listed. When the machines or the libraries differ it says so:
then only ratios to the peer of the same run can be compared. Exit status: 0, 1 when something got worse, 2 for a bad file.
"""
import json
import math
import sys

LEAST_CHANGE = 0.03


class Bad(Exception):
    """A file that is not a result: what is wrong with it."""


def number(value, where):
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise Bad(f"{where}: {json.dumps(value)} is not a number")
    return value


def check_side(side, where):
    if not isinstance(side, dict):
        raise Bad(f"{where}: an object with min, median and max was expected")
    for key in ("min", "median", "max"):
        if key not in side:
            raise Bad(f"{where}: '{key}' is missing")
        number(side[key], f"{where}.{key}")
    if not side["min"] <= side["median"] <= side["max"]:
        raise Bad(f"{where}: min, median and max are not in order")


def read(path):
    """The file's object, checked: every figure has a name of its own, a unit, a direction and our side."""
    try:
        with open(path, encoding="utf-8") as file:
            result = json.load(file)
    except OSError as error:
        raise Bad(f"'{path}': {error.strerror}") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Bad(f"'{path}' is not JSON: {error}") from None
    if not isinstance(result, dict) or not isinstance(result.get("figures"), list):
        raise Bad(f"'{path}': an object with 'figures' was expected, as `make bench-all` writes it")
    if result.get("v") != 1:
        raise Bad(f"'{path}': version {json.dumps(result.get('v'))}, 1 was expected")
    if not isinstance(result.get("machine"), dict):
        raise Bad(f"'{path}': 'machine' is missing")
    names = set()
    for i, figure in enumerate(result["figures"]):
        where = f"'{path}': figures[{i}]"
        if not isinstance(figure, dict) or not isinstance(figure.get("name"), str):
            raise Bad(f"{where}: an object with a name was expected")
        if figure["name"] in names:
            raise Bad(f"{where}: '{figure['name']}' is there twice")
        if figure.get("better") not in ("higher", "lower"):
            raise Bad(f"{where}: better is {json.dumps(figure.get('better'))}, 'higher' or 'lower' was expected")
        if not isinstance(figure.get("unit"), str):
            raise Bad(f"{where}: 'unit' is missing")
        check_side(figure.get("ours"), f"{where}.ours")
        if figure.get("peer") is not None:
            check_side(figure["peer"], f"{where}.peer")
            number(figure.get("ratio"), f"{where}.ratio")
        names.add(figure["name"])
    return result


def verdict(old, new):
    """'better', 'worse', or '' for what can be chance."""
    before, after = old["ours"], new["ours"]
    apart = after["min"] > before["max"] or after["max"] < before["min"]
    if not apart or abs(after["median"] - before["median"]) <= LEAST_CHANGE * abs(before["median"]):
        return ""
    return "better" if (after["median"] > before["median"]) == (new["better"] == "higher") else "worse"


def change(before, after):
    return f"{100 * (after / before - 1):+7.1f} %" if before else "      -  "


def compare(old, new, out):
    """Writes the table; the number of figures that got worse."""
    different = sorted(key for key in old["machine"].keys() | new["machine"].keys() if old["machine"].get(key) != new["machine"].get(key))
    if different:
        out.write("The machines differ: only ratios to the peer can be compared.\n")
        for key in different:
            out.write(f"  {key}: {old['machine'].get(key)} -> {new['machine'].get(key)}\n")
    for name, result in (("old", old), ("new", new)):
        load = result.get("load", {})
        loads = ", ".join(f"{when} {load[when][0]:.1f}" for when in ("before", "after") if load.get(when))
        out.write(f"{name}: commit {result.get('commit', 'unknown')}, {result.get('when', 'no date')}, load {loads or 'unknown'}\n")
    before, after = ({figure["name"]: figure for figure in result["figures"]} for result in (old, new))
    worse = 0
    out.write(f"{'figure':58} {'unit':9} {'old':>10} {'new':>10} {'change':>9}  {'ratio to peer':>15}\n")
    for name in (name for name in before if name in after):
        a, b = before[name], after[name]
        if a["unit"] != b["unit"] or a["better"] != b["better"]:
            out.write(f"{name:58} not comparable: {a['unit']} ({a['better']} is better), {b['unit']} ({b['better']} is better)\n")
            continue
        said = verdict(a, b) if not different else ""
        worse += said == "worse"
        ratios = f"{a['ratio']:6.2f} -> {b['ratio']:5.2f}" if "ratio" in a and "ratio" in b else ""
        out.write(f"{name:58} {b['unit']:9} {a['ours']['median']:10.4g} {b['ours']['median']:10.4g}"
                  f" {change(a['ours']['median'], b['ours']['median'])}  {ratios:>15}  {said}".rstrip() + "\n")
    for title, here, there in (("only in the old file", before, after), ("only in the new file", after, before)):
        for name in (name for name in here if name not in there):
            out.write(f"{title}: {name}\n")
    return worse


def main(arguments):
    if len(arguments) != 2:
        sys.stderr.write("usage: compare.py OLD.json NEW.json   (make bench-compare A=OLD.json B=NEW.json)\n")
        return 2
    try:
        old, new = (read(path) for path in arguments)
    except Bad as error:
        sys.stderr.write(f"bench-compare: {error}\n")
        return 2
    return 1 if compare(old, new, sys.stdout) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
