/* Products of bfloat16 numbers against sums in double, and the copies of weights that they are made with. */
#include "trainer/gemm_bf16.h"

#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "trainer/halves.h"
#include "trainer/kernels.h"
#include "trainer/ops.h"

enum { LARGEST = 96 * 130 };

static float widened(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void fill(uint16_t *half, size_t n, uint64_t stream)
{
    real values[LARGEST];
    uint32_t words[LARGEST];
    cr_assert_leq(n, LARGEST);
    rng_fill(rng_make(stream, RNG_DROPOUT), 0, 0, 0, words, (uint32_t)n);
    for (size_t i = 0; i < n; i++)
        values[i] = (real)((double)words[i] / 4294967296.0 - 0.5);
    kernels_portable.to_bf16(half, values, n);
}

static void expect_product(bool ta, bool tb, int m, int n, int k, bool has_bias, bool adds)
{
    static uint16_t a[LARGEST], b[LARGEST];
    static real c[LARGEST], bias[256];
    fill(a, (size_t)m * (size_t)k, 1);
    fill(b, (size_t)k * (size_t)n, 2);
    for (int j = 0; j < n; j++)
        bias[j] = (real)(0.25 * (j % 7));
    for (int i = 0; i < m * n; i++)
        c[i] = 3;
    cr_assert(gemm_bf16(ta, tb, m, n, k, a, b, has_bias ? bias : NULL, adds, c));
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            double sum = adds ? 3 : 0;
            for (int l = 0; l < k; l++)
                sum += (double)widened(ta ? a[l * m + i] : a[i * k + l]) *
                       (double)widened(tb ? b[j * k + l] : b[l * n + j]);
            sum += has_bias ? (double)bias[j] : 0;
            cr_assert_float_eq((double)c[i * n + j], sum, 2e-5, "%d x %d x %d%s%s at %d, %d: %g, %g", m, n, k,
                               ta ? " ta" : "", tb ? " tb" : "", i, j, (double)c[i * n + j], sum);
        }
}

static bool is_available(void)
{
    struct err err = {0};
    if (gemm_bf16_open(&err) == 0)
        return true;
    cr_assert_eq(err.code, ERR_UNSUPPORTED);
    cr_assert_str_eq(gemm_bf16_library(), "");
    cr_log_warn("%s", err.message);
    return false;
}

static void *many_sizes(void *context)
{
    (void)context;
    for (int m = 1; m < 300; m++) /* more than a thread keeps */
        expect_product(false, true, m % 37 + 1, 64, 8 + m % 9, m % 2, false);
    return NULL;
}

Test(gemm_bf16, equals_sums_in_double)
{
    static const int sizes[][3] = {{1, 1, 1}, {3, 64, 64}, {96, 100, 65}, {17, 96, 130}};
    if (!is_available())
        return;
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
        for (int form = 0; form < 16; form++)
            if (!(form & 4) || !(form & 8)) /* a bias or a sum */
                expect_product(form & 1, form & 2, sizes[s][0], sizes[s][1], sizes[s][2], form & 4, form & 8);
}

Test(gemm_bf16, keeps_the_newest_products)
{
    pthread_t other;
    if (!is_available())
        return;
    many_sizes(NULL);
    cr_assert_eq(pthread_create(&other, NULL, many_sizes, NULL), 0);
    cr_assert_eq(pthread_join(other, NULL), 0);
}

Test(halves, trained_weights_are_rounded_again_and_frozen_ones_are_not)
{
    struct arena arena = {0};
    real data[4] = {1, 2, 3, 4}, frozen[2] = {5, 6};
    struct value weight = {.data = data, .rows = 2, .cols = 2, .needs_grad = true, .is_parameter = true},
                 still = {.data = frozen, .rows = 1, .cols = 2, .is_parameter = true};
    struct halves *halves = halves_open(&arena);
    cr_assert_not_null(halves);
    cr_expect_eq(widened(halves_get(halves, &weight)[3]), 4);
    const uint16_t *first = halves_get(halves, &still);
    cr_expect_eq(widened(first[1]), 6);
    data[3] = 8;
    frozen[1] = 9;
    cr_expect_eq(widened(halves_get(halves, &weight)[3]), 4, "nobody said that it changed");
    halves_changed(halves);
    cr_expect_eq(widened(halves_get(halves, &weight)[3]), 8);
    cr_expect_eq(halves_get(halves, &still), first);
    cr_expect_eq(widened(first[1]), 6);
    halves_close(halves);
    arena_done(&arena);
}

/* The loss over a vocabulary and d loss / d x, with bfloat16 copies of its weight or without. */
static double token_loss(struct halves *halves, struct value *w, struct value *b, real *dx)
{
    enum { ROWS = 9 };
    static real data[ROWS * 64];
    static int32_t labels[ROWS];
    struct arena arena = {0};
    struct tape tape = {.is_recording = true, .halves = halves};
    struct err err;
    for (int i = 0; i < ROWS * 64; i++)
        data[i] = (real)((i * 31) % 23 - 11) / 20;
    for (int i = 0; i < ROWS; i++)
        labels[i] = (i * 17) % w->rows;
    tape_begin(&tape, &arena);
    struct value *x = tape_constant(&tape, data, ROWS, 64, NULL);
    cr_assert_not_null(x);
    x->needs_grad = true;
    struct loss_options options = {.labels = labels};
    struct value *loss = op_token_cross_entropy(&tape, x, w, b, &options, NULL);
    tape_backward(&tape, loss, 1);
    cr_assert_eq(tape_check(&tape, &err), 0, "%s", err.message);
    memcpy(dx, x->grad, sizeof(data));
    double value = (double)loss->data[0];
    arena_done(&arena);
    return value;
}

Test(gemm_bf16, vocabulary_is_rounded_too)
{
    enum { WORDS = 130, COUNT = 9 * 64 };
    static real weight[WORDS * 64], bias[WORDS], exact[COUNT], rounded[COUNT];
    if (!is_available())
        return;
    for (int i = 0; i < WORDS * 64; i++)
        weight[i] = (real)((i * 29) % 37 - 18) / 30;
    for (int i = 0; i < WORDS; i++)
        bias[i] = (real)(i % 5) / 5;
    struct value w = {.data = weight, .rows = WORDS, .cols = 64, .is_parameter = true};
    struct value b = {.data = bias, .rows = 1, .cols = WORDS, .is_parameter = true};
    struct arena arena = {0};
    struct halves *halves = halves_open(&arena);
    double a = token_loss(NULL, &w, &b, exact), c = token_loss(halves, &w, &b, rounded), largest = 0;
    halves_close(halves);
    arena_done(&arena);
    cr_assert(a != c && fabs(a - c) < 0.02, "%g %g", a, c);
    for (int i = 0; i < COUNT; i++)
        largest = fmax(largest, fabs((double)(exact[i] - rounded[i])));
    cr_assert(largest > 0 && largest < 2e-3, "%g", largest);
}
