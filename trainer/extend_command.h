/* nightsweep-trainer --extend: a model with another vocabulary (`nightsweep extend`, docs/translation.md). */
#ifndef TRAINER_EXTEND_COMMAND_H
#define TRAINER_EXTEND_COMMAND_H

#include <stdio.h>

#include "common/err.h"

/* Reads a request, a JSON line: {"model": folder, "vocabulary": folder, "align": true, "seed": 0, "output": folder},
 * and makes `output`: the model with the tokenizer of `vocabulary`. A row of its embeddings is the model's own where
 * its vocabulary has the token; else, with align, the vector that the model in `vocabulary` has, turned into this one's
 * space by orthogonal Procrustes over the tokens that both have (procrustes.h); else normal(0, 1/√width) of the seed
 * and the token's id. Biases a token keep or become 0; ids in the configs follow their tokens. The folder appears whole
 * or not at all. Writes {"tokens": …, "kept": …, "aligned": …, "drawn": …} to out. ERR_USAGE when `output` exists or no
 * token is common; ERR_FORMAT, ERR_UNSUPPORTED with the file. */
int extend_command(FILE *in, FILE *out, struct err *err) MUST_CHECK;

#endif
