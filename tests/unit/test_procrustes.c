/* Orthogonal Procrustes between spaces of different width: rotations are found again, and the least distance. */
#include <criterion/criterion.h>
#include <math.h>

#include "trainer/procrustes.h"

/* a turned by 30 degrees into a plane of three dimensions: the map is found to rounding. */
Test(procrustes, finds_the_rotation)
{
    const double c = sqrt(3) / 2, s = 0.5;
    const real a[] = {1, 0, 0, 1, 2, -1};
    real b[9], w[6];
    struct err err = {0};
    /* x → (c x0 − s x1, s x0 + c x1, 0) */
    for (int i = 0; i < 3; i++) {
        b[3 * i] = (real)(c * (double)a[2 * i] - s * (double)a[2 * i + 1]);
        b[3 * i + 1] = (real)(s * (double)a[2 * i] + c * (double)a[2 * i + 1]);
        b[3 * i + 2] = 0;
    }
    cr_assert_eq(procrustes(a, 2, b, 3, 3, w, &err), 0, "%s", err.message);
    const double expected[] = {c, -s, s, c, 0, 0};
    for (int i = 0; i < 6; i++)
        cr_expect_float_eq((double)w[i], expected[i], 1e-6, "%d: %g", i, (double)w[i]);
}

/* One row: the map takes its direction to b's, w = b aᵀ / (‖a‖‖b‖) on it, and keeps its length. */
Test(procrustes, one_row_keeps_its_length)
{
    const real a[] = {3, 4}, b[] = {0, 0, 7};
    real w[6];
    struct err err = {0};
    cr_assert_eq(procrustes(a, 2, b, 3, 1, w, &err), 0, "%s", err.message);
    double mapped[3] = {0};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 2; j++)
            mapped[i] += (double)w[2 * i + j] * (double)a[j];
    cr_expect_float_eq(mapped[0], 0, 1e-5);
    cr_expect_float_eq(mapped[1], 0, 1e-5);
    cr_expect_float_eq(mapped[2], 5, 1e-5);
    /* Columns are orthonormal. */
    for (int j = 0; j < 2; j++)
        for (int k = 0; k < 2; k++) {
            double dot = 0;
            for (int i = 0; i < 3; i++)
                dot += (double)w[2 * i + j] * (double)w[2 * i + k];
            cr_expect_float_eq(dot, j == k, 1e-6);
        }
}

/* Into a narrower space: rows are orthonormal instead. */
Test(procrustes, into_a_narrower_space)
{
    const real a[] = {1, 0, 0, 0, 1, 0}, b[] = {0, 1, -1, 0};
    real w[6];
    struct err err = {0};
    cr_assert_eq(procrustes(a, 3, b, 2, 2, w, &err), 0, "%s", err.message);
    const double expected[] = {0, -1, 0, 1, 0, 0};
    for (int i = 0; i < 6; i++)
        cr_expect_float_eq((double)w[i], expected[i], 1e-6, "%d: %g", i, (double)w[i]);
}
