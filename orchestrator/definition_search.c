/* The sections of a definition about the search: algorithm, objectives, stopping rule, constraints. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/definition_internal.h"
#include "orchestrator/search.h"
#include "orchestrator/stop.h"
#include "orchestrator/stop_kinds.h"

enum { CONSTRAINTS_MAX = 32, FIRST_MAX = 10000, KINDS_MAX = 16 };
static const double configurations_max = 1000000;

/* Search ----------------------------------------------------------------------------------------------------------- */

static void add_unknown_kind(struct definition_reader *r, const char *where, const char *name, const char *const *names)
{
    const char *near = text_nearest(name, names);
    struct text list = {0};
    for (int i = 0; names[i]; i++)
        text_printf(&list, "%s%s", i == 0 ? "" : names[i + 1] ? ", " : " or ", names[i]);
    problems_add(&r->problems, "%s: '%s', %s was expected%s%s%s", where, name, list.data ? list.data : "another",
                 near ? "; nearest is '" : "", near ? near : "", near ? "'" : "");
    text_done(&list);
}

static void search_names(const char **names)
{
    int n = 0;
    for (int i = 0; search_kinds[i] && n < KINDS_MAX - 1; i++)
        names[n++] = search_kinds[i]->name;
    names[n] = NULL;
}

static void check_grid(struct definition_reader *r, int64_t size)
{
    if (strcmp(r->definition->search, "grid") == 0 && size < 0 && r->problems.n == 0)
        problems_add(&r->problems, "search.algorithm: grid cannot enumerate a range without quantum; use random, give "
                                   "the range a quantum, or list values");
}

static void read_first(struct definition_reader *r, const cJSON *search)
{
    const cJSON *first = json_get(search, "first");
    int i = 0;
    if (!first)
        return;
    if (!cJSON_IsArray(first) || cJSON_GetArraySize(first) > FIRST_MAX) {
        problems_add(&r->problems, "search.first: a list of at most %d configurations was expected", FIRST_MAX);
        return;
    }
    for (const cJSON *item = first->child; item; item = item->next, i++)
        if (!cJSON_IsObject(item))
            problems_add(&r->problems, "search.first[%d]: %s was found, an object was expected", i,
                         json_type_name(item));
    r->definition->first = first;
}

static const char *const trained_costs[] = {"seconds", "parameters", NULL};

/* What a trial costs: a number that it reports, of our own trials one of two. */
static int read_cost(struct definition_reader *r, const cJSON *search)
{
    struct definition *d = r->definition;
    int rc = definition_note(r, json_opt_string(search, "cost", "search", &d->cost, &r->err));
    if (rc < 0 || !d->cost)
        return rc;
    if (!d->is_free && strcmp(d->cost, trained_costs[0]) != 0 && strcmp(d->cost, trained_costs[1]) != 0)
        problems_add(&r->problems, "search.cost: '%s', seconds or parameters was expected", d->cost);
    if (strcmp(d->search, "auto") != 0 && strcmp(d->search, "gp") != 0)
        problems_add(&r->problems, "search.cost: '%s' looks at no costs, the algorithms gp and auto do", d->search);
    return 0;
}

static void read_warm_start(struct definition_reader *r, const cJSON *search)
{
    const cJSON *list = json_get(search, "warm_start");
    const char *own = r->definition->name; /* NULL where it is missing */
    bool is_good = cJSON_IsTrue(list) || (cJSON_IsArray(list) && list->child);
    for (const cJSON *item = cJSON_IsArray(list) ? list->child : NULL; item; item = item->next)
        is_good = is_good && cJSON_IsString(item) && !(own && strcmp(item->valuestring, own) == 0);
    if (is_good)
        r->definition->warm_start = list;
    else if (list && !cJSON_IsFalse(list))
        problems_add(&r->problems, "search.warm_start: true (all sweeps of the store) or a list of other sweeps' names "
                                   "was expected");
}

/* Where a model proposes within a number of trials, the incumbent may have twice as many seeds as the others. A fixed
 * seed leaves nothing to repeat. */
static int default_reevaluations(const struct definition *d, const cJSON *trials)
{
    const struct search_kind *kind = search_find(d->search);
    bool is_modelled = kind && !kind->propose;
    return is_modelled && trials && d->seeds > 1 && !json_get(d->settings, "seed") ? d->seeds : 0;
}

int definition_read_search(struct definition_reader *r)
{
    static const char *const keys[] = {"algorithm",  "configurations", "first", "cost",
                                       "warm_start", "reevaluate",     NULL};
    struct definition *d = r->definition;
    const cJSON *search = definition_section(r, "search");
    int64_t size = r->problems.n == 0 ? space_grid_size(&d->space) : -1;
    const char *names[KINDS_MAX];
    double configurations = 0, reevaluations = -1;
    const cJSON *trials = json_get(json_get(d->root, "budget"), "trials");
    int rc = 0;
    search_names(names);
    d->search = r->is_elsewhere || size <= 0 ? "auto" : "grid";
    if (search) {
        definition_check_keys(r, search, "search", keys, NULL);
        rc = definition_note(r, json_opt_string(search, "algorithm", "search", &d->search, &r->err));
        if (rc == 0 && json_get(search, "configurations"))
            rc = definition_number(r, search, "search", "configurations", 1, configurations_max, true, &configurations);
        if (rc == 0 && json_get(search, "reevaluate"))
            rc = definition_number(r, search, "search", "reevaluate", 0, 1000, true, &reevaluations);
        read_first(r, search);
        read_warm_start(r, search);
        if (rc == 0)
            rc = read_cost(r, search);
    }
    d->configurations = (int64_t)configurations;
    d->reevaluations = reevaluations >= 0 ? (int)reevaluations : default_reevaluations(d, trials);
    if (d->reevaluations > 0 && json_get(d->settings, "seed"))
        problems_add(&r->problems, "search.reevaluate: settings.seed is fixed, every repeat would be the same trial");
    bool is_known = false;
    for (int i = 0; names[i]; i++)
        is_known = is_known || strcmp(names[i], d->search) == 0;
    if (!is_known)
        add_unknown_kind(r, "search.algorithm", d->search, names);
    else
        check_grid(r, size);
    if (d->configurations == 0 && strcmp(d->search, "grid") != 0 && !r->is_elsewhere)
        d->configurations = cJSON_IsNumber(trials) && trials->valuedouble >= 1
                                ? (int64_t)fmin(trials->valuedouble, configurations_max)
                                : 20;
    return rc;
}

/* Objectives ------------------------------------------------------------------------------------------------------- */

/* Of a loss or an error the least is best unless the file says otherwise. */
static bool is_better_small(const struct definition *d, const char *metric)
{
    static const char *const words[] = {"loss",    "ece",  "error",   "perplexity", "regret", "cost",
                                        "seconds", "time", "latency", "bytes",      "memory", NULL};
    const struct task_metric *known =
        text_starts_with(metric, "validation/") ? task_metric(d->task_info, metric + 11) : NULL;
    if (!d->is_free)
        return known && !known->is_maximized;
    for (int i = 0; words[i]; i++)
        if (strstr(metric, words[i]))
            return true;
    return false;
}

static void check_metric(struct definition_reader *r, const char *where, const char *metric)
{
    const char *const *metrics = task_reports(r->definition->task_info, true);
    bool is_known = r->definition->is_free && metric[0];
    for (const char *const *m = metrics; *m && !is_known; m++)
        is_known = strcmp(*m, metric) == 0;
    const char *near = text_nearest(metric, metrics);
    if (!r->definition->is_free && text_starts_with(metric, "test/"))
        problems_add(&r->problems,
                     "%s.metric: '%s': choosing by the test set would make its scores worthless; use "
                     "the same metric of validation",
                     where, metric);
    else if (!is_known)
        problems_add(&r->problems, "%s.metric: '%s', %s was expected%s%s%s", where, metric, task_list(metrics),
                     near ? "; nearest is '" : "", near ? near : "", near ? "'" : "");
}

static int read_goal(struct definition_reader *r, const cJSON *item, const char *where, const char *metric,
                     bool *is_maximized)
{
    const char *goal = is_better_small(r->definition, metric) ? "minimize" : "maximize";
    int rc = definition_note(r, json_opt_string(item, "goal", where, &goal, &r->err));
    if (strcmp(goal, "maximize") != 0 && strcmp(goal, "minimize") != 0)
        problems_add(&r->problems, "%s.goal: '%s', maximize or minimize was expected", where, goal);
    *is_maximized = strcmp(goal, "maximize") == 0;
    return rc;
}

static int read_objective(struct definition_reader *r, const cJSON *item, int i)
{
    static const char *const keys[] = {"metric", "goal", NULL};
    struct objective *objective = &r->definition->objectives[i];
    char where[64];
    snprintf(where, sizeof(where), "objectives[%d]", i);
    objective->metric = task_reports(r->definition->task_info, true)[0];
    if (!cJSON_IsObject(item)) {
        problems_add(&r->problems, "%s: %s was found, an object was expected", where, json_type_name(item));
        return 0;
    }
    definition_check_keys(r, item, where, keys, NULL);
    int rc = definition_note(r, json_get_string(item, "metric", where, &objective->metric, &r->err));
    if (rc == 0)
        rc = read_goal(r, item, where, objective->metric, &objective->is_maximized);
    check_metric(r, where, objective->metric);
    for (int k = 0; k < i && r->definition->is_free; k++)
        if (strcmp(r->definition->objectives[k].metric, objective->metric) == 0)
            problems_add(&r->problems, "%s.metric: '%s' stands twice", where, objective->metric);
    return rc;
}

int definition_read_objectives(struct definition_reader *r)
{
    struct definition *d = r->definition;
    const cJSON *list = json_get(d->root, "objectives");
    int n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0, rc = 0;
    d->objectives = arena_calloc(&d->arena, OBJECTIVES_MAX, sizeof(*d->objectives));
    if (!d->objectives)
        return ERR_NOMEM;
    d->n_objectives = 1;
    d->objectives[0] =
        d->is_free ? (struct objective){"loss", false}
                   : (struct objective){task_reports(d->task_info, true)[0], d->task_info->metrics[0].is_maximized};
    if (!list)
        return 0;
    if (n == 0 || n > OBJECTIVES_MAX) {
        problems_add(&r->problems, "objectives: a list of 1 to %d objectives was expected", OBJECTIVES_MAX);
        return 0;
    }
    d->n_objectives = n;
    for (int i = 0; i < n && rc == 0; i++)
        rc = read_objective(r, cJSON_GetArrayItem(list, i), i);
    return rc;
}

/* Stopping --------------------------------------------------------------------------------------------------------- */

struct stop_option {
    const char *key;
    size_t offset;
    double min, max;
    bool is_int;
};

static const struct stop_option stop_options[] = {
    {"min_resource", offsetof(struct stopping, min_resource), 1, 1e15, true},
    {"max_resource", offsetof(struct stopping, max_resource), 1, 1e15, true},
    {"reduction_factor", offsetof(struct stopping, reduction_factor), 1.5, 1000, false},
    {"patience", offsetof(struct stopping, patience), 1, 1e9, true},
    {"min_delta", offsetof(struct stopping, min_delta), 0, 1e300, false},
    {"min_trials", offsetof(struct stopping, min_trials), 1, 1e9, true},
    {"percentile", offsetof(struct stopping, percentile), 0, 100, false},
    {"interval", offsetof(struct stopping, interval), 1, 1e15, true},
    {"upper", offsetof(struct stopping, upper), -1e300, 1e300, false},
    {"lower", offsetof(struct stopping, lower), -1e300, 1e300, false},
    {NULL, 0, 0, 0, false},
};

static bool is_word_of(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *w = words; *w; w += strcspn(w, " "), w += strspn(w, " "))
        if (strcspn(w, " ") == n && strncmp(w, word, n) == 0)
            return true;
    return false;
}

static int read_stop_options(struct definition_reader *r, const cJSON *section, struct stopping *out)
{
    const char *keys[32] = {"rule", "metric", "goal"};
    int n = 3, rc = 0;
    for (const struct stop_option *option = stop_options; option->key && rc == 0; option++) {
        if (!is_word_of(out->kind->options, option->key))
            continue;
        keys[n++] = option->key;
        if (json_get(section, option->key))
            rc = definition_number(r, section, "stopping", option->key, option->min, option->max, option->is_int,
                                   (double *)(void *)((char *)out + option->offset));
    }
    keys[n] = NULL;
    definition_check_keys(r, section, "stopping", keys, NULL);
    out->has_upper = json_get(section, "upper") != NULL;
    out->has_lower = json_get(section, "lower") != NULL;
    return rc;
}

/* Whole generations, evaluated where they end, of something that may change. */
static void check_generations(struct definition_reader *r, const struct stopping *stopping)
{
    const struct definition *d = r->definition;
    const cJSON *every = json_get(d->settings, "evaluate_every");
    bool can_change = false;
    for (int i = 0; i < d->space.n_parameters && !can_change; i++)
        can_change = stop_pbt_can_change(d, d->space.parameters[i].name);
    if (!json_get(json_get(d->root, "stopping"), "interval"))
        problems_add(&r->problems, "stopping.interval: is missing, the steps of a generation were expected");
    else if (stopping->interval >= stopping->max_resource && stopping->max_resource > 0)
        problems_add(&r->problems, "stopping.interval: %g, fewer than max_resource, %g, were expected",
                     stopping->interval, stopping->max_resource);
    if (!d->is_free &&
        !(cJSON_IsNumber(every) && every->valuedouble >= 1 && fmod(stopping->interval, every->valuedouble) == 0))
        problems_add(&r->problems, "settings.evaluate_every: a number that divides stopping.interval was expected, a "
                                   "generation ends with an evaluation");
    if (d->seeds > 1)
        problems_add(&r->problems, "seeds: %d, population-based training has one a member", d->seeds);
    if (!can_change)
        problems_add(&r->problems, "stopping.rule: pbt changes numbers such as learning_rate, weight_decay or "
                                   "method_dropout while it trains; none of them is a parameter");
}

/* A rule that only a trial's end would tell of: one epoch, and no validation within it. */
static void check_validations(struct definition_reader *r, const struct stopping *stopping)
{
    const struct definition *d = r->definition;
    const cJSON *epochs = json_get(d->settings, "epochs");
    static const char *const names[] = {"evaluate_every", "steps", "epochs"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const cJSON *given = json_get(d->settings, names[i]);
        bool is_said = given && cJSON_IsNumber(given) && given->valuedouble > 0;
        for (int k = 0; k < d->space.n_parameters; k++)
            is_said = is_said || strcmp(d->space.parameters[k].name, names[i]) == 0;
        if (is_said && given != epochs)
            return;
    }
    if (epochs && cJSON_IsNumber(epochs) && epochs->valuedouble <= 1)
        problems_add(&r->problems,
                     "settings.evaluate_every: is missing, and '%s' decides on validations on the way: with %g epochs "
                     "there is none before the end",
                     stopping->kind->name, epochs->valuedouble);
}

static void check_stopping(struct definition_reader *r, const struct stopping *stopping)
{
    if (stopping->max_resource > 0 && stopping->max_resource < stopping->min_resource)
        problems_add(&r->problems, "stopping: min_resource %g is above max_resource %g", stopping->min_resource,
                     stopping->max_resource);
    if (stopping->kind->needs_max && stopping->max_resource == 0)
        problems_add(&r->problems, "stopping.max_resource: is missing, '%s' needs the steps of a whole trial",
                     stopping->kind->name);
    if (stopping->kind->in_generations)
        check_generations(r, stopping);
    else if (!r->definition->is_free)
        check_validations(r, stopping);
    if (is_word_of(stopping->kind->options, "upper") && !stopping->has_upper && !stopping->has_lower)
        problems_add(&r->problems, "stopping: '%s' needs 'upper' or 'lower'", stopping->kind->name);
}

int definition_read_stopping(struct definition_reader *r)
{
    struct definition *d = r->definition;
    struct stopping *out = &d->stopping;
    const cJSON *section = definition_section(r, "stopping");
    const char *names[KINDS_MAX] = {0}, *rule = NULL;
    *out = (struct stopping){.metric = d->objectives[0].metric, .is_maximized = d->objectives[0].is_maximized};
    if (!section)
        return 0;
    for (int i = 0; i < KINDS_MAX - 1 && stop_kinds[i]; i++)
        names[i] = stop_kinds[i]->name;
    int rc = definition_note(r, json_get_string(section, "rule", "stopping", &rule, &r->err));
    if (rc < 0 || !rule)
        return rc;
    if (!(out->kind = stop_find(rule))) {
        add_unknown_kind(r, "stopping.rule", rule, names);
        return 0;
    }
    out->min_resource = 1;
    out->reduction_factor = 3;
    out->patience = 5;
    out->min_trials = out->kind->min_trials;
    out->percentile = out->kind->in_generations ? 25 : 50;
    out->interval = 1;
    rc = definition_note(r, json_opt_string(section, "metric", "stopping", &out->metric, &r->err));
    if (rc == 0 && strcmp(out->metric, d->objectives[0].metric) != 0)
        rc = read_goal(r, section, "stopping", out->metric, &out->is_maximized);
    if (rc == 0)
        rc = read_stop_options(r, section, out);
    check_stopping(r, out);
    return rc;
}

/* Constraints ------------------------------------------------------------------------------------------------------ */

/* Splits "left <= right"; false when there is no comparison, or two. */
static bool split(struct definition_reader *r, const char *text, struct constraint *out, const char **left,
                  const char **right)
{
    size_t at = strcspn(text, "<>");
    const char *rest = text + at;
    if (!*rest || strpbrk(rest + 1, "<>"))
        return false;
    out->is_at_least = *rest++ == '>';
    out->is_strict = *rest != '=';
    rest += *rest == '=';
    while (at > 0 && text[at - 1] == ' ')
        at--;
    rest += strspn(rest, " ");
    *left = arena_strndup(&r->definition->arena, text, at);
    *right = rest;
    return *left && at > 0 && *rest && !strchr(rest, '=');
}

struct names {
    struct definition_reader *r;
    const char *unknown;
};

static int note_unknown(const char *name, void *context)
{
    struct names *names = context;
    const struct definition *d = names->r->definition;
    for (int i = 0; i < d->space.n_parameters; i++)
        if (strcmp(d->space.parameters[i].name, name) == 0)
            return 0;
    const cJSON *fixed = json_get(d->settings, name);
    if (!(fixed && cJSON_IsNumber(fixed)) && !names->unknown)
        names->unknown = name;
    return 0;
}

/* A name alone that is no parameter is a metric; so is one with a slash, which no parameter has. */
static bool is_metric(struct definition_reader *r, const char *left)
{
    struct names names = {.r = r};
    if (strcspn(left, " +*%()<>=") != strlen(left) || strspn(left, "0123456789.-") == strlen(left))
        return false;
    note_unknown(left, &names);
    return names.unknown != NULL;
}

static int parse_side(struct definition_reader *r, const char *where, const char *text, struct expression **side)
{
    struct names names = {.r = r};
    int rc = expression_parse(text, &r->definition->arena, side, &r->err);
    if (rc < 0) {
        err_wrap(&r->err, "%s: '%s'", where, text);
        return definition_note(r, rc);
    }
    expression_each_name(*side, note_unknown, &names);
    if (names.unknown)
        problems_add(&r->problems, "%s: '%s' is neither a parameter nor a number in 'settings'", where, names.unknown);
    return 0;
}

static int read_constraint(struct definition_reader *r, const cJSON *item, int i)
{
    struct constraint *out = &r->definition->constraints[i];
    const char *left = NULL, *right = NULL;
    char where[64];
    snprintf(where, sizeof(where), "constraints[%d]", i);
    if (!cJSON_IsString(item) || !split(r, item->valuestring, out, &left, &right)) {
        problems_add(&r->problems,
                     "%s: a text such as \"bias/flip_rate <= 0.05\" or \"rank * layers < 512\" was expected", where);
        return 0;
    }
    out->text = item->valuestring;
    if (is_metric(r, left)) {
        out->metric = left;
        if (text_parse_double(right, &out->bound, &r->err) < 0)
            problems_add(&r->problems, "%s: '%s' is compared with '%s', a number was expected", where, left, right);
        return 0;
    }
    int rc = parse_side(r, where, left, &out->left);
    return rc == 0 ? parse_side(r, where, right, &out->right) : rc;
}

int definition_read_constraints(struct definition_reader *r)
{
    struct definition *d = r->definition;
    const cJSON *list = json_get(d->root, "constraints");
    int n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0, rc = 0;
    if (!list)
        return 0;
    if (!cJSON_IsArray(list) || n > CONSTRAINTS_MAX) {
        problems_add(&r->problems, "constraints: a list of at most %d texts was expected", CONSTRAINTS_MAX);
        return 0;
    }
    d->constraints = arena_calloc(&d->arena, (size_t)n + 1, sizeof(*d->constraints));
    if (!d->constraints)
        return ERR_NOMEM;
    d->n_constraints = n;
    for (int i = 0; i < n && rc == 0; i++)
        rc = read_constraint(r, cJSON_GetArrayItem(list, i), i);
    return rc;
}
