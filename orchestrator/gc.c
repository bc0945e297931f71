/* Garbage of a store's folders. */
#include "orchestrator/gc.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/cache.h"
#include "common/crash.h"
#include "common/file.h"
#include "common/json.h"
#include "orchestrator/store_care.h"
#include "orchestrator/store_import.h"
#include "orchestrator/store_internal.h"

static int add(struct gc *gc, const char *kind, const char *path, int64_t trial_id, struct err *err)
{
    if (gc->n == gc->capacity) {
        int larger = gc->capacity ? 2 * gc->capacity : 64;
        struct gc_finding *moved = realloc(gc->findings, (size_t)larger * sizeof(*moved));
        if (!moved)
            return err_set(err, ERR_NOMEM, "no memory for what is found");
        gc->findings = moved;
        gc->capacity = larger;
    }
    for (int i = 0; i < gc->n; i++)
        if (disk_is_below(path, gc->findings[i].path)) /* found with its folder */
            return 0;
    struct gc_finding *finding = &gc->findings[gc->n];
    *finding = (struct gc_finding){.kind = kind, .path = strdup(path), .bytes = disk_bytes(path), .trial_id = trial_id};
    if (!finding->path)
        return err_set(err, ERR_NOMEM, "no memory for a path");
    gc->bytes += finding->bytes;
    gc->n++;
    return 0;
}

void gc_done(struct gc *gc)
{
    for (int i = 0; i < gc->n; i++)
        free(gc->findings[i].path);
    free(gc->findings);
    *gc = (struct gc){0};
}

/* Whether a query of ?1 (a number) and ?2 (a text) gives a row. */
static int has_row(struct store *store, const char *sql, int64_t id, const char *text, bool *found, struct err *err)
{
    sqlite3_stmt *row;
    int rc = store_first(store, sql, BINDS(bind_int(id), bind_text(text)), &row, found, err);
    if (rc == 0 && *found)
        sqlite3_reset(row);
    return rc;
}

/* Folders ------------------------------------------------------------------------------------------------------------
 */

/* Calls `look` for every entry; a missing folder has none. */
static int each_entry(const char *folder,
                      int (*look)(const char *path, const char *name, void *context, struct err *err), void *context,
                      struct err *err)
{
    DIR *entries = opendir(folder);
    int rc = 0;
    if (!entries)
        return errno == ENOENT || errno == ENOTDIR ? 0 : err_set_errno(err, "'%s'", folder);
    for (struct dirent *entry; rc == 0 && (entry = readdir(entries));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *path = file_join(folder, entry->d_name);
        rc = path ? look(path, entry->d_name, context, err) : err_set(err, ERR_NOMEM, "no memory for a path");
        free(path);
    }
    closedir(entries);
    return rc;
}

struct place {
    struct gc *gc;
    struct store *store;
    int64_t sweep_id, trial_id;
    const char *beside; /* the store's own name */
};

static bool is_unfinished(const char *name)
{
    return strstr(name, ".tmp-") != NULL || text_ends_with(name, ".tmp");
}

static int look_in_trial(const char *path, const char *name, void *context, struct err *err)
{
    struct place *place = context;
    bool found = false;
    int rc = 0;
    if (is_unfinished(name))
        return add(place->gc, "unfinished", path, 0, err);
    if (!strstr(name, ".checkpoint"))
        return 0;
    rc = has_row(place->store, "SELECT 1 FROM checkpoint WHERE trial_id = ?1 AND path = ?2", place->trial_id, path,
                 &found, err);
    return rc == 0 && !found ? add(place->gc, "checkpoint", path, 0, err) : rc;
}

/* A folder whose name is a number is a trial's. Results that were taken from an equal trial may lie in another's. */
static int look_in_sweep(const char *path, const char *name, void *context, struct err *err)
{
    static const char find[] = "SELECT id FROM trial WHERE sweep_id = ?1 AND number = ?2";
    struct place *place = context;
    struct place trial = *place;
    struct text pattern = {0};
    int64_t number = 0;
    sqlite3_stmt *row;
    bool found = false, is_named = false;
    if (is_unfinished(name))
        return add(place->gc, "unfinished", path, 0, err);
    if (text_parse_int64(name, &number, NULL) < 0 || number < 1 || !file_is_folder(path))
        return 0;
    int rc = store_first(place->store, find, BINDS(bind_int(place->sweep_id), bind_int(number)), &row, &found, err);
    if (rc == 0 && found) {
        trial.trial_id = sqlite3_column_int64(row, 0);
        sqlite3_reset(row);
        return each_entry(path, look_in_trial, &trial, err);
    }
    text_printf(&pattern, "%s/*", name);
    if (rc == 0)
        rc = has_row(
            place->store,
            "SELECT 1 FROM artifact a JOIN trial t ON t.id = a.trial_id WHERE t.sweep_id = ?1 AND a.path GLOB ?2",
            place->sweep_id, pattern.data, &is_named, err);
    text_done(&pattern);
    return rc == 0 && !is_named ? add(place->gc, "trial", path, 0, err) : rc;
}

/* Of sweeps ----------------------------------------------------------------------------------------------------------
 */

static int look_at_sweeps(struct gc *gc, struct store *store, const char *trials, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int rc = 0;
    if (sqlite3_prepare_v2(store->db, "SELECT id, output_folder FROM sweep ORDER BY id", -1, &row, NULL) != SQLITE_OK)
        return store_fail(store, "cannot read its sweeps", err);
    while (rc == 0 && sqlite3_step(row) == SQLITE_ROW) {
        const char *folder = (const char *)sqlite3_column_text(row, 1);
        struct place place = {.gc = gc, .store = store, .sweep_id = sqlite3_column_int64(row, 0)};
        if (disk_is_below(folder, trials))
            rc = each_entry(folder, look_in_sweep, &place, err);
    }
    sqlite3_finalize(row);
    return rc;
}

/* A folder that a sweep of the store has is never garbage as a whole. */
static int add_unless_used(struct gc *gc, struct store *store, const char *kind, const char *folder, const char *trials,
                           struct err *err)
{
    bool is_used = false;
    if (!disk_is_below(folder, trials) || strcmp(folder, trials) == 0 || !file_is_folder(folder))
        return 0;
    int rc =
        has_row(store, "SELECT 1 FROM sweep WHERE ?1 = 0 AND (output_folder = ?2 OR output_folder GLOB ?2 || '/*')", 0,
                folder, &is_used, err);
    return rc == 0 && !is_used ? add(gc, kind, folder, 0, err) : rc;
}

/* Sweeps whose deletion was cut off between rows and files. */
static int look_at_deleted(struct gc *gc, struct store *store, const char *trials, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int rc = 0;
    if (sqlite3_prepare_v2(store->db, "SELECT message FROM event WHERE sweep_id IS NULL AND kind = 'deleted'", -1, &row,
                           NULL) != SQLITE_OK)
        return store_fail(store, "cannot read its events", err);
    while (rc == 0 && sqlite3_step(row) == SQLITE_ROW) {
        cJSON *json = NULL;
        const char *message = (const char *)sqlite3_column_text(row, 0), *folder = NULL;
        if (json_parse(message, strlen(message), &json, NULL) == 0 &&
            json_get_string(json, "folder", "event", &folder, NULL) == 0)
            rc = add_unless_used(gc, store, "deleted sweep", folder, trials, err);
        json_free(json);
    }
    sqlite3_finalize(row);
    return rc;
}

struct imports {
    struct gc *gc;
    struct store *store;
    const char *trials;
};

/* The files of a sweep whose import did not come to its end. */
static int look_for_import(const char *path, const char *name, void *context, struct err *err)
{
    struct imports *imports = context;
    char *mark = file_join(path, IMPORTING);
    int rc = mark ? 0 : err_set(err, ERR_NOMEM, "no memory for a path");
    if (rc == 0 && (file_exists(mark) || text_ends_with(name, IMPORTING)))
        rc = add_unless_used(imports->gc, imports->store, "unfinished", path, imports->trials, err);
    free(mark);
    return rc;
}

/* "nightsweep.db.….tmp" beside the store. */
static int look_beside(const char *path, const char *name, void *context, struct err *err)
{
    struct place *place = context;
    bool is_ours = text_starts_with(name, place->beside) && is_unfinished(name);
    return is_ours ? add(place->gc, "unfinished", path, 0, err) : 0;
}

static int look_beside_store(struct gc *gc, struct store *store, struct err *err)
{
    const char *slash = strrchr(store->path, '/');
    struct text name = {0};
    char *folder = file_folder(store->path);
    text_printf(&name, "%s.", slash ? slash + 1 : store->path);
    struct place place = {.gc = gc, .store = store, .beside = name.data};
    int rc = folder && !name.failed ? each_entry(folder, look_beside, &place, err)
                                    : err_set(err, ERR_NOMEM, "no memory for a path");
    text_done(&name);
    free(folder);
    return rc;
}

/* Checkpoints that count, but for a trial that nobody went on with. */
static int look_at_old(struct gc *gc, struct store *store, const char *trials, double seconds, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int rc = 0;
    time_t now = time(NULL);
    if (sqlite3_prepare_v2(store->db,
                           "SELECT k.path, k.trial_id FROM checkpoint k JOIN trial t ON t.id = k.trial_id "
                           "WHERE t.state <> 'RUNNING' ORDER BY k.trial_id",
                           -1, &row, NULL) != SQLITE_OK)
        return store_fail(store, "cannot read its checkpoints", err);
    while (rc == 0 && sqlite3_step(row) == SQLITE_ROW) {
        const char *path = (const char *)sqlite3_column_text(row, 0);
        struct stat info;
        if (disk_is_below(path, trials) && stat(path, &info) == 0 && difftime(now, info.st_mtime) >= seconds)
            rc = add(gc, "old checkpoint", path, sqlite3_column_int64(row, 1), err);
    }
    sqlite3_finalize(row);
    return rc;
}

int gc_find(struct gc *gc, struct store *store, double older_than_seconds, struct err *err)
{
    char *trials = NULL;
    int rc = store_trials_folder(store->path, &trials, err);
    struct imports imports = {gc, store, trials};
    if (rc == 0)
        rc = look_at_deleted(gc, store, trials, err);
    if (rc == 0)
        rc = each_entry(trials, look_for_import, &imports, err);
    if (rc == 0)
        rc = look_at_sweeps(gc, store, trials, err);
    if (rc == 0)
        rc = look_beside_store(gc, store, err);
    if (rc == 0 && older_than_seconds >= 0)
        rc = look_at_old(gc, store, trials, older_than_seconds, err);
    free(trials);
    return rc;
}

struct age {
    struct gc *gc;
    time_t now;
    double seconds;
};

static int look_at_activations(const char *path, const char *name, void *context, struct err *err)
{
    const struct age *age = context;
    struct stat info;
    bool is_old = text_ends_with(name, CACHE_PREFIX_SUFFIX) && stat(path, &info) == 0 && S_ISREG(info.st_mode) &&
                  difftime(age->now, info.st_mtime) >= age->seconds;
    return is_old ? add(age->gc, "kept activations", path, 0, err) : 0;
}

int gc_find_cached(struct gc *gc, double unused_seconds, struct err *err)
{
    struct age age = {gc, time(NULL), unused_seconds};
    char *folder = cache_folder();
    int rc = folder ? each_entry(folder, look_at_activations, &age, err) : 0;
    free(folder);
    return rc;
}

/* A row that names a file goes before the file: cut off in between, the next `gc` finds the file alone. */
static int drop_row(struct store *store, const struct gc_finding *finding, struct err *err)
{
    int rc = store_begin(store, err);
    if (rc == 0)
        rc = store_run(store, "DELETE FROM checkpoint WHERE trial_id = ?1", BINDS(bind_int(finding->trial_id)), NULL,
                       err);
    if (rc == 0)
        rc = store_run(store,
                       "INSERT INTO event (sweep_id, trial_id, kind, message, created_at) SELECT sweep_id, id, "
                       "'checkpoint_dropped', 'its checkpoint was old: the trial would start again', ?2 FROM trial "
                       "WHERE id = ?1",
                       BINDS(bind_int(finding->trial_id), bind_text(store->now)), NULL, err);
    if (rc == 0)
        rc = store_commit(store, err);
    if (rc != 0)
        store_rollback(store);
    return rc;
}

int gc_remove(const struct gc *gc, struct store *store, struct err *err)
{
    int rc = 0;
    crash_at(CRASH_GC_FOUND);
    for (int i = 0; i < gc->n && rc == 0; i++) {
        if (gc->findings[i].trial_id)
            rc = drop_row(store, &gc->findings[i], err);
        if (gc->findings[i].trial_id)
            crash_at(CRASH_GC_ROW_GONE);
        if (rc == 0)
            rc = file_remove_tree(gc->findings[i].path, err);
    }
    return rc;
}
