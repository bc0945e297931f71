"""Generation through the real programs: a cache of keys and values changes no token, methods that put rows in front of a
sequence do so once, chat templates are written as they should, and wrong requests are refused with their reason."""
import json
import os
import pathlib
import subprocess

from common import MODELS, ROOT, TRAINER, Run, check, finish, folder, items_of, job, write_rows

PROMPTS = ["w6 w9", "w7", "w11 w20 w21 w8 w9 w10"]
NIGHTSWEEP = pathlib.Path(os.environ.get("BUILD", ROOT / "build/release")) / "nightsweep"


def generate(request):
    done = subprocess.run([TRAINER, "--generate"], input=json.dumps(request) + "\n", capture_output=True, text=True, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def cache_changes_nothing():
    for model in "gpt2", "llama", "m2m":
        for search in ({}, {"beams": 3}, {"beams": 4, "length_penalty": 2, "no_repeat_ngram": 2}, {"sample": True, "seed": 5}):
            both = []
            for cache in True, False:
                answers, said = generate({"model": str(MODELS / model), "prompts": PROMPTS,
                                          "generation": {"max_new_tokens": 12, "cache": cache, **search}})
                check(len(answers) == 3, model, search, said)
                both.append([a["ids"] for a in answers])
            check(both[0] == both[1], model, search, "cache", both)
            check(all(1 <= len(ids) <= 12 for ids in both[0]), model, search, "lengths", both[0])


def adapters_are_used(base):
    rows = [{"text": f"w{6 + i % 9}", "answer": "w30 w31 w32"} for i in range(40)]
    task = {"kind": "causal", "train": write_rows(base / "train.jsonl", rows), "validation": write_rows(base / "validation.jsonl", rows[:8]),
            "text": "text", "target": "answer"}
    for settings in {"method": "prompt", "prompt_length": 4}, {"method": "prefix", "prompt_length": 4}, {"method": "lora", "rank": 8}:
        out = base / settings["method"]
        run = Run(job(out, task, {**settings, "epochs": 30, "learning_rate": 0.05}, "llama"))
        if not check(run.finished(), settings, run.why()):
            continue
        adapter = next(p.parent for p in sorted(out.rglob("adapter_config.json")))
        both = []
        for cache in True, False:
            answers, said = generate({"model": str(MODELS / "llama"), "prompts": PROMPTS, "settings": settings, "adapter": str(adapter),
                                      "generation": {"max_new_tokens": 8, "cache": cache}})
            check(len(answers) == 3, settings, said)
            both.append([a["ids"] for a in answers])
        plain, _ = generate({"model": str(MODELS / "llama"), "prompts": PROMPTS, "generation": {"max_new_tokens": 8}})
        check(both[0] == both[1], settings, "cache", both)
        kept, said = generate({"model": str(MODELS / "llama"), "prompts": PROMPTS, "adapter": str(adapter),
                               "generation": {"max_new_tokens": 8}})
        check([a["ids"] for a in kept] == both[0], settings, "with the settings that the adapter's folder has:", said)
        check(both[0] != [a["ids"] for a in plain], settings, "changes what is generated")


def chats():
    messages = [{"role": "user", "content": "w6"}, {"role": "assistant", "content": "w7"}, {"role": "user", "content": "w8"}]
    expected = {
        "chatml": "<|im_start|>system\nw9<|im_end|>\n<|im_start|>user\nw6<|im_end|>\n<|im_start|>assistant\nw7<|im_end|>\n"
                  "<|im_start|>user\nw8<|im_end|>\n<|im_start|>assistant\n",
        "llama-2": "[INST] <<SYS>>\nw9\n<</SYS>>\n\nw6 [/INST] w7 </s><s>[INST] w8 [/INST]",
        "llama-3": "".join(f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>"
                           for role, text in (("system", "w9"), ("user", "w6"), ("assistant", "w7"), ("user", "w8")))
                   + "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "alpaca": "w9\n\n### Instruction:\nw6\n\n### Response:\nw7\n\n### Instruction:\nw8\n\n### Response:\n",
        "plain": "w9\nw6\nw7\nw8\n",
    }
    for name, text in expected.items():
        answers, said = generate({"model": str(MODELS / "llama"), "chat_template": name, "system": "w9", "prompts": [messages],
                                  "generation": {"max_new_tokens": 1}})
        check(answers and answers[0]["prompt"] == text, name, answers, said)


def learns_answers_in_chats(base):
    """Only the answer's tokens and its end are predicted: 3 words and the end of the text."""
    rows = [{"text": f"w{6 + i % 9} w8", "answer": "w30 w31 w32"} for i in range(40)]
    task = {"kind": "causal", "train": write_rows(base / "train.jsonl", rows), "validation": write_rows(base / "validation.jsonl", rows[:8]),
            "text": "text", "target": "answer"}
    settings = {"method": "full", "chat_template": "plain", "epochs": 20, "learning_rate": 0.01}
    run = Run(job(base / "chat", task, settings, "llama"))
    if check(run.finished(), "chat", run.why()):
        check([i[0] for i in items_of(run.final("validation"))] == [4] * 8, "predicted tokens", run.final("validation"))
        check(run.final("validation")["metrics"]["loss"] < 0.1, "learns", run.final("validation")["metrics"])
    run = Run(job(base / "chat", {k: v for k, v in task.items() if k != "target"}, settings, "llama"))
    check(not run.finished() and "chat_template" in run.why(), "without a target:", run.why())


def refusals():
    base = {"model": str(MODELS / "llama"), "prompts": ["w6"]}
    for more, words in (({"generation": {"beams": 0}}, "beams: 0"), ({"generation": {"top_p": 2}}, "top_p: 2"),
                        ({"generation": {"beams": 2, "sample": True}}, "exclude each other"), ({"prompts": [[]]}, "no tokens"),
                        ({"prompts": [[100000]]}, "ids of 0 to"), ({"prompts": [7]}, "a text or a list of ids"),
                        ({"model": str(MODELS / "bert")}, "no language model"), ({"chat_template": "auto"}, "carries no chat template"),
                        ({"chat_template": "morse"}, "'morse' is not built in"),
                        ({"chat_template": "alpaca", "prompts": [[{"role": "assistant", "content": "x"}]]}, "take turns")):
        answers, said = generate({**base, **more})
        check(not answers and words in said, more, answers, said)


def command():
    done = subprocess.run([NIGHTSWEEP, "generate", MODELS / "gpt2", "w6 w9", "w7", "--tokens", "3", "--json"], capture_output=True, text=True,
                          check=False)
    check(done.returncode == 0 and len(done.stdout.splitlines()) == 2, done)
    done = subprocess.run([NIGHTSWEEP, "generate", MODELS / "gpt2", "--tokens", "3"], input="w6\nw7\nw8\n", capture_output=True, text=True,
                          check=False)
    check(done.returncode == 0 and len(done.stdout.splitlines()) == 3, done)
    done = subprocess.run([NIGHTSWEEP, "generate", MODELS / "gpt2", "w6", "--beams", "many"], capture_output=True, text=True, check=False)
    check(done.returncode == 2 and "--beams" in done.stderr, done)


with folder() as base:
    cache_changes_nothing()
    adapters_are_used(base)
    chats()
    learns_answers_in_chats(base)
    refusals()
    command()
finish()
