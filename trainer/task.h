/* What a batch is for: from a model's last hidden states to the loss of its task. */
#ifndef TRAINER_TASK_H
#define TRAINER_TASK_H

#include "trainer/model.h"

/* What a loss was made of, in the step arena. */
struct task_result {
    struct value *logits;     /* classification: (n_segments, n_classes); else NULL */
    int n;                    /* rows that have a label */
    const int32_t *sequences; /* of each: which of the batch's */
    const real *losses;       /* of each: −log p of its label */
};

/* Runs the model on pass->batch and returns its loss with what methods add, 1 × 1.
 * classification: cross entropy of the logits. causal, seq2seq: sum of the tokens' −log p / number of labelled tokens.
 * `options` holds weights, smoothing and divisor; labels are the batch's. `result` is filled when not NULL;
 * `probabilities` (classification, n × C) too. NULL when the tape has failed. */
struct value *task_loss(struct pass *pass, const struct loss_options *options, struct task_result *result,
                        real *probabilities);
/* Language models: logits (n_segments, vocabulary) at the last row of each sequence, from what decode gave. */
struct value *task_last_logits(struct pass *pass, struct value *hidden);

#endif
