/* `nightsweep export SWEEP...`: results of sweeps in a form of their own; the formats are a table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/export_page.h"

/* Writes the sweeps named (at least one) to `path`, from the store alone. */
struct export_format {
    const char *name, *ending, *help;
    int (*write)(const char *path, struct store *store, const char *const *names, int n_names, struct err *err);
};

static const struct export_format formats[] = {
    {"html", ".html", "one self-contained page", export_page_file},
};

enum { N_FORMATS = sizeof(formats) / sizeof(formats[0]) };

static int find_format(const char *name, const struct export_format **format, struct err *err)
{
    const char *names[N_FORMATS + 1] = {0};
    struct text list = {0};
    *format = NULL;
    for (int i = 0; i < N_FORMATS; i++) {
        names[i] = formats[i].name;
        text_printf(&list, "%s%s", i ? ", " : "", names[i]);
        if (text_equal(name, names[i]))
            *format = &formats[i];
    }
    const char *nearest = text_nearest(name, names);
    int rc = *format ? 0
                     : err_set(err, ERR_USAGE, "export: --format: '%.80s' is none of %s%s%s", name, list.data,
                               nearest ? ", nearest is " : "", nearest ? nearest : "");
    text_done(&list);
    return rc;
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
    int rc = find_format(name ? name : "html", &format, err);
    if (rc == 0)
        rc = store_open(&store, line->store, STORE_READ, err);
    if (rc == 0)
        rc = check_names(store, line, err);
    if (rc == 0 && !(path = output ? strdup(output) : default_path(line, format)))
        rc = err_set(err, ERR_NOMEM, "no memory for a path");
    if (rc == 0)
        rc = format->write(path, store, (const char *const *)line->arguments, line->n_arguments, err);
    if (rc == 0)
        printf("%s\n", path);
    free(path);
    store_close(store);
    return rc;
}

static const struct command_option options[] = {
    {"output", "FILE", "where to write (default: <sweep>.html in the store's folder)"},
    {"format", "FORMAT", "html (one self-contained page)"},
    {NULL, NULL, NULL},
};

const struct command command_export = {
    .name = "export",
    .arguments = "SWEEP...",
    .summary = "write the results of sweeps as one page",
    .description =
        "Reads the store alone, also while a run writes to it, and prints the path of what it wrote. The page "
        "needs nothing but itself: it can be mailed, opened offline and kept.",
    .options = options,
    .least_arguments = 1,
    .most_arguments = COMMAND_MAX_FILES,
    .run = run,
};
