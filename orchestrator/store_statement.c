/* Statements, values and transactions of the store: the only file that steps what writes. */
#include "orchestrator/store_internal.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

bool store_is_storage_failure(int rc)
{
    return rc == ERR_STORE || rc == ERR_NOMEM;
}

int store_fail(const struct store *store, const char *what, struct err *err)
{
    int code = sqlite3_errcode(store->db), rc = ERR_STORE;
    if (code == SQLITE_CONSTRAINT || code == SQLITE_ERROR || code == SQLITE_MISUSE || code == SQLITE_RANGE ||
        code == SQLITE_MISMATCH || code == SQLITE_TOOBIG)
        rc = ERR_INTERNAL;
    else if (code == SQLITE_NOMEM)
        rc = ERR_NOMEM;
    return err_set(err, rc, "store '%s': %s: %s", store->path, what, sqlite3_errmsg(store->db));
}

struct bind bind_int(int64_t value)
{
    return (struct bind){.type = BIND_INT, .integer = value};
}

struct bind bind_id(int64_t id)
{
    return (struct bind){.type = id == 0 ? BIND_NULL : BIND_INT, .integer = id};
}

struct bind bind_real(double value)
{
    return (struct bind){.type = isfinite(value) ? BIND_REAL : BIND_NULL, .real = value};
}

struct bind bind_text(const char *text)
{
    return (struct bind){.type = text == NULL ? BIND_NULL : BIND_TEXT, .data = text};
}

struct bind bind_blob(const void *data, size_t bytes)
{
    return (struct bind){.type = data == NULL ? BIND_NULL : BIND_BLOB, .data = data, .bytes = bytes};
}

struct bind bind_optional_int(struct optional_int value)
{
    return value.is_known ? bind_int(value.value) : (struct bind){.type = BIND_NULL};
}

struct bind bind_optional_real(struct optional_real value)
{
    return value.is_known ? bind_real(value.value) : (struct bind){.type = BIND_NULL};
}

static int bind_one(sqlite3_stmt *statement, int position, const struct bind *bind)
{
    switch (bind->type) {
    case BIND_INT:
        return sqlite3_bind_int64(statement, position, bind->integer);
    case BIND_REAL:
        return sqlite3_bind_double(statement, position, bind->real);
    case BIND_TEXT:
        return sqlite3_bind_text(statement, position, bind->data, -1, SQLITE_STATIC);
    case BIND_BLOB:
        return sqlite3_bind_blob64(statement, position, bind->data, bind->bytes, SQLITE_STATIC);
    case BIND_NULL:
        break;
    }
    return sqlite3_bind_null(statement, position);
}

int store_prepare(struct store *store, const char *sql, sqlite3_stmt **statement, struct err *err)
{
    size_t i = ((uintptr_t)sql >> 3) * 0x9e3779b97f4a7c15u >> 57;
    static_assert(STORE_STATEMENTS == 1 << 7, "the shift above leaves 7 bits");
    for (size_t probes = 0; store->statements[i].sql != sql; probes++, i = (i + 1) % STORE_STATEMENTS) {
        if (store->statements[i].sql != NULL) {
            assert(probes < STORE_STATEMENTS);
            continue;
        }
        sqlite3_stmt *handle = NULL;
        if (sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &handle, NULL) != SQLITE_OK)
            return store_fail(store, "cannot prepare a statement", err);
        store->statements[i] = (struct store_statement){sql, handle};
        break;
    }
    *statement = store->statements[i].handle;
    return 0;
}

int store_query(struct store *store, const char *sql, const struct bind *binds, size_t n, sqlite3_stmt **query,
                struct err *err)
{
    sqlite3_stmt *statement;
    int rc = store_prepare(store, sql, &statement, err);
    if (rc != 0)
        return rc;
    assert((size_t)sqlite3_bind_parameter_count(statement) == n);
    for (size_t i = 0; i < n; i++) {
        if (bind_one(statement, (int)i + 1, &binds[i]) != SQLITE_OK)
            return store_fail(store, "cannot bind a value", err);
    }
    *query = statement;
    return 0;
}

int store_step(struct store *store, sqlite3_stmt *query, bool *has_row, struct err *err)
{
    int code = sqlite3_step(query), rc = 0;
    *has_row = code == SQLITE_ROW;
    if (code == SQLITE_ROW)
        return 0;
    if (code != SQLITE_DONE)
        rc = store_fail(store, "cannot read or write", err);
    sqlite3_reset(query);
    return rc;
}

int store_run(struct store *store, const char *sql, const struct bind *binds, size_t n, int64_t *changes,
              struct err *err)
{
    sqlite3_stmt *statement;
    bool has_row = false;
    int rc = store_query(store, sql, binds, n, &statement, err);
    if (rc == 0)
        rc = store_step(store, statement, &has_row, err);
    assert(!has_row);
    if (rc == 0 && changes != NULL)
        *changes = sqlite3_changes64(store->db);
    return rc;
}

int store_first(struct store *store, const char *sql, const struct bind *binds, size_t n, sqlite3_stmt **row,
                bool *found, struct err *err)
{
    int rc = store_query(store, sql, binds, n, row, err);
    return rc == 0 ? store_step(store, *row, found, err) : rc;
}

int store_exec(struct store *store, const char *sql, struct err *err)
{
    if (sqlite3_exec(store->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return store_fail(store, "cannot execute", err);
    return 0;
}

int store_read_number(struct store *store, const char *sql, int64_t *value, struct err *err)
{
    /* Prepared and dropped: a pragma's answer must not be held back by an earlier schema. */
    sqlite3_stmt *statement = NULL;
    int rc = 0;
    if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) != SQLITE_OK || sqlite3_step(statement) != SQLITE_ROW)
        rc = store_fail(store, "cannot read", err);
    else
        *value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return rc;
}

static void take_time(char now[STORE_TIME_SIZE])
{
    struct timespec t;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &utc);
    size_t n = strftime(now, STORE_TIME_SIZE, "%Y-%m-%d %H:%M:%S", &utc);
    snprintf(now + n, STORE_TIME_SIZE - n, ".%03d", (int)(t.tv_nsec / 1000000));
}

int store_begin(struct store *store, struct err *err)
{
    take_time(store->now);
    return store_run(store, "BEGIN IMMEDIATE", NULL, 0, NULL, err);
}

int store_commit(struct store *store, struct err *err)
{
    int rc = store_run(store, "COMMIT", NULL, 0, NULL, err);
    if (rc == 0)
        store_names_committed(store);
    return rc;
}

void store_rollback(struct store *store)
{
    store_names_rolled_back(store);
    /* After some failures SQLite has rolled back by itself; a rollback that fails is finished at the next opening. */
    if (!sqlite3_get_autocommit(store->db))
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}
