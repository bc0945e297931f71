/* Losses against numbers and against places, by finite differences and by hand. */
#include "tests/gradient/gradient.h"

static struct value *build_squared_error(struct tape *tape, struct problem *p)
{
    static const real targets[] = {1, -2, 0.5, 3, 0, -1, 2, 0.25};
    return op_squared_error(tape, &p->inputs[0], targets, p->option ? 3 : 0, NULL);
}

Test(gradient, squared_error)
{
    struct arena arena = {0};
    for (int option = 0; option < 2; option++) {
        struct problem p;
        begin(&p, build_squared_error, option);
        add_input(&p, &arena, 8, 1, true);
        check(&p, "squared_error");
    }
    arena_done(&arena);
}

static struct value *build_place_loss(struct tape *tape, struct problem *p)
{
    int32_t *places = tape_alloc(tape, "test", 64 * sizeof(*places));
    for (int s = 0; s < p->layout.n_segments; s++)
        for (int c = 0; c < 2; c++)
            places[2 * s + c] = p->layout.segments[s].first + (c + s) % p->layout.segments[s].keys;
    return op_place_cross_entropy(tape, &p->inputs[0], places, p->option ? 5 : 0, NULL);
}

Test(gradient, place_cross_entropy)
{
    struct arena arena = {0};
    for (int option = 0; option < 2; option++) {
        struct problem p;
        begin(&p, build_place_loss, option);
        add_input(&p, &arena, 8, 2, true);
        check(&p, "place_cross_entropy");
    }
    arena_done(&arena);
}

/* Two rows, of which a method inserted the first: nothing is left to choose from, the loss is 0; three rows that
 * agree: log 3 for each end. */
Test(gradient, place_cross_entropy_counts_the_texts_own_rows)
{
    static const struct segment parts[] = {{0, 2, 2, 0, 0}, {2, 3, 3, 0, 1}};
    static const int32_t origin[] = {-1, 0, 1, 2, 3}, places[] = {0, 0, 2, 3};
    static const struct layout layout = {2, 5, parts, origin};
    struct arena arena = {0};
    struct tape tape = {0};
    real data[10] = {9, 9, 1, 1, 4, 4, 4, 4, 4, 4}, losses[2];
    tape_begin(&tape, &arena);
    struct value *x = tape_constant(&tape, data, 5, 2, &layout);
    struct value *loss = op_place_cross_entropy(&tape, x, places, 0, losses);
    cr_assert_not_null(loss);
    cr_expect(fabs((double)losses[0]) < 1e-12, "%g", (double)losses[0]);
    cr_expect(fabs((double)losses[1] - log(3)) < 1e-12, "%g", (double)losses[1]);
    cr_expect(fabs((double)loss->data[0] - log(3) / 2) < 1e-12);
    arena_done(&arena);
}
