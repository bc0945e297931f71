/* `nightsweep import`: a Weights & Biases sweep file becomes a definition; sweeps of another store become this one's.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/store_import.h"
#include "orchestrator/summary.h"
#include "orchestrator/wandb.h"

enum { IMPORT_MAX_BYTES = 4 << 20 };

/* The members of an object, a line each. */
static void add_lines(struct text *out, const cJSON *object, const char *indent)
{
    text_add(out, "{");
    for (const cJSON *item = object->child; item; item = item->next) {
        text_printf(out, "\n%s", indent);
        text_add_json(out, item->string);
        text_add(out, ": ");
        bool is_section = strcmp(item->string, "parameters") == 0 || strcmp(item->string, "settings") == 0;
        if (is_section && cJSON_IsObject(item) && item->child && indent[2] == '\0')
            add_lines(out, item, "    ");
        else
            json_add(out, item);
        if (item->next)
            text_add_char(out, ',');
    }
    text_add(out, indent[2] == '\0' ? "\n}\n" : " }");
}

static int write_out(const struct text *out, const char *path, struct err *err)
{
    if (out->failed)
        return err_set(err, ERR_NOMEM, "no memory for a definition");
    if (path)
        return file_write_atomic(path, out->data, out->len, err);
    return fputs(out->data, stdout) == EOF || fflush(stdout) != 0 ? err_set_errno(err, "standard output") : 0;
}

static int import_yaml(const char *path, const char *output, struct err *err)
{
    char *text = NULL;
    size_t n = 0;
    cJSON *definition = NULL;
    struct text remarks = {0}, out = {0};
    int rc = file_read(path, IMPORT_MAX_BYTES, &text, &n, err);
    if (rc == 0)
        rc = wandb_convert(text, n, path, &definition, &remarks, err);
    if (rc == 0) {
        fputs(remarks.data ? remarks.data : "", stderr);
        add_lines(&out, definition, "  ");
        rc = write_out(&out, output, err);
    }
    json_free(definition);
    text_done(&remarks);
    text_done(&out);
    free(text);
    return rc;
}

/* Another store -----------------------------------------------------------------------------------------------------
 */

static int print_imported(const struct command_line *line, const struct store_import *import, struct err *err)
{
    struct text out = {0};
    if (command_has(line, "json")) {
        text_printf(&out,
                    "{\"v\":1,\"sweeps\":%" PRId64 ",\"trials\":%" PRId64 ",\"files\":%" PRId64 ",\"bytes\":%" PRId64
                    ",\"missing_files\":%" PRId64 "}\n",
                    import->n_sweeps, import->n_trials, import->n_files, import->n_bytes, import->n_missing);
    } else {
        text_printf(&out, "%" PRId64 " sweep%s with %" PRId64 " trials imported, %" PRId64 " files (", import->n_sweeps,
                    import->n_sweeps == 1 ? "" : "s", import->n_trials, import->n_files);
        summary_add_count(&out, import->n_bytes);
        text_add(&out, " bytes) copied\n");
        if (import->n_missing > 0)
            text_printf(&out, "%" PRId64 " file%s that the other store names %s gone or changed: not copied\n",
                        import->n_missing, import->n_missing == 1 ? "" : "s", import->n_missing == 1 ? "is" : "are");
    }
    return command_print(&out, "the answer", 0, err);
}

static int import_store(const struct command_line *line, struct err *err)
{
    struct store_import import = {.other = line->arguments[0],
                                  .names = (const char *const *)line->arguments + 1,
                                  .n_names = line->n_arguments - 1,
                                  .as = command_value(line, "as")};
    struct store *store = NULL;
    /* What is no store is refused before ours is made. */
    int rc = store_open(&store, import.other, STORE_READ, err);
    store_close(store);
    store = NULL;
    if (rc == 0)
        rc = store_open(&store, line->store, STORE_WRITE, err);
    if (rc == 0)
        rc = store_import_sweeps(store, &import, err);
    store_close(store);
    return rc == 0 ? print_imported(line, &import, err) : rc;
}

static int run(const struct command_line *line, struct err *err)
{
    const char *path = line->arguments[0];
    if (!wandb_is_path(path) && command_has(line, "output"))
        return err_set(err, ERR_USAGE, "import: --output goes with a sweep file that ends with .yaml or .yml");
    if (!wandb_is_path(path))
        return import_store(line, err);
    if (line->n_arguments > 1 || command_has(line, "as") || command_has(line, "json"))
        return err_set(err, ERR_USAGE, "import: names of sweeps, --as and --json go with another store");
    return import_yaml(path, command_value(line, "output"), err);
}

static const struct command_option options[] = {
    {"as", "NAME", "another name for the sweep that is imported from another store"},
    {"output", "FILE", "write the definition there instead of to standard output"},
    {"json", NULL, "of another store: write one JSON object"},
    {NULL, NULL, NULL},
};

const struct command command_import = {
    .name = "import",
    .arguments = "OTHER.db|SWEEP.yaml [SWEEP...]",
    .summary = "take sweeps from another store, or a W&B sweep file as a definition",
    .description =
        "OTHER.db: copies sweeps, those named or all, with every row and file from another store, of this or an "
        "earlier "
        "version, also while a run writes to it; the other store is never written. What ran there waits here. A name "
        "that is taken is refused, --as gives another. Files whose hash is not what their row says are not copied, and "
        "counted. Not while a run uses this store.\n\n"
        "SWEEP.yaml: "
        "writes the definition that a sweep file of Weights & Biases (YAML) means: its method, metric, parameters with "
        "all their distributions, early_terminate and run_cap. What has no counterpart is named on standard error and "
        "kept under 'notes'. `log_uniform` whose bounds look like values is refused with what is likely meant.\n\n"
        "plan, run and suggest take the YAML file as it is. W&B has no words for model, task, seeds or constraints: "
        "members of a mapping 'nightsweep' in the file go over into the definition as they stand.",
    .options = options,
    .least_arguments = 1,
    .most_arguments = COMMAND_MAX_FILES,
    .run = run,
};
