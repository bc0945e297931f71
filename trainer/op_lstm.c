/* One direction of one LSTM layer over sequences.   Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735, with
 * forget gates, as PyTorch computes it (gates in the order i, f, g, o, two bias vectors):
 *     i, f, o = σ(W x_t + b + U h_{t−1} + b'), g = tanh(…), c_t = f c_{t−1} + i g, h_t = o tanh(c_t) */
#include <math.h>

#include "trainer/op_internal.h"

struct lstm_node {
    struct tape_node node;
    struct value *x;
    struct lstm lstm;
    real *gates; /* (n, 4h): i, f, g, o after their functions */
    real *cells; /* (n, h) */
};

struct span {
    int first, rows;
};

/* Sequence s: a segment of the layout, or all rows when there is none. */
static int span_count(const struct value *x)
{
    return x->layout ? x->layout->n_segments : 1;
}

static struct span span_at(const struct value *x, int s)
{
    return x->layout ? (struct span){x->layout->segments[s].first, x->layout->segments[s].rows}
                     : (struct span){0, x->rows};
}

/* The row of step t, and of the step before it (−1: none). */
static int row_of(struct span span, bool is_reverse, int t)
{
    return t < 0 ? -1 : span.first + (is_reverse ? span.rows - 1 - t : t);
}

static real sigmoid(real x)
{
    return (real)(1 / (1 + exp(-(double)x)));
}

/* gates of a row: in, x W + b + b'; out, the gates' values. */
static void cell_forward(const struct lstm *lstm, int h, real *gates, const real *h_before, const real *c_before,
                         real *cell, real *out)
{
    for (int k = 0; h_before && k < 4 * h; k++)
        gates[k] += kernels()->dot(value_row(lstm->hidden_weight, k), h_before, (size_t)h);
    for (int k = 0; k < h; k++) {
        real *i = &gates[k], *f = &gates[h + k], *g = &gates[2 * h + k], *o = &gates[3 * h + k];
        *i = sigmoid(*i);
        *f = sigmoid(*f);
        *g = (real)tanh((double)*g);
        *o = sigmoid(*o);
        cell[k] = *i * *g + (c_before ? *f * c_before[k] : 0);
        out[k] = *o * (real)tanh((double)cell[k]);
    }
}

/* Turns dh of a step into the slopes of its gates (before their functions), in place of dgates; dc is carried on. */
static void cell_backward(int h, const real *gates, const real *cell, const real *c_before, const real *dh, real *dc,
                          real *dgates)
{
    for (int k = 0; k < h; k++) {
        real i = gates[k], f = gates[h + k], g = gates[2 * h + k], o = gates[3 * h + k];
        real squashed = (real)tanh((double)cell[k]);
        dc[k] += dh[k] * o * (1 - squashed * squashed);
        dgates[k] = dc[k] * g * i * (1 - i);
        dgates[h + k] = c_before ? dc[k] * c_before[k] * f * (1 - f) : 0;
        dgates[2 * h + k] = dc[k] * i * (1 - g * g);
        dgates[3 * h + k] = dh[k] * squashed * o * (1 - o);
        dc[k] *= f;
    }
}

/* dgates (n, 4h) of all rows, and d hidden_weight. */
static void sequence_backward(const struct lstm_node *node, struct span span, real *dgates, real *dh, real *dc)
{
    const struct lstm *lstm = &node->lstm;
    const struct value *y = node->node.output;
    int h = y->cols;
    memset(dh, 0, (size_t)h * sizeof(real));
    memset(dc, 0, (size_t)h * sizeof(real));
    for (int t = span.rows - 1; t >= 0; t--) {
        int row = row_of(span, lstm->is_reverse, t), before = row_of(span, lstm->is_reverse, t - 1);
        real *slopes = dgates + (size_t)row * 4 * (size_t)h;
        kernels()->add(dh, dh, grad_row(y, row), (size_t)h);
        cell_backward(h, node->gates + (size_t)row * 4 * (size_t)h, node->cells + (size_t)row * (size_t)h,
                      before < 0 ? NULL : node->cells + (size_t)before * (size_t)h, dh, dc, slopes);
        memset(dh, 0, (size_t)h * sizeof(real));
        for (int k = 0; before >= 0 && k < 4 * h; k++) {
            kernels()->axpy(dh, value_row(lstm->hidden_weight, k), slopes[k], (size_t)h);
            if (needs(lstm->hidden_weight))
                kernels()->axpy(grad_row(lstm->hidden_weight, k), value_row(y, before), slopes[k], (size_t)h);
        }
    }
}

static bool open_grad(struct tape *tape, struct value *value)
{
    bool is_first;
    if (!needs(value))
        return true;
    if (!tape_grad(tape, value, &is_first))
        return false;
    if (is_first)
        memset(value->grad, 0, value_size(value) * sizeof(real));
    return true;
}

static void lstm_backward(struct tape *tape, struct tape_node *base)
{
    struct lstm_node *node = (struct lstm_node *)base;
    struct lstm *lstm = &node->lstm;
    struct value *x = node->x, *w = lstm->input_weight, *biases[2] = {lstm->input_bias, lstm->hidden_bias};
    int n = x->rows, h = base->output->cols;
    real *dgates = tape_alloc(tape, "lstm", (size_t)n * 4 * (size_t)h * sizeof(real));
    real *carried = tape_alloc(tape, "lstm", 2 * (size_t)h * sizeof(real));
    if (!dgates || !carried || !open_grad(tape, x) || !open_grad(tape, w) || !open_grad(tape, lstm->hidden_weight) ||
        !open_grad(tape, biases[0]) || !open_grad(tape, biases[1]))
        return;
    for (int s = 0; s < span_count(x); s++)
        sequence_backward(node, span_at(x, s), dgates, carried, carried + h);
    for (int b = 0; b < 2; b++)
        for (int i = 0; needs(biases[b]) && i < n; i++)
            kernels()->add(biases[b]->grad, biases[b]->grad, dgates + (size_t)i * 4 * (size_t)h, 4 * (size_t)h);
    if (needs(w))
        gemm(true, false, 4 * h, x->cols, n, 1, dgates, 4 * h, x->data, x->cols, 1, w->grad, x->cols);
    if (needs(x) && !w)
        kernels()->add(x->grad, x->grad, dgates, value_size(x));
    else if (needs(x))
        gemm(false, false, n, x->cols, 4 * h, 1, dgates, 4 * h, w->data, x->cols, 1, x->grad, x->cols);
}

static void sequence_forward(const struct lstm *lstm, struct span span, real *gates, real *cells, struct value *y)
{
    int h = y->cols;
    for (int t = 0; t < span.rows; t++) {
        int row = row_of(span, lstm->is_reverse, t), before = row_of(span, lstm->is_reverse, t - 1);
        cell_forward(lstm, h, gates + (size_t)row * 4 * (size_t)h, before < 0 ? NULL : value_row(y, before),
                     before < 0 ? NULL : cells + (size_t)before * (size_t)h, cells + (size_t)row * (size_t)h,
                     value_row(y, row));
    }
}

struct value *op_lstm(struct tape *tape, struct value *x, const struct lstm *lstm)
{
    if (!x)
        return NULL;
    int n = x->rows, h = lstm->hidden_weight->cols;
    const struct value *w = lstm->input_weight;
    assert(w ? w->rows == 4 * h && w->cols == x->cols : x->cols == 4 * h);
    struct value *y = tape_value(tape, "lstm", n, h, x->layout);
    real *gates = tape_alloc(tape, "lstm", (size_t)n * 4 * (size_t)h * sizeof(real));
    real *cells = tape_alloc(tape, "lstm", (size_t)n * (size_t)h * sizeof(real));
    if (!y || !gates || !cells)
        return NULL;
    for (int i = 0; i < n; i++)
        kernels()->add(gates + (size_t)i * 4 * (size_t)h, w ? lstm->input_bias->data : value_row(x, i),
                       lstm->hidden_bias->data, 4 * (size_t)h);
    if (w)
        gemm(false, true, n, 4 * h, x->cols, 1, x->data, x->cols, w->data, x->cols, 1, gates, 4 * h);
    for (int s = 0; s < span_count(x); s++)
        sequence_forward(lstm, span_at(x, s), gates, cells, y);
    if (!tape->is_recording ||
        !(needs(x) || needs(w) || needs(lstm->hidden_weight) || needs(lstm->input_bias) || needs(lstm->hidden_bias)))
        return y;
    struct lstm_node *node = op_node(tape, "lstm", sizeof(*node), y, lstm_backward);
    if (!node)
        return NULL;
    node->x = x;
    node->lstm = *lstm;
    node->gates = gates;
    node->cells = cells;
    return y;
}
