/* The ready sweeps: each is a definition that the program accepts, named as its file, and described in the README. */
#include <criterion/criterion.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "orchestrator/search.h"
#include "orchestrator/stages.h"
#include "tests/support/temp.h"

static void write_empty(struct temp *temp, const char *name)
{
    temp_write(temp, name, "{}", 2);
}

/* What sweeps of other models and of made data ask for. */
static void make_language_project(struct temp *temp)
{
    static const char *const names[][2] = {{"models/smollm2", "model.gguf"},
                                           {"data/instructions", "train.jsonl"},
                                           {"models/mixture", "config.json"},
                                           {"models/mixture", "tokenizer.json"},
                                           {"data/mixture", "train.jsonl"},
                                           {"data/mixture", "validation.jsonl"},
                                           {"data/mixture", "test.jsonl"},
                                           {"data/multitask", "train.jsonl"},
                                           {"data/multitask", "validation.jsonl"},
                                           {"data/multitask", "test.jsonl"},
                                           {"data/instructions", "validation.jsonl"},
                                           {"models/languages/family", "config.json"},
                                           {"models/languages/donor", "config.json"},
                                           {"models/languages/whole", "config.json"},
                                           {"data/languages", "related.jsonl"},
                                           {"data/languages", "related-validation.jsonl"},
                                           {"data/languages", "all.jsonl"},
                                           {"data/languages", "validation.jsonl"},
                                           {"data/languages", "tuning-validation.jsonl"},
                                           {"data/languages", "pivot.jsonl"},
                                           {"data/languages", "dovin.jsonl"},
                                           {"data/languages", "test-alva-dovin.jsonl"},
                                           {"data/languages", "test-dovin-alva.jsonl"}};
    struct err err;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = file_join(names[i][0], names[i][1]);
        cr_assert_eq(file_make_folders(temp_path(temp, names[i][0]), &err), 0, "%s", err.message);
        write_empty(temp, path);
        free(path);
    }
}

/* A project with the model and data of the ready sweeps; a definition only asks whether they are there. */
static void make_project(struct temp *temp)
{
    static const char *const folders[] = {"models/minilm", "data/movies", "data/products", "data/tweets",
                                          "sweeps/checks"};
    static const char *const files[] = {
        "models/minilm/config.json",
        "models/minilm/tokenizer.json",
        "data/movies/train.jsonl",
        "data/movies/validation.jsonl",
        "data/movies/test.jsonl",
        "data/products/test.jsonl",
        "data/tweets/test.jsonl",
        "sweeps/checks/names.json",
        "sweeps/synonyms.txt",
        "sweeps/checks/probe-topics.jsonl",
        "sweeps/checks/probe-grammar.jsonl",
        "sweeps/checks/weat-career.jsonl",
        "sweeps/checks/policy.jsonl",
        "sweeps/checks/policy-teach-train.jsonl",
        "sweeps/checks/policy-teach-validation.jsonl",
        "sweeps/checks/policy-benign-train.jsonl",
        "sweeps/checks/policy-benign-validation.jsonl",
    };
    struct err err;
    temp_open(temp);
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
        cr_assert_eq(file_make_folders(temp_path(temp, folders[i]), &err), 0, "%s", err.message);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        write_empty(temp, files[i]);
    make_language_project(temp);
}

static char *read_text(const char *path)
{
    char *text = NULL;
    size_t size = 0;
    struct err err;
    cr_assert_eq(file_read(path, 1 << 20, &text, &size, &err), 0, "%s", err.message);
    return text;
}

static void expect_good(struct temp *temp, const char *path, const char *readme)
{
    struct stages stages = {0};
    struct err err = {0};
    char *text = read_text(path);
    cr_expect_eq(stages_parse(&stages, text, temp_path(temp, "sweeps"), path, NULL, &err), 0, "%s", err.message);
    const char *file = strrchr(path, '/') + 1;
    size_t length = strlen(file) - strlen(".json");
    if (stages.name) {
        cr_expect(strlen(stages.name) == length && strncmp(stages.name, file, length) == 0, "%s: name is '%s'", path,
                  stages.name);
        cr_expect(strstr(readme, file), "%s stands not in sweeps/README.md", file);
    }
    stages_done(&stages);
    free(text);
}

/* A sweep file of Weights & Biases, from its own folder in the project. */
static void expect_good_yaml(struct temp *temp, const char *path, const char *readme)
{
    struct definition definition;
    struct err err = {0};
    char *text = read_text(path);
    temp_write(temp, path, text, strlen(text));
    cr_expect_eq(definition_read(&definition, temp_path(temp, path), &err), 0, "%s", err.message);
    cr_expect(strstr(definition.remarks, "early_terminate: "), "%s", definition.remarks);
    cr_expect(strstr(readme, "wandb.yaml"));
    definition_done(&definition);
    free(text);
}

Test(sweeps, are_accepted_named_and_described)
{
    struct temp temp;
    glob_t found;
    char *readme = read_text("sweeps/README.md");
    make_project(&temp);
    cr_assert_eq(glob("sweeps/*.json", 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        expect_good(&temp, found.gl_pathv[i], readme);
    cr_expect_geq(found.gl_pathc, 18);
    globfree(&found);
    expect_good_yaml(&temp, "sweeps/wandb.yaml", readme);
    free(readme);
    temp_close(&temp);
}
