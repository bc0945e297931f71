/* Llama, and Mistral and Qwen2, which differ in biases and windows: pre-norm decoder with root mean square norms,
 * rotary positions, grouped-query attention and a gated feed-forward. Touvron et al. 2023, arXiv:2302.13971; Jiang et
 * al. 2023, arXiv:2310.06825; Yang et al. 2024, arXiv:2407.10671 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "trainer/frozen_prefix.h"
#include "trainer/kv_cache.h"
#include "trainer/models/decoder.h"
#include "trainer/models/rope.h"

struct llama_layer {
    struct param *norm1, *norm2;
    struct site *query, *key, *value, *attention_out, *gate, *up, *down;
    struct decoder_sites sites;
    int window; /* 0: none */
    uint32_t attention_dropout_site;
};

struct llama {
    struct param *tokens, *norm, *score;
    struct site *embedding, *embeddings;
    struct llama_layer *layers;
    struct rope rope;
    struct decoder_heads heads;
    int intermediate;
    bool has_qkv_bias, has_output_bias, has_mlp_bias, is_tied;
    double norm_epsilon;
    enum activation activation;
};

static int read_heads(struct model *model, struct llama *llama, struct err *err)
{
    struct decoder_heads *heads = &llama->heads;
    int rc = model_config_int(model, "num_attention_heads", -1, &heads->n_heads, err);
    if (rc == 0)
        rc = model_config_int(model, "num_key_value_heads", heads->n_heads, &heads->n_kv_heads, err);
    if (rc < 0)
        return rc;
    if (heads->n_heads == 0 || heads->n_kv_heads == 0 || heads->n_heads % heads->n_kv_heads != 0)
        return err_set(err, ERR_FORMAT, "config.json: num_attention_heads %d is no multiple of num_key_value_heads %d",
                       heads->n_heads, heads->n_kv_heads);
    rc = model_config_int(model, "head_dim", model->hidden_size / heads->n_heads, &heads->size, err);
    if (rc == 0 && (heads->size == 0 || heads->size % 2 != 0))
        rc = err_set(err, ERR_FORMAT, "config.json: heads of %d, an even size was expected", heads->size);
    return rc;
}

static int read_sizes(struct model *model, struct llama *llama, struct err *err)
{
    int rc = model_config_int(model, "hidden_size", -1, &model->hidden_size, err);
    if (rc == 0)
        rc = model_config_int(model, "num_hidden_layers", -1, &model->n_layers, err);
    if (rc == 0)
        rc = model_config_int(model, "intermediate_size", -1, &llama->intermediate, err);
    if (rc == 0)
        rc = model_config_int(model, "vocab_size", -1, &model->vocab_size, err);
    if (rc == 0)
        rc = model_config_int(model, "max_position_embeddings", 2048, &model->max_positions, err);
    if (rc == 0 && (model->hidden_size == 0 || model->n_layers == 0 || llama->intermediate == 0 ||
                    model->vocab_size == 0 || model->max_positions == 0))
        rc = err_set(err, ERR_FORMAT,
                     "config.json: hidden_size, num_hidden_layers, intermediate_size, vocab_size and "
                     "max_position_embeddings must be above 0");
    return rc < 0 ? rc : read_heads(model, llama, err);
}

static int read_biases(const struct model *model, struct llama *llama, struct err *err)
{
    if (strcmp(model->kind->name, "llama") != 0) { /* the others have theirs in the architecture */
        llama->has_qkv_bias = strcmp(model->kind->name, "qwen2") == 0;
        return 0;
    }
    int rc = model_config_bool(model, "attention_bias", false, &llama->has_qkv_bias, err);
    llama->has_output_bias = llama->has_qkv_bias;
    return rc < 0 ? rc : model_config_bool(model, "mlp_bias", false, &llama->has_mlp_bias, err);
}

static int read_config(struct model *model, struct llama *llama, const struct model_options *options, struct err *err)
{
    int rc = read_sizes(model, llama, err);
    if (rc == 0)
        rc = read_biases(model, llama, err);
    if (rc == 0)
        rc = model_config_activation(model, "hidden_act", "silu", &llama->activation, err);
    if (rc == 0)
        rc = model_config_real(model, "rms_norm_eps", 1e-6, &llama->norm_epsilon, err);
    if (rc == 0)
        rc = model_config_real(model, "initializer_range", 0.02, &model->initializer_range, err);
    if (rc == 0)
        rc = model_config_real(model, "attention_dropout", 0, &model->attention_dropout, err);
    if (options->attention_dropout >= 0)
        model->attention_dropout = options->attention_dropout;
    if (rc == 0)
        rc = model_config_bool(model, "tie_word_embeddings", false, &llama->is_tied, err);
    return rc < 0 ? rc : rope_load(model, &llama->rope, llama->heads.size, err);
}

/* Mistral: all layers, 4096 when the config says nothing, none when it says null. Qwen2: those its layer_types name, or
 * from max_window_layers on; only with use_sliding_window. */
static int read_window(const struct model *model, int layer, int *window, struct err *err)
{
    const cJSON *given = json_get(model->config, "sliding_window"), *types = json_get(model->config, "layer_types");
    bool is_qwen = strcmp(model->kind->name, "qwen2") == 0, is_used = !is_qwen;
    int first = 28, size = 0;
    *window = 0;
    if (strcmp(model->kind->name, "llama") == 0 || cJSON_IsNull(given))
        return 0;
    int rc = is_qwen ? model_config_bool(model, "use_sliding_window", false, &is_used, err) : 0;
    if (rc == 0)
        rc = model_config_int(model, "sliding_window", 4096, &size, err);
    if (rc == 0)
        rc = model_config_int(model, "max_window_layers", 28, &first, err);
    const cJSON *type = cJSON_IsArray(types) ? cJSON_GetArrayItem(types, layer) : NULL;
    if (rc < 0 || !is_used || (is_qwen && !type && layer < first))
        return rc;
    if (!type || (cJSON_IsString(type) && strcmp(type->valuestring, "sliding_attention") == 0))
        *window = size;
    return 0;
}

static int load_linears(struct model *model, const struct llama *llama, struct llama_layer *layer, int index,
                        const char *layer_name, struct err *err)
{
    int d = model->hidden_size, f = llama->intermediate, rc = 0;
    int q = llama->heads.n_heads * llama->heads.size, kv = llama->heads.n_kv_heads * llama->heads.size;
    const struct {
        struct site **site;
        const char *role, *path;
        int in, out;
        bool has_bias;
    } linears[] = {{&layer->query, "query", "self_attn.q_proj", d, q, llama->has_qkv_bias},
                   {&layer->key, "key", "self_attn.k_proj", d, kv, llama->has_qkv_bias},
                   {&layer->value, "value", "self_attn.v_proj", d, kv, llama->has_qkv_bias},
                   {&layer->attention_out, "attention_output", "self_attn.o_proj", q, d, llama->has_output_bias},
                   {&layer->gate, "gate", "mlp.gate_proj", d, f, llama->has_mlp_bias},
                   {&layer->up, "intermediate", "mlp.up_proj", d, f, llama->has_mlp_bias},
                   {&layer->down, "output", "mlp.down_proj", f, d, llama->has_mlp_bias}};
    for (size_t i = 0; i < sizeof(linears) / sizeof(linears[0]) && rc == 0; i++) {
        char name[256];
        const struct linear_shape shape = {linears[i].in, linears[i].out, false, linears[i].has_bias};
        snprintf(name, sizeof(name), "%s.%s", layer_name, linears[i].path);
        rc = model_linear_site(model, linears[i].site, linears[i].role, index, shape, name, err);
    }
    return rc;
}

static int load_layer(struct model *model, struct llama *llama, int index, struct err *err)
{
    struct llama_layer *layer = &llama->layers[index];
    char layer_name[64], name[128];
    snprintf(layer_name, sizeof(layer_name), "model.layers.%d", index);
    int rc = load_linears(model, llama, layer, index, layer_name, err);
    snprintf(name, sizeof(name), "%s.input_layernorm", layer_name);
    if (rc == 0)
        rc = model_norm(model, &layer->norm1, NULL, index, model->hidden_size, name, err);
    snprintf(name, sizeof(name), "%s.post_attention_layernorm", layer_name);
    if (rc == 0)
        rc = model_norm(model, &layer->norm2, NULL, index, model->hidden_size, name, err);
    if (rc == 0)
        rc = decoder_add_sites(model, &layer->sites, index, layer_name, "self_attn", llama->heads, err);
    if (rc < 0)
        return rc;
    layer->attention_dropout_site = rng_site(layer->sites.attention->name);
    return read_window(model, index, &layer->window, err);
}

static int llama_load(struct model *model, const struct model_options *options, struct err *err)
{
    struct llama *llama = arena_calloc(model->params.arena, 1, sizeof(*llama));
    if (!llama)
        return err_set(err, ERR_NOMEM, "no memory for the model");
    model->state = llama;
    int rc = read_config(model, llama, options, err);
    if (rc < 0)
        return rc;
    const int64_t tokens[2] = {model->vocab_size, model->hidden_size};
    rc = model_tensor(model, &llama->tokens, -1, 2, tokens, "model.embed_tokens.weight", err);
    llama->embedding = model_add_site(model, SITE_EMBEDDING, "embedding", -1, "model.embed_tokens");
    llama->embeddings = model_add_site(model, SITE_BLOCK, "embeddings", -1, "model");
    llama->layers = arena_calloc(model->params.arena, (size_t)model->n_layers, sizeof(*llama->layers));
    if (rc == 0 && (!llama->embedding || !llama->embeddings || !llama->layers))
        rc = err_set(err, ERR_NOMEM, "no memory for %d layers", model->n_layers);
    if (llama->embedding)
        llama->embedding->weight = llama->tokens;
    for (int i = 0; i < model->n_layers && rc == 0; i++)
        rc = load_layer(model, llama, i, err);
    if (rc == 0)
        rc = model_norm(model, &llama->norm, NULL, model->n_layers, model->hidden_size, "model.norm", err);
    if (rc < 0)
        return rc;
    if (options->task == TASK_CLASSIFICATION)
        return decoder_load_head(model, &llama->score, options, err);
    return options->task == TASK_CAUSAL ? model_output_embedding(model, llama->is_tied ? llama->tokens : NULL, err) : 0;
}

/* What a pass's layers share. */
struct layers_pass {
    const struct llama *llama;
    struct rotation rotation;
};

static struct value *layer_forward(struct pass *pass, int index, struct value *x, const void *context)
{
    const struct layers_pass *shared = context;
    const struct llama *llama = shared->llama;
    const struct llama_layer *layer = &llama->layers[index];
    const struct rotation *rotation = &shared->rotation;
    struct tape *tape = pass->tape;
    struct value *h = op_rms_norm(tape, x, &layer->norm1->value, llama->norm_epsilon);
    struct attention attention = {
        .n_heads = llama->heads.n_heads,
        .n_kv_heads = llama->heads.n_kv_heads,
        .scale = 1 / sqrt((double)llama->heads.size),
        .is_causal = true,
        .window = layer->window,
        .dropout = pass->model->attention_dropout,
        .site = layer->attention_dropout_site,
    };
    struct value *q = op_rotate(tape, site_linear(pass, layer->query, h), attention.n_heads, rotation);
    struct value *k = op_rotate(tape, site_linear(pass, layer->key, h), attention.n_kv_heads, rotation);
    struct value *v = site_linear(pass, layer->value, h);
    site_attention(pass, layer->sites.attention, h, &attention);
    h = site_linear(pass, layer->attention_out, kv_attention(pass, layer->sites.attention, q, k, v, &attention));
    x = site_sublayer(pass, layer->sites.attention_sublayer, h, x);
    h = op_rms_norm(tape, x, &layer->norm2->value, llama->norm_epsilon);
    struct value *gate = site_linear(pass, layer->gate, h), *up = site_linear(pass, layer->up, h);
    h = site_linear(pass, layer->down, op_gated(tape, gate, up, llama->activation));
    return site_replace(pass, layer->sites.block, site_sublayer(pass, layer->sites.output_sublayer, h, x));
}

static struct value *llama_decode(struct pass *pass)
{
    const struct llama *llama = pass->model->state;
    const struct batch *batch = pass->batch;
    struct layers_pass *shared = tape_alloc(pass->tape, "layers", sizeof(*shared)); /* backward may read it */
    int first = pass_first_layer(pass);
    struct value *x = first > 0 ? frozen_prefix_value(pass)
                                : site_replace(pass, llama->embeddings,
                                               site_embedding(pass, llama->embedding, batch->ids, &batch->layout));
    if (!x || !shared || !rope_rotation(&llama->rope, pass->tape, x->layout, &shared->rotation))
        return NULL;
    shared->llama = llama;
    for (int i = first; i < pass_end_layer(pass); i++)
        x = pass_layer(pass, layer_forward, i, x, shared);
    return pass->prefix_end ? x : op_rms_norm(pass->tape, x, &llama->norm->value, llama->norm_epsilon);
}

static struct value *llama_classify(struct pass *pass)
{
    const struct llama *llama = pass->model->state;
    return decoder_classify(pass, llama->score, llama_decode(pass));
}

#define LLAMA_KIND(type)                                                                                               \
    {                                                                                                                  \
        .name = type, .model_types = (const char *const[]){type, NULL},                                                \
        .lora_targets = (const char *const[]){"q_proj", "v_proj", NULL}, .prefix = "model.", .runs_layers = true,      \
        .token_head = "score", .token_dropout = "classifier_dropout", .load = llama_load, .packs = true,               \
        .classify = llama_classify, .decode = llama_decode,                                                            \
    }

const struct model_kind model_llama = LLAMA_KIND("llama");
const struct model_kind model_mistral = LLAMA_KIND("mistral");
const struct model_kind model_qwen2 = LLAMA_KIND("qwen2");
