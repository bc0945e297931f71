/* The schema of a store: created, brought up to date, and settled after a crash. */
#include "orchestrator/store_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/crash.h"
#include "common/file.h"
#include "common/text.h"

static const unsigned char schema[] = {
#include "embed/schemas/store.sql.inc"
    0};

static const unsigned char from_1_to_2[] = {
#include "embed/schemas/migrations/store-1-to-2.sql.inc"
    0};

static const unsigned char from_2_to_3[] = {
#include "embed/schemas/migrations/store-2-to-3.sql.inc"
    0};

static const unsigned char from_3_to_4[] = {
#include "embed/schemas/migrations/store-3-to-4.sql.inc"
    0};

const struct store_migration *store_migrations(size_t *n)
{
    /* The next schema adds a row here, and its fixture under tests/fixtures. */
    static const struct store_migration migrations[] = {
        {1, (const char *)from_1_to_2}, {2, (const char *)from_2_to_3}, {3, (const char *)from_3_to_4}};
    *n = sizeof(migrations) / sizeof(migrations[0]);
    return migrations;
}

static int set_version(struct store *store, int version, struct err *err)
{
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA user_version = %d", version);
    return store_exec(store, sql, err);
}

int store_create_schema(struct store *store, struct err *err)
{
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA application_id = %d", STORE_APPLICATION_ID);
    int rc = store_exec(store, "BEGIN IMMEDIATE", err);
    if (rc == 0)
        rc = store_exec(store, (const char *)schema, err);
    if (rc == 0)
        rc = store_exec(store, sql, err);
    if (rc == 0)
        rc = set_version(store, STORE_VERSION, err);
    crash_at(CRASH_STORE_CREATED);
    if (rc == 0)
        rc = store_exec(store, "COMMIT", err);
    if (rc != 0)
        store_rollback(store);
    return rc;
}

/* A rename is on disk once its folder is. */
static int sync_folder(const char *path, struct err *err)
{
    int rc = 0;
    char *folder = file_folder(path);
    int fd = folder == NULL ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder == NULL)
        rc = err_set(err, ERR_NOMEM, "no memory for the folder of '%s'", path);
    else if (fd < 0 || fsync(fd) != 0)
        rc = err_set_errno(err, "cannot write the folder '%s' to disk", folder);
    if (fd >= 0)
        close(fd);
    free(folder);
    return rc;
}

/* Copies the whole store to a new database at `path`; "" is a temporary one. *copy is closed by the caller, also after
 * a failure. */
static int copy_pages(struct store *store, const char *path, sqlite3 **copy, struct err *err)
{
    int code = sqlite3_open_v2(path, copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    sqlite3_backup *backup = code == SQLITE_OK ? sqlite3_backup_init(*copy, "main", store->db, "main") : NULL;
    if (backup != NULL) {
        sqlite3_backup_step(backup, -1);
        code = sqlite3_backup_finish(backup);
    }
    if (backup == NULL || code != SQLITE_OK)
        return err_set(err, ERR_STORE, "cannot copy the store '%s' to '%s': %s", store->path,
                       *path == '\0' ? "a temporary file" : path,
                       *copy == NULL ? "out of memory" : sqlite3_errmsg(*copy));
    return 0;
}

static int copy_to_file(struct store *store, const char *path, struct err *err)
{
    sqlite3 *copy = NULL;
    int rc = copy_pages(store, path, &copy, err);
    sqlite3_close(copy);
    return rc;
}

int store_read_copy(struct store *store, struct err *err)
{
    sqlite3 *copy = NULL;
    int rc = copy_pages(store, "", &copy, err);
    if (rc != 0) {
        sqlite3_close(copy);
        return rc;
    }
    sqlite3_close(store->db);
    store->db = copy;
    return 0;
}

/* FILE.v<N>.bak, whole or not at all. */
static int back_up(struct store *store, int version, struct err *err)
{
    struct text path = {0}, partial = {0};
    int rc = 0;
    text_printf(&path, "%s.v%d.bak", store->path, version);
    text_printf(&partial, "%s.v%d.bak.tmp", store->path, version);
    if (path.failed || partial.failed)
        rc = err_set(err, ERR_NOMEM, "no memory for the name of a backup");
    if (rc == 0 && unlink(partial.data) != 0 && errno != ENOENT)
        rc = err_set_errno(err, "cannot remove '%s'", partial.data);
    if (rc == 0)
        rc = copy_to_file(store, partial.data, err);
    if (rc == 0 && rename(partial.data, path.data) != 0)
        rc = err_set_errno(err, "cannot rename '%s' to '%s'", partial.data, path.data);
    if (rc == 0)
        rc = sync_folder(path.data, err);
    text_done(&path);
    text_done(&partial);
    return rc;
}

static int migrate_once(struct store *store, const struct store_migration *migration, struct err *err)
{
    int rc = store->mode == STORE_WRITE ? back_up(store, migration->from, err) : 0;
    crash_at(CRASH_BACKED_UP);
    if (rc == 0)
        rc = store_exec(store, "PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE", err);
    if (rc == 0)
        rc = store_exec(store, migration->sql, err);
    if (rc == 0)
        rc = store_check_references(store, err); /* not enforced while it ran */
    if (rc == 0)
        rc = set_version(store, migration->from + 1, err);
    crash_at(CRASH_MIGRATING);
    if (rc == 0)
        rc = store_exec(store, "COMMIT; PRAGMA foreign_keys = ON", err);
    crash_at(CRASH_MIGRATED);
    if (rc != 0) {
        store_rollback(store);
        err_wrap(err, "store '%s' stays at version %d", store->path, migration->from);
    }
    return rc;
}

int store_migrate(struct store *store, const struct store_migration *migrations, size_t n, int target, struct err *err)
{
    int64_t version = 0;
    int rc = store_read_number(store, "PRAGMA user_version", &version, err);
    for (size_t i = 0; rc == 0 && i < n && version < target; i++) {
        if (migrations[i].from != version)
            continue;
        rc = migrate_once(store, &migrations[i], err);
        version++;
    }
    if (rc == 0 && version != target)
        rc = err_set(err, ERR_STORE, "store '%s' has version %" PRId64 ", and no way leads from there to version %d",
                     store->path, version, target);
    return rc;
}

/* Every attempt that was running when the last coordinator ended is lost; its trial goes on from its checkpoint. That
 * is no fault of the trial: INTERRUPTED attempts count for no retry. */
static const char *const recovery[] = {
    "INSERT INTO event (sweep_id, kind, message, created_at) SELECT sweep_id, 'recovered', "
    "CASE COUNT(*) WHEN 1 THEN '1 trial that was running goes on from its checkpoint' "
    "ELSE COUNT(*) || ' trials that were running go on from their checkpoints' END, ?1 "
    "FROM trial WHERE state = 'RUNNING' GROUP BY sweep_id",
    "UPDATE attempt SET state = 'INTERRUPTED', reason = 'coordinator_lost', ended_at = ?1, "
    "message = 'its coordinator ended without closing it' "
    "WHERE state = 'RUNNING'",
};

int store_recover(struct store *store, struct err *err)
{
    bool found = false;
    sqlite3_stmt *row;
    int rc = store_first(store,
                         "SELECT 1 WHERE EXISTS (SELECT 1 FROM attempt WHERE state = 'RUNNING') "
                         "OR EXISTS (SELECT 1 FROM trial WHERE state = 'RUNNING')",
                         NULL, 0, &row, &found, err);
    if (rc != 0 || !found)
        return rc;
    sqlite3_reset(row);
    rc = store_begin(store, err);
    for (size_t i = 0; rc == 0 && i < sizeof recovery / sizeof recovery[0]; i++)
        rc = store_run(store, recovery[i], BINDS(bind_text(store->now)), NULL, err);
    if (rc == 0)
        rc = store_run(store, "UPDATE trial SET state = 'WAITING' WHERE state = 'RUNNING'", NULL, 0, NULL, err);
    crash_at(CRASH_RECOVERING);
    if (rc == 0)
        rc = store_commit(store, err);
    if (rc != 0)
        store_rollback(store);
    return rc;
}
