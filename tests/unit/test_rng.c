/* Philox against its published known answers, and the properties of what is drawn from it. */
#include <criterion/criterion.h>
#include <math.h>

#include "common/rng.h"

/* Known answers of the Random123 distribution (Salmon et al. 2011) for philox4x32-10. */
Test(rng, philox_gives_the_published_words)
{
    static const struct {
        uint32_t counter[4], key[2], words[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int i = 0; i < 3; i++) {
        struct rng rng = {{known[i].key[0], known[i].key[1]}};
        const uint32_t *c = known[i].counter;
        uint32_t words[4];
        rng_block(rng, c[0], c[1], c[2], c[3], words);
        for (int k = 0; k < 4; k++)
            cr_expect_eq(words[k], known[i].words[k], "case %d word %d: %08x", i, k, words[k]);
    }
}

Test(rng, fill_equals_blocks_also_for_a_ragged_end)
{
    struct rng rng = rng_make(7, RNG_DROPOUT);
    uint32_t words[11], block[4];
    rng_fill(rng, 1, 2, 3, words, 11);
    for (uint32_t i = 0; i < 11; i++) {
        rng_block(rng, 1, 2, 3, i / 4, block);
        cr_assert_eq(words[i], block[i % 4], "word %u", i);
    }
}

Test(rng, purposes_and_seeds_are_different_generators)
{
    uint32_t a[4], b[4], c[4];
    rng_block(rng_make(1, RNG_INIT), 0, 0, 0, 0, a);
    rng_block(rng_make(1, RNG_ORDER), 0, 0, 0, 0, b);
    rng_block(rng_make(2, RNG_INIT), 0, 0, 0, 0, c);
    cr_assert(a[0] != b[0] && a[0] != c[0] && b[0] != c[0]);
}

Test(rng, uniform_and_normal_have_their_moments)
{
    enum { N = 100000 };
    struct rng_stream stream = rng_stream(rng_make(3, RNG_SEARCH), 0, 0, 0);
    double sum = 0, normal_sum = 0, normal_squares = 0;
    for (int i = 0; i < N; i++) {
        double u = rng_uniform(&stream), z = rng_normal(&stream);
        cr_assert(u >= 0 && u < 1);
        sum += u;
        normal_sum += z;
        normal_squares += z * z;
    }
    /* Five standard errors: 5·sqrt(1/12/N) = 0.0046, 5/sqrt(N) = 0.016, 5·sqrt(2/N) = 0.022. */
    cr_expect_float_eq(sum / N, 0.5, 0.0046);
    cr_expect_float_eq(normal_sum / N, 0, 0.016);
    cr_expect_float_eq(normal_squares / N, 1, 0.022);
}

Test(rng, shuffle_is_a_permutation_and_below_stays_below)
{
    struct rng_stream stream = rng_stream(rng_make(3, RNG_ORDER), 1, 0, 0);
    uint32_t items[101], seen[101] = {0};
    for (uint32_t i = 0; i < 101; i++)
        items[i] = i;
    rng_shuffle(&stream, items, 101);
    int moved = 0;
    for (uint32_t i = 0; i < 101; i++) {
        seen[items[i]]++;
        moved += items[i] != i;
    }
    for (uint32_t i = 0; i < 101; i++)
        cr_assert_eq(seen[i], 1);
    cr_assert_gt(moved, 80);
    for (uint32_t n = 1; n < 50; n++)
        cr_assert_lt(rng_below(&stream, n), n);
}

Test(rng, derived_seeds_fit_json_and_differ)
{
    for (uint64_t i = 0; i < 100; i++) {
        cr_assert_leq(rng_derive_seed(7, i), (uint64_t)1 << 53);
        for (uint64_t j = 0; j < i; j++)
            cr_assert_neq(rng_derive_seed(7, i), rng_derive_seed(7, j));
    }
}
