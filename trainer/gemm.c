/* GEMM on OpenBLAS. */
#include "trainer/gemm.h"

#include <cblas.h>

void gemm(bool transpose_a, bool transpose_b, int m, int n, int k, real alpha, const real *a, int lda, const real *b,
          int ldb, real beta, real *c, int ldc)
{
    CBLAS_TRANSPOSE ta = transpose_a ? CblasTrans : CblasNoTrans, tb = transpose_b ? CblasTrans : CblasNoTrans;
    if (m == 0 || n == 0)
        return;
#ifdef REAL_DOUBLE
    cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
#else
    cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
#endif
}

const char *gemm_library(void)
{
    return openblas_get_config();
}

const char *gemm_core(void)
{
    return openblas_get_corename();
}

/* Threads that the library began with. */
static int n_started = 1;

void gemm_set_threads(int n)
{
    int now = openblas_get_num_threads();
    n_started = now > n_started ? now : n_started;
    openblas_set_num_threads(n);
}

size_t gemm_reserved_bytes(int callers)
{
    const size_t buffer = (size_t)144 << 20; /* 128 MiB and its alignment */
    return (size_t)(callers + n_started - 1) * buffer;
}
