#!/usr/bin/env python3
"""Writes the definitions of the test functions' spaces (spaces.json) from functions.py, and of `curve`."""
import json
import functions as F


def parameter(p):
    if p["type"] == "cat":
        out = {"values": p["values"]}
    else:
        out = {"min": p["low"], "max": p["high"]}
        if p["log"]:
            out["scale"] = "log"
        if p["type"] == "int":
            out["type"] = "int"
    if p.get("when"):
        out["when"] = p["when"]
    return out


def definition(name, space, objectives):
    return {"name": name, "parameters": {p["name"]: parameter(p) for p in space},
            "objectives": [{"metric": m, "goal": "minimize"} for m in objectives]}


out = {k: definition(k, v[0], ["value"]) for k, v in F.SUITE.items()}
out["peft_mixed_noisy"] = definition("peft_mixed_noisy", F.PEFT, ["value"])
out["curve"] = definition("curve", F.PEFT, ["value"])
out["curve"]["stopping"] = {"rule": "asha", "max_resource": 81}
out.update({k: definition(k, v[0], ["first", "second"]) for k, v in F.MO.items()})
with open("spaces.json", "w") as file:
    json.dump(out, file, indent=1)
    file.write("\n")
