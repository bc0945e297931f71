/* AdamW, SGD with momentum, gradient clipping and learning rate schedules. */
#include "trainer/optimizer.h"

#include <math.h>
#include <string.h>

#include "common/json.h"
#include "trainer/kernels.h"

static double number(const cJSON *settings, const char *name, double fallback)
{
    const cJSON *item = json_get(settings, name);
    return cJSON_IsNumber(item) ? item->valuedouble : fallback;
}

static bool is_text(const cJSON *settings, const char *name, const char *text)
{
    const cJSON *item = json_get(settings, name);
    return cJSON_IsString(item) && strcmp(item->valuestring, text) == 0;
}

void optimizer_init(struct optimizer *optimizer, const cJSON *settings)
{
    *optimizer = (struct optimizer){
        .kind = is_text(settings, "optimizer", "sgd") ? OPTIMIZER_SGD : OPTIMIZER_ADAMW,
        .weight_decay = number(settings, "weight_decay", 0),
        .momentum = number(settings, "momentum", 0),
        .beta1 = number(settings, "beta1", 0.9),
        .beta2 = number(settings, "beta2", 0.999),
        .epsilon = number(settings, "epsilon", 1e-8),
        .clip = number(settings, "clip", 0),
        .decay_biases = cJSON_IsTrue(json_get(settings, "decay_biases")),
    };
}

int optimizer_start(struct optimizer *optimizer, struct params *params, struct err *err)
{
    for (size_t i = 0; i < params->count; i++) {
        struct param *param = params->items[i];
        if (!param->is_trained)
            continue;
        size_t n = param_size(param);
        param->moment1 = arena_calloc(params->arena, n, sizeof(real));
        if (optimizer->kind == OPTIMIZER_ADAMW)
            param->moment2 = arena_calloc(params->arena, n, sizeof(real));
        if (!param->moment1 || (optimizer->kind == OPTIMIZER_ADAMW && !param->moment2))
            return err_set(err, ERR_NOMEM, "no memory for the optimiser's state of '%s'", param->name);
    }
    return 0;
}

/* Blocks of 4,096 in float lanes, their sums in double: exact enough for a norm of millions of elements. */
static double squared_norm(const real *g, size_t n)
{
    enum { BLOCK = 4096 };
    double total = 0;
    for (size_t i = 0; i < n; i += BLOCK) {
        size_t left = n - i < BLOCK ? n - i : BLOCK;
        total += (double)kernels()->dot(g + i, g + i, left);
    }
    return total;
}

double optimizer_grad_norm(const struct params *params)
{
    double total = 0;
    for (size_t i = 0; i < params->count; i++)
        if (params->items[i]->is_trained)
            total += squared_norm(params->items[i]->value.grad, param_size(params->items[i]));
    return sqrt(total);
}

static void sgd(const struct optimizer *optimizer, struct param *param, double learning_rate, double decay)
{
    size_t n = param_size(param);
    real *p = param->value.data, *g = param->value.grad, *b = param->moment1;
    real momentum = optimizer->steps == 1 ? 0 : (real)optimizer->momentum;
    for (size_t i = 0; i < n; i++) {
        b[i] = momentum * b[i] + (g[i] + (real)decay * p[i]);
        p[i] -= (real)learning_rate * b[i];
    }
}

void optimizer_step(struct optimizer *optimizer, struct params *params, double learning_rate, double grad_norm)
{
    double factor = optimizer->clip > 0 ? fmin(1, optimizer->clip / (grad_norm + 1e-6)) : 1;
    optimizer->steps++;
    for (size_t i = 0; i < params->count; i++) {
        struct param *param = params->items[i];
        if (!param->is_trained)
            continue;
        size_t n = param_size(param);
        if (factor < 1)
            for (size_t k = 0; k < n; k++)
                param->value.grad[k] *= (real)factor;
        bool decays = !param->never_decays && (optimizer->decay_biases || !param->is_bias_or_norm);
        double rate = learning_rate * param->learning_rate_factor, decay = decays ? optimizer->weight_decay : 0;
        if (optimizer->kind == OPTIMIZER_SGD) {
            sgd(optimizer, param, rate, decay);
            continue;
        }
        struct adamw_step step = {
            .learning_rate = (real)rate,
            .weight_decay = (real)decay,
            .beta1 = (real)optimizer->beta1,
            .beta2 = (real)optimizer->beta2,
            .rest1 = (real)(1 - optimizer->beta1),
            .rest2 = (real)(1 - optimizer->beta2),
            .epsilon = (real)optimizer->epsilon,
            .correction1 = (real)(1 - pow(optimizer->beta1, optimizer->steps)),
            .correction2 = (real)(1 - pow(optimizer->beta2, optimizer->steps)),
        };
        kernels()->adamw(param->value.data, param->value.grad, param->moment1, param->moment2, step, n);
    }
}

void schedule_init(struct schedule *schedule, const cJSON *settings, int64_t total_steps)
{
    double warmup = number(settings, "warmup", 0);
    *schedule = (struct schedule){
        .kind = is_text(settings, "schedule", "linear")         ? SCHEDULE_LINEAR
                : is_text(settings, "schedule", "cosine")       ? SCHEDULE_COSINE
                : is_text(settings, "schedule", "inverse_sqrt") ? SCHEDULE_INVERSE_SQRT
                                                                : SCHEDULE_CONSTANT,
        .warmup_steps = (int64_t)ceil(warmup < 1 ? warmup * (double)total_steps : warmup),
        .total_steps = total_steps,
    };
}

double schedule_factor(const struct schedule *schedule, int64_t step)
{
    int64_t w = schedule->warmup_steps, total = schedule->total_steps;
    double left = (double)(total - w > 1 ? total - w : 1);
    if (step < w)
        return (double)step / (double)(w > 1 ? w : 1);
    switch (schedule->kind) {
    case SCHEDULE_LINEAR:
        return fmax(0, (double)(total - step) / left);
    case SCHEDULE_COSINE:
        return 0.5 * (1 + cos(M_PI * (double)(step - w) / left));
    case SCHEDULE_INVERSE_SQRT:
        return sqrt((double)(w > 1 ? w : 1) / (double)(step > 1 ? step : 1));
    case SCHEDULE_CONSTANT:
        break;
    }
    return 1;
}
