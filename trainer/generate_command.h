/* nightsweep-trainer --generate: what a language model answers (`nightsweep generate`, docs/models.md). */
#ifndef TRAINER_GENERATE_COMMAND_H
#define TRAINER_GENERATE_COMMAND_H

#include <stdio.h>

#include "common/err.h"

/* Reads a request, a JSON line:
 *     {"model": folder, "prompts": [text or list of ids, …], "chat_template": name or "auto", "system": text,
 *      "settings": {…}, "adapter": folder, "generation": {"max_new_tokens", "beams", "sample", "temperature", "top_k",
 *      "top_p", "length_penalty", "no_repeat_ngram", "early_stopping", "seed", "cache"}}
 * (with a chat template a prompt is the user's message, or a list of {"role", "content"}) and writes {"ids": […],
 * "text": "…", "prompt_tokens": n} a prompt, a line each. All but model and prompts may be missing (settings: those in
 * the adapter's nightsweep.json); with a chat
 * template the "prompt" it made is there too. */
int generate_command(FILE *in, FILE *out, struct err *err) MUST_CHECK;

#endif
