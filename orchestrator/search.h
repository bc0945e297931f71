/* Search algorithms: what proposes configurations. One file and one row each; every proposal is a pure function of the
 * definition, the index and what was finished, so nothing has to be saved. */
#ifndef ORCHESTRATOR_SEARCH_H
#define ORCHESTRATOR_SEARCH_H

#include "orchestrator/definition.h"

struct search_kind {
    const char *name, *help;
    /* The index-th proposal (from 0) of a sweep. *configuration NULL: there are no more. Proposals may repeat. */
    int (*propose)(const struct definition *definition, int64_t index, cJSON **configuration, struct err *err);
};

extern const struct search_kind *const search_kinds[]; /* NULL-terminated */
const struct search_kind *search_find(const char *name);

#endif
