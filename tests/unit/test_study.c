/* Studies: budgets are exact, proposals lie in the space, equal histories give equal answers, and a study restored at
 * any point goes on as the undisturbed one; stopping rules by hand-computed cases. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/search.h"
#include "orchestrator/stop.h"
#include "orchestrator/study.h"

#define SPACE                                                                                                          \
    "\"parameters\": {\"method\": {\"values\": [\"lora\", \"full\", \"prompt\"]}, "                                    \
    "\"rank\": {\"values\": [1, 2, 4, 8], \"when\": {\"method\": \"lora\"}}, "                                         \
    "\"length\": {\"min\": 1, \"max\": 200, \"scale\": \"log\", \"type\": \"int\", \"when\": {\"method\": "            \
    "\"prompt\"}}, "                                                                                                   \
    "\"rate\": {\"min\": 1e-5, \"max\": 0.1, \"scale\": \"log\"}, \"decay\": {\"min\": 0, \"max\": 0.3, \"quantum\": " \
    "0.1}}"

static void read_definition(struct definition *definition, const char *text)
{
    struct err err = {0};
    cr_assert_eq(definition_parse_elsewhere(definition, text, "test", &err), 0, "%s", err.message);
}

static double loss_of(const cJSON *parameters)
{
    double rate = log10(json_get(parameters, "rate")->valuedouble), decay = json_get(parameters, "decay")->valuedouble;
    const cJSON *rank = json_get(parameters, "rank"), *length = json_get(parameters, "length");
    double loss = (rate + 3) * (rate + 3) + decay;
    return loss + (rank ? fabs(log2(rank->valuedouble) - 2) : 0.5) + (length ? 0.01 * length->valuedouble : 0);
}

static cJSON *metrics_of(double loss)
{
    cJSON *metrics = cJSON_CreateObject();
    cJSON_AddNumberToObject(metrics, "loss", loss);
    return metrics;
}

static void tell(struct study *study, int64_t trial, double loss)
{
    struct err err;
    cJSON *metrics = metrics_of(loss);
    cr_assert_eq(study_tell(study, trial, metrics, &err), 0, "%s", err.message);
    cJSON_Delete(metrics);
}

static bool tell_step(struct study *study, int64_t trial, int64_t step, double loss, bool *is_paused)
{
    struct err err;
    struct study_decision decision;
    cJSON *metrics = metrics_of(loss);
    cr_assert_eq(study_tell_step(study, trial, step, metrics, &decision, &err), 0, "%s", err.message);
    cr_expect(decision.goes_on || decision.reason[0], "an end has a reason");
    cJSON_Delete(metrics);
    if (is_paused)
        *is_paused = decision.is_paused;
    return decision.goes_on;
}

static bool tell_pair(struct study *study, int64_t trial, int64_t step, double loss, double size)
{
    struct study_decision decision;
    struct err err;
    cJSON *metrics = metrics_of(loss);
    cJSON_AddNumberToObject(metrics, "size", size);
    cr_assert_eq(study_tell_step(study, trial, step, metrics, &decision, &err), 0, "%s", err.message);
    cJSON_Delete(metrics);
    return decision.goes_on;
}

static struct study_proposal ask(struct study *study)
{
    struct study_proposal proposal;
    struct err err;
    cr_assert_eq(study_ask(study, &proposal, &err), 0, "%s", err.message);
    return proposal;
}

static char *as_text(const cJSON *value)
{
    struct text text = {0};
    json_add(&text, value);
    return text_take(&text);
}

static void check_inside(const cJSON *p)
{
    const char *method = json_get(p, "method")->valuestring;
    double rate = json_get(p, "rate")->valuedouble, decay = json_get(p, "decay")->valuedouble;
    cr_expect_eq(json_get(p, "rank") != NULL, strcmp(method, "lora") == 0);
    cr_expect_eq(json_get(p, "length") != NULL, strcmp(method, "prompt") == 0);
    cr_expect(rate >= 1e-5 && rate <= 0.1);
    cr_expect(decay == 0 || decay == 0.1 || decay == 0.2 || decay == 0.3, "%.17g", decay);
    if (json_get(p, "length")) {
        double length = json_get(p, "length")->valuedouble;
        cr_expect(length >= 1 && length <= 200 && length == floor(length));
    }
}

static struct study *make(struct definition *definition, bool can_pause)
{
    struct study *study = NULL;
    struct err err = {0};
    cr_assert_eq(study_new(&study, definition, can_pause, &err), 0, "%s", err.message);
    return study;
}

enum { TRIALS = 26, OPEN = 3 };

/* Asks and tells with OPEN trials open, one of eight failing; the proposals as texts. With restart_at the study is
 * thrown away before that ask and restored from the record of calls. */
static void run(const char *algorithm, int restart_at, char *texts[TRIALS])
{
    struct definition definition;
    struct study_proposal proposals[TRIALS];
    cJSON *kept[TRIALS] = {0};
    char text[1024];
    snprintf(text, sizeof(text),
             "{" SPACE ", \"seed\": 3, \"search\": {\"algorithm\": \"%s\"}, \"budget\": {\"trials\": %d}}", algorithm,
             TRIALS);
    read_definition(&definition, text);
    struct study *study = make(&definition, false);
    for (int i = 0; i < TRIALS; i++) {
        struct err err;
        if (i == restart_at) {
            study_free(study);
            study = make(&definition, false);
            for (int k = 0; k < i; k++) {
                cr_assert_eq(study_restore(study, &proposals[k], &err), 0, "%s", err.message);
                int done = k - OPEN + 1;
                if (done >= 0 && done % 8 == 5)
                    cr_assert_eq(study_fail(study, done + 1, &err), 0);
                else if (done >= 0)
                    tell(study, done + 1, loss_of(kept[done]));
            }
        }
        proposals[i] = ask(study);
        cr_assert_eq(proposals[i].answer, STUDY_TRIAL, "%s: trial %d", algorithm, i + 1);
        cr_assert_eq(proposals[i].trial, i + 1);
        check_inside(proposals[i].parameters);
        texts[i] = as_text(proposals[i].parameters);
        proposals[i].parameters = kept[i] = cJSON_Duplicate(proposals[i].parameters, true);
        for (int k = 0; k < i; k++)
            cr_expect_str_neq(texts[k], texts[i], "%s proposes %s twice", algorithm, texts[i]);
        int done = i - OPEN + 1;
        if (done >= 0 && done % 8 == 5)
            cr_assert_eq(study_fail(study, done + 1, &err), 0);
        else if (done >= 0)
            tell(study, done + 1, loss_of(kept[done]));
    }
    cr_expect_eq(ask(study).answer, STUDY_DONE, "%s: the budget is exact", algorithm);
    cr_expect(study_best(study) > 0);
    for (int i = 0; i < TRIALS; i++)
        cJSON_Delete(kept[i]);
    study_free(study);
    definition_done(&definition);
}

Test(study, equal_histories_give_equal_proposals_and_a_restart_changes_nothing)
{
    for (const struct search_kind *const *kind = search_kinds; *kind; kind++) {
        char *first[TRIALS], *again[TRIALS];
        if (strcmp((*kind)->name, "grid") == 0)
            continue; /* this space has ranges */
        run((*kind)->name, -1, first);
        for (int restart_at = 4; restart_at < TRIALS; restart_at += 7) {
            run((*kind)->name, restart_at, again);
            for (int i = 0; i < TRIALS; i++) {
                cr_expect_str_eq(first[i], again[i], "%s, restarted at %d: trial %d", (*kind)->name, restart_at, i + 1);
                free(again[i]);
            }
        }
        for (int i = 0; i < TRIALS; i++)
            free(first[i]);
    }
}

/* Every algorithm uses up a small space: each configuration once, then it is done. */
Test(study, a_space_is_used_up_without_repeats)
{
    for (const struct search_kind *const *kind = search_kinds; *kind; kind++) {
        struct definition definition;
        char text[512];
        int n = 0;
        snprintf(
            text, sizeof(text),
            "{\"parameters\": {\"a\": {\"values\": [\"x\", \"y\"]}, \"b\": {\"values\": [1, 2, 3], \"when\": {\"a\": "
            "\"x\"}}, \"c\": {\"min\": 0, \"max\": 3, \"type\": \"int\"}}, \"search\": {\"algorithm\": \"%s\"}}",
            (*kind)->name);
        read_definition(&definition, text);
        struct study *study = make(&definition, false);
        for (struct study_proposal p = ask(study); p.answer == STUDY_TRIAL && n < 20; p = ask(study), n++)
            tell(study, p.trial, json_get(p.parameters, "c")->valuedouble);
        cr_expect_eq(n, 16, "%s: %d configurations", (*kind)->name, n);
        study_free(study);
        definition_done(&definition);
    }
}

Test(study, constraints_and_first_configurations)
{
    struct definition definition;
    read_definition(
        &definition,
        "{\"parameters\": {\"a\": {\"min\": 0, \"max\": 10, \"type\": \"int\"}, \"b\": {\"min\": 0, \"max\": 1}}, "
        "\"constraints\": [\"a * 2 + b < 9\", \"cost <= 0.5\"], \"search\": {\"first\": [{\"a\": 3, \"b\": "
        "0.25}]}, \"budget\": {\"trials\": 25}}");
    cr_assert_eq(definition.n_constraints, 2);
    cr_expect_str_eq(definition.constraints[1].metric, "cost");
    struct study *study = make(&definition, false);
    int n_feasible_late = 0;
    for (int i = 0; i < 25; i++) {
        struct study_proposal p = ask(study);
        struct err err;
        double a = json_get(p.parameters, "a")->valuedouble, b = json_get(p.parameters, "b")->valuedouble;
        cr_expect(a * 2 + b < 9, "%g %g", a, b);
        if (i == 0)
            cr_expect(a == 3 && b == 0.25);
        cJSON *metrics = metrics_of(-b - a);
        cJSON_AddNumberToObject(metrics, "cost", b);
        cr_assert_eq(study_tell(study, p.trial, metrics, &err), 0);
        cJSON_Delete(metrics);
        n_feasible_late += i >= 15 && b <= 0.5;
    }
    cr_expect_geq(n_feasible_late, 6, "the broken outcome is learned: %d", n_feasible_late);
    struct study_proposal best;
    struct err err;
    cr_assert_eq(study_describe(study, study_best(study), &best, &err), 0);
    cr_expect_leq(json_get(best.parameters, "b")->valuedouble, 0.5);
    study_free(study);
    definition_done(&definition);
}

Test(study, constraints_that_nothing_meets_are_an_error)
{
    static const char *const spaces[] = {"{\"min\": 0, \"max\": 1}", "{\"values\": [1, 2, 3]}"};
    for (int i = 0; i < 2; i++) {
        struct definition definition;
        struct study_proposal proposal;
        struct err err;
        char text[200];
        snprintf(text, sizeof(text), "{\"parameters\": {\"a\": %s}, \"constraints\": [\"a > 5\"]}", spaces[i]);
        read_definition(&definition, text);
        struct study *study = make(&definition, false);
        cr_expect_eq(study_ask(study, &proposal, &err), ERR_USAGE);
        cr_expect(strstr(err.message, "no configuration was found that meets 'a > 5'"), "%s", err.message);
        study_free(study);
        definition_done(&definition);
    }
}

Test(study, seeds_are_repeated_and_clear_losers_get_no_more)
{
    struct definition definition;
    int counts[12] = {0};
    read_definition(&definition,
                    "{\"parameters\": {\"a\": {\"values\": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}}, \"seeds\": 4, "
                    "\"search\": {\"algorithm\": \"grid\"}}");
    struct study *study = make(&definition, false);
    for (struct study_proposal p = ask(study); p.answer == STUDY_TRIAL; p = ask(study)) {
        double a = json_get(p.parameters, "a")->valuedouble;
        cr_expect_eq(p.seed_index, counts[(int)a]++);
        tell(study, p.trial, a + 0.01 * p.seed_index);
    }
    cr_expect_eq(counts[0], 4);
    cr_expect_eq(counts[9], 1, "a clear loser: %d seeds", counts[9]);
    study_free(study);
    definition_done(&definition);
}

Test(study, reports_that_are_wrong_are_refused_in_words)
{
    struct definition definition;
    struct err err = {0};
    struct study_decision decision;
    read_definition(&definition, "{" SPACE "}");
    struct study *study = make(&definition, false);
    struct study_proposal p = ask(study);
    cJSON *wrong = cJSON_CreateObject();
    cJSON_AddNumberToObject(wrong, "los", 1);
    cr_expect_eq(study_tell(study, p.trial, wrong, &err), ERR_USAGE);
    cr_expect(strstr(err.message, "'loss' is missing; nearest is 'los'"), "%s", err.message);
    cr_expect_eq(study_tell(study, 7, wrong, &err), ERR_NOT_FOUND);
    cr_expect_eq(study_tell_step(study, p.trial, 0, wrong, &decision, &err), ERR_USAGE);
    tell_step(study, p.trial, 5, 1, NULL);
    cJSON *metrics = metrics_of(2);
    cr_expect_eq(study_tell_step(study, p.trial, 3, metrics, &decision, &err), ERR_USAGE);
    tell(study, p.trial, 1);
    tell(study, p.trial, 1); /* equal: nothing happens */
    cr_expect_eq(study_tell(study, p.trial, metrics, &err), ERR_USAGE);
    cr_expect(strstr(err.message, "COMPLETE already"), "%s", err.message);
    cJSON_Delete(metrics);
    cJSON_Delete(wrong);
    study_free(study);
    definition_done(&definition);
}

/* Stopping --------------------------------------------------------------------------------------------------------- */

static struct study *with_rule(struct definition *definition, const char *rule, bool can_pause)
{
    char text[512];
    snprintf(text, sizeof(text),
             "{\"parameters\": {\"a\": {\"min\": 0, \"max\": 1}}, \"search\": {\"algorithm\": \"random\"}, "
             "\"stopping\": %s}",
             rule);
    read_definition(definition, text);
    return make(definition, can_pause);
}

Test(study, asha_rungs_are_those_computed_by_hand)
{
    cJSON *values = NULL;
    struct err err;
    struct definition definition;
    cr_assert_eq(json_read_file("tests/fixtures/search-values.json", &values, &err), 0);
    const cJSON *rungs = json_get(values, "rungs");
    struct study *study = with_rule(&definition, "{\"rule\": \"asha\", \"max_resource\": 81}", false);
    const cJSON *goes_on = json_get(rungs, "goes_on")->child;
    for (const cJSON *value = json_get(rungs, "values")->child; value; value = value->next, goes_on = goes_on->next) {
        int64_t trial = ask(study).trial;
        cr_expect_eq(tell_step(study, trial, 1, value->valuedouble, NULL), cJSON_IsTrue(goes_on), "value %g",
                     value->valuedouble);
    }
    study_free(study);
    definition_done(&definition);
    json_free(values);
}

Test(study, asha_pauses_and_promotes)
{
    struct definition definition;
    bool is_paused;
    struct study *study =
        with_rule(&definition, "{\"rule\": \"asha\", \"max_resource\": 9, \"reduction_factor\": 3}", true);
    for (int i = 0; i < 3; i++)
        ask(study);
    cr_expect_not(tell_step(study, 1, 1, 0.5, &is_paused), "one of one is no choice");
    cr_expect(is_paused);
    cr_expect_not(tell_step(study, 2, 1, 0.9, &is_paused));
    cr_expect(is_paused);
    cr_expect_not(tell_step(study, 3, 1, 0.7, &is_paused));
    struct study_proposal p = ask(study);
    cr_expect_eq(p.answer, STUDY_RESUME);
    cr_expect_eq(p.trial, 1, "of three one goes on");
    for (int i = 4; i <= 6; i++) {
        cr_assert_eq(ask(study).trial, i);
        tell_step(study, i, 1, 1.0 + i, &is_paused);
    }
    /* Of six two go on: 0.5 did, 0.7 waits. */
    p = ask(study);
    cr_expect_eq(p.answer, STUDY_RESUME);
    cr_expect_eq(p.trial, 3);
    cr_expect(strstr(p.reason, "promoted"), "%s", p.reason);
    cr_expect_eq(ask(study).trial, 7, "nobody else has a place");
    study_free(study);
    definition_done(&definition);
}

/* Of nine equal values three go on, the first ones: without an order among equals all nine would. */
Test(study, asha_promotes_no_more_of_equal_trials)
{
    struct definition definition;
    bool is_paused;
    int n_resumed = 0;
    struct study *study =
        with_rule(&definition, "{\"rule\": \"asha\", \"max_resource\": 9, \"reduction_factor\": 3}", true);
    for (int n = 0; n < 9;) {
        struct study_proposal p = ask(study);
        if (p.answer == STUDY_RESUME) {
            cr_expect_eq(p.trial, ++n_resumed);
            continue;
        }
        n++;
        cr_expect_not(tell_step(study, p.trial, 1, 0.5, &is_paused), "trial %d", n);
        cr_expect(is_paused);
    }
    struct study_proposal p = ask(study);
    cr_expect_eq(p.answer, STUDY_RESUME);
    cr_expect_eq(p.trial, 3);
    cr_expect_eq(ask(study).answer, STUDY_TRIAL, "a third of nine");
    study_free(study);
    definition_done(&definition);
}

/* When nobody else comes the best one goes on, however few there are. */
Test(study, asha_ends_with_the_best_of_few)
{
    struct definition definition;
    bool is_paused;
    read_definition(&definition, "{\"parameters\": {\"a\": {\"min\": 0, \"max\": 1}}, \"search\": {\"algorithm\": "
                                 "\"random\", \"configurations\": 2}, \"stopping\": {\"rule\": \"asha\", "
                                 "\"max_resource\": 9}}");
    struct study *study = make(&definition, true);
    ask(study);
    cr_expect_not(tell_step(study, 1, 1, 0.5, &is_paused));
    ask(study);
    cr_expect_not(tell_step(study, 2, 1, 0.9, &is_paused));
    cr_expect_eq(ask(study).trial, 1);
    for (int step = 2; step <= 9; step++)
        cr_expect(tell_step(study, 1, step, 0.5, &is_paused), "step %d", step);
    tell(study, 1, 0.5);
    cr_expect_eq(ask(study).answer, STUDY_DONE);
    study_free(study);
    definition_done(&definition);
}

Test(study, other_rules)
{
    struct definition definition;
    struct study *study =
        with_rule(&definition, "{\"rule\": \"median\", \"min_trials\": 2, \"min_resource\": 2}", false);
    for (int i = 0; i < 4; i++)
        ask(study);
    for (int t = 1; t <= 2; t++)
        for (int step = 1; step <= 3; step++)
            cr_expect(tell_step(study, t, step, t, NULL));
    cr_expect(tell_step(study, 3, 1, 9, NULL), "before min_resource");
    cr_expect_not(tell_step(study, 3, 2, 1.6, NULL), "worse than the median 1.5");
    cr_expect(tell_step(study, 4, 2, 1.4, NULL));
    study_free(study);
    definition_done(&definition);
    study = with_rule(&definition, "{\"rule\": \"patience\", \"patience\": 2, \"min_delta\": 0.1}", false);
    ask(study);
    cr_expect(tell_step(study, 1, 1, 1.0, NULL));
    cr_expect(tell_step(study, 1, 2, 0.95, NULL), "not better by 0.1: one");
    cr_expect(tell_step(study, 1, 3, 0.85, NULL), "better than 1.0");
    cr_expect(tell_step(study, 1, 4, 0.9, NULL));
    cr_expect_not(tell_step(study, 1, 5, 0.8, NULL), "two without one that is better by 0.1");
    study_free(study);
    definition_done(&definition);
    study = with_rule(&definition, "{\"rule\": \"threshold\", \"upper\": 2}", false);
    ask(study);
    cr_expect(tell_step(study, 1, 1, 2, NULL));
    cr_expect_not(tell_step(study, 1, 2, 2.1, NULL));
    study_free(study);
    definition_done(&definition);
    study = with_rule(&definition, "{\"rule\": \"predicted\", \"max_resource\": 100, \"min_trials\": 1}", false);
    ask(study);
    ask(study);
    ask(study);
    tell_step(study, 1, 100, 0.2, NULL);
    bool goes_on = true;
    for (int step = 1; step <= 20 && goes_on; step++)
        goes_on = tell_step(study, 2, step, 0.5 + 1 / sqrt(step), NULL);
    cr_expect_not(goes_on, "towards 0.6");
    for (int step = 1; step <= 20; step++)
        cr_expect(tell_step(study, 3, step, 0.05 + 1 / sqrt(step), NULL), "towards 0.15, step %d", step);
    study_free(study);
    definition_done(&definition);
}

/* The loss of these trials never gets better: what keeps one alive is the second objective alone. */
Test(study, rules_look_at_every_objective)
{
    static const char *const rules[] = {"{\"rule\": \"median\", \"min_trials\": 2, \"min_resource\": 2}",
                                        "{\"rule\": \"patience\", \"patience\": 3}",
                                        "{\"rule\": \"predicted\", \"max_resource\": 20, \"min_trials\": 1}"};
    for (int r = 0; r < 3; r++) {
        struct definition definition;
        char text[512];
        snprintf(text, sizeof(text),
                 "{\"parameters\": {\"a\": {\"min\": 0, \"max\": 1}}, \"objectives\": [{\"metric\": \"loss\"}, "
                 "{\"metric\": \"size\", \"goal\": \"minimize\"}], \"stopping\": %s}",
                 rules[r]);
        read_definition(&definition, text);
        struct study *study = make(&definition, false);
        for (int i = 0; i < 4; i++)
            ask(study);
        for (int t = 1; t <= 2; t++)
            for (int step = 1; step <= 20; step++)
                cr_expect(tell_pair(study, t, step, 1.0 / (t + step), 1.0 / (t + step)), "%s: %d at %d", rules[r], t,
                          step);
        bool goes_on = true;
        for (int step = 1; step <= 15; step++)
            goes_on = tell_pair(study, 3, step, 9, 0.2 / (1 + step)) && goes_on;
        cr_expect(goes_on, "%s: its size is the best", rules[r]);
        for (int step = 1; step <= 15 && goes_on; step++)
            goes_on = tell_pair(study, 4, step, 9, 9);
        cr_expect_not(goes_on, "%s: behind in both", rules[r]);
        study_free(study);
        definition_done(&definition);
    }
}

Test(study, steps_of_the_budget_are_not_overrun)
{
    struct definition definition;
    read_definition(&definition, "{\"parameters\": {\"a\": {\"min\": 0, \"max\": 1}}, \"budget\": {\"steps\": 10}}");
    struct study *study = make(&definition, false);
    ask(study);
    for (int step = 1; step <= 6; step++)
        cr_expect(tell_step(study, 1, step, 1, NULL));
    tell(study, 1, 1);
    ask(study);
    for (int step = 1; step <= 3; step++)
        cr_expect(tell_step(study, 2, step, 1, NULL));
    cr_expect_not(tell_step(study, 2, 4, 1, NULL), "ten steps");
    cr_expect_eq(ask(study).answer, STUDY_DONE);
    study_free(study);
    definition_done(&definition);
}

/* Three trials at a time that report every four steps, one of which fails: of 30 steps 28 are trained, what the failed
 * one may have trained since its last report among them. */
Test(study, steps_of_the_budget_are_exact_with_several_trials)
{
    struct definition definition;
    read_definition(&definition, "{\"parameters\": {\"a\": {\"min\": 0, \"max\": 1}}, \"budget\": {\"steps\": 30}}");
    struct study *study = make(&definition, false);
    int64_t told[8] = {0}, sum = 0;
    bool goes_on[8] = {0};
    int n = 0, n_failed = 0;
    for (int round = 0; round < 40; round++) {
        int open = 0;
        for (int i = 1; i <= n; i++)
            open += goes_on[i];
        /* The first alone, so that the length of a report is known. */
        if (open < (n == 0 ? 1 : 3) && n < 7 && (n == 0 || told[1] > 0) && ask(study).answer == STUDY_TRIAL)
            goes_on[++n] = true;
        for (int i = 1; i <= n; i++) {
            struct err err;
            if (goes_on[i] && i == 3 && told[i] == 4) {
                cr_assert_eq(study_fail(study, i, &err), 0);
                goes_on[i] = false;
                n_failed++;
            } else if (goes_on[i]) {
                told[i] += 4;
                sum += 4;
                goes_on[i] = tell_step(study, i, told[i], 1, NULL);
            }
        }
        cr_assert_leq(sum + 4 * n_failed, 30, "%lld steps", (long long)sum);
    }
    cr_expect_eq(sum + 4 * n_failed, 28, "%lld steps, %d failed: all but what is less than a report", (long long)sum,
                 n_failed);
    cr_expect_eq(ask(study).answer, STUDY_DONE);
    study_free(study);
    definition_done(&definition);
}

/* What a trainer says about a trial's length is not reserved beyond: 10 steps are left for a trial of 3. */
Test(study, no_more_steps_are_reserved_than_a_trial_has)
{
    struct definition definition;
    struct err err;
    bool is_new = false;
    read_definition(&definition, "{\"parameters\": {\"a\": {\"min\": 0, \"max\": 1}}, \"budget\": {\"steps\": 13}}");
    struct study *study = make(&definition, false);
    ask(study);
    cr_expect(tell_step(study, 1, 4, 1, NULL));
    tell(study, 1, 1);
    ask(study);
    ask(study);
    cr_expect_eq(ask(study).answer, STUDY_DONE, "4 used, 8 reserved, 1 left");
    cr_assert_eq(study_set_length(study, 2, 3, &is_new, &err), 0, "%s", err.message);
    cr_expect(is_new);
    cr_assert_eq(study_set_length(study, 2, 3, &is_new, &err), 0);
    cr_expect_not(is_new);
    cr_expect_eq(study_set_length(study, 9, 3, &is_new, &err), ERR_NOT_FOUND);
    cr_expect_eq(study_set_length(study, 2, 0, &is_new, &err), ERR_USAGE);
    cr_expect_eq(ask(study).answer, STUDY_DONE, "2 left");
    cr_assert_eq(study_set_length(study, 3, 2, &is_new, &err), 0);
    cr_expect_eq(ask(study).answer, STUDY_TRIAL, "4 left");
    cr_expect(tell_step(study, 2, 3, 1, NULL), "the end of a trial needs no more steps");
    cr_expect_eq(ask(study).answer, STUDY_DONE);
    study_free(study);
    definition_done(&definition);
}

/* Definitions ------------------------------------------------------------------------------------------------------ */

Test(study, wrong_definitions_are_refused_in_words)
{
    static const char *const cases[][2] = {
        {"{\"parameters\": {\"a\": {\"min\": 1, \"max\": 0}}}", "parameters.a: min 1 is above max 0"},
        {"{\"parameters\": {\"a\": {\"min\": 0, \"max\": 1, \"scale\": \"log\"}}}", "must be above 0 for scale log"},
        {"{\"parameters\": {\"a\": {\"values\": [1], \"when\": {\"b\": 1}}, \"b\": {\"values\": [1], \"when\": {\"a\": "
         "1}}}}",
         "in a circle"},
        {"{\"parameters\": {\"a\": {\"min\": 0, \"max\": 1}}, \"search\": {\"algorithm\": \"grid\"}}",
         "grid cannot enumerate"},
        {"{\"parameters\": {\"a\": {\"min\": 0, \"max\": 1}}, \"search\": {\"algorithm\": \"tpee\"}}",
         "nearest is 'tpe'"},
        {"{\"parameters\": {\"a\": {\"min\": 0, \"max\": 1}}, \"stopping\": {\"rule\": \"ashaa\"}}",
         "nearest is 'asha'"},
        {"{\"parameters\": {\"a\": {\"min\": 0, \"max\": 1}}, \"stopping\": {\"rule\": \"hyperband\"}}",
         "stopping.max_resource: is missing"},
        {"{\"parameters\": {\"a\": {\"min\": 0, \"max\": 1}}, \"stopping\": {\"rule\": \"asha\", \"patience\": 3}}",
         "stopping.patience: is not known"},
        {"{\"parameters\": {\"a\": {\"min\": 0, \"max\": 1}}, \"constraints\": [\"a + q < 3\"]}", "'q' is neither"},
        {"{\"parameters\": {\"a\": {\"min\": 0, \"max\": 1}}, \"constraints\": [\"a\"]}",
         "constraints[0]: a text such as"},
        {"{\"parameters\": {\"a\": {\"min\": 0, \"max\": 1}}, \"objectives\": []}", "a list of 1 to 8"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct definition definition;
        struct err err = {0};
        cr_expect_eq(definition_parse_elsewhere(&definition, cases[i][0], "x", &err), ERR_USAGE, "%s", cases[i][0]);
        cr_expect(strstr(err.message, cases[i][1]), "%s: %s", cases[i][0], err.message);
        definition_done(&definition);
    }
}

/* `full` is the best of three methods, but in a valley. Successive rejects over 54 of 60 trials:
 * each has ceil(51 / (4/3 · 3)) = 13, the last two ceil(51 / (4/3 · 2)) = 20. */
Test(study, each_branch_has_its_share_before_it_is_given_up)
{
    struct definition definition;
    read_definition(&definition, "{" SPACE ", \"budget\": {\"trials\": 60}, \"seed\": 2}");
    struct study *study = make(&definition, false);
    int counts[3] = {0};
    for (struct study_proposal p = ask(study); p.answer == STUDY_TRIAL; p = ask(study)) {
        double rate = log10(json_get(p.parameters, "rate")->valuedouble), loss;
        const char *method = json_get(p.parameters, "method")->valuestring;
        int k = strcmp(method, "full") == 0 ? 0 : strcmp(method, "lora") == 0 ? 1 : 2;
        loss = k == 0 ? 1 - exp(-2 * (rate + 4) * (rate + 4)) : k == 1 ? 0.05 + 0.02 * fabs(rate + 2) : 0.4;
        counts[k]++;
        tell(study, p.trial, loss);
    }
    cr_expect_eq(counts[0] + counts[1] + counts[2], 60);
    cr_expect(counts[0] >= 20 && counts[1] >= 20 && counts[2] >= 13 && counts[2] < 20, "%d %d %d", counts[0], counts[1],
              counts[2]);
    study_free(study);
    definition_done(&definition);
}

/* Values with noise of 0.1 around a valley: the last three tenths of the trials go to its floor, found to 0.15 by 42 of
 * them. */
Test(study, a_noisy_search_ends_on_the_best_sure_value)
{
    struct definition definition;
    read_definition(&definition, "{\"parameters\": {\"a\": {\"min\": 0, \"max\": 1}}, \"budget\": {\"trials\": 60}}");
    struct study *study = make(&definition, false);
    int n = 0;
    for (struct study_proposal p = ask(study); p.answer == STUDY_TRIAL; p = ask(study), n++) {
        double a = json_get(p.parameters, "a")->valuedouble, noise = 0.1 * sin(12.9898 * n * n);
        if (n >= 42)
            cr_expect(fabs(a - 0.6) < 0.15, "trial %d: %g", n, a);
        tell(study, p.trial, 4 * (a - 0.6) * (a - 0.6) + noise);
    }
    cr_expect_eq(n, 60);
    study_free(study);
    definition_done(&definition);
}

/* Few steps: the model. Enough for thousands of looks: evenly spread points. */
Test(study, auto_chooses_by_what_the_steps_are_worth)
{
    static const char *const names[] = {"gp:", "sobol:"};
    for (int i = 0; i < 2; i++) {
        struct definition definition;
        char text[256];
        snprintf(
            text, sizeof(text),
            "{\"parameters\": {\"a\": {\"min\": 0, \"max\": 1}}, \"budget\": {\"steps\": %d}, \"stopping\": {\"rule\": "
            "\"asha\", \"max_resource\": 81}}",
            (i ? 201 : 200) * 81);
        read_definition(&definition, text);
        struct study *study = make(&definition, false);
        cr_expect_eq(strncmp(study_explain(study), names[i], strlen(names[i])), 0, "%s", study_explain(study));
        study_free(study);
        definition_done(&definition);
    }
}

/* Lists: gone through where that is meant or short, else the better part first. */
Test(study, auto_goes_through_short_lists)
{
    static const struct {
        int configurations;
        const char *more, *name;
    } cases[] = {{100, "", "grid:"},
                 {101, "", "gp:"},
                 {101, ", \"budget\": {\"trials\": 101}", "grid:"},
                 {101, ", \"budget\": {\"trials\": 100}", "gp:"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct definition definition;
        struct text text = {0};
        text_add(&text, "{\"parameters\": {\"a\": {\"values\": [0");
        for (int k = 1; k < cases[i].configurations; k++)
            text_printf(&text, ", %d", k);
        text_printf(&text, "]}}%s}", cases[i].more);
        read_definition(&definition, text.data);
        text_done(&text);
        struct study *study = make(&definition, false);
        cr_expect_eq(strncmp(study_explain(study), cases[i].name, strlen(cases[i].name)), 0, "%zu: %s", i,
                     study_explain(study));
        study_free(study);
        definition_done(&definition);
    }
}

/* More dimensions than the Gaussian process takes: the Parzen estimator stands in. */
Test(study, a_thousand_parameters)
{
    struct definition definition;
    struct text text = {0};
    text_add(&text, "{\"budget\": {\"trials\": 24}, \"parameters\": {");
    for (int i = 0; i < 1000; i++)
        text_printf(&text, "%s\"p%d\": {\"min\": 0, \"max\": 1}", i ? ", " : "", i);
    text_add(&text, "}}");
    read_definition(&definition, text.data);
    struct study *study = make(&definition, false);
    int n = 0;
    for (struct study_proposal p = ask(study); p.answer == STUDY_TRIAL; p = ask(study), n++)
        tell(study, p.trial, json_get(p.parameters, "p7")->valuedouble);
    cr_expect_eq(n, 24);
    text_done(&text);
    study_free(study);
    definition_done(&definition);
}

/* A grid of a million million points is counted, not listed. */
Test(study, a_large_grid_costs_nothing)
{
    struct definition definition;
    read_definition(&definition, "{\"parameters\": {\"a\": {\"min\": 0, \"max\": 999999, \"type\": \"int\"}, \"b\": "
                                 "{\"min\": 0, \"max\": 999999, \"type\": \"int\"}}, \"budget\": {\"trials\": 12}}");
    struct study *study = make(&definition, false);
    int n = 0;
    for (struct study_proposal p = ask(study); p.answer == STUDY_TRIAL; p = ask(study), n++)
        tell(study, p.trial, json_get(p.parameters, "a")->valuedouble);
    cr_expect_eq(n, 12);
    study_free(study);
    definition_done(&definition);
}
