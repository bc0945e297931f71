/* Earlier sweeps, read from the store. */
#include "orchestrator/warm_start.h"

#include <string.h>

#include "orchestrator/study_log.h"

#define METRICS_OF(id)                                                                                                 \
    "(SELECT json_group_object(name, value) FROM (SELECT o.metric AS name, v.value AS value FROM objective_value v "   \
    "JOIN trial vt ON vt.id = v.trial_id JOIN objective o ON o.sweep_id = vt.sweep_id AND o.position = v.position "    \
    "WHERE v.trial_id = " id " UNION ALL SELECT 'bias/' || metric, after FROM bias_check WHERE id IN "                 \
    "(SELECT MIN(id) FROM bias_check WHERE trial_id = " id " GROUP BY metric) UNION ALL SELECT 'seconds', "            \
    "SUM(seconds) FROM attempt WHERE trial_id = " id " HAVING SUM(seconds) > 0 UNION ALL SELECT 'parameters', "        \
    "trained_parameters FROM trial WHERE id = " id " AND trained_parameters > 0))"

const char warm_start_metrics_sql[] = "SELECT " METRICS_OF("?1");

static const char trials_sql[] = "SELECT t.number, c.settings, " METRICS_OF(
    "t.id") " FROM trial t JOIN configuration c ON c.id = t.configuration_id "
            "WHERE t.id IN (SELECT r.id FROM trial r JOIN configuration k ON k.id = r.configuration_id "
            "WHERE r.sweep_id = ?1 AND r.state = 'COMPLETE' AND k.role = 'search' ORDER BY r.number DESC LIMIT ?2) "
            "ORDER BY t.number";

struct loading {
    struct store *store;
    struct study *study;
    int (*on_record)(const char *record, void *context, struct err *err);
    void *context;
    int n_taken, n_left;
};

static int take(struct loading *loading, const char *sweep, const char *settings, const char *values, struct err *err)
{
    cJSON *parameters = NULL, *metrics = NULL;
    struct text record = {0};
    bool is_taken = false;
    int rc = json_parse(settings, strlen(settings), &parameters, err);
    if (rc == 0)
        rc = json_parse(values, strlen(values), &metrics, err);
    if (rc == 0)
        rc = study_observe(loading->study, sweep, parameters, metrics, &is_taken, err);
    if (rc == 0 && is_taken) {
        study_log_observe(&record, sweep, parameters, metrics);
        rc = record.failed ? err_set(err, ERR_NOMEM, "no memory for earlier sweeps")
                           : loading->on_record(record.data, loading->context, err);
    }
    loading->n_taken += is_taken;
    loading->n_left += !is_taken;
    text_done(&record);
    json_free(parameters);
    json_free(metrics);
    return rc;
}

static int load_sweep(struct loading *loading, const char *sweep, const char *const *names, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int64_t id = 0;
    int rc = store_find_sweep(loading->store, sweep, &id, err), code = SQLITE_DONE;
    if (rc == 0 && id == 0) {
        const char *near = text_nearest(sweep, names);
        rc = err_set(err, ERR_NOT_FOUND, "search.warm_start: there is no sweep '%s' in '%s'%s%s%s", sweep,
                     store_path(loading->store), near ? ", nearest is '" : "", near ? near : "", near ? "'" : "");
    }
    if (rc == 0 && sqlite3_prepare_v2(store_database(loading->store), trials_sql, -1, &row, NULL) != SQLITE_OK)
        rc = err_set(err, ERR_STORE, "store '%s': earlier sweeps cannot be read: %s", store_path(loading->store),
                     sqlite3_errmsg(store_database(loading->store)));
    if (rc == 0) {
        sqlite3_bind_int64(row, 1, id);
        sqlite3_bind_int64(row, 2, WARM_START_MAX);
    }
    while (rc == 0 && (code = sqlite3_step(row)) == SQLITE_ROW)
        rc = take(loading, sweep, (const char *)sqlite3_column_text(row, 1), (const char *)sqlite3_column_text(row, 2),
                  err);
    if (rc == 0 && code != SQLITE_DONE)
        rc = err_set(err, ERR_STORE, "store '%s': earlier sweeps cannot be read: %s", store_path(loading->store),
                     sqlite3_errmsg(store_database(loading->store)));
    sqlite3_finalize(row);
    return rc;
}

int warm_start_load(struct store *store, const struct definition *definition, struct study *study,
                    int (*on_record)(const char *record, void *context, struct err *err), void *context, int *n_taken,
                    int *n_left, struct err *err)
{
    struct loading loading = {.store = store, .study = study, .on_record = on_record, .context = context};
    struct arena arena = {0};
    const char *const *names = NULL;
    int rc = store_sweep_names(store, &arena, &names, err);
    if (rc == 0 && cJSON_IsTrue(definition->warm_start))
        for (int i = 0; names[i] && rc == 0; i++)
            rc = strcmp(names[i], definition->name) == 0 ? 0 : load_sweep(&loading, names[i], names, err);
    else
        for (const cJSON *item = definition->warm_start->child; item && rc == 0; item = item->next)
            rc = load_sweep(&loading, item->valuestring, names, err);
    arena_done(&arena);
    *n_taken = loading.n_taken;
    *n_left = loading.n_left;
    return rc;
}
