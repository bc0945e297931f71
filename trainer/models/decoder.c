/* What decoder-only families share. */
#include "trainer/models/decoder.h"

#include <string.h>

int decoder_add_sites(struct model *model, struct decoder_sites *sites, int layer, const char *layer_name,
                      const char *attention, struct decoder_heads heads, struct err *err)
{
    sites->attention = model_add_site(model, SITE_ATTENTION, "attention", layer, "%s.%s", layer_name, attention);
    sites->attention_sublayer =
        model_add_site(model, SITE_SUBLAYER, "attention", layer, "%s.attention_adapters", layer_name);
    sites->output_sublayer =
        model_add_site(model, SITE_SUBLAYER, "feed_forward", layer, "%s.output_adapters", layer_name);
    sites->block = model_add_site(model, SITE_BLOCK, "layer", layer, "%s", layer_name);
    if (!sites->attention || !sites->attention_sublayer || !sites->output_sublayer || !sites->block)
        return err_set(err, ERR_NOMEM, "no memory for '%s'", layer_name);
    sites->attention->out = heads.n_kv_heads * heads.size;
    sites->attention->n_heads = heads.n_heads;
    sites->attention->n_kv_heads = heads.n_kv_heads;
    return 0;
}

int decoder_load_head(struct model *model, struct param **score, const struct model_options *options, struct err *err)
{
    const int64_t shape[2] = {options->n_classes, model->hidden_size};
    model->n_classes = options->n_classes;
    return model_head_tensor(model, score, options, 2, shape, "score.weight", err);
}

static struct value *last_rows(struct tape *tape, struct value *x)
{
    if (!x)
        return NULL;
    int32_t *rows = tape_alloc(tape, "pooling", (size_t)x->layout->n_segments * sizeof(int32_t));
    for (int s = 0; rows && s < x->layout->n_segments; s++)
        rows[s] = x->layout->segments[s].first + x->layout->segments[s].keys - 1;
    return rows ? op_select_rows(tape, x, rows, x->layout->n_segments) : NULL;
}

struct value *decoder_classify(struct pass *pass, struct param *score, struct value *hidden)
{
    const char *pooling = pass->model->pooling;
    struct value *x = strcmp(pooling, "mean") == 0    ? op_mean_rows(pass->tape, hidden)
                      : strcmp(pooling, "first") == 0 ? op_first_rows(pass->tape, hidden)
                                                      : last_rows(pass->tape, hidden);
    return op_linear(pass->tape, x, &score->value, NULL);
}
