/* Reads the search space from the definition's `parameters`. A parameter with a mistake keeps no case, so that what
 * refers to it is not reported for the same mistake. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "orchestrator/space_internal.h"

enum { WHERE_SIZE = 256 };
/* A normal of which fewer draws than this lie within its bounds was not meant. */
static const double normal_least_share = 1e-3;

struct reader {
    struct space *space;
    struct arena *arena;
    struct problems *problems;
    const struct setting *setting; /* of the parameter that is read */
    const char *where;             /* JSON path of the case that is read */
    const cJSON *parameters;
    const char *const *names; /* of a free space, NULL-terminated */
};

static const char *const keys_of_values[] = {"values", "probabilities", "when", NULL};
static const char *const keys_of_range[] = {"min", "max", "scale", "quantum", "type", "when", NULL};
static const char *const keys_of_normal[] = {"distribution", "mean", "deviation", "min", "max", "type", "when", NULL};
static const char *const keys_of_expression[] = {"expression", "when", NULL};
static const char *const all_keys[] = {"values", "probabilities", "min",  "max",       "scale",      "quantum",
                                       "type",   "distribution",  "mean", "deviation", "expression", "when",
                                       NULL};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for the parameters");
}

static bool is_among(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

static void add_unknown(struct problems *problems, const char *where, const char *what, const char *name,
                        const char *const *known)
{
    char text[512];
    snprintf(text, sizeof(text), "%s: unknown %s '%.200s'", where, what, name);
    problems_add_unknown(problems, text, name, known);
}

static void check_keys(struct reader *reader, const cJSON *object, const char *const *keys, const char *kind)
{
    for (const cJSON *item = object->child; item; item = item->next) {
        if (is_among(item->string, keys))
            continue;
        if (is_among(item->string, all_keys))
            problems_add(reader->problems, "%s.%s: does not belong to %s", reader->where, item->string, kind);
        else
            add_unknown(reader->problems, reader->where, "key", item->string, all_keys);
    }
}

/* A number of the case into *out; false when it is absent or wrong. */
static bool read_number(struct reader *reader, const cJSON *object, const char *key, bool is_required, double *out)
{
    const cJSON *item = json_get(object, key);
    if (item && cJSON_IsNumber(item)) {
        *out = item->valuedouble;
        return true;
    }
    if (item || is_required)
        problems_add(reader->problems, "%s.%s: %s, a number was expected", reader->where, key,
                     item ? json_type_name(item) : "missing");
    return false;
}

/* A text of the case that must be one of `names`: its position, or `fallback`. */
static int read_choice(struct reader *reader, const cJSON *object, const char *key, const char *const *names,
                       int fallback)
{
    const cJSON *item = json_get(object, key);
    char where[WHERE_SIZE];
    if (!item)
        return fallback;
    snprintf(where, sizeof(where), "%s.%s", reader->where, key);
    for (int i = 0; cJSON_IsString(item) && names[i]; i++)
        if (strcmp(names[i], item->valuestring) == 0)
            return i;
    if (cJSON_IsString(item))
        add_unknown(reader->problems, where, key, item->valuestring, names);
    else
        problems_add(reader->problems, "%s: %s was found, '%s' or '%s' was expected", where, json_type_name(item),
                     names[0], names[1]);
    return fallback;
}

/* An end of a range must be a value the setting takes, and whole when ints are drawn. */
static void check_bound(struct reader *reader, const char *key, double value, bool is_int)
{
    struct err err;
    char where[WHERE_SIZE];
    cJSON number = {.type = cJSON_Number, .valuedouble = value};
    snprintf(where, sizeof(where), "%s.%s", reader->where, key);
    if (settings_check(reader->setting, &number, where, &err) < 0)
        problems_add_err(reader->problems, &err);
    else if (is_int && value != floor(value))
        problems_add(reader->problems, "%s: %.17g is not a whole number", where, value);
}

/* "type": int or float. Without it what the setting takes: whole numbers only make an int. */
static bool read_is_int(struct reader *reader, const cJSON *object)
{
    static const char *const types[] = {"float", "int", NULL};
    bool only_int = (reader->setting->types & SETTING_INT) && !(reader->setting->types & SETTING_NUMBER);
    bool is_int = read_choice(reader, object, "type", types, only_int) == 1;
    if (only_int && !is_int)
        problems_add(reader->problems, "%s.type: '%s' takes whole numbers only, 'int' was expected", reader->where,
                     reader->setting->name);
    return is_int || only_int;
}

static void read_quantum(struct reader *reader, const cJSON *object, struct distribution *out, bool has_bounds)
{
    if (!read_number(reader, object, "quantum", false, &out->quantum))
        return;
    if (out->quantum <= 0)
        problems_add(reader->problems, "%s.quantum: %.17g must be above 0", reader->where, out->quantum);
    else if (out->is_int && out->quantum != floor(out->quantum))
        problems_add(reader->problems, "%s.quantum: %.17g is not a whole number", reader->where, out->quantum);
    else if (has_bounds && out->max > out->min && out->quantum > (out->max - out->min) * (1 + 1e-9))
        problems_add(reader->problems, "%s.quantum: %.17g is above max - min, %.17g", reader->where, out->quantum,
                     out->max - out->min);
}

static void read_range(struct reader *reader, const cJSON *object, struct distribution *out)
{
    static const char *const scales[] = {"linear", "log", NULL};
    check_keys(reader, object, keys_of_range, "a range");
    out->is_int = read_is_int(reader, object);
    out->is_log = read_choice(reader, object, "scale", scales, 0) == 1;
    out->has_min = read_number(reader, object, "min", true, &out->min);
    out->has_max = read_number(reader, object, "max", true, &out->max);
    if (out->has_min)
        check_bound(reader, "min", out->min, out->is_int);
    if (out->has_max)
        check_bound(reader, "max", out->max, out->is_int);
    bool has_bounds = out->has_min && out->has_max;
    if (has_bounds && out->min > out->max)
        problems_add(reader->problems, "%s: min %.17g is above max %.17g", reader->where, out->min, out->max);
    if (out->has_min && out->is_log && out->min <= 0)
        problems_add(reader->problems, "%s.min: %.17g must be above 0 for scale log", reader->where, out->min);
    read_quantum(reader, object, out, has_bounds);
}

/* Share of a standard normal below x. */
static double normal_below(double x)
{
    return 0.5 * erfc(-x / sqrt(2));
}

/* The share of draws within the bounds of distribution and setting. */
static double share_within(const struct reader *reader, const struct distribution *distribution)
{
    double low = reader->setting->min, high = reader->setting->max;
    if (distribution->has_min)
        low = fmax(low, distribution->min);
    if (distribution->has_max)
        high = fmin(high, distribution->max);
    if (distribution->is_int) { /* what rounds to the bounds is within */
        low -= 0.5;
        high += 0.5;
    }
    if (distribution->kind == DISTRIBUTION_LOG_NORMAL) {
        low = low > 0 ? log(low) : -INFINITY;
        high = high > 0 ? log(high) : -INFINITY;
    }
    double a = (low - distribution->mean) / distribution->deviation;
    double b = (high - distribution->mean) / distribution->deviation;
    /* In the upper tail 1 - small loses all digits: the mirrored difference keeps them. */
    return a > 0 ? normal_below(-a) - normal_below(-b) : normal_below(b) - normal_below(a);
}

static void read_normal(struct reader *reader, const cJSON *object, struct distribution *out)
{
    static const char *const names[] = {"normal", "log_normal", NULL};
    int before = reader->problems->n;
    check_keys(reader, object, keys_of_normal, "a normal distribution");
    if (read_choice(reader, object, "distribution", names, 0) == 1)
        out->kind = DISTRIBUTION_LOG_NORMAL;
    if (!(reader->setting->types & (SETTING_NUMBER | SETTING_INT))) {
        problems_add(reader->problems, "%s: '%s' takes no numbers, 'values' was expected", reader->where,
                     reader->setting->name);
        return;
    }
    out->is_int = read_is_int(reader, object);
    read_number(reader, object, "mean", true, &out->mean);
    if (read_number(reader, object, "deviation", true, &out->deviation) && out->deviation <= 0)
        problems_add(reader->problems, "%s.deviation: %.17g must be above 0", reader->where, out->deviation);
    if ((out->has_min = read_number(reader, object, "min", false, &out->min)))
        check_bound(reader, "min", out->min, out->is_int);
    if ((out->has_max = read_number(reader, object, "max", false, &out->max)))
        check_bound(reader, "max", out->max, out->is_int);
    if (out->has_min && out->has_max && out->min > out->max)
        problems_add(reader->problems, "%s: min %.17g is above max %.17g", reader->where, out->min, out->max);
    if (reader->problems->n == before && share_within(reader, out) < normal_least_share)
        problems_add(reader->problems, "%s: less than one in 1000 draws would be a value that '%s' may have here",
                     reader->where, reader->setting->name);
}

static int read_probabilities(struct reader *reader, const cJSON *list, struct distribution *out, struct err *err)
{
    double sum = 0;
    int i = 0, before = reader->problems->n;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != out->n_values) {
        problems_add(reader->problems, "%s.probabilities: %d numbers, one a value, were expected, %d were found",
                     reader->where, out->n_values, cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0);
        return 0;
    }
    out->probabilities = arena_calloc(reader->arena, (size_t)out->n_values + 1, sizeof(*out->probabilities));
    if (!out->probabilities)
        return no_memory(err);
    for (const cJSON *item = list->child; item; item = item->next, i++) {
        if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble > 1)
            problems_add(reader->problems, "%s.probabilities[%d]: a number from 0 to 1 was expected", reader->where, i);
        else
            sum += out->probabilities[i] = item->valuedouble;
    }
    if (reader->problems->n == before && fabs(sum - 1) > 1e-6)
        problems_add(reader->problems, "%s.probabilities: their sum is %.10g, 1 was expected", reader->where, sum);
    return 0;
}

static int read_values(struct reader *reader, const cJSON *object, struct distribution *out, struct err *err)
{
    const cJSON *list = json_get(object, "values"), *probabilities = json_get(object, "probabilities");
    int i = 0;
    check_keys(reader, object, keys_of_values, "values");
    if (!cJSON_IsArray(list) || !list->child) {
        problems_add(reader->problems, "%s.values: %s was found, a list of at least one value was expected",
                     reader->where, cJSON_IsArray(list) ? "an empty list" : json_type_name(list));
        return 0;
    }
    for (const cJSON *item = list->child; item; item = item->next, i++) {
        struct err wrong;
        char where[WHERE_SIZE];
        snprintf(where, sizeof(where), "%s.values[%d]", reader->where, i);
        if (settings_check(reader->setting, item, where, &wrong) < 0)
            problems_add_err(reader->problems, &wrong);
    }
    out->values = list;
    out->n_values = i;
    return probabilities ? read_probabilities(reader, probabilities, out, err) : 0;
}

static int read_expression(struct reader *reader, const cJSON *object, struct distribution *out, struct err *err)
{
    const cJSON *text = json_get(object, "expression");
    struct err wrong;
    check_keys(reader, object, keys_of_expression, "an expression");
    if (!cJSON_IsString(text)) {
        problems_add(reader->problems, "%s.expression: %s was found, a text was expected", reader->where,
                     json_type_name(text));
        return 0;
    }
    if (!(reader->setting->types & (SETTING_NUMBER | SETTING_INT)))
        problems_add(reader->problems, "%s.expression: '%s' takes no numbers, 'values' was expected", reader->where,
                     reader->setting->name);
    int rc = expression_parse(text->valuestring, reader->arena, &out->expression, &wrong);
    if (rc == ERR_NOMEM)
        return no_memory(err);
    if (rc < 0)
        problems_add(reader->problems, "%s.expression: %s", reader->where, wrong.message);
    return 0;
}

/* The values of a condition as an array. One value becomes an array of one in the arena: a copy of the item's head,
 * because its neighbours in the object must not be its neighbours in the array. */
static int read_condition_values(struct reader *reader, const cJSON *item, const cJSON **values, struct err *err)
{
    if (cJSON_IsArray(item)) {
        *values = item;
        return 0;
    }
    cJSON *array = arena_calloc(reader->arena, 1, sizeof(*array)),
          *only = arena_calloc(reader->arena, 1, sizeof(*only));
    if (!array || !only)
        return no_memory(err);
    *only = *item;
    only->next = only->prev = NULL;
    only->string = NULL;
    array->type = cJSON_Array;
    array->child = only;
    *values = array;
    return 0;
}

static int read_when(struct reader *reader, const cJSON *when, struct distribution *out, struct err *err)
{
    char where[WHERE_SIZE];
    snprintf(where, sizeof(where), "%s.when", reader->where);
    if (!cJSON_IsObject(when)) {
        problems_add(reader->problems, "%s: %s was found, an object such as {\"method\": \"lora\"} was expected", where,
                     json_type_name(when));
        return 0;
    }
    out->conditions = arena_calloc(reader->arena, (size_t)cJSON_GetArraySize(when) + 1, sizeof(*out->conditions));
    if (!out->conditions)
        return no_memory(err);
    for (const cJSON *item = when->child; item; item = item->next) {
        struct condition *condition = &out->conditions[out->n_conditions];
        if (reader->space->is_free
                ? !json_get(reader->parameters, item->string) && !json_get(reader->space->settings, item->string)
                : !settings_find(item->string)) {
            add_unknown(reader->problems, where, "name", item->string,
                        reader->space->is_free ? reader->names : settings_names());
            continue;
        }
        if (cJSON_IsArray(item) && !item->child)
            problems_add(reader->problems, "%s.%s: the list is empty", where, item->string);
        condition->name = item->string;
        int rc = read_condition_values(reader, item, &condition->values, err);
        if (rc < 0)
            return rc;
        out->n_conditions++;
    }
    return 0;
}

/* One case; its mistakes go into the problems. */
static int read_case(struct reader *reader, const cJSON *object, struct distribution *out, struct err *err)
{
    int rc = 0;
    if (!cJSON_IsObject(object)) {
        problems_add(reader->problems, "%s: %s was found, an object such as {\"values\": [...]} was expected",
                     reader->where, json_type_name(object));
        return 0;
    }
    if (json_get(object, "values")) {
        out->kind = DISTRIBUTION_VALUES;
        rc = read_values(reader, object, out, err);
    } else if (json_get(object, "expression")) {
        out->kind = DISTRIBUTION_EXPRESSION;
        rc = read_expression(reader, object, out, err);
    } else if (json_get(object, "distribution")) {
        out->kind = DISTRIBUTION_NORMAL;
        read_normal(reader, object, out);
    } else if (json_get(object, "min") || json_get(object, "max")) {
        out->kind = DISTRIBUTION_RANGE;
        read_range(reader, object, out);
    } else {
        check_keys(reader, object, all_keys, "a parameter");
        problems_add(reader->problems, "%s: 'values', 'min' and 'max', 'distribution' or 'expression' is missing",
                     reader->where);
    }
    const cJSON *when = json_get(object, "when");
    return rc == 0 && when ? read_when(reader, when, out, err) : rc;
}

static int read_parameter(struct reader *reader, const cJSON *item, struct parameter *out, struct err *err)
{
    bool is_list = cJSON_IsArray(item);
    int n = is_list ? cJSON_GetArraySize(item) : 1, before = reader->problems->n, rc = 0;
    char where[WHERE_SIZE / 2]; /* what is added behind it must fit too */
    out->name = item->string;
    out->setting = reader->setting;
    out->cases = arena_calloc(reader->arena, (size_t)n + 1, sizeof(*out->cases));
    if (!out->cases)
        return no_memory(err);
    if (n == 0)
        problems_add(reader->problems, "parameters.%s: the list of cases is empty", item->string);
    reader->where = where;
    for (int i = 0; i < n && rc == 0; i++) {
        /* Paths as space_check writes them: the position only where there are several. */
        if (n > 1)
            snprintf(where, sizeof(where), "parameters.%s[%d]", item->string, i);
        else
            snprintf(where, sizeof(where), "parameters.%s", item->string);
        rc = read_case(reader, is_list ? cJSON_GetArrayItem(item, i) : item, &out->cases[i], err);
    }
    reader->where = NULL;
    out->n_cases = reader->problems->n == before ? n : 0;
    return rc;
}

/* What the names of a free space may have: numbers where the case is a range, else anything. */
static const struct setting *free_setting(struct reader *reader, const char *name)
{
    struct setting *setting = arena_calloc(reader->arena, 1, sizeof(*setting));
    if (setting)
        *setting = (struct setting){
            .name = name,
            .group = "",
            .types = SETTING_ANY | SETTING_NUMBER | SETTING_INT,
            .min = -INFINITY,
            .max = INFINITY,
            .help = "",
        };
    return setting;
}

static const char **free_names(const struct reader *reader)
{
    const cJSON *const objects[] = {reader->parameters, reader->space->settings};
    size_t n = 0;
    for (int i = 0; i < 2; i++)
        n += objects[i] ? (size_t)cJSON_GetArraySize(objects[i]) : 0;
    const char **names = arena_calloc(reader->arena, n + 1, sizeof(*names));
    n = 0;
    for (int i = 0; i < 2 && names; i++)
        for (const cJSON *item = objects[i] ? objects[i]->child : NULL; item; item = item->next)
            names[n++] = item->string;
    return names;
}

static int read_space(struct space *space, const cJSON *parameters, const cJSON *settings, bool is_free,
                      struct arena *arena, struct problems *problems, struct err *err)
{
    struct reader reader = {.space = space, .arena = arena, .problems = problems, .parameters = parameters};
    *space = (struct space){.settings = cJSON_IsObject(settings) ? settings : NULL, .is_free = is_free};
    if (!cJSON_IsObject(parameters)) {
        problems_add(problems, "parameters: %s was found, an object of parameters was expected",
                     json_type_name(parameters));
        return 0;
    }
    space->parameters = arena_calloc(arena, (size_t)cJSON_GetArraySize(parameters) + 1, sizeof(*space->parameters));
    reader.names = is_free ? free_names(&reader) : settings_names();
    if (!space->parameters || !reader.names)
        return no_memory(err);
    for (const cJSON *item = parameters->child; item; item = item->next) {
        reader.setting = is_free ? free_setting(&reader, item->string) : settings_find(item->string);
        if (!reader.setting && is_free)
            return no_memory(err);
        if (!reader.setting) {
            add_unknown(problems, "parameters", "name", item->string, settings_names());
            continue;
        }
        if (json_get(space->settings, item->string))
            problems_add(problems, "parameters.%s: stands in 'settings' too; a name is either fixed or searched",
                         item->string);
        int rc = read_parameter(&reader, item, &space->parameters[space->n_parameters++], err);
        if (rc < 0)
            return rc;
    }
    return space_check(space, arena, problems, err);
}

int space_read(struct space *space, const cJSON *parameters, const cJSON *settings, struct arena *arena,
               struct problems *problems, struct err *err)
{
    return read_space(space, parameters, settings, false, arena, problems, err);
}

int space_read_free(struct space *space, const cJSON *parameters, const cJSON *settings, struct arena *arena,
                    struct problems *problems, struct err *err)
{
    return read_space(space, parameters, settings, true, arena, problems, err);
}
