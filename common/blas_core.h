/* Which kernels the BLAS library computes with. */
#ifndef COMMON_BLAS_CORE_H
#define COMMON_BLAS_CORE_H

/* The value for OPENBLAS_CORETYPE with which the library computes as fast as this processor can, when it has chosen
 * `core` (openblas_get_corename()) by itself: "SkylakeX" with AVX-512, "Haswell" with AVX2; NULL when its choice uses
 * these already. Releases before a processor's do not know its model and take kernels of 2004, at a fifth of the
 * speed, whose sums also depend on where an array begins. */
const char *blas_core_better_than(const char *core);

/* Starts this program again, by exec, with OPENBLAS_CORETYPE set when it is unset and the library's own choice is
 * poorer than what the processor has; programs started from it inherit the choice. First in main(), before standard
 * input is read. Returns when there is nothing to do, or when it cannot be done: then the library's choice holds. */
void blas_core_settle(char **argv);

#endif
