/* Strict order: whichever trial is faster and however many run at a time, the proposals, decisions and ends are the
 * same; and so they are when the study is restored from its record at any ask. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/study.h"
#include "orchestrator/study_log.h"

enum { TRIALS_MAX = 64, STEPS = 27, RECORDS_MAX = 8192 };

struct simulated {
    double rate;
    int64_t step;
    bool is_running, is_held, is_through; /* held: it waits without a slot until it is decided about it */
};

struct simulation {
    struct definition definition;
    struct study *study;
    bool can_pause, overruns; /* a paused trial makes one more step before it hears of it */
    const char *text;
    struct simulated trials[TRIALS_MAX];
    int n, n_running, n_records;
    struct text records[RECORDS_MAX], stories[TRIALS_MAX];
};

static void make(struct simulation *s)
{
    struct err err = {0};
    cr_assert_eq(definition_parse_elsewhere(&s->definition, s->text, "test", &err), 0, "%s", err.message);
    cr_assert_eq(study_new(&s->study, &s->definition, s->can_pause, &err), 0, "%s", err.message);
}

static void restart(struct simulation *s)
{
    struct study_later later;
    study_free(s->study);
    definition_done(&s->definition);
    make(s);
    for (int i = 0; i < s->n_records; i++) {
        struct err err = {0};
        cJSON *record = cJSON_Parse(s->records[i].data);
        cr_assert_eq(study_log_replay(s->study, record, &err), 0, "%s: %s", s->records[i].data, err.message);
        cJSON_Delete(record);
    }
    while (study_next_decision(s->study, &later))
        ; /* known already */
}

static cJSON *metrics_of(const struct simulated *trial)
{
    double off = log10(trial->rate) + 3;
    cJSON *metrics = cJSON_CreateObject();
    cJSON_AddNumberToObject(metrics, "loss", off * off + 3 / (double)(1 + trial->step));
    return metrics;
}

static void overrun(struct simulation *s, int64_t number)
{
    struct simulated *trial = &s->trials[number - 1];
    struct study_decision decision;
    struct err err = {0};
    trial->step++;
    cJSON *metrics = metrics_of(trial);
    study_log_tell(&s->records[s->n_records++], number, trial->step, metrics);
    cr_assert_eq(study_tell_step(s->study, number, trial->step, metrics, &decision, &err), 0, "%s", err.message);
    cJSON_Delete(metrics);
}

/* Decisions that have come, of whatever trial: a trial that has ended or paused runs no more. */
static void take_decisions(struct simulation *s)
{
    struct study_later later;
    while (study_next_decision(s->study, &later)) {
        struct simulated *trial = &s->trials[later.trial - 1];
        text_printf(&s->stories[later.trial - 1], "  step %d: %s\n", (int)later.step, later.decision.reason);
        if (later.decision.goes_on)
            continue;
        if (s->overruns && later.decision.is_paused && trial->is_running && trial->step < STEPS - 1)
            overrun(s, later.trial);
        s->n_running -= trial->is_running;
        trial->is_running = trial->is_held = false;
    }
}

/* One step of trial `i`, a step too many now and then before it is held. */
static void advance(struct simulation *s, int i)
{
    struct simulated *trial = &s->trials[i];
    struct study_decision decision;
    struct err err = {0};
    if (trial->step < STEPS)
        trial->step++;
    cJSON *metrics = metrics_of(trial);
    study_log_tell(&s->records[s->n_records++], i + 1, trial->step, metrics);
    cr_assert_eq(study_tell_step(s->study, i + 1, trial->step, metrics, &decision, &err), 0, "%s", err.message);
    take_decisions(s);
    if (trial->is_running && trial->step == STEPS && !study_is_undecided(s->study, i + 1)) {
        study_log_tell(&s->records[s->n_records++], i + 1, 0, metrics);
        cr_assert_eq(study_tell(s->study, i + 1, metrics, &err), 0, "%s", err.message);
        trial->is_running = false;
        trial->is_through = true;
        s->n_running--;
        take_decisions(s);
    }
    if (trial->is_running && study_is_undecided(s->study, i + 1) && (trial->step == STEPS || trial->step % 4)) {
        trial->is_running = false;
        trial->is_held = true;
        s->n_running--;
    }
    cJSON_Delete(metrics);
}

/* A trial that was held and is decided about. */
static bool release(struct simulation *s)
{
    for (int i = 0; i < s->n; i++)
        if (s->trials[i].is_held && !study_is_undecided(s->study, i + 1)) {
            s->trials[i].is_held = false;
            s->trials[i].is_running = true;
            s->n_running++;
            return true;
        }
    return false;
}

static bool ask(struct simulation *s)
{
    struct study_proposal p;
    struct err err = {0};
    cr_assert_eq(study_ask(s->study, &p, &err), 0, "%s", err.message);
    if (p.answer != STUDY_TRIAL && p.answer != STUDY_RESUME)
        return false;
    study_log_ask(&s->records[s->n_records++], &p);
    struct simulated *trial = &s->trials[p.trial - 1];
    if (p.answer == STUDY_TRIAL) {
        struct text text = {0};
        cr_assert_lt(p.trial, TRIALS_MAX);
        trial->rate = json_get(p.parameters, "rate")->valuedouble;
        json_add(&text, p.parameters);
        text_printf(&s->stories[p.trial - 1], "trial %d: %s\n", (int)p.trial, text.data);
        text_done(&text);
        s->n++;
    } else {
        text_printf(&s->stories[p.trial - 1], "  goes on: %s\n", p.reason);
    }
    trial->is_running = true;
    s->n_running++;
    take_decisions(s);
    return true;
}

/* What became of every trial, with so many slots; `speeds` decides which trial is how fast. */
static char *simulate(const char *text, bool can_pause, int slots, unsigned speeds, int restart_every)
{
    struct simulation *s = calloc(1, sizeof(*s));
    struct text out = {0};
    unsigned draw = speeds;
    int n_asks = 0, n_turns = 0;
    s->text = text;
    s->can_pause = can_pause;
    s->overruns = speeds % 2 == 0;
    make(s);
    for (bool is_idle = false; !is_idle;) {
        is_idle = true;
        while (s->n_running < slots) {
            if (release(s)) {
                is_idle = false;
                continue;
            }
            if (restart_every && ++n_asks % restart_every == 0)
                restart(s);
            if (!ask(s))
                break;
            is_idle = false;
        }
        for (int i = 0; i < s->n; i++) {
            draw = draw * 1103515245u + 12345u;
            is_idle = is_idle && !s->trials[i].is_running;
            if (s->trials[i].is_running && (draw >> 16) % 4 < 1 + (unsigned)i % 3)
                advance(s, i);
        }
        cr_assert_lt(++n_turns, 5000, "%d slots: %d trials run for ever", slots, s->n_running);
    }
    for (int i = 0; i < s->n; i++) {
        text_add(&out, s->stories[i].data ? s->stories[i].data : "");
        text_add(&out, s->trials[i].is_through ? "  through\n" : "  ended\n");
        text_done(&s->stories[i]);
    }
    for (int i = 0; i < s->n_records; i++)
        text_done(&s->records[i]);
    study_free(s->study);
    definition_done(&s->definition);
    free(s);
    return text_take(&out);
}

#define SWEEP(algorithm, stopping)                                                                                     \
    "{\"seed\": 2, \"order\": \"strict\", \"parameters\": {\"rate\": {\"min\": 1e-5, \"max\": 0.1, \"scale\": "        \
    "\"log\"}, "                                                                                                       \
    "\"kind\": {\"values\": [\"a\", \"b\"]}}, \"search\": {\"algorithm\": \"" algorithm                                \
    "\"}, \"budget\": {\"trials\": "                                                                                   \
    "20}" stopping "}"

static const char *const sweeps[] = {
    SWEEP("gp", ", \"stopping\": {\"rule\": \"asha\", \"max_resource\": 27}"),
    SWEEP("tpe", ", \"stopping\": {\"rule\": \"hyperband\", \"max_resource\": 27}"),
    SWEEP("gp", ""),
    SWEEP("random", ", \"stopping\": {\"rule\": \"median\", \"interval\": 3}"),
};

Test(order, slots_and_speeds_change_nothing)
{
    for (size_t i = 0; i < sizeof(sweeps) / sizeof(*sweeps); i++)
        for (int can_pause = 0; can_pause < 2; can_pause++) {
            char *one = simulate(sweeps[i], can_pause, 1, 1, 0);
            cr_expect(strstr(one, "through"), "%s", one);
            for (int slots = 2; slots <= 11; slots += 3) {
                char *more = simulate(sweeps[i], can_pause, slots, 7 + (unsigned)slots, 0);
                cr_expect_str_eq(one, more, "%d slots of %s:\n%s\none:\n%s", slots, sweeps[i], more, one);
                free(more);
            }
            free(one);
        }
}

Test(order, a_restart_at_any_ask_changes_nothing)
{
    char *whole = simulate(sweeps[0], true, 3, 5, 0);
    for (int every = 1; every < 30; every += 7) {
        char *restarted = simulate(sweeps[0], true, 3, 5, every);
        cr_expect_str_eq(whole, restarted, "restarted at every %d. ask", every);
        free(restarted);
    }
    free(whole);
}

Test(order, another_record_is_refused)
{
    struct definition definition;
    struct study *study = NULL;
    struct err err = {0};
    cr_assert_eq(definition_parse_elsewhere(&definition, sweeps[2], "test", &err), 0, "%s", err.message);
    cr_assert_eq(study_new(&study, &definition, true, &err), 0);
    cJSON *record = cJSON_Parse("{\"op\":\"ask\",\"trial\":1,\"configuration\":1,\"seed\":0,\"position\":0,"
                                "\"parameters\":{\"rate\":0.5}}");
    cr_expect_eq(study_log_replay(study, record, &err), ERR_USAGE);
    cr_expect(strstr(err.message, "would not be proposed again"), "%s", err.message);
    cJSON_Delete(record);
    study_free(study);
    definition_done(&definition);
}

Test(order, wrong_words_are_refused)
{
    struct definition definition;
    struct err err = {0};
    cr_expect_eq(definition_parse_elsewhere(&definition,
                                            "{\"parameters\": {\"a\": {\"values\": [1]}}, \"order\": "
                                            "\"sorted\"}",
                                            "x", &err),
                 ERR_USAGE);
    cr_expect(strstr(err.message, "order: 'sorted', strict or free was expected"), "%s", err.message);
    definition_done(&definition);
}
