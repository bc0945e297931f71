/* Importing: a snapshot of the other store is attached to this one, and SQL copies from one to the other. */
#include "orchestrator/store_import.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crash.h"
#include "common/file.h"
#include "common/hash.h"
#include "orchestrator/definition.h"
#include "orchestrator/store_care.h"
#include "orchestrator/store_internal.h"

/* One sweep on its way. */
struct incoming {
    struct store *store;
    struct store_import *import;
    int64_t id;             /* in the other store */
    char *name, *from, *to; /* the name here, and its folder there and here */
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory to import a sweep");
}

/* Files --------------------------------------------------------------------------------------------------------------
 */

static int copy_bytes(int from, int to, const char *path, struct err *err)
{
    for (;;) {
        ssize_t n = sendfile(to, from, NULL, 1 << 30);
        if (n == 0)
            return fsync(to) < 0 ? err_set_errno(err, "'%s'", path) : 0;
        if (n < 0 && errno != EINTR)
            return err_set_errno(err, "'%s'", path);
    }
}

static int copy_file(const char *from, const char *to, struct err *err)
{
    char *folder = file_folder(to);
    int rc = folder ? file_make_folders(folder, err) : no_memory(err);
    int in = rc == 0 ? open(from, O_RDONLY | O_CLOEXEC) : -1;
    int out = in >= 0 ? open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
    if (rc == 0 && (in < 0 || out < 0))
        rc = err_set_errno(err, "'%s'", in < 0 ? from : to);
    if (rc == 0)
        rc = copy_bytes(in, out, to, err);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    free(folder);
    return rc;
}

/* A file that is not what its row says is counted; one that cannot be written is an error. */
static int bring(struct incoming *sweep, const char *from, const char *to, const char *sha256, struct err *err)
{
    char hash[HASH_HEX_SIZE];
    struct err missing;
    struct stat info;
    if (hash_file(from, hash, &missing) < 0 || strcmp(hash, sha256) != 0) {
        sweep->import->n_missing++;
        return 0;
    }
    int rc = copy_file(from, to, err);
    if (rc == 0 && stat(to, &info) == 0) {
        sweep->import->n_files++;
        sweep->import->n_bytes += (int64_t)info.st_size;
    }
    return rc;
}

static int bring_files(struct incoming *sweep, const char *sql, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int rc = 0;
    if (sqlite3_prepare_v2(sweep->store->db, sql, -1, &row, NULL) != SQLITE_OK)
        return store_fail(sweep->store, "cannot read what is imported", err);
    sqlite3_bind_int64(row, 1, sweep->id);
    while (rc == 0 && sqlite3_step(row) == SQLITE_ROW) {
        char *from = file_join(sweep->from, (const char *)sqlite3_column_text(row, 0));
        char *to = file_join(sweep->to, (const char *)sqlite3_column_text(row, 1));
        rc = from && to ? bring(sweep, from, to, (const char *)sqlite3_column_text(row, 2), err) : no_memory(err);
        free(from);
        free(to);
    }
    sqlite3_finalize(row);
    return rc;
}

/* The name of a checkpoint's file in its trial's folder. */
#define CHECKPOINT_NAME "t.number || '/' || replace(k.path, rtrim(k.path, replace(k.path, '/', '')), '')"

/* The folder, with its mark inside, goes and comes at once, by renaming: a kill leaves none that nobody knows. */
static int place_folder(const char *to, struct err *err)
{
    struct text unfinished = {0}, mark = {0};
    text_printf(&unfinished, "%s" IMPORTING, to);
    text_printf(&mark, "%s" IMPORTING "/" IMPORTING, to);
    int rc = unfinished.failed || mark.failed ? no_memory(err) : file_remove_tree(unfinished.data, err);
    if (rc == 0 && rename(to, unfinished.data) < 0 && errno != ENOENT)
        rc = err_set_errno(err, "'%s'", to);
    if (rc == 0)
        rc = file_remove_tree(unfinished.data, err);
    if (rc == 0)
        rc = file_make_folders(unfinished.data, err);
    if (rc == 0)
        rc = file_write_atomic(mark.data, "", 0, err);
    if (rc == 0 && rename(unfinished.data, to) < 0)
        rc = err_set_errno(err, "'%s'", to);
    text_done(&unfinished);
    text_done(&mark);
    return rc;
}

/* A folder that an import left which was cut off is done again; any other is somebody's. */
static int make_folder(struct incoming *sweep, char **mark, struct err *err)
{
    *mark = file_join(sweep->to, IMPORTING);
    int rc = *mark ? 0 : no_memory(err);
    if (rc == 0 && file_exists(sweep->to) && !file_exists(*mark))
        rc = err_set(err, ERR_USAGE,
                     "'%s' is there already, and the files of sweep '%s' would go there: --as NAME, or move it away",
                     sweep->to, sweep->name);
    return rc == 0 ? place_folder(sweep->to, err) : rc;
}

static int bring_all_files(struct incoming *sweep, struct err *err)
{
    int rc = bring_files(sweep,
                         "SELECT DISTINCT a.path, a.path, a.sha256 FROM other.artifact a "
                         "JOIN other.trial t ON t.id = a.trial_id WHERE t.sweep_id = ?1",
                         err);
    return rc == 0 ? bring_files(sweep,
                                 "SELECT k.path, " CHECKPOINT_NAME ", k.sha256 FROM other.checkpoint k "
                                 "JOIN other.trial t ON t.id = k.trial_id WHERE t.sweep_id = ?1",
                                 err)
                   : rc;
}

/* Rows ---------------------------------------------------------------------------------------------------------------
 */

#define ENVIRONMENT                                                                                                    \
    "program_version, git_commit, blas_version, blas_core, cpu, kernel_level, compute, model_sha256, "                 \
    "tokenizer_sha256, data_sha256, definition_sha256"
#define OF_SWEEP "IN (SELECT id FROM other.trial WHERE sweep_id = ?1)"

/* ?1 the sweep there; ?2 … ?5 what is added to ids of sweeps, configurations, trials and attempts; ?6 name, ?7 folder,
 * ?8 now. Each statement names all columns of its table: a new column without a value here fails a test. */
static const char *const copies[] = {
    "INSERT INTO sweep (id, name, definition, definition_sha256, folder, output_folder, seed, state, created_at, "
    "finished_at, archived_at) SELECT id + ?2, ?6, definition, definition_sha256, folder, ?7, seed, state, created_at, "
    "finished_at, archived_at FROM other.sweep WHERE id = ?1",
    "INSERT INTO input (sweep_id, role, path, sha256, license, license_source) SELECT sweep_id + ?2, role, path, "
    "sha256, license, license_source FROM other.input WHERE sweep_id = ?1",
    "INSERT INTO origin (sweep_id, role, seed, from_sweep, from_trial, from_identity, path, sha256) SELECT sweep_id + "
    "?2, "
    "role, seed, from_sweep, from_trial, from_identity, path, sha256 FROM other.origin WHERE sweep_id = ?1",
    "INSERT INTO objective (sweep_id, position, metric, goal) SELECT sweep_id + ?2, position, metric, goal "
    "FROM other.objective WHERE sweep_id = ?1",
    "INSERT INTO configuration (id, sweep_id, number, role, parameters, settings) SELECT id + ?3, sweep_id + ?2, "
    "number, role, parameters, settings FROM other.configuration WHERE sweep_id = ?1",
    "INSERT INTO trial (id, sweep_id, configuration_id, number, seed, identity, state, reason, message, value, steps, "
    "total_steps, trained_parameters, stored_bytes, flops, created_at, finished_at) SELECT id + ?4, sweep_id + ?2, "
    "configuration_id + ?3, number, seed, identity, iif(state = 'RUNNING', 'WAITING', state), reason, message, value, "
    "steps, total_steps, trained_parameters, stored_bytes, flops, created_at, finished_at FROM other.trial "
    "WHERE sweep_id = ?1",
    "INSERT INTO objective_value (trial_id, position, value) SELECT trial_id + ?4, position, value "
    "FROM other.objective_value WHERE trial_id " OF_SWEEP,
    "INSERT INTO parameter_value (trial_id, name, value) SELECT trial_id + ?4, name, value "
    "FROM other.parameter_value WHERE trial_id " OF_SWEEP,
    "INSERT OR IGNORE INTO environment (" ENVIRONMENT ") SELECT " ENVIRONMENT " FROM other.environment WHERE id IN "
    "(SELECT environment_id FROM other.attempt WHERE trial_id " OF_SWEEP ")",
    "INSERT INTO attempt (id, trial_id, number, environment_id, state, reason, message, worker, slot, resumed_step, "
    "bit_exact, exit_status, signal, seconds, tokens_per_second, peak_bytes, log_tail, started_at, ended_at) "
    "SELECT id + ?5, trial_id + ?4, number, (SELECT h.id FROM environment h JOIN other.environment o "
    "USING (" ENVIRONMENT ") WHERE o.id = a.environment_id), iif(state = 'RUNNING', 'INTERRUPTED', state), reason, "
    "iif(state = 'RUNNING', 'imported while it ran', message), worker, slot, resumed_step, bit_exact, exit_status, "
    "signal, seconds, tokens_per_second, peak_bytes, log_tail, started_at, iif(state = 'RUNNING', ?8, ended_at) "
    "FROM other.attempt a WHERE trial_id " OF_SWEEP,
    "INSERT OR IGNORE INTO metric_name (name) SELECT name FROM other.metric_name WHERE id IN "
    "(SELECT name_id FROM other.metric WHERE trial_id " OF_SWEEP ")",
    "INSERT INTO metric (trial_id, name_id, step, value) SELECT m.trial_id + ?4, h.id, m.step, m.value "
    "FROM other.metric m JOIN other.metric_name n ON n.id = m.name_id JOIN metric_name h ON h.name = n.name "
    "WHERE m.trial_id " OF_SWEEP,
    "INSERT INTO evaluation (trial_id, split, step, is_final, n_items, metrics, item_set_sha256, items) "
    "SELECT trial_id + ?4, split, step, is_final, n_items, metrics, item_set_sha256, items FROM other.evaluation "
    "WHERE trial_id " OF_SWEEP " ORDER BY id",
    "INSERT INTO bias_check (trial_id, check_name, metric, n_items, before, after, delta, low, high, item_set_sha256, "
    "items) SELECT trial_id + ?4, check_name, metric, n_items, before, after, delta, low, high, item_set_sha256, items "
    "FROM other.bias_check WHERE trial_id " OF_SWEEP " ORDER BY id",
    "INSERT INTO decision (sweep_id, trial_id, rule, step, action, reason, created_at) SELECT sweep_id + ?2, "
    "trial_id + ?4, rule, step, action, reason, created_at FROM other.decision WHERE sweep_id = ?1 ORDER BY id",
    "INSERT INTO checkpoint (trial_id, attempt_id, step, path, bytes, sha256) SELECT k.trial_id + ?4, "
    "k.attempt_id + ?5, k.step, ?7 || '/' || " CHECKPOINT_NAME ", k.bytes, k.sha256 FROM other.checkpoint k "
    "JOIN other.trial t ON t.id = k.trial_id WHERE t.sweep_id = ?1",
    "INSERT INTO artifact (trial_id, kind, path, bytes, sha256) SELECT trial_id + ?4, kind, path, bytes, sha256 "
    "FROM other.artifact WHERE trial_id " OF_SWEEP,
    "INSERT INTO event (sweep_id, trial_id, kind, message, created_at) SELECT sweep_id + ?2, trial_id + ?4, kind, "
    "message, created_at FROM other.event WHERE sweep_id = ?1 ORDER BY id",
};

static int run_copy(struct incoming *sweep, const char *sql, const int64_t offsets[STORE_TABLE_COUNT], struct err *err)
{
    struct store *store = sweep->store;
    sqlite3_stmt *statement = NULL;
    int rc = 0;
    if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) != SQLITE_OK)
        return store_fail(store, "cannot import", err);
    const struct bind binds[] = {bind_int(sweep->id),
                                 bind_int(offsets[STORE_SWEEP]),
                                 bind_int(offsets[STORE_CONFIGURATION]),
                                 bind_int(offsets[STORE_TRIAL]),
                                 bind_int(offsets[STORE_ATTEMPT]),
                                 bind_text(sweep->name),
                                 bind_text(sweep->to),
                                 bind_text(store->now)};
    for (int i = 0; i < sqlite3_bind_parameter_count(statement); i++) {
        if (binds[i].type == BIND_INT)
            sqlite3_bind_int64(statement, i + 1, binds[i].integer);
        else
            sqlite3_bind_text(statement, i + 1, binds[i].data, -1, SQLITE_STATIC);
    }
    if (sqlite3_step(statement) != SQLITE_DONE)
        rc = store_fail(store, "cannot import", err);
    sqlite3_finalize(statement);
    return rc;
}

static int note_import(struct incoming *sweep, int64_t offset, struct err *err)
{
    struct text message = {0};
    text_printf(&message, "from '%s'", sweep->import->other);
    int rc = store_run(
        sweep->store, "INSERT INTO event (sweep_id, kind, message, created_at) VALUES (?1, 'imported', ?2, ?3)",
        BINDS(bind_int(sweep->id + offset), bind_text(message.data), bind_text(sweep->store->now)), NULL, err);
    text_done(&message);
    return rc;
}

static int copy_rows(struct incoming *sweep, const int64_t offsets[STORE_TABLE_COUNT], struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < sizeof(copies) / sizeof(copies[0]) && rc == 0; i++)
        rc = run_copy(sweep, copies[i], offsets, err);
    return rc == 0 ? note_import(sweep, offsets[STORE_SWEEP], err) : rc;
}

/* Sweeps -------------------------------------------------------------------------------------------------------------
 */

static void incoming_done(struct incoming *sweep)
{
    free(sweep->name);
    free(sweep->from);
    free(sweep->to);
}

/* The sweep of that name there, its name here looked up. */
static int find(struct incoming *sweep, const char *name, const char *trials, struct err *err)
{
    struct store *store = sweep->store;
    const char *as = sweep->import->as ? sweep->import->as : name;
    sqlite3_stmt *row = NULL;
    int64_t taken = 0, n_trials = 0;
    int rc = 0;
    if (sqlite3_prepare_v2(store->db,
                           "SELECT id, output_folder, (SELECT COUNT(*) FROM other.trial WHERE sweep_id = s.id) "
                           "FROM other.sweep s WHERE name = ?1",
                           -1, &row, NULL) != SQLITE_OK)
        return store_fail(store, "cannot read what is imported", err);
    sqlite3_bind_text(row, 1, name, -1, SQLITE_STATIC);
    if (sqlite3_step(row) == SQLITE_ROW) {
        sweep->id = sqlite3_column_int64(row, 0);
        sweep->from = strdup((const char *)sqlite3_column_text(row, 1));
        n_trials = sqlite3_column_int64(row, 2);
    } else
        rc = err_set(err, ERR_NOT_FOUND, "there is no sweep '%s' in '%s'", name, sweep->import->other);
    sqlite3_finalize(row);
    if (rc == 0)
        rc = store_find_sweep(store, as, &taken, err);
    if (rc == 0 && taken)
        rc = err_set(err, ERR_USAGE, "there is a sweep '%s' in '%s' already: --as NAME gives it another name", as,
                     store->path);
    if (rc < 0)
        return rc;
    sweep->name = strdup(as);
    sweep->to = file_join(trials, as);
    sweep->import->n_trials += n_trials;
    return sweep->name && sweep->from && sweep->to ? 0 : no_memory(err);
}

/* Everything of all sweeps: files, then one transaction, then the marks go. */
static int import_found(struct incoming *sweeps, int n, struct err *err)
{
    struct store *store = sweeps[0].store;
    int64_t offsets[STORE_TABLE_COUNT];
    char **marks = calloc((size_t)n, sizeof(*marks));
    int rc = marks ? 0 : no_memory(err);
    for (int i = 0; i < n && rc == 0; i++) {
        rc = make_folder(&sweeps[i], &marks[i], err);
        crash_at(CRASH_IMPORT_PLACED);
        if (rc == 0)
            rc = bring_all_files(&sweeps[i], err);
    }
    if (rc == 0)
        rc = store_count_ids(store, err);
    memcpy(offsets, store->last_ids, sizeof(offsets));
    if (rc == 0)
        rc = store_begin(store, err);
    bool is_begun = rc == 0;
    for (int i = 0; i < n && rc == 0; i++)
        rc = copy_rows(&sweeps[i], offsets, err);
    crash_at(CRASH_IMPORT_FILES);
    if (rc == 0)
        rc = store_commit(store, err);
    crash_at(CRASH_IMPORT_COMMITTED);
    if (rc != 0 && is_begun)
        store_rollback(store);
    if (rc == 0)
        rc = store_count_ids(store, err);
    for (int i = 0; i < n && marks; i++) {
        if (rc == 0 && unlink(marks[i]) < 0)
            rc = err_set_errno(err, "'%s'", marks[i]);
        free(marks[i]);
    }
    free(marks);
    return rc;
}

static int import_attached(struct store *store, struct store_import *import, const char *const *names, int n,
                           struct err *err)
{
    char *trials = NULL;
    struct incoming *sweeps = calloc((size_t)n + 1, sizeof(*sweeps));
    int rc = sweeps ? store_trials_folder(store->path, &trials, err) : no_memory(err);
    for (int i = 0; i < n && rc == 0; i++) {
        sweeps[i] = (struct incoming){.store = store, .import = import};
        rc = find(&sweeps[i], names[i], trials, err);
    }
    if (rc == 0 && n > 0)
        rc = import_found(sweeps, n, err);
    if (rc == 0)
        import->n_sweeps = n;
    for (int i = 0; i < n && sweeps; i++)
        incoming_done(&sweeps[i]);
    free(sweeps);
    free(trials);
    return rc;
}

static int attach(struct store *store, const char *path, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(store->db, "ATTACH ?1 AS other", -1, &statement, NULL) != SQLITE_OK)
        return store_fail(store, "cannot import", err);
    sqlite3_bind_text(statement, 1, path, -1, SQLITE_STATIC);
    int rc = sqlite3_step(statement) == SQLITE_DONE ? 0 : store_fail(store, "cannot open what is imported", err);
    sqlite3_finalize(statement);
    return rc;
}

static int check_other(const struct store *store, const struct store_import *import, struct err *err)
{
    char *here = NULL, *there = NULL;
    int rc = import->as ? definition_check_name(import->as, err) : 0;
    if (rc == 0 && !file_exists(import->other))
        rc = err_set(err, ERR_NOT_FOUND, "there is no store '%s'", import->other);
    if (rc == 0)
        rc = file_absolute(store->path, &here, err);
    if (rc == 0)
        rc = file_absolute(import->other, &there, err);
    if (rc == 0 && strcmp(here, there) == 0)
        rc = err_set(err, ERR_USAGE, "'%s' is the store itself", import->other);
    free(here);
    free(there);
    return rc;
}

/* The other store as of one moment and of this version, in a file of ours. */
static int take_snapshot(const struct store_import *import, const char *path, struct arena *arena,
                         const char *const **names, struct err *err)
{
    struct store *other = NULL;
    int64_t bytes = 0;
    int rc = unlink(path) < 0 && errno != ENOENT ? err_set_errno(err, "'%s'", path) : 0;
    if (rc == 0)
        rc = store_open(&other, import->other, STORE_READ, err);
    if (rc == 0)
        rc = store_sweep_names(other, arena, names, err);
    if (rc == 0)
        rc = store_backup(other, path, &bytes, err);
    store_close(other);
    return rc;
}

int store_import_sweeps(struct store *store, struct store_import *import, struct err *err)
{
    struct arena arena = {0};
    struct text path = {0};
    const char *const *names = NULL;
    int n = 0;
    text_printf(&path, "%s.import.tmp", store->path);
    int rc = path.failed ? no_memory(err) : check_other(store, import, err);
    if (rc == 0)
        rc = take_snapshot(import, path.data, &arena, &names, err);
    while (rc == 0 && names[n])
        n++;
    if (rc == 0 && import->as && (import->n_names ? import->n_names : n) != 1)
        rc = err_set(err, ERR_USAGE, "--as names one sweep, %d would be imported",
                     import->n_names ? import->n_names : n);
    if (rc == 0)
        rc = attach(store, path.data, err);
    if (rc == 0) {
        rc = import_attached(store, import, import->n_names ? import->names : names,
                             import->n_names ? import->n_names : n, err);
        struct err ignored;
        if (store_exec(store, "DETACH other", &ignored) < 0 && rc == 0)
            rc = err_set(err, ERR_STORE, "%s", ignored.message);
    }
    if (!path.failed)
        unlink(path.data);
    text_done(&path);
    arena_done(&arena);
    return rc;
}
