/* Matrix products: linear layers in both storage orders, and the plain product. */
#include "trainer/gemm_bf16.h"
#include "trainer/halves.h"
#include "trainer/op_internal.h"
#include "trainer/packed.h"

enum { BF16_SMALLEST = 64 }; /* rows and columns of a weight from which its products are worth rounding for */

/* Whether products with w are computed in bfloat16: a weight of the model, not a method's narrow one. */
static bool is_rounded(const struct tape *tape, const struct value *w)
{
    return tape->halves && w->is_parameter && w->rows >= BF16_SMALLEST && w->cols >= BF16_SMALLEST;
}

static void check_product(struct tape *tape, bool is_well)
{
    if (!is_well && !tape->failed) {
        tape->failed = true;
        tape->failed_at = "linear in bf16";
    }
}

bool op_times_weight_prepare(struct tape *tape, const struct value *w, int rows)
{
    int widest = w->rows > w->cols ? w->rows : w->cols;
    if (is_rounded(tape, w))
        return tape_round_prepare(tape, 0, (size_t)rows * (size_t)widest);
    return weight_gemm_prepare(tape, w);
}

void op_times_weight(struct tape *tape, const real *x, int rows, int k, const struct value *w, bool transpose,
                     const struct value *b, int n, bool adds, real *y)
{
    if (!is_rounded(tape, w)) {
        for (int i = 0; b && i < rows; i++)
            memcpy(y + (size_t)i * (size_t)n, b->data, (size_t)n * sizeof(real));
        (void)weight_gemm(tape, transpose, rows, x, w, adds || b ? 1 : 0, y);
        return;
    }
    const uint16_t *left = tape_round(tape, 0, x, (size_t)rows * (size_t)k), *right = halves_get(tape->halves, w);
    check_product(tape,
                  left && right && gemm_bf16(false, transpose, rows, n, k, left, right, b ? b->data : NULL, adds, y));
}

/* dw (+)= leftᵀ right.   left: (rows, m)   right: (rows, n) */
static void weight_gradient(struct tape *tape, const struct value *w, const real *left, int m, const real *right, int n,
                            int rows, bool adds, real *dw)
{
    if (!is_rounded(tape, w)) {
        gemm(true, false, m, n, rows, 1, left, m, right, n, adds ? 1 : 0, dw, n);
        return;
    }
    const uint16_t *a = tape_round(tape, 0, left, (size_t)rows * (size_t)m),
                   *b = tape_round(tape, 1, right, (size_t)rows * (size_t)n);
    check_product(tape, a && b && gemm_bf16(true, false, m, n, rows, a, b, NULL, adds, dw));
}

struct linear_node {
    struct tape_node node;
    struct value *x, *w, *b;
    bool is_transposed; /* w: (in, out) */
};

/* out += the rows of y's gradient, but for balanced columns, whose sum is zero. */
static void add_rows(real *restrict out, const struct value *y)
{
    size_t before = (size_t)(y->balanced_cols ? y->balanced_first : y->cols);
    size_t behind = before + (size_t)y->balanced_cols, n = (size_t)y->cols;
    for (int i = 0; i < y->rows; i++) {
        kernels()->add(out, out, grad_row(y, i), before);
        if (behind < n)
            kernels()->add(out + behind, out + behind, grad_row(y, i) + behind, n - behind);
    }
}

static void bias_backward(struct tape *tape, struct value *b, const struct value *y)
{
    bool is_first;
    real *db = needs(b) ? tape_grad(tape, b, &is_first) : NULL;
    if (db && is_first)
        memset(db, 0, value_size(b) * sizeof(real));
    if (db)
        add_rows(db, y);
}

static void linear_backward(struct tape *tape, struct tape_node *node)
{
    struct linear_node *linear = (struct linear_node *)node;
    struct value *x = linear->x, *w = linear->w, *b = linear->b, *y = node->output;
    bool is_first;
    if (needs(x)) {
        real *dx = tape_grad(tape, x, &is_first);
        if (!dx)
            return;
        op_times_weight(tape, y->grad, y->rows, y->cols, w, linear->is_transposed, NULL, x->cols, !is_first, dx);
    }
    if (needs(w)) {
        real *dw = tape_grad(tape, w, &is_first);
        if (!dw)
            return;
        const real *left = linear->is_transposed ? x->data : y->grad,
                   *right = linear->is_transposed ? y->grad : x->data;
        int left_cols = linear->is_transposed ? x->cols : y->cols,
            right_cols = linear->is_transposed ? y->cols : x->cols;
        weight_gradient(tape, w, left, left_cols, right, right_cols, y->rows, !is_first, dw);
    }
    bias_backward(tape, b, y);
}

static struct value *linear(struct tape *tape, struct value *x, struct value *w, struct value *b, bool is_transposed)
{
    if (!x || !w)
        return NULL;
    int out = is_transposed ? w->cols : w->rows;
    assert(x->cols == (is_transposed ? w->rows : w->cols));
    assert(!b || (b->rows == 1 && b->cols == out));
    struct value *y = tape_value(tape, "linear", x->rows, out, x->layout);
    if (!y)
        return NULL;
    op_times_weight(tape, x->data, x->rows, x->cols, w, !is_transposed, b, out, false, y->data);
    if (!tape->is_recording || !(needs(x) || needs(w) || needs(b)))
        return y;
    struct linear_node *node = op_node(tape, "linear", sizeof(*node), y, linear_backward);
    if (!node)
        return NULL;
    node->x = x;
    node->w = w;
    node->b = b;
    node->is_transposed = is_transposed;
    return y;
}

struct value *op_linear(struct tape *tape, struct value *x, struct value *w, struct value *b)
{
    return linear(tape, x, w, b, false);
}

struct value *op_linear_transposed(struct tape *tape, struct value *x, struct value *w, struct value *b)
{
    return linear(tape, x, w, b, true);
}

struct activated_node {
    struct tape_node node;
    struct value *x, *w, *b;
    enum activation activation;
    real *memory; /* f(x), from one operation to the next */
};

/* dW = dyᵀ f(x), then d f(x) = dy W and dx = d f(x) ⊙ f'(x), in place when dx is new. */
static void activated_backward(struct tape *tape, struct tape_node *base)
{
    struct activated_node *node = (struct activated_node *)base;
    struct value *x = node->x, *w = node->w, *b = node->b, *y = base->output;
    bool is_first;
    if (needs(w)) {
        real *dw = tape_grad(tape, w, &is_first);
        if (!dw)
            return;
        kernels()->activation(node->memory, x->data, (int)node->activation, value_size(x));
        weight_gradient(tape, w, y->grad, y->cols, node->memory, x->cols, y->rows, !is_first, dw);
    }
    bias_backward(tape, b, y);
    real *dx = needs(x) ? tape_grad(tape, x, &is_first) : NULL;
    if (!dx)
        return;
    real *slope = is_first ? dx : node->memory;
    op_times_weight(tape, y->grad, y->rows, y->cols, w, false, NULL, x->cols, false, slope);
    kernels()->activation_backward(dx, slope, x->data, (int)node->activation, value_size(x), is_first);
}

struct value *op_activated_linear(struct tape *tape, struct value *x, enum activation activation, struct value *w,
                                  struct value *b, real *memory)
{
    if (!x || !w || !memory)
        return NULL;
    assert(x->cols == w->cols && (!b || (b->rows == 1 && b->cols == w->rows)));
    struct value *y = tape_value(tape, "linear", x->rows, w->rows, x->layout);
    if (!y)
        return NULL;
    kernels()->activation(memory, x->data, (int)activation, value_size(x));
    op_times_weight(tape, memory, x->rows, x->cols, w, true, b, y->cols, false, y->data);
    if (!tape->is_recording || !(needs(x) || needs(w) || needs(b)))
        return y;
    struct activated_node *node = op_node(tape, "activated_linear", sizeof(*node), y, activated_backward);
    if (!node)
        return NULL;
    node->x = x;
    node->w = w;
    node->b = b;
    node->activation = activation;
    node->memory = memory;
    return y;
}

struct matmul_node {
    struct tape_node node;
    struct value *a, *b;
    bool transpose_a, transpose_b;
    int k;
};

/* c = op(a) op(b):  d op(a) = dc op(b)ᵀ,  d op(b) = op(a)ᵀ dc; a transposed operand gets the transposed product. */
static void matmul_backward(struct tape *tape, struct tape_node *node)
{
    struct matmul_node *product = (struct matmul_node *)node;
    struct value *a = product->a, *b = product->b, *c = node->output;
    bool is_first, ta = product->transpose_a, tb = product->transpose_b;
    if (needs(a)) {
        real *da = tape_grad(tape, a, &is_first), beta = is_first ? 0 : 1;
        if (!da)
            return;
        if (ta)
            gemm(tb, true, product->k, c->rows, c->cols, 1, b->data, b->cols, c->grad, c->cols, beta, da, a->cols);
        else
            gemm(false, !tb, c->rows, product->k, c->cols, 1, c->grad, c->cols, b->data, b->cols, beta, da, a->cols);
    }
    if (needs(b)) {
        real *db = tape_grad(tape, b, &is_first), beta = is_first ? 0 : 1;
        if (!db)
            return;
        if (tb)
            gemm(true, ta, c->cols, product->k, c->rows, 1, c->grad, c->cols, a->data, a->cols, beta, db, b->cols);
        else
            gemm(!ta, false, product->k, c->cols, c->rows, 1, a->data, a->cols, c->grad, c->cols, beta, db, b->cols);
    }
}

struct value *op_matmul(struct tape *tape, struct value *a, bool transpose_a, struct value *b, bool transpose_b)
{
    if (!a || !b)
        return NULL;
    int m = transpose_a ? a->cols : a->rows, k = transpose_a ? a->rows : a->cols;
    int n = transpose_b ? b->rows : b->cols;
    assert(k == (transpose_b ? b->cols : b->rows));
    struct value *c = tape_value(tape, "matmul", m, n, transpose_a ? NULL : a->layout);
    if (!c)
        return NULL;
    gemm(transpose_a, transpose_b, m, n, k, 1, a->data, a->cols, b->data, b->cols, 0, c->data, n);
    if (!tape->is_recording || !(needs(a) || needs(b)))
        return c;
    struct matmul_node *node = op_node(tape, "matmul", sizeof(*node), c, matmul_backward);
    if (!node)
        return NULL;
    node->a = a;
    node->b = b;
    node->transpose_a = transpose_a;
    node->transpose_b = transpose_b;
    node->k = k;
    return c;
}
