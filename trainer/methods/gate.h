/* Gates of UniPELT: one number in (0, 1) a sequence (or a token, in language models) that scales a method's part.
 *     g = mean over positions of σ(w x + b)                      Mao et al. 2022, arXiv:2110.07577, 3.2
 *
 * "masked": the mean over a sequence's own tokens, in causal models over those up to the token itself, so that no gate
 * sees the future. "adapterhub": as AdapterHub computes it, over all positions of the padded batch. */
#ifndef TRAINER_METHODS_GATE_H
#define TRAINER_METHODS_GATE_H

#include "trainer/methods/method_file.h"

struct gate {
    struct param *weight, *bias; /* (heads, d), (heads); NULL: no gate */
    bool is_causal;
};

/* Whether the settings ask for gates. */
bool gate_is_wanted(const cJSON *settings);
/* Adds <name>.weight and <name>.bias for `heads` gates on what a site of this model reads. */
int gate_add(struct model *model, struct gate *gate, const char *method, const struct site *site, int heads,
             const cJSON *settings, uint64_t seed, const char *name, struct err *err) MUST_CHECK;
/* g for every row of x: (n, heads). */
struct value *gate_values(const struct gate *gate, struct pass *pass, struct value *x);

#endif
