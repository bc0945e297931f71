/* LAPACK's divide and conquer. */
#include "trainer/svd.h"

#include <stdlib.h>

#ifdef REAL_DOUBLE
#define GESDD dgesdd_
#else
#define GESDD sgesdd_
#endif

void GESDD(const char *job, const int *m, const int *n, real *a, const int *lda, real *s, real *u, const int *ldu,
           real *v, const int *ldv, real *work, const int *work_size, int *integers, int *info, size_t job_length);

#ifndef REAL_DOUBLE
void dgesdd_(const char *job, const int *m, const int *n, double *a, const int *lda, double *s, double *u,
             const int *ldu, double *v, const int *ldv, double *work, const int *work_size, int *integers, int *info,
             size_t job_length);
#endif

int svd_values(int m, int n, double *a, double *s, struct err *err)
{
    int k = m < n ? m : n, info = 0, query = -1, one = 1;
    double best = 0, none = 0;
    int *integers = malloc(8 * (size_t)k * sizeof(*integers));
    double *work = NULL;
    if (integers) {
        dgesdd_("N", &m, &n, a, &m, s, &none, &one, &none, &one, &best, &query, integers, &info, 1);
        int size = (int)best + 1;
        work = malloc((size_t)size * sizeof(*work));
        if (work)
            dgesdd_("N", &m, &n, a, &m, s, &none, &one, &none, &one, work, &size, integers, &info, 1);
    }
    int rc = !work  ? err_set(err, ERR_NOMEM, "no memory for the singular values of a %d x %d matrix", m, n)
             : info ? err_set(err, ERR_NUMERIC, "the singular values of a %d x %d matrix do not converge", m, n)
                    : 0;
    free(work);
    free(integers);
    return rc;
}

int svd(int m, int n, real *a, real *s, real *u, real *v, struct err *err)
{
    int k = m < n ? m : n, info = 0, query = -1;
    real best = 0;
    int *integers = malloc(8 * (size_t)k * sizeof(*integers));
    if (!integers)
        return err_set(err, ERR_NOMEM, "no memory for the singular values of a %d x %d matrix", m, n);
    GESDD("S", &m, &n, a, &m, s, u, &m, v, &k, &best, &query, integers, &info, 1);
    int size = (int)best + 1;
    real *work = malloc((size_t)size * sizeof(*work));
    if (work)
        GESDD("S", &m, &n, a, &m, s, u, &m, v, &k, work, &size, integers, &info, 1);
    int rc = !work  ? err_set(err, ERR_NOMEM, "no memory for the singular values of a %d x %d matrix", m, n)
             : info ? err_set(err, ERR_NUMERIC, "the singular values of a %d x %d matrix do not converge", m, n)
                    : 0;
    free(work);
    free(integers);
    return rc;
}
