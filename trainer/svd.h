/* Singular values, by LAPACK. */
#ifndef TRAINER_SVD_H
#define TRAINER_SVD_H

#include "common/err.h"
#include "trainer/real.h"

/* a = U diag(s) V of a column-major (m, n) matrix, which is destroyed; k = min(m, n). u: (m, k) and v: (k, n), both
 * column-major; s descending. ERR_NOMEM; ERR_NUMERIC when it does not converge. */
int svd(int m, int n, real *a, real *s, real *u, real *v, struct err *err) MUST_CHECK;

/* The singular values alone, in double whatever `real` is; a is destroyed, s: min(m, n), descending. */
int svd_values(int m, int n, double *a, double *s, struct err *err) MUST_CHECK;

#endif
