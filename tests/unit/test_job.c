/* Jobs: settings of a configuration, seeds, what an identity depends on and what not, and the line itself. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "orchestrator/job.h"
#include "tests/support/temp.h"

static struct temp temp;

static void write_file(const char *name, const char *text)
{
    temp_write(&temp, name, text, strlen(text));
}

static void make_project(const char *name)
{
    struct err err;
    char path[128];
    const char *const files[] = {"model/config.json", "model/tokenizer.json", "model/model.safetensors",
                                 "train.jsonl",       "test.jsonl",           "names.json"};
    snprintf(path, sizeof(path), "%s/model", name);
    cr_assert_eq(file_make_folders(temp_path(&temp, path), &err), 0);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", name, files[i]);
        write_file(path, files[i]);
    }
}

static void setup(void)
{
    temp_open(&temp);
    make_project("a");
}

static void teardown(void)
{
    temp_close(&temp);
}

TestSuite(job, .init = setup, .fini = teardown);

/* A definition with its hashes in the project folder. */
struct fixture {
    struct definition definition;
    struct input_hashes hashes;
};

#define TASK                                                                                                           \
    "{\"kind\": \"classification\", \"train\": \"train.jsonl\", \"test\": \"test.jsonl\", \"text\": \"text\", "        \
    "\"label\": \"label\"}"
#define SMALL "{\"name\": \"small\", \"model\": \"model\", \"task\": " TASK ", "
#define CHECK "\"checks\": [{\"kind\": \"counterfactual\", \"file\": \"names.json\"}], "
static const char usual[] =
    SMALL CHECK "\"seed\": 7, \"settings\": {\"epochs\": 2, \"learning_rate\": 1e-4, \"weight_decay\": 0.01}, "
                "\"parameters\": {\"method\": {\"values\": [\"full\", \"lora\"]}}}";

static struct fixture *fixture_new(const char *project, const char *text)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct err err = {0};
    char folder[TEMP_PATH_SIZE + 256];
    snprintf(folder, sizeof(folder), "%s", temp_path(&temp, project));
    cr_assert_eq(definition_parse(&f->definition, text, folder, "small.json", &err), 0, "%s", err.message);
    cr_assert_eq(job_hash_inputs(&f->hashes, &f->definition, temp_path(&temp, "hashes"), &err), 0, "%s", err.message);
    return f;
}

static void fixture_free(struct fixture *f)
{
    definition_done(&f->definition);
    free(f);
}

static cJSON *json(const char *text)
{
    cJSON *value = NULL;
    struct err err = {0};
    cr_assert_eq(json_parse(text, strlen(text), &value, &err), 0, "%s", err.message);
    return value;
}

static cJSON *settings_of(const struct fixture *f, const char *configuration)
{
    cJSON *given = json(configuration), *settings = NULL;
    struct err err = {0};
    cr_assert_eq(job_settings(&f->definition, given, &settings, &err), 0, "%s", err.message);
    cJSON_Delete(given);
    return settings;
}

static void expect_number(const cJSON *settings, const char *name, double value)
{
    const cJSON *item = json_get(settings, name);
    cr_assert(cJSON_IsNumber(item), "'%s' is missing", name);
    cr_expect_float_eq(item->valuedouble, value, 0, "%s is %g", name, item->valuedouble);
}

Test(job, settings_are_resolved)
{
    struct fixture *f = fixture_new("a", usual);
    cJSON *lora = settings_of(f, "{\"method\": \"lora\", \"rank\": 4}");
    expect_number(lora, "epochs", 2);
    expect_number(lora, "rank", 4);
    expect_number(lora, "alpha", 16);
    expect_number(lora, "learning_rate", 1e-4);
    cJSON_Delete(lora);
    cJSON *full = settings_of(f, "{\"method\": \"full\", \"rank\": 4}");
    cr_expect_null(json_get(full, "rank"), "full has no rank");
    cJSON_Delete(full);
    fixture_free(f);
}

Test(job, wrong_configuration_is_refused)
{
    struct fixture *f = fixture_new("a", usual);
    cJSON *given = json("{\"method\": \"lora\", \"rank\": 0}"), *settings = NULL;
    struct err err = {0};
    cr_expect_eq(job_settings(&f->definition, given, &settings, &err), ERR_USAGE);
    cr_expect(strstr(err.message, "settings.rank: 0 is below 1"), "%s", err.message);
    cr_expect_null(settings);
    cJSON_Delete(given);
    fixture_free(f);
}

Test(job, baseline_is_a_linear_probe)
{
    struct fixture *f = fixture_new("a", usual);
    cJSON *settings = NULL;
    struct err err = {0};
    cr_assert_eq(job_baseline_settings(&f->definition, &settings, &err), 0, "%s", err.message);
    cr_expect_str_eq(json_get(settings, "method")->valuestring, "linear_probe");
    expect_number(settings, "epochs", 2);
    expect_number(settings, "learning_rate", 5e-3);
    cr_expect_null(json_get(settings, "rank"));
    cJSON_Delete(settings);
    fixture_free(f);
}

Test(job, seeds)
{
    struct fixture *f = fixture_new("a", usual);
    cJSON *full = settings_of(f, "{\"method\": \"full\"}"), *lora = settings_of(f, "{\"method\": \"lora\"}");
    cJSON *fixed = json("{\"seed\": 12}");
    cr_expect_eq(job_seed(&f->definition, full, 1), job_seed(&f->definition, lora, 1), "methods share data orders");
    cr_expect_neq(job_seed(&f->definition, full, 0), job_seed(&f->definition, full, 1));
    cr_expect_leq(job_seed(&f->definition, full, 0), (uint64_t)1 << 53);
    uint64_t with_fixed = job_seed(&f->definition, fixed, 5);
    cr_expect_neq(with_fixed, job_seed(&f->definition, full, 5), "a fixed seed decides");
    uint64_t seed = job_seed(&f->definition, full, 0);
    f->definition.seed = 8;
    cr_expect_neq(job_seed(&f->definition, full, 0), seed);
    cr_expect_eq(job_seed(&f->definition, fixed, 5), with_fixed, "and the sweep's seed does not");
    cJSON_Delete(full);
    cJSON_Delete(lora);
    cJSON_Delete(fixed);
    fixture_free(f);
}

Test(job, hashes_of_inputs)
{
    struct fixture *f = fixture_new("a", usual);
    char hex[HASH_HEX_SIZE];
    hash_bytes("train.jsonl", 11, hex);
    cr_expect_str_eq(f->hashes.train, hex);
    hash_bytes("model/tokenizer.json", 20, hex);
    cr_expect_str_eq(f->hashes.tokenizer, hex);
    cr_expect_str_eq(f->hashes.validation, "", "there is no such file");
    cr_expect(file_exists(temp_path(&temp, "hashes")), "the cache is written");
    struct err err;
    struct input_hashes again;
    write_file("a/train.jsonl", "other rows");
    cr_assert_eq(job_hash_inputs(&again, &f->definition, temp_path(&temp, "hashes"), &err), 0);
    cr_expect_str_neq(again.train, f->hashes.train, "a changed file is hashed again");
    cr_expect_str_eq(again.model, f->hashes.model);
    fixture_free(f);
}

/* Identity of the first trial of a configuration. */
static void identify(const char *project, const char *text, const char *configuration, char hex[HASH_HEX_SIZE])
{
    struct fixture *f = fixture_new(project, text);
    cJSON *settings = settings_of(f, configuration);
    struct err err = {0};
    uint64_t seed = job_seed(&f->definition, settings, 0);
    cr_assert_eq(job_identity(&f->definition, &f->hashes, settings, seed, hex, &err), 0, "%s", err.message);
    cJSON_Delete(settings);
    fixture_free(f);
}

#define LORA "{\"method\": \"lora\"}"

/* What does not decide the result: paths, names, defaults that are spelt out, resources, order of members. */
static const struct {
    const char *project, *text, *configuration, *why;
} equal[] = {
    {"b", usual, LORA, "another folder with the same content"},
    {"a", usual, "{\"rank\": 8, \"method\": \"lora\"}", "a default spelt out, another order"},
    {"a",
     "{\"name\": \"other\", \"model\": \"model\", \"task\": " TASK ", " CHECK
     "\"seed\": 7, \"settings\": {\"learning_rate\": 1e-4, \"epochs\": 2.0}, \"seeds\": 4, \"resources\": "
     "{\"threads\": 2}, \"budget\": {\"trials\": 5}, \"parameters\": {\"method\": {\"values\": [\"lora\"]}}}",
     LORA, "another name, resources, seeds, budget and parameters"},
};
/* What does. */
static const struct {
    const char *text, *configuration, *why;
} different[] = {
    {usual, "{\"method\": \"lora\", \"rank\": 4}", "rank"},
    {usual, "{\"method\": \"full\"}", "method"},
    {SMALL "\"seed\": 7, \"settings\": {\"epochs\": 2, \"learning_rate\": 1e-4}, \"parameters\": {}}", LORA, "checks"},
    {SMALL CHECK "\"seed\": 8, \"settings\": {\"epochs\": 2, \"learning_rate\": 1e-4}, \"parameters\": {}}", LORA,
     "seed"},
    {SMALL CHECK "\"seed\": 7, \"settings\": {\"epochs\": 2, \"learning_rate\": 1e-4}, \"objectives\": [{\"metric\": "
                 "\"validation/loss\"}], \"parameters\": {}}",
     LORA, "objective"},
    {"{\"name\": \"small\", \"model\": \"model\", \"task\": {\"kind\": \"classification\", \"train\": "
     "\"train.jsonl\", \"text\": \"text\", \"label\": \"label\"}, " CHECK
     "\"seed\": 7, \"settings\": {\"epochs\": 2, \"learning_rate\": 1e-4}, \"parameters\": {}}",
     LORA, "no test file"},
    {"{\"name\": \"small\", \"model\": \"model\", \"task\": {\"kind\": \"classification\", \"train\": \"train.jsonl\", "
     "\"test\": \"test.jsonl\", \"text\": \"text\", \"label\": \"stars\"}, " CHECK
     "\"seed\": 7, \"settings\": {\"epochs\": 2, \"learning_rate\": 1e-4}, \"parameters\": {}}",
     LORA, "label column"},
};

Test(job, identity)
{
    char base[HASH_HEX_SIZE], other[HASH_HEX_SIZE];
    make_project("b");
    identify("a", usual, LORA, base);
    cr_expect_eq(strlen(base), 64);
    for (size_t i = 0; i < sizeof(equal) / sizeof(equal[0]); i++) {
        identify(equal[i].project, equal[i].text, equal[i].configuration, other);
        cr_expect_str_eq(other, base, "%s", equal[i].why);
    }
    for (size_t i = 0; i < sizeof(different) / sizeof(different[0]); i++) {
        identify("a", different[i].text, different[i].configuration, other);
        cr_expect_str_neq(other, base, "%s", different[i].why);
    }
    const char *const files[] = {
        "b/train.jsonl",         "b/test.jsonl", "b/names.json", "b/model/config.json", "b/model/model.safetensors",
        "b/model/tokenizer.json"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        make_project("b");
        write_file(files[i], "changed");
        identify("b", usual, LORA, other);
        cr_expect_str_neq(other, base, "%s", files[i]);
    }
}

static cJSON *write_job(const struct fixture *f, const struct job *job)
{
    struct text line = {0};
    job_write(&line, &f->definition, &f->hashes, job);
    cr_assert_not(line.failed);
    cr_expect_null(strchr(line.data, '\n'));
    cJSON *value = json(line.data);
    text_done(&line);
    return value;
}

Test(job, line)
{
    struct fixture *f = fixture_new("a", usual);
    cJSON *settings = settings_of(f, LORA);
    struct job job = {.attempt = 12,
                      .identity = "9f",
                      .output = "/runs/\"7\"",
                      .settings = settings,
                      .seed = ((uint64_t)1 << 53) - 1,
                      .checkpoint_seconds = 0.5,
                      .stop_after_steps = 3};
    cJSON *value = write_job(f, &job);
    expect_number(value, "v", 1);
    cr_expect_str_eq(json_get(value, "type")->valuestring, "job");
    expect_number(value, "attempt", 12);
    cr_expect_str_eq(json_get(value, "identity")->valuestring, "9f");
    cr_expect_str_eq(json_get(value, "output")->valuestring, "/runs/\"7\"");
    cr_expect(cJSON_IsNull(json_get(value, "resume")));
    cr_expect_str_eq(json_get(json_get(value, "model"), "path")->valuestring, f->definition.model);
    cr_expect(json_equal(json_get(value, "task"), f->definition.task));
    cr_expect_str_eq(json_get(json_get(value, "hashes"), "train")->valuestring, f->hashes.train);
    cr_expect(json_equal(json_get(value, "settings"), settings));
    expect_number(value, "seed", 9007199254740991.0);
    cr_expect_str_eq(json_get(json_get(value, "objective"), "goal")->valuestring, "maximize");
    const cJSON *check = json_get(value, "checks")->child;
    cr_expect_str_eq(json_get(check, "name")->valuestring, "0:counterfactual");
    cr_expect_str_eq(json_get(check, "file")->valuestring, f->definition.checks[0].file);
    cr_expect(cJSON_IsFalse(json_get(check, "items")));
    expect_number(json_get(value, "limits"), "memory_bytes", 0);
    expect_number(json_get(value, "limits"), "threads", 1);
    expect_number(value, "checkpoint_seconds", 0.5);
    expect_number(value, "stop_after_steps", 3);
    cJSON_Delete(value);
    job.resume = "/runs/7/1-9.checkpoint";
    value = write_job(f, &job);
    cr_expect_str_eq(json_get(value, "resume")->valuestring, job.resume);
    cJSON_Delete(value);
    cJSON_Delete(settings);
    fixture_free(f);
}

/* A saved adapter in the project's folder. */
static void make_adapter(const char *name, const char *content)
{
    char path[128];
    struct err err;
    snprintf(path, sizeof(path), "a/%s/part", name);
    cr_assert_eq(file_make_folders(temp_path(&temp, path), &err), 0);
    snprintf(path, sizeof(path), "a/%s/adapter_config.json", name);
    write_file(path, "{}");
    snprintf(path, sizeof(path), "a/%s/part/head.safetensors", name);
    write_file(path, content);
}

static const char starting[] =
    SMALL "\"parameters\": {\"init_adapter\": {\"values\": [\"first\", \"second\", \"third\"]}}, "
          "\"settings\": {\"method\": \"lora\"}}";

static void identity_from(const struct fixture *f, const char *configuration, char hex[HASH_HEX_SIZE])
{
    struct err err = {0};
    cJSON *settings = settings_of(f, configuration);
    cr_assert_eq(job_identity(&f->definition, &f->hashes, settings, 1, hex, &err), 0, "%s", err.message);
    cJSON_Delete(settings);
}

/* The content decides, not the folder's name; the job carries the absolute path and the hash. */
Test(job, init_adapter_enters_by_its_content)
{
    char first[HASH_HEX_SIZE], second[HASH_HEX_SIZE], third[HASH_HEX_SIZE], none[HASH_HEX_SIZE], later[HASH_HEX_SIZE];
    make_adapter("first", "weights");
    make_adapter("second", "weights");
    make_adapter("third", "other weights");
    struct fixture *f = fixture_new("a", starting);
    cr_assert_eq(f->definition.n_init_adapters, 3);
    identity_from(f, "{\"init_adapter\": \"first\"}", first);
    identity_from(f, "{\"init_adapter\": \"second\"}", second);
    identity_from(f, "{\"init_adapter\": \"third\"}", third);
    identity_from(f, "{}", none);
    cr_expect_str_eq(first, second);
    cr_expect_str_neq(first, third);
    cr_expect_str_neq(first, none);
    struct text line = {0};
    cJSON *settings = settings_of(f, "{\"init_adapter\": \"third\"}");
    struct job job = {.attempt = 1, .identity = third, .output = "/tmp/x", .settings = settings};
    job_write(&line, &f->definition, &f->hashes, &job);
    cJSON *message = json(line.data);
    const cJSON *path = json_get(json_get(message, "settings"), "init_adapter");
    cr_expect_str_eq(path->valuestring, temp_path(&temp, "a/third"));
    cr_expect_str_eq(json_get(json_get(message, "hashes"), "init_adapter")->valuestring, f->hashes.init_adapters[2]);
    json_free(message);
    cJSON_Delete(settings);
    text_done(&line);
    fixture_free(f);
    make_adapter("first", "changed");
    f = fixture_new("a", starting);
    identity_from(f, "{\"init_adapter\": \"first\"}", later);
    cr_expect_str_neq(first, later);
    fixture_free(f);
}

static const char stacked[] =
    SMALL "\"parameters\": {}, \"settings\": {\"method\": \"adapter\", \"stacked_on\": [\"first\", "
          "\"third\"]}}";

/* So do adapters that a trial builds on, in a list. */
Test(job, stacked_adapters_enter_by_their_content)
{
    char before[HASH_HEX_SIZE], after[HASH_HEX_SIZE];
    make_adapter("first", "weights");
    make_adapter("third", "other weights");
    struct fixture *f = fixture_new("a", stacked);
    cr_assert_eq(f->definition.n_init_adapters, 2);
    identity_from(f, "{}", before);
    struct text line = {0};
    cJSON *settings = settings_of(f, "{}");
    struct job job = {.attempt = 1, .identity = before, .output = "/tmp/x", .settings = settings};
    job_write(&line, &f->definition, &f->hashes, &job);
    cJSON *message = json(line.data);
    const cJSON *paths = json_get(json_get(message, "settings"), "stacked_on");
    cr_expect_str_eq(paths->child->valuestring, temp_path(&temp, "a/first"));
    cr_expect_str_eq(paths->child->next->valuestring, temp_path(&temp, "a/third"));
    json_free(message);
    cJSON_Delete(settings);
    text_done(&line);
    fixture_free(f);
    make_adapter("third", "changed");
    f = fixture_new("a", stacked);
    identity_from(f, "{}", after);
    cr_expect_str_neq(before, after);
    fixture_free(f);
}

Test(job, init_adapter_must_be_there)
{
    struct definition definition = {0};
    struct err err = {0};
    char folder[TEMP_PATH_SIZE + 256];
    snprintf(folder, sizeof(folder), "%s", temp_path(&temp, "a"));
    make_adapter("first", "weights");
    cr_assert_lt(definition_parse(&definition, starting, folder, "small.json", &err), 0);
    cr_expect(strstr(err.message, "parameters.init_adapter.values: there is no folder") &&
                  strstr(err.message, "second"),
              "%s", err.message);
    definition_done(&definition);
}
