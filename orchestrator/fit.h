/* Underfitting and overfitting in words, from the curves of finished trials, with what to try next (docs/choosing.md).
 */
#ifndef ORCHESTRATOR_FIT_H
#define ORCHESTRATOR_FIT_H

#include "common/text.h"
#include "orchestrator/store.h"

enum fit_verdict { FIT_UNKNOWN, FIT_GOOD, FIT_GUESSING, FIT_UNFINISHED, FIT_OVER };
extern const char *const fit_names[]; /* unknown, good, underfitting, underfitting, overfitting */

/* Of one trial, or means over several. NaN: not known. Training losses are means over a tenth of the steps. */
struct fit {
    int n;                                   /* trials */
    double best_train;                       /* the tenth that leads up to the best checkpoint */
    double last_train, previous_train;       /* the last tenth of the steps, and the one before */
    double best_validation, last_validation; /* losses at the best checkpoint and at the last validation */
    double guess;                            /* the loss of guessing by the labels' frequencies; NaN: no classes */
    double best_step, steps;
    enum fit_verdict verdict;
};

/* Adds a finished trial's numbers. */
int fit_read(struct store *store, int64_t trial_id, struct fit *fit, struct err *err) MUST_CHECK;
/* Divides the sums and judges. Overfitting: the validation loss rose again by 5 % while the training loss went on
 * falling, or at the best checkpoint it is more than twice the training loss. Guessing: the training loss is above 0.9
 * of that of guessing. Unfinished: the last step is the best and the training loss still fell by 3 % in the last tenth.
 */
void fit_judge(struct fit *fit);
/* One or two sentences: what it is, and the setting to try next with its value. `method` and `settings` (JSON,
 * resolved) are the trials'; nothing for FIT_UNKNOWN. */
void fit_add_words(struct text *out, const struct fit *fit, const char *method, const char *settings);

#endif
