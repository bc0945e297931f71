/* `nightsweep import`: a Weights & Biases sweep file becomes a definition. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "orchestrator/command_kinds.h"
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

static int run(const struct command_line *line, struct err *err)
{
    const char *path = line->arguments[0];
    if (!wandb_is_path(path))
        return err_set(err, ERR_USAGE, "import: '%s', a sweep file that ends with .yaml or .yml was expected", path);
    return import_yaml(path, command_value(line, "output"), err);
}

static const struct command_option options[] = {
    {"output", "FILE", "write the definition there instead of to standard output"},
    {NULL, NULL, NULL},
};

const struct command command_import = {
    .name = "import",
    .arguments = "SWEEP.yaml",
    .summary = "turn a Weights & Biases sweep file into a definition",
    .description =
        "Writes the definition that a sweep file of Weights & Biases (YAML) means: its method, metric, parameters with "
        "all their distributions, early_terminate and run_cap. What has no counterpart is named on standard error and "
        "kept under 'notes'. `log_uniform` whose bounds look like values is refused with what is likely meant.\n\n"
        "plan, run and suggest take the YAML file as it is. W&B has no words for model, task, seeds or constraints: "
        "members of a mapping 'nightsweep' in the file go over into the definition as they stand.",
    .options = options,
    .least_arguments = 1,
    .most_arguments = 1,
    .run = run,
};
