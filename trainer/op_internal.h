/* What the files of operations share: putting a node on the tape. */
#ifndef TRAINER_OP_INTERNAL_H
#define TRAINER_OP_INTERNAL_H

#include <assert.h>
#include <string.h>

#include "trainer/gemm.h"
#include "trainer/kernels.h"
#include "trainer/ops.h"

static inline bool needs(const struct value *value)
{
    return value && value->needs_grad;
}

static inline size_t value_size(const struct value *value)
{
    return (size_t)value->rows * (size_t)value->cols;
}

static inline real *value_row(const struct value *value, int row)
{
    return value->data + (size_t)row * (size_t)value->cols;
}

static inline real *grad_row(const struct value *value, int row)
{
    return value->grad + (size_t)row * (size_t)value->cols;
}

/* A node of `bytes` (a struct whose first member is the tape_node) with name, output and backward set, on the tape;
 * NULL when the arena is full. */
static inline void *op_node(struct tape *tape, const char *name, size_t bytes, struct value *output,
                            void (*backward)(struct tape *, struct tape_node *))
{
    struct tape_node *node = tape_alloc(tape, name, bytes);
    if (!node)
        return NULL;
    memset(node, 0, bytes);
    node->name = name;
    node->output = output;
    node->backward = backward;
    tape_record(tape, node);
    return node;
}

/* y = x op(w) + b, or y += x op(w) with `adds`, in bfloat16 where the tape asks for it and the weight is large enough.
 * x: (rows, k)   op(w): (k, n), w or its transpose   b: (1, n) or NULL, and then not with `adds`   y: (rows, n) */
void op_times_weight(struct tape *tape, const real *x, int rows, int k, const struct value *w, bool transpose,
                     const struct value *b, int n, bool adds, real *y);
/* Makes room for what products of so many rows with w and its transpose need beside them, so that it outlives a mark of
 * the step's arena that is taken next. */
bool op_times_weight_prepare(struct tape *tape, const struct value *w, int rows);

/* A dropout rate in the 65536ths that masks are drawn in: at most 2^−17 beside the rate asked for. */
static inline uint32_t dropout_threshold(double rate)
{
    return (uint32_t)(rate * 65536.0 + 0.5);
}

/* grad(value) (+)= scale · source, n elements in all. */
static inline void grad_add(struct tape *tape, struct value *value, const real *source, real scale)
{
    bool is_first;
    size_t n = value_size(value);
    if (!needs(value))
        return;
    real *grad = tape_grad(tape, value, &is_first);
    if (!grad)
        return;
    if (is_first)
        kernels()->scale(grad, source, scale, n);
    else
        kernels()->axpy(grad, source, scale, n);
}

#endif
