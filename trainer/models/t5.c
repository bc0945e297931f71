/* T5 and flan-T5: encoder-decoder with root mean square norms in front of sublayers, a learned bias for the distance of
 * key and query instead of positions, no scaling of scores, and a plain or gated feed-forward.
 * Raffel et al. 2019, arXiv:1910.10683; gated: Shazeer 2020, arXiv:2002.05202; Chung et al. 2022, arXiv:2210.11416 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "trainer/kv_cache.h"
#include "trainer/model.h"
#include "trainer/safetensors.h"

struct sublayer {
    struct param *norm;
    struct site *query, *key, *value, *out; /* attention */
    struct site *gate, *up, *down;          /* feed-forward; gate NULL: plain */
    struct site *attention, *sublayer;
    uint32_t dropout_site, inner_dropout_site;
};

struct layer {
    struct sublayer self, cross, feed_forward; /* cross: the decoder's */
    struct site *block;
};

struct stack {
    bool is_decoder;
    int n_layers, first_layer; /* first_layer: number of its first in the model */
    struct site *embedding, *embeddings;
    struct param *distances, *norm;
    struct layer *layers;
    uint32_t dropout_site;
};

struct t5 {
    struct param *tokens;
    struct stack encoder, decoder;
    int n_heads, head_size, inner, n_buckets, max_distance;
    bool is_gated, is_tied, scales_output;
    double norm_epsilon;
    enum activation activation;
};

/* Config ----------------------------------------------------------------------------------------------------------- */

static int read_sizes(struct model *model, struct t5 *t5, struct err *err)
{
    const struct {
        const char *key;
        int fallback, *out;
    } sizes[] = {{"d_model", -1, &model->hidden_size},
                 {"d_kv", 64, &t5->head_size},
                 {"d_ff", -1, &t5->inner},
                 {"num_layers", -1, &t5->encoder.n_layers},
                 {"num_heads", -1, &t5->n_heads},
                 {"vocab_size", -1, &model->vocab_size},
                 {"relative_attention_num_buckets", 32, &t5->n_buckets},
                 {"relative_attention_max_distance", 128, &t5->max_distance}};
    int rc = 0;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) && rc == 0; i++) {
        rc = model_config_int(model, sizes[i].key, sizes[i].fallback, sizes[i].out, err);
        if (rc == 0 && *sizes[i].out == 0)
            rc = err_set(err, ERR_FORMAT, "config.json: '%s' is 0", sizes[i].key);
    }
    if (rc == 0)
        rc = model_config_int(model, "num_decoder_layers", t5->encoder.n_layers, &t5->decoder.n_layers, err);
    if (rc == 0 && (t5->n_buckets < 4 || t5->n_buckets % 4 != 0 || t5->max_distance <= t5->n_buckets / 2))
        rc = err_set(err, ERR_UNSUPPORTED,
                     "config.json: %d buckets for distances up to %d: a multiple of 4, below twice "
                     "the largest distance, was expected",
                     t5->n_buckets, t5->max_distance);
    t5->decoder.is_decoder = true;
    t5->decoder.first_layer = t5->encoder.n_layers;
    model->n_layers = t5->encoder.n_layers + t5->decoder.n_layers;
    model->max_positions = 1 << 20; /* distances have no end; what a text may have is the job's max_tokens */
    return rc;
}

/* "relu", "gated-gelu": the latter's is the tanh form, as the first of these models were trained. */
static int read_feed_forward(const struct model *model, struct t5 *t5, struct err *err)
{
    const char *name = "relu";
    int rc = json_opt_string(model->config, "feed_forward_proj", "config.json", &name, err);
    if (rc < 0)
        return rc;
    t5->is_gated = strncmp(name, "gated-", 6) == 0;
    int activation = activation_from_name(strcmp(name, "gated-gelu") == 0 ? "gelu_new" : name + (t5->is_gated ? 6 : 0));
    if (activation < 0)
        return err_set(err, ERR_UNSUPPORTED,
                       "config.json: feed_forward_proj '%s' is not built in; these are: relu, gelu, silu, gated-gelu, "
                       "gated-silu",
                       name);
    t5->activation = (enum activation)activation;
    return 0;
}

static int read_config(struct model *model, struct t5 *t5, const struct model_options *options, struct err *err)
{
    int rc = read_sizes(model, t5, err);
    if (rc == 0)
        rc = read_feed_forward(model, t5, err);
    if (rc == 0)
        rc = model_config_real(model, "dropout_rate", 0.1, &model->dropout, err);
    model->dropout = options->dropout >= 0 ? options->dropout : model->dropout;
    model->attention_dropout = options->attention_dropout >= 0 ? options->attention_dropout : model->dropout;
    if (rc == 0)
        rc = model_config_real(model, "layer_norm_epsilon", 1e-6, &t5->norm_epsilon, err);
    if (rc == 0)
        rc = model_config_bool(model, "tie_word_embeddings", true, &t5->is_tied, err);
    if (rc == 0) /* the first T5 scales what goes into its tied output, its successors do not */
        rc = model_config_bool(model, "scale_decoder_outputs", t5->is_tied, &t5->scales_output, err);
    model->initializer_range = 0.02;
    return rc;
}

/* Layers ----------------------------------------------------------------------------------------------------------- */

static int load_linear(struct model *model, struct site **site, const char *role, int layer, int in, int out,
                       const char *prefix, const char *name, struct err *err)
{
    char path[256];
    const struct linear_shape shape = {.in = in, .out = out};
    snprintf(path, sizeof(path), "%s.%s", prefix, name);
    return model_linear_site(model, site, role, layer, shape, path, err);
}

/* The norm and the site of the sublayer at `prefix` ("encoder.block.3.layer.0"). */
static int load_place(struct model *model, struct sublayer *sublayer, const struct stack *stack, const char *role,
                      int layer, const char *prefix, const char *adapters, struct err *err)
{
    char name[128];
    snprintf(name, sizeof(name), "%s.layer_norm", prefix);
    int rc = model_norm(model, &sublayer->norm, NULL, layer, model->hidden_size, name, err);
    if (rc < 0)
        return rc;
    sublayer->sublayer = model_add_site(model, SITE_SUBLAYER, role, layer, "%s.%s", prefix, adapters);
    if (!sublayer->sublayer)
        return err_set(err, ERR_NOMEM, "no memory for '%s'", prefix);
    sublayer->sublayer->is_decoder = stack->is_decoder;
    sublayer->dropout_site = rng_site(prefix);
    return 0;
}

static int load_attention(struct model *model, const struct t5 *t5, const struct stack *stack,
                          struct sublayer *sublayer, bool is_cross, int layer, const char *prefix, struct err *err)
{
    char name[128];
    int d = model->hidden_size, inner = t5->n_heads * t5->head_size;
    const char *role = is_cross ? "cross_attention" : "attention";
    snprintf(name, sizeof(name), "%s.%s", prefix, is_cross ? "EncDecAttention" : "SelfAttention");
    int rc = load_linear(model, &sublayer->query, "query", layer, d, inner, name, "q", err);
    if (rc == 0)
        rc = load_linear(model, &sublayer->key, "key", layer, d, inner, name, "k", err);
    if (rc == 0)
        rc = load_linear(model, &sublayer->value, "value", layer, d, inner, name, "v", err);
    if (rc == 0)
        rc = load_linear(model, &sublayer->out, "attention_output", layer, inner, d, name, "o", err);
    if (rc == 0)
        rc = load_place(model, sublayer, stack, role, layer, prefix, "attention_adapters", err);
    if (rc < 0)
        return rc;
    struct site *site = sublayer->attention = model_add_site(model, SITE_ATTENTION, role, layer, "%s", name);
    if (!site)
        return err_set(err, ERR_NOMEM, "no memory for '%s'", name);
    site->out = inner;
    site->n_heads = site->n_kv_heads = t5->n_heads;
    site->is_decoder = stack->is_decoder;
    sublayer->inner_dropout_site = rng_site(name);
    return 0;
}

static int load_feed_forward(struct model *model, const struct t5 *t5, const struct stack *stack,
                             struct sublayer *sublayer, int layer, const char *prefix, struct err *err)
{
    char name[128];
    int d = model->hidden_size, rc = 0;
    snprintf(name, sizeof(name), "%s.DenseReluDense", prefix);
    if (t5->is_gated)
        rc = load_linear(model, &sublayer->gate, "gate", layer, d, t5->inner, name, "wi_0", err);
    if (rc == 0)
        rc = load_linear(model, &sublayer->up, "intermediate", layer, d, t5->inner, name, t5->is_gated ? "wi_1" : "wi",
                         err);
    if (rc == 0)
        rc = load_linear(model, &sublayer->down, "output", layer, t5->inner, d, name, "wo", err);
    sublayer->inner_dropout_site = rng_site(name);
    return rc < 0 ? rc : load_place(model, sublayer, stack, "feed_forward", layer, prefix, "output_adapters", err);
}

static int load_layer(struct model *model, const struct t5 *t5, const struct stack *stack, int index, struct err *err)
{
    struct layer *layer = &stack->layers[index];
    const char *side = stack->is_decoder ? "decoder" : "encoder";
    char prefix[64];
    int number = stack->first_layer + index;
    snprintf(prefix, sizeof(prefix), "%s.block.%d.layer.0", side, index);
    int rc = load_attention(model, t5, stack, &layer->self, false, number, prefix, err);
    snprintf(prefix, sizeof(prefix), "%s.block.%d.layer.1", side, index);
    if (rc == 0 && stack->is_decoder)
        rc = load_attention(model, t5, stack, &layer->cross, true, number, prefix, err);
    snprintf(prefix, sizeof(prefix), "%s.block.%d.layer.%d", side, index, stack->is_decoder ? 2 : 1);
    if (rc == 0)
        rc = load_feed_forward(model, t5, stack, &layer->feed_forward, number, prefix, err);
    if (rc < 0)
        return rc;
    if (!(layer->block = model_add_site(model, SITE_BLOCK, "layer", number, "%s.block.%d", side, index)))
        return err_set(err, ERR_NOMEM, "no memory for layer %d", index);
    layer->block->is_decoder = stack->is_decoder;
    return 0;
}

static int load_stack(struct model *model, const struct t5 *t5, struct stack *stack, struct err *err)
{
    const char *side = stack->is_decoder ? "decoder" : "encoder";
    char name[128];
    const int64_t shape[2] = {t5->n_buckets, t5->n_heads};
    int last = stack->first_layer + stack->n_layers - 1, rc = 0;
    stack->embedding = model_add_site(model, SITE_EMBEDDING, "embedding", -1, "%s.embed_tokens", side);
    stack->embeddings = model_add_site(model, SITE_BLOCK, "embeddings", -1, "%s", side);
    stack->layers = arena_calloc(model->params.arena, (size_t)stack->n_layers, sizeof(*stack->layers));
    if (!stack->embedding || !stack->embeddings || !stack->layers)
        return err_set(err, ERR_NOMEM, "no memory for %d layers", stack->n_layers);
    stack->embedding->weight = t5->tokens;
    stack->embedding->is_decoder = stack->embeddings->is_decoder = stack->is_decoder;
    stack->dropout_site = rng_site(side);
    for (int i = 0; i < stack->n_layers && rc == 0; i++)
        rc = load_layer(model, t5, stack, i, err);
    snprintf(name, sizeof(name), "%s.block.0.layer.0.SelfAttention.relative_attention_bias.weight", side);
    if (rc == 0)
        rc = model_tensor(model, &stack->distances, stack->first_layer, 2, shape, name, err);
    /* The encoder's belongs to its last layer: what lies above the layers is the decoder's. */
    snprintf(name, sizeof(name), "%s.final_layer_norm", side);
    return rc < 0 ? rc
                  : model_norm(model, &stack->norm, NULL, stack->is_decoder ? model->n_layers : last,
                               model->hidden_size, name, err);
}

static int t5_load(struct model *model, const struct model_options *options, struct err *err)
{
    struct t5 *t5 = arena_calloc(model->params.arena, 1, sizeof(*t5));
    if (!t5)
        return err_set(err, ERR_NOMEM, "no memory for the model");
    model->state = t5;
    int rc = read_config(model, t5, options, err);
    const int64_t tokens[2] = {model->vocab_size, model->hidden_size};
    if (rc == 0)
        rc = model_tensor(model, &t5->tokens, -1, 2, tokens, "shared.weight", err);
    if (rc == 0)
        rc = load_stack(model, t5, &t5->encoder, err);
    if (rc == 0)
        rc = load_stack(model, t5, &t5->decoder, err);
    bool has_own = !t5->is_tied && safetensors_find(model->weights, "lm_head.weight");
    return rc < 0 ? rc : model_output_embedding(model, has_own ? NULL : t5->tokens, err);
}

/* Forward ---------------------------------------------------------------------------------------------------------- */

/* `memory`: what keys and values come from, NULL for x itself. */
static struct value *attend(struct pass *pass, const struct t5 *t5, const struct stack *stack,
                            const struct sublayer *sublayer, struct value *x, struct value *memory)
{
    struct tape *tape = pass->tape;
    struct value *h = op_rms_norm(tape, x, &sublayer->norm->value, t5->norm_epsilon);
    struct attention attention = {
        .n_heads = t5->n_heads,
        .n_kv_heads = t5->n_heads,
        .scale = 1,
        .is_causal = stack->is_decoder && !memory,
        .dropout = pass->model->attention_dropout,
        .site = sublayer->inner_dropout_site,
    };
    if (!memory)
        attention.bias = (struct position_bias){&stack->distances->value, !stack->is_decoder, t5->max_distance};
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

static struct value *feed_forward(struct pass *pass, const struct t5 *t5, const struct sublayer *sublayer,
                                  struct value *x)
{
    struct tape *tape = pass->tape;
    struct value *h = op_rms_norm(tape, x, &sublayer->norm->value, t5->norm_epsilon);
    struct value *gate = sublayer->gate ? site_linear(pass, sublayer->gate, h) : NULL;
    struct value *up = site_linear(pass, sublayer->up, h);
    h = sublayer->gate ? op_gated(tape, gate, up, t5->activation) : op_activation(tape, up, t5->activation);
    h = op_dropout(tape, h, pass->model->dropout, sublayer->inner_dropout_site);
    h = op_dropout(tape, site_linear(pass, sublayer->down, h), pass->model->dropout, sublayer->dropout_site);
    return site_sublayer(pass, sublayer->sublayer, h, x);
}

static struct value *run_stack(struct pass *pass, const struct t5 *t5, const struct stack *stack, const int32_t *ids,
                               const struct layout *layout, struct value *memory)
{
    struct tape *tape = pass->tape;
    double rate = pass->model->dropout;
    struct value *x = site_embedding(pass, stack->embedding, ids, layout);
    x = site_replace(pass, stack->embeddings, op_dropout(tape, x, rate, stack->dropout_site));
    for (int i = 0; i < stack->n_layers; i++) {
        const struct layer *layer = &stack->layers[i];
        x = attend(pass, t5, stack, &layer->self, x, NULL);
        if (stack->is_decoder)
            x = attend(pass, t5, stack, &layer->cross, x, memory);
        x = site_replace(pass, layer->block, feed_forward(pass, t5, &layer->feed_forward, x));
    }
    return op_dropout(tape, op_rms_norm(tape, x, &stack->norm->value, t5->norm_epsilon), rate, stack->dropout_site + 1);
}

static struct value *t5_decode(struct pass *pass)
{
    const struct t5 *t5 = pass->model->state;
    const struct batch *batch = pass->batch;
    struct value *memory = kv_memory(pass);
    if (!memory)
        memory = run_stack(pass, t5, &t5->encoder, batch->ids, &batch->layout, NULL);
    if (!memory)
        return NULL;
    struct value *x = run_stack(pass, t5, &t5->decoder, batch->decoder_ids, &batch->decoder_layout, memory);
    return t5->scales_output ? op_scale(pass->tape, x, 1 / sqrt((double)pass->model->hidden_size)) : x;
}

const struct model_kind model_t5 = {
    .name = "t5",
    .model_types = (const char *const[]){"t5", NULL},
    .lora_targets = (const char *const[]){"q", "v", NULL},
    .is_seq2seq = true,
    .load = t5_load,
    .decode = t5_decode,
};
