/* `nightsweep generate MODEL [PROMPT...]`: what a language model goes on with. The trainer beside this program does it;
 * here the request is made and the answers are shown. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "orchestrator/child.h"
#include "orchestrator/command_kinds.h"

static int on_line(char *line, size_t n, void *context, struct err *err)
{
    const struct command_line *command = context;
    cJSON *answer = NULL;
    int rc = json_parse(line, n, &answer, err);
    const cJSON *text = rc == 0 ? json_get(answer, "text") : NULL;
    if (rc == 0 && !cJSON_IsString(text))
        rc = err_set(err, ERR_INTERNAL, "nightsweep-trainer gave an answer without a text");
    if (rc == 0)
        printf("%s\n", command_has(command, "json") ? line : text->valuestring);
    fflush(stdout);
    json_free(answer);
    return rc;
}

static int add_number(const struct command_line *line, const char *option, const char *key, struct text *out,
                      struct err *err)
{
    const char *given = command_value(line, option);
    double value;
    if (!given)
        return 0;
    int rc = text_parse_double(given, &value, err);
    if (rc < 0)
        return err_wrap(err, "--%s", option);
    text_printf(out, "%s\"%s\":", out->len > 1 ? "," : "", key);
    text_add_double(out, value);
    return 0;
}

/* {"max_new_tokens": …} of what was given. */
static int add_generation(const struct command_line *line, struct text *out, struct err *err)
{
    static const char *const numbers[][2] = {{"tokens", "max_new_tokens"},
                                             {"beams", "beams"},
                                             {"length-penalty", "length_penalty"},
                                             {"no-repeat", "no_repeat_ngram"},
                                             {"temperature", "temperature"},
                                             {"top-k", "top_k"},
                                             {"top-p", "top_p"},
                                             {"seed", "seed"}};
    int rc = 0;
    text_add(out, "{");
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && rc == 0; i++)
        rc = add_number(line, numbers[i][0], numbers[i][1], out, err);
    bool samples = command_has(line, "temperature") || command_has(line, "top-k") || command_has(line, "top-p");
    if (rc == 0 && samples)
        text_printf(out, "%s\"sample\":true", out->len > 1 ? "," : "");
    text_add(out, "}");
    return rc;
}

/* Prompts are the arguments behind the model, or the lines of standard input. */
static int add_prompts(const struct command_line *line, struct text *out, struct err *err)
{
    char *own = NULL;
    size_t capacity = 0;
    ssize_t n;
    int count = 0, rc = 0;
    text_add(out, "[");
    for (int i = 1; i < line->n_arguments; i++, count++) {
        text_add(out, count ? "," : "");
        text_add_json(out, line->arguments[i]);
    }
    while (rc == 0 && line->n_arguments == 1 && (n = getline(&own, &capacity, stdin)) > 0) {
        own[n - (own[n - 1] == '\n')] = '\0';
        if (utf8_valid_prefix(own, strlen(own)) != strlen(own))
            rc = err_set(err, ERR_DATA, "standard input, line %d is not UTF-8", count + 1);
        text_add(out, count++ ? "," : "");
        if (rc == 0)
            text_add_json(out, own);
    }
    free(own);
    text_add(out, "]");
    return rc < 0 || count > 0 ? rc : err_set(err, ERR_USAGE, "generate: a prompt was expected");
}

static int add_request(const struct command_line *line, struct text *out, struct err *err)
{
    struct text generation = {0}, prompts = {0};
    const char *chat = command_value(line, "chat-template"), *system = command_value(line, "system");
    const char *adapter = command_value(line, "adapter");
    if (!chat && (command_has(line, "chat") || system))
        chat = "auto";
    int rc = add_generation(line, &generation, err);
    if (rc == 0)
        rc = add_prompts(line, &prompts, err);
    text_add(out, "{\"model\":");
    text_add_json(out, line->arguments[0]);
    if (adapter) {
        text_add(out, ",\"adapter\":");
        text_add_json(out, adapter);
    }
    if (chat) {
        text_add(out, ",\"chat_template\":");
        text_add_json(out, chat);
    }
    if (system) {
        text_add(out, ",\"system\":");
        text_add_json(out, system);
    }
    if (rc == 0)
        text_printf(out, ",\"generation\":%s,\"prompts\":%s}\n", generation.data, prompts.data);
    if (rc == 0 && (out->failed || generation.failed || prompts.failed))
        rc = err_set(err, ERR_NOMEM, "no memory for a request");
    text_done(&generation);
    text_done(&prompts);
    return rc;
}

static int run(const struct command_line *line, struct err *err)
{
    static const char *const argv[] = {"nightsweep-trainer", "--generate", NULL};
    struct text request = {0};
    int rc = add_request(line, &request, err);
    const struct child_options child_options = {.argv = argv,
                                                .input = request.data,
                                                .input_len = request.len,
                                                .on_line = on_line,
                                                .context = (void *)(uintptr_t)line};
    if (rc == 0)
        rc = child_run(&child_options, err);
    text_done(&request);
    return rc;
}

static const struct command_option options[] = {
    {"adapter", "FOLDER", "what a trial trained and kept (`show` names its folder), on top of the model"},
    {"tokens", "N", "at most so many new tokens (default 128)"},
    {"beams", "N", "search with N beams; 1: the likeliest token each time (default)"},
    {"length-penalty", "X", "beams compare sum of log p / length^X (default 1: longer ones gain)"},
    {"no-repeat", "N", "no N tokens in a row come twice"},
    {"temperature", "X", "draw tokens; below 1 the likely ones gain"},
    {"top-k", "N", "draw from the N likeliest tokens"},
    {"top-p", "X", "draw from the fewest tokens with a probability of X together"},
    {"seed", "N", "of what is drawn (default 0)"},
    {"chat", NULL, "each prompt is a user's message, written as the model's chat template has it"},
    {"chat-template", "NAME",
     "chatml, llama-2, llama-3, alpaca, plain, or a wording (docs/models.md), instead of the model's own"},
    {"system", "TEXT", "the system message of the chat"},
    {"json", NULL, "write a JSON object a prompt: prompt_tokens, ids, text"},
    {NULL, NULL, NULL},
};

const struct command command_generate = {
    .name = "generate",
    .arguments = "MODEL [PROMPT...]",
    .summary = "let a language model go on with prompts, or answer",
    .description =
        "MODEL is a model folder (docs/models.md); causal models go on with a prompt, encoder-decoders answer it. "
        "Without a PROMPT each line of standard input is one. The tokens are those that the transformers "
        "library finds with the same settings; what is drawn depends on the seed and the prompt's number "
        "alone.",
    .options = options,
    .least_arguments = 1,
    .most_arguments = COMMAND_MAX_FILES,
    .run = run,
};
