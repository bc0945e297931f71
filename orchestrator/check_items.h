/* What the items of a check mean: its metrics computed again from them, for any weighting of the items. */
#ifndef ORCHESTRATOR_CHECK_ITEMS_H
#define ORCHESTRATOR_CHECK_ITEMS_H

#include <stdint.h>

#include "common/arena.h"
#include "common/checks.h"

struct check_items {
    const struct check_info *kind;
    int n;
    const double *values; /* (n, kind's width) */
    const char *metric;   /* what check_items_metric computes */
};

/* Reads a check's items, JSON [[…], …], of the kind its name ends with ("0:counterfactual"), into `arena`. n = 0 for
 * what is no such list or of an unknown kind; ERR_NOMEM. */
int check_items_read(struct check_items *items, const char *check_name, const char *json, struct arena *arena,
                     struct err *err) MUST_CHECK;
/* The metric of `row` (a struct check_items): NaN where it is undefined, and for a metric the kind does not know. A
 * stats_metric; `weights` NULL: every item once. */
double check_items_metric(const void *row, const uint32_t *weights, int n_items);

#endif
