#!/usr/bin/env python3
"""Generated tokens of tiny random models against transformers, token for token.

    generation.py [FAMILY…]      (needs torch, transformers, tokenizers)

Families: GPT-2, Llama, Mistral (sliding window), Qwen2, T5, BART, M2M100, mBART, Marian. Searches: greedy, beams with and
without a length penalty, early stopping, no repeated n-grams; each with and without our cache of keys and values. Also:
with temperature near 0 sampling is greedy, and drawn frequencies follow top-k and top-p.
"""
import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TRAINER = pathlib.Path(os.environ.get("BUILD", ROOT / "build/release")).absolute() / "nightsweep-trainer"
VOCABULARY, NEW = 97, 24
SEARCHES = {
    "greedy": {},
    "greedy, no repeated 2-grams": {"no_repeat_ngram": 2},
    "4 beams": {"beams": 4},
    "5 beams, length penalty 2": {"beams": 5, "length_penalty": 2.0},
    "3 beams, length penalty -1, no repeated 3-grams": {"beams": 3, "length_penalty": -1.0, "no_repeat_ngram": 3},
    "4 beams, early stopping": {"beams": 4, "early_stopping": True, "length_penalty": 0.5},
}
failures = []


def tiny(name, **more):
    t = transformers
    shared = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    decoder = {**shared, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
               "num_key_value_heads": 2, "max_position_embeddings": 128, "initializer_range": 0.25}
    encoder_decoder = {**shared, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
                       "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 128,
                       "init_std": 0.3, "decoder_start_token_id": 2}
    made = {
        "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(**shared, n_embd=32, n_layer=3, n_head=4, n_positions=128, initializer_range=0.3)),
        "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**decoder)),
        "mistral": lambda: t.MistralForCausalLM(t.MistralConfig(**decoder, sliding_window=6)),
        "qwen2": lambda: t.Qwen2ForCausalLM(t.Qwen2Config(**decoder)),
        "t5": lambda: t.T5ForConditionalGeneration(t.T5Config(vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
                                                             decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
                                                             initializer_factor=3.0, feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
        "bart": lambda: t.BartForConditionalGeneration(t.BartConfig(**encoder_decoder, forced_eos_token_id=2)),
        "m2m_100": lambda: t.M2M100ForConditionalGeneration(t.M2M100Config(**encoder_decoder)),
        "mbart": lambda: t.MBartForConditionalGeneration(t.MBartConfig(**encoder_decoder, forced_bos_token_id=5)),
        "marian": lambda: t.MarianMTModel(t.MarianConfig(**encoder_decoder)),
    }
    return made[name]()


def write_tokenizer(folder):
    t = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w3"))
    t.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    t.save(str(pathlib.Path(folder) / "tokenizer.json"))


def ours(folder, prompts, generation):
    request = {"model": str(folder), "prompts": prompts, "generation": {"max_new_tokens": NEW, **generation}}
    done = subprocess.run([TRAINER, "--generate"], input=json.dumps(request) + "\n", capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"trainer: {done.stderr}")
    return [json.loads(line)["ids"] for line in done.stdout.splitlines()]


def theirs(model, prompts, generation, is_seq2seq):
    out = []
    for prompt in prompts:
        ids = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), max_new_tokens=NEW,
                             do_sample=False, num_beams=generation.get("beams", 1), length_penalty=generation.get("length_penalty", 1.0),
                             no_repeat_ngram_size=generation.get("no_repeat_ngram", 0), early_stopping=generation.get("early_stopping", False))
        out.append(ids[0, 1 if is_seq2seq else len(prompt):].tolist())
    return out


def said(name, is_good, detail=""):
    print(f"{'ok   ' if is_good else 'WRONG'} {name} {detail}", flush=True)
    if not is_good:
        failures.append(name)


def compare(name, seed, root):
    torch.manual_seed(seed)
    model = tiny(name).eval()
    folder = pathlib.Path(root) / f"{name}-{seed}"
    model.save_pretrained(folder)
    write_tokenizer(folder)
    is_seq2seq = model.config.is_encoder_decoder
    draw = torch.Generator().manual_seed(seed)
    prompts = [torch.randint(3, VOCABULARY, (n,), generator=draw).tolist() for n in (1, 2, 5, 9, 17)]
    n = 0
    for search, generation in SEARCHES.items():
        expected = theirs(model, prompts, generation, is_seq2seq)
        for cache in (True, False):
            found = ours(folder, prompts, {**generation, "cache": cache})
            n += sum(map(len, found))
            if found != expected:
                said(f"{name}, {search}, cache {cache}", False)
                for a, b in zip(expected, found):
                    if a != b:
                        print("   transformers", a, "\n   ours        ", b)
                        break
    said(f"{name} (seed {seed}): {len(SEARCHES)} searches, {n} tokens", not failures)
    return model, folder, prompts


def sampling(model, folder, prompts):
    prompt = prompts[3]
    with torch.no_grad():
        logits = model(torch.tensor([prompt])).logits[0, -1]
    cold = ours(folder, [prompt], {"sample": True, "temperature": 0.001, "seed": 3})
    said("sampling near temperature 0 is greedy", cold == ours(folder, [prompt], {}))
    for temperature, top_k, top_p in (3.0, 5, 1.0), (3.0, 0, 0.7):
        order = torch.argsort(logits, descending=True)
        p = torch.softmax(logits[order] / temperature, -1)
        if top_k:
            p[top_k:] = 0
        p[(p.cumsum(-1) - p) >= top_p * p.sum()] = 0
        p /= p.sum()
        counts = collections.Counter()
        for ids in ours(folder, [prompt] * 400, {"max_new_tokens": 1, "sample": True, "temperature": temperature, "top_k": top_k,
                                                 "top_p": top_p, "seed": 11}):
            counts[ids[0]] += 1
        allowed = set(order[p > 0].tolist())
        chi2 = sum((counts[i] - 400 * q) ** 2 / (400 * q) for i, q in zip(order.tolist(), p.tolist()) if q > 0)
        free = int((p > 0).sum()) - 1
        said(f"drawn with top_k {top_k}, top_p {top_p}: chi-squared {chi2:.1f} of {free} degrees",
             set(counts) <= allowed and chi2 < free + 5 * (2 * free) ** 0.5)


def main():
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    names = sys.argv[1:] or ["gpt2", "llama", "mistral", "qwen2", "t5", "bart", "m2m_100", "mbart", "marian"]
    with tempfile.TemporaryDirectory() as root:
        for name in names:
            for seed in 1, 2:
                last = compare(name, seed, root)
                if name == "llama" and seed == 2:
                    sampling(*last)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
