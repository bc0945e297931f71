#!/usr/bin/env python3
"""Compares our tokenizer with Hugging Face's on real and on generated texts, token for token.

    parity.py MODEL_FOLDER [TEXTS.jsonl…]     (fields "text"; needs the Python package tokenizers)

Generated texts: every code point inside a word, and 3,000 random mixtures of scripts, accents, CJK, emoji sequences,
control characters, long words and special tokens. Prints the number compared and each difference; exits 1 if there is one.
"""
import json
import pathlib
import random
import subprocess
import sys

from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MAX_TOKENS = 64


def generated():
    draw = random.Random(7)
    pools = [
        "abcdefghijklmnopqrstuvwxyz", "ABCXYZ", "àéîõüçñßøåœĳİıẞ", "\u0301\u0308\u0327\u20dd", "漢字仮名交じり文한국어",
        "👩\u200d👩\u200d👧👍🏽🇩🇪☺\ufe0f", "\x00\x01\x07\x1b\x7f\x85\u200b\u200e\ufeff\ufffd", " \t\n\r\u00a0\u3000\u2028",
        ".,;:!?-_'\"()[]{}<>$%&/\\|~`^", "אבגד العربية ไทย हिन्दी", "ſﬁﬂℌ①½", "0123456789",
    ]
    for _ in range(3000):
        parts = []
        for _ in range(draw.randint(1, 12)):
            pool = draw.choice(pools)
            parts.append("".join(draw.choice(pool) for _ in range(draw.randint(1, 9))))
        if draw.random() < 0.1:
            parts.append(draw.choice(["[SEP]", "[CLS]", "[MASK]", "[PAD]", "[UNK]", "a" * 101, "b" * 100]))
        yield "".join(draw.choice(["", " "]) + p for p in parts)
    for start in range(1, 0x110000):
        if not 0xD800 <= start < 0xE000:
            yield "a" + chr(start) + "b"


def main():
    folder, files = sys.argv[1], sys.argv[2:]
    reference = Tokenizer.from_file(str(pathlib.Path(folder) / "tokenizer.json"))
    reference.no_padding()
    reference.enable_truncation(MAX_TOKENS)
    texts = [json.loads(line)["text"] for f in files for line in open(f, encoding="utf-8")]
    real = len(texts)
    texts += [t for t in generated() if "\x00" not in t]
    lines = "".join(json.dumps(t) + "\n" for t in texts)
    ours = subprocess.run([ROOT / "build/release/nightsweep-trainer", "--tokens", folder, str(MAX_TOKENS)], input=lines,
                          capture_output=True, text=True, check=True).stdout.splitlines()
    different = 0
    for start in range(0, len(texts), 10000):
        for text, theirs, line in zip(texts[start:start + 10000], reference.encode_batch(texts[start:start + 10000]),
                                      ours[start:start + 10000]):
            if theirs.ids != json.loads(line):
                different += 1
                if different <= 20:
                    print(f"different: {text!r}\n  reference {theirs.ids}\n  ours      {line}")
    print(f"{real} real and {len(texts) - real} generated texts, {different} different")
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
