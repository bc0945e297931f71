/* Cross entropy of class logits, and of tokens of a vocabulary. */
#include <math.h>

#include "trainer/op_internal.h"
#include "trainer/packed.h"

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

/* Tokens ----------------------------------------------------------------------------------------------------------- */

enum { BLOCK_BYTES = 32 << 20, SUM_CHUNK = 4096 };

struct token_node {
    struct tape_node node;
    struct value *x, *w, *b;
    struct loss_options options;
    double divisor;
    const real *dx; /* d loss / d x; NULL when x needs none */
};

/* Rows [first, first + n) of x. */
struct row_block {
    int first, n;
};

static int block_rows(const struct value *x, const struct value *w)
{
    size_t rows = BLOCK_BYTES / ((size_t)w->rows * sizeof(real));
    return rows < 1 ? 1 : rows < (size_t)x->rows ? (int)rows : x->rows;
}

static void block_logits(struct tape *tape, const struct token_node *node, struct row_block block, real *logits)
{
    const struct value *x = node->x, *w = node->w;
    op_times_weight(tape, value_row(x, block.first), block.n, x->cols, w, true, node->b, w->rows, false, logits);
}

/* exp(x − max) in place; the sum in double over chunks: a vocabulary is long for a float. */
static double exp_row(real *row, size_t n, double *shift)
{
    double sum = 0;
    real largest = kernels()->max(row, n);
    for (size_t i = 0; i < n; i += SUM_CHUNK)
        sum += (double)kernels()->exp_sum(row + i, row + i, largest, n - i < SUM_CHUNK ? n - i : SUM_CHUNK);
    *shift = (double)largest;
    return sum;
}

/* Turns a row of logits into its slopes (p − q)/divisor, q the smoothed label. Returns the row's loss; *label_loss is
 * −log p of the label. */
static double token_row(const struct token_node *node, real *row, int label, double *label_loss)
{
    size_t n = (size_t)node->w->rows;
    double e = node->options.smoothing, shift;
    double at_label = (double)row[label], total = e > 0 ? (double)kernels()->sum(row, n) : 0;
    double sum = exp_row(row, n, &shift), log_sum = log(sum) + shift;
    real factor = (real)(1 / (sum * node->divisor)), rest = (real)(e / ((double)n * node->divisor));
    for (size_t c = 0; c < n; c++)
        row[c] = row[c] * factor - rest;
    row[label] -= (real)((1 - e) / node->divisor);
    *label_loss = log_sum - at_label;
    return (1 - e) * *label_loss + e * (log_sum - total / (double)n);
}

static void add_weight_slopes(const struct token_node *node, struct row_block block, const real *slopes, real scale)
{
    const struct value *x = node->x;
    struct value *w = node->w, *b = node->b;
    if (needs(w))
        gemm(true, false, w->rows, x->cols, block.n, scale, slopes, w->rows, value_row(x, block.first), x->cols, 1,
             w->grad, w->cols);
    for (int i = 0; needs(b) && i < block.n; i++)
        kernels()->axpy(b->grad, slopes + (size_t)i * (size_t)w->rows, scale, (size_t)w->rows);
}

/* The gradient of x was made going forward; that of the vocabulary's weight needs the loss's scale, so its logits are
 * computed again. */
static void token_backward(struct tape *tape, struct tape_node *base)
{
    struct token_node *node = (struct token_node *)base;
    struct value *const trained[] = {node->w, node->b};
    real scale = base->output->grad[0];
    bool is_first;
    if (node->dx)
        grad_add(tape, node->x, node->dx, scale);
    if (!needs(node->w) && !needs(node->b))
        return;
    for (int i = 0; i < 2; i++)
        if (needs(trained[i]) && tape_grad(tape, trained[i], &is_first) && is_first)
            memset(trained[i]->grad, 0, value_size(trained[i]) * sizeof(real));
    int at_once = block_rows(node->x, node->w);
    if (!op_times_weight_prepare(tape, node->w, at_once))
        return;
    struct arena_mark mark = arena_mark(tape->arena);
    real *logits = tape_alloc(tape, "token_cross_entropy", (size_t)at_once * (size_t)node->w->rows * sizeof(real));
    for (int first = 0; logits && !tape->failed && first < node->x->rows; first += at_once) {
        struct row_block block = {first, node->x->rows - first < at_once ? node->x->rows - first : at_once};
        double ignored;
        block_logits(tape, node, block, logits);
        for (int i = 0; i < block.n; i++)
            token_row(node, logits + (size_t)i * (size_t)node->w->rows, node->options.labels[first + i], &ignored);
        add_weight_slopes(node, block, logits, scale);
    }
    arena_rewind(tape->arena, mark);
}

/* The sum of the rows' losses; dx and row_loss are filled when not NULL. */
static double token_forward(struct tape *tape, const struct token_node *node, real *dx, real *row_loss)
{
    const struct value *x = node->x, *w = node->w;
    int at_once = block_rows(x, w);
    if (!op_times_weight_prepare(tape, w, at_once))
        return 0;
    struct arena_mark mark = arena_mark(tape->arena);
    real *logits = tape_alloc(tape, "token_cross_entropy", (size_t)at_once * (size_t)w->rows * sizeof(real));
    double total = 0;
    for (int first = 0; logits && first < x->rows; first += at_once) {
        struct row_block block = {first, x->rows - first < at_once ? x->rows - first : at_once};
        block_logits(tape, node, block, logits);
        for (int i = 0; i < block.n; i++) {
            double loss;
            assert(node->options.labels[first + i] >= 0 && node->options.labels[first + i] < w->rows);
            total += token_row(node, logits + (size_t)i * (size_t)w->rows, node->options.labels[first + i], &loss);
            if (row_loss)
                row_loss[first + i] = (real)loss;
        }
        if (dx)
            op_times_weight(tape, logits, block.n, w->rows, w, false, NULL, x->cols, false,
                            dx + (size_t)first * (size_t)x->cols);
    }
    arena_rewind(tape->arena, mark);
    return total;
}

struct value *op_token_cross_entropy(struct tape *tape, struct value *x, struct value *w, struct value *b,
                                     const struct loss_options *options, real *row_loss)
{
    if (!x || !w)
        return NULL;
    assert(x->cols == w->cols && (!b || b->cols == w->rows) && !options->weights);
    bool records = tape->is_recording && (needs(x) || needs(w) || needs(b));
    struct token_node made = {.x = x, .w = w, .b = b, .options = *options};
    made.divisor = options->divisor > 0 ? options->divisor : x->rows > 0 ? x->rows : 1;
    struct value *loss = tape_value(tape, "token_cross_entropy", 1, 1, NULL);
    real *dx = records && needs(x) ? tape_alloc(tape, "token_cross_entropy", value_size(x) * sizeof(real)) : NULL;
    if (!loss || tape->failed)
        return NULL;
    made.dx = dx;
    loss->data[0] = (real)(token_forward(tape, &made, dx, row_loss) / made.divisor);
    if (tape->failed || !records)
        return tape->failed ? NULL : loss;
    struct token_node *node = op_node(tape, "token_cross_entropy", sizeof(*node), loss, token_backward);
    if (!node)
        return NULL;
    made.node = node->node;
    *node = made;
    return loss;
}
