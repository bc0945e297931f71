/* Dropout of hidden values. */
#include "trainer/op_internal.h"

struct dropout_node {
    struct tape_node node;
    struct value *x;
    const uint8_t *is_kept;
    real factor;
};

static void dropout_backward(struct tape *tape, struct tape_node *node)
{
    struct dropout_node *dropout = (struct dropout_node *)node;
    struct value *x = dropout->x;
    const real *dy = node->output->grad;
    bool is_first;
    real *dx = tape_grad_from(tape, x, node->output, &is_first);
    if (dx)
        kernels()->mask(dx, dy, dropout->is_kept, dropout->factor, value_size(x), is_first);
}

/* A row's mask hangs on its place in its sequence: the row goes into the site word of the counter. */
static void draw_mask(const struct tape *tape, const struct value *x, double rate, uint32_t site, uint8_t *is_kept)
{
    uint32_t threshold = dropout_threshold(rate);
    for (int s = 0; s < x->layout->n_segments; s++) {
        const struct segment *segment = &x->layout->segments[s];
        for (int i = 0; i < segment->rows; i++) {
            uint8_t *row = is_kept + (size_t)(segment->first + i) * (size_t)x->cols;
            kernels()->keep_mask(tape->dropout, tape->step, segment->example, site + (uint32_t)i * 0x9e3779b9u,
                                 threshold, row, (size_t)x->cols);
        }
    }
}

struct value *op_dropout(struct tape *tape, struct value *x, double rate, uint32_t site)
{
    if (!x || !tape->is_training || rate <= 0)
        return x;
    assert(x->layout && x->layout->n_rows == x->rows && rate < 1);
    size_t n = value_size(x);
    struct value *y = x->is_spare ? tape_constant(tape, x->data, x->rows, x->cols, x->layout)
                                  : tape_value(tape, "dropout", x->rows, x->cols, x->layout);
    uint8_t *is_kept = tape_alloc(tape, "dropout", n);
    if (!y || !is_kept)
        return NULL;
    y->is_spare = x->is_spare;
    real factor = (real)(1 / (1 - rate));
    draw_mask(tape, x, rate, site, is_kept);
    kernels()->mask(y->data, x->data, is_kept, factor, n, true);
    if (!tape->is_recording || !needs(x))
        return y;
    struct dropout_node *node = op_node(tape, "dropout", sizeof(*node), y, dropout_backward);
    if (!node)
        return NULL;
    node->x = x;
    node->is_kept = is_kept;
    node->factor = factor;
    return y;
}
