/* Golden cases: small training runs whose every number is known (cases/FORMAT.md). */
#ifndef TESTS_GOLDEN_GOLDEN_H
#define TESTS_GOLDEN_GOLDEN_H

#include <cjson/cJSON.h>

#include "common/arena.h"
#include "common/text.h"

/* Our settings for a case (owned by the caller). ERR_UNSUPPORTED when the method or model is not built in. */
int golden_settings(const cJSON *spec, const char *folder, cJSON **settings, struct err *err) MUST_CHECK;
/* Trains the case in `folder` and writes out/result.json and out/adapter.safetensors. */
int golden_train(const cJSON *spec, const cJSON *settings, const char *folder, const char *out,
                 struct err *err) MUST_CHECK;
/* Compares both with the case's expected.json and expected_adapter/ within the tolerances of FORMAT.md.
 * ERR_NUMERIC with the first difference. */
int golden_check(const char *folder, const char *out, struct err *err) MUST_CHECK;

#endif
