#!/usr/bin/env python3
"""Writes tests/fixtures/tokenizer-cases.json: hostile texts of our own and what Hugging Face's tokenizers make of them.

    pip install tokenizers==0.23.3; make_tokenizer_cases.py        (run again when a tokenizer below changes)

The vocabulary is ours and small, so that words break into pieces and unknown ones appear; every tokenizer differs from
the first in one component.
"""
import json
import pathlib
import random

import tokenizers

OUT = pathlib.Path(__file__).resolve().parent.parent / "fixtures/tokenizer-cases.json"

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = """the a sweep of trial trials night run runs learn learned rate rates play played player model train trained un
re able strasse cafe naive uber resume Resume Café Straße naïve année ÉTÉ été o'clock don't""".split()
PIECES = "##s ##ed ##ing ##er ##able ##ly ##ness ##é ##ß ##ı ##fi ##漢 ##字 ##👍 ##й ##2 ##10 ##a\u0301".split()


def vocabulary():
    letters = "abcdefghijklmnopqrstuvwxyzàéîñøßæœάβγабвийё"
    symbols = list("0123456789.,;:!?-_'\"()[]{}<>$%&/\\|~`^#@*+=") + list("漢字仮名中文한국어ไทยא‚“”…€£™①½") + ["👍", "🏽", "☺", "🇩", "🇪"]
    jamo = ["\u1112", "\u1161", "\u11ab", "##\u1161", "##\u11ab"]
    tokens = SPECIAL + WORDS + PIECES + list(letters) + ["##" + c for c in letters if c not in "qx"] + symbols + jamo
    tokens += ["##" + c for c in "0123456789"] + [c.upper() for c in "abcdes"] + ["İ", "ﬁ", "##ﬂ", "i\u0307"]
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def bert(**more):
    return {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
            "lowercase": True, **more}


def pieces(*names, types):
    return [{"Sequence": {"id": n, "type_id": t}} if n in "AB" else {"SpecialToken": {"id": n, "type_id": t}}
            for n, t in zip(names, types)]


def template(vocab):
    return {"type": "TemplateProcessing", "single": pieces("[CLS]", "A", "[SEP]", types=(0, 0, 0)),
            "pair": pieces("[CLS]", "A", "[SEP]", "B", "[SEP]", types=(0, 0, 0, 1, 1)),
            "special_tokens": {n: {"id": n, "ids": [vocab[n]], "tokens": [n]} for n in ("[CLS]", "[SEP]")}}


def described():
    """Name → tokenizer.json without its vocabulary."""
    vocab = vocabulary()
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": True} for i, t in enumerate(SPECIAL)]
    word_piece = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100}
    first = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": bert(),
             "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": template(vocab), "decoder": None,
             "model": word_piece}
    ends = {"sep": ["[SEP]", vocab["[SEP]"]], "cls": ["[CLS]", vocab["[CLS]"]]}
    out = {
        "uncased": {},
        "cased": {"normalizer": bert(lowercase=False)},
        "cased, accents stripped": {"normalizer": bert(lowercase=False, strip_accents=True)},
        "uncased, accents kept": {"normalizer": bert(strip_accents=False)},
        "no Chinese": {"normalizer": bert(handle_chinese_chars=False)},
        "not cleaned": {"normalizer": bert(clean_text=False)},
        "no normalizer": {"normalizer": None},
        "sequence": {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"},
                                                                         {"type": "Lowercase"}]}},
        "NFKC": {"normalizer": {"type": "NFKC"}},
        "NFKD, not split": {"normalizer": {"type": "NFKD"}, "pre_tokenizer": None},
        "NFC": {"normalizer": {"type": "NFC"}},
        "white space": {"pre_tokenizer": {"type": "WhitespaceSplit"}},
        "no special tokens": {"post_processor": None},
        "no added tokens": {"added_tokens": []},
        "BertProcessing": {"post_processor": {"type": "BertProcessing", **ends}},
        "RobertaProcessing": {"post_processor": {"type": "RobertaProcessing", **ends, "trim_offsets": True,
                                                 "add_prefix_space": False}},
        "short words": {"model": {**word_piece, "max_input_chars_per_word": 6}},
        "word level": {"model": {"type": "WordLevel", "unk_token": "[UNK]"}, "normalizer": None,
                       "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "added_tokens": []},
    }
    return vocab, {name: {**first, **more} for name, more in out.items()}


WRITTEN = [
    "", " ", "\n\t\r", "\u00a0\u3000\u2028", "the", "The Sweep of NIGHTS", "unlearned replayer trainings", "a" * 100, "a" * 101,
    "b" * 6, "b" * 7, "é" * 100, "é" * 101, "漢字仮名", "the漢sweep字", "한국어 한", "ไทย", "Café Straße naïve ÉTÉ année", "cafe\u0301",
    "ÅÅA\u030a", "İstanbul ıI", "ẞß ſt ﬁﬂ", "resume\u0301s", "\u0301alone", "a\u200db", "a\u200bb", "a\ufeffb", "\ufffd\ufffe",
    "tab\tnew\nline\rreturn", "bell\x07esc\x1bdel\x7fnel\x85", "\u0001\u0002", "👍🏽 👩\u200d👩\u200d👧 🇩🇪 ☺\ufe0f", "ok👍ok", "[SEP] [CLS] x",
    "[sep] [Mask][MASK]", "[MASK", "[[UNK]]", "[PAD][PAD]", "the[MASK]sweep", "don't o'clock...!?", "a-b_c/d\\e|f~g`h^i",
    "$5 €6 £7 ½ ① ™", "“quoted” …", "1234567890 10 210", "http://x.y/z?q=1&r=2#s", "q x qx", "ΑΒΓ άβγ ς Σ", "ЙЁ йё", "אבג",
    "\U0001d400\U0001d41a", "\U0010ffff", "\ue000", "a\u0600b", "\u00ad soft", "ǅ ǆ", "ﷺ", "à\u0301\u0302", "##s ## #",
    "{\"json\": [1, 2]}", "<b>the</b>", "the  sweep   of", " the ", "sweep\u202eof", "A\u030aB\u0327", "Ⅷ ⅷ", "K Å Ω", "\u1112\u1161\u11ab",
    "ʼn ŉ", "ﬃ", "﹏ ﹖", "､｡", "ｆｕｌｌ　ｗｉｄｔｈ", "٣ ३", "a\u034fb", "\u2060x", "\u180e", "x\u2029y",
]


def drawn(n):
    draw = random.Random(11)
    pools = ["abcdefghijklmnopqrstuvwxyz", "ABCDEÉÀÎ", "àéîñøßæœİıẞ", "\u0301\u0308\u0327\u20dd\u0307", "漢字仮名中文한국어ไทย", "👍🏽☺🇩🇪\u200d\ufe0f",
             "\x01\x07\x1b\x7f\x85\u200b\u200e\ufeff\ufffd\u00ad", " \t\n\r\u00a0\u3000\u2028", ".,;:!?-_'\"()[]{}<>$%&/\\|~`^#", "ЙйЁё ΑΆάς", "ſﬁﬂℌ①½™Ⅷ", "0123456789"]
    for _ in range(n):
        parts = ["".join(draw.choice(pool) for _ in range(draw.randint(1, 5)))
                 for pool in (draw.choice(pools) for _ in range(draw.randint(1, 6)))]
        if draw.random() < 0.3:
            parts.append(draw.choice(WORDS + SPECIAL))
        draw.shuffle(parts)
        yield "".join(draw.choice(["", " "]) + part for part in parts)


def main():
    vocab, tokenizers_ = described()
    texts = WRITTEN + list(drawn(120))
    draw = random.Random(5)
    cases = []
    for name, json_ in tokenizers_.items():
        whole = json.loads(json.dumps(json_))
        whole["model"]["vocab"] = vocab
        reference = tokenizers.Tokenizer.from_str(json.dumps(whole))
        chosen = texts if name == "uncased" else WRITTEN[draw.randrange(3)::3] + draw.sample(texts[len(WRITTEN):], 8)
        for text in chosen:
            pair = draw.choice(texts) if draw.random() < 0.15 else None
            max_tokens = draw.choice([512, 512, 512, 5, 6, 9]) if name != "word level" else 512
            reference.enable_truncation(max_tokens)
            found = reference.encode(text, pair)
            cases.append([name, text, pair, max_tokens, found.ids, found.type_ids])
    with open(OUT, "w", encoding="ascii") as out:
        out.write('{"made_with": "tokenizers %s",\n"vocabulary": %s,\n"tokenizers": {\n' % (tokenizers.__version__, json.dumps(vocab)))
        out.write(",\n".join(f"{json.dumps(n)}: {json.dumps(t)}" for n, t in tokenizers_.items()))
        out.write('},\n"cases": [\n' + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]}\n")
    print(f"{len(cases)} cases, {len(tokenizers_)} tokenizers, {len(vocab)} tokens")


main()
