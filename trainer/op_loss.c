/* Cross entropy of class logits. */
#include <math.h>

#include "trainer/op_internal.h"

struct loss_node {
    struct tape_node node;
    struct value *logits;
    const real *slopes; /* d loss / d logits */
};

static void loss_backward(struct tape *tape, struct tape_node *node)
{
    struct loss_node *loss = (struct loss_node *)node;
    grad_add(tape, loss->logits, loss->slopes, node->output->grad[0]);
}

/* What a row adds to the divisor: 1, or the weight of its label. */
static double row_weight(const struct loss_options *options, int label)
{
    return label < 0 ? 0 : options->weights ? (double)options->weights[label] : 1;
}

/* The loss of one row before division, and its slopes: with target q (smoothed) and class weights w,
 * −Σ_c w_c q_c log p_c; slope p_j Σ_c w_c q_c − w_j q_j. */
static double row_loss_and_slopes(const struct loss_options *options, const real *log_p, int n_classes, int label,
                                  real *slopes)
{
    double total = 0, mass = 0, e = options->smoothing;
    for (int c = 0; c < n_classes; c++) {
        double q = (c == label ? 1 - e : 0) + e / n_classes, w = options->weights ? (double)options->weights[c] : 1;
        total -= w * q * (double)log_p[c];
        mass += w * q;
        slopes[c] = (real)(-w * q);
    }
    for (int c = 0; c < n_classes; c++)
        slopes[c] += (real)(exp((double)log_p[c]) * mass);
    return total;
}

/* log softmax of a row, in double inside: class counts are small and the loss is what people compare. */
static void log_softmax(real *log_p, const real *logits, int n)
{
    double largest = (double)logits[0], sum = 0;
    for (int c = 1; c < n; c++)
        largest = (double)logits[c] > largest ? (double)logits[c] : largest;
    for (int c = 0; c < n; c++)
        sum += exp((double)logits[c] - largest);
    for (int c = 0; c < n; c++)
        log_p[c] = (real)((double)logits[c] - largest - log(sum));
}

struct value *op_cross_entropy(struct tape *tape, struct value *logits, const struct loss_options *options,
                               real *row_loss, real *probabilities)
{
    if (!logits)
        return NULL;
    int n = logits->rows, n_classes = logits->cols;
    struct value *loss = tape_value(tape, "cross_entropy", 1, 1, NULL);
    real *slopes = tape_alloc(tape, "cross_entropy", value_size(logits) * sizeof(real));
    real *log_p = tape_alloc(tape, "cross_entropy", (size_t)n_classes * sizeof(real));
    if (!loss || !slopes || !log_p)
        return NULL;
    double total = 0, divisor = options->divisor;
    for (int i = 0; options->divisor == 0 && i < n; i++)
        divisor += row_weight(options, options->labels[i]);
    for (int i = 0; i < n; i++) {
        int label = options->labels[i];
        real *slope = slopes + (size_t)i * (size_t)n_classes;
        assert(label < n_classes);
        log_softmax(log_p, value_row(logits, i), n_classes);
        for (int c = 0; probabilities && c < n_classes; c++)
            probabilities[(size_t)i * (size_t)n_classes + (size_t)c] = (real)exp((double)log_p[c]);
        if (row_loss)
            row_loss[i] = label < 0 ? 0 : -log_p[label];
        if (label < 0)
            memset(slope, 0, (size_t)n_classes * sizeof(real));
        else
            total += row_loss_and_slopes(options, log_p, n_classes, label, slope);
    }
    loss->data[0] = divisor > 0 ? (real)(total / divisor) : 0;
    for (size_t i = 0; i < value_size(logits); i++)
        slopes[i] = divisor > 0 ? (real)((double)slopes[i] / divisor) : 0;
    if (!tape->is_recording || !needs(logits))
        return loss;
    struct loss_node *node = op_node(tape, "cross_entropy", sizeof(*node), loss, loss_backward);
    if (!node)
        return NULL;
    node->logits = logits;
    node->slopes = slopes;
    return loss;
}
