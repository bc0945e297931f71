/* Bottleneck adapters: a(x) = g · dropout(s (W_up f(W_down x + b_down) + b_up)).
 *
 * houlsby: after attention and after the feed-forward, h' = h + a(h).       Houlsby et al. 2019, arXiv:1902.00751, 2.1
 * pfeiffer: after the feed-forward, on the layer norm of the sum, h' = h + a(LN(h + z)).
 *                                                                           Pfeiffer et al. 2021, arXiv:2005.00247, 3
 * sequential: after the feed-forward, h' = h + a(h).
 * parallel: beside the feed-forward, h' = h + a(z), s = 4.                  He et al. 2022, arXiv:2110.04366, 3.3
 *
 * With a phm_dim n the weights are sums of n Kronecker products whose left factors all adapters share (Compacter).
 *                                                                           Karimi Mahabadi et al. 2021, 2106.04647 */
#ifndef TRAINER_METHODS_ADAPTER_H
#define TRAINER_METHODS_ADAPTER_H

#include "trainer/methods/gate.h"

enum placement { PLACEMENT_HOULSBY, PLACEMENT_PFEIFFER, PLACEMENT_PARALLEL, PLACEMENT_SEQUENTIAL };

/* What an adapter is, wherever it stands. */
struct adapter_spec {
    const char *method; /* whose parameters they are */
    const char *name;   /* of the adapter, in the tensors' names */
    enum placement placement;
    int size;
    const char *activation; /* our name */
    bool norm_before, norm_after, is_gated, is_frozen;
    const char *scaling; /* learned, channel; NULL: fixed */
    double fixed_scaling, dropout;
    int phm_dim, phm_rank;    /* 0: plain weights */
    double inverse_reduction; /* of the invertible adapter behind the embeddings; 0: none */
    const int *leave_out;     /* layers; NULL: those of the settings */
    int n_leave_out;
};

/* A weight: plain, or of factors. */
struct adapter_weight {
    struct param *weight, *left, *right, *bias;
};

struct adapter {
    const struct adapter_spec *spec;
    struct site *site;
    struct adapter_weight down, up;
    struct param *rule;                                                          /* of the factors */
    struct param *norm_before, *norm_before_bias, *norm_after, *norm_after_bias; /* NULL: none */
    struct param *scaling;                                                       /* learned: (1) or (1, d); else NULL */
    struct gate gate;
    uint32_t dropout_site;
    struct adapter *next; /* in the order of sites */
};

void adapter_spec_of_settings(const cJSON *settings, const char *method, struct adapter_spec *spec);
/* The spec of a saved adapter, frozen. ERR_UNSUPPORTED for options that are not built in. */
int adapter_spec_of_folder(struct model *model, const char *folder, int index, struct adapter_spec *spec,
                           struct err *err) MUST_CHECK;
/* Adds the adapters' tensors at every site the spec goes to; no hooks yet. ERR_UNSUPPORTED when a size does not fit. */
int adapter_add(struct model *model, const struct adapter_spec *spec, const cJSON *settings, uint64_t seed,
                struct adapter **list, struct err *err) MUST_CHECK;
/* A saved adapter, with its tensors, frozen; the spec in the trial arena. */
int adapter_add_folder(struct model *model, const char *folder, int index, const cJSON *settings, struct adapter **list,
                       struct err *err) MUST_CHECK;
int adapter_hook(struct model *model, struct adapter *list, struct err *err) MUST_CHECK;
/* What an adapter reads at its site, and s (W_up f(W_down x + b_down) + b_up) of it. */
struct value *adapter_input(const struct adapter *adapter, struct pass *pass, struct value *h, struct value *z);
struct value *adapter_up(const struct adapter *adapter, struct pass *pass, struct value *x);
/* AdapterHub's configuration of the settings' adapter, appended. */
void adapter_add_config(struct text *json, const struct model *model, const struct adapter_spec *spec,
                        const cJSON *settings);

/* The invertible adapter of a spec: its tensors and hooks behind the embeddings and, inverted, in front of a language
 * model's output.   Pfeiffer et al. 2020, arXiv:2005.00052, 3.2.3 */
int invertible_add(struct model *model, const struct adapter_spec *spec, uint64_t seed, struct err *err) MUST_CHECK;

#endif
