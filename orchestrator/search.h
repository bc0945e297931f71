/* Search algorithms: what proposes configurations. One file and one row each. */
#ifndef ORCHESTRATOR_SEARCH_H
#define ORCHESTRATOR_SEARCH_H

#include "orchestrator/definition.h"

struct study;

struct search_kind {
    const char *name, *help;
    /* Of algorithms that look at no result: the index-th proposal (from 0) of a sweep, a pure function of definition
     * and index. *configuration NULL: there are no more. Proposals may repeat. NULL for the others, … */
    int (*propose)(const struct definition *definition, int64_t index, cJSON **configuration, struct err *err);
    /* … which write the next point (search_codec.h; every dimension has a value) from the finished and running trials
     * of `study`: a pure function of its definition and history. `attempt` counts from 0 how often the point was
     * refused, as known or infeasible. */
    int (*suggest)(struct study *study, int attempt, double *x, struct err *err);
    /* Before the first of them: what it computes with is loaded. NULL: nothing is. */
    int (*prepare)(struct err *err);
    /* Of an algorithm that chooses another: which, and why in words (study's arena). NULL: itself. */
    const struct search_kind *(*choose)(struct study *study, const char **reason);
    void (*free_state)(void *state); /* study->state, which `suggest` may have set; NULL: there is none */
};

extern const struct search_kind *const search_kinds[]; /* NULL-terminated */
const struct search_kind *search_find(const char *name);

#endif
