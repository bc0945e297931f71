/* Operations: shape rule, forward and backward of each in one file (op_*.c).
 *
 * All take and return values of the step arena, accept NULL (and then return NULL: the tape has failed before), and
 * assert their shape rules: a wrong shape is our bug, since models check their tensors when they are loaded.
 * n is the number of rows, d the number of columns of x. */
#ifndef TRAINER_OPS_H
#define TRAINER_OPS_H

#include "trainer/tape.h"

enum activation {
    ACTIVATION_RELU,
    ACTIVATION_GELU,
    ACTIVATION_GELU_NEW,
    ACTIVATION_SILU,
    ACTIVATION_TANH,
    ACTIVATION_SIGMOID
};

/* By its name in config files: relu, gelu (erf), gelu_new and gelu_pytorch_tanh (tanh approximation), silu and swish,
 * tanh, sigmoid. -1 when unknown. */
int activation_from_name(const char *name);

/* Rows `ids` of a table: y_i = table[ids_i].   table: (V, d)   y: (n_ids, d) */
struct value *op_embedding(struct tape *tape, struct value *table, const int32_t *ids, int n_ids,
                           const struct layout *layout);
/* y = x Wᵀ + b.   x: (n, in)   w: (out, in)   b: (1, out) or NULL   y: (n, out) */
struct value *op_linear(struct tape *tape, struct value *x, struct value *w, struct value *b);
/* y = f(x) Wᵀ + b with f(x) in `memory` (as large as x; the caller's, free for other uses until backward and then
 * again): it is computed again when W needs a gradient. NULL memory: the tape has failed. */
struct value *op_activated_linear(struct tape *tape, struct value *x, enum activation activation, struct value *w,
                                  struct value *b, real *memory);
/* The same as op_linear for a weight stored (in, out), as GPT-2's Conv1D: y = x W + b. */
struct value *op_linear_transposed(struct tape *tape, struct value *x, struct value *w, struct value *b);
/* c = a b, either transposed first. */
struct value *op_matmul(struct tape *tape, struct value *a, bool transpose_a, struct value *b, bool transpose_b);
/* a + b of equal shape; a · b elementwise; s a with a constant s. */
struct value *op_add(struct tape *tape, struct value *a, struct value *b);
struct value *op_multiply(struct tape *tape, struct value *a, struct value *b);
struct value *op_scale(struct tape *tape, struct value *a, double s);
/* a + s b in one pass: LoRA's update, residual scaling. */
struct value *op_add_scaled(struct tape *tape, struct value *a, struct value *b, double s);
/* y = x ⊙ v for every row (v: (1, d)), and y = s x with a trained scalar (s: (1, 1)). */
struct value *op_multiply_row(struct tape *tape, struct value *x, struct value *v);
struct value *op_multiply_scalar(struct tape *tape, struct value *x, struct value *s);
/* y = γ (x − mean)/√(var + ε) + β over each row, var biased.   Ba et al. 2016, arXiv:1607.06450 */
struct value *op_layer_norm(struct tape *tape, struct value *x, struct value *gamma, struct value *beta,
                            double epsilon);
/* LN(x + residual) in one pass; the sum is kept for backward. Equal to op_layer_norm(op_add(x, residual)). */
struct value *op_add_layer_norm(struct tape *tape, struct value *x, struct value *residual, struct value *gamma,
                                struct value *beta, double epsilon);
/* y = γ x/√(mean(x²) + ε) over each row.   Zhang & Sennrich 2019, arXiv:1910.07467 */
struct value *op_rms_norm(struct tape *tape, struct value *x, struct value *gamma, double epsilon);
/* f(x) elementwise. gelu: x Φ(x); gelu_new: 0.5 x (1 + tanh(√(2/π)(x + 0.044715 x³))); silu: x σ(x).
 * Hendrycks & Gimpel 2016, arXiv:1606.08415; Elfwing et al. 2017, arXiv:1702.03118 */
struct value *op_activation(struct tape *tape, struct value *x, enum activation activation);
/* f(gate) ⊙ x, a gated linear unit's middle.   Shazeer 2020, arXiv:2002.05202 */
struct value *op_gated(struct tape *tape, struct value *gate, struct value *x, enum activation activation);
/* Rotary positions: in every head of x (n, n_heads·size) the pairs (x_j, x_{j+half}), j < half, turned by the row's
 * angles.   Su et al. 2021, arXiv:2104.09864, 3.2, in the half-split order of Hugging Face's models */
struct rotation {
    int half;
    const real *cosines, *sines; /* (n, half), kept for the step */
};
struct value *op_rotate(struct tape *tape, struct value *x, int n_heads, const struct rotation *rotation);
/* In training: zero with probability `rate`, else x/(1 − rate); otherwise x itself. The mask is a pure function of
 * (seed, step, example, site, position, column): x must have a layout. `site` from rng_site.   Srivastava et al. 2014
 */
struct value *op_dropout(struct tape *tape, struct value *x, double rate, uint32_t site);

/* Position of each row in its sequence, plus `offset`, in the step arena; NULL when it is full. */
const int32_t *layout_positions(struct tape *tape, const struct layout *layout, int offset);
/* Rows `indices` of x, in that order: (n, d), a sequence of its own each in the layout. */
struct value *op_select_rows(struct tape *tape, struct value *x, const int32_t *indices, int n);

/* A bias added to the scores by the distance of key and query.   Raffel et al. 2019, arXiv:1910.10683, 2.1 */
struct position_bias {
    struct value *table; /* (buckets, n_heads); NULL: none */
    bool is_bidirectional;
    int max_distance;
};

struct attention {
    int n_heads, n_kv_heads; /* q: (n, n_heads·size); k, v: (m, n_kv_heads·size) */
    double scale;            /* 1/√size, usually */
    bool is_causal;
    bool is_continued; /* queries are the last rows of their sequence: as many keys stand in front as there are more */
    int window;        /* above 0: a row sees only the last `window` keys up to its own */
    struct position_bias bias;
    double dropout; /* of the probabilities */
    uint32_t site;
    /* Extra keys and values in front of every sequence's own (prefix methods), (n_extra, n_kv_heads·size) or NULL. */
    struct value *extra_keys, *extra_values;
    /* A factor for each row (n, 1) on the extra keys and values it sees, or NULL: 1. */
    struct value *extra_gate;
};
/* softmax(scale q kᵀ + mask) v for each sequence of the layout and each head, without forming padding. Keys may have
 * another layout than queries, of as many sequences (cross attention). Memory: only one
 * row statistic (log-sum-exp) per row and head is kept; probabilities are computed again in backward.
 * Vaswani et al. 2017, 3.2.1; recomputation: Dao et al. 2022, arXiv:2205.14135, 3.1 */
struct value *op_attention(struct tape *tape, struct value *q, struct value *k, struct value *v,
                           const struct attention *attention);
/* The given rows of x: first tokens for pooling. The result's layout has one row a sequence. */
struct value *op_first_rows(struct tape *tape, struct value *x);
/* Each sequence with `rows` (P, d) in front of it, or behind its first row. The result's layout has P more rows a
 * sequence; origin is −1 for them. */
struct value *op_insert_rows(struct tape *tape, struct value *x, struct value *rows, bool behind_first);
/* Mean over each sequence's rows: (n_segments, d). */
struct value *op_mean_rows(struct tape *tape, struct value *x);

/* Parts of values. x with another number of rows and columns, same elements in the same order; columns
 * [first, first + n); rows [first, first + n); (a | b); base with row i of x added at row rows[i]; x[i][cols[i]] as
 * (n, 1); columns `ids` of a table (r, V) as rows (n_ids, r). Index lists are kept for the step. */
struct value *op_reshape(struct tape *tape, struct value *x, int rows, int cols);
struct value *op_columns(struct tape *tape, struct value *x, int first, int n);
struct value *op_row_range(struct tape *tape, struct value *x, int first, int n);
struct value *op_beside(struct tape *tape, struct value *a, struct value *b);
struct value *op_add_at_rows(struct tape *tape, struct value *base, struct value *x, const int32_t *rows);
struct value *op_pick(struct tape *tape, struct value *x, const int32_t *cols);
/* base with x (n, m) added to columns [first, first + m); the given rows of x (they may repeat). */
struct value *op_add_at_columns(struct tape *tape, struct value *base, struct value *x, int first);
struct value *op_take_rows(struct tape *tape, struct value *x, const int32_t *rows, int n_rows);
/* (n_rows, n_cols), 0 but for the sum of the parts: row i of parts[k] is added at row rows[k][i]. Both lists are kept
 * for the step. */
struct value *op_sum_at_rows(struct tape *tape, struct value *const *parts, const int32_t *const *rows, int n_parts,
                             int n_rows, int n_cols, const struct layout *layout);
struct value *op_embedding_columns(struct tape *tape, struct value *table, const int32_t *ids, int n_ids,
                                   const struct layout *layout);
/* x + s v for every row (v: (1, d)); row i times v_i (v: (n, 1)); softmax of each row. */
struct value *op_add_row(struct tape *tape, struct value *x, struct value *v, double s);
struct value *op_multiply_column(struct tape *tape, struct value *x, struct value *v);
struct value *op_softmax(struct tape *tape, struct value *x);
/* a_i · b_i for every row: (n, 1). */
struct value *op_row_dot(struct tape *tape, struct value *a, struct value *b);
/* For every row the mean over all rows of its sequence (carried padding counts), or over those up to itself. */
struct value *op_sequence_mean(struct tape *tape, struct value *x, bool is_causal);
/* ‖X Xᵀ − I‖ (Frobenius), or ‖Xᵀ X − I‖ of the columns: 1 × 1. */
struct value *op_orthogonality(struct tape *tape, struct value *x, bool of_columns);

/* W = Σ_i A_i ⊗ (L_i R_i), (np, nq), of A (n, n·n), L (n, p·rank), R (n, rank·q): a hypercomplex layer's weight.
 * Karimi Mahabadi et al. 2021, arXiv:2106.04647, 4 */
struct value *op_phm_weight(struct tape *tape, struct value *rule, struct value *left, struct value *right, int rank);
/* For every row the `size` rows around it (an odd number, itself in the middle) one behind the other, zeros beyond its
 * sequence: what a convolution sees.   x: (n, d)   y: (n, size·d) */
struct value *op_window(struct tape *tape, struct value *x, int size);
/* Weights of one direction of one LSTM layer, as PyTorch stores them: gates i, f, g, o below each other. */
struct lstm {
    struct value *input_weight, *hidden_weight; /* (4h, in), (4h, h); no input weight: x is W x + b already, (n, 4h) */
    struct value *input_bias, *hidden_bias;     /* (1, 4h) */
    bool is_reverse;
};
/* Hidden states (n, h) of each sequence of x (of all rows as one without a layout), from 0.   Hochreiter & Schmidhuber
 * 1997 */
struct value *op_lstm(struct tape *tape, struct value *x, const struct lstm *lstm);

struct loss_options {
    const int32_t *labels; /* a class a row; −100: the row does not count */
    const real *weights;   /* a weight a class, or NULL */
    double smoothing;      /* ε: target (1 − ε) one-hot + ε/C */
    double divisor;        /* the sum is divided by it; 0: by the number (or weight) of labelled rows */
};
/* Cross entropy of softmax(logits), 1 × 1, as PyTorch's CrossEntropyLoss defines it with weights and smoothing.
 * row_loss (n, unweighted and unsmoothed −log p of the label, 0 for −100 rows) and probabilities (n × C) are filled
 * when not NULL; they are the caller's. */
struct value *op_cross_entropy(struct tape *tape, struct value *logits, const struct loss_options *options,
                               real *row_loss, real *probabilities);
/* The same of logits = x Wᵀ + b over a vocabulary, every row labelled, without class weights. Logits exist for a block
 * of rows at a time: memory does not grow with rows × vocabulary.   x: (n, d)   w: (V, d)   b: (1, V) or NULL */
struct value *op_token_cross_entropy(struct tape *tape, struct value *x, struct value *w, struct value *b,
                                     const struct loss_options *options, real *row_loss);

/* Σ (x_i − t_i)² / divisor (0: n), 1 × 1.   x: (n, 1)   targets: n   row_loss: (x_i − t_i)², n, or NULL */
struct value *op_squared_error(struct tape *tape, struct value *x, const real *targets, double divisor, real *row_loss);
/* For each sequence and column of x (n, C) the cross entropy of a softmax over the sequence's own rows (those that a
 * method inserted do not count) at the row that came from the batch's row places[s·C + c]; the mean over columns,
 * summed over sequences and divided (0: by their number): 1 × 1. sequence_loss: n_segments, or NULL. */
struct value *op_place_cross_entropy(struct tape *tape, struct value *x, const int32_t *places, double divisor,
                                     real *sequence_loss);

#endif
