/* Mixtures of experts: copies of a feed-forward are the feed-forward, capacity and load by hand, and what does not go.
 */
#include <math.h>

#include "tests/support/small_trial.h"

#define WHOLE "\"expert_kind\":\"feed_forward\""

static double first_loss(const char *settings, size_t *trained)
{
    struct small_trial small;
    struct err err = {0};
    double loss = 0;
    cr_assert_eq(small_open(&small, "m2m", settings, &err), 0, "%s: %s", settings, err.message);
    *trained = params_count_trained(&small.trial.model.params);
    dataset_order(small.trial.order, 12, 5, 0, false);
    cr_assert_eq(trial_micro_batch(&small.trial, 0, 0, 12, 1, &loss, &err), 0, "%s: %s", settings, err.message);
    small_close(&small);
    return loss;
}

/* With weights that add up to one, copies give what the original gave; and 2 · (2df + f + d) parameters are replaced by
 * E times as many and a gate. */
Test(mixture, of_copies_is_the_feed_forward)
{
    static const struct {
        const char *settings;
        size_t n_experts;
    } cases[] = {{"\"method\":[\"full\",\"smoe\"]," WHOLE ",\"strata\":[1],\"balance_weight\":0,\"dropout\":0", 1},
                 {"\"method\":[\"full\",\"smoe\"]," WHOLE
                  ",\"strata\":[4],\"expert_top\":2,\"balance_weight\":0,\"dropout\":0",
                  4}};
    size_t plain, trained, d = 32, f = 48;
    double loss = first_loss("\"method\":\"full\",\"dropout\":0", &plain);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t n = cases[i].n_experts;
        cr_expect_float_eq(first_loss(cases[i].settings, &trained), loss, 1e-5, "%s", cases[i].settings);
        cr_expect_eq(trained, plain + 2 * ((n - 1) * (2 * d * f + f + d) + n * d), "%zu trained", trained);
    }
}

/* Parameters of K strata: experts, gates over those of their stratum and above, norms between (methods.md B3). */
Test(mixture, has_the_parameters_of_the_paper)
{
    size_t plain, trained, d = 32, f = 48;
    (void)first_loss("\"method\":\"full\"", &plain);
    (void)first_loss("\"method\":[\"full\",\"smoe\"]," WHOLE ",\"strata\":[2,1,3],\"expert_top\":2", &trained);
    cr_expect_eq(trained, plain + 2 * (5 * (2 * d * f + f + d) + d * (6 + 4 + 3) + 2 * 2 * d), "%zu", trained);
}

struct found {
    double capacity, overflow, entropy, load, by_task, by_band;
    int n;
};

static void take(void *context, const char *name, double value)
{
    struct found *found = context;
    found->n++;
    if (strcmp(name, "capacity") == 0)
        found->capacity = value;
    if (strcmp(name, "expert_overflow") == 0)
        found->overflow = value;
    if (strcmp(name, "gate_entropy") == 0)
        found->entropy = value;
    if (strncmp(name, "expert_load/", 12) == 0)
        found->load += value;
    if (strncmp(name, "capacity/task/", 14) == 0)
        found->by_task += value;
    if (strncmp(name, "capacity/frequency/", 19) == 0)
        found->by_band += value;
}

static struct found counted(const char *settings)
{
    struct small_trial small;
    struct err err = {0};
    struct found found = {0};
    double loss = 0;
    cr_assert_eq(small_open(&small, "m2m", settings, &err), 0, "%s: %s", settings, err.message);
    dataset_order(small.trial.order, 12, 5, 0, false);
    struct params *params = &small.trial.model.params;
    for (size_t i = 0; i < params->count; i++) /* gates that know no difference: the first expert is the best */
        if (strstr(params->items[i]->name, ".smoe.g"))
            memset(params->items[i]->value.data, 0, param_size(params->items[i]) * sizeof(real));
    cr_assert_eq(trial_micro_batch(&small.trial, 0, 0, 12, 1, &loss, &err), 0, "%s: %s", settings, err.message);
    struct model *const models[] = {&small.trial.model, &small.trial.lanes.second};
    methods_measure(small.job.settings, models, 2, true, take, &found);
    struct found again = {0};
    methods_measure(small.job.settings, models, 2, true, take, &again);
    cr_expect_eq(again.n, 0, "counts do not start anew: %d values", again.n);
    small_close(&small);
    return found;
}

Test(mixture, counts_capacity_load_and_overflow)
{
    /* Even gates: all tokens go to the first expert, an expert of stratum 1, then to the first of stratum 2. */
    struct found two = counted("\"method\":\"smoe\",\"expert_interval\":2,\"strata\":[2,2]");
    cr_expect_float_eq(two.capacity, 2, 1e-12);
    cr_expect_float_eq(two.overflow, 0, 1e-12);
    cr_expect_float_eq(two.entropy, (log(4) + log(2)) / 2, 1e-6);
    cr_expect_float_eq(two.load, 2, 1e-12, "shares of two layers");
    cr_expect_float_eq(two.by_task, 2 * 2, 1e-12, "two tasks of capacity 2");
    cr_expect_float_eq(two.by_band, 4 * 2, 1e-12, "four bands of capacity 2");
    /* One stratum of four with room for ⌈n/4⌉ each: about three quarters find none. */
    struct found one = counted("\"method\":\"smoe\",\"expert_interval\":2,\"strata\":[4],\"expert_capacity\":1");
    cr_expect_float_eq(one.capacity, 1, 1e-12);
    cr_expect(one.overflow > 0.7 && one.overflow <= 0.75, "%g", one.overflow);
}

Test(mixture, refuses_what_does_not_go)
{
    static const char *const cases[][3] = {
        {"bert", "\"method\":\"smoe\"," WHOLE, "BART and M2M100"},
        {"m2m", "\"method\":[\"lora\",\"smoe\"],\"targets\":[\"fc1\"],\"rank\":2," WHOLE, "adapted by one method"},
        {"m2m", "\"method\":[\"smoe\",\"lora\"],\"targets\":[\"fc2\"],\"rank\":2," WHOLE, "adapted by one method"},
        {"m2m", "\"method\":\"smoe\"," WHOLE ",\"expert_inner_size\":7", "settings.expert_inner_size: 7"},
        {"m2m", "\"method\":\"smoe\",\"strata\":[1],\"expert_top\":2", "settings.expert_top"},
        {"m2m", "\"method\":\"smoe\",\"strata\":[]", "strata"},
        {"m2m", "\"method\":\"smoe\",\"strata\":[2,0]", "strata"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct small_trial small;
        struct err err = {0};
        cr_expect_lt(small_open(&small, cases[i][0], cases[i][1], &err), 0, "%s", cases[i][1]);
        cr_expect(strstr(err.message, cases[i][2]), "%s: %s", cases[i][1], err.message);
        small_close(&small);
    }
}
