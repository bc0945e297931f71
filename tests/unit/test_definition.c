/* The sweep definition: what a good one means, and that every bad one is refused with its place named. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "orchestrator/search.h"
#include "tests/support/temp.h"

static struct temp temp;

static void write_file(const char *name, const char *text)
{
    temp_write(&temp, name, text, strlen(text));
}

/* A folder that looks like a project: nothing is read but that it is there. */
static void setup(void)
{
    struct err err;
    temp_open(&temp);
    cr_assert_eq(file_make_folders(temp_path(&temp, "models/tiny"), &err), 0);
    cr_assert_eq(file_make_folders(temp_path(&temp, "data"), &err), 0);
    write_file("models/tiny/config.json", "{}");
    write_file("models/tiny/tokenizer.json", "{}");
    write_file("data/train.jsonl", "");
    write_file("data/test.jsonl", "");
    write_file("data/train.data", "");
    write_file("names.json", "{}");
}

static void teardown(void)
{
    temp_close(&temp);
}

TestSuite(definition, .init = setup, .fini = teardown);

#define HEAD                                                                                                           \
    "\"name\": \"small\", \"model\": \"models/tiny\", "                                                                \
    "\"task\": {\"kind\": \"classification\", \"train\": \"data/train.jsonl\", \"text\": \"text\", \"label\": "        \
    "\"label\"}, "

static int parse(struct definition *definition, const char *text, struct err *err)
{
    return definition_parse(definition, text, temp.folder, "small.json", err);
}

static struct definition *good(const char *text)
{
    struct definition *definition = calloc(1, sizeof(*definition));
    struct err err = {0};
    cr_assert_eq(parse(definition, text, &err), 0, "%s", err.message);
    return definition;
}

static void done(struct definition *definition)
{
    definition_done(definition);
    free(definition);
}

static void expect_path(const char *found, const char *name)
{
    char *absolute = NULL;
    struct err err;
    cr_assert_eq(file_absolute(temp_path(&temp, name), &absolute, &err), 0);
    cr_expect_str_eq(found, absolute);
    free(absolute);
}

Test(definition, defaults)
{
    struct definition *d = good("{" HEAD "\"parameters\": {}}");
    cr_expect_str_eq(d->name, "small");
    expect_path(d->model, "models/tiny");
    expect_path(json_get(d->task, "train")->valuestring, "data/train.jsonl");
    cr_expect(cJSON_IsNull(json_get(d->task, "validation")));
    cr_expect(cJSON_IsNull(json_get(d->task, "test")));
    cr_expect_str_eq(json_get(d->task, "text")->valuestring, "text");
    cr_expect_str_eq(json_get(d->task, "label")->valuestring, "label");
    cr_expect_null(json_get(d->task, "text_pair"));
    cr_expect_eq(d->seed, 0);
    cr_expect_eq(d->seeds, 1);
    cr_expect_str_eq(d->search, "grid");
    cr_expect_eq(d->configurations, 0);
    cr_expect_eq(d->n_objectives, 1);
    cr_expect_str_eq(d->objectives[0].metric, "validation/accuracy");
    cr_expect(d->objectives[0].is_maximized);
    cr_expect_eq(d->n_checks, 0);
    cr_expect_eq(d->resources.slots, 0);
    cr_expect_eq(d->resources.threads, 1);
    cr_expect_eq(d->resources.retries, 2);
    cr_expect_null(d->budget.until);
    cr_expect(d->reuse);
    cr_expect_null(d->model_license);
    cr_expect_null(d->data_license);
    done(d);
}

Test(definition, everything_given)
{
    struct definition *d =
        good("{" HEAD "\"seed\": 7, \"parameters\": {\"learning_rate\": {\"min\": 1e-5, \"max\": 1e-2}}, \"seeds\": 3,"
             "\"objectives\": [{\"metric\": \"validation/loss\"}, {\"metric\": \"validation/macro_f1\"}],"
             "\"checks\": [{\"kind\": \"counterfactual\", \"file\": \"names.json\", \"items\": true}],"
             "\"resources\": {\"slots\": 2, \"threads\": 4, \"memory\": \"2GiB\", \"time\": \"20m\", \"retries\": 0},"
             "\"budget\": {\"trials\": 9, \"until\": \"07:00\", \"for\": \"1h30m\"}, \"reuse\": false,"
             "\"licenses\": {\"model\": \"mit\", \"data\": \"cc-by-4.0\"}}");
    cr_expect_eq(d->seed, 7);
    cr_expect_eq(d->seeds, 3);
    cr_expect_str_eq(d->search, "auto", "a range without quantum cannot be listed");
    cr_expect_eq(d->configurations, 9, "the budget of trials bounds it");
    cr_expect_eq(d->n_objectives, 2);
    cr_expect_not(d->objectives[0].is_maximized, "a loss is minimized unless it is said otherwise");
    cr_expect(d->objectives[1].is_maximized);
    cr_expect_str_eq(d->checks[0].name, "0:counterfactual");
    expect_path(d->checks[0].file, "names.json");
    cr_expect(d->checks[0].items);
    cr_expect_eq(d->resources.slots, 2);
    cr_expect_eq(d->resources.threads, 4);
    cr_expect_eq(d->resources.memory_bytes, (uint64_t)2 << 30);
    cr_expect_float_eq(d->resources.time_seconds, 1200, 0);
    cr_expect_eq(d->resources.retries, 0);
    cr_expect_eq(d->budget.trials, 9);
    cr_expect_str_eq(d->budget.until, "07:00");
    cr_expect_float_eq(d->budget.seconds, 5400, 0);
    cr_expect_not(d->reuse);
    cr_expect_str_eq(d->model_license, "mit");
    cr_expect_str_eq(d->data_license, "cc-by-4.0");
    done(d);
}

Test(definition, reads_a_file_beside_its_data)
{
    struct definition d;
    struct err err = {0};
    char hex[HASH_HEX_SIZE];
    const char *text = "{" HEAD "\"parameters\": {}}";
    write_file("small.json", text);
    cr_assert_eq(definition_read(&d, temp_path(&temp, "small.json"), &err), 0, "%s", err.message);
    hash_bytes(text, strlen(text), hex);
    cr_expect_str_eq(d.sha256, hex);
    cr_expect_str_eq(d.text, text);
    expect_path(d.model, "models/tiny");
    definition_done(&d);
    cr_expect_eq(definition_read(&d, temp_path(&temp, "absent.json"), &err), ERR_NOT_FOUND);
    cr_expect(strstr(err.message, "absent.json"), "%s", err.message);
    definition_done(&d);
    temp_write(&temp, "zero.json", "{}\0{}", 5);
    cr_expect_eq(definition_read(&d, temp_path(&temp, "zero.json"), &err), ERR_FORMAT);
    cr_expect(strstr(err.message, "byte 3 is a NUL"), "%s", err.message);
    definition_done(&d);
}

/* Each entry has one mistake (one has four): the message must name its place. */
Test(definition, malformed)
{
    cJSON *list = NULL;
    struct err err = {0};
    cr_assert_eq(json_read_file("tests/fixtures/malformed-definitions.json", &list, &err), 0, "%s", err.message);
    cr_expect_geq(cJSON_GetArraySize(list), 100);
    for (const cJSON *item = list->child; item; item = item->next) {
        const char *why = json_get(item, "why")->valuestring;
        const cJSON *raw = json_get(item, "text");
        struct definition definition;
        struct text text = {0};
        if (!raw)
            json_add(&text, json_get(item, "definition"));
        int rc = parse(&definition, raw ? raw->valuestring : text.data, &err);
        cr_expect(rc == ERR_USAGE || rc == ERR_FORMAT, "%s: %d", why, rc);
        cr_expect(text_starts_with(err.message, "'small.json': "), "%s: %s", why, err.message);
        for (const cJSON *part = json_get(item, "expect")->child; part; part = part->next)
            cr_expect(strstr(err.message, part->valuestring), "%s: '%s' is not in: %s", why, part->valuestring,
                      err.message);
        const char *count = strstr(err.message, " problem");
        bool is_single = !count || strstr(err.message, ": 1 problem\n") || strstr(err.message, ": 4 problems\n");
        cr_expect(is_single, "%s: one mistake gave several messages: %s", why, err.message);
        text_done(&text);
        definition_done(&definition);
    }
    json_free(list);
}

/* ---- extending ------------------------------------------------------------------------------------------------- */

static const char base[] = "{" HEAD "\"settings\": {\"epochs\": 2}, \"parameters\": {"
                           "\"method\": {\"values\": [\"full\", \"lora\"]}, \"rank\": {\"values\": [1, 4]}, "
                           "\"learning_rate\": [{\"values\": [1e-4], \"when\": {\"method\": \"full\"}}, "
                           "{\"values\": [1e-3], \"when\": {\"method\": \"lora\"}}]}}";

static const struct {
    const char *text, *message; /* message NULL: it extends the base */
} extensions[] = {
    {base, NULL},
    /* values, seeds, configurations, budget, resources, checks */
    {"{" HEAD "\"settings\": {\"epochs\": 2}, \"seeds\": 5, \"search\": {\"configurations\": 3}, \"budget\": "
     "{\"trials\": 3}, \"resources\": {\"slots\": 2}, \"checks\": [{\"kind\": \"counterfactual\", \"file\": "
     "\"names.json\"}], \"parameters\": {\"method\": {\"values\": [\"full\", \"lora\"]}, \"rank\": {\"values\": [1, "
     "2, 4]}, \"learning_rate\": [{\"values\": [1e-4], \"when\": {\"method\": \"full\"}}, {\"values\": [1e-3], "
     "\"when\": {\"method\": \"lora\"}}]}}",
     NULL},
    /* defaults in full */
    {"{" HEAD "\"seed\": 0, \"objectives\": [{\"metric\": \"validation/accuracy\", \"goal\": \"maximize\"}], "
     "\"settings\": {\"epochs\": 2, \"weight_decay\": 0.01, \"schedule\": \"linear\"}, \"parameters\": {\"method\": "
     "{\"values\": [\"full\", \"lora\"]}, \"rank\": {\"values\": [1, 4]}, \"learning_rate\": [{\"values\": [1e-4], "
     "\"when\": {\"method\": \"full\"}}, {\"values\": [1e-3], \"when\": {\"method\": \"lora\"}}]}}",
     NULL},
    /* a method with options and a case of its own */
    {"{" HEAD "\"settings\": {\"epochs\": 2}, \"parameters\": {\"method\": {\"values\": "
     "[\"full\", \"lora\", \"adapter\"]}, \"rank\": {\"values\": [1, 4]}, \"adapter_size\": {\"values\": [8]}, "
     "\"learning_rate\": [{\"values\": [1e-4], \"when\": {\"method\": \"full\"}}, {\"values\": [2e-3], \"when\": "
     "{\"method\": \"adapter\"}}, {\"values\": [1e-3], \"when\": {\"method\": \"lora\"}}]}}",
     NULL},
    {"{" HEAD "\"settings\": {\"epochs\": 3}, \"parameters\": {\"method\": {\"values\": [\"full\", \"lora\"]}, "
     "\"rank\": {\"values\": [1, 4]}, \"learning_rate\": [{\"values\": [1e-4], \"when\": {\"method\": \"full\"}}, "
     "{\"values\": [1e-3], \"when\": {\"method\": \"lora\"}}]}}",
     "settings.epochs: was 2, is now 3"},
    {"{" HEAD "\"settings\": {\"epochs\": 2, \"clip\": 0}, \"parameters\": {\"method\": {\"values\": [\"full\", "
     "\"lora\"]}, \"rank\": {\"values\": [4]}, \"learning_rate\": [{\"values\": [1e-4], \"when\": {\"method\": "
     "\"full\"}}, {\"values\": [1e-3], \"when\": {\"method\": \"lora\"}}]}}",
     "settings.clip: was absent, is now 0"},
    {"{" HEAD "\"seed\": 3, \"objectives\": [{\"metric\": \"validation/loss\"}], \"settings\": {\"epochs\": 2}, "
     "\"parameters\": {\"method\": {\"values\": [\"full\", \"lora\"]}, \"alpha\": {\"values\": [8]}, \"rank\": "
     "{\"values\": [1, 4]}, \"learning_rate\": {\"values\": [1e-4]}}}",
     "seed: was absent, is now 3\nobjectives: was absent, is now "},
};

Test(definition, extends)
{
    struct definition *earlier = good(base);
    for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
        struct definition *next = good(extensions[i].text);
        struct err err = {0};
        int rc = definition_check_extends(earlier, next, &err);
        if (!extensions[i].message)
            cr_expect_eq(rc, 0, "%zu: %s", i, err.message);
        else
            cr_expect(rc == ERR_USAGE && strstr(err.message, extensions[i].message), "%zu: %s", i, err.message);
        done(next);
    }
    done(earlier);
}

Test(definition, other_model_or_data_is_another_sweep)
{
    struct definition *earlier = good(base);
    struct err err = {0};
    struct definition *next =
        good("{\"name\": \"small\", \"model\": \"data/../models/tiny\", \"task\": {\"kind\": "
             "\"classification\", \"train\": \"data/test.jsonl\", \"text\": \"text\", \"label\": \"label\"}, "
             "\"settings\": {\"epochs\": "
             "2}, \"parameters\": {\"method\": {\"values\": [\"full\", \"lora\"]}, \"rank\": "
             "{\"values\": [1, 4]}, \"learning_rate\": [{\"values\": [1e-4], \"when\": "
             "{\"method\": \"full\"}}, {\"values\": [1e-3], \"when\": {\"method\": \"lora\"}}]}}");
    cr_expect_eq(definition_check_extends(earlier, next, &err), ERR_USAGE);
    cr_expect(strstr(err.message, "task.train: "), "%s", err.message);
    cr_expect_null(strstr(err.message, "model: "), "the same folder: %s", err.message);
    done(next);
    done(earlier);
}

/* ---- the schemas ----------------------------------------------------------------------------------------------- */

/* A published schema that lacks a setting, or has one too many, would refuse good files. */
static void expect_settings(const char *path)
{
    cJSON *schema = NULL;
    struct err err = {0};
    cr_assert_eq(json_read_file(path, &schema, &err), 0, "%s", err.message);
    const cJSON *settings = json_get(json_get(json_get(schema, "properties"), "settings"), "properties");
    for (size_t i = 0; i < settings_count; i++)
        cr_expect(json_get(settings, settings_table[i].name), "'%s' lacks '%s'", path, settings_table[i].name);
    cr_expect_eq(cJSON_GetArraySize(settings), (int)settings_count, "'%s' has a setting that does not exist", path);
    json_free(schema);
}

Test(definition, schemas_have_every_setting)
{
    expect_settings("schemas/sweep.schema.json");
    expect_settings("schemas/job.schema.json");
}
