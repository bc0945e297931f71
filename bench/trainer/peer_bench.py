#!/usr/bin/env python3
"""Peer benchmark: PyTorch + HF transformers + PEFT on CPU. One JSON line per run.
  peer_bench.py --model minilm|bert-…|gpt2|smollm2 --method full|bitfit|lora8qv|lora64all|prefix20|prompt20|ptuning20|ia3|
                houlsby64|pfeiffer64|head --batch 32 --threads 2 --mode loop|trainer --steps 30
                [--group] [--bf16] [--compile] [--eager] [--dump-loss] [--f32prec highest|high|medium]
mode loop   : plain loop over pre-collated batches, AdamW(fused), clip 1.0  (the peer's best case)
mode trainer: transformers.Trainer with DataCollatorWithPadding (what users run)
tokens/s counts real (non-pad) tokens only, tok_cpu_s by the process's processor time. --path is the model's folder,
--data a file of inputs.py: int32 n, lengths, labels, ids of all."""
import tempfile, time; T_PY = time.time()
import argparse, json, os, sys
A = argparse.ArgumentParser()
A.add_argument("--model", default="minilm"); A.add_argument("--method", default="lora8qv")
A.add_argument("--batch", type=int, default=32)
A.add_argument("--threads", type=int, default=2); A.add_argument("--mode", default="loop")
A.add_argument("--steps", type=int, default=30); A.add_argument("--warmup", type=int, default=5)
A.add_argument("--group", action="store_true"); A.add_argument("--bf16", action="store_true")
A.add_argument("--compile", action="store_true"); A.add_argument("--eager", action="store_true")
A.add_argument("--dump-loss", action="store_true"); A.add_argument("--maxsec", type=float, default=25)
A.add_argument("--path", required=True); A.add_argument("--data", required=True); A.add_argument("--tag", default=""); A.add_argument("--f32prec", default="highest", help="torch.set_float32_matmul_precision: highest|high|medium")
a = A.parse_args()
os.environ.update(TRANSFORMERS_VERBOSITY="error", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TRANSFORMERS_NO_ADVISORY_WARNINGS="1")
for k in ("OMP_NUM_THREADS",): os.environ[k] = str(a.threads)
import warnings; warnings.filterwarnings("ignore")
import numpy as np, torch, torch.nn as nn
t_torch = time.time()
import transformers
from transformers import AutoModelForSequenceClassification, AutoModelForCausalLM
t_tf = time.time()
needs_peft = a.method in ("lora8qv", "lora64all", "prefix20", "prompt20", "ptuning20", "ia3")
if needs_peft:
    import peft
    from peft import get_peft_model, LoraConfig, PrefixTuningConfig, PromptTuningConfig, PromptEncoderConfig, IA3Config
t_peft = time.time()
torch.set_num_threads(a.threads); torch.manual_seed(0); torch.set_float32_matmul_precision(a.f32prec)
gpt2 = a.model == "gpt2"; gpt = gpt2 or a.model == "smollm2"  # gpt: a language model, every token is predicted
path = a.path
kw = dict(attn_implementation="eager") if a.eager else {}
if gpt: model = AutoModelForCausalLM.from_pretrained(path, **kw)
else: model = AutoModelForSequenceClassification.from_pretrained(path, num_labels=2, **kw)
t_load = time.time()
task = "CAUSAL_LM" if gpt else "SEQ_CLS"
m = a.method
class Bottleneck(nn.Module):
    def __init__(s, base, d, r):
        super().__init__(); s.base = base; s.down = nn.Linear(d, r); s.up = nn.Linear(r, d)
        nn.init.normal_(s.down.weight, std=1e-3); nn.init.zeros_(s.up.weight); nn.init.zeros_(s.up.bias)
    def forward(s, x):
        h = s.base(x); return h + s.up(nn.functional.gelu(s.down(h)))
def head_on(mod):
    for n, p in mod.named_parameters():
        if "classifier" in n or "score" in n: p.requires_grad_(True)
if m == "full": pass
elif m == "bitfit":
    for n, p in model.named_parameters(): p.requires_grad_(n.endswith("bias"))
    head_on(model)
elif m == "head":
    for p in model.parameters(): p.requires_grad_(False)
    head_on(model)
    if gpt: raise SystemExit("no head for gpt2")
elif m == "lora8qv":
    model = get_peft_model(model, LoraConfig(task_type=task, r=8, lora_alpha=16, lora_dropout=0.0, fan_in_fan_out=gpt2,
        target_modules=["c_attn"] if gpt2 else ["q_proj", "v_proj"] if gpt else ["query", "value"]))
elif m == "lora64all":
    model = get_peft_model(model, LoraConfig(task_type=task, r=64, lora_alpha=64, lora_dropout=0.0, fan_in_fan_out=gpt,
        target_modules=["c_attn", "c_proj", "c_fc"] if gpt else ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]))
elif m == "ia3":
    model = get_peft_model(model, IA3Config(task_type=task, fan_in_fan_out=gpt, target_modules=["c_attn", "mlp.c_proj"] if gpt else ["key", "value", "output.dense"],
        feedforward_modules=["mlp.c_proj"] if gpt else ["output.dense"]))
elif m == "prefix20": model = get_peft_model(model, PrefixTuningConfig(task_type=task, num_virtual_tokens=20))
elif m == "prompt20": model = get_peft_model(model, PromptTuningConfig(task_type=task, num_virtual_tokens=20))
elif m == "ptuning20": model = get_peft_model(model, PromptEncoderConfig(task_type=task, num_virtual_tokens=20, encoder_hidden_size=128))
elif m in ("houlsby64", "pfeiffer64"):
    for p in model.parameters(): p.requires_grad_(False)
    head_on(model); d = model.config.hidden_size
    if gpt:
        for b in model.transformer.h:
            b.mlp.c_proj = Bottleneck(b.mlp.c_proj, d, 64)
            if m == "houlsby64": b.attn.c_proj = Bottleneck(b.attn.c_proj, d, 64)
    else:
        for l in model.bert.encoder.layer:
            l.output.dense = Bottleneck(l.output.dense, d, 64)
            if m == "houlsby64": l.attention.output.dense = Bottleneck(l.attention.output.dense, d, 64)
else: raise SystemExit("method?")
t_wrap = time.time()
raw = np.fromfile(a.data, dtype=np.int32); n = int(raw[0]); L = raw[1:1 + n]; lab = raw[1 + n:1 + 2 * n]
off = np.concatenate([[0], np.cumsum(L)]); ids = raw[1 + 2 * n:]
pad = 50256 if gpt2 else 0
order = np.arange(n)
if a.group:  # as HF's length-grouped sampler: random megabatches of 50 batches, each sorted by length descending
    g = np.random.default_rng(1).permutation(n); mb = a.batch * 50
    order = np.concatenate([g[i:i + mb][np.argsort(-L[g[i:i + mb]], kind="stable")] for i in range(0, n, mb)])
    nb = n // a.batch; bs = np.random.default_rng(2).permutation(nb)   # visit batches in random order so few steps still sample all lengths
    order = np.concatenate([order[b * a.batch:(b + 1) * a.batch] for b in bs])
def collate(ix):
    T = int(L[ix].max()); x = np.full((len(ix), T), pad, np.int64); mk = np.zeros((len(ix), T), np.int64)
    for r, i in enumerate(ix): x[r, :L[i]] = ids[off[i]:off[i + 1]]; mk[r, :L[i]] = 1
    b = dict(input_ids=torch.from_numpy(x), attention_mask=torch.from_numpy(mk))
    if gpt: y = x.copy(); y[mk == 0] = -100; b["labels"] = torch.from_numpy(y)
    else: b["labels"] = torch.from_numpy(lab[ix].astype(np.int64))
    return b
trainable = sum(p.numel() for p in model.parameters() if p.requires_grad); total = sum(p.numel() for p in model.parameters())
import psutil
t0proc = psutil.Process().create_time()
times, cpus, toks, padded, losses = [], [], [], [], []
first = None
if a.dump_loss:
    model.eval(); b = collate(order[:a.batch])
    with torch.no_grad(): print("eval loss", float(model(**b).loss), "logits", model(**b).logits.flatten()[:4].tolist()); sys.exit()
model.train()
if a.mode == "loop":
    opt = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=True)
    ps = [p for p in model.parameters() if p.requires_grad]
    run = torch.compile(model, dynamic=True) if a.compile else model
    nb = n // a.batch
    for s in range(a.warmup + a.steps):
        ix = order[(s % nb) * a.batch:(s % nb + 1) * a.batch]; b = collate(ix)
        t, c = time.perf_counter(), time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=a.bf16): loss = run(**b).loss
        loss.backward(); torch.nn.utils.clip_grad_norm_(ps, 1.0); opt.step(); opt.zero_grad(set_to_none=True)
        dt, dc = time.perf_counter() - t, time.process_time() - c
        if first is None: first = time.time()
        if s >= a.warmup: times.append(dt); cpus.append(dc); toks.append(int(b["attention_mask"].sum())); padded.append(b["input_ids"].numel())
        losses.append(float(loss))
        if time.time() - first > a.maxsec and len(times) >= 5: break
else:
    from transformers import Trainer, TrainingArguments, TrainerCallback, DataCollatorWithPadding, AutoTokenizer
    class DS(torch.utils.data.Dataset):
        def __len__(s): return n
        def __getitem__(s, i):
            d = dict(input_ids=ids[off[i]:off[i + 1]].tolist(), attention_mask=[1] * int(L[i]))
            d["labels"] = d["input_ids"] if gpt else int(lab[i]); return d
    if gpt: coll = lambda rows: collate_rows(rows)
    else:
        tok = AutoTokenizer.from_pretrained(path)
        base_coll = DataCollatorWithPadding(tok); coll = base_coll
    def collate_rows(rows):
        T = max(len(r["input_ids"]) for r in rows)
        f = lambda k, v: torch.tensor([list(r[k]) + [v] * (T - len(r[k])) for r in rows])
        return dict(input_ids=f("input_ids", pad), attention_mask=f("attention_mask", 0), labels=f("labels", -100))
    cnt = []
    def coll2(rows):
        b = coll(rows); cnt.append((int(b["attention_mask"].sum()), b["input_ids"].numel())); return b
    class CB(TrainerCallback):
        def on_step_begin(s, *_, **k): s.tb = time.perf_counter()
        def on_step_end(s, args, state, control, **k):
            global first
            if first is None: first = time.time()
            st.append(time.perf_counter()); sc.append(time.process_time())
            if time.time() - first > a.maxsec and len(st) >= a.warmup + 5: control.should_training_stop = True
    st, sc = [], []
    ex = {}
    import inspect
    sig = inspect.signature(TrainingArguments.__init__).parameters
    if a.group:
        if "group_by_length" in sig: ex["group_by_length"] = True
        else: ex["train_sampling_strategy"] = "group_by_length"
    ta = TrainingArguments(output_dir=tempfile.mkdtemp(), per_device_train_batch_size=a.batch, max_steps=a.warmup + a.steps, learning_rate=1e-4,
        use_cpu=True, report_to="none", save_strategy="no", logging_steps=10, disable_tqdm=True, bf16=a.bf16, torch_compile=a.compile, remove_unused_columns=False, **ex)
    tr = Trainer(model=model, args=ta, train_dataset=DS(), data_collator=coll2, callbacks=[CB()])
    import contextlib, io
    with contextlib.redirect_stdout(io.StringIO()): tr.train()
    times = list(np.diff(st))[a.warmup - 1:]; cpus = list(np.diff(sc))[a.warmup - 1:]; toks = [c[0] for c in cnt][a.warmup:a.warmup + len(times)]; padded = [c[1] for c in cnt][a.warmup:a.warmup + len(times)]
times = np.array(times); toks = np.array(toks[:len(times)]); padded = np.array(padded[:len(times)])
hwm = [int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM")][0] / 1024
pss = [int(l.split()[1]) for l in open("/proc/self/smaps_rollup") if l.startswith("Pss:")][0] / 1024
per = toks / times
print(json.dumps(dict(model=a.model, method=m, batch=a.batch, threads=a.threads, mode=a.mode, group=a.group, bf16=a.bf16, compile=a.compile, f32prec=a.f32prec, tag=a.tag,
    steps=len(times), steps_s=round(1 / float(np.median(times)), 3), tok_s=round(float(toks.sum() / times.sum()), 1), tok_cpu_s=round(float(toks.sum() / sum(cpus)), 1), cpu_s=round(sum(os.times()[:4]), 2), tok_s_p10=round(float(np.percentile(per, 10)), 1),
    tok_s_p90=round(float(np.percentile(per, 90)), 1), real_frac=round(float(toks.sum() / padded.sum()), 3), rss_mib=round(hwm), pss_mib=round(pss), trainable=trainable, total=total,
    start_to_first_step_s=round(first - t0proc, 2), import_torch_s=round(t_torch - T_PY, 2), import_transformers_s=round(t_tf - t_torch, 2), import_peft_s=round(t_peft - t_tf, 2),
    load_s=round(t_load - t_peft, 2), wrap_s=round(t_wrap - t_load, 2), torch=torch.__version__, transformers=transformers.__version__)))
