/* Text before the vocabulary: normalisation and splitting into words, code point by code point. */
#ifndef TRAINER_TOKENIZER_TEXT_H
#define TRAINER_TOKENIZER_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/* Code points; zeroed: empty. Heap, released with codes_done. */
struct codes {
    int32_t *items;
    size_t n, capacity;
    bool failed; /* memory is used up */
};

void codes_add(struct codes *codes, int32_t code);
void codes_done(struct codes *codes);

struct bert_normalizer {
    bool clean_text, handle_chinese_chars, strip_accents, lowercase;
};

/* What BertNormalizer makes of the text: control characters out, white space to ' ', spaces around CJK ideographs,
 * accents off (NFD without nonspacing marks), lower case. */
void text_normalize_bert(const struct bert_normalizer *options, struct codes *codes);
/* What the StripAccents normalizer does: all marks out (also spacing and enclosing ones), nothing decomposed first. */
void text_strip_marks(struct codes *codes);
void text_lowercase(struct codes *codes);
/* A Unicode normal form by its name: NFC, NFD, NFKC, NFKD. */
void text_normal_form(const char *name, struct codes *codes);

/* Whether words end at this code point: white space (dropped), or punctuation (a word of its own). */
bool text_is_white_space(int32_t code);
bool text_is_punctuation(int32_t code);

#endif
