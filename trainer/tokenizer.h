/* Tokenizers out of a Hugging Face tokenizer.json, token for token as the reference library.
 *
 * Built in: the models WordPiece, WordLevel, BPE (byte-level, or with byte fallback) and Unigram; the normalizers
 * BertNormalizer, Lowercase, StripAccents, NFC, NFD, NFKC, NFKD, Prepend, Replace, Strip, Nmt, ByteLevel and
 * Precompiled; the pre-tokenizers BertPreTokenizer, WhitespaceSplit, Whitespace, Punctuation, Digits, Split,
 * CharDelimiterSplit, Metaspace and ByteLevel; the post-processors TemplateProcessing, BertProcessing,
 * RobertaProcessing and ByteLevel; the decoders ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip, WordPiece and
 * BPEDecoder; sequences of all of them. Everything else is refused by name.
 *
 * A tokenizer keeps memory for the text it works on: it serves one thread at a time. */
#ifndef TRAINER_TOKENIZER_H
#define TRAINER_TOKENIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/err.h"
#include "common/text.h"

enum { TOKENIZER_MAX_VOCABULARY = 1 << 21, TOKENIZER_MAX_ADDED = 4096 };

struct tokenizer;

/* Reads <folder>/tokenizer.json, or the metadata of the folder's GGUF file when there is none. ERR_NOT_FOUND (says how
 * to make one), ERR_FORMAT with the place, ERR_UNSUPPORTED for a component that is not built in. */
int tokenizer_open(struct tokenizer **tokenizer, const char *folder, struct err *err) MUST_CHECK;
void tokenizer_close(struct tokenizer *tokenizer); /* NULL is fine */
/* Largest id + 1. */
int tokenizer_vocab_size(const struct tokenizer *tokenizer);

struct encoding {
    int32_t *ids;      /* the arena's */
    uint8_t *type_ids; /* 0: first text, 1: second */
    int n;
    bool is_truncated;
};

/* Ids of a text, or of a pair (`pair` not NULL), with the post-processor's special tokens, cut to max_tokens in all
 * from the ends, the longer text first. Both are valid UTF-8. ERR_NOMEM; ERR_USAGE when max_tokens does not even hold
 * the special tokens. */
int tokenizer_encode(const struct tokenizer *tokenizer, const char *text, const char *pair, int max_tokens,
                     struct arena *arena, struct encoding *encoding, struct err *err) MUST_CHECK;
/* The same of one text without special tokens. */
int tokenizer_encode_plain(const struct tokenizer *tokenizer, const char *text, int max_tokens, struct arena *arena,
                           struct encoding *encoding, struct err *err) MUST_CHECK;
/* How many special tokens the post-processor adds to one text, or to a pair. */
int tokenizer_special_tokens(const struct tokenizer *tokenizer, bool is_pair);
/* The id of a token's text, or −1. */
int32_t tokenizer_find(const struct tokenizer *tokenizer, const char *text);
/* Appends the text of n tokens; unknown ids give nothing, bytes that are no UTF-8 U+FFFD, special tokens nothing with
 * skips_special. */
int tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t n, bool skips_special,
                     struct text *out, struct err *err) MUST_CHECK;

#endif
