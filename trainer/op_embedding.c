/* Rows of a table, and rows and means of sequences, rows selected: gathers and their scatters. */
#include <unistd.h>

#include "trainer/op_internal.h"
#include "trainer/packed.h"

struct embedding_node {
    struct tape_node node;
    struct value *table;
    const int32_t *ids;
};

static void embedding_backward(struct tape *tape, struct tape_node *node)
{
    struct embedding_node *embedding = (struct embedding_node *)node;
    struct value *table = embedding->table, *y = node->output;
    bool is_first = false;
    if (!table->row_marks && !tape_grad(tape, table, &is_first))
        return;
    if (is_first)
        memset(table->grad, 0, value_size(table) * sizeof(real));
    for (int i = 0; i < y->rows; i++) {
        if (table->row_marks)
            table->row_marks[embedding->ids[i]] = ROW_TOUCHED | ROW_MOVED;
        real *row = grad_row(table, embedding->ids[i]);
        kernels()->add(row, row, grad_row(y, i), (size_t)y->cols);
    }
}

static void copy_row(real *out, const struct value *table, int32_t id)
{
    const struct row_file *file = table->row_file;
    size_t bytes = (size_t)table->cols * sizeof(real);
    if (file && table->data && file->data == table->data &&
        pread(file->fd, out, bytes, file->offset + (int64_t)bytes * id) == (ssize_t)bytes)
        return;
    weight_rows(table, id, 1, out);
}

struct value *op_embedding(struct tape *tape, struct value *table, const int32_t *ids, int n_ids,
                           const struct layout *layout)
{
    if (!table)
        return NULL;
    struct value *y = tape_value(tape, "embedding", n_ids, table->cols, layout);
    if (!y)
        return NULL;
    for (int i = 0; i < n_ids; i++) {
        assert(ids[i] >= 0 && ids[i] < table->rows);
        copy_row(value_row(y, i), table, ids[i]);
    }
    if (!tape->is_recording || !needs(table))
        return y;
    struct embedding_node *node = op_node(tape, "embedding", sizeof(*node), y, embedding_backward);
    if (!node)
        return NULL;
    node->table = table;
    node->ids = ids;
    return y;
}

struct pool_node {
    struct tape_node node;
    struct value *x;
};

/* One row a sequence, for the result of pooling. */
static const struct layout *pooled_layout(struct tape *tape, const struct layout *layout)
{
    struct layout *pooled = tape_alloc(tape, "pooling", sizeof(*pooled));
    struct segment *segments = tape_alloc(tape, "pooling", (size_t)layout->n_segments * sizeof(*segments));
    if (!pooled || !segments)
        return NULL;
    for (int s = 0; s < layout->n_segments; s++)
        segments[s] = (struct segment){s, 1, 1, 0, layout->segments[s].example};
    *pooled = (struct layout){.n_segments = layout->n_segments, .n_rows = layout->n_segments, .segments = segments};
    return pooled;
}

static struct value *pool(struct tape *tape, const char *name, struct value *x,
                          void (*backward)(struct tape *, struct tape_node *))
{
    assert(x->layout);
    const struct layout *layout = pooled_layout(tape, x->layout);
    struct value *y = layout ? tape_value(tape, name, layout->n_rows, x->cols, layout) : NULL;
    if (!y || !tape->is_recording || !needs(x))
        return y;
    struct pool_node *node = op_node(tape, name, sizeof(*node), y, backward);
    if (!node)
        return NULL;
    node->x = x;
    return y;
}

/* dx, zeroed when it is new. */
static real *pooled_grad(struct tape *tape, struct value *x)
{
    bool is_first;
    real *dx = tape_grad(tape, x, &is_first);
    if (dx && is_first)
        memset(dx, 0, value_size(x) * sizeof(real));
    return dx;
}

static void first_rows_backward(struct tape *tape, struct tape_node *node)
{
    struct value *x = ((struct pool_node *)node)->x, *y = node->output;
    if (!pooled_grad(tape, x))
        return;
    for (int s = 0; s < y->rows; s++) {
        real *row = grad_row(x, x->layout->segments[s].first);
        kernels()->add(row, row, grad_row(y, s), (size_t)y->cols);
    }
}

struct value *op_first_rows(struct tape *tape, struct value *x)
{
    struct value *y = x ? pool(tape, "first_rows", x, first_rows_backward) : NULL;
    for (int s = 0; y && s < y->rows; s++)
        memcpy(value_row(y, s), value_row(x, x->layout->segments[s].first), (size_t)x->cols * sizeof(real));
    return y;
}

static void mean_rows_backward(struct tape *tape, struct tape_node *node)
{
    struct value *x = ((struct pool_node *)node)->x, *y = node->output;
    if (!pooled_grad(tape, x))
        return;
    for (int s = 0; s < y->rows; s++) {
        const struct segment *segment = &x->layout->segments[s];
        for (int i = 0; i < segment->keys; i++)
            kernels()->axpy(grad_row(x, segment->first + i), grad_row(y, s), 1 / (real)segment->keys, (size_t)y->cols);
    }
}

struct value *op_mean_rows(struct tape *tape, struct value *x)
{
    struct value *y = x ? pool(tape, "mean_rows", x, mean_rows_backward) : NULL;
    for (int s = 0; y && s < y->rows; s++) {
        const struct segment *segment = &x->layout->segments[s];
        memset(value_row(y, s), 0, (size_t)x->cols * sizeof(real));
        for (int i = 0; i < segment->keys; i++)
            kernels()->axpy(value_row(y, s), value_row(x, segment->first + i), 1 / (real)segment->keys,
                            (size_t)x->cols);
    }
    return y;
}

/* Positions -------------------------------------------------------------------------------------- */

const int32_t *layout_positions(struct tape *tape, const struct layout *layout, int offset)
{
    int32_t *positions = tape_alloc(tape, "positions", (size_t)layout->n_rows * sizeof(*positions));
    for (int s = 0; positions && s < layout->n_segments; s++) {
        const struct segment *segment = &layout->segments[s];
        for (int i = 0; i < segment->rows; i++)
            /* Carried padding stands at the position in front of the first, where there is one: RoBERTa's rule. */
            positions[segment->first + i] =
                i >= segment->keys && offset > 0 ? offset - 1 : segment->position + i + offset;
    }
    return positions;
}

/* Selected rows ------------------------------------------------------------------------------------------------ */

struct select_node {
    struct tape_node node;
    struct value *x;
    const int32_t *indices;
};

static void select_rows_backward(struct tape *tape, struct tape_node *node)
{
    struct select_node *select = (struct select_node *)node;
    struct value *x = select->x, *y = node->output;
    if (!pooled_grad(tape, x))
        return;
    for (int i = 0; i < y->rows; i++) {
        real *row = grad_row(x, select->indices[i]);
        kernels()->add(row, row, grad_row(y, i), (size_t)y->cols);
    }
}

/* The example each row of x belongs to, for the layout of the selected ones. */
static const struct layout *selected_layout(struct tape *tape, const struct layout *layout, const int32_t *indices,
                                            int n)
{
    struct layout *selected = tape_alloc(tape, "select_rows", sizeof(*selected));
    struct segment *segments = tape_alloc(tape, "select_rows", (size_t)n * sizeof(*segments));
    if (!selected || !segments)
        return NULL;
    for (int i = 0, s = 0; i < n; i++) {
        while (indices[i] < layout->segments[s].first)
            s--;
        while (indices[i] >= layout->segments[s].first + layout->segments[s].rows)
            s++;
        segments[i] = (struct segment){i, 1, 1, indices[i] - layout->segments[s].first, layout->segments[s].example};
    }
    *selected = (struct layout){.n_segments = n, .n_rows = n, .segments = segments};
    return selected;
}

struct value *op_select_rows(struct tape *tape, struct value *x, const int32_t *indices, int n)
{
    if (!x)
        return NULL;
    const struct layout *layout = selected_layout(tape, x->layout, indices, n);
    struct value *y = layout ? tape_value(tape, "select_rows", n, x->cols, layout) : NULL;
    for (int i = 0; y && i < n; i++)
        memcpy(value_row(y, i), value_row(x, indices[i]), (size_t)x->cols * sizeof(real));
    if (!y || !tape->is_recording || !needs(x))
        return y;
    struct select_node *node = op_node(tape, "select_rows", sizeof(*node), y, select_rows_backward);
    if (!node)
        return NULL;
    node->x = x;
    node->indices = indices;
    return y;
}
