/* Random search (Bergstra and Bengio 2012): independent draws, each a function of the sweep's seed and its index. */
#include "orchestrator/search_kinds.h"

static int propose(const struct definition *definition, int64_t index, cJSON **configuration, struct err *err)
{
    bool is_limited = definition->configurations > 0 && index >= definition->configurations;
    if (is_limited || index > UINT32_MAX) {
        *configuration = NULL;
        return 0;
    }
    struct rng_stream stream = rng_stream(rng_make(definition->seed, RNG_SEARCH), 0, (uint32_t)index, 0);
    return space_draw(&definition->space, &stream, configuration, err);
}

const struct search_kind search_random = {
    .name = "random",
    .help = "independent draws from the distributions of the parameters",
    .propose = propose,
};
