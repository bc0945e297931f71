/* Frozen weights that stay as their file stores them, quantised or in half precision, and are expanded a few rows at a
 * time where they are used: training on 4-bit bases (Dettmers et al. 2023, arXiv:2305.14314, section 3, does the same
 * on a GPU).
 *
 * A packed weight's value has `packed` and no `data`. Only the operations below and those built on them know of it:
 * linear layers, token embeddings and the output embedding. Who needs all of a weight in float asks param_expand. */
#ifndef TRAINER_PACKED_H
#define TRAINER_PACKED_H

#include "trainer/tape.h"

enum { PACKED_PANEL = 256 << 10 }; /* elements expanded at once; a row must not be longer */

/* Whether a tensor can stay packed: a matrix that is not stored as `real`, of floats or blocks. */
struct tensor;
bool packed_is_possible(const struct tensor *tensor);

/* Rows [first, first + n) of a weight, packed or not, in float into out (n × cols). */
void weight_rows(const struct value *weight, int first, int n, real *out);

/* y = x op(w) + beta y, in float.   x: (rows, k)   op(w): (k, n), w itself or, with `transposes`, its transpose
 * y: (rows, n), dense. For a packed weight panel by panel, in the order of its rows: equal inputs give equal bits, but
 * not those of the same weight expanded. False (and the tape has failed) when the step's arena has no room for a
 * panel. */
bool weight_gemm(struct tape *tape, bool transposes, int rows, const real *x, const struct value *w, real beta,
                 real *y);
/* Makes room for the panel now, so that it outlives a mark of the step's arena that is taken next. */
bool weight_gemm_prepare(struct tape *tape, const struct value *w);

#endif
