/* Stages: what a file of several becomes, what is refused, and which trial a later stage starts from. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "orchestrator/job.h"
#include "orchestrator/origin.h"
#include "orchestrator/stages.h"
#include "tests/support/temp.h"

static struct temp temp;

static void setup(void)
{
    struct err err;
    temp_open(&temp);
    cr_assert_eq(file_make_folders(temp_path(&temp, "models/tiny"), &err), 0);
    temp_write(&temp, "train.jsonl", "", 0);
    temp_write(&temp, "later.jsonl", "", 0);
}

static void teardown(void)
{
    temp_close(&temp);
}

TestSuite(stages, .init = setup, .fini = teardown);

#define COMMON                                                                                                         \
    "\"name\": \"low\", \"seed\": 3, \"model\": \"models/tiny\", \"seeds\": 2, "                                       \
    "\"task\": {\"train\": \"train.jsonl\", \"text\": \"text\", \"label\": \"label\"}, "                               \
    "\"settings\": {\"epochs\": 2, \"rank\": 4}, \"parameters\": {\"method\": {\"values\": [\"lora\"]}}, "

static int parse(struct stages *stages, const char *text, const char *new_name, struct err *err)
{
    return stages_parse(stages, text, temp.folder, "low.json", new_name, err);
}

static const char *file =
    "{" COMMON "\"stages\": [{\"name\": \"align\"},"
    "{\"name\": \"tune\", \"model\": {\"from\": \"align\", \"trial\": \"seed\"}, \"seeds\": 1,"
    " \"task\": {\"train\": \"later.jsonl\"}, \"settings\": {\"method\": \"lora\", \"rank\": null, \"alpha\": 8},"
    " \"parameters\": {\"method\": null, \"rank\": {\"values\": [1, 2]}}},"
    "{\"name\": \"last\", \"model\": {\"from\": \"tune\"},"
    " \"settings\": {\"init_adapter\": {\"from\": \"align\"}}}]}";

Test(stages, merged_over_the_common_part)
{
    struct stages stages;
    struct err err = {0};
    cr_assert_eq(parse(&stages, file, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(stages.n, 3);
    cr_expect(stages.is_staged);
    cr_expect_str_eq(stages.name, "low");
    struct definition *align = &stages.items[0], *tune = &stages.items[1], *last = &stages.items[2];
    cr_expect_str_eq(align->name, "low.align");
    cr_expect_eq(align->seeds, 2);
    cr_expect_null(align->from[ORIGIN_MODEL].sweep);
    cr_expect_null(json_get(align->root, "stages"));
    cr_expect_str_eq(tune->name, "low.tune");
    cr_expect_eq(tune->seeds, 1);
    cr_expect_eq(tune->seed, 3);
    cr_expect_null(tune->model);
    cr_expect_str_eq(tune->from[ORIGIN_MODEL].sweep, "low.align");
    cr_expect(tune->from[ORIGIN_MODEL].by_seed);
    cr_expect_str_eq(tune->stand_in, align->model);
    cr_expect_null(json_get(tune->settings, "rank"), "null takes away");
    cr_expect_eq(json_get(tune->settings, "alpha")->valuedouble, 8);
    cr_expect_eq(json_get(tune->settings, "epochs")->valuedouble, 2);
    cr_expect(text_ends_with(json_get(tune->task, "train")->valuestring, "later.jsonl"));
    cr_expect_str_eq(json_get(tune->task, "text")->valuestring, "text");
    cr_expect_null(json_get(json_get(tune->root, "parameters"), "method"));
    cr_expect_str_eq(last->from[ORIGIN_MODEL].sweep, "low.tune");
    cr_expect_not(last->from[ORIGIN_MODEL].by_seed);
    cr_expect_str_eq(last->from[ORIGIN_ADAPTER].sweep, "low.align");
    cr_expect_str_eq(last->stand_in, align->model, "two stages back");
    stages_done(&stages);
}

Test(stages, a_new_name_goes_through)
{
    struct stages stages;
    struct err err = {0};
    cr_assert_eq(parse(&stages, file, "other", &err), 0, "%s", err.message);
    cr_expect_str_eq(stages.items[1].name, "other.tune");
    cr_expect_str_eq(stages.items[1].from[ORIGIN_MODEL].sweep, "other.align");
    stages_done(&stages);
    cr_assert_eq(parse(&stages, "{" COMMON "\"reuse\": true}", "plain", &err), 0, "%s", err.message);
    cr_expect_eq(stages.n, 1);
    cr_expect_not(stages.is_staged);
    cr_expect_str_eq(stages.name, "plain");
    struct definition taken = stages_take(&stages, 0);
    cr_expect_str_eq(taken.name, "plain");
    definition_done(&taken);
    stages_done(&stages);
}

Test(stages, what_is_refused)
{
    static const struct {
        const char *list, *message;
    } cases[] = {
        {"[]", "stages: a list of 1 to 32 stages was expected"},
        {"{}", "stages: a list of 1 to 32 stages was expected"},
        {"[1]", "stages[0]: a number was found, an object was expected"},
        {"[{}]", "stages[0]: 'name' is missing"},
        {"[{\"name\": \"A\"}]", "stages[0]: name: 'A'"},
        {"[{\"name\": \"a\"}, {\"name\": \"a\"}]", "stages[1].name: 'a' is an earlier stage's name too"},
        {"[{\"name\": \"a\", \"stages\": []}]", "stages[0].stages: a stage has none of its own"},
        {"[{\"name\": \"a\", \"model\": {\"from\": \"b\"}}, {\"name\": \"b\"}]",
         "stages[0].model.from: 'b' is a later stage; an earlier stage was expected"},
        {"[{\"name\": \"a\", \"settings\": {\"init_adapter\": {\"from\": \"a\"}}}]",
         "stages[0].settings.init_adapter.from: 'a' is this stage itself"},
        {"[{\"name\": \"a\", \"model\": {\"from\": \"x\", \"trial\": \"worst\"}}]",
         "model.trial: 'worst', best or seed was expected"},
        {"[{\"name\": \"a\", \"model\": {\"from\": \"x\", \"tral\": \"seed\"}}]", "model.tral: is not known"},
        {"[{\"name\": \"a\", \"model\": {\"from\": 3}}]", "model: 'from' is a number"},
        {"[{\"name\": \"a\", \"model\": {\"from\": \"low.a\"}}]", "model.from: 'low.a' is this sweep itself"},
        {"[{\"name\": \"a\", \"model\": {\"from\": \"x\", \"trial\": \"seed\"}, \"parameters\": {\"seed\": "
         "{\"values\": [1, 2]}}}]",
         "model.trial: seed: 'seed' is a parameter"},
        {"[{\"name\": \"a\", \"settings\": {\"rankk\": 3}}]", "settings.rankk: is not known; nearest is 'rank'"},
        {"[{\"name\": \"a\", \"settings\": {\"rankk\": 3}}]", "low.json, stage a"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct stages stages;
        struct err err = {0};
        struct text text = {0};
        text_printf(&text, "{" COMMON "\"stages\": %s}", cases[i].list);
        cr_expect_eq(parse(&stages, text.data, NULL, &err), ERR_USAGE, "%s is taken", cases[i].list);
        cr_expect(strstr(err.message, cases[i].message), "%s: %s", cases[i].list, err.message);
        stages_done(&stages);
        text_done(&text);
    }
}

/* Identities ------------------------------------------------------------------------------------------------------- */

static void identity(const struct definition *d, const struct input_hashes *hashes, uint64_t seed,
                     char out[HASH_HEX_SIZE])
{
    struct err err = {0};
    cr_assert_eq(job_identity(d, hashes, d->settings, seed, out, &err), 0, "%s", err.message);
}

/* A trial that starts from a merged model is the trial that names that folder; each seed has its own. */
Test(stages, identity_holds_the_origin)
{
    struct stages stages;
    struct err err = {0};
    struct input_hashes hashes = {.model = "base", .tokenizer = "t", .train = "d"};
    char named[HASH_HEX_SIZE], started[HASH_HEX_SIZE], other[HASH_HEX_SIZE];
    struct origin origins[] = {
        {.role = ORIGIN_MODEL, .has_seed = true, .seed = 1, .path = "/one", .sweep = "low.align", .sha256 = "merged"},
        {.role = ORIGIN_MODEL, .has_seed = true, .seed = 2, .path = "/two", .sweep = "low.align", .sha256 = "another"}};
    cr_assert_eq(parse(&stages, file, NULL, &err), 0, "%s", err.message);
    struct definition *d = &stages.items[0];
    d->origins = origins;
    d->n_origins = 2;
    identity(d, &hashes, 1, started);
    identity(d, &hashes, 2, other);
    cr_expect_str_neq(started, other);
    d->n_origins = 0;
    memcpy(hashes.model, "merged", sizeof("merged"));
    identity(d, &hashes, 1, named);
    cr_expect_str_eq(started, named);
    struct origin adapter = {.role = ORIGIN_ADAPTER, .path = "/a", .sweep = "low.align", .sha256 = "adapter"};
    d->origins = &adapter;
    d->n_origins = 1;
    identity(d, &hashes, 1, other);
    cr_expect_str_neq(named, other);
    d->n_origins = 0;
    stages_done(&stages);
}

Test(stages, job_names_the_origin_of_its_seed)
{
    struct stages stages;
    struct err err = {0};
    struct input_hashes hashes = {.model = "base"};
    struct text line = {0};
    struct origin origins[] = {{.role = ORIGIN_MODEL, .has_seed = true, .seed = 1, .path = "/one", .sha256 = "merged"},
                               {.role = ORIGIN_MODEL, .has_seed = true, .seed = 2, .path = "/two", .sha256 = "another"},
                               {.role = ORIGIN_ADAPTER, .path = "/adapter", .sha256 = "trained"}};
    cr_assert_eq(parse(&stages, file, NULL, &err), 0, "%s", err.message);
    struct definition *d = &stages.items[2];
    d->origins = origins;
    d->n_origins = 3;
    const struct job job = {.identity = "i", .output = "/o", .settings = d->settings, .seed = 2};
    job_write(&line, d, &hashes, &job);
    cr_expect(strstr(line.data, "\"model\":{\"path\":\"/two\"}"), "%s", line.data);
    cr_expect(strstr(line.data, "\"hashes\":{\"model\":\"another\""), "%s", line.data);
    cr_expect(strstr(line.data, "\"init_adapter\":\"/adapter\""), "%s", line.data);
    cr_expect(strstr(line.data, "\"init_adapter\":\"trained\""), "%s", line.data);
    d->n_origins = 0;
    d->model = d->stand_in;
    text_reset(&line);
    job_write(&line, d, &hashes, &job); /* a preview */
    cr_expect_null(strstr(line.data, "init_adapter"), "%s", line.data);
    text_done(&line);
    stages_done(&stages);
}

/* Choosing --------------------------------------------------------------------------------------------------------- */

static struct store_trial trial(int configuration, int64_t seed, double value)
{
    return (struct store_trial){
        .configuration = configuration, .seed = seed, .state = TRIAL_COMPLETE, .value = known_real(value)};
}

Test(stages, best_configuration_by_its_mean)
{
    struct store_configuration configurations[] = {{.is_baseline = true}, {.number = 2}, {.number = 3}};
    struct store_trial trials[] = {trial(0, 1, 9),   trial(1, 1, 0.9), trial(1, 2, 0.1),
                                   trial(2, 1, 0.6), trial(2, 2, 0.7), trial(2, 3, 99)};
    struct store_loaded loaded = {.sweep.name = "low.align",
                                  .configurations = configurations,
                                  .trials = trials,
                                  .n_configurations = 3,
                                  .n_trials = 6};
    const uint64_t seeds[] = {2, 1}, more[] = {1, 2, 4};
    int chosen[3] = {-1, -1, -1};
    struct err err = {0};
    trials[5].state = TRIAL_FAILED;
    cr_assert_eq(origin_choose(&loaded, true, NULL, 0, chosen, &err), 0, "%s", err.message);
    cr_expect_eq(chosen[0], 4, "0.65 is above 0.5, its best trial has 0.7");
    cr_assert_eq(origin_choose(&loaded, true, seeds, 2, chosen, &err), 0);
    cr_expect_eq(chosen[0], 4);
    cr_expect_eq(chosen[1], 3);
    cr_assert_eq(origin_choose(&loaded, false, NULL, 0, chosen, &err), 0);
    cr_expect_eq(chosen[0], 2, "less is better: 0.5, its best trial has 0.1");
    cr_assert_eq(origin_choose(&loaded, true, more, 3, chosen, &err), ERR_DATA);
    cr_expect(strstr(err.message, "'low.align' has a finished trial of each of the 3 seeds; seed 4 is missing"), "%s",
              err.message);
    /* The better mean does not count without all seeds. */
    trials[3].state = TRIAL_FAILED;
    cr_assert_eq(origin_choose(&loaded, true, seeds, 2, chosen, &err), 0);
    cr_expect_eq(chosen[0], 2);
    cr_expect_eq(chosen[1], 1);
    loaded.n_trials = 1;
    cr_assert_eq(origin_choose(&loaded, true, NULL, 0, chosen, &err), ERR_DATA);
    cr_expect(strstr(err.message, "'low.align' has no finished trial to start from"), "%s", err.message);
}
