/* `nightsweep merge`: a trial's adapter folded into its base, as a model folder. The trainer beside this program does
 * it (trainer/merge_command.h). */
#include <stdlib.h>

#include "common/file.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/trained.h"

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
        rc = trained_merge(&trained, output, command_value(line, "format"), command_value(line, "type"), err);
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
    {"format", "FORMAT",
     "safetensors (default), or gguf: one file with configuration and tokenizer (Llama, Mistral, Qwen2)"},
    {"type", "TYPE", "of the weights: f32 (default), f16, of gguf also q8_0"},
    {NULL, NULL, NULL},
};

const struct command command_merge = {
    .name = "merge",
    .arguments = "[TRIAL]",
    .summary = "fold a trial's adapter into its base model",
    .description = "TRIAL is a number, or SWEEP/NUMBER. Writes a model folder as Hugging Face reads it (config.json, "
                   "tokenizer, model.safetensors) or one with a GGUF file that computes what base and adapter "
                   "computed, to 1e-5 in "
                   "float32 and 1e-3 in half precision. Methods that "
                   "are no change of weights (bottleneck adapters, prefixes, prompts) are refused, with the place.",
    .options = options,
    .least_arguments = 0,
    .most_arguments = 1,
    .run = run,
};
