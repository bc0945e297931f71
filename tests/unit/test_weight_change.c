/* ΔW of sites, with planted changes, and the effective rank by hand. */
#include <math.h>

#include "tests/support/small_trial.h"
#include "trainer/check.h"
#include "trainer/weight_change.h"

static struct small_trial small;

static struct site *site_of(const char *end)
{
    for (size_t i = 0; i < small.trial.model.n_sites; i++)
        if (site_matches(small.trial.model.sites[i], end))
            return small.trial.model.sites[i];
    cr_assert_fail("no site '%s'", end);
    return NULL;
}

static struct param *param_of(const char *part)
{
    struct params *params = &small.trial.model.params;
    for (size_t i = 0; i < params->count; i++)
        if (strstr(params->items[i]->name, part))
            return params->items[i];
    cr_assert_fail("no parameter '%s'", part);
    return NULL;
}

/* The weight as the folder has it. */
static real *original_of(const struct site *site, struct arena *arena)
{
    struct model base;
    struct err err = {0};
    struct model_options options = {.pooling = "pooler", .n_classes = 3};
    cr_assert_eq(model_open(&base, "tests/golden/cases/models/bert", &options, arena, &err), 0, "%s", err.message);
    const struct param *found = params_find(&base.params, site->weight->name);
    real *copy = arena_alloc(arena, param_size(found) * sizeof(*copy));
    memcpy(copy, found->value.data, param_size(found) * sizeof(*copy));
    model_close(&base);
    return copy;
}

static struct weight_change change_of(struct site *site)
{
    struct arena arena = {0};
    struct err err = {0};
    struct weight_change change;
    const real *original = original_of(site, &arena);
    cr_assert_eq(weight_change_site(&small.trial.model, site, original, true, &arena, &change, &err), 0, "%s",
                 err.message);
    arena_done(&arena);
    return change;
}

static void open_with(const char *settings)
{
    struct err err = {0};
    cr_assert_eq(small_open(&small, "bert", settings, &err), 0, "%s", err.message);
}

Test(weight_change, effective_rank_by_hand)
{
    const double equal[] = {2, 2, 2, 2}, one[] = {3, 0, 0}, two[] = {3, 1}, none[] = {0, 0};
    cr_expect_float_eq(effective_rank(equal, 4), 4, 1e-14);
    cr_expect_float_eq(effective_rank(one, 3), 1, 1e-14);
    /* exp(-(3/4 ln 3/4 + 1/4 ln 1/4)) = 4/3^(3/4) */
    cr_expect_float_eq(effective_rank(two, 2), 4 / pow(3, 0.75), 1e-14);
    cr_expect(isnan(effective_rank(none, 2)), "nothing changed: no rank");
    cr_expect(isnan(effective_rank(none, 0)));
}

Test(weight_change, nothing_trained_is_no_change)
{
    open_with("\"method\":\"linear_probe\"");
    struct weight_change change = change_of(site_of("layer.0.attention.self.query"));
    cr_expect_eq(change.squared_change, 0);
    cr_expect(change.squared_weight > 0 && isnan(change.effective_rank) && change.is_affine);
    small_close(&small);
}

/* A: two unit rows; B: two columns of lengths 3 and 1, at right angles: singular values 3s and s. */
Test(weight_change, a_planted_update_of_two_directions)
{
    open_with("\"method\":\"lora\",\"rank\":2,\"alpha\":8,\"targets\":[\"query\"],\"method_dropout\":0.3");
    struct param *a = param_of("layer.1.attention.self.query.lora_A"),
                 *b = param_of("layer.1.attention.self.query.lora_B");
    memset(a->value.data, 0, param_size(a) * sizeof(real));
    memset(b->value.data, 0, param_size(b) * sizeof(real));
    a->value.data[3] = 1;
    a->value.data[32 + 7] = 1;
    b->value.data[2 * 5] = (real)3e-3;
    b->value.data[2 * 9 + 1] = (real)1e-3;
    struct weight_change change = change_of(site_of("layer.1.attention.self.query"));
    /* scale alpha/r = 4: (12e-3)^2 + (4e-3)^2 */
    cr_expect_float_eq(change.squared_change, 144e-6 + 16e-6, 1e-10);
    cr_expect_float_eq(change.effective_rank, 4 / pow(3, 0.75), 1e-6);
    cr_expect(change.is_affine);
    cr_expect_eq(change_of(site_of("layer.0.attention.self.query")).squared_change, 0, "B is 0 there");
    cr_expect_eq(change_of(site_of("layer.1.attention.self.key")).squared_change, 0, "not a target");
    small_close(&small);
}

Test(weight_change, scaled_outputs_are_a_change_of_all_rows)
{
    open_with("\"method\":\"ia3\",\"targets\":[\"key\"],\"feed_forward_targets\":[\"output.dense\"]");
    struct param *l = param_of("layer.0.attention.self.key.ia3_l");
    for (size_t i = 0; i < param_size(l); i++)
        l->value.data[i] = (real)1.25;
    struct weight_change change = change_of(site_of("layer.0.attention.self.key"));
    cr_expect_float_eq(sqrt(change.squared_change / change.squared_weight), 0.25, 1e-6);
    small_close(&small);
}

Test(weight_change, full_training_is_the_difference)
{
    open_with("\"method\":\"full\"");
    struct site *site = site_of("layer.0.output.dense");
    site->weight->value.data[5] += (real)0.5;
    struct weight_change change = change_of(site);
    cr_expect_float_eq(change.squared_change, 0.25, 1e-6);
    cr_expect_float_eq(change.effective_rank, 1, 1e-12, "one element: one direction");
    small_close(&small);
}

/* No method may change its site's result without the check noticing: every method's start is no change to speak of,
 * and a gate that looks at its input is said to have no ΔW. */
Test(weight_change, every_method_starts_without_a_change)
{
    for (size_t i = 0; small_method(i); i++) {
        struct err err = {0};
        if (strstr(small_method(i), "fusion")) /* needs saved adapters, and changes no weight */
            continue;
        cr_assert_eq(small_open(&small, "bert", small_method(i), &err), 0, "%s: %s", small_method(i), err.message);
        for (size_t s = 0; s < small.trial.model.n_sites; s++) {
            struct site *site = small.trial.model.sites[s];
            if (site->kind != SITE_LINEAR)
                continue;
            struct weight_change change = change_of(site);
            cr_expect(!change.is_affine || change.squared_change <= 1e-8 * change.squared_weight, "%s: %s: %g of %g",
                      small_method(i), site->name, change.squared_change, change.squared_weight);
        }
        small_close(&small);
    }
}

static char sent[1 << 16];

/* The record of the check of a trial whose layer 1 was changed by hand. */
static const char *run_check(const char *settings, void (*plant)(void))
{
    struct err err = {0};
    struct trial_check *check = small.job.checks;
    open_with(settings);
    *check = (struct trial_check){.name = "0:weights", .kind = "weights"};
    if (plant)
        plant();
    records_done(&small.records);
    fclose(small.out);
    memset(sent, 0, sizeof(sent));
    small.out = fmemopen(sent, sizeof(sent), "w");
    records_init(&small.records, small.out, 1);
    cr_assert_eq(check_weights.run(&small.trial, check, &err), 0, "%s", err.message);
    fflush(small.out);
    small_close(&small);
    return sent;
}

static void plant_bias(void)
{
    param_of("layer.0.output.dense.bias")->value.data[0] += 1;
}

static void plant_layer(void)
{
    param_of("encoder.layer.1.output.dense.weight")->value.data[0] += 1;
}

Test(weight_change, the_record_says_where)
{
    const char *line = run_check("\"method\":\"full\"", plant_layer);
    cr_expect(strstr(line, "\"relative_change/layer_0\":0,"), "%.2000s", line);
    cr_expect(strstr(line, "\"effective_rank/layer_1\":1,") || strstr(line, "\"effective_rank/layer_1\":1.0") ||
                  strstr(line, "\"effective_rank/layer_1\":0.99"),
              "%.2000s", line);
    cr_expect(!strstr(line, "\"relative_change/layer_1\":0,"));
    cr_expect(strstr(line, "\"vector_change\":0,"));
    line = run_check("\"method\":\"bitfit\"", plant_bias);
    cr_expect(strstr(line, "\"relative_change\":0,"), "%.2000s", line);
    cr_expect(!strstr(line, "\"vector_change\":0,"));
    line = run_check("\"method\":\"linear_probe\"", NULL);
    cr_expect(strstr(line, "\"effective_rank\":null"), "null, not 0");
}
