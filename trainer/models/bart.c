/* The BART family of encoder-decoders: M2M100 and NLLB, mBART, BART, Marian. They differ in where layers normalise, in
 * how positions come in, and in norms around the stacks; a row of `variants` says how.
 * Lewis et al. 2019, arXiv:1910.13461; Liu et al. 2020, arXiv:2001.08210; Fan et al. 2020, arXiv:2010.11125;
 * Junczys-Dowmunt et al. 2018, arXiv:1804.00344 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "trainer/kv_cache.h"
#include "trainer/model.h"
#include "trainer/safetensors.h"

enum positions {
    POSITIONS_LEARNED,    /* a table that starts at 2 */
    POSITIONS_BEHIND_PAD, /* sines | cosines, frequencies over half − 1 steps, from pad_token_id + 1 */
    POSITIONS_SINUSOIDAL  /* sines | cosines of 10000^(−2j/d), from 0 */
};

static const struct variant {
    const char *name;
    enum positions positions;
    bool is_post_norm, has_embedding_norm, has_final_norm;
    const char *activation;
} variants[] = {
    {"m2m_100", POSITIONS_BEHIND_PAD, false, false, true, "relu"},
    {"mbart", POSITIONS_LEARNED, false, true, true, "gelu"},
    {"bart", POSITIONS_LEARNED, true, true, false, "gelu"},
    {"marian", POSITIONS_SINUSOIDAL, true, false, false, "gelu"},
};

struct norm {
    struct param *weight, *bias;
};

/* Self attention, cross attention, or the feed-forward: its norm, its site, and the dropout behind it. */
struct sublayer {
    struct norm norm;
    struct site *query, *key, *value, *out; /* attention */
    struct site *up, *down;                 /* feed-forward */
    struct site *attention, *sublayer;
    uint32_t dropout_site, inner_dropout_site; /* inner: of probabilities, or behind the activation */
};

struct layer {
    struct sublayer self, cross, feed_forward; /* cross: the decoder's */
    struct site *block;
};

struct stack {
    bool is_decoder;
    int n_layers, n_heads, inner, first_layer; /* first_layer: number of its first in the model */
    struct site *embedding, *embeddings;
    struct norm embedding_norm, final_norm;
    struct param *learned;
    struct layer *layers;
    uint32_t dropout_site;
};

struct bart {
    const struct variant *variant;
    struct param *tokens;
    struct stack encoder, decoder;
    struct value sinusoids; /* the positions that are no parameters */
    int position_offset;
    double activation_dropout;
    enum activation activation;
};

#define NORM_EPSILON 1e-5

/* Config ----------------------------------------------------------------------------------------------------------- */

static int read_stack(const struct model *model, struct stack *stack, const char *side, struct err *err)
{
    char key[64];
    snprintf(key, sizeof(key), "%s_layers", side);
    int rc = model_config_int(model, key, -1, &stack->n_layers, err);
    snprintf(key, sizeof(key), "%s_attention_heads", side);
    if (rc == 0)
        rc = model_config_int(model, key, -1, &stack->n_heads, err);
    snprintf(key, sizeof(key), "%s_ffn_dim", side);
    if (rc == 0)
        rc = model_config_int(model, key, -1, &stack->inner, err);
    if (rc == 0 &&
        (stack->n_layers == 0 || stack->n_heads == 0 || stack->inner == 0 || model->hidden_size % stack->n_heads != 0))
        rc = err_set(err, ERR_FORMAT, "config.json: %s: %d layers, %d heads and ffn_dim %d do not fit d_model %d", side,
                     stack->n_layers, stack->n_heads, stack->inner, model->hidden_size);
    return rc;
}

static int read_sizes(struct model *model, struct bart *bart, struct err *err)
{
    int rc = model_config_int(model, "d_model", -1, &model->hidden_size, err);
    if (rc == 0)
        rc = model_config_int(model, "vocab_size", -1, &model->vocab_size, err);
    if (rc == 0)
        rc = model_config_int(model, "max_position_embeddings", 1024, &model->max_positions, err);
    if (rc == 0 && (model->hidden_size < 4 || model->vocab_size == 0 || model->max_positions == 0))
        rc = err_set(err, ERR_FORMAT, "config.json: d_model, vocab_size and max_position_embeddings must be above 0");
    if (rc == 0)
        rc = read_stack(model, &bart->encoder, "encoder", err);
    if (rc == 0)
        rc = read_stack(model, &bart->decoder, "decoder", err);
    bart->decoder.is_decoder = true;
    bart->decoder.first_layer = bart->encoder.n_layers;
    model->n_layers = bart->encoder.n_layers + bart->decoder.n_layers;
    return rc;
}

static int read_dropout(struct model *model, struct bart *bart, const struct model_options *options, struct err *err)
{
    int rc = model_config_real(model, "dropout", 0.1, &model->dropout, err);
    if (rc == 0)
        rc = model_config_real(model, "attention_dropout", 0, &model->attention_dropout, err);
    if (rc == 0)
        rc = model_config_real(model, "activation_dropout", 0, &bart->activation_dropout, err);
    if (options->dropout >= 0)
        model->dropout = bart->activation_dropout = options->dropout;
    if (options->attention_dropout >= 0)
        model->attention_dropout = options->attention_dropout;
    return rc;
}

/* What this code does not compute must not be silently ignored. */
static int refuse_variants(const struct model *model, struct err *err)
{
    bool is_tied, is_shared;
    int rc = model_config_bool(model, "tie_word_embeddings", true, &is_tied, err);
    if (rc == 0)
        rc = model_config_bool(model, "share_encoder_decoder_embeddings", true, &is_shared, err);
    if (rc == 0 && (!is_tied || !is_shared))
        rc = err_set(err, ERR_UNSUPPORTED, "config.json: encoder, decoder and output must share one token embedding");
    return rc;
}

static int read_config(struct model *model, struct bart *bart, const struct model_options *options, struct err *err)
{
    int pad = 0, rc = read_sizes(model, bart, err);
    if (rc == 0)
        rc = refuse_variants(model, err);
    if (rc == 0)
        rc = read_dropout(model, bart, options, err);
    if (rc == 0)
        rc = model_config_activation(model, "activation_function", bart->variant->activation, &bart->activation, err);
    if (rc == 0)
        rc = model_config_real(model, "init_std", 0.02, &model->initializer_range, err);
    if (rc == 0)
        rc = model_config_int(model, "pad_token_id", 1, &pad, err);
    bart->position_offset = bart->variant->positions == POSITIONS_LEARNED      ? 2
                            : bart->variant->positions == POSITIONS_BEHIND_PAD ? pad + 1
                                                                               : 0;
    return rc;
}

/* Positions -------------------------------------------------------------------------------------------------------- */

/* M2M100's table in float, step by step as the models were trained with it: at high positions the rounding of the
 * frequency shows. */
static void fill_behind_pad(struct value *table)
{
    int half = table->cols / 2;
    float slope = (float)-(log(10000) / (half - 1));
    for (int i = 0; i < table->rows; i++)
        for (int j = 0; j < half; j++) {
            float angle = (float)i * expf((float)j * slope);
            table->data[i * table->cols + j] = (real)sinf(angle);
            table->data[i * table->cols + half + j] = (real)cosf(angle);
        }
}

static void fill_sinusoidal(struct value *table)
{
    int d = table->cols, n_sines = (d + 1) / 2;
    for (int i = 0; i < table->rows; i++)
        for (int j = 0; j < d; j++) {
            double angle = i / pow(10000, 2.0 * (j / 2) / d);
            table->data[i * d + (j % 2 ? n_sines + j / 2 : j / 2)] = (real)(float)(j % 2 ? cos(angle) : sin(angle));
        }
}

static int make_positions(struct model *model, struct bart *bart, struct err *err)
{
    struct value *table = &bart->sinusoids;
    *table = (struct value){.rows = model->max_positions + bart->position_offset, .cols = model->hidden_size};
    if (bart->variant->positions == POSITIONS_LEARNED)
        return 0;
    table->data = arena_calloc(model->params.arena, (size_t)table->rows * (size_t)table->cols, sizeof(real));
    if (!table->data)
        return err_set(err, ERR_NOMEM, "no memory for %d positions", table->rows);
    if (bart->variant->positions == POSITIONS_BEHIND_PAD)
        fill_behind_pad(table);
    else
        fill_sinusoidal(table);
    return 0;
}

/* Layers ----------------------------------------------------------------------------------------------------------- */

static int load_norm(struct model *model, struct norm *norm, int layer, const char *prefix, const char *name,
                     struct err *err)
{
    char path[256];
    snprintf(path, sizeof(path), "%s.%s", prefix, name);
    return model_norm(model, &norm->weight, &norm->bias, layer, model->hidden_size, path, err);
}

static int load_linear(struct model *model, struct site **site, const char *role, int layer, int in, int out,
                       const char *prefix, const char *name, struct err *err)
{
    char path[256];
    snprintf(path, sizeof(path), "%s.%s", prefix, name);
    return model_linear(model, site, role, layer, in, out, path, err);
}

/* The site of a sublayer under AdapterHub's name; post-norm layers have their norm behind the sum. */
static int add_sublayer_site(struct model *model, const struct bart *bart, const struct stack *stack,
                             struct sublayer *sublayer, const char *role, int layer, const char *prefix,
                             const char *name, struct err *err)
{
    struct site *site = model_add_site(model, SITE_SUBLAYER, role, layer, "%s.%s", prefix, name);
    if (!site)
        return err_set(err, ERR_NOMEM, "no memory for '%s'", prefix);
    site->is_decoder = stack->is_decoder;
    if (bart->variant->is_post_norm) {
        site->norm_weight = sublayer->norm.weight;
        site->norm_bias = sublayer->norm.bias;
        site->norm_epsilon = NORM_EPSILON;
    }
    sublayer->sublayer = site;
    sublayer->dropout_site = rng_site(site->name);
    return 0;
}

static int load_attention(struct model *model, const struct bart *bart, const struct stack *stack,
                          struct sublayer *sublayer, bool is_cross, int layer, const char *layer_name, struct err *err)
{
    char prefix[128];
    int d = model->hidden_size;
    const char *role = is_cross ? "cross_attention" : "attention";
    snprintf(prefix, sizeof(prefix), "%s.%s", layer_name, is_cross ? "encoder_attn" : "self_attn");
    int rc = load_linear(model, &sublayer->key, "key", layer, d, d, prefix, "k_proj", err);
    if (rc == 0)
        rc = load_linear(model, &sublayer->value, "value", layer, d, d, prefix, "v_proj", err);
    if (rc == 0)
        rc = load_linear(model, &sublayer->query, "query", layer, d, d, prefix, "q_proj", err);
    if (rc == 0)
        rc = load_linear(model, &sublayer->out, "attention_output", layer, d, d, prefix, "out_proj", err);
    if (rc == 0)
        rc = load_norm(model, &sublayer->norm, layer, layer_name,
                       is_cross ? "encoder_attn_layer_norm" : "self_attn_layer_norm", err);
    if (rc < 0)
        return rc;
    struct site *site = sublayer->attention = model_add_site(model, SITE_ATTENTION, role, layer, "%s", prefix);
    if (!site)
        return err_set(err, ERR_NOMEM, "no memory for '%s'", prefix);
    site->is_decoder = stack->is_decoder;
    site->n_heads = site->n_kv_heads = stack->n_heads;
    sublayer->inner_dropout_site = rng_site(site->name);
    return add_sublayer_site(model, bart, stack, sublayer, role, layer, layer_name,
                             is_cross ? "cross_attention_adapters" : "attention_adapters", err);
}

static int load_feed_forward(struct model *model, const struct bart *bart, const struct stack *stack,
                             struct sublayer *sublayer, int layer, const char *layer_name, struct err *err)
{
    int d = model->hidden_size;
    int rc = load_linear(model, &sublayer->up, "intermediate", layer, d, stack->inner, layer_name, "fc1", err);
    if (rc == 0)
        rc = load_linear(model, &sublayer->down, "output", layer, stack->inner, d, layer_name, "fc2", err);
    if (rc == 0)
        rc = load_norm(model, &sublayer->norm, layer, layer_name, "final_layer_norm", err);
    if (rc == 0)
        rc = add_sublayer_site(model, bart, stack, sublayer, "feed_forward", layer, layer_name, "output_adapters", err);
    if (rc < 0)
        return rc;
    sublayer->inner_dropout_site = rng_site(sublayer->up->name);
    sublayer->sublayer->inner = stack->inner;
    sublayer->sublayer->activation = bart->activation;
    return 0;
}

static int load_layer(struct model *model, const struct bart *bart, const struct stack *stack, int index,
                      struct err *err)
{
    struct layer *layer = &stack->layers[index];
    char name[64];
    int number = stack->first_layer + index;
    snprintf(name, sizeof(name), "model.%s.layers.%d", stack->is_decoder ? "decoder" : "encoder", index);
    int rc = load_attention(model, bart, stack, &layer->self, false, number, name, err);
    if (rc == 0 && stack->is_decoder)
        rc = load_attention(model, bart, stack, &layer->cross, true, number, name, err);
    if (rc == 0)
        rc = load_feed_forward(model, bart, stack, &layer->feed_forward, number, name, err);
    if (rc < 0)
        return rc;
    if (!(layer->block = model_add_site(model, SITE_BLOCK, "layer", number, "%s", name)))
        return err_set(err, ERR_NOMEM, "no memory for '%s'", name);
    layer->block->is_decoder = stack->is_decoder;
    return 0;
}

static int add_embedding_sites(struct model *model, const struct bart *bart, struct stack *stack, const char *prefix,
                               struct err *err)
{
    bool scales = false;
    int rc = model_config_bool(model, "scale_embedding", strcmp(bart->variant->name, "m2m_100") == 0, &scales, err);
    stack->embedding = model_add_site(model, SITE_EMBEDDING, "embedding", -1, "%s.embed_tokens", prefix);
    stack->embeddings = model_add_site(model, SITE_BLOCK, "embeddings", -1, "%s", prefix);
    if (rc == 0 && (!stack->embedding || !stack->embeddings))
        rc = err_set(err, ERR_NOMEM, "no memory for '%s'", prefix);
    if (rc < 0)
        return rc;
    stack->embedding->weight = bart->tokens;
    stack->embedding->scale = scales ? sqrt((double)model->hidden_size) : 0;
    stack->embedding->is_decoder = stack->embeddings->is_decoder = stack->is_decoder;
    return 0;
}

static int load_stack(struct model *model, const struct bart *bart, struct stack *stack, struct err *err)
{
    const char *prefix = stack->is_decoder ? "model.decoder" : "model.encoder";
    char name[64];
    const int64_t shape[2] = {bart->sinusoids.rows, model->hidden_size};
    int last = stack->first_layer + stack->n_layers - 1, rc = add_embedding_sites(model, bart, stack, prefix, err);
    snprintf(name, sizeof(name), "%s.embed_positions.weight", prefix);
    if (rc == 0 && bart->variant->positions == POSITIONS_LEARNED)
        rc = model_tensor(model, &stack->learned, -1, 2, shape, name, err);
    if (rc == 0 && bart->variant->has_embedding_norm)
        rc = load_norm(model, &stack->embedding_norm, -1, prefix, "layernorm_embedding", err);
    stack->layers = arena_calloc(model->params.arena, (size_t)stack->n_layers, sizeof(*stack->layers));
    if (rc == 0 && !stack->layers)
        rc = err_set(err, ERR_NOMEM, "no memory for %d layers", stack->n_layers);
    for (int i = 0; i < stack->n_layers && rc == 0; i++)
        rc = load_layer(model, bart, stack, i, err);
    /* The encoder's belongs to its last layer: what lies above the layers is the decoder's. */
    if (rc == 0 && bart->variant->has_final_norm)
        rc =
            load_norm(model, &stack->final_norm, stack->is_decoder ? model->n_layers : last, prefix, "layer_norm", err);
    stack->dropout_site = rng_site(prefix);
    return rc;
}

/* A bias of the logits that is never trained, so it is no parameter. */
static int load_logits_bias(struct model *model, struct err *err)
{
    const struct tensor *tensor = safetensors_find(model->weights, "final_logits_bias");
    if (!tensor)
        return 0;
    struct param *bias = arena_calloc(model->params.arena, 1, sizeof(*bias));
    real *data = arena_alloc(model->params.arena, tensor->n * sizeof(real));
    if (!bias || !data)
        return err_set(err, ERR_NOMEM, "no memory for 'final_logits_bias'");
    if (tensor->n != (size_t)model->vocab_size)
        return err_set(err, ERR_FORMAT, "tensor 'final_logits_bias' has %zu elements, %d were expected", tensor->n,
                       model->vocab_size);
    bias->name = "final_logits_bias";
    bias->value = (struct value){.data = data, .rows = 1, .cols = model->vocab_size};
    model->output_embedding->bias = bias;
    return safetensors_read(tensor, data, err);
}

static int bart_load(struct model *model, const struct model_options *options, struct err *err)
{
    struct bart *bart = arena_calloc(model->params.arena, 1, sizeof(*bart));
    if (!bart)
        return err_set(err, ERR_NOMEM, "no memory for the model");
    model->state = bart;
    for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
        if (strcmp(variants[i].name, model->kind->name) == 0)
            bart->variant = &variants[i];
    int rc = read_config(model, bart, options, err);
    const int64_t tokens[2] = {model->vocab_size, model->hidden_size};
    if (rc == 0)
        rc = make_positions(model, bart, err);
    if (rc == 0)
        rc = model_tensor(model, &bart->tokens, -1, 2, tokens, "model.shared.weight", err);
    if (rc == 0)
        rc = load_stack(model, bart, &bart->encoder, err);
    if (rc == 0)
        rc = load_stack(model, bart, &bart->decoder, err);
    if (rc == 0)
        rc = model_output_embedding(model, bart->tokens, err);
    return rc < 0 ? rc : load_logits_bias(model, err);
}

/* Forward ---------------------------------------------------------------------------------------------------------- */

static struct value *normalise(struct tape *tape, const struct norm *norm, struct value *x)
{
    return norm->weight ? op_layer_norm(tape, x, &norm->weight->value, &norm->bias->value, NORM_EPSILON) : x;
}

/* `memory`: what keys and values come from, NULL for x itself. */
static struct value *attend(struct pass *pass, const struct bart *bart, const struct stack *stack,
                            const struct sublayer *sublayer, struct value *x, struct value *memory)
{
    struct tape *tape = pass->tape;
    struct value *h = bart->variant->is_post_norm ? x : normalise(tape, &sublayer->norm, x);
    struct attention attention = {
        .n_heads = stack->n_heads,
        .n_kv_heads = stack->n_heads,
        .scale = 1 / sqrt((double)pass->model->hidden_size / stack->n_heads),
        .is_causal = stack->is_decoder && !memory,
        .dropout = pass->model->attention_dropout,
        .site = sublayer->inner_dropout_site,
    };
    struct value *q = site_linear(pass, sublayer->query, h);
    struct value *k = NULL, *v = NULL;
    if (!memory || !kv_recall(pass, sublayer->attention, &k, &v)) {
        k = site_linear(pass, sublayer->key, memory ? memory : h);
        v = site_linear(pass, sublayer->value, memory ? memory : h);
        if (memory)
            kv_keep(pass, sublayer->attention, &k, &v);
    }
    site_attention(pass, sublayer->attention, h, &attention);
    h = attention.is_causal ? kv_attention(pass, sublayer->attention, q, k, v, &attention)
                            : op_attention(tape, q, k, v, &attention);
    h = site_linear(pass, sublayer->out, h);
    h = op_dropout(tape, h, pass->model->dropout, sublayer->dropout_site);
    return site_sublayer(pass, sublayer->sublayer, h, x);
}

static struct value *feed_forward(struct pass *pass, const struct bart *bart, const struct sublayer *sublayer,
                                  struct value *x)
{
    struct tape *tape = pass->tape;
    struct value *h = bart->variant->is_post_norm ? x : normalise(tape, &sublayer->norm, x);
    if (sublayer->sublayer->is_replaced)
        return site_sublayer(pass, sublayer->sublayer, site_feed_forward(pass, sublayer->sublayer, h, x), x);
    h = op_activation(tape, site_linear(pass, sublayer->up, h), bart->activation);
    h = op_dropout(tape, h, bart->activation_dropout, sublayer->inner_dropout_site);
    h = op_dropout(tape, site_linear(pass, sublayer->down, h), pass->model->dropout, sublayer->dropout_site);
    return site_sublayer(pass, sublayer->sublayer, h, x);
}

static struct value *embed(struct pass *pass, struct bart *bart, const struct stack *stack, const int32_t *ids,
                           const struct layout *layout)
{
    struct tape *tape = pass->tape;
    struct value *x = site_embedding(pass, stack->embedding, ids, layout);
    const int32_t *positions = x ? layout_positions(tape, x->layout, bart->position_offset) : NULL;
    struct value *table = stack->learned ? &stack->learned->value : &bart->sinusoids;
    if (!positions)
        return NULL;
    x = op_add(tape, x, op_embedding(tape, table, positions, x->rows, x->layout));
    x = op_dropout(tape, normalise(tape, &stack->embedding_norm, x), pass->model->dropout, stack->dropout_site);
    return site_replace(pass, stack->embeddings, x);
}

static struct value *run_stack(struct pass *pass, struct bart *bart, const struct stack *stack, const int32_t *ids,
                               const struct layout *layout, struct value *memory)
{
    struct value *x = embed(pass, bart, stack, ids, layout);
    for (int i = 0; i < stack->n_layers; i++) {
        const struct layer *layer = &stack->layers[i];
        x = attend(pass, bart, stack, &layer->self, x, NULL);
        if (stack->is_decoder)
            x = attend(pass, bart, stack, &layer->cross, x, memory);
        x = site_replace(pass, layer->block, feed_forward(pass, bart, &layer->feed_forward, x));
    }
    return normalise(pass->tape, &stack->final_norm, x);
}

static struct value *bart_decode(struct pass *pass)
{
    struct bart *bart = pass->model->state;
    const struct batch *batch = pass->batch;
    struct value *memory = kv_memory(pass);
    if (!memory)
        memory = run_stack(pass, bart, &bart->encoder, batch->ids, &batch->layout, NULL);
    return memory ? run_stack(pass, bart, &bart->decoder, batch->decoder_ids, &batch->decoder_layout, memory) : NULL;
}

#define BART_KIND(type)                                                                                                \
    {                                                                                                                  \
        .name = type, .model_types = (const char *const[]){type, NULL},                                                \
        .lora_targets = (const char *const[]){"q_proj", "v_proj", NULL}, .prefix = "model.", .is_seq2seq = true,       \
        .load = bart_load, .decode = bart_decode,                                                                      \
    }

const struct model_kind model_m2m_100 = BART_KIND("m2m_100");
const struct model_kind model_mbart = BART_KIND("mbart");
const struct model_kind model_bart = BART_KIND("bart");
const struct model_kind model_marian = BART_KIND("marian");
