/* The encoder that BERT and RoBERTa share: post-norm transformer layers.   Devlin et al. 2018, arXiv:1810.04805 */
#ifndef TRAINER_MODELS_ENCODER_H
#define TRAINER_MODELS_ENCODER_H

#include "trainer/model.h"

struct encoder_layer {
    struct site *query, *key, *value, *attention_output, *intermediate, *output;
    struct site *attention, *attention_sublayer, *output_sublayer, *block;
    uint32_t attention_dropout_site, attention_output_dropout_site, output_dropout_site;
};

struct encoder {
    struct param *words, *positions, *types, *norm_weight, *norm_bias;
    struct site *embedding, *embeddings;
    struct encoder_layer *layers;
    struct site *pooler; /* NULL: none */
    int n_heads, position_offset;
    enum activation activation;
    double norm_epsilon;
    uint32_t embedding_dropout_site, classifier_dropout_site;
};

/* Reads config and tensors below `prefix` ("bert"); position ids start at `position_offset`. */
int encoder_load(struct model *model, struct encoder *encoder, const char *prefix, int position_offset, bool has_pooler,
                 const struct model_options *options, struct err *err) MUST_CHECK;
/* Hidden states of the last layer (n_rows, hidden). */
struct value *encoder_forward(struct pass *pass, const struct encoder *encoder);

#endif
