/* nightsweep-trainer --weights MODEL: the tensors of a model folder as they are read, for comparing with other readers.
 */
#ifndef TRAINER_WEIGHTS_COMMAND_H
#define TRAINER_WEIGHTS_COMMAND_H

#include <stdio.h>

#include "common/err.h"

/* Writes {"name", "type", "shape", "sha256"} a line; the hash is over the float32 values, row by row. */
int weights_command(const char *folder, FILE *out, struct err *err) MUST_CHECK;

#endif
