/* nightsweep-trainer --predict: what a trained adapter says of new rows (`nightsweep predict` and `eval`). */
#ifndef TRAINER_PREDICT_COMMAND_H
#define TRAINER_PREDICT_COMMAND_H

#include <stdio.h>

#include "common/err.h"

/* Reads a request, a JSON line:
 *     {"model": folder, "adapter": folder of a trial's adapter, "task": as in a job, "input": data file, "labeled":
 * bool} Settings and labels are those that nightsweep.json in the adapter's folder names. Writes, a JSON line each:
 *     {"labels": […]}
 *     {"line": n, "text": "…", "text_pair": "…", "label": "…", "predicted": "…", "probabilities": […]}   a row; label
 *         only when `labeled`. Language models: {"line": n, "text": "…", "tokens": n, "loss": x}
 *     {"metrics": {…}}                                                                 when `labeled`; see metrics.h
 * ERR_DATA names the file and line of a row that cannot be read or has a label that training has not seen. */
int predict_command(FILE *in, FILE *out, struct err *err) MUST_CHECK;

#endif
