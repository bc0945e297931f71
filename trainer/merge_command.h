/* nightsweep-trainer --merge: an adapter folded into its base (`nightsweep merge`, docs/models.md). */
#ifndef TRAINER_MERGE_COMMAND_H
#define TRAINER_MERGE_COMMAND_H

#include <stdio.h>

#include "common/err.h"

/* Reads a request, a JSON line: {"model": folder, "adapter": folder of a trial's adapter, "task": {"kind": …},
 * "output": folder}. Makes `output`, a model folder as Hugging Face reads it: config.json, tokenizer files,
 * model.safetensors (F32) with W' = W + ΔW and b' of every site that a method changed, and the head. The folder appears
 * whole or not at all. ERR_UNSUPPORTED names the site where a method is no affine map of its input (adapters, prefixes,
 * prompts), or has no bias or no table of its own to put its part into; ERR_USAGE when `output` exists. */
int merge_command(FILE *in, struct err *err) MUST_CHECK;

#endif
