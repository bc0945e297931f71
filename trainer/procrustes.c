/* Orthogonal Procrustes. */
#include "trainer/procrustes.h"

#include <stdlib.h>

#include "trainer/gemm.h"
#include "trainer/svd.h"

int procrustes(const real *a, int width_a, const real *b, int width_b, int n, real *w, struct err *err)
{
    int k = width_a < width_b ? width_a : width_b;
    size_t size = (size_t)width_a * (size_t)width_b;
    real *m = malloc((size + 1) * sizeof(*m)), *s = malloc((size_t)k * sizeof(*s));
    real *u = malloc((size_t)width_b * (size_t)k * sizeof(*u)), *v = malloc((size_t)k * (size_t)width_a * sizeof(*v));
    int rc =
        m && s && u && v ? 0 : err_set(err, ERR_NOMEM, "no memory to align %d and %d dimensions", width_a, width_b);
    if (rc == 0) {
        /* aᵀ b row by row is bᵀ a column by column, which LAPACK reads. */
        gemm(true, false, width_a, width_b, n, 1, a, width_a, b, width_b, 0, m, width_b);
        rc = svd(width_b, width_a, m, s, u, v, err);
    }
    /* Column by column U is (k, width_b) row by row, and V is (width_a, k): w = Uᵀ-stored · Vᵀ-stored. */
    if (rc == 0)
        gemm(true, true, width_b, width_a, k, 1, u, width_b, v, k, 0, w, width_a);
    free(m);
    free(s);
    free(u);
    free(v);
    return rc;
}
