/* Matrix products: the one place where the library's GEMM is called. Row-major, one thread. */
#ifndef TRAINER_GEMM_H
#define TRAINER_GEMM_H

#include <stdbool.h>
#include <stddef.h>

#include "trainer/real.h"

/* c = alpha op(a) op(b) + beta c.   op(a): (m, k)   op(b): (k, n)   c: (m, n)
 * lda, ldb, ldc: elements from one stored row to the next. beta 0 never reads c. Nothing happens when m or n is 0; with
 * k 0 the product is 0. */
void gemm(bool transpose_a, bool transpose_b, int m, int n, int k, real alpha, const real *a, int lda, const real *b,
          int ldb, real beta, real *c, int ldc);
/* Version and core of the library: "OpenBLAS 0.3.21 …", "SkylakeX". Static text. */
const char *gemm_library(void);
const char *gemm_core(void);
/* One thread from here on, whatever the environment says: threads are the job's. */
void gemm_set_threads(int n);

/* Address space that the library takes for `callers` threads and for those of its own that it started when it was
 * loaded. It touches little of it, but when it cannot have it, it asks again for ever. */
size_t gemm_reserved_bytes(int callers);

#endif
