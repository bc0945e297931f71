/* Losses against numbers and against places in a sequence. */
#include <float.h>
#include <math.h>

#include "trainer/op_internal.h"

struct target_node {
    struct tape_node node;
    struct value *x;
    const real *slopes; /* d loss / d x */
};

static void target_backward(struct tape *tape, struct tape_node *base)
{
    struct target_node *node = (struct target_node *)base;
    grad_add(tape, node->x, node->slopes, base->output->grad[0]);
}

static struct value *record(struct tape *tape, const char *name, struct value *loss, struct value *x,
                            const real *slopes)
{
    if (!tape->is_recording || !needs(x))
        return loss;
    struct target_node *node = op_node(tape, name, sizeof(*node), loss, target_backward);
    if (!node)
        return NULL;
    node->x = x;
    node->slopes = slopes;
    return loss;
}

struct value *op_squared_error(struct tape *tape, struct value *x, const real *targets, double divisor, real *row_loss)
{
    if (!x)
        return NULL;
    assert(x->cols == 1);
    struct value *loss = tape_value(tape, "squared_error", 1, 1, NULL);
    real *slopes = tape_alloc(tape, "squared_error", (size_t)x->rows * sizeof(real));
    double total = 0;
    if (!loss || !slopes)
        return NULL;
    divisor = divisor > 0 ? divisor : x->rows;
    for (int i = 0; i < x->rows; i++) {
        double off = (double)x->data[i] - (double)targets[i];
        total += off * off;
        slopes[i] = (real)(2 * off / divisor);
        if (row_loss)
            row_loss[i] = (real)(off * off);
    }
    loss->data[0] = (real)(total / divisor);
    return record(tape, "squared_error", loss, x, slopes);
}

/* −log softmax at `at` over the rows of a sequence that may be meant; their slopes. Rows that may not have slope 0. */
static double place_loss(const struct value *x, const struct segment *segment, int col, const bool *counts, int at,
                         double share, real *slopes)
{
    size_t cols = (size_t)x->cols, first = (size_t)segment->first;
    double largest = -INFINITY, sum = DBL_MIN; /* at least one row counts */
    for (int r = 0; r < segment->keys; r++) {
        double value = (double)x->data[(first + (size_t)r) * cols + (size_t)col];
        largest = counts[r] && value > largest ? value : largest;
    }
    for (int r = 0; r < segment->keys; r++)
        if (counts[r])
            sum += exp((double)x->data[(first + (size_t)r) * cols + (size_t)col] - largest);
    for (int r = 0; r < segment->keys; r++) {
        size_t place = (first + (size_t)r) * cols + (size_t)col;
        double p = counts[r] ? exp((double)x->data[place] - largest) / sum : 0;
        slopes[place] = (real)(share * (p - (r == at)));
    }
    return largest + log(sum) - (double)x->data[(first + (size_t)at) * cols + (size_t)col];
}

/* Which of a sequence's rows came from the batch, and the row that came from the batch's row `wanted`. */
static int find_place(const struct layout *layout, const struct segment *segment, int32_t wanted, bool *counts)
{
    int at = 0;
    for (int r = 0; r < segment->keys; r++) {
        int32_t origin = layout->origin ? layout->origin[segment->first + r] : segment->first + r;
        counts[r] = origin >= 0;
        at = origin == wanted ? r : at;
    }
    return at;
}

struct value *op_place_cross_entropy(struct tape *tape, struct value *x, const int32_t *places, double divisor,
                                     real *sequence_loss)
{
    if (!x)
        return NULL;
    const struct layout *layout = x->layout;
    struct value *loss = tape_value(tape, "place_cross_entropy", 1, 1, NULL);
    real *slopes = tape_alloc(tape, "place_cross_entropy", value_size(x) * sizeof(real));
    bool *counts = tape_alloc(tape, "place_cross_entropy", (size_t)x->rows * sizeof(bool));
    double total = 0;
    if (!loss || !slopes || !counts)
        return NULL;
    memset(slopes, 0, value_size(x) * sizeof(real));
    divisor = divisor > 0 ? divisor : layout->n_segments;
    for (int s = 0; s < layout->n_segments; s++) {
        double own = 0;
        for (int col = 0; col < x->cols; col++) {
            int at = find_place(layout, &layout->segments[s], places[s * x->cols + col], counts);
            own += place_loss(x, &layout->segments[s], col, counts, at, 1 / (divisor * x->cols), slopes) / x->cols;
        }
        total += own;
        if (sequence_loss)
            sequence_loss[s] = (real)own;
    }
    loss->data[0] = (real)(total / divisor);
    x->balanced_cols = x->cols; /* a softmax over rows does not see what they have in common */
    return record(tape, "place_cross_entropy", loss, x, slopes);
}
