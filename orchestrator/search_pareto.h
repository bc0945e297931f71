/* Several objectives: fronts and hypervolume. Everything is minimised. */
#ifndef ORCHESTRATOR_SEARCH_PARETO_H
#define ORCHESTRATOR_SEARCH_PARETO_H

#include <stdbool.h>

#include "common/err.h"

/* Whether a is at least as good as b everywhere and better somewhere. */
bool pareto_dominates(const double *a, const double *b, int n_objectives);
/* Fast non-dominated sorting (Deb et al. 2002): ranks[i] is 0 for the points nobody dominates, 1 for those that only
 * points of rank 0 dominate, … `points` is (n, n_objectives). ERR_NOMEM. */
int pareto_ranks(const double *points, int n, int n_objectives, int *ranks, struct err *err) MUST_CHECK;
/* Crowding distance within the given points (one rank): infinite at the ends. ERR_NOMEM. */
int pareto_crowding(const double *points, const int *members, int n, int n_objectives, double *distances,
                    struct err *err) MUST_CHECK;
/* Volume that the points (n, n_objectives) dominate below `reference`: exact, by slicing along the last objective; its
 * cost grows as n^(n_objectives − 1). ERR_NOMEM. */
int pareto_hypervolume(const double *points, int n, int n_objectives, const double *reference, double *volume,
                       struct err *err) MUST_CHECK;

#endif
