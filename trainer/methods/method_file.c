/* Reading and writing what methods trained, and reading their settings. */
#include "trainer/methods/method_file.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "trainer/safetensors.h"

/* Files ------------------------------------------------------------------------------------------------------------ */

static bool belongs(const struct param *param, const char *method, bool with_head)
{
    if (param->origin == PARAM_HEAD)
        return with_head && param->is_trained;
    if (param->is_state || (!param->is_trained && param->origin != PARAM_METHOD))
        return false;
    return method && param->method && strcmp(param->method, method) == 0;
}

/* PEFT moves a module with LoRA to <module>.base_layer: its bias is called so. NULL without memory. */
static const char *file_name(const struct model *model, const struct param *param, const char *prefix,
                             struct arena *arena)
{
    size_t n = strlen(param->name), module = n > strlen("bias") ? n - strlen("bias") : 0;
    bool is_bias = module && param->origin == PARAM_BASE && strcmp(param->name + module, "bias") == 0;
    const char *lora = is_bias ? arena_printf(arena, "%.*slora_A.weight", (int)module, param->name) : NULL;
    if (strcmp(prefix, "base_model.model.") == 0 && lora && params_find(&model->params, lora))
        return arena_printf(arena, "%s%.*sbase_layer.bias", prefix, (int)module, param->name);
    return arena_printf(arena, "%s%s", prefix, param->name);
}

static int write_params(const struct model *model, const char *method, const char *key_prefix,
                        const char *(*prefix_of)(const struct param *), bool with_head, const char *path,
                        struct err *err)
{
    struct arena arena = {0};
    struct tensor_source *tensors = arena_calloc(&arena, model->params.count, sizeof(*tensors));
    size_t n = 0;
    int rc = tensors ? 0 : err_set(err, ERR_NOMEM, "'%s': no memory to write it", path);
    for (size_t i = 0; i < model->params.count && rc == 0; i++) {
        const struct param *param = model->params.items[i];
        if (!belongs(param, method, with_head))
            continue;
        const char *name = file_name(model, param, prefix_of ? prefix_of(param) : key_prefix, &arena);
        if (!name)
            rc = err_set(err, ERR_NOMEM, "'%s': no memory to write it", path);
        tensors[n++] = (struct tensor_source){name, param->n_dims, param->shape, param->value.data};
    }
    if (rc == 0)
        rc = safetensors_write(path, tensors, n, err);
    arena_done(&arena);
    return rc;
}

int method_file_write(const struct model *model, const char *method, const char *key_prefix, bool with_head,
                      const char *path, struct err *err)
{
    return write_params(model, method, key_prefix, NULL, with_head, path, err);
}

int method_file_write_as(const struct model *model, const char *method, const char *(*prefix_of)(const struct param *),
                         bool with_head, const char *path, struct err *err)
{
    return write_params(model, method, "", prefix_of, with_head, path, err);
}

/* Removes the first `part` from the name. */
static void remove_part(char *name, const char *part)
{
    char *found = strstr(name, part);
    if (found)
        memmove(found, found + strlen(part), strlen(found + strlen(part)) + 1);
}

/* Removes the name people gave an adapter, which stands behind one of these. */
static void remove_name(char *out)
{
    static const char *const parts[] = {
        ".adapters.",          ".prefix_tunings.",      ".prompt_tunings.", ".prefix_gates.", ".invertible_adapters.",
        ".shared_parameters.", ".adapter_fusion_layer."};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        char *found = strstr(out, parts[i]), *name = found ? found + strlen(parts[i]) : NULL;
        char *rest = name ? strchr(name, '.') : NULL;
        if (rest)
            memmove(name - 1, rest, strlen(rest) + 1);
    }
}

void method_file_name(const char *key, char *out, size_t size)
{
    snprintf(out, size, "%s", key);
    remove_part(out, "base_model.model.");
    remove_part(out, "base_model.");
    remove_part(out, "base_layer.");
    remove_part(out, "modules_to_save.");
    remove_part(out, "ln_tuning_layers.");
    char *magnitude = strstr(out, "lora_magnitude_vector.weight");
    if (magnitude)
        magnitude[strlen("lora_magnitude_vector")] = '\0';
    char *lora = strstr(out, ".loras.");
    remove_name(out);
    if (!lora)
        return;
    /* AdapterHub's LoRA: module.loras.NAME.lora_A */
    char *name = lora + strlen(".loras."), *rest = strchr(name, '.');
    if (rest)
        memmove(lora, rest, strlen(rest) + 1);
    size_t n = strlen(out);
    if (text_ends_with(out, ".lora_A") || text_ends_with(out, ".lora_B"))
        snprintf(out + n, size - n, ".weight");
}

static int read_tensor(struct model *model, const struct tensor *tensor, struct param **out, struct err *err)
{
    char name[512], own[512];
    method_file_name(tensor->name, name, sizeof(name));
    struct param *param = params_find(&model->params, name);
    for (size_t i = 0; !param && i < model->params.count; i++) {
        method_file_name(model->params.items[i]->name, own, sizeof(own));
        if (strcmp(own, name) == 0)
            param = model->params.items[i];
    }
    if (!param)
        return err_set(err, ERR_FORMAT, "tensor '%s' belongs to nothing in this model with this method", tensor->name);
    if (!param->is_trained && param->origin != PARAM_METHOD)
        return err_set(err, ERR_FORMAT, "tensor '%s' is not trained by this method", tensor->name);
    if (tensor->n_dims != param->n_dims ||
        memcmp(tensor->shape, param->shape, (size_t)param->n_dims * sizeof(int64_t)) != 0)
        return err_set(err, ERR_FORMAT, "tensor '%s' has %zu elements in another shape than '%s' (%d x %d)",
                       tensor->name, tensor->n, param->name, param->value.rows, param->value.cols);
    *out = param;
    return safetensors_read(tensor, param->value.data, err);
}

int method_file_read(struct model *model, const char *method, const char *path, struct err *err)
{
    struct safetensors *file = NULL;
    int rc = safetensors_open(&file, path, err);
    if (rc < 0)
        return rc;
    bool *is_read = calloc(model->params.count ? model->params.count : 1, sizeof(bool));
    if (!is_read)
        rc = err_set(err, ERR_NOMEM, "no memory to read '%s'", path);
    for (size_t t = 0; rc == 0 && t < safetensors_count(file); t++) {
        struct param *param = NULL;
        rc = read_tensor(model, safetensors_at(file, t), &param, err);
        for (size_t i = 0; rc == 0 && i < model->params.count; i++)
            is_read[i] = is_read[i] || model->params.items[i] == param;
    }
    for (size_t i = 0; rc == 0 && method && i < model->params.count; i++)
        if (belongs(model->params.items[i], method, false) && !is_read[i])
            rc = err_set(err, ERR_NOT_FOUND, "tensor '%s' is missing", model->params.items[i]->name);
    if (rc < 0)
        err_wrap(err, "'%s'", path);
    free(is_read);
    safetensors_close(file);
    return rc;
}

int method_file_write_text(const char *folder, const char *name, struct text *json, struct err *err)
{
    char *path = file_join(folder, name);
    text_add(json, "\n");
    int rc = !path || json->failed ? err_set(err, ERR_NOMEM, "no memory to write '%s'", name)
                                   : file_write_atomic(path, json->data, json->len, err);
    free(path);
    text_done(json);
    return rc;
}

/* Parameters ------------------------------------------------------------------------------------------------------- */

int method_add_shape(struct model *model, struct param **param, const char *method, int layer, int n_dims,
                     const int64_t *shape, const char *name, struct err *err)
{
    const struct param *other = params_find(&model->params, name);
    if (other)
        return err_set(err, ERR_UNSUPPORTED, "methods '%s' and '%s' both have a tensor '%s': they do not go together",
                       other->method ? other->method : "none", method, name);
    *param = params_add(&model->params, name, n_dims, shape, NULL, PARAM_METHOD);
    if (!*param)
        return err_set(err, ERR_NOMEM, "no memory for '%s'", name);
    (*param)->layer = layer;
    (*param)->method = method;
    (*param)->is_bias_or_norm = n_dims == 1;
    return param_train(&model->params, *param, method, err);
}

int method_add(struct model *model, struct param **param, struct method_param what, struct err *err,
               const char *name_format, ...)
{
    char name[512];
    const int64_t shape[2] = {what.rows > 0 ? what.rows : what.cols, what.cols};
    va_list arguments;
    va_start(arguments, name_format);
    vsnprintf(name, sizeof(name), name_format, arguments);
    va_end(arguments);
    int rc = method_add_shape(model, param, what.method, what.layer, what.rows > 0 ? 2 : 1, shape, name, err);
    if (rc == 0 && what.is_frozen)
        (*param)->is_trained = (*param)->value.needs_grad = false;
    return rc;
}

void method_init_normal(struct param *param, uint64_t seed, double deviation)
{
    struct rng_stream stream = rng_stream(rng_make(seed, RNG_INIT), 0, 0, rng_site(param->name));
    for (size_t i = 0; i < param_size(param); i++)
        param->value.data[i] = (real)(deviation * rng_normal(&stream));
}

void method_init_uniform(struct param *param, uint64_t seed, double bound)
{
    struct rng_stream stream = rng_stream(rng_make(seed, RNG_INIT), 0, 0, rng_site(param->name));
    for (size_t i = 0; i < param_size(param); i++)
        param->value.data[i] = (real)((2 * rng_uniform(&stream) - 1) * bound);
}

void method_init_fill(struct param *param, double value)
{
    for (size_t i = 0; i < param_size(param); i++)
        param->value.data[i] = (real)value;
}

void method_init_linear(struct param *weight, struct param *bias, uint64_t seed)
{
    double bound = 1 / sqrt((double)weight->value.cols);
    method_init_uniform(weight, seed, bound);
    if (bias)
        method_init_uniform(bias, seed, bound);
}

int method_keep(struct model *model, const struct method_kind *kind, void *state, struct err *err)
{
    struct method_state *kept = arena_alloc(model->params.arena, sizeof(*kept));
    if (!kept)
        return err_set(err, ERR_NOMEM, "no memory for '%s'", kind->name);
    *kept = (struct method_state){kind, state, model->method_states};
    model->method_states = kept;
    return 0;
}

void *method_kept(const struct model *model, const struct method_kind *kind)
{
    const struct method_state *kept = model->method_states;
    while (kept && kept->kind != kind)
        kept = kept->next;
    return kept ? kept->state : NULL;
}

const char *method_task_type(const struct model *model)
{
    if (model->n_classes > 0)
        return "SEQ_CLS";
    for (size_t i = 0; i < model->n_sites; i++)
        if (model->sites[i]->is_decoder)
            return "SEQ_2_SEQ_LM";
    return "CAUSAL_LM";
}

void method_prefix(const struct model *model, char *out, size_t size)
{
    const char *name = model->n_sites ? model->sites[0]->name : "";
    snprintf(out, size, "%.*s", (int)strcspn(name, "."), name);
}

/* Settings --------------------------------------------------------------------------------------------------------- */

const char *setting_text(const cJSON *settings, const char *name, const char *fallback)
{
    const cJSON *item = json_get(settings, name);
    return cJSON_IsString(item) ? item->valuestring : fallback;
}

double setting_number(const cJSON *settings, const char *name, double fallback)
{
    const cJSON *item = json_get(settings, name);
    return cJSON_IsNumber(item) ? item->valuedouble : fallback;
}

bool setting_flag(const cJSON *settings, const char *name)
{
    return cJSON_IsTrue(json_get(settings, name));
}

static bool lists_method(const cJSON *settings, const char *name)
{
    const cJSON *method = json_get(settings, "method");
    for (const cJSON *item = cJSON_IsArray(method) ? method->child : NULL; item; item = item->next)
        if (cJSON_IsString(item) && strcmp(item->valuestring, name) == 0)
            return true;
    return false;
}

bool setting_has_layer(const struct model *model, const cJSON *settings, int layer)
{
    const cJSON *layers = json_get(settings, "layers");
    if (layer < 0 || layer >= model->n_layers)
        return !cJSON_IsArray(layers);
    if (lists_method(settings, "partial") && layer >= model->n_layers - (int)setting_number(settings, "top_layers", 0))
        return false;
    for (const cJSON *item = cJSON_IsArray(layers) ? layers->child : NULL; item; item = item->next)
        if (item->valuedouble == layer)
            return true;
    return !cJSON_IsArray(layers);
}

static bool is_target(const struct site *site, const cJSON *target)
{
    return cJSON_IsString(target) &&
           (site_matches(site, target->valuestring) || (site->role && strcmp(site->role, target->valuestring) == 0));
}

bool setting_has_target(const struct site *site, const cJSON *targets, const char *const *fallback)
{
    if (cJSON_IsString(targets))
        return is_target(site, targets);
    if (cJSON_IsArray(targets)) {
        for (const cJSON *item = targets->child; item; item = item->next)
            if (is_target(site, item))
                return true;
        return false;
    }
    for (; fallback && *fallback; fallback++)
        if (site_matches(site, *fallback))
            return true;
    return false;
}
