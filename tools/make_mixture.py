#!/usr/bin/env python3
"""Makes the data and the untrained model of sweeps/mixture.json: four made-up related languages, all twelve directions.

    tools/make_mixture.py        data/mixture/{train,validation,test}.jsonl, models/mixture/{config,tokenizer}.json and
                                 model.safetensors: an M2M100 of two and two layers, from the seed

The languages say the same things: a subject, a verb in a tense, an object, now and then with adjectives, an adverb or a
place. They share two fifths of their stems; they differ in the other stems, in endings, in the order of words, in which
words agree, and in irregular plurals. Words are frequent by Zipf's law, and west is scarce: its directions have a
quarter of the rows. A text begins with the word that names the language it is to be put into.
"""
import array
import json
import pathlib
import random
import struct

ROOT = pathlib.Path(__file__).resolve().parent.parent
LANGUAGES = ("north", "south", "east", "west")
KINDS = {"noun": 70, "verb": 45, "adjective": 30, "adverb": 12}
ROWS = {"train": 360, "validation": 12, "test": 40}  # of a direction
SCARCE, SCARCE_ROWS = "west", 90
ORDERS = {"north": "SVO", "south": "SVO", "east": "SOV", "west": "VSO"}
BEFORE = ("north", "east")  # adjectives stand in front of nouns
AGREE = ("south", "west")   # adjectives take the plural too
WIDTH, INNER, HEADS, LAYERS = 64, 128, 4, 2


def sound(word, language):
    """A language's form of an old stem."""
    changes = {"south": ("p", "f"), "east": ("k", "g"), "west": ("t", "d")}
    return word.replace(*changes[language]) + {"south": "a", "east": "u", "west": "i"}[language] if language in changes else word


def stems(draw):
    """Kind → concept → language → stem."""
    seen, out = set(), {}
    for kind, n in KINDS.items():
        out[kind] = []
        while len(out[kind]) < n:
            old = "".join(draw.choice("ptkmnsl") + draw.choice("aeiou") for _ in range(draw.choice((2, 2, 3))))
            if old in seen:
                continue
            seen.add(old)
            shared = draw.random() < 0.4
            out[kind].append({language: old if shared else sound(old, language) for language in LANGUAGES})
    return out


class Languages:
    def __init__(self, seed):
        draw = random.Random(seed)
        self.stems = stems(draw)
        self.irregular = {(language, i): f"{language[0]}{i}~" for language in LANGUAGES
                          for i in range(KINDS["noun"]) if draw.random() < 0.15}
        self.weights = {kind: [1 / (i + 2) for i in range(n)] for kind, n in KINDS.items()}

    def meaning(self, draw):
        pick = lambda kind: draw.choices(range(KINDS[kind]), self.weights[kind])[0]
        phrase = lambda: (pick("noun"), draw.random() < 0.35, pick("adjective") if draw.random() < 0.4 else None)
        return {"subject": phrase(), "object": phrase(), "verb": pick("verb"), "past": draw.random() < 0.4,
                "adverb": pick("adverb") if draw.random() < 0.3 else None,
                "place": phrase() if draw.random() < 0.3 else None}

    def phrase(self, part, language, case):
        noun, plural, adjective = part
        mark = language[0]
        words = [self.stems["noun"][noun][language]]
        if plural:
            irregular = self.irregular.get((language, noun))
            words = [irregular] if irregular else words + [f"+{mark}pl"]
        if case and language == "east":
            words.append(f"+{mark}{case}")
        if adjective is not None:
            own = [self.stems["adjective"][adjective][language]] + ([f"+{mark}pl"] if plural and language in AGREE else [])
            words = own + words if language in BEFORE else words + own
        return words

    def say(self, meaning, language):
        mark = language[0]
        verb = [self.stems["verb"][meaning["verb"]][language]] + ([f"+{mark}past"] if meaning["past"] else [])
        if meaning["subject"][1]:
            verb.append(f"+{mark}they")
        parts = {"S": self.phrase(meaning["subject"], language, None), "V": verb,
                 "O": self.phrase(meaning["object"], language, "acc")}
        words = [word for letter in ORDERS[language] for word in parts[letter]]
        if meaning["place"]:
            words += ([] if language == "east" else [f"{mark}in"]) + self.phrase(meaning["place"], language, "loc")
        if meaning["adverb"] is not None:
            adverb = [self.stems["adverb"][meaning["adverb"]][language]]
            words = adverb + words if language in ("south", "west") else words + adverb
        return " ".join(words)


def write_rows(path, languages, split, seen):
    draw = random.Random(f"{split} of four languages")
    items = []
    for source in LANGUAGES:
        for target in LANGUAGES:
            n = SCARCE_ROWS if split == "train" and SCARCE in (source, target) else ROWS[split]
            while source != target and n:
                meaning = languages.meaning(draw)
                key = json.dumps(meaning, sort_keys=True)
                if key in seen and split != "train":
                    continue  # no meaning of a test was trained on
                seen.add(key)
                items.append({"text": f"<{target}> " + languages.say(meaning, source),
                              "target": languages.say(meaning, target), "direction": f"{source}-{target}"})
                n -= 1
    draw.shuffle(items)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    return items


def vocabulary(languages):
    words = {stem for kind in languages.stems.values() for forms in kind for stem in forms.values()}
    words |= set(languages.irregular.values())
    for language in LANGUAGES:
        words |= {f"+{language[0]}{ending}" for ending in ("pl", "past", "they", "acc", "loc")} | {f"{language[0]}in"}
    special = ["<pad>", "<unk>", "<s>", "</s>", *(f"<{language}>" for language in LANGUAGES)]
    return {word: i for i, word in enumerate(special + sorted(words))}


def tensors(vocab):
    """Name → shape, how far its values reach (uniform), what they are around."""
    def linear(name, out, into):
        yield f"{name}.weight", (out, into), (6 / (out + into)) ** 0.5, 0
        yield f"{name}.bias", (out,), 0, 0

    def norm(name):
        yield f"{name}.weight", (WIDTH,), 0, 1
        yield f"{name}.bias", (WIDTH,), 0, 0

    yield "model.shared.weight", (vocab, WIDTH), (3 / WIDTH) ** 0.5, 0
    for side in ("encoder", "decoder"):
        for i in range(LAYERS):
            layer = f"model.{side}.layers.{i}"
            for attention in ("self_attn", "encoder_attn")[:1 + (side == "decoder")]:
                for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
                    yield from linear(f"{layer}.{attention}.{part}", WIDTH, WIDTH)
                yield from norm(f"{layer}.{attention}_layer_norm")
            yield from linear(f"{layer}.fc1", INNER, WIDTH)
            yield from linear(f"{layer}.fc2", WIDTH, INNER)
            yield from norm(f"{layer}.final_layer_norm")
        yield from norm(f"model.{side}.layer_norm")


def write_model(folder, vocab, seed):
    draw, header, data = random.Random(seed), {}, array.array("f")
    for name, shape, reach, middle in tensors(len(vocab)):
        begin = len(data) * 4
        n = shape[0] * (shape[1] if len(shape) > 1 else 1)
        data.extend(middle + (draw.uniform(-reach, reach) if reach else 0) for _ in range(n))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data) * 4]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data.tobytes())
    config = {"model_type": "m2m_100", "architectures": ["M2M100ForConditionalGeneration"], "vocab_size": len(vocab),
              "d_model": WIDTH, "encoder_layers": LAYERS, "decoder_layers": LAYERS, "encoder_attention_heads": HEADS,
              "decoder_attention_heads": HEADS, "encoder_ffn_dim": INNER, "decoder_ffn_dim": INNER, "dropout": 0.1,
              "attention_dropout": 0.0, "activation_dropout": 0.0, "activation_function": "relu", "init_std": 0.1,
              "max_position_embeddings": 64, "scale_embedding": True, "pad_token_id": 0, "bos_token_id": 2,
              "eos_token_id": 3, "decoder_start_token_id": 3, "is_encoder_decoder": True}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    tokenizer = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
                 "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
                 "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\nAn untrained model, made by tools/make_mixture.py.\n")


def main():
    languages, seen = Languages(7), set()
    folder = ROOT / "data/mixture"
    for split in ("train", "validation", "test"):
        items = write_rows(folder / f"{split}.jsonl", languages, split, seen)
        print(f"data/mixture/{split}.jsonl: {len(items)} rows")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\nFour made-up languages, by tools/make_mixture.py.\n")
    vocab = vocabulary(languages)
    write_model(ROOT / "models/mixture", vocab, 7)
    print(f"models/mixture: {len(vocab)} words")


if __name__ == "__main__":
    main()
