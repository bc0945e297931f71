/* Models: a short file a family (models/<name>.c) and a row in model_kinds. */
#ifndef TRAINER_MODEL_H
#define TRAINER_MODEL_H

#include <cjson/cJSON.h>

#include "trainer/site.h"

/* A packed batch: the tokens of all sequences one behind the other. */
struct batch {
    struct layout layout;
    const int32_t *ids;      /* layout.n_rows token ids */
    const int32_t *type_ids; /* 0 or 1 each, or NULL: all 0 */
    const int32_t *labels;   /* classification: one a sequence; NULL when not known */
};

struct model;

struct pass {
    struct tape *tape;
    struct model *model;
    const struct batch *batch;
    struct value *extra_loss; /* what methods add to the loss (1 × 1, already weighted), or NULL; see pass_add_loss */
};

struct model_options {
    const char *pooling;               /* pooler, mean, first */
    int n_classes;                     /* of the head; 0: as many as the model's own head */
    bool use_model_head;               /* take the head's tensors from the model */
    double dropout, attention_dropout; /* < 0: the config's */
    uint64_t seed;                     /* of a new head: normal with the config's initializer_range, biases 0 */
};

struct model_kind {
    const char *name;                /* bert */
    const char *const *model_types;  /* config.json's model_type: bert; roberta, xlm-roberta */
    const char *const *lora_targets; /* what LoRA goes to when the job does not say */
    /* Reads the config, adds parameters and sites; every tensor's name, type and shape is checked. */
    int (*load)(struct model *model, const struct model_options *options, struct err *err);
    /* Logits (n_segments, n_classes) of a classification batch. */
    struct value *(*classify)(struct pass *pass);
};

struct safetensors;
struct method_kind;

/* What an attached method keeps; see method_keep. */
struct method_state {
    const struct method_kind *kind;
    void *state;
    struct method_state *next;
};

struct model {
    const struct model_kind *kind;
    const char *folder;
    cJSON *config;
    struct safetensors *weights; /* mapped; frozen parameters point into it */
    struct params params;        /* in the trial arena */
    struct site **sites;
    size_t n_sites, sites_capacity;
    int n_layers, hidden_size, max_positions, vocab_size, n_classes;
    const char *pooling;
    double dropout, attention_dropout, classifier_dropout;
    double initializer_range;
    struct method_state *method_states; /* what methods keep for the steps of training (trial arena) */
    void *state;                        /* the family's own: layers and their sites (trial arena) */
};

extern const struct model_kind *const model_kinds[]; /* NULL-terminated */

/* Opens a Hugging Face model folder (config.json, model.safetensors or an index of shards). ERR_UNSUPPORTED for an
 * unknown architecture (lists those known) and for pickle weights (says how to convert); ERR_NOT_FOUND for a missing
 * file. */
int model_open(struct model *model, const char *folder, const struct model_options *options, struct arena *trial,
               struct err *err) MUST_CHECK;
void model_close(struct model *model);
/* For model files ----------------------------------------------------------------------------------------------------
 */

/* The base tensor `name`, found in the weights under its own name, without its first part ("bert."), or with the old
 * gamma and beta for layer norms; mapped where type and alignment allow. ERR_FORMAT when the shape differs,
 * ERR_NOT_FOUND when it is missing. */
int model_tensor(struct model *model, struct param **param, int layer, int n_dims, const int64_t *shape,
                 const char *name, struct err *err) MUST_CHECK;
/* A tensor of the head: the model's own (use_model_head) or a new one, normal(0, initializer_range) drawn from
 * (seed, RNG_INIT, name), vectors 0. */
int model_head_tensor(struct model *model, struct param **param, const struct model_options *options, int n_dims,
                      const int64_t *shape, const char *name, struct err *err) MUST_CHECK;
/* A linear site with its weight (out, in) and bias tensors. */
int model_linear(struct model *model, struct site **site, const char *role, int layer, int in, int out,
                 const char *name, struct err *err) MUST_CHECK;
/* Members of config.json with a range; a missing one takes `fallback` (an int fallback of −1: it must be there). */
int model_config_int(const struct model *model, const char *key, int fallback, int *out, struct err *err) MUST_CHECK;
int model_config_real(const struct model *model, const char *key, double fallback, double *out,
                      struct err *err) MUST_CHECK;
/* Adds a site; NULL when memory is used up. */
struct site *model_add_site(struct model *model, enum site_kind kind, const char *role, int layer,
                            const char *name_format, ...) __attribute__((format(printf, 5, 6)));
/* The first site of that name, or NULL. */
struct site *model_find_site(const struct model *model, const char *name);
/* For methods: adds a weighted loss of 1 × 1 to the pass's. */
void pass_add_loss(struct pass *pass, struct value *loss);
/* The number of classes of the head the model folder itself carries (0: none), without loading it. */
int model_head_classes(const char *folder, int *n_classes, struct err *err) MUST_CHECK;
/* Forward FLOPs of one sequence of n tokens: 2·in·out a token in each linear + 4·n·hidden a token and layer in
 * attention (methods.md C5), without the methods' own. */
double model_forward_flops(const struct model *model, int n_tokens);

#endif
