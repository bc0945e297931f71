/* The plan: numbering, equal configurations, budgets, and what an extended definition keeps, adds and drops. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "orchestrator/plan.h"
#include "tests/support/temp.h"

static struct temp temp;

static void setup(void)
{
    static const char *const files[] = {"model/config.json", "model/tokenizer.json", "model/model.safetensors",
                                        "train.jsonl", "names.json"};
    struct err err;
    temp_open(&temp);
    cr_assert_eq(file_make_folders(temp_path(&temp, "model"), &err), 0);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        temp_write(&temp, files[i], files[i], strlen(files[i]));
}

static void teardown(void)
{
    temp_close(&temp);
}

TestSuite(plan, .init = setup, .fini = teardown);

struct fixture {
    struct definition definition;
    struct input_hashes hashes;
    struct plan plan;
};

/* `parts`: members of the definition beside name, model and task. */
static void fixture_open(struct fixture *f, const char *parts, const struct store_loaded *stored)
{
    struct err err = {0};
    char text[2048], folder[TEMP_PATH_SIZE + 256];
    snprintf(folder, sizeof(folder), "%s", temp_path(&temp, "."));
    snprintf(text, sizeof(text),
             "{\"name\": \"p\", \"model\": \"model\", \"task\": {\"kind\": \"classification\", \"train\": "
             "\"train.jsonl\", \"text\": \"text\", \"label\": \"label\"}, %s}",
             parts);
    memset(f, 0, sizeof(*f));
    cr_assert_eq(definition_parse(&f->definition, text, folder, "p.json", &err), 0, "%s", err.message);
    cr_assert_eq(job_hash_inputs(&f->hashes, &f->definition, temp_path(&temp, "hashes"), &err), 0, "%s", err.message);
    cr_assert_eq(plan_make(&f->plan, &f->definition, &f->hashes, stored, &err), 0, "%s", err.message);
}

static void fixture_close(struct fixture *f)
{
    plan_done(&f->plan);
    definition_done(&f->definition);
}

/* What the store would have after the plan was written. */
static void store_plan(const struct plan *plan, struct store_loaded *loaded)
{
    *loaded = (struct store_loaded){.n_configurations = plan->n_configurations, .n_trials = plan->n_trials};
    loaded->configurations = calloc((size_t)plan->n_configurations, sizeof(*loaded->configurations));
    loaded->trials = calloc((size_t)plan->n_trials, sizeof(*loaded->trials));
    for (int i = 0; i < plan->n_configurations; i++)
        loaded->configurations[i] = (struct store_configuration){.id = 100 + i,
                                                                 .number = plan->configurations[i].number,
                                                                 .is_baseline = plan->configurations[i].is_baseline};
    for (int i = 0; i < plan->n_trials; i++)
        loaded->trials[i] = (struct store_trial){.id = 500 + i,
                                                 .number = plan->trials[i].number,
                                                 .configuration = plan->trials[i].configuration,
                                                 .configuration_id = 100 + plan->trials[i].configuration,
                                                 .seed = (int64_t)plan->trials[i].seed,
                                                 .identity = strdup(plan->trials[i].identity)};
}

static void free_stored(struct store_loaded *loaded)
{
    for (int i = 0; i < loaded->n_trials; i++)
        free((char *)loaded->trials[i].identity);
    free(loaded->trials);
    free(loaded->configurations);
}

#define RANKS(values) "\"parameters\": {\"rank\": {\"values\": [" values "]}}, \"settings\": {\"method\": \"lora\"}"
#define CHECKS        "\"checks\": [{\"kind\": \"counterfactual\", \"file\": \"names.json\"}], "

Test(plan, configurations_times_seeds_with_the_baseline_first)
{
    struct fixture f;
    fixture_open(&f, CHECKS "\"seeds\": 2, " RANKS("1, 4, 16"), NULL);
    cr_expect_eq(f.plan.n_configurations, 4);
    cr_expect_eq(f.plan.n_trials, 8);
    cr_expect(f.plan.configurations[0].is_baseline);
    const cJSON *method = json_get(f.plan.configurations[0].settings, "method");
    cr_expect_str_eq(method->valuestring, "linear_probe");
    for (int i = 0; i < f.plan.n_trials; i++) {
        cr_expect_eq(f.plan.trials[i].number, i + 1);
        cr_expect_eq(f.plan.trials[i].configuration, i / 2);
        cr_expect_eq(f.plan.trials[i].stored, -1);
        cr_expect_eq(f.plan.trials[i].seed, f.plan.trials[i % 2].seed, "repeats share their seeds");
    }
    cr_expect_neq(f.plan.trials[0].seed, f.plan.trials[1].seed);
    fixture_close(&f);
}

Test(plan, no_baseline_without_checks)
{
    struct fixture f;
    fixture_open(&f, RANKS("1, 4"), NULL);
    cr_expect_eq(f.plan.n_configurations, 2);
    cr_expect_not(f.plan.configurations[0].is_baseline);
    fixture_close(&f);
}

Test(plan, equal_proposals_are_one_configuration)
{
    struct fixture f;
    fixture_open(&f,
                 "\"search\": {\"algorithm\": \"random\", \"configurations\": 40}, \"parameters\": {\"batch_size\": "
                 "{\"values\": [8, 16, 32]}}",
                 NULL);
    cr_expect_eq(f.plan.n_configurations, 3);
    cr_expect_eq(f.plan.n_proposals, 40);
    cr_expect_eq(f.plan.n_equal, 37);
    fixture_close(&f);
}

Test(plan, budget_of_trials_is_exact)
{
    struct fixture f;
    fixture_open(&f, "\"seeds\": 2, \"budget\": {\"trials\": 5}, " RANKS("1, 2, 4, 8"), NULL);
    cr_expect_eq(f.plan.n_trials, 5);
    cr_expect_eq(f.plan.n_configurations, 3);
    cr_expect_eq(f.plan.configurations[2].n_trials, 1);
    fixture_close(&f);
}

Test(plan, the_same_definition_finds_everything_again)
{
    struct fixture a, b;
    struct store_loaded stored;
    fixture_open(&a, CHECKS "\"seeds\": 2, " RANKS("1, 4"), NULL);
    store_plan(&a.plan, &stored);
    fixture_open(&b, CHECKS "\"seeds\": 2, " RANKS("1, 4"), &stored);
    cr_assert_eq(b.plan.n_trials, a.plan.n_trials);
    for (int i = 0; i < b.plan.n_trials; i++) {
        cr_expect_eq(b.plan.trials[i].stored, i);
        cr_expect_eq(b.plan.trials[i].number, i + 1);
    }
    for (int i = 0; i < b.plan.n_configurations; i++)
        cr_expect_eq(b.plan.configurations[i].stored_id, 100 + i);
    cr_expect_eq(b.plan.n_dropped, 0);
    fixture_close(&b);
    fixture_close(&a);
    free_stored(&stored);
}

Test(plan, an_extension_keeps_adds_and_drops)
{
    struct fixture a, b;
    struct store_loaded stored;
    fixture_open(&a, "\"seeds\": 2, " RANKS("1, 4"), NULL);
    store_plan(&a.plan, &stored);
    /* Rank 1 goes, rank 2 comes, rank 4 stays and gets a third seed. */
    fixture_open(&b, "\"seeds\": 3, " RANKS("2, 4"), &stored);
    cr_assert_eq(b.plan.n_trials, 6);
    const struct planned_configuration *rank2 = &b.plan.configurations[0], *rank4 = &b.plan.configurations[1];
    cr_expect_eq(rank2->stored_id, 0);
    cr_expect_eq(rank2->number, 3, "numbers go on behind those that were given");
    cr_expect_eq(rank4->stored_id, 101);
    cr_expect_eq(rank4->number, 2);
    cr_expect_eq(b.plan.trials[rank4->first_trial].stored, 2);
    cr_expect_eq(b.plan.trials[rank4->first_trial].number, 3);
    cr_expect_eq(b.plan.trials[rank4->first_trial + 2].stored, -1);
    cr_expect_eq(b.plan.trials[rank4->first_trial + 2].number, 8);
    cr_assert_eq(b.plan.n_dropped, 2);
    cr_expect_eq(b.plan.dropped[0], 0);
    cr_expect_eq(b.plan.dropped[1], 1);
    fixture_close(&b);
    fixture_close(&a);
    free_stored(&stored);
}

/* What is proposed as results come in cannot be listed, but how much it is at most can be told. */
Test(plan, what_an_adaptive_sweep_may_train_is_previewed)
{
    struct fixture f;
    struct err err;
    fixture_open(&f,
                 CHECKS "\"seeds\": 2, \"search\": {\"algorithm\": \"gp\", \"configurations\": 5}, \"parameters\": "
                        "{\"learning_rate\": {\"min\": 1e-4, \"max\": 1e-2, \"scale\": \"log\"}}",
                 NULL);
    cr_expect_eq(f.plan.n_trials, 2, "the baseline alone");
    cr_assert_eq(plan_add_expected(&f.plan, &err), 0);
    cr_expect_eq(f.plan.n_configurations, 6);
    cr_expect_eq(f.plan.n_trials, 12);
    fixture_close(&f);
    fixture_open(&f, "\"search\": {\"algorithm\": \"tpe\", \"configurations\": 9}, " RANKS("1, 2, 4"), NULL);
    cr_assert_eq(plan_add_expected(&f.plan, &err), 0);
    cr_expect_eq(f.plan.n_configurations, 3, "no more than the space has");
    fixture_close(&f);
    fixture_open(
        &f, "\"seeds\": 2, \"budget\": {\"trials\": 3}, \"search\": {\"algorithm\": \"tpe\"}, " RANKS("1, 2, 4"), NULL);
    cr_assert_eq(plan_add_expected(&f.plan, &err), 0);
    cr_expect_eq(f.plan.n_trials, 3, "no more than the budget has");
    fixture_close(&f);
}

Test(plan, the_preview_of_an_adaptive_sweep_begins_with_what_is_stored)
{
    static const char parts[] = "\"search\": {\"algorithm\": \"tpe\", \"configurations\": 3}, " RANKS("1, 2, 4, 8");
    struct fixture a, b;
    struct store_loaded stored;
    struct err err;
    cJSON *rank = cJSON_Parse("{\"rank\": 8}");
    int added;
    fixture_open(&a, parts, NULL);
    cr_assert_eq(plan_add(&a.plan, rank, false, &added, &err), 0);
    store_plan(&a.plan, &stored);
    stored.configurations[0].parameters = "{\"rank\": 8}";
    fixture_open(&b, parts, &stored);
    cr_assert_eq(plan_add_expected(&b.plan, &err), 0);
    cr_assert_eq(b.plan.n_configurations, 3);
    cr_expect_eq(b.plan.trials[0].stored, 0);
    cr_expect_eq(b.plan.trials[1].stored, -1);
    cr_expect_eq(b.plan.n_dropped, 0);
    fixture_close(&b);
    fixture_close(&a);
    free_stored(&stored);
}

Test(plan, a_linear_probe_that_is_searched_for_is_not_the_baseline)
{
    struct fixture f;
    fixture_open(&f, CHECKS "\"parameters\": {\"method\": {\"values\": [\"linear_probe\", \"bitfit\"]}}", NULL);
    cr_assert_eq(f.plan.n_configurations, 3);
    cr_expect(f.plan.configurations[0].is_baseline);
    cr_expect_not(f.plan.configurations[1].is_baseline);
    cr_expect_str_eq(f.plan.trials[0].identity, f.plan.trials[1].identity,
                     "equal in what decides the result, so that one is reused by the other");
    fixture_close(&f);
}

Test(plan, a_proposal_that_is_refused_is_named)
{
    struct fixture f;
    struct err err = {0};
    char folder[TEMP_PATH_SIZE + 256];
    static const char text[] =
        "{\"name\": \"p\", \"model\": \"model\", \"task\": {\"kind\": \"classification\", \"train\": \"train.jsonl\", "
        "\"text\": \"text\", \"label\": \"label\"}, \"settings\": {\"method\": \"lora\"}, \"parameters\": {\"rank\": "
        "{\"values\": [1, 2]}, \"alpha\": {\"expression\": \"rank - 2\"}}}";
    snprintf(folder, sizeof(folder), "%s", temp_path(&temp, "."));
    memset(&f, 0, sizeof(f));
    cr_assert_eq(definition_parse(&f.definition, text, folder, "p.json", &err), 0, "%s", err.message);
    cr_assert_eq(job_hash_inputs(&f.hashes, &f.definition, temp_path(&temp, "hashes"), &err), 0, "%s", err.message);
    cr_expect_eq(plan_make(&f.plan, &f.definition, &f.hashes, NULL, &err), ERR_USAGE);
    cr_expect(strstr(err.message, "proposal 1") && strstr(err.message, "alpha"), "%s", err.message);
    fixture_close(&f);
}

/* Known before anything is listed, so that the answer does not take minutes. */
Test(plan, a_list_that_is_too_long_is_not_begun)
{
    static const char *const cases[] = {
        "\"parameters\": {\"learning_rate\": {\"min\": 0.001, \"max\": 1, \"quantum\": 0.001}, "
        "\"weight_decay\": {\"min\": 0.001, \"max\": 1, \"quantum\": 0.001}}",
        "\"seeds\": 10, \"search\": {\"algorithm\": \"random\", \"configurations\": 100000}, "
        "\"parameters\": {\"learning_rate\": {\"min\": 0.001, \"max\": 1}}"};
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        struct err err = {0};
        char folder[TEMP_PATH_SIZE + 256], text[1024];
        snprintf(text, sizeof(text),
                 "{\"name\": \"p\", \"model\": \"model\", \"task\": {\"kind\": \"classification\", \"train\": "
                 "\"train.jsonl\", \"text\": \"text\", \"label\": \"label\"}, %s}",
                 cases[i]);
        snprintf(folder, sizeof(folder), "%s", temp_path(&temp, "."));
        memset(&f, 0, sizeof(f));
        cr_assert_eq(definition_parse(&f.definition, text, folder, "p.json", &err), 0, "%s", err.message);
        cr_assert_eq(job_hash_inputs(&f.hashes, &f.definition, temp_path(&temp, "hashes"), &err), 0, "%s", err.message);
        cr_expect_eq(plan_make(&f.plan, &f.definition, &f.hashes, NULL, &err), ERR_USAGE);
        cr_expect(strstr(err.message, "asks for 1000000 trials"), "%s", err.message);
        cr_expect_eq(f.plan.n_configurations, 0);
        fixture_close(&f);
    }
}
