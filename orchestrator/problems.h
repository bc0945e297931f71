/* What is wrong with a file, all of it at once: a list of messages with JSON paths. */
#ifndef ORCHESTRATOR_PROBLEMS_H
#define ORCHESTRATOR_PROBLEMS_H

#include "common/text.h"

enum { PROBLEMS_MAX = 100, PROBLEMS_KNOWN_MAX = 24 };

/* Zeroed: none. */
struct problems {
    struct text list; /* one line each: "parameters.rank: min 16 is above max 8" */
    int n;            /* counts beyond PROBLEMS_MAX too; those are not listed */
};

void problems_add(struct problems *problems, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "TEXT; nearest is 'rank'; known are rank, alpha": what `name` may have been meant for, and what is allowed when those
 * are not too many to list. `known` ends with NULL. */
void problems_add_unknown(struct problems *problems, const char *text, const char *name, const char *const *known);
/* The message of `err` as a problem. */
void problems_add_err(struct problems *problems, const struct err *err);
void problems_done(struct problems *problems);
/* 0 without problems, else ERR_USAGE: "'methods.json': 3 problems" and the lines below it. What does
 * not fit into a message is left out, and the first line says so ("40 problems, the first 30 are listed"). */
int problems_result(const struct problems *problems, const char *path, struct err *err) MUST_CHECK;

#endif
