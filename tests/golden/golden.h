/* Golden cases: small training runs whose every number is known (cases/FORMAT.md). */
#ifndef TESTS_GOLDEN_GOLDEN_H
#define TESTS_GOLDEN_GOLDEN_H

#include <cjson/cJSON.h>

#include "common/arena.h"
#include "common/text.h"
#include "trainer/method.h"
#include "trainer/safetensors.h"

/* Our settings for a case (owned by the caller). ERR_UNSUPPORTED when the method or model is not built in. */
int golden_settings(const cJSON *spec, const char *folder, cJSON **settings, struct err *err) MUST_CHECK;
/* The settings of an AdapterHub case; `config` is the model's. */
int golden_adapters(cJSON *settings, const cJSON *spec, const char *folder, const cJSON *config,
                    struct err *err) MUST_CHECK;
/* Members of a case's configuration; "" and `fallback` when absent; a copy under our name unless absent or null. */
const char *golden_text_of(const cJSON *object, const char *key);
double golden_number_of(const cJSON *object, const char *key, double fallback);
void golden_copy_as(cJSON *to, const char *name, const cJSON *from, const char *key);
/* ERR_UNSUPPORTED: "what 'name' is not built in". */
int golden_unsupported(const char *what, const char *name, struct err *err);
/* Every key of a configuration must be one of the space-separated ones (or null): with more it is another method. */
int golden_check_keys(const cJSON *config, const char *known, struct err *err) MUST_CHECK;
/* Trains the case in `folder` and writes out/result.json and out/adapter.safetensors. */
int golden_train(const cJSON *spec, const cJSON *settings, const char *folder, const char *out,
                 struct err *err) MUST_CHECK;
/* The tensors a case hands back, under the keys of its files. */
struct golden_outputs;
/* Reads the case's start values into the model (with methods attached) and lists what it hands back (trial arena).
 * ERR_NUMERIC when other tensors are trained than the case trains. */
int golden_start(struct model *model, const cJSON *spec, const cJSON *settings, const char *folder,
                 struct golden_outputs **outputs, struct err *err) MUST_CHECK;
/* Saves the methods' files as out/adapter/ and what the case hands back as out/adapter.safetensors. */
int golden_finish(struct model *model, const cJSON *settings, const struct golden_outputs *outputs, const char *out,
                  struct err *err) MUST_CHECK;
/* Compares both with the case's expected.json and expected_adapter/ within the tolerances of FORMAT.md.
 * ERR_NUMERIC with the first difference. */
int golden_check(const char *folder, const char *out, struct err *err) MUST_CHECK;

/* The first of the patterns that the name matches, in *found, or NULL. A list holds regular expressions to search for
 * anywhere; an object's keys are PEFT's, which match a module's path or its end behind a dot, the first one wins. */
int golden_match(const cJSON *patterns, const char *name, const cJSON **found, struct err *err) MUST_CHECK;
/* Weight decay (no_decay) and learning rates (lr_groups) of a case's optimiser. */
int golden_groups(struct params *params, const cJSON *optim, struct err *err) MUST_CHECK;

#endif
