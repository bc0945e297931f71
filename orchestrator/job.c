/* Jobs: resolved settings, seeds, identity, and the message. */
#include "orchestrator/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/version.h"

static const char *task_file(const struct definition *definition, const char *key)
{
    const cJSON *item = json_get(definition->task, key);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

char *job_hash_cache(const char *store_path)
{
    char *folder = file_folder(store_path), *cache = folder ? file_join(folder, ".nightsweep-hashes") : NULL;
    free(folder);
    return cache;
}

int job_hash_inputs(struct input_hashes *hashes, const struct definition *definition, const char *cache_path,
                    struct err *err)
{
    const char *const keys[] = {"train", "validation", "test"};
    char *const out[] = {hashes->train, hashes->validation, hashes->test};
    *hashes = (struct input_hashes){0};
    int rc = hash_model(definition->model, cache_path, hashes->model, err);
    if (rc == 0)
        rc = hash_tokenizer(definition->model, cache_path, hashes->tokenizer, err);
    for (int i = 0; i < definition->n_init_adapters && rc == 0; i++)
        rc = file_is_folder(definition->init_adapters[i].path)
                 ? hash_folder(definition->init_adapters[i].path, cache_path, hashes->init_adapters[i], err)
                 : hash_file_cached(definition->init_adapters[i].path, cache_path, hashes->init_adapters[i], err);
    for (int i = 0; i < 3 && rc == 0; i++)
        if (task_file(definition, keys[i]))
            rc = hash_file_cached(task_file(definition, keys[i]), cache_path, out[i], err);
    for (int i = 0; i < definition->n_checks && rc == 0; i++)
        if (definition->checks[i].file)
            rc = hash_file(definition->checks[i].file, hashes->checks[i], err);
    return rc;
}

/* `settings` with the members of `configuration` over them. */
static cJSON *merge(const cJSON *settings, const cJSON *configuration)
{
    cJSON *out = settings ? cJSON_Duplicate(settings, true) : cJSON_CreateObject();
    for (const cJSON *item = out && configuration ? configuration->child : NULL; item; item = item->next) {
        cJSON *copy = cJSON_Duplicate(item, true);
        cJSON_DeleteItemFromObjectCaseSensitive(out, item->string);
        if (!json_put(out, item->string, copy)) {
            cJSON_Delete(out);
            return NULL;
        }
    }
    return out;
}

int job_settings(const struct definition *definition, const cJSON *configuration, cJSON **settings, struct err *err)
{
    cJSON *merged = merge(definition->settings, configuration);
    int rc = merged ? settings_resolve(merged, "settings", settings, err)
                    : err_set(err, ERR_NOMEM, "no memory for settings");
    cJSON_Delete(merged);
    return rc;
}

int job_baseline_settings(const struct definition *definition, cJSON **settings, struct err *err)
{
    cJSON *fixed = merge(definition->settings, NULL);
    int rc = 0;
    if (!fixed)
        return err_set(err, ERR_NOMEM, "no memory for settings");
    /* A learning rate given for the methods that are compared is none for a probe. */
    cJSON_DeleteItemFromObjectCaseSensitive(fixed, "method");
    cJSON_DeleteItemFromObjectCaseSensitive(fixed, "learning_rate");
    cJSON_DeleteItemFromObjectCaseSensitive(fixed, "init_adapter"); /* another method's */
    bool is_made = cJSON_AddStringToObject(fixed, "method", "linear_probe") != NULL;
    if (!definition->task_info->has_head) { /* it has no head: nothing is trained, one step shows the model as it is */
        cJSON_DeleteItemFromObjectCaseSensitive(fixed, "steps");
        cJSON_DeleteItemFromObjectCaseSensitive(fixed, "epochs");
        is_made = is_made && cJSON_AddNumberToObject(fixed, "steps", 1);
    }
    if (!is_made)
        rc = err_set(err, ERR_NOMEM, "no memory for settings");
    if (rc == 0)
        rc = settings_resolve(fixed, "settings", settings, err);
    cJSON_Delete(fixed);
    return rc;
}

uint64_t job_seed(const struct definition *definition, const cJSON *settings, int repeat)
{
    const cJSON *fixed = json_get(settings, "seed");
    if (cJSON_IsNumber(fixed))
        return rng_derive_seed((uint64_t)fixed->valuedouble, (uint64_t)repeat);
    return rng_derive_seed(definition->seed, (uint64_t)repeat);
}

static void add_member(struct text *out, const char *name, const char *value)
{
    text_printf(out, ",\"%s\":", name);
    text_add_json(out, value);
}

/* The task without its paths: columns and which files there are. */
static void add_task(struct text *out, const struct definition *definition)
{
    text_add(out, "{");
    bool is_first = true;
    for (const cJSON *item = definition->task->child; item; item = item->next) {
        if (strcmp(item->string, "train") == 0 || strcmp(item->string, "validation") == 0 ||
            strcmp(item->string, "test") == 0)
            continue;
        text_printf(out, "%s\"%s\":", is_first ? "" : ",", item->string);
        json_add_canonical(out, item);
        is_first = false;
    }
    text_add(out, "}");
}

static void add_checks(struct text *out, const struct definition *definition, const struct input_hashes *hashes)
{
    text_add(out, "[");
    for (int i = 0; i < definition->n_checks; i++) {
        const struct check *check = &definition->checks[i];
        text_printf(out, "%s[\"%s\",\"%s\"", i ? "," : "", check->kind, hashes->checks[i]);
        for (int k = 0; k < CHECK_MAX_OPTIONS; k++)
            if (check->options[k]) {
                text_printf(out, ",\"%s\",", check_find(check->kind)->options[k].name);
                text_add_json(out, check->options[k]);
            }
        text_add(out, "]");
    }
    text_add(out, "]");
}

/* Which of the definition's adapters the settings start from: its index, or −1 for none. */
static int find_init_adapter(const struct definition *definition, const cJSON *settings)
{
    const cJSON *name = json_get(settings, "init_adapter");
    for (int i = 0; cJSON_IsString(name) && i < definition->n_init_adapters; i++)
        if (strcmp(definition->init_adapters[i].name, name->valuestring) == 0)
            return i;
    return -1;
}

/* A text that names one of the definition's adapters becomes its path, or its content's hash; what comes from an
 * earlier sweep becomes the path of `origin` (NULL: it stays). */
static bool replace_adapter(const struct definition *definition, const struct input_hashes *hashes, bool by_path,
                            const struct origin *origin, cJSON *value)
{
    if (origin && cJSON_IsString(value) && strcmp(value->valuestring, ORIGIN_PLACEHOLDER) == 0)
        return cJSON_SetValuestring(value, origin->path) != NULL;
    for (int i = 0; cJSON_IsString(value) && i < definition->n_init_adapters; i++) {
        const struct init_adapter *adapter = &definition->init_adapters[i];
        if (strcmp(adapter->name, value->valuestring) == 0)
            return cJSON_SetValuestring(value, by_path ? adapter->path : hashes->init_adapters[i]) != NULL;
    }
    return true;
}

/* A copy of the settings in which saved adapters stand by their paths, or by their content; NULL without memory. */
static cJSON *with_adapters(const struct definition *definition, const struct input_hashes *hashes, bool by_path,
                            const struct origin *origin, const cJSON *settings)
{
    cJSON *copy = cJSON_Duplicate(settings, true);
    for (const char *const *name = adapter_settings; copy && *name; name++) {
        cJSON *value = cJSON_GetObjectItemCaseSensitive(copy, *name);
        bool is_done = !value || replace_adapter(definition, hashes, by_path, origin, value);
        for (cJSON *item = cJSON_IsArray(value) ? value->child : NULL; item && is_done; item = item->next)
            is_done = replace_adapter(definition, hashes, by_path, origin, item);
        if (!is_done) {
            cJSON_Delete(copy);
            copy = NULL;
        }
    }
    return copy;
}

int job_identity_add(struct text *out, const struct definition *definition, const struct input_hashes *hashes,
                     const cJSON *settings, struct err *err)
{
    cJSON *resolved = with_adapters(definition, hashes, false, NULL, settings);
    cJSON *deciding = resolved ? settings_without_defaults(resolved) : NULL;
    cJSON_Delete(resolved);
    if (!deciding)
        return err_set(err, ERR_NOMEM, "no memory for an identity");
    cJSON_DeleteItemFromObjectCaseSensitive(deciding, "seed"); /* the trial's seed already comes from it */
    add_member(out, "validation", hashes->validation);
    add_member(out, "test", hashes->test);
    add_member(out, "objective", definition->objectives[0].metric);
    text_printf(out, ",\"maximize\":%d,\"task\":", definition->objectives[0].is_maximized);
    add_task(out, definition);
    text_add(out, ",\"checks\":");
    add_checks(out, definition, hashes);
    text_add(out, ",\"settings\":");
    json_add_canonical(out, deciding);
    text_add(out, "}");
    cJSON_Delete(deciding);
    return out->failed ? err_set(err, ERR_NOMEM, "no memory for an identity") : json_check_memory(err);
}

int job_identity_of_seed(const struct text *rest, const struct definition *definition,
                         const struct input_hashes *hashes, uint64_t seed, char identity[HASH_HEX_SIZE],
                         struct err *err)
{
    struct text out = {0};
    const struct origin *model = definition_origin(definition, ORIGIN_MODEL, seed);
    const struct origin *adapter = definition_origin(definition, ORIGIN_ADAPTER, seed);
    const struct origin *train = definition_origin(definition, ORIGIN_TRAIN, seed);
    text_printf(&out, "{\"numerics\":%d,\"seed\":%llu", VERSION_NUMERICS, (unsigned long long)seed);
    if (adapter)
        add_member(&out, "init_adapter", adapter->sha256);
    add_member(&out, "model", model ? model->sha256 : hashes->model);
    add_member(&out, "tokenizer", hashes->tokenizer);
    add_member(&out, "train", train ? train->sha256 : hashes->train);
    text_add_n(&out, rest->data, rest->len);
    int rc = out.failed ? err_set(err, ERR_NOMEM, "no memory for an identity") : 0;
    if (rc == 0)
        hash_bytes(out.data, out.len, identity);
    text_done(&out);
    return rc;
}

int job_identity(const struct definition *definition, const struct input_hashes *hashes, const cJSON *settings,
                 uint64_t seed, char identity[HASH_HEX_SIZE], struct err *err)
{
    struct text rest = {0};
    int rc = job_identity_add(&rest, definition, hashes, settings, err);
    if (rc == 0)
        rc = job_identity_of_seed(&rest, definition, hashes, seed, identity, err);
    text_done(&rest);
    return rc;
}

void job_child_identity(const char *own, const char *parent, int64_t step, char identity[HASH_HEX_SIZE])
{
    char text[2 * HASH_HEX_SIZE + 64];
    int n = snprintf(text, sizeof(text), "%s from %s at %lld", own, parent, (long long)step);
    hash_bytes(text, (size_t)n, identity);
}

/* The task as the trainer reads it, its training rows those of the trial's seed. */
static void add_whole_task(struct text *line, const struct definition *definition, const struct origin *train)
{
    cJSON *task = train ? cJSON_Duplicate(definition->task, true) : NULL;
    cJSON *rows = cJSON_GetObjectItemCaseSensitive(task, "train");
    if (train && (!rows || !cJSON_SetValuestring(rows, train->path)))
        line->failed = true;
    json_add(line, task ? task : definition->task);
    cJSON_Delete(task);
}

void job_write(struct text *line, const struct definition *definition, const struct input_hashes *hashes,
               const struct job *job)
{
    const struct origin *model = definition_origin(definition, ORIGIN_MODEL, job->seed);
    const struct origin *adapter = definition_origin(definition, ORIGIN_ADAPTER, job->seed);
    const struct origin *train = definition_origin(definition, ORIGIN_TRAIN, job->seed);
    text_printf(line, "{\"v\":1,\"type\":\"job\",\"attempt\":%lld", (long long)job->attempt);
    add_member(line, "identity", job->identity);
    add_member(line, "output", job->output);
    if (job->parent)
        add_member(line, "parent", job->parent);
    if (job->pause_at_step > 0)
        text_printf(line, ",\"pause_at_step\":%lld", (long long)job->pause_at_step);
    if (job->waits)
        text_add(line, ",\"waits\":true");
    if (job->resume)
        add_member(line, "resume", job->resume);
    else
        text_add(line, ",\"resume\":null");
    text_add(line, ",\"model\":{\"path\":");
    text_add_json(line, model ? model->path : definition->model);
    text_add(line, "},\"task\":");
    add_whole_task(line, definition, train);
    text_add(line, ",\"hashes\":{\"model\":");
    text_add_json(line, model ? model->sha256 : hashes->model);
    add_member(line, "tokenizer", hashes->tokenizer);
    add_member(line, "train", train ? train->sha256 : hashes->train);
    add_member(line, "validation", hashes->validation);
    add_member(line, "test", hashes->test);
    int init = find_init_adapter(definition, job->settings);
    if (init >= 0)
        add_member(line, "init_adapter", hashes->init_adapters[init]);
    else if (adapter && json_get(job->settings, "init_adapter"))
        add_member(line, "init_adapter", adapter->sha256);
    text_add(line, "},\"settings\":");
    if (job->settings) {
        cJSON *absolute = with_adapters(definition, hashes, true, adapter, job->settings);
        line->failed = line->failed || !absolute;
        if (!adapter && definition->from[ORIGIN_ADAPTER].sweep) /* it is not there yet: a preview starts without it */
            cJSON_DeleteItemFromObjectCaseSensitive(absolute, "init_adapter");
        json_add(line, absolute ? absolute : job->settings);
        cJSON_Delete(absolute);
    } else
        text_add(line, job->settings_text);
    text_printf(line, ",\"seed\":%llu,\"objective\":{\"metric\":", (unsigned long long)job->seed);
    text_add_json(line, definition->objectives[0].metric);
    text_printf(line, ",\"goal\":\"%s\"},\"checks\":[",
                definition->objectives[0].is_maximized ? "maximize" : "minimize");
    for (int i = 0; i < definition->n_checks; i++) {
        text_printf(line, "%s{\"name\":", i ? "," : "");
        text_add_json(line, definition->checks[i].name);
        add_member(line, "kind", definition->checks[i].kind);
        if (definition->checks[i].file)
            add_member(line, "file", definition->checks[i].file);
        for (int k = 0; k < CHECK_MAX_OPTIONS; k++)
            if (definition->checks[i].options[k])
                add_member(line, check_find(definition->checks[i].kind)->options[k].name,
                           definition->checks[i].options[k]);
        text_printf(line, ",\"items\":%s}", definition->checks[i].items ? "true" : "false");
    }
    text_printf(line, "],\"limits\":{\"memory_bytes\":%llu,\"threads\":%d},\"checkpoint_seconds\":",
                (unsigned long long)definition->resources.memory_bytes, definition->resources.threads);
    text_add_double(line, job->checkpoint_seconds);
    text_printf(line, ",\"stop_after_steps\":%lld}", (long long)job->stop_after_steps);
}
