/* BERT's encoder. */
#include "trainer/models/encoder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"

/* What this code does not compute must not be silently ignored. */
static int refuse_variants(const struct model *model, struct err *err)
{
    const char *positions = "absolute";
    bool is_decoder = false;
    int rc = json_opt_string(model->config, "position_embedding_type", "config.json", &positions, err);
    if (rc == 0)
        rc = json_opt_bool(model->config, "is_decoder", "config.json", &is_decoder, err);
    if (rc < 0)
        return rc;
    if (strcmp(positions, "absolute") != 0)
        return err_set(err, ERR_UNSUPPORTED, "config.json: position_embedding_type '%s', only absolute is built in",
                       positions);
    if (is_decoder)
        return err_set(err, ERR_UNSUPPORTED, "config.json: is_decoder is true, only encoders are built in");
    return 0;
}

static int read_dropout(struct model *model, const struct model_options *options, struct err *err)
{
    int rc = model_config_real(model, "hidden_dropout_prob", 0.1, &model->dropout, err);
    if (rc == 0)
        rc = model_config_real(model, "attention_probs_dropout_prob", 0.1, &model->attention_dropout, err);
    model->dropout = options->dropout >= 0 ? options->dropout : model->dropout;
    if (rc == 0)
        rc = model_config_real(model, "classifier_dropout", model->dropout, &model->classifier_dropout, err);
    if (options->dropout >= 0)
        model->classifier_dropout = options->dropout;
    if (options->attention_dropout >= 0)
        model->attention_dropout = options->attention_dropout;
    if (rc == 0)
        rc = model_config_real(model, "initializer_range", 0.02, &model->initializer_range, err);
    return rc;
}

static int read_sizes(struct model *model, struct encoder *encoder, int *intermediate, int *n_types, int *n_positions,
                      struct err *err)
{
    int rc = model_config_int(model, "hidden_size", -1, &model->hidden_size, err);
    if (rc == 0)
        rc = model_config_int(model, "num_hidden_layers", -1, &model->n_layers, err);
    if (rc == 0)
        rc = model_config_int(model, "num_attention_heads", -1, &encoder->n_heads, err);
    if (rc == 0)
        rc = model_config_int(model, "intermediate_size", -1, intermediate, err);
    if (rc == 0)
        rc = model_config_int(model, "vocab_size", -1, &model->vocab_size, err);
    if (rc == 0)
        rc = model_config_int(model, "type_vocab_size", 2, n_types, err);
    if (rc == 0)
        rc = model_config_int(model, "max_position_embeddings", 512, n_positions, err);
    if (rc == 0)
        rc = model_config_real(model, "layer_norm_eps", 1e-12, &encoder->norm_epsilon, err);
    if (rc < 0)
        return rc;
    if (model->hidden_size == 0 || model->n_layers == 0 || encoder->n_heads == 0 || *intermediate == 0)
        return err_set(err, ERR_FORMAT,
                       "config.json: hidden_size, num_hidden_layers, num_attention_heads and intermediate_size must be "
                       "above 0");
    if (model->hidden_size % encoder->n_heads != 0)
        return err_set(err, ERR_FORMAT, "config.json: hidden_size %d is no multiple of num_attention_heads %d",
                       model->hidden_size, encoder->n_heads);
    if (*n_positions <= encoder->position_offset)
        return err_set(err, ERR_FORMAT, "config.json: max_position_embeddings %d leaves no positions behind offset %d",
                       *n_positions, encoder->position_offset);
    model->max_positions = *n_positions - encoder->position_offset;
    return 0;
}

static int table(struct model *model, struct param **param, const char *prefix, const char *name, int rows,
                 struct err *err)
{
    char tensor[256];
    const int64_t shape[2] = {rows, model->hidden_size};
    snprintf(tensor, sizeof(tensor), "%s.embeddings.%s.weight", prefix, name);
    return model_tensor(model, param, -1, 2, shape, tensor, err);
}

/* A sublayer's linear output with the layer norm behind it. */
static int sublayer(struct model *model, struct site **dense, struct site **site, const char *role,
                    const char *dense_role, int layer, int in, const char *name, double epsilon, struct err *err)
{
    char dense_name[256], norm[256];
    snprintf(dense_name, sizeof(dense_name), "%s.dense", name);
    int rc = model_linear(model, dense, dense_role, layer, in, model->hidden_size, dense_name, err);
    if (rc < 0)
        return rc;
    *site = model_add_site(model, SITE_SUBLAYER, role, layer, "%s", name);
    if (!*site)
        return err_set(err, ERR_NOMEM, "no memory for the site '%s'", name);
    (*site)->in = (*site)->out = model->hidden_size;
    (*site)->norm_epsilon = epsilon;
    snprintf(norm, sizeof(norm), "%s.LayerNorm", name);
    return model_norm(model, &(*site)->norm_weight, &(*site)->norm_bias, layer, model->hidden_size, norm, err);
}

static int load_layer(struct model *model, struct encoder *encoder, int index, int intermediate, const char *prefix,
                      struct err *err)
{
    struct encoder_layer *layer = &encoder->layers[index];
    int d = model->hidden_size, rc = 0;
    char name[256];
    struct {
        struct site **site;
        const char *role, *path;
    } projections[] = {{&layer->query, "query", "attention.self.query"},
                       {&layer->key, "key", "attention.self.key"},
                       {&layer->value, "value", "attention.self.value"}};
    for (size_t i = 0; i < 3 && rc == 0; i++) {
        snprintf(name, sizeof(name), "%s.encoder.layer.%d.%s", prefix, index, projections[i].path);
        rc = model_linear(model, projections[i].site, projections[i].role, index, d, d, name, err);
    }
    if (rc < 0)
        return rc;
    layer->attention =
        model_add_site(model, SITE_ATTENTION, "attention", index, "%s.encoder.layer.%d.attention.self", prefix, index);
    if (!layer->attention)
        return err_set(err, ERR_NOMEM, "no memory for layer %d", index);
    layer->attention->in = layer->attention->out = d; /* keys are as wide as hidden states */
    layer->attention->n_heads = layer->attention->n_kv_heads = encoder->n_heads;
    layer->attention_dropout_site = rng_site(layer->attention->name);
    snprintf(name, sizeof(name), "%s.encoder.layer.%d.attention.output", prefix, index);
    layer->attention_output_dropout_site = rng_site(name);
    rc = sublayer(model, &layer->attention_output, &layer->attention_sublayer, "attention", "attention_output", index,
                  d, name, encoder->norm_epsilon, err);
    snprintf(name, sizeof(name), "%s.encoder.layer.%d.intermediate.dense", prefix, index);
    if (rc == 0)
        rc = model_linear(model, &layer->intermediate, "intermediate", index, d, intermediate, name, err);
    snprintf(name, sizeof(name), "%s.encoder.layer.%d.output", prefix, index);
    layer->output_dropout_site = rng_site(name);
    if (rc == 0)
        rc = sublayer(model, &layer->output, &layer->output_sublayer, "feed_forward", "output", index, intermediate,
                      name, encoder->norm_epsilon, err);
    layer->block = model_add_site(model, SITE_BLOCK, "layer", index, "%s.encoder.layer.%d", prefix, index);
    if (rc == 0 && !layer->block)
        rc = err_set(err, ERR_NOMEM, "no memory for layer %d", index);
    if (layer->block)
        layer->block->in = layer->block->out = d;
    return rc;
}

int encoder_load(struct model *model, struct encoder *encoder, const char *prefix, int position_offset, bool has_pooler,
                 const struct model_options *options, struct err *err)
{
    int intermediate, n_types, n_positions;
    char name[256];
    encoder->position_offset = position_offset;
    int rc = model_config_activation(model, "hidden_act", "gelu", &encoder->activation, err);
    if (rc == 0)
        rc = refuse_variants(model, err);
    if (rc == 0)
        rc = read_dropout(model, options, err);
    if (rc == 0)
        rc = read_sizes(model, encoder, &intermediate, &n_types, &n_positions, err);
    if (rc == 0)
        rc = table(model, &encoder->words, prefix, "word_embeddings", model->vocab_size, err);
    if (rc == 0)
        rc = table(model, &encoder->positions, prefix, "position_embeddings", n_positions, err);
    if (rc == 0)
        rc = table(model, &encoder->types, prefix, "token_type_embeddings", n_types, err);
    if (rc < 0)
        return rc;
    snprintf(name, sizeof(name), "%s.embeddings.LayerNorm", prefix);
    rc = model_norm(model, &encoder->norm_weight, &encoder->norm_bias, -1, model->hidden_size, name, err);
    snprintf(name, sizeof(name), "%s.embeddings", prefix);
    encoder->embedding = model_add_site(model, SITE_EMBEDDING, "embedding", -1, "%s.word_embeddings", name);
    encoder->layers = arena_calloc(model->params.arena, (size_t)model->n_layers, sizeof(*encoder->layers));
    if (encoder->embedding) {
        encoder->embedding->weight = encoder->words;
        encoder->embedding->in = encoder->embedding->out = model->hidden_size;
    }
    encoder->embeddings = model_add_site(model, SITE_BLOCK, "embeddings", -1, "%s", name);
    if (encoder->embeddings)
        encoder->embeddings->in = encoder->embeddings->out = model->hidden_size;
    if (rc == 0 && (!encoder->embedding || !encoder->embeddings || !encoder->layers))
        rc = err_set(err, ERR_NOMEM, "no memory for %d layers", model->n_layers);
    encoder->embedding_dropout_site = rng_site(name);
    for (int i = 0; i < model->n_layers && rc == 0; i++)
        rc = load_layer(model, encoder, i, intermediate, prefix, err);
    snprintf(name, sizeof(name), "%s.pooler.dense", prefix);
    if (rc == 0 && has_pooler)
        rc = model_linear(model, &encoder->pooler, "pooler", model->n_layers, model->hidden_size, model->hidden_size,
                          name, err);
    encoder->classifier_dropout_site = rng_site("classifier");
    return rc;
}

static int32_t type_of(const struct batch *batch, int row, int n_types)
{
    return row >= 0 && batch->type_ids && batch->type_ids[row] < n_types ? batch->type_ids[row] : 0;
}

/* Word, position and type embeddings, summed, normalised. */
static struct value *embed(struct pass *pass, const struct encoder *encoder)
{
    struct tape *tape = pass->tape;
    struct value *x = site_embedding(pass, encoder->embedding, pass->batch->ids, &pass->batch->layout);
    if (!x)
        return NULL;
    const struct layout *layout = x->layout;
    int n = layout->n_rows;
    const int32_t *positions = layout_positions(tape, layout, encoder->position_offset);
    int32_t *types = tape_alloc(tape, "embedding", (size_t)n * sizeof(int32_t));
    if (!positions || !types)
        return NULL;
    for (int i = 0; i < n; i++) /* a model with one type has none to tell apart; inserted rows have the first */
        types[i] = type_of(pass->batch, layout->origin ? layout->origin[i] : i, encoder->types->value.rows);
    x = op_add(tape, x, op_embedding(tape, &encoder->types->value, types, n, layout));
    x = op_add_layer_norm(tape, x, op_embedding(tape, &encoder->positions->value, positions, n, layout),
                          &encoder->norm_weight->value, &encoder->norm_bias->value, encoder->norm_epsilon);
    x = op_dropout(tape, x, pass->model->dropout, encoder->embedding_dropout_site);
    return site_replace(pass, encoder->embeddings, x);
}

static struct value *layer_forward(struct pass *pass, const struct encoder *encoder, const struct encoder_layer *layer,
                                   struct value *x)
{
    struct tape *tape = pass->tape;
    const struct model *model = pass->model;
    struct attention attention = {
        .n_heads = encoder->n_heads,
        .n_kv_heads = encoder->n_heads,
        .scale = 1 / sqrt((double)model->hidden_size / encoder->n_heads),
        .dropout = model->attention_dropout,
        .site = layer->attention_dropout_site,
    };
    struct value *q = site_linear(pass, layer->query, x);
    struct value *k = site_linear(pass, layer->key, x);
    struct value *v = site_linear(pass, layer->value, x);
    site_attention(pass, layer->attention, x, &attention);
    struct value *h = site_linear(pass, layer->attention_output, op_attention(tape, q, k, v, &attention));
    h = op_dropout(tape, h, model->dropout, layer->attention_output_dropout_site);
    struct value *middle = site_sublayer(pass, layer->attention_sublayer, h, x);
    h = op_activation(tape, site_linear(pass, layer->intermediate, middle), encoder->activation);
    h = op_dropout(tape, site_linear(pass, layer->output, h), model->dropout, layer->output_dropout_site);
    return site_replace(pass, layer->block, site_sublayer(pass, layer->output_sublayer, h, middle));
}

struct value *encoder_forward(struct pass *pass, const struct encoder *encoder)
{
    struct value *x = embed(pass, encoder);
    for (int i = 0; i < pass->model->n_layers; i++)
        x = layer_forward(pass, encoder, &encoder->layers[i], x);
    return x;
}
