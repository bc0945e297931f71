/* BERT's encoder. */
#include "trainer/models/encoder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "trainer/frozen_prefix.h"

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

static int read_dropout(struct model *model, const struct encoder_names *names, const struct model_options *options,
                        struct err *err)
{
    int rc = model_config_real(model, names->dropout, 0.1, &model->dropout, err);
    if (rc == 0)
        rc = model_config_real(model, names->attention_dropout, 0.1, &model->attention_dropout, err);
    model->dropout = options->dropout >= 0 ? options->dropout : model->dropout;
    if (rc == 0)
        rc = model_config_real(model, names->classifier_dropout, model->dropout, &model->classifier_dropout, err);
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
    const struct encoder_names *names = encoder->names;
    int rc = model_config_int(model, names->hidden_size, -1, &model->hidden_size, err);
    if (rc == 0)
        rc = model_config_int(model, names->n_layers, -1, &model->n_layers, err);
    if (rc == 0)
        rc = model_config_int(model, names->n_heads, -1, &encoder->n_heads, err);
    if (rc == 0)
        rc = model_config_int(model, names->intermediate_size, -1, intermediate, err);
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
        return err_set(err, ERR_FORMAT, "config.json: %s, %s, %s and %s must be above 0", names->hidden_size,
                       names->n_layers, names->n_heads, names->intermediate_size);
    if (model->hidden_size % encoder->n_heads != 0)
        return err_set(err, ERR_FORMAT, "config.json: %s %d is no multiple of %s %d", names->hidden_size,
                       model->hidden_size, names->n_heads, encoder->n_heads);
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

/* A sublayer's site, with the layer norm behind it. */
static int sublayer(struct model *model, struct site **site, const char *role, int layer, const char *name,
                    const char *norm, double epsilon, struct err *err)
{
    *site = model_add_site(model, SITE_SUBLAYER, role, layer, "%s", name);
    if (!*site)
        return err_set(err, ERR_NOMEM, "no memory for the site '%s'", name);
    (*site)->norm_epsilon = epsilon;
    return model_norm(model, &(*site)->norm_weight, &(*site)->norm_bias, layer, model->hidden_size, norm, err);
}

/* Where a layer's modules are. */
struct layer_paths {
    char query[160], key[160], value[160], attention[160], attention_output[160], attention_norm[160],
        attention_sublayer[160], intermediate[160], output[160], output_norm[160], output_sublayer[160], layer[160];
};

static void make_paths(struct layer_paths *paths, const struct encoder_names *names, const char *prefix, int index)
{
    const struct {
        char *out;
        const char *name;
    } parts[] = {{paths->query, names->query},
                 {paths->key, names->key},
                 {paths->value, names->value},
                 {paths->attention, names->attention},
                 {paths->attention_output, names->attention_output},
                 {paths->attention_norm, names->attention_norm},
                 {paths->attention_sublayer, names->attention_sublayer},
                 {paths->intermediate, names->intermediate},
                 {paths->output, names->output},
                 {paths->output_norm, names->output_norm},
                 {paths->output_sublayer, names->output_sublayer}};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        snprintf(parts[i].out, sizeof(paths->query), "%s.%s.%d.%s", prefix, names->layers, index, parts[i].name);
    snprintf(paths->layer, sizeof(paths->layer), "%s.%s.%d", prefix, names->layers, index);
}

static int load_attention(struct model *model, const struct encoder *encoder, struct encoder_layer *layer, int index,
                          const struct layer_paths *paths, struct err *err)
{
    int d = model->hidden_size;
    int rc = model_linear(model, &layer->query, "query", index, d, d, paths->query, err);
    if (rc == 0)
        rc = model_linear(model, &layer->key, "key", index, d, d, paths->key, err);
    if (rc == 0)
        rc = model_linear(model, &layer->value, "value", index, d, d, paths->value, err);
    if (rc < 0)
        return rc;
    layer->attention = model_add_site(model, SITE_ATTENTION, "attention", index, "%s", paths->attention);
    if (!layer->attention)
        return err_set(err, ERR_NOMEM, "no memory for layer %d", index);
    layer->attention->n_heads = layer->attention->n_kv_heads = encoder->n_heads;
    layer->attention_dropout_site = rng_site(layer->attention->name);
    layer->attention_output_dropout_site = rng_site(paths->attention_sublayer);
    rc = model_linear(model, &layer->attention_output, "attention_output", index, d, d, paths->attention_output, err);
    return rc < 0 ? rc
                  : sublayer(model, &layer->attention_sublayer, "attention", index, paths->attention_sublayer,
                             paths->attention_norm, encoder->norm_epsilon, err);
}

static int load_layer(struct model *model, struct encoder *encoder, int index, int intermediate, const char *prefix,
                      struct err *err)
{
    struct encoder_layer *layer = &encoder->layers[index];
    struct layer_paths paths;
    int d = model->hidden_size;
    make_paths(&paths, encoder->names, prefix, index);
    int rc = load_attention(model, encoder, layer, index, &paths, err);
    if (rc == 0)
        rc = model_linear(model, &layer->intermediate, "intermediate", index, d, intermediate, paths.intermediate, err);
    layer->output_dropout_site = rng_site(paths.output_sublayer);
    if (rc == 0)
        rc = model_linear(model, &layer->output, "output", index, intermediate, d, paths.output, err);
    if (rc == 0)
        rc = sublayer(model, &layer->output_sublayer, "feed_forward", index, paths.output_sublayer, paths.output_norm,
                      encoder->norm_epsilon, err);
    layer->block = model_add_site(model, SITE_BLOCK, "layer", index, "%s", paths.layer);
    return rc == 0 && !layer->block ? err_set(err, ERR_NOMEM, "no memory for layer %d", index) : rc;
}

/* As BERT and RoBERTa call things. */
static const struct encoder_names bert_names = {
    .hidden_size = "hidden_size",
    .n_layers = "num_hidden_layers",
    .n_heads = "num_attention_heads",
    .intermediate_size = "intermediate_size",
    .activation = "hidden_act",
    .dropout = "hidden_dropout_prob",
    .attention_dropout = "attention_probs_dropout_prob",
    .classifier_dropout = "classifier_dropout",
    .layers = "encoder.layer",
    .query = "attention.self.query",
    .key = "attention.self.key",
    .value = "attention.self.value",
    .attention = "attention.self",
    .attention_output = "attention.output.dense",
    .attention_norm = "attention.output.LayerNorm",
    .attention_sublayer = "attention.output",
    .intermediate = "intermediate.dense",
    .output = "output.dense",
    .output_norm = "output.LayerNorm",
    .output_sublayer = "output",
    .has_types = true,
    .drops_attention_output = true,
};

int encoder_load(struct model *model, struct encoder *encoder, const char *prefix, int position_offset, bool has_pooler,
                 const struct model_options *options, struct err *err)
{
    int intermediate, n_types, n_positions;
    char name[256];
    encoder->names = encoder->names ? encoder->names : &bert_names;
    encoder->position_offset = position_offset;
    int rc = model_config_activation(model, encoder->names->activation, "gelu", &encoder->activation, err);
    if (rc == 0)
        rc = refuse_variants(model, err);
    if (rc == 0)
        rc = read_dropout(model, encoder->names, options, err);
    if (rc == 0)
        rc = read_sizes(model, encoder, &intermediate, &n_types, &n_positions, err);
    if (rc == 0)
        rc = table(model, &encoder->words, prefix, "word_embeddings", model->vocab_size, err);
    if (rc == 0)
        rc = table(model, &encoder->positions, prefix, "position_embeddings", n_positions, err);
    if (rc == 0 && encoder->names->has_types)
        rc = table(model, &encoder->types, prefix, "token_type_embeddings", n_types, err);
    if (rc < 0)
        return rc;
    snprintf(name, sizeof(name), "%s.embeddings.LayerNorm", prefix);
    rc = model_norm(model, &encoder->norm_weight, &encoder->norm_bias, -1, model->hidden_size, name, err);
    snprintf(name, sizeof(name), "%s.embeddings", prefix);
    encoder->embedding = model_add_site(model, SITE_EMBEDDING, "embedding", -1, "%s.word_embeddings", name);
    encoder->layers = arena_calloc(model->params.arena, (size_t)model->n_layers, sizeof(*encoder->layers));
    if (encoder->embedding)
        encoder->embedding->weight = encoder->words;
    encoder->embeddings = model_add_site(model, SITE_BLOCK, "embeddings", -1, "%s", name);
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

/* Inserted rows have the first type; a model with one type has none to tell apart. */
static struct value *embed_types(struct pass *pass, struct value *table, const struct layout *layout)
{
    const int32_t *given = pass->batch->type_ids;
    int32_t *types = tape_alloc(pass->tape, "embedding", (size_t)layout->n_rows * sizeof(int32_t));
    for (int i = 0; types && i < layout->n_rows; i++) {
        int32_t row = layout->origin ? layout->origin[i] : i;
        types[i] = given && row >= 0 && given[row] < table->rows ? given[row] : 0;
    }
    return types ? op_embedding(pass->tape, table, types, layout->n_rows, layout) : NULL;
}

/* Word, position and type embeddings, summed, normalised. */
static struct value *embed(struct pass *pass, const struct encoder *encoder)
{
    struct tape *tape = pass->tape;
    struct value *x = site_embedding(pass, encoder->embedding, pass->batch->ids, &pass->batch->layout);
    if (!x)
        return NULL;
    const struct layout *layout = x->layout;
    const int32_t *positions = layout_positions(tape, layout, encoder->position_offset);
    if (!positions)
        return NULL;
    if (encoder->types)
        x = op_add(tape, x, embed_types(pass, &encoder->types->value, layout));
    x = op_add_layer_norm(tape, x, op_embedding(tape, &encoder->positions->value, positions, layout->n_rows, layout),
                          &encoder->norm_weight->value, &encoder->norm_bias->value, encoder->norm_epsilon);
    x = op_dropout(tape, x, pass->model->dropout, encoder->embedding_dropout_site);
    return site_replace(pass, encoder->embeddings, x);
}

/* Memory for the activations of one layer's feed-forward, which all layers use in turn. */
struct scratch {
    real *memory;
    size_t bytes;
};

/* Without hooks nobody but the sublayer's sum reads what a linear site gave. */
static void mark_spare(const struct site *site, struct value *h)
{
    if (h && !site->hooks)
        h->is_spare = true;
}

static struct value *activated_output(struct pass *pass, const struct encoder *encoder,
                                      const struct encoder_layer *layer, struct value *x, struct scratch *scratch)
{
    struct site *site = layer->output;
    size_t bytes = x ? (size_t)x->rows * (size_t)x->cols * sizeof(real) : 0;
    if (site->hooks || !x)
        return site_linear(pass, site, op_activation(pass->tape, x, encoder->activation));
    if (scratch->bytes < bytes) {
        scratch->memory = tape_alloc(pass->tape, "activation", bytes);
        scratch->bytes = bytes;
    }
    struct value *h = op_activated_linear(pass->tape, x, encoder->activation, &site->weight->value, &site->bias->value,
                                          scratch->memory);
    mark_spare(site, h);
    return h;
}

/* What a pass's layers share. */
struct layers_pass {
    const struct encoder *encoder;
    struct scratch *scratch;
};

static struct value *layer_forward(struct pass *pass, int index, struct value *x, const void *context)
{
    const struct layers_pass *shared = context;
    const struct encoder *encoder = shared->encoder;
    const struct encoder_layer *layer = &encoder->layers[index];
    struct scratch own = {0}, *scratch = pass->model->forgets_layers ? &own : shared->scratch;
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
    mark_spare(layer->attention_output, h);
    if (encoder->names->drops_attention_output)
        h = op_dropout(tape, h, model->dropout, layer->attention_output_dropout_site);
    struct value *middle = site_sublayer(pass, layer->attention_sublayer, h, x);
    h = activated_output(pass, encoder, layer, site_linear(pass, layer->intermediate, middle), scratch);
    h = op_dropout(tape, h, model->dropout, layer->output_dropout_site);
    return site_replace(pass, layer->block, site_sublayer(pass, layer->output_sublayer, h, middle));
}

struct value *encoder_forward(struct pass *pass, const struct encoder *encoder)
{
    int first = pass_first_layer(pass);
    struct value *x = first > 0 ? frozen_prefix_value(pass) : embed(pass, encoder);
    struct scratch *scratch = tape_alloc(pass->tape, "layers", sizeof(*scratch));
    struct layers_pass *shared = tape_alloc(pass->tape, "layers", sizeof(*shared)); /* backward may read it */
    if (!scratch || !shared)
        return NULL;
    *scratch = (struct scratch){0};
    *shared = (struct layers_pass){encoder, scratch};
    for (int i = first; i < pass_end_layer(pass); i++)
        x = pass_layer(pass, layer_forward, i, x, shared);
    return x;
}
