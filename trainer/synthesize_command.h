/* nightsweep-trainer --synthesize: parallel text that a model makes: pivot synthesis and back-translation, which differ
 * in the rows they are given (docs/translation.md). */
#ifndef TRAINER_SYNTHESIZE_COMMAND_H
#define TRAINER_SYNTHESIZE_COMMAND_H

#include <stdio.h>

#include "common/err.h"

/* Reads a request, a JSON line: {"model": folder, "task": {"kind": "seq2seq", "text": column, "target": column},
 * "rows": file, "tag": text, "beside": file or null, "beams": 1, "max_tokens": 128, "output": file}. Translates the
 * text of each of the rows and writes JSON lines of {text: "TAG translation", target: the row's own target}, behind
 * them all rows of `beside`. A row of which nothing comes is left out. The file appears whole or not at all. Writes
 * {"made": …, "empty": …, "beside": …} to out. ERR_DATA with file and line. */
int synthesize_command(FILE *in, FILE *out, struct err *err) MUST_CHECK;

#endif
