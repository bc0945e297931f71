/* Orthogonal Procrustes between spaces of different width (Schönemann 1966; as He et al. 2022, arXiv:2210.08742, use it
 * for embeddings of two models), by LAPACK's gesdd. */
#ifndef TRAINER_PROCRUSTES_H
#define TRAINER_PROCRUSTES_H

#include "common/err.h"
#include "trainer/real.h"

/* The map with orthonormal rows or columns that takes the rows of a nearest to those of b: w = U Vᵀ of bᵀ a = U Σ Vᵀ,
 * which has the least ‖a wᵀ − b‖ among them where width_a <= width_b.   a: (n, width_a)   b: (n, width_b)
 * w: (width_b, width_a)   A row x of a's space becomes x wᵀ. ERR_NOMEM, ERR_NUMERIC. */
int procrustes(const real *a, int width_a, const real *b, int width_b, int n, real *w, struct err *err) MUST_CHECK;

#endif
