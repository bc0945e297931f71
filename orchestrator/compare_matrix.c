/* Checks whose metric has two keys, "unsafe_rate[trained with][asked with]": a row each of what a method's trials were
 * trained with, a column of what the models were asked with. Each cell is a mean over all finished trials that have it;
 * the rows of the model before training come from the baselines. */
#include <math.h>
#include <string.h>

#include "orchestrator/columns.h"
#include "orchestrator/compare_internal.h"
#include "orchestrator/printable.h"
#include "orchestrator/summary.h"

static const char cells_sql[] =
    "SELECT c.role, json_extract(c.settings, '$.method'), b.check_name, b.metric, b.before, b.after, b.delta"
    " FROM bias_check b JOIN trial t ON t.id = b.trial_id JOIN configuration c ON c.id = t.configuration_id"
    " WHERE t.sweep_id = ?1 AND t.state = 'COMPLETE' AND instr(b.metric, '][') > 0"
    " ORDER BY c.role = 'search', 2, b.check_name, c.number, b.trial_id, b.id";

static struct compare_cell *find_cell(struct comparison *c, const struct compare_cell *key)
{
    for (int i = 0; i < c->n_cells; i++) {
        const struct compare_cell *cell = &c->cells[i];
        if (text_equal(cell->method, key->method) && text_equal(cell->check, key->check) &&
            text_equal(cell->metric, key->metric) && text_equal(cell->trained, key->trained) &&
            text_equal(cell->asked, key->asked))
            return &c->cells[i];
    }
    return NULL;
}

/* Doubles a list of n when it is full. */
static bool has_room(struct arena *arena, void **items, int n, size_t size)
{
    if (n > 0 && (n & (n - 1)) != 0)
        return true;
    void *larger = arena_calloc(arena, n ? 2 * (size_t)n : 1, size);
    if (larger && n > 0)
        memcpy(larger, *items, (size_t)n * size);
    if (larger)
        *items = larger;
    return larger != NULL;
}

/* "unsafe_rate[chat][plain]" → unsafe_rate, chat, plain. */
static bool split_metric(struct compare_cell *cell, const char *text, struct arena *arena)
{
    const char *open = strchr(text, '['), *middle = strstr(text, "]["), *end = middle ? strrchr(middle, ']') : NULL;
    if (!open || !middle || open > middle || !end || end == middle)
        return false;
    cell->metric = arena_strndup(arena, text, (size_t)(open - text));
    cell->trained = arena_strndup(arena, open + 1, (size_t)(middle - open - 1));
    cell->asked = arena_strndup(arena, middle + 2, (size_t)(end - middle - 2));
    return cell->metric && cell->trained && cell->asked;
}

static double real(sqlite3_stmt *row, int column)
{
    return sqlite3_column_type(row, column) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(row, column);
}

static bool add_value(struct comparison *c, const char *sweep, sqlite3_stmt *row, struct arena *arena)
{
    bool is_search = text_equal((const char *)sqlite3_column_text(row, 0), "search");
    const char *label =
        is_search ? summary_method_label(arena, (const char *)sqlite3_column_text(row, 1)) : "base model";
    struct compare_cell key = {.check = arena_strdup(arena, (const char *)sqlite3_column_text(row, 2))};
    key.method = label && c->n_sweeps > 1 ? arena_printf(arena, "%s: %s", sweep, label) : label;
    if (!key.method || !key.check || !split_metric(&key, (const char *)sqlite3_column_text(row, 3), arena))
        return false;
    struct compare_cell *cell = find_cell(c, &key);
    if (!cell) {
        if (!has_room(arena, (void **)&c->cells, c->n_cells, sizeof(*c->cells)))
            return false;
        cell = &c->cells[c->n_cells++];
        *cell = key;
    }
    double *lists[] = {cell->befores, cell->afters, cell->deltas};
    if (!has_room(arena, (void **)&lists[0], cell->n, sizeof(double)) ||
        !has_room(arena, (void **)&lists[1], cell->n, sizeof(double)) ||
        !has_room(arena, (void **)&lists[2], cell->n, sizeof(double)))
        return false;
    cell->befores = lists[0];
    cell->afters = lists[1];
    cell->deltas = lists[2];
    for (int k = 0; k < 3; k++)
        lists[k][cell->n] = real(row, 4 + k);
    cell->n++;
    return true;
}

int compare_add_cells(struct store *store, struct comparison *c, struct arena *arena, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < c->n_sweeps && rc == 0; i++) {
        sqlite3_stmt *row = NULL;
        int64_t id = 0;
        rc = store_find_sweep(store, c->sweeps[i], &id, err);
        if (rc == 0 && sqlite3_prepare_v2(store_database(store), cells_sql, -1, &row, NULL) != SQLITE_OK)
            return err_set(err, ERR_STORE, "%s: cannot read the matrices of checks: %s", store_path(store),
                           sqlite3_errmsg(store_database(store)));
        if (rc == 0)
            sqlite3_bind_int64(row, 1, id);
        while (rc == 0 && sqlite3_step(row) == SQLITE_ROW)
            if (!add_value(c, c->sweeps[i], row, arena))
                rc = err_set(err, ERR_NOMEM, "no memory for the matrices of checks");
        sqlite3_finalize(row);
    }
    for (int i = 0; i < c->n_cells && rc == 0; i++) {
        struct compare_cell *cell = &c->cells[i];
        cell->before = stats_student(cell->befores, cell->n, 0.95).mean;
        cell->after = stats_student(cell->afters, cell->n, 0.95).mean;
        cell->delta = stats_student(cell->deltas, cell->n, 0.95);
    }
    return rc;
}

/* For people ------------------------------------------------------------------------------------------------------- */

static bool is_of_matrix(const struct compare_cell *a, const struct compare_cell *b)
{
    return text_equal(a->check, b->check) && text_equal(a->metric, b->metric);
}

static bool is_of_row(const struct compare_cell *a, const struct compare_cell *b)
{
    return is_of_matrix(a, b) && text_equal(a->method, b->method) && text_equal(a->trained, b->trained);
}

/* Whether an earlier cell has the same matrix (row, column of a matrix). */
static bool is_first(const struct comparison *c, int i,
                     bool (*is_same)(const struct compare_cell *, const struct compare_cell *))
{
    for (int k = 0; k < i; k++)
        if (is_same(&c->cells[k], &c->cells[i]))
            return false;
    return true;
}

static bool is_of_column(const struct compare_cell *a, const struct compare_cell *b)
{
    return is_of_matrix(a, b) && text_equal(a->asked, b->asked);
}

/* "0.4250 +0.3100*": the mean, its change, and a star where the change's interval over trials leaves out 0. */
static void add_cell(struct columns *columns, const struct compare_cell *cell)
{
    if (isnan(cell->delta.mean))
        columns_printf(columns, "%.4f", cell->after);
    else
        columns_printf(columns, "%.4f %+.4f%s", cell->after, cell->delta.mean,
                       cell->delta.low > 0 || cell->delta.high < 0 ? "*" : "");
}

static void add_row(struct columns *columns, const struct comparison *c, const struct compare_cell *row,
                    const int *asked, int n_asked)
{
    columns_add(columns, row->method);
    columns_add(columns, row->trained);
    columns_printf(columns, "%d", row->n);
    for (int k = 0; k < n_asked; k++) {
        const struct compare_cell *found = NULL;
        for (int i = 0; i < c->n_cells && !found; i++)
            if (is_of_row(row, &c->cells[i]) && text_equal(c->cells[i].asked, c->cells[asked[k]].asked))
                found = &c->cells[i];
        if (found)
            add_cell(columns, found);
        else
            columns_add(columns, NULL);
    }
}

static void add_matrix(struct text *out, const struct comparison *c, const struct compare_cell *of)
{
    enum { FIXED = 3 };
    const char *titles[COLUMNS_MAX] = {"method", "trained with", ">trials"};
    int asked[COLUMNS_MAX], n_asked = 0;
    struct columns columns;
    for (int i = 0; i < c->n_cells && n_asked < COLUMNS_MAX - FIXED; i++)
        if (is_of_matrix(of, &c->cells[i]) && is_first(c, i, is_of_column)) {
            titles[FIXED + n_asked] = c->cells[i].asked;
            asked[n_asked++] = i;
        }
    text_add(out, "\n");
    printable_add(out, of->check);
    text_add(out, ", ");
    printable_add(out, of->metric);
    text_add(out, " asked with\n");
    columns_init(&columns, FIXED + n_asked, titles);
    for (int i = 0; i < c->n_cells; i++)
        if (is_of_matrix(of, &c->cells[i]) && is_first(c, i, is_of_row))
            add_row(&columns, c, &c->cells[i], asked, n_asked);
    columns_write(out, &columns, "  ");
    columns_done(&columns);
}

void compare_add_matrices(struct text *out, const struct comparison *c)
{
    for (int i = 0; i < c->n_cells; i++)
        if (is_first(c, i, is_of_matrix))
            add_matrix(out, c, &c->cells[i]);
    if (c->n_cells > 0)
        text_add(out,
                 "  means over the finished trials, and the change against before; *: its 95 % interval over trials "
                 "leaves out 0\n");
}
