/* Whole models with every method attached against finite differences, as --check-grad does it. */
#include "tests/support/small_trial.h"
#include "trainer/check_gradient.h"

static int check(const char *model, const char *settings)
{
    struct small_trial small;
    struct gradient_error *errors = NULL;
    struct err err = {0};
    size_t n = 0;
    int rc = small_open(&small, model, settings, &err);
    if (rc == 0) {
        rc = check_gradient(&small.trial, &errors, &n, &err);
        if (rc == ERR_UNSUPPORTED) { /* it detaches */
            small_close(&small);
            return 0;
        }
        for (size_t i = 0; i < n; i++)
            cr_expect(!errors[i].is_wrong, "%s, %s: '%s': backward %.10g, difference %.10g", model, settings,
                      errors[i].name, errors[i].backward, errors[i].difference);
        cr_expect_eq(rc, 0, "%s, %s: %s", model, settings, err.message);
        cr_expect_gt(n, 1);
    } else {
        cr_expect_eq(rc, ERR_UNSUPPORTED, "%s, %s: %s", model, settings, err.message);
    }
    small_close(&small);
    return rc == 0;
}

Test(gradient, whole_models_with_every_method)
{
    size_t n = 0;
    for (size_t i = 0; small_method(i); i++)
        n += check("bert", small_method(i)) + check("roberta", small_method(i));
    cr_assert_geq(n, 2 * N_SMALL_METHODS);
}

Test(gradient, weights_smoothing_pooling_and_activations)
{
    static const char *const settings[] = {
        "\"method\":\"full\",\"class_weights\":\"balanced\",\"label_smoothing\":0.2",
        "\"method\":\"full\",\"class_weights\":{\"0\":3,\"2\":0.5}",
        "\"method\":\"full\",\"pooling\":\"mean\",\"dropout\":0.3,\"attention_dropout\":0.3",
        "\"method\":\"full\",\"pooling\":\"first\"",
    };
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        cr_assert(check("bert", settings[i]));
}

/* Experts in the place of feed-forwards, of one and of several strata, with every way to choose and to drop. */
Test(gradient, experts_in_the_place_of_feed_forwards)
{
    static const char *const settings[] = {
        "\"method\":[\"full\",\"smoe\"],\"expert_kind\":\"feed_forward\",\"strata\":[2,2],\"expert_top\":2",
        "\"method\":[\"smoe\",\"full\"],\"expert_kind\":\"feed_forward\",\"strata\":[3],\"expert_interval\":1,"
        "\"expert_init\":\"seeded\",\"expert_inner_size\":7",
        "\"method\":\"smoe\",\"expert_kind\":\"feed_forward\",\"strata\":[2,1,2],\"expert_top\":2,\"dropout\":0.2,"
        "\"expert_capacity\":1,\"expert_masking\":0.3,\"balance_weight\":0.5",
        "\"method\":[\"smoe\",\"adapter\"],\"expert_kind\":\"feed_forward\",\"strata\":[1],\"adapter_size\":3,"
        "\"layers\":[0,3]",
        "\"method\":\"smoe\",\"strata\":[2,3],\"expert_size\":3",
    };
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        cr_assert(check("m2m", settings[i]), "%s", settings[i]);
}

/* The check itself must be able to fail: a backward pass that is off by 1 % in one tensor. */
static struct value *crooked(void *state, struct pass *pass, struct value *x, struct value *y)
{
    (void)state;
    (void)x;
    struct value *seen = tape_constant(pass->tape, y->data, y->rows, y->cols, y->layout);
    /* y + 0.01 (y − y₀) with y₀ without gradient: the same value, another gradient. */
    return op_add_scaled(pass->tape, y, op_add_scaled(pass->tape, y, seen, -1), 0.01);
}

Test(gradient, a_wrong_backward_pass_is_found)
{
    struct small_trial small;
    struct gradient_error *errors = NULL;
    struct err err = {0};
    size_t n = 0, n_wrong = 0;
    cr_assert_eq(small_open(&small, "bert", "\"method\":\"full\"", &err), 0, "%s", err.message);
    struct site *site = model_find_site(&small.trial.model, "bert.encoder.layer.1.intermediate.dense");
    const struct hook hook = {.output = crooked};
    cr_assert_eq(site_hook(site, &small.trial.arena, &hook, &err), 0);
    cr_assert_eq(check_gradient(&small.trial, &errors, &n, &err), ERR_NUMERIC);
    for (size_t i = 0; i < n; i++)
        n_wrong += errors[i].is_wrong;
    cr_expect_gt(n_wrong, 5);
    cr_expect_lt(n_wrong, n); /* what lies above it is right */
    small_close(&small);
}
