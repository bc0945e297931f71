/* Training a vocabulary: byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) on words and their counts.
 *
 * Starts with every character; each step joins the most frequent pair of neighbours inside words, of equals the pair
 * with the smaller ids, until the vocabulary is full: what the reference library's trainer does, token for token. */
#ifndef TRAINER_BPE_TRAIN_H
#define TRAINER_BPE_TRAIN_H

#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/err.h"

struct bpe_word {
    const char *text; /* valid UTF-8 */
    int64_t count;    /* at least 1 */
};

struct bpe_merge {
    int left, right, merged; /* ids */
};

struct bpe_vocabulary {
    const char **tokens; /* by id − first_id: characters by code point, then merged ones */
    int n_tokens;
    struct bpe_merge *merges; /* in order; ids count from first_id */
    int n_merges;
};

/* At most max_tokens tokens, ids from first_id (those in front are special tokens); pairs that come less than
 * min_count times are not joined. Everything in `arena`. ERR_USAGE when max_tokens does not hold the characters,
 * ERR_DATA without words, ERR_NOMEM. */
int bpe_train(struct bpe_vocabulary *out, const struct bpe_word *words, size_t n_words, int first_id, int max_tokens,
              int64_t min_count, struct arena *arena, struct err *err) MUST_CHECK;

#endif
