/* The operations of the methods. */
#include "tests/gradient/gradient.h"

static struct value *build_insert(struct tape *tape, struct problem *p)
{
    return op_insert_rows(tape, &p->inputs[0], &p->inputs[1], p->option & 1);
}

Test(gradient, insert_rows)
{
    struct arena arena = {0};
    for (int option = 0; option < 2; option++) {
        struct problem p;
        begin(&p, build_insert, option);
        add_input(&p, &arena, 8, 3, true);
        add_input(&p, &arena, 2, 3, false);
        check(&p, "insert_rows");
    }
    arena_done(&arena);
}

static struct value *build_shape(struct tape *tape, struct problem *p)
{
    static const int32_t rows[] = {3, 0, 3}, cols[] = {0, 2, 1, 1, 4, 3, 0, 2}, ids[] = {4, 0, 4, 1};
    struct value *a = &p->inputs[0], *b = &p->inputs[1];
    switch (p->option) {
    case 0:
        return op_multiply(tape, op_reshape(tape, a, 4, 10), op_reshape(tape, a, 4, 10));
    case 1:
        return op_columns(tape, a, 1, 3);
    case 2:
        return op_multiply(tape, op_row_range(tape, a, 2, 3), op_row_range(tape, a, 4, 3));
    case 3:
        return op_beside(tape, a, b);
    case 4:
        return op_add_at_rows(tape, a, op_row_range(tape, b, 0, 3), rows);
    case 5:
        return op_pick(tape, a, cols);
    case 6:
        return op_add_at_columns(tape, a, op_columns(tape, b, 0, 3), 2);
    case 7:
        return op_take_rows(tape, a, rows, 3);
    default:
        return op_embedding_columns(tape, a, ids, 4, NULL);
    }
}

Test(gradient, shape)
{
    struct arena arena = {0};
    for (int option = 0; option < 9; option++) {
        struct problem p;
        begin(&p, build_shape, option);
        add_input(&p, &arena, 8, 5, true);
        if (option == 3 || option == 4 || option == 6)
            add_input(&p, &arena, 8, 5, true);
        check(&p, "shape");
    }
    arena_done(&arena);
}

static struct value *build_sum_at_rows(struct tape *tape, struct problem *p)
{
    static const int32_t first[] = {4, 0, 4}, second[] = {1, 4};
    const int32_t **rows = tape_alloc(tape, "test", 2 * sizeof(*rows));
    struct value **parts = tape_alloc(tape, "test", 2 * sizeof(*parts));
    rows[0] = first;
    rows[1] = second;
    parts[0] = &p->inputs[0];
    parts[1] = &p->inputs[1];
    return op_sum_at_rows(tape, parts, rows, 2, 6, 5, NULL);
}

Test(gradient, sum_at_rows)
{
    struct arena arena = {0};
    struct problem p;
    begin(&p, build_sum_at_rows, 0);
    add_input(&p, &arena, 3, 5, false);
    add_input(&p, &arena, 2, 5, false);
    check(&p, "sum_at_rows");
    arena_done(&arena);
}

static struct value *build_gate(struct tape *tape, struct problem *p)
{
    struct value *a = &p->inputs[0], *b = &p->inputs[1];
    switch (p->option) {
    case 0:
        return op_add_row(tape, a, b, -0.7);
    case 1:
        return op_multiply_column(tape, a, b);
    case 2:
        return op_softmax(tape, a);
    case 5:
        return op_row_dot(tape, a, b);
    case 6:
        return op_row_dot(tape, a, a);
    default:
        return op_sequence_mean(tape, op_activation(tape, a, ACTIVATION_SIGMOID), p->option == 4);
    }
}

Test(gradient, gate)
{
    struct arena arena = {0};
    for (int option = 0; option < 7; option++) {
        struct problem p;
        begin(&p, build_gate, option);
        add_input(&p, &arena, 8, 5, true);
        if (option < 2 || option == 5)
            add_input(&p, &arena, option ? 8 : 1, option == 1 ? 1 : 5, false);
        check(&p, "gate");
    }
    arena_done(&arena);
}

static struct value *build_orthogonality(struct tape *tape, struct problem *p)
{
    return op_orthogonality(tape, &p->inputs[0], p->option);
}

Test(gradient, orthogonality)
{
    struct arena arena = {0};
    for (int option = 0; option < 2; option++) {
        struct problem p;
        begin(&p, build_orthogonality, option);
        add_input(&p, &arena, 3, 4, false);
        check(&p, "orthogonality");
    }
    arena_done(&arena);
}

static struct value *build_window(struct tape *tape, struct problem *p)
{
    return op_window(tape, &p->inputs[0], p->option);
}

Test(gradient, window)
{
    struct arena arena = {0};
    for (int size = 1; size <= 7; size += 2) {
        struct problem p;
        begin(&p, build_window, size);
        add_input(&p, &arena, 8, 3, true);
        check(&p, "window");
    }
    arena_done(&arena);
}

/* x is the gates already: no weight, no bias of the input. */
static struct value *build_bare_lstm(struct tape *tape, struct problem *p)
{
    struct lstm lstm = {.hidden_weight = &p->inputs[1], .hidden_bias = &p->inputs[2], .is_reverse = p->option & 1};
    return op_lstm(tape, &p->inputs[0], &lstm);
}

Test(gradient, lstm_of_gates)
{
    struct arena arena = {0};
    for (int option = 0; option < 2; option++) {
        struct problem p;
        begin(&p, build_bare_lstm, option);
        add_input(&p, &arena, 8, 12, true);
        add_input(&p, &arena, 12, 3, false);
        add_input(&p, &arena, 1, 12, false);
        check(&p, "lstm_of_gates");
    }
    arena_done(&arena);
}

static struct value *build_lstm(struct tape *tape, struct problem *p)
{
    struct lstm lstm = {.input_weight = &p->inputs[1],
                        .hidden_weight = &p->inputs[2],
                        .input_bias = &p->inputs[3],
                        .hidden_bias = &p->inputs[4],
                        .is_reverse = p->option & 1};
    return op_lstm(tape, &p->inputs[0], &lstm);
}

Test(gradient, lstm)
{
    struct arena arena = {0};
    for (int option = 0; option < 4; option++) {
        struct problem p;
        begin(&p, build_lstm, option);
        add_input(&p, &arena, 8, 3, option & 2);
        add_input(&p, &arena, 8, 3, false);
        add_input(&p, &arena, 8, 2, false);
        add_input(&p, &arena, 1, 8, false);
        add_input(&p, &arena, 1, 8, false);
        check(&p, "lstm");
    }
    arena_done(&arena);
}

static struct value *build_phm(struct tape *tape, struct problem *p)
{
    return op_phm_weight(tape, &p->inputs[0], &p->inputs[1], &p->inputs[2], p->option + 1);
}

Test(gradient, phm_weight)
{
    struct arena arena = {0};
    for (int option = 0; option < 2; option++) {
        struct problem p;
        begin(&p, build_phm, option);
        add_input(&p, &arena, 2, 4, false);
        add_input(&p, &arena, 2, 3 * (option + 1), false);
        add_input(&p, &arena, 2, 2 * (option + 1), false);
        check(&p, "phm_weight");
    }
    arena_done(&arena);
}
