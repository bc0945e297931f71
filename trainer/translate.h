/* Translating texts with an encoder-decoder: the tokenizer, the search and the decoding around generate(). */
#ifndef TRAINER_TRANSLATE_H
#define TRAINER_TRANSLATE_H

#include "trainer/generate.h"
#include "trainer/language_data.h"
#include "trainer/tokenizer.h"

struct translator {
    struct model *model;
    const struct tokenizer *tokenizer;
    struct generation_ids ids;
    struct language_ids language;
    struct generation options;
    int max_tokens;
    struct arena arena; /* of one text */
};

/* The model with its methods as `settings` attached them (NULL: none) and its tokenizer are kept (borrowed). Texts are
 * cut to max_tokens, answers are at most as long. ERR_UNSUPPORTED for a model that is no encoder-decoder; ERR_USAGE for
 * options that are out of range. */
int translator_open(struct translator *translator, struct model *model, const struct tokenizer *tokenizer,
                    const cJSON *settings, const struct generation *options, int max_tokens,
                    struct err *err) MUST_CHECK;
void translator_close(struct translator *translator); /* zeroed is fine */
/* Appends the translation. Encoded as training encodes it (language_data.h). A sampled one draws by `example`. */
int translate(struct translator *translator, const char *text, uint32_t example, struct text *out,
              struct err *err) MUST_CHECK;

#endif
