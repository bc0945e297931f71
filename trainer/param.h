/* Parameters: the named tensors of a model, of the methods attached to it, and of its head. */
#ifndef TRAINER_PARAM_H
#define TRAINER_PARAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/err.h"
#include "trainer/share.h"
#include "trainer/tape.h"

enum param_origin { PARAM_BASE, PARAM_METHOD, PARAM_HEAD };

enum { PARAM_MAX_DIMS = 4 };

struct param {
    const char *name;   /* base and head: its Hugging Face path ("bert.encoder.layer.0.output.dense.weight");
                         * method: what the method's file format calls it, below the same path */
    struct value value; /* 2-D view: (first dimension, product of the rest); a vector is (1, n) */
    int n_dims;
    int64_t shape[PARAM_MAX_DIMS];
    enum param_origin origin;
    int layer;          /* of the model, from 0; −1: below the layers (embeddings), n_layers: above them (pooler) */
    const char *method; /* the method that made or trains it; NULL for the head and what stays frozen */
    bool is_trained;
    bool is_mapped;       /* data lies in a read-only file map; param_train copies it first */
    bool is_norm;         /* a layer norm's weight or bias */
    bool is_bias_or_norm; /* biases and layer-norm weights: no weight decay unless decay_biases */
    bool never_decays;    /* methods whose values must not be pulled to zero (IA3) */
    bool is_state;        /* not trained, but changes in training: a checkpoint carries it, an adapter file does not */
    bool is_replaced;     /* something else took its place: nobody reads it, and it is not trained */
    double learning_rate_factor;
    real *moment1, *moment2; /* optimiser state, sized like data; NULL until the optimiser starts */
};

/* All parameters of a trial, in a fixed order: base in the model's order, then the methods in attach order, then the
 * head. Everything that sums over parameters goes in this order. */
struct params {
    struct arena *arena; /* trial arena: names, tensors, gradients */
    /* Those of a second model on the same data (see trial_lane.h): base tensors are taken from here, training one
     * copies nothing. NULL: these are the first. */
    const struct params *original;
    struct param **items;
    size_t count, capacity;
};

/* Adds a parameter with zeroed data of its own (mapped_data NULL) or on mapped data. NULL when memory is used up or the
 * name is taken. */
struct param *params_add(struct params *params, const char *name, int n_dims, const int64_t *shape,
                         const real *mapped_data, enum param_origin origin);
/* The same for a frozen weight that stays packed (packed.h); the tensor is kept. */
struct param *params_add_packed(struct params *params, const char *name, const struct tensor *packed,
                                enum param_origin origin);
/* Gives a packed parameter data in float, for those that need all of it; nothing to do for others. */
int param_expand(struct params *params, struct param *param, struct err *err) MUST_CHECK;
struct param *params_find(const struct params *params, const char *name); /* NULL when there is none */
size_t param_size(const struct param *param);                             /* number of elements */
/* Marks it trained by `method` (kept): copies mapped data, gives it a zeroed gradient. */
int param_train(struct params *params, struct param *param, const char *method, struct err *err) MUST_CHECK;
/* The trained parameters' elements in blocks, in their order; a block lies in one parameter. */
enum { PARAM_BLOCK = 4096 };
struct param_block {
    size_t number; /* from 0, over all trained parameters */
    struct param *param;
    size_t index, at, n; /* elements [at, at + n) of params->items[index] */
};
/* Calls `fn` for each block whose number is `index` modulo `count` of the share. */
void params_each_block(const struct params *params, struct work_share share,
                       void (*fn)(void *context, const struct param_block *block), void *context);
size_t params_count_blocks(const struct params *params);
/* Whether any gradient of the block may be other than zero (ROW_TOUCHED). */
bool param_block_is_touched(const struct value *value, const struct param_block *block);
/* Marks it replaced: whoever trains it trains nothing. */
void param_replace(struct param *param);
/* Number of elements of the trained ones. */
size_t params_count_trained(const struct params *params);
/* Hash over names and data of those that are not trained: must be the same after training as before. */
void params_hash_frozen(const struct params *params, char hex[65]);
/* `crew`: share.h, NULL: alone. */
void params_zero_grad(struct params *params, const struct crew *crew);

#endif
