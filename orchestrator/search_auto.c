/* Automatic choice of the search algorithm: by space, budget and objectives. */
#include "orchestrator/search_kinds.h"
#include "orchestrator/study_internal.h"

static const struct search_kind *choose(struct study *study, const char **reason)
{
    *reason = "nothing else yet";
    (void)study;
    return &search_random;
}

const struct search_kind search_auto = {
    .name = "auto",
    .help = "chooses the algorithm by space, budget and objectives, and says why",
    .choose = choose,
};
