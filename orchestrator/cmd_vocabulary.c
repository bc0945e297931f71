/* `nightsweep vocabulary FILE...`: a tokenizer learned from data files. The trainer beside this program does it
 * (trainer/vocabulary_command.h). */
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "orchestrator/child.h"
#include "orchestrator/command_kinds.h"

/* "a,b" as a JSON list. */
static void add_list(struct text *out, const char *key, const char *list)
{
    text_printf(out, ",\"%s\":[", key);
    for (const char *s = list; *s; s += strcspn(s, ","), s += *s == ',') {
        struct text item = {0};
        text_add_n(&item, s, strcspn(s, ","));
        text_add(out, s == list ? "" : ",");
        text_add_json(out, item.data ? item.data : "");
        text_done(&item);
    }
    text_add(out, "]");
}

static int add_request(const struct command_line *line, struct text *out, struct err *err)
{
    int64_t size = 8000, least = 1;
    const char *output = command_value(line, "output"), *columns = command_value(line, "columns");
    const char *special = command_value(line, "special"), *form = command_value(line, "form");
    int rc = output ? command_get_int(line, "size", 1, 1 << 20, &size, err)
                    : err_set(err, ERR_USAGE, "vocabulary: --output FILE was expected");
    if (rc == 0)
        rc = command_get_int(line, "min-count", 1, 1 << 30, &least, err);
    text_printf(out, "{\"size\":%lld,\"min_count\":%lld,\"files\":[", (long long)size, (long long)least);
    for (int i = 0; i < line->n_arguments; i++) {
        text_add(out, i ? "," : "");
        text_add_json(out, line->arguments[i]);
    }
    text_add(out, "]");
    add_list(out, "columns", columns ? columns : "text");
    if (special)
        add_list(out, "special", special);
    text_add(out, ",\"form\":");
    text_add_json(out, form ? form : "NFC");
    text_add(out, ",\"output\":");
    text_add_json(out, output ? output : "");
    text_add(out, "}\n");
    return rc == 0 && out->failed ? err_set(err, ERR_NOMEM, "no memory for a request") : rc;
}

static int run(const struct command_line *line, struct err *err)
{
    static const char *const argv[] = {"nightsweep-trainer", "--vocabulary", NULL};
    struct text request = {0};
    int rc = add_request(line, &request, err);
    const struct child_options options = {.argv = argv, .input = request.data, .input_len = request.len};
    if (rc == 0)
        rc = child_run(&options, err);
    text_done(&request);
    return rc;
}

static const struct command_option options[] = {
    {"output", "FILE", "the tokenizer.json to write"},
    {"size", "N", "tokens in all, special ones included (default 8000)"},
    {"columns", "NAMES", "columns of the files to learn from, with commas between (default text)"},
    {"special", "TEXTS", "tokens that are never cut, with commas between: the tags of languages, say"},
    {"form", "NAME", "Unicode normal form of what is learned and encoded: NFC (default), NFD, NFKC, NFKD or none"},
    {"min-count", "N", "pairs that come less often are not joined (default 1)"},
    {NULL, NULL, NULL},
};

const struct command command_vocabulary = {
    .name = "vocabulary",
    .arguments = "FILE...",
    .summary = "learn a tokenizer from data files",
    .description =
        "Learns byte-pair merges on the words of the files' columns (JSON lines, CSV, TSV), each word with its space "
        "in "
        "front, and writes a tokenizer.json as Hugging Face reads it. The same files give the same merges as the "
        "tokenizers library's trainer (docs/translation.md).",
    .options = options,
    .least_arguments = 1,
    .most_arguments = COMMAND_MAX_FILES,
    .run = run,
};
