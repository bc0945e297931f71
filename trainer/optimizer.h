/* Optimisers: one step over all trained parameters, in their fixed order. */
#ifndef TRAINER_OPTIMIZER_H
#define TRAINER_OPTIMIZER_H

#include <cjson/cJSON.h>

#include "trainer/param.h"

enum optimizer_kind { OPTIMIZER_ADAMW, OPTIMIZER_SGD };

struct optimizer {
    enum optimizer_kind kind;
    double weight_decay, momentum, beta1, beta2, epsilon;
    bool decay_biases;
    double clip;     /* largest gradient norm; 0: none */
    uint32_t steps;  /* taken so far: AdamW's t */
    double *squares; /* scratch: the sum of squares of each block of gradients */
};

/* Reads optimizer, weight_decay, decay_biases, momentum, beta1, beta2, epsilon, clip of resolved settings. */
void optimizer_init(struct optimizer *optimizer, const cJSON *settings);
/* Moments of every trained parameter, zeroed, in the trial arena; once, after the methods are attached. ERR_NOMEM. */
int optimizer_start(struct optimizer *optimizer, struct params *params, struct err *err) MUST_CHECK;
/* L2 norm over the gradients of all trained parameters: blocks in float, their sums in double, in a fixed order.
 * `crew`: share.h, NULL: alone; the same bits either way, as for the step. */
double optimizer_grad_norm(const struct optimizer *optimizer, const struct params *params, const struct crew *crew);
/* Clips (g *= min(1, clip/(norm + 1e-6))) and takes one step at `learning_rate` (times each parameter's factor).
 * AdamW: p −= η λ p;  m = β₁m + (1−β₁)g;  v = β₂v + (1−β₂)g²;  p −= η m̂/(√v̂ + ε).   arXiv:1711.05101, Algorithm 2
 * SGD: g += λ p;  b = μ b + g (b = g at the first step);  p −= η b.   As PyTorch's, dampening 0.
 * Rows of tables whose moments are still zero only decay under AdamW, which is what the formula gives for them. */
void optimizer_step(struct optimizer *optimizer, struct params *params, double learning_rate, double grad_norm,
                    const struct crew *crew);
/* Marks the rows of tables whose moments are not zero (ROW_MOVED), after moments were read from a checkpoint. */
void optimizer_mark_rows(struct params *params);

enum schedule_kind { SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_COSINE, SCHEDULE_INVERSE_SQRT };

struct schedule {
    enum schedule_kind kind;
    int64_t warmup_steps, total_steps;
};

/* Reads schedule and warmup (below 1: a share of total_steps, rounded up). */
void schedule_init(struct schedule *schedule, const cJSON *settings, int64_t total_steps);
/* Factor on the peak learning rate at step s from 0. Warm-up s/w; then linear max(0, (T−s)/(T−w)), cosine
 * ½(1 + cos(π(s−w)/(T−w))), inverse square root √(w/s) with w at least 1, constant 1. */
double schedule_factor(const struct schedule *schedule, int64_t step);

#endif
