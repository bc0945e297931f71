/* Rows put into every sequence: prompts.   Lester et al. 2021, arXiv:2104.08691 */
#include "trainer/op_internal.h"

struct insert_node {
    struct tape_node node;
    struct value *x, *rows;
    bool behind_first;
};

/* Rows of a sequence that stay in front of the inserted ones. */
static int rows_before(bool behind_first)
{
    return behind_first ? 1 : 0;
}

static void insert_backward(struct tape *tape, struct tape_node *base)
{
    struct insert_node *node = (struct insert_node *)base;
    struct value *x = node->x, *rows = node->rows, *y = base->output;
    size_t d = (size_t)y->cols;
    bool x_first = false, rows_first = false;
    real *dx = needs(x) ? tape_grad(tape, x, &x_first) : NULL;
    real *drows = needs(rows) ? tape_grad(tape, rows, &rows_first) : NULL;
    if (dx && x_first)
        memset(dx, 0, value_size(x) * sizeof(real));
    if (drows && rows_first)
        memset(drows, 0, value_size(rows) * sizeof(real));
    for (int s = 0; s < y->layout->n_segments; s++) {
        const struct segment *from = &x->layout->segments[s], *to = &y->layout->segments[s];
        size_t before = (size_t)rows_before(node->behind_first) * d, p = value_size(rows);
        size_t behind = (size_t)from->rows * d - before;
        const real *dy = grad_row(y, to->first);
        if (dx) {
            real *own = grad_row(x, from->first);
            kernels()->add(own, own, dy, before);
            kernels()->add(own + before, own + before, dy + before + p, behind);
        }
        if (drows)
            kernels()->add(drows, drows, dy + before, p);
    }
}

static const struct layout *longer_layout(struct tape *tape, const struct layout *layout, int n, bool behind_first)
{
    int n_rows = layout->n_rows + n * layout->n_segments, at = 0;
    struct layout *out = tape_alloc(tape, "insert_rows", sizeof(*out));
    struct segment *segments = tape_alloc(tape, "insert_rows", (size_t)layout->n_segments * sizeof(*segments));
    int32_t *origin = tape_alloc(tape, "insert_rows", (size_t)n_rows * sizeof(*origin));
    if (!out || !segments || !origin)
        return NULL;
    for (int s = 0; s < layout->n_segments; s++) {
        segments[s] = layout->segments[s];
        segments[s].first = at;
        segments[s].rows += n;
        segments[s].keys += n;
        for (int i = 0; i < segments[s].rows; i++) {
            int before = rows_before(behind_first), own = i < before ? i : i - n;
            int row = layout->segments[s].first + own;
            origin[at++] = i >= before && i < before + n ? -1 : layout->origin ? layout->origin[row] : row;
        }
    }
    *out = (struct layout){.n_segments = layout->n_segments, .n_rows = n_rows, .segments = segments, .origin = origin};
    return out;
}

struct value *op_insert_rows(struct tape *tape, struct value *x, struct value *rows, bool behind_first)
{
    if (!x || !rows)
        return NULL;
    assert(x->layout && x->cols == rows->cols);
    const struct layout *layout = longer_layout(tape, x->layout, rows->rows, behind_first);
    struct value *y = layout ? tape_value(tape, "insert_rows", layout->n_rows, x->cols, layout) : NULL;
    if (!y)
        return NULL;
    for (int s = 0; s < layout->n_segments; s++) {
        const struct segment *from = &x->layout->segments[s], *to = &layout->segments[s];
        size_t before = (size_t)rows_before(behind_first) * (size_t)x->cols, p = value_size(rows);
        real *out = value_row(y, to->first);
        memcpy(out, value_row(x, from->first), before * sizeof(real));
        memcpy(out + before, rows->data, p * sizeof(real));
        memcpy(out + before + p, value_row(x, from->first) + before,
               ((size_t)from->rows * (size_t)x->cols - before) * sizeof(real));
    }
    if (!tape->is_recording || !(needs(x) || needs(rows)))
        return y;
    struct insert_node *node = op_node(tape, "insert_rows", sizeof(*node), y, insert_backward);
    if (!node)
        return NULL;
    node->x = x;
    node->rows = rows;
    node->behind_first = behind_first;
    return y;
}
