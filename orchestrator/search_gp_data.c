/* From a study to Gaussian processes: which rows each model sees, how values are turned, when parameters are fitted.
 *
 * Parameters are fitted on the first n finished trials for n of a fixed sequence, from the same start each time: they
 * are a function of the history, so a restored study goes on as if it had never stopped. Running trials count as if
 * they had the value the model expects of them (kriging believer): their surroundings lose their uncertainty and get no
 * second visit. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/stats.h"
#include "orchestrator/search_gp.h"
#include "orchestrator/search_minimize.h"
#include "orchestrator/search_pareto.h"
#include "orchestrator/stop_kinds.h"

/* Of noisy values (the noise's variance by that of the values) the last share of the budget goes where the value is
 * surely good: there is ever less time to use what is learned elsewhere, and what leads by luck is found out. */
static const double end_share = 0.3, noisy_variance = 1e-4;
enum { PENDING_MAX = 64, RUNG_ROWS_MAX = 1200, FIRST_FIT = 3 };

struct observation {
    const double *x;
    double resource; /* 1: whole trials, else log(steps) / log(max) */
    double y, noise;
    bool is_whole, is_feasible;
};

struct table {
    struct observation *rows;
    int n, capacity;
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for the Gaussian process");
}

/* Warping ---------------------------------------------------------------------------------------------------------- */

static double bend(const struct gp_warp *warp, double y)
{
    if (warp->width <= 0)
        return y;
    double t = (y - warp->low) / warp->width;
    return t < 0 ? t : log1p(fmin(t, 1e200));
}

static double warped(const struct gp_warp *warp, double y)
{
    return (bend(warp, y) - warp->mean) / warp->deviation;
}

/* Sets mean and deviation so that the values come out standardised; the log of the Jacobian's determinant. */
static double standardise(struct gp_warp *warp, const struct table *table)
{
    double sum = 0, squares = 0, jacobian = 0;
    int n = table->n;
    for (int i = 0; i < n; i++) {
        sum += bend(warp, table->rows[i].y);
        if (warp->width > 0)
            jacobian -= log(warp->width + fmax(0, table->rows[i].y - warp->low));
    }
    warp->mean = sum / n;
    for (int i = 0; i < n; i++) {
        double off = bend(warp, table->rows[i].y) - warp->mean;
        squares += off * off;
    }
    warp->deviation = sqrt(squares / n);
    if (!(warp->deviation > 1e-12 * (1 + fabs(warp->mean))) || !isfinite(warp->deviation))
        warp->deviation = 1;
    return jacobian - n * log(warp->deviation);
}

/* Rows ------------------------------------------------------------------------------------------------------------- */

static int add(struct table *table, struct arena *arena, struct observation row, struct err *err)
{
    if (table->n == table->capacity) {
        int next = table->capacity ? table->capacity * 2 : 128;
        struct observation *grown = arena_alloc(arena, (size_t)next * sizeof(*grown));
        if (!grown)
            return no_memory(err);
        if (table->n)
            memcpy(grown, table->rows, (size_t)table->n * sizeof(*grown));
        table->rows = grown;
        table->capacity = next;
    }
    table->rows[table->n++] = row;
    return 0;
}

/* A trial of an earlier sweep says a quarter of what one of this sweep does. */
static double noise_of(const struct study_row *row)
{
    return (row->is_foreign ? 4.0 : 1.0) / row->n;
}

static double resource_share(const struct study *study, double resource)
{
    double max = study->definition->stopping.max_resource;
    if (resource <= 0 || max <= 1)
        return 1;
    return fmin(1, log(resource) / log(max));
}

/* What a trial had at the rungs below where it is: its curve, thinned. */
static int add_rungs(const struct study *study, const struct study_row *row, int index, struct table *table,
                     struct arena *arena, struct err *err)
{
    const struct stopping *stopping = &study->definition->stopping;
    const struct study_trial *trial = study->trials[row->trial];
    double end = row->resource > 0 ? row->resource : (double)trial->step;
    int rc = 0;
    for (double step = stopping->min_resource; step < end && rc == 0; step *= stopping->reduction_factor) {
        const struct study_point *point = stop_point_at(trial, step);
        if (!point || (double)point->step >= end)
            continue;
        struct observation at = {
            row->x, resource_share(study, (double)point->step), point->scores[index], 1, false, row->violation == 0};
        rc = add(table, arena, at, err);
    }
    return rc;
}

/* Of more than two objectives one number, by weights drawn anew each proposal (ParEGO, Knowles 2006). */
static double scalarised(const struct gp_search *search, const struct study_row *row, int n_objectives)
{
    double most = -INFINITY, sum = 0;
    for (int k = 0; k < n_objectives; k++) {
        double share = search->weights[k] * (row->scores[k] - search->lows[k]) / search->widths[k];
        most = fmax(most, share);
        sum += share;
    }
    return most + 0.05 * sum;
}

static void draw_weights(struct study *study, struct gp_search *search)
{
    struct rng_stream stream = study_stream(study, 1 << 21);
    double sum = 0;
    for (int k = 0; k < study->n_objectives; k++) {
        double low = INFINITY, high = -INFINITY;
        for (int i = 0; i < search->n_rows; i++)
            if (!search->rows[i].is_failed) {
                low = fmin(low, search->rows[i].scores[k]);
                high = fmax(high, search->rows[i].scores[k]);
            }
        search->lows[k] = low;
        search->widths[k] = high > low ? high - low : 1;
        sum += search->weights[k] = -log(1 - rng_uniform(&stream));
    }
    for (int k = 0; k < study->n_objectives; k++)
        search->weights[k] /= sum;
}

static int add_objective(const struct study *study, const struct gp_search *search, const struct study_row *row,
                         int index, struct table *table, struct arena *arena, struct err *err)
{
    if (row->is_failed || (row->resource > 0 && !search->has_resource))
        return 0;
    struct observation at = {row->x,
                             resource_share(study, row->resource),
                             index < 0 ? scalarised(search, row, study->n_objectives) : row->scores[index],
                             noise_of(row),
                             row->resource <= 0,
                             row->violation == 0};
    int rc = 0;
    if (search->has_resource && table->n < RUNG_ROWS_MAX && !row->is_foreign)
        rc = add_rungs(study, row, index, table, arena, err);
    return rc == 0 ? add(table, arena, at, err) : rc;
}

static int add_row(const struct study *study, const struct gp_search *search, const struct gp_quantity *quantity,
                   const struct study_row *row, struct table *table, struct err *err)
{
    struct arena *arena = (struct arena *)(uintptr_t)&search->scratch;
    if (quantity->role == GP_OBJECTIVE)
        return add_objective(study, search, row, quantity->index, table, arena, err);
    struct observation at = {row->x, 1, 0, 1, true, true};
    if (quantity->role == GP_FAILURE) {
        at.y = row->is_failed;
        return add(table, arena, at, err);
    }
    if (quantity->role == GP_COST) {
        at.y = log(row->cost);
        return isnan(row->cost) ? 0 : add(table, arena, at, err);
    }
    if (row->is_failed || isnan(row->outcomes[quantity->index]))
        return 0;
    bool is_at_least = study->definition->constraints[quantity->index].is_at_least;
    at.y = is_at_least ? -row->outcomes[quantity->index] : row->outcomes[quantity->index];
    at.noise = noise_of(row);
    return add(table, arena, at, err);
}

static int fill_table(const struct study *study, const struct gp_search *search, const struct gp_quantity *quantity,
                      const struct study_row *rows, int n_rows, struct table *table, struct err *err)
{
    int rc = 0;
    *table = (struct table){0};
    for (int i = 0; i < n_rows && rc == 0; i++)
        rc = add_row(study, search, quantity, &rows[i], table, err);
    return rc;
}

/* Columns of the chosen rows (`chosen` NULL: all) with their warped values. */
static int fill_data(const struct study *study, struct gp_search *search, const struct gp_warp *warp,
                     const struct table *table, const int *chosen, int n, struct gp_data *data, struct err *err)
{
    size_t rows = (size_t)n, d = (size_t)search->d;
    double *x = arena_alloc(&search->scratch, (rows * d + 1) * sizeof(double));
    double *y = arena_alloc(&search->scratch, (rows + 1) * sizeof(double));
    double *noise = arena_alloc(&search->scratch, (rows + 1) * sizeof(double));
    bool *is_category = arena_calloc(&search->scratch, d + 1, sizeof(bool));
    if (!x || !y || !noise || !is_category)
        return no_memory(err);
    for (int j = 0; j < study->codec.n; j++)
        is_category[j] = study->codec.dimensions[j].is_category;
    for (size_t i = 0; i < rows; i++) {
        const struct observation *row = &table->rows[chosen ? chosen[i] : (int)i];
        for (int j = 0; j < study->codec.n; j++)
            x[(size_t)j * rows + i] = gp_fill(is_category[j], row->x[j]);
        if (search->has_resource)
            x[(d - 1) * rows + i] = row->resource;
        y[i] = warped(warp, row->y);
        noise[i] = row->noise;
    }
    *data = (struct gp_data){n, search->d, x, is_category, y, noise, search->is_common};
    return 0;
}

/* Fitting ---------------------------------------------------------------------------------------------------------- */

struct ordered {
    double key;
    int row;
};

static int compare_ordered(const void *a, const void *b)
{
    const struct ordered *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key ? 1 : x->row - y->row;
}

/* At most GP_EVIDENCE_ROWS rows: the better half by value, the rest evenly over the others, in their order. */
static int choose_rows(const struct table *table, struct arena *arena, int **chosen, int *n, struct err *err)
{
    struct ordered *order = arena_alloc(arena, ((size_t)table->n + 1) * sizeof(*order));
    int *rows = arena_alloc(arena, ((size_t)table->n + 1) * sizeof(*rows));
    if (!order || !rows)
        return no_memory(err);
    *n = table->n < GP_EVIDENCE_ROWS ? table->n : GP_EVIDENCE_ROWS;
    *chosen = rows;
    for (int i = 0; i < table->n; i++)
        order[i] = (struct ordered){table->rows[i].y, i};
    if (table->n > GP_EVIDENCE_ROWS)
        qsort(order, (size_t)table->n, sizeof(*order), compare_ordered);
    int best = *n < table->n ? *n / 2 : *n, others = *n - best;
    for (int i = 0; i < *n; i++)
        rows[i] =
            i < best ? order[i].row : order[best + (int)((double)(i - best) * (table->n - best) / (double)others)].row;
    return 0;
}

static int max_calls(int n)
{
    return n < 30 ? 40 : n < 80 ? 25 : 16;
}

/* Fits θ under one warp; the evidence of the values as they were told. */
static int try_warp(const struct study *study, struct gp_search *search, const struct table *table,
                    struct gp_warp *warp, double *theta, double *evidence, struct err *err)
{
    struct gp_data data;
    struct table part = {0};
    int *chosen = NULL, n = 0;
    int rc = choose_rows(table, &search->scratch, &chosen, &n, err);
    for (int i = 0; i < n && rc == 0; i++)
        rc = add(&part, &search->scratch, table->rows[chosen[i]], err);
    if (rc < 0)
        return rc;
    double jacobian = standardise(warp, &part);
    rc = fill_data(study, search, warp, &part, NULL, n, &data, err);
    if (rc == 0)
        *evidence = gp_fit(&data, theta, max_calls(n), &search->scratch) + jacobian;
    return rc;
}

static int keep_better(const struct study *study, struct gp_search *search, const struct table *table,
                       struct gp_quantity *quantity, struct gp_warp warp, double scale, double *best, struct err *err)
{
    double evidence = -INFINITY;
    size_t n_theta = (size_t)gp_n_theta(search->d, search->is_common != NULL);
    double *theta = arena_calloc(&search->scratch, n_theta, sizeof(double));
    if (!theta)
        return no_memory(err);
    gp_start(search->d, search->is_common != NULL, scale, theta);
    int rc = try_warp(study, search, table, &warp, theta, &evidence, err);
    if (rc < 0 || !(evidence > *best))
        return rc;
    *best = evidence;
    quantity->warp = warp;
    memcpy(quantity->theta, theta, n_theta * sizeof(double));
    return 0;
}

/* Chooses among no warp and three widths by evidence. */
static int fit(const struct study *study, struct gp_search *search, const struct table *table,
               struct gp_quantity *quantity, struct err *err)
{
    static const double widths[] = {1, 0.1, 0.01};
    struct arena_mark mark = arena_mark(&search->scratch);
    double best = -INFINITY, *values = arena_alloc(&search->scratch, ((size_t)table->n + 1) * sizeof(double));
    if (!values)
        return no_memory(err);
    for (int i = 0; i < table->n; i++)
        values[i] = table->rows[i].y;
    gp_start(search->d, search->is_common != NULL, 1, quantity->theta);
    int rc = keep_better(study, search, table, quantity, (struct gp_warp){0}, 1, &best, err);
    if (rc == 0 && table->n < 40)
        rc = keep_better(study, search, table, quantity, (struct gp_warp){0}, 0.3, &best, err);
    double median = stats_quantile(values, table->n, 0.5), low = values[0]; /* sorted now */
    for (int i = 0; i < 3 && rc == 0 && quantity->role == GP_OBJECTIVE && median > low; i++) {
        struct gp_warp warp = {.low = low, .width = widths[i] * (median - low)};
        rc = keep_better(study, search, table, quantity, warp, 1, &best, err);
    }
    arena_rewind(&search->scratch, mark);
    return rc;
}

/* The largest number of the sequence that is at most n. */
static int fit_size(int n)
{
    int size = FIRST_FIT;
    if (n < FIRST_FIT)
        return 0;
    for (;;) {
        int next = size + (size < 24 ? 1 : size / 12);
        if (next > n)
            return size;
        size = next;
    }
}

/* Conditioning ----------------------------------------------------------------------------------------------------- */

/* Adds running trials with the values the model expects of them. */
static int add_pending(const struct study *study, struct gp_search *search, struct gp_quantity *quantity,
                       struct table *table, struct err *err)
{
    int n = 0;
    for (int i = study->n_trials - 1; i >= 0 && n < PENDING_MAX && n < study->n_running; i--) {
        const struct study_trial *trial = study->trials[i];
        double mean, deviation, *x = arena_alloc(&search->scratch, ((size_t)search->d + 1) * sizeof(double));
        double *cross = arena_alloc(&search->scratch, ((size_t)quantity->gp.n + 1) * sizeof(double));
        if (trial->state != TRIAL_RUNNING)
            continue;
        if (!x || !cross)
            return no_memory(err);
        const double *point = study->configurations[trial->configuration].x;
        for (int j = 0; j < study->codec.n; j++)
            x[j] = gp_fill(study->codec.dimensions[j].is_category, point[j]);
        if (search->has_resource)
            x[search->d - 1] = 1;
        gp_predict(&quantity->gp, x, 1, &mean, &deviation, cross);
        struct observation at = {point, 1, mean, 1, false, false};
        int rc = add(table, &search->scratch, at, err);
        if (rc < 0)
            return rc;
        n++;
    }
    return 0;
}

static int condition(const struct study *study, struct gp_search *search, struct gp_quantity *quantity,
                     struct table *table, struct err *err)
{
    struct gp_data data;
    int n = table->n;
    int rc = fill_data(study, search, &quantity->warp, table, NULL, n, &data, err);
    if (rc < 0)
        return rc;
    quantity->is_usable = gp_condition(&quantity->gp, &data, quantity->theta, quantity->n_base);
    if (!quantity->is_usable || study->n_running == 0)
        return 0;
    rc = add_pending(study, search, quantity, table, err);
    if (rc < 0 || table->n == n)
        return rc;
    rc = fill_data(study, search, &quantity->warp, table, NULL, table->n, &data, err);
    double *y = (double *)(uintptr_t)data.y;
    for (int i = n; i < table->n && rc == 0; i++)
        y[i] = table->rows[i].y; /* in the model's own terms already */
    if (rc == 0)
        quantity->is_usable = gp_condition(&quantity->gp, &data, quantity->theta, quantity->n_base);
    table->n = n;
    return rc;
}

static double bound_of(const struct study *study, const struct gp_quantity *quantity)
{
    if (quantity->role == GP_FAILURE)
        return warped(&quantity->warp, 0.5);
    if (quantity->role != GP_OUTCOME)
        return 0;
    const struct constraint *constraint = &study->definition->constraints[quantity->index];
    return warped(&quantity->warp, constraint->is_at_least ? -constraint->bound : constraint->bound);
}

static bool has_failure(const struct table *table)
{
    for (int i = 0; i < table->n; i++)
        if (table->rows[i].y > 0.5)
            return true;
    return false;
}

static int prepare_quantity(struct study *study, struct gp_search *search, struct gp_quantity *quantity,
                            struct table *table, struct err *err)
{
    int size = fit_size(study->n_finished);
    int rc = fill_table(study, search, quantity, search->rows, search->n_rows, table, err);
    quantity->is_usable = false;
    if (rc < 0 || table->n < 2 || (quantity->role == GP_FAILURE && !has_failure(table)))
        return rc;
    if (quantity->n_fitted != size || quantity->n_base < 2) {
        struct study_row *rows = NULL;
        struct table before = {0};
        int n_rows = 0;
        rc = study_all_rows(study, size, &search->scratch, &rows, &n_rows, err);
        if (rc == 0)
            rc = fill_table(study, search, quantity, rows, n_rows, &before, err);
        /* Where the first fit came too early for this quantity, it sees what there is now. */
        if (rc == 0)
            rc = fit(study, search, before.n >= 2 ? &before : table, quantity, err);
        quantity->n_fitted = size;
        quantity->n_base = before.n;
    }
    if (rc == 0)
        rc = condition(study, search, quantity, table, err);
    quantity->bound = bound_of(study, quantity);
    return rc;
}

/* Incumbent and front ---------------------------------------------------------------------------------------------- */

/* The noise-free value of row i: K α = y, so the mean there is y less the noise's share. */
static double smoothed(const struct gp *gp, const struct table *table, const struct gp_warp *warp, int i)
{
    double noise = exp(gp->theta[gp->d + GP_NOISE]) * table->rows[i].noise;
    return warped(warp, table->rows[i].y) - noise * gp->weights[i];
}

void gp_point(const struct study *study, const struct gp_search *search, const double *x, size_t stride, double *out)
{
    for (int j = 0; j < study->codec.n; j++)
        out[(size_t)j * stride] = gp_fill(study->codec.dimensions[j].is_category, x[j]);
    if (search->has_resource)
        out[(size_t)(search->d - 1) * stride] = 1;
}

/* Where trials end early most rows of a branch are not whole: they are known by what the model expects of their end. */
static int foresee(const struct study *study, struct gp_search *search, struct gp_quantity *quantity, struct err *err)
{
    double *point = arena_calloc(&search->scratch, (size_t)search->d + 1, sizeof(double));
    search->known = arena_alloc(&search->scratch, ((size_t)search->n_rows + 1) * sizeof(*search->known));
    search->n_known = 0;
    if (!point || !search->known)
        return no_memory(err);
    for (int i = 0; i < search->n_rows; i++) {
        const struct study_row *row = &search->rows[i];
        if (row->is_failed || row->violation > 0)
            continue;
        gp_point(study, search, row->x, 1, point);
        search->known[search->n_known++] = (struct gp_known){row->x, gp_mean(&quantity->gp, point)};
    }
    return 0;
}

/* Keeps the smoothed values of feasible rows; where no trial is whole yet the furthest of the others stand in. */
static int find_best(const struct study *study, struct gp_search *search, struct gp_quantity *quantity,
                     const struct table *table, struct err *err)
{
    search->known = arena_alloc(&search->scratch, ((size_t)table->n + 1) * sizeof(*search->known));
    search->n_known = 0;
    search->best = INFINITY;
    if (!search->known)
        return no_memory(err);
    for (int pass = 0; pass < 2 && search->n_known == 0; pass++)
        for (int i = 0; i < table->n; i++) {
            const struct observation *row = &table->rows[i];
            if (!row->is_feasible || (pass == 0 && !row->is_whole))
                continue;
            double value = smoothed(&quantity->gp, table, &quantity->warp, i);
            search->known[search->n_known++] = (struct gp_known){row->x, value};
            search->best = fmin(search->best, value);
        }
    search->has_best = search->n_known > 0;
    double spent = (double)study->n_configurations / (double)study_expected_configurations(study);
    search->is_end = spent >= 1 - end_share && exp(quantity->theta[search->d + GP_NOISE]) > noisy_variance;
    return search->has_resource ? foresee(study, search, quantity, err) : 0;
}

static int compare_front(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return x[0] < y[0] ? -1 : x[0] > y[0] ? 1 : x[1] < y[1] ? -1 : x[1] > y[1];
}

/* The front of two objectives; the reference is the worst seen in each. */
static int find_front(struct gp_search *search, const struct table tables[2], struct err *err)
{
    const struct gp_quantity *q = search->quantities;
    int n = tables[0].n, kept = 0;
    search->front = arena_alloc(&search->scratch, ((size_t)n + 1) * sizeof(*search->front));
    if (!search->front)
        return no_memory(err);
    search->reference[0] = search->reference[1] = -INFINITY;
    for (int i = 0; i < n && i < tables[1].n; i++) {
        double point[2];
        for (int k = 0; k < 2; k++) {
            point[k] = smoothed(&q[k].gp, &tables[k], &q[k].warp, i);
            search->reference[k] = fmax(search->reference[k], point[k] + 0.01);
        }
        if (tables[0].rows[i].is_feasible)
            memcpy(search->front[kept++], point, sizeof(point));
    }
    qsort(search->front, (size_t)kept, sizeof(*search->front), compare_front);
    search->n_front = 0;
    for (int i = 0; i < kept; i++)
        if (search->n_front == 0 || search->front[i][1] < search->front[search->n_front - 1][1])
            memcpy(search->front[search->n_front++], search->front[i], sizeof(*search->front));
    search->has_best = search->n_front > 0;
    return 0;
}

/* Preparing -------------------------------------------------------------------------------------------------------- */

static int add_quantity(struct gp_search *search, struct study *study, enum gp_role role, int index, struct err *err)
{
    struct gp_quantity *quantity = &search->quantities[search->n_quantities];
    if (search->n_quantities == GP_MODELS_MAX)
        return err_set(err, ERR_UNSUPPORTED, "more than %d objectives and constraints", GP_MODELS_MAX);
    quantity->role = role;
    quantity->index = index;
    quantity->theta = arena_calloc(&study->arena, 2 * (size_t)search->d + 3, sizeof(double));
    search->n_quantities++;
    return quantity->theta ? 0 : no_memory(err);
}

/* Whether the dimension exists beside all values of the others. */
static bool is_always(const struct study *study, int j)
{
    const struct parameter *parameter = &study->definition->space.parameters[study->codec.dimensions[j].parameter];
    return parameter->n_cases == 1 && parameter->cases[0].n_conditions == 0 && !parameter->setting->when;
}

/* What all branches share is worth a kernel where there are branches, and more than the choice of the branch. */
static int find_common(struct study *study, struct gp_search *search, struct err *err)
{
    int n = 0, n_always = 0, d = search->d;
    if (study->codec.n_keys == 0 || study->codec.n_keys == study->codec.n ||
        gp_n_theta(d, true) > MINIMIZE_MAX_VARIABLES)
        return 0;
    bool *is_common = arena_calloc(&study->arena, (size_t)d + 1, sizeof(*is_common));
    if (!is_common)
        return no_memory(err);
    for (int j = 0; j < study->codec.n; j++) {
        n_always += is_always(study, j);
        is_common[j] = is_always(study, j) && !study->codec.decides[j];
        n += is_common[j];
    }
    is_common[d - 1] = is_common[d - 1] || search->has_resource;
    if (n > 0 && n_always < study->codec.n)
        search->is_common = is_common;
    return 0;
}

static int init(struct study *study, struct gp_search *search, struct err *err)
{
    int rc = 0;
    search->has_resource = study->n_objectives == 1 && study->definition->stopping.kind != NULL &&
                           study->definition->stopping.max_resource > 1;
    search->d = study->codec.n + search->has_resource;
    search->for_configuration = -1;
    search->branch = -1;
    search->fallback = arena_calloc(&study->arena, (size_t)search->d + 1, sizeof(double));
    if (!search->fallback)
        return no_memory(err);
    rc = find_common(study, search, err);
    for (int i = 0; i < study->n_objectives && i < 2 && rc == 0; i++)
        if (study->n_objectives <= 2 || i == 0)
            rc = add_quantity(search, study, GP_OBJECTIVE, study->n_objectives <= 2 ? i : -1, err);
    for (int i = 0; i < study->n_constraints && rc == 0; i++)
        if (study->definition->constraints[i].metric)
            rc = add_quantity(search, study, GP_OUTCOME, i, err);
    if (rc == 0 && study->definition->cost)
        rc = add_quantity(search, study, GP_COST, 0, err);
    return rc == 0 ? add_quantity(search, study, GP_FAILURE, 0, err) : rc;
}

int gp_prepare(struct study *study, struct gp_search *search, struct err *err)
{
    struct table tables[GP_MODELS_MAX] = {0};
    int rc = search->n_quantities ? 0 : init(study, search, err);
    arena_reset(&search->scratch);
    search->branch = -1;
    if (rc == 0)
        rc = study_all_rows(study, study->n_finished, &search->scratch, &search->rows, &search->n_rows, err);
    if (rc == 0 && study->n_objectives > 2)
        draw_weights(study, search);
    for (int i = 0; i < search->n_quantities && rc == 0; i++)
        rc = prepare_quantity(study, search, &search->quantities[i], &tables[i], err);
    search->has_best = false;
    if (rc < 0 || !search->quantities[0].is_usable)
        return rc;
    if (study->n_objectives == 2 && search->quantities[1].is_usable)
        return find_front(search, tables, err);
    return find_best(study, search, &search->quantities[0], &tables[0], err);
}
