/* The search algorithms, one file each: what the table in search.c is made from. */
#ifndef ORCHESTRATOR_SEARCH_KINDS_H
#define ORCHESTRATOR_SEARCH_KINDS_H

#include "orchestrator/search.h"

extern const struct search_kind search_auto;
extern const struct search_kind search_grid;
extern const struct search_kind search_random;
extern const struct search_kind search_sobol;
extern const struct search_kind search_tpe;
extern const struct search_kind search_gp;
extern const struct search_kind search_cmaes;
extern const struct search_kind search_nsga2;

#endif
