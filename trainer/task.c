/* The losses of the tasks. */
#include "trainer/task.h"

/* The rows of a language model's hidden states that have a label. */
struct targets {
    int n;
    int32_t *rows, *labels, *sequences;
};

/* The label of a row: the next row's own token (causal), or its own label (seq2seq). A row that a method inserted has
 * no label of its own, but the last one in front of a sequence predicts its first token. */
static int32_t label_of(const struct pass *pass, const struct layout *layout, const struct segment *segment, int row)
{
    bool is_causal = pass->model->task == TASK_CAUSAL;
    int at = is_causal ? row + 1 : row;
    if (at >= segment->keys)
        return -100;
    int32_t origin = layout->origin ? layout->origin[segment->first + at] : segment->first + at;
    return origin < 0 ? -100 : pass->batch->labels[origin];
}

static bool find_targets(struct pass *pass, const struct layout *layout, struct targets *targets)
{
    size_t bytes = (size_t)layout->n_rows * sizeof(int32_t);
    *targets = (struct targets){.rows = tape_alloc(pass->tape, "targets", bytes),
                                .labels = tape_alloc(pass->tape, "targets", bytes),
                                .sequences = tape_alloc(pass->tape, "targets", bytes)};
    if (pass->tape->failed)
        return false;
    for (int s = 0; s < layout->n_segments; s++)
        for (int row = 0; row < layout->segments[s].rows; row++) {
            int32_t label = label_of(pass, layout, &layout->segments[s], row);
            if (label < 0)
                continue;
            targets->rows[targets->n] = layout->segments[s].first + row;
            targets->sequences[targets->n] = s;
            targets->labels[targets->n++] = label;
        }
    return true;
}

/* Only labelled rows meet the vocabulary. With hooks on the output embedding its logits are formed whole. */
static struct value *language_loss(struct pass *pass, struct loss_options options, struct task_result *result)
{
    struct tape *tape = pass->tape;
    struct site *site = pass->model->output_embedding;
    struct value *x = pass->model->kind->decode(pass);
    struct targets targets;
    if (!x || !find_targets(pass, x->layout, &targets))
        return NULL;
    real *losses = tape_alloc(tape, "targets", ((size_t)targets.n + 1) * sizeof(real));
    if (!losses)
        return NULL;
    options.labels = targets.labels;
    options.weights = NULL;
    x = site_replace(pass, pass->model->output, op_select_rows(tape, x, targets.rows, targets.n));
    struct value *bias = site->bias ? &site->bias->value : NULL;
    struct value *loss = site->hooks ? op_cross_entropy(tape, site_linear(pass, site, x), &options, losses, NULL)
                                     : op_token_cross_entropy(tape, x, &site->weight->value, bias, &options, losses);
    if (result)
        *result = (struct task_result){.n = targets.n, .sequences = targets.sequences, .losses = losses};
    return loss;
}

static struct value *class_loss(struct pass *pass, struct loss_options options, struct task_result *result,
                                real *probabilities)
{
    int n = pass->batch->layout.n_segments;
    real *losses = tape_alloc(pass->tape, "targets", (size_t)n * sizeof(real));
    int32_t *sequences = tape_alloc(pass->tape, "targets", (size_t)n * sizeof(int32_t));
    struct value *logits = losses && sequences ? pass->model->kind->classify(pass) : NULL;
    options.labels = pass->batch->labels;
    for (int i = 0; sequences && i < n; i++)
        sequences[i] = i;
    if (result)
        *result = (struct task_result){.logits = logits, .n = n, .sequences = sequences, .losses = losses};
    return op_cross_entropy(pass->tape, logits, &options, losses, probabilities);
}

struct value *task_loss(struct pass *pass, const struct loss_options *options, struct task_result *result,
                        real *probabilities)
{
    struct value *loss = pass->model->task == TASK_CLASSIFICATION ? class_loss(pass, *options, result, probabilities)
                                                                  : language_loss(pass, *options, result);
    struct value *extra = pass->extra_loss;
    if (extra && pass->extra_share > 0 && pass->extra_share < 1)
        extra = op_scale(pass->tape, extra, pass->extra_share);
    return extra ? op_add(pass->tape, loss, extra) : loss;
}

struct value *task_last_logits(struct pass *pass, struct value *hidden)
{
    if (!hidden)
        return NULL;
    const struct layout *layout = hidden->layout;
    int32_t *rows = tape_alloc(pass->tape, "last_logits", (size_t)layout->n_segments * sizeof(int32_t));
    if (!rows)
        return NULL;
    for (int s = 0; s < layout->n_segments; s++)
        rows[s] = layout->segments[s].first + layout->segments[s].keys - 1;
    struct value *x = op_select_rows(pass->tape, hidden, rows, layout->n_segments);
    return site_linear(pass, pass->model->output_embedding, site_replace(pass, pass->model->output, x));
}
