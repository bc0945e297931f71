/* The operations of the models. */
#include "tests/gradient/gradient.h"

static struct value *build_linear(struct tape *tape, struct problem *p)
{
    struct value *b = p->n_inputs > 2 ? &p->inputs[2] : NULL;
    return p->option % 2 ? op_linear_transposed(tape, &p->inputs[0], &p->inputs[1], b)
                         : op_linear(tape, &p->inputs[0], &p->inputs[1], b);
}

Test(gradient, linear)
{
    struct arena arena = {0};
    for (int option = 0; option < 4; option++) {
        struct problem p;
        begin(&p, build_linear, option);
        add_input(&p, &arena, 8, 5, true);
        add_input(&p, &arena, option % 2 ? 5 : 3, option % 2 ? 3 : 5, false);
        if (option >= 2)
            add_input(&p, &arena, 1, 3, false);
        check(&p, "linear");
    }
    arena_done(&arena);
}

/* Two layers share the memory; x of the first is also added to the result, so that its gradient is not new. */
static struct value *build_activated(struct tape *tape, struct problem *p)
{
    struct value *x = &p->inputs[0], *w = &p->inputs[1], *b = &p->inputs[2];
    real *memory = tape_alloc(tape, "test", (size_t)x->rows * (size_t)x->cols * sizeof(real));
    struct value *y = op_activated_linear(tape, x, ACTIVATION_GELU, w, b, memory);
    y = op_activated_linear(tape, y, ACTIVATION_TANH, w, b, memory);
    return p->option ? op_add(tape, x, y) : y;
}

Test(gradient, activated_linear)
{
    struct arena arena = {0};
    for (int option = 0; option < 2; option++) {
        struct problem p;
        begin(&p, build_activated, option);
        add_input(&p, &arena, 7, 5, true);
        add_input(&p, &arena, 5, 5, false);
        add_input(&p, &arena, 1, 5, false);
        check(&p, "activated_linear");
    }
    arena_done(&arena);
}

/* The result of the linear layer is written over by dropout and by the sum. */
static struct value *build_spare(struct tape *tape, struct problem *p)
{
    struct value *h = op_linear(tape, &p->inputs[0], &p->inputs[1], NULL);
    if (h)
        h->is_spare = true;
    h = op_dropout(tape, h, 0.3, 78);
    return op_add_layer_norm(tape, h, &p->inputs[0], &p->inputs[2], &p->inputs[3], 1e-5);
}

Test(gradient, values_that_are_written_over)
{
    struct arena arena = {0};
    struct problem p;
    begin(&p, build_spare, 0);
    add_input(&p, &arena, 8, 5, true);
    add_input(&p, &arena, 5, 5, false);
    add_input(&p, &arena, 1, 5, false);
    add_input(&p, &arena, 1, 5, false);
    check(&p, "spare");
    arena_done(&arena);
}

static struct value *build_matmul(struct tape *tape, struct problem *p)
{
    return op_matmul(tape, &p->inputs[0], p->option & 1, &p->inputs[1], p->option & 2);
}

Test(gradient, matmul)
{
    struct arena arena = {0};
    for (int option = 0; option < 4; option++) {
        struct problem p;
        begin(&p, build_matmul, option);
        add_input(&p, &arena, option & 1 ? 4 : 3, option & 1 ? 3 : 4, false);
        add_input(&p, &arena, option & 2 ? 5 : 4, option & 2 ? 4 : 5, false);
        check(&p, "matmul");
    }
    arena_done(&arena);
}

static struct value *build_elementwise(struct tape *tape, struct problem *p)
{
    struct value *a = &p->inputs[0], *b = &p->inputs[1];
    switch (p->option) {
    case 0:
        return op_add(tape, a, b);
    case 1:
        return op_multiply(tape, a, b);
    case 2:
        return op_scale(tape, op_add_scaled(tape, a, b, 0.3), -1.7);
    case 3:
        return op_multiply(tape, a, op_add(tape, a, a));
    case 4:
        return op_multiply_row(tape, a, b);
    default:
        return op_multiply_scalar(tape, a, b);
    }
}

Test(gradient, elementwise)
{
    struct arena arena = {0};
    for (int option = 0; option < 6; option++) {
        struct problem p;
        begin(&p, build_elementwise, option);
        add_input(&p, &arena, 8, 5, true);
        if (option < 3)
            add_input(&p, &arena, 8, 5, true);
        else if (option > 3)
            add_input(&p, &arena, 1, option == 4 ? 5 : 1, false);
        check(&p, "elementwise");
    }
    arena_done(&arena);
}

static struct value *build_norm(struct tape *tape, struct problem *p)
{
    struct value *x = &p->inputs[2], *gamma = &p->inputs[0], *beta = &p->inputs[1];
    if (p->option == 0)
        return op_layer_norm(tape, x, gamma, beta, 1e-5);
    if (p->option == 1)
        return op_add_layer_norm(tape, x, &p->inputs[3], gamma, beta, 1e-5);
    if (p->option == 2) /* x reaches the sum twice */
        return op_add_layer_norm(tape, op_add(tape, x, x), x, gamma, beta, 1e-5);
    return op_add(tape, x, op_layer_norm(tape, x, gamma, beta, 1e-5)); /* dx is not the first */
}

Test(gradient, layer_norm)
{
    struct arena arena = {0};
    for (int option = 0; option < 4; option++) {
        struct problem p;
        begin(&p, build_norm, option);
        add_input(&p, &arena, 1, 37, false);
        add_input(&p, &arena, 1, 37, false);
        add_input(&p, &arena, 8, 37, true);
        if (option == 1)
            add_input(&p, &arena, 8, 37, true);
        check(&p, "layer_norm");
    }
    arena_done(&arena);
}

static struct value *build_activation(struct tape *tape, struct problem *p)
{
    return op_activation(tape, &p->inputs[0], (enum activation)p->option);
}

Test(gradient, activation)
{
    struct arena arena = {0};
    for (int option = 0; option <= (int)ACTIVATION_SIGMOID; option++) {
        struct problem p;
        begin(&p, build_activation, option);
        add_input(&p, &arena, 8, 6, true);
        check(&p, "activation");
    }
    arena_done(&arena);
}

static struct value *build_rows(struct tape *tape, struct problem *p)
{
    static const int32_t ids[] = {4, 0, 4, 2, 1, 1, 3, 4};
    switch (p->option) {
    case 0:
        return op_embedding(tape, &p->inputs[0], ids, 8, &p->layout);
    case 1:
        return op_first_rows(tape, &p->inputs[0]);
    case 2:
        return op_mean_rows(tape, &p->inputs[0]);
    default:
        return op_dropout(tape, &p->inputs[0], 0.4, 77);
    }
}

Test(gradient, rows)
{
    struct arena arena = {0};
    for (int option = 0; option < 4; option++) {
        struct problem p;
        begin(&p, build_rows, option);
        add_input(&p, &arena, option ? 8 : 5, 6, option > 0);
        check(&p, "rows");
    }
    arena_done(&arena);
}

/* Options: 1 causal, 2 grouped key-value heads, 4 extra keys, 8 dropout, 16 a gate on the extra keys. */
static struct value *build_attention(struct tape *tape, struct problem *p)
{
    struct attention attention = {
        .n_heads = 4,
        .n_kv_heads = p->option & 2 ? 2 : 4,
        .scale = 0.7,
        .is_causal = p->option & 1,
        .dropout = p->option & 8 ? 0.3 : 0,
        .site = 5,
        .extra_keys = p->option & 4 ? &p->inputs[3] : NULL,
        .extra_values = p->option & 4 ? &p->inputs[4] : NULL,
        .extra_gate = p->option & 16 ? &p->inputs[5] : NULL,
    };
    return op_attention(tape, &p->inputs[0], &p->inputs[1], &p->inputs[2], &attention);
}

Test(gradient, attention)
{
    struct arena arena = {0};
    for (int option = 0; option < 32; option++) {
        struct problem p;
        int kv = option & 2 ? 4 : 8;
        if ((option & 16) && !(option & 4))
            continue; /* there is nothing to gate */
        begin(&p, build_attention, option);
        add_input(&p, &arena, 8, 8, true);
        add_input(&p, &arena, 8, kv, true);
        add_input(&p, &arena, 8, kv, true);
        if (option & 4) {
            add_input(&p, &arena, 2, kv, false);
            add_input(&p, &arena, 2, kv, false);
        }
        if (option & 16)
            add_input(&p, &arena, 8, 1, true);
        check(&p, "attention");
    }
    arena_done(&arena);
}

static struct value *build_loss(struct tape *tape, struct problem *p)
{
    static const int32_t labels[] = {0, 2, 1, -100, 2, 0, 1, 1};
    static const real weights[] = {0.5, 2, 1.25};
    struct loss_options options = {.labels = labels,
                                   .weights = p->option & 1 ? weights : NULL,
                                   .smoothing = p->option & 2 ? 0.1 : 0,
                                   .divisor = p->option & 4 ? 5 : 0};
    return op_cross_entropy(tape, &p->inputs[0], &options, NULL, NULL);
}

Test(gradient, cross_entropy)
{
    struct arena arena = {0};
    for (int option = 0; option < 8; option++) {
        struct problem p;
        begin(&p, build_loss, option);
        add_input(&p, &arena, 8, 3, true);
        check(&p, "cross_entropy");
    }
    arena_done(&arena);
}
