#!/usr/bin/env python3
"""Trains tokenizers of every kind on generated text and compares ours with Hugging Face's, token for token.

    kinds.py [--texts N] [--speed] [--only NAME] | --fixture tests/fixtures/tokenizer-kinds.json      (needs the Python packages tokenizers, sentencepiece, protobuf)

Kinds: byte-level BPE as GPT-2 has it, as Llama-3 and Qwen2 have it (their regular expressions), as SmolLM2 (digits one
by one); BPE with byte fallback as Llama-2 (normalizer, and Metaspace); Unigram with Metaspace and sentencepiece's
compiled map of characters as T5 and XLM-R; WordLevel; WordPiece. Texts: words, accents, CJK, emoji sequences, control
characters, long runs, added tokens, code, numbers. Also every text is decoded again by both. With --speed each kind is
timed on the same texts, one thread a side. Exits 1 when there is a difference.
"""
import argparse
import base64
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import tokenizers  # noqa: E402
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TRAINER = pathlib.Path(os.environ.get("BUILD", ROOT / "build/release")).absolute() / "nightsweep-trainer"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
         r"\s+(?!\S)|\s+")
GPT4O = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")

POOLS = [
    "abcdefghijklmnopqrstuvwxyz", "ABCXYZ", "àéîõüçñßøåœĳİıẞ", "\u0301\u0308\u0327\u20dd", "漢字仮名交じり文한국어カタカナ",
    "👩\u200d👩\u200d👧👍🏽🇩🇪☺\ufe0f🎉", "\x01\x07\x1b\x7f\x85\u200b\u200e\ufeff\ufffd", " \t\n\r\u00a0\u3000\u2028  ",
    ".,;:!?-_'\"()[]{}<>$%&/\\|~`^", "אבגד العربية ไทย हिन्दी Ελληνικά Кириллица", "ſﬁﬂℌ①½ﾊﾟ", "0123456789", "▁ ▁",
    "\U0001d400\U00020000\U0010ffff\ue000\u0378",
]
STEMS = """the of and to in is was for on with as by at from that this be are have it not which model train loss rate layer
token sentence language letter number evening morning story river mountain night sweep learn compare method score result
étude naïve café größe straße señor año 東京 中国 日本語 한국 привет мир λόγος""".split()
ENDS = ["", "", "", "s", "ed", "ing", "er", "ly", "ness", "able", "'s", "n't", ".", ",", "!", "?", ":", ";"]


def sentence(draw, n):
    words = []
    for _ in range(n):
        kind = draw.random()
        if kind < 0.85:
            word = draw.choice(STEMS) + draw.choice(ENDS)
            words.append(word.capitalize() if draw.random() < 0.1 else word)
        elif kind < 0.95:
            words.append(str(draw.randrange(10 ** draw.randint(1, 9))))
        else:
            words.append("".join(draw.choice("bcdfgklmnprst") + draw.choice("aeiou") for _ in range(draw.randint(1, 5))))
    return " ".join(words)


def texts_of(n, seed):
    draw = random.Random(seed)
    made = ["", " ", "  ", "\n", "a", "▁", "the", " the", "the ", "<s>", "</s> x <unk>", "a" * 300, " " * 300, "é" * 200, "漢" * 150,
            "x=1;\n\n  if (x) {\n\treturn  -1.5e-10;\n}\r\n", "I'M don't WE'LL they'Ve 'S", "ab" * 200 + "!", "\u0301" * 50, "👍🏽" * 40]
    while len(made) < n:
        kind = draw.random()
        if kind < 0.5:
            made.append(sentence(draw, draw.randint(1, 40)))
            continue
        parts = []
        for _ in range(draw.randint(1, 12)):
            pool = draw.choice(POOLS)
            parts.append("".join(draw.choice(pool) for _ in range(draw.randint(1, 9))))
        if draw.random() < 0.3:
            parts.append(sentence(draw, draw.randint(1, 6)))
        if draw.random() < 0.1:
            parts.append(draw.choice(["<s>", "</s>", "<unk>", "<|im_start|>", "[MASK]", "<mask>", "<0x41>", "Extra", "extra"]))
        if draw.random() < 0.03:
            parts.append(draw.choice("a .é漢👍\n") * draw.randint(50, 400))
        draw.shuffle(parts)
        made.append("".join(draw.choice(["", " "]) + p for p in parts))
    return made[:n]


def added(*more):
    return [AddedToken("<mask>", lstrip=True, special=True, normalized=False), AddedToken("Extra", normalized=True, single_word=True),
            AddedToken("<|im_start|>", special=True, normalized=False), *more]


def trained(model, trainer, corpus, normalizer=None, pre=None, decoder=None, post=None, more=()):
    t = Tokenizer(model)
    if normalizer:
        t.normalizer = normalizer
    if pre:
        t.pre_tokenizer = pre
    t.train_from_iterator(corpus, trainer)
    if decoder:
        t.decoder = decoder
    if post:
        t.post_processor = post
    t.add_tokens(added(*more))
    return t


def byte_level(corpus, pre, vocab=4000, prefix=False, **model):
    trainer = trainers.BpeTrainer(vocab_size=vocab, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    t = trained(models.BPE(**model), trainer, corpus, pre=pre, decoder=decoders.ByteLevel())
    ids = t.get_vocab()
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", ids["<s>"])])])
    return t


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def fallback_bpe(corpus, metaspace, size=3000):
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False,
                                  special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)])
    legacy = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    pre = pre_tokenizers.Metaspace(prepend_scheme="first", split=metaspace == "split")
    learnt = trained(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True), trainer,
                     corpus, pre=pre_tokenizers.Metaspace())
    described = json.loads(learnt.to_str())
    t = Tokenizer.from_str(json.dumps(described))
    if metaspace:
        t.pre_tokenizer = pre
    else:
        described["pre_tokenizer"] = None
        t = Tokenizer.from_str(json.dumps(described))
        t.normalizer = legacy
    t.decoder = decoder
    return t


def charsmap(corpus, rule):
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    made = io.BytesIO()
    if pathlib.Path(rule).exists():
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus), model_writer=made, vocab_size=200, character_coverage=0.99,
                                                 normalization_rule_tsv=rule, minloglevel=2, hard_vocab_limit=False)
        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString(made.getvalue())
        return model.normalizer_spec.precompiled_charsmap
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus), model_writer=made, vocab_size=1500,
                                             normalization_rule_name=rule, minloglevel=2)
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(made.getvalue())
    return model.normalizer_spec.precompiled_charsmap


def unigram(corpus, rule, pre, fallback=False, size=2500):
    trainer = trainers.UnigramTrainer(vocab_size=size, show_progress=False, unk_token="<unk>",
                                      special_tokens=["<pad>", "<s>", "</s>", "<unk>"] + ([f"<0x{b:02X}>" for b in range(256)] if fallback else []))
    normalizer = normalizers.Precompiled(charsmap(corpus, rule))
    if rule == "nmt_nfkc_cf":
        normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.Replace("``", '"'), normalizer,
                                           normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip(left=False, right=True)])
    t = trained(models.Unigram(), trainer, corpus, normalizer=normalizer, pre=pre, decoder=decoders.Metaspace())
    ids = t.get_vocab()
    t.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>",
                                                     special_tokens=[("</s>", ids["</s>"])])
    if fallback:
        described = json.loads(t.to_str())
        described["model"]["byte_fallback"] = True
        t = Tokenizer.from_str(json.dumps(described))
    return t


def kinds(corpus):
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
    yield "byte-level BPE, GPT-2", byte_level(corpus, gpt2)
    yield "byte-level BPE, RoBERTa", byte_level(corpus, pre_tokenizers.ByteLevel(add_prefix_space=True))
    yield "byte-level BPE, Llama-3", byte_level(corpus, split(LLAMA3), ignore_merges=True)
    qwen = byte_level(corpus, split(QWEN2))
    qwen.normalizer = normalizers.NFC()
    yield "byte-level BPE, Qwen2", qwen
    yield "byte-level BPE, GPT-4o", byte_level(corpus, split(GPT4O))
    yield "byte-level BPE, SmolLM2", byte_level(corpus, pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2]))
    yield "BPE with byte fallback, Llama-2", fallback_bpe(corpus, None)
    yield "BPE with byte fallback, Metaspace", fallback_bpe(corpus, "whole")
    yield "BPE with byte fallback, Metaspace split", fallback_bpe(corpus, "split")
    words = trainers.BpeTrainer(vocab_size=2000, special_tokens=["<unk>"], show_progress=False, end_of_word_suffix="</w>")
    yield "BPE with word ends", trained(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"), words, corpus,
                                        normalizer=normalizers.Lowercase(), pre=pre_tokenizers.Whitespace(), decoder=decoders.BPEDecoder())
    yield "Unigram, T5", unigram(corpus, "nmt_nfkc", pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]))
    yield "Unigram, XLM-R", unigram(corpus, "nmt_nfkc_cf", pre_tokenizers.Metaspace())
    yield "Unigram with byte fallback", unigram(corpus, "nfkc", pre_tokenizers.Metaspace(prepend_scheme="first"), fallback=True)
    level = trainers.WordLevelTrainer(vocab_size=500, special_tokens=["<unk>"], show_progress=False)
    yield "WordLevel", trained(models.WordLevel(unk_token="<unk>"), level, corpus, pre=pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation("merged_with_previous"), pre_tokenizers.Digits()]))
    pieces = trainers.WordPieceTrainer(vocab_size=3000, special_tokens=["[UNK]", "[MASK]"], show_progress=False)
    yield "WordPiece", trained(models.WordPiece(unk_token="[UNK]"), pieces, corpus, normalizer=normalizers.BertNormalizer(),
                               pre=pre_tokenizers.BertPreTokenizer(), decoder=decoders.WordPiece())


def fixture(path):
    """Small tokenizers and what they make of some texts, for the unit tests."""
    draw = random.Random(3)
    corpus = [sentence(draw, 12) for _ in range(60)]
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as rules:
        for a, b in ("ﬁ", "fi"), ("①", "1"), ("é", "e"), ("e\u0301", "e"), ("\u3000", " "), ("½", "1⁄2"), ("\t", " "):
            rules.write(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n")
        rules.flush()
        small = {
            "byte-level BPE": byte_level(corpus, split(LLAMA3), vocab=420),
            "byte-level BPE, digits": byte_level(corpus, pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                 pre_tokenizers.ByteLevel(add_prefix_space=True)]), vocab=420),
            "BPE with byte fallback": fallback_bpe(corpus, None, 420), "BPE with byte fallback, Metaspace": fallback_bpe(corpus, "split", 420),
            "Unigram": unigram(corpus, rules.name, pre_tokenizers.Metaspace(), size=200),
            "Unigram with byte fallback": unigram(corpus, rules.name, pre_tokenizers.Sequence(
                [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]), fallback=True, size=420)}
    texts = [t for t in texts_of(50, 9) if len(t) < 250]
    cases = {name: [[text, e.ids, t.decode(e.ids, skip_special_tokens=False)] for text, e in zip(texts, t.encode_batch(texts))]
             for name, t in small.items()}
    with open(path, "w", encoding="ascii") as out:
        json.dump({"made_with": f"tokenizers {tokenizers.__version__}", "tokenizers": {n: json.loads(t.to_str()) for n, t in small.items()},
                   "cases": cases}, out, separators=(",", ":"))
        out.write("\n")


def run(folder, lines, *options):
    done = subprocess.run([TRAINER, *options, folder, "100000"], input=lines, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        sys.exit(f"trainer: {done.stderr}")
    return done.stdout.split("\n")[:-1]


def compare(name, reference, texts, speed):
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "tokenizer.json").write_text(reference.to_str(), encoding="utf-8")
        ours = [json.loads(line) for line in run(folder, "".join(json.dumps(t) + "\n" for t in texts), "--tokens")]
        theirs = [e.ids for e in reference.encode_batch(texts)]
        decoded = [json.loads(line) for line in run(folder, "".join(json.dumps(i) + "\n" for i in theirs), "--tokens-decode")]
        expected = [reference.decode(i, skip_special_tokens=False) for i in theirs]
        line = ""
        if speed:
            again = "".join(json.dumps(t) + "\n" for t in texts * 3)
            took = float(subprocess.run([TRAINER, "--tokens-time", folder, "100000"], input=again, capture_output=True, text=True,
                                        check=True).stdout)
            start = time.process_time()
            for text in texts * 3:
                reference.encode(text)
            theirs_took = time.process_time() - start
            line = f", ours {1e6 * took / len(texts) / 3:.1f} µs a text, theirs {1e6 * theirs_took / len(texts) / 3:.1f} (× {theirs_took / took:.2f})"
    wrong = [(t, a, b) for t, a, b in zip(texts, theirs, ours) if a != b]
    wrong_texts = [(i, a, b) for i, a, b in zip(theirs, expected, decoded) if a != b]
    for text, a, b in wrong[:3]:
        print(f"  {name}: {text!r}\n    reference {[reference.id_to_token(i) for i in a][:60]}\n    ours      {[reference.id_to_token(i) for i in b][:60]}")
    for ids, a, b in wrong_texts[:3]:
        print(f"  {name}, decoded: {ids[:40]}\n    reference {a!r}\n    ours      {b!r}")
    print(f"{name}: {len(texts)} texts, {sum(map(len, theirs))} tokens, {len(wrong)} different, {len(wrong_texts)} decoded differently{line}", flush=True)
    return len(wrong) + len(wrong_texts)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=int, default=10000)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--fixture", help="write the unit tests' file instead")
    options = parser.parse_args()
    if options.fixture:
        return fixture(options.fixture)
    corpus = [t for t in texts_of(3000, 1) if not any(c in t for c in "<>")]
    texts = texts_of(options.texts, 2)
    different = sum(compare(name, reference, texts, options.speed) for name, reference in kinds(corpus) if options.only in name)
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
