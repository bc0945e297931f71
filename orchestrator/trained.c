/* Trials that kept an adapter, found in the store. */
#include "orchestrator/trained.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/hash.h"
#include "common/json.h"
#include "common/log.h"
#include "orchestrator/child.h"
#include "orchestrator/origin.h"

void trained_done(struct trained *t)
{
    definition_done(&t->definition);
    free(t->adapter);
    free(t->test);
    json_free(t->recorded);
}

/* ?1 the trial; its adapter is its own, or that of an equal trial whose result it took. */
static const char query[] =
    "SELECT s.definition, s.folder, o.output_folder, t.state, t.number, a.path, (SELECT e.model_sha256 FROM attempt r"
    " JOIN environment e ON e.id = r.environment_id WHERE r.trial_id = a.trial_id ORDER BY r.number DESC LIMIT 1),"
    " (SELECT metrics FROM evaluation WHERE trial_id = t.id AND split = 'test' AND is_final), t.sweep_id, t.seed FROM "
    "trial t"
    " JOIN sweep s ON s.id = t.sweep_id LEFT JOIN trial k ON k.identity = t.identity AND EXISTS (SELECT 1 FROM artifact"
    " WHERE trial_id = k.id AND path LIKE '%/nightsweep.json') LEFT JOIN artifact a ON a.trial_id = k.id AND a.path "
    "LIKE"
    " '%/nightsweep.json' LEFT JOIN sweep o ON o.id = k.sweep_id WHERE t.id = ?1 ORDER BY k.id = t.id DESC LIMIT 1";

static const char *column(sqlite3_stmt *row, int i)
{
    return (const char *)sqlite3_column_text(row, i);
}

/* The base must be the one that the adapter was trained on. */
static int check_model(const struct trained *t, const char *trained_on, struct err *err)
{
    char now[HASH_HEX_SIZE];
    int rc = hash_model(t->definition.model, NULL, now, err);
    if (rc == 0 && trained_on && !text_equal(now, trained_on))
        rc = err_set(err, ERR_DATA, "the model '%s' is not the one the trial was trained on (hash %.12s, %.12s was)",
                     t->definition.model, now, trained_on);
    return rc;
}

/* Of a stage: the model that this trial was trained on. */
static int find_base(struct trained *t, struct store *store, int64_t sweep_id, uint64_t seed, struct err *err)
{
    int rc = definition_has_from(&t->definition) ? origin_load(&t->definition, store, sweep_id, err) : 0;
    origin_use_seed(&t->definition, seed);
    if (rc == 0 && !t->definition.model)
        rc = err_set(err, ERR_NOT_FOUND, "the model that the trial started from is not in '%s'", store_path(store));
    return rc;
}

static int read_row(struct trained *t, struct store *store, sqlite3_stmt *row, struct err *err)
{
    const char *path = column(row, 5), *metrics = column(row, 7);
    if (!path)
        return err_set(err, ERR_NOT_FOUND, "trial %d is %s and has no adapter", sqlite3_column_int(row, 4),
                       column(row, 3));
    int rc = definition_parse(&t->definition, column(row, 0), column(row, 1), "the stored definition", err);
    if (rc < 0)
        return rc;
    rc = find_base(t, store, sqlite3_column_int64(row, 8), (uint64_t)sqlite3_column_int64(row, 9), err);
    if (rc < 0)
        return rc;
    char *file = file_join(column(row, 2), path);
    t->adapter = file ? file_folder(file) : NULL;
    free(file);
    if (!t->adapter)
        return err_set(err, ERR_NOMEM, "no memory for a path");
    if (!file_is_folder(t->adapter))
        return err_set(err, ERR_NOT_FOUND, "the adapter '%s' is gone (deleted, or never kept)", t->adapter);
    const cJSON *test = json_get(t->definition.task, "test");
    if (cJSON_IsString(test) && !(t->test = strdup(test->valuestring)))
        return err_set(err, ERR_NOMEM, "no memory for a path");
    if (metrics)
        rc = json_parse(metrics, strlen(metrics), &t->recorded, err);
    return rc < 0 ? rc : check_model(t, column(row, 6), err);
}

int trained_read(struct trained *t, struct store *store, int64_t id, struct err *err)
{
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(store_database(store), query, -1, &row, NULL) != SQLITE_OK)
        return err_set(err, ERR_STORE, "'%s': %s", store_path(store), sqlite3_errmsg(store_database(store)));
    sqlite3_bind_int64(row, 1, id);
    int rc = sqlite3_step(row) == SQLITE_ROW
                 ? read_row(t, store, row, err)
                 : err_set(err, ERR_STORE, "'%s': the trial cannot be read", store_path(store));
    sqlite3_finalize(row);
    return rc;
}

int trained_run(const struct command_line *line, choice_trial_fn answer, struct err *err)
{
    struct command_line own = *line;
    const char *trial = command_value(line, "trial");
    if (trial && line->n_arguments > 0)
        return err_set(err, ERR_USAGE, "%s: the trial is named twice, by '%.80s' and by --trial", line->command->name,
                       line->arguments[0]);
    if (!trial && line->n_arguments == 0)
        return err_set(err, ERR_USAGE, "%s: a trial was expected, a number or SWEEP/NUMBER", line->command->name);
    char *arguments[] = {(char *)(uintptr_t)trial}; /* only read */
    if (trial) {
        own.arguments = arguments;
        own.n_arguments = 1;
    }
    return choice_run_trial(&own, line->command->name, answer, err);
}

static int ask_to_merge(const struct trained *t, const char *output, const char *format, const char *type,
                        struct err *err)
{
    static const char *const argv[] = {"nightsweep-trainer", "--merge", NULL};
    struct text request = {0};
    text_add(&request, "{\"model\":");
    text_add_json(&request, t->definition.model);
    text_add(&request, ",\"adapter\":");
    text_add_json(&request, t->adapter);
    text_add(&request, ",\"output\":");
    text_add_json(&request, output);
    text_add(&request, ",\"format\":");
    text_add_json(&request, format ? format : "safetensors");
    text_add(&request, ",\"type\":");
    text_add_json(&request, type ? type : "f32");
    text_add(&request, ",\"task\":");
    json_add(&request, t->definition.task);
    text_add(&request, "}\n");
    const struct child_options options = {.argv = argv, .input = request.data, .input_len = request.len};
    int rc = request.failed ? err_set(err, ERR_NOMEM, "no memory for a request") : child_run(&options, err);
    text_done(&request);
    return rc;
}

int trained_merge(const struct trained *t, const char *output, const char *format, const char *type, struct err *err)
{
    struct text name = {0};
    text_printf(&name, "%s.tmp-merge", output);
    int rc = name.failed ? err_set(err, ERR_NOMEM, "no memory for a path") : file_remove_tree(name.data, err);
    if (rc == 0)
        rc = file_make_folders(name.data, err);
    if (rc == 0)
        rc = ask_to_merge(t, name.data, format, type, err);
    if (rc == 0 && rename(name.data, output) < 0)
        rc = err_set_errno(err, "'%s' cannot be made", output);
    if (rc < 0 && name.data && file_remove_tree(name.data, NULL) < 0)
        log_debug("merge", "'%s' is left", name.data);
    text_done(&name);
    return rc;
}
