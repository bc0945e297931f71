/* Every operation's backward pass against central differences, in double.
 *
 * The loss is Σ c ⊙ f(inputs) with fixed random c. With steps of 1e-5 the difference quotient of a smooth function is
 * good to about 1e-10 · scale; 1e-6 leaves room for sums of a hundred terms. */
#ifndef TESTS_GRADIENT_GRADIENT_H
#define TESTS_GRADIENT_GRADIENT_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "trainer/kernels.h"
#include "trainer/ops.h"

enum { MAX_INPUTS = 6 };
#define STEP      1e-5
#define TOLERANCE 1e-6

struct problem {
    struct value inputs[MAX_INPUTS];
    int n_inputs;
    struct layout layout;
    struct value *(*build)(struct tape *tape, struct problem *problem);
    int option;
};

static struct rng_stream stream;

static void draw(real *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        data[i] = (real)rng_normal(&stream);
}

static void add_input(struct problem *problem, struct arena *arena, int rows, int cols, bool is_token)
{
    size_t n = (size_t)rows * (size_t)cols;
    struct value *value = &problem->inputs[problem->n_inputs++];
    *value = (struct value){.data = arena_alloc(arena, n * sizeof(real)),
                            .grad = arena_calloc(arena, n, sizeof(real)),
                            .rows = rows,
                            .cols = cols,
                            .needs_grad = true,
                            .layout = is_token ? &problem->layout : NULL};
    draw(value->data, n);
}

static real evaluate(struct problem *problem, struct arena *step, bool backward)
{
    struct tape tape = {.is_training = true, .is_recording = backward, .dropout = rng_make(3, RNG_DROPOUT), .step = 5};
    real left[64], right[64], weights[4096];
    tape_begin(&tape, step);
    struct rng_stream fixed = rng_stream(rng_make(9, RNG_INIT), 0, 0, 0);
    struct value *y = problem->build(&tape, problem);
    cr_assert_not_null(y);
    for (int i = 0; i < y->rows * y->cols; i++)
        weights[i] = (real)rng_normal(&fixed);
    for (int i = 0; i < 64; i++)
        left[i] = right[i] = 1;
    struct value *c = tape_constant(&tape, weights, y->rows, y->cols, NULL);
    struct value *product = op_multiply(&tape, y, c);
    struct value *rows = op_matmul(&tape, tape_constant(&tape, left, 1, y->rows, NULL), false, product, false);
    struct value *loss = op_matmul(&tape, rows, false, tape_constant(&tape, right, y->cols, 1, NULL), false);
    if (backward)
        tape_backward(&tape, loss, 1);
    cr_assert_eq(tape_check(&tape, NULL), 0);
    return loss->data[0];
}

static void check(struct problem *problem, const char *name)
{
    struct arena step = {0};
    for (int k = 0; k < problem->n_inputs; k++)
        for (int i = 0; i < problem->inputs[k].rows * problem->inputs[k].cols; i++)
            problem->inputs[k].grad[i] = 0;
    evaluate(problem, &step, true);
    for (int k = 0; k < problem->n_inputs; k++) {
        struct value *value = &problem->inputs[k];
        for (int i = 0; i < value->rows * value->cols; i++) {
            real kept = value->data[i];
            value->data[i] = kept + STEP;
            double above = (double)evaluate(problem, &step, false);
            value->data[i] = kept - STEP;
            double below = (double)evaluate(problem, &step, false);
            value->data[i] = kept;
            double expected = (above - below) / (2 * STEP), found = (double)value->grad[i];
            cr_assert(fabs(found - expected) <= TOLERANCE * fmax(1, fabs(expected)),
                      "%s, option %d: input %d element %d: backward %.10g, difference %.10g", name, problem->option, k,
                      i, found, expected);
        }
    }
    arena_done(&step);
}

/* Sequences of 1, 3 and 4 tokens, the last with one padded row. */
static const struct segment segments[] = {{0, 1, 1, 0, 7}, {1, 3, 3, 0, 2}, {4, 4, 3, 0, 11}};

static void begin(struct problem *problem, struct value *(*build)(struct tape *, struct problem *), int option)
{
    stream = rng_stream(rng_make(1, RNG_INIT), (uint32_t)option, 0, 0);
    *problem = (struct problem){.layout = {3, 8, segments, NULL}, .build = build, .option = option};
}

#endif
