/* Distributions of Weights & Biases: a row each, and what becomes of it. */
#include "orchestrator/wandb_parameter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/stats.h"

enum { LISTED_MAX = 1000, BETA_VALUES = 100, KEYS_MAX = 12 };
/* Of a normal that is listed: what lies beyond these deviations is left out, 6e-7 of it. */
static const double normal_reach = 5;

/* What a distribution's converter sees. */
struct place {
    struct wandb_reader *reader;
    const char *where; /* "parameters.lr" */
    const cJSON *item;
    cJSON *out; /* the parameter as we write it */
};

typedef void convert_fn(struct place *place);

struct kind {
    const char *name, *keys; /* keys beside `distribution`, separated by spaces */
    convert_fn *convert;
};

/* Reading ---------------------------------------------------------------------------------------------------------- */

bool wandb_number(struct wandb_reader *reader, const cJSON *object, const char *where, const char *key,
                  bool is_required, double *out)
{
    const cJSON *item = json_get(object, key);
    if (item && cJSON_IsNumber(item)) {
        *out = item->valuedouble;
        return true;
    }
    if (item)
        problems_add(&reader->problems, "%s.%s: %s was found, a number was expected", where, key, json_type_name(item));
    else if (is_required)
        problems_add(&reader->problems, "%s.%s: is missing, a number was expected", where, key);
    return !item && !is_required;
}

void wandb_check_keys(struct wandb_reader *reader, const cJSON *object, const char *where, const char *const *keys)
{
    for (const cJSON *item = object->child; item; item = item->next) {
        bool is_known = false;
        for (const char *const *key = keys; *key; key++)
            is_known = is_known || strcmp(*key, item->string) == 0;
        char text[512];
        snprintf(text, sizeof(text), "%s%s%.200s: is not known", where, where[0] ? "." : "", item->string);
        if (!is_known)
            problems_add_unknown(&reader->problems, text, item->string, keys);
    }
}

static bool number(struct place *place, const char *key, bool is_required, double *out)
{
    return wandb_number(place->reader, place->item, place->where, key, is_required, out);
}

/* min and max, in order. */
static bool bounds(struct place *place, double *min, double *max)
{
    bool has_min = number(place, "min", true, min), has_max = number(place, "max", true, max);
    if (!has_min || !has_max)
        return false;
    if (*min > *max)
        problems_add(&place->reader->problems, "%s: min %.17g is above max %.17g", place->where, *min, *max);
    return *min <= *max;
}

static bool quantum(struct place *place, double *q)
{
    *q = 1;
    if (!number(place, "q", false, q))
        return false;
    if (*q <= 0)
        problems_add(&place->reader->problems, "%s.q: %.17g must be above 0", place->where, *q);
    return *q > 0;
}

/* The bounds of a distribution over logarithms of values, as values. */
static bool value_bounds(struct place *place, double *min, double *max)
{
    if (!bounds(place, min, max))
        return false;
    if (*min <= 0)
        problems_add(&place->reader->problems, "%s.min: %.17g must be above 0: it has no logarithm", place->where,
                     *min);
    return *min > 0;
}

/* Exponents between 0 and 1, or beyond 20, are rarely meant: exp(0.1) is 1.1, exp(32) is 8e13. */
static bool looks_like_values(double min, double max)
{
    return min >= 0 && (max <= 1 || max > 20);
}

/* Bounds that are exponents: the values they stand for. */
static bool exponent_bounds(struct place *place, bool is_inverse, double *min, double *max)
{
    const cJSON *name = json_get(place->item, "distribution");
    double low, high;
    if (!bounds(place, &low, &high))
        return false;
    *min = exp(is_inverse ? -high : low);
    *max = exp(is_inverse ? -low : high);
    if (looks_like_values(low, high))
        problems_add(&place->reader->problems,
                     "%s: %s takes exponents, so %.6g to %.6g means values from %.6g to %.6g; %s_values with these "
                     "bounds is likely meant",
                     place->where, name->valuestring, low, high, *min, *max, name->valuestring);
    else if (!isfinite(*max) || *min <= 0)
        problems_add(&place->reader->problems, "%s: values from exp(%.6g) to exp(%.6g) are no numbers", place->where,
                     is_inverse ? -high : low, is_inverse ? -low : high);
    else
        return true;
    return false;
}

/* Writing ---------------------------------------------------------------------------------------------------------- */

/* 3 · 0.1 is 0.30000000000000004; people wrote multiples of 0.1. */
static double multiple(double k, double q)
{
    char digits[64];
    double value = k * q;
    snprintf(digits, sizeof(digits), "%.15g", value);
    return text_parse_double(digits, &value, NULL) < 0 ? k * q : value;
}

static bool is_whole(double value)
{
    return value == floor(value);
}

/* A range, of multiples of q when q is above 0. */
static void add_range(struct place *place, double min, double max, double q, bool is_log)
{
    if (q > 0 && min == max) {
        json_append(cJSON_AddArrayToObject(place->out, "values"), cJSON_CreateNumber(min));
        return;
    }
    cJSON_AddNumberToObject(place->out, "min", min);
    cJSON_AddNumberToObject(place->out, "max", max);
    if (is_log)
        cJSON_AddStringToObject(place->out, "scale", "log");
    if (q > 0 && is_whole(q) && is_whole(min))
        cJSON_AddStringToObject(place->out, "type", "int");
    if (q > 0 && q != 1)
        cJSON_AddNumberToObject(place->out, "quantum", q);
    else if (q == 1 && !is_whole(min))
        cJSON_AddNumberToObject(place->out, "quantum", q);
}

/* The multiples of q from k = low to high, each as likely as the share of the distribution that rounds to it. */
static void add_listed(struct place *place, double low, double high, double q,
                       double (*below)(const struct place *place, double value))
{
    double total = 0;
    /* Beyond 2^53 k + 1 is k. Infinities make no difference at all. */
    if (!(high - low < LISTED_MAX) || !(fabs(low) < 9007199254740992.0 && fabs(high) < 9007199254740992.0)) {
        problems_add(&place->reader->problems,
                     "%s.q: %.6g makes %.0f values, at most %d are listed; the distribution without q is likely meant",
                     place->where, q, high - low + 1, LISTED_MAX);
        return;
    }
    cJSON *values = cJSON_AddArrayToObject(place->out, "values");
    cJSON *probabilities = cJSON_AddArrayToObject(place->out, "probabilities");
    for (int pass = 0; pass < 2; pass++)
        for (double k = low; k <= high; k++) {
            double share = below(place, (k + 0.5) * q) - below(place, (k - 0.5) * q);
            if (pass == 0) {
                total += share;
                continue;
            }
            json_append(values, cJSON_CreateNumber(multiple(k, q)));
            json_append(probabilities, cJSON_CreateNumber(total > 0 ? share / total : 0));
        }
}

/* Kinds ------------------------------------------------------------------------------------------------------------ */

static void convert_categories(struct place *place)
{
    const cJSON *values = json_get(place->item, "values");
    if (!cJSON_IsArray(values) || !values->child)
        problems_add(&place->reader->problems, "%s.values: %s was found, a list of at least one value was expected",
                     place->where, cJSON_IsArray(values) ? "an empty list" : json_type_name(values));
    else
        json_put(place->out, "values", cJSON_Duplicate(values, true));
}

/* Weights, whatever their sum. */
static void convert_weighted(struct place *place)
{
    const cJSON *list = json_get(place->item, "probabilities");
    int n = cJSON_GetArraySize(json_get(place->item, "values"));
    double sum = 0;
    convert_categories(place);
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != n) {
        problems_add(&place->reader->problems, "%s.probabilities: %d numbers, one a value, were expected", place->where,
                     n);
        return;
    }
    for (const cJSON *item = list->child; item; item = item->next)
        sum += cJSON_IsNumber(item) && item->valuedouble >= 0 ? item->valuedouble : NAN;
    if (!(sum > 0)) {
        problems_add(&place->reader->problems, "%s.probabilities: numbers of at least 0, one above it, were expected",
                     place->where);
        return;
    }
    cJSON *shares = cJSON_AddArrayToObject(place->out, "probabilities");
    for (const cJSON *item = list->child; item; item = item->next)
        json_append(shares, cJSON_CreateNumber(item->valuedouble / sum));
}

static void convert_int_uniform(struct place *place)
{
    double min, max;
    if (!bounds(place, &min, &max))
        return;
    if (!is_whole(min) || !is_whole(max))
        problems_add(&place->reader->problems, "%s: int_uniform takes whole bounds, %.17g to %.17g was found",
                     place->where, min, max);
    else
        add_range(place, min, max, 1, false);
}

static void convert_uniform(struct place *place)
{
    double min, max;
    if (bounds(place, &min, &max))
        add_range(place, min, max, 0, false);
}

static void convert_q_uniform(struct place *place)
{
    double min, max, q;
    if (bounds(place, &min, &max) && quantum(place, &q))
        add_range(place, multiple(round(min / q), q), multiple(round(max / q), q), q, false);
}

static void convert_log_values(struct place *place)
{
    double min, max;
    if (value_bounds(place, &min, &max))
        add_range(place, min, max, 0, true);
}

static void convert_log(struct place *place)
{
    double min, max;
    if (exponent_bounds(place, false, &min, &max))
        add_range(place, min, max, 0, true);
}

static void convert_inverse_log(struct place *place)
{
    double min, max;
    if (exponent_bounds(place, true, &min, &max))
        add_range(place, min, max, 0, true);
}

/* Multiples of q on a logarithmic scale; 0, which has no logarithm, is left out. */
static void add_q_log(struct place *place, double min, double max)
{
    double q, low, high;
    if (!quantum(place, &q))
        return;
    low = round(min / q);
    high = round(max / q);
    if (high < 1) {
        problems_add(&place->reader->problems, "%s.q: every value up to %.6g rounds to 0", place->where, max);
        return;
    }
    if (low < 1)
        text_printf(place->reader->remarks, "%s: values that round to 0 are left out, the least is %.15g\n",
                    place->where, q);
    add_range(place, multiple(fmax(low, 1), q), multiple(high, q), q, true);
}

static void convert_q_log_values(struct place *place)
{
    double min, max;
    if (value_bounds(place, &min, &max))
        add_q_log(place, min, max);
}

static void convert_q_log(struct place *place)
{
    double min, max;
    if (exponent_bounds(place, false, &min, &max))
        add_q_log(place, min, max);
}

static bool read_normal(const struct place *place, double *mean, double *deviation)
{
    struct place reading = *place;
    *mean = 0;
    *deviation = 1;
    if (!number(&reading, "mu", false, mean) || !number(&reading, "sigma", false, deviation))
        return false;
    if (*deviation <= 0)
        problems_add(&place->reader->problems, "%s.sigma: %.17g must be above 0", place->where, *deviation);
    return *deviation > 0;
}

static void add_normal(struct place *place, const char *name, bool is_int)
{
    double mean, deviation;
    if (!read_normal(place, &mean, &deviation))
        return;
    cJSON_AddStringToObject(place->out, "distribution", name);
    cJSON_AddNumberToObject(place->out, "mean", mean);
    cJSON_AddNumberToObject(place->out, "deviation", deviation);
    if (is_int)
        cJSON_AddStringToObject(place->out, "type", "int");
}

static void convert_normal(struct place *place)
{
    add_normal(place, "normal", false);
}

static void convert_log_normal(struct place *place)
{
    add_normal(place, "log_normal", false);
}

/* The numbers were checked before. */
static double normal_below(const struct place *place, double value)
{
    double mean = 0, deviation = 1;
    read_normal(place, &mean, &deviation);
    return 0.5 * erfc(-(value - mean) / deviation / sqrt(2));
}

static double log_normal_below(const struct place *place, double value)
{
    return value > 0 ? normal_below(place, log(value)) : 0;
}

static void convert_q_normal(struct place *place)
{
    double q, mean, deviation;
    if (!quantum(place, &q))
        return;
    if (q == 1)
        add_normal(place, "normal", true);
    else if (read_normal(place, &mean, &deviation))
        add_listed(place, round((mean - normal_reach * deviation) / q), round((mean + normal_reach * deviation) / q), q,
                   normal_below);
}

static void convert_q_log_normal(struct place *place)
{
    double q, mean, deviation;
    if (!quantum(place, &q))
        return;
    if (q == 1)
        add_normal(place, "log_normal", true);
    else if (read_normal(place, &mean, &deviation))
        add_listed(place, round(exp(mean - normal_reach * deviation) / q),
                   round(exp(mean + normal_reach * deviation) / q), q, log_normal_below);
}

static bool read_beta(const struct place *place, double *a, double *b)
{
    struct place reading = *place;
    *a = *b = 1;
    if (!number(&reading, "a", false, a) || !number(&reading, "b", false, b))
        return false;
    if (*a <= 0 || *b <= 0)
        problems_add(&place->reader->problems, "%s: a %.6g and b %.6g must be above 0", place->where, *a, *b);
    return *a > 0 && *b > 0;
}

static double beta_quantile(double a, double b, double p)
{
    double low = 0, high = 1;
    for (int i = 0; i < 100; i++) {
        double middle = 0.5 * (low + high);
        if (stats_beta_below(a, b, middle) < p)
            low = middle;
        else
            high = middle;
    }
    return 0.5 * (low + high);
}

static void convert_beta(struct place *place)
{
    double a, b;
    if (!read_beta(place, &a, &b))
        return;
    if (a == 1 && b == 1) {
        add_range(place, 0, 1, 0, false);
        return;
    }
    cJSON *values = cJSON_AddArrayToObject(place->out, "values");
    for (int i = 0; i < BETA_VALUES; i++)
        json_append(values, cJSON_CreateNumber(beta_quantile(a, b, (i + 0.5) / BETA_VALUES)));
    text_printf(place->reader->remarks, "%s: a beta distribution has no counterpart, its %d quantiles stand for it\n",
                place->where, BETA_VALUES);
}

static double beta_below(const struct place *place, double value)
{
    double a = 1, b = 1;
    read_beta(place, &a, &b);
    return stats_beta_below(a, b, value);
}

static void convert_q_beta(struct place *place)
{
    double q, a, b;
    if (quantum(place, &q) && read_beta(place, &a, &b))
        add_listed(place, 0, round(1 / q), q, beta_below);
}

static const struct kind kinds[] = {
    {"categorical", "values", convert_categories},
    {"categorical_w_probabilities", "values probabilities", convert_weighted},
    {"int_uniform", "min max", convert_int_uniform},
    {"uniform", "min max", convert_uniform},
    {"q_uniform", "min max q", convert_q_uniform},
    {"log_uniform", "min max", convert_log},
    {"log_uniform_values", "min max", convert_log_values},
    {"inv_log_uniform", "min max", convert_inverse_log},
    {"inv_log_uniform_values", "min max", convert_log_values}, /* 1/x is log-uniform exactly where x is */
    {"q_log_uniform", "min max q", convert_q_log},
    {"q_log_uniform_values", "min max q", convert_q_log_values},
    {"normal", "mu sigma", convert_normal},
    {"q_normal", "mu sigma q", convert_q_normal},
    {"log_normal", "mu sigma", convert_log_normal},
    {"q_log_normal", "mu sigma q", convert_q_log_normal},
    {"beta", "a b", convert_beta},
    {"q_beta", "a b q", convert_q_beta},
    {"constant", "value", NULL}, /* a setting */
    {NULL, NULL, NULL},
};

/* A parameter ------------------------------------------------------------------------------------------------------ */

/* Whether a number was written as a whole one: 1, not 1.0. */
static bool is_written_whole(const cJSON *item)
{
    return item && cJSON_IsNumber(item) &&
           (item->valuestring ? !strpbrk(item->valuestring, ".eE") || strchr(item->valuestring, 'x')
                              : is_whole(item->valuedouble));
}

/* The distribution where the file names none. */
static const char *implied(const cJSON *item)
{
    if (json_get(item, "value"))
        return "constant";
    if (json_get(item, "values"))
        return json_get(item, "probabilities") ? "categorical_w_probabilities" : "categorical";
    if (json_get(item, "min") || json_get(item, "max"))
        return is_written_whole(json_get(item, "min")) && is_written_whole(json_get(item, "max")) ? "int_uniform"
                                                                                                  : "uniform";
    return NULL;
}

static const struct kind *find_kind(struct place *place)
{
    const char *names[sizeof(kinds) / sizeof(kinds[0])];
    const cJSON *given = json_get(place->item, "distribution");
    const char *name = given ? cJSON_GetStringValue(given) : implied(place->item);
    int n = 0;
    for (; kinds[n].name; n++) {
        names[n] = kinds[n].name;
        if (name && strcmp(name, kinds[n].name) == 0)
            return &kinds[n];
    }
    names[n] = NULL;
    char text[512];
    snprintf(text, sizeof(text), "%s.distribution: '%.200s' is not known", place->where,
             name ? name : json_type_name(given));
    if (given)
        problems_add_unknown(&place->reader->problems, text, name ? name : "", names);
    else
        problems_add(&place->reader->problems,
                     "%s: 'value', 'values', 'min' and 'max', 'distribution' or 'parameters' is missing", place->where);
    return NULL;
}

static void check_keys(struct place *place, const struct kind *kind)
{
    char words[64];
    const char *keys[KEYS_MAX] = {"distribution"};
    int n = 1;
    snprintf(words, sizeof(words), "%s", kind->keys);
    for (char *word = words; *word && n < KEYS_MAX - 1;) {
        size_t length = strcspn(word, " ");
        char *next = word + length + (word[length] == ' ');
        word[length] = '\0';
        keys[n++] = word;
        word = next;
    }
    keys[n] = NULL;
    wandb_check_keys(place->reader, place->item, place->where, keys);
}

static int read_nested(struct wandb_reader *reader, const char *name, const cJSON *item, struct err *err)
{
    static const char *const keys[] = {"parameters", NULL};
    const cJSON *inner = json_get(item, "parameters");
    char where[256], joined[256];
    int rc = 0;
    snprintf(where, sizeof(where), "parameters.%s", name);
    wandb_check_keys(reader, item, where, keys);
    if (!cJSON_IsObject(inner) || !inner->child) {
        problems_add(&reader->problems, "%s.parameters: a mapping of parameters was expected", where);
        return 0;
    }
    for (const cJSON *member = inner->child; member && rc == 0; member = member->next) {
        snprintf(joined, sizeof(joined), "%.120s.%.120s", name, member->string);
        rc = wandb_read_parameter(reader, joined, member, err);
    }
    return rc;
}

static int put(cJSON *object, const char *name, cJSON *value, struct err *err)
{
    return json_put(object, name, value) ? 0 : err_set(err, ERR_NOMEM, "no memory for the parameters");
}

int wandb_read_parameter(struct wandb_reader *reader, const char *name, const cJSON *item, struct err *err)
{
    char where[256];
    struct place place = {.reader = reader, .where = where, .item = item};
    snprintf(where, sizeof(where), "parameters.%.240s", name);
    if (!cJSON_IsObject(item)) {
        problems_add(&reader->problems, "%s: %s was found, a mapping such as {values: [1, 2]} was expected", where,
                     json_type_name(item));
        return 0;
    }
    if (json_get(item, "parameters"))
        return read_nested(reader, name, item, err);
    const struct kind *kind = find_kind(&place);
    if (!kind)
        return 0;
    check_keys(&place, kind);
    if (!kind->convert) {
        const cJSON *value = json_get(item, "value");
        if (!value)
            problems_add(&reader->problems, "%s.value: is missing", where);
        return value ? put(reader->settings, name, cJSON_Duplicate(value, true), err) : 0;
    }
    place.out = cJSON_CreateObject();
    int rc = put(reader->parameters, name, place.out, err);
    if (rc == 0)
        kind->convert(&place);
    return rc;
}
