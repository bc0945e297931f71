/* Opening a model folder, and what all families need to read theirs. */
#include "trainer/model.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "trainer/frozen_prefix.h"
#include "trainer/gguf.h"
#include "trainer/packed.h"
#include "trainer/safetensors.h"
#include "trainer/task_head.h"

extern const struct model_kind model_bert, model_roberta, model_distilbert, model_gpt2, model_llama, model_mistral,
    model_qwen2, model_m2m_100, model_mbart, model_bart, model_marian, model_t5, model_bilstm, model_text_cnn;

const struct model_kind *const model_kinds[] = {
    &model_bert,    &model_roberta, &model_distilbert, &model_gpt2,     &model_llama,
    &model_mistral, &model_qwen2,   &model_m2m_100,    &model_mbart,    &model_bart,
    &model_marian,  &model_t5,      &model_bilstm,     &model_text_cnn, NULL};

static const struct model_kind *find_kind(const char *model_type)
{
    for (const struct model_kind *const *kind = model_kinds; *kind; kind++)
        for (const char *const *type = (*kind)->model_types; *type; type++)
            if (strcmp(*type, model_type) == 0)
                return *kind;
    return NULL;
}

static int unknown_kind(const char *folder, const char *model_type, struct err *err)
{
    struct text known = {0};
    for (const struct model_kind *const *kind = model_kinds; *kind; kind++)
        for (const char *const *type = (*kind)->model_types; *type; type++)
            text_printf(&known, "%s%s", known.len ? ", " : "", *type);
    int rc = err_set(err, ERR_UNSUPPORTED, "'%s': the architecture '%s' is not built in; these are: %s", folder,
                     model_type, known.failed ? "" : known.data);
    text_done(&known);
    return rc;
}

static int check_task(const struct model_kind *kind, enum model_task task, struct err *err)
{
    static const char *const names[] = {"classification",           "causal language modelling", "sequence to sequence",
                                        "multiple choice",          "token classification",      "question answering",
                                        "masked language modelling"};
    const bool fits[] = {
        kind->classify != NULL,   kind->decode && !kind->is_seq2seq, kind->decode && kind->is_seq2seq, kind->chooses,
        kind->token_head != NULL, kind->token_head != NULL,          kind->masked_head != NULL};
    return fits[task] ? 0
                      : err_set(err, ERR_UNSUPPORTED, "%s is not built in for '%s' models", names[task], kind->name);
}

static int read_config(cJSON **config, const char *folder, struct err *err)
{
    struct gguf *gguf = NULL;
    char *path = file_join(folder, "config.json"), *gguf_path = NULL;
    int rc = !path                     ? err_set(err, ERR_NOMEM, "no memory")
             : !file_is_folder(folder) ? err_set(err, ERR_NOT_FOUND, "'%s': there is no such model folder", folder)
             : file_exists(path)       ? 0
                                       : gguf_find(&gguf_path, folder, err);
    if (rc == 0 && !gguf_path) {
        rc = json_read_file(path, config, err);
    } else if (rc == 0) {
        rc = gguf_open(&gguf, gguf_path, err);
        if (rc == 0 && (rc = gguf_config(gguf, config, err)) < 0)
            err_wrap(err, "'%s'", gguf_path);
        gguf_close(gguf);
    }
    free(path);
    free(gguf_path);
    return rc;
}

static int check_packed(struct model *model, struct err *err)
{
    if (!model->kind->packs)
        return err_set(err, ERR_UNSUPPORTED, "settings.weight_storage: 'file' is not built in for %s models",
                       model->kind->name);
    for (size_t i = 0; i < safetensors_count(model->weights); i++)
        model->keeps_packed = model->keeps_packed || packed_is_possible(safetensors_at(model->weights, i));
    return model->keeps_packed ? 0
                               : err_set(err, ERR_UNSUPPORTED,
                                         "settings.weight_storage: 'file', but these weights are float32 already");
}

static int load(struct model *model, const struct model_options *options, struct err *err)
{
    int rc = model->kind->load(model, options, err);
    return rc == 0 && options->task >= TASK_TOKENS ? task_head_load(model, options, err) : rc;
}

int model_open(struct model *model, const char *folder, const struct model_options *options, struct arena *trial,
               struct err *err)
{
    const char *model_type;
    *model =
        (struct model){.folder = folder, .params.arena = trial, .pooling = options->pooling, .task = options->task};
    model->params.original = options->original;
    int rc = read_config(&model->config, folder, err);
    if (rc == 0)
        rc = json_get_string(model->config, "model_type", "config.json", &model_type, err);
    if (rc == 0 && !(model->kind = find_kind(model_type)))
        rc = unknown_kind(folder, model_type, err);
    if (rc == 0)
        rc = check_task(model->kind, options->task, err);
    if (rc == 0)
        rc = safetensors_open_model(&model->weights, folder, err);
    if (rc == 0 && options->keeps_packed)
        rc = check_packed(model, err);
    if (rc == 0 && (rc = load(model, options, err)) < 0)
        err_wrap(err, "'%s'", folder);
    if (rc < 0)
        model_close(model);
    return rc;
}

void model_close(struct model *model)
{
    json_free(model->config);
    safetensors_close(model->weights);
    *model = (struct model){0};
}

int model_find_kind(const char *folder, const struct model_kind **kind, struct err *err)
{
    cJSON *config = NULL;
    const char *model_type = NULL;
    int rc = read_config(&config, folder, err);
    if (rc == 0)
        rc = json_get_string(config, "model_type", "config.json", &model_type, err);
    if (rc == 0 && !(*kind = find_kind(model_type)))
        rc = unknown_kind(folder, model_type, err);
    json_free(config);
    return rc;
}

int model_language_task(const char *folder, enum model_task *task, struct err *err)
{
    const struct model_kind *kind = NULL;
    int rc = model_find_kind(folder, &kind, err);
    if (rc == 0 && !kind->decode)
        rc = err_set(err, ERR_UNSUPPORTED, "'%s': a '%s' model is no language model", folder, kind->name);
    if (rc == 0)
        *task = kind->is_seq2seq ? TASK_SEQ2SEQ : TASK_CAUSAL;
    return rc;
}

int model_head_classes(const char *folder, int *n_classes, struct err *err)
{
    struct safetensors *weights = NULL;
    int rc = safetensors_open_model(&weights, folder, err);
    if (rc < 0)
        return rc;
    const struct tensor *head = safetensors_find(weights, "classifier.weight");
    head = head ? head : safetensors_find(weights, "classifier.out_proj.weight");
    head = head ? head : safetensors_find(weights, "score.weight");
    head = head ? head : safetensors_find(weights, "qa_outputs.weight");
    *n_classes = head && head->n_dims == 2 ? (int)head->shape[0] : 0;
    safetensors_close(weights);
    return 0;
}

/* Config ----------------------------------------------------------------------------------------------------------- */

int model_config_int(const struct model *model, const char *key, int fallback, int *out, struct err *err)
{
    int64_t value = fallback;
    int rc = fallback < 0 ? json_get_int64(model->config, key, "config.json", &value, err)
                          : json_opt_int64(model->config, key, "config.json", &value, err);
    if (rc < 0)
        return rc;
    if (value < 0 || value > 1 << 24)
        return err_set(err, ERR_FORMAT, "config.json: '%s' is %lld, 0 to 16777216 was expected", key, (long long)value);
    *out = (int)value;
    return 0;
}

int model_config_real(const struct model *model, const char *key, double fallback, double *out, struct err *err)
{
    double value = fallback;
    int rc = json_opt_double(model->config, key, "config.json", &value, err);
    if (rc < 0)
        return rc;
    if (!(value >= 0 && value <= 1))
        return err_set(err, ERR_FORMAT, "config.json: '%s' is %g, 0 to 1 was expected", key, value);
    *out = value;
    return 0;
}

int model_config_bool(const struct model *model, const char *key, bool fallback, bool *out, struct err *err)
{
    *out = fallback;
    return json_opt_bool(model->config, key, "config.json", out, err);
}

int model_config_activation(const struct model *model, const char *key, const char *fallback, enum activation *out,
                            struct err *err)
{
    const char *name = fallback;
    int rc = json_opt_string(model->config, key, "config.json", &name, err);
    if (rc < 0)
        return rc;
    int activation = activation_from_name(name);
    if (activation < 0)
        return err_set(err, ERR_UNSUPPORTED, "config.json: %s '%s' is not one of gelu, gelu_new, relu, silu, tanh", key,
                       name);
    *out = (enum activation)activation;
    return 0;
}

/* Tensors ---------------------------------------------------------------------------------------------------------- */

/* Writes `name` with `from` at its end replaced by `to` into out. */
static bool replace_end(char *out, size_t size, const char *name, const char *from, const char *to)
{
    size_t n = strlen(name), m = strlen(from);
    if (n < m || strcmp(name + n - m, from) != 0)
        return false;
    snprintf(out, size, "%.*s%s", (int)(n - m), name, to);
    return true;
}

static const struct tensor *find_tensor(const struct model *model, const char *name)
{
    char old[512];
    const struct tensor *tensor = safetensors_find(model->weights, name);
    if (!tensor && (replace_end(old, sizeof(old), name, "LayerNorm.weight", "LayerNorm.gamma") ||
                    replace_end(old, sizeof(old), name, "LayerNorm.bias", "LayerNorm.beta")))
        tensor = safetensors_find(model->weights, old);
    /* A folder saved without its head has the names without the family's prefix. */
    const char *prefix = model->kind->prefix;
    bool runs_layers = prefix && strncmp(name, prefix, strlen(prefix)) == 0;
    return tensor || !runs_layers ? tensor : find_tensor(model, name + strlen(prefix));
}

static int shape_error(const struct tensor *tensor, const char *name, int n_dims, const int64_t *shape, struct err *err)
{
    char found[128] = "", expected[128] = "";
    size_t f = 0, e = 0;
    for (int d = 0; d < tensor->n_dims && f < sizeof(found) - 24; d++)
        f += (size_t)snprintf(found + f, sizeof(found) - f, "%s%lld", d ? " x " : "", (long long)tensor->shape[d]);
    for (int d = 0; d < n_dims && e < sizeof(expected) - 24; d++)
        e += (size_t)snprintf(expected + e, sizeof(expected) - e, "%s%lld", d ? " x " : "", (long long)shape[d]);
    return err_set(err, ERR_FORMAT, "tensor '%s' is %s, by config.json %s was expected", name, found, expected);
}

/* Tables are read row by row, so only large ones are worth a system call a row. */
enum { ROW_FILE_BYTES = 8 << 20 };

static void read_by_row(struct model *model, struct param *param)
{
    struct row_file file = {.data = param->value.data}, *kept;
    if (safetensors_place(model->weights, file.data, &file.fd, &file.offset) &&
        (kept = arena_alloc(model->params.arena, sizeof(*kept)))) {
        *kept = file;
        param->value.row_file = kept;
    }
}

static int load_tensor(struct model *model, struct param **out, const struct tensor *tensor, int layer, int n_dims,
                       const int64_t *shape, const char *name, enum param_origin origin, struct err *err)
{
    if (tensor->n_dims != n_dims || memcmp(tensor->shape, shape, (size_t)n_dims * sizeof(*shape)) != 0)
        return shape_error(tensor, name, n_dims, shape, err);
    const struct param *shared = model->params.original ? params_find(model->params.original, name) : NULL;
    const real *view = shared ? shared->value.data : safetensors_view(tensor);
    bool stays = model->keeps_packed && !view && origin == PARAM_BASE && packed_is_possible(tensor);
    struct param *param = stays ? params_add_packed(&model->params, name, tensor, origin)
                                : params_add(&model->params, name, n_dims, shape, view, origin);
    if (!param)
        return err_set(err, ERR_NOMEM, "no memory for tensor '%s' (%zu bytes)", name, tensor->n * sizeof(real));
    param->layer = layer;
    *out = param;
    if (view && tensor->bytes >= ROW_FILE_BYTES && n_dims == 2)
        read_by_row(model, param);
    return view || stays ? 0 : safetensors_read(tensor, param->value.data, err);
}

int model_tensor(struct model *model, struct param **param, int layer, int n_dims, const int64_t *shape,
                 const char *name, struct err *err)
{
    const struct tensor *tensor = find_tensor(model, name);
    if (!tensor)
        return err_set(err, ERR_NOT_FOUND, "the weights have no tensor '%s'", name);
    return load_tensor(model, param, tensor, layer, n_dims, shape, name, PARAM_BASE, err);
}

int model_head_tensor(struct model *model, struct param **param, const struct model_options *options, int n_dims,
                      const int64_t *shape, const char *name, struct err *err)
{
    if (options->use_model_head) {
        const struct tensor *tensor = safetensors_find(model->weights, name);
        if (!tensor)
            return err_set(err, ERR_NOT_FOUND,
                           "the weights have no head tensor '%s'; leave init_head at \"seeded\" for a new head", name);
        return load_tensor(model, param, tensor, model->n_layers, n_dims, shape, name, PARAM_HEAD, err);
    }
    *param = params_add(&model->params, name, n_dims, shape, NULL, PARAM_HEAD);
    if (!*param)
        return err_set(err, ERR_NOMEM, "no memory for tensor '%s'", name);
    (*param)->layer = model->n_layers;
    if (n_dims < 2)
        return 0;
    struct rng_stream stream = rng_stream(rng_make(options->seed, RNG_INIT), 0, 0, rng_site(name));
    for (size_t i = 0; i < param_size(*param); i++)
        (*param)->value.data[i] = (real)(model->initializer_range * rng_normal(&stream));
    return 0;
}

/* Sites ------------------------------------------------------------------------------------------------------------ */

struct site *model_add_site(struct model *model, enum site_kind kind, const char *role, int layer,
                            const char *name_format, ...)
{
    char name[512];
    va_list arguments;
    va_start(arguments, name_format);
    vsnprintf(name, sizeof(name), name_format, arguments);
    va_end(arguments);
    struct arena *arena = model->params.arena;
    if (model->n_sites == model->sites_capacity) {
        size_t capacity = model->sites_capacity ? 2 * model->sites_capacity : 128;
        struct site **sites = arena_alloc(arena, capacity * sizeof(struct site *));
        if (!sites)
            return NULL;
        if (model->n_sites)
            memcpy(sites, model->sites, model->n_sites * sizeof(struct site *));
        model->sites = sites;
        model->sites_capacity = capacity;
    }
    struct site *site = arena_calloc(arena, 1, sizeof(*site));
    if (!site || !(site->name = arena_strdup(arena, name)))
        return NULL;
    site->kind = kind;
    site->role = role;
    site->layer = layer;
    site->in = site->out = model->hidden_size;
    site->hooks_end = &site->hooks;
    model->sites[model->n_sites++] = site;
    return site;
}

struct site *model_find_site(const struct model *model, const char *name)
{
    for (size_t i = 0; i < model->n_sites; i++)
        if (strcmp(model->sites[i]->name, name) == 0)
            return model->sites[i];
    return NULL;
}

int model_linear_site(struct model *model, struct site **site, const char *role, int layer, struct linear_shape shape,
                      const char *name, struct err *err)
{
    char tensor[512];
    const int64_t weight[2] = {shape.is_transposed ? shape.in : shape.out, shape.is_transposed ? shape.out : shape.in};
    const int64_t bias[1] = {shape.out};
    struct site *made = model_add_site(model, SITE_LINEAR, role, layer, "%s", name);
    if (!made)
        return err_set(err, ERR_NOMEM, "no memory for the site '%s'", name);
    made->in = shape.in;
    made->out = shape.out;
    made->is_transposed = shape.is_transposed;
    snprintf(tensor, sizeof(tensor), "%s.weight", name);
    int rc = model_tensor(model, &made->weight, layer, 2, weight, tensor, err);
    snprintf(tensor, sizeof(tensor), "%s.bias", name);
    if (rc == 0 && shape.has_bias)
        rc = model_tensor(model, &made->bias, layer, 1, bias, tensor, err);
    *site = made;
    return rc;
}

int model_linear(struct model *model, struct site **site, const char *role, int layer, int in, int out,
                 const char *name, struct err *err)
{
    const struct linear_shape shape = {.in = in, .out = out, .has_bias = true};
    return model_linear_site(model, site, role, layer, shape, name, err);
}

int model_norm(struct model *model, struct param **weight, struct param **bias, int layer, int width, const char *name,
               struct err *err)
{
    char tensor[512];
    const int64_t shape[1] = {width};
    snprintf(tensor, sizeof(tensor), "%s.weight", name);
    int rc = model_tensor(model, weight, layer, 1, shape, tensor, err);
    if (rc < 0)
        return rc;
    (*weight)->is_norm = (*weight)->is_bias_or_norm = true;
    if (!bias)
        return 0;
    snprintf(tensor, sizeof(tensor), "%s.bias", name);
    rc = model_tensor(model, bias, layer, 1, shape, tensor, err);
    if (rc == 0)
        (*bias)->is_norm = true;
    return rc;
}

int model_output_embedding(struct model *model, struct param *tied, struct err *err)
{
    const int64_t shape[2] = {model->vocab_size, model->hidden_size};
    model->output = model_add_site(model, SITE_BLOCK, "output", model->n_layers, "output");
    struct site *site = model_add_site(model, SITE_LINEAR, "output_embedding", model->n_layers, "lm_head");
    if (!model->output || !site)
        return err_set(err, ERR_NOMEM, "no memory for the output embedding");
    model->output->in = model->output->out = site->in = model->hidden_size;
    site->out = model->vocab_size;
    site->weight = tied;
    model->output_embedding = site;
    return tied ? 0 : model_tensor(model, &site->weight, model->n_layers, 2, shape, "lm_head.weight", err);
}

void pass_add_loss(struct pass *pass, struct value *loss)
{
    pass->extra_loss = pass->extra_loss ? op_add(pass->tape, pass->extra_loss, loss) : loss;
}

void pass_keep(struct pass *pass, const void *key, struct value *value)
{
    struct pass_value *kept = tape_alloc(pass->tape, "pass", sizeof(*kept));
    if (!kept)
        return;
    *kept = (struct pass_value){key, value, pass->kept};
    pass->kept = kept;
}

struct value *pass_kept(const struct pass *pass, const void *key)
{
    for (const struct pass_value *kept = pass->kept; kept; kept = kept->next)
        if (kept->key == key)
            return kept->value;
    return NULL;
}

int pass_first_layer(const struct pass *pass)
{
    bool is_used = pass->model->prefix && !pass->prefix_end && !pass->cache;
    return is_used ? pass->model->prefix->layers : 0;
}

int pass_end_layer(const struct pass *pass)
{
    return pass->prefix_end ? pass->prefix_end : pass->model->n_layers;
}

struct layer_part {
    struct pass *pass;
    pass_layer_fn forward;
    int index;
    const void *context;
};

static struct value *run_layer(void *context, struct value *x)
{
    const struct layer_part *part = context;
    return part->forward(part->pass, part->index, x, part->context);
}

struct value *pass_layer(struct pass *pass, pass_layer_fn forward, int index, struct value *x, const void *context)
{
    if (!pass->model->forgets_layers || pass->cache)
        return forward(pass, index, x, context);
    struct layer_part *part = tape_alloc(pass->tape, "layer", sizeof(*part));
    if (!part)
        return NULL;
    *part = (struct layer_part){pass, forward, index, context};
    return tape_recompute(pass->tape, run_layer, part, x);
}

double model_forward_flops(const struct model *model, int n_tokens)
{
    double linear = 0;
    for (size_t i = 0; i < model->n_sites; i++) {
        const struct site *site = model->sites[i];
        if (site->kind == SITE_LINEAR && site->layer >= 0 && !site->is_replaced)
            linear += 2.0 * site->in * site->out;
        linear += site->method_flops;
    }
    return n_tokens * (linear + 4.0 * n_tokens * model->hidden_size * model->n_layers);
}
