/* NSGA-II (Deb et al. 2002): children of trials that few others dominate. All finished trials compete for the
 * population, so any number may run at once. Simulated binary crossover and polynomial mutation (η = 20) for numbers,
 * uniform crossover and redrawing for categories. With one objective it is a plain genetic algorithm. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/search_kinds.h"
#include "orchestrator/search_pareto.h"
#include "orchestrator/study_internal.h"

enum { POPULATION = 40 };
static const double spread = 20;

struct parent {
    double violation, crowding;
    int rank, row;
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for NSGA-II");
}

/* Feasible ones first, then by front, then the lonely ones. */
static int compare_parents(const void *a, const void *b)
{
    const struct parent *x = a, *y = b;
    if (x->violation != y->violation)
        return x->violation < y->violation ? -1 : 1;
    if (x->rank != y->rank)
        return x->rank - y->rank;
    if (x->crowding != y->crowding)
        return x->crowding > y->crowding ? -1 : 1;
    return x->row - y->row;
}

static int select_parents(struct study *study, const struct study_row *rows, int n, struct parent *parents,
                          struct arena *arena, struct err *err)
{
    int m = study->n_objectives;
    size_t count = (size_t)n + 1;
    double *points = arena_calloc(arena, count * (size_t)m, sizeof(double));
    double *crowding = arena_calloc(arena, count, sizeof(double));
    int *ranks = arena_calloc(arena, count, sizeof(int)), *members = arena_calloc(arena, count, sizeof(int));
    if (!points || !crowding || !ranks || !members)
        return no_memory(err);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < m; k++)
            points[(size_t)i * (size_t)m + (size_t)k] = rows[i].is_failed ? INFINITY : rows[i].scores[k];
    int rc = pareto_ranks(points, n, m, ranks, err);
    for (int rank = 0, left = n; left > 0 && rc == 0; rank++) {
        int size = 0;
        for (int i = 0; i < n; i++)
            if (ranks[i] == rank)
                members[size++] = i;
        rc = pareto_crowding(points, members, size, m, crowding, err);
        for (int i = 0; i < size; i++)
            parents[members[i]] = (struct parent){rows[members[i]].is_failed ? INFINITY : rows[members[i]].violation,
                                                  crowding[i], rank, members[i]};
        left -= size;
    }
    if (rc == 0)
        qsort(parents, (size_t)n, sizeof(*parents), compare_parents);
    return rc;
}

/* Of two drawn at random the better: parents are sorted. */
static int tournament(struct rng_stream *stream, int n)
{
    uint32_t a = rng_below(stream, (uint32_t)n), b = rng_below(stream, (uint32_t)n);
    return (int)(a < b ? a : b);
}

static double clamp(double x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

static double cross(double a, double b, struct rng_stream *stream)
{
    double u = rng_uniform(stream);
    double beta = pow(u < 0.5 ? 2 * u : 1 / (2 - 2 * u), 1 / (spread + 1));
    double sign = rng_uniform(stream) < 0.5 ? 1 : -1;
    return clamp(0.5 * (a + b) + sign * 0.5 * beta * (a - b));
}

static double mutate(double x, struct rng_stream *stream)
{
    double u = rng_uniform(stream);
    double delta = u < 0.5 ? pow(2 * u, 1 / (spread + 1)) - 1 : 1 - pow(2 - 2 * u, 1 / (spread + 1));
    return clamp(x + delta);
}

/* Dimensions that exist at neither parent are drawn. */
static void breed(struct study *study, const double *a, const double *b, struct rng_stream *stream, double *x)
{
    int d = study->codec.n;
    double *drawn = x;
    study_draw(study, stream, drawn);
    for (int j = 0; j < d; j++) {
        bool is_category = study->codec.dimensions[j].is_category;
        double fresh = drawn[j], first = rng_uniform(stream) < 0.5 ? a[j] : b[j], chance = rng_uniform(stream);
        if (isnan(first))
            first = isnan(a[j]) ? b[j] : a[j];
        if (isnan(first))
            continue;
        if (is_category) {
            x[j] = chance < 1.0 / d ? fresh : first;
        } else {
            x[j] = isnan(a[j]) || isnan(b[j]) || rng_uniform(stream) < 0.1 ? first : cross(a[j], b[j], stream);
            if (chance < 1.0 / d)
                x[j] = mutate(x[j], stream);
        }
    }
}

static int suggest(struct study *study, int attempt, double *x, struct err *err)
{
    struct arena arena = {0};
    struct study_row *rows = NULL;
    int n = 0;
    if (study->n_configurations < POPULATION || study->n_finished < 2)
        return search_sobol.suggest(study, attempt, x, err);
    int rc = study_rows(study, study->n_finished, &arena, &rows, &n, err);
    struct parent *parents = arena_calloc(&arena, (size_t)n + 1, sizeof(*parents));
    if (rc == 0)
        rc = parents ? select_parents(study, rows, n, parents, &arena, err) : no_memory(err);
    if (rc == 0) {
        struct rng_stream stream = study_stream(study, attempt);
        int size = n < POPULATION ? n : POPULATION;
        int a = tournament(&stream, size), b = tournament(&stream, size);
        breed(study, rows[parents[a].row].x, rows[parents[b].row].x, &stream, x);
    }
    arena_done(&arena);
    return rc;
}

const struct search_kind search_nsga2 = {
    .name = "nsga2",
    .help = "NSGA-II: children of trials that few others dominate",
    .suggest = suggest,
};
