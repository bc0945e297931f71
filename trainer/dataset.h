/* Data sets: labels, splits and samples of rows, and the tokens of each example. */
#ifndef TRAINER_DATASET_H
#define TRAINER_DATASET_H

#include <cjson/cJSON.h>

#include "common/hash.h"
#include "common/rng.h"
#include "trainer/real.h"
#include "trainer/rows.h"
#include "trainer/tokenizer.h"

enum { LABELS_MAX = 10000 };

/* Class c's label is names[c]: in numeric order when all are whole numbers, else bytewise. */
struct labels {
    const char **names; /* NULL-terminated; point into the rows they were made from */
    int count;
};

/* The labels of the training rows; ERR_DATA for fewer than two. Owned by the caller: labels_done. */
int labels_make(struct labels *labels, const struct rows *train, struct err *err) MUST_CHECK;
/* Puts the labels in the order of a model's own head of n_classes: id2label (may be NULL) of its config names them, or
 * they are the numbers from 0. ERR_DATA for a label of the data that the head does not have. New names in `arena`. */
int labels_order_as_head(struct labels *labels, const cJSON *id2label, int n_classes, struct arena *arena,
                         struct err *err) MUST_CHECK;
/* ERR_DATA: the row's label is not among them, with those there are. */
int labels_unknown(const struct rows *rows, const struct row *row, const struct labels *labels, struct err *err);
void labels_done(struct labels *labels);
/* Class of a label, or −1. */
int labels_find(const struct labels *labels, const char *name);

/* Moves the validation part of `train` into `validation` (its own list, strings shared with train): 10 % of each label,
 * those with the smallest hash of their text, so that equal texts stay together and no seed decides. */
int dataset_split(struct rows *train, struct rows *validation, struct err *err) MUST_CHECK;
/* Keeps a share of each label (at least one row), the one with the smallest hashes. */
int dataset_keep_fraction(struct rows *rows, double fraction, struct err *err) MUST_CHECK;
/* Keeps k rows of each label, drawn by (seed, RNG_FEW_SHOT). ERR_DATA when a label has fewer, with the
 * name of the setting that asked. */
int dataset_keep_per_class(struct rows *rows, int k, uint64_t seed, const char *setting, struct err *err) MUST_CHECK;
/* Hash over texts, pairs and labels in order: equal exactly when the items are the same in the same order. */
void dataset_hash(const struct rows *rows, char hex[HASH_HEX_SIZE]);

struct example {
    int32_t *ids;
    uint8_t *type_ids;
    int n_tokens;
    int32_t label; /* classification */
    int32_t task;  /* which of the tasks that are trained together (token_kinds.h); 0 */
    /* Language models: a label a token, of the decoder's tokens when there are any (seq2seq). See language_data.h. */
    int32_t *targets, *decoder_ids;
    int n_targets;
    real value;     /* regression */
    int32_t *parts; /* multiple choice: the tokens are n_parts sequences one behind the other, of so many tokens each */
    int n_parts;
    int32_t *words;    /* of each token the word it begins, or the unit of the text it is of; −1: none */
    int n_words;       /* token classification: how many fit */
    int32_t *tags;     /* … and what was predicted for each last */
    int32_t *units;    /* question answering: bytes [start, end) of each unit of the second text */
    int32_t answer[2]; /* … tokens: the answer's ends; cloze: the gap */
};

struct dataset {
    struct arena arena;
    struct example *examples;
    size_t count, n_tokens, n_truncated;
    char sha256[HASH_HEX_SIZE];
};

/* Opens an empty data set with room for an example of each row, and the rows' hash. ERR_NOMEM. */
int dataset_begin(struct dataset *dataset, const struct rows *rows, struct err *err) MUST_CHECK;
/* Tokens and classes of all rows; without labels (count 0) class 0. ERR_DATA for a label that training has not seen
 * (file and line), and for a text of which nothing is left (only characters that the tokenizer drops). Done also after
 * a failure. */
int dataset_encode(struct dataset *dataset, const struct rows *rows, const struct labels *labels,
                   const struct tokenizer *tokenizer, int max_tokens, struct err *err) MUST_CHECK;
void dataset_done(struct dataset *dataset);

/* The order of n examples in an epoch: by (seed, RNG_ORDER, epoch), or as in the file. */
void dataset_order(uint32_t *order, uint32_t n, uint64_t seed, uint32_t epoch, bool shuffles);
/* Class weights by settings.class_weights: NULL for none; balanced n/(C·n_c); or the map's (1 where it has none).
 * ERR_USAGE for a label that does not exist. In `arena`. */
int dataset_class_weights(const struct dataset *train, const struct labels *labels, const cJSON *setting,
                          struct arena *arena, real **weights, struct err *err) MUST_CHECK;

#endif
