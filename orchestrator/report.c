/* Runs the query of a section and writes its rows. */
#include "orchestrator/report.h"

#include <math.h>
#include <string.h>

#include "common/json.h"
#include "orchestrator/columns.h"
#include "orchestrator/printable.h"

typedef int (*row_fn)(sqlite3_stmt *row, int n, void *context);

static int read_rows(struct store *store, const struct report_section *section, int64_t id, row_fn on_row,
                     void *context, struct err *err)
{
    sqlite3 *db = store_database(store);
    sqlite3_stmt *row = NULL;
    int code = sqlite3_prepare_v2(db, section->sql, -1, &row, NULL), n = 0;
    if (code == SQLITE_OK && sqlite3_bind_parameter_count(row) > 0)
        code = sqlite3_bind_int64(row, 1, id);
    if (code == SQLITE_OK)
        while ((code = sqlite3_step(row)) == SQLITE_ROW)
            on_row(row, n++, context);
    int rc = code == SQLITE_DONE ? 0
                                 : err_set(err, ERR_STORE, "%s: cannot read %s: %s", store_path(store), section->key,
                                           sqlite3_errmsg(db));
    sqlite3_finalize(row);
    return rc;
}

/* As text -----------------------------------------------------------------------------------------------------------
 */

static bool is_null(sqlite3_stmt *row, int column)
{
    return sqlite3_column_type(row, column) == SQLITE_NULL;
}

/* Numbers with six digits: who wants all seventeen takes --json. */
static void add_cell(struct text *out, sqlite3_stmt *row, int column)
{
    if (sqlite3_column_type(row, column) == SQLITE_FLOAT)
        text_printf(out, "%.6g", sqlite3_column_double(row, column));
    else if (is_null(row, column))
        text_add(out, "-");
    else
        text_add(out, (const char *)sqlite3_column_text(row, column));
}

struct text_report {
    const struct report_section *section;
    struct columns columns;
    struct text lines;
};

/* A column's name without its mark for JSON. */
static void add_name(struct columns *columns, sqlite3_stmt *row, int column)
{
    const char *name = sqlite3_column_name(row, column);
    columns_printf(columns, "%.*s", (int)(strlen(name) - (text_ends_with(name, "_json") ? 5 : 0)), name);
}

static void start_table(struct text_report *report, sqlite3_stmt *row, int n)
{
    report->columns.n = n;
    for (int c = 0; c < n; c++) {
        int type = sqlite3_column_type(row, c); /* of the first row */
        report->columns.is_right[c] = type == SQLITE_INTEGER || type == SQLITE_FLOAT;
        add_name(&report->columns, row, c);
    }
}

static int table_row(sqlite3_stmt *row, int number, void *context)
{
    struct text_report *report = context;
    int n = sqlite3_column_count(row) < COLUMNS_MAX ? sqlite3_column_count(row) : COLUMNS_MAX;
    struct text cell = {0};
    if (number == 0)
        start_table(report, row, n);
    for (int c = 0; c < n; c++) {
        text_reset(&cell);
        add_cell(&cell, row, c);
        columns_add(&report->columns, cell.data);
    }
    text_done(&cell);
    return 0;
}

static int record_row(sqlite3_stmt *row, int number, void *context)
{
    struct text_report *report = context;
    struct text cell = {0};
    if (number == 0)
        report->columns.n = 2;
    for (int c = 0; c < sqlite3_column_count(row); c++) {
        if (is_null(row, c))
            continue;
        text_reset(&cell);
        add_cell(&cell, row, c);
        add_name(&report->columns, row, c);
        columns_add(&report->columns, cell.data);
    }
    text_done(&cell);
    return 0;
}

static int lines_row(sqlite3_stmt *row, int number, void *context)
{
    struct text_report *report = context;
    (void)number;
    text_add(&report->lines, "  ");
    printable_add(&report->lines, is_null(row, 0) ? "" : (const char *)sqlite3_column_text(row, 0));
    text_add(&report->lines, ":\n");
    printable_add_lines(&report->lines, is_null(row, 1) ? "" : (const char *)sqlite3_column_text(row, 1), "    ");
    return 0;
}

int report_add_text(struct text *out, struct store *store, const struct report_section *section, int64_t id,
                    struct err *err)
{
    static const row_fn layouts[] = {
        [REPORT_TABLE] = table_row, [REPORT_RECORD] = record_row, [REPORT_LINES] = lines_row};
    struct text_report report = {.section = section};
    int rc = section->title ? read_rows(store, section, id, layouts[section->layout], &report, err) : 0;
    if (rc == 0 && (report.columns.n_cells > 0 || report.lines.len > 0))
        text_printf(out, "%s%s:\n", out->len ? "\n" : "", section->title);
    if (rc == 0 && report.columns.n_cells > 0)
        columns_write(out, &report.columns, "  ");
    if (rc == 0 && report.lines.len > 0)
        text_add_n(out, report.lines.data, report.lines.len);
    out->failed = out->failed || report.lines.failed;
    columns_done(&report.columns);
    text_done(&report.lines);
    return rc;
}

/* As JSON -----------------------------------------------------------------------------------------------------------
 */

static void add_json_value(struct text *out, sqlite3_stmt *row, int column)
{
    const char *s = (const char *)sqlite3_column_text(row, column);
    cJSON *json = NULL;
    if (is_null(row, column) || !s)
        text_add(out, "null");
    else if (sqlite3_column_type(row, column) == SQLITE_INTEGER)
        text_printf(out, "%lld", (long long)sqlite3_column_int64(row, column));
    else if (sqlite3_column_type(row, column) == SQLITE_FLOAT && isfinite(sqlite3_column_double(row, column)))
        text_add_double(out, sqlite3_column_double(row, column));
    else if (sqlite3_column_type(row, column) == SQLITE_FLOAT)
        text_add(out, "null");
    else if (text_ends_with(sqlite3_column_name(row, column), "_json") && json_parse(s, strlen(s), &json, NULL) == 0)
        json_add(out, json);
    else
        printable_add_json(out, s);
    json_free(json);
}

static int json_row(sqlite3_stmt *row, int number, void *context)
{
    struct text *out = context;
    text_add(out, number ? ",{" : "{");
    for (int c = 0; c < sqlite3_column_count(row); c++) {
        const char *name = sqlite3_column_name(row, c);
        size_t n = strlen(name) - (text_ends_with(name, "_json") ? 5 : 0);
        text_printf(out, "%s\"%.*s\":", c ? "," : "", (int)n, name);
        add_json_value(out, row, c);
    }
    text_add_char(out, '}');
    return 0;
}

int report_add_json(struct text *out, struct store *store, const struct report_section *section, int64_t id,
                    struct err *err)
{
    struct text rows = {0};
    bool is_record = section->layout == REPORT_RECORD;
    int rc = read_rows(store, section, id, json_row, &rows, err);
    if (rc == 0)
        text_printf(out, "\"%s\":%s%s%s", section->key, is_record ? "" : "[",
                    rows.data   ? rows.data
                    : is_record ? "null"
                                : "",
                    is_record ? "" : "]");
    out->failed = out->failed || rows.failed;
    text_done(&rows);
    return rc;
}
