/* Words to tokens, one after the other, for tasks whose labels are on words or on places of a text: which tokens are
 * which word's.
 *
 * A word's tokens are those the tokenizer makes of it in the middle of a text. Where white space belongs to the word
 * behind it (byte-level BPE), that is the word with a space in front. */
#ifndef TRAINER_WORD_PIECES_H
#define TRAINER_WORD_PIECES_H

#include "trainer/tokenizer.h"

struct word_pieces {
    const struct tokenizer *tokenizer;
    bool carries_space; /* a space in front of a word belongs to its first token */
    /* The special tokens around a text: ids, and how many stand in front. */
    int32_t *special;
    int n_special, n_front;
};

/* Finds out how the tokenizer cuts. Memory is the arena's. ERR_NOMEM. */
int word_pieces_open(struct word_pieces *pieces, const struct tokenizer *tokenizer, struct arena *arena,
                     struct err *err) MUST_CHECK;
/* The tokens of a word of n bytes in the middle of a text. */
int word_pieces_encode(const struct word_pieces *pieces, const char *word, size_t n, struct arena *arena,
                       struct encoding *encoding, struct err *err) MUST_CHECK;

/* A stretch of a text and the tokens it became: bytes [start, end) gave tokens [first, first + n). */
struct text_unit {
    int start, end, first, n;
};
/* Cuts a text into units, as small as its tokens can be told apart: words, and what punctuation parts in them where
 * the tokens are the same either way. `ids` are the tokens of all units one behind the other: those of the text as a
 * whole wherever that can be cut into its words'. */
int word_pieces_cut(const struct word_pieces *pieces, const char *text, struct arena *arena, struct text_unit **units,
                    int *n_units, struct encoding *ids, struct err *err) MUST_CHECK;

#endif
