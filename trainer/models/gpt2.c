/* GPT-2: pre-norm decoder with learned positions, weights stored (in, out), the output embedding tied to the tokens'.
 * Radford et al. 2019, "Language Models are Unsupervised Multitask Learners" */
#include <math.h>
#include <stdio.h>

#include "trainer/frozen_prefix.h"
#include "trainer/kv_cache.h"
#include "trainer/models/decoder.h"

struct gpt2_layer {
    struct param *norm1, *norm1_bias, *norm2, *norm2_bias;
    struct site *attention_in, *attention_out, *mlp_in, *mlp_out;
    struct decoder_sites sites;
    double scale;
    uint32_t attention_dropout_site, attention_out_dropout_site, mlp_out_dropout_site;
};

struct gpt2 {
    struct param *tokens, *positions, *norm, *norm_bias, *score;
    struct site *embedding, *embeddings;
    struct gpt2_layer *layers;
    int n_heads, inner;
    bool scales, scales_by_layer, is_tied;
    double norm_epsilon, embedding_dropout;
    enum activation activation;
    uint32_t embedding_dropout_site;
};

static int read_sizes(struct model *model, struct gpt2 *gpt2, struct err *err)
{
    int rc = model_config_int(model, "n_embd", -1, &model->hidden_size, err);
    if (rc == 0)
        rc = model_config_int(model, "n_layer", -1, &model->n_layers, err);
    if (rc == 0)
        rc = model_config_int(model, "n_head", -1, &gpt2->n_heads, err);
    if (rc == 0)
        rc = model_config_int(model, "n_positions", 1024, &model->max_positions, err);
    if (rc == 0)
        rc = model_config_int(model, "vocab_size", -1, &model->vocab_size, err);
    if (rc == 0)
        rc = model_config_int(model, "n_inner", 4 * model->hidden_size, &gpt2->inner, err);
    if (rc < 0)
        return rc;
    if (model->hidden_size == 0 || model->n_layers == 0 || gpt2->n_heads == 0 || gpt2->inner == 0 ||
        model->hidden_size % gpt2->n_heads != 0)
        return err_set(err, ERR_FORMAT, "config.json: n_embd %d, n_layer %d, n_head %d and n_inner %d do not fit",
                       model->hidden_size, model->n_layers, gpt2->n_heads, gpt2->inner);
    return 0;
}

static int read_dropout(struct model *model, struct gpt2 *gpt2, const struct model_options *options, struct err *err)
{
    int rc = model_config_real(model, "resid_pdrop", 0.1, &model->dropout, err);
    if (rc == 0)
        rc = model_config_real(model, "embd_pdrop", 0.1, &gpt2->embedding_dropout, err);
    if (rc == 0)
        rc = model_config_real(model, "attn_pdrop", 0.1, &model->attention_dropout, err);
    if (options->dropout >= 0)
        model->dropout = gpt2->embedding_dropout = options->dropout;
    if (options->attention_dropout >= 0)
        model->attention_dropout = options->attention_dropout;
    return rc;
}

static int read_config(struct model *model, struct gpt2 *gpt2, const struct model_options *options, struct err *err)
{
    bool has_cross_attention = false;
    int rc = read_sizes(model, gpt2, err);
    if (rc == 0)
        rc = read_dropout(model, gpt2, options, err);
    if (rc == 0)
        rc = model_config_activation(model, "activation_function", "gelu_new", &gpt2->activation, err);
    if (rc == 0)
        rc = model_config_real(model, "layer_norm_epsilon", 1e-5, &gpt2->norm_epsilon, err);
    if (rc == 0)
        rc = model_config_real(model, "initializer_range", 0.02, &model->initializer_range, err);
    if (rc == 0)
        rc = model_config_bool(model, "scale_attn_weights", true, &gpt2->scales, err);
    if (rc == 0)
        rc = model_config_bool(model, "scale_attn_by_inverse_layer_idx", false, &gpt2->scales_by_layer, err);
    if (rc == 0)
        rc = model_config_bool(model, "tie_word_embeddings", true, &gpt2->is_tied, err);
    if (rc == 0)
        rc = model_config_bool(model, "add_cross_attention", false, &has_cross_attention, err);
    if (rc == 0 && has_cross_attention)
        rc =
            err_set(err, ERR_UNSUPPORTED, "config.json: add_cross_attention is true, only decoders alone are built in");
    return rc;
}

static int load_linears(struct model *model, const struct gpt2 *gpt2, struct gpt2_layer *layer, int index,
                        const char *layer_name, struct err *err)
{
    int d = model->hidden_size, rc = 0;
    struct {
        struct site **site;
        const char *role, *path;
        int in, out;
    } linears[] = {{&layer->attention_in, "query_key_value", "attn.c_attn", d, 3 * d},
                   {&layer->attention_out, "attention_output", "attn.c_proj", d, d},
                   {&layer->mlp_in, "intermediate", "mlp.c_fc", d, gpt2->inner},
                   {&layer->mlp_out, "output", "mlp.c_proj", gpt2->inner, d}};
    for (size_t i = 0; i < 4 && rc == 0; i++) {
        char name[256];
        const struct linear_shape shape = {linears[i].in, linears[i].out, .is_transposed = true, .has_bias = true};
        snprintf(name, sizeof(name), "%s.%s", layer_name, linears[i].path);
        rc = model_linear_site(model, linears[i].site, linears[i].role, index, shape, name, err);
    }
    return rc;
}

static int load_layer(struct model *model, struct gpt2 *gpt2, int index, struct err *err)
{
    struct gpt2_layer *layer = &gpt2->layers[index];
    char layer_name[64], name[128];
    int d = model->hidden_size;
    snprintf(layer_name, sizeof(layer_name), "transformer.h.%d", index);
    snprintf(name, sizeof(name), "%s.ln_1", layer_name);
    int rc = model_norm(model, &layer->norm1, &layer->norm1_bias, index, d, name, err);
    if (rc == 0)
        rc = load_linears(model, gpt2, layer, index, layer_name, err);
    snprintf(name, sizeof(name), "%s.ln_2", layer_name);
    if (rc == 0)
        rc = model_norm(model, &layer->norm2, &layer->norm2_bias, index, d, name, err);
    if (rc == 0)
        rc = decoder_add_sites(model, &layer->sites, index, layer_name, "attn",
                               (struct decoder_heads){gpt2->n_heads, gpt2->n_heads, d / gpt2->n_heads}, err);
    if (rc < 0)
        return rc;
    layer->scale = (gpt2->scales ? 1 / sqrt((double)d / gpt2->n_heads) : 1) / (gpt2->scales_by_layer ? index + 1 : 1);
    layer->attention_dropout_site = rng_site(layer->sites.attention->name);
    layer->attention_out_dropout_site = rng_site(layer->attention_out->name);
    layer->mlp_out_dropout_site = rng_site(layer->mlp_out->name);
    return 0;
}

static int gpt2_load(struct model *model, const struct model_options *options, struct err *err)
{
    struct gpt2 *gpt2 = arena_calloc(model->params.arena, 1, sizeof(*gpt2));
    if (!gpt2)
        return err_set(err, ERR_NOMEM, "no memory for the model");
    model->state = gpt2;
    int rc = read_config(model, gpt2, options, err);
    if (rc < 0)
        return rc;
    const int64_t tokens[2] = {model->vocab_size, model->hidden_size};
    const int64_t positions[2] = {model->max_positions, model->hidden_size};
    rc = model_tensor(model, &gpt2->tokens, -1, 2, tokens, "transformer.wte.weight", err);
    if (rc == 0)
        rc = model_tensor(model, &gpt2->positions, -1, 2, positions, "transformer.wpe.weight", err);
    gpt2->embedding = model_add_site(model, SITE_EMBEDDING, "embedding", -1, "transformer.wte");
    gpt2->embeddings = model_add_site(model, SITE_BLOCK, "embeddings", -1, "transformer");
    gpt2->layers = arena_calloc(model->params.arena, (size_t)model->n_layers, sizeof(*gpt2->layers));
    if (rc == 0 && (!gpt2->embedding || !gpt2->embeddings || !gpt2->layers))
        rc = err_set(err, ERR_NOMEM, "no memory for %d layers", model->n_layers);
    if (gpt2->embedding)
        gpt2->embedding->weight = gpt2->tokens;
    gpt2->embedding_dropout_site = rng_site("transformer.drop");
    for (int i = 0; i < model->n_layers && rc == 0; i++)
        rc = load_layer(model, gpt2, i, err);
    if (rc == 0)
        rc = model_norm(model, &gpt2->norm, &gpt2->norm_bias, model->n_layers, model->hidden_size, "transformer.ln_f",
                        err);
    if (rc < 0)
        return rc;
    if (options->task == TASK_CLASSIFICATION)
        return decoder_load_head(model, &gpt2->score, options, err);
    return options->task == TASK_CAUSAL ? model_output_embedding(model, gpt2->is_tied ? gpt2->tokens : NULL, err) : 0;
}

static struct value *layer_forward(struct pass *pass, int index, struct value *x, const void *context)
{
    const struct gpt2 *gpt2 = context;
    const struct gpt2_layer *layer = &gpt2->layers[index];
    struct tape *tape = pass->tape;
    const struct model *model = pass->model;
    int d = model->hidden_size;
    struct value *h = op_layer_norm(tape, x, &layer->norm1->value, &layer->norm1_bias->value, gpt2->norm_epsilon);
    struct attention attention = {
        .n_heads = gpt2->n_heads,
        .n_kv_heads = gpt2->n_heads,
        .scale = layer->scale,
        .is_causal = true,
        .dropout = model->attention_dropout,
        .site = layer->attention_dropout_site,
    };
    struct value *qkv = site_linear(pass, layer->attention_in, h);
    struct value *q = op_columns(tape, qkv, 0, d), *k = op_columns(tape, qkv, d, d),
                 *v = op_columns(tape, qkv, 2 * d, d);
    site_attention(pass, layer->sites.attention, h, &attention);
    h = site_linear(pass, layer->attention_out, kv_attention(pass, layer->sites.attention, q, k, v, &attention));
    h = op_dropout(tape, h, model->dropout, layer->attention_out_dropout_site);
    x = site_sublayer(pass, layer->sites.attention_sublayer, h, x);
    h = op_layer_norm(tape, x, &layer->norm2->value, &layer->norm2_bias->value, gpt2->norm_epsilon);
    h = op_activation(tape, site_linear(pass, layer->mlp_in, h), gpt2->activation);
    h = op_dropout(tape, site_linear(pass, layer->mlp_out, h), model->dropout, layer->mlp_out_dropout_site);
    return site_replace(pass, layer->sites.block, site_sublayer(pass, layer->sites.output_sublayer, h, x));
}

static struct value *embed(struct pass *pass, const struct gpt2 *gpt2)
{
    const struct batch *batch = pass->batch;
    struct tape *tape = pass->tape;
    struct value *x = site_embedding(pass, gpt2->embedding, batch->ids, &batch->layout);
    const int32_t *positions = x ? layout_positions(tape, x->layout, 0) : NULL;
    if (!positions)
        return NULL;
    x = op_add(tape, x, op_embedding(tape, &gpt2->positions->value, positions, x->rows, x->layout));
    x = op_dropout(tape, x, gpt2->embedding_dropout, gpt2->embedding_dropout_site);
    return site_replace(pass, gpt2->embeddings, x);
}

static struct value *gpt2_decode(struct pass *pass)
{
    const struct gpt2 *gpt2 = pass->model->state;
    int first = pass_first_layer(pass);
    struct value *x = first > 0 ? frozen_prefix_value(pass) : embed(pass, gpt2);
    for (int i = first; i < pass_end_layer(pass); i++)
        x = pass_layer(pass, layer_forward, i, x, gpt2);
    return pass->prefix_end
               ? x
               : op_layer_norm(pass->tape, x, &gpt2->norm->value, &gpt2->norm_bias->value, gpt2->norm_epsilon);
}

static struct value *gpt2_classify(struct pass *pass)
{
    const struct gpt2 *gpt2 = pass->model->state;
    return decoder_classify(pass, gpt2->score, gpt2_decode(pass));
}

const struct model_kind model_gpt2 = {
    .name = "gpt2",
    .model_types = (const char *const[]){"gpt2", NULL},
    .lora_targets = (const char *const[]){"c_attn", NULL},
    .prefix = "transformer.",
    .runs_layers = true,
    .token_head = "classifier",
    .token_dropout = "classifier_dropout",
    .load = gpt2_load,
    .classify = gpt2_classify,
    .decode = gpt2_decode,
};
