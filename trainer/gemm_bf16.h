/* Matrix products of bfloat16 numbers, summed in float: oneDNN, found at run time. Row-major, one thread.
 *
 * A bfloat16 is the upper half of a float: 8 bits of exponent, 7 of mantissa. */
#ifndef TRAINER_GEMM_BF16_H
#define TRAINER_GEMM_BF16_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "trainer/real.h"

/* Finds the library. ERR_UNSUPPORTED with what is missing: built without its header (libdnnl-dev), no library
 * (libdnnl2), or a processor without AVX-512. Before the first product; calling it again does nothing. */
int gemm_bf16_open(struct err *err) MUST_CHECK;
/* c = op(a) op(b) + bias, or c += with `adds`.   op(a): (m, k)   op(b): (k, n)   bias: (1, n), of each row, or NULL
 * c: (m, n), dense; a and b dense as stored. False when the library has no memory for it; c is undefined then. Threads
 * may call it at the same time. */
bool gemm_bf16(bool transpose_a, bool transpose_b, int m, int n, int k, const uint16_t *a, const uint16_t *b,
               const real *bias, bool adds, real *c) MUST_CHECK;
/* "oneDNN 2.6.3", or "" before gemm_bf16_open. Static text. */
const char *gemm_bf16_library(void);

#endif
