#!/usr/bin/env python3
"""Four made-up languages of one family over one set of concepts, and small models for them (sweeps/translation-low-resource.json).

    tools/make_languages.py data [FOLDER]          data/languages: parallel and single-language files
    tools/make_languages.py model FOLDER WIDTH     a model folder's weights beside its tokenizer.json, drawn by a fixed seed

alva (the pivot), berin and celin have much parallel text; dovin is scarce. All build words out of the same stems: berin by
changed vowels, celin by changed consonants, dovin as berin with long vowels and cedillas, written with combining marks, half
of its lines composed (NFC) and half decomposed (NFD), as its writers happen to type. Berin and dovin put the verb last and
mark the object; alva and celin have it in the middle. A text for a model begins with the tag of the language it is to be
put into, "<2dovin> ...". Drawn with a fixed seed: running it again changes nothing.
"""
import json
import math
import os
import pathlib
import random
import struct
import sys
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parent.parent
LANGUAGES = ("alva", "berin", "celin", "dovin")
SEED = 31

# Sentences of each file. Parallel text with dovin is a fifteenth of the others'; with alva there is next to none.
SIZES = {("alva", "berin"): 1500, ("alva", "celin"): 1500, ("berin", "celin"): 1500, ("berin", "dovin"): 300,
         ("celin", "dovin"): 300, ("alva", "dovin"): 40}


def make_stems(rng):
    onsets, vowels, codas = "p t k b d g m n l r s v f".split(), "aeiou", ["", "n", "l", "r", "s", "m"]
    stems = set()
    while len(stems) < 130:
        stem = rng.choice(onsets) + rng.choice(vowels) + rng.choice(onsets) + rng.choice(vowels) + rng.choice(codas)
        stems.add(stem)
    stems = sorted(stems)
    rng.shuffle(stems)
    return {"noun": stems[:60], "verb": stems[60:85], "adjective": stems[85:105], "place": stems[105:120], "time": stems[120:130]}


def translate_vowels(word, table):
    return "".join(table.get(c, c) for c in word)


BERIN = dict(zip("aeiou", "eioua"))
CELIN = dict(zip("ptkbdgsvf", "bdgvzhcwp"))
LONG = {"a": "a\u0304", "e": "e\u0304", "i": "i\u0304", "o": "o\u0304", "u": "u\u0304"}
CEDILLA = {"d": "d\u0327", "t": "t\u0327", "l": "l\u0327", "n": "n\u0327", "k": "k\u0327", "g": "g\u0327"}


def dovin_word(stem):
    """As berin, the first vowel long and the last soft consonant with a cedilla."""
    word, done = translate_vowels(stem, BERIN), False
    out = []
    for c in word:
        if c in LONG and not done:
            out.append(LONG[c])
            done = True
        else:
            out.append(c)
    for i in range(len(out) - 1, -1, -1):
        if out[i] in CEDILLA:
            out[i] = CEDILLA[out[i]]
            break
    return "".join(out)


def word_in(language, stem):
    return {"alva": lambda: stem, "berin": lambda: translate_vowels(stem, BERIN),
            "celin": lambda: translate_vowels(stem, CELIN), "dovin": lambda: dovin_word(stem)}[language]()


def noun(language, phrase, is_object):
    stem, adjective, plural = phrase
    word = word_in(language, stem)
    if language in ("alva", "celin"):
        word += ("s" if language == "alva" else "k") if plural else ""
    else:
        word += ("id" if language == "berin" else "i\u0304d") if plural else ""
        word += ("t" if language == "berin" else "t\u0327") if is_object else ""
    described = [word_in(language, adjective)] if adjective else []
    return described + [word] if language != "celin" else [word] + described


def sentence_in(language, meaning):
    subject, verb, obj, place, time, past = meaning
    verb_word = word_in(language, verb) + {"alva": "ed", "berin": "si", "celin": "na", "dovin": "s\u012b"}[language] * past
    parts = [word_in(language, time)] if time and language in ("berin", "dovin") else []
    parts += noun(language, subject, False)
    if language in ("alva", "celin"):
        parts += [verb_word] + noun(language, obj, True)
    else:
        parts += noun(language, obj, True)
    if place:
        parts += ([{"alva": "at", "celin": "po"}[language], word_in(language, place)] if language in ("alva", "celin")
                  else [word_in(language, place) + {"berin": "ssa", "dovin": "ss\u0101"}[language]])
    if language in ("berin", "dovin"):
        parts.append(verb_word)
    if time and language in ("alva", "celin"):
        parts.append(word_in(language, time))
    return " ".join(parts) + " ."


def draw_meaning(rng, stems):
    phrase = lambda: (rng.choice(stems["noun"]), rng.choice(stems["adjective"]) if rng.random() < 0.4 else None, rng.random() < 0.3)
    return (phrase(), rng.choice(stems["verb"]), phrase(), rng.choice(stems["place"]) if rng.random() < 0.4 else None,
            rng.choice(stems["time"]) if rng.random() < 0.3 else None, rng.random() < 0.5)


def spell(language, text, rng):
    return unicodedata.normalize(rng.choice(("NFC", "NFD")), text) if language == "dovin" else text


def row(source, target, texts):
    return {"text": "<2%s> %s" % (target, texts[source]), "target": texts[target], "pair": "%s-%s" % (source, target)}


def write(folder, name, rows):
    with open(folder / name, "w", encoding="utf-8") as file:
        for line in rows:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    print("%s: %d" % (name, len(rows)))


def data(folder):
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(SEED)
    stems = make_stems(rng)

    def pairs(a, b, n):
        out = []
        for _ in range(n):
            meaning = draw_meaning(rng, stems)
            texts = {l: spell(l, sentence_in(l, meaning), rng) for l in (a, b)}
            out += [row(a, b, texts), row(b, a, texts)]
        return out

    parallel = {pair: pairs(*pair, n) for pair, n in SIZES.items()}
    write(folder, "related.jsonl", [r for pair, rows in parallel.items() if "dovin" not in pair for r in rows])
    write(folder, "all.jsonl", [r for rows in parallel.values() for r in rows])
    write(folder, "direct.jsonl", parallel["alva", "dovin"])
    write(folder, "related-validation.jsonl", pairs("alva", "berin", 40) + pairs("berin", "celin", 40))
    write(folder, "validation.jsonl", pairs("alva", "dovin", 60))
    write(folder, "tuning-validation.jsonl", pairs("alva", "dovin", 40))
    test = [draw_meaning(rng, stems) for _ in range(200)]
    texts = [{l: spell(l, sentence_in(l, m), rng) for l in LANGUAGES} for m in test]
    for a, b in (("alva", "dovin"), ("dovin", "alva"), ("alva", "berin")):
        write(folder, "test-%s-%s.jsonl" % (a, b), [row(a, b, t) for t in texts])
    # The other side of parallel text with dovin, to be put into alva: the translation becomes the source of dovin's own line.
    pivot = [r for pair in (("berin", "dovin"), ("celin", "dovin")) for r in parallel[pair] if r["pair"].endswith("dovin")]
    write(folder, "pivot.jsonl", [{"text": "<2alva>" + r["text"][len("<2dovin>"):], "target": r["target"], "pair": "alva-dovin"} for r in pivot])
    single = [spell("dovin", sentence_in("dovin", draw_meaning(rng, stems)), rng) for _ in range(600)]
    write(folder, "dovin.jsonl", [{"text": "<2alva> " + s, "target": s, "pair": "alva-dovin"} for s in single])
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n\nFour made-up languages, by `tools/make_languages.py`.\n")


# Models --------------------------------------------------------------------------------------------------------------------

def tensors(width, ffn, vocabulary, layers):
    yield "model.shared.weight", (vocabulary, width)
    for side in ("encoder", "decoder"):
        for i in range(layers):
            base = "model.%s.layers.%d" % (side, i)
            for attention in ("self_attn",) + (("encoder_attn",) if side == "decoder" else ()):
                for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
                    yield "%s.%s.%s.weight" % (base, attention, name), (width, width)
                    yield "%s.%s.%s.bias" % (base, attention, name), (width,)
                yield "%s.%s_layer_norm.weight" % (base, attention), (width,)
                yield "%s.%s_layer_norm.bias" % (base, attention), (width,)
            for name, shape in (("fc1", (ffn, width)), ("fc2", (width, ffn))):
                yield "%s.%s.weight" % (base, name), shape
                yield "%s.%s.bias" % (base, name), shape[:1]
            yield "%s.final_layer_norm.weight" % base, (width,)
            yield "%s.final_layer_norm.bias" % base, (width,)
        yield "model.%s.layer_norm.weight" % side, (width,)
        yield "model.%s.layer_norm.bias" % side, (width,)


def model(folder, width):
    tokenizer = json.load(open(folder / "tokenizer.json", encoding="utf-8"))
    vocabulary = len(tokenizer["model"]["vocab"])
    config = {"model_type": "m2m_100", "architectures": ["M2M100ForConditionalGeneration"], "vocab_size": vocabulary,
              "d_model": width, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
              "decoder_attention_heads": 4, "encoder_ffn_dim": 4 * width, "decoder_ffn_dim": 4 * width,
              "max_position_embeddings": 64, "dropout": 0.1, "attention_dropout": 0.0, "activation_dropout": 0.0,
              "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "activation_function": "relu", "scale_embedding": True,
              "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2, "init_std": 0.02,
              "tie_word_embeddings": True, "torch_dtype": "float32"}
    rng = random.Random("%d %d" % (SEED, width))
    header, data, at = {}, [], 0
    for name, shape in tensors(width, 4 * width, vocabulary, 2):
        n = math.prod(shape)
        if len(shape) == 1:
            values = [1.0 if name.endswith("norm.weight") else 0.0] * n
        elif name == "model.shared.weight":
            values = [rng.gauss(0, width ** -0.5) for _ in range(n)]
        else:  # Glorot
            limit = math.sqrt(6 / sum(shape))
            values = [rng.uniform(-limit, limit) for _ in range(n)]
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + 4 * n]}
        data.append(struct.pack("<%df" % n, *values))
        at += 4 * n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(data))
    json.dump(config, open(folder / "config.json", "w"), indent=1)
    print("%s: %d tokens, width %d, %d parameters" % (folder, vocabulary, width, at // 4))


def main():
    if sys.argv[1:2] == ["data"] and len(sys.argv) <= 3:
        data(pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else ROOT / "data" / "languages")
    elif sys.argv[1:2] == ["model"] and len(sys.argv) == 4 and sys.argv[3].isdigit():
        model(pathlib.Path(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(__doc__)


main()
