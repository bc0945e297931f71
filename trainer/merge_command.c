/* Folding an adapter into its base, and writing the folder of the result. */
#include "trainer/merge_command.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "trainer/gguf.h"
#include "trainer/gguf_write.h"
#include "trainer/saved_adapter.h"
#include "trainer/trial.h"
#include "trainer/weight_change.h"

struct merging {
    const char *adapter, *output;
    bool is_gguf;
    enum tensor_type type; /* of what is written */
    struct saved_adapter saved;
    struct trial_job job;
    struct trial trial; /* only what trial_open_model needs */
    struct model model;
    struct arena arena;
};

/* "format" and "type", how the folder holds the weights. */
static int read_form(struct merging *m, const cJSON *request, struct err *err)
{
    static const struct {
        const char *name;
        enum tensor_type type;
    } types[] = {{"f32", TENSOR_F32}, {"f16", TENSOR_F16}, {"q8_0", TENSOR_Q8_0}};
    const char *format = "safetensors", *type = "f32";
    int rc = json_opt_string(request, "format", "request", &format, err);
    if (rc == 0)
        rc = json_opt_string(request, "type", "request", &type, err);
    if (rc < 0)
        return rc;
    m->is_gguf = text_equal(format, "gguf");
    if (!m->is_gguf && !text_equal(format, "safetensors"))
        return err_set(err, ERR_USAGE, "format: '%s', safetensors or gguf was expected", format);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (text_equal(types[i].name, type)) {
            m->type = types[i].type;
            return m->is_gguf || m->type != TENSOR_Q8_0
                       ? 0
                       : err_set(err, ERR_USAGE, "type: q8_0 is for format gguf; safetensors have f32 or f16");
        }
    return err_set(err, ERR_USAGE, "type: '%s', f32, f16 or q8_0 was expected", type);
}

static int read_request(struct merging *m, const cJSON *request, struct err *err)
{
    int rc = json_get_string(request, "model", "request", &m->job.model, err);
    if (rc == 0)
        rc = json_get_string(request, "adapter", "request", &m->adapter, err);
    if (rc == 0)
        rc = json_get_string(request, "output", "request", &m->output, err);
    if (rc == 0)
        rc = json_get_object(request, "task", "request", &m->job.task, err);
    if (rc == 0)
        rc = trial_job_read_kind(&m->job, err);
    if (rc == 0)
        rc = read_form(m, request, err);
    if (rc == 0 && !file_is_folder(m->output))
        rc = err_set(err, ERR_USAGE, "'%s': a folder was expected", m->output);
    return rc;
}

static int open_model(struct merging *m, struct err *err)
{
    int rc = saved_adapter_read(&m->saved, m->adapter, err);
    if (rc < 0)
        return rc;
    cJSON_DeleteItemFromObjectCaseSensitive(m->saved.settings, "weight_storage"); /* all of it is written in float */
    m->job.settings = m->saved.settings;
    m->trial.job = &m->job;
    m->trial.labels = m->saved.labels;
    return trial_open_model(&m->trial, &m->model, &m->arena, NULL, err);
}

/* Folding ---------------------------------------------------------------------------------------------------------- */

static int refuse(const struct site *site, const char *why, struct err *err)
{
    return err_set(err, ERR_UNSUPPORTED, "'%s' cannot be merged: %s", site->name, why);
}

static bool is_shared(const struct model *model, const struct site *site)
{
    for (size_t i = 0; i < model->n_sites; i++)
        if (model->sites[i] != site && model->sites[i]->weight == site->weight)
            return true;
    return false;
}

static int fold_linear(struct merging *m, struct site *site, struct err *err)
{
    size_t n = param_size(site->weight);
    bool is_affine = false;
    real *weight = arena_alloc(&m->arena, n * sizeof(*weight));
    real *bias = arena_alloc(&m->arena, (size_t)site->out * sizeof(*bias));
    if (!weight || !bias)
        return err_set(err, ERR_NOMEM, "no memory to merge '%s'", site->name);
    if (is_shared(&m->model, site))
        return refuse(site, "its weight is the token embedding's too", err);
    int rc = weight_folded(&m->model, site, weight, bias, &is_affine, &m->arena, err);
    if (rc < 0)
        return rc;
    if (!is_affine)
        return refuse(site, "the method is no linear map of its input", err);
    for (int i = 0; !site->bias && i < site->out; i++)
        if (bias[i] != 0)
            return refuse(site, "the method adds a bias, and the model has none there", err);
    site->weight->value.data = weight;
    if (site->bias)
        site->bias->value.data = bias;
    return 0;
}

enum { IDS_AT_ONCE = 512 };

/* The rows that embedding hooks make of the table's. */
static int fold_embedding(struct merging *m, struct site *site, struct err *err)
{
    int tokens = site->weight->value.rows, width = site->weight->value.cols, rc = 0;
    real *table = arena_alloc(&m->arena, (size_t)tokens * (size_t)width * sizeof(*table));
    if (!table)
        return err_set(err, ERR_NOMEM, "no memory to merge '%s'", site->name);
    if (is_shared(&m->model, site))
        return refuse(site, "its table is the output embedding's weight too", err);
    for (int first = 0; first < tokens && rc == 0; first += IDS_AT_ONCE)
        rc = weight_folded_rows(&m->model, site, first, tokens - first < IDS_AT_ONCE ? tokens - first : IDS_AT_ONCE,
                                table + (size_t)first * (size_t)width, err);
    site->weight->value.data = table;
    return rc;
}

static int fold_site(struct merging *m, struct site *site, struct err *err)
{
    bool is_linear = false, is_embedding = false;
    for (const struct hook *hook = site->hooks; hook; hook = hook->next) {
        if (hook->sublayer || hook->feed_forward || hook->attention || hook->insert || hook->replace)
            return refuse(site, "what the method does there is not part of a weight", err);
        is_linear = is_linear || hook->weight || hook->input || hook->output;
        is_embedding = is_embedding || hook->embed;
    }
    int rc = is_linear ? fold_linear(m, site, err) : 0;
    return rc == 0 && is_embedding ? fold_embedding(m, site, err) : rc;
}

/* Writing ---------------------------------------------------------------------------------------------------------- */

/* A half holds nothing beyond 65504. */
static int check_range(const struct params *params, struct err *err)
{
    for (size_t i = 0; i < params->count; i++) {
        const struct param *param = params->items[i];
        for (size_t k = 0; param->origin != PARAM_METHOD && k < param_size(param); k++)
            if (!(fabs((double)param->value.data[k]) <= 65504))
                return err_set(err, ERR_NUMERIC, "tensor '%s' has %g, at most 65504 fits into half precision",
                               param->name, (double)param->value.data[k]);
    }
    return 0;
}

static int write_weights(const struct merging *m, struct err *err)
{
    const struct params *params = &m->model.params;
    struct tensor_source *tensors = calloc(params->count + 1, sizeof(*tensors));
    char *path = file_join(m->output, "model.safetensors");
    size_t n = 0;
    int rc = m->type == TENSOR_F16 ? check_range(params, err) : 0;
    for (size_t i = 0; tensors && i < params->count; i++) {
        const struct param *param = params->items[i];
        if (param->origin != PARAM_METHOD)
            tensors[n++] = (struct tensor_source){param->name, param->n_dims, param->shape, param->value.data};
    }
    if (rc == 0)
        rc = tensors && path ? safetensors_write_as(path, tensors, n, m->type, err)
                             : err_set(err, ERR_NOMEM, "no memory to merge");
    free(tensors);
    free(path);
    return rc;
}

static bool set_item(cJSON *object, const char *key, cJSON *item)
{
    cJSON_DeleteItemFromObjectCaseSensitive(object, key);
    return item && cJSON_AddItemToObject(object, key, item);
}

/* The base's, with the names of the classes. */
static int write_config(const struct merging *m, struct err *err)
{
    const struct labels *labels = &m->saved.labels;
    cJSON *config = cJSON_Duplicate(m->model.config, true), *names = cJSON_CreateObject(), *ids = cJSON_CreateObject();
    struct text text = {0};
    bool is_made = config && names && ids &&
                   set_item(config, "torch_dtype", cJSON_CreateString(m->type == TENSOR_F16 ? "float16" : "float32"));
    for (int c = 0; is_made && c < labels->count; c++) {
        char number[16];
        snprintf(number, sizeof(number), "%d", c);
        is_made = cJSON_AddStringToObject(names, number, labels->names[c]) &&
                  cJSON_AddNumberToObject(ids, labels->names[c], c);
    }
    int outputs = m->job.task_kind->n_outputs;
    if (is_made && outputs == 1 && labels->count == 0) /* regression */
        is_made = set_item(config, "num_labels", cJSON_CreateNumber(1));
    if (is_made && labels->count > 0 && outputs == 0) {
        is_made = set_item(config, "id2label", names) && set_item(config, "label2id", ids) &&
                  set_item(config, "num_labels", cJSON_CreateNumber(labels->count));
        names = ids = NULL;
    }
    if (is_made)
        json_add(&text, config);
    text_add(&text, "\n");
    char *path = file_join(m->output, "config.json");
    int rc = is_made && path && !text.failed ? file_write_atomic(path, text.data, text.len, err)
                                             : err_set(err, ERR_NOMEM, "no memory to merge");
    cJSON_Delete(names);
    cJSON_Delete(ids);
    cJSON_Delete(config);
    text_done(&text);
    free(path);
    return rc;
}

enum { MAX_COPIED_BYTES = 256 << 20 };

static int copy_file(const struct merging *m, const char *name, struct err *err)
{
    char *from = file_join(m->job.model, name), *to = file_join(m->output, name);
    int rc = from && to ? file_copy(from, to, MAX_COPIED_BYTES, err) : err_set(err, ERR_NOMEM, "no memory");
    free(from);
    free(to);
    return rc;
}

/* What belongs to the tokenizer or to generation: texts, but for the config and an index of weights. */
static bool is_copied(const char *name)
{
    bool is_text = text_ends_with(name, ".json") || text_ends_with(name, ".txt") || text_ends_with(name, ".model") ||
                   text_ends_with(name, ".jinja");
    return is_text && strcmp(name, "config.json") != 0 && !text_ends_with(name, ".index.json");
}

static int copy_files(const struct merging *m, struct err *err)
{
    DIR *directory = opendir(m->job.model);
    int rc = directory ? 0 : err_set_errno(err, "'%s' cannot be read", m->job.model);
    for (struct dirent *entry; rc == 0 && (entry = readdir(directory));)
        if (is_copied(entry->d_name))
            rc = copy_file(m, entry->d_name, err);
    if (directory)
        closedir(directory);
    return rc;
}

/* The chat template of a GGUF file, where Hugging Face's folders have it. */
static int write_gguf_template(const struct merging *m, const struct gguf *gguf, struct err *err)
{
    const char *jinja = NULL;
    char *path = file_join(m->output, "chat_template.jinja");
    int rc = path ? 0 : err_set(err, ERR_NOMEM, "no memory to merge");
    if (rc == 0 && gguf_text(gguf, "tokenizer.chat_template", &jinja) && !file_exists(path))
        rc = file_write_atomic(path, jinja, strlen(jinja), err);
    free(path);
    return rc;
}

/* A GGUF file has its tokenizer inside. */
static int write_gguf_tokenizer(const struct merging *m, struct err *err)
{
    char *found = NULL, *path = file_join(m->output, "tokenizer.json");
    struct gguf *gguf = NULL;
    struct text text = {0};
    cJSON *json = NULL;
    int rc = path && !file_exists(path) ? gguf_find(&found, m->job.model, err) : 0;
    if (rc == 0 && found)
        rc = gguf_open(&gguf, found, err);
    if (rc == 0 && found)
        rc = gguf_tokenizer(gguf, &json, err);
    if (rc == 0 && found) {
        json_add(&text, json);
        rc = text.failed ? err_set(err, ERR_NOMEM, "no memory to merge")
                         : file_write_atomic(path, text.data, text.len, err);
    }
    if (rc == 0 && found)
        rc = write_gguf_template(m, gguf, err);
    json_free(json);
    gguf_close(gguf);
    text_done(&text);
    free(found);
    free(path);
    return rc;
}

/* The chat template of a folder: a file of its own, or an entry of tokenizer_config.json. */
static int read_jinja(const struct merging *m, struct text *jinja, struct err *err)
{
    char *own = file_join(m->job.model, "chat_template.jinja"), *all = file_join(m->job.model, "tokenizer_config.json");
    char *data = NULL;
    cJSON *config = NULL;
    size_t n = 0;
    int rc = own && all ? 0 : err_set(err, ERR_NOMEM, "no memory to merge");
    if (rc == 0 && file_exists(own)) {
        rc = file_read(own, 1 << 20, &data, &n, err);
        text_add_n(jinja, data ? data : "", rc == 0 ? n : 0);
    } else if (rc == 0 && file_exists(all)) {
        rc = json_read_file(all, &config, err);
        const cJSON *entry = rc == 0 ? json_get(config, "chat_template") : NULL;
        text_add(jinja, cJSON_IsString(entry) ? entry->valuestring : "");
    }
    json_free(config);
    free(data);
    free(own);
    free(all);
    return rc;
}

/* tokenizer.json, or what a GGUF file says; and the chat template of either. */
static int read_tokenizer(const struct merging *m, cJSON **tokenizer, struct text *jinja, struct err *err)
{
    const char *own = NULL;
    char *path = file_join(m->job.model, "tokenizer.json"), *found = NULL;
    struct gguf *gguf = NULL;
    bool is_folder = path && file_exists(path);
    int rc = !path       ? err_set(err, ERR_NOMEM, "no memory to merge")
             : is_folder ? json_read_file(path, tokenizer, err)
                         : gguf_find(&found, m->job.model, err);
    if (rc == 0 && is_folder)
        rc = read_jinja(m, jinja, err);
    if (rc == 0 && found)
        rc = gguf_open(&gguf, found, err);
    if (rc == 0 && gguf)
        rc = gguf_tokenizer(gguf, tokenizer, err);
    if (rc == 0 && gguf && gguf_text(gguf, "tokenizer.chat_template", &own))
        text_add(jinja, own);
    gguf_close(gguf);
    free(found);
    free(path);
    return rc == 0 && !*tokenizer ? err_set(err, ERR_NOT_FOUND, "'%s' has no tokenizer", m->job.model) : rc;
}

/* One file that is all of the model. */
static int write_gguf(const struct merging *m, struct err *err)
{
    cJSON *tokenizer = NULL;
    struct text jinja = {0};
    char *path = file_join(m->output, "model.gguf");
    int rc = path ? read_tokenizer(m, &tokenizer, &jinja, err) : err_set(err, ERR_NOMEM, "no memory to merge");
    const struct gguf_output output = {.path = path,
                                       .model = &m->model,
                                       .tokenizer = tokenizer,
                                       .chat_template = jinja.len ? jinja.data : NULL,
                                       .type = m->type};
    if (rc == 0)
        rc = gguf_write(&output, err);
    json_free(tokenizer);
    text_done(&jinja);
    free(path);
    return rc;
}

static int write_folder(const struct merging *m, struct err *err)
{
    if (m->is_gguf)
        return write_gguf(m, err);
    int rc = copy_files(m, err);
    if (rc == 0)
        rc = write_gguf_tokenizer(m, err);
    if (rc == 0)
        rc = write_config(m, err);
    return rc < 0 ? rc : write_weights(m, err);
}

int merge_command(const cJSON *request, struct err *err)
{
    struct merging *m = calloc(1, sizeof(*m));
    if (!m)
        return err_set(err, ERR_NOMEM, "no memory to merge");
    int rc = read_request(m, request, err);
    if (rc == 0)
        rc = open_model(m, err);
    for (size_t i = 0; rc == 0 && i < m->model.n_sites; i++)
        rc = fold_site(m, m->model.sites[i], err);
    if (rc == 0)
        rc = write_folder(m, err);
    model_close(&m->model);
    saved_adapter_done(&m->saved);
    arena_done(&m->arena);
    free(m);
    return rc;
}
