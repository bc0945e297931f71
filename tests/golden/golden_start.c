/* Golden cases: the tensors a case starts from, and those it hands back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "common/text.h"
#include "tests/golden/golden.h"
#include "trainer/methods/method_file.h"

enum { MAX_OUTPUTS = 4096 };

struct golden_outputs {
    struct golden_output {
        const char *key;
        const struct param *param; /* NULL: read from the adapter that the methods save */
    } items[MAX_OUTPUTS];
    size_t n;
};

/* Files of a case's adapter folder, below it. */
static const char *const files[] = {"adapter_model.safetensors",  "adapter.safetensors",
                                    "prompt_encoder.safetensors", "extra.safetensors",
                                    "head.safetensors",           "a/adapter.safetensors",
                                    "b/adapter.safetensors",      "fusion/adapter_fusion.safetensors"};

/* Replaces the last part of a path, the module whose output an adapter takes, by AdapterHub's name of the place. */
static void place_name(char *path, size_t size)
{
    static const char *const places[][2] = {{".fc2", ".output_adapters"},
                                            {".self_attn", ".attention_adapters"},
                                            {".encoder_attn", ".cross_attention_adapters"}};
    for (size_t i = 0; i < 3; i++)
        if (text_ends_with(path, places[i][0])) {
            size_t n = strlen(path) - strlen(places[i][0]);
            snprintf(path + n, size - n, "%s", places[i][1]);
            return;
        }
}

/* The reference's hand-written modules name a module by its path with "__" between the parts. */
static void hand_name(const char *key, char *out, size_t size)
{
    static const struct {
        const char *from, *to;
    } parts[] = {{"down.", "adapters.nightsweep.adapter_down.0."}, {"up.", "adapters.nightsweep.adapter_up."}};
    const char *dot = strchr(key, '.');
    size_t n = 0;
    for (const char *c = key; c < dot && n + 1 < size; c++) {
        bool is_separator = c[0] == '_' && c[1] == '_';
        out[n++] = is_separator ? '.' : *c;
        c += is_separator;
    }
    out[n] = '\0';
    place_name(out, size);
    n = strlen(out);
    for (size_t i = 0; i < 2; i++)
        if (strncmp(dot + 1, parts[i].from, strlen(parts[i].from)) == 0) {
            snprintf(out + n, size - n, ".%s%s", parts[i].to, dot + 1 + strlen(parts[i].from));
            return;
        }
    snprintf(out + n, size - n, ".smoe%s", dot);
}

static bool is_frozen_adapter(const char *name)
{
    return strstr(name, ".adapters.") && !strstr(name, ".adapters.nightsweep.");
}

static struct param *find_param(const struct model *model, const char *key)
{
    char name[512], own[512];
    struct param *exact = params_find(&model->params, key);
    if (exact)
        return exact;
    if (strncmp(key, "extra.", 6) == 0)
        return find_param(model, key + 6);
    if (strncmp(key, "base.", 5) == 0)
        return find_param(model, key + 5);
    if (strstr(key, "__") && strchr(key, '.')) {
        hand_name(key, name, sizeof(name));
        return params_find(&model->params, name);
    }
    method_file_name(key, name, sizeof(name));
    for (size_t i = 0; i < model->params.count; i++) {
        struct param *param = model->params.items[i];
        method_file_name(param->name, own, sizeof(own));
        if (strcmp(own, name) == 0 && !is_frozen_adapter(param->name))
            return param;
    }
    return NULL;
}

/* The parameter of a key in one of the files; NULL with *is_computed when it is what a prompt encoder gives. */
static struct param *param_of(const struct model *model, const char *file, const char *key, bool has_encoder,
                              bool *is_computed)
{
    char name[512];
    *is_computed = strcmp(key, "prompt_embeddings") == 0 && has_encoder;
    if (*is_computed)
        return NULL;
    if (strcmp(key, "prompt_embeddings") == 0)
        return find_param(model, "prompt_encoder.embedding.weight");
    if (strcmp(file, "prompt_encoder.safetensors") != 0)
        return find_param(model, key);
    snprintf(name, sizeof(name), "prompt_encoder.%s", key);
    return find_param(model, name);
}

static int read_tensor(struct model *model, struct param *param, const struct tensor *tensor, bool is_extra,
                       struct err *err)
{
    if (tensor->n != param_size(param))
        return err_set(err, ERR_FORMAT, "tensor '%s' has %zu elements, ours '%s' has %zu", tensor->name, tensor->n,
                       param->name, param_size(param));
    int rc = is_extra ? param_train(&model->params, param, "partial", err) : 0;
    if (rc == 0 && param->is_mapped)
        rc = err_set(err, ERR_FORMAT, "tensor '%s' is one of the model's that stay frozen", tensor->name);
    return rc < 0 ? rc : safetensors_read(tensor, param->value.data, err);
}

static int add_output(struct golden_outputs *outputs, struct model *model, const char *key, const struct param *param,
                      struct err *err)
{
    if (outputs->n == MAX_OUTPUTS)
        return err_set(err, ERR_FORMAT, "the case has more than %d tensors", MAX_OUTPUTS);
    outputs->items[outputs->n++] = (struct golden_output){arena_strdup(model->params.arena, key), param};
    return 0;
}

/* Loads a start file and lists its tensors as outputs; what it trains beside the method is trained. */
static int load_file(struct model *model, const char *path, const char *file, bool has_encoder,
                     struct golden_outputs *outputs, struct err *err)
{
    struct safetensors *tensors = NULL;
    int rc = safetensors_open(&tensors, path, err);
    for (size_t i = 0; rc == 0 && i < safetensors_count(tensors); i++) {
        const struct tensor *tensor = safetensors_at(tensors, i);
        bool is_computed;
        struct param *param = param_of(model, file, tensor->name, has_encoder, &is_computed);
        if (!param && !is_computed)
            rc = err_set(err, ERR_FORMAT, "tensor '%s' is no parameter of ours", tensor->name);
        if (rc == 0 && param)
            rc = read_tensor(model, param, tensor, strcmp(file, "extra.safetensors") == 0, err);
        if (rc == 0)
            rc = add_output(outputs, model, tensor->name, param, err);
    }
    safetensors_close(tensors);
    return rc;
}

/* What is trained must be what the case trains, neither more nor less. */
static int check_trained(const struct model *model, const cJSON *spec, struct err *err)
{
    size_t n = 0, expected = (size_t)cJSON_GetArraySize(json_get(spec, "trainable"));
    for (const cJSON *item = json_get(spec, "trainable")->child; item; item = item->next) {
        const struct param *param = find_param(model, item->valuestring);
        if (!param || !param->is_trained)
            return err_set(err, ERR_NUMERIC, "'%s' should be trained", item->valuestring);
    }
    for (size_t i = 0; i < model->params.count; i++)
        n += model->params.items[i]->is_trained;
    return n == expected ? 0 : err_set(err, ERR_NUMERIC, "%zu tensors are trained, %zu should be", n, expected);
}

static int load_files(struct model *model, const char *init, struct golden_outputs *outputs, struct err *err)
{
    char *encoder = file_join(init, "prompt_encoder.safetensors");
    bool has_encoder = encoder && file_exists(encoder);
    int rc = 0;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]) && rc == 0; i++) {
        char *path = file_join(init, files[i]);
        if (file_exists(path))
            rc = load_file(model, path, files[i], has_encoder, outputs, err);
        free(path);
    }
    free(encoder);
    return rc;
}

int golden_start(struct model *model, const cJSON *spec, const cJSON *settings, const char *folder,
                 struct golden_outputs **out, struct err *err)
{
    struct golden_outputs *outputs = *out = arena_calloc(model->params.arena, 1, sizeof(*outputs));
    char *init = file_join(folder, "init_adapter");
    bool has_init = init && file_is_folder(init);
    int rc = outputs ? 0 : err_set(err, ERR_NOMEM, "no memory for a case");
    if (rc == 0 && has_init)
        rc = load_files(model, init, outputs, err);
    for (const cJSON *item = json_get(spec, "trainable")->child; rc == 0 && item && !has_init; item = item->next) {
        const struct param *param = find_param(model, item->valuestring);
        rc = param ? add_output(outputs, model, item->valuestring, param, err)
                   : err_set(err, ERR_FORMAT, "tensor '%s' is no parameter of ours", item->valuestring);
    }
    free(init);
    if (rc == 0)
        rc = methods_loaded(model, settings, err);
    return rc < 0 ? rc : check_trained(model, spec, err);
}

/* A tensor that only the saved adapter has. */
static int read_saved(const char *saved, const char *key, struct arena *arena, struct tensor_source *source,
                      struct err *err)
{
    struct safetensors *file = NULL;
    char *path = file_join(saved, "adapter_model.safetensors");
    int rc = safetensors_open(&file, path, err);
    const struct tensor *tensor = rc == 0 ? safetensors_find(file, key) : NULL;
    if (rc == 0 && !tensor)
        rc = err_set(err, ERR_FORMAT, "the saved adapter has no tensor '%s'", key);
    real *data = tensor ? arena_alloc(arena, tensor->n * sizeof(real)) : NULL;
    int64_t *shape = tensor ? arena_alloc(arena, sizeof(tensor->shape)) : NULL;
    if (rc == 0 && (!data || !shape))
        rc = err_set(err, ERR_NOMEM, "no memory for '%s'", key);
    if (rc == 0) {
        memcpy(shape, tensor->shape, (size_t)tensor->n_dims * sizeof(*shape));
        *source = (struct tensor_source){key, tensor->n_dims, shape, data};
        rc = safetensors_read(tensor, data, err);
    }
    safetensors_close(file);
    free(path);
    return rc;
}

int golden_finish(struct model *model, const cJSON *settings, const struct golden_outputs *outputs, const char *out,
                  struct err *err)
{
    static const char *const no_labels[] = {NULL};
    struct arena arena = {0};
    struct tensor_source *sources = arena_calloc(&arena, outputs->n, sizeof(*sources));
    char *saved = file_join(out, "adapter"), *path = file_join(out, "adapter.safetensors");
    int rc = sources && saved && path ? methods_save(model, settings, no_labels, saved, err)
                                      : err_set(err, ERR_NOMEM, "no memory to write '%s'", out);
    for (size_t i = 0; rc == 0 && i < outputs->n; i++) {
        const struct param *param = outputs->items[i].param;
        if (param)
            sources[i] = (struct tensor_source){outputs->items[i].key, param->n_dims, param->shape, param->value.data};
        else
            rc = read_saved(saved, outputs->items[i].key, &arena, &sources[i], err);
    }
    if (rc == 0)
        rc = safetensors_write(path, sources, outputs->n, err);
    arena_done(&arena);
    free(saved);
    free(path);
    return rc;
}
