/* Bayesian optimisation: the next point is where a Gaussian process promises the most (Jones et al. 1998; log expected
 * improvement as in Ament et al. 2023; of two objectives the expected gain in hypervolume).
 *
 * After a few evenly spread points each proposal is a search of its own: many candidates from the prior and around the
 * best points, the most promising improved by gradient in the numbers and by trying other values elsewhere. */
#include "orchestrator/search_gp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/search_kinds.h"
#include "orchestrator/search_lapack.h"
#include "orchestrator/search_minimize.h"
#include "orchestrator/search_pareto.h"
#include "orchestrator/search_sobol.h"

/* Beyond TRIALS_MAX or DIMENSIONS_MAX a proposal would cost seconds: the Parzen estimator takes over. */
enum {
    TRIALS_MAX = 1500,
    DIMENSIONS_MAX = 500,
    CANDIDATES_MAX = 700,
    KEPT = 24,
    CENTRES = 8,
    ROUNDS = 3,
    CELLS_TRIED = 24,
    LIST_MAX = 4096
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for the Gaussian process");
}

static void free_state(void *state)
{
    struct gp_search *search = state;
    if (!search)
        return;
    for (int i = 0; i < search->n_quantities; i++)
        gp_done(&search->quantities[i].gp);
    arena_done(&search->scratch);
    free(search->candidates);
    search_tpe.free_state(search->tpe);
    free(search);
}

/* Candidates ------------------------------------------------------------------------------------------------------- */

struct pool {
    struct study *study;
    struct gp_search *search;
    double *points, *values; /* (n, codec.n) */
    int n, n_centres;
    const double *centres[CENTRES];
};

static const double *point(const struct pool *pool, int i)
{
    return pool->points + (size_t)i * (size_t)pool->study->codec.n;
}

/* Puts a point into the pool unless it has no configuration, breaks a constraint over parameters or is there. */
static void put(struct pool *pool, double *x)
{
    struct study *study = pool->study;
    size_t bytes = (size_t)study->codec.n * sizeof(*x);
    struct err ignored;
    if (pool->search->branch >= 0)
        x[pool->search->branch] = pool->search->branch_value;
    if (pool->n >= CANDIDATES_MAX || codec_settle(&study->codec, x, &ignored) < 0 || !study_is_allowed(study, x))
        return;
    memcpy(pool->points + (size_t)pool->n * (size_t)study->codec.n, x, bytes);
    pool->n++;
}

/* A whole number from 0 to n − 1, other than `not`. */
static double other_of(struct rng_stream *stream, double n, double not )
{
    if (n < 2)
        return 0;
    double k = floor(rng_uniform(stream) * (n - 1));
    return k >= not ? k + 1 : k;
}

/* A neighbour of a good point: some dimensions moved, by a width that is drawn too. Dimensions that do not exist there
 * take what a good point has. */
static void mutate(struct pool *pool, const double *centre, struct rng_stream *stream, double *x)
{
    const struct codec *codec = &pool->study->codec;
    static const double widths[] = {0.2, 0.08, 0.03, 0.01, 0.003, 0.0005};
    double width = widths[rng_below(stream, 6)];
    int n = 0, moved = 0;
    for (int j = 0; j < codec->n; j++)
        n += !isnan(centre[j]);
    double chance = n > 0 ? fmax(1.0 / n, rng_uniform(stream) < 0.5 ? fmin(1, 3.0 / n) : 0.8) : 0;
    for (int j = 0; j < codec->n; j++) {
        const struct codec_dimension *dimension = &codec->dimensions[j];
        x[j] = isnan(centre[j]) ? pool->search->fallback[j] : centre[j];
        if (isnan(centre[j]) || rng_uniform(stream) >= (dimension->is_category ? fmin(chance, 0.3) : chance))
            continue;
        moved++;
        if (dimension->is_category)
            x[j] = other_of(stream, dimension->n_values, centre[j]);
        else if (dimension->n_values > 0 && dimension->n_values <= CELLS_TRIED)
            x[j] = centre[j] + (rng_uniform(stream) < 0.5 ? -1 : 1) * (1 + rng_below(stream, 2)) / dimension->n_values;
        else
            x[j] = centre[j] + width * rng_normal(stream);
    }
    if (moved == 0 && codec->n > 0) {
        int j = (int)rng_below(stream, (uint32_t)codec->n);
        if (!codec->dimensions[j].is_category)
            x[j] += width * rng_normal(stream);
    }
}

struct ordered {
    double key;
    int at;
};

static int compare_ordered(const void *a, const void *b)
{
    const struct ordered *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key ? 1 : x->at - y->at;
}

/* The best rows: of one objective by value; of several those on the front first. */
static int find_centres(struct pool *pool, struct err *err)
{
    struct gp_search *search = pool->search;
    int n = 0;
    struct ordered *order = arena_calloc(&search->scratch, (size_t)search->n_rows + 1, sizeof(*order));
    if (!order)
        return no_memory(err);
    for (int i = 0; i < search->n_rows; i++) {
        const struct study_row *row = &search->rows[i];
        double key = row->scores[0];
        if (row->is_failed)
            continue;
        if (pool->study->n_objectives > 1) {
            key = 0;
            for (int k = 0; k < search->n_rows; k++)
                key += !search->rows[k].is_failed && search->rows[k].violation <= row->violation &&
                       pareto_dominates(search->rows[k].scores, row->scores, pool->study->n_objectives);
            struct rng_stream stream = study_stream(pool->study, (1 << 22) + i);
            key += rng_uniform(&stream);
        }
        /* Infeasible ones come behind, and those ended early behind whole ones that are as good. */
        if (search->branch >= 0 && row->x[search->branch] != search->branch_value)
            key += 1e90 * (1 + i);
        key += row->violation > 0 ? 1e100 * (1 + row->violation) : 0;
        order[n++] = (struct ordered){key, i};
    }
    qsort(order, (size_t)n, sizeof(*order), compare_ordered);
    for (int i = 0; i < n && pool->n_centres < CENTRES; i++)
        pool->centres[pool->n_centres++] = search->rows[order[i].at].x;
    /* Dimensions that do not exist at a point take the value of the best point that has them. */
    for (int j = 0; j < pool->study->codec.n; j++) {
        search->fallback[j] = pool->study->codec.dimensions[j].is_category ? 0 : 0.5;
        for (int i = 0; i < n; i++)
            if (!isnan(search->rows[order[i].at].x[j])) {
                search->fallback[j] = search->rows[order[i].at].x[j];
                break;
            }
    }
    return 0;
}

static int pool_size(int n_rows)
{
    return n_rows < 60 ? 640 : n_rows < 150 ? 448 : n_rows < 400 ? 256 : 160;
}

static void fill_pool(struct pool *pool, double *x)
{
    struct study *study = pool->study;
    struct rng_stream stream = study_stream(study, 0);
    int size = pool_size(pool->search->n_rows), global = size / 2;
    uint64_t seed = rng_derive_seed(study->definition->seed, (uint64_t)study->n_configurations + 1);
    for (int i = 0; i < global; i++) {
        sobol_point(seed, (uint32_t)i, x, study->codec.n);
        codec_from_uniform(&study->codec, x, x);
        put(pool, x);
    }
    for (int i = global; i < size && pool->n_centres > 0; i++) {
        /* Half of the neighbours are the best point's. */
        int which = rng_below(&stream, 2) ? 0 : (int)rng_below(&stream, (uint32_t)pool->n_centres);
        if (study->n_objectives > 1)
            which = (int)rng_below(&stream, (uint32_t)pool->n_centres);
        mutate(pool, pool->centres[which], &stream, x);
        put(pool, x);
    }
}

/* All that is left of a space that is small enough. */
static int list_space(struct pool *pool, struct err *err)
{
    struct study *study = pool->study;
    double *x = arena_calloc(&pool->search->scratch, (size_t)study->codec.n + 1, sizeof(*x));
    size_t bytes = (size_t)study->codec.n * sizeof(*x);
    if (!x)
        return no_memory(err);
    for (int64_t i = 0; i < study->grid_size; i++) {
        cJSON *configuration = NULL;
        int rc = space_grid_at(&study->definition->space, i, &configuration, err);
        if (rc == ERR_USAGE)
            continue;
        for (int j = 0; j < study->codec.n; j++)
            x[j] = study->codec.dimensions[j].is_category ? 0 : 0.5;
        if (rc == 0)
            rc = codec_encode(&study->codec, configuration, x, x, err);
        cJSON_Delete(configuration);
        if (rc < 0)
            return rc;
        memcpy(pool->points + (size_t)pool->n++ * (size_t)study->codec.n, x, bytes);
    }
    return 0;
}

/* Improving -------------------------------------------------------------------------------------------------------- */

/* Numbers that a gradient may move: continuous ones, and whole ones fine enough to be treated so. */
static bool is_smooth(const struct codec_dimension *dimension)
{
    return !dimension->is_category && (dimension->n_values <= 0 || dimension->n_values > CELLS_TRIED);
}

struct descent {
    struct study *study;
    struct gp_search *search;
    double *x;   /* the whole point */
    int *moving; /* dimensions of the variables */
    int n;
};

static double negative_value(const double *variables, double *gradient, void *context)
{
    struct descent *descent = context;
    double full[MINIMIZE_MAX_VARIABLES];
    for (int i = 0; i < descent->n; i++)
        descent->x[descent->moving[i]] = variables[i];
    double value = gp_value(descent->study, descent->search, descent->x, full);
    for (int i = 0; i < descent->n; i++)
        gradient[i] = -full[descent->moving[i]];
    return -value;
}

static void descend(struct study *study, struct gp_search *search, double *x, int max_calls)
{
    double variables[MINIMIZE_MAX_VARIABLES], low[MINIMIZE_MAX_VARIABLES], high[MINIMIZE_MAX_VARIABLES];
    int moving[MINIMIZE_MAX_VARIABLES];
    struct descent descent = {study, search, x, moving, 0};
    for (int j = 0; j < study->codec.n && descent.n < MINIMIZE_MAX_VARIABLES; j++) {
        if (isnan(x[j]) || !is_smooth(&study->codec.dimensions[j]))
            continue;
        low[descent.n] = 0;
        high[descent.n] = 1;
        variables[descent.n] = x[j];
        moving[descent.n++] = j;
    }
    if (descent.n == 0)
        return;
    minimize_box(variables, low, high, descent.n, negative_value, &descent, max_calls, 1e-5);
    for (int i = 0; i < descent.n; i++)
        x[moving[i]] = variables[i];
}

/* A point with dimension j at another value; what comes into being takes the fallback. */
static bool vary(struct study *study, const struct gp_search *search, const double *x, int j, double value, double *out)
{
    struct err ignored;
    for (int k = 0; k < study->codec.n; k++)
        out[k] = isnan(x[k]) ? search->fallback[k] : x[k];
    out[j] = value;
    return codec_settle(&study->codec, out, &ignored) == 0 && study_is_allowed(study, out);
}

/* Tries every other value of each unordered or coarse dimension and takes the best; whether one was better. */
static int step_aside(struct pool *pool, double *x, double *value, bool *is_better, struct err *err)
{
    struct study *study = pool->study;
    const struct codec *codec = &study->codec;
    size_t width = (size_t)codec->n;
    struct arena_mark mark = arena_mark(&pool->search->scratch);
    double *tries = arena_alloc(&pool->search->scratch, (CANDIDATES_MAX * width + 1) * sizeof(double));
    double *values = arena_alloc(&pool->search->scratch, CANDIDATES_MAX * sizeof(double));
    int n = 0, rc = tries && values ? 0 : no_memory(err);
    for (int j = 0; j < codec->n && rc == 0; j++) {
        const struct codec_dimension *dimension = &codec->dimensions[j];
        if (isnan(x[j]) || is_smooth(dimension) || dimension->n_values > 64 || j == pool->search->branch)
            continue;
        for (int k = 0; k < (int)dimension->n_values && n < CANDIDATES_MAX; k++) {
            double to = dimension->is_category ? k : codec_snap(codec, j, (k + 0.5) / dimension->n_values);
            if (to != x[j] && vary(study, pool->search, x, j, to, tries + (size_t)n * width))
                n++;
        }
    }
    if (rc == 0)
        rc = gp_values(study, pool->search, tries, n, values, err);
    for (int i = 0; i < n && rc == 0; i++)
        if (values[i] > *value + 1e-9 * fabs(*value)) {
            *value = values[i];
            memcpy(x, tries + (size_t)i * width, width * sizeof(double));
            *is_better = true;
        }
    arena_rewind(&pool->search->scratch, mark);
    return rc;
}

static int improve(struct pool *pool, double *x, double *value, int max_calls, struct err *err)
{
    struct err ignored;
    int rc = 0;
    for (int round = 0; round < ROUNDS && rc == 0; round++) {
        bool is_better = false;
        double before = *value;
        descend(pool->study, pool->search, x, round == 0 ? max_calls : max_calls / 2);
        for (int j = 0; j < pool->study->codec.n; j++)
            if (isnan(x[j]))
                x[j] = pool->search->fallback[j];
        if (codec_settle(&pool->study->codec, x, &ignored) < 0)
            return 0;
        *value = gp_value(pool->study, pool->search, x, NULL);
        rc = step_aside(pool, x, value, &is_better, err);
        if (!is_better || (round > 0 && *value <= before + 1e-6))
            break;
    }
    return rc;
}

/* Proposing -------------------------------------------------------------------------------------------------------- */

/* The best of the pool, improved, and the best as they are behind them: a list for this proposal and its refusals. */
static int rank(struct pool *pool, struct err *err)
{
    struct gp_search *search = pool->search;
    struct study *study = pool->study;
    size_t width = (size_t)study->codec.n;
    int starts = search->n_rows < 150 ? 4 : 3, kept = 0;
    struct ordered *order = arena_alloc(&search->scratch, ((size_t)pool->n + 1) * sizeof(*order));
    struct ordered best[KEPT];
    if (!order)
        return no_memory(err);
    for (int i = 0; i < pool->n; i++)
        order[i] = (struct ordered){isnan(pool->values[i]) ? INFINITY : -pool->values[i], i};
    qsort(order, (size_t)pool->n, sizeof(*order), compare_ordered);
    bool is_list = study->grid_size >= 0 && study->grid_size <= LIST_MAX;
    for (int i = 0; i < pool->n && kept < KEPT; i++) {
        double *x = pool->points + (size_t)order[i].at * width, value = -order[i].key;
        if (is_list && study_is_known(study, x))
            continue;
        if (kept < starts && !is_list) {
            int rc = improve(pool, x, &value, search->n_rows < 150 ? 30 : 20, err);
            if (rc < 0)
                return rc;
        }
        best[kept++] = (struct ordered){-value, order[i].at};
    }
    qsort(best, (size_t)kept, sizeof(*best), compare_ordered);
    for (int i = 0; i < kept; i++)
        memcpy(search->candidates + (size_t)i * width, point(pool, best[i].at), width * sizeof(double));
    search->n_candidates = kept;
    search->for_configuration = study->n_configurations;
    return 0;
}

static int propose(struct study *study, struct gp_search *search, struct err *err)
{
    struct pool pool = {.study = study, .search = search};
    bool is_list = study->grid_size >= 0 && study->grid_size <= LIST_MAX;
    size_t width = (size_t)study->codec.n + 1, size = is_list ? (size_t)study->grid_size : CANDIDATES_MAX;
    double *x = arena_calloc(&search->scratch, width, sizeof(*x));
    pool.points = arena_calloc(&search->scratch, size * width + 1, sizeof(double));
    pool.values = arena_calloc(&search->scratch, size + 1, sizeof(double));
    if (!search->candidates)
        search->candidates = calloc(KEPT * width, sizeof(double));
    if (!x || !pool.points || !pool.values || !search->candidates)
        return no_memory(err);
    int rc = find_centres(&pool, err);
    if (rc == 0 && is_list)
        rc = list_space(&pool, err);
    else if (rc == 0)
        fill_pool(&pool, x);
    if (rc == 0)
        rc = gp_values(study, search, pool.points, pool.n, pool.values, err);
    return rc == 0 ? rank(&pool, err) : rc;
}

/* Evenly spread points before the first model: enough for each dimension that exists at a time, at most a fifth of what
 * may be spent. */
static int initial_points(const struct study *study)
{
    int64_t expected = study_expected_configurations(study);
    double exists = 0;
    for (int i = 0; i < study->definition->space.n_parameters; i++)
        exists += study->codec.first[i + 1] > study->codec.first[i];
    int n = (int)fmin(exists + 3, 16);

    if (n < 5)
        n = 5;
    if (expected / 5 < n)
        n = expected / 5 > 3 ? (int)(expected / 5) : 3;
    return n;
}

static int suggest(struct study *study, int attempt, double *x, struct err *err)
{
    struct gp_search *search = study->state;
    int rc = 0;
    if (!search && !(study->state = search = calloc(1, sizeof(*search))))
        return no_memory(err);
    if (study->n_finished > TRIALS_MAX || study->codec.n > DIMENSIONS_MAX) {
        study->state = search->tpe;
        rc = search_tpe.suggest(study, attempt, x, err);
        search->tpe = study->state;
        study->state = search;
        return rc;
    }
    if (study->n_foreign < initial_points(study) &&
        (study->n_configurations < initial_points(study) || study->n_finished < 2))
        return search_sobol.suggest(study, attempt, x, err);
    if (search->for_configuration != study->n_configurations || attempt == 0) {
        search->n_candidates = 0;
        rc = gp_prepare(study, search, err);
        if (rc == 0 && search->quantities[0].is_usable) {
            gp_enter_branch(study, search);
            rc = propose(study, search, err);
        }
    }
    if (rc < 0)
        return rc;
    if (attempt >= search->n_candidates) {
        struct rng_stream stream = study_stream(study, attempt + 1);
        study_draw(study, &stream, x);
        return 0;
    }
    memcpy(x, search->candidates + (size_t)attempt * (size_t)study->codec.n, (size_t)study->codec.n * sizeof(*x));
    /* take_point settles again and needs a value everywhere. */
    for (int j = 0; j < study->codec.n; j++)
        if (isnan(x[j]))
            x[j] = search->fallback[j];
    return 0;
}

const struct search_kind search_gp = {
    .name = "gp",
    .help = "Gaussian process: the point that promises the most improvement",
    .suggest = suggest,
    .prepare = lapack_load,
    .free_state = free_state,
};
