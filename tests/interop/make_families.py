#!/usr/bin/env python3
"""Golden cases of model families beyond tests/golden/cases: random tiny models made by transformers, trained by PyTorch.

    make_families.py OUT [PATTERN]     -> OUT/<case>, for golden-run --cases OUT --out DIR --check

Formats and tolerances are those of tests/golden/cases/FORMAT.md; the training loop is its generator's. Needs torch,
transformers 5 and peft. Norms and rotations that transformers computes in float32 whatever the model's type add their
rounding to the float64 truth; it stays below the tolerances.
"""
import json, math, os, re, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "cases"))
import make_golden as golden
import stacks
import torch, transformers
import transformers.models.llama.modeling_llama as llama

SMALL = dict(vocab_size=83, pad_token_id=0, bos_token_id=4, eos_token_id=5)
LLAMA = dict(SMALL, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
             intermediate_size=44, max_position_embeddings=64, use_cache=False)
BART = dict(SMALL, d_model=32, encoder_layers=2, decoder_layers=3, encoder_attention_heads=4,
            decoder_attention_heads=2, encoder_ffn_dim=40, decoder_ffn_dim=48, max_position_embeddings=48, dropout=0.0,
            attention_dropout=0.0, activation_dropout=0.0, encoder_layerdrop=0.0, decoder_layerdrop=0.0,
            decoder_start_token_id=5, forced_eos_token_id=None, use_cache=False)
T5 = dict(SMALL, d_model=30, d_kv=8, d_ff=44, num_layers=2, num_decoder_layers=3, num_heads=3, dropout_rate=0.0,
          relative_attention_num_buckets=8, relative_attention_max_distance=12, decoder_start_token_id=0, use_cache=False)
ROBERTA = dict(SMALL, hidden_size=30, num_hidden_layers=3, num_attention_heads=5, intermediate_size=40,
               max_position_embeddings=44, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=3)
BERT = dict(ROBERTA)
DISTIL = dict(SMALL, dim=32, n_layers=3, n_heads=4, hidden_dim=44, max_position_embeddings=44, dropout=0.0,
              attention_dropout=0.0, seq_classif_dropout=0.0, qa_dropout=0.0, num_labels=3)
GPT2 = dict(SMALL, n_embd=36, n_layer=2, n_head=3, n_positions=48, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
            use_cache=False)

def rope(kind, **more):
    return dict(rope_parameters=dict(rope_type=kind, rope_theta=10000.0, **more))

# name: class prefix, its head, task, configuration
FAMILIES = {
    "distilbert": ("DistilBert", "SequenceClassification", "cls", DISTIL),
    "xlmroberta": ("XLMRoberta", "SequenceClassification", "cls", ROBERTA),
    "gpt2_variant": ("GPT2", "LM", "clm", dict(GPT2, n_inner=50, activation_function="relu", tie_word_embeddings=False,
                                               scale_attn_by_inverse_layer_idx=True)),
    "gpt2_classifier": ("GPT2", "SequenceClassification", "cls", dict(GPT2, num_labels=3)),
    "llama_classifier": ("Llama", "SequenceClassification", "cls", dict(LLAMA, num_labels=4)),
    "llama_wide_heads": ("Llama", "CausalLM", "clm", dict(LLAMA, head_dim=10)),
    "llama_linear": ("Llama", "CausalLM", "clm", dict(LLAMA, **rope("linear", factor=3.0))),
    "llama_llama3": ("Llama", "CausalLM", "clm", dict(LLAMA, **rope("llama3", factor=4.0, low_freq_factor=1.0,
                                high_freq_factor=4.0, original_max_position_embeddings=16))),
    "llama_yarn": ("Llama", "CausalLM", "clm", dict(LLAMA, **rope("yarn", factor=4.0,
                                original_max_position_embeddings=16, beta_fast=4.0, beta_slow=0.5))),
    "llama_yarn_mscale": ("Llama", "CausalLM", "clm", dict(LLAMA, **rope("yarn", factor=4.0, mscale=1.2,
                                mscale_all_dim=0.6, original_max_position_embeddings=16, truncate=False))),
    # all sequences as long as each other: transformers turns a batch by its longest
    "llama_dynamic": ("Llama", "CausalLM", "clm", dict(LLAMA, max_position_embeddings=8, **rope("dynamic", factor=2.0))),
    "mistral": ("Mistral", "CausalLM", "clm", dict(LLAMA, sliding_window=4)),
    "mistral_no_window": ("Mistral", "CausalLM", "clm", dict(LLAMA, sliding_window=None, tie_word_embeddings=True)),
    "qwen2": ("Qwen2", "CausalLM", "clm", dict(LLAMA, tie_word_embeddings=True)),
    "qwen2_windows": ("Qwen2", "CausalLM", "clm", dict(LLAMA, use_sliding_window=True, sliding_window=5,
                                                       max_window_layers=1)),
    "mbart": ("MBart", "ConditionalGeneration", "s2s", dict(BART, scale_embedding=True)),
    "bart": ("Bart", "ConditionalGeneration", "s2s", BART),
    "marian": ("Marian", "MTModel", "s2s", dict(BART, activation_function="swish", scale_embedding=True)),
    "t5": ("T5", "ConditionalGeneration", "s2s", T5),
    "t5_gated": ("T5", "ConditionalGeneration", "s2s", dict(T5, feed_forward_proj="gated-gelu",
                                                            tie_word_embeddings=False)),
}
for prefix, base in (("Bert", dict(BERT)), ("XLMRoberta", dict(ROBERTA)), ("DistilBert", dict(DISTIL))):
    for head, task, more in (("SequenceClassification", "reg", dict(num_labels=1)), ("MultipleChoice", "mc", {}),
                             ("TokenClassification", "tok", dict(num_labels=5)), ("QuestionAnswering", "qa", dict(num_labels=2)), ("MaskedLM", "mlm", {})):
        FAMILIES[f"{prefix.lower()}_{task}"] = (prefix, head, task, dict(base, **more))
for prefix, base in (("GPT2", GPT2), ("Llama", LLAMA), ("Mistral", LLAMA), ("Qwen2", LLAMA)):
    FAMILIES[f"{prefix.lower()}_tok"] = (prefix, "TokenClassification", "tok", dict(base, num_labels=5, classifier_dropout=0.0))
FAMILIES["gpt2_qa"] = ("GPT2", "QuestionAnswering", "qa", GPT2)
FAMILIES["gpt2_reg"] = ("GPT2", "SequenceClassification", "reg", dict(GPT2, num_labels=1))
FAMILIES["bertuntied_mlm"] = ("Bert", "MaskedLM", "mlm", dict(BERT, tie_word_embeddings=False))
STACK = dict(vocab_size=83, hidden_size=24, num_hidden_layers=2, inner_size=14, num_labels=3, dropout=0.0, max_position_embeddings=40)
FAMILIES["bilstm"] = (None, None, "cls", dict(STACK, model_type="bilstm"))
FAMILIES["textcnn"] = (None, None, "cls", dict(STACK, model_type="text_cnn", kernel_size=5))
LORA = {"bilstm": ["forward_input", "backward_input", "output"], "textcnn": ["window", "output"], "bert": ["query", "value", "dense"], "distilbert": ["q_lin", "v_lin", "lin1"], "xlmroberta": ["query", "value"], "gpt2": ["c_attn", "c_fc"],
        "t5": ["q", "v", "wo"]}

def model_class(name):
    prefix, head, _, _ = FAMILIES[name]
    if prefix == "GPT2" and head == "LM":
        return transformers.GPT2LMHeadModel
    return getattr(transformers, f"Marian{head}" if prefix == "Marian" else f"{prefix}For{head}")

def randomise(model, name):
    g = golden.gen(golden.hseed("families", name, "w"))
    with torch.no_grad():
        for n, p in model.named_parameters():
            if "embed_positions" in n and name == "marian":
                continue
            r = torch.randn(p.shape, generator=g)
            if n.endswith("bias"):
                p.copy_(0.1 * r)
            elif p.dim() == 1:
                p.copy_(1 + 0.1 * r)
            elif re.search(r"embed|shared|wte|wpe|relative_attention_bias", n):
                p.copy_((0.5 / math.sqrt(p.shape[1]) if re.search("shared", n) else 0.5) * r)
            elif re.search(r"Attention\.q\.", n): # T5 does not scale its scores
                p.copy_(1.1 / math.sqrt(p.shape[1] * 8) * r)
            else:
                p.copy_(1.1 / math.sqrt(p.shape[0] if re.search(r"c_(attn|proj|fc)", n) else p.shape[1]) * r)
        if hasattr(model, "final_logits_bias"):
            model.final_logits_bias.copy_(0.3 * torch.randn(model.final_logits_bias.shape, generator=g))

def make_model(name):
    folder = f"{golden.ROOT}/families/models/{name}"
    if FAMILIES[name][0] is None:
        model = stacks.Stack(FAMILIES[name][3])
        randomise(model, name)
        return model.save(folder)
    config_class = model_class(name).config_class
    model = model_class(name)(config_class(**FAMILIES[name][3]))
    randomise(model, name)
    model.save_pretrained(folder)
    config = json.load(open(f"{folder}/config.json"))
    if name == "t5_gated": # saved as tied; the configs of the published ones say false
        config["tie_word_embeddings"] = False
        config.pop("scale_decoder_outputs", None)
    json.dump(config, open(f"{folder}/config.json", "w"), indent=1, sort_keys=True)

def hand_model(base, kind, c, plain=golden.HandModel):
    return stacks.Adapted(base, c["hp"], golden.Bottleneck) if isinstance(base, stacks.Stack) else plain(base, kind, c)

def load_model(folder, kind, problem=None, tweak=None):
    if FAMILIES[os.path.basename(folder)][0] is None:
        return stacks.load(folder)
    model = model_class(os.path.basename(folder)).from_pretrained(folder, attn_implementation="eager",
                                                                  dtype=torch.float32)
    model.config.use_cache = False
    if "lm_head" in model._modules: # shared tensors have the name of the first module that has them: the body's
        model._modules["lm_head"] = model._modules.pop("lm_head")
    return model

def base_trainable(name, case, n_layers, plain=golden.base_trainable):
    if case["model"] == "marian" and "embed_positions" in name:
        return False # a buffer in all but name
    return plain(name, case, n_layers) or (case["method"] == "bitfit" and re.match(r"score\.|pre_classifier\.|qa_outputs\.", name) is not None)

NEW = ("reg", "mc", "tok", "qa", "mlm")

def new_row(task, kind, ri, vocab, labels):
    """What a row of a task that the generator does not know is made of."""
    length = 11 if task == "qa" else ri(6, 14) # padding takes part in the reference's softmax over places
    ids = [golden.CLS] + [ri(golden.NSPECIAL, vocab) for _ in range(length)] + [golden.SEP]
    if task == "reg":
        return dict(input_ids=ids, value=round(sum(ids) % 17 / 8 - 1, 3))
    if task == "mc":
        choices = [ids[:4] + [ri(golden.NSPECIAL, vocab) for _ in range(ri(2, 6))] + [golden.SEP] for _ in range(4)]
        return dict(choices=choices, label=max(range(4), key=lambda i: choices[i][4]))
    if task == "qa":
        start = ri(1, 9)
        return dict(input_ids=ids, start=start, end=start + ri(0, 3))
    wanted = [ri(0, 3) == 0 for _ in ids]
    if task == "mlm":
        labels = [i if w or n == 2 else -100 for n, (i, w) in enumerate(zip(ids, wanted))]
        return dict(input_ids=[3 if y >= 0 else i for i, y in zip(ids, labels)], labels=labels)
    return dict(input_ids=ids, labels=[-100 if w else i % labels for i, w in zip(ids, wanted)])

def pad(rows, value):
    longest = max(len(r) for r in rows)
    return torch.tensor([r + [value] * (longest - len(r)) for r in rows])

def collate(rows, task, plain=golden.collate):
    if task not in NEW:
        return plain(rows, task)
    flat = [c for r in rows for c in r["choices"]] if task == "mc" else [r["input_ids"] for r in rows]
    b = dict(input_ids=pad(flat, golden.PAD), attention_mask=pad([[1] * len(r) for r in flat], 0))
    if task == "mc":
        b = {k: v.view(len(rows), -1, v.shape[1]) for k, v in b.items()}
    y = dict(reg=lambda: torch.tensor([r["value"] for r in rows]), mc=lambda: torch.tensor([r["label"] for r in rows]),
             qa=lambda: torch.tensor([[r["start"], r["end"]] for r in rows]))
    return b, y[task]() if task in y else pad([r["labels"] for r in rows], -100)

def forward(mod, b, y, c, task, engine, plain=golden.fwd):
    if task != "qa":
        return plain(mod, b, y, c, task, engine)
    out = mod(**b)
    return torch.stack([out.start_logits, out.end_logits], -1)

def token_nll(logits, y, task, plain=golden.token_nll):
    ones = torch.ones(len(y), dtype=logits.dtype)
    cross_entropy = torch.nn.functional.cross_entropy
    if task == "reg":
        return (logits[:, 0] - y) ** 2, ones
    if task == "mc":
        return cross_entropy(logits, y, reduction="none"), ones
    if task == "qa":
        return sum(cross_entropy(logits[..., k], y[:, k], reduction="none") for k in range(2)) / 2, ones
    if task not in NEW:
        return plain(logits, y, task)
    loss = cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=-100, reduction="none").view(y.shape)
    return loss.sum(1), (y != -100).sum(1).to(logits.dtype)

def evaluate(mod, ev, c, task, dt, plain=golden.evaluate):
    if task not in NEW:
        return plain(mod, ev, c, task, dt)
    mod.eval()
    b, y = collate(ev, task)
    with torch.no_grad():
        logits = forward(mod, b, y, c, task, c["engine"])
        nll, n = token_nll(logits, y, task)
    mod.train()
    if task in ("mc", "qa"): # a softmax does not see what all have in common, and its gradient is rounding
        logits = logits - logits.mean(1, keepdim=True)
    if task == "mlm":
        logits = logits[y != -100]
    elif task in ("tok", "qa"):
        logits = logits[b["attention_mask"] == 1]
    return dict(loss=float(nll.sum() / n.sum()), example_nll=[float(x) for x in nll], example_tokens=[int(x) for x in n],
                logits=logits.tolist())

def make_data(setname, case, m, n, task, opt, plain=golden.make_data):
    if task in NEW:
        g = golden.gen(golden.hseed(setname, case, "data"))
        ri = lambda a, b: int(torch.randint(a, b, (1,), generator=g))
        return [new_row(task, m["kind"], ri, m["vocab"], m["labels"]) for _ in range(n)]
    rows = plain(setname, case, m, n, task, opt)
    for i, row in enumerate(rows if m["name"] == "llama_dynamic" else []):
        ids = (row["input_ids"] * 3)[:11] # longer than max_position_embeddings
        rows[i] = dict(input_ids=ids, labels=list(ids))
    return rows

def cases():
    for name, (_, _, task, config) in FAMILIES.items():
        base = dict(model=name, task=task, data={}, hp={})
        optim = dict(optimizer="adamw", lr=1e-3, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.01, no_decay=[],
                     schedule="linear", warmup_steps=2, steps=10, batch_size=4, grad_accum=1, clip=1.0)
        if task == "mc": # a unit that is on in all choices has rounding as gradient: no steps of that
            optim["eps"] = 1e-5
        if "untied" not in name: # whose reference keeps a bias that nothing reads
            yield dict(base, name=f"{name}_full", engine="hf", method="full", optim=optim)
        if not re.match("mistral|t5|llama|.*untied", name):
            yield dict(base, name=f"{name}_bitfit", engine="hf", method="bitfit", optim=dict(optim, weight_decay=0.0))
        targets = next((t for k, t in LORA.items() if name.startswith(k)), ["q_proj", "v_proj"])
        kind = dict(cls="SEQ_CLS", clm="CAUSAL_LM", s2s="SEQ_2_SEQ_LM", reg="SEQ_CLS", mc="SEQ_CLS", tok="TOKEN_CLS",
                    qa="QUESTION_ANS", mlm="FEATURE_EXTRACTION")[task]
        peft = dict(task_type=kind, peft_type="LORA", r=3, lora_alpha=6, target_modules=targets)
        if FAMILIES[name][0] is None:
            peft.update(task_type=None, modules_to_save=["classifier"])
            yield dict(base, name=f"{name}_adapter", engine="hand", method="pfeiffer", hp=dict(bottleneck=5, act="relu", scale=1.0),
                       optim=dict(optim, lr=5e-3))
        if name.startswith("gpt2"):
            peft["fan_in_fan_out"] = True
        yield dict(base, name=f"{name}_lora", engine="peft", method="lora", peft=peft, optim=dict(optim, lr=5e-3))

def main():
    golden.ROOT = os.path.abspath(sys.argv[1])
    pattern = sys.argv[2] if len(sys.argv) > 2 else ""
    golden.SETS = {"families": dict(models={
        name: dict(name=name, kind="family", vocab=83, labels=config.get("num_labels", 0))
        for name, (_, _, _, config) in FAMILIES.items()}, n=20)}
    golden.load_model, golden.base_trainable, golden.make_data = load_model, base_trainable, make_data
    golden.HandModel = hand_model
    golden.collate, golden.fwd, golden.token_nll, golden.evaluate = collate, forward, token_nll, evaluate
    llama.LlamaRotaryEmbedding.forward = golden._rot_fwd # the generator's float64 form knows no scaling
    for case in cases():
        if re.search(pattern, case["name"]):
            if not os.path.isdir(f"{golden.ROOT}/families/models/{case['model']}"):
                make_model(case["model"])
            golden.run_make("families", case)

if __name__ == "__main__":
    main()
