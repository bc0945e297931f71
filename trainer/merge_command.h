/* nightsweep-trainer --merge: an adapter folded into its base (`nightsweep merge`, docs/models.md). */
#ifndef TRAINER_MERGE_COMMAND_H
#define TRAINER_MERGE_COMMAND_H

#include "common/json.h"

/* Answers a request: {"model": folder, "adapter": folder of a trial's adapter, "task": {"kind": …}, "output": folder,
 * "format": "safetensors" (default) or "gguf", "type": "f32" (default), "f16", of gguf also "q8_0"}. Writes into
 * `output`, an empty folder, model.gguf (gguf_write.h) or a model as Hugging Face reads it: config.json, tokenizer
 * files, model.safetensors with W' = W + ΔW and b' of every site that a method changed, and the head. Whoever asks
 * gives the folder its name when all of it is there. ERR_UNSUPPORTED names the site where a method is no affine map of
 * its input (adapters, prefixes, prompts), or has no bias or no table of its own to put its part into; ERR_USAGE when
 * there is no such folder. */
int merge_command(const cJSON *request, struct err *err) MUST_CHECK;

#endif
