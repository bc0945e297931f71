/* The grid: every configuration of a space whose parameters can be listed.
 *
 * A parameter nothing else looks at multiplies what comes behind it; only parameters that *decide* (others are
 * conditioned on them) are walked value by value. So a grid of billions is counted in a few steps. */
#include <stdlib.h>

#include "orchestrator/space_internal.h"

enum { GRID_MAX_VISITS = 1 << 20 };

struct grid {
    const struct space *space;
    bool *decides;
    cJSON *values;
    int visits;
};

static bool can_be_listed(const struct distribution *distribution)
{
    return distribution->kind == DISTRIBUTION_VALUES || distribution->kind == DISTRIBUTION_EXPRESSION ||
           (distribution->kind == DISTRIBUTION_RANGE && space_step(distribution) > 0);
}

/* The first parameter that cannot be listed, or NULL. */
static const struct parameter *first_unlisted(const struct space *space)
{
    for (int i = 0; i < space->n_parameters; i++)
        for (int k = 0; k < space->parameters[i].n_cases; k++)
            if (!can_be_listed(&space->parameters[i].cases[k]))
                return &space->parameters[i];
    return NULL;
}

static int64_t distribution_size(const struct distribution *distribution)
{
    if (distribution->kind == DISTRIBUTION_EXPRESSION)
        return 1;
    return distribution->kind == DISTRIBUTION_VALUES ? distribution->n_values : (int64_t)space_steps(distribution);
}

struct mark {
    struct grid *grid;
    bool decides; /* whether the parameter whose names are visited decides itself */
};

static void mark_name(const char *name, bool in_expression, void *context)
{
    struct mark *mark = context;
    int i = space_find(mark->grid->space, name);
    if (i >= 0 && (!in_expression || mark->decides))
        mark->grid->decides[i] = true;
}

static void grid_done(struct grid *grid)
{
    free(grid->decides);
    cJSON_Delete(grid->values);
}

/* From the last parameter to the first: who looks at a parameter comes behind it, and what an expression that decides
 * is made from decides too. */
static int grid_init(struct grid *grid, const struct space *space, struct err *err)
{
    *grid = (struct grid){.space = space};
    grid->decides = calloc((size_t)space->n_parameters + 1, sizeof(*grid->decides));
    if (!grid->decides)
        return err_set(err, ERR_NOMEM, "no memory for a grid");
    for (int i = space->n_parameters - 1; i >= 0; i--) {
        struct mark mark = {grid, grid->decides[i]};
        space_each_dependency(&space->parameters[i], mark_name, &mark);
    }
    return space_start(space, &grid->values, err);
}

/* Puts the k-th value of parameter i. */
static int put_value(struct grid *grid, int i, const struct distribution *distribution, int64_t k, struct err *err)
{
    const struct parameter *parameter = &grid->space->parameters[i];
    cJSON *value = NULL;
    if (distribution->kind == DISTRIBUTION_EXPRESSION) {
        int rc = space_evaluate(parameter, distribution, grid->values, &value, err);
        if (rc < 0)
            return rc;
    } else if (distribution->kind == DISTRIBUTION_VALUES) {
        value = cJSON_Duplicate(cJSON_GetArrayItem(distribution->values, (int)k), true);
    } else {
        value = cJSON_CreateNumber(space_step_value(distribution, (double)k));
    }
    return space_put(grid->values, parameter, value, err);
}

static void take_value(struct grid *grid, int i)
{
    cJSON_DeleteItemFromObjectCaseSensitive(grid->values, grid->space->parameters[i].name);
}

static int64_t multiply(int64_t a, int64_t b)
{
    return b > 0 && a > INT64_MAX / b ? INT64_MAX : a * b;
}

static int64_t add(int64_t a, int64_t b)
{
    return a > INT64_MAX - b ? INT64_MAX : a + b;
}

/* Configurations of the parameters from i on beside the values put so far. A value that an expression cannot give
 * counts as absent: space_grid_at reports it for the configuration it stands in. */
static int64_t count_from(struct grid *grid, int i)
{
    if (i == grid->space->n_parameters || ++grid->visits > GRID_MAX_VISITS)
        return 1;
    const struct distribution *distribution = space_case(grid->space, &grid->space->parameters[i], grid->values);
    if (!distribution)
        return count_from(grid, i + 1);
    int64_t n = distribution_size(distribution), total = 0;
    if (!grid->decides[i])
        return multiply(n, count_from(grid, i + 1));
    for (int64_t k = 0; k < n && grid->visits <= GRID_MAX_VISITS; k++) {
        struct err ignored;
        bool is_put = put_value(grid, i, distribution, k, &ignored) == 0;
        total = add(total, count_from(grid, i + 1));
        if (is_put)
            take_value(grid, i);
    }
    return total;
}

int64_t space_grid_size(const struct space *space)
{
    struct grid grid = {0};
    struct err ignored;
    int64_t size = -1;
    if (!first_unlisted(space) && grid_init(&grid, space, &ignored) == 0) {
        size = count_from(&grid, 0);
        if (grid.visits > GRID_MAX_VISITS)
            size = -1;
    }
    grid_done(&grid);
    return size;
}

/* Puts the value of parameter i under which the index-th configuration lies; *index becomes its position there. */
static int put_indexed(struct grid *grid, int i, int64_t *index, struct err *err)
{
    const struct distribution *distribution = space_case(grid->space, &grid->space->parameters[i], grid->values);
    if (!distribution)
        return 0;
    int64_t n = distribution_size(distribution);
    grid->visits = 0;
    if (!grid->decides[i]) {
        int64_t rest = count_from(grid, i + 1), k = *index / rest;
        *index %= rest;
        if (k >= n)
            return err_set(err, ERR_USAGE, "the grid has no configuration of this index");
        return put_value(grid, i, distribution, k, err);
    }
    for (int64_t k = 0; k < n; k++) {
        int rc = put_value(grid, i, distribution, k, err);
        int64_t rest = count_from(grid, i + 1);
        if (*index < rest)
            return rc;
        *index -= rest;
        if (rc == 0)
            take_value(grid, i);
    }
    return err_set(err, ERR_USAGE, "the grid has no configuration of this index");
}

int space_grid_at(const struct space *space, int64_t index, cJSON **configuration, struct err *err)
{
    struct grid grid = {0};
    const struct parameter *unlisted = first_unlisted(space);
    if (unlisted)
        return err_set(err, ERR_USAGE,
                       "parameters.%s: a grid needs values, or a range of whole numbers or with 'quantum'; "
                       "search 'random' takes any range",
                       unlisted->name);
    if (index < 0)
        return err_set(err, ERR_USAGE, "the grid has no configuration of this index");
    int rc = grid_init(&grid, space, err);
    for (int i = 0; i < space->n_parameters && rc == 0; i++) {
        rc = put_indexed(&grid, i, &index, err);
        if (grid.visits > GRID_MAX_VISITS)
            rc = err_set(err, ERR_USAGE, "the grid has too many values that conditions name; use search 'random'");
    }
    if (rc == 0 && index > 0)
        rc = err_set(err, ERR_USAGE, "the grid has no configuration of this index");
    if (rc == 0)
        rc = space_finish(space, grid.values, configuration, err);
    grid_done(&grid);
    return rc;
}
