/* What a trial draws from its seed, for bench/accuracy/draws.py: common/rng.c behind plain arrays, as a shared library.
 */
#include <math.h>

#include "common/rng.h"

void draws_order(uint64_t seed, uint32_t epoch, uint32_t *order, uint32_t n);
void draws_kept(uint64_t seed, uint32_t step, uint32_t example, uint32_t site, uint32_t threshold, uint8_t *is_kept,
                uint64_t n);
void draws_normal(uint64_t seed, const char *name, double deviation, float *values, uint64_t n);
void draws_uniform(uint64_t seed, const char *name, double bound, float *values, uint64_t n);
uint32_t draws_site(const char *name);

/* The order of an epoch's examples: dataset_order in trainer/dataset.h. */
void draws_order(uint64_t seed, uint32_t epoch, uint32_t *order, uint32_t n)
{
    struct rng_stream stream = rng_stream(rng_make(seed, RNG_ORDER), epoch, 0, 0);
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    rng_shuffle(&stream, order, n);
}

/* A mask of dropout: keep_mask in trainer/kernels.h. */
void draws_kept(uint64_t seed, uint32_t step, uint32_t example, uint32_t site, uint32_t threshold, uint8_t *is_kept,
                uint64_t n)
{
    struct rng rng = rng_make(seed, RNG_DROPOUT);
    uint32_t words[4] = {0};
    for (uint64_t i = 0; i < n; i++) {
        if (i % 8 == 0)
            rng_block(rng, step, example, site, (uint32_t)(i / 8), words);
        uint32_t word = words[i % 8 / 2];
        is_kept[i] = (i % 2 ? word >> 16 : word & 0xffffu) >= threshold;
    }
}

/* Initial weights of the tensor `name`: method_init_normal and method_init_uniform in trainer/methods/method_file.h. */
void draws_normal(uint64_t seed, const char *name, double deviation, float *values, uint64_t n)
{
    struct rng_stream stream = rng_stream(rng_make(seed, RNG_INIT), 0, 0, rng_site(name));
    for (uint64_t i = 0; i < n; i++)
        values[i] = (float)(deviation * rng_normal(&stream));
}

void draws_uniform(uint64_t seed, const char *name, double bound, float *values, uint64_t n)
{
    struct rng_stream stream = rng_stream(rng_make(seed, RNG_INIT), 0, 0, rng_site(name));
    for (uint64_t i = 0; i < n; i++)
        values[i] = (float)((2 * rng_uniform(&stream) - 1) * bound);
}

uint32_t draws_site(const char *name)
{
    return rng_site(name);
}
