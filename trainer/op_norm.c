/* Layer norm, alone and fused with the residual sum in front of it; root mean square norm. */
#include "trainer/op_internal.h"

struct norm_node {
    struct tape_node node;
    struct value *x, *residual; /* residual NULL: x alone is normalised */
    struct value *gamma, *beta;
    const real *input;    /* what was normalised: x, or the sum */
    real *mean, *inverse; /* a row each */
};

/* The gradient buffer of an optional value, zeroed when it is new; NULL when it needs none. */
static real *zeroed_grad(struct tape *tape, struct value *value)
{
    bool is_first;
    real *grad = needs(value) ? tape_grad(tape, value, &is_first) : NULL;
    if (grad && is_first)
        memset(grad, 0, value_size(value) * sizeof(real));
    return grad;
}

static void norm_backward(struct tape *tape, struct tape_node *node)
{
    struct norm_node *norm = (struct norm_node *)node;
    struct value *x = norm->x, *residual = norm->residual, *y = node->output;
    size_t d = (size_t)y->cols;
    real *dgamma = zeroed_grad(tape, norm->gamma), *dbeta = zeroed_grad(tape, norm->beta);
    /* Both terms of the sum get the same gradient: it is written into one and copied to the other. */
    struct value *target = needs(x) ? x : needs(residual) ? residual : NULL;
    bool is_first = false;
    if (target && !tape_grad(tape, target, &is_first))
        return;
    bool both = needs(x) && needs(residual);
    real *row = both ? tape_alloc(tape, "layer_norm", d * sizeof(real)) : NULL, *second = NULL;
    bool second_first = false;
    if (both && !(second = tape_grad(tape, residual, &second_first)))
        return;
    if (both && !row)
        return;
    for (int i = 0; i < y->rows; i++) {
        size_t at = (size_t)i * d;
        real *dx = both ? row : target ? target->grad + at : NULL;
        kernels()->layer_norm_backward(dx, dgamma, dbeta, y->grad + at, norm->input + at, norm->gamma->data,
                                       norm->mean[i], norm->inverse[i], d, both || is_first);
        if (!both)
            continue;
        if (is_first)
            memcpy(target->grad + at, row, d * sizeof(real));
        else
            kernels()->add(target->grad + at, target->grad + at, row, d);
        if (second_first && residual != x)
            memcpy(second + at, row, d * sizeof(real));
        else
            kernels()->add(second + at, second + at, row, d);
    }
}

static struct value *normalise(struct tape *tape, struct value *x, struct value *residual, struct value *gamma,
                               struct value *beta, double epsilon)
{
    if (!x || !gamma || !beta)
        return NULL;
    assert(gamma->rows == 1 && beta->rows == 1 && gamma->cols == x->cols && beta->cols == x->cols);
    assert(!residual || (residual->rows == x->rows && residual->cols == x->cols));
    struct value *y = tape_value(tape, "layer_norm", x->rows, x->cols, x->layout);
    bool records = tape->is_recording && (needs(x) || needs(residual) || needs(gamma) || needs(beta));
    size_t rows = records ? (size_t)x->rows : 1, d = (size_t)x->cols;
    real *statistics = tape_alloc(tape, "layer_norm", 2 * rows * sizeof(real));
    real *sum = !residual                ? NULL
                : records && x->is_spare ? x->data
                                         : tape_alloc(tape, "layer_norm", rows * d * sizeof(real));
    if (!y || !statistics || (residual && !sum))
        return NULL;
    for (int i = 0; i < x->rows; i++) {
        size_t kept = records ? (size_t)i : 0;
        const real *input = value_row(x, i);
        if (residual) {
            kernels()->add(sum + kept * d, input, value_row(residual, i), d);
            input = sum + kept * d;
        }
        kernels()->layer_norm(value_row(y, i), input, gamma->data, beta->data, epsilon, d, &statistics[kept],
                              &statistics[rows + kept]);
    }
    if (!records)
        return y;
    struct norm_node *node = op_node(tape, "layer_norm", sizeof(*node), y, norm_backward);
    if (!node)
        return NULL;
    node->x = x;
    node->residual = residual;
    node->gamma = gamma;
    node->beta = beta;
    node->input = residual ? sum : x->data;
    node->mean = statistics;
    node->inverse = statistics + rows;
    return y;
}

struct value *op_layer_norm(struct tape *tape, struct value *x, struct value *gamma, struct value *beta, double epsilon)
{
    return normalise(tape, x, NULL, gamma, beta, epsilon);
}

struct value *op_add_layer_norm(struct tape *tape, struct value *x, struct value *residual, struct value *gamma,
                                struct value *beta, double epsilon)
{
    return residual ? normalise(tape, x, residual, gamma, beta, epsilon) : NULL;
}

struct rms_node {
    struct tape_node node;
    struct value *x, *gamma;
    real *inverse; /* a row each */
};

static void rms_backward(struct tape *tape, struct tape_node *node)
{
    struct rms_node *rms = (struct rms_node *)node;
    struct value *x = rms->x, *y = node->output;
    bool is_first = false;
    real *dgamma = zeroed_grad(tape, rms->gamma), *dx = needs(x) ? tape_grad(tape, x, &is_first) : NULL;
    if (needs(x) && !dx)
        return;
    for (int i = 0; i < y->rows; i++)
        kernels()->rms_norm_backward(dx ? grad_row(x, i) : NULL, dgamma, grad_row(y, i), value_row(x, i),
                                     rms->gamma->data, rms->inverse[i], (size_t)y->cols, is_first);
}

struct value *op_rms_norm(struct tape *tape, struct value *x, struct value *gamma, double epsilon)
{
    if (!x || !gamma)
        return NULL;
    assert(gamma->rows == 1 && gamma->cols == x->cols);
    struct value *y = tape_value(tape, "rms_norm", x->rows, x->cols, x->layout);
    real *inverse = tape_alloc(tape, "rms_norm", (size_t)x->rows * sizeof(real));
    if (!y || !inverse)
        return NULL;
    for (int i = 0; i < x->rows; i++)
        kernels()->rms_norm(value_row(y, i), value_row(x, i), gamma->data, epsilon, (size_t)x->cols, &inverse[i]);
    if (!tape->is_recording || !(needs(x) || needs(gamma)))
        return y;
    struct rms_node *node = op_node(tape, "rms_norm", sizeof(*node), y, rms_backward);
    if (!node)
        return NULL;
    node->x = x;
    node->gamma = gamma;
    node->inverse = inverse;
    return y;
}
