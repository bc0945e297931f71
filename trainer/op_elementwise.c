/* Elementwise operations: sums, products, scalings, activations. */
#include "trainer/op_internal.h"

struct binary_node {
    struct tape_node node;
    struct value *a, *b;
    real s;
};

static struct value *record_binary(struct tape *tape, const char *name, struct value *y, struct value *a,
                                   struct value *b, double s, void (*backward)(struct tape *, struct tape_node *))
{
    if (!y || !tape->is_recording || !(needs(a) || needs(b)))
        return y;
    struct binary_node *node = op_node(tape, name, sizeof(*node), y, backward);
    if (!node)
        return NULL;
    node->a = a;
    node->b = b;
    node->s = (real)s;
    return y;
}

static void add_scaled_backward(struct tape *tape, struct tape_node *node)
{
    struct binary_node *sum = (struct binary_node *)node;
    grad_add(tape, sum->a, node->output->grad, 1);
    grad_add(tape, sum->b, node->output->grad, sum->s);
}

struct value *op_add_scaled(struct tape *tape, struct value *a, struct value *b, double s)
{
    if (!a || !b)
        return NULL;
    assert(a->rows == b->rows && a->cols == b->cols);
    struct value *y = tape_value(tape, "add", a->rows, a->cols, a->layout);
    if (!y)
        return NULL;
    kernels()->add_scaled(y->data, a->data, b->data, (real)s, value_size(a));
    return record_binary(tape, "add", y, a, b, s, add_scaled_backward);
}

struct value *op_add(struct tape *tape, struct value *a, struct value *b)
{
    return op_add_scaled(tape, a, b, 1);
}

static void multiply_backward(struct tape *tape, struct tape_node *node)
{
    struct binary_node *product = (struct binary_node *)node;
    struct value *sides[2] = {product->a, product->b};
    for (int side = 0; side < 2; side++) {
        bool is_first;
        struct value *value = sides[side], *other = sides[1 - side];
        real *grad = needs(value) ? tape_grad(tape, value, &is_first) : NULL;
        if (!grad)
            continue;
        if (is_first)
            kernels()->multiply(grad, node->output->grad, other->data, value_size(value));
        else
            kernels()->multiply_add(grad, node->output->grad, other->data, value_size(value));
    }
}

struct value *op_multiply(struct tape *tape, struct value *a, struct value *b)
{
    if (!a || !b)
        return NULL;
    assert(a->rows == b->rows && a->cols == b->cols);
    struct value *y = tape_value(tape, "multiply", a->rows, a->cols, a->layout);
    if (!y)
        return NULL;
    kernels()->multiply(y->data, a->data, b->data, value_size(a));
    return record_binary(tape, "multiply", y, a, b, 0, multiply_backward);
}

static void scale_backward(struct tape *tape, struct tape_node *node)
{
    struct binary_node *scaling = (struct binary_node *)node;
    grad_add(tape, scaling->a, node->output->grad, scaling->s);
}

struct value *op_scale(struct tape *tape, struct value *a, double s)
{
    if (!a)
        return NULL;
    struct value *y = tape_value(tape, "scale", a->rows, a->cols, a->layout);
    if (!y)
        return NULL;
    kernels()->scale(y->data, a->data, (real)s, value_size(a));
    return record_binary(tape, "scale", y, a, NULL, s, scale_backward);
}

static void multiply_row_backward(struct tape *tape, struct tape_node *node)
{
    struct binary_node *product = (struct binary_node *)node;
    struct value *x = product->a, *v = product->b, *y = node->output;
    bool x_first = false, v_first = false;
    real *dx = needs(x) ? tape_grad(tape, x, &x_first) : NULL, *dv = needs(v) ? tape_grad(tape, v, &v_first) : NULL;
    if (dx && x_first)
        memset(dx, 0, value_size(x) * sizeof(real));
    if (dv && v_first)
        memset(dv, 0, value_size(v) * sizeof(real));
    for (int i = 0; i < y->rows; i++) {
        if (dx)
            kernels()->multiply_add(grad_row(x, i), grad_row(y, i), v->data, (size_t)y->cols);
        if (dv)
            kernels()->multiply_add(dv, grad_row(y, i), value_row(x, i), (size_t)y->cols);
    }
}

struct value *op_multiply_row(struct tape *tape, struct value *x, struct value *v)
{
    if (!x || !v)
        return NULL;
    assert(v->rows == 1 && v->cols == x->cols);
    struct value *y = tape_value(tape, "multiply_row", x->rows, x->cols, x->layout);
    if (!y)
        return NULL;
    for (int i = 0; i < x->rows; i++)
        kernels()->multiply(value_row(y, i), value_row(x, i), v->data, (size_t)x->cols);
    return record_binary(tape, "multiply_row", y, x, v, 0, multiply_row_backward);
}

static void multiply_scalar_backward(struct tape *tape, struct tape_node *node)
{
    struct binary_node *product = (struct binary_node *)node;
    struct value *x = product->a, *s = product->b, *y = node->output;
    bool is_first;
    grad_add(tape, x, y->grad, s->data[0]);
    real *ds = needs(s) ? tape_grad(tape, s, &is_first) : NULL;
    if (!ds)
        return;
    double total = is_first ? 0 : (double)ds[0];
    for (int i = 0; i < y->rows; i++)
        total += (double)kernels()->dot(grad_row(y, i), value_row(x, i), (size_t)y->cols);
    ds[0] = (real)total;
}

struct value *op_multiply_scalar(struct tape *tape, struct value *x, struct value *s)
{
    if (!x || !s)
        return NULL;
    assert(value_size(s) == 1);
    struct value *y = tape_value(tape, "multiply_scalar", x->rows, x->cols, x->layout);
    if (!y)
        return NULL;
    kernels()->scale(y->data, x->data, s->data[0], value_size(x));
    return record_binary(tape, "multiply_scalar", y, x, s, 0, multiply_scalar_backward);
}

struct activation_node {
    struct tape_node node;
    struct value *x;
    enum activation activation;
};

static void activation_backward(struct tape *tape, struct tape_node *node)
{
    struct activation_node *applied = (struct activation_node *)node;
    bool is_first;
    const real *dy = node->output->grad;
    real *dx = tape_grad_from(tape, applied->x, node->output, &is_first);
    if (dx)
        kernels()->activation_backward(dx, dy, applied->x->data, (int)applied->activation, value_size(applied->x),
                                       is_first);
}

struct value *op_activation(struct tape *tape, struct value *x, enum activation activation)
{
    if (!x)
        return NULL;
    struct value *y = tape_value(tape, "activation", x->rows, x->cols, x->layout);
    if (!y)
        return NULL;
    kernels()->activation(y->data, x->data, (int)activation, value_size(x));
    if (!tape->is_recording || !needs(x))
        return y;
    struct activation_node *node = op_node(tape, "activation", sizeof(*node), y, activation_backward);
    if (!node)
        return NULL;
    node->x = x;
    node->activation = activation;
    return y;
}

struct gated_node {
    struct tape_node node;
    struct value *gate, *x;
    enum activation activation;
};

/* dx = dy ⊙ f(gate), dgate = dy ⊙ x ⊙ f'(gate), row by row through one row of scratch. */
static void gated_backward(struct tape *tape, struct tape_node *base)
{
    struct gated_node *node = (struct gated_node *)base;
    struct value *gate = node->gate, *x = node->x, *y = base->output;
    bool x_first = false, gate_first = false;
    size_t n = (size_t)y->cols;
    real *dx = needs(x) ? tape_grad(tape, x, &x_first) : NULL;
    real *dgate = needs(gate) ? tape_grad(tape, gate, &gate_first) : NULL,
         *row = tape_alloc(tape, "gated", n * sizeof(real));
    if (tape->failed)
        return;
    if (dx && x_first)
        memset(dx, 0, value_size(x) * sizeof(real));
    for (int i = 0; i < y->rows; i++) {
        if (dx) {
            kernels()->activation(row, value_row(gate, i), (int)node->activation, n);
            kernels()->multiply_add(grad_row(x, i), grad_row(y, i), row, n);
        }
        if (dgate) {
            kernels()->multiply(row, grad_row(y, i), value_row(x, i), n);
            kernels()->activation_backward(grad_row(gate, i), row, value_row(gate, i), (int)node->activation, n,
                                           gate_first);
        }
    }
}

struct value *op_gated(struct tape *tape, struct value *gate, struct value *x, enum activation activation)
{
    if (!gate || !x)
        return NULL;
    assert(gate->rows == x->rows && gate->cols == x->cols && gate != x);
    struct value *y = tape_value(tape, "gated", x->rows, x->cols, x->layout);
    if (!y)
        return NULL;
    kernels()->activation(y->data, gate->data, (int)activation, value_size(x));
    kernels()->multiply(y->data, y->data, x->data, value_size(x));
    if (!tape->is_recording || !(needs(gate) || needs(x)))
        return y;
    struct gated_node *node = op_node(tape, "gated", sizeof(*node), y, gated_backward);
    if (!node)
        return NULL;
    node->gate = gate;
    node->x = x;
    node->activation = activation;
    return y;
}

int activation_from_name(const char *name)
{
    static const struct {
        const char *name;
        enum activation activation;
    } names[] = {{"relu", ACTIVATION_RELU},         {"gelu", ACTIVATION_GELU},
                 {"gelu_new", ACTIVATION_GELU_NEW}, {"gelu_pytorch_tanh", ACTIVATION_GELU_NEW},
                 {"silu", ACTIVATION_SILU},         {"swish", ACTIVATION_SILU},
                 {"tanh", ACTIVATION_TANH},         {"sigmoid", ACTIVATION_SIGMOID}};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i].name) == 0)
            return (int)names[i].activation;
    return -1;
}
