/* `nightsweep train JOB.json`: one trial without a store, by the trainer beside this program. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "orchestrator/child.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/printable.h"
#include "orchestrator/progress.h"
#include "orchestrator/summary.h"

struct train {
    struct child child;
    uv_signal_t interrupt, terminate;
    int n_signals;
    struct progress *progress; /* NULL with --json */
    struct progress_slot slot;
    cJSON *started, *last; /* the records; last: finished, stopped or failed */
};

/* The job ------------------------------------------------------------------------------------------------------------
 */

/* Makes the text member absolute, from the job's own folder. */
static int make_absolute(cJSON *object, const char *key, const char *folder, struct err *err)
{
    cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsString(value) || value->valuestring[0] == '/')
        return 0;
    char *path = file_join(folder, value->valuestring);
    if (!path || !cJSON_SetValuestring(value, path)) {
        free(path);
        return err_set(err, ERR_NOMEM, "no memory for a path");
    }
    free(path);
    return 0;
}

static int make_paths(cJSON *job, const char *folder, struct err *err)
{
    static const char *const keys[] = {"train", "validation", "test"};
    int rc = make_absolute(cJSON_GetObjectItemCaseSensitive(job, "model"), "path", folder, err);
    for (int i = 0; i < 3 && rc == 0; i++)
        rc = make_absolute(cJSON_GetObjectItemCaseSensitive(job, "task"), keys[i], folder, err);
    if (rc == 0)
        rc = make_absolute(job, "resume", folder, err);
    for (cJSON *check = cJSON_GetObjectItemCaseSensitive(job, "checks")
                            ? cJSON_GetObjectItemCaseSensitive(job, "checks")->child
                            : NULL;
         check && rc == 0; check = check->next)
        rc = make_absolute(check, "file", folder, err);
    return rc;
}

/* Sets a member, or replaces it. Takes the value. */
static void set_member(cJSON *object, const char *key, cJSON *value)
{
    cJSON_DeleteItemFromObjectCaseSensitive(object, key);
    json_put(object, key, value);
}

/* What every job has and a person need not write. */
static void add_frame(cJSON *job, const char *output)
{
    if (!json_get(job, "v"))
        set_member(job, "v", cJSON_CreateNumber(1));
    if (!json_get(job, "type"))
        set_member(job, "type", cJSON_CreateString("job"));
    if (!json_get(job, "attempt"))
        set_member(job, "attempt", cJSON_CreateNumber(1));
    if (!json_get(job, "identity"))
        set_member(job, "identity", cJSON_CreateString(""));
    if (!json_get(job, "checkpoint_seconds"))
        set_member(job, "checkpoint_seconds", cJSON_CreateNumber(30));
    set_member(job, "output", cJSON_CreateString(output));
}

/* The job of the command line as one line. */
static int read_job(const struct command_line *line, struct text *out, struct err *err)
{
    const char *path = line->arguments[0], *output = command_value(line, "output"),
               *resume = command_value(line, "resume");
    cJSON *job = NULL;
    char *folder = NULL, *absolute = NULL, *absolute_output = NULL, *checkpoint = NULL;
    int rc = json_read_file(path, &job, err);
    if (rc == 0 && !cJSON_IsObject(job))
        rc = err_set(err, ERR_FORMAT, "'%s': an object was expected, not %s", path, json_type_name(job));
    if (rc == 0)
        rc = file_absolute(path, &absolute, err);
    if (rc == 0 && !(folder = file_folder(absolute)))
        rc = err_set(err, ERR_NOMEM, "no memory for a path");
    if (rc == 0)
        rc = make_paths(job, folder, err);
    if (rc == 0)
        rc = file_make_folders(output, err);
    if (rc == 0)
        rc = file_absolute(output, &absolute_output, err);
    if (rc == 0 && resume && (rc = file_absolute(resume, &checkpoint, err)) == 0)
        set_member(job, "resume", cJSON_CreateString(checkpoint));
    if (rc == 0) {
        add_frame(job, absolute_output);
        json_add(out, job);
        text_add_char(out, '\n');
        rc = out->failed ? err_set(err, ERR_NOMEM, "no memory for the job") : 0;
    }
    free(folder);
    free(absolute);
    free(absolute_output);
    free(checkpoint);
    json_free(job);
    return rc;
}

/* Records ------------------------------------------------------------------------------------------------------------
 */

static double number(const cJSON *record, const char *key)
{
    const cJSON *value = json_get(record, key);
    return cJSON_IsNumber(value) ? value->valuedouble : NAN;
}

static void show(struct train *train)
{
    struct progress_state state = {.sweep = "train",
                                   .n_trials = 1,
                                   .n_complete = train->last != NULL,
                                   .n_running = train->last == NULL,
                                   .seconds_left = NAN,
                                   .slots = &train->slot,
                                   .n_slots = 1};
    progress_update(train->progress, &state);
}

/* Loss and step of the newest points. */
static void take_points(struct train *train, const cJSON *record)
{
    const cJSON *point, *points = json_get(record, "points");
    cJSON_ArrayForEach(point, points)
    {
        const cJSON *name = cJSON_GetArrayItem(point, 0), *step = cJSON_GetArrayItem(point, 1),
                    *value = cJSON_GetArrayItem(point, 2);
        if (!cJSON_IsString(name) || !cJSON_IsNumber(step) || !cJSON_IsNumber(value))
            continue;
        if (step->valuedouble >= 0 && step->valuedouble <= 9007199254740992.0)
            train->slot.step = (int64_t)step->valuedouble;
        if (text_equal(name->valuestring, "train/loss"))
            train->slot.loss = value->valuedouble;
    }
}

static void take_record(struct train *train, const char *type, cJSON *record)
{
    if (text_equal(type, "started")) {
        json_free(train->started);
        train->started = cJSON_Duplicate(record, true);
        train->slot.total_steps = (int64_t)number(record, "total_steps");
    } else if (text_equal(type, "points")) {
        take_points(train, record);
    } else if (text_equal(type, "progress")) {
        train->slot.tokens_per_second = number(record, "tokens_per_second");
    } else if (text_equal(type, "finished") || text_equal(type, "failed") || text_equal(type, "stopped")) {
        json_free(train->last);
        train->last = cJSON_Duplicate(record, true);
    }
}

static int on_line(char *text, size_t n, void *context, struct err *err)
{
    struct train *train = context;
    cJSON *record = NULL;
    const char *type = NULL;
    int rc = json_parse(text, n, &record, err);
    if (rc == 0)
        rc = json_get_string(record, "type", "record", &type, err);
    if (rc == 0)
        take_record(train, type, record);
    json_free(record);
    if (rc < 0)
        return err_wrap(err, "a record that cannot be read");
    if (train->progress)
        show(train);
    else
        printf("%s\n", text);
    return 0;
}

/* Running ------------------------------------------------------------------------------------------------------------
 */

/* Once: a checkpoint and an orderly end. Twice: at once. */
static void on_signal(uv_signal_t *signal, int signum)
{
    struct train *train = signal->data;
    (void)signum;
    if (train->n_signals++ > 0)
        child_kill(&train->child, SIGKILL);
    else
        child_send(&train->child, "{\"v\":1,\"type\":\"stop\"}\n");
}

static void on_end(struct child *child, void *context)
{
    struct train *train = context;
    (void)child;
    uv_close((uv_handle_t *)&train->interrupt, NULL);
    uv_close((uv_handle_t *)&train->terminate, NULL);
}

static int train_job(struct train *train, const struct text *job, struct err *err)
{
    static const char *const argv[] = {"nightsweep-trainer", "--supervised", NULL};
    uv_loop_t loop;
    struct child_options options = {.argv = argv,
                                    .input = job->data,
                                    .input_len = job->len,
                                    .on_line = on_line,
                                    .on_end = on_end,
                                    .context = train};
    if (uv_loop_init(&loop) < 0)
        return err_set(err, ERR_IO, "cannot start an event loop");
    int rc = child_start(&train->child, &loop, &options, err);
    if (rc == 0) {
        uv_signal_init(&loop, &train->interrupt);
        uv_signal_init(&loop, &train->terminate);
        train->interrupt.data = train->terminate.data = train;
        uv_signal_start(&train->interrupt, on_signal, SIGINT);
        uv_signal_start(&train->terminate, on_signal, SIGTERM);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return rc;
}

static void add_count_line(struct text *out, const char *name, double value, const char *unit)
{
    text_printf(out, "%-20s", name);
    summary_add_count(out, isfinite(value) ? (int64_t)value : 0);
    text_printf(out, "%s\n", unit);
}

static void add_result(struct text *out, const struct train *train, const char *output)
{
    const cJSON *item, *objectives = json_get(train->last, "objectives");
    const char *type = json_get(train->last, "type")->valuestring;
    if (text_equal(type, "stopped")) {
        text_printf(out, "stopped at step %.0f; `--resume` goes on from the newest checkpoint in '",
                    number(train->last, "step"));
        printable_add(out, output);
        text_add(out, "'\n");
        return;
    }
    cJSON_ArrayForEach(item, objectives)
    {
        printable_add(out, item->string);
        text_printf(out, "%*s%.4f\n", (int)(strlen(item->string) < 20 ? 20 - strlen(item->string) : 1), "",
                    item->valuedouble);
    }
    add_count_line(out, "trained parameters", number(train->started, "trained_parameters"), "");
    add_count_line(out, "best step", number(train->last, "best_step"), "");
    add_count_line(out, "tokens/s", number(train->last, "tokens_per_second"), "");
    add_count_line(out, "peak memory", number(train->last, "peak_bytes") / (1 << 20), " MiB");
    text_printf(out, "%-20s%.1f\n%-20s", "seconds", number(train->last, "seconds"), "files");
    printable_add(out, output);
    text_add_char(out, '\n');
}

/* The trainer's own words come first: they are what a person can act on. */
static int report(const struct train *train, const struct command_line *line, struct err *err)
{
    const cJSON *message = json_get(train->last, "message"), *reason = json_get(train->last, "reason");
    if (train->last && text_equal(json_get(train->last, "type")->valuestring, "failed")) {
        fprintf(stderr, "nightsweep: the trial failed (%s): ",
                cJSON_IsString(reason) ? reason->valuestring : "no reason given");
        struct text out = {0};
        printable_add_lines(&out, cJSON_IsString(message) ? message->valuestring : "", "");
        fputs(out.data ? out.data : "\n", stderr);
        text_done(&out);
        return train->child.exit_status > 0 ? (int)train->child.exit_status : 1;
    }
    int rc = child_result(&train->child, 0, err);
    if (rc < 0) {
        int status = (int)train->child.exit_status;
        bool is_own = status == 2 || status == 3 || status == 70;
        return is_own ? err_set(err,
                                status == 2   ? ERR_USAGE
                                : status == 3 ? ERR_IO
                                              : ERR_INTERNAL,
                                "%s", err->message)
                      : rc;
    }
    if (!train->last)
        return err_set(err, ERR_INTERNAL, "nightsweep-trainer ended without a last record");
    if (!command_has(line, "json")) {
        struct text out = {0};
        add_result(&out, train, command_value(line, "output"));
        rc = command_print(&out, "the result", 0, err);
        if (rc < 0)
            return rc;
    }
    return text_equal(json_get(train->last, "type")->valuestring, "stopped") ? 1 : 0;
}

static int run(const struct command_line *line, struct err *err)
{
    struct text job = {0};
    struct train *train = calloc(1, sizeof(*train));
    int rc = train ? 0 : err_set(err, ERR_NOMEM, "no memory to train");
    if (rc == 0 && !command_has(line, "output"))
        rc = err_set(err, ERR_USAGE, "train: --output is missing: the folder for checkpoints and the adapter");
    if (rc == 0)
        rc = read_job(line, &job, err);
    if (rc == 0 && !command_has(line, "json") &&
        !(train->progress = progress_new(command_has(line, "quiet") ? PROGRESS_QUIET : PROGRESS_AUTO)))
        rc = err_set(err, ERR_NOMEM, "no memory to show progress");
    if (rc == 0) {
        train->slot = (struct progress_slot){.trial = 1, .method = "", .parameters = line->arguments[0], .loss = NAN};
        rc = train_job(train, &job, err);
    }
    if (train) {
        progress_free(train->progress);
        if (rc == 0)
            rc = report(train, line, err);
        json_free(train->started);
        json_free(train->last);
    }
    free(train);
    text_done(&job);
    return rc;
}

static const struct command_option options[] = {
    {"output", "DIR", "folder for checkpoints and the adapter; made when it is missing"},
    {"resume", "FILE", "a checkpoint of the same job to go on from"},
    {"json", NULL, "write the trainer's records, a JSON object a line, instead of the result"},
    {"quiet", NULL, "show no progress"},
    {NULL, NULL, NULL},
};

const struct command command_train = {
    .name = "train",
    .arguments = "JOB.json",
    .summary = "train one trial, without a store",
    .description =
        "JOB.json is a job as the trainer reads it (schemas/job.schema.json); model, task, settings and seed are "
        "enough. "
        "Relative paths in it start at its own folder. The result is printed; the adapter and its head stand below "
        "--output.\n\n"
        "Ctrl-C writes a checkpoint and ends, a second one ends at once. The exit status is 1 when the trial failed or "
        "was "
        "stopped.",
    .options = options,
    .least_arguments = 1,
    .most_arguments = 1,
    .run = run,
};
