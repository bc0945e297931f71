/* `nightsweep init DATA --model M`: a first definition, from what the data and the model look like. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/data_look.h"
#include "orchestrator/definition.h"
#include "orchestrator/printable.h"

enum model_shape { MODEL_ENCODER, MODEL_DECODER, MODEL_ENCODER_DECODER };

static const struct {
    const char *type; /* model_type of config.json */
    enum model_shape shape;
} families[] = {
    {"bert", MODEL_ENCODER},          {"roberta", MODEL_ENCODER},      {"xlm-roberta", MODEL_ENCODER},
    {"distilbert", MODEL_ENCODER},    {"gpt2", MODEL_DECODER},         {"llama", MODEL_DECODER},
    {"mistral", MODEL_DECODER},       {"qwen2", MODEL_DECODER},        {"m2m_100", MODEL_ENCODER_DECODER},
    {"mbart", MODEL_ENCODER_DECODER}, {"bart", MODEL_ENCODER_DECODER}, {"marian", MODEL_ENCODER_DECODER},
    {"t5", MODEL_ENCODER_DECODER},
};
enum { N_FAMILIES = sizeof(families) / sizeof(families[0]) };

/* The command on its way. */
struct start {
    const struct command_line *line;
    char *train, *validation, *test; /* paths; NULL: none */
    char *name, *output;
    struct look look;
    struct look_roles roles;
    int64_t bytes;
    enum model_shape shape;
    const char *family;
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for a definition");
}

/* Data ---------------------------------------------------------------------------------------------------------------
 */

static const char *const endings[] = {".jsonl", ".csv", ".tsv", ".json", NULL};

/* The first of folder/<name><ending> that is there; heap, or NULL. */
static char *find_split(const char *folder, const char *const *names)
{
    for (; *names; names++)
        for (int i = 0; endings[i]; i++) {
            struct text path = {0};
            text_printf(&path, "%s/%s%s", folder, *names, endings[i]);
            if (!path.failed && file_exists(path.data))
                return text_take(&path);
            text_done(&path);
        }
    return NULL;
}

/* A folder has files train, validation, test; a file named train may have the others beside it. */
static int find_data(struct start *s, struct err *err)
{
    static const char *const train[] = {"train", "training", NULL};
    static const char *const validation[] = {"validation", "valid", "dev", "val", NULL};
    static const char *const test[] = {"test", NULL};
    const char *data = s->line->arguments[0], *slash = strrchr(data, '/');
    bool is_folder = file_is_folder(data);
    if (!file_exists(data))
        return err_set(err, ERR_NOT_FOUND, "there is no file or folder '%s'", data);
    char *folder = is_folder ? strdup(data) : file_folder(data);
    bool is_train = is_folder || strncmp(slash ? slash + 1 : data, "train", 5) == 0;
    if (!folder)
        return no_memory(err);
    s->train = is_folder ? find_split(folder, train) : strdup(data);
    s->validation = is_train ? find_split(folder, validation) : NULL;
    s->test = is_train ? find_split(folder, test) : NULL;
    free(folder);
    if (!s->train)
        return err_set(err, ERR_NOT_FOUND, "folder '%s' has no train.jsonl, train.csv or train.tsv", data);
    return look_at(&s->look, s->train, &s->bytes, err);
}

/* An option that names a column wins over the guess. */
static int choose_column(const struct start *s, const char *option, int *column, struct err *err)
{
    const char *name = command_value(s->line, option);
    struct text list = {0};
    if (!name)
        return 0;
    for (int i = 0; i < s->look.n_columns; i++) {
        if (text_equal(s->look.columns[i].name, name)) {
            *column = i;
            text_done(&list);
            return 0;
        }
        text_printf(&list, "%s%.60s", i ? ", " : "", s->look.columns[i].name);
    }
    int rc = err_set(err, ERR_USAGE, "init: --%s: '%s' has no column '%.80s', its columns are %.1000s", option,
                     s->train, name, list.data ? list.data : "none");
    text_done(&list);
    return rc;
}

static int choose_columns(struct start *s, struct err *err)
{
    look_guess(&s->look, &s->roles);
    int rc = choose_column(s, "text", &s->roles.text, err);
    if (rc == 0)
        rc = choose_column(s, "label", &s->roles.label, err);
    if (rc == 0)
        rc = choose_column(s, "target", &s->roles.target, err);
    if (rc == 0 && command_has(s->line, "target"))
        s->roles.label = -1;
    if (rc == 0 && s->roles.text < 0)
        rc = err_set(err, ERR_USAGE, "init: '%s' has no column that looks like text: --text COLUMN was expected",
                     s->train);
    return rc;
}

/* Model --------------------------------------------------------------------------------------------------------------
 */

static int read_model(struct start *s, struct err *err)
{
    const char *model = command_value(s->line, "model"), *type = NULL;
    cJSON *config = NULL;
    if (!model)
        return err_set(err, ERR_USAGE,
                       "init: --model is missing: a folder with config.json, tokenizer.json and weights");
    char *path = file_join(model, "config.json");
    int rc = path ? json_read_file(path, &config, err) : no_memory(err);
    if (rc == 0)
        rc = json_get_string(config, "model_type", path, &type, err);
    for (int i = 0; i < N_FAMILIES && rc == 0; i++)
        if (text_equal(families[i].type, type)) {
            s->shape = families[i].shape;
            s->family = families[i].type;
        }
    if (rc == 0 && !s->family)
        rc = err_set(err, ERR_UNSUPPORTED, "'%s': model_type '%.60s' is none that can be trained here", path, type);
    json_free(config);
    free(path);
    return rc;
}

static int check_fit(const struct start *s, struct err *err)
{
    const struct look_roles *roles = &s->roles;
    if (s->shape == MODEL_ENCODER && roles->label < 0)
        return err_set(err, ERR_USAGE,
                       "init: '%s' has no column that looks like a label, which a %s model needs: --label COLUMN was "
                       "expected",
                       s->train, s->family);
    if (s->shape == MODEL_ENCODER_DECODER && roles->label < 0 && roles->target < 0)
        return err_set(
            err, ERR_USAGE,
            "init: '%s' has no column that looks like a second text, which a %s model learns: --target COLUMN "
            "was expected",
            s->train, s->family);
    return 0;
}

/* Writing ------------------------------------------------------------------------------------------------------------
 */

/* Letters, digits and dashes of the data's name: "data/movies/train.jsonl" is "movies". */
static int choose_name(struct start *s, struct err *err)
{
    const char *given = command_value(s->line, "name"), *data = s->line->arguments[0];
    struct text name = {0};
    char *absolute = NULL;
    if (given) {
        s->name = strdup(given);
        return s->name ? definition_check_name(given, err) : no_memory(err);
    }
    int rc = file_absolute(data, &absolute, err);
    if (rc < 0)
        return rc;
    char *slash = strrchr(absolute, '/');
    if (slash && strncmp(slash + 1, "train", 5) == 0 && slash > absolute) {
        *slash = '\0';
        slash = strrchr(absolute, '/');
    }
    for (const char *c = slash ? slash + 1 : absolute; *c && *c != '.'; c++) {
        char lower = *c >= 'A' && *c <= 'Z' ? (char)(*c + 'a' - 'A') : *c;
        bool is_plain = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9');
        if (is_plain || name.len > 0) /* a letter or digit first */
            text_add_char(&name, is_plain || lower == '_' ? lower : '-');
    }
    free(absolute);
    s->name = name.len ? text_take(&name) : strdup("first");
    text_done(&name);
    return s->name ? 0 : no_memory(err);
}

/* A path as seen from the definition's folder: absolute, so that the file may be moved. */
static int add_path(struct text *out, const char *key, const char *path, struct err *err)
{
    char *absolute = NULL;
    int rc = file_absolute(path, &absolute, err);
    if (rc < 0)
        return rc;
    text_printf(out, "\"%s\": ", key);
    printable_add_json(out, absolute);
    free(absolute);
    return 0;
}

static void add_column(struct text *out, const struct start *s, const char *key, int column)
{
    if (column < 0)
        return;
    text_printf(out, ", \"%s\": ", key);
    printable_add_json(out, s->look.columns[column].name);
}

static int add_task(struct text *out, const struct start *s, struct err *err)
{
    bool is_labelled = s->roles.label >= 0;
    text_printf(out, "  \"task\": { \"kind\": \"%s\",\n            ",
                is_labelled                         ? "classification"
                : s->shape == MODEL_ENCODER_DECODER ? "seq2seq"
                                                    : "causal");
    int rc = add_path(out, "train", s->train, err);
    if (rc == 0 && s->validation) {
        text_add(out, ",\n            ");
        rc = add_path(out, "validation", s->validation, err);
    }
    if (rc == 0 && s->test) {
        text_add(out, ",\n            ");
        rc = add_path(out, "test", s->test, err);
    }
    text_add(out, ",\n            ");
    text_add(out, "\"text\": ");
    printable_add_json(out, s->look.columns[s->roles.text].name);
    add_column(out, s, "text_pair", is_labelled ? s->roles.pair : -1);
    add_column(out, s, "label", s->roles.label);
    add_column(out, s, "target", is_labelled ? -1 : s->roles.target);
    text_add(out, " },\n");
    return rc;
}

/* A token is about four characters; as many as the mean text and half of it again, in steps of 32. */
static int choose_tokens(const struct start *s)
{
    const struct look_column *text = &s->look.columns[s->roles.text];
    double mean = text->n_filled ? text->characters / (double)text->n_filled : 0;
    int tokens = ((int)(mean * 1.5 / 4) / 32 + 1) * 32;
    return tokens > 256 ? 256 : tokens;
}

static int write_definition(struct text *out, const struct start *s, struct err *err)
{
    bool is_labelled = s->roles.label >= 0;
    text_add(out, "{ \"name\": ");
    printable_add_json(out, s->name);
    text_add(out, ",\n  ");
    int rc = add_path(out, "model", command_value(s->line, "model"), err);
    text_add(out, ",\n");
    if (rc == 0)
        rc = add_task(out, s, err);
    text_printf(out, "  \"settings\": { \"epochs\": 2, \"batch_size\": 16, \"max_tokens\": %d },\n", choose_tokens(s));
    text_add(out, "  \"parameters\": {\n    \"method\": { \"values\": [");
    text_add(out,
             is_labelled ? "\"linear_probe\", \"bitfit\", \"lora\", \"adapter\"" : "\"lora\", \"adapter\", \"bitfit\"");
    text_add(out, "] },\n    \"learning_rate\": { \"values\": [3e-4, 3e-3] } },\n");
    if (!is_labelled)
        text_add(out, "  \"objectives\": [{ \"metric\": \"validation/perplexity\" }],\n");
    text_add(out, "  \"seeds\": 2 }\n");
    return rc == 0 && out->failed ? no_memory(err) : rc;
}

static int print_found(const struct start *s, bool is_json, struct err *err)
{
    const struct look_roles *r = &s->roles;
    struct text out = {0};
    const char *kind = r->label >= 0 ? "classification" : s->shape == MODEL_ENCODER_DECODER ? "seq2seq" : "causal";
    int n_classes = r->label >= 0 ? s->look.columns[r->label].n_distinct : 0;
    if (is_json) {
        text_add(&out, "{\"v\":1,\"file\":");
        printable_add_json(&out, s->output);
        text_printf(&out, ",\"task\":\"%s\",\"classes\":%d,\"rows\":%lld,\"model_type\":\"%s\"}\n", kind, n_classes,
                    (long long)s->look.n_rows, s->family);
    } else {
        text_printf(&out, "%s%lld rows, columns:", s->look.is_whole ? "" : "at least ", (long long)s->look.n_rows);
        for (int i = 0; i < s->look.n_columns; i++) {
            text_add(&out, i ? ", '" : " '");
            printable_add(&out, s->look.columns[i].name);
            text_printf(&out, "'%s",
                        i == r->text                     ? " (text)"
                        : i == r->label                  ? " (label)"
                        : i == r->target && r->label < 0 ? " (target)"
                        : i == r->pair && r->label >= 0  ? " (second text)"
                                                         : "");
        }
        text_printf(&out, "\ntask: %s", kind);
        if (n_classes)
            text_printf(&out, " into %d classes", n_classes);
        text_printf(&out, "; model: %s\n%s", s->family,
                    s->validation ? "" : "no validation file: a tenth of the rows is held back for it\n");
        text_add(&out, "wrote '");
        printable_add(&out, s->output);
        text_add(&out, "': `nightsweep plan ");
        printable_add(&out, s->output);
        text_add(&out,
                 "` says what it costs, `nightsweep data` looks the data over; docs/methods.md has every setting\n");
    }
    return command_print(&out, "the answer", 0, err);
}

/* What is written is a definition that this program takes: it is read back before it stands there. */
static int write_checked(struct start *s, struct err *err)
{
    const char *given = command_value(s->line, "output");
    struct text out = {0}, path = {0};
    struct definition definition = {0};
    text_printf(&path, "%s.json", s->name);
    s->output = given ? strdup(given) : text_take(&path);
    text_done(&path);
    int rc = s->output ? write_definition(&out, s, err) : no_memory(err);
    if (rc == 0 && file_exists(s->output))
        rc = err_set(err, ERR_USAGE, "'%s' is there already: --output FILE, or --name NAME", s->output);
    if (rc == 0) {
        rc = definition_parse(&definition, out.data, ".", s->output, err);
        definition_done(&definition);
    }
    if (rc == 0)
        rc = file_write_atomic(s->output, out.data, out.len, err);
    text_done(&out);
    return rc;
}

static int run(const struct command_line *line, struct err *err)
{
    static struct start start; /* too large for the stack */
    struct start *s = &start;
    memset(s, 0, sizeof(*s));
    s->line = line;
    int rc = read_model(s, err);
    if (rc == 0)
        rc = find_data(s, err);
    if (rc == 0)
        rc = choose_columns(s, err);
    if (rc == 0)
        rc = check_fit(s, err);
    if (rc == 0)
        rc = choose_name(s, err);
    if (rc == 0)
        rc = write_checked(s, err);
    if (rc == 0)
        rc = print_found(s, command_has(line, "json"), err);
    look_done(&s->look);
    free(s->train);
    free(s->validation);
    free(s->test);
    free(s->name);
    free(s->output);
    return rc;
}

static const struct command_option options[] = {
    {"model", "FOLDER", "the model: a folder with config.json, tokenizer.json and weights (required)"},
    {"output", "FILE", "the definition to write (default: the data's name with .json, here)"},
    {"name", "NAME", "the sweep's name (default: the data's)"},
    {"text", "COLUMN", "the column with the text (default: what looks like it)"},
    {"label", "COLUMN", "the column with the label"},
    {"target", "COLUMN", "the column with the text to produce: no label is learned then"},
    {"json", NULL, "write one JSON object about what was found"},
    {NULL, NULL, NULL},
};

const struct command command_init = {
    .name = "init",
    .arguments = "DATA",
    .summary = "write a first definition from a data file or folder and a model",
    .description =
        "DATA is a JSONL, CSV or TSV file, or a folder with train, validation and test files. Looks at its first rows: "
        "format, which columns are text, label or a second language, how many classes; and at the model's family. "
        "Writes "
        "a definition that compares a few methods at two learning rates and two seeds, which `plan` takes as it is and "
        "you then change. A file that is there is never overwritten.",
    .options = options,
    .least_arguments = 1,
    .most_arguments = 1,
    .run = run,
};
