/* Tests of orchestrator/probe: what shares a timing, which are timed, records that say what a trial costs, and the
 * estimate, on a definition whose trials are counted by hand. */
#include "orchestrator/probe.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "tests/support/temp.h"

struct fixture {
    struct definition definition;
    struct input_hashes hashes;
    struct plan plan;
    struct probes probes;
    bool is_open[4096];
};

static struct temp temp;

static void setup(void)
{
    struct err err = {0};
    temp_open(&temp);
    cr_assert_eq(file_make_folders(temp_path(&temp, "m"), &err), 0, "%s", err.message);
    temp_write(&temp, "t.jsonl", "", 0);
}

static void teardown(void)
{
    temp_close(&temp);
}

TestSuite(probe, .init = setup, .fini = teardown);

/* The definition's parameters, with 2 seeds. */
static void open_fixture(struct fixture *f, const char *parameters)
{
    struct text text = {0};
    struct err err = {0};
    memset(f, 0, sizeof(*f));
    memset(f->is_open, 1, sizeof(f->is_open));
    text_printf(&text,
                "{\"name\":\"t\",\"model\":\"m\",\"task\":{\"kind\":\"classification\",\"train\":\"t.jsonl\","
                "\"text\":\"text\",\"label\":\"label\"},\"seeds\":2,\"parameters\":%s}",
                parameters);
    cr_assert_eq(definition_parse(&f->definition, text.data, temp.folder, "t.json", &err), 0, "%s", err.message);
    cr_assert_eq(plan_make(&f->plan, &f->definition, &f->hashes, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(probes_make(&f->probes, &f->plan, f->is_open, &err), 0, "%s", err.message);
    text_done(&text);
}

static void close_fixture(struct fixture *f)
{
    probes_done(&f->probes);
    plan_done(&f->plan);
    definition_done(&f->definition);
}

Test(probe, settings_that_cost_nothing_share_a_timing)
{
    struct fixture f;
    open_fixture(&f, "{\"method\":{\"values\":[\"lora\",\"full\"]},"
                     "\"rank\":{\"values\":[1,4],\"when\":{\"method\":\"lora\"}},"
                     "\"alpha\":{\"expression\":\"2 * rank\",\"when\":{\"method\":\"lora\"}},"
                     "\"learning_rate\":{\"values\":[0.1,0.01,0.001]},\"weight_decay\":{\"values\":[0,0.1]}}");
    cr_assert_eq(f.probes.n, 3, "%d", f.probes.n);
    cr_assert_eq(f.probes.n_timed, 3);
    cr_assert_str_eq(f.probes.items[0].method, "lora");
    cr_assert_str_eq(f.probes.items[0].parameters, "rank 1");
    cr_assert_str_eq(f.probes.items[1].parameters, "rank 4");
    cr_assert_str_eq(f.probes.items[2].parameters, "");
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(f.probes.items[i].n_configurations, 6);
        cr_assert_eq(f.probes.items[i].n_trials, 12);
        cr_assert_eq(f.probes.items[i].n_open, 12);
    }
    close_fixture(&f);
}

Test(probe, at_most_so_many_are_timed_and_each_method_is)
{
    struct fixture f;
    open_fixture(&f, "{\"method\":{\"values\":[\"lora\",\"adapter\",\"full\"]},"
                     "\"rank\":{\"min\":1,\"max\":60,\"type\":\"int\",\"when\":{\"method\":\"lora\"}},"
                     "\"adapter_size\":{\"min\":1,\"max\":9,\"type\":\"int\",\"when\":{\"method\":\"adapter\"}}}");
    cr_assert_eq(f.probes.n, 70, "%d", f.probes.n);
    cr_assert_eq(f.probes.n_timed, PROBE_MAX_TIMED);
    cr_assert(f.probes.items[0].is_timed && f.probes.items[60].is_timed && f.probes.items[69].is_timed);
    int n = 0;
    for (int i = 0; i < f.probes.n; i++) {
        const struct probe *source = probe_source(&f.probes, &f.probes.items[i]);
        cr_assert_not_null(source);
        cr_assert(source->is_timed);
        cr_assert_str_eq(source->method, f.probes.items[i].method);
        n += f.probes.items[i].is_timed;
    }
    cr_assert_eq(n, PROBE_MAX_TIMED);
    close_fixture(&f);
}

static void take(struct probe *probe, double now, const char *line)
{
    struct err err = {0};
    cr_assert_eq(probe_take_record(probe, line, strlen(line), now, &err), 0, "%s: %s", line, err.message);
}

static const char started[] =
    "{\"v\":1,\"type\":\"started\",\"attempt\":1,\"seq\":1,\"trained_parameters\":1000,\"total_parameters\":4000,"
    "\"estimated_bytes\":5000,\"recomputes\":true,\"total_steps\":105,\"steps_per_epoch\":10,\"labels\":[],"
    "\"examples\":{\"train\":320,\"validation\":64,\"test\":32}}";

/* 4 steps in 8 seconds; 105 steps of 32 examples, 10 validations on the way, one at the last step, one of the best
 * weights, and test: 105 · 2 + (12 · 64 + 32) / 32 / 2.25 · 2 seconds, behind 3 seconds of start. */
Test(probe, seconds_from_records)
{
    struct fixture f;
    open_fixture(&f, "{\"method\":{\"values\":[\"full\"]}}");
    struct probe *probe = &f.probes.items[0];
    probe->spawned = 100;
    cr_assert(isnan(probe_seconds_per_step(probe)));
    cr_assert_eq(probes_estimate(&f.probes, &f.definition, 2).n_unknown, 2);
    take(probe, 103, started);
    cr_assert_eq(probe->trained_parameters, 1000);
    cr_assert(probe->recomputes);
    cr_assert(isnan(probe_seconds_per_trial(probe, &f.definition)));
    take(probe, 104, "{\"v\":1,\"type\":\"points\",\"attempt\":1,\"points\":[]}");
    take(probe, 109, "{\"v\":1,\"type\":\"progress\",\"step\":3,\"total_steps\":105,\"tokens_per_second\":70}");
    take(probe, 111, "{\"v\":1,\"type\":\"progress\",\"step\":4,\"total_steps\":105,\"tokens_per_second\":64.5}");
    take(probe, 119, "{\"v\":1,\"type\":\"stopped\",\"step\":4}");
    cr_assert_eq(probe->tokens_per_second, 64.5);
    cr_assert_eq(probe_seconds_per_step(probe), 2, "%g: what comes behind the last step is not counted",
                 probe_seconds_per_step(probe));
    double expected = 3 + 210 + 800.0 / 32 / 2.25 * 2;
    cr_assert_float_eq(probe_seconds_per_trial(probe, &f.definition), expected, 1e-9);
    struct probe_estimate estimate = probes_estimate(&f.probes, &f.definition, 2);
    cr_assert_eq(estimate.n_unknown, 0);
    cr_assert_float_eq(estimate.seconds, expected, 1e-9, "2 trials in 2 slots");
    cr_assert_eq(estimate.memory_bytes, 5000);
    cr_assert_eq(estimate.adapter_bytes, 2 * 4000);
    cr_assert_eq(estimate.checkpoint_bytes, 2 * 8 * 4000);
    close_fixture(&f);
}

/* With an epoch a step each timed step was followed by a validation, which must not count twice: 4 steps and 4 times 64
 * examples forward, of 8 each a step, in 4 · (1 + 64 / 8 / 2.25) seconds are a second a step. */
Test(probe, validations_among_the_timed_steps)
{
    struct fixture f;
    open_fixture(&f, "{\"method\":{\"values\":[\"full\"]}}");
    struct probe *probe = &f.probes.items[0];
    probe->spawned = 0;
    take(probe, 0,
         "{\"v\":1,\"type\":\"started\",\"trained_parameters\":1000,\"total_parameters\":4000,\"total_steps\":50,"
         "\"steps_per_epoch\":1,\"examples\":{\"train\":8,\"validation\":64,\"test\":0}}");
    take(probe, 4 * (1 + 64 / 8 / 2.25), "{\"v\":1,\"type\":\"stopped\",\"step\":4}");
    cr_assert_float_eq(probe_seconds_per_step(probe), 1, 1e-9);
    cr_assert_float_eq(probe_seconds_per_trial(probe, &f.definition), 50 + 51 * 64 / 8 / 2.25, 1e-9);
    close_fixture(&f);
}

Test(probe, whole_trials_and_refusals)
{
    struct fixture f;
    open_fixture(&f, "{\"method\":{\"values\":[\"full\",\"bitfit\"]}}");
    f.probes.items[0].spawned = 10;
    take(&f.probes.items[0], 11, started);
    take(&f.probes.items[0], 14, "{\"v\":1,\"type\":\"finished\",\"step\":2,\"tokens_per_second\":9}");
    cr_assert_eq(probe_seconds_per_trial(&f.probes.items[0], &f.definition), 4, "measured, not estimated");
    take(&f.probes.items[1], 12,
         "{\"v\":1,\"type\":\"failed\",\"reason\":\"infeasible\",\"message\":\"no biases\",\"step\":0}");
    cr_assert_str_eq(f.probes.items[1].reason, "infeasible");
    cr_assert_str_eq(f.probes.items[1].message, "no biases");
    struct probe_estimate estimate = probes_estimate(&f.probes, &f.definition, 1);
    cr_assert_eq(estimate.seconds, 8, "a refused trial takes no time");
    cr_assert_eq(estimate.n_unknown, 0);
    close_fixture(&f);
}

Test(probe, records_that_cannot_be_read)
{
    static const struct {
        const char *line, *part;
    } cases[] = {
        {"no json", "line 1"},
        {"{\"v\":1}", "'type' is missing"},
        {"{\"type\":\"started\"}", "'trained_parameters' is missing"},
        {"{\"type\":\"started\",\"trained_parameters\":1,\"total_parameters\":1,\"total_steps\":1,"
         "\"steps_per_epoch\":1,\"examples\":7}",
         "examples"},
        {"{\"type\":\"stopped\"}", "'step' is missing"},
        {"{\"type\":\"failed\"}", "'reason' is missing"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct probe probe = {.trained_parameters = -1};
        struct err err = {0};
        cr_assert_eq(probe_take_record(&probe, cases[i].line, strlen(cases[i].line), 0, &err), ERR_FORMAT, "%s",
                     cases[i].line);
        cr_assert_not_null(strstr(err.message, cases[i].part), "%s", err.message);
        cr_assert_eq(probe.trained_parameters, -1, "untouched");
    }
}
