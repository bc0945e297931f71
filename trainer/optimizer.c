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
    optimizer->squares = arena_alloc(params->arena, params_count_blocks(params) * sizeof(double));
    return optimizer->squares ? 0 : err_set(err, ERR_NOMEM, "no memory for the optimiser's sums");
}

/* Gradient norm: blocks in float lanes, their sums in double: exact enough for millions of elements. */

struct norm_work {
    const struct params *params;
    double *squares;
};

static void square_block(void *context, const struct param_block *block)
{
    struct norm_work *work = context;
    const struct value *value = &block->param->value;
    const real *g = value->grad + block->at;
    work->squares[block->number] = param_block_is_touched(value, block) ? (double)kernels()->dot(g, g, block->n) : 0;
}

static void square_share(void *context, struct work_share share)
{
    struct norm_work *work = context;
    params_each_block(work->params, share, square_block, work);
}

double optimizer_grad_norm(const struct optimizer *optimizer, const struct params *params, const struct crew *crew)
{
    struct norm_work work = {params, optimizer->squares};
    const double *square = optimizer->squares;
    double total = 0;
    crew_run(crew, square_share, &work);
    for (size_t i = 0; i < params->count; i++) {
        double own = 0;
        for (size_t at = 0; params->items[i]->is_trained && at < param_size(params->items[i]); at += PARAM_BLOCK)
            own += *square++;
        total += own;
    }
    return sqrt(total);
}

/* The step. */

struct step_work {
    const struct optimizer *optimizer;
    struct params *params;
    double learning_rate, factor;
    real correction1, correction2;
};

static void sgd(const struct optimizer *optimizer, const struct param_block *block, double learning_rate, double decay)
{
    real *p = block->param->value.data + block->at, *b = block->param->moment1 + block->at;
    const real *g = block->param->value.grad + block->at;
    real momentum = optimizer->steps == 1 ? 0 : (real)optimizer->momentum;
    for (size_t i = 0; i < block->n; i++) {
        b[i] = momentum * b[i] + (g[i] + (real)decay * p[i]);
        p[i] -= (real)learning_rate * b[i];
    }
}

static void adamw(const struct param *param, const struct adamw_step *step, size_t at, size_t n, bool is_moved)
{
    if (is_moved)
        kernels()->adamw(param->value.data + at, param->value.grad + at, param->moment1 + at, param->moment2 + at,
                         *step, n);
    else if (step->weight_decay != 0)
        kernels()->adamw_decay(param->value.data + at, *step, n);
}

/* Rows in runs of those that have moments and those that have none. */
static void adamw_rows(const struct param *param, const struct adamw_step *step, size_t at, size_t n)
{
    const uint8_t *marks = param->value.row_marks;
    size_t cols = (size_t)param->value.cols, end = at + n;
    while (at < end) {
        size_t row = at / cols, behind = row + 1;
        bool is_moved = marks[row] & ROW_MOVED;
        while (behind * cols < end && (bool)(marks[behind] & ROW_MOVED) == is_moved)
            behind++;
        size_t stop = behind * cols < end ? behind * cols : end;
        adamw(param, step, at, stop - at, is_moved);
        at = stop;
    }
}

static void step_block(void *context, const struct param_block *block)
{
    const struct step_work *work = context;
    const struct optimizer *optimizer = work->optimizer;
    struct param *param = block->param;
    if (work->factor < 1 && param_block_is_touched(&param->value, block))
        kernels()->scale(param->value.grad + block->at, param->value.grad + block->at, (real)work->factor, block->n);
    bool decays = !param->never_decays && (optimizer->decay_biases || !param->is_bias_or_norm);
    double rate = work->learning_rate * param->learning_rate_factor, decay = decays ? optimizer->weight_decay : 0;
    if (optimizer->kind == OPTIMIZER_SGD) {
        sgd(optimizer, block, rate, decay);
        return;
    }
    const struct adamw_step step = {
        .learning_rate = (real)rate,
        .weight_decay = (real)decay,
        .beta1 = (real)optimizer->beta1,
        .beta2 = (real)optimizer->beta2,
        .rest1 = (real)(1 - optimizer->beta1),
        .rest2 = (real)(1 - optimizer->beta2),
        .epsilon = (real)optimizer->epsilon,
        .correction1 = work->correction1,
        .correction2 = work->correction2,
    };
    if (param->value.row_marks && optimizer->epsilon > 0) /* without ε a row of zeros is 0/0 */
        adamw_rows(param, &step, block->at, block->n);
    else
        adamw(param, &step, block->at, block->n, true);
}

static void step_share(void *context, struct work_share share)
{
    struct step_work *work = context;
    params_each_block(work->params, share, step_block, work);
}

void optimizer_step(struct optimizer *optimizer, struct params *params, double learning_rate, double grad_norm,
                    const struct crew *crew)
{
    optimizer->steps++;
    struct step_work work = {
        .optimizer = optimizer,
        .params = params,
        .learning_rate = learning_rate,
        .factor = optimizer->clip > 0 ? fmin(1, optimizer->clip / (grad_norm + 1e-6)) : 1,
        .correction1 = (real)(1 - pow(optimizer->beta1, optimizer->steps)),
        .correction2 = (real)(1 - pow(optimizer->beta2, optimizer->steps)),
    };
    crew_run(crew, step_share, &work);
}

static bool is_zero(const real *x, size_t n)
{
    for (size_t i = 0; x && i < n; i++)
        if (x[i] != 0)
            return false;
    return true;
}

void optimizer_mark_rows(struct params *params)
{
    for (size_t i = 0; i < params->count; i++) {
        const struct param *param = params->items[i];
        size_t cols = (size_t)param->value.cols;
        for (size_t row = 0; param->value.row_marks && row < (size_t)param->value.rows; row++)
            if (!is_zero(param->moment1 + row * cols, cols) ||
                (param->moment2 && !is_zero(param->moment2 + row * cols, cols)))
                param->value.row_marks[row] |= ROW_MOVED;
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
