/* Features: what a model makes of a text before any head. */
#ifndef TRAINER_FEATURES_H
#define TRAINER_FEATURES_H

#include "trainer/trial.h"

/* ERR_UNSUPPORTED when the model's hidden states cannot be had. */
int features_fit(const struct trial *trial, struct err *err) MUST_CHECK;
/* The mean of the last layer's hidden states over each text's tokens (those that a method inserted too), of the model
 * as it is now: (n, hidden_size) into `out`. */
int features_compute(struct trial *trial, const char *const *texts, size_t n, double *out, struct err *err) MUST_CHECK;

/* A linear probe: ridge regression on one-hot labels over features that are brought to mean 0 and variance 1 by the
 * training rows,  (XᵀX/n + λI) W = XᵀY/n,  the answer is the largest of W x + mean of Y.   x: (n_train, d)
 * label: 0 … n_classes − 1   test: (n_test, d)   predicted: n_test. A feature without variance counts nothing.
 * ERR_NOMEM; ERR_NUMERIC when it cannot be solved. */
int probe_predict(const double *x, const int *label, int n_train, int d, int n_classes, double lambda,
                  const double *test, int n_test, int *predicted, struct err *err) MUST_CHECK;

#endif
