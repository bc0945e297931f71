/* What lies in a store's folders that nothing needs any more: found, listed, removed.
 *
 * Looks only where this program writes: below the store's own folder of trials and beside the store. A file is garbage
 * when its name says that it is a checkpoint or unfinished, and no row of the store names it; a folder when it is that
 * of a trial or sweep that is not in the store. Adapters and everything else are left alone. */
#ifndef ORCHESTRATOR_GC_H
#define ORCHESTRATOR_GC_H

#include "orchestrator/store.h"

struct gc_finding {
    const char *kind; /* "checkpoint", "old checkpoint", "trial", "deleted sweep", "unfinished", "kept activations" */
    char *path;
    int64_t bytes;
    int64_t trial_id; /* of an old checkpoint: its row goes too */
};

/* Zeroed: empty. */
struct gc {
    struct gc_finding *findings;
    int n, capacity;
    int64_t bytes;
};

/* Finds garbage. With older_than_seconds >= 0 also the checkpoints of unfinished and failed trials that are at least so
 * old: such a trial starts again when it is asked for. */
int gc_find(struct gc *gc, struct store *store, double older_than_seconds, struct err *err) MUST_CHECK;
/* Finds, in the cache folder that the machine's stores share, activations that no trainer opened for so long: they are
 * computed again when they are needed. */
int gc_find_cached(struct gc *gc, double unused_seconds, struct err *err) MUST_CHECK;
/* Removes what was found; the store is open for writing. Rows go before files. */
int gc_remove(const struct gc *gc, struct store *store, struct err *err) MUST_CHECK;
void gc_done(struct gc *gc);

#endif
