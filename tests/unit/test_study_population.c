/* Population-based training: generations wait for each other, the last go on from the first with moved parameters, and
 * neither the order of reports nor a restart changes who. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/study.h"
#include "orchestrator/study_log.h"

enum { MEMBERS = 8, TRIALS_MAX = 64, INTERVAL = 10, STEPS = 40, RECORDS_MAX = 4096 };

static const char population[] = "{\"seed\": 4, \"parameters\": {\"rate\": {\"min\": 1e-5, \"max\": 0.1, \"scale\": "
                                 "\"log\"}, \"kind\": {\"values\": "
                                 "[\"a\", \"b\"]}, \"size\": {\"values\": [1, 2, 4, 8]}}, \"search\": {\"algorithm\": "
                                 "\"random\", \"configurations\": "
                                 "8}, \"stopping\": {\"rule\": \"pbt\", \"interval\": 10, \"max_resource\": 40}}";

struct simulated {
    double rate, loss;
    int64_t step, parent;
    bool is_running, is_done;
};

struct simulation {
    struct definition definition;
    struct study *study;
    struct simulated trials[TRIALS_MAX];
    int n;
    struct text records[RECORDS_MAX];
    int n_records;
    struct text story; /* what was decided */
};

static void make(struct simulation *s)
{
    struct err err = {0};
    cr_assert_eq(definition_parse_elsewhere(&s->definition, population, "test", &err), 0, "%s", err.message);
    cr_assert_eq(study_new(&s->study, &s->definition, true, &err), 0, "%s", err.message);
}

static void restart(struct simulation *s)
{
    study_free(s->study);
    definition_done(&s->definition);
    make(s);
    for (int i = 0; i < s->n_records; i++) {
        struct err err = {0};
        cJSON *record = cJSON_Parse(s->records[i].data);
        cr_assert_eq(study_log_replay(s->study, record, &err), 0, "%s: %s", s->records[i].data, err.message);
        cJSON_Delete(record);
    }
}

static void take(struct simulation *s, const struct study_proposal *p)
{
    struct simulated *trial = &s->trials[p->trial - 1];
    study_log_ask(&s->records[s->n_records++], p);
    if (p->answer == STUDY_TRIAL) {
        cr_assert_lt(p->trial, TRIALS_MAX);
        *trial = (struct simulated){.rate = json_get(p->parameters, "rate")->valuedouble, .loss = 10};
        if (p->parent) {
            const struct simulated *parent = &s->trials[p->parent - 1];
            struct study_proposal of;
            struct err err;
            cr_assert_eq(study_describe(s->study, p->parent, &of, &err), 0);
            cr_expect_str_eq(json_get(p->parameters, "kind")->valuestring, json_get(of.parameters, "kind")->valuestring,
                             "what is no number is inherited");
            cr_expect(trial->rate >= 1e-5 && trial->rate <= 0.1, "%g", trial->rate);
            cr_expect_eq(parent->step, p->parent_step);
            cr_expect_not(parent->is_running, "a parent waits");
            cr_expect_lt(parent->loss, s->trials[p->replaced - 1].loss, "the better one is continued");
            trial->step = parent->step;
            trial->loss = parent->loss;
            trial->parent = p->parent;
            s->trials[p->replaced - 1].is_done = true;
        }
        struct text text = {0};
        json_add(&text, p->parameters);
        text_printf(&s->story, "%lld from %lld in place of %lld: %s\n", (long long)p->trial, (long long)p->parent,
                    (long long)p->replaced, text.data);
        text_done(&text);
        if (p->trial > s->n)
            s->n = (int)p->trial;
    }
    trial->is_running = true;
}

/* One step of trial `i`: the nearer its rate is to 0.001, the faster its loss falls. */
static void advance(struct simulation *s, int i)
{
    struct simulated *trial = &s->trials[i];
    struct study_decision decision;
    struct err err = {0};
    double off = log10(trial->rate) + 3;
    trial->step++;
    trial->loss *= 1 - 0.1 * exp(-off * off);
    cJSON *metrics = cJSON_CreateObject();
    cJSON_AddNumberToObject(metrics, "loss", trial->loss);
    study_log_tell(&s->records[s->n_records++], i + 1, trial->step, metrics);
    cr_assert_eq(study_tell_step(s->study, i + 1, trial->step, metrics, &decision, &err), 0, "%s", err.message);
    cr_expect_eq(!decision.goes_on, trial->step % INTERVAL == 0 && trial->step < STEPS, "step %d", (int)trial->step);
    cr_expect_eq(decision.is_paused, !decision.goes_on);
    trial->is_running = decision.goes_on;
    if (trial->step == STEPS) {
        study_log_tell(&s->records[s->n_records++], i + 1, 0, metrics);
        cr_assert_eq(study_tell(s->study, i + 1, metrics, &err), 0, "%s", err.message);
        trial->is_running = false;
        trial->is_done = true;
    }
    cJSON_Delete(metrics);
}

/* Runs all with so many slots; the trials of the slots advance in an order that depends on them. Restarted before every
 * restart_every-th ask. */
static char *simulate(int slots, int restart_every, double *best, int64_t *steps)
{
    struct simulation *s = calloc(1, sizeof(*s));
    int n_asks = 0;
    *steps = 0;
    make(s);
    for (;;) {
        int n_running = 0;
        struct study_proposal p = {.answer = STUDY_WAIT};
        struct err err = {0};
        for (int i = 0; i < s->n; i++)
            n_running += s->trials[i].is_running;
        if (n_running < slots) {
            if (restart_every && ++n_asks % restart_every == 0)
                restart(s);
            cr_assert_eq(study_ask(s->study, &p, &err), 0, "%s", err.message);
        }
        if (p.answer == STUDY_TRIAL || p.answer == STUDY_RESUME) {
            take(s, &p);
            continue;
        }
        if (p.answer == STUDY_DONE && n_running == 0)
            break;
        for (int i = 0, k = slots % 2 ? 0 : s->n - 1; i < s->n; i++, k += slots % 2 ? 1 : -1)
            if (s->trials[k].is_running) {
                cr_expect_eq(study_pause_step(s->study, k + 1),
                             s->trials[k].step / INTERVAL * INTERVAL + INTERVAL < STEPS
                                 ? s->trials[k].step / INTERVAL * INTERVAL + INTERVAL
                                 : 0);
                advance(s, k);
                ++*steps;
                if ((k + *steps) % 3 == 0)
                    break; /* the others are slower this time */
            }
        cr_assert_lt(*steps, 2000);
    }
    *best = INFINITY;
    for (int i = 0; i < s->n; i++) {
        cr_expect(s->trials[i].is_done, "trial %d", i + 1);
        *best = fmin(*best, s->trials[i].loss);
    }
    char *story = text_take(&s->story);
    for (int i = 0; i < s->n_records; i++)
        text_done(&s->records[i]);
    study_free(s->study);
    definition_done(&s->definition);
    free(s);
    return story;
}

Test(population, any_number_of_slots_decides_the_same)
{
    double best, other;
    int64_t steps, other_steps;
    char *one = simulate(1, 0, &best, &steps);
    cr_expect_eq(steps, MEMBERS * STEPS, "%d steps: nothing is trained twice", (int)steps);
    cr_expect(strstr(one, "in place of"), "%s", one);
    for (int slots = 2; slots <= 9; slots++) {
        char *more = simulate(slots, 0, &other, &other_steps);
        cr_expect_str_eq(one, more, "%d slots:\n%s\none slot:\n%s", slots, more, one);
        cr_expect_eq(best, other);
        free(more);
    }
    free(one);
}

Test(population, a_restart_at_any_ask_decides_the_same)
{
    double best, other;
    int64_t steps, other_steps;
    char *whole = simulate(3, 0, &best, &steps);
    for (int every = 1; every <= 5; every++) {
        char *restarted = simulate(3, every, &other, &other_steps);
        cr_expect_str_eq(whole, restarted, "restarted at every %d. ask", every);
        free(restarted);
    }
    free(whole);
}

Test(population, wrong_definitions_are_refused_in_words)
{
    static const char *const cases[][2] = {
        {"\"interval\": 10", "stopping.max_resource: is missing"},
        {"\"max_resource\": 40", "stopping.interval: is missing"},
        {"\"interval\": 40, \"max_resource\": 40", "fewer than max_resource"},
        {"\"interval\": 10, \"max_resource\": 40}, \"seeds\": 2, \"notes\": {\"a\": 1", "seeds: 2"},
        {"\"interval\": 10, \"max_resource\": 40, \"patience\": 4", "stopping.patience: is not known"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct definition definition;
        struct err err = {0};
        struct text text = {0};
        text_printf(&text, "{\"parameters\": {\"a\": {\"min\": 0, \"max\": 1}}, \"stopping\": {\"rule\": \"pbt\", %s}}",
                    cases[i][0]);
        cr_expect_eq(definition_parse_elsewhere(&definition, text.data, "x", &err), ERR_USAGE, "%s", text.data);
        cr_expect(strstr(err.message, cases[i][1]), "%s: %s", text.data, err.message);
        definition_done(&definition);
        text_done(&text);
    }
}
