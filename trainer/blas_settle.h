/* Which kernels the BLAS library computes with. */
#ifndef TRAINER_BLAS_SETTLE_H
#define TRAINER_BLAS_SETTLE_H

/* Starts this program again, by exec, with OPENBLAS_CORETYPE set when it is unset and the library's own choice is
 * poorer than what the processor has. First in main(), before standard
 * input is read. Returns when there is nothing to do, or when it cannot be done: then the library's choice holds. */
void blas_settle(char **argv);

#endif
