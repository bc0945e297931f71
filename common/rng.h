/* Random numbers without state: every draw is a pure function of what it is for.
 *
 * Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") keyed by (seed, purpose),
 * counter (step, example, site, element). Nothing has to be saved to resume, and nothing depends on how a
 * batch is packed or which thread computes it. */
#ifndef COMMON_RNG_H
#define COMMON_RNG_H

#include <stddef.h>
#include <stdint.h>

enum rng_purpose {
    RNG_INIT,      /* initial weights of a method or head */
    RNG_ORDER,     /* order of the training examples */
    RNG_DROPOUT,   /* dropout masks */
    RNG_AUGMENT,   /* data augmentation */
    RNG_FEW_SHOT,  /* which examples a few-shot sample takes */
    RNG_SEARCH,    /* what a search algorithm draws */
    RNG_BOOTSTRAP, /* resampling */
    RNG_SPLIT,     /* stratified splits */
    RNG_GENERATE,  /* tokens that are drawn */
    RNG_MASK       /* which tokens are masked */
};

struct rng {
    uint32_t key[2];
};

/* The generator of one purpose of one seed. */
struct rng rng_make(uint64_t seed, enum rng_purpose purpose);
/* Four independent 32-bit words for the counter (step, example, site, element): element counts blocks of four. */
void rng_block(struct rng rng, uint32_t step, uint32_t example, uint32_t site, uint32_t element, uint32_t out[4]);
/* n 32-bit words, element 0..n/4: the same words as n/4 calls of rng_block. */
void rng_fill(struct rng rng, uint32_t step, uint32_t example, uint32_t site, uint32_t *out, size_t n);

/* A sequential reader over one counter line, for code that draws one after another (search, bootstrap, shuffle). */
struct rng_stream {
    struct rng rng;
    uint32_t step, example, site, element;
    uint32_t words[4];
    int left;
};
struct rng_stream rng_stream(struct rng rng, uint32_t step, uint32_t example, uint32_t site);
uint32_t rng_next(struct rng_stream *stream);
double rng_uniform(struct rng_stream *stream); /* [0, 1), 53 bits */
double rng_normal(struct rng_stream *stream);  /* mean 0, deviation 1 (Box-Muller) */
/* 0..n-1 without modulo bias (Lemire 2019). n > 0. */
uint32_t rng_below(struct rng_stream *stream, uint32_t n);
/* Fisher-Yates. */
void rng_shuffle(struct rng_stream *stream, uint32_t *items, uint32_t n);
/* A derived seed: the seed of trial repeat `index` of a sweep's seed, at most 2^53 so that JSON carries it exactly. */
uint64_t rng_derive_seed(uint64_t seed, uint64_t index);
/* A stable 32-bit number for a name: the `site` of a parameter or place. */
uint32_t rng_site(const char *name);

#endif
