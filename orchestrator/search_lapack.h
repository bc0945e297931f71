/* The few routines of BLAS and LAPACK that searching needs, out of OpenBLAS. It is opened with dlopen when the first of
 * them is wanted: to load and start it takes longer than all else that a command does before its first trial. */
#ifndef ORCHESTRATOR_SEARCH_LAPACK_H
#define ORCHESTRATOR_SEARCH_LAPACK_H

#include <cblas.h>

#include "common/err.h"

struct lapack {
    __typeof__(cblas_ddot) *ddot;
    __typeof__(cblas_dgemv) *dgemv;
    __typeof__(cblas_dtrsv) *dtrsv;
    __typeof__(cblas_dtrsm) *dtrsm;
    void (*dpotrf)(const char *uplo, const int *n, double *a, const int *lda, int *info);
    void (*dpotri)(const char *uplo, const int *n, double *a, const int *lda, int *info);
    void (*dsyev)(const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w, double *work,
                  const int *lwork, int *info);
};

/* Loads it, once. It computes with one thread: sums in one order whatever the machine, and the cores are the trials'.
 * ERR_IO: "libopenblas.so.0: …". */
int lapack_load(struct err *err) MUST_CHECK;
/* What was loaded; loads it, and asserts that this could be done. */
const struct lapack *lapack(void);

#endif
