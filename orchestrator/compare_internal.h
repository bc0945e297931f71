/* What the files of `compare` share. */
#ifndef ORCHESTRATOR_COMPARE_INTERNAL_H
#define ORCHESTRATOR_COMPARE_INTERNAL_H

#include "orchestrator/compare.h"

/* All configurations with a finished trial of one sweep, added to the comparison; its objective and seed. */
int compare_read_sweep(struct store *store, const char *sweep, struct arena *arena, struct comparison *c,
                       struct err *err) MUST_CHECK;
/* What only a chosen configuration needs: checks of the method, gaps of its trials. */
int compare_read_chosen(struct store *store, struct compare_method *method, struct arena *arena,
                        struct err *err) MUST_CHECK;

/* The gaps of a configuration's trials (validation loss − training loss at the best checkpoint). */
int compare_read_gaps(struct store *store, struct compare_configuration *x, struct err *err) MUST_CHECK;
/* The table of sizes of the training set, when there are several. */
int compare_add_sizes(struct store *store, struct comparison *c, struct arena *arena, struct err *err) MUST_CHECK;

/* The matrices of checks whose metrics have two keys; and as tables for people. */
int compare_add_cells(struct store *store, struct comparison *c, struct arena *arena, struct err *err) MUST_CHECK;
void compare_add_matrices(struct text *out, const struct comparison *c);

/* The items of an evaluation (docs/protocol.md), decoded. */
struct compare_items {
    int n, n_classes;
    const int32_t *labels, *predicted;
    const float *losses, *probabilities; /* (n), (n, n_classes) */
    double *values;                      /* (n): of metrics that are means over items */
};

/* The function that computes a metric from items under weights; NULL when it cannot be (macro_f1 and accuracy can). */
stats_metric *compare_metric(const char *name);
/* The final items of a trial on a split into *items; *set: the item set's hash, NULL without items. Blobs of another
 * form than the protocol's are no items. */
int compare_read_items(struct store *store, int64_t trial_id, const char *split, const char *metric,
                       struct arena *arena, struct compare_items **items, const char **set, struct err *err) MUST_CHECK;

#endif
