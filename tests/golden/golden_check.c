/* Compares a case's results with what they must be. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "tests/golden/golden.h"
#include "trainer/safetensors.h"

static double noise_of(const cJSON *expected, const char *name)
{
    const cJSON *item = json_get(json_get(expected, "noise"), name);
    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

/* |found − expected| ≤ max(relative · |expected|, 10 · noise): noise is what a float32 run of the reference shows. */
static int check_list(const cJSON *result, const cJSON *expected, const char *name, double relative, struct err *err)
{
    const cJSON *found = json_get(result, name)->child, *truth = json_get(expected, name)->child;
    double noise = 10 * noise_of(expected, name);
    for (int step = 0; truth; step++, found = found->next, truth = truth->next) {
        if (!found)
            return err_set(err, ERR_NUMERIC, "%s ends at step %d", name, step);
        double difference = fabs(found->valuedouble - truth->valuedouble);
        if (!(difference <= fmax(relative * fabs(truth->valuedouble), noise)))
            return err_set(err, ERR_NUMERIC, "%s at step %d: %.9g, %.9g was expected (difference %.2g)", name, step,
                           found->valuedouble, truth->valuedouble, difference);
    }
    return 0;
}

static int check_logits(const cJSON *result, const cJSON *expected, const char *name, struct err *err)
{
    const cJSON *found = json_get(json_get(result, name), "logits")->child;
    const cJSON *truth = json_get(json_get(expected, name), "logits")->child;
    for (int row = 0; truth; row++, found = found->next, truth = truth->next) {
        const cJSON *a = found ? found->child : NULL;
        for (const cJSON *b = truth->child; b; b = b->next, a = a->next) {
            double difference = a ? fabs(a->valuedouble - b->valuedouble) : INFINITY;
            if (!(difference <= 2e-5 + 2e-5 * fabs(b->valuedouble)))
                return err_set(err, ERR_NUMERIC, "%s: a logit of row %d is off by %.2g", name, row, difference);
        }
    }
    return 0;
}

/* Weights that AdamW makes out of rounding noise may be anywhere within the sum of learning rates. */
static double weight_tolerance(const cJSON *expected, const char *name)
{
    double total = 0;
    const cJSON *unstable = json_get(json_get(expected, "noise"), "unstable_weights");
    for (const cJSON *item = unstable ? unstable->child : NULL; item; item = item->next) {
        if (!strstr(name, item->string))
            continue;
        for (const cJSON *rate = json_get(expected, "lr")->child; rate; rate = rate->next)
            total += rate->valuedouble;
        return total;
    }
    return 5e-5;
}

static int check_tensor(const struct tensor *truth, const struct safetensors *results, const cJSON *expected,
                        struct err *err)
{
    const struct tensor *found = safetensors_find(results, truth->name);
    if (!found || found->n != truth->n)
        return err_set(err, ERR_NUMERIC, "tensor '%s' is missing or has another shape", truth->name);
    real *a = malloc(2 * truth->n * sizeof(real) + 1), *b = a + truth->n;
    int rc = a ? safetensors_read(found, a, err) : err_set(err, ERR_NOMEM, "no memory");
    if (rc == 0)
        rc = safetensors_read(truth, b, err);
    double tolerance = weight_tolerance(expected, truth->name);
    for (size_t i = 0; rc == 0 && i < truth->n; i++)
        if (!(fabs((double)(a[i] - b[i])) <= tolerance))
            rc = err_set(err, ERR_NUMERIC, "tensor '%s' element %zu: %.9g, %.9g was expected", truth->name, i,
                         (double)a[i], (double)b[i]);
    free(a);
    return rc;
}

static int check_tensors(const char *folder, const struct safetensors *results, const cJSON *expected, struct err *err)
{
    static const char *const names[] = {
        "adapter_model.safetensors", "adapter.safetensors",   "prompt_encoder.safetensors",
        "extra.safetensors",         "head.safetensors",      "trainable.safetensors",
        "a/adapter.safetensors",     "b/adapter.safetensors", "fusion/adapter_fusion.safetensors"};
    int rc = 0, n_files = 0;
    for (size_t k = 0; k < sizeof(names) / sizeof(names[0]) && rc == 0; k++) {
        char path[4096];
        struct safetensors *truth = NULL;
        snprintf(path, sizeof(path), "%s/expected_adapter/%s", folder, names[k]);
        if (!file_exists(path))
            continue;
        n_files++;
        rc = safetensors_open(&truth, path, err);
        for (size_t i = 0; rc == 0 && i < safetensors_count(truth); i++)
            rc = check_tensor(safetensors_at(truth, i), results, expected, err);
        safetensors_close(truth);
    }
    return rc == 0 && n_files == 0 ? err_set(err, ERR_FORMAT, "expected_adapter is empty") : rc;
}

int golden_check(const char *folder, const char *out, struct err *err)
{
    cJSON *result = NULL, *expected = NULL;
    struct safetensors *tensors = NULL;
    char path[4096];
    snprintf(path, sizeof(path), "%s/result.json", out);
    int rc = json_read_file(path, &result, err);
    snprintf(path, sizeof(path), "%s/expected.json", folder);
    if (rc == 0)
        rc = json_read_file(path, &expected, err);
    snprintf(path, sizeof(path), "%s/adapter.safetensors", out);
    if (rc == 0)
        rc = safetensors_open(&tensors, path, err);
    if (rc == 0)
        rc = check_logits(result, expected, "eval_init", err);
    if (rc == 0)
        rc = check_list(result, expected, "lr", 1e-9, err);
    if (rc == 0)
        rc = check_list(result, expected, "loss", 2e-6, err);
    if (rc == 0)
        rc = check_list(result, expected, "grad_norm", 2e-5, err);
    if (rc == 0)
        rc = check_logits(result, expected, "eval_final", err);
    if (rc == 0)
        rc = check_tensors(folder, tensors, expected, err);
    json_free(result);
    json_free(expected);
    safetensors_close(tensors);
    return rc;
}
