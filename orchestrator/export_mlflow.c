/* MLflow's FileStore tree: an experiment a sweep, a run a trial. `mlflow migrate-filestore --source DIR --target
 * sqlite:///mlflow.db` takes it into a database, completely.
 *
 * <id>/meta.yaml · <id>/<run>/meta.yaml · params/<name> holding the value · metrics/<name> with a line
 * "milliseconds value step" a point · tags/<name>. Values beyond 6,000 bytes are cut: MLflow refuses longer ones. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/hash.h"
#include "orchestrator/export_rows.h"

enum { MAX_VALUE_BYTES = 6000 };

struct run {
    struct store *store;
    const char *folder;
    int64_t experiment;
    struct text path;   /* of the run's folder */
    struct text points; /* of the metric that is being gathered */
    struct text metric;
    double begin, end, total_steps;
    struct export_names used; /* names of this run's parameters as they stand in the tree */
};

static long long milliseconds(double seconds)
{
    return (long long)(seconds * 1000);
}

/* MLflow knows letters, digits and _ - . space / in a name; '/' makes folders. */
static void add_name(struct text *out, const char *name)
{
    const char *part = name;
    while (part) {
        const char *slash = strchr(part, '/');
        char piece[256];
        size_t n = slash ? (size_t)(slash - part) : strlen(part);
        n = n < sizeof(piece) ? n : sizeof(piece) - 1;
        memcpy(piece, part, n);
        piece[n] = '\0';
        export_add_path_part(out, piece);
        part = slash ? slash + 1 : NULL;
        if (part)
            text_add_char(out, '/');
    }
}

static int write_value(struct run *run, const char *kind, const char *name, const char *value, struct err *err)
{
    struct text path = {0}, content = {0};
    text_printf(&path, "%s/%s/", run->path.data, kind);
    add_name(&path, name);
    size_t n = strlen(value);
    text_add_n(&content, value, n > MAX_VALUE_BYTES ? utf8_valid_prefix(value, MAX_VALUE_BYTES) : n);
    int rc =
        path.failed ? err_set(err, ERR_NOMEM, "no memory for a path") : export_write_file(path.data, &content, err);
    text_done(&path);
    text_done(&content);
    return rc;
}

/* Two names that become one in the tree: the second gets its place behind it. */
static int write_parameter(sqlite3_stmt *row, void *context, struct err *err)
{
    struct run *run = context;
    struct text name = {0};
    add_name(&name, (const char *)sqlite3_column_text(row, 0));
    int before = run->used.n, place = name.failed ? -1 : export_names_place(&run->used, name.data);
    if (place >= 0 && place < before) {
        text_printf(&name, "_%d", run->used.n);
        place = export_names_place(&run->used, name.data);
    }
    int rc = place < 0 ? err_set(err, ERR_NOMEM, "no memory for a name")
                       : write_value(run, "params", name.data, (const char *)sqlite3_column_text(row, 1), err);
    text_done(&name);
    return rc;
}

static int flush_metric(struct run *run, struct err *err)
{
    struct text path = {0};
    if (run->points.len == 0)
        return 0;
    text_printf(&path, "%s/metrics/", run->path.data);
    add_name(&path, run->metric.data);
    int rc =
        path.failed ? err_set(err, ERR_NOMEM, "no memory for a path") : export_write_file(path.data, &run->points, err);
    text_done(&path);
    text_reset(&run->points);
    return rc;
}

static int add_point(sqlite3_stmt *row, void *context, struct err *err)
{
    struct run *run = context;
    const char *name = (const char *)sqlite3_column_text(row, 0);
    int64_t step = sqlite3_column_int64(row, 1);
    if (run->points.len > 0 && !text_equal(name, run->metric.data)) {
        int rc = flush_metric(run, err);
        if (rc < 0)
            return rc;
    }
    text_reset(&run->metric);
    text_add(&run->metric, name);
    double at = run->begin + (run->end - run->begin) * fmin(1, (double)step / run->total_steps);
    text_printf(&run->points, "%lld ", milliseconds(at));
    if (sqlite3_column_type(row, 2) == SQLITE_NULL)
        text_add(&run->points, "nan");
    else
        text_add_double(&run->points, sqlite3_column_double(row, 2));
    text_printf(&run->points, " %lld\n", (long long)step);
    return 0;
}

static int status_of(const char *state)
{
    if (text_equal(state, "COMPLETE"))
        return 3; /* FINISHED */
    if (text_equal(state, "FAILED"))
        return 4;
    if (text_equal(state, "PRUNED"))
        return 5; /* KILLED */
    return text_equal(state, "RUNNING") ? 1 : 2;
}

static int write_run_meta(struct run *run, const struct export_trial *trial, const char *run_id, struct err *err)
{
    struct text meta = {0}, path = {0};
    text_printf(&path, "%s/meta.yaml", run->path.data);
    text_printf(&meta, "artifact_uri: ");
    struct text uri = {0};
    text_printf(&uri, "%s/artifacts", run->path.data);
    text_add_json(&meta, uri.data ? uri.data : "");
    text_done(&uri);
    if (trial->finished.is_known)
        text_printf(&meta, "\nend_time: %lld\n", milliseconds(run->end));
    else
        text_add(&meta, "\nend_time: null\n");
    text_printf(&meta,
                "entry_point_name: ''\nexperiment_id: '%lld'\nlifecycle_stage: active\nrun_id: %s\nrun_name: \"trial "
                "%lld\"\nrun_uuid: %s\nsource_name: ''\nsource_type: 4\nsource_version: ''\nstart_time: %lld\nstatus: "
                "%d\ntags: []\nuser_id: nightsweep\n",
                (long long)run->experiment, run_id, (long long)trial->number, run_id, milliseconds(run->begin),
                status_of(trial->state));
    int rc = path.failed ? err_set(err, ERR_NOMEM, "no memory for a path") : export_write_file(path.data, &meta, err);
    text_done(&meta);
    text_done(&path);
    return rc;
}

static int write_tags(struct run *run, const struct export_trial *trial, struct err *err)
{
    char number[32], configuration[32];
    snprintf(number, sizeof(number), "trial %lld", (long long)trial->number);
    snprintf(configuration, sizeof(configuration), "%lld", (long long)trial->configuration);
    const struct {
        const char *name, *value;
    } tags[] = {{"mlflow.runName", number},           {"nightsweep.state", trial->state},
                {"nightsweep.reason", trial->reason}, {"nightsweep.message", trial->message},
                {"nightsweep.method", trial->method}, {"nightsweep.seed", trial->seed},
                {"nightsweep.role", trial->role},     {"nightsweep.configuration", configuration}};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof(tags) / sizeof(tags[0]); i++)
        if (tags[i].value)
            rc = write_value(run, "tags", tags[i].name, tags[i].value, err);
    return rc;
}

static int write_trial(const struct export_trial *trial, void *context, struct err *err)
{
    struct run *run = context;
    char run_id[HASH_HEX_SIZE];
    struct text key = {0};
    text_printf(&key, "%s/%lld/%s", trial->sweep, (long long)trial->number, trial->identity);
    hash_bytes(key.data ? key.data : "", key.len, run_id);
    run_id[32] = '\0';
    text_done(&key);
    text_reset(&run->path);
    text_printf(&run->path, "%s/%lld/%s", run->folder, (long long)run->experiment, run_id);
    run->begin = trial->started.is_known ? trial->started.value : trial->created.value;
    run->end = trial->finished.is_known ? trial->finished.value : run->begin + trial->seconds.value;
    run->total_steps = fmax(1, (double)trial->steps);
    export_names_done(&run->used);
    if (run->path.failed)
        return err_set(err, ERR_NOMEM, "no memory for a path");
    int rc = write_run_meta(run, trial, run_id, err);
    if (rc == 0)
        rc = export_each(run->store, "SELECT name, value FROM parameter_value WHERE trial_id = ?1 ORDER BY name",
                         trial->id, write_parameter, run, err);
    if (rc == 0)
        rc = export_each(run->store,
                         "SELECT n.name, m.step, m.value FROM metric m JOIN metric_name n ON n.id = m.name_id"
                         " WHERE m.trial_id = ?1 ORDER BY n.name, m.step",
                         trial->id, add_point, run, err);
    if (rc == 0)
        rc = flush_metric(run, err);
    if (rc == 0)
        rc = write_tags(run, trial, err);
    return rc;
}

static int write_experiment(struct run *run, const char *name, struct err *err)
{
    struct text meta = {0}, path = {0}, location = {0};
    text_printf(&path, "%s/%lld/meta.yaml", run->folder, (long long)run->experiment);
    text_printf(&location, "%s/%lld", run->folder, (long long)run->experiment);
    text_add(&meta, "artifact_location: ");
    text_add_json(&meta, location.data ? location.data : "");
    text_printf(&meta,
                "\ncreation_time: 0\nexperiment_id: '%lld'\nlast_update_time: 0\nlifecycle_stage: active\nname: ",
                (long long)run->experiment);
    text_add_json(&meta, name);
    text_add(&meta, "\n");
    int rc = path.failed || location.failed ? err_set(err, ERR_NOMEM, "no memory for a path")
                                            : export_write_file(path.data, &meta, err);
    text_done(&meta);
    text_done(&path);
    text_done(&location);
    return rc;
}

static int write_sweep(int64_t sweep_id, const char *name, void *context, struct err *err)
{
    struct run *run = context;
    run->experiment = sweep_id;
    int rc = write_experiment(run, name, err);
    return rc == 0 ? export_each_trial(run->store, sweep_id, write_trial, run, err) : rc;
}

static int write_mlflow(const struct export_request *request, struct err *err)
{
    char *folder = NULL;
    int rc = file_make_folders(request->path, err);
    if (rc == 0)
        rc = file_absolute(request->path, &folder, err);
    struct run run = {.store = request->store, .folder = folder};
    if (rc == 0)
        rc = export_each_sweep(request, write_sweep, &run, err);
    text_done(&run.path);
    text_done(&run.points);
    text_done(&run.metric);
    export_names_done(&run.used);
    free(folder);
    return rc;
}

const struct export_format export_mlflow = {"mlflow", "-mlflow", "a tree of MLflow's FileStore", write_mlflow};
