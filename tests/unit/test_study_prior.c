/* What is known before or beside the objective: costs, earlier sweeps. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/study.h"
#include "orchestrator/study_log.h"

static struct study *make(struct definition *definition, const char *text)
{
    struct study *study = NULL;
    struct err err = {0};
    cr_assert_eq(definition_parse_elsewhere(definition, text, "test", &err), 0, "%s", err.message);
    cr_assert_eq(study_new(&study, definition, false, &err), 0, "%s", err.message);
    return study;
}

static void done(struct study *study, struct definition *definition)
{
    study_free(study);
    definition_done(definition);
}

static struct study_proposal ask(struct study *study)
{
    struct study_proposal proposal;
    struct err err;
    cr_assert_eq(study_ask(study, &proposal, &err), 0, "%s", err.message);
    return proposal;
}

static int tell(struct study *study, int64_t trial, double loss, double hours, struct err *err)
{
    cJSON *metrics = cJSON_CreateObject();
    cJSON_AddNumberToObject(metrics, "loss", loss);
    if (hours != 0)
        cJSON_AddNumberToObject(metrics, "hours", hours);
    int rc = study_tell(study, trial, metrics, err);
    cJSON_Delete(metrics);
    return rc;
}

static double number(const cJSON *object, const char *key)
{
    return json_get(object, key)->valuedouble;
}

/* Two branches with the same optimum; one costs twenty times the other. What is spent in `trials` trials. */
static double spent(const char *cost, double *best)
{
    struct definition definition;
    char text[512];
    double sum = 0;
    snprintf(text, sizeof(text),
             "{\"parameters\": {\"size\": {\"values\": [\"small\", \"large\"]}, \"x\": {\"min\": 0, \"max\": 1}}, "
             "\"search\": {\"algorithm\": \"gp\"%s}, \"budget\": {\"trials\": 30}}",
             cost);
    struct study *study = make(&definition, text);
    *best = INFINITY;
    for (struct study_proposal p = ask(study); p.answer == STUDY_TRIAL; p = ask(study)) {
        struct err err;
        bool is_large = strcmp(json_get(p.parameters, "size")->valuestring, "large") == 0;
        double x = number(p.parameters, "x"), loss = (x - 0.37) * (x - 0.37) + 0.1 * sin(20 * x);
        double hours = is_large ? 20 : 1;
        cr_assert_eq(tell(study, p.trial, loss, hours, &err), 0, "%s", err.message);
        sum += hours;
        *best = fmin(*best, loss);
    }
    done(study, &definition);
    return sum;
}

Test(cost, improvement_per_cost_is_sought)
{
    double best_without, best_with;
    double without = spent("", &best_without), with = spent(", \"cost\": \"hours\"", &best_with);
    cr_expect_lt(with, 0.75 * without, "%g hours with costs, %g without", with, without);
    cr_expect_lt(best_with, best_without + 0.01, "%g with costs, %g without", best_with, best_without);
}

Test(cost, must_be_reported_and_above_zero)
{
    struct definition definition;
    struct err err = {0};
    struct study *study = make(&definition, "{\"parameters\": {\"x\": {\"min\": 0, \"max\": 1}}, \"search\": "
                                            "{\"cost\": \"hours\"}}");
    ask(study);
    cr_expect_eq(tell(study, 1, 1, 0, &err), ERR_USAGE);
    cr_expect(strstr(err.message, "search.cost 'hours' is missing"), "%s", err.message);
    cr_expect_eq(tell(study, 1, 1, -2, &err), ERR_USAGE);
    cr_expect(strstr(err.message, "must be a number above 0"), "%s", err.message);
    cr_expect_eq(tell(study, 1, 1, 2, &err), 0, "what was refused changed nothing");
    done(study, &definition);
}

/* Earlier sweeps --------------------------------------------------------------------------------------------------- */

static const char space[] = "{\"parameters\": {\"x\": {\"min\": 0, \"max\": 1}, \"y\": {\"min\": 0, \"max\": 1}}, "
                            "\"search\": {\"algorithm\": \"gp\"}, \"budget\": {\"trials\": 9}}";

static double loss_of(double x, double y)
{
    return (x - 0.8) * (x - 0.8) + (y - 0.15) * (y - 0.15);
}

static bool observe(struct study *study, const char *values, double loss)
{
    struct err err = {0};
    bool is_taken = false;
    cJSON *parsed = cJSON_Parse(values), *metrics = cJSON_CreateObject();
    cJSON_AddNumberToObject(metrics, "loss", loss);
    cr_assert_eq(study_observe(study, "earlier", parsed, metrics, &is_taken, &err), 0, "%s", err.message);
    cJSON_Delete(parsed);
    cJSON_Delete(metrics);
    return is_taken;
}

/* Twenty trials of an earlier sweep, whose losses are `offset` higher. */
static void observe_all(struct study *study, double offset)
{
    for (int i = 0; i < 20; i++) {
        char values[128];
        double x = (i * 7 % 20 + 0.5) / 20, y = (i * 13 % 20 + 0.5) / 20;
        snprintf(values, sizeof(values), "{\"x\": %.17g, \"y\": %.17g, \"epochs\": 3}", x, y);
        cr_assert(observe(study, values, loss_of(x, y) + offset));
    }
}

static double run_all(struct study *study, char *texts[9])
{
    double best = INFINITY;
    int n = 0;
    for (struct study_proposal p = ask(study); p.answer == STUDY_TRIAL; p = ask(study)) {
        struct err err;
        struct text text = {0};
        double loss = loss_of(number(p.parameters, "x"), number(p.parameters, "y"));
        json_add(&text, p.parameters);
        texts[n++] = text_take(&text);
        cr_assert_eq(tell(study, p.trial, loss, 0, &err), 0, "%s", err.message);
        best = fmin(best, loss);
    }
    cr_assert_eq(n, 9);
    return best;
}

static void free_all(char *texts[9])
{
    for (int i = 0; i < 9; i++)
        free(texts[i]);
}

Test(warm_start, the_best_come_first_and_the_model_knows_the_rest)
{
    struct definition definition;
    char *cold_texts[9], *texts[9], *shifted[9];
    struct study *study = make(&definition, space);
    double cold = run_all(study, cold_texts);
    done(study, &definition);
    study = make(&definition, space);
    observe_all(study, 0);
    double warm = run_all(study, texts);
    done(study, &definition);
    /* Of the twenty (0.825, 0.325), (0.675, 0.225) and (0.975, 0.125) lie nearest to (0.8, 0.15). */
    for (int i = 0; i < 3; i++) {
        cJSON *p = cJSON_Parse(texts[i]);
        cr_expect_lt(loss_of(number(p, "x"), number(p, "y")), 0.05, "%s", texts[i]);
        cJSON_Delete(p);
    }
    cr_expect_lt(warm, cold, "%g warm, %g cold", warm, cold);
    cr_expect_lt(warm, 1e-4, "%g", warm);
    /* Another level of the earlier losses is found from what was trained twice. */
    study = make(&definition, space);
    observe_all(study, 5);
    cr_expect_lt(run_all(study, shifted), 1e-3);
    done(study, &definition);
    free_all(cold_texts);
    free_all(texts);
    free_all(shifted);
}

Test(warm_start, what_lies_outside_the_space_is_left)
{
    struct definition definition;
    struct study *study = make(&definition, space);
    struct err err;
    bool is_taken;
    cr_expect_not(observe(study, "{\"x\": 0.5}", 1), "a parameter is missing");
    cr_expect_not(observe(study, "{\"x\": 0.5, \"y\": 2}", 1), "a value is outside");
    cr_expect_not(observe(study, "{\"x\": \"a\", \"y\": 0.5}", 1), "a value is of another kind");
    cr_expect_not(observe(study, "{\"x\": 0.5, \"y\": 0.5}", NAN), "no number");
    cr_expect(observe(study, "{\"x\": 0.5, \"y\": 0.5}", 1));
    ask(study);
    cJSON *empty = cJSON_CreateObject();
    cr_expect_eq(study_observe(study, "late", empty, empty, &is_taken, &err), ERR_USAGE, "after the first trial");
    cJSON_Delete(empty);
    cr_expect_eq(study_trials(study), 1, "earlier trials are not counted");
    done(study, &definition);
}

/* The record of the calls restores it: the earlier sweep itself may be gone. */
Test(warm_start, is_restored_from_its_record)
{
    struct definition definition;
    struct study *study = make(&definition, space);
    char *texts[9], *again[9];
    observe_all(study, 0);
    run_all(study, texts);
    done(study, &definition);
    study = make(&definition, space);
    for (int i = 0; i < 20; i++) {
        struct err err = {0};
        struct text record = {0};
        double x = (i * 7 % 20 + 0.5) / 20, y = (i * 13 % 20 + 0.5) / 20;
        cJSON *values = cJSON_CreateObject(), *metrics = cJSON_CreateObject();
        cJSON_AddNumberToObject(values, "x", x);
        cJSON_AddNumberToObject(values, "y", y);
        cJSON_AddNumberToObject(metrics, "loss", loss_of(x, y));
        study_log_observe(&record, "earlier", values, metrics);
        cJSON *parsed = cJSON_Parse(record.data);
        cr_assert_eq(study_log_replay(study, parsed, &err), 0, "%s", err.message);
        cJSON_Delete(parsed);
        cJSON_Delete(values);
        cJSON_Delete(metrics);
        text_done(&record);
    }
    run_all(study, again);
    for (int i = 0; i < 9; i++)
        cr_expect_str_eq(texts[i], again[i]);
    done(study, &definition);
    free_all(texts);
    free_all(again);
}

Test(warm_start, other_algorithms_begin_with_the_best)
{
    static const char *const algorithms[] = {"tpe", "nsga2", "cmaes", "random", "sobol"};
    for (size_t i = 0; i < sizeof(algorithms) / sizeof(*algorithms); i++) {
        struct definition definition;
        char text[256], *texts[9];
        snprintf(text, sizeof(text),
                 "{\"parameters\": {\"x\": {\"min\": 0, \"max\": 1}, \"y\": {\"min\": 0, \"max\": 1}}, \"search\": "
                 "{\"algorithm\": \"%s\"}, \"budget\": {\"trials\": 9}}",
                 algorithms[i]);
        struct study *study = make(&definition, text);
        observe_all(study, 0);
        cr_expect_lt(run_all(study, texts), 0.05, "%s", algorithms[i]);
        cJSON *p = cJSON_Parse(texts[0]);
        cr_expect_lt(loss_of(number(p, "x"), number(p, "y")), 0.05, "%s: %s", algorithms[i], texts[0]);
        cJSON_Delete(p);
        done(study, &definition);
        free_all(texts);
    }
}

/* Re-evaluation ---------------------------------------------------------------------------------------------------- */

/* How often each of ten values was trained when the loss is means[a] and `noise` between seeds; the proposals as one
 * text. Restarted from its records before trial `restart_at`. */
static char *run_noisy(double noise, const char *more, int restart_at, int counts[10])
{
    struct definition definition;
    struct text texts = {0}, records[64] = {0};
    char text[512];
    int n = 0, n_records = 0;
    snprintf(text, sizeof(text),
             "{\"parameters\": {\"a\": {\"values\": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}}, \"seeds\": 2, \"search\": "
             "{\"algorithm\": \"random\", \"reevaluate\": 5}%s}",
             more);
    memset(counts, 0, 10 * sizeof(*counts));
    struct study *study = make(&definition, text);
    for (;;) {
        if (n == restart_at) {
            done(study, &definition);
            study = make(&definition, text);
            for (int i = 0; i < n_records; i++) {
                struct err err;
                cJSON *record = cJSON_Parse(records[i].data);
                cr_assert_eq(study_log_replay(study, record, &err), 0, "%s", err.message);
                cJSON_Delete(record);
            }
        }
        struct study_proposal p = ask(study);
        if (p.answer != STUDY_TRIAL)
            break;
        cr_assert_lt(n, 30);
        double a = number(p.parameters, "a"), loss = a < 2 ? 0.001 * a : a;
        loss += noise * ((p.seed_index * 7 + (int)a * 3) % 5 - 2);
        study_log_ask(&records[n_records++], &p);
        text_printf(&texts, "%g/%d ", a, p.seed_index);
        counts[(int)a]++;
        cJSON *metrics = cJSON_CreateObject();
        struct err err;
        cJSON_AddNumberToObject(metrics, "loss", loss);
        study_log_tell(&records[n_records++], p.trial, 0, metrics);
        cr_assert_eq(study_tell(study, p.trial, metrics, &err), 0, "%s", err.message);
        cJSON_Delete(metrics);
        n++;
    }
    done(study, &definition);
    for (int i = 0; i < n_records; i++)
        text_done(&records[i]);
    return text_take(&texts);
}

Test(reevaluation, noise_between_the_two_best_is_looked_at_again)
{
    int counts[10], again[10];
    char *noisy = run_noisy(0.05, "", -1, counts);
    cr_expect(counts[0] == 7 && counts[1] == 7, "%d and %d seeds: %s", counts[0], counts[1], noisy);
    for (int a = 2; a < 10; a++)
        cr_expect_eq(counts[a], 2, "%d is behind by more than the noise", a);
    for (int at = 3; at < 30; at += 6) {
        char *restarted = run_noisy(0.05, "", at, again);
        cr_expect_str_eq(noisy, restarted, "restarted at %d", at);
        free(restarted);
    }
    free(noisy);
    free(run_noisy(0, "", -1, counts));
    for (int a = 0; a < 10; a++)
        cr_expect_eq(counts[a], 2, "without noise nothing is repeated");
    free(run_noisy(0.05, ", \"budget\": {\"trials\": 17}", -1, counts));
    int sum = 0;
    for (int a = 0; a < 10; a++)
        sum += counts[a];
    cr_expect_eq(sum, 17, "the budget is exact: %d", sum);
}

Test(definition_search, wrong_costs_and_warm_starts_are_refused_in_words)
{
    static const char *const cases[][2] = {
        {"\"cost\": 3", "search: 'cost' is a number"},
        {"\"cost\": \"hours\", \"algorithm\": \"tpe\"", "'tpe' looks at no costs"},
        {"\"reevaluate\": -1", "search.reevaluate: -1, a whole number"},
        {"\"reevaluate\": 2}, \"settings\": {\"seed\": 3", "settings.seed is fixed"},
        {"\"warm_start\": []", "search.warm_start: true"},
        {"\"warm_start\": \"a\"", "search.warm_start: true"},
        {"\"warm_start\": [1]", "search.warm_start: true"},
        {"\"warm_start\": [\"suggest\"]", "list of other sweeps"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct definition definition;
        struct err err = {0};
        char text[256];
        snprintf(text, sizeof(text), "{\"parameters\": {\"a\": {\"min\": 0, \"max\": 1}}, \"search\": {%s}}",
                 cases[i][0]);
        cr_expect_eq(definition_parse_elsewhere(&definition, text, "x", &err), ERR_USAGE, "%s", text);
        cr_expect(strstr(err.message, cases[i][1]), "%s: %s", text, err.message);
        definition_done(&definition);
    }
}
