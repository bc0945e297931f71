/* Saving what can be read: see store_rescue.h.
 *
 * A damaged page makes SQLite stop where it comes to it. A table is therefore read from its beginning until that
 * happens; then, where rows have numbers, from behind it with growing steps; else once more from its end. Rows that
 * come twice are taken once. Indexes are not asked: they may be what is damaged. */
#include "orchestrator/store_rescue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "orchestrator/lock.h"
#include "orchestrator/store_internal.h"
#include "orchestrator/store_wal.h"

enum { SKIPS_MAX = 100000 /* tries to get behind damage, of one table */ };
#define ROWS_MAX (INT64_C(1) << 40) /* ids count up from 1: none is as large */

struct copy {
    sqlite3 *from;
    struct store *to;
    struct rescue_table *table;
    sqlite3_stmt *insert;
    char *columns;  /* "a, b": those that both have */
    char *key;      /* what rows are in the order of: "rowid", or the primary key's columns */
    char *key_last; /* the same, from the end */
    int n_columns;
    bool has_rowid;
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory to recover a store");
}

/* Takes the row that `row` stands on; the table's own rules and references decide whether it may. */
static int take_row(struct copy *copy, sqlite3_stmt *row, struct err *err)
{
    for (int i = 0; i < copy->n_columns; i++)
        if (sqlite3_bind_value(copy->insert, i + 1, sqlite3_column_value(row, i)) != SQLITE_OK)
            return no_memory(err);
    int code = sqlite3_step(copy->insert);
    int changes = code == SQLITE_DONE ? sqlite3_changes(copy->to->db) : 0;
    sqlite3_reset(copy->insert);
    copy->table->n_copied += changes;
    copy->table->n_refused += code == SQLITE_CONSTRAINT;
    return code == SQLITE_DONE || code == SQLITE_CONSTRAINT ? 0 : store_fail(copy->to, "cannot write", err);
}

static int prepare(const struct copy *copy, const char *order, const char *where, sqlite3_stmt **rows, struct err *err)
{
    char *sql = sqlite3_mprintf("SELECT %s%s FROM \"%w\" NOT INDEXED %s ORDER BY %s", copy->columns,
                                copy->has_rowid ? ", rowid" : "", copy->table->name, where, order);
    if (!sql)
        return no_memory(err);
    int code = sqlite3_prepare_v2(copy->from, sql, -1, rows, NULL);
    sqlite3_free(sql);
    return code == SQLITE_OK ? 0 : err_set(err, ERR_STORE, "'%s': %s", copy->table->name, sqlite3_errmsg(copy->from));
}

/* Takes rows until the end (*is_through) or what cannot be read; *last: the number of the last one. */
static int take_rows(struct copy *copy, sqlite3_stmt *rows, int64_t *last, bool *is_through, struct err *err)
{
    int rc = 0, code = SQLITE_DONE;
    while (rc == 0 && (code = sqlite3_step(rows)) == SQLITE_ROW) {
        rc = take_row(copy, rows, err);
        if (copy->has_rowid)
            *last = sqlite3_column_int64(rows, copy->n_columns);
    }
    *is_through = rc == 0 && code == SQLITE_DONE;
    copy->table->is_damaged = copy->table->is_damaged || (rc == 0 && code != SQLITE_DONE);
    return rc;
}

/* Behind the damage at row `last`: one row further, two, four, … until one can be read again. */
static int take_behind(struct copy *copy, int64_t last, struct err *err)
{
    sqlite3_stmt *rows = NULL;
    bool is_through = false;
    int rc = prepare(copy, "rowid", "WHERE rowid > ?1", &rows, err);
    int64_t step = 1;
    for (int i = 0; rc == 0 && !is_through && i < SKIPS_MAX && step < ROWS_MAX && last < ROWS_MAX; i++) {
        int64_t before = last + step, reached = before;
        sqlite3_reset(rows);
        sqlite3_bind_int64(rows, 1, before);
        rc = take_rows(copy, rows, &reached, &is_through, err);
        step = reached > before ? 1 : 2 * step;
        last = reached > before ? reached : last;
    }
    sqlite3_finalize(rows);
    return rc;
}

static int copy_rows(struct copy *copy, struct err *err)
{
    sqlite3_stmt *rows = NULL;
    bool is_through = false;
    int64_t last = 0;
    struct err ignored;
    int rc = prepare(copy, copy->key, "", &rows, &ignored);
    if (rc == ERR_STORE) { /* not even its root can be read */
        copy->table->is_damaged = true;
        return 0;
    }
    if (rc == 0)
        rc = take_rows(copy, rows, &last, &is_through, err);
    sqlite3_finalize(rows);
    if (rc == 0 && !is_through && copy->has_rowid)
        rc = take_behind(copy, last, err);
    rows = NULL;
    if (rc == 0 && !is_through && prepare(copy, copy->key_last, "", &rows, &ignored) == 0)
        rc = take_rows(copy, rows, &last, &is_through, err);
    sqlite3_finalize(rows);
    return rc;
}

/* The columns of the new table that the damaged one has too, and the key. */
static int read_columns(struct copy *copy, struct err *err)
{
    sqlite3_stmt *row = NULL;
    struct text columns = {0}, key = {0}, key_last = {0}, places = {0};
    const char *name = copy->table->name;
    char *sql = sqlite3_mprintf("SELECT n.name, n.pk, (SELECT wr FROM pragma_table_list WHERE schema = 'main' AND "
                                "name = %Q) FROM pragma_table_info(%Q) n",
                                name, name);
    int rc = sql && sqlite3_prepare_v2(copy->to->db, sql, -1, &row, NULL) == SQLITE_OK ? 0 : no_memory(err);
    sqlite3_free(sql);
    while (rc == 0 && sqlite3_step(row) == SQLITE_ROW) {
        const char *column = (const char *)sqlite3_column_text(row, 0);
        copy->has_rowid = sqlite3_column_int(row, 2) == 0;
        if (sqlite3_table_column_metadata(copy->from, "main", name, column, NULL, NULL, NULL, NULL, NULL) != SQLITE_OK)
            continue;
        text_printf(&columns, "%s\"%s\"", copy->n_columns ? ", " : "", column);
        text_printf(&places, "%s?", copy->n_columns ? ", " : "");
        if (sqlite3_column_int(row, 1) > 0) {
            text_printf(&key, "%s\"%s\"", key.len ? ", " : "", column);
            text_printf(&key_last, "%s\"%s\" DESC", key_last.len ? ", " : "", column);
        }
        copy->n_columns++;
    }
    sqlite3_finalize(row);
    sql = rc == 0 && columns.len
              ? sqlite3_mprintf("INSERT OR IGNORE INTO \"%w\" (%s) VALUES (%s)", name, columns.data, places.data)
              : NULL;
    if (sql && sqlite3_prepare_v2(copy->to->db, sql, -1, &copy->insert, NULL) != SQLITE_OK)
        rc = store_fail(copy->to, "cannot prepare a statement", err);
    sqlite3_free(sql);
    copy->columns = text_take(&columns);
    copy->key = copy->has_rowid ? strdup("rowid") : text_take(&key);
    copy->key_last = copy->has_rowid ? strdup("rowid DESC") : text_take(&key_last);
    text_done(&key);
    text_done(&key_last);
    text_done(&places);
    return rc == 0 && (!copy->columns || !copy->key || !copy->key_last) ? no_memory(err) : rc;
}

static int copy_table(sqlite3 *from, struct store *to, struct rescue_table *table, struct err *err)
{
    struct copy copy = {.from = from, .to = to, .table = table};
    int rc = read_columns(&copy, err);
    if (rc == 0 && copy.n_columns > 0)
        rc = copy_rows(&copy, err);
    else if (rc == 0)
        table->is_damaged = true;
    sqlite3_finalize(copy.insert);
    free(copy.columns);
    free(copy.key);
    free(copy.key_last);
    return rc;
}

/* All tables of the new store, parents first, which is the order in which the schema makes them. */
static int list_tables(struct store *to, struct rescue *rescue, struct err *err)
{
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(to->db,
                           "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' "
                           "ORDER BY rowid",
                           -1, &row, NULL) != SQLITE_OK)
        return store_fail(to, "cannot be read", err);
    while (sqlite3_step(row) == SQLITE_ROW && rescue->n_tables < RESCUE_TABLES_MAX)
        snprintf(rescue->tables[rescue->n_tables++].name, sizeof(rescue->tables[0].name), "%s",
                 (const char *)sqlite3_column_text(row, 0));
    sqlite3_finalize(row);
    return 0;
}

static int copy_tables(sqlite3 *from, struct store *to, struct rescue *rescue, struct err *err)
{
    int rc = list_tables(to, rescue, err);
    if (rc == 0)
        rc = store_begin(to, err);
    for (int i = 0; i < rescue->n_tables && rc == 0; i++)
        rc = copy_table(from, to, &rescue->tables[i], err);
    if (rc == 0)
        rc = store_commit(to, err);
    else
        store_rollback(to);
    return rc == 0 ? store_check(to, err) : rc;
}

static int open_damaged(const char *path, sqlite3 **from, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int64_t version = 0, application = 0;
    if (sqlite3_open_v2(path, from, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return err_set(err, ERR_STORE, "'%s' cannot be opened: %s", path, sqlite3_errmsg(*from));
    /* A schema of which a part is lost counts as far as it goes; nothing is written through this connection. */
    (void)sqlite3_exec(*from, "PRAGMA writable_schema = ON", NULL, NULL, NULL);
    if (sqlite3_prepare_v2(*from, "SELECT * FROM pragma_user_version, pragma_application_id", -1, &row, NULL) ==
            SQLITE_OK &&
        sqlite3_step(row) == SQLITE_ROW) {
        version = sqlite3_column_int64(row, 0);
        application = sqlite3_column_int64(row, 1);
    }
    int rc = 0;
    if (application != STORE_APPLICATION_ID)
        rc = err_set(err, ERR_STORE,
                     "'%s': its first page is lost or of another program (%s); a copy from before is needed", path,
                     sqlite3_errmsg(*from));
    else if (version > STORE_VERSION)
        rc = err_set(err, ERR_STORE, "'%s' has version %d, written by a newer program", path, (int)version);
    sqlite3_finalize(row);
    return rc;
}

int store_rescue(const char *damaged, const char *output, struct rescue *rescue, struct err *err)
{
    sqlite3 *from = NULL;
    struct store *to = NULL;
    struct lock lock = {0};
    struct text lock_path = {0};
    int rc = file_exists(damaged) ? 0 : err_set(err, ERR_NOT_FOUND, "there is no store '%s'", damaged);
    *rescue = (struct rescue){0};
    if (rc == 0 && file_exists(output))
        rc = err_set(err, ERR_USAGE, "'%s' is there already: the recovered store is a new file", output);
    text_printf(&lock_path, "%s.lock", damaged);
    if (rc == 0)
        rc = lock_path.failed ? no_memory(err) : lock_acquire(&lock, lock_path.data, err);
    if (rc == 0) {
        struct err why;
        rescue->is_log_damaged = store_wal_check(damaged, &why) == ERR_STORE;
        rc = open_damaged(damaged, &from, err);
    }
    if (rc == 0)
        rc = store_open(&to, output, STORE_WRITE, err);
    if (rc == 0)
        rc = copy_tables(from, to, rescue, err);
    store_close(to);
    sqlite3_close(from);
    lock_release(&lock);
    text_done(&lock_path);
    return rc;
}
