/* The few routines of LAPACK that searching needs; they come with OpenBLAS, which brings no header for them. */
#ifndef ORCHESTRATOR_SEARCH_LAPACK_H
#define ORCHESTRATOR_SEARCH_LAPACK_H

#include <cblas.h>

extern void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);
extern void dpotri_(const char *uplo, const int *n, double *a, const int *lda, int *info);
extern void dsyev_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w, double *work,
                   const int *lwork, int *info);

#endif
