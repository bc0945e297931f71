/* JSON Lines: an object a trial with everything the store has of it but the per-item results of evaluations. Values
 * that are no numbers are null. */
#include <string.h>

#include "orchestrator/export_columns.h"
#include "orchestrator/export_rows.h"

struct jsonl {
    struct store *store;
    struct text out;
    struct text metric; /* the one whose points are being written */
    int n;
};

/* ,"a":…,"b":… of a row, each column under its own name; columns named *_json hold JSON. */
static void add_members(struct text *out, sqlite3_stmt *row)
{
    for (int c = 0; c < sqlite3_column_count(row); c++) {
        const char *name = sqlite3_column_name(row, c);
        bool is_json = text_ends_with(name, "_json");
        text_printf(out, "%s\"%.*s\":", c ? "," : "", (int)(is_json ? strlen(name) - 5 : strlen(name)), name);
        if (is_json && sqlite3_column_type(row, c) == SQLITE_TEXT)
            text_add(out, (const char *)sqlite3_column_text(row, c));
        else
            export_add_value(out, row, c);
    }
}

static int add_object(sqlite3_stmt *row, void *context, struct err *err)
{
    (void)err;
    struct jsonl *j = context;
    text_add(&j->out, j->n++ ? ",{" : "{");
    add_members(&j->out, row);
    text_add_char(&j->out, '}');
    return 0;
}

static int add_point(sqlite3_stmt *row, void *context, struct err *err)
{
    (void)err;
    struct jsonl *j = context;
    const char *name = (const char *)sqlite3_column_text(row, 0);
    if (!j->metric.data || !text_equal(j->metric.data, name)) {
        text_add(&j->out, j->n ? "]," : "");
        export_json_text(&j->out, name, strlen(name));
        text_add(&j->out, ":[");
        text_reset(&j->metric);
        text_add(&j->metric, name);
    } else {
        text_add_char(&j->out, ',');
    }
    j->n++;
    text_printf(&j->out, "[%lld,", (long long)sqlite3_column_int64(row, 1));
    export_add_value(&j->out, row, 2);
    text_add_char(&j->out, ']');
    return 0;
}

static const struct {
    const char *key, *sql;
} lists[] = {
    {"objectives", "SELECT o.metric, o.goal, CASE o.position WHEN 0 THEN t.value ELSE v.value END AS value FROM trial t"
                   " JOIN objective o ON o.sweep_id = t.sweep_id LEFT JOIN objective_value v ON v.trial_id = t.id"
                   " AND v.position = o.position WHERE t.id = ?1 ORDER BY o.position"},
    {"evaluations", "SELECT split, step, is_final, n_items, metrics AS metrics_json, item_set_sha256 FROM evaluation"
                    " WHERE trial_id = ?1 ORDER BY step, split, is_final"},
    {"checks", "SELECT check_name AS \"check\", metric, n_items, before, after, delta, low, high, item_set_sha256"
               " FROM bias_check WHERE trial_id = ?1 ORDER BY id"},
    {"attempts", "SELECT number, state, reason, message, worker, slot, resumed_step, bit_exact, exit_status, signal,"
                 " seconds, tokens_per_second, peak_bytes, log_tail, started_at, ended_at FROM attempt"
                 " WHERE trial_id = ?1 ORDER BY number"},
    {"decisions", "SELECT rule, step, action, reason, created_at FROM decision WHERE trial_id = ?1 ORDER BY id"},
    {"artifacts", "SELECT kind, path, bytes, sha256 FROM artifact WHERE trial_id = ?1 ORDER BY path"},
};

static int add_lists(struct jsonl *j, int64_t trial_id, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof(lists) / sizeof(lists[0]); i++) {
        text_printf(&j->out, ",\"%s\":[", lists[i].key);
        j->n = 0;
        rc = export_each(j->store, lists[i].sql, trial_id, add_object, j, err);
        text_add_char(&j->out, ']');
    }
    text_add(&j->out, ",\"metrics\":{");
    text_done(&j->metric);
    j->n = 0;
    if (rc == 0)
        rc = export_each(j->store,
                         "SELECT n.name, m.step, m.value FROM metric m JOIN metric_name n ON n.id = m.name_id"
                         " WHERE m.trial_id = ?1 ORDER BY m.name_id, m.step",
                         trial_id, add_point, j, err);
    text_add(&j->out, j->n ? "]}" : "}");
    return rc;
}

static const char trial_sql[] =
    "SELECT s.name AS sweep, t.number AS trial, c.number AS configuration, c.role, t.seed, t.identity, t.state, "
    "t.reason,"
    " t.message, t.value, t.steps, t.total_steps, t.trained_parameters, t.stored_bytes, t.flops, t.created_at,"
    " t.finished_at, c.parameters AS parameters_json, c.settings AS settings_json FROM trial t"
    " JOIN configuration c ON c.id = t.configuration_id JOIN sweep s ON s.id = t.sweep_id WHERE t.id = ?1";

static int add_trial_members(sqlite3_stmt *row, void *context, struct err *err)
{
    (void)err;
    add_members(&((struct jsonl *)context)->out, row);
    return 0;
}

static int add_trial(const struct export_trial *trial, void *context, struct err *err)
{
    struct jsonl *j = context;
    text_add_char(&j->out, '{');
    int rc = export_each(j->store, trial_sql, trial->id, add_trial_members, j, err);
    if (rc == 0)
        rc = add_lists(j, trial->id, err);
    text_add(&j->out, "}\n");
    return rc;
}

static int add_sweep(int64_t sweep_id, const char *name, void *context, struct err *err)
{
    (void)name;
    struct jsonl *j = context;
    return export_each_trial(j->store, sweep_id, add_trial, j, err);
}

static int write_jsonl(const struct export_request *request, struct err *err)
{
    struct jsonl j = {.store = request->store};
    int rc = export_each_sweep(request, add_sweep, &j, err);
    if (rc == 0)
        rc = export_write_file(request->path, &j.out, err);
    text_done(&j.out);
    text_done(&j.metric);
    return rc;
}

const struct export_format export_jsonl = {"jsonl", ".jsonl", "JSON lines, everything about each trial", write_jsonl};
