/* Formulas of search against values computed elsewhere (tests/fixtures/make_search_values.py). */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "common/json.h"
#include "orchestrator/search_acquire.h"
#include "orchestrator/search_gp_model.h"
#include "orchestrator/search_minimize.h"
#include "orchestrator/search_pareto.h"
#include "orchestrator/search_sobol.h"

static cJSON *values;

static void setup(void)
{
    struct err err;
    cr_assert_eq(json_read_file("tests/fixtures/search-values.json", &values, &err), 0, "%s", err.message);
}

static void teardown(void)
{
    json_free(values);
}

TestSuite(search_formulas, .init = setup, .fini = teardown);

static double number(const cJSON *object, const char *key)
{
    return json_get(object, key)->valuedouble;
}

/* The numbers of an array, of arrays row after row; owned by the caller. */
static double *numbers(const cJSON *array, int *n)
{
    double *out = calloc(4096, sizeof(*out));
    *n = 0;
    for (const cJSON *item = array->child; item; item = item->next) {
        if (!cJSON_IsArray(item))
            out[(*n)++] = cJSON_IsBool(item) ? cJSON_IsTrue(item) : item->valuedouble;
        for (const cJSON *inner = cJSON_IsArray(item) ? item->child : NULL; inner; inner = inner->next)
            out[(*n)++] = inner->valuedouble;
    }
    return out;
}

static void expect_near(double value, double expected, double relative, const char *what)
{
    cr_expect(fabs(value - expected) <= relative * fmax(1e-2, fabs(expected)), "%s: %.17g, %.17g was expected", what,
              value, expected);
}

Test(search_formulas, sobol_points_are_those_of_scipy)
{
    for (const cJSON *item = json_get(values, "sobol")->child; item; item = item->next) {
        uint32_t index = (uint32_t)number(item, "index");
        double u = sobol_component(index, (int)number(item, "dimension")) / 4294967296.0;
        cr_expect_eq(u, number(item, "value"), "point %u dimension %g: %g", index, number(item, "dimension"), u);
    }
}

/* Scrambling keeps the net: of 2^k points each of 2^k cells of a dimension has one. */
Test(search_formulas, scrambled_points_stay_a_net)
{
    for (int dimension = 0; dimension < 128; dimension++) {
        bool seen[64] = {0};
        for (uint32_t i = 0; i < 64; i++) {
            double u[128];
            sobol_point(5, i, u, 128);
            cr_assert(u[dimension] >= 0 && u[dimension] < 1);
            int cell = (int)(u[dimension] * 64);
            cr_expect_not(seen[cell], "dimension %d: cell %d twice", dimension, cell);
            seen[cell] = true;
        }
    }
}

Test(search_formulas, expected_improvement)
{
    for (const cJSON *item = json_get(values, "log_h")->child; item; item = item->next) {
        double slope, value = acquire_log_h(number(item, "z"), &slope);
        /* log h(z) near 0 is a difference: absolute there. The series beyond −25 leaves out terms of 105·9/z^8. */
        cr_expect(fabs(value - number(item, "value")) <= 1e-8 * fmax(1, fabs(number(item, "value"))),
                  "log h(%g): %.15g", number(item, "z"), value);
        expect_near(slope, number(item, "slope"), 1e-7, "slope of log h");
    }
}

Test(search_formulas, probability_of_feasibility)
{
    for (const cJSON *item = json_get(values, "log_probability")->child; item; item = item->next) {
        double z = number(item, "z"), value = acquire_log_probability(0, 1, z, NULL, NULL);
        cr_expect(fabs(value - number(item, "value")) <= 1e-5 * fmax(1e-10, fabs(number(item, "value"))),
                  "log P(%g): %.15g", z, value);
    }
}

/* Derivatives against central differences: 1e-6 steps in double leave 1e-9 of rounding and 1e-12 of curvature. */
Test(search_formulas, derivatives_of_acquisition)
{
    static const double cases[][3] = {{0.3, 0.5, 0.2}, {2, 0.1, 0.5}, {-1, 2, 0}, {5, 0.15, 0}, {0, 1e-2, 0.4}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        double m = cases[i][0], s = cases[i][1], best = cases[i][2], dm, ds, step = 1e-6 * s;
        acquire_log_ei(m, s, best, &dm, &ds);
        double by_m = (acquire_log_ei(m + step, s, best, NULL, NULL) - acquire_log_ei(m - step, s, best, NULL, NULL));
        double by_s = (acquire_log_ei(m, s + step, best, NULL, NULL) - acquire_log_ei(m, s - step, best, NULL, NULL));
        expect_near(dm, by_m / (2 * step), 1e-5, "log EI by mean");
        expect_near(ds, by_s / (2 * step), 1e-5, "log EI by deviation");
        acquire_log_probability(m, s, best, &dm, &ds);
        by_m = acquire_log_probability(m + step, s, best, NULL, NULL) -
               acquire_log_probability(m - step, s, best, NULL, NULL);
        expect_near(dm, by_m / (2 * step), 1e-5, "log P by mean");
    }
}

Test(search_formulas, expected_gain_of_hypervolume)
{
    const cJSON *ehvi = json_get(values, "ehvi");
    int n;
    double *front = numbers(json_get(ehvi, "front"), &n), *reference;
    int two;
    reference = numbers(json_get(ehvi, "reference"), &two);
    for (const cJSON *item = json_get(ehvi, "cases")->child; item; item = item->next) {
        double *mean = numbers(json_get(item, "mean"), &two), *deviation = numbers(json_get(item, "deviation"), &two);
        /* The quadrature's grid has kinks within its cells: 1e-4. */
        expect_near(acquire_ehvi2(mean, deviation, (const double(*)[2])front, n / 2, reference), number(item, "value"),
                    1e-4, "EHVI");
        free(mean);
        free(deviation);
    }
    free(front);
    free(reference);
}

Test(search_formulas, gaussian_process)
{
    const cJSON *gp_values = json_get(values, "gp");
    int n, nx, nd, d, n_at;
    double *x = numbers(json_get(gp_values, "x"), &nx), *y = numbers(json_get(gp_values, "y"), &n);
    double *noise = numbers(json_get(gp_values, "noise"), &n), *theta = numbers(json_get(gp_values, "theta"), &nd);
    double *at = numbers(json_get(gp_values, "at"), &n_at), *mean = numbers(json_get(gp_values, "mean"), &nd);
    double *deviation = numbers(json_get(gp_values, "deviation"), &nd), gradient[5], cross[64];
    bool is_category[3] = {false, false, true};
    struct arena scratch = {0};
    struct gp gp = {0};
    d = nx / n;
    struct gp_data data = {n, d, x, is_category, y, noise, NULL};
    double evidence = gp_evidence(&data, theta, gradient, &scratch);
    expect_near(evidence - gp_log_prior(theta, d, false), number(gp_values, "evidence"), 1e-9, "evidence");
    for (int k = 0; k < 5; k++) {
        double step = 1e-5, was = theta[k];
        theta[k] = was + step;
        double up = gp_evidence(&data, theta, NULL, &scratch);
        theta[k] = was - step;
        double down = gp_evidence(&data, theta, NULL, &scratch);
        theta[k] = was;
        cr_expect(fabs(gradient[k] - (up - down) / (2 * step)) < 1e-5 * (1 + fabs(gradient[k])), "gradient %d: %g", k,
                  gradient[k]);
    }
    /* At once and row by row. */
    for (int n_base = 0; n_base <= n; n_base += n / 2) {
        cr_assert(gp_condition(&gp, &data, theta, n_base));
        for (int i = 0; i < 5; i++) {
            double m, s, dm[3], ds[3];
            gp_predict(&gp, at + i * 3, 1, &m, &s, cross);
            cr_expect(fabs(m - mean[i]) < 1e-9, "mean %d: %.15g", i, m);
            expect_near(s, deviation[i], 1e-8, "deviation");
            gp_predict_gradient(&gp, at + i * 3, &m, &s, dm, ds);
            cr_expect(fabs(m - mean[i]) < 1e-9 && fabs(m - gp_mean(&gp, at + i * 3)) < 1e-12);
            for (int j = 0; j < 2; j++) {
                double moved[3] = {at[i * 3], at[i * 3 + 1], at[i * 3 + 2]}, up[2], down[2];
                moved[j] += 1e-5;
                gp_predict(&gp, moved, 1, &up[0], &up[1], cross);
                moved[j] -= 2e-5;
                gp_predict(&gp, moved, 1, &down[0], &down[1], cross);
                cr_expect(fabs(dm[j] - (up[0] - down[0]) / 2e-5) < 1e-5 * (1 + fabs(dm[j])));
                cr_expect(fabs(ds[j] - (up[1] - down[1]) / 2e-5) < 1e-5 * (1 + fabs(ds[j])));
            }
        }
    }
    gp_done(&gp);
    arena_done(&scratch);
    free(x);
    free(y);
    free(noise);
    free(theta);
    free(at);
    free(mean);
    free(deviation);
}

/* With a second kernel: the gradient by differences; a prediction that is the sum's; and as good as without one where
 * the second has no share. */
Test(search_formulas, gaussian_process_with_a_common_part)
{
    enum { N = 9, D = 3, THETA = 2 * D + 3 };
    double x[D * N], y[N], noise[N], theta[THETA] = {0.5, 0.2, -0.4, -0.3, -4, 0.8, -0.5, 0, -1}, gradient[THETA];
    const bool is_category[D] = {false, false, true}, is_common[D] = {true, true, false};
    struct arena scratch = {0};
    struct gp gp = {0}, plain = {0};
    for (int i = 0; i < N; i++) {
        x[i] = fmod(0.37 * i, 1);
        x[N + i] = fmod(0.61 * i + 0.2, 1);
        x[2 * N + i] = i % 3;
        y[i] = sin(5 * x[i]) + x[N + i] + 0.5 * (i % 3);
        noise[i] = 1;
    }
    struct gp_data data = {N, D, x, is_category, y, noise, is_common};
    cr_assert_eq(gp_n_theta(D, true), THETA);
    cr_assert(isfinite(gp_evidence(&data, theta, gradient, &scratch)));
    for (int k = 0; k < THETA; k++) {
        double step = 1e-5, was = theta[k];
        theta[k] = was + step;
        double up = gp_evidence(&data, theta, NULL, &scratch);
        theta[k] = was - step;
        double down = gp_evidence(&data, theta, NULL, &scratch);
        theta[k] = was;
        cr_expect(fabs(gradient[k] - (up - down) / (2 * step)) < 1e-5 * (1 + fabs(gradient[k])), "gradient %d: %g", k,
                  gradient[k]);
    }
    double at[D] = {0.41, 0.77, 1}, mean, deviation, dm[D], ds[D], cross[N];
    cr_assert(gp_condition(&gp, &data, theta, N / 2));
    gp_predict_gradient(&gp, at, &mean, &deviation, dm, ds);
    for (int j = 0; j < 2; j++) {
        double moved[D] = {at[0], at[1], at[2]}, up[2], down[2];
        moved[j] += 1e-5;
        gp_predict(&gp, moved, 1, &up[0], &up[1], cross);
        moved[j] -= 2e-5;
        gp_predict(&gp, moved, 1, &down[0], &down[1], cross);
        cr_expect(fabs(dm[j] - (up[0] - down[0]) / 2e-5) < 1e-5 * (1 + fabs(dm[j])));
        cr_expect(fabs(ds[j] - (up[1] - down[1]) / 2e-5) < 1e-5 * (1 + fabs(ds[j])));
    }
    /* K α = y: the mean at a row is its value less the noise's share. */
    double row[D] = {x[4], x[N + 4], x[2 * N + 4]};
    cr_expect(fabs(gp_mean(&gp, row) - (y[4] - (exp(theta[4]) + 1e-9) * gp.weights[4])) < 1e-9);
    theta[THETA - 1] = -60;
    data.is_common = NULL;
    cr_assert(gp_condition(&plain, &data, theta, N / 2));
    data.is_common = is_common;
    cr_assert(gp_condition(&gp, &data, theta, N / 2));
    cr_expect(fabs(gp_mean(&gp, at) - gp_mean(&plain, at)) < 1e-9);
    gp_done(&gp);
    gp_done(&plain);
    arena_done(&scratch);
}

Test(search_formulas, fronts_and_hypervolume)
{
    int n, ranks[64];
    struct err err;
    double *points = numbers(json_get(json_get(values, "ranks"), "points"), &n);
    int n_expected;
    double *expected = numbers(json_get(json_get(values, "ranks"), "ranks"), &n_expected);
    cr_assert_eq(pareto_ranks(points, n / 3, 3, ranks, &err), 0);
    for (int i = 0; i < n / 3; i++)
        cr_expect_eq(ranks[i], (int)expected[i], "point %d", i);
    free(points);
    free(expected);
    for (const cJSON *item = json_get(values, "hypervolume")->child; item; item = item->next) {
        int m;
        double volume, *reference = numbers(json_get(item, "reference"), &m);
        points = numbers(json_get(item, "points"), &n);
        cr_assert_eq(pareto_hypervolume(points, n / m, m, reference, &volume, &err), 0);
        cr_expect_eq(volume, number(item, "value"), "%d objectives: %g", m, volume);
        free(points);
        free(reference);
    }
}

static double bowl(const double *x, double *gradient, void *context)
{
    double sum = 0;
    int n = *(int *)context;
    for (int i = 0; i < n; i++) {
        double weight = i + 1, off = x[i] - (i - 1);
        sum += weight * off * off;
        gradient[i] = 2 * weight * off;
    }
    return sum;
}

/* The minimum (−1, 0, 1, 2, …) is cut by the box: the answer is its nearest corner or face. */
Test(search_formulas, minimisation_in_a_box)
{
    int n = 6;
    double x[6] = {0.5, 0.5, 0.5, 0.5, 0.5, 0.5}, low[6] = {0}, high[6] = {1, 1, 1, 1, 1, 1};
    minimize_box(x, low, high, n, bowl, &n, 200, 1e-9);
    for (int i = 0; i < n; i++)
        cr_expect_float_eq(x[i], i < 2 ? 0 : 1, 1e-6, "%d: %g", i, x[i]);
}
