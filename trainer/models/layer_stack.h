/* What text classifiers that are no transformers share: token embeddings, layers x ← LN(x + output(f(x))), pooling, one
 * linear layer as head. What f is, a family says: every other place is a site like a transformer's, so methods attach
 * to it unchanged.
 *
 * config.json: model_type, vocab_size, hidden_size, num_hidden_layers, inner_size, and optionally dropout (0.1),
 * layer_norm_eps (1e-5), initializer_range (0.02), max_position_embeddings (512: how long a text may be). Tensors:
 * embedding.weight; layers.<i>.output.{weight,bias} and layers.<i>.norm.{weight,bias}; classifier.{weight,bias}. */
#ifndef TRAINER_MODELS_LAYER_STACK_H
#define TRAINER_MODELS_LAYER_STACK_H

#include "trainer/model.h"

struct stack_layer {
    struct site *output, *sublayer, *block;
    uint32_t dropout_site;
    void *own; /* the family's */
};

struct layer_stack {
    struct param *tokens, *head_weight, *head_bias;
    struct site *embedding, *embeddings;
    struct stack_layer *layers;
    double norm_epsilon;
    uint32_t embedding_dropout_site, head_dropout_site;
    /* Adds a layer's own tensors and sites below `name` ("layers.3"); *own is kept, *width is what its f gives. */
    int (*load_layer)(struct model *model, int layer, int inner, const char *name, void **own, int *width,
                      struct err *err);
    /* f of a layer. */
    struct value *(*forward)(struct pass *pass, const void *own, struct value *x);
};

/* Sets model->state. */
int layer_stack_load(struct model *model, const struct layer_stack *family, const struct model_options *options,
                     struct err *err) MUST_CHECK;
struct value *layer_stack_encode(struct pass *pass);
/* Pooled as the job says (pooler: the mean), dropout, linear layer. */
struct value *layer_stack_classify(struct pass *pass);

#endif
