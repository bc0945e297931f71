/* Methods: a short file a method (methods/<name>.c) and a row in method_kinds. */
#ifndef TRAINER_METHOD_H
#define TRAINER_METHOD_H

#include <cjson/cJSON.h>

#include "trainer/model.h"

/* Takes a value that a method measured, under its name below the split ("capacity"). */
typedef void (*method_measure_fn)(void *context, const char *name, double value);

struct method_kind {
    const char *name; /* as in the settings table */
    const char *paper;
    /* Its backward pass takes something that moves as a constant, by design (DoRA's norm): finite differences of the
     * loss say nothing about it. */
    bool detaches;
    /* What it adds to the loss is a statistic of the whole batch: such batches are not cut into groups. */
    bool looks_at_batch;
    /* A layer's hooks keep values for other layers, or add to the loss: no layer can be computed again by itself. */
    bool spans_layers;
    /* Marks base parameters trained, adds its own, hooks into sites. `settings` is the job's resolved settings; new
     * tensors are drawn from (seed, RNG_INIT, tensor name). ERR_UNSUPPORTED when it would train nothing on this model
     * or does not fit it, with the reason. */
    int (*attach)(struct model *model, const cJSON *settings, uint64_t seed, struct err *err);
    /* After the starting values of its tensors were replaced (by a saved adapter), or NULL. */
    int (*loaded)(struct model *model, const cJSON *settings, struct err *err);
    /* After optimiser step `step` (from 1) of `total`, with values and gradients as they are then, or NULL. */
    int (*step)(struct model *model, const cJSON *settings, int64_t step, int64_t total, struct err *err);
    /* What it counted in the passes since it was last asked, in all of the models (lanes) together, for the store; the
     * counts start anew. `is_detailed`: layer by layer and by kinds of tokens too. NULL: it counts nothing. */
    void (*measure)(struct model *const *models, int n_models, bool is_detailed, method_measure_fn add, void *context);
    /* Writes what it trained into `folder` in the ecosystem's format (Hugging Face PEFT for LoRA, AdapterHub for
     * adapters, a safetensors file of the changed base tensors for the others); NULL: the default, the changed base
     * tensors. */
    int (*save)(const struct model *model, const cJSON *settings, const char *folder, struct err *err);
    /* Reads what `save`, PEFT or AdapterHub wrote into the attached tensors; names, shapes and types checked. */
    int (*load)(struct model *model, const cJSON *settings, const char *folder, struct err *err);
};

extern const struct method_kind *const method_kinds[]; /* NULL-terminated */
extern const struct method_kind method_full, method_partial, method_linear_probe, method_bitfit, method_layer_norm,
    method_lora, method_dora, method_vera, method_adalora, method_ia3, method_pissa, method_hyper_lora,
    method_hyper_adapter, method_smoe, method_adapter, method_compacter, method_fusion, method_prompt, method_p_tuning,
    method_prefix_tuning;

const struct method_kind *method_find(const char *name); /* NULL when unknown */
/* Attaches the settings' method or methods in list order; the head is trained with all of them. */
int methods_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err) MUST_CHECK;
/* Whether one of the settings' methods looks at the whole batch. */
/* Whether the model or its methods look at whole sequences, so that keys and values of rows cannot be kept
 * (kv_cache.h).
 */
bool methods_look_at_sequences(const struct model *model, const cJSON *settings);
bool methods_look_at_batch(const cJSON *settings);
/* The first of the settings' methods that spans layers, or NULL. */
const char *methods_spanning_layers(const cJSON *settings);
/* Tells all attached methods that their starting values were replaced; that a step was taken. */
int methods_loaded(struct model *model, const cJSON *settings, struct err *err) MUST_CHECK;
int methods_step(struct model *model, const cJSON *settings, int64_t step, int64_t total, struct err *err) MUST_CHECK;
/* Asks those of the attached methods that count something; whether there are any. */
void methods_measure(const cJSON *settings, struct model *const *models, int n_models, bool is_detailed,
                     method_measure_fn add, void *context);
bool methods_count(const cJSON *settings);
/* Saves adapter, head and labels (label names in order of their class) into `folder` (made if missing). */
int methods_save(const struct model *model, const cJSON *settings, const char *const *labels, const char *folder,
                 struct err *err) MUST_CHECK;
/* Reads such a folder, or one of the ecosystem's without nightsweep.json, into the attached tensors and the head.
 * ERR_FORMAT when it was trained for other labels or with other method settings: they decide what its tensors mean. */
int methods_load(struct model *model, const cJSON *settings, const char *const *labels, const char *folder,
                 struct err *err) MUST_CHECK;

#endif
