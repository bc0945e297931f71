/* Subcommands in the process of the test, each in the same folder of its own: a store s.db with a sweep 'ranks' (trials
 * 1 to 3 of the fixture of version 2: complete, failed, running; 100 to 108: three methods with three seeds each,
 * complete, with evaluations, checks and decisions), a model, data, and definitions: d.json of ours, e.json of trials
 * trained elsewhere, w.yaml of Weights & Biases. Standard output is a file there, input and errors are /dev/null. */
#ifndef TESTS_SUPPORT_COMMANDS_H
#define TESTS_SUPPORT_COMMANDS_H

#include "common/err.h"
#include "tests/support/temp.h"

enum { COMMANDS_MOST_WORDS = 32 };

extern struct temp commands_temp; /* the folder */
void commands_open(void);
void commands_close(void);

/* Runs "status ranks --json": `%` stands for the folder, `_` for an empty word. What earlier calls made is removed and
 * the store is as it was. Gives the command's exit status, or the negative code of an error. */
int commands_call(const char *words, struct err *problem);
/* The two halves of it, so that calls may fail in the second alone; argv has room for COMMANDS_MOST_WORDS + 1. */
int commands_prepare(const char *words, char **argv);
int commands_perform(int argc, char **argv, struct err *problem);
/* What the last call wrote to standard output; until the next. */
const char *commands_output(void);

#endif
