/* What decoder-only families share: dropout of their configs, the sites of a pre-norm layer, the classification head on
 * the last token. */
#ifndef TRAINER_MODELS_DECODER_H
#define TRAINER_MODELS_DECODER_H

#include "trainer/model.h"

/* The places of a pre-norm layer that are no linear layers. `layer_name` is the layer's path ("transformer.h.3"); the
 * sublayers have the names under which AdapterHub keeps their adapters. */
struct decoder_sites {
    struct site *attention, *attention_sublayer, *output_sublayer, *block;
};
struct decoder_heads {
    int n_heads, n_kv_heads, size;
};
int decoder_add_sites(struct model *model, struct decoder_sites *sites, int layer, const char *layer_name,
                      const char *attention, struct decoder_heads heads, struct err *err) MUST_CHECK;
/* The linear layer on the last token, "score.weight" without bias, as Hugging Face's …ForSequenceClassification. */
int decoder_load_head(struct model *model, struct param **score, const struct model_options *options,
                      struct err *err) MUST_CHECK;
struct value *decoder_classify(struct pass *pass, struct param *score, struct value *hidden);

#endif
