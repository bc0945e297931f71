/* Which tokens two lists have in common. */
#ifndef TRAINER_MATCHING_H
#define TRAINER_MATCHING_H

#include <stdint.h>

#include "common/arena.h"

/* The matching blocks of Ratcliff & Obershelp's gestalt pattern matching, as CrowS-Pairs finds the tokens that both
 * sentences share: the longest common run (the earliest in a, then in b, of equally long ones), then the same to its
 * left and to its right. in_a and in_b (min(n, m) each) get the shared positions, ascending; how many, or −1 without
 * memory. */
int matching_tokens(const int32_t *a, int n, const int32_t *b, int m, int32_t *in_a, int32_t *in_b,
                    struct arena *arena);

#endif
