/* Learning byte-pair merges: a case by hand, ties, and what is refused. */
#include <criterion/criterion.h>
#include <string.h>

#include "trainer/bpe_train.h"

/* low ×5, lower ×2, newest ×6, widest ×3 (Sennrich et al. 2016, their example): es (9), est (9), lo (7), low (7), then
 * ne, new, newest with 6 each in the order of the smaller ids. */
Test(bpe_train, example_of_the_paper)
{
    static const struct bpe_word words[] = {{"low", 5}, {"lower", 2}, {"newest", 6}, {"widest", 3}};
    static const char *const joined[] = {"es", "est", "lo", "low", "ew"};
    struct bpe_vocabulary v;
    struct arena arena = {0};
    struct err err = {0};
    cr_assert_eq(bpe_train(&v, words, 4, 4, 15, 1, &arena, &err), 0, "%s", err.message);
    /* d e i l n o r s t w, in order of code points */
    cr_expect_str_eq(v.tokens[0], "d");
    cr_expect_str_eq(v.tokens[9], "w");
    cr_assert_eq(v.n_tokens, 15);
    for (int i = 0; i < 5; i++)
        cr_expect_str_eq(v.tokens[10 + i], joined[i], "merge %d is '%s'", i, v.tokens[10 + i]);
    cr_expect_eq(v.merges[0].left, 4 + 1);
    cr_expect_eq(v.merges[0].right, 4 + 7);
    cr_expect_eq(v.merges[0].merged, 4 + 10);
    cr_expect_eq(v.merges[1].left, 4 + 10);
    arena_done(&arena);
}

/* A run of one letter is joined from its front and not twice. */
Test(bpe_train, runs_and_an_early_end)
{
    static const struct bpe_word words[] = {{"aaaaa", 1}};
    struct bpe_vocabulary v;
    struct arena arena = {0};
    struct err err = {0};
    cr_assert_eq(bpe_train(&v, words, 1, 0, 100, 1, &arena, &err), 0, "%s", err.message);
    cr_assert_eq(v.n_tokens, 4, "%d", v.n_tokens);
    cr_expect_str_eq(v.tokens[1], "aa");
    cr_expect_str_eq(v.tokens[2], "aaa", "aa aa a: of two pairs that come once (1, 0) is the smaller: '%s'",
                     v.tokens[2]);
    cr_expect_str_eq(v.tokens[3], "aaaaa");
    arena_done(&arena);
}

Test(bpe_train, rare_pairs_and_characters_of_several_bytes)
{
    static const struct bpe_word words[] = {{"\xc4\x81\xc4\x93", 2}, {"x\xc4\x81", 1}};
    struct bpe_vocabulary v;
    struct arena arena = {0};
    struct err err = {0};
    cr_assert_eq(bpe_train(&v, words, 2, 0, 100, 2, &arena, &err), 0, "%s", err.message);
    cr_assert_eq(v.n_tokens, 4);
    cr_expect_str_eq(v.tokens[0], "x");
    cr_expect_str_eq(v.tokens[3], "\xc4\x81\xc4\x93");
    cr_assert_eq(bpe_train(&v, words, 2, 0, 2, 1, &arena, &err), ERR_USAGE);
    cr_expect(strstr(err.message, "2 tokens do not hold the 3 characters"), "%s", err.message);
    cr_assert_eq(bpe_train(&v, words, 0, 0, 20, 1, &arena, &err), ERR_DATA);
    arena_done(&arena);
}
