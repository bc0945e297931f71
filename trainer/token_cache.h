/* What trials on one machine need not do again: hashes of large files and the tokens of data sets, kept in files.
 *
 * Without a folder (common/cache.h), or when it cannot be written, nothing is kept and nothing fails. Tokens are found
 * by the hash of the tokenizer, max_tokens and the rows' texts and labels, so a stale file is never read; a damaged one
 * is ignored and made again. */
#ifndef TRAINER_TOKEN_CACHE_H
#define TRAINER_TOKEN_CACHE_H

#include "common/cache.h"
#include "trainer/dataset.h"

enum { TOKEN_CACHE_MIN_ROWS = 512, TOKEN_CACHE_MAX_FILES = 256 };

/* dataset_encode, but from `folder` (NULL: no cache) when these rows were encoded before; small sets are not kept. */
int dataset_encode_cached(struct dataset *dataset, const struct rows *rows, const struct labels *labels,
                          const struct tokenizer *tokenizer, const char *tokenizer_hash, int max_tokens,
                          const char *folder, struct err *err) MUST_CHECK;

#endif
