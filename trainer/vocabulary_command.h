/* A request to learn a vocabulary from data files, and the tokenizer.json that comes of it. */
#ifndef TRAINER_VOCABULARY_COMMAND_H
#define TRAINER_VOCABULARY_COMMAND_H

#include <stdio.h>

#include "common/err.h"

/* Reads one JSON line from `in`: {"files": [path, …], "columns": [name, …], "size": N, "special": [text, …], "form":
 * "NFC", "min_count": 1, "output": path}. Learns byte-pair merges (bpe_train.h) on the columns' words, each with ▁ in
 * front, in the normal form, and writes a tokenizer.json that the reference library and tokenizer_open read: ids 0 to 3
 * are <s>, <pad>, </s> and <unk>, then the special tokens, then characters and what is joined; </s> ends a text.
 * ERR_USAGE, ERR_DATA with file and line, ERR_IO. */
int vocabulary_command(FILE *in, struct err *err) MUST_CHECK;

#endif
