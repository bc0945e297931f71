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

const uint16_t *tape_round(struct tape *tape, int buffer, const real *data, size_t n)
{
    if (tape->rounded_size[buffer] < n) {
        tape->rounded[buffer] = tape_alloc(tape, "bf16", n * sizeof(uint16_t));
        tape->rounded_size[buffer] = tape->rounded[buffer] ? n : 0;
    }
    if (tape->failed)
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
    /* A node whose output no gradient reached lies off the path from the loss. */
    for (struct tape_node *node = tape->last; node && !tape->failed; node = node->previous)
        if (node->output->grad) {
            trap(tape, node->output, node->output->grad, node->name, true);
            if (!tape->failed)
                node->backward(tape, node);
            release_grad(tape, node->output);
        }
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
