/* Between configurations and points. Which dimensions exist is found by walking the space once for each combination of
 * values that others depend on, and remembered: a search looks at thousands of points a proposal. */
#include "orchestrator/search_codec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/stats.h"
#include "orchestrator/space_internal.h"

enum { PATTERNS_MAX = 4096 };

struct codec_pattern {
    double *key;   /* values of the deciding dimensions; NULL: free */
    bool *exists;  /* a dimension each */
    bool is_valid; /* the values have a configuration */
};

/* Dimensions ------------------------------------------------------------------------------------------------------- */

/* Lists of at least three rising numbers are ordered: neighbours are alike. */
static bool is_rising(const struct distribution *distribution)
{
    double before = -INFINITY;
    if (distribution->n_values < 3)
        return false;
    for (const cJSON *value = distribution->values->child; value; value = value->next) {
        if (!cJSON_IsNumber(value) || value->valuedouble <= before)
            return false;
        before = value->valuedouble;
    }
    return true;
}

static double scaled(const struct distribution *distribution, double value)
{
    return distribution->is_log ? log(value) : value;
}

static void init_range(struct codec_dimension *dimension)
{
    const struct distribution *d = dimension->distribution;
    double low = d->min, high = d->max;
    if (space_step(d) > 0) {
        double half = space_step(d) / 2;
        dimension->n_values = space_steps(d);
        high = space_step_value(d, dimension->n_values - 1) + half;
        low = d->is_log && low - half <= 0 ? low * 0.5 : low - half;
    }
    dimension->low = scaled(d, low);
    dimension->high = scaled(d, high);
}

static double normal_below(double x)
{
    return 0.5 * erfc(-x / sqrt(2));
}

static void init_normal(struct codec_dimension *dimension, const struct setting *setting)
{
    const struct distribution *d = dimension->distribution;
    double low = d->has_min ? fmax(d->min, setting->min) : setting->min;
    double high = d->has_max ? fmin(d->max, setting->max) : setting->max;
    if (d->is_int) {
        low -= 0.5;
        high += 0.5;
    }
    if (d->kind == DISTRIBUTION_LOG_NORMAL) {
        low = low > 0 ? log(low) : -INFINITY;
        high = high > 0 ? log(high) : -INFINITY;
    }
    dimension->low = normal_below((low - d->mean) / d->deviation);
    dimension->high = normal_below((high - d->mean) / d->deviation);
}

static void init_dimension(struct codec_dimension *dimension, const struct parameter *parameter)
{
    const struct distribution *d = dimension->distribution;
    if (d->kind == DISTRIBUTION_VALUES) {
        dimension->n_values = d->n_values;
        dimension->is_category = !is_rising(d);
    } else if (d->kind == DISTRIBUTION_RANGE) {
        init_range(dimension);
    } else {
        init_normal(dimension, parameter->setting);
    }
}

struct marking {
    struct codec *codec;
    bool *looked_at; /* a parameter each */
    bool decides;
};

static void mark_name(const char *name, bool in_expression, void *context)
{
    struct marking *marking = context;
    int i = space_find(marking->codec->space, name);
    if (i >= 0 && (!in_expression || marking->decides))
        marking->looked_at[i] = true;
}

/* From the last parameter to the first, as in the grid: what an expression that decides is made from decides too. */
static void mark_deciding(struct codec *codec, bool *looked_at)
{
    for (int i = codec->space->n_parameters - 1; i >= 0; i--) {
        struct marking marking = {codec, looked_at, looked_at[i]};
        space_each_dependency(&codec->space->parameters[i], mark_name, &marking);
    }
    for (int j = 0; j < codec->n; j++) {
        codec->decides[j] = looked_at[codec->dimensions[j].parameter];
        codec->n_keys += codec->decides[j];
    }
}

static bool has_expression(const struct space *space)
{
    for (int i = 0; i < space->n_parameters; i++)
        for (int k = 0; k < space->parameters[i].n_cases; k++)
            if (space->parameters[i].cases[k].kind == DISTRIBUTION_EXPRESSION)
                return true;
    return false;
}

static bool is_conditional(const struct space *space)
{
    for (int i = 0; i < space->n_parameters; i++)
        if (space->parameters[i].n_cases > 1 || space->parameters[i].cases[0].n_conditions ||
            space->parameters[i].setting->when)
            return true;
    return false;
}

int codec_init(struct codec *codec, const struct space *space, struct arena *arena, struct err *err)
{
    size_t cases = 0, parameters = (size_t)space->n_parameters;
    *codec = (struct codec){.space = space, .arena = arena};
    for (int i = 0; i < space->n_parameters; i++)
        cases += (size_t)space->parameters[i].n_cases;
    codec->dimensions = arena_calloc(arena, cases + 1, sizeof(*codec->dimensions));
    codec->first = arena_calloc(arena, parameters + 1, sizeof(*codec->first));
    codec->decides = arena_calloc(arena, cases + 1, sizeof(*codec->decides));
    bool *looked_at = arena_calloc(arena, parameters + 1, sizeof(*looked_at));
    codec->patterns = arena_calloc(arena, PATTERNS_MAX, sizeof(*codec->patterns));
    if (!codec->dimensions || !codec->first || !codec->decides || !looked_at || !codec->patterns)
        return err_set(err, ERR_NOMEM, "no memory for the search space");
    for (int i = 0; i < space->n_parameters; i++) {
        codec->first[i] = codec->n;
        for (int k = 0; k < space->parameters[i].n_cases; k++) {
            if (space->parameters[i].cases[k].kind == DISTRIBUTION_EXPRESSION)
                continue;
            struct codec_dimension *dimension = &codec->dimensions[codec->n++];
            *dimension = (struct codec_dimension){
                .parameter = i, .case_index = k, .distribution = &space->parameters[i].cases[k]};
            init_dimension(dimension, &space->parameters[i]);
        }
    }
    codec->first[space->n_parameters] = codec->n;
    codec->has_patterns = is_conditional(space);
    mark_deciding(codec, looked_at);
    /* An expression may have no value for any of its numbers: then every dimension is part of the question. */
    if (has_expression(space)) {
        codec->has_patterns = true;
        codec->n_keys = codec->n;
        for (int j = 0; j < codec->n; j++)
            codec->decides[j] = true;
    }
    return 0;
}

/* Values ----------------------------------------------------------------------------------------------------------- */

static double clamp(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

/* Inverse of the standard normal's distribution function: Newton steps on a logistic start. */
static double normal_quantile(double p)
{
    if (p <= 0 || p >= 1)
        return p <= 0 ? -38 : 38;
    double x = log(p / (1 - p)) / 1.702;
    for (int i = 0; i < 60; i++) {
        double density = exp(-0.5 * x * x) / sqrt(2 * M_PI);
        double step = (normal_below(x) - p) / fmax(density, 1e-300);
        step = clamp(step, -1, 1);
        x -= step;
        if (fabs(step) < 1e-14 * (1 + fabs(x)))
            break;
    }
    return x;
}

/* The number a dimension's value stands for. */
static double number_at(const struct codec *codec, int j, double x)
{
    const struct codec_dimension *dimension = &codec->dimensions[j];
    const struct distribution *d = dimension->distribution;
    if (d->kind == DISTRIBUTION_RANGE) {
        double value = dimension->low + x * (dimension->high - dimension->low);
        if (d->is_log)
            value = exp(value);
        if (dimension->n_values > 0) {
            double k = round((value - d->min) / space_step(d));
            return space_step_value(d, clamp(k, 0, dimension->n_values - 1));
        }
        return clamp(value, d->min, d->max);
    }
    double value = d->mean + d->deviation * normal_quantile(dimension->low + x * (dimension->high - dimension->low));
    if (d->kind == DISTRIBUTION_LOG_NORMAL)
        value = exp(value);
    if (d->is_int)
        value = round(value);
    const struct setting *setting = codec->space->parameters[dimension->parameter].setting;
    double min = d->has_min ? fmax(d->min, setting->min) : setting->min;
    double max = d->has_max ? fmin(d->max, setting->max) : setting->max;
    return clamp(value, min, max);
}

static double place_of(const struct codec *codec, int j, double number)
{
    const struct codec_dimension *dimension = &codec->dimensions[j];
    const struct distribution *d = dimension->distribution;
    double share;
    if (d->kind == DISTRIBUTION_RANGE) {
        double width = dimension->high - dimension->low;
        return width > 0 ? clamp((scaled(d, number) - dimension->low) / width, 0, 1) : 0.5;
    }
    if (d->kind == DISTRIBUTION_LOG_NORMAL)
        number = log(number);
    share = normal_below((number - d->mean) / d->deviation);
    return clamp((share - dimension->low) / (dimension->high - dimension->low), 0, 1);
}

double codec_number(const struct codec *codec, int j, double x)
{
    return number_at(codec, j, x);
}

double codec_place(const struct codec *codec, int j, double number)
{
    const struct distribution *d = codec->dimensions[j].distribution;
    return place_of(codec, j, d->kind == DISTRIBUTION_RANGE ? clamp(number, d->min, d->max) : number);
}

double codec_snap(const struct codec *codec, int j, double x)
{
    const struct codec_dimension *dimension = &codec->dimensions[j];
    if (dimension->is_category)
        return clamp(floor(x + 0.5), 0, dimension->n_values - 1);
    x = clamp(x, 0, 1);
    if (dimension->distribution->kind == DISTRIBUTION_VALUES)
        return (clamp(floor(x * dimension->n_values), 0, dimension->n_values - 1) + 0.5) / dimension->n_values;
    if (dimension->n_values > 0 || dimension->distribution->is_int)
        return place_of(codec, j, number_at(codec, j, x));
    return x;
}

void codec_from_uniform(const struct codec *codec, const double *u, double *x)
{
    for (int j = 0; j < codec->n; j++) {
        const struct codec_dimension *dimension = &codec->dimensions[j];
        const double *probabilities = dimension->distribution->probabilities;
        int n = (int)dimension->n_values, k = 0;
        x[j] = u[j];
        if (dimension->distribution->kind != DISTRIBUTION_VALUES)
            continue;
        if (!probabilities) {
            k = (int)clamp(floor(u[j] * n), 0, n - 1);
        } else {
            double sum = probabilities[0];
            while (k < n - 1 && (sum <= u[j] || probabilities[k] <= 0))
                sum += probabilities[++k];
        }
        x[j] = dimension->is_category ? k : (k + 0.5) / n;
    }
}

static cJSON *value_at(const struct codec *codec, int j, double x)
{
    const struct codec_dimension *dimension = &codec->dimensions[j];
    if (dimension->distribution->kind != DISTRIBUTION_VALUES)
        return cJSON_CreateNumber(number_at(codec, j, x));
    double k = dimension->is_category ? x : floor(x * dimension->n_values);
    return cJSON_Duplicate(cJSON_GetArrayItem(dimension->distribution->values, (int)k), true);
}

/* Walking the space ------------------------------------------------------------------------------------------------ */

/* The dimension of the case that applies, or −1 for an expression. */
static int dimension_of(const struct codec *codec, int parameter, const struct distribution *distribution)
{
    for (int j = codec->first[parameter]; j < codec->first[parameter + 1]; j++)
        if (codec->dimensions[j].distribution == distribution)
            return j;
    return -1;
}

/* Puts every value that exists into `values`; exists[j] (may be NULL) says which dimensions were used. */
static int walk(const struct codec *codec, const double *x, cJSON *values, bool *exists, struct err *err)
{
    const struct space *space = codec->space;
    int rc = 0;
    for (int i = 0; i < space->n_parameters && rc == 0; i++) {
        const struct parameter *parameter = &space->parameters[i];
        const struct distribution *distribution = space_case(space, parameter, values);
        cJSON *value = NULL;
        if (!distribution)
            continue;
        int j = dimension_of(codec, i, distribution);
        if (j < 0) {
            rc = space_evaluate(parameter, distribution, values, &value, err);
        } else {
            value = value_at(codec, j, x[j]);
            if (exists)
                exists[j] = true;
        }
        if (rc == 0)
            rc = space_put(values, parameter, value, err);
    }
    return rc;
}

static struct codec_pattern *pattern_slot(struct codec *codec, const double *x)
{
    uint64_t hash = 1469598103934665603ULL;
    for (int j = 0; j < codec->n; j++) {
        uint64_t bits;
        if (!codec->decides[j])
            continue;
        memcpy(&bits, &x[j], sizeof(bits));
        hash = (hash ^ bits ^ (bits >> 29)) * 1099511628211ULL;
    }
    return &codec->patterns[(hash ^ (hash >> 32)) % PATTERNS_MAX];
}

static bool has_key(const struct codec *codec, const struct codec_pattern *pattern, const double *x)
{
    int k = 0;
    for (int j = 0; j < codec->n && pattern->key; j++)
        if (codec->decides[j] && pattern->key[k++] != x[j])
            return false;
    return pattern->key != NULL;
}

/* A slot holds the last combination that fell there: enough where few combinations are in use. */
static int fill_pattern(struct codec *codec, struct codec_pattern *pattern, const double *x, struct err *err)
{
    cJSON *values = NULL;
    if (!pattern->exists) {
        pattern->exists = arena_calloc(codec->arena, (size_t)codec->n + 1, sizeof(*pattern->exists));
        pattern->key = arena_calloc(codec->arena, (size_t)codec->n_keys + 1, sizeof(*pattern->key));
        if (!pattern->exists || !pattern->key)
            return err_set(err, ERR_NOMEM, "no memory for the search space");
    }
    memset(pattern->exists, 0, (size_t)codec->n * sizeof(*pattern->exists));
    for (int j = 0, k = 0; j < codec->n; j++)
        if (codec->decides[j])
            pattern->key[k++] = x[j];
    int rc = space_start(codec->space, &values, err);
    if (rc < 0)
        return rc;
    rc = walk(codec, x, values, pattern->exists, err);
    pattern->is_valid = rc == 0;
    cJSON_Delete(values);
    return rc == ERR_NOMEM ? rc : 0;
}

int codec_settle(struct codec *codec, double *x, struct err *err)
{
    for (int j = 0; j < codec->n; j++)
        x[j] = codec_snap(codec, j, x[j]);
    if (!codec->has_patterns)
        return 0;
    struct codec_pattern *pattern = pattern_slot(codec, x);
    if (!has_key(codec, pattern, x)) {
        int rc = fill_pattern(codec, pattern, x, err);
        if (rc < 0)
            return rc;
    }
    if (!pattern->is_valid)
        return err_set(err, ERR_USAGE, "these values have no configuration");
    for (int j = 0; j < codec->n; j++)
        if (!pattern->exists[j])
            x[j] = NAN;
    return 0;
}

int codec_decode(const struct codec *codec, const double *x, cJSON **configuration, struct err *err)
{
    cJSON *values = NULL;
    int rc = space_start(codec->space, &values, err);
    if (rc == 0)
        rc = walk(codec, x, values, NULL, err);
    if (rc == 0)
        rc = space_finish(codec->space, values, configuration, err);
    cJSON_Delete(values);
    return rc;
}

/* Encoding --------------------------------------------------------------------------------------------------------- */

/* Puts what stands for `value` into *x; false when the dimension cannot have it. */
static bool encode_value(const struct codec *codec, int j, const cJSON *value, double *x)
{
    const struct codec_dimension *dimension = &codec->dimensions[j];
    if (dimension->distribution->kind == DISTRIBUTION_VALUES) {
        int k = 0;
        for (const cJSON *item = dimension->distribution->values->child; item; item = item->next, k++)
            if (json_equal(item, value)) {
                *x = dimension->is_category ? k : (k + 0.5) / dimension->n_values;
                return true;
            }
        return false;
    }
    if (!cJSON_IsNumber(value))
        return false;
    double place = place_of(codec, j, value->valuedouble), back = number_at(codec, j, place);
    *x = place;
    return fabs(back - value->valuedouble) <= 1e-6 * fmax(1e-3, fmax(fabs(back), fabs(value->valuedouble)));
}

static int refuse_value(const char *name, const cJSON *value, struct err *err)
{
    struct text text = {0};
    json_add(&text, value);
    err_set(err, ERR_USAGE, "%s: %s is no value it can have here", name, text.data ? text.data : "that");
    text_done(&text);
    return ERR_USAGE;
}

int codec_encode(struct codec *codec, const cJSON *configuration, const double *fallback, double *x, struct err *err)
{
    const struct space *space = codec->space;
    cJSON *values = NULL;
    int rc = space_start(space, &values, err);
    memcpy(x, fallback, (size_t)codec->n * sizeof(*x));
    for (int i = 0; i < space->n_parameters && rc == 0; i++) {
        const struct parameter *parameter = &space->parameters[i];
        const struct distribution *distribution = space_case(space, parameter, values);
        const cJSON *given = json_get(configuration, parameter->name);
        cJSON *value = NULL;
        int j = distribution ? dimension_of(codec, i, distribution) : -1;
        if (!distribution && !given)
            continue;
        if (!distribution)
            rc = err_set(err, ERR_USAGE, "%s: does not apply beside the other values", parameter->name);
        else if (j < 0)
            rc = space_evaluate(parameter, distribution, values, &value, err);
        else if (given && !encode_value(codec, j, given, &x[j]))
            rc = refuse_value(parameter->name, given, err);
        else
            value = given ? cJSON_Duplicate(given, true) : value_at(codec, j, codec_snap(codec, j, x[j]));
        if (rc == 0)
            rc = space_put(values, parameter, value, err);
    }
    cJSON_Delete(values);
    for (const cJSON *item = configuration->child; item && rc == 0; item = item->next)
        if (space_find(space, item->string) < 0)
            rc = err_set(err, ERR_USAGE, "%s: is no parameter", item->string);
    return rc < 0 ? rc : codec_settle(codec, x, err);
}
