/* nightsweep-trainer --tokens MODEL: token ids of texts, for comparing with the reference tokenizers. */
#ifndef TRAINER_TOKENS_COMMAND_H
#define TRAINER_TOKENS_COMMAND_H

#include <stdio.h>

#include "common/err.h"

enum tokens_mode { TOKENS_ENCODE, TOKENS_DECODE, TOKENS_TIME };

/* Reads a JSON string (or a list of two: a pair) a line and writes its ids as a JSON list a line; TOKENS_DECODE the
 * other way; TOKENS_TIME writes only the seconds of processor time that encoding took. */
int tokens_command(enum tokens_mode mode, const char *folder, int max_tokens, FILE *in, FILE *out,
                   struct err *err) MUST_CHECK;

#endif
