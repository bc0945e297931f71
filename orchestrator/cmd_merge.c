/* `nightsweep merge`: a trial's adapter folded into its base, as a model folder. The trainer beside this program does
 * it (trainer/merge_command.h). */
#include <stdlib.h>

#include "common/file.h"
#include "common/json.h"
#include "orchestrator/child.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/trained.h"

static int on_line(char *line, size_t n, void *context, struct err *err)
{
    (void)line;
    (void)n;
    (void)context;
    return err_set(err, ERR_INTERNAL, "nightsweep-trainer gave an answer where none was expected");
}

static int ask(const struct trained *t, const char *output, struct err *err)
{
    static const char *const argv[] = {"nightsweep-trainer", "--merge", NULL};
    struct text request = {0};
    text_add(&request, "{\"model\":");
    text_add_json(&request, t->definition.model);
    text_add(&request, ",\"adapter\":");
    text_add_json(&request, t->adapter);
    text_add(&request, ",\"output\":");
    text_add_json(&request, output);
    text_add(&request, ",\"task\":");
    json_add(&request, t->definition.task);
    text_add(&request, "}\n");
    const struct child_options options = {
        .argv = argv, .input = request.data, .input_len = request.len, .on_line = on_line};
    int rc = request.failed ? err_set(err, ERR_NOMEM, "no memory for a request") : child_run(&options, err);
    text_done(&request);
    return rc;
}

static int merge(struct text *out, const struct command_line *line, struct store *store, int64_t id, struct err *err)
{
    struct trained trained = {0};
    const char *output = command_value(line, "output");
    int rc = output ? 0 : err_set(err, ERR_USAGE, "merge: --output FOLDER was expected");
    if (rc == 0 && file_exists(output))
        rc = err_set(err, ERR_USAGE, "merge: '%s' exists already", output);
    if (rc == 0)
        rc = trained_read(&trained, store, id, err);
    if (rc == 0)
        rc = ask(&trained, output, err);
    if (rc == 0)
        text_printf(out, "%s\n", output);
    trained_done(&trained);
    return rc;
}

static int run(const struct command_line *line, struct err *err)
{
    return trained_run(line, merge, err);
}

static const struct command_option options[] = {
    {"trial", "TRIAL", "the same as the argument"},
    {"sweep", "SWEEP", "the trial's sweep; not needed when the store has only one"},
    {"output", "FOLDER", "the model folder to make; must not exist"},
    {NULL, NULL, NULL},
};

const struct command command_merge = {
    .name = "merge",
    .arguments = "[TRIAL]",
    .summary = "fold a trial's adapter into its base model",
    .description =
        "TRIAL is a number, or SWEEP/NUMBER. Writes a model folder as Hugging Face reads it (config.json, "
        "tokenizer, model.safetensors in float32) that computes what base and adapter computed. Methods that "
        "are no change of weights (bottleneck adapters, prefixes, prompts) are refused, with the place.",
    .options = options,
    .least_arguments = 0,
    .most_arguments = 1,
    .run = run,
};
