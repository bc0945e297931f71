/* Philox4x32-10 and what is drawn from it. */
#include "common/rng.h"

#include <math.h>
#include <string.h>

enum { ROUNDS = 10 };

/* Mixes 64 bits so that close seeds give far keys (Steele et al. 2014, SplitMix64's finaliser). */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

struct rng rng_make(uint64_t seed, enum rng_purpose purpose)
{
    uint64_t key = mix(mix(seed) + (uint64_t)purpose);
    return (struct rng){{(uint32_t)key, (uint32_t)(key >> 32)}};
}

void rng_block(struct rng rng, uint32_t step, uint32_t example, uint32_t site, uint32_t element, uint32_t out[4])
{
    uint32_t c[4] = {step, example, site, element};
    uint32_t k0 = rng.key[0], k1 = rng.key[1];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t p0 = (uint64_t)0xd2511f53u * c[0], p1 = (uint64_t)0xcd9e8d57u * c[2];
        uint32_t next[4] = {(uint32_t)(p1 >> 32) ^ c[1] ^ k0, (uint32_t)p1, (uint32_t)(p0 >> 32) ^ c[3] ^ k1,
                            (uint32_t)p0};
        memcpy(c, next, sizeof(c));
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    memcpy(out, c, sizeof(c));
}

void rng_fill(struct rng rng, uint32_t step, uint32_t example, uint32_t site, uint32_t *out, size_t n)
{
    for (size_t i = 0; i < n; i += 4) {
        uint32_t words[4];
        rng_block(rng, step, example, site, (uint32_t)(i / 4), words);
        memcpy(out + i, words, (n - i < 4 ? n - i : 4) * sizeof(*out));
    }
}

struct rng_stream rng_stream(struct rng rng, uint32_t step, uint32_t example, uint32_t site)
{
    return (struct rng_stream){.rng = rng, .step = step, .example = example, .site = site};
}

uint32_t rng_next(struct rng_stream *stream)
{
    if (stream->left == 0) {
        rng_block(stream->rng, stream->step, stream->example, stream->site, stream->element++, stream->words);
        stream->left = 4;
    }
    return stream->words[4 - stream->left--];
}

double rng_uniform(struct rng_stream *stream)
{
    uint64_t high = rng_next(stream), low = rng_next(stream);
    return (double)((high << 32 | low) >> 11) * 0x1p-53;
}

double rng_normal(struct rng_stream *stream)
{
    double u = 1 - rng_uniform(stream); /* (0, 1]: the logarithm is finite */
    double angle = 2 * 3.14159265358979323846 * rng_uniform(stream);
    return sqrt(-2 * log(u)) * cos(angle);
}

uint32_t rng_below(struct rng_stream *stream, uint32_t n)
{
    uint64_t product = (uint64_t)rng_next(stream) * n;
    uint32_t low = (uint32_t)product;
    if (low < n) {
        uint32_t threshold = -n % n;
        while (low < threshold) {
            product = (uint64_t)rng_next(stream) * n;
            low = (uint32_t)product;
        }
    }
    return (uint32_t)(product >> 32);
}

void rng_shuffle(struct rng_stream *stream, uint32_t *items, uint32_t n)
{
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = rng_below(stream, i), kept = items[i - 1];
        items[i - 1] = items[j];
        items[j] = kept;
    }
}

uint64_t rng_derive_seed(uint64_t seed, uint64_t index)
{
    return mix(mix(seed) ^ mix(index + 0x5eed)) >> 11;
}

uint32_t rng_site(const char *name)
{
    uint32_t hash = 2166136261u; /* FNV-1a: published constants, stable for ever */
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash;
}
