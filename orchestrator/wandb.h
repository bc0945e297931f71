/* Sweep files of Weights & Biases (YAML) as definitions of ours.
 *
 *   program, command, project, entity, controller, …   no counterpart: remarks
 *   method grid | random | bayes                        search.algorithm grid | random | gp
 *   metric {name, goal}                                 objectives (goal: minimize when it is left out, as there)
 *   parameters: value                                   settings
 *     values, probabilities                             values; weights become shares
 *     int_uniform, uniform, q_uniform                   min, max, quantum: multiples of q, as round(x / q) · q gives
 *     (q_|inv_)log_uniform                              scale log from exp(min) to exp(max), inv: exp(−max) to
 * exp(−min) (q_|inv_)log_uniform_values                       scale log from min to max normal, log_normal normal,
 * log_normal: mu is the mean, sigma the deviation q_normal, q_log_normal, q_beta                    values k · q with
 * their probabilities beta                                              its 100 quantiles of equal probability
 *     parameters                                        names joined by points: optimizer.momentum
 *   early_terminate hyperband                           stopping asha at min_iter · eta^k, or max_iter / eta^s …
 *   run_cap                                             budget.trials
 *   nightsweep                                          a mapping of ours: its members go over as they are
 *
 * log_uniform takes exponents; bounds that look like values are refused with what is likely meant. */
#ifndef ORCHESTRATOR_WANDB_H
#define ORCHESTRATOR_WANDB_H

#include "common/json.h"

/* Whether a path names YAML: it ends with .yaml or .yml. */
bool wandb_is_path(const char *path);
/* Converts text[0..n) of the file `path` (for messages, and for a name where the file has none) into *definition (owned
 * by the caller: json_free); what has no counterpart goes into `remarks`, a line each. ERR_FORMAT for what is no YAML,
 * ERR_USAGE with every problem at once (problems_result). */
int wandb_convert(const char *text, size_t n, const char *path, cJSON **definition, struct text *remarks,
                  struct err *err) MUST_CHECK;

#endif
