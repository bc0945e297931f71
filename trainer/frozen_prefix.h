/* The frozen prefix: layers below everything that is trained, whose results are the same in every epoch and trial.
 *
 * With `"frozen_prefix": "shared"` these layers see no dropout and are computed for one sequence at a time, whatever
 * the batch, so that a text has the same activations to the bit wherever it comes up: computed, or read from the file
 * that all trainers of the machine share (prefix_cache.h). Whether they are used is thus the job's decision and never
 * the file's. */
#ifndef TRAINER_FROZEN_PREFIX_H
#define TRAINER_FROZEN_PREFIX_H

#include <stdatomic.h>

#include "trainer/model.h"

struct prefix_cache;

struct frozen_prefix {
    int layers;                      /* from the lowest; at least 1 */
    struct prefix_cache *cache;      /* NULL: nothing is kept */
    const struct halves *halves;     /* what the kept ones were computed with; NULL: fp32 */
    atomic_llong n_read, n_computed; /* sequences */
};

/* How many layers, from the lowest, hold nothing that is trained or changes in training and nothing that a method
 * hooked in. 0: none, or sequences are not what the tokens say (rows inserted, padding carried, positions shifted). */
int frozen_prefix_layers(const struct model *model);
/* Hidden states behind the prefix for the pass's batch: (rows, hidden), in need of no gradient. NULL: the tape has
 * failed. */
struct value *frozen_prefix_value(struct pass *pass);

#endif
