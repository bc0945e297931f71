/* Which kernels the BLAS library computes with. */
#ifndef COMMON_BLAS_CORE_H
#define COMMON_BLAS_CORE_H

/* The value for OPENBLAS_CORETYPE of the best kernels for this processor: "SkylakeX" with AVX-512, "Haswell" with
 * AVX2, else NULL. */
const char *blas_core_best(void);

/* The value for OPENBLAS_CORETYPE with which the library computes as fast as this processor can, when it has chosen
 * `core` (openblas_get_corename()) by itself: "SkylakeX" with AVX-512, "Haswell" with AVX2; NULL when its choice uses
 * these already. Releases before a processor's do not know its model and take kernels of 2004, at a fifth of the
 * speed, whose sums also depend on where an array begins. */
const char *blas_core_better_than(const char *core);

#endif
