/* `nightsweep extend MODEL VOCABULARY`: a model with another vocabulary. The trainer beside this program does it
 * (trainer/extend_command.h). */
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "orchestrator/child.h"
#include "orchestrator/command_kinds.h"

static int on_line(char *line, size_t n, void *context, struct err *err)
{
    const struct command_line *command = context;
    cJSON *answer = NULL;
    int rc = json_parse(line, n, &answer, err);
    if (rc == 0 && command_has(command, "json"))
        printf("%s\n", line);
    else if (rc == 0)
        printf("%s: %.0f tokens: %.0f kept, %.0f aligned, %.0f drawn\n", command_value(command, "output"),
               cJSON_GetNumberValue(json_get(answer, "tokens")), cJSON_GetNumberValue(json_get(answer, "kept")),
               cJSON_GetNumberValue(json_get(answer, "aligned")), cJSON_GetNumberValue(json_get(answer, "drawn")));
    json_free(answer);
    return rc;
}

static int run(const struct command_line *line, struct err *err)
{
    static const char *const argv[] = {"nightsweep-trainer", "--extend", NULL};
    const char *output = command_value(line, "output");
    struct text request = {0};
    int64_t seed = 0;
    int rc = output ? command_get_int(line, "seed", 0, INT32_MAX, &seed, err)
                    : err_set(err, ERR_USAGE, "extend: --output FOLDER was expected");
    text_add(&request, "{\"model\":");
    text_add_json(&request, line->arguments[0]);
    text_add(&request, ",\"vocabulary\":");
    text_add_json(&request, line->arguments[1]);
    text_printf(&request, ",\"align\":%s,\"seed\":%lld,\"output\":", command_has(line, "no-align") ? "false" : "true",
                (long long)seed);
    text_add_json(&request, output ? output : "");
    text_add(&request, "}\n");
    const struct child_options options = {.argv = argv,
                                          .input = request.data,
                                          .input_len = request.len,
                                          .on_line = on_line,
                                          .context = (void *)(uintptr_t)line};
    if (rc == 0)
        rc = request.failed ? err_set(err, ERR_NOMEM, "no memory for a request") : child_run(&options, err);
    text_done(&request);
    return rc;
}

static const struct command_option options[] = {
    {"output", "FOLDER", "the model folder to make; must not exist"},
    {"no-align", NULL, "draw the vectors of new tokens at random instead of aligning those of VOCABULARY's model"},
    {"seed", "N", "of what is drawn (default 0)"},
    {"json", NULL, "write one JSON object"},
    {NULL, NULL, NULL},
};

const struct command command_extend = {
    .name = "extend",
    .arguments = "MODEL VOCABULARY",
    .summary = "give a model another model's vocabulary, the embeddings aligned",
    .description =
        "Writes a copy of the model folder MODEL with the tokenizer of the folder VOCABULARY. Tokens that MODEL has "
        "keep "
        "their vectors. The others get those of VOCABULARY's model, turned into MODEL's space by orthogonal Procrustes "
        "over the tokens that both have; the two may be of different width (docs/translation.md).",
    .options = options,
    .least_arguments = 2,
    .most_arguments = 2,
    .run = run,
};
