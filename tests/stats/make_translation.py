#!/usr/bin/env python3
"""Segments and their BLEU, chrF and chrF++ by sacrebleu, for tests/unit/test_translation_metrics.c.

    tests/stats/make_translation.py > tests/stats/translation.json      (sacrebleu 2.x)
"""
import json
import random

import sacrebleu
from sacrebleu.metrics import BLEU, CHRF

rng = random.Random(7)

CORPORA = {
    "equal": (["the cat sat on the mat ."], [["the cat sat on the mat ."]]),
    "nothing in common": (["alpha beta gamma delta epsilon"], [["one two three four five"]]),
    "empty hypothesis": (["", "a b c d e"], [["something here", "a b c d f"]]),
    "empty reference": (["a b c d", "words here now please"], [["", "words here now please"]]),
    "all empty": (["", ""], [["", ""]]),
    "one word": (["word"], [["word"]]),
    "three words": (["one two three"], [["one two three four"]]),
    "short and smoothed": (["the cat the cat on a mat today"], [["a cat was on the mat today ."]]),
    "punctuation": (["He said: \"1,000.5-mile (approx.)\" & left; isn't it?!", "a..b,,c...d", "x-1 1-x 3-4 -5", "$5.00, 6,7. 8."],
                    [["He said \"1,000.5 mile (approx)\" and left, isn't it?", "a.b,c..d", "x 1 1-x 3-4 -5", "$5.00 , 6,7 . 8"]]),
    "entities": (["&quot;A&amp;B&quot; &lt;tag&gt; &amp;lt; <skipped>x"], [["\"A&B\" <tag> &lt; x"]]),
    "white space": (["  tabs\tand\u00a0no-break\u3000spaces\u2028here  \u0085 ", "\ufeffmark zero\u200bwidth"],
                    [["tabs and no-break spaces here", "mark zerowidth"]]),
    "unicode": (["Pūolga ȯ ä ön \u0101 rist jāndȯn", "你好，世界！你好", "e\u0301 é \U0001f600\U0001f600 ok"],
                [["Pūolga ȯ um ön ā rist jo", "你好，世界。你们好", "é é \U0001f600 ok \U0001f600"]]),
    "references": (["the quick brown fox jumps", "over the lazy dog now"],
                   [["the fast brown fox jumps", "over a lazy dog"], ["a quick brown fox leaps high", "over the lazy dog today"],
                    ["quick", "over the lazy dog now and then and so on"]]),
    "repetition": (["the the the the the the the"], [["the cat is on the mat", ], ["there is a cat on the mat"]]),
}
WORDS = ["the", "of", "Tree,", "river.", "(bank)", "1.5", "ūž", "jõgi", "x-y", "don't", "end;", "\"quote\"", "ja", "a", "b"]
for name, n in (("random", 60), ("random two references", 25)):
    refs = [[" ".join(rng.choices(WORDS, k=rng.randint(0, 18))) for _ in range(n)] for _ in range(2 if "two" in name else 1)]
    hyps = [" ".join(w if rng.random() < 0.7 else rng.choice(WORDS) for w in line.split()) for line in refs[0]]
    CORPORA[name] = (hyps, refs)


def main():
    out = []
    for name, (hyps, refs) in CORPORA.items():
        out.append({"name": name, "hypotheses": hyps, "references": refs,
                    "bleu": BLEU(force=True).corpus_score(hyps, refs).score,
                    "chrf": CHRF().corpus_score(hyps, refs).score,
                    "chrf++": CHRF(word_order=2).corpus_score(hyps, refs).score})
    print(json.dumps({"versions": {"sacrebleu": sacrebleu.__version__}, "corpora": out}, indent=1, ensure_ascii=False))


main()
