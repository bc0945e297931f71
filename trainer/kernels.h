/* Kernels between the matrix products, chosen at run time by what the processor can do.
 *
 * kernels_body.h holds the one source; kernels_portable.c, kernels_avx2.c and kernels_avx512.c compile it with
 * different flags. Sums run in a fixed order per level, so results of one level are the same on every machine. n:
 * elements. */
#ifndef TRAINER_KERNELS_H
#define TRAINER_KERNELS_H

#include <stddef.h>

#include "common/err.h"
#include "common/rng.h"
#include "trainer/real.h"

struct adamw_step {
    real learning_rate, weight_decay, beta1, beta2, epsilon;
    real rest1, rest2;             /* 1 − beta, rounded once */
    real correction1, correction2; /* 1 − beta^t */
};

struct kernels {
    const char *level; /* portable, avx2, avx512 */
    real (*dot)(const real *a, const real *b, size_t n);
    real (*sum)(const real *a, size_t n);
    real (*max)(const real *a, size_t n);                                        /* n > 0 */
    void (*axpy)(real *y, const real *x, real a, size_t n);                      /* y += a x */
    void (*scale)(real *y, const real *x, real a, size_t n);                     /* y = a x */
    void (*add_scaled)(real *y, const real *a, const real *b, real s, size_t n); /* y = a + s b */
    void (*add)(real *y, const real *a, const real *b, size_t n);
    void (*multiply)(real *y, const real *a, const real *b, size_t n);
    void (*multiply_add)(real *y, const real *a, const real *b, size_t n); /* y += a b */
    /* y = exp(x − shift); returns the sum. exp's relative error is below 3e-7. */
    real (*exp_sum)(real *y, const real *x, real shift, size_t n);
    /* y = γ (x − mean)/√(var + ε) + β; *mean and *inverse = 1/√(var + ε) are kept for backward. */
    void (*layer_norm)(real *y, const real *x, const real *gamma, const real *beta, double epsilon, size_t n,
                       real *mean, real *inverse);
    /* dx (+)= of one row; dgamma and dbeta, when not NULL, are added to. */
    void (*layer_norm_backward)(real *dx, real *dgamma, real *dbeta, const real *dy, const real *x, const real *gamma,
                                real mean, real inverse, size_t n, int is_first);
    /* y = γ x/√(mean(x²) + ε); *inverse is kept for backward. dgamma, when not NULL, is added to; dx may be NULL. */
    void (*rms_norm)(real *y, const real *x, const real *gamma, double epsilon, size_t n, real *inverse);
    void (*rms_norm_backward)(real *dx, real *dgamma, const real *dy, const real *x, const real *gamma, real inverse,
                              size_t n, int is_first);
    /* Activations and dx (+)= dy f'(x), dx and dy may be one. Absolute error below 1e-6 of max(1, |x|). */
    void (*activation)(real *y, const real *x, int activation, size_t n);
    void (*activation_backward)(real *dx, const real *dy, const real *x, int activation, size_t n, int is_first);
    /* n random words for the counter (step, example, site), the same as rng_fill's. */
    void (*random_words)(struct rng rng, uint32_t step, uint32_t example, uint32_t site, uint32_t *out, size_t n);
    /* Dropout's mask: element i is kept (1) when the half i mod 2 (0: the lower) of random word i/2 is not below
     * `threshold`, the rate in 65536ths. */
    void (*keep_mask)(struct rng rng, uint32_t step, uint32_t example, uint32_t site, uint32_t threshold,
                      uint8_t *is_kept, size_t n);
    /* y = (or +=, when not is_first) factor x where kept, 0 elsewhere; x and y may be one. */
    void (*mask)(real *y, const real *x, const uint8_t *is_kept, real factor, size_t n, int is_first);
    /* y: x as bfloat16, rounded to nearest even; NaN stays NaN. */
    void (*to_bf16)(uint16_t *y, const real *x, size_t n);
    /* Decoupled weight decay, moments, step; ε outside the root.   Loshchilov & Hutter 2019, arXiv:1711.05101 */
    void (*adamw)(real *p, const real *g, real *m, real *v, struct adamw_step step, size_t n);
    /* The same, bit for bit, where g, m and v are zero: p −= η λ p. */
    void (*adamw_decay)(real *p, struct adamw_step step, size_t n);
};

/* The level chosen once: the best the processor has, or NIGHTSWEEP_CPU (portable, avx2, avx512) if it has that. */
const struct kernels *kernels(void);
/* ERR_UNSUPPORTED for a level that does not exist or that this processor lacks. Before the first use of kernels(). */
int kernels_select(const char *level, struct err *err) MUST_CHECK;

extern const struct kernels kernels_portable;
#ifdef __x86_64__
extern const struct kernels kernels_avx2, kernels_avx512;
#endif

#endif
