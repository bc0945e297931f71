/* Opening and closing the store.
 *
 * Opening for writing goes: lock, look without touching, open, create or migrate, check for damage, recover, count ids.
 * The look comes first and through a read-only connection, because a connection that may write would already move a
 * newer program's write-ahead log into the file. */
#include "orchestrator/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "common/file.h"
#include "common/text.h"
#include "orchestrator/store_internal.h"
#include "orchestrator/store_wal.h"

enum { BUSY_TIMEOUT_MS = 10000 };

/* Writers: FULL makes a commit durable. The cache bounds memory; the write-ahead log is moved into the file when it has
 * 16 MiB and is cut back to that size after a long reader has let it grow. */
static const char settings_write[] = "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; "
                                     "PRAGMA cache_size = -8192; "
                                     "PRAGMA wal_autocheckpoint = 4096; PRAGMA journal_size_limit = 16777216;";
/* SQLite counts its memory under a lock that every allocation takes; nobody asks for the count. */
__attribute__((constructor)) static void configure_sqlite(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static const char settings_read[] = "PRAGMA query_only = ON; PRAGMA cache_size = -16384;";

const char *store_path(const struct store *store)
{
    return store->path;
}

sqlite3 *store_database(struct store *store)
{
    return store->db;
}

/* Why SQLite cannot read the file at all, in the words of the person who gave its name. */
static int refuse_file(const struct store *store, struct err *err)
{
    int code = sqlite3_errcode(store->db);
    if (code == SQLITE_NOTADB)
        return err_set(err, ERR_STORE, "'%s' is not an SQLite database, a Nightsweep store was expected", store->path);
    if (code == SQLITE_CORRUPT)
        return err_set(err, ERR_STORE, "store '%s' is damaged: %s; `nightsweep recover` saves what can be read",
                       store->path, sqlite3_errmsg(store->db));
    return store_fail(store, "cannot open", err);
}

static int connect(struct store *store, int flags, struct err *err)
{
    int code = sqlite3_open_v2(store->path, &store->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (store->db == NULL)
        return err_set(err, ERR_NOMEM, "no memory to open the store '%s'", store->path);
    sqlite3_busy_timeout(store->db, BUSY_TIMEOUT_MS);
    /* Nobody who gets at the connection can damage the file with SQL. */
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    return code == SQLITE_OK ? 0 : refuse_file(store, err);
}

static void disconnect(struct store *store)
{
    for (size_t i = 0; i < STORE_STATEMENTS; i++)
        sqlite3_finalize(store->statements[i].handle);
    memset(store->statements, 0, sizeof store->statements);
    sqlite3_close(store->db);
    store->db = NULL;
}

struct identity {
    int64_t version, application_id, n_objects;
};

static int read_identity(struct store *store, struct identity *identity, struct err *err)
{
    struct err detail;
    if (store_read_number(store, "SELECT COUNT(*) FROM sqlite_schema", &identity->n_objects, &detail) != 0)
        return refuse_file(store, err);
    int rc = store_read_number(store, "PRAGMA user_version", &identity->version, err);
    if (rc == 0)
        rc = store_read_number(store, "PRAGMA application_id", &identity->application_id, err);
    return rc;
}

static int check_identity(const struct store *store, const struct identity *identity, struct err *err)
{
    if (identity->application_id != STORE_APPLICATION_ID)
        return err_set(err, ERR_STORE, "'%s' is an SQLite database of another program, a Nightsweep store was expected",
                       store->path);
    if (identity->version > STORE_VERSION)
        return err_set(err, ERR_STORE,
                       "store '%s' has version %" PRId64 ", written by a newer program; this one reads up to %d and "
                       "leaves it untouched",
                       store->path, identity->version, STORE_VERSION);
    return 0;
}

/* Tells from a file that is there what it is; *is_new when there is none, or one with nothing in it. */
static int look(struct store *store, bool *is_new, struct err *err)
{
    struct identity identity = {0};
    struct stat info;
    *is_new = stat(store->path, &info) != 0 && errno == ENOENT;
    if (*is_new)
        return 0;
    int rc = connect(store, SQLITE_OPEN_READONLY, err);
    if (rc == 0)
        rc = read_identity(store, &identity, err);
    /* A rollback journal of the moment in which it was created: SQLite must be allowed to roll it back. */
    if (rc != 0 && store->mode == STORE_WRITE && sqlite3_errcode(store->db) == SQLITE_READONLY) {
        disconnect(store);
        rc = connect(store, SQLITE_OPEN_READWRITE, err);
        if (rc == 0)
            rc = read_identity(store, &identity, err);
    }
    if (rc == 0)
        *is_new = identity.n_objects == 0 && identity.version == 0 && identity.application_id == 0;
    if (rc == 0 && !*is_new)
        rc = check_identity(store, &identity, err);
    disconnect(store);
    return rc;
}

/* The write-ahead log needs memory that all who open the file share, which hosts do not: on file systems that reach
 * several of them a rollback journal stands in for it. */
static bool is_on_network(const char *path)
{
    static const unsigned long types[] = {0x6969 /* NFS */,        0xff534d42 /* CIFS */,    0xfe534d42 /* SMB */,
                                          0x0bd00bd0 /* Lustre */, 0x47504653 /* GPFS */,    0x19830326 /* BeeGFS */,
                                          0x00c36400 /* Ceph */,   0x5346414f /* OpenAFS */, 0x65735546 /* FUSE */};
    struct statfs info;
    char *folder = file_folder(path); /* the file may be made at its first row only */
    bool is_known = folder && statfs(folder, &info) == 0;
    free(folder);
    if (!is_known)
        return false;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (((unsigned long)info.f_type & 0xffffffff) == types[i])
            return true;
    return false;
}

static int choose_journal(const struct store *store, bool *is_rollback, struct err *err)
{
    const char *asked = getenv("NIGHTSWEEP_JOURNAL");
    *is_rollback = asked ? strcmp(asked, "rollback") == 0 : is_on_network(store->path);
    if (asked && !*is_rollback && strcmp(asked, "wal") != 0)
        return err_set(err, ERR_USAGE, "NIGHTSWEEP_JOURNAL: '%s', wal or rollback was expected", asked);
    return 0;
}

static int set_journal(struct store *store, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    bool is_rollback = false;
    int rc = choose_journal(store, &is_rollback, err);
    const char *mode = is_rollback ? "truncate" : "wal";
    if (rc < 0)
        return rc;
    if (sqlite3_prepare_v2(store->db, is_rollback ? "PRAGMA journal_mode = TRUNCATE" : "PRAGMA journal_mode = WAL", -1,
                           &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        rc = store_fail(store, "cannot set its journal", err);
    else if (strcmp((const char *)sqlite3_column_text(statement, 0), mode) != 0)
        rc = err_set(err, ERR_STORE, "store '%s': %s", store->path,
                     is_rollback
                         ? "others have it open: its write-ahead log cannot be put away"
                         : "its file system allows no write-ahead log (NIGHTSWEEP_JOURNAL=rollback does without)");
    sqlite3_finalize(statement);
    return rc;
}

int store_check_references(struct store *store, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    int rc = 0;
    if (sqlite3_prepare_v2(store->db, "PRAGMA foreign_key_check", -1, &statement, NULL) != SQLITE_OK)
        return store_fail(store, "cannot check its references", err);
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        rc = err_set(err, ERR_STORE, "store '%s' is damaged: a row of '%s' refers to one of '%s' that is not there",
                     store->path, (const char *)sqlite3_column_text(statement, 0),
                     (const char *)sqlite3_column_text(statement, 2));
    else if (code != SQLITE_DONE)
        rc = store_fail(store, "cannot check its references", err);
    sqlite3_finalize(statement);
    return rc;
}

static int check_pages(struct store *store, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    int rc = 0;
    if (sqlite3_prepare_v2(store->db, "PRAGMA quick_check(1)", -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        rc = refuse_file(store, err);
    else if (strcmp((const char *)sqlite3_column_text(statement, 0), "ok") != 0)
        rc = err_set(err, ERR_STORE, "store '%s' is damaged: %s; `nightsweep recover` saves what can be read",
                     store->path, (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    return rc;
}

int store_check(struct store *store, struct err *err)
{
    int rc = check_pages(store, err);
    return rc == 0 ? store_check_references(store, err) : rc;
}

int store_count_ids(struct store *store, struct err *err)
{
    static const char *const queries[STORE_TABLE_COUNT] = {
        [STORE_SWEEP] = "SELECT MAX(id) FROM sweep",
        [STORE_CONFIGURATION] = "SELECT MAX(id) FROM configuration",
        [STORE_TRIAL] = "SELECT MAX(id) FROM trial",
        [STORE_ATTEMPT] = "SELECT MAX(id) FROM attempt",
    };
    int rc = 0;
    for (int i = 0; rc == 0 && i < STORE_TABLE_COUNT; i++)
        rc = store_read_number(store, queries[i], &store->last_ids[i], err);
    return rc;
}

int64_t store_new_id(struct store *store, enum store_table table)
{
    return ++store->last_ids[table];
}

static int migrate(struct store *store, struct err *err)
{
    size_t n;
    const struct store_migration *migrations = store_migrations(&n);
    return store_migrate(store, migrations, n, STORE_VERSION, err);
}

/* To the disk with the database's own file: a write-ahead log beside an empty one would be thrown away. */
static int sync_file(struct store *store, struct err *err)
{
    sqlite3_file *file = NULL;
    int code = sqlite3_file_control(store->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    if (code == SQLITE_OK)
        code = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
    return code == SQLITE_OK ? 0 : err_set(err, ERR_STORE, "store '%s': cannot be written to disk", store->path);
}

/* An empty store is no loss: one wait for the disk, at the end. The schema is in the log, which the first commit of
 * what somebody is told takes to the disk. */
static int create(struct store *store, struct err *err)
{
    int rc = store_exec(store, "PRAGMA synchronous = OFF", err);
    if (rc == 0)
        rc = set_journal(store, err);
    if (rc == 0)
        rc = store_create_schema(store, err);
    if (rc == 0)
        rc = sync_file(store, err);
    return rc == 0 ? store_set_durable(store, true, err) : rc;
}

static int open_to_write(struct store *store, bool is_new, struct err *err)
{
    struct stat info;
    int rc = connect(store, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err);
    if (rc == 0)
        rc = store_exec(store, settings_write, err);
    if (rc == 0 && is_new)
        return create(store, err);
    if (rc == 0)
        rc = set_journal(store, err);
    if (rc == 0 && stat(store->path, &info) == 0 && info.st_size <= STORE_CHECKED_BYTES)
        rc = check_pages(store, err);
    if (rc == 0)
        rc = migrate(store, err);
    if (rc == 0)
        rc = store_recover(store, err);
    return rc == 0 ? store_count_ids(store, err) : rc;
}

static int open_to_read(struct store *store, bool is_new, struct err *err)
{
    if (is_new)
        return err_set(err, ERR_NOT_FOUND, "there is no store '%s'", store->path);
    int64_t version = 0;
    int rc = connect(store, SQLITE_OPEN_READONLY, err);
    if (rc == 0)
        rc = store_read_number(store, "PRAGMA user_version", &version, err);
    if (rc == 0 && version < STORE_VERSION && (rc = store_read_copy(store, err)) == 0)
        rc = migrate(store, err);
    return rc == 0 ? store_exec(store, settings_read, err) : rc;
}

static int make_folder(const char *path, struct err *err)
{
    char *folder = file_folder(path);
    if (folder == NULL)
        return err_set(err, ERR_NOMEM, "no memory for the folder of '%s'", path);
    int rc = file_make_folders(folder, err);
    free(folder);
    return rc;
}

static int take_lock(struct store *store, struct err *err)
{
    struct text path = {0};
    text_printf(&path, "%s.lock", store->path);
    int rc = path.failed ? err_set(err, ERR_NOMEM, "no memory for the name of a lock file")
                         : lock_acquire(&store->lock, path.data, err);
    text_done(&path);
    return rc == ERR_BUSY ? err_wrap(err, "store '%s' is in use by another run", store->path) : rc;
}

int store_open(struct store **store, const char *path, enum store_mode mode, struct err *err)
{
    bool is_new = false;
    int rc = 0;
    struct store *opened = calloc(1, sizeof *opened);
    if (opened == NULL || (opened->path = strdup(path)) == NULL) {
        rc = err_set(err, ERR_NOMEM, "no memory to open the store '%s'", path);
        goto out;
    }
    opened->mode = mode;
    opened->result.message = "";
    if (mode == STORE_WRITE && ((rc = make_folder(path, err)) != 0 || (rc = take_lock(opened, err)) != 0))
        goto out;
    if (mode == STORE_WRITE && (rc = store_wal_check(path, err)) != 0)
        goto out;
    if ((rc = look(opened, &is_new, err)) != 0)
        goto out;
    rc = mode == STORE_WRITE ? open_to_write(opened, is_new, err) : open_to_read(opened, is_new, err);
out:
    if (rc == 0)
        *store = opened;
    else
        store_close(opened);
    return rc;
}

int store_set_durable(struct store *store, bool is_durable, struct err *err)
{
    return store_exec(store, is_durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL", err);
}

int store_trust_operations(struct store *store, struct err *err)
{
    return store_exec(store, "PRAGMA ignore_check_constraints = ON", err);
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    store_result_done(&store->result);
    disconnect(store);
    store_names_done(store);
    text_done(&store->environment);
    lock_release(&store->lock);
    free(store->path);
    free(store);
}
