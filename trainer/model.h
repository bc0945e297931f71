/* Models: a short file a family (models/<name>.c) and a row in model_kinds. */
#ifndef TRAINER_MODEL_H
#define TRAINER_MODEL_H

#include <cjson/cJSON.h>

#include "trainer/site.h"

/* What head a model gets: outputs a sequence; the next token; the tokens of a second sequence, given the first; a score
 * for a choice; outputs a token; both ends of an answer; masked tokens. What is learned with it is the task's (task.h).
 */
enum model_task {
    TASK_CLASSIFICATION,
    TASK_CAUSAL,
    TASK_SEQ2SEQ,
    TASK_CHOICE,
    TASK_TOKENS,
    TASK_SPAN,
    TASK_MASKED,
    MODEL_TASKS
};

/* A packed batch: the tokens of all sequences one behind the other. */
struct batch {
    struct layout layout;
    const int32_t *ids;      /* layout.n_rows token ids */
    const int32_t *type_ids; /* 0 or 1 each, or NULL: all 0 */
    /* classification: one a sequence. causal: one a row, the row's own token (the row before predicts it). seq2seq: one
     * a decoder row, what this row predicts. −100: does not count. NULL when not known. */
    const int32_t *labels;
    /* seq2seq: the decoder's input, as many segments as layout has. */
    struct layout decoder_layout;
    const int32_t *decoder_ids;
    int n_items;           /* of several sequences each (choices), one behind the other; else n_segments */
    const real *values;    /* regression: the number of each item */
    const int32_t *places; /* rows of the batch that are asked for: the gap of each sequence, both ends of its answer */
    const int32_t *words;  /* cloze: the token of each class, n_words of them */
    int n_words;
    const int32_t *tasks; /* of each sequence, where several are trained together (token_kinds); NULL: all 0 */
};

/* What tokens are told apart by, for methods that count them or go by the task. Bands of frequency: those of the most
 * frequent tokens that make a quarter of the training data, and so on; band 3 has the rarest. */
enum { TOKEN_BANDS = 4 };
struct token_kinds {
    int n_tasks; /* 0: the data does not name any */
    const char *const *tasks;
    const uint8_t *bands; /* of each id, or NULL */
};

struct model;

struct pass {
    struct tape *tape;
    struct model *model;
    const struct batch *batch;
    struct value *extra_loss; /* what methods add to the loss (1 × 1, already weighted), or NULL; see pass_add_loss */
    double extra_share;       /* of a group of a batch: what part of extra_loss it carries; 0: all */
    struct pass_value *kept;  /* what methods compute once a pass */
    struct kv_cache *cache;   /* generation: keys and values of the rows before these (kv_cache.h), or NULL */
    int prefix_end;           /* ends behind so many layers (frozen_prefix.h); 0: behind all */
};

struct pass_value {
    const void *key;
    struct value *value;
    struct pass_value *next;
};

struct model_options {
    enum model_task task;
    const char *pooling;               /* pooler, mean, first */
    int n_classes;                     /* of the head; 0: as many as the model's own head */
    bool use_model_head;               /* take the head's tensors from the model */
    double dropout, attention_dropout; /* < 0: the config's */
    bool keeps_packed;             /* matrices that are not stored as float32 stay as they are; see model_kind.packs */
    const struct params *original; /* of the model whose data this one shares, or NULL */
    uint64_t seed;                 /* of a new head: normal with the config's initializer_range, biases 0 */
};

/* What a family calls the parts of its head for masked tokens (task_head.h). */
struct masked_names {
    const char *dense, *norm, *output; /* modules */
    const char *bias;                  /* tensor: the decoder's when its weight is the token embedding */
    const char *activation;            /* key of config.json; NULL: gelu */
};

struct model_kind {
    const char *name;                /* bert */
    const char *const *model_types;  /* config.json's model_type: bert; roberta, xlm-roberta */
    const char *const *lora_targets; /* what LoRA goes to when the job does not say */
    const char *prefix;     /* first part of tensor names that folders saved without a head leave out: "bert." */
    bool packs;             /* its matrices are used by linear layers and token embeddings only: they can stay packed */
    bool is_seq2seq;        /* its language model has an encoder: TASK_SEQ2SEQ, not TASK_CAUSAL */
    bool runs_layers;       /* its layers go by pass_first_layer, pass_end_layer and pass_layer */
    const char *token_head; /* its linear layer over every token; NULL: not built in */
    const char *token_dropout,
        *span_dropout;                      /* keys of config.json: in front of that, of an answer's ends; NULL: none */
    const struct masked_names *masked_head; /* NULL: not built in */
    bool chooses;                           /* `classify` scores a choice with the head that transformers gives it */
    /* Reads the config, adds parameters and sites; every tensor's name, type and shape is checked. */
    int (*load)(struct model *model, const struct model_options *options, struct err *err);
    /* Logits (n_segments, n_classes) of a classification batch; NULL when not built in. */
    struct value *(*classify)(struct pass *pass);
    /* Encoders: hidden states of the last layer, (rows, hidden); the layout tells which rows a method inserted. NULL
     * for the others. */
    struct value *(*encode)(struct pass *pass);
    /* Language models: what goes into the output embedding, (rows, hidden), a row a token of the (decoder's) sequence;
     * its layout tells which rows a method inserted. NULL when not built in. See language_model.h. */
    struct value *(*decode)(struct pass *pass);
};

struct safetensors;
struct method_kind;
struct task_head;
struct frozen_prefix;

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
    enum model_task task;
    struct site *output_embedding; /* language models: the linear site "lm_head" (the token embedding's when tied) */
    struct site *output;           /* what goes into it: replaced by methods that changed the embedded tokens */
    struct task_head *head;        /* over tokens, or of masked ones (task_head.h); NULL: the family's own */
    int n_layers; /* encoder-decoders: the encoder's come first, the decoder's are numbered on behind them */
    int hidden_size, max_positions, vocab_size, n_classes;
    const char *pooling;
    double dropout, attention_dropout, classifier_dropout;
    double initializer_range;
    bool keeps_packed;            /* model_options.keeps_packed */
    struct frozen_prefix *prefix; /* of its lowest layers, or NULL: they are computed like all others */
    bool forgets_layers;  /* of a layer's values only the result stays; backward computes it again (tape_recompute) */
    bool carries_padding; /* sequences are padded to the longest of their batch, as a method's compatibility asks for */
    struct method_state *method_states;    /* what methods keep for the steps of training (trial arena) */
    const struct token_kinds *token_kinds; /* NULL: nothing is known */
    void *state;                           /* the family's own: layers and their sites (trial arena) */
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

/* The base tensor `name`, found in the weights under its own name, without the family's prefix, or with the old
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
/* The same with a choice: stored (in, out), without a bias. */
struct linear_shape {
    int in, out;
    bool is_transposed, has_bias;
};
int model_linear_site(struct model *model, struct site **site, const char *role, int layer, struct linear_shape shape,
                      const char *name, struct err *err) MUST_CHECK;
/* A layer norm's tensors <name>.weight and, when `bias` is not NULL, <name>.bias. */
int model_norm(struct model *model, struct param **weight, struct param **bias, int layer, int width, const char *name,
               struct err *err) MUST_CHECK;
/* Sets output_embedding and output: a linear site "lm_head" whose weight is `tied` (the token embedding) or, when that
 * is NULL, the tensor lm_head.weight. */
int model_output_embedding(struct model *model, struct param *tied, struct err *err) MUST_CHECK;
/* Members of config.json with a range; a missing one takes `fallback` (an int fallback of −1: it must be there). */
int model_config_int(const struct model *model, const char *key, int fallback, int *out, struct err *err) MUST_CHECK;
int model_config_real(const struct model *model, const char *key, double fallback, double *out,
                      struct err *err) MUST_CHECK;
int model_config_bool(const struct model *model, const char *key, bool fallback, bool *out, struct err *err) MUST_CHECK;
/* An activation by its name; ERR_UNSUPPORTED lists those built in. */
int model_config_activation(const struct model *model, const char *key, const char *fallback, enum activation *out,
                            struct err *err) MUST_CHECK;
/* Adds a site of the model's width; NULL when memory is used up. */
struct site *model_add_site(struct model *model, enum site_kind kind, const char *role, int layer,
                            const char *name_format, ...) __attribute__((format(printf, 5, 6)));
/* The first site of that name, or NULL. */
struct site *model_find_site(const struct model *model, const char *name);
/* For methods: adds a weighted loss of 1 × 1 to the pass's. */
void pass_add_loss(struct pass *pass, struct value *loss);
/* For methods: a value of this pass under a key (an address of theirs), and that again, NULL when there is none. */
void pass_keep(struct pass *pass, const void *key, struct value *value);
struct value *pass_kept(const struct pass *pass, const void *key);
/* The layers that a pass computes: those behind the frozen prefix, or the prefix's own. The first is above 0 when the
 * pass begins with frozen_prefix_value. */
int pass_first_layer(const struct pass *pass);
int pass_end_layer(const struct pass *pass);
/* Runs layer `index` on x: at once, or as a part that is computed again when the model forgets its layers. `forward`
 * must read nothing of other layers but what the pass had before the first. */
typedef struct value *(*pass_layer_fn)(struct pass *pass, int index, struct value *x, const void *context);
struct value *pass_layer(struct pass *pass, pass_layer_fn forward, int index, struct value *x, const void *context);
/* The family of a model folder. ERR_UNSUPPORTED for one that is not built in. */
int model_find_kind(const char *folder, const struct model_kind **kind, struct err *err) MUST_CHECK;
/* What its language model does: TASK_CAUSAL or TASK_SEQ2SEQ; ERR_UNSUPPORTED when it has none. */
int model_language_task(const char *folder, enum model_task *task, struct err *err) MUST_CHECK;
/* The number of classes of the head the model folder itself carries (0: none), without loading it. */
int model_head_classes(const char *folder, int *n_classes, struct err *err) MUST_CHECK;
/* Forward FLOPs of one sequence of n tokens: 2·in·out a token in each linear + 4·n·hidden a token and layer in
 * attention (methods.md C5), without the methods' own. */
double model_forward_flops(const struct model *model, int n_tokens);

#endif
