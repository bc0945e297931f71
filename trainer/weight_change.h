/* How far training moved the weights: ΔW of a linear site as the site computes now, whatever methods are attached. */
#ifndef TRAINER_WEIGHT_CHANGE_H
#define TRAINER_WEIGHT_CHANGE_H

#include "trainer/model.h"

struct weight_change {
    double squared_change, squared_weight; /* ‖ΔW‖²_F, ‖W‖²_F */
    double effective_rank;                 /* NaN without a change, or where it was not asked for */
    bool is_affine; /* false: a method makes the site's result depend on its input in another way than y = x W'ᵀ + b';
                     * there is no ΔW, and the numbers are NaN */
};

/* exp(−Σ p_i ln p_i), p_i = σ_i/Σσ, of n singular values >= 0: 1 for one direction, n for n equal ones. NaN when all
 * are 0.   Roy & Vetterli 2007, The effective rank */
double effective_rank(const double *singular_values, int n);

/* ΔW = W' − W of `site`, where W' is what the site does to the unit vectors and W (as stored, like the site's) the
 * weight as it was. Methods that add to the result (LoRA) give ΔW to the precision of ΔW itself; others (DoRA, IA3) to
 * that of W. Memory of `arena` is used and given back. ERR_NOMEM, ERR_NUMERIC. */
int weight_change_site(struct model *model, struct site *site, const real *original, bool wants_rank,
                       struct arena *arena, struct weight_change *change, struct err *err) MUST_CHECK;
/* The same of a table of token embeddings (site of kind SITE_EMBEDDING), without a rank. */
int weight_change_embedding(struct model *model, struct site *site, const real *original, struct weight_change *change,
                            struct err *err) MUST_CHECK;
/* What a linear site computes now as a plain layer: W' stored like the site's weight, and b' (out). *is_affine false:
 * there is none. Memory of `arena` is used and given back. ERR_NOMEM, ERR_NUMERIC. */
int weight_folded(struct model *model, struct site *site, real *weight, real *bias, bool *is_affine,
                  struct arena *arena, struct err *err) MUST_CHECK;
/* Rows first … first + n − 1 of the table that an embedding site computes now. ERR_NOMEM, ERR_NUMERIC. */
int weight_folded_rows(struct model *model, struct site *site, int first, int n, real *rows,
                       struct err *err) MUST_CHECK;

#endif
