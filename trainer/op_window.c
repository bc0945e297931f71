/* Windows of rows: what a convolution over a sequence sees at each place. */
#include "trainer/op_internal.h"

struct window_node {
    struct tape_node node;
    struct value *x;
    int size;
};

/* Calls for every row and place of its window the row it holds, within its sequence. */
#define EACH_ROW(x, size, s, r, k, at)                                                                                 \
    for (int s = 0; s < (x)->layout->n_segments; s++)                                                                  \
        for (int r = 0; r < (x)->layout->segments[s].rows; r++)                                                        \
            for (int k = 0, at = r - (size) / 2; k < (size); k++, at++)

static void window_backward(struct tape *tape, struct tape_node *base)
{
    struct window_node *node = (struct window_node *)base;
    struct value *x = node->x, *y = base->output;
    size_t d = (size_t)x->cols;
    bool is_first;
    real *grad = tape_grad(tape, x, &is_first);
    if (!grad)
        return;
    if (is_first)
        memset(grad, 0, value_size(x) * sizeof(real));
    EACH_ROW(x, node->size, s, r, k, at)
    {
        const struct segment *segment = &x->layout->segments[s];
        if (at < 0 || at >= segment->keys)
            continue;
        real *row = grad_row(x, segment->first + at);
        kernels()->add(row, row, grad_row(y, segment->first + r) + (size_t)k * d, d);
    }
}

struct value *op_window(struct tape *tape, struct value *x, int size)
{
    if (!x)
        return NULL;
    assert(size % 2 == 1 && x->layout);
    size_t d = (size_t)x->cols;
    struct value *y = tape_value(tape, "window", x->rows, size * x->cols, x->layout);
    if (!y)
        return NULL;
    memset(y->data, 0, value_size(y) * sizeof(real));
    EACH_ROW(x, size, s, r, k, at)
    {
        const struct segment *segment = &x->layout->segments[s];
        if (at >= 0 && at < segment->keys)
            memcpy(value_row(y, segment->first + r) + (size_t)k * d, value_row(x, segment->first + at),
                   d * sizeof(real));
    }
    if (!tape->is_recording || !needs(x))
        return y;
    struct window_node *node = op_node(tape, "window", sizeof(*node), y, window_backward);
    if (!node)
        return NULL;
    node->x = x;
    node->size = size;
    return y;
}
