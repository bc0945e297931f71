/* Copies, sizes and room of a store's files. */
#include "orchestrator/store_care.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "orchestrator/store_internal.h"

/* Sizes --------------------------------------------------------------------------------------------------------------
 */

enum { OPEN_FOLDERS = 16 };

static _Thread_local int64_t bytes_seen; /* nftw has no context */

static int add_file(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)path;
    (void)walk;
    bytes_seen += kind == FTW_F ? (int64_t)info->st_size : 0;
    return 0;
}

int64_t disk_bytes(const char *path)
{
    bytes_seen = 0;
    return nftw(path, add_file, OPEN_FOLDERS, FTW_PHYS) < 0 ? 0 : bytes_seen;
}

bool disk_is_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    return strncmp(path, folder, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

int64_t store_file_bytes(const char *path)
{
    static const char *const endings[] = {"", "-wal"};
    int64_t bytes = 0;
    for (size_t i = 0; i < 2; i++) {
        struct text name = {0};
        struct stat info;
        text_printf(&name, "%s%s", path, endings[i]);
        if (!name.failed && stat(name.data, &info) == 0)
            bytes += (int64_t)info.st_size;
        text_done(&name);
    }
    return bytes;
}

int store_trials_folder(const char *store_path, char **folder, struct err *err)
{
    char *absolute = NULL;
    struct text text = {0};
    int rc = file_absolute(store_path, &absolute, err);
    if (rc < 0)
        return rc;
    size_t n = strlen(absolute);
    bool has_suffix = text_ends_with(absolute, ".db");
    text_add_n(&text, absolute, has_suffix ? n - 3 : n);
    text_add(&text, has_suffix ? "" : ".trials");
    free(absolute);
    *folder = text_take(&text);
    return *folder ? 0 : err_set(err, ERR_NOMEM, "no memory for a folder's name");
}

/* Copies -------------------------------------------------------------------------------------------------------------
 */

static int copy_to(struct store *store, const char *path, struct err *err)
{
    sqlite3 *copy = NULL;
    int code = sqlite3_open_v2(path, &copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    sqlite3_backup *backup = code == SQLITE_OK ? sqlite3_backup_init(copy, "main", store->db, "main") : NULL;
    /* In one step: what is copied is the store as of one moment, whatever a run writes meanwhile. */
    if (backup) {
        sqlite3_backup_step(backup, -1);
        code = sqlite3_backup_finish(backup);
    }
    /* A file of its own, without a log beside it: a copy is one file. */
    if (backup && code == SQLITE_OK)
        code = sqlite3_exec(copy, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
    int rc = backup && code == SQLITE_OK ? 0
                                         : err_set(err, ERR_STORE, "cannot copy the store '%s' to '%s': %s",
                                                   store->path, path, copy ? sqlite3_errmsg(copy) : "out of memory");
    sqlite3_close(copy);
    return rc;
}

static int check_row(sqlite3 *db, const char *sql, const char *path, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int rc = 0;
    if (sqlite3_prepare_v2(db, sql, -1, &row, NULL) != SQLITE_OK)
        rc = err_set(err, ERR_STORE, "the copy '%s' cannot be read: %s", path, sqlite3_errmsg(db));
    else if (sqlite3_step(row) == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(row, 0), "ok") != 0)
        rc = err_set(err, ERR_STORE, "the copy '%s' is damaged: %s", path, (const char *)sqlite3_column_text(row, 0));
    sqlite3_finalize(row);
    return rc;
}

static int check_copy(const char *path, struct err *err)
{
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK
                 ? 0
                 : err_set(err, ERR_STORE, "the copy '%s' cannot be opened", path);
    if (rc == 0)
        rc = check_row(db, "PRAGMA integrity_check(1)", path, err);
    if (rc == 0)
        rc = check_row(db, "PRAGMA foreign_key_check", path, err);
    sqlite3_close(db);
    return rc;
}

/* The file and its name are on disk once both are synced. */
static int sync_path(const char *path, int flags, struct err *err)
{
    int fd = open(path, flags | O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) < 0 ? err_set_errno(err, "'%s'", path) : 0;
    if (fd >= 0)
        close(fd);
    return rc;
}

int store_backup(struct store *store, const char *path, int64_t *bytes, struct err *err)
{
    struct text partial = {0};
    char *folder = file_folder(path);
    text_printf(&partial, "%s.tmp", path);
    int rc = partial.failed || !folder ? err_set(err, ERR_NOMEM, "no memory for a path") : 0;
    if (rc == 0 && file_exists(path))
        rc = err_set(err, ERR_USAGE, "'%s' is there already: a new file was expected", path);
    if (rc == 0)
        rc = file_make_folders(folder, err);
    if (rc == 0 && unlink(partial.data) < 0 && errno != ENOENT)
        rc = err_set_errno(err, "'%s'", partial.data);
    if (rc == 0)
        rc = copy_to(store, partial.data, err);
    if (rc == 0)
        rc = check_copy(partial.data, err);
    if (rc == 0)
        rc = sync_path(partial.data, 0, err);
    /* Two at once: the second finds the name taken. */
    if (rc == 0 && link(partial.data, path) < 0)
        rc = err_set_errno(err, "'%s'", path);
    if (!partial.failed)
        unlink(partial.data);
    if (rc == 0)
        rc = sync_path(folder, O_DIRECTORY, err);
    if (rc == 0)
        *bytes = store_file_bytes(path);
    text_done(&partial);
    free(folder);
    return rc;
}

int store_shrink(struct store *store, struct err *err)
{
    int rc = store_exec(store, "VACUUM", err);
    return rc == 0 ? store_exec(store, "PRAGMA wal_checkpoint(TRUNCATE)", err) : rc;
}
