/* The encoder that BERT and RoBERTa share: post-norm transformer layers.   Devlin et al. 2018, arXiv:1810.04805 */
#ifndef TRAINER_MODELS_ENCODER_H
#define TRAINER_MODELS_ENCODER_H

#include "trainer/model.h"

struct encoder_layer {
    struct site *query, *key, *value, *attention_output, *intermediate, *output;
    struct site *attention, *attention_sublayer, *output_sublayer, *block;
    uint32_t attention_dropout_site, attention_output_dropout_site, output_dropout_site;
};

/* What a family calls its config's entries and its modules: <prefix>.<layers>.<index>.<module>. The sublayers' names
 * are those below which adapters are kept. */
struct encoder_names {
    const char *hidden_size, *n_layers, *n_heads, *intermediate_size, *activation;
    const char *dropout, *attention_dropout, *classifier_dropout;
    const char *layers;
    const char *query, *key, *value, *attention, *attention_output, *attention_norm, *attention_sublayer;
    const char *intermediate, *output, *output_norm, *output_sublayer;
    bool has_types, drops_attention_output;
};

struct encoder {
    const struct encoder_names *names; /* set before loading; NULL: BERT's */
    struct param *words, *positions, *types /* NULL: none */, *norm_weight, *norm_bias;
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
