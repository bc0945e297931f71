/* The table of tasks, and what they share. */
#include "trainer/task.h"

#include <math.h>
#include <string.h>

#include "trainer/trial.h"
#include "trainer/word_pieces.h"

extern const struct task_kind task_classification, task_causal, task_seq2seq, task_cloze, task_regression,
    task_multiple_choice, task_token_classification, task_question_answering, task_masked;

const struct task_kind *const task_kinds[] = {&task_classification,
                                              &task_causal,
                                              &task_seq2seq,
                                              &task_cloze,
                                              &task_regression,
                                              &task_multiple_choice,
                                              &task_token_classification,
                                              &task_question_answering,
                                              &task_masked,
                                              NULL};

const struct task_kind *task_kind_find(const char *name)
{
    for (const struct task_kind *const *kind = task_kinds; *kind; kind++)
        if (text_equal((*kind)->name, name))
            return *kind;
    return NULL;
}

struct value *task_loss(const struct task_kind *task, struct pass *pass, const struct loss_options *options,
                        struct task_result *result)
{
    struct value *loss = task->loss(pass, *options, result);
    struct value *extra = pass->extra_loss;
    if (extra && pass->extra_share > 0 && pass->extra_share < 1)
        extra = op_scale(pass->tape, extra, pass->extra_share);
    return extra ? op_add(pass->tape, loss, extra) : loss;
}

int task_begin_words(struct trial *trial, struct err *err)
{
    struct word_pieces *pieces = arena_calloc(&trial->arena, 1, sizeof(*pieces));
    trial->task_state = pieces;
    return pieces ? word_pieces_open(pieces, trial->tokenizer, &trial->arena, err)
                  : err_set(err, ERR_NOMEM, "no memory for a tokenizer");
}

int task_encode_rows(const struct trial *trial, struct dataset *dataset, const struct rows *rows,
                     int (*encode_row)(struct row_encoding *e, struct err *err), struct err *err)
{
    struct row_encoding e = {.trial = trial, .dataset = dataset, .rows = rows};
    int rc = dataset_begin(dataset, rows, err);
    for (size_t i = 0; i < rows->count && rc == 0; i++) {
        e.row = &rows->items[i];
        rc = encode_row(&e, err);
        arena_reset(&e.scratch);
    }
    arena_done(&e.scratch);
    return rc;
}

double task_weight_one(const struct packing *packing, const struct example *example, uint32_t index)
{
    (void)packing;
    (void)example;
    (void)index;
    return 1;
}

const struct example *packing_example(const struct packing *packing, size_t i, uint32_t *index)
{
    *index = packing->indices ? packing->indices[packing->first + i] : (uint32_t)(packing->first + i);
    return &packing->examples[*index];
}

struct value *task_hidden(struct pass *pass)
{
    const struct model_kind *kind = pass->model->kind;
    return kind->encode ? kind->encode(pass) : kind->decode(pass);
}

/* Labelled rows ---------------------------------------------------------------------------------------------------- */

/* Of a row that a method inserted −1; but the last one in front of a sequence predicts its first token (is_next). */
static int32_t label_of(const struct layout *layout, const struct segment *segment, int row, const int32_t *labels,
                        bool is_next)
{
    int at = is_next ? row + 1 : row;
    if (at >= segment->keys)
        return -100;
    int32_t origin = layout->origin ? layout->origin[segment->first + at] : segment->first + at;
    return origin < 0 ? -100 : labels[origin];
}

bool targets_find(struct pass *pass, const struct layout *layout, const int32_t *labels, bool is_next,
                  struct targets *targets)
{
    size_t bytes = (size_t)layout->n_rows * sizeof(int32_t);
    *targets = (struct targets){.rows = tape_alloc(pass->tape, "targets", bytes),
                                .labels = tape_alloc(pass->tape, "targets", bytes),
                                .sequences = tape_alloc(pass->tape, "targets", bytes)};
    if (pass->tape->failed)
        return false;
    for (int s = 0; s < layout->n_segments; s++)
        for (int row = 0; row < layout->segments[s].rows; row++) {
            int32_t label = label_of(layout, &layout->segments[s], row, labels, is_next);
            if (label < 0)
                continue;
            targets->rows[targets->n] = layout->segments[s].first + row;
            targets->sequences[targets->n] = s;
            targets->labels[targets->n++] = label;
        }
    return true;
}

/* Only labelled rows meet the vocabulary. With hooks on the output embedding its logits are formed whole. */
struct value *task_token_loss(struct pass *pass, struct value *x, const struct targets *targets,
                              struct loss_options options, struct task_result *result)
{
    struct tape *tape = pass->tape;
    struct site *site = pass->model->output_embedding;
    real *losses = tape_alloc(tape, "targets", ((size_t)targets->n + 1) * sizeof(real));
    if (!losses)
        return NULL;
    options.labels = targets->labels;
    options.weights = NULL;
    struct value *bias = site->bias ? &site->bias->value : NULL;
    if (result)
        *result = (struct task_result){.n = targets->n, .sequences = targets->sequences, .losses = losses};
    return site->hooks ? op_cross_entropy(tape, site_linear(pass, site, x), &options, losses, NULL)
                       : op_token_cross_entropy(tape, x, &site->weight->value, bias, &options, losses);
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

/* Classes ---------------------------------------------------------------------------------------------------------- */

struct value *task_class_loss(struct pass *pass, struct value *logits, struct loss_options options,
                              struct task_result *result)
{
    struct tape *tape = pass->tape;
    if (!logits)
        return NULL;
    size_t n = (size_t)logits->rows;
    real *losses = tape_alloc(tape, "targets", n * sizeof(real)), *probabilities = NULL;
    int32_t *sequences = tape_alloc(tape, "targets", n * sizeof(int32_t));
    if (result)
        probabilities = tape_alloc(tape, "targets", n * (size_t)logits->cols * sizeof(real));
    if (tape->failed)
        return NULL;
    for (size_t i = 0; i < n; i++)
        sequences[i] = (int32_t)i;
    if (result)
        *result = (struct task_result){logits, (int)n, sequences, losses, probabilities};
    options.labels = options.labels ? options.labels : pass->batch->labels;
    return op_cross_entropy(tape, logits, &options, losses, probabilities);
}

int task_class_start(const struct trial *trial, struct predictions *p, struct arena *arena, struct err *err)
{
    p->n_classes = trial->labels.count;
    p->probabilities = arena_alloc(arena, p->n * (size_t)p->n_classes * sizeof(*p->probabilities));
    return p->probabilities ? 0 : err_set(err, ERR_NOMEM, "no memory for %zu predictions", p->n);
}

static int argmax(const real *values, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        best = values[i] > values[best] ? i : best;
    return best;
}

void task_class_keep(const struct trial *trial, const struct dataset *dataset, const struct batch *batch,
                     const struct task_result *result, struct predictions *p, size_t first, size_t n)
{
    size_t classes = (size_t)p->n_classes;
    (void)trial;
    (void)dataset;
    memcpy(p->probabilities + first * classes, result->probabilities, n * classes * sizeof(real));
    for (size_t i = 0; i < n; i++) {
        p->losses[first + i] = result->losses[i];
        p->labels[first + i] = batch->labels[i];
        p->predicted[first + i] = argmax(p->probabilities + (first + i) * classes, p->n_classes);
    }
}

int task_class_measure(const struct evaluated *evaluated, struct metrics *metrics, struct arena *arena, struct err *err)
{
    return metrics_of_classes(metrics, evaluated->predictions, arena, err);
}

void task_class_answer(const struct evaluated *evaluated, size_t i, bool is_labelled, struct text *line)
{
    const struct labels *labels = &evaluated->trial->labels;
    const struct predictions *p = evaluated->predictions;
    if (is_labelled) {
        text_add(line, ",\"label\":");
        text_add_json(line, evaluated->rows->items[i].label);
    }
    text_add(line, ",\"predicted\":");
    text_add_json(line, labels->names[p->predicted[i]]);
    text_add(line, ",\"probabilities\":[");
    for (int c = 0; c < labels->count; c++) {
        text_add(line, c ? "," : "");
        text_add_double(line, (double)p->probabilities[i * (size_t)labels->count + (size_t)c]);
    }
    text_add(line, "]");
}

/* Tokens ----------------------------------------------------------------------------------------------------------- */

int task_token_start(const struct trial *trial, struct predictions *p, struct arena *arena, struct err *err)
{
    (void)trial;
    p->n_tokens = arena_alloc(arena, p->n * sizeof(*p->n_tokens));
    return p->n_tokens ? 0 : err_set(err, ERR_NOMEM, "no memory for %zu predictions", p->n);
}

void task_token_keep(const struct trial *trial, const struct dataset *dataset, const struct batch *batch,
                     const struct task_result *result, struct predictions *p, size_t first, size_t n)
{
    (void)trial;
    (void)dataset;
    (void)batch;
    for (size_t i = 0; i < n; i++) {
        p->losses[first + i] = 0;
        p->n_tokens[first + i] = 0;
        p->predicted[first + i] = -1;
    }
    for (int k = 0; k < result->n; k++) {
        size_t i = first + (size_t)result->sequences[k];
        p->n_tokens[i]++;
        p->losses[i] += (result->losses[k] - p->losses[i]) / (real)p->n_tokens[i];
    }
    for (size_t i = 0; i < n; i++)
        p->labels[first + i] = p->n_tokens[first + i];
}

int task_token_measure(const struct evaluated *evaluated, struct metrics *metrics, struct arena *arena, struct err *err)
{
    (void)arena;
    (void)err;
    metrics_of_tokens(metrics, evaluated->predictions);
    return 0;
}

void task_token_answer(const struct evaluated *evaluated, size_t i, bool is_labelled, struct text *line)
{
    (void)is_labelled;
    text_printf(line, ",\"tokens\":%d,\"loss\":", evaluated->predictions->n_tokens[i]);
    text_add_double(line, (double)evaluated->predictions->losses[i]);
}
