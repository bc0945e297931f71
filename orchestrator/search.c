/* The table of search algorithms. */
#include "orchestrator/search.h"

#include <string.h>

#include "orchestrator/search_kinds.h"

const struct search_kind *const search_kinds[] = {&search_auto,  &search_grid,  &search_random,
                                                  &search_sobol, &search_tpe,   &search_gp,
                                                  &search_cmaes, &search_nsga2, NULL};

const struct search_kind *search_find(const char *name)
{
    for (const struct search_kind *const *kind = search_kinds; *kind; kind++)
        if (strcmp((*kind)->name, name) == 0)
            return *kind;
    return NULL;
}
