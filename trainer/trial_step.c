/* Forward and backward of one micro-batch, group by group. */
#include "trainer/task.h"
#include "trainer/trial.h"

/* A micro-batch: examples [first, first + n) of the epoch's order. Group g of n_groups ends where the first g + 1 parts
 * of the tokens are full. */
struct micro_batch {
    uint32_t step;
    size_t first, n, n_groups;
    double share, divisor;
};

static size_t tokens_at(const struct trial *trial, size_t position)
{
    const struct example *example = &trial->train.examples[trial->order[position]];
    return (size_t)example->n_tokens + (example->decoder_ids ? (size_t)example->n_targets : 0);
}

/* What an example adds to the number that the batch's loss is divided by. */
static double weight_at(const struct trial *trial, uint32_t step, size_t position)
{
    const struct packing packing = {.trial = trial,
                                    .examples = trial->train.examples,
                                    .indices = trial->order,
                                    .first = position,
                                    .n = 1,
                                    .step = step};
    const struct task_kind *task = trial->job->task_kind;
    uint32_t index;
    const struct example *example = packing_example(&packing, 0, &index);
    if (task->weight)
        return task->weight(&packing, example, index);
    return trial->class_weights ? (double)trial->class_weights[example->label] : 1;
}

/* Where group `group` begins, counted from the first example; every group has at least one. */
static size_t group_begin(const struct trial *trial, const struct micro_batch *batch, size_t group)
{
    size_t total = 0, seen = 0, at = 0;
    for (size_t i = 0; i < batch->n; i++)
        total += tokens_at(trial, batch->first + i);
    while (at < batch->n && seen * batch->n_groups < total * group)
        seen += tokens_at(trial, batch->first + at++);
    size_t latest = batch->n - (batch->n_groups - group);
    return at < group ? group : at > latest ? latest : at;
}

static int train_group(struct trial *trial, struct lane *lane, const struct micro_batch *batch, size_t first, size_t n,
                       struct err *err)
{
    struct tape *tape = lane->tape;
    tape->is_training = tape->is_recording = true;
    tape->step = batch->step;
    tape_begin(tape, lane->step);
    const struct task_kind *task = trial->job->task_kind;
    const struct packing packing = {.trial = trial,
                                    .examples = trial->train.examples,
                                    .indices = trial->order,
                                    .first = batch->first + first,
                                    .n = n,
                                    .step = batch->step,
                                    .arena = lane->step};
    const struct batch *packed = trial_pack(task, &packing);
    struct pass pass = {.tape = tape, .model = lane->model, .batch = packed};
    struct loss_options options = {
        .weights = trial->class_weights, .smoothing = trial->label_smoothing, .divisor = batch->divisor};
    pass.extra_share = (double)n / (double)batch->n; /* each group carries its part of what methods add */
    struct value *value = packed ? task_loss(task, &pass, &options, NULL) : NULL;
    tape_backward(tape, value, batch->share);
    int rc = tape_check(tape, err);
    if (rc < 0)
        return rc;
    if (!value)
        return err_set(err, ERR_NOMEM, "no memory for a batch of %zu examples", n);
    lane->loss += batch->share * (double)value->data[0];
    lane->n_tokens += (size_t)(packed->layout.n_rows + packed->decoder_layout.n_rows);
    return 0;
}

static void train_lane(struct trial *trial, struct lane *lane, int index, void *context)
{
    const struct micro_batch *batch = context;
    size_t half = (batch->n_groups + 1) / 2, group = index ? half : 0, end = index ? batch->n_groups : half;
    for (; group < end && lane->rc == 0; group++) {
        size_t begin = group_begin(trial, batch, group);
        lane->rc = train_group(trial, lane, batch, begin, group_begin(trial, batch, group + 1) - begin, &lane->err);
    }
}

int trial_micro_batch(struct trial *trial, uint32_t micro_step, size_t first, size_t n, double share, double *loss,
                      struct err *err)
{
    struct micro_batch batch = {.step = micro_step, .first = first, .n = n, .share = share};
    size_t n_tokens = 0;
    for (size_t i = first; i < first + n; i++) {
        n_tokens += tokens_at(trial, i);
        if (trial_divides(trial))
            batch.divisor += weight_at(trial, micro_step, i);
    }
    batch.n_groups = trial_divides(trial) ? lanes_groups(n, n_tokens) : 1;
    int n_lanes = batch.n_groups > 1 ? 2 : 1, rc = lanes_run(trial, n_lanes, train_lane, &batch, err);
    if (rc < 0)
        return rc;
    if (n_lanes > 1)
        lanes_reduce(trial);
    for (int i = 0; i < n_lanes; i++) {
        *loss += trial->lanes.items[i].loss;
        trial->progress.summed_tokens += (double)trial->lanes.items[i].n_tokens;
    }
    return 0;
}
