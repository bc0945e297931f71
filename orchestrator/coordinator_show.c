/* Where the sweep stands, for people: names, speed, time left. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/coordinator_internal.h"

/* "lora+prompt" of the settings' method. */
const char *coordinator_method_name(struct coordinator *c, const char *settings)
{
    cJSON *json = NULL;
    struct text name = {0};
    if (!settings || json_parse(settings, strlen(settings), &json, NULL) < 0)
        return "";
    const cJSON *method = json_get(json, "method");
    if (cJSON_IsString(method))
        text_add(&name, method->valuestring);
    for (const cJSON *item = cJSON_IsArray(method) ? method->child : NULL; item; item = item->next)
        text_printf(&name, "%s%s", item == method->child ? "" : "+", cJSON_IsString(item) ? item->valuestring : "");
    const char *out = name.data ? arena_strdup(&c->arena, name.data) : "";
    text_done(&name);
    json_free(json);
    return out ? out : "";
}

/* "rank 4, learning_rate 0.001": the searched values but the method, for people. */
const char *coordinator_describe(struct coordinator *c, const char *parameters)
{
    cJSON *json = NULL;
    struct text text = {0};
    if (!parameters || json_parse(parameters, strlen(parameters), &json, NULL) < 0)
        return "";
    for (const cJSON *item = json->child; item; item = item->next) {
        if (strcmp(item->string, "method") == 0)
            continue;
        text_printf(&text, "%s%s ", text.len ? ", " : "", item->string);
        if (cJSON_IsString(item))
            text_add(&text, item->valuestring);
        else
            json_add(&text, item);
    }
    const char *out = text.data ? arena_strdup(&c->arena, text.data) : "";
    text_done(&text);
    json_free(json);
    return out ? out : "";
}

static double elapsed(const struct coordinator_slot *slot)
{
    return 1e-9 * (double)(loop_now_ns() - slot->started_ns);
}

static double steps_per_second(const struct coordinator_slot *slot)
{
    double seconds = elapsed(slot);
    bool is_known = slot->state == SLOT_RUNNING && seconds > 0.5 && slot->shown.step > slot->first_step;
    return is_known ? (double)(slot->shown.step - slot->first_step) / seconds : 0;
}

/* Seconds until all is done: what is left of the running trials by their own speed, the waiting ones by the mean of
 * those that were trained. NaN before anything is known. */
static double seconds_left(const struct coordinator *c, int64_t n_waiting)
{
    double running = 0, whole = 0, mean = c->n_trained ? c->trained_seconds / (double)c->n_trained : (double)NAN;
    int n_known = 0, n_running = 0;
    for (int i = 0; i < c->n_slots; i++) {
        const struct coordinator_slot *slot = &c->slots[i];
        double rate = steps_per_second(slot);
        n_running += slot->state != SLOT_FREE;
        if (rate <= 0 || slot->shown.total_steps <= 0)
            continue;
        running += (double)(slot->shown.total_steps - slot->shown.step) / rate;
        whole += (double)slot->shown.total_steps / rate;
        n_known++;
    }
    if (isnan(mean) && n_known > 0)
        mean = whole / n_known;
    if (isnan(mean))
        return (double)NAN;
    running += mean / 2 * (n_running - n_known);
    return (running + mean * (double)n_waiting) / (c->n_pools * c->slots_each);
}

/* A search that goes on adds trials: as many as the definition allows. */
static int64_t expected_trials(const struct coordinator *c, int64_t n)
{
    int64_t configurations = c->definition->configurations, budget = c->definition->budget.trials;
    int64_t expected = configurations > 0 ? configurations * c->definition->seeds : budget;
    if (!c->study)
        return n;
    if (budget > 0 && budget < expected)
        expected = budget;
    expected += n - c->n_by_study;
    return expected > n ? expected : n;
}

void coordinator_show(struct coordinator *c)
{
    struct progress_state state = {.sweep = c->definition->name,
                                   .best = c->best,
                                   .metric = c->definition->objectives[0].metric,
                                   .is_paused = c->is_paused};
    struct progress_slot *slots = calloc((size_t)c->n_slots, sizeof(*slots));
    if (!slots)
        return;
    for (int i = 0; i < TRIAL_STATE_COUNT; i++)
        state.n_trials += c->n_in_state[i];
    state.n_complete = c->n_in_state[TRIAL_COMPLETE];
    state.n_pruned = c->n_in_state[TRIAL_PRUNED];
    state.n_failed = c->n_in_state[TRIAL_FAILED];
    state.n_running = c->n_in_state[TRIAL_RUNNING];
    state.n_trials = expected_trials(c, state.n_trials);
    for (int i = 0; i < c->n_slots; i++) {
        if (c->slots[i].number <= c->slots_each || c->slots[i].state != SLOT_FREE)
            slots[state.n_slots++] = c->slots[i].shown;
        state.steps_per_second += steps_per_second(&c->slots[i]);
    }
    state.slots = slots;
    state.seconds_left =
        seconds_left(c, state.n_trials - state.n_complete - state.n_pruned - state.n_failed - state.n_running);
    progress_update(c->options->progress, &state);
    free(slots);
}
