/* Every level this processor has, against double-precision formulas and against the shared generator. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "trainer/kernels.h"
#include "trainer/ops.h"

static const struct kernels *const levels[] = {&kernels_portable,
#ifdef __x86_64__
                                               &kernels_avx2, &kernels_avx512
#endif
};
enum { N_LEVELS = sizeof(levels) / sizeof(levels[0]) };

static bool has(const struct kernels *level)
{
    struct err err;
    return kernels_select(level->level, &err) == 0;
}

Test(kernels, random_words_are_those_of_the_generator)
{
    struct rng rng = rng_make(42, RNG_DROPOUT);
    uint32_t expected[203], found[203];
    rng_fill(rng, 7, 8, 9, expected, 203);
    for (int l = 0; l < N_LEVELS; l++)
        for (size_t n = 0; has(levels[l]) && n <= 203; n += 29) {
            levels[l]->random_words(rng, 7, 8, 9, found, n);
            for (size_t i = 0; i < n; i++)
                cr_assert_eq(found[i], expected[i], "%s: word %zu of %zu", levels[l]->level, i, n);
        }
}

/* Element i stands on half i mod 2 of word i/2: sizes around a block and odd ones. */
Test(kernels, masks_are_halves_of_the_generators_words)
{
    static const size_t sizes[] = {0, 1, 2, 31, 127, 128, 129, 401};
    struct rng rng = rng_make(43, RNG_DROPOUT);
    uint32_t words[201], threshold = 6554;
    uint8_t found[401];
    real x[401], y[401];
    rng_fill(rng, 1, 2, 3, words, 201);
    for (int i = 0; i < 401; i++)
        x[i] = (real)(i + 1);
    for (int l = 0; l < N_LEVELS; l++)
        for (size_t s = 0; has(levels[l]) && s < sizeof(sizes) / sizeof(sizes[0]); s++) {
            levels[l]->keep_mask(rng, 1, 2, 3, threshold, found, sizes[s]);
            levels[l]->mask(y, x, found, 2, sizes[s], true);
            levels[l]->mask(y, x, found, 3, sizes[s], false);
            for (size_t i = 0; i < sizes[s]; i++) {
                bool is_kept = (i % 2 ? words[i / 2] >> 16 : words[i / 2] & 0xffffu) >= threshold;
                cr_assert_eq(found[i], is_kept, "%s: element %zu of %zu", levels[l]->level, i, sizes[s]);
                cr_assert_eq(y[i], is_kept ? 5 * x[i] : 0, "%s: element %zu", levels[l]->level, i);
            }
        }
}

/* Against the definition: the nearest number with 7 bits of mantissa, the even one of two. */
Test(kernels, bf16_is_rounded_to_nearest_even)
{
    static const struct {
        float x;
        uint16_t y;
    } cases[] = {{0.0F, 0x0000},
                 {-0.0F, 0x8000},
                 {1.0F, 0x3f80},
                 {0x1.01p0F, 0x3f80},
                 {0x1.010002p0F, 0x3f81},
                 {0x1.03p0F, 0x3f82},
                 {0x1.02fffep0F, 0x3f81},
                 {-0x1.03p0F, 0xbf82},
                 {0x1.fffffep0F, 0x4000},
                 {0x1.fffffep127F, 0x7f80},
                 {(float)INFINITY, 0x7f80},
                 {0x1p-149F, 0x0000}};
    enum { N = sizeof(cases) / sizeof(cases[0]) };
    real x[N + 1];
    uint16_t y[N + 1];
    for (int i = 0; i < N; i++)
        x[i] = (real)cases[i].x;
    x[N] = (real)NAN;
    for (int l = 0; l < N_LEVELS; l++) {
        if (!has(levels[l]))
            continue;
        levels[l]->to_bf16(y, x, N + 1);
        for (int i = 0; i < N; i++)
            cr_assert_eq(y[i], cases[i].y, "%s: %a is %04x", levels[l]->level, (double)cases[i].x, y[i]);
        cr_assert((y[N] & 0x7f80) == 0x7f80 && (y[N] & 0x7f) != 0, "%s: NaN is %04x", levels[l]->level, y[N]);
    }
}

static double truth(enum activation activation, double x)
{
    switch (activation) {
    case ACTIVATION_RELU:
        return x > 0 ? x : 0;
    case ACTIVATION_GELU:
        return 0.5 * x * (1 + erf(x / sqrt(2)));
    case ACTIVATION_GELU_NEW:
        return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case ACTIVATION_SILU:
        return x / (1 + exp(-x));
    case ACTIVATION_TANH:
        return tanh(x);
    case ACTIVATION_SIGMOID:
        return 1 / (1 + exp(-x));
    }
    return NAN;
}

/* The header promises 1e-6 of max(1, |x|). */
Test(kernels, activations)
{
    enum { N = 4001 };
    static real x[N], y[N];
    for (int i = 0; i < N; i++)
        x[i] = (real)((i - N / 2) * 0.005);
    for (int l = 0; l < N_LEVELS; l++)
        for (int a = 0; has(levels[l]) && a <= ACTIVATION_SIGMOID; a++) {
            levels[l]->activation(y, x, a, N);
            for (int i = 0; i < N; i++) {
                double error = fabs((double)y[i] - truth((enum activation)a, (double)x[i]));
                cr_assert_leq(error, 1e-6 * fmax(1, fabs((double)x[i])), "%s, activation %d at %g: off by %g",
                              levels[l]->level, a, (double)x[i], error);
            }
        }
}

Test(kernels, exponential)
{
    enum { N = 2000 };
    static real x[N], y[N];
    for (int i = 0; i < N; i++)
        x[i] = (real)(-i * 0.05);
    for (int l = 0; l < N_LEVELS; l++) {
        double sum = 0;
        if (!has(levels[l]))
            continue;
        real found = levels[l]->exp_sum(y, x, (real)0.25, N);
        for (int i = 0; i < N; i++) {
            double expected = exp((double)(x[i] - (real)0.25)); /* the difference is rounded first */
            sum += expected;
            if (expected > 1e-37)
                cr_assert_leq(fabs((double)y[i] / expected - 1), 3e-7, "%s at %g", levels[l]->level, (double)x[i]);
            else
                cr_assert(y[i] >= 0 && (double)y[i] < 1e-36);
        }
        cr_assert_float_eq((double)found, sum, 1e-5 * sum);
    }
}

Test(kernels, unknown_level)
{
    struct err err;
    cr_assert_eq(kernels_select("sse9", &err), ERR_UNSUPPORTED);
    cr_assert(strstr(err.message, "'sse9'"));
}
