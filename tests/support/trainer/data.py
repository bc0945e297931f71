"""Own data and own models through the real trainer: formats, labels, splits, and every refusal with its place."""
import json
import math
import shutil

from common import LABELS, MODELS, Run, check, finish, folder, items_of, job, rows, sha256, tensors, write_data, write_rows

PLAIN = {"method": "linear_probe", "epochs": 1}


def set_hash(items):
    """The item set's hash by its definition: length and bytes of text, second text and label of each item."""
    parts = (item for row in items for item in (row["text"], row.get("pair", ""), str(row["label"])))
    return sha256(b"".join(b"%d:%s" % (len(p.encode()), p.encode()) for p in parts))


def quoted(field, separator):
    return '"' + field.replace('"', '""') + '"' if any(c in field for c in f'"\n\r{separator}') else field


def formats(base):
    """The same rows as JSONL, CSV and TSV: quoted newlines, quotes, separators, CRLF, a byte order mark; pairs."""
    data = [{**row, "pair": f"w9 {i} \"w11\", w12" if i % 3 else "w20\tw21"} for i, row in enumerate(rows(24, 4))]
    data[3]["text"] = "w30\nw31\n\nw32 , \"w33\""
    results = []
    for pair in (False, True):
        for name, mark, end in (("jsonl", "", "\n"), ("jsonl", "\ufeff", "\r\n"), ("csv", "", "\n"), ("csv", "\ufeff", "\r\n"),
                                ("tsv", "", "\n"), ("tsv", "\ufeff", "\n")):
            path = base / f"data.{name}"
            if name == "jsonl":
                text = mark + "".join(json.dumps(row) + end for row in data)
            else:
                separator = "," if name == "csv" else "\t"
                lines = [["label", "other", "text", "pair"]] + [[r["label"], "é", r["text"], r["pair"]] for r in data]
                text = mark + "".join(separator.join(quoted(f, separator) for f in line) + end for line in lines)
            path.write_bytes(text.encode())
            task = {"kind": "classification", "train": str(path), "validation": str(path), "text": "text", "label": "label",
                    **({"text_pair": "pair"} if pair else {})}
            run = Run(job(base / "out", task, PLAIN))
            check(run.finished(), name, repr(mark), run.why())
            results.append((pair, run.final("validation")["item_set_sha256"], run.points()))
            expected = set_hash([r if pair else {**r, "pair": ""} for r in data])
            check(results[-1][1] == expected, name, repr(mark), "items differ from the file's")
            check(results[-1] == results[-1 if name == "jsonl" and not mark else -2], name, "trains otherwise than before")
    check(results[0][2] != results[-1][2], "the second text changes nothing")


def labels(base):
    """Texts, numbers and flags; numbers in numeric order; the map stands beside the adapter."""
    for values, order in ((LABELS, sorted(LABELS)), ((10, 9, 2), ["2", "9", "10"]), ((True, False), ["false", "true"]),
                          (("10", "b", "9"), ["10", "9", "b"])):
        data = [{"text": r["text"], "label": values[i % len(values)]} for i, r in enumerate(rows(30, 4))]
        path = write_rows(base / "labels.jsonl", data)
        task = {"kind": "classification", "train": path, "validation": path, "text": "text", "label": "label"}
        run = Run(job(base / "out", task, PLAIN))
        check(run.last("started") and run.last("started")["labels"] == order, values, run.why())
        saved = json.loads((base / "out/adapter/nightsweep.json").read_text())
        check(saved["labels"] == order, "label map:", saved["labels"])
        name = lambda v: json.dumps(v) if isinstance(v, bool) else str(v)
        check([order[i[0]] for i in items_of(run.final("validation"))] == [name(r["label"]) for r in data], "classes of items")


def split(base):
    """Without a validation file a tenth of each label goes there: the rows whose text has the smallest hash."""
    data = rows(83, 9)
    path = write_rows(base / "split.jsonl", data)
    task = {"kind": "classification", "train": path, "text": "text", "label": "label"}
    chosen = set()
    for label in LABELS:
        own = sorted((sha256(r["text"]), i) for i, r in enumerate(data) if r["label"] == label)
        chosen |= {i for _, i in own[:math.ceil(len(own) / 10)]}
    validation = [r for i, r in enumerate(data) if i in chosen]
    seen = set()
    for seed in (7, 8):
        run = Run(job(base / "out", task, PLAIN, seed=seed))
        started = run.last("started")
        check(started["examples"] == {"train": 83 - len(chosen), "validation": len(chosen), "test": 0}, started["examples"])
        check(started["validation_split"].startswith("hash") and started["validation_sha256"] == set_hash(validation), "split")
        check(run.final("validation")["item_set_sha256"] == set_hash(validation), "the split's items")
        seen.add(tuple(sorted(run.points().items())))
    check(len(seen) == 2, "the seed decides no split, but the head")


def samples(base, task):
    run = Run(job(base / "out", task, {**PLAIN, "examples_per_class": 4}))
    check(run.last("started")["examples"]["train"] == 12, "few-shot")
    for fraction in (0.5, 0.01):
        n = sum(max(1, math.ceil(fraction * sum(json.loads(l)["label"] == label for l in open(task["train"])) - 1e-9))
                for label in LABELS)
        run = Run(job(base / "out", task, {**PLAIN, "train_fraction": fraction}))
        check(run.last("started")["examples"]["train"] == n, "fraction", fraction, run.last("started")["examples"])
    run = Run(job(base / "out", task, {**PLAIN, "examples_per_class": 400}))
    check("examples_per_class is 400" in run.why(), run.why())


def refused_data(base, task):
    good = '{"text":"w7 w8","label":"positive"}\n{"text":"w9","label":"negative"}\n'
    cases = [
        ("jsonl", good + '{"text":"","label":"positive"}\n', ["line 3", "the text is empty"]),
        ("jsonl", good + '{"text":" \\n\\t","label":"positive"}\n', ["line 3", "the text is empty"]),
        ("jsonl", good + '{"text":"w7","label":""}\n', ["line 3", "the label is empty"]),
        ("jsonl", good + '{"txet":"w7","label":"positive"}\n', ["line 3", "'text'", "nearest is 'txet'"]),
        ("jsonl", good + '{"text":7,"label":"positive"}\n', ["line 3", "a text was expected"]),
        ("jsonl", good + '{"text":"w7","label":1.5}\n', ["line 3", "whole number"]),
        ("jsonl", good + '{"text":"w7","label":null}\n', ["line 3", "'label'"]),
        ("jsonl", good + '["w7","positive"]\n', ["line 3", "an object was expected"]),
        ("jsonl", good + '{"text":"w7"\n', ["line 3"]),
        ("jsonl", good.encode() + b'{"text":"w\xff7","label":"positive"}\n', ["line 3", "byte 11", "not valid UTF-8"]),
        ("jsonl", good.encode() + b'{"text":"w\x007","label":"positive"}\n', ["line 3", "a NUL"]),
        ("jsonl", "", ["no rows"]), ("jsonl", "\n\n", ["no rows"]),
        ("jsonl", '{"text":"w7","label":"positive"}\n' * 3, ["all rows have the label 'positive'"]),
        ("csv", "text,label\nw7,positive\nw8\n", ["line 3", "1 fields, the header has 2"]),
        ("csv", 'text,label\n"w7\nw8,positive\n', ["line 2", "a quote is never closed"]),
        ("csv", 'text,label\n"w7"w8,positive\n', ["line 2", "text follows a closing quote"]),
        ("csv", 'text,label\nw7"w8,positive\n', ["line 2", "a quote stands inside"]),
        ("csv", "words,label\nw7,positive\n", ["line 1", "no column 'text'"]),
        ("csv", "text,text,label\nw7,w8,positive\n", ["line 1", "more than one column 'text'"]),
        ("csv", 'text,label\n"w7\n\nw8",positive\n,negative\n', ["line 5", "the text is empty"]),
        ("tsv", b"text\tlabel\nw7\tpositive\n\xc3\x28\tnegative\n", ["line 3", "byte 1", "not valid UTF-8"]),
        ("txt", good, ["format is not known", "task.format"]),
    ]
    for ending, content, expected in cases:
        path = base / f"bad.{ending}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        for role in ("train", "validation", "test"):
            if "all rows" in expected[0] and role != "train":
                continue
            run = Run(job(base / "out", {**task, role: str(path)}, PLAIN))
            why = run.why()
            known = run.status == 1 and run.last("failed") and why.startswith("bad_data" if ending != "txt" else "infeasible")
            check(known and str(path) in why and all(e in why for e in expected), ending, repr(content), role, run.status, why)
    path = write_rows(base / "unknown.jsonl", [{"text": "w7", "label": "positive"}, {"text": "w8", "label": "mixed"}])
    for role in ("validation", "test"):
        run = Run(job(base / "out", {**task, role: path}, PLAIN))
        check(run.status == 1 and all(e in run.why() for e in (path, "line 2", "'mixed'", "'neutral'")), role, run.why())
    run = Run(job(base / "out", {**task, "train": str(base / "none.jsonl")}, PLAIN))
    check(run.status == 1 and "none.jsonl" in run.why(), run.why())
    run = Run(job(base / "out", task, {**PLAIN, "class_weights": {"mixed": 2}}))
    check(run.status == 1 and "'mixed' is no label" in run.why(), run.why())
    run = Run(job(base / "out", task, PLAIN, hashes={"train": "0" * 64}))
    check(run.status == 1 and "has changed since the sweep began" in run.why(), run.why())


def refused_models(base, task):
    def copy(name):
        path = base / name
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(MODELS / "bert", path)
        return path

    def config(path, **members):
        text = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps({**text, **members}))

    model = copy("tokenizer")
    (model / "tokenizer.json").unlink()
    cases = [(model, ["no tokenizer.json", "save_pretrained(folder)"]), (base / "nowhere", ["there is no such model folder"])]
    model = copy("pickle")
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    cases.append((model, ["pickle", "safe_serialization=True"]))
    model = copy("architecture")
    config(model, model_type="reformer")
    cases.append((model, ["'reformer' is not built in", "roberta"]))
    model = copy("activation")
    config(model, hidden_act="mish")
    cases.append((model, ["hidden_act 'mish'", "gelu"]))
    model = copy("vocabulary")
    config(model, vocab_size=95)
    cases.append((model, ["word_embeddings", "96 x 32"]))
    for model, expected in cases:
        run = Run(job(base / "out", task, PLAIN, model))
        check(run.status == 1 and all(e in run.why() for e in [str(model)] + expected), model.name, run.status, run.why())
    losses = {}
    for activation in ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh"):
        model = copy("activation")
        config(model, hidden_act=activation)
        run = Run(job(base / "out", task, PLAIN, model))
        check(run.finished(), activation, run.why())
        losses[activation] = run.points()[("train/loss", 1)]
    check(losses["silu"] == losses["swish"] and losses["gelu_new"] == losses["gelu_pytorch_tanh"], "two names of one", losses)
    check(len(set(losses.values())) == 5, "an activation is not honoured:", losses)


def head(base):
    """init_head "model": its tensors, its classes in its order, by number or by the config's names; otherwise refused."""
    model = base / "head"
    shutil.copytree(MODELS / "bert", model)
    text = json.loads((model / "config.json").read_text())
    text["id2label"] = {"0": "positive", "1": "negative", "2": "neutral"}
    (model / "config.json").write_text(json.dumps(text))
    own = tensors(MODELS / "bert/model.safetensors")["classifier.weight"]
    still = {**PLAIN, "init_head": "model", "steps": 1, "warmup": 1}
    del still["epochs"]
    for kind, labels_ in (("names", ["positive", "negative", "neutral"]), ("numbers", ["0", "1", "2"])):
        data = [{"text": r["text"], "label": r["label"] if kind == "names" else LABELS.index(r["label"])} for r in rows(20, 4)]
        path = write_rows(base / "head.jsonl", [r for r in data if r["label"] not in ("neutral", 1)])
        task = {"kind": "classification", "train": path, "validation": path, "text": "text", "label": "label"}
        run = Run(job(base / "out", task, still, model))
        check(run.finished() and run.last("started")["labels"] == labels_, kind, run.why())
        check(tensors(base / "out/adapter/tensors.safetensors")["classifier.weight"] == own, kind, "is not the model's head")
    path = write_rows(base / "head.jsonl", [{"text": "w7", "label": "good"}, {"text": "w8", "label": "bad"}])
    task = {"kind": "classification", "train": path, "validation": path, "text": "text", "label": "label"}
    run = Run(job(base / "out", task, still, model))
    check("label 'bad' of the data is none of the model's head: 'positive', 'negative', 'neutral'" in run.why(), run.why())
    seeded = [Run(job(base / "out", task, {**still, "init_head": "seeded"}, model, seed=s)).points()[("train/loss", 1)] for s in (1, 2)]
    check(seeded[0] != seeded[1], "a seeded head follows the seed")


def main():
    with folder() as base:
        task = write_data(base)
        formats(base)
        labels(base)
        split(base)
        samples(base, task)
        refused_data(base, task)
        refused_models(base, task)
        head(base)
    finish()


main()
