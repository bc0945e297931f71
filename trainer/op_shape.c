/* Parts of matrices and matrices of parts: no arithmetic, only places. */
#include "trainer/op_internal.h"

struct part_node {
    struct tape_node node;
    struct value *a, *b;
    int first;
};

/* The gradient of `value`, zeroed when it is new. */
static real *zeroed_grad(struct tape *tape, struct value *value)
{
    bool is_first;
    real *grad = tape_grad(tape, value, &is_first);
    if (grad && is_first)
        memset(grad, 0, value_size(value) * sizeof(real));
    return grad;
}

static struct value *record_part(struct tape *tape, const char *name, struct value *y, struct value *a, struct value *b,
                                 int first, void (*backward)(struct tape *, struct tape_node *))
{
    if (!y || !tape->is_recording || !(needs(a) || needs(b)))
        return y;
    struct part_node *node = op_node(tape, name, sizeof(*node), y, backward);
    if (!node)
        return NULL;
    node->a = a;
    node->b = b;
    node->first = first;
    return y;
}

static void reshape_backward(struct tape *tape, struct tape_node *node)
{
    grad_add(tape, ((struct part_node *)node)->a, node->output->grad, 1);
}

struct value *op_reshape(struct tape *tape, struct value *x, int rows, int cols)
{
    if (!x)
        return NULL;
    assert((size_t)rows * (size_t)cols == value_size(x));
    struct value *y = tape_constant(tape, x->data, rows, cols, rows == x->rows ? x->layout : NULL);
    return record_part(tape, "reshape", y, x, NULL, 0, reshape_backward);
}

static void columns_backward(struct tape *tape, struct tape_node *node)
{
    const struct part_node *part = (struct part_node *)node;
    struct value *x = part->a, *y = node->output;
    if (!zeroed_grad(tape, x))
        return;
    for (int i = 0; i < y->rows; i++) {
        real *row = grad_row(x, i) + part->first;
        kernels()->add(row, row, grad_row(y, i), (size_t)y->cols);
    }
    if (y->balanced_cols) {
        x->balanced_first = part->first + y->balanced_first;
        x->balanced_cols = y->balanced_cols;
    }
}

struct value *op_columns(struct tape *tape, struct value *x, int first, int n)
{
    if (!x)
        return NULL;
    assert(first >= 0 && n > 0 && first + n <= x->cols);
    struct value *y = tape_value(tape, "columns", x->rows, n, x->layout);
    for (int i = 0; y && i < x->rows; i++)
        memcpy(value_row(y, i), value_row(x, i) + first, (size_t)n * sizeof(real));
    return record_part(tape, "columns", y, x, NULL, first, columns_backward);
}

static void row_range_backward(struct tape *tape, struct tape_node *node)
{
    const struct part_node *part = (struct part_node *)node;
    if (!zeroed_grad(tape, part->a))
        return;
    real *rows = grad_row(part->a, part->first);
    kernels()->add(rows, rows, node->output->grad, value_size(node->output));
}

struct value *op_row_range(struct tape *tape, struct value *x, int first, int n)
{
    if (!x)
        return NULL;
    assert(first >= 0 && n > 0 && first + n <= x->rows);
    struct value *y = tape_constant(tape, value_row(x, first), n, x->cols, NULL);
    return record_part(tape, "row_range", y, x, NULL, first, row_range_backward);
}

static void beside_backward(struct tape *tape, struct tape_node *node)
{
    const struct part_node *part = (struct part_node *)node;
    struct value *sides[2] = {part->a, part->b}, *y = node->output;
    for (int side = 0, first = 0; side < 2; first += sides[side]->cols, side++) {
        if (!needs(sides[side]) || !zeroed_grad(tape, sides[side]))
            continue;
        for (int i = 0; i < y->rows; i++) {
            real *row = grad_row(sides[side], i);
            kernels()->add(row, row, grad_row(y, i) + first, (size_t)sides[side]->cols);
        }
    }
}

struct value *op_beside(struct tape *tape, struct value *a, struct value *b)
{
    if (!a || !b)
        return NULL;
    assert(a->rows == b->rows);
    struct value *y = tape_value(tape, "beside", a->rows, a->cols + b->cols, a->layout);
    for (int i = 0; y && i < a->rows; i++) {
        memcpy(value_row(y, i), value_row(a, i), (size_t)a->cols * sizeof(real));
        memcpy(value_row(y, i) + a->cols, value_row(b, i), (size_t)b->cols * sizeof(real));
    }
    return record_part(tape, "beside", y, a, b, 0, beside_backward);
}

static void add_at_columns_backward(struct tape *tape, struct tape_node *node)
{
    const struct part_node *part = (struct part_node *)node;
    struct value *base = part->a, *x = part->b, *y = node->output;
    grad_add(tape, base, y->grad, 1);
    if (!needs(x) || !zeroed_grad(tape, x))
        return;
    for (int i = 0; i < y->rows; i++)
        kernels()->add(grad_row(x, i), grad_row(x, i), grad_row(y, i) + part->first, (size_t)x->cols);
}

struct value *op_add_at_columns(struct tape *tape, struct value *base, struct value *x, int first)
{
    if (!base || !x)
        return NULL;
    assert(base->rows == x->rows && first >= 0 && first + x->cols <= base->cols);
    struct value *y = tape_value(tape, "add_at_columns", base->rows, base->cols, base->layout);
    if (!y)
        return NULL;
    memcpy(y->data, base->data, value_size(base) * sizeof(real));
    for (int i = 0; i < x->rows; i++)
        kernels()->add(value_row(y, i) + first, value_row(y, i) + first, value_row(x, i), (size_t)x->cols);
    return record_part(tape, "add_at_columns", y, base, x, first, add_at_columns_backward);
}

struct rows_node {
    struct tape_node node;
    struct value *x, *base;
    const int32_t *rows;
};

static struct value *record_rows(struct tape *tape, const char *name, struct value *y, struct value *x,
                                 struct value *base, const int32_t *rows,
                                 void (*backward)(struct tape *, struct tape_node *))
{
    if (!y || !tape->is_recording || !(needs(x) || needs(base)))
        return y;
    struct rows_node *node = op_node(tape, name, sizeof(*node), y, backward);
    if (!node)
        return NULL;
    node->x = x;
    node->base = base;
    node->rows = rows;
    return y;
}

static void add_at_rows_backward(struct tape *tape, struct tape_node *base)
{
    const struct rows_node *node = (struct rows_node *)base;
    grad_add(tape, node->base, base->output->grad, 1);
    if (!needs(node->x) || !zeroed_grad(tape, node->x))
        return;
    for (int i = 0; i < node->x->rows; i++) {
        real *row = grad_row(node->x, i);
        kernels()->add(row, row, grad_row(base->output, node->rows[i]), (size_t)node->x->cols);
    }
}

struct value *op_add_at_rows(struct tape *tape, struct value *base, struct value *x, const int32_t *rows)
{
    if (!base || !x)
        return NULL;
    assert(base->cols == x->cols);
    struct value *y = tape_value(tape, "add_at_rows", base->rows, base->cols, base->layout);
    if (!y)
        return NULL;
    memcpy(y->data, base->data, value_size(base) * sizeof(real));
    for (int i = 0; i < x->rows; i++)
        kernels()->add(value_row(y, rows[i]), value_row(y, rows[i]), value_row(x, i), (size_t)x->cols);
    return record_rows(tape, "add_at_rows", y, x, base, rows, add_at_rows_backward);
}

static void take_rows_backward(struct tape *tape, struct tape_node *base)
{
    const struct rows_node *node = (struct rows_node *)base;
    const struct value *y = base->output;
    if (!zeroed_grad(tape, node->x))
        return;
    for (int i = 0; i < y->rows; i++) {
        real *row = grad_row(node->x, node->rows[i]);
        kernels()->add(row, row, grad_row(y, i), (size_t)y->cols);
    }
}

struct value *op_take_rows(struct tape *tape, struct value *x, const int32_t *rows, int n_rows)
{
    struct value *y = x ? tape_value(tape, "take_rows", n_rows, x->cols, NULL) : NULL;
    for (int i = 0; y && i < n_rows; i++)
        memcpy(value_row(y, i), value_row(x, rows[i]), (size_t)x->cols * sizeof(real));
    return record_rows(tape, "take_rows", y, x, NULL, rows, take_rows_backward);
}

static void pick_backward(struct tape *tape, struct tape_node *base)
{
    const struct rows_node *node = (struct rows_node *)base;
    if (!zeroed_grad(tape, node->x))
        return;
    for (int i = 0; i < node->x->rows; i++)
        grad_row(node->x, i)[node->rows[i]] += base->output->grad[i];
}

struct value *op_pick(struct tape *tape, struct value *x, const int32_t *cols)
{
    struct value *y = x ? tape_value(tape, "pick", x->rows, 1, x->layout) : NULL;
    for (int i = 0; y && i < x->rows; i++)
        y->data[i] = value_row(x, i)[cols[i]];
    return record_rows(tape, "pick", y, x, NULL, cols, pick_backward);
}

static void embedding_columns_backward(struct tape *tape, struct tape_node *base)
{
    const struct rows_node *node = (struct rows_node *)base;
    const struct value *y = base->output;
    if (!zeroed_grad(tape, node->x))
        return;
    for (int i = 0; i < y->rows; i++)
        for (int k = 0; k < y->cols; k++)
            grad_row(node->x, k)[node->rows[i]] += grad_row(y, i)[k];
}

struct value *op_embedding_columns(struct tape *tape, struct value *table, const int32_t *ids, int n_ids,
                                   const struct layout *layout)
{
    struct value *y = table ? tape_value(tape, "embedding_columns", n_ids, table->rows, layout) : NULL;
    for (int i = 0; y && i < n_ids; i++)
        for (int k = 0; k < table->rows; k++)
            value_row(y, i)[k] = value_row(table, k)[ids[i]];
    return record_rows(tape, "embedding_columns", y, table, NULL, ids, embedding_columns_backward);
}

struct sum_node {
    struct tape_node node;
    struct value *const *parts;
    const int32_t *const *rows;
    int n_parts;
};

static void sum_at_rows_backward(struct tape *tape, struct tape_node *base)
{
    const struct sum_node *node = (struct sum_node *)base;
    for (int part = 0; part < node->n_parts; part++) {
        struct value *x = node->parts[part];
        if (!needs(x) || !zeroed_grad(tape, x))
            continue;
        for (int i = 0; i < x->rows; i++) {
            real *row = grad_row(x, i);
            kernels()->add(row, row, grad_row(base->output, node->rows[part][i]), (size_t)x->cols);
        }
    }
}

struct value *op_sum_at_rows(struct tape *tape, struct value *const *parts, const int32_t *const *rows, int n_parts,
                             int n_rows, int n_cols, const struct layout *layout)
{
    bool needs_any = false;
    struct value *y = tape_value(tape, "sum_at_rows", n_rows, n_cols, layout);
    if (!y)
        return NULL;
    memset(y->data, 0, value_size(y) * sizeof(real));
    for (int part = 0; part < n_parts; part++) {
        const struct value *x = parts[part];
        if (!x)
            return NULL;
        assert(x->cols == n_cols);
        needs_any = needs_any || needs(x);
        for (int i = 0; i < x->rows; i++)
            kernels()->add(value_row(y, rows[part][i]), value_row(y, rows[part][i]), value_row(x, i), (size_t)n_cols);
    }
    if (!tape->is_recording || !needs_any)
        return y;
    struct sum_node *node = op_node(tape, "sum_at_rows", sizeof(*node), y, sum_at_rows_backward);
    if (!node)
        return NULL;
    node->parts = parts;
    node->rows = rows;
    node->n_parts = n_parts;
    return y;
}
