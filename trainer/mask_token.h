/* The token that stands for a word to be filled in. */
#ifndef TRAINER_MASK_TOKEN_H
#define TRAINER_MASK_TOKEN_H

#include "trainer/tokenizer.h"

/* The tokenizer's mask, "[MASK]" or "<mask>": a token of its own that is not the one of unknown words. `text` (static)
 * may be NULL. ERR_UNSUPPORTED when it has none. */
int mask_token_find(const struct tokenizer *tokenizer, int32_t *id, const char **text, struct err *err) MUST_CHECK;

#endif
