/* Stages: a file becomes the texts of plain definitions, which are then read as any other. */
#include "orchestrator/stages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/problems.h"

static int no_memory(const char *path, struct err *err)
{
    return err_set(err, ERR_NOMEM, "'%s': no memory to read it", path);
}

/* Merging ------------------------------------------------------------------------------------------------------------
 */

/* RFC 7396: members of `patch` go over those of `object`, null takes them away. */
static bool merge_patch(cJSON *object, const cJSON *patch)
{
    for (const cJSON *item = patch->child; item; item = item->next) {
        cJSON *there = cJSON_GetObjectItemCaseSensitive(object, item->string);
        if (cJSON_IsObject(item) && cJSON_IsObject(there)) {
            if (!merge_patch(there, item))
                return false;
            continue;
        }
        cJSON_DeleteItemFromObjectCaseSensitive(object, item->string);
        if (cJSON_IsNull(item))
            continue;
        if (!json_put(object, item->string, cJSON_Duplicate(item, true)))
            return false;
    }
    return true;
}

/* What a stage starts from replaces what the common part has there, whatever that is. */
static void drop_common_start(cJSON *merged, const cJSON *stage)
{
    if (json_get(stage, "model"))
        cJSON_DeleteItemFromObjectCaseSensitive(merged, "model");
    if (json_get(json_get(stage, "settings"), "init_adapter"))
        cJSON_DeleteItemFromObjectCaseSensitive(cJSON_GetObjectItemCaseSensitive(merged, "settings"), "init_adapter");
    if (json_get(json_get(stage, "task"), "train"))
        cJSON_DeleteItemFromObjectCaseSensitive(cJSON_GetObjectItemCaseSensitive(merged, "task"), "train");
}

/* Reading ------------------------------------------------------------------------------------------------------------
 */

struct reading {
    struct stages *stages;
    const char *path, *folder;
    cJSON *root;
    const cJSON *list;
    const char **names; /* of the stages, without the sweep's */
    struct problems problems;
};

static int find_stage(const struct reading *r, const char *name, int n)
{
    for (int i = 0; i < n; i++)
        if (r->names[i] && strcmp(r->names[i], name) == 0)
            return i;
    return -1;
}

static int read_names(struct reading *r, struct err *err)
{
    int i = 0, n = cJSON_GetArraySize(r->list);
    struct err problem = {0};
    r->names = arena_calloc(&r->stages->arena, (size_t)n + 1, sizeof(*r->names));
    if (!r->names)
        return no_memory(r->path, err);
    for (const cJSON *stage = r->list->child; stage; stage = stage->next, i++) {
        char where[64];
        const char *name = NULL;
        snprintf(where, sizeof(where), "stages[%d]", i);
        if (!cJSON_IsObject(stage)) {
            problems_add(&r->problems, "%s: %s was found, an object was expected", where, json_type_name(stage));
            continue;
        }
        if (json_get_string(stage, "name", where, &name, &problem) < 0 || definition_check_name(name, &problem) < 0) {
            if (name)
                err_wrap(&problem, "%s", where);
            problems_add_err(&r->problems, &problem);
            continue;
        }
        if (find_stage(r, name, i) >= 0)
            problems_add(&r->problems, "%s.name: '%s' is an earlier stage's name too", where, name);
        if (json_get(stage, "stages"))
            problems_add(&r->problems, "%s.stages: a stage has none of its own", where);
        r->names[i] = name;
    }
    return 0;
}

/* "from": "align" of a stage becomes the sweep's name, and so does "vocabulary". */
static int resolve_name(struct reading *r, cJSON *object, const char *key, const char *where, int index,
                        struct err *err)
{
    cJSON *from = cJSON_GetObjectItemCaseSensitive(object, key);
    struct text full = {0};
    int rc = 0;
    if (!cJSON_IsString(from))
        return 0; /* the definition says what is wrong with it */
    int stage = find_stage(r, from->valuestring, cJSON_GetArraySize(r->list));
    if (stage >= index)
        problems_add(&r->problems, "stages[%d].%s.%s: '%s' is %s; an earlier stage was expected", index, where, key,
                     from->valuestring, stage == index ? "this stage itself" : "a later stage");
    if (stage < 0 || stage >= index)
        return 0;
    text_printf(&full, "%s.%s", r->stages->name, from->valuestring);
    if (full.failed || !cJSON_SetValuestring(from, full.data))
        rc = no_memory(r->path, err);
    text_done(&full);
    return rc;
}

static cJSON *member(cJSON *object, const char *key)
{
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;
}

static int resolve_all(struct reading *r, cJSON *merged, int index, struct err *err)
{
    cJSON *model = member(merged, "model"), *adapter = member(member(merged, "settings"), "init_adapter");
    int rc = resolve_name(r, model, "from", "model", index, err);
    if (rc == 0)
        rc = resolve_name(r, model, "vocabulary", "model", index, err);
    if (rc == 0)
        rc = resolve_name(r, adapter, "from", "settings.init_adapter", index, err);
    return rc < 0 ? rc : resolve_name(r, member(member(merged, "task"), "train"), "from", "task.train", index, err);
}

/* The text of a stage's definition. */
static int write_stage(struct reading *r, const cJSON *stage, int index, struct text *out, struct err *err)
{
    struct text name = {0};
    cJSON *merged = cJSON_Duplicate(r->root, true);
    cJSON_DeleteItemFromObjectCaseSensitive(merged, "stages");
    text_printf(&name, "%s.%s", r->stages->name, r->names[index]);
    int rc = merged && !name.failed ? 0 : no_memory(r->path, err);
    if (rc == 0) {
        drop_common_start(merged, stage);
        cJSON *whole = cJSON_CreateString(name.data);
        bool is_merged = merge_patch(merged, stage);
        if (!is_merged || !whole || !cJSON_ReplaceItemInObjectCaseSensitive(merged, "name", whole)) {
            cJSON_Delete(whole);
            rc = no_memory(r->path, err);
        }
    }
    if (rc == 0 && !json_get(merged, "parameters") && !cJSON_AddObjectToObject(merged, "parameters"))
        rc = no_memory(r->path, err);
    if (rc == 0)
        rc = resolve_all(r, merged, index, err);
    if (rc == 0)
        json_add(out, merged);
    cJSON_Delete(merged);
    text_done(&name);
    return rc == 0 && out->failed ? no_memory(r->path, err) : rc;
}

/* Until an earlier stage is done its own model tells sizes and times of what starts from it. */

static int find_stand_in(struct stages *stages, int index, const char *path, struct err *err)
{
    struct definition *d = &stages->items[index];
    const char *found = NULL;
    for (int i = 0; d->from[ORIGIN_MODEL].sweep && i < index; i++)
        if (strcmp(stages->items[i].name, d->from[ORIGIN_MODEL].sweep) == 0)
            found = stages->items[i].model ? stages->items[i].model : stages->items[i].stand_in;
    if (found && !(d->stand_in = arena_strdup(&d->arena, found)))
        return no_memory(path, err);
    return 0;
}

static int read_stage(struct reading *r, const cJSON *stage, int index, struct err *err)
{
    struct text text = {0}, label = {0};
    text_printf(&label, "%s, stage %s", r->path, r->names[index]);
    int rc = write_stage(r, stage, index, &text, err);
    if (rc == 0 && label.failed)
        rc = no_memory(r->path, err);
    if (rc == 0 && r->problems.n == 0) {
        rc = definition_parse(&r->stages->items[index], text.data, r->folder, label.data, err);
        r->stages->n = index + 1;
    }
    if (rc == 0 && r->problems.n == 0)
        rc = find_stand_in(r->stages, index, r->path, err);
    text_done(&text);
    text_done(&label);
    return rc;
}

static int read_stages(struct reading *r, struct err *err)
{
    int i = 0, n = cJSON_IsArray(r->list) ? cJSON_GetArraySize(r->list) : 0, rc = 0;
    r->stages->is_staged = true;
    if (n < 1 || n > STAGES_MAX)
        return err_set(err, ERR_USAGE, "'%s': stages: a list of 1 to %d stages was expected", r->path, STAGES_MAX);
    r->stages->items = calloc((size_t)n, sizeof(*r->stages->items));
    rc = r->stages->items ? read_names(r, err) : no_memory(r->path, err);
    for (const cJSON *stage = r->list->child; stage && rc == 0 && r->problems.n == 0; stage = stage->next)
        rc = read_stage(r, stage, i++, err);
    return rc == 0 ? problems_result(&r->problems, r->path, err) : rc;
}

static int read_single(struct reading *r, const char *text, const char *new_name, struct err *err)
{
    r->stages->items = calloc(1, sizeof(*r->stages->items));
    if (!r->stages->items)
        return no_memory(r->path, err);
    r->stages->n = 1;
    int rc = definition_parse(&r->stages->items[0], text, r->folder, r->path, err);
    if (rc == 0 && new_name && !(r->stages->items[0].name = arena_strdup(&r->stages->items[0].arena, new_name)))
        rc = no_memory(r->path, err);
    if (rc == 0)
        r->stages->name = r->stages->items[0].name;
    return rc;
}

int stages_parse(struct stages *stages, const char *text, const char *folder, const char *path, const char *new_name,
                 struct err *err)
{
    struct reading r = {.stages = stages, .path = path, .folder = folder};
    *stages = (struct stages){.remarks = ""};
    int rc = new_name ? definition_check_name(new_name, err) : 0;
    if (rc == 0 && (rc = json_parse(text, strlen(text), &r.root, err)) < 0)
        err_wrap(err, "'%s'", path);
    r.list = json_get(r.root, "stages");
    if (rc == 0 && !r.list)
        rc = read_single(&r, text, new_name, err);
    else if (rc == 0) {
        const char *name = new_name;
        rc = name ? 0 : json_get_string(r.root, "name", "definition", &name, err);
        if (rc == 0)
            rc = definition_check_name(name, err);
        if (rc < 0)
            err_wrap(err, "'%s'", path);
        if (rc == 0 && !(stages->name = arena_strdup(&stages->arena, name)))
            rc = no_memory(path, err);
        if (rc == 0)
            rc = read_stages(&r, err);
    }
    problems_done(&r.problems);
    json_free(r.root);
    return rc;
}

int stages_read(struct stages *stages, const char *path, const char *new_name, struct err *err)
{
    struct definition_file file;
    *stages = (struct stages){.remarks = ""};
    int rc = definition_file_read(&file, path, err);
    if (rc == 0)
        rc = stages_parse(stages, file.text, file.folder, path, new_name, err);
    if (rc == 0 && file.remarks && !(stages->remarks = arena_strdup(&stages->arena, file.remarks)))
        rc = no_memory(path, err);
    definition_file_done(&file);
    return rc;
}

struct definition stages_take(struct stages *stages, int i)
{
    struct definition taken = stages->items[i];
    stages->items[i] = (struct definition){0};
    return taken;
}

void stages_done(struct stages *stages)
{
    for (int i = 0; i < stages->n; i++)
        definition_done(&stages->items[i]);
    free(stages->items);
    arena_done(&stages->arena);
    *stages = (struct stages){0};
}
