/* Data of language models: from rows of text to tokens with a label each, and packed batches of them. */
#ifndef TRAINER_LANGUAGE_DATA_H
#define TRAINER_LANGUAGE_DATA_H

#include "trainer/chat.h"
#include "trainer/dataset.h"
#include "trainer/model.h"

/* The ids a model puts around its texts, as its config says; −1: none. */
struct language_ids {
    int32_t end;           /* behind an answer or a text */
    int32_t decoder_start; /* what a decoder begins with (seq2seq) */
    int32_t forced_first;  /* the first token of every target (translation models: the language) */
};

/* Reads config.json. ERR_FORMAT; ERR_UNSUPPORTED when an encoder-decoder says nothing of how its decoder starts. */
int language_ids_read(struct language_ids *ids, const struct model *model, struct err *err) MUST_CHECK;

/* The input of an encoder-decoder: the text's tokens, with the model's end where the tokenizer adds nothing. In
 * `arena`. */
int language_encode_source(const struct tokenizer *tokenizer, const struct language_ids *ids, const char *source,
                           int max_tokens, struct arena *arena, struct encoding *out, struct err *err) MUST_CHECK;
/* Tokens and labels of all rows, each cut to max_tokens (a seq2seq target by itself).
 * causal without a target: text and end, each token is predicted from those in front. causal with one: text, target and
 * end, only the target and the end are predicted; with a chat template (NULL: none) the text is a user's message and
 * the target the answer, which ends as a turn does. seq2seq: the text with the tokenizer's special tokens, or the end
 * when it has none; the decoder gets its start and the target, and predicts the target and the end.
 * ERR_DATA for a row of which nothing is left to predict. Done also after a failure. */
int language_encode(struct dataset *dataset, const struct rows *rows, const struct tokenizer *tokenizer,
                    enum model_task task, const struct language_ids *ids, const struct chat *chat, int max_tokens,
                    struct err *err) MUST_CHECK;
/* How many tokens of an example are predicted: a causal one's first token never is. */
int language_predicted(const struct example *example);
/* Adds the rows' labels, and the decoder's stream, to a batch whose inputs are packed already; false when the arena is
 * full. `indices` NULL: examples first … first + n − 1. */
bool language_pack(struct batch *batch, const struct example *examples, const uint32_t *indices, size_t first, size_t n,
                   struct arena *arena);

#endif
