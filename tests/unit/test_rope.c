/* Rotary positions of each type against the formulas of their papers, worked out here apart from the code; and configs
 * that are refused. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "common/json.h"
#include "trainer/models/rope.h"

enum { HEAD = 8, HALF = 4, POSITIONS = 128 };

static struct err err;

/* What a config gives; its frequencies stay in `arena`. */
static int load(const char *config, struct rope *rope, struct arena *arena)
{
    struct model model = {.max_positions = POSITIONS};
    cJSON *json = NULL;
    model.params.arena = arena;
    cr_assert_eq(json_parse(config, strlen(config), &json, &err), 0, "%s: %s", config, err.message);
    model.config = json;
    int rc = rope_load(&model, rope, HEAD, &err);
    json_free(json);
    return rc;
}

static double plain(double theta, int j)
{
    return pow(theta, -2.0 * j / HEAD);
}

static void expect_frequencies(const char *config, const double *wanted, double scaling)
{
    struct rope rope;
    struct arena arena = {0};
    cr_assert_eq(load(config, &rope, &arena), 0, "%s: %s", config, err.message);
    cr_assert_eq(rope.half, HALF, "%s", config);
    for (int j = 0; j < HALF; j++)
        cr_expect_float_eq(rope.frequencies[j], wanted[j], 1e-12 * wanted[j], "%s: frequency %d is %.17g, not %.17g",
                           config, j, rope.frequencies[j], wanted[j]);
    cr_expect_float_eq(rope.scaling, scaling, 1e-12, "%s: scaling %.17g", config, rope.scaling);
    arena_done(&arena);
}

Test(rope, plain_and_linear)
{
    double wanted[HALF];
    for (int j = 0; j < HALF; j++)
        wanted[j] = plain(10000, j);
    expect_frequencies("{}", wanted, 1);
    expect_frequencies("{\"rope_scaling\":null}", wanted, 1);
    for (int j = 0; j < HALF; j++)
        wanted[j] = plain(500, j) / 4;
    expect_frequencies("{\"rope_theta\":500,\"rope_scaling\":{\"type\":\"linear\",\"factor\":4}}", wanted, 1);
    expect_frequencies("{\"rope_parameters\":{\"rope_theta\":500,\"rope_type\":\"linear\",\"factor\":4}}", wanted, 1);
}

/* Wave lengths below positions/high stay, those above positions/low are divided, between them is a ramp. */
Test(rope, llama3)
{
    double wanted[HALF];
    const double factor = 8, low = 1, high = 4, original = 64;
    for (int j = 0; j < HALF; j++) {
        double f = plain(10000, j), length = 2 * M_PI / f, smooth = (original / length - low) / (high - low);
        wanted[j] = length < original / high  ? f
                    : length > original / low ? f / factor
                                              : (1 - smooth) * f / factor + smooth * f;
    }
    cr_assert(wanted[0] == plain(10000, 0) && wanted[3] == plain(10000, 3) / factor, "both ends are there");
    expect_frequencies("{\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,"
                       "\"high_freq_factor\":4,\"original_max_position_embeddings\":64}}",
                       wanted, 1);
}

/* Peng et al. 2023: the ramp runs between the indices that turn beta_fast and beta_slow times; 0.1 ln s + 1. */
Test(rope, yarn)
{
    double wanted[HALF], sharp[HALF];
    const double original = 64, factor = 2;
    for (int j = 0; j < HALF; j++) {
        double f = plain(10000, j), fast = HALF * log(original / (32 * 2 * M_PI)) / log(10000),
               slow = HALF * log(original / (2 * M_PI)) / log(10000);
        double low = fmax(floor(fast), 0), high = fmin(ceil(slow), HEAD - 1);
        double ramp = fmin(fmax((j - low) / (high - low), 0), 1);
        wanted[j] = f / factor * ramp + f * (1 - ramp);
        low = fmax(fast, 0), high = fmin(slow, HEAD - 1);
        ramp = fmin(fmax((j - low) / (high - low), 0), 1);
        sharp[j] = f / factor * ramp + f * (1 - ramp);
    }
    expect_frequencies(
        "{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2,\"original_max_position_embeddings\":64}}", wanted,
        0.1 * log(2) + 1);
    /* Without a factor it is positions over the original ones. */
    expect_frequencies("{\"original_max_position_embeddings\":64,\"rope_scaling\":{\"rope_type\":\"yarn\"}}", wanted,
                       0.1 * log(2) + 1);
    expect_frequencies("{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2,\"original_max_position_embeddings\":64,"
                       "\"truncate\":false,\"attention_factor\":1.5}}",
                       sharp, 1.5);
    expect_frequencies("{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2,\"original_max_position_embeddings\":64,"
                       "\"mscale\":2,\"mscale_all_dim\":1}}",
                       wanted, (0.2 * log(2) + 1) / (0.1 * log(2) + 1));
}

Test(rope, dynamic_keeps_the_plain_ones_and_the_factor)
{
    struct rope rope;
    struct arena arena = {0};
    cr_assert_eq(load("{\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":3}}", &rope, &arena), 0, "%s", err.message);
    cr_expect(rope.is_dynamic && rope.factor == 3 && rope.max_positions == POSITIONS);
    for (int j = 0; j < HALF; j++)
        cr_expect_float_eq(rope.frequencies[j], plain(10000, j), 1e-12);
    arena_done(&arena);
}

Test(rope, part_of_a_head_turns)
{
    struct rope rope;
    struct arena arena = {0};
    cr_assert_eq(
        load("{\"partial_rotary_factor\":0.5,\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}}", &rope, &arena), 0,
        "%s", err.message);
    cr_expect_eq(rope.half, HALF / 2);
    arena_done(&arena);
}

Test(rope, what_is_wrong_is_named)
{
    static const char *const cases[][2] = {
        {"{\"rope_theta\":0}", "rope_theta"},
        {"{\"rope_theta\":\"x\"}", "rope_theta"},
        {"{\"rope_scaling\":{\"type\":\"linear\"}}", "factor"},
        {"{\"rope_scaling\":{\"type\":\"linear\",\"factor\":-1}}", "factor"},
        {"{\"rope_scaling\":{\"type\":7}}", "type"},
        {"{\"rope_scaling\":{\"rope_type\":\"longrope\",\"factor\":2}}", "rope_type 'longrope' is not built in"},
        {"{\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":2}}", "low_freq_factor"},
        {"{\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":2,\"low_freq_factor\":4,\"high_freq_factor\":4}}",
         "is not above low_freq_factor"},
        {"{\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":2,\"low_freq_factor\":1}}", "high_freq_factor"},
        {"{\"rope_scaling\":{\"rope_type\":\"yarn\",\"beta_fast\":0}}", "beta_fast"},
        {"{\"rope_scaling\":{\"rope_type\":\"yarn\",\"beta_slow\":0}}", "beta_slow"},
        {"{\"rope_scaling\":{\"rope_type\":\"yarn\",\"truncate\":1}}", "truncate"},
        {"{\"rope_scaling\":{\"rope_type\":\"yarn\",\"mscale\":\"x\"}}", "mscale"},
        {"{\"rope_scaling\":{\"rope_type\":\"yarn\",\"mscale_all_dim\":[]}}", "mscale_all_dim"},
        {"{\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},\"partial_rotary_factor\":0}", "partial_rotary_factor"},
        {"{\"rope_scaling\":{\"type\":\"linear\",\"factor\":2,\"partial_rotary_factor\":0.1}}", "too small"},
        {"{\"original_max_position_embeddings\":\"x\"}", "original_max_position_embeddings"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rope rope;
        struct arena arena = {0};
        cr_expect_lt(load(cases[i][0], &rope, &arena), 0, "%s was taken", cases[i][0]);
        cr_expect(strstr(err.message, cases[i][1]), "%s: '%s' was expected: %s", cases[i][0], cases[i][1], err.message);
        arena_done(&arena);
    }
}
