/* Rotary positions. */
#include "trainer/op_internal.h"

struct rotate_node {
    struct tape_node node;
    struct value *x;
    struct rotation rotation;
    int n_heads;
};

/* y (+)= x turned by the row's angles, or back (sign −1). What lies behind the turned pairs of a head is copied. */
static void turn_row(const struct rotation *rotation, int row, int n_heads, int size, real sign, bool adds, real *y,
                     const real *x)
{
    int half = rotation->half;
    const real *c = rotation->cosines + (size_t)row * (size_t)half, *s = rotation->sines + (size_t)row * (size_t)half;
    for (int head = 0; head < n_heads; head++, x += size, y += size) {
        for (int j = 0; j < half; j++) {
            real left = x[j] * c[j] - sign * x[j + half] * s[j], right = x[j + half] * c[j] + sign * x[j] * s[j];
            y[j] = adds ? y[j] + left : left;
            y[j + half] = adds ? y[j + half] + right : right;
        }
        for (int j = 2 * half; j < size; j++)
            y[j] = adds ? y[j] + x[j] : x[j];
    }
}

static void rotate_backward(struct tape *tape, struct tape_node *base)
{
    struct rotate_node *node = (struct rotate_node *)base;
    struct value *x = node->x, *y = base->output;
    bool is_first;
    if (!tape_grad(tape, x, &is_first))
        return;
    for (int i = 0; i < y->rows; i++)
        turn_row(&node->rotation, i, node->n_heads, x->cols / node->n_heads, -1, !is_first, grad_row(x, i),
                 grad_row(y, i));
}

struct value *op_rotate(struct tape *tape, struct value *x, int n_heads, const struct rotation *rotation)
{
    if (!x)
        return NULL;
    assert(x->cols % n_heads == 0 && 2 * rotation->half <= x->cols / n_heads);
    struct value *y = tape_value(tape, "rotate", x->rows, x->cols, x->layout);
    for (int i = 0; y && i < x->rows; i++)
        turn_row(rotation, i, n_heads, x->cols / n_heads, 1, false, value_row(y, i), value_row(x, i));
    if (!y || !tape->is_recording || !needs(x))
        return y;
    struct rotate_node *node = op_node(tape, "rotate", sizeof(*node), y, rotate_backward);
    if (!node)
        return NULL;
    node->x = x;
    node->rotation = *rotation;
    node->n_heads = n_heads;
    return y;
}
