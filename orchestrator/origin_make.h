/* Making what a later stage starts from: a merged model, one with another vocabulary, or translated rows. */
#ifndef ORCHESTRATOR_ORIGIN_MAKE_H
#define ORCHESTRATOR_ORIGIN_MAKE_H

#include "orchestrator/definition.h"
#include "orchestrator/store.h"

/* What the definition asks for in that role, of one trial, by the trainer beside this program: at *path (heap; what is
 * there is replaced), or, of an adapter, *path becomes where it lies. The hash is of its content. What is unfinished
 * after a kill has ".tmp-" in its name. Errors of the merge, the extension or the translation. */
int origin_make(const struct definition *definition, struct store *store, enum origin_role role, int64_t trial_id,
                char **path, char sha256[HASH_HEX_SIZE], struct err *err) MUST_CHECK;
/* Hash of the content of what was made, kept in the store's cache: a model is read once and not at every start. */
int origin_hash(enum origin_role role, const char *path, const struct store *store, char sha256[HASH_HEX_SIZE],
                struct err *err) MUST_CHECK;
/* Id of the best trial of a sweep (origin_choose without seeds). */
int origin_find_best(struct store *store, const char *sweep, int64_t *trial_id, struct err *err) MUST_CHECK;

#endif
