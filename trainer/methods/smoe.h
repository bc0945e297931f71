/* A stratified mixture of experts at one place of a model: which experts a token meets, and what was counted there. */
#ifndef TRAINER_METHODS_SMOE_H
#define TRAINER_METHODS_SMOE_H

#include "trainer/methods/method_file.h"

enum { SMOE_MAX_STRATA = 16, SMOE_MAX_TOP = 2 };

/* y = W₂ f(W₁ x + b₁) + b₂; the biases may be NULL. */
struct expert {
    struct param *first, *first_bias, *second, *second_bias;
};

/* Sums of whole numbers, so that no order of batches changes them. */
struct token_count {
    int64_t tokens, passes; /* tokens that came in, and gates they went through */
};

struct mixture_counts {
    struct token_count all, bands[TOKEN_BANDS], *tasks; /* tasks: of model.token_kinds, or NULL */
    int64_t *experts;                                   /* tokens each was chosen for */
    int64_t choices, overflowed; /* of those that a gate made, and that an expert had no room for */
    int64_t flops;               /* of gates and experts, forward */
    int64_t entropy;             /* of the gates, summed over passes, in 2^-32 nats */
    double balance;              /* sum of the loss over calls (training alone: one lane) */
    int64_t calls;
};

struct mixture {
    int n_strata, sizes[SMOE_MAX_STRATA], firsts[SMOE_MAX_STRATA]; /* experts of a stratum: [first, first + size) */
    int n_experts, width, inner, layer, top;
    struct expert *experts;
    struct param *norm[SMOE_MAX_STRATA], *norm_bias[SMOE_MAX_STRATA]; /* [0] may be NULL: the caller normalises */
    struct param *gate[SMOE_MAX_STRATA];                              /* over the experts of its stratum and above */
    bool has_activation, normalises_by_expert, is_decoder;
    enum activation activation;
    double scaling;                    /* of an expert's result */
    double capacity, masking, dropout; /* dropout: of what a pass gives, as the model has it behind feed-forwards */
    double balance_weight;
    uint32_t site;
    struct mixture_counts counts;
};

/* What the experts add to x (n, width), in passes: every token begins at gate 1; after a pass through gate i it goes on
 * to the gate behind the stratum that its best expert lies in, and ends behind the last stratum.
 *     h = LN_i(x);  p = softmax(G_i h);  x ← x + Σ_{k in top} g_k E_k(h)
 * g = p for one expert; for two p_k over the sum of those that had room. `normalises_by_expert`: E_k reads LN_s(x) of
 * its own stratum s. An expert takes capacity · ⌈n/E⌉ tokens of a pass in training (0: all), first choices first.
 * `first`: LN_1(x) when the caller has it, else NULL. Adds the balance loss E Σ_e mean(p_e) mean(e is best), averaged
 * over passes and weighted, to the pass in training. */
struct value *mixture_update(struct mixture *mixture, struct pass *pass, struct value *x, struct value *first);

#endif
