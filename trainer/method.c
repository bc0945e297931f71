/* The methods' table, attaching one or several, and the folder of a finished trial. */
#include "trainer/method.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/json.h"
#include "common/settings.h"
#include "trainer/methods/method_file.h"

const struct method_kind *const method_kinds[] = {&method_full,          &method_partial,       &method_linear_probe,
                                                  &method_bitfit,        &method_layer_norm,    &method_lora,
                                                  &method_dora,          &method_vera,          &method_adalora,
                                                  &method_ia3,           &method_pissa,         &method_hyper_lora,
                                                  &method_hyper_adapter, &method_smoe,          &method_adapter,
                                                  &method_compacter,     &method_fusion,        &method_prompt,
                                                  &method_p_tuning,      &method_prefix_tuning, NULL};

enum { MAX_METHODS = 8 };

const struct method_kind *method_find(const char *name)
{
    for (const struct method_kind *const *kind = method_kinds; *kind; kind++)
        if (strcmp((*kind)->name, name) == 0)
            return *kind;
    return NULL;
}

/* The kinds of settings.method, in order. */
static int list_methods(const cJSON *settings, const struct method_kind **kinds, int *n, struct err *err)
{
    const cJSON *method = json_get(settings, "method");
    const cJSON *item = cJSON_IsArray(method) ? method->child : method;
    for (*n = 0; item; item = cJSON_IsArray(method) ? item->next : NULL) {
        const struct method_kind *kind = cJSON_IsString(item) ? method_find(item->valuestring) : NULL;
        if (!kind)
            return err_set(err, ERR_UNSUPPORTED, "settings.method: '%s' is no method",
                           cJSON_IsString(item) ? item->valuestring : json_type_name(item));
        if (*n == MAX_METHODS)
            return err_set(err, ERR_UNSUPPORTED, "settings.method: more than %d methods", MAX_METHODS);
        kinds[(*n)++] = kind;
    }
    return *n ? 0 : err_set(err, ERR_FORMAT, "settings.method is missing");
}

static bool trains_something(const struct model *model, const char *method)
{
    for (size_t i = 0; i < model->params.count; i++) {
        const struct param *param = model->params.items[i];
        if (param->is_trained && param->origin != PARAM_HEAD && param->method && strcmp(param->method, method) == 0)
            return true;
    }
    return false;
}

static void set_learning_rates(struct model *model, const cJSON *settings)
{
    const cJSON *factors = json_get(settings, "method_learning_rate_factors");
    double head = setting_number(settings, "head_learning_rate_factor", 1);
    for (size_t i = 0; i < model->params.count; i++) {
        struct param *param = model->params.items[i];
        if (param->origin == PARAM_HEAD)
            param->learning_rate_factor *= head;
        else if (param->method)
            param->learning_rate_factor *= setting_number(factors, param->method, 1);
    }
}

int methods_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    const struct method_kind *kinds[MAX_METHODS];
    int n, rc = list_methods(settings, kinds, &n, err);
    for (size_t i = 0; rc == 0 && i < model->params.count; i++)
        if (model->params.items[i]->origin == PARAM_HEAD)
            rc = param_train(&model->params, model->params.items[i], NULL, err);
    for (int m = 0; rc == 0 && m < n; m++) {
        rc = kinds[m]->attach ? kinds[m]->attach(model, settings, seed, err) : 0;
        if (rc == 0 && kinds[m]->attach && !trains_something(model, kinds[m]->name))
            rc = err_set(err, ERR_UNSUPPORTED,
                         "method '%s' would train nothing but the head of this model: no module or layer matches",
                         kinds[m]->name);
    }
    if (rc == 0)
        set_learning_rates(model, settings);
    return rc;
}

int methods_loaded(struct model *model, const cJSON *settings, struct err *err)
{
    const struct method_kind *kinds[MAX_METHODS];
    int n, rc = list_methods(settings, kinds, &n, err);
    for (int m = 0; rc == 0 && m < n; m++)
        if (kinds[m]->loaded)
            rc = kinds[m]->loaded(model, settings, err);
    return rc;
}

bool methods_look_at_batch(const cJSON *settings)
{
    const struct method_kind *kinds[MAX_METHODS];
    int n, rc = list_methods(settings, kinds, &n, NULL);
    for (int m = 0; rc == 0 && m < n; m++)
        if (kinds[m]->looks_at_batch)
            return true;
    return false;
}

bool methods_look_at_sequences(const struct model *model, const cJSON *settings)
{
    bool is_gated = settings && strcmp(setting_text(settings, "gating", "none"), "none") != 0;
    return model->carries_padding || is_gated || methods_look_at_batch(settings);
}

const char *methods_spanning_layers(const cJSON *settings)
{
    const struct method_kind *kinds[MAX_METHODS];
    int n, rc = list_methods(settings, kinds, &n, NULL);
    for (int m = 0; rc == 0 && m < n; m++)
        if (kinds[m]->spans_layers)
            return kinds[m]->name;
    return NULL;
}

int methods_step(struct model *model, const cJSON *settings, int64_t step, int64_t total, struct err *err)
{
    const struct method_kind *kinds[MAX_METHODS];
    int n, rc = list_methods(settings, kinds, &n, err);
    for (int m = 0; rc == 0 && m < n; m++)
        if (kinds[m]->step)
            rc = kinds[m]->step(model, settings, step, total, err);
    return rc;
}

bool methods_count(const cJSON *settings)
{
    const struct method_kind *kinds[MAX_METHODS];
    int n, rc = list_methods(settings, kinds, &n, NULL);
    for (int m = 0; rc == 0 && m < n; m++)
        if (kinds[m]->measure)
            return true;
    return false;
}

void methods_measure(const cJSON *settings, struct model *const *models, int n_models, bool is_detailed,
                     method_measure_fn add, void *context)
{
    const struct method_kind *kinds[MAX_METHODS];
    int n, rc = list_methods(settings, kinds, &n, NULL);
    for (int m = 0; rc == 0 && m < n; m++)
        if (kinds[m]->measure)
            kinds[m]->measure(models, n_models, is_detailed, add, context);
}

/* Folder of a method: the trial's own, or one below it when there are several. */
static char *method_folder(const char *folder, const struct method_kind *kind, int n)
{
    return n > 1 ? file_join(folder, kind->name) : strdup(folder);
}

static int default_save(const struct model *model, const struct method_kind *kind, const char *folder, bool with_head,
                        struct err *err)
{
    char *path = file_join(folder, "tensors.safetensors");
    int rc = path ? method_file_write(model, kind->name, "", with_head, path, err)
                  : err_set(err, ERR_NOMEM, "no memory to save '%s'", kind->name);
    free(path);
    return rc;
}

static int write_description(const struct token_kinds *kinds, const cJSON *settings, const char *const *labels,
                             const char *folder, struct err *err)
{
    struct text json = {0};
    text_add(&json, "{\"format\":1,\"labels\":[");
    for (size_t i = 0; labels[i]; i++) {
        text_add(&json, i ? "," : "");
        text_add_json(&json, labels[i]);
    }
    if (kinds && kinds->n_tasks > 0) {
        text_add(&json, "],\"tasks\":[");
        for (int i = 0; i < kinds->n_tasks; i++) {
            text_add(&json, i ? "," : "");
            text_add_json(&json, kinds->tasks[i]);
        }
    }
    text_add(&json, "],\"settings\":");
    /* Where it started from is a path of this machine; the trial's identity holds its hash. */
    cJSON *kept = cJSON_Duplicate(settings, true);
    if (!kept)
        json.failed = true;
    cJSON_DeleteItemFromObjectCaseSensitive(kept, "init_adapter");
    if (kept)
        json_add_canonical(&json, kept);
    cJSON_Delete(kept);
    text_add(&json, "}");
    return method_file_write_text(folder, "nightsweep.json", &json, err);
}

/* Files that an attempt which was killed had not finished writing. */
static void remove_unfinished(const char *folder)
{
    DIR *directory = opendir(folder);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        char *path = strstr(entry->d_name, ".tmp-") ? file_join(folder, entry->d_name) : NULL;
        if (path)
            unlink(path);
        free(path);
    }
    if (directory)
        closedir(directory);
}

int methods_save(const struct model *model, const cJSON *settings, const char *const *labels, const char *folder,
                 struct err *err)
{
    const struct method_kind *kinds[MAX_METHODS];
    int n, rc = list_methods(settings, kinds, &n, err);
    remove_unfinished(folder);
    for (int m = 0; rc == 0 && m < n; m++) {
        char *own = method_folder(folder, kinds[m], n);
        rc = own ? file_make_folders(own, err) : err_set(err, ERR_NOMEM, "no memory to save");
        if (rc == 0)
            remove_unfinished(own);
        if (rc == 0)
            rc = kinds[m]->save ? kinds[m]->save(model, settings, own, err)
                                : default_save(model, kinds[m], own, n == 1, err);
        free(own);
    }
    char *head = file_join(folder, "head.safetensors");
    if (rc == 0 && n > 1)
        rc = head ? method_file_write(model, NULL, "", true, head, err) : err_set(err, ERR_NOMEM, "no memory to save");
    free(head);
    return rc < 0 ? rc : write_description(model->token_kinds, settings, labels, folder, err);
}

static int default_load(struct model *model, const struct method_kind *kind, const char *folder, struct err *err)
{
    char *path = file_join(folder, "tensors.safetensors");
    int rc = path ? method_file_read(model, kind->name, path, err) : err_set(err, ERR_NOMEM, "no memory to load");
    free(path);
    return rc;
}

static int check_labels(const cJSON *description, const char *const *labels, struct err *err)
{
    const cJSON *list = json_get(description, "labels"), *item = list ? list->child : NULL;
    int c = 0;
    for (; item && labels[c]; c++, item = item->next)
        if (!cJSON_IsString(item) || strcmp(item->valuestring, labels[c]) != 0)
            return err_set(err, ERR_FORMAT, "its class %d is '%s', the training data's is '%s'", c,
                           cJSON_IsString(item) ? item->valuestring : json_type_name(item), labels[c]);
    return !item && !labels[c] ? 0
                               : err_set(err, ERR_FORMAT, "it has %d classes, the training data another number",
                                         list ? cJSON_GetArraySize(list) : 0);
}

/* Settings of the group "method" say what the tensors mean; how they were drawn and dropped does not. */
static int check_settings(const cJSON *description, const cJSON *settings, struct err *err)
{
    const cJSON *saved = json_get(description, "settings");
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *setting = &settings_table[i];
        const cJSON *was = json_get(saved, setting->name), *is = json_get(settings, setting->name);
        struct text a = {0}, b = {0};
        int rc = 0;
        bool decides = strcmp(setting->group, "method") == 0 || strcmp(setting->name, "pooling") == 0;
        if (!decides || strcmp(setting->name, "method_dropout") == 0 || strcmp(setting->name, "lora_init") == 0)
            continue;
        cJSON *fallback = was ? NULL : settings_default(setting, settings); /* a setting newer than the file */
        was = was ? was : fallback;
        if (was && is)
            json_add_canonical(&a, was);
        if (is)
            json_add_canonical(&b, is);
        cJSON_Delete(fallback);
        if (!text_equal(a.data ? a.data : "absent", b.data ? b.data : "absent"))
            rc = err_set(err, ERR_FORMAT, "it was trained with %s %s, the job has %s", setting->name,
                         a.data ? a.data : "absent", b.data ? b.data : "absent");
        text_done(&a);
        text_done(&b);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int check_description(const cJSON *settings, const char *const *labels, const char *folder, struct err *err)
{
    cJSON *description = NULL;
    char *path = file_join(folder, "nightsweep.json");
    int rc = path ? 0 : err_set(err, ERR_NOMEM, "no memory to load");
    if (rc == 0 && file_exists(path)) {
        rc = json_read_file(path, &description, err);
        if (rc == 0)
            rc = check_labels(description, labels, err);
        if (rc == 0)
            rc = check_settings(description, settings, err);
        if (rc < 0)
            err_wrap(err, "settings.init_adapter: '%s'", folder);
    }
    json_free(description);
    free(path);
    return rc;
}

int methods_load(struct model *model, const cJSON *settings, const char *const *labels, const char *folder,
                 struct err *err)
{
    const struct method_kind *kinds[MAX_METHODS];
    int n, rc = list_methods(settings, kinds, &n, err);
    if (rc == 0)
        rc = check_description(settings, labels, folder, err);
    for (int m = 0; rc == 0 && m < n; m++) {
        char *own = method_folder(folder, kinds[m], n);
        rc = !own             ? err_set(err, ERR_NOMEM, "no memory to load")
             : kinds[m]->load ? kinds[m]->load(model, settings, own, err)
                              : default_load(model, kinds[m], own, err);
        free(own);
    }
    char *head = file_join(folder, "head.safetensors");
    if (rc == 0 && !head)
        rc = err_set(err, ERR_NOMEM, "no memory to load");
    if (rc == 0 && n > 1 && file_exists(head))
        rc = method_file_read(model, NULL, head, err);
    free(head);
    return rc < 0 ? rc : methods_loaded(model, settings, err);
}
