/* Origins: the trials of an earlier sweep that a sweep's trials start from ("from" in a definition, definition.h).
 *
 * Which trial that is, is decided once, when the earlier sweep is complete, and stands in the store (table origin) from
 * then on, with the hash of what is started from: it is part of the identity of every trial that builds on it. */
#ifndef ORCHESTRATOR_ORIGIN_H
#define ORCHESTRATOR_ORIGIN_H

#include "orchestrator/definition.h"
#include "orchestrator/store.h"

/* Reads what was decided for the sweep into definition->origins (its arena), and the first of them as the model. None:
 * nothing was decided yet. Looks at no file. */
int origin_load(struct definition *definition, struct store *store, int64_t sweep_id, struct err *err) MUST_CHECK;
/* Makes one trial's own origin the definition's model: what the trial of that seed was trained on. */
void origin_use_seed(struct definition *definition, uint64_t seed);

/* The first sweep that has to be complete before this one can go on and is not: *waits_for, its name (borrowed), or
 * NULL. What is decided (origin_load) waits for nothing. ERR_NOT_FOUND when the store has no such sweep, with the
 * nearest that is. */
int origin_waits_for(const struct definition *definition, struct store *store, const char **waits_for,
                     struct err *err) MUST_CHECK;
/* Decides and writes what is missing: chooses the trials, merges models below `folder` (of the sweep's outputs), and
 * makes folders again that are gone. The store is open for writing. ERR_DATA when no configuration of the earlier sweep
 * has a finished trial for each seed, when a method cannot be merged, or when a folder is not what it was. */
int origin_settle(struct definition *definition, struct store *store, int64_t sweep_id, const char *folder,
                  struct err *err) MUST_CHECK;

/* Which trials of an earlier sweep to start from: the configuration with the best mean of the first objective over its
 * finished trials wins. Without seeds (n_seeds 0): its best trial in chosen[0]. With seeds: of those configurations
 * that have a finished trial of each seed; chosen[i] is the trial of seeds[i]. Indices into loaded->trials. ERR_DATA.
 */
int origin_choose(const struct store_loaded *loaded, bool is_maximized, const uint64_t *seeds, int n_seeds, int *chosen,
                  struct err *err) MUST_CHECK;

#endif
