/* The tape: values, and the operations that made them, in order, so that gradients can flow back.
 *
 * A value is a row-major matrix. Batches are packed: the tokens of all sequences lie in one matrix without padding, and
 * a *layout* says which rows belong to which sequence. An operation computes its result at once; if any input needs a
 * gradient it also records how to go back. What needs no gradient records nothing, so frozen weights get no weight
 * gradient and the backward pass ends at the lowest trained place by itself.
 *
 * Memory is the step arena's: nothing here touches the heap. Failure is sticky: when the arena is full the tape is
 * `failed`, operations return NULL and accept NULL, and the caller asks once, with tape_check, at the end. */
#ifndef TRAINER_TAPE_H
#define TRAINER_TAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/err.h"
#include "common/rng.h"
#include "trainer/real.h"

/* One sequence in a packed matrix: rows [first, first+rows). Attention lets its rows see the first `keys` of them;
 * rows beyond are carried padding (a compatibility mode; normally keys == rows). Row r stands at position
 * `position` + r. `example` identifies the row of the data file: dropout masks are drawn from it, so they do not depend
 * on how a batch is packed. */
struct segment {
    int first, rows, keys, position;
    uint32_t example;
};

struct layout {
    int n_segments, n_rows;
    const struct segment *segments;
    /* For each row the row of the batch it came from, −1 for rows that a method inserted; NULL: they are the same. */
    const int32_t *origin;
};

/* A large mapped table whose rows are also read from its file: looked up through the map, a few rows of each step would
 * soon have brought all of it into memory, since the kernel maps what lies around a page too. */
struct row_file {
    int fd;
    int64_t offset;
    const real *data; /* the map: rows are read only while the value still points to it */
};

struct tensor; /* safetensors.h */

/* What is known of a row of a trained table, most of which no text of a batch asks for. */
enum {
    ROW_TOUCHED = 1, /* its gradient may be other than zero */
    ROW_MOVED = 2    /* the optimiser's moments may be other than zero */
};

struct value {
    real *data; /* rows × cols, row-major; never written through for frozen base weights (they are mapped) */
    const struct tensor *packed; /* data is NULL: a weight that stays as its file stores it (packed.h) */
    real *grad; /* NULL until the first gradient arrives; for parameters it persists over a step's micro-batches */
    int rows, cols;
    bool needs_grad;
    bool is_parameter; /* lies at `data` for the whole trial */
    /* Nobody reads `data` after the operation this value is given to next, not even the backward of what made it:
     * op_dropout and op_add_layer_norm write their result over it. Set by who builds the graph. */
    bool is_spare;
    /* Set in backward: the rows of these columns' gradient add up to zero whatever the loss is. Keys of a softmax are
     * such: the same row added to all of them changes nothing. A bias takes no gradient from them: what is left of the
     * sum is rounding, and an optimiser that divides by its size would make steps of it. */
    int balanced_first, balanced_cols;
    const struct row_file *row_file; /* of a large mapped table, or NULL */
    uint8_t *row_marks;          /* of a trained table, a ROW_… set for each row; NULL: every row counts as both */
    const struct layout *layout; /* whose rows these are; NULL for weights and other values that are no tokens */
};

struct tape;
struct halves; /* halves.h */

/* What an operation leaves on the tape. Operations embed it as the first member of their own struct, allocated from the
 * step arena, with what backward needs behind it. */
struct tape_node {
    const char *name;
    void (*backward)(struct tape *tape, struct tape_node *node);
    struct value *output;
    struct tape_node *previous;
};

struct tape {
    struct arena *arena;
    struct tape_node *last;
    bool is_training; /* dropout on */
    bool is_recording;
    bool failed;
    const char *failed_at; /* the operation that found the arena full, or the first NaN with trap_nan */
    bool is_not_finite;    /* why it failed: a value, not memory */
    bool is_gradient;      /* and that value is a gradient */
    bool trap_nan;         /* check every result and gradient; the first NaN fails the tape with its operation's name */
    struct value *newest;  /* trap_nan: the value asked for last, which is checked when the next one is (an operation
                            * fills a value before it asks for another) */
    const char *newest_op;
    struct free_grad *free_grads; /* buffers of gradients that have done their work */
    struct rng dropout;           /* of (seed, RNG_DROPOUT) */
    struct halves *halves;        /* linear layers compute in bfloat16 with these weights; NULL: in real */
    real *panel;                  /* of a packed weight, at work; NULL until one is used in the step */
    uint16_t *rounded[2];         /* operands of the product at work, of so many elements */
    size_t rounded_size[2];
    uint32_t step; /* counts micro-batches over the whole run: the first word of a dropout counter */
};

/* Starts a step: the arena is reset and the tape empty. */
void tape_begin(struct tape *tape, struct arena *arena);
/* A fresh value of the step, uninitialised data, no gradient; NULL (and failed) when the arena is full. */
struct value *tape_value(struct tape *tape, const char *op, int rows, int cols, const struct layout *layout);
/* A value that wraps data of the caller (kept for the step), without gradient. */
struct value *tape_constant(struct tape *tape, real *data, int rows, int cols, const struct layout *layout);
/* Memory of the step for an operation's own use; NULL (and failed) when the arena is full. */
void *tape_alloc(struct tape *tape, const char *op, size_t bytes);
/* Values as bfloat16 (halves.h), in one of two buffers of the step: valid until its next use. NULL (and failed) when
 * the arena is full. */
const uint16_t *tape_round(struct tape *tape, int buffer, const real *data, size_t n);
/* Makes room for n values of them now, so that it outlives a mark of the step's arena that is taken next. */
bool tape_round_prepare(struct tape *tape, int buffer, size_t n);
/* Puts the node on the tape and marks its output as needing a gradient. Only called when an input needs one and the
 * tape records. */
void tape_record(struct tape *tape, struct tape_node *node);
/* The gradient buffer of a value during backward, allocated at the first call. *is_first says that nothing is in it
 * yet: write (beta 0) instead of adding (beta 1). Parameters' buffers exist from the start and are never first. */
real *tape_grad(struct tape *tape, struct value *value, bool *is_first);
/* The same, for operations that can work in place: when `value` has no gradient yet, it takes over the buffer of
 * `output` (of the same size), whose gradient nobody reads after the operation's backward. */
real *tape_grad_from(struct tape *tape, struct value *value, struct value *output, bool *is_first);
/* y = forward(context, x), a part of the graph of which only x and y stay in memory: what lies between is forgotten,
 * and computed again when gradients come back, with the same bits, since random draws are functions of the place. y has
 * x's rows, columns and layout. Nothing outside may keep what `forward` makes; `context` is kept until backward. */
typedef struct value *(*tape_part_fn)(void *context, struct value *x);
struct value *tape_recompute(struct tape *tape, tape_part_fn forward, void *context, struct value *x);
/* Sets d loss / d loss = scale (1/accumulation) and runs all nodes backwards. `loss` is 1 × 1. */
void tape_backward(struct tape *tape, struct value *loss, double scale);
/* 0, ERR_NOMEM ("step memory of … is used up at 'attention'") or ERR_NUMERIC with trap_nan. */
int tape_check(struct tape *tape, struct err *err) MUST_CHECK;

#endif
