/* The search algorithms, one file each: what the table in search.c is made from. */
#ifndef ORCHESTRATOR_SEARCH_KINDS_H
#define ORCHESTRATOR_SEARCH_KINDS_H

#include "orchestrator/search.h"

extern const struct search_kind search_grid;
extern const struct search_kind search_random;

#endif
