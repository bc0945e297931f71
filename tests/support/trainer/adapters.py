"""A saved adapter with its head starts another trial (`init_adapter`) and gives the same evaluation, for every method; one
that does not belong is refused. The files are those of the ecosystem."""
import json
import shutil

from common import Run, check, finish, folder, job, methods, name_of, rows, sha256, tensors, write_data, write_rows

# One step at a learning rate of 0 (the first of a warm-up): what is evaluated then is what was loaded.
STILL = {"steps": 1, "warmup": 1}


def reload_(base, task, settings, model):
    if settings["method"] == "adalora":
        settings = {**settings, "rank": 4, "target_rank": 4}  # a step that cuts ranks is none that leaves things as they were
    what = f"{model}, {name_of(settings)}:"
    shutil.rmtree(base / "first", ignore_errors=True)
    first = Run(job(base / "first", task, {**settings, "learning_rate": 0.01}, model))
    if first.why().startswith("infeasible"):
        return False
    check(first.finished(), what, first.why())
    again = {k: v for k, v in job(base / "second", task, {**settings, **STILL, "init_adapter": str(base / "first/adapter")},
                                  model, seed=99).items()}
    del again["settings"]["epochs"]
    shutil.rmtree(base / "second", ignore_errors=True)
    second = Run(again)
    if not check(second.finished(), what, second.why()):
        return False
    for split in ("validation", "test"):
        a, b = first.final(split), second.final(split)
        check((a["metrics"], a["items"]) == (b["metrics"], b["items"]), what, split, "differs after loading")
    for path in sorted((base / "first/adapter").rglob("*.safetensors")):
        other = base / "second/adapter" / path.relative_to(base / "first/adapter")
        check(tensors(path) == tensors(other), what, path.name, "differs after loading and saving")
    for path in (base / "second/adapter").rglob("*"):
        check(path.is_dir() or str(base).encode() not in path.read_bytes(), what, path.name, "holds a path of this machine")
    fresh = Run({**again, "settings": {k: v for k, v in again["settings"].items() if k != "init_adapter"}})
    check(fresh.final("test")["items"] != second.final("test")["items"], what, "loading changes nothing")
    return True


def folder_hash(path):
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return sha256("".join(f"{p.relative_to(path)} {sha256(p.read_bytes())}\n" for p in files))


def formats(base, task):
    """Names and members that PEFT and AdapterHub read."""
    Run(job(base / "lora", task, {"method": "lora", "rank": 3, "alpha": 6, "epochs": 1}))
    saved = tensors(base / "lora/adapter/adapter_model.safetensors")
    prefix = "base_model.model.bert.encoder.layer.1.attention.self.query"
    check(saved[prefix + ".lora_A.weight"][0] == [3, 32] and saved[prefix + ".lora_B.weight"][0] == [32, 3], list(saved))
    check("base_model.model.classifier.weight" in saved and len(saved) == 2 * 4 + 2, list(saved))
    config = json.loads((base / "lora/adapter/adapter_config.json").read_text())
    check((config["peft_type"], config["r"], config["lora_alpha"], config["task_type"]) == ("LORA", 3, 6, "SEQ_CLS"), config)
    for settings in ({"method": "lora", "lora_bias": "all", "targets": ["query"]}, {"method": "adalora", "targets": ["query"]}):
        Run(job(base / "bias", task, {**settings, "epochs": 1}))
        config = json.loads((base / "bias/adapter/adapter_config.json").read_text())
        check(sorted(config["target_modules"]) == [f"bert.encoder.layer.{i}.attention.self.query" for i in (0, 1)], config)
    Run(job(base / "bias", task, {"method": "lora", "lora_bias": "all", "targets": ["query"], "epochs": 1}))
    biases = {n for n in tensors(base / "bias/adapter/adapter_model.safetensors") if n.endswith("bias")}
    prefix = "base_model.model.bert.encoder.layer.0.attention.self."
    check({prefix + "query.base_layer.bias", prefix + "key.bias"} <= biases, "biases as PEFT names them:", sorted(biases))
    Run(job(base / "houlsby", task, {"method": "adapter", "adapter_placement": "houlsby", "adapter_size": 8, "epochs": 1}))
    saved = tensors(base / "houlsby/adapter/adapter.safetensors")
    prefix = "bert.encoder.layer.0.attention.output.adapters.nightsweep"
    check(saved[prefix + ".adapter_down.0.weight"][0] == [8, 32] and saved[prefix + ".adapter_up.bias"][0] == [32], list(saved))
    check(set(tensors(base / "houlsby/adapter/head.safetensors")) == {"classifier.weight", "classifier.bias"}, "head")
    config = json.loads((base / "houlsby/adapter/adapter_config.json").read_text())["config"]
    for size in (1, 3, 5, 7, 31, 32, 40):  # the bottleneck as AdapterHub computes it, and a scaling it takes for a number
        for placement in ("pfeiffer", "parallel"):
            Run(job(base / "size", task, {"method": "adapter", "adapter_placement": placement, "adapter_size": size, "epochs": 0.1}))
            text = (base / "size/adapter/adapter_config.json").read_text()
            check(int(32 // json.loads(text)["config"]["reduction_factor"]) == size, size, text)
            check(isinstance(json.loads(text)["config"]["scaling"], float), placement, text)
    check(config["mh_adapter"] and config["output_adapter"] and config["reduction_factor"] == 4, config)


def foreign(base, task):
    """Without our own description the ecosystem's configuration is what must fit."""
    cases = [({"method": "lora", "rank": 3}, "r", 4, "rank 4"), ({"method": "lora"}, "lora_alpha", 3, "alpha 3"),
             ({"method": "lora"}, "use_rslora", True, "use_rslora"), ({"method": "lora"}, "use_dora", True, "use_dora"),
             ({"method": "dora"}, "use_dora", False, "use_dora"), ({"method": "lora"}, "peft_type", "VERA", "VERA")]
    placed = {"method": "adapter", "adapter_placement": "houlsby"}
    cases += [({"method": "adapter"}, "is_parallel", True, "is_parallel"), (placed, "mh_adapter", False, "mh_adapter"),
              (placed, "non_linearity", "relu", "non_linearity"), (placed, "non_linearity", "mish", "non_linearity"),
              (placed, "ln_before", True, "ln_before"), (placed, "ln_after", True, "ln_after"),
              (placed, "scaling", "learned", "scaling"), (placed, "scaling", 2.0, "scaling")]
    for settings, key, value, expected in cases:
        settings = {**settings, "epochs": 0.5}
        Run(job(base / "own", task, settings))
        adapter = base / "own/adapter"
        (adapter / "nightsweep.json").unlink()
        path = adapter / "adapter_config.json"
        config = json.loads(path.read_text())
        inner = config.get("config", config)
        start = {**settings, "init_adapter": str(adapter)}
        run = Run(job(base / "out", task, start))
        check(run.finished(), settings, "the ecosystem's folder:", run.why())
        inner[key] = value
        path.write_text(json.dumps(config))
        run = Run(job(base / "out", task, start))
        check(run.status == 1 and expected in run.why() and "adapter_config.json" in run.why(), settings, key, value, run.why())


def refused(base, task):
    first = {"method": "lora", "rank": 3, "epochs": 1}
    Run(job(base / "first", task, first))
    adapter = base / "first/adapter"
    good = {**first, "init_adapter": str(adapter)}
    cases = [({**good, "rank": 2}, ["trained with rank 3, the job has 2"]), ({**good, "alpha": 3}, ["alpha 16", "3"]),
             ({**good, "method": "bitfit"}, ['method "lora"', '"bitfit"']), ({**good, "pooling": "mean"}, ["pooling"]),
             ({**good, "init_adapter": str(base / "nowhere")}, ["nowhere", "no such adapter folder"])]
    for settings, expected in cases:
        settings = {k: v for k, v in settings.items() if settings["method"] != "bitfit" or k not in ("rank", "alpha")}
        run = Run(job(base / "out", task, settings))
        check(run.status == 1 and all(e in run.why() for e in expected), settings, run.status, run.why())
    other = {**task, **{name: write_rows(base / f"{name}2.jsonl", rows(30, i, ("bad", "good", "odd")))
                        for i, name in enumerate(("train", "validation", "test"))}}
    run = Run(job(base / "out", other, good))
    check(run.status == 1 and "its class 0 is 'negative', the training data's is 'bad'" in run.why(), run.why())
    run = Run(job(base / "out", task, good, hashes={"init_adapter": folder_hash(adapter)}))
    check(run.finished(), "the folder's hash:", run.why())
    run = Run(job(base / "out", task, good, hashes={"init_adapter": "0" * 64}))
    check(run.status == 1 and str(adapter) in run.why() and "has changed" in run.why(), run.why())
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    run = Run(job(base / "out", task, good))
    check(run.status == 1 and "adapter_model.safetensors" in run.why() and "ends at byte" in run.why(), run.why())


def main():
    n = 0
    with folder() as base:
        task = write_data(base)
        for model in ("bert", "roberta"):
            n += sum(reload_(base, task, settings, model) for settings in methods())
        formats(base, task)
        foreign(base, task)
        refused(base, task)
    print(f"{n} adapters loaded again")
    finish()


main()
