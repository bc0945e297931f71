/* Reading and writing what methods trained. */
#ifndef TRAINER_METHODS_METHOD_FILE_H
#define TRAINER_METHODS_METHOD_FILE_H

#include "common/text.h"
#include "trainer/method.h"

/* Which parameters go into a file: those trained by `method` (NULL: the head). */
int method_file_write(const struct model *model, const char *method, const char *key_prefix, bool with_head,
                      const char *path, struct err *err) MUST_CHECK;
/* The same with a key prefix that depends on the parameter. */
int method_file_write_as(const struct model *model, const char *method, const char *(*prefix_of)(const struct param *),
                         bool with_head, const char *path, struct err *err) MUST_CHECK;
/* Reads every tensor of the file into the parameter of its name: keys without "base_model.model.", "base_layer." and
 * "modules_to_save.", with adapters and LoRA pairs under any name of theirs. ERR_FORMAT for a tensor that is no
 * parameter or has another shape; ERR_NOT_FOUND when one trained by `method` is missing (NULL: none has to be there).
 */
int method_file_read(struct model *model, const char *method, const char *path, struct err *err) MUST_CHECK;
/* Our parameter's name for a key in such a file, written into out. */
void method_file_name(const char *key, char *out, size_t size);
/* Writes JSON text (taken: freed in any case) as folder/name. */
int method_file_write_text(const char *folder, const char *name, struct text *json, struct err *err) MUST_CHECK;

/* Parameters ------------------------------------------------------------------------------------------------------- */

/* Adds a parameter of `method`, trained unless `is_frozen` (a frozen one is saved with the method all the same),
 * zeroed. ERR_UNSUPPORTED when another method has a tensor of that name. */
struct method_param {
    const char *method;
    int layer;
    int rows, cols; /* rows 0: a vector */
    bool is_frozen;
};
int method_add(struct model *model, struct param **param, struct method_param what, struct err *err,
               const char *name_format, ...) MUST_CHECK __attribute__((format(printf, 5, 6)));
/* The same with any shape. */
int method_add_shape(struct model *model, struct param **param, const char *method, int layer, int n_dims,
                     const int64_t *shape, const char *name, struct err *err) MUST_CHECK;
/* Initial values, drawn from (seed, RNG_INIT, the parameter's name): normal(0, deviation); uniform in ±bound. */
void method_init_normal(struct param *param, uint64_t seed, double deviation);
void method_init_uniform(struct param *param, uint64_t seed, double bound);
void method_init_fill(struct param *param, double value);
/* As PyTorch starts a linear layer: weight and bias uniform in ±1/√in. */
void method_init_linear(struct param *weight, struct param *bias, uint64_t seed);

/* What a method keeps for its `step` and `loaded` (trial arena), and that again. */
int method_keep(struct model *model, const struct method_kind *kind, void *state, struct err *err) MUST_CHECK;
void *method_kept(const struct model *model, const struct method_kind *kind);

/* PEFT's name of the model's task: SEQ_CLS, CAUSAL_LM, SEQ_2_SEQ_LM. */
const char *method_task_type(const struct model *model);
/* The first part of the model's tensor names ("bert"), written into out. */
void method_prefix(const struct model *model, char *out, size_t size);

/* Settings in short: text, number, flag; `fallback` when absent. */
const char *setting_text(const cJSON *settings, const char *name, const char *fallback);
double setting_number(const cJSON *settings, const char *name, double fallback);
bool setting_flag(const cJSON *settings, const char *name);
/* Whether the layer is in the settings' `layers` (all when absent), and, with top layers trained whole beside this
 * method, below those. */
bool setting_has_layer(const struct model *model, const cJSON *settings, int layer);
/* Whether a site's name ends with one of the names in a setting (a text or a list), or its role is one; `fallback`
 * (NULL-terminated) when absent. */
bool setting_has_target(const struct site *site, const cJSON *targets, const char *const *fallback);

#endif
