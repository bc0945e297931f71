/* Reads a sweep row by row into JSON and puts it into dashboard/page.html, with its style and script, all of which the
 * build embeds. Text from the store reaches the page only inside JSON strings, with '<' written as \u003c, so that no
 * name can end the script element it stands in. */
#include "orchestrator/export_page.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/file.h"
#include "common/version.h"
#include "orchestrator/summary.h"

static const unsigned char page_html[] = {
#include "embed/dashboard/page.html.inc"
};
static const unsigned char page_css[] = {
#include "embed/dashboard/page.css.inc"
};
static const unsigned char page_js[] = {
#include "embed/dashboard/page.js.inc"
};

enum { MAX_CURVE_POINTS = 400 };

/* A result column as JSON: NULL → null, numbers as they are, text quoted; columns named *_json hold JSON already. */
static void add_column(struct text *out, sqlite3_stmt *row, int column)
{
    const char *name = sqlite3_column_name(row, column);
    bool is_json = text_ends_with(name, "_json");
    text_printf(out, "\"%.*s\":", (int)(strlen(name) - (is_json ? 5 : 0)), name);
    switch (sqlite3_column_type(row, column)) {
    case SQLITE_INTEGER:
        text_printf(out, "%lld", (long long)sqlite3_column_int64(row, column));
        break;
    case SQLITE_FLOAT:
        if (isfinite(sqlite3_column_double(row, column)))
            text_add_double(out, sqlite3_column_double(row, column));
        else
            text_add(out, "null");
        break;
    case SQLITE_TEXT:
        if (is_json)
            text_add(out, (const char *)sqlite3_column_text(row, column));
        else
            text_add_json(out, (const char *)sqlite3_column_text(row, column));
        break;
    default:
        text_add(out, "null");
    }
}

static int prepare(struct store *store, const char *sql, const char *sweep, sqlite3_stmt **row, struct err *err)
{
    if (sqlite3_prepare_v2(store_database(store), sql, -1, row, NULL) != SQLITE_OK)
        return err_set(err, ERR_STORE, "%s: cannot read sweep '%s': %s", store_path(store), sweep,
                       sqlite3_errmsg(store_database(store)));
    sqlite3_bind_text(*row, 1, sweep, -1, SQLITE_STATIC);
    return 0;
}

static int finish(struct store *store, const char *sweep, sqlite3_stmt *row, int step, struct err *err)
{
    sqlite3_finalize(row);
    if (step == SQLITE_DONE)
        return 0;
    return err_set(err, ERR_STORE, "%s: cannot read sweep '%s': %s", store_path(store), sweep,
                   sqlite3_errmsg(store_database(store)));
}

/* ,"name":[{…},…] from a query whose only parameter is the sweep's name. */
static int add_rows(struct text *out, const char *name, struct store *store, const char *sql, const char *sweep,
                    struct err *err)
{
    sqlite3_stmt *row = NULL;
    int rc = prepare(store, sql, sweep, &row, err);
    if (rc < 0)
        return rc;
    text_printf(out, ",\"%s\":[", name);
    int step, n = 0;
    while ((step = sqlite3_step(row)) == SQLITE_ROW) {
        text_add(out, n++ ? ",\n{" : "\n{");
        for (int c = 0; c < sqlite3_column_count(row); c++) {
            if (c > 0)
                text_add_char(out, ',');
            add_column(out, row, c);
        }
        text_add_char(out, '}');
    }
    text_add_char(out, ']');
    return finish(store, sweep, row, step, err);
}

/* Curves -------------------------------------------------------------------------------------------------------------
 */

struct curve {
    int64_t trial;
    struct text metric, steps, values;
    int n_points, n_kept, stride;
};

static void curve_open(struct curve *curve, int64_t trial, const char *metric, int n_points)
{
    curve->trial = trial;
    curve->n_points = curve->n_kept = 0;
    curve->stride = (n_points + MAX_CURVE_POINTS - 1) / MAX_CURVE_POINTS;
    text_reset(&curve->metric);
    text_reset(&curve->steps);
    text_reset(&curve->values);
    text_add(&curve->metric, metric);
}

static void curve_add(struct curve *curve, sqlite3_stmt *row, bool is_last)
{
    if (curve->n_points++ % curve->stride != 0 && !is_last)
        return;
    const char *comma = curve->n_kept++ ? "," : "";
    text_printf(&curve->steps, "%s%lld", comma, (long long)sqlite3_column_int64(row, 2));
    text_add(&curve->values, comma);
    if (sqlite3_column_type(row, 3) == SQLITE_NULL)
        text_add(&curve->values, "null");
    else
        text_add_double(&curve->values, sqlite3_column_double(row, 3));
}

static void curve_close(struct curve *curve, struct text *out, int *n_curves)
{
    if (curve->n_kept == 0)
        return;
    text_printf(out, "%s{\"trial\":%lld,\"metric\":", (*n_curves)++ ? ",\n" : "\n", (long long)curve->trial);
    text_add_json(out, curve->metric.data);
    text_printf(out, ",\"steps\":[%s],\"values\":[%s]}", curve->steps.data, curve->values.data);
}

static const char curves_sql[] =
    "SELECT t.number, n.name, m.step, m.value, COUNT(*) OVER (PARTITION BY m.trial_id, m.name_id),"
    " ROW_NUMBER() OVER (PARTITION BY m.trial_id, m.name_id ORDER BY m.step)"
    " FROM metric m JOIN metric_name n ON n.id = m.name_id JOIN trial t ON t.id = m.trial_id"
    " JOIN sweep s ON s.id = t.sweep_id"
    " WHERE s.name = ?1 AND (n.name LIKE 'validation/%' OR n.name LIKE 'train/%') ORDER BY t.number, n.name, m.step";

static int add_curves(struct text *out, struct store *store, const char *sweep, struct err *err)
{
    sqlite3_stmt *row = NULL;
    struct curve curve = {0};
    int n_curves = 0, step;
    int rc = prepare(store, curves_sql, sweep, &row, err);
    if (rc < 0)
        return rc;
    text_add(out, ",\"curves\":[");
    while ((step = sqlite3_step(row)) == SQLITE_ROW) {
        int n = sqlite3_column_int(row, 4), i = sqlite3_column_int(row, 5);
        if (i == 1)
            curve_open(&curve, sqlite3_column_int64(row, 0), (const char *)sqlite3_column_text(row, 1), n);
        curve_add(&curve, row, i == n);
        if (i == n)
            curve_close(&curve, out, &n_curves);
    }
    text_add_char(out, ']');
    text_done(&curve.metric);
    text_done(&curve.steps);
    text_done(&curve.values);
    return finish(store, sweep, row, step, err);
}

/* A sweep ------------------------------------------------------------------------------------------------------------
 */

static const char trials_sql[] =
    "SELECT t.number, c.number AS configuration, c.role, t.seed, t.state, t.reason, t.message, t.value, t.steps,"
    " t.total_steps, t.trained_parameters, t.stored_bytes, t.flops, c.parameters AS parameters_json,"
    " CASE json_type(c.settings, '$.method') WHEN 'array' THEN (SELECT group_concat(j.value, '+')"
    "   FROM json_each(c.settings, '$.method') j) ELSE json_extract(c.settings, '$.method') END AS method,"
    " (SELECT json_extract(e.metrics, '$.' || substr(o.metric, instr(o.metric, '/') + 1)) FROM evaluation e"
    "   WHERE e.trial_id = t.id AND e.split = 'test' AND e.is_final ORDER BY e.step DESC LIMIT 1) AS test,"
    " (SELECT COUNT(*) FROM attempt a WHERE a.trial_id = t.id) AS attempts,"
    " (SELECT SUM(a.seconds) FROM attempt a WHERE a.trial_id = t.id) AS seconds,"
    " (SELECT MAX(a.peak_bytes) FROM attempt a WHERE a.trial_id = t.id) AS peak_bytes,"
    " (SELECT a.tokens_per_second FROM attempt a WHERE a.trial_id = t.id ORDER BY a.number DESC LIMIT 1) AS "
    "tokens_per_second,"
    " CASE t.state WHEN 'FAILED' THEN (SELECT a.log_tail FROM attempt a WHERE a.trial_id = t.id"
    "   ORDER BY a.number DESC LIMIT 1) END AS log_tail"
    " FROM trial t JOIN configuration c ON c.id = t.configuration_id JOIN sweep s ON s.id = t.sweep_id"
    " LEFT JOIN objective o ON o.sweep_id = s.id AND o.position = 0 WHERE s.name = ?1 ORDER BY t.number";

static const char bias_sql[] = "SELECT t.number AS trial, b.check_name AS \"check\", b.metric, b.n_items, b.before, "
                               "b.after, b.delta, b.low, b.high"
                               " FROM bias_check b JOIN trial t ON t.id = b.trial_id JOIN sweep s ON s.id = t.sweep_id"
                               " WHERE s.name = ?1 ORDER BY t.number, b.check_name, b.metric";

static const char environments_sql[] =
    "SELECT DISTINCT e.program_version, e.git_commit, e.blas_version, e.blas_core, e.cpu, e.kernel_level, e.compute,"
    " e.model_sha256, e.tokenizer_sha256, e.data_sha256 FROM environment e JOIN attempt a ON a.environment_id = e.id"
    " JOIN trial t ON t.id = a.trial_id JOIN sweep s ON s.id = t.sweep_id WHERE s.name = ?1 ORDER BY e.id";

static int add_head(struct text *out, struct store *store, const char *sweep, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int rc = prepare(store,
                     "SELECT name, state, definition, definition_sha256, created_at, finished_at FROM sweep"
                     " WHERE name = ?1",
                     sweep, &row, err);
    if (rc < 0)
        return rc;
    int step = sqlite3_step(row);
    for (int c = 0; step == SQLITE_ROW && c < sqlite3_column_count(row); c++) {
        if (c > 0)
            text_add_char(out, ',');
        add_column(out, row, c);
    }
    if (step == SQLITE_ROW)
        step = sqlite3_step(row);
    return finish(store, sweep, row, step, err);
}

static int add_summary(struct text *out, struct store *store, const char *sweep, struct err *err)
{
    struct arena arena = {0};
    struct summary summary;
    int rc = summary_read(store, sweep, &arena, &summary, err);
    if (rc == 0) {
        text_add(out, ",\"summary\":");
        summary_add_json(out, &summary);
    }
    arena_done(&arena);
    return rc;
}

static int add_sweep(struct text *out, struct store *store, const char *sweep, struct err *err)
{
    text_add_char(out, '{');
    int rc = add_head(out, store, sweep, err);
    if (rc == 0)
        rc = add_summary(out, store, sweep, err);
    if (rc == 0)
        rc = add_rows(out, "trials", store, trials_sql, sweep, err);
    if (rc == 0)
        rc = add_curves(out, store, sweep, err);
    if (rc == 0)
        rc = add_rows(out, "bias", store, bias_sql, sweep, err);
    if (rc == 0)
        rc = add_rows(out, "environments", store, environments_sql, sweep, err);
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
int export_page_data(struct text *out, struct store *store, const char *const *names, int n_names, struct err *err)
{
    if (sqlite3_exec(store_database(store), "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
        return err_set(err, ERR_STORE, "%s: cannot begin to read: %s", store_path(store),
                       sqlite3_errmsg(store_database(store)));
    text_add(out, "{\"program_version\":");
    text_add_json(out, version_program());
    text_add(out, ",\"exported_at\":");
    add_time(out);
    text_add(out, ",\"sweeps\":[");
    int rc = 0;
    for (int i = 0; i < n_names && rc == 0; i++) {
        text_add(out, i ? ",\n" : "\n");
        rc = add_sweep(out, store, names[i], err);
    }
    text_add(out, "]}");
    sqlite3_exec(store_database(store), "ROLLBACK", NULL, NULL, NULL);
    if (rc == 0 && out->failed)
        rc = err_set(err, ERR_NOMEM, "no memory for the page of %d sweeps", n_names);
    return rc;
}

/* Inside JSON '<' stands only in strings, where \u003c means the same. */
static void add_script_safe(struct text *out, const char *json)
{
    for (const char *rest = json; *rest;) {
        size_t n = strcspn(rest, "<");
        text_add_n(out, rest, n);
        rest += n;
        if (*rest == '<') {
            text_add(out, "\\u003c");
            rest++;
        }
    }
}

/* Copies the template, with each @@name@@ replaced by what belongs there. */
static void add_template(struct text *out, const char *template, size_t n, const char *json)
{
    const char *rest = template, *end = template + n;
    while (rest < end) {
        const char *mark = memmem(rest, (size_t)(end - rest), "@@", 2);
        const char *close = mark ? memmem(mark + 2, (size_t)(end - mark - 2), "@@", 2) : NULL;
        if (!close) {
            text_add_n(out, rest, (size_t)(end - rest));
            return;
        }
        text_add_n(out, rest, (size_t)(mark - rest));
        size_t name = (size_t)(close - mark - 2);
        if (name == 8 && memcmp(mark + 2, "page.css", name) == 0)
            text_add_n(out, (const char *)page_css, sizeof(page_css));
        else if (name == 7 && memcmp(mark + 2, "page.js", name) == 0)
            text_add_n(out, (const char *)page_js, sizeof(page_js));
        else if (name == 4 && memcmp(mark + 2, "data", name) == 0)
            add_script_safe(out, json);
        rest = close + 2;
    }
}

int export_page(struct text *out, struct store *store, const char *const *names, int n_names, struct err *err)
{
    struct text json = {0};
    int rc = export_page_data(&json, store, names, n_names, err);
    if (rc == 0)
        add_template(out, (const char *)page_html, sizeof(page_html), json.data);
    if (rc == 0 && out->failed)
        rc = err_set(err, ERR_NOMEM, "no memory for the page of %d sweeps", n_names);
    text_done(&json);
    return rc;
}

int export_page_file(const char *path, struct store *store, const char *const *names, int n_names, struct err *err)
{
    struct text page = {0};
    char *folder = file_folder(path);
    int rc = folder ? file_make_folders(folder, err) : err_set(err, ERR_NOMEM, "%s: no memory", path);
    if (rc == 0)
        rc = export_page(&page, store, names, n_names, err);
    if (rc == 0)
        rc = file_write_atomic(path, page.data, page.len, err);
    free(folder);
    text_done(&page);
    return rc;
}
