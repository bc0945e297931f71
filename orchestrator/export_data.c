/* What the page knows of a sweep, as JSON: a few values, the summary, and tables as columns (export_columns.h). The
 * page computes everything else from them, so that a filter applies to every chart alike. */
#include "orchestrator/export_page.h"

#include <string.h>
#include <time.h>

#include "common/version.h"
#include "orchestrator/compare.h"
#include "orchestrator/export_columns.h"
#include "orchestrator/export_curves.h"
#include "orchestrator/summary.h"

/* Seconds since 1970 of a stored time. */
#define SECONDS(column) "(julianday(" column ") - 2440587.5) * 86400.0"

static const char trials_sql[] =
    "SELECT t.number AS trial, c.number AS configuration, c.role, CAST(t.seed AS TEXT) AS seed, t.state, t.reason, "
    "t.message, t.value,"
    " t.steps, t.total_steps, t.trained_parameters, t.stored_bytes, t.flops,"
    " CASE json_type(c.settings, '$.method') WHEN 'array' THEN (SELECT group_concat(j.value, '+')"
    "   FROM json_each(c.settings, '$.method') j) ELSE json_extract(c.settings, '$.method') END AS method,"
    " (SELECT json_extract(e.metrics, '$.' || substr(o.metric, instr(o.metric, '/') + 1)) FROM evaluation e"
    "   WHERE e.trial_id = t.id AND e.split = 'test' AND e.is_final ORDER BY e.step DESC LIMIT 1) AS test,"
    " (SELECT COUNT(*) FROM attempt a WHERE a.trial_id = t.id) AS attempts,"
    " (SELECT SUM(a.seconds) FROM attempt a WHERE a.trial_id = t.id) AS seconds,"
    " (SELECT MAX(a.peak_bytes) FROM attempt a WHERE a.trial_id = t.id) AS peak_bytes,"
    " (SELECT a.tokens_per_second FROM attempt a WHERE a.trial_id = t.id ORDER BY a.number DESC LIMIT 1)"
    "   AS tokens_per_second, " SECONDS("t.created_at") " AS created_at, " SECONDS(
        "t.finished_at") " AS finished_at"
                         " FROM trial t JOIN configuration c ON c.id = t.configuration_id"
                         " LEFT JOIN objective o ON o.sweep_id = t.sweep_id AND o.position = 0 WHERE t.sweep_id = ?1 "
                         "ORDER BY t.number";

/* The number or the text of each searched value; the column holds both. */
static const char parameters_sql[] =
    "SELECT t.number AS trial, p.name, p.value FROM trial t JOIN parameter_value p ON p.trial_id = t.id"
    " WHERE t.sweep_id = ?1 ORDER BY t.number, p.name";

/* Everything that applies to a configuration, defaults included; of a large sweep it stays in the store. */
static const char configurations_sql[] =
    "SELECT number AS configuration, settings FROM configuration WHERE sweep_id = ?1"
    " AND (SELECT COUNT(*) FROM trial WHERE sweep_id = ?1) <= 5000 ORDER BY number";

static const char objective_values_sql[] =
    "SELECT t.number AS trial, v.position, v.value FROM trial t JOIN objective_value v ON v.trial_id = t.id"
    " WHERE t.sweep_id = ?1 AND v.position > 0 ORDER BY t.number, v.position";

/* Logs are shown for what went wrong, and for everything while a sweep is small. */
static const char attempts_sql[] =
    "SELECT t.number AS trial, a.number AS attempt, a.state, a.reason, a.message, a.worker, a.slot, a.resumed_step,"
    " a.bit_exact, a.exit_status, a.signal, a.seconds, a.tokens_per_second, a.peak_bytes,"
    " " SECONDS("a.started_at") " AS started_at, " SECONDS(
        "a.ended_at") " AS ended_at,"
                      " CASE WHEN a.state = 'FAILED' OR (SELECT COUNT(*) FROM trial WHERE sweep_id = ?1) <= 500"
                      "   THEN substr(a.log_tail, -4000) END AS log_tail"
                      " FROM trial t JOIN attempt a ON a.trial_id = t.id WHERE t.sweep_id = ?1 ORDER BY t.number, "
                      "a.number";

/* Everything but the curves of the better trials: f1 per class, confusion. */
static const char evaluations_sql[] =
    "SELECT t.number AS trial, e.split, e.step, e.n_items, e.metrics FROM trial t"
    " JOIN evaluation e ON e.trial_id = t.id LEFT JOIN objective o ON o.sweep_id = t.sweep_id AND o.position = 0"
    " WHERE t.sweep_id = ?1 AND e.is_final"
    " ORDER BY CASE o.goal WHEN 'maximize' THEN -t.value ELSE t.value END, t.number, e.split LIMIT 800";

static const char checks_sql[] = "SELECT t.number AS trial, b.check_name AS \"check\", b.metric, b.n_items, b.before, "
                                 "b.after, b.delta, b.low, b.high"
                                 " FROM trial t JOIN bias_check b ON b.trial_id = t.id WHERE t.sweep_id = ?1"
                                 " ORDER BY t.number, b.check_name, b.metric";

/* Of a large sweep: what was decided at a step, and why trials were stopped. That and why the others went on, and why
 * each was proposed, stays in the store. */
static const char decisions_sql[] =
    "WITH size AS (SELECT COUNT(*) > 5000 AS is_large FROM trial WHERE sweep_id = ?1)"
    " SELECT t.number AS trial, d.rule, d.step, d.action,"
    " CASE WHEN NOT is_large OR d.action IN ('prune', 'stop') THEN d.reason END AS reason"
    " FROM size, decision d LEFT JOIN trial t ON t.id = d.trial_id"
    " WHERE d.sweep_id = ?1 AND (NOT is_large OR d.step IS NOT NULL) ORDER BY d.id";

static const char artifacts_sql[] =
    "SELECT t.number AS trial, a.kind, a.path, a.bytes, a.sha256 FROM trial t JOIN artifact a ON a.trial_id = t.id"
    " LEFT JOIN objective o ON o.sweep_id = t.sweep_id AND o.position = 0 WHERE t.sweep_id = ?1"
    " ORDER BY CASE o.goal WHEN 'maximize' THEN -t.value ELSE t.value END, t.number, a.path LIMIT 4000";

static const char events_sql[] = "SELECT t.number AS trial, e.kind, e.message, " SECONDS(
    "e.created_at") " AS created_at FROM event e"
                    " LEFT JOIN trial t ON t.id = e.trial_id WHERE e.sweep_id = ?1 ORDER BY e.id DESC LIMIT 500";

static const char objectives_sql[] = "SELECT metric, goal FROM objective WHERE sweep_id = ?1 ORDER BY position";

static const char environments_sql[] =
    "SELECT DISTINCT e.program_version, e.git_commit, e.blas_version, e.blas_core, e.cpu, e.kernel_level, e.compute,"
    " e.model_sha256, e.tokenizer_sha256, e.data_sha256 FROM environment e JOIN attempt a ON a.environment_id = e.id"
    " JOIN trial t ON t.id = a.trial_id WHERE t.sweep_id = ?1 ORDER BY e.id LIMIT 50";

static const char inputs_sql[] = "SELECT role, path, sha256, license, license_source FROM input WHERE sweep_id = ?1"
                                 " ORDER BY role <> 'model', role <> 'train', role <> 'validation'";

static const char origins_sql[] = "SELECT role, seed, from_sweep, from_trial, sha256 FROM origin WHERE sweep_id = ?1"
                                  " ORDER BY role, from_trial, seed LIMIT 500";

/* Searched values stay exact: people filter by them. */
static const struct {
    const char *key, *sql;
    bool is_exact;
} tables[] = {
    {"objectives", objectives_sql, true},
    {"trials", trials_sql, false},
    {"parameters", parameters_sql, true},
    {"configurations", configurations_sql, true},
    {"objective_values", objective_values_sql, false},
    {"attempts", attempts_sql, false},
    {"evaluations", evaluations_sql, false},
    {"checks", checks_sql, false},
    {"decisions", decisions_sql, false},
    {"artifacts", artifacts_sql, false},
    {"events", events_sql, false},
    {"environments", environments_sql, false},
    {"inputs", inputs_sql, false},
    {"origins", origins_sql, false},
};

static void add_text_column(struct text *out, sqlite3_stmt *row, int c)
{
    text_add(out, c ? "," : "");
    text_add_json(out, sqlite3_column_name(row, c));
    text_add_char(out, ':');
    const char *s = (const char *)sqlite3_column_text(row, c);
    if (s)
        export_json_text(out, s, (size_t)sqlite3_column_bytes(row, c));
    else
        text_add(out, "null");
}

static int add_head(struct text *out, struct store *store, int64_t sweep_id, struct err *err)
{
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(store_database(store),
                           "SELECT name, state, definition, definition_sha256, created_at, finished_at,"
                           " CAST(seed AS TEXT) AS seed, output_folder FROM sweep WHERE id = ?1",
                           -1, &row, NULL) != SQLITE_OK)
        return export_sql_error(store, "a sweep", err);
    sqlite3_bind_int64(row, 1, sweep_id);
    int step = sqlite3_step(row);
    for (int c = 0; step == SQLITE_ROW && c < sqlite3_column_count(row); c++)
        add_text_column(out, row, c);
    int rc = step == SQLITE_ROW ? 0 : export_sql_error(store, "a sweep", err);
    sqlite3_finalize(row);
    return rc;
}

static int add_summary(struct text *out, struct store *store, const char *sweep, struct err *err)
{
    struct arena arena = {0};
    struct summary summary;
    int rc = summary_read(store, sweep, &arena, &summary, err);
    if (rc == 0) {
        text_add(out, ",\n\"summary\":");
        summary_add_json(out, &summary);
    }
    arena_done(&arena);
    return rc;
}

/* What compare says, where there is something to compare and not so much that it would take long. */
static int add_comparison(struct text *out, struct store *store, const char *sweep, int64_t n_trials, struct err *err)
{
    enum { MOST_TRIALS = 500, RESAMPLES = 2000 };
    const struct compare_options options = {.margin = 0.01, .resamples = RESAMPLES};
    struct arena arena = {0};
    struct comparison comparison;
    struct err own = {0};
    int rc =
        n_trials <= MOST_TRIALS ? compare_sweeps(store, &sweep, 1, &options, &arena, &comparison, &own) : ERR_USAGE;
    text_add(out, ",\n\"comparison\":");
    if (rc == 0)
        compare_add_json(out, &comparison);
    else
        text_add(out, "null");
    arena_done(&arena);
    return rc == ERR_NOMEM || rc == ERR_STORE ? err_set(err, (enum err_code)rc, "%s", own.message) : 0;
}

static int add_sweep(struct export_pieces *pieces, struct store *store, const char *sweep, struct err *err)
{
    struct text *out = &pieces->text;
    int64_t sweep_id = 0, n_trials = 0;
    int rc = store_find_sweep(store, sweep, &sweep_id, err);
    if (rc == 0 && sweep_id == 0)
        rc = err_set(err, ERR_NOT_FOUND, "there is no sweep '%s' in '%s'", sweep, store_path(store));
    if (rc == 0)
        rc = export_count_trials(store, sweep_id, &n_trials, err);
    bool is_large = n_trials > EXPORT_MANY_TRIALS;
    text_printf(out, "{\"is_large\":%s,", is_large ? "true" : "false");
    if (rc == 0)
        rc = add_head(out, store, sweep_id, err);
    if (rc == 0)
        rc = add_summary(out, store, sweep, err);
    if (rc == 0)
        rc = add_comparison(out, store, sweep, n_trials, err);
    for (size_t i = 0; rc == 0 && i < sizeof(tables) / sizeof(tables[0]); i++) {
        rc = export_columns(out, tables[i].key, store, tables[i].sql, sweep_id, is_large && !tables[i].is_exact, err);
        if (rc == 0)
            rc = export_give(pieces, err);
    }
    if (rc == 0)
        rc = export_curves(pieces, store, sweep_id, err);
    text_add_char(out, '}');
    return rc;
}

static void add_time(struct text *out)
{
    time_t now = time(NULL);
    struct tm utc;
    char buffer[32];
    gmtime_r(&now, &utc);
    strftime(buffer, sizeof(buffer), "%Y-%m-%d %H:%M:%S", &utc);
    text_add_json(out, buffer);
}

/* One read transaction around all queries: the page shows one moment of a running sweep. */
int export_page_data(export_take_fn take, void *context, struct store *store, const char *const *names, int n_names,
                     struct err *err)
{
    struct export_pieces pieces = {take, context, {0}};
    struct text *out = &pieces.text;
    if (sqlite3_exec(store_database(store), "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
        return export_sql_error(store, "a moment of the store", err);
    text_add(out, "{\"format\":2,\"program_version\":");
    text_add_json(out, version_program());
    text_add(out, ",\"exported_at\":");
    add_time(out);
    text_add(out, ",\"sweeps\":[");
    int rc = 0;
    for (int i = 0; i < n_names && rc == 0; i++) {
        text_add(out, i ? ",\n" : "\n");
        rc = add_sweep(&pieces, store, names[i], err);
    }
    text_add(out, "]}");
    sqlite3_exec(store_database(store), "ROLLBACK", NULL, NULL, NULL);
    if (rc == 0)
        rc = export_give(&pieces, err);
    text_done(out);
    return rc;
}
