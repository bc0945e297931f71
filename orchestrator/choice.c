/* Sweeps and trials by what people call them. */
#include "orchestrator/choice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int choice_read_trial(const struct command_line *line, char **sweep, int64_t *number, struct err *err)
{
    const char *argument = line->arguments[0], *slash = strrchr(argument, '/'), *option = command_value(line, "sweep");
    if (text_parse_int64(slash ? slash + 1 : argument, number, NULL) < 0 || *number < 1 || slash == argument)
        return err_set(err, ERR_USAGE, "%s: '%.80s' is no trial, a number or SWEEP/NUMBER was expected",
                       line->command->name, argument);
    if (slash && option)
        return err_set(err, ERR_USAGE, "%s: the sweep is named twice, by '%.80s' and by --sweep", line->command->name,
                       argument);
    if (!slash && !option)
        return 0;
    *sweep = option ? strdup(option) : strndup(argument, (size_t)(slash - argument));
    return *sweep ? 0 : err_set(err, ERR_NOMEM, "no memory for a name");
}

int choice_only_sweep(struct store *store, const char *command, char **sweep, struct err *err)
{
    struct arena arena = {0};
    struct text list = {0};
    const char *const *names = NULL;
    int rc = store_sweep_names(store, &arena, &names, err);
    for (int i = 0; rc == 0 && names[i] && i < 20; i++)
        text_printf(&list, "%s%s", i ? ", " : "", names[i]);
    if (rc == 0 && !names[0])
        rc = err_set(err, ERR_NOT_FOUND, "there is no sweep in '%s' yet", store_path(store));
    else if (rc == 0 && names[1])
        rc = err_set(err, ERR_USAGE, "%s: which sweep? '%s' has %s; %s was expected", command, store_path(store),
                     list.data,
                     text_equal(command, "show") || text_equal(command, "explain") ? "SWEEP/NUMBER" : "its name");
    else if (rc == 0 && !(*sweep = strdup(names[0])))
        rc = err_set(err, ERR_NOMEM, "no memory for a name");
    text_done(&list);
    arena_done(&arena);
    return rc;
}

/* A stage has none until what it starts from is there. */
static int no_trials(struct store *store, const char *sweep, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int code = sqlite3_prepare_v2(store_database(store),
                                  "SELECT w.name, (SELECT COUNT(*) FROM trial t WHERE t.sweep_id = w.id), (SELECT "
                                  "COUNT(*) FROM trial t WHERE t.sweep_id = w.id AND t.state IN ('WAITING', 'RUNNING', "
                                  "'PAUSED')) FROM sweep s JOIN sweep w ON w.state <> 'COMPLETE' AND w.name IN "
                                  "(json_extract(s.definition, '$.model.from'), "
                                  "json_extract(s.definition, '$.settings.init_adapter.from')) WHERE s.name = ?1",
                                  -1, &row, NULL);
    int rc = 0;
    if (code == SQLITE_OK)
        sqlite3_bind_text(row, 1, sweep, -1, SQLITE_STATIC);
    if (code == SQLITE_OK && sqlite3_step(row) == SQLITE_ROW)
        rc = err_set(err, ERR_NOT_FOUND,
                     "sweep '%s' has no trials yet: it waits for sweep '%s', which has %d open of %d", sweep,
                     (const char *)sqlite3_column_text(row, 0), sqlite3_column_int(row, 2), sqlite3_column_int(row, 1));
    else
        rc = err_set(err, ERR_NOT_FOUND, "sweep '%s' has no trials yet", sweep);
    sqlite3_finalize(row);
    return rc;
}

int choice_find_trial(struct store *store, const char *sweep, int64_t number, int64_t *id, struct err *err)
{
    sqlite3 *db = store_database(store);
    sqlite3_stmt *row = NULL;
    int64_t sweep_id = 0, most = 0;
    int rc = store_find_sweep(store, sweep, &sweep_id, err);
    if (rc == 0 && sweep_id == 0)
        rc = err_set(err, ERR_NOT_FOUND, "there is no sweep '%s' in '%s'", sweep, store_path(store));
    if (rc == 0 && sqlite3_prepare_v2(db,
                                      "SELECT (SELECT id FROM trial WHERE sweep_id = ?1 AND number = ?2), MAX(number)"
                                      " FROM trial WHERE sweep_id = ?1",
                                      -1, &row, NULL) != SQLITE_OK)
        rc = err_set(err, ERR_STORE, "%s: cannot read the trials: %s", store_path(store), sqlite3_errmsg(db));
    if (rc == 0) {
        sqlite3_bind_int64(row, 1, sweep_id);
        sqlite3_bind_int64(row, 2, number);
        if (sqlite3_step(row) == SQLITE_ROW) {
            *id = sqlite3_column_int64(row, 0);
            most = sqlite3_column_int64(row, 1);
        }
    }
    sqlite3_finalize(row);
    if (rc == 0 && *id == 0 && most == 0)
        rc = no_trials(store, sweep, err);
    else if (rc == 0 && *id == 0)
        rc = err_set(err, ERR_NOT_FOUND, "sweep '%s' has no trial %lld, its trials are 1 to %lld", sweep,
                     (long long)number, (long long)most);
    return rc;
}

int choice_read_target(const struct command_line *line, struct store *store, const char *argument, struct choice *out,
                       struct err *err)
{
    const char *slash = strrchr(argument, '/'), *number = slash ? slash + 1 : argument;
    int64_t id = 0;
    struct choice choice = {0};
    int rc = store_find_sweep(store, argument, &id, err);
    if (rc < 0)
        return rc;
    if (id == 0 && text_parse_int64(number, &choice.trial, NULL) == 0 && choice.trial > 0) {
        if (slash)
            choice.sweep = strndup(argument, (size_t)(slash - argument));
        else
            rc = choice_only_sweep(store, line->command->name, &choice.sweep, err);
    } else
        choice.sweep = strdup(argument);
    if (rc == 0 && !choice.sweep)
        rc = err_set(err, ERR_NOMEM, "no memory for a name");
    if (rc == 0)
        rc = choice.trial ? choice_find_trial(store, choice.sweep, choice.trial, &id, err)
                          : choice_check_sweep(store, choice.sweep, err);
    if (rc == 0)
        *out = choice;
    else
        free(choice.sweep);
    return rc;
}

int choice_check_sweep(struct store *store, const char *name, struct err *err)
{
    struct arena arena = {0};
    const char *const *names = NULL;
    int64_t id = 0;
    int rc = store_find_sweep(store, name, &id, err);
    if (rc == 0 && id == 0)
        rc = store_sweep_names(store, &arena, &names, err);
    if (rc == 0 && id == 0) {
        const char *nearest = text_nearest(name, names);
        rc = err_set(err, ERR_NOT_FOUND, "there is no sweep '%s' in '%s'%s%s%s", name, store_path(store),
                     nearest ? ", nearest is '" : "", nearest ? nearest : "", nearest ? "'" : "");
    }
    arena_done(&arena);
    return rc;
}

int choice_run_trial(const struct command_line *line, const char *command, choice_trial_fn answer, struct err *err)
{
    struct store *store = NULL;
    struct text out = {0};
    char *sweep = NULL;
    int64_t number = 0, id = 0;
    int rc = choice_read_trial(line, &sweep, &number, err);
    if (rc == 0)
        rc = store_open(&store, line->store, STORE_READ, err);
    if (rc == 0 && !sweep)
        rc = choice_only_sweep(store, command, &sweep, err);
    if (rc == 0)
        rc = choice_find_trial(store, sweep, number, &id, err);
    if (rc == 0)
        rc = answer(&out, line, store, id, err);
    rc = command_print(&out, "the trial", rc, err);
    store_close(store);
    free(sweep);
    return rc;
}
