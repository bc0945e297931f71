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
    size_t n = value_size(x);
    real *dx = tape_grad(tape, x, &is_first);
    if (!dx)
        return;
    if (is_first)
        memset(dx, 0, n * sizeof(real));
    for (size_t i = 0; i < n; i++)
        dx[i] += dropout->is_kept[i] ? dy[i] * dropout->factor : 0;
}

/* A row's mask hangs on its place in its sequence: the row goes into the site word of the counter. */
static void draw_mask(const struct tape *tape, const struct value *x, double rate, uint32_t site, uint32_t *words,
                      uint8_t *is_kept)
{
    uint32_t threshold = (uint32_t)(rate * 4294967296.0);
    for (int s = 0; s < x->layout->n_segments; s++) {
        const struct segment *segment = &x->layout->segments[s];
        for (int i = 0; i < segment->rows; i++) {
            uint8_t *row = is_kept + (size_t)(segment->first + i) * (size_t)x->cols;
            kernels()->random_words(tape->dropout, tape->step, segment->example, site + (uint32_t)i * 0x9e3779b9u,
                                    words, (size_t)x->cols);
            for (int j = 0; j < x->cols; j++)
                row[j] = words[j] >= threshold;
        }
    }
}

struct value *op_dropout(struct tape *tape, struct value *x, double rate, uint32_t site)
{
    if (!x || !tape->is_training || rate <= 0)
        return x;
    assert(x->layout && x->layout->n_rows == x->rows && rate < 1);
    size_t n = value_size(x);
    struct value *y = tape_value(tape, "dropout", x->rows, x->cols, x->layout);
    uint8_t *is_kept = tape_alloc(tape, "dropout", n);
    uint32_t *words = tape_alloc(tape, "dropout", (size_t)x->cols * sizeof(*words));
    if (!y || !is_kept || !words)
        return NULL;
    real factor = (real)(1 / (1 - rate));
    draw_mask(tape, x, rate, site, words, is_kept);
    for (size_t i = 0; i < n; i++)
        y->data[i] = is_kept[i] ? x->data[i] * factor : 0;
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
