/* `nightsweep export SWEEP...`: results of sweeps in a form of their own; the formats are a table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/export.h"

enum { MAX_FORMATS = 32 };

static int find_format(const char *name, const struct export_format **format, struct err *err)
{
    const char *names[MAX_FORMATS + 1] = {0};
    struct text list = {0};
    *format = NULL;
    for (int i = 0; i < MAX_FORMATS && export_formats[i]; i++) {
        names[i] = export_formats[i]->name;
        text_printf(&list, "%s%s", i ? ", " : "", names[i]);
        if (text_equal(name, names[i]))
            *format = export_formats[i];
    }
    const char *nearest = text_nearest(name, names);
    int rc = *format ? 0
                     : err_set(err, ERR_USAGE, "export: --format: '%.80s' is none of %s%s%s", name, list.data,
                               nearest ? ", nearest is " : "", nearest ? nearest : "");
    text_done(&list);
    return rc;
}

/* "3,17,20" into numbers; owned by the caller. NULL where the option is not given. */
static int read_trials(const char *list, int64_t **trials, int *n_trials, struct err *err)
{
    int rc = 0;
    if (!list)
        return 0;
    *trials = calloc(strlen(list) + 1, sizeof(**trials));
    for (const char *rest = list; rc == 0 && *trials && *rest; rest += strcspn(rest, ","), rest += *rest == ',') {
        char word[32];
        snprintf(word, sizeof(word), "%.*s", (int)strcspn(rest, ","), rest);
        rc = text_parse_int64(word, &(*trials)[*n_trials], err);
        (*n_trials)++;
    }
    if (!*trials)
        return err_set(err, ERR_NOMEM, "no memory for a list of trials");
    return rc == 0 ? 0 : err_wrap(err, "export: --trials");
}

static int check_names(struct store *store, const struct command_line *line, struct err *err)
{
    for (int i = 0; i < line->n_arguments; i++) {
        struct arena arena = {0};
        const char *const *names = NULL;
        int64_t id = 0;
        int rc = store_find_sweep(store, line->arguments[i], &id, err);
        if (rc == 0 && id == 0 && (rc = store_sweep_names(store, &arena, &names, err)) == 0) {
            const char *nearest = text_nearest(line->arguments[i], names);
            rc = err_set(err, ERR_NOT_FOUND, "there is no sweep '%s' in '%s'%s%s", line->arguments[i],
                         store_path(store), nearest ? ", nearest is " : "", nearest ? nearest : "");
        }
        arena_done(&arena);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* <folder of the store>/<first sweep><ending>: where `run` leaves its page too. Owned by the caller. */
static char *default_path(const struct command_line *line, const struct export_format *format)
{
    struct text path = {0};
    char *folder = file_folder(line->store);
    text_printf(&path, "%s/%s%s", folder ? folder : ".", line->arguments[0], format->ending);
    free(folder);
    return text_take(&path);
}

static int run(const struct command_line *line, struct err *err)
{
    struct store *store = NULL;
    const struct export_format *format;
    const char *name = command_value(line, "format"), *output = command_value(line, "output");
    char *path = NULL;
    int64_t *trials = NULL;
    int n_trials = 0;
    int rc = find_format(name ? name : "html", &format, err);
    if (rc == 0)
        rc = read_trials(command_value(line, "trials"), &trials, &n_trials, err);
    if (rc == 0)
        rc = store_open(&store, line->store, STORE_READ, err);
    if (rc == 0)
        rc = check_names(store, line, err);
    bool is_stream = text_equal(output ? output : "", "-");
    if (rc == 0 && is_stream && format != &export_html && format != &export_live)
        rc = err_set(err, ERR_USAGE, "export: --output -: the format '%s' is no single stream, only html is", name);
    if (rc == 0 && !(path = output ? strdup(output) : default_path(line, format)))
        rc = err_set(err, ERR_NOMEM, "no memory for a path");
    struct export_request request = {path,   store,   (const char *const *)line->arguments, line->n_arguments,
                                     trials, n_trials};
    if (rc == 0)
        rc = format->write(&request, err);
    if (rc == 0 && !is_stream)
        printf("%s\n", path);
    free(path);
    free(trials);
    store_close(store);
    return rc;
}

static const struct command_option options[] = {
    {"output", "FILE",
     "file or folder to write (default: named after the sweep, in the store's folder); - is standard output"},
    {"format", "FORMAT", "html (default), live (serve's), csv, jsonl, tensorboard, mlflow, optuna-journal or adapters"},
    {"trials", "N,N,...", "trials whose adapters are wanted (default: the best of each method)"},
    {NULL, NULL, NULL},
};

const struct command command_export = {
    .name = "export",
    .arguments = "SWEEP...",
    .summary = "write the results of sweeps as one page, or for other tools",
    .description =
        "Reads the store alone, also while a run writes to it, and prints the path of what it wrote. The page "
        "needs nothing but itself: it can be mailed, opened offline and kept. The other formats are read by "
        "spreadsheets, "
        "TensorBoard, MLflow (mlflow migrate-filestore) and Optuna; optuna-dashboard and datasette open the store as "
        "it "
        "is.",
    .options = options,
    .least_arguments = 1,
    .most_arguments = COMMAND_MAX_FILES,
    .run = run,
};
