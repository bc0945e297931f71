/* --check-grad: a whole model with its methods against finite differences. */
#ifndef TRAINER_CHECK_GRADIENT_H
#define TRAINER_CHECK_GRADIENT_H

#include "trainer/trial.h"

/* Largest difference found in one trained tensor, |backward − difference| / max(|difference|, 1e-3). */
struct gradient_error {
    const char *name;
    size_t n_checked;
    double largest, backward, difference; /* at the worst element */
    bool is_wrong;
};

/* Compares the gradient of the loss of the first examples, dropout on, with central differences in elements of every
 * trained tensor, at a place a little off the start (where LoRA's B = 0 would hide the gradient of A). *errors (the
 * trial's arena) holds one entry a tensor. ERR_UNSUPPORTED in a build whose numbers are single: there differences show
 * only rounding, and for a method that detaches; ERR_NUMERIC when a tensor's gradient is wrong. */
int check_gradient(struct trial *trial, struct gradient_error **errors, size_t *n, struct err *err) MUST_CHECK;

#endif
