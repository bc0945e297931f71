/* Grid search: every configuration of a space that can be listed, in order. */
#include "orchestrator/search_kinds.h"

static int propose(const struct definition *definition, int64_t index, cJSON **configuration, struct err *err)
{
    int64_t size = space_grid_size(&definition->space);
    int rc = json_check_memory(err); /* a value that could not be put would not have been counted */
    if (rc < 0)
        return rc;
    bool is_limited = definition->configurations > 0 && index >= definition->configurations;
    if (size >= 0 && (index >= size || is_limited)) {
        *configuration = NULL;
        return 0;
    }
    /* A space without a size is refused there, with the parameter that cannot be listed. */
    return space_grid_at(&definition->space, index, configuration, err);
}

const struct search_kind search_grid = {
    .name = "grid",
    .help = "every combination of the values, the last parameter varying fastest",
    .propose = propose,
};
