/* What must hold between parameters: conditions somebody can meet, names that exist, no circles, options that apply. */
#include <stdio.h>
#include <string.h>

#include "orchestrator/space_internal.h"

struct checker {
    struct space *space;
    struct problems *problems;
};

/* ---- dependencies ---------------------------------------------------------------------------------------------- */

typedef void on_name_fn(const char *name, bool in_expression, void *context);

/* What decides whether the setting of this name applies, up to the root: momentum, optimizer, … */
static void each_applying(const struct setting *setting, on_name_fn *on_name, void *context)
{
    for (int level = 0; setting && setting->when && level < 8; level++) {
        on_name(setting->when, false, context);
        setting = settings_find(setting->when);
    }
}

struct visit {
    on_name_fn *on_name;
    void *context;
};

static int visit_expression_name(const char *name, void *context)
{
    struct visit *visit = context;
    visit->on_name(name, true, visit->context);
    return 0;
}

void space_each_dependency(const struct parameter *parameter, on_name_fn *on_name, void *context)
{
    struct visit visit = {on_name, context};
    bool is_free = parameter->setting->types & SETTING_ANY;
    each_applying(parameter->setting, on_name, context);
    for (int i = 0; i < parameter->n_cases; i++) {
        const struct distribution *distribution = &parameter->cases[i];
        for (int k = 0; k < distribution->n_conditions; k++) {
            on_name(distribution->conditions[k].name, false, context);
            if (!is_free)
                each_applying(settings_find(distribution->conditions[k].name), on_name, context);
        }
        if (distribution->expression)
            expression_each_name(distribution->expression, visit_expression_name, &visit);
    }
}

/* ---- values somebody can take ---------------------------------------------------------------------------------- */

static bool default_matches(const struct setting *setting, const cJSON *settings, const cJSON *wanted)
{
    cJSON *fallback = settings_default(setting, settings);
    bool matches = fallback && space_value_matches(fallback, wanted);
    cJSON_Delete(fallback);
    return matches;
}

static bool distribution_can_be(const struct distribution *distribution, const cJSON *wanted)
{
    if (distribution->kind == DISTRIBUTION_VALUES) {
        for (const cJSON *value = distribution->values->child; value; value = value->next)
            if (space_value_matches(value, wanted))
                return true;
        return false;
    }
    if (!cJSON_IsNumber(wanted))
        return false;
    bool is_range = distribution->kind == DISTRIBUTION_RANGE;
    return !((is_range || distribution->has_min) && wanted->valuedouble < distribution->min) &&
           !((is_range || distribution->has_max) && wanted->valuedouble > distribution->max);
}

/* Whether the trial can have this value under this name. Where the definition of the name is itself wrong, yes: one
 * mistake is one message. */
static bool can_be(const struct space *space, const struct setting *setting, const cJSON *wanted)
{
    const cJSON *fixed = json_get(space->settings, setting->name);
    int position = space_find(space, setting->name);
    if (position >= 0) {
        const struct parameter *parameter = &space->parameters[position];
        bool always = parameter->n_cases == 0;
        for (int i = 0; i < parameter->n_cases; i++) {
            if (distribution_can_be(&parameter->cases[i], wanted))
                return true;
            always = always || parameter->cases[i].n_conditions == 0;
        }
        return parameter->n_cases == 0 || (!always && default_matches(setting, space->settings, wanted));
    }
    if (fixed)
        return settings_check(setting, fixed, "settings", NULL) < 0 || space_value_matches(fixed, wanted);
    return default_matches(setting, space->settings, wanted);
}

/* Whether some configuration has what `setting` needs. */
static bool can_apply(const struct space *space, const struct setting *setting)
{
    const struct setting *parent = setting->when ? settings_find(setting->when) : NULL;
    if (!parent)
        return true;
    if (!can_apply(space, parent))
        return false;
    for (const char *w = setting->when_values; *w; w += strcspn(w, " "), w += strspn(w, " ")) {
        char word[128];
        snprintf(word, sizeof(word), "%.*s", (int)strcspn(w, " "), w);
        cJSON wanted = {.type = cJSON_String, .valuestring = word};
        if (can_be(space, parent, &wanted))
            return true;
    }
    return false;
}

static void check_applies(struct checker *checker, const char *part, const char *name)
{
    const struct setting *setting = space_setting(checker->space, name);
    if (!setting || can_apply(checker->space, setting))
        return;
    problems_add(checker->problems, "%s.%s: '%s' exists only when '%s' is one of '%s', which cannot be chosen here",
                 part, name, name, setting->when, setting->when_values);
}

/* ---- conditions and expressions -------------------------------------------------------------------------------- */

/* A misspelt choice is always wrong; of the others one must be possible, so that a case written for several methods
 * may stay when one of them is left out. */
static void check_condition(struct checker *checker, const char *where, const struct condition *condition)
{
    const struct setting *setting = space_setting(checker->space, condition->name);
    struct text text = {0};
    struct err err;
    char place[256];
    snprintf(place, sizeof(place), "%s.when.%s", where, condition->name);
    bool is_possible = false, is_misspelt = false;
    for (const cJSON *wanted = condition->values->child; wanted; wanted = wanted->next) {
        text_add(&text, text.len ? " or " : "");
        json_add(&text, wanted);
        if (can_be(checker->space, setting, wanted)) {
            is_possible = true;
        } else if (cJSON_IsString(wanted) && setting->choices && settings_check(setting, wanted, place, &err) < 0) {
            problems_add_err(checker->problems, &err);
            is_misspelt = true;
        }
    }
    if (!is_possible && !is_misspelt)
        problems_add(checker->problems, "%s: '%s' cannot be %s here", place, condition->name,
                     text.failed ? "that" : text.data);
    text_done(&text);
}

static bool is_numeric(const struct parameter *parameter)
{
    for (int i = 0; i < parameter->n_cases; i++) {
        const cJSON *values = parameter->cases[i].values;
        if (!values)
            return true;
        for (const cJSON *value = values->child; value; value = value->next)
            if (cJSON_IsNumber(value))
                return true;
    }
    return parameter->n_cases == 0; /* wrong itself: said there */
}

struct expression_check {
    struct checker *checker;
    const char *where;
};

static const char *nearest_name(const struct space *space, const char *name)
{
    const char *names[512];
    int n = 0;
    for (int i = 0; i < space->n_parameters && n < 511; i++)
        names[n++] = space->parameters[i].name;
    for (const cJSON *item = space->settings ? space->settings->child : NULL; item && n < 511; item = item->next)
        if (cJSON_IsNumber(item))
            names[n++] = item->string;
    names[n] = NULL;
    return text_nearest(name, names);
}

static int check_expression_name(const char *name, void *context)
{
    const struct expression_check *check = context;
    const struct space *space = check->checker->space;
    struct problems *problems = check->checker->problems;
    int position = space_find(space, name);
    const cJSON *fixed = json_get(space->settings, name);
    if (position < 0 && !fixed) {
        const char *near = nearest_name(space, name);
        problems_add(problems, "%s.expression: '%s' is no parameter and no number in 'settings'%s%s%s", check->where,
                     name, near ? "; nearest is '" : "", near ? near : "", near ? "'" : "");
    } else if (position >= 0 ? !is_numeric(&space->parameters[position]) : !cJSON_IsNumber(fixed)) {
        problems_add(problems, "%s.expression: '%s' is not a number", check->where, name);
    }
    return 0;
}

static void check_parameter(struct checker *checker, const struct parameter *parameter)
{
    bool is_last = false;
    for (int i = 0; i < parameter->n_cases; i++) {
        const struct distribution *distribution = &parameter->cases[i];
        char where[128];
        if (parameter->n_cases == 1)
            snprintf(where, sizeof(where), "parameters.%s", parameter->name);
        else
            snprintf(where, sizeof(where), "parameters.%s[%d]", parameter->name, i);
        if (is_last)
            problems_add(checker->problems, "%s: is never reached, an earlier case has no 'when'", where);
        is_last = is_last || distribution->n_conditions == 0;
        for (int k = 0; k < distribution->n_conditions; k++)
            check_condition(checker, where, &distribution->conditions[k]);
        struct expression_check check = {checker, where};
        if (distribution->expression)
            expression_each_name(distribution->expression, check_expression_name, &check);
    }
    check_applies(checker, "parameters", parameter->name);
}

/* ---- order ----------------------------------------------------------------------------------------------------- */

struct waiting {
    const struct space *space;
    const bool *placed;
    int on; /* the first parameter that is not placed yet, or -1 */
};

static void note_waiting(const char *name, bool in_expression, void *context)
{
    struct waiting *waiting = context;
    int i = space_find(waiting->space, name);
    (void)in_expression;
    if (i >= 0 && !waiting->placed[i] && waiting->on < 0)
        waiting->on = i;
}

static int waits_on(const struct space *space, const bool *placed, int i)
{
    struct waiting waiting = {space, placed, -1};
    space_each_dependency(&space->parameters[i], note_waiting, &waiting);
    return waiting.on;
}

/* From any parameter that cannot be placed the way along what it waits on runs into the circle; once inside, it is
 * told from where it closes. */
static void report_circle(const struct space *space, const bool *placed, int i, struct problems *problems)
{
    struct text text = {0};
    for (int step = 0; step < space->n_parameters; step++)
        i = waits_on(space, placed, i);
    int start = i;
    do {
        text_printf(&text, "%s -> ", space->parameters[i].name);
        i = waits_on(space, placed, i);
    } while (i != start);
    text_add(&text, space->parameters[start].name);
    problems_add(problems, "parameters.%s: depends on itself in a circle: %s", space->parameters[start].name,
                 text.failed ? "…" : text.data);
    text_done(&text);
}

/* As in the file, except that each comes after what it looks at. */
static int order(struct space *space, struct arena *arena, struct problems *problems, struct err *err)
{
    size_t n = (size_t)space->n_parameters;
    struct parameter *ordered = arena_calloc(arena, n + 1, sizeof(*ordered));
    bool *placed = arena_calloc(arena, n + 1, sizeof(*placed));
    if (!ordered || !placed)
        return err_set(err, ERR_NOMEM, "no memory for the parameters");
    for (int k = 0; k < space->n_parameters; k++) {
        int next = -1, stuck = -1;
        for (int i = space->n_parameters - 1; i >= 0; i--) {
            if (placed[i])
                continue;
            stuck = i;
            if (waits_on(space, placed, i) < 0)
                next = i;
        }
        if (next < 0) {
            report_circle(space, placed, stuck, problems);
            return 0;
        }
        ordered[k] = space->parameters[next];
        placed[next] = true;
    }
    space->parameters = ordered;
    return 0;
}

int space_check(struct space *space, struct arena *arena, struct problems *problems, struct err *err)
{
    struct checker checker = {space, problems};
    for (int i = 0; i < space->n_parameters; i++)
        check_parameter(&checker, &space->parameters[i]);
    for (const cJSON *item = space->settings ? space->settings->child : NULL; item; item = item->next)
        check_applies(&checker, "settings", item->string);
    return order(space, arena, problems, err);
}
