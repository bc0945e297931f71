/* Reading a sweep definition: every problem of the file at once, each with its JSON path. */
#include "orchestrator/definition.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/tasks.h"
#include "orchestrator/definition_internal.h"
#include "orchestrator/wandb.h"

enum { DEFINITION_MAX_BYTES = 4 << 20, NAME_MAX_LENGTH = 64 };

int definition_note(struct definition_reader *r, int rc)
{
    if (rc == 0 || rc == ERR_NOMEM)
        return rc;
    problems_add_err(&r->problems, &r->err);
    return 0;
}

void definition_check_keys(struct definition_reader *r, const cJSON *object, const char *where,
                           const char *const *known, const char *const *reserved)
{
    for (const cJSON *item = object->child; item; item = item->next) {
        bool is_known = false, is_reserved = false;
        for (const char *const *k = known; *k && !is_known; k++)
            is_known = strcmp(*k, item->string) == 0;
        for (const char *const *k = reserved; k && *k && !is_reserved; k++)
            is_reserved = strcmp(*k, item->string) == 0;
        const char *dot = where[0] ? "." : "";
        char text[512];
        if (is_reserved)
            problems_add(&r->problems, "%s%s%s: is reserved for what this version does not do yet", where, dot,
                         item->string);
        if (is_known || is_reserved)
            continue;
        snprintf(text, sizeof(text), "%s%s%.200s: is not known", where, dot, item->string);
        problems_add_unknown(&r->problems, text, item->string, known);
    }
}

const cJSON *definition_section(struct definition_reader *r, const char *key)
{
    const cJSON *item = json_get(r->definition->root, key);
    if (!item || cJSON_IsObject(item))
        return item;
    problems_add(&r->problems, "%s: %s was found, an object was expected", key, json_type_name(item));
    return NULL;
}

static char *keep(struct definition_reader *r, char *heap)
{
    char *kept = heap ? arena_strdup(&r->definition->arena, heap) : NULL;
    free(heap);
    return kept;
}

/* An absolute path of a file or folder that must be there. */
static int read_path(struct definition_reader *r, const char *name, const char *where, bool is_folder, const char **out)
{
    char *joined = file_join(r->definition->folder, name), *absolute = NULL;
    if (!joined)
        return ERR_NOMEM;
    bool is_there = is_folder ? file_is_folder(joined) : file_exists(joined) && !file_is_folder(joined);
    if (!is_there) {
        const char *hint = strstr(name, "models/") ? " ('make models' brings the models of the ready sweeps)"
                           : strstr(name, "data/") ? " ('make data' brings the data of the ready sweeps)"
                                                   : "";
        problems_add(&r->problems, "%s: there is no %s '%s'%s", where, is_folder ? "folder" : "file", joined, hint);
        *out = arena_strdup(&r->definition->arena, joined);
    } else if (file_absolute(joined, &absolute, &r->err) == 0) {
        *out = keep(r, absolute);
    }
    free(joined);
    return *out ? 0 : ERR_NOMEM;
}

/* Sections --------------------------------------------------------------------------------------------------------- */

int definition_check_name(const char *name, struct err *err)
{
    size_t n = strlen(name);
    if (n == 0 || n > NAME_MAX_LENGTH || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") != n ||
        strchr("._-", name[0]))
        return err_set(err, ERR_USAGE, "name: '%s', 1 to %d of a-z 0-9 . _ - were expected, a letter or digit first",
                       name, NAME_MAX_LENGTH);
    return 0;
}

static int read_name(struct definition_reader *r)
{
    struct definition *d = r->definition;
    int64_t seed = 0;
    int rc = 0;
    if (d->is_free)
        d->name = "suggest";
    if (!d->is_free || json_get(d->root, "name"))
        rc = json_get_string(d->root, "name", "definition", &d->name, &r->err);
    if (rc < 0)
        return definition_note(r, rc);
    if (definition_check_name(d->name, &r->err) < 0)
        problems_add_err(&r->problems, &r->err);
    rc = json_opt_int64(d->root, "seed", "definition", &seed, &r->err);
    if (rc == 0 && seed < 0)
        problems_add(&r->problems, "seed: %lld is below 0", (long long)seed);
    d->seed = (uint64_t)seed;
    return definition_note(r, rc);
}

static const char *const origin_places[ORIGIN_ROLES] = {"model", "settings.init_adapter", "task.train"};

static int keep_sweep(struct definition_reader *r, const cJSON *object, const char *key, const char *where,
                      const char **out)
{
    const char *sweep = NULL;
    int rc = definition_note(r, json_opt_string(object, key, where, &sweep, &r->err));
    if (rc == 0 && sweep && definition_check_name(sweep, &r->err) < 0)
        problems_add(&r->problems, "%s.%s: '%s' is no name of a sweep or stage", where, key, sweep);
    *out = sweep ? arena_strdup(&r->definition->arena, sweep) : NULL;
    return rc == 0 && sweep && !*out ? ERR_NOMEM : rc;
}

/* {"from": "align", "trial": "seed"}: what a sweep of the store made. `more`: keys of this place alone. */
static int read_from(struct definition_reader *r, const cJSON *object, enum origin_role role, const char *const *more)
{
    const char *keys[8] = {"from", "trial"}, *where = origin_places[role], *trial = "best";
    struct origin_source *from = &r->definition->from[role];
    for (int n = 2; *more; more++)
        keys[n++] = *more;
    definition_check_keys(r, object, where, keys, NULL);
    int rc = definition_note(r, json_get_string(object, "from", where, &from->sweep, &r->err));
    if (rc == 0)
        rc = keep_sweep(r, object, "from", where, &from->sweep);
    if (rc == 0)
        rc = definition_note(r, json_opt_string(object, "trial", where, &trial, &r->err));
    from->by_seed = strcmp(trial, "seed") == 0;
    if (!from->by_seed && strcmp(trial, "best") != 0)
        problems_add(&r->problems, "%s.trial: '%s', best or seed was expected", where, trial);
    return rc;
}

static int read_model_from(struct definition_reader *r, const cJSON *object)
{
    static const char *const more[] = {"vocabulary", "align", NULL};
    struct origin_source *from = &r->definition->from[ORIGIN_MODEL];
    bool aligns = true;
    int rc = read_from(r, object, ORIGIN_MODEL, more);
    if (rc == 0)
        rc = keep_sweep(r, object, "vocabulary", "model", &from->vocabulary);
    if (rc == 0)
        rc = definition_note(r, json_opt_bool(object, "align", "model", &aligns, &r->err));
    if (json_get(object, "align") && !from->vocabulary)
        problems_add(&r->problems, "model.align: stands without 'vocabulary', whose embeddings it is about");
    from->is_unaligned = !aligns;
    return rc;
}

static int read_model(struct definition_reader *r)
{
    const cJSON *model = json_get(r->definition->root, "model");
    /* Trained elsewhere: the model names what its settings are called, its files need not be here. */
    if (r->is_elsewhere && (!model || cJSON_IsString(model))) {
        r->definition->model = model ? model->valuestring : NULL;
        return 0;
    }
    if (json_get(model, "from"))
        return read_model_from(r, model);
    if (cJSON_IsObject(model)) {
        problems_add(&r->problems,
                     "model: a model built from a config is reserved for what this version does not do yet; "
                     "a folder's path was expected");
        return 0;
    }
    if (!cJSON_IsString(model)) {
        problems_add(&r->problems, "model: %s, the path of a model folder was expected",
                     model ? json_type_name(model) : "is missing");
        return 0;
    }
    return read_path(r, model->valuestring, "model", true, &r->definition->model);
}

/* A copy of a text member under `key`, or null. */
static int copy_text(struct definition_reader *r, const cJSON *task, const char *key, bool is_required, bool is_file)
{
    const cJSON *item = json_get(task, key);
    const char *path = NULL;
    char where[64];
    snprintf(where, sizeof(where), "task.%s", key);
    if (!item || cJSON_IsNull(item)) {
        if (is_required)
            problems_add(&r->problems, "%s: is missing, a text was expected", where);
        if (is_file)
            cJSON_AddNullToObject(r->definition->task, key);
        return 0;
    }
    if (!cJSON_IsString(item) || !item->valuestring[0]) {
        problems_add(&r->problems, "%s: %s was found, a text was expected", where, json_type_name(item));
        return 0;
    }
    int rc = is_file ? read_path(r, item->valuestring, where, false, &path) : 0;
    if (rc == 0 && !cJSON_AddStringToObject(r->definition->task, key, is_file ? path : item->valuestring))
        rc = ERR_NOMEM;
    return rc;
}

static void add_wrong(struct definition_reader *r, const struct task_key *key, const cJSON *item, const char *expected)
{
    problems_add(&r->problems, "task.%s: %s, %s was expected", key->name, item ? json_type_name(item) : "is missing",
                 expected);
}

/* A member that may be more than a text: names of columns, or an object of texts. */
static int copy_object(struct definition_reader *r, const cJSON *task, const struct task_key *key)
{
    const cJSON *item = json_get(task, key->name);
    bool is_map = key->value == VALUE_MAP, is_good = item && (is_map ? cJSON_IsObject(item) : cJSON_IsArray(item));
    int n = 0;
    if (!item && !key->is_required)
        return 0;
    for (const cJSON *member = is_good ? item->child : NULL; member; member = member->next, n++)
        is_good = is_good && cJSON_IsString(member) && member->valuestring[0];
    if (!is_good || n < 2) {
        add_wrong(r, key, item, is_map ? "an object of at least two texts" : "the name of a column or a list of names");
        return 0;
    }
    return json_put(r->definition->task, key->name, cJSON_Duplicate(item, true)) ? 0 : ERR_NOMEM;
}

/* Members of `task` that another kind has and this one has not. */
static void check_other_keys(struct definition_reader *r, const cJSON *task, const struct task_info *info)
{
    const char *own[TASK_MAX_KEYS + 1] = {0};
    for (int i = 0; info->keys[i].name; i++)
        own[i] = info->keys[i].name;
    for (const cJSON *item = task->child; item; item = item->next) {
        bool is_own = false, is_other = false;
        for (int i = 0; own[i]; i++)
            is_own = is_own || strcmp(own[i], item->string) == 0;
        for (const struct task_info *other = tasks_table; other->name; other++)
            for (int i = 0; other->keys[i].name; i++)
                is_other = is_other || strcmp(other->keys[i].name, item->string) == 0;
        if (is_other && !is_own)
            problems_add(&r->problems, "task.%s: the kind '%s' has none; it has %s", item->string, info->name,
                         task_list(own));
    }
}

/* The kind, and the columns and options that belong to it. */
static int read_kind(struct definition_reader *r, const cJSON *task)
{
    const cJSON *item = json_get(task, "kind");
    const struct task_info *info = item ? task_find(cJSON_IsString(item) ? item->valuestring : NULL) : tasks_table;
    int rc = 0;
    if (!info)
        problems_add(&r->problems, "task.kind: %s%s%s, %s was expected", cJSON_IsString(item) ? "'" : "",
                     cJSON_IsString(item) ? item->valuestring : json_type_name(item), cJSON_IsString(item) ? "'" : "",
                     task_list(task_names()));
    bool is_known = info != NULL;
    info = r->definition->task_info = is_known ? info : tasks_table;
    cJSON_AddStringToObject(r->definition->task, "kind", info->name);
    for (const struct task_key *key = info->keys; key->name && rc == 0; key++) {
        const cJSON *value = json_get(task, key->name);
        bool is_text = key->value != VALUE_MAP && !(key->value == VALUE_CHOICES && cJSON_IsArray(value));
        rc = is_text ? copy_text(r, task, key->name, key->is_required, false) : copy_object(r, task, key);
    }
    if (is_known)
        check_other_keys(r, task, info);
    return rc;
}

/* What `task` may have: the members all kinds share, and those of any kind. */
static void check_task_keys(struct definition_reader *r, const cJSON *task)
{
    static const char *const shared[] = {"kind", "train", "validation", "test", "format"};
    static const char *const reserved[] = {"source_language", "target_language", NULL};
    const char *keys[64];
    int n = 0;
    for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]); i++)
        keys[n++] = shared[i];
    for (const struct task_info *info = tasks_table; info->name; info++)
        for (int i = 0; info->keys[i].name && n < 63; i++)
            keys[n++] = info->keys[i].name;
    keys[n] = NULL;
    definition_check_keys(r, task, "task", keys, reserved);
}

/* Rows that an earlier sweep's model translates. Until then what stands beside them, or they themselves, are in their
 * place.
 */
static int read_train_from(struct definition_reader *r, const cJSON *object)
{
    static const char *const more[] = {"translate", "tag", "beside", "beams", NULL};
    struct origin_source *from = &r->definition->from[ORIGIN_TRAIN];
    const char *rows = NULL, *beside = NULL;
    double beams = 1;
    int rc = read_from(r, object, ORIGIN_TRAIN, more);
    if (rc == 0)
        rc = definition_note(r, json_get_string(object, "translate", "task.train", &rows, &r->err));
    if (rc == 0 && rows)
        rc = read_path(r, rows, "task.train.translate", false, &from->rows);
    if (rc == 0)
        rc = definition_note(r, json_opt_string(object, "beside", "task.train", &beside, &r->err));
    if (rc == 0 && beside)
        rc = read_path(r, beside, "task.train.beside", false, &from->beside);
    from->tag = "";
    if (rc == 0)
        rc = definition_note(r, json_opt_string(object, "tag", "task.train", &from->tag, &r->err));
    if (rc == 0)
        rc = definition_number(r, object, "task.train", "beams", 1, 64, true, &beams);
    from->beams = (int)beams;
    const char *now = from->beside ? from->beside : from->rows;
    if (rc == 0 && now && !cJSON_AddStringToObject(r->definition->task, "train", now))
        rc = ERR_NOMEM;
    return rc;
}

static int read_task(struct definition_reader *r)
{
    static const char *const formats[] = {"jsonl", "csv", "tsv", NULL};
    const cJSON *task = definition_section(r, "task");
    if (r->is_elsewhere)
        return 0;
    if (!task) {
        if (!json_get(r->definition->root, "task"))
            problems_add(&r->problems, "task: is missing, an object was expected");
        return 0;
    }
    check_task_keys(r, task);
    const cJSON *train = json_get(task, "train");
    int rc = cJSON_IsObject(train) ? read_train_from(r, train) : copy_text(r, task, "train", true, true);
    if (rc == 0)
        rc = copy_text(r, task, "validation", false, true);
    if (rc == 0)
        rc = copy_text(r, task, "test", false, true);
    if (rc == 0)
        rc = read_kind(r, task);
    if (rc == 0 && cJSON_IsObject(train) && strcmp(json_get(r->definition->task, "kind")->valuestring, "seq2seq") != 0)
        problems_add(&r->problems, "task.train.from: rows are translated for the kind seq2seq alone");
    if (rc == 0)
        rc = copy_text(r, task, "format", false, false);
    const cJSON *format = json_get(r->definition->task, "format");
    bool is_known = !format;
    for (const char *const *f = formats; *f && !is_known; f++)
        is_known = strcmp(*f, format->valuestring) == 0;
    if (!is_known)
        problems_add(&r->problems, "task.format: '%s', jsonl, csv or tsv was expected", format->valuestring);
    return rc;
}

/* A setting given as cases, [{"when": …, "value": …}], is a parameter with one value a case. */
static bool is_cases(const cJSON *value)
{
    return cJSON_IsArray(value) && cJSON_IsObject(value->child) && json_get(value->child, "value");
}

static int move_cases(struct definition_reader *r, cJSON *parameters, cJSON *setting)
{
    int rc = 0;
    for (cJSON *item = setting->child; item && rc == 0; item = item->next) {
        cJSON *value = cJSON_DetachItemFromObjectCaseSensitive(item, "value"), *values = cJSON_CreateArray();
        if (!value)
            problems_add(&r->problems, "settings.%s: each case needs a 'value'", setting->string);
        json_append(values, value);
        if (!json_put(item, "values", values))
            rc = ERR_NOMEM;
    }
    return json_put(parameters, setting->string, setting) ? rc : ERR_NOMEM;
}

/* A starting adapter that an earlier sweep makes: the setting stands, its value is filled in trial by trial (job.c). */
static int take_init_adapter(struct definition_reader *r, cJSON *item)
{
    static const char *const none[] = {NULL};
    int rc = read_from(r, item, ORIGIN_ADAPTER, none);
    cJSON *placeholder = rc == 0 ? cJSON_CreateString(ORIGIN_PLACEHOLDER) : NULL;
    if (rc == 0 && (!placeholder || !cJSON_ReplaceItemInObjectCaseSensitive((cJSON *)(uintptr_t)r->definition->settings,
                                                                            "init_adapter", placeholder))) {
        cJSON_Delete(placeholder);
        rc = ERR_NOMEM;
    }
    return rc;
}

static int read_settings(struct definition_reader *r)
{
    struct definition *d = r->definition;
    cJSON *settings = (cJSON *)(uintptr_t)definition_section(r, "settings");
    cJSON *parameters = cJSON_GetObjectItemCaseSensitive(d->root, "parameters");
    char where[256];
    int rc = 0;
    if (!settings && !(settings = cJSON_AddObjectToObject(d->root, json_get(d->root, "settings") ? "" : "settings")))
        return ERR_NOMEM;
    d->settings = settings;
    for (cJSON *item = settings->child, *next; item && rc == 0; item = next) {
        const struct setting *setting = settings_find(item->string);
        char text[320];
        next = item->next;
        snprintf(where, sizeof(where), "settings.%.200s", item->string);
        if (strcmp(item->string, "init_adapter") == 0 && cJSON_IsObject(item)) {
            rc = take_init_adapter(r, item);
            continue;
        }
        if (d->is_free)
            continue;
        snprintf(text, sizeof(text), "%s: is not known", where);
        if (!setting)
            problems_add_unknown(&r->problems, text, item->string, settings_names());
        else if (is_cases(item) && cJSON_IsObject(parameters) && !json_get(parameters, item->string))
            rc = move_cases(r, parameters, cJSON_DetachItemViaPointer(settings, item));
        else
            rc = definition_note(r, settings_check(setting, item, where, &r->err));
    }
    if (!d->is_free && json_get(settings, "steps") && json_get(settings, "epochs"))
        problems_add(&r->problems, "settings.steps: stands beside 'epochs'; one of them decides the length");
    return rc;
}

/* Settings and parameters that mean nothing to the task. */
static void check_task_settings(struct definition_reader *r)
{
    const struct definition *d = r->definition;
    for (const cJSON *item = d->settings ? d->settings->child : NULL; item && !d->is_free; item = item->next) {
        bool is_off = cJSON_IsString(item) && strcmp(item->valuestring, "none") == 0;
        const char *why = is_off ? NULL : task_refuses_setting(d->task_info, item->string);
        if (why)
            problems_add(&r->problems, "settings.%s: does not apply to the task %s: %s", item->string,
                         d->task_info->name, why);
    }
    for (int i = 0; i < d->space.n_parameters && !d->is_free; i++) {
        const char *why = task_refuses_setting(d->task_info, d->space.parameters[i].name);
        if (why)
            problems_add(&r->problems, "parameters.%s: does not apply to the task %s: %s", d->space.parameters[i].name,
                         d->task_info->name, why);
    }
}

#define WORDS_SETTING "augmentation_words"
const char *const adapter_settings[] = {"init_adapter", "stacked_on", "fused_adapters", WORDS_SETTING, NULL};

/* A saved adapter is a folder, a list of words a file. */
static int add_init_adapter(struct definition_reader *r, const cJSON *value, const char *where)
{
    struct definition *d = r->definition;
    if (d->from[ORIGIN_ADAPTER].sweep && cJSON_IsString(value) && strcmp(value->valuestring, ORIGIN_PLACEHOLDER) == 0)
        return 0;
    if (!cJSON_IsString(value))
        return 0; /* settings_check and space_read say so */
    for (int i = 0; i < d->n_init_adapters; i++)
        if (strcmp(d->init_adapters[i].name, value->valuestring) == 0)
            return 0;
    if (d->n_init_adapters == INIT_ADAPTERS_MAX) {
        problems_add(&r->problems, "%s: more than %d adapters to start from", where, INIT_ADAPTERS_MAX);
        return 0;
    }
    struct init_adapter *adapter = &d->init_adapters[d->n_init_adapters++];
    adapter->name = arena_strdup(&d->arena, value->valuestring);
    return adapter->name ? read_path(r, value->valuestring, where, !strstr(where, WORDS_SETTING), &adapter->path)
                         : ERR_NOMEM;
}

/* A folder, or a list of them. */
static int add_folders(struct definition_reader *r, const cJSON *value, const char *where)
{
    int rc = cJSON_IsArray(value) ? 0 : add_init_adapter(r, value, where);
    for (const cJSON *item = cJSON_IsArray(value) ? value->child : NULL; rc == 0 && item; item = item->next)
        rc = add_init_adapter(r, item, where);
    return rc;
}

/* The saved adapters that trials start from or build on: of the settings that name some, and of the parameters' values.
 */
static int read_init_adapters(struct definition_reader *r)
{
    struct definition *d = r->definition;
    int rc = 0;
    d->init_adapters = arena_calloc(&d->arena, INIT_ADAPTERS_MAX, sizeof(*d->init_adapters));
    if (!d->init_adapters)
        return ERR_NOMEM;
    for (const char *const *name = adapter_settings; *name && rc == 0; name++) {
        const cJSON *parameter = json_get(json_get(d->root, "parameters"), *name);
        const cJSON *cases = cJSON_IsArray(parameter) ? parameter->child : parameter;
        char where[64];
        snprintf(where, sizeof(where), "settings.%s", *name);
        rc = add_folders(r, json_get(d->settings, *name), where);
        snprintf(where, sizeof(where), "parameters.%s.values", *name);
        for (; rc == 0 && cases; cases = cJSON_IsArray(parameter) ? cases->next : NULL) {
            const cJSON *values = json_get(cases, "values");
            for (const cJSON *value = values ? values->child : NULL; rc == 0 && value; value = value->next)
                rc = add_folders(r, value, where);
        }
    }
    return rc;
}

static int read_space(struct definition_reader *r)
{
    struct definition *d = r->definition;
    const cJSON *parameters = json_get(d->root, "parameters");
    if (!parameters) {
        problems_add(&r->problems, "parameters: is missing, an object of parameters was expected");
        return 0;
    }
    if (d->is_free)
        return definition_note(r,
                               space_read_free(&d->space, parameters, d->settings, &d->arena, &r->problems, &r->err));
    return definition_note(r, space_read(&d->space, parameters, d->settings, &d->arena, &r->problems, &r->err));
}

/* The kind's row; NULL after a problem. */
static const struct check_info *read_check_kind(struct definition_reader *r, const char *kind, const char *where)
{
    const struct check_info *info = check_find(kind);
    if (info)
        return info;
    struct text list = {0};
    const char *nearest = text_nearest(kind, check_names());
    for (const char *const *name = check_names(); *name; name++)
        text_printf(&list, "%s%s", list.len ? (name[1] ? ", " : " or ") : "", *name);
    problems_add(&r->problems, "%s.kind: '%s', %s was expected%s%s%s", where, kind, list.data ? list.data : "",
                 nearest ? "; nearest is '" : "", nearest ? nearest : "", nearest ? "'" : "");
    text_done(&list);
    return NULL;
}

/* What only this kind has, and whether it can be measured at all. */
static int read_check_options(struct definition_reader *r, const cJSON *item, const struct check_info *info,
                              const char *where, struct check *check)
{
    const char *keys[CHECK_MAX_OPTIONS + 4] = {"kind", "items"};
    int n = 2, rc = 0;
    if (info->has_file)
        keys[n++] = "file";
    for (int i = 0; info->options[i].name; i++)
        keys[n++] = info->options[i].name;
    definition_check_keys(r, item, where, keys, NULL);
    const cJSON *task = json_get(r->definition->task, "kind");
    const char *refusal = check_refuses_task(info, cJSON_IsString(task) ? task->valuestring : "classification");
    if (refusal)
        problems_add(&r->problems, "%s: '%s' does not apply: %s", where, info->name, refusal);
    if (info->needs_test && !cJSON_IsString(json_get(r->definition->task, "test")))
        problems_add(&r->problems, "%s: %s measures on the test rows, and task.test is missing", where, info->name);
    for (int i = 0; info->options[i].name && rc == 0; i++) {
        const char *name = info->options[i].name;
        rc = definition_note(r, info->options[i].is_required
                                    ? json_get_string(item, name, where, &check->options[i], &r->err)
                                    : json_opt_string(item, name, where, &check->options[i], &r->err));
    }
    return rc;
}

static int read_check(struct definition_reader *r, const cJSON *item, int index)
{
    struct definition *d = r->definition;
    struct check *check = &d->checks[index];
    const char *file = NULL;
    char where[64], file_where[80];
    snprintf(where, sizeof(where), "checks[%d]", index);
    snprintf(file_where, sizeof(file_where), "%s.file", where);
    if (!cJSON_IsObject(item)) {
        problems_add(&r->problems, "%s: %s was found, an object was expected", where, json_type_name(item));
        return 0;
    }
    int rc = definition_note(r, json_get_string(item, "kind", where, &check->kind, &r->err));
    const struct check_info *info = rc == 0 && check->kind ? read_check_kind(r, check->kind, where) : NULL;
    if (rc == 0 && info)
        rc = read_check_options(r, item, info, where, check);
    if (rc == 0 && info && info->has_file)
        rc = definition_note(r, json_get_string(item, "file", where, &file, &r->err));
    if (rc == 0 && file)
        rc = read_path(r, file, file_where, false, &check->file);
    if (rc == 0)
        rc = definition_note(r, json_opt_bool(item, "items", where, &check->items, &r->err));
    check->name = arena_printf(&d->arena, "%d:%s", index, check->kind ? check->kind : "");
    return check->name ? rc : ERR_NOMEM;
}

static int read_checks(struct definition_reader *r)
{
    struct definition *d = r->definition;
    const cJSON *list = json_get(d->root, "checks");
    int n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0, rc = 0;
    if (!list)
        return 0;
    if (!cJSON_IsArray(list) || n > CHECKS_MAX) {
        problems_add(&r->problems, "checks: a list of at most %d checks was expected", CHECKS_MAX);
        return 0;
    }
    d->checks = arena_calloc(&d->arena, (size_t)n + 1, sizeof(*d->checks));
    if (!d->checks)
        return ERR_NOMEM;
    d->n_checks = n;
    for (int i = 0; i < n && rc == 0; i++)
        rc = read_check(r, cJSON_GetArrayItem(list, i), i);
    return rc;
}

int definition_number(struct definition_reader *r, const cJSON *object, const char *section_name, const char *key,
                      double min, double max, bool is_int, double *out)
{
    double value = *out;
    int rc = definition_note(r, json_opt_double(object, key, section_name, &value, &r->err));
    if (rc == 0 && (value < min || value > max || (is_int && value != floor(value))))
        problems_add(&r->problems, "%s.%s: %g, a %snumber from %.10g to %.10g was expected", section_name, key, value,
                     is_int ? "whole " : "", min, max);
    else
        *out = value;
    return rc;
}

/* A number of seconds, or a text such as "20m". */
static int read_duration(struct definition_reader *r, const cJSON *object, const char *section_name, const char *key,
                         double *out)
{
    const cJSON *item = json_get(object, key);
    if (!item)
        return 0;
    if (cJSON_IsNumber(item) && item->valuedouble > 0)
        *out = item->valuedouble;
    else if (!cJSON_IsString(item) || text_parse_duration(item->valuestring, out, &r->err) < 0 || *out <= 0)
        problems_add(&r->problems, "%s.%s: a duration such as \"20m\" or \"1h30m\" was expected", section_name, key);
    return 0;
}

static int read_resources(struct definition_reader *r)
{
    static const char *const keys[] = {"slots", "threads", "memory", "time", "retries", NULL};
    struct resources *out = &r->definition->resources;
    const cJSON *resources = definition_section(r, "resources"), *memory;
    double slots = 0, threads = 1, retries = 2;
    *out = (struct resources){.threads = 1, .retries = 2};
    if (!resources)
        return 0;
    definition_check_keys(r, resources, "resources", keys, NULL);
    int rc = definition_number(r, resources, "resources", "slots", 0, 4096, true, &slots);
    if (rc == 0)
        rc = definition_number(r, resources, "resources", "threads", 1, 1024, true, &threads);
    if (rc == 0)
        rc = definition_number(r, resources, "resources", "retries", 0, 1000, true, &retries);
    if (rc == 0)
        rc = read_duration(r, resources, "resources", "time", &out->time_seconds);
    memory = json_get(resources, "memory");
    if (cJSON_IsNumber(memory) && memory->valuedouble >= 1 && memory->valuedouble <= 9007199254740992.0 &&
        memory->valuedouble == floor(memory->valuedouble))
        out->memory_bytes = (uint64_t)memory->valuedouble;
    else if (memory &&
             (!cJSON_IsString(memory) || text_parse_bytes(memory->valuestring, &out->memory_bytes, &r->err) < 0))
        problems_add(&r->problems, "resources.memory: a size such as \"2GiB\" was expected");
    out->slots = (int)slots;
    out->threads = (int)threads;
    out->retries = (int)retries;
    return rc;
}

static bool is_time_of_day(const char *text)
{
    return strlen(text) == 5 && text[2] == ':' && strspn(text, "0123456789:") == 5 && strchr(text + 3, ':') == NULL &&
           strtol(text, NULL, 10) < 24 && strtol(text + 3, NULL, 10) < 60;
}

static int read_budget(struct definition_reader *r)
{
    static const char *const keys[] = {"trials", "steps", "for", "until", "cpu", NULL};
    struct budget *out = &r->definition->budget;
    const cJSON *budget = definition_section(r, "budget"), *until;
    double trials = 0, steps = 0;
    if (!budget)
        return 0;
    definition_check_keys(r, budget, "budget", keys, NULL);
    int rc = json_get(budget, "trials") ? definition_number(r, budget, "budget", "trials", 1, 1e9, true, &trials) : 0;
    out->trials = (int64_t)trials;
    if (rc == 0 && json_get(budget, "steps"))
        rc = definition_number(r, budget, "budget", "steps", 1, 1e15, true, &steps);
    out->steps = (int64_t)steps;
    if (rc == 0)
        rc = read_duration(r, budget, "budget", "for", &out->seconds);
    if (rc == 0)
        rc = read_duration(r, budget, "budget", "cpu", &out->cpu_seconds);
    until = json_get(budget, "until");
    if (until && (!cJSON_IsString(until) || !is_time_of_day(until->valuestring)))
        problems_add(&r->problems, "budget.until: a time of day such as \"07:00\" was expected");
    else if (until)
        out->until = until->valuestring;
    return rc;
}

static int read_order(struct definition_reader *r)
{
    const char *order = "free";
    int rc = definition_note(r, json_opt_string(r->definition->root, "order", "definition", &order, &r->err));
    r->definition->is_strict = strcmp(order, "strict") == 0;
    if (!r->definition->is_strict && strcmp(order, "free") != 0)
        problems_add(&r->problems, "order: '%s', strict or free was expected", order);
    return rc;
}

static int read_licenses(struct definition_reader *r)
{
    static const char *const keys[] = {"model", "data", NULL};
    struct definition *d = r->definition;
    const cJSON *licenses = definition_section(r, "licenses");
    if (!licenses)
        return 0;
    definition_check_keys(r, licenses, "licenses", keys, NULL);
    int rc = definition_note(r, json_opt_string(licenses, "model", "licenses", &d->model_license, &r->err));
    return rc < 0 ? rc : definition_note(r, json_opt_string(licenses, "data", "licenses", &d->data_license, &r->err));
}

/* What hangs on several sections: which seeds there are must be known where each has a start of its own. */
static void check_from(struct definition_reader *r)
{
    struct definition *d = r->definition;
    bool is_asked = json_get(json_get(d->root, "search"), "reevaluate") != NULL;
    for (int role = 0; role < ORIGIN_ROLES; role++) {
        const char *where = origin_places[role];
        if (!d->from[role].sweep)
            continue;
        if (d->name && strcmp(d->from[role].sweep, d->name) == 0)
            problems_add(&r->problems, "%s.from: '%s' is this sweep itself", where, d->name);
        if (d->from[role].by_seed && json_get(json_get(d->root, "parameters"), "seed"))
            problems_add(&r->problems, "%s.trial: seed: 'seed' is a parameter, so that trials have no common seeds",
                         where);
        if (d->from[role].by_seed && d->reevaluations > 0 && is_asked)
            problems_add(&r->problems, "%s.trial: seed: search.reevaluate adds seeds that the earlier sweep has not",
                         where);
        else if (d->from[role].by_seed)
            d->reevaluations = 0;
    }
}

static int read_root(struct definition_reader *r)
{
    static const char *const keys[] = {"name",     "seed",    "model",      "task",     "settings",    "parameters",
                                       "search",   "seeds",   "objectives", "checks",   "resources",   "budget",
                                       "reuse",    "$schema", "notes",      "stopping", "constraints", "order",
                                       "licenses", "stages",  NULL};
    static const char *const reserved[] = {"tasks",           "init_adapter",    "templates",
                                           "source_language", "target_language", NULL};
    struct definition *d = r->definition;
    double seeds = 1;
    if (json_get(d->root, "stages"))
        problems_add(&r->problems, "stages: one definition was expected here, not a file of several stages");
    definition_check_keys(r, d->root, "", keys, reserved);
    int rc = read_name(r);
    if (rc == 0)
        rc = read_model(r);
    if (rc == 0)
        rc = read_task(r);
    if (rc == 0)
        rc = read_settings(r);
    if (rc == 0)
        rc = read_space(r);
    if (rc == 0)
        check_task_settings(r);
    if (rc == 0 && !d->is_free)
        rc = read_init_adapters(r);
    if (rc == 0)
        rc = definition_number(r, d->root, "definition", "seeds", 1, 10000, true, &seeds);
    d->seeds = (int)seeds;
    if (rc == 0)
        rc = definition_read_search(r);
    if (rc == 0)
        rc = definition_read_objectives(r);
    if (rc == 0)
        rc = definition_read_stopping(r);
    if (rc == 0)
        rc = definition_read_constraints(r);
    if (rc == 0)
        rc = read_checks(r);
    if (rc == 0)
        definition_check_reported(r);
    if (rc == 0)
        rc = read_resources(r);
    if (rc == 0)
        rc = read_budget(r);
    if (rc == 0)
        rc = read_order(r);
    if (rc == 0)
        rc = read_licenses(r);
    check_from(r);
    return rc < 0 ? rc : definition_note(r, json_opt_bool(d->root, "reuse", "definition", &d->reuse, &r->err));
}

/* Whole file ------------------------------------------------------------------------------------------------------- */

static int parse(struct definition *definition, const char *text, const char *folder, const char *path,
                 bool is_elsewhere, struct err *err)
{
    struct definition_reader r = {.definition = definition, .is_elsewhere = is_elsewhere};
    *definition = (struct definition){
        .task_info = tasks_table, .reuse = true, .remarks = "", .resources = {.threads = 1, .retries = 2}};
    int rc = json_parse(text, strlen(text), &definition->root, err);
    if (rc < 0)
        return err_wrap(err, "'%s'", path);
    if (!cJSON_IsObject(definition->root))
        return err_set(err, ERR_USAGE, "'%s': %s was found, an object was expected", path,
                       json_type_name(definition->root));
    hash_bytes(text, strlen(text), definition->sha256);
    definition->text = arena_strdup(&definition->arena, text);
    definition->folder = arena_strdup(&definition->arena, folder);
    definition->task = cJSON_CreateObject();
    definition->is_free = is_elsewhere && !json_get(definition->root, "model");
    rc = definition->text && definition->folder && definition->task ? read_root(&r) : ERR_NOMEM;
    if (rc < 0)
        rc = err_set(err, ERR_NOMEM, "'%s': no memory to read it", path);
    else
        rc = json_check_memory(err);
    if (rc == 0)
        rc = problems_result(&r.problems, path, err);
    problems_done(&r.problems);
    return rc;
}

int definition_parse(struct definition *definition, const char *text, const char *folder, const char *path,
                     struct err *err)
{
    return parse(definition, text, folder, path, false, err);
}

int definition_parse_elsewhere(struct definition *definition, const char *text, const char *path, struct err *err)
{
    return parse(definition, text, ".", path, true, err);
}

/* A sweep file in YAML: its text becomes that of a definition. */
static int convert(char **text, size_t n, const char *path, struct text *remarks, struct err *err)
{
    cJSON *converted = NULL;
    struct text json = {0};
    int rc = wandb_convert(*text, n, path, &converted, remarks, err);
    if (rc < 0)
        return rc;
    json_add(&json, converted);
    json_free(converted);
    if (json.failed)
        return err_set(err, ERR_NOMEM, "'%s': no memory to read it", path);
    free(*text);
    *text = text_take(&json);
    return 0;
}

int definition_file_read(struct definition_file *file, const char *path, struct err *err)
{
    struct text remarks = {0};
    char *absolute = NULL;
    size_t n = 0;
    *file = (struct definition_file){0};
    int rc = file_absolute(path, &absolute, err);
    if (rc == 0)
        rc = file_read(absolute, DEFINITION_MAX_BYTES, &file->text, &n, err);
    if (rc == 0 && strlen(file->text) != n)
        rc = err_set(err, ERR_FORMAT, "'%s': byte %zu is a NUL", path, strlen(file->text) + 1);
    if (rc == 0 && !(file->folder = file_folder(absolute)))
        rc = err_set(err, ERR_NOMEM, "'%s': no memory to read it", path);
    if (rc == 0 && wandb_is_path(path))
        rc = convert(&file->text, n, path, &remarks, err);
    if (rc == 0 && remarks.failed)
        rc = err_set(err, ERR_NOMEM, "'%s': no memory to read it", path);
    file->remarks = text_take(&remarks);
    free(absolute);
    return rc;
}

void definition_file_done(struct definition_file *file)
{
    free(file->text);
    free(file->folder);
    free(file->remarks);
    *file = (struct definition_file){0};
}

static int read_file(struct definition *definition, const char *path, bool is_elsewhere, struct err *err)
{
    struct definition_file file;
    *definition = (struct definition){0};
    int rc = definition_file_read(&file, path, err);
    if (rc == 0)
        rc = parse(definition, file.text, file.folder, path, is_elsewhere, err);
    if (rc == 0 && file.remarks && !(definition->remarks = arena_strdup(&definition->arena, file.remarks)))
        rc = err_set(err, ERR_NOMEM, "'%s': no memory to read it", path);
    definition_file_done(&file);
    return rc;
}

int definition_read(struct definition *definition, const char *path, struct err *err)
{
    return read_file(definition, path, false, err);
}

int definition_read_elsewhere(struct definition *definition, const char *path, struct err *err)
{
    return read_file(definition, path, true, err);
}

void definition_done(struct definition *definition)
{
    json_free(definition->root);
    cJSON_Delete(definition->task);
    arena_done(&definition->arena);
    *definition = (struct definition){0};
}

const char *const origin_roles[ORIGIN_ROLES] = {"model", "init_adapter", "train"};

bool definition_has_from(const struct definition *definition)
{
    bool has = false;
    for (int role = 0; role < ORIGIN_ROLES; role++)
        has = has || definition->from[role].sweep;
    return has;
}

const struct origin *definition_origin(const struct definition *definition, enum origin_role role, uint64_t seed)
{
    for (int i = 0; i < definition->n_origins; i++) {
        const struct origin *origin = &definition->origins[i];
        if (origin->role == role && (!origin->has_seed || origin->seed == seed))
            return origin;
    }
    return NULL;
}

/* Extending -------------------------------------------------------------------------------------------------------- */

static void add_difference(struct problems *problems, const char *path, const cJSON *was, const cJSON *is)
{
    struct text a = {0}, b = {0};
    if (was)
        json_add_canonical(&a, was);
    if (is)
        json_add_canonical(&b, is);
    problems_add(problems, "%s: was %s, is now %s", path, was && a.data ? a.data : "absent",
                 is && b.data ? b.data : "absent");
    text_done(&a);
    text_done(&b);
}

/* Whether a setting has this value also when it is absent. What hangs on the method may differ from trial to trial. */
static bool is_default(const cJSON *settings, const cJSON *item)
{
    const struct setting *setting = settings_find(item->string);
    if (!setting || (strcmp(setting->name, "learning_rate") == 0 && !json_get(settings, "method")))
        return false;
    cJSON *fallback = settings_default(setting, settings);
    bool is_equal = fallback && json_equal(fallback, item);
    cJSON_Delete(fallback);
    return is_equal;
}

/* Members that differ between two objects (either may be NULL). */
static void compare_objects(struct problems *problems, const char *where, const cJSON *was, const cJSON *is,
                            bool has_defaults)
{
    char path[300];
    for (const cJSON *item = was ? was->child : NULL; item; item = item->next) {
        const cJSON *other = json_get(is, item->string);
        snprintf(path, sizeof(path), "%s.%.200s", where, item->string);
        if (other ? !json_equal(item, other) : !has_defaults || !is_default(is, item))
            add_difference(problems, path, item, other);
    }
    for (const cJSON *item = is ? is->child : NULL; item; item = item->next)
        if (!json_get(was, item->string) && !(has_defaults && is_default(was, item))) {
            snprintf(path, sizeof(path), "%s.%.200s", where, item->string);
            add_difference(problems, path, NULL, item);
        }
}

static bool has_same_objectives(const struct definition *a, const struct definition *b)
{
    bool is_same = a->n_objectives == b->n_objectives;
    for (int i = 0; is_same && i < a->n_objectives; i++)
        is_same = text_equal(a->objectives[i].metric, b->objectives[i].metric) &&
                  a->objectives[i].is_maximized == b->objectives[i].is_maximized;
    return is_same;
}

int definition_check_extends(const struct definition *earlier, const struct definition *next, struct err *err)
{
    struct problems problems = {0};
    compare_objects(&problems, "settings", earlier->settings, next->settings, true);
    compare_objects(&problems, "task", earlier->task, next->task, false);
    bool has_from = earlier->from[ORIGIN_MODEL].sweep || next->from[ORIGIN_MODEL].sweep;
    if (has_from && !json_equal(json_get(earlier->root, "model"), json_get(next->root, "model")))
        add_difference(&problems, "model", json_get(earlier->root, "model"), json_get(next->root, "model"));
    else if (!has_from && !text_equal(earlier->model, next->model))
        problems_add(&problems, "model: was '%s', is now '%s'", earlier->model, next->model);
    const cJSON *rows_were = json_get(json_get(earlier->root, "task"), "train");
    const cJSON *rows_are = json_get(json_get(next->root, "task"), "train");
    if ((cJSON_IsObject(rows_were) || cJSON_IsObject(rows_are)) && !json_equal(rows_were, rows_are))
        add_difference(&problems, "task.train", rows_were, rows_are);
    const struct origin_source *was = &earlier->from[ORIGIN_ADAPTER], *is = &next->from[ORIGIN_ADAPTER];
    if (was->sweep && is->sweep && (!text_equal(was->sweep, is->sweep) || was->by_seed != is->by_seed))
        problems_add(&problems, "settings.init_adapter: was from '%s' by %s, is now from '%s' by %s", was->sweep,
                     was->by_seed ? "seed" : "best", is->sweep, is->by_seed ? "seed" : "best");
    if (earlier->seed != next->seed)
        add_difference(&problems, "seed", json_get(earlier->root, "seed"), json_get(next->root, "seed"));
    if (!has_same_objectives(earlier, next))
        add_difference(&problems, "objectives", json_get(earlier->root, "objectives"),
                       json_get(next->root, "objectives"));
    int rc = 0;
    if (problems.n)
        rc = err_set(err, ERR_USAGE,
                     "sweep '%s' is in the store with another definition; --new NAME starts another sweep:\n%s",
                     next->name, problems.list.data ? problems.list.data : "");
    problems_done(&problems);
    return rc;
}
