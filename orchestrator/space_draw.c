/* Draws a configuration, parameter after parameter. */
#include <math.h>
#include <stdio.h>

#include "orchestrator/space_internal.h"

enum { NORMAL_TRIES = 100000 };

int space_find(const struct space *space, const char *name)
{
    for (int i = 0; i < space->n_parameters; i++)
        if (text_equal(space->parameters[i].name, name))
            return i;
    return -1;
}

const struct setting *space_setting(const struct space *space, const char *name)
{
    static const struct setting fixed = {.name = "", .types = SETTING_ANY, .min = -INFINITY, .max = INFINITY};
    if (!space->is_free)
        return settings_find(name);
    int i = space_find(space, name);
    return i >= 0 ? space->parameters[i].setting : json_get(space->settings, name) ? &fixed : NULL;
}

bool space_value_matches(const cJSON *value, const cJSON *wanted)
{
    if (json_equal(value, wanted))
        return true;
    for (const cJSON *item = cJSON_IsArray(value) ? value->child : NULL; item; item = item->next)
        if (json_equal(item, wanted))
            return true;
    return false;
}

/* What a trial will use counts: the given value, or the default where none is given. */
static bool condition_holds(const struct space *space, const struct condition *condition, const cJSON *values)
{
    const struct setting *setting = space_setting(space, condition->name);
    if (!setting || !settings_applies(setting, values))
        return false;
    const cJSON *given = json_get(values, condition->name);
    cJSON *fallback = given ? NULL : settings_default(setting, values);
    const cJSON *value = given ? given : fallback;
    bool holds = false;
    for (const cJSON *wanted = condition->values->child; wanted && value && !holds; wanted = wanted->next)
        holds = space_value_matches(value, wanted);
    cJSON_Delete(fallback);
    return holds;
}

const struct distribution *space_case(const struct space *space, const struct parameter *parameter, const cJSON *values)
{
    if (!settings_applies(parameter->setting, values))
        return NULL;
    for (int i = 0; i < parameter->n_cases; i++) {
        const struct distribution *distribution = &parameter->cases[i];
        int held = 0;
        while (held < distribution->n_conditions && condition_holds(space, &distribution->conditions[held], values))
            held++;
        if (held == distribution->n_conditions)
            return distribution;
    }
    return NULL;
}

double space_step(const struct distribution *distribution)
{
    return distribution->quantum > 0 ? distribution->quantum : distribution->is_int ? 1 : 0;
}

double space_steps(const struct distribution *distribution)
{
    /* (0.3 - 0.1) / 0.1 is a little less than 2: the allowance keeps the last value. */
    double n = floor((distribution->max - distribution->min) / space_step(distribution) + 1e-9) + 1;
    return fmin(n, 9007199254740992.0);
}

/* 0.1 + 2 * 0.1 is 0.30000000000000004; people wrote 0.3. */
static double round_to_15_digits(double value)
{
    char digits[64];
    double rounded = value;
    snprintf(digits, sizeof(digits), "%.15g", value);
    return text_parse_double(digits, &rounded, NULL) < 0 ? value : rounded;
}

double space_step_value(const struct distribution *distribution, double k)
{
    double value = distribution->min + k * space_step(distribution);
    return fmin(distribution->is_int ? value : round_to_15_digits(value), distribution->max);
}

/* A range with steps: the nearest step to a draw over half a step more at both ends, so that the ends are not drawn
 * less often than the others. On a linear scale this is a uniform k. */
static double draw_step(const struct distribution *distribution, struct rng_stream *stream)
{
    double u = rng_uniform(stream), n = space_steps(distribution), step = space_step(distribution), k;
    if (distribution->is_log) {
        double low = distribution->min - step / 2, high = space_step_value(distribution, n - 1) + step / 2;
        if (low <= 0)
            low = distribution->min;
        k = round((exp(log(low) + u * (log(high) - log(low))) - distribution->min) / step);
    } else {
        k = floor(u * n);
    }
    return space_step_value(distribution, fmax(0, fmin(k, n - 1)));
}

static double draw_range(const struct distribution *distribution, struct rng_stream *stream)
{
    double min = distribution->min, max = distribution->max;
    if (space_step(distribution) > 0)
        return draw_step(distribution, stream);
    double u = rng_uniform(stream);
    double value = distribution->is_log ? exp(log(min) + u * (log(max) - log(min))) : min + u * (max - min);
    return fmax(min, fmin(value, max));
}

/* Draws again until the value lies within the distribution's and the setting's bounds; that at least one in a thousand
 * does was checked when it was read. */
static int draw_normal(const struct parameter *parameter, const struct distribution *distribution,
                       struct rng_stream *stream, double *out, struct err *err)
{
    for (int i = 0; i < NORMAL_TRIES; i++) {
        double value = distribution->mean + distribution->deviation * rng_normal(stream);
        if (distribution->kind == DISTRIBUTION_LOG_NORMAL)
            value = exp(value);
        if (distribution->is_int)
            value = round(value);
        cJSON number = {.type = cJSON_Number, .valuedouble = value};
        if ((distribution->has_min && value < distribution->min) ||
            (distribution->has_max && value > distribution->max) ||
            settings_check(parameter->setting, &number, parameter->name, NULL) < 0)
            continue;
        *out = value;
        return 0;
    }
    return err_set(err, ERR_USAGE, "parameters.%s: %d draws of the normal gave no allowed value", parameter->name,
                   NORMAL_TRIES);
}

static const cJSON *draw_listed(const struct distribution *distribution, struct rng_stream *stream)
{
    if (!distribution->probabilities)
        return cJSON_GetArrayItem(distribution->values, (int)rng_below(stream, (uint32_t)distribution->n_values));
    double u = rng_uniform(stream), sum = 0;
    int last = 0; /* of those with a probability: what rounding leaves over goes there */
    for (int i = 0; i < distribution->n_values; i++) {
        if (distribution->probabilities[i] <= 0)
            continue;
        last = i;
        sum += distribution->probabilities[i];
        if (u < sum)
            break;
    }
    return cJSON_GetArrayItem(distribution->values, last);
}

struct scope {
    const cJSON *values;
};

static int look_up(const char *name, double *value, void *context, struct err *err)
{
    const struct scope *scope = context;
    const cJSON *found = json_get(scope->values, name);
    if (!found)
        return err_set(err, ERR_USAGE, "'%s' does not exist beside the values chosen", name);
    if (!cJSON_IsNumber(found))
        return err_set(err, ERR_USAGE, "'%s' is %s, a number was expected", name, json_type_name(found));
    *value = found->valuedouble;
    return 0;
}

int space_evaluate(const struct parameter *parameter, const struct distribution *distribution, const cJSON *values,
                   cJSON **value, struct err *err)
{
    struct scope scope = {values};
    double number = 0;
    char where[128];
    snprintf(where, sizeof(where), "parameters.%s", parameter->name);
    if (expression_evaluate(distribution->expression, look_up, &scope, &number, err) < 0) {
        err_wrap(err, "%s", where);
        return err->code = ERR_USAGE;
    }
    if (!(parameter->setting->types & SETTING_NUMBER) && fabs(number - round(number)) <= 1e-9)
        number = round(number);
    cJSON *result = cJSON_CreateNumber(number);
    int rc = result ? settings_check(parameter->setting, result, where, err) : err_set(err, ERR_NOMEM, "no memory");
    if (rc < 0)
        cJSON_Delete(result);
    else
        *value = result;
    return rc;
}

int space_put(cJSON *values, const struct parameter *parameter, cJSON *value, struct err *err)
{
    return json_put(values, parameter->name, value) ? 0 : err_set(err, ERR_NOMEM, "no memory for a configuration");
}

int space_start(const struct space *space, cJSON **values, struct err *err)
{
    cJSON *copy = space->settings ? cJSON_Duplicate(space->settings, true) : cJSON_CreateObject();
    if (!copy)
        return err_set(err, ERR_NOMEM, "no memory for a configuration");
    *values = copy;
    return 0;
}

int space_finish(const struct space *space, cJSON *values, cJSON **configuration, struct err *err)
{
    cJSON *out = cJSON_CreateObject();
    int rc = out ? 0 : err_set(err, ERR_NOMEM, "no memory for a configuration");
    for (int i = 0; i < space->n_parameters && rc == 0; i++) {
        cJSON *value = cJSON_GetObjectItemCaseSensitive(values, space->parameters[i].name);
        if (value)
            rc = space_put(out, &space->parameters[i], cJSON_DetachItemViaPointer(values, value), err);
    }
    if (rc < 0)
        cJSON_Delete(out);
    else
        *configuration = out;
    return rc;
}

static int draw_value(const struct parameter *parameter, const struct distribution *distribution,
                      struct rng_stream *stream, const cJSON *values, cJSON **value, struct err *err)
{
    double number = 0;
    int rc = 0;
    if (distribution->kind == DISTRIBUTION_EXPRESSION)
        return space_evaluate(parameter, distribution, values, value, err);
    if (distribution->kind == DISTRIBUTION_VALUES) {
        *value = cJSON_Duplicate(draw_listed(distribution, stream), true);
    } else {
        if (distribution->kind == DISTRIBUTION_RANGE)
            number = draw_range(distribution, stream);
        else
            rc = draw_normal(parameter, distribution, stream, &number, err);
        if (rc < 0)
            return rc;
        *value = cJSON_CreateNumber(number);
    }
    return *value ? 0 : err_set(err, ERR_NOMEM, "no memory for a configuration");
}

int space_draw(const struct space *space, struct rng_stream *stream, cJSON **configuration, struct err *err)
{
    cJSON *values = NULL;
    int rc = space_start(space, &values, err);
    for (int i = 0; i < space->n_parameters && rc == 0; i++) {
        const struct parameter *parameter = &space->parameters[i];
        const struct distribution *distribution = space_case(space, parameter, values);
        cJSON *value = NULL;
        if (!distribution)
            continue;
        rc = draw_value(parameter, distribution, stream, values, &value, err);
        if (rc == 0)
            rc = space_put(values, parameter, value, err);
    }
    if (rc == 0)
        rc = space_finish(space, values, configuration, err);
    cJSON_Delete(values);
    return rc;
}
