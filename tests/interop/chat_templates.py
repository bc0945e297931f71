#!/usr/bin/env python3
"""Chat templates recognised from tokenizer_config.json against Jinja's own rendering, text for text.

    chat_templates.py      (needs jinja2, which transformers brings)

Conversations of one to five messages, with and without a system message, through the templates that models carry; and
templates that are none of ours must be refused.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import jinja2

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TRAINER = pathlib.Path(os.environ.get("BUILD", ROOT / "build/release")).absolute() / "nightsweep-trainer"
MODEL = ROOT / "tests/golden/cases/models/llama"
SMOLLM2 = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI "
           "assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + "
           "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
LLAMA3 = ("{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + "
          "message['content'] | trim + '<|eot_id|>' %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
          "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}")
LLAMA2 = ("{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
          "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
          "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + "
          "message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
          "{{ bos_token + '[INST] ' + content | trim + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
          "{{ ' ' + content | trim + ' ' + eos_token }}{% endif %}{% endfor %}")
STRANGE = ("{{ bos_token }}{% for m in messages %}{{ '[INST] ' + m['content'] + ' [/INST]' }}{% endfor %}",
           "{% for m in messages %}<start_of_turn>{{ m['role'] }}{% endfor %}",
           LLAMA3 + "{{ strftime_now('%d') }}")
TALK = [("user", "w6 w7"), ("assistant", " w8\n"), ("user", "w9"), ("assistant", "w10"), ("user", " w11 ")]


def ours(template, prompts):
    with tempfile.TemporaryDirectory() as folder:
        for file in MODEL.iterdir():
            shutil.copy(file, folder)
        (pathlib.Path(folder) / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
        request = {"model": folder, "chat_template": "auto", "prompts": prompts, "generation": {"max_new_tokens": 1}}
        done = subprocess.run([TRAINER, "--generate"], input=json.dumps(request) + "\n", capture_output=True, text=True, check=False)
        return [json.loads(line)["prompt"] for line in done.stdout.splitlines()], done.stderr


def main():
    wrong = 0
    prompts = [[{"role": "system", "content": "w12 w13"}] * has_system + [{"role": r, "content": c} for r, c in TALK[:n]]
               for has_system in (0, 1) for n in (1, 3, 5)]
    for name, template in ("SmolLM2", SMOLLM2), ("ChatML", CHATML), ("Llama-3", LLAMA3), ("Llama-2", LLAMA2):
        rendered = jinja2.Environment().from_string(template)
        # What begins a text is left to the tokenizer.
        expected = [rendered.render(messages=p, add_generation_prompt=True, bos_token="<s>", eos_token="</s>").removeprefix("<s>")
                    for p in prompts]
        found, said = ours(template, prompts)
        wrong += found != expected
        print(f"{'ok   ' if found == expected else 'WRONG'} {name}: {len(prompts)} conversations {said}")
        for a, b in zip(expected, found):
            if a != b:
                print(f"    Jinja {a!r}\n    ours  {b!r}")
    for template in STRANGE:
        found, said = ours(template, prompts[:1])
        is_refused = not found and "none of those built in" in said
        wrong += not is_refused
        print(f"{'ok   ' if is_refused else 'WRONG'} refused: {template[:50]!r}")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
