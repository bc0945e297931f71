/* Finite differences over a whole model. */
#include "trainer/check_gradient.h"

#include <math.h>
#include <string.h>

enum { EXAMPLES = 3, ELEMENTS = 6 };

/* In double, a step of 1e-5 leaves about 1e-10 of truncation and 1e-16/1e-5 of rounding for a loss around 1; what sums
 * over a model's layers adds two digits. The floor of 1e-3 keeps gradients that are nearly zero from being compared
 * with that noise. */
#define STEP      1e-5
#define TOLERANCE 1e-6
#define FLOOR     1e-3

static int loss_of(struct trial *trial, double *loss, struct err *err)
{
    size_t n = trial->train.count < EXAMPLES ? trial->train.count : EXAMPLES;
    *loss = 0;
    return trial_micro_batch(trial, 0, 0, n, 1, loss, err);
}

static void move_off_start(struct trial *trial)
{
    for (size_t i = 0; i < trial->model.params.count; i++) {
        struct param *param = trial->model.params.items[i];
        struct rng_stream stream = rng_stream(rng_make(trial->job->seed, RNG_INIT), 1, 0, rng_site(param->name));
        for (size_t k = 0; param->is_trained && k < param_size(param); k++)
            param->value.data[k] += (real)(0.05 * rng_normal(&stream));
    }
}

/* The loss's slope in one element by central differences. */
static int slope(struct trial *trial, real *element, double step, double *out, struct err *err)
{
    double above, below;
    real kept = *element;
    *element = kept + (real)step;
    int rc = loss_of(trial, &above, err);
    *element = kept - (real)step;
    if (rc == 0)
        rc = loss_of(trial, &below, err);
    *element = kept;
    if (rc == 0)
        *out = (above - below) / (2 * step);
    return rc;
}

static int check_element(struct trial *trial, struct param *param, size_t index, double backward,
                         struct gradient_error *error, struct err *err)
{
    double difference = 0, off = INFINITY;
    /* A kink of a ReLU between the two points goes away with a smaller step; a wrong gradient does not. */
    for (double step = STEP; step >= STEP / 100 && off > TOLERANCE; step /= 10) {
        int rc = slope(trial, &param->value.data[index], step, &difference, err);
        if (rc < 0)
            return rc;
        off = fabs(backward - difference) / fmax(fabs(difference), FLOOR);
    }
    error->n_checked++;
    if (off > error->largest || isnan(off)) {
        error->largest = off;
        error->backward = backward;
        error->difference = difference;
    }
    error->is_wrong = error->is_wrong || !(off <= TOLERANCE);
    return 0;
}

/* The element with the largest gradient, and others drawn at random. */
static int check_param(struct trial *trial, struct param *param, struct gradient_error *error, struct err *err)
{
    size_t n = param_size(param), largest = 0;
    struct rng_stream stream = rng_stream(rng_make(trial->job->seed, RNG_INIT), 2, 0, rng_site(param->name));
    real *gradient = arena_alloc(&trial->arena, n * sizeof(real));
    int rc = gradient ? 0 : err_set(err, ERR_NOMEM, "no memory to check '%s'", param->name);
    if (rc == 0)
        memcpy(gradient, param->value.grad, n * sizeof(real)); /* every loss adds to the gradient */
    for (size_t i = 0; i < n && rc == 0; i++)
        largest = fabs((double)gradient[i]) > fabs((double)gradient[largest]) ? i : largest;
    for (size_t k = 0; k < ELEMENTS && k < n && rc == 0; k++) {
        size_t index = k == 0 ? largest : n <= ELEMENTS ? (largest + k) % n : rng_next(&stream) % n;
        rc = check_element(trial, param, index, (double)gradient[index], error, err);
    }
    return rc;
}

static int check_params(struct trial *trial, struct gradient_error *errors, size_t *n, struct err *err)
{
    struct params *params = &trial->model.params;
    size_t n_wrong = 0;
    int rc = 0;
    for (size_t i = 0; i < params->count && rc == 0; i++) {
        double loss;
        if (!params->items[i]->is_trained)
            continue;
        params_zero_grad(params, NULL);
        errors[*n].name = params->items[i]->name;
        rc = loss_of(trial, &loss, err);
        if (rc == 0)
            rc = check_param(trial, params->items[i], &errors[*n], err);
        n_wrong += errors[*n].is_wrong;
        (*n)++;
    }
    return rc == 0 && n_wrong ? err_set(err, ERR_NUMERIC, "%zu of %zu tensors have a wrong gradient", n_wrong, *n) : rc;
}

/* The first attached method that detaches, or NULL. */
static const char *detached(const struct params *params)
{
    for (size_t i = 0; i < params->count; i++) {
        const struct param *param = params->items[i];
        const struct method_kind *kind = param->method ? method_find(param->method) : NULL;
        if (param->is_trained && kind && kind->detaches)
            return kind->name;
    }
    return NULL;
}

int check_gradient(struct trial *trial, struct gradient_error **errors, size_t *n, struct err *err)
{
    *n = 0;
    if (sizeof(real) != sizeof(double))
        return err_set(
            err, ERR_UNSUPPORTED,
            "--check-grad needs numbers of double precision: make VARIANT=f64, then build/f64/nightsweep-trainer");
    const char *name = detached(&trial->model.params);
    if (name)
        return err_set(err, ERR_UNSUPPORTED,
                       "method '%s' takes a part of its forward pass as a constant: finite differences do not apply",
                       name);
    *errors = arena_calloc(&trial->arena, trial->model.params.count, sizeof(**errors));
    if (!*errors)
        return err_set(err, ERR_NOMEM, "no memory to check gradients");
    for (uint32_t i = 0; i < trial->train.count; i++)
        trial->order[i] = i;
    move_off_start(trial);
    return check_params(trial, *errors, n, err);
}
