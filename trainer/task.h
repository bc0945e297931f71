/* Tasks: what a model is trained for. A short file a task (tasks/<name>.c), a row in task_kinds, and the row of its
 * name in common/tasks.c, which says what columns and metrics it has.
 *
 * A task turns rows into tokens, adds what is to be learned to a packed batch, gets from a model's hidden states to a
 * loss, and says what the model predicts and how good that is. It knows no method and no family: what kind of head a
 * family brings for it is model_options.task. */
#ifndef TRAINER_TASK_H
#define TRAINER_TASK_H

#include "common/tasks.h"
#include "trainer/dataset.h"
#include "trainer/metrics.h"
#include "trainer/model.h"

struct trial;

/* What a loss was made of, in the step arena. */
struct task_result {
    struct value *logits;      /* what the head gave; NULL of language models */
    int n;                     /* rows that have a label */
    const int32_t *sequences;  /* of each: which of the batch's */
    const real *losses;        /* of each: its part of the loss, before weights, smoothing and division */
    const real *probabilities; /* tasks with classes: (n, n_classes), of each row */
};

/* A batch in the making: examples[indices[first]] … (indices NULL: examples[first] …), n of them. */
struct packing {
    const struct trial *trial; /* NULL: tests */
    const struct example *examples;
    const uint32_t *indices;
    size_t first, n;
    uint32_t step; /* micro-step of the whole run; TASK_EVALUATION_STEP: not training */
    struct arena *arena;
};
#define TASK_EVALUATION_STEP UINT32_MAX

/* A data set, its rows, and what the model says of them. */
struct evaluated {
    const struct trial *trial;
    const struct dataset *dataset;
    const struct rows *rows; /* NULL: not at hand (checks) */
    struct predictions *predictions;
};

struct task_kind {
    const char *name; /* as in common/tasks.c */
    /* The head it takes; a task for which the model decides sets it in `head` instead. */
    enum model_task model_task;
    int (*head)(const char *model_folder, enum model_task *head, struct err *err);
    int n_outputs; /* of the head; 0: one a class */
    /* Before the model is opened: trial->labels from the training rows; NULL: there are none. */
    int (*read_labels)(struct trial *trial, struct err *err);
    /* Once tokenizer, model and labels are there, before anything is encoded; NULL: nothing to do. */
    int (*begin)(struct trial *trial, struct err *err);
    /* Tokens and labels of all rows. ERR_DATA names file and line. */
    int (*encode)(const struct trial *trial, struct dataset *dataset, const struct rows *rows, struct err *err);
    /* Adds what is to be learned to a batch whose inputs are packed; false when the arena is full. NULL: the examples'
     * classes, which every batch has. */
    bool (*pack)(const struct packing *packing, struct batch *batch);
    /* What an example adds to the number that its batch's loss is divided by; NULL: 1, or its class's weight. */
    double (*weight)(const struct packing *packing, const struct example *example, uint32_t index);
    /* The loss of pass->batch, 1 × 1, divided as `options` say; *result is filled. NULL when the tape has failed. */
    struct value *(*loss)(struct pass *pass, struct loss_options options, struct task_result *result);
    /* Arrays of `predictions` for p->n items, in `arena`, beside those every task has. NULL: no others. */
    int (*start)(const struct trial *trial, struct predictions *p, struct arena *arena, struct err *err);
    /* What `result` says of items [first, first + n). */
    void (*keep)(const struct trial *trial, const struct dataset *dataset, const struct batch *batch,
                 const struct task_result *result, struct predictions *p, size_t first, size_t n);
    /* Metrics of what was kept, in `arena`. */
    int (*measure)(const struct evaluated *evaluated, struct metrics *metrics, struct arena *arena, struct err *err);
    /* Appends members of item i's line of `predict`, each with a comma in front (predict_command.h). */
    void (*add_answer)(const struct evaluated *evaluated, size_t i, bool is_labelled, struct text *line);
};

extern const struct task_kind *const task_kinds[];        /* NULL-terminated */
const struct task_kind *task_kind_find(const char *name); /* NULL when unknown */

/* Runs the model on pass->batch and returns its loss with what methods add, 1 × 1. `options` holds weights, smoothing
 * and divisor; labels are the batch's. `result` is filled when not NULL. NULL when the tape has failed. */
struct value *task_loss(const struct task_kind *task, struct pass *pass, const struct loss_options *options,
                        struct task_result *result);

/* For tasks ---------------------------------------------------------------------------------------------------------
 */

/* The example at place i of the batch, and its index. */
const struct example *packing_example(const struct packing *packing, size_t i, uint32_t *index);
/* The `begin` of tasks that cut texts into words: trial->task_state becomes their struct word_pieces. */
int task_begin_words(struct trial *trial, struct err *err) MUST_CHECK;
/* A row on its way to tokens. */
struct row_encoding {
    const struct trial *trial;
    struct dataset *dataset; /* the row's example is examples[count], which `encode_row` fills and counts */
    const struct rows *rows;
    const struct row *row;
    struct arena scratch; /* emptied behind each row */
};
/* A task's `encode` row by row. */
int task_encode_rows(const struct trial *trial, struct dataset *dataset, const struct rows *rows,
                     int (*encode_row)(struct row_encoding *e, struct err *err), struct err *err) MUST_CHECK;
/* The `weight` of tasks in which every example counts as much: 1. */
double task_weight_one(const struct packing *packing, const struct example *example, uint32_t index);
/* Hidden states of the batch: of the last layer (encoders), or what goes into the output embedding (decoders). */
struct value *task_hidden(struct pass *pass);

/* The rows of hidden states that have a label. */
struct targets {
    int n;
    int32_t *rows, *labels, *sequences;
};
/* Finds them: the label of a row is labels[its row of the batch], or, with `is_next`, the one of the row behind it.
 * Rows that a method inserted have none of their own. False when the tape has failed. */
bool targets_find(struct pass *pass, const struct layout *layout, const int32_t *labels, bool is_next,
                  struct targets *targets);
/* Cross entropy over the vocabulary of the labelled rows of x. */
struct value *task_token_loss(struct pass *pass, struct value *x, const struct targets *targets,
                              struct loss_options options, struct task_result *result);
/* Cross entropy of logits (n, classes), a row a sequence or item; with probabilities. */
struct value *task_class_loss(struct pass *pass, struct value *logits, struct loss_options options,
                              struct task_result *result);
/* Language models: logits (n_segments, vocabulary) at the last row of each sequence, from what decode gave. */
struct value *task_last_logits(struct pass *pass, struct value *hidden);

/* What tasks with classes share: probabilities, the most likely class, its metrics and its answer. */
int task_class_start(const struct trial *trial, struct predictions *p, struct arena *arena, struct err *err);
void task_class_keep(const struct trial *trial, const struct dataset *dataset, const struct batch *batch,
                     const struct task_result *result, struct predictions *p, size_t first, size_t n);
int task_class_measure(const struct evaluated *evaluated, struct metrics *metrics, struct arena *arena,
                       struct err *err);
void task_class_answer(const struct evaluated *evaluated, size_t i, bool is_labelled, struct text *line);
/* What tasks share whose items are tokens: their number, their mean loss, loss and perplexity. */
int task_token_start(const struct trial *trial, struct predictions *p, struct arena *arena, struct err *err);
void task_token_keep(const struct trial *trial, const struct dataset *dataset, const struct batch *batch,
                     const struct task_result *result, struct predictions *p, size_t first, size_t n);
int task_token_measure(const struct evaluated *evaluated, struct metrics *metrics, struct arena *arena,
                       struct err *err);
void task_token_answer(const struct evaluated *evaluated, size_t i, bool is_labelled, struct text *line);

#endif
