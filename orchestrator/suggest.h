/* A session with somebody who trains elsewhere: JSON requests in, JSON replies out (docs/search.md).
 *
 * With a store every answer is committed before it is given, and a session that was killed goes on: its requests are
 * kept as events of kind 'suggest' and replayed. */
#ifndef ORCHESTRATOR_SUGGEST_H
#define ORCHESTRATOR_SUGGEST_H

#include "orchestrator/study.h"

struct suggest;

/* Reads the definition `file`; `store` NULL: nothing is kept. *suggest is owned by the caller. ERR_USAGE when the
 * store has a sweep of that name that searches something else, ERR_BUSY when another session has the store. */
int suggest_open(struct suggest **suggest, const char *file, const char *store, struct err *err) MUST_CHECK;
void suggest_close(struct suggest *suggest); /* NULL is fine */
/* Which algorithm is at work and why. Borrowed. */
const char *suggest_explain(const struct suggest *suggest);
/* What the conversion of a YAML file has to say (definition.remarks). Borrowed. */
const char *suggest_remarks(const struct suggest *suggest);
/* Answers one request: appends the reply to `reply`, without a newline. What is wrong with the request is the reply
 * ({"error": "…"}); an error is returned only when the session cannot go on (the store fails, no memory). */
int suggest_answer(struct suggest *suggest, const char *request, size_t n, struct text *reply,
                   struct err *err) MUST_CHECK;

#endif
