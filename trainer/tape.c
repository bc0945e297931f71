/* The tape: values, nodes, and running them backwards. */
#include "trainer/tape.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "trainer/kernels.h"

void tape_begin(struct tape *tape, struct arena *arena)
{
    arena_reset(arena);
    tape->arena = arena;
    tape->last = NULL;
    tape->newest = NULL;
    tape->free_grads = NULL;
    tape->failed = tape->is_not_finite = tape->is_gradient = false;
    tape->failed_at = NULL;
    tape->panel = NULL;
    tape->rounded_size[0] = tape->rounded_size[1] = 0;
}

void *tape_alloc(struct tape *tape, const char *op, size_t bytes)
{
    void *memory = tape->failed ? NULL : arena_alloc(tape->arena, bytes ? bytes : 1);
    if (!memory && !tape->failed) {
        tape->failed = true;
        tape->failed_at = op;
    }
    return memory;
}

bool tape_round_prepare(struct tape *tape, int buffer, size_t n)
{
    if (tape->rounded_size[buffer] < n) {
        tape->rounded[buffer] = tape_alloc(tape, "bf16", n * sizeof(uint16_t));
        tape->rounded_size[buffer] = tape->rounded[buffer] ? n : 0;
    }
    return !tape->failed;
}

const uint16_t *tape_round(struct tape *tape, int buffer, const real *data, size_t n)
{
    if (!tape_round_prepare(tape, buffer, n))
        return NULL;
    kernels()->to_bf16(tape->rounded[buffer], data, n);
    return tape->rounded[buffer];
}

static bool has_nan(const real *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(data[i]))
            return true;
    return false;
}

/* With trap_nan: fails the tape when `data` of a value's size holds what is not finite. */
static void trap(struct tape *tape, const struct value *value, const real *data, const char *op, bool is_gradient)
{
    if (!tape->trap_nan || tape->failed || !value || !has_nan(data, (size_t)value->rows * (size_t)value->cols))
        return;
    tape->failed = tape->is_not_finite = true;
    tape->is_gradient = is_gradient;
    tape->failed_at = op;
}

static void trap_newest(struct tape *tape)
{
    if (tape->newest)
        trap(tape, tape->newest, tape->newest->data, tape->newest_op, false);
    tape->newest = NULL;
}

struct value *tape_value(struct tape *tape, const char *op, int rows, int cols, const struct layout *layout)
{
    trap_newest(tape);
    struct value *value = tape_alloc(tape, op, sizeof(*value));
    real *data = tape_alloc(tape, op, (size_t)rows * (size_t)cols * sizeof(real));
    if (!value || !data)
        return NULL;
    *value = (struct value){.data = data, .rows = rows, .cols = cols, .layout = layout};
    tape->newest = tape->trap_nan ? value : NULL;
    tape->newest_op = op;
    return value;
}

struct value *tape_constant(struct tape *tape, real *data, int rows, int cols, const struct layout *layout)
{
    struct value *value = tape_alloc(tape, "constant", sizeof(*value));
    if (value)
        *value = (struct value){.data = data, .rows = rows, .cols = cols, .layout = layout};
    return value;
}

void tape_record(struct tape *tape, struct tape_node *node)
{
    assert(tape->is_recording);
    node->output->needs_grad = true;
    node->previous = tape->last;
    tape->last = node;
}

/* The gradient of an operation's result is read by that operation's backward and by nothing after it: its buffer goes
 * to the next gradient of that size. So the gradients of a step take a few buffers, not as much as its values. */
struct free_grad {
    struct free_grad *next;
    size_t bytes;
};

static size_t grad_bytes(const struct value *value)
{
    size_t bytes = (size_t)value->rows * (size_t)value->cols * sizeof(real);
    return bytes > sizeof(struct free_grad) ? bytes : sizeof(struct free_grad);
}

static real *new_grad(struct tape *tape, size_t bytes)
{
    for (struct free_grad **at = &tape->free_grads; *at; at = &(*at)->next)
        if ((*at)->bytes == bytes) {
            void *found = *at;
            *at = (*at)->next;
            return found;
        }
    return tape_alloc(tape, "gradient", bytes);
}

static void release_grad(struct tape *tape, struct value *value)
{
    struct free_grad *freed = (struct free_grad *)(void *)value->grad;
    if (!freed)
        return;
    freed->bytes = grad_bytes(value);
    freed->next = tape->free_grads;
    tape->free_grads = freed;
    value->grad = NULL;
}

real *tape_grad(struct tape *tape, struct value *value, bool *is_first)
{
    *is_first = value->grad == NULL;
    if (value->row_marks) /* of whatever rows */
        memset(value->row_marks, ROW_TOUCHED | ROW_MOVED, (size_t)value->rows);
    if (*is_first)
        value->grad = new_grad(tape, grad_bytes(value));
    return value->grad;
}

real *tape_grad_from(struct tape *tape, struct value *value, struct value *output, bool *is_first)
{
    if (value->grad)
        return tape_grad(tape, value, is_first);
    assert(value->rows == output->rows && value->cols == output->cols);
    *is_first = true;
    value->grad = output->grad;
    output->grad = NULL;
    return value->grad;
}

/* A node whose output no gradient reached lies off the path from the loss. */
static void run_back(struct tape *tape)
{
    for (struct tape_node *node = tape->last; node && !tape->failed; node = node->previous)
        if (node->output->grad) {
            trap(tape, node->output, node->output->grad, node->name, true);
            if (!tape->failed)
                node->backward(tape, node);
            release_grad(tape, node->output);
        }
}

void tape_backward(struct tape *tape, struct value *loss, double scale)
{
    bool is_first;
    trap_newest(tape);
    if (tape->failed || !loss || !loss->needs_grad)
        return;
    assert(loss->rows == 1 && loss->cols == 1);
    real *grad = tape_grad(tape, loss, &is_first);
    if (grad)
        grad[0] = (real)scale;
    run_back(tape);
}

/* Parts that are computed again -------------------------------------------------------------------------------------
 */

struct part_node {
    struct tape_node node;
    tape_part_fn forward;
    void *context;
    struct value *x;
};

/* What a part must leave as it was: its nodes and buffers go with its memory. */
struct outside {
    struct arena_mark mark;
    struct tape_node *last;
    struct free_grad *free_grads;
    uint16_t *rounded[2];
    size_t rounded_size[2];
    real *panel;
};

static struct outside enter(struct tape *tape)
{
    struct outside outside = {
        .mark = arena_mark(tape->arena), .last = tape->last, .free_grads = tape->free_grads, .panel = tape->panel};
    memcpy(outside.rounded, tape->rounded, sizeof(outside.rounded));
    memcpy(outside.rounded_size, tape->rounded_size, sizeof(outside.rounded_size));
    trap_newest(tape);
    tape->last = NULL;
    tape->free_grads = NULL;
    return outside;
}

static void leave(struct tape *tape, const struct outside *outside)
{
    trap_newest(tape);
    tape->last = outside->last;
    tape->free_grads = outside->free_grads;
    tape->panel = outside->panel;
    memcpy(tape->rounded, outside->rounded, sizeof(outside->rounded));
    memcpy(tape->rounded_size, outside->rounded_size, sizeof(outside->rounded_size));
    arena_rewind(tape->arena, outside->mark);
}

/* x once more, with a gradient of its own. */
static struct value *leaf(struct tape *tape, const struct value *x)
{
    struct value *own = tape_constant(tape, x->data, x->rows, x->cols, x->layout);
    if (own)
        own->needs_grad = x->needs_grad;
    return own;
}

/* Gradients of x add up in the order in which they would without the part. */
static void part_backward(struct tape *tape, struct tape_node *base)
{
    struct part_node *node = (struct part_node *)base;
    struct value *x = node->x;
    bool is_first = false;
    real *dx = x->needs_grad ? tape_grad(tape, x, &is_first) : NULL;
    if (x->needs_grad && !dx)
        return;
    struct outside outside = enter(tape);
    struct value *own = leaf(tape, x);
    if (own)
        own->grad = is_first ? NULL : dx;
    struct value *y = own ? node->forward(node->context, own) : NULL;
    if (y && !tape->failed) {
        y->grad = base->output->grad;
        run_back(tape);
        if (is_first && own->grad)
            memcpy(dx, own->grad, grad_bytes(x));
        else if (is_first)
            memset(dx, 0, grad_bytes(x));
    }
    leave(tape, &outside);
}

struct value *tape_recompute(struct tape *tape, tape_part_fn forward, void *context, struct value *x)
{
    struct value *y = x ? tape_value(tape, "part", x->rows, x->cols, x->layout) : NULL;
    struct part_node *node = y ? tape_alloc(tape, "part", sizeof(*node)) : NULL;
    if (!node)
        return NULL;
    tape->newest = NULL; /* filled below */
    struct outside outside = enter(tape);
    struct value *own = leaf(tape, x), *inner = own ? forward(context, own) : NULL;
    bool records = inner && inner->needs_grad;
    if (inner && !tape->failed) {
        assert(inner->rows == y->rows && inner->cols == y->cols && inner->layout == x->layout);
        memcpy(y->data, inner->data, (size_t)y->rows * (size_t)y->cols * sizeof(real));
    }
    leave(tape, &outside);
    if (tape->failed)
        return NULL;
    *node = (struct part_node){.node = {.name = "part", .output = y, .backward = part_backward},
                               .forward = forward,
                               .context = context,
                               .x = x};
    if (records)
        tape_record(tape, &node->node);
    return y;
}

int tape_check(struct tape *tape, struct err *err)
{
    trap_newest(tape);
    if (!tape->failed)
        return 0;
    if (tape->is_not_finite)
        return err_set(err, ERR_NUMERIC,
                       tape->is_gradient ? "the gradient behind '%s' is not finite"
                                         : "'%s' gave a value that is not finite",
                       tape->failed_at);
    return err_set(err, ERR_NOMEM, "the step's memory (%zu bytes used) is used up at '%s'", tape->arena->used_bytes,
                   tape->failed_at);
}
