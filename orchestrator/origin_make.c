/* Making what a later stage starts from. */
#include "orchestrator/origin_make.h"

#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "orchestrator/child.h"
#include "orchestrator/job.h"
#include "orchestrator/trained.h"

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for what a sweep starts from");
}

/* The answer says how many; nobody needs it here. */
static int on_line(char *line, size_t n, void *context, struct err *err)
{
    (void)line;
    (void)n;
    (void)context;
    (void)err;
    return 0;
}

static int ask(const char *command, const struct text *request, struct err *err)
{
    const char *const argv[] = {"nightsweep-trainer", command, NULL};
    const struct child_options options = {
        .argv = argv, .input = request->data, .input_len = request->len, .on_line = on_line};
    return request->failed ? no_memory(err) : child_run(&options, err);
}

static void add_member(struct text *out, const char *key, const char *value)
{
    text_printf(out, "%s\"%s\":", out->len ? "," : "{", key);
    text_add_json(out, value);
}

static char *with_ending(const char *path, const char *ending)
{
    struct text name = {0};
    text_printf(&name, "%s%s", path, ending);
    return text_take(&name);
}

/* The model of a trial at `path`, replacing what a killed run left there. */
static int merge(struct store *store, int64_t trial_id, const char *path, struct err *err)
{
    struct trained trained = {0};
    int rc = file_remove_tree(path, err);
    if (rc == 0)
        rc = trained_read(&trained, store, trial_id, err);
    if (rc == 0)
        rc = trained_merge(&trained, path, NULL, NULL, err);
    trained_done(&trained);
    return rc;
}

/* The trial's model with the vocabulary of another sweep's best one. */
static int make_extended(const struct origin_source *from, struct store *store, int64_t trial_id, const char *path,
                         struct err *err)
{
    char *own = with_ending(path, ".tmp-own"), *other = with_ending(path, ".tmp-vocabulary");
    struct text request = {0};
    int64_t best = 0;
    int rc = own && other ? origin_find_best(store, from->vocabulary, &best, err) : no_memory(err);
    if (rc == 0)
        rc = merge(store, trial_id, own, err);
    if (rc == 0)
        rc = merge(store, best, other, err);
    if (rc == 0)
        rc = file_remove_tree(path, err);
    if (rc == 0) {
        add_member(&request, "model", own);
        add_member(&request, "vocabulary", other);
        add_member(&request, "output", path);
        text_printf(&request, ",\"align\":%s}\n", from->is_unaligned ? "false" : "true");
        rc = ask("--extend", &request, err);
    }
    if (own && other && (file_remove_tree(own, NULL) < 0 || file_remove_tree(other, NULL) < 0) && rc == 0)
        rc = err_set(err, ERR_IO, "'%s' cannot be removed", own);
    text_done(&request);
    free(own);
    free(other);
    return rc;
}

/* Rows that the trial's model translates. */
static int make_rows(const struct definition *d, struct store *store, int64_t trial_id, const char *path,
                     struct err *err)
{
    const struct origin_source *from = &d->from[ORIGIN_TRAIN];
    const cJSON *longest = json_get(d->settings, "max_tokens");
    char *model = with_ending(path, ".tmp-model");
    struct text request = {0};
    int rc = model ? merge(store, trial_id, model, err) : no_memory(err);
    if (rc == 0) {
        add_member(&request, "model", model);
        add_member(&request, "rows", from->rows);
        add_member(&request, "tag", from->tag);
        if (from->beside)
            add_member(&request, "beside", from->beside);
        add_member(&request, "output", path);
        text_printf(&request, ",\"beams\":%d,\"max_tokens\":%.0f,\"task\":", from->beams,
                    cJSON_IsNumber(longest) ? longest->valuedouble : 128.0);
        json_add(&request, d->task);
        text_add(&request, "}\n");
        rc = ask("--synthesize", &request, err);
    }
    if (model && file_remove_tree(model, NULL) < 0 && rc == 0)
        rc = err_set(err, ERR_IO, "'%s' cannot be removed", model);
    text_done(&request);
    free(model);
    return rc;
}

static int find_adapter(struct store *store, int64_t trial_id, char **path, struct err *err)
{
    struct trained trained = {0};
    int rc = trained_read(&trained, store, trial_id, err);
    char *adapter = rc == 0 ? strdup(trained.adapter) : NULL;
    if (rc == 0 && !adapter)
        rc = no_memory(err);
    if (rc == 0) {
        free(*path);
        *path = adapter;
    }
    trained_done(&trained);
    return rc;
}

int origin_hash(enum origin_role role, const char *path, const struct store *store, char sha256[HASH_HEX_SIZE],
                struct err *err)
{
    char *cache = job_hash_cache(store_path(store)); /* NULL: nothing is kept */
    int rc = role == ORIGIN_MODEL     ? hash_model(path, cache, sha256, err)
             : role == ORIGIN_ADAPTER ? hash_folder(path, cache, sha256, err)
                                      : hash_file_cached(path, cache, sha256, err);
    free(cache);
    return rc;
}

int origin_make(const struct definition *d, struct store *store, enum origin_role role, int64_t trial_id, char **path,
                char sha256[HASH_HEX_SIZE], struct err *err)
{
    int rc = role == ORIGIN_ADAPTER     ? find_adapter(store, trial_id, path, err)
             : role == ORIGIN_TRAIN     ? make_rows(d, store, trial_id, *path, err)
             : d->from[role].vocabulary ? make_extended(&d->from[role], store, trial_id, *path, err)
                                        : merge(store, trial_id, *path, err);
    return rc < 0 ? rc : origin_hash(role, *path, store, sha256, err);
}
