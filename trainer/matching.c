/* Matching blocks of two lists of tokens. */
#include "trainer/matching.h"

struct matching {
    const int32_t *a, *b;
    int32_t *in_a, *in_b;
    int count;
    int *lengths; /* of the run that ends at each place of b, for this place of a and the one before: 2 rows */
    int width;
};

struct block {
    int a, b, n;
};

static struct block longest(struct matching *m, int a_low, int a_high, int b_low, int b_high)
{
    struct block best = {a_low, b_low, 0};
    int *row = m->lengths, *before = m->lengths + m->width;
    for (int j = b_low; j <= b_high; j++)
        row[j] = before[j] = 0;
    for (int i = a_low; i < a_high; i++) {
        int *swap = row;
        row = before;
        before = swap;
        for (int j = b_low; j < b_high; j++) {
            row[j + 1] = m->a[i] == m->b[j] ? before[j] + 1 : 0;
            if (row[j + 1] > best.n)
                best = (struct block){i - row[j + 1] + 1, j - row[j + 1] + 1, row[j + 1]};
        }
        row[b_low] = 0;
    }
    return best;
}

static void match(struct matching *m, int a_low, int a_high, int b_low, int b_high)
{
    struct block block = longest(m, a_low, a_high, b_low, b_high);
    if (block.n == 0)
        return;
    match(m, a_low, block.a, b_low, block.b);
    for (int i = 0; i < block.n; i++, m->count++) {
        m->in_a[m->count] = block.a + i;
        m->in_b[m->count] = block.b + i;
    }
    match(m, block.a + block.n, a_high, block.b + block.n, b_high);
}

int matching_tokens(const int32_t *a, int n, const int32_t *b, int m, int32_t *in_a, int32_t *in_b, struct arena *arena)
{
    struct matching matching = {.a = a, .b = b, .in_a = in_a, .in_b = in_b, .width = m + 1};
    matching.lengths = arena_calloc(arena, 2 * (size_t)(m + 1), sizeof(*matching.lengths));
    if (!matching.lengths)
        return -1;
    match(&matching, 0, n, 0, m);
    return matching.count;
}
