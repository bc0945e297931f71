/* How micro-batches are cut. */
#include <criterion/criterion.h>

#include "trainer/trial_lane.h"

Test(trial_lane, groups_follow_from_the_batch_alone)
{
    static const struct {
        size_t sequences, tokens, groups;
    } cases[] = {
        {32, 255, 1}, {32, 256, 2}, {32, 700, 2}, {32, 1024, 2}, {32, 1025, 4}, {32, 4096, 8},   {1, 4096, 1},
        {2, 4096, 2}, {3, 4096, 2}, {5, 4096, 4}, {0, 0, 1},     {9, 8192, 8},  {32, 16384, 32}, {17, 9216, 16},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t found = lanes_groups(cases[i].sequences, cases[i].tokens);
        cr_expect_eq(found, cases[i].groups, "%zu sequences, %zu tokens: %zu groups", cases[i].sequences,
                     cases[i].tokens, found);
    }
}
