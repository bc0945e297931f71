/* Fronts and hypervolume. */
#include "orchestrator/search_pareto.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for a Pareto front");
}

bool pareto_dominates(const double *a, const double *b, int n_objectives)
{
    bool is_better = false;
    for (int k = 0; k < n_objectives; k++) {
        if (a[k] > b[k])
            return false;
        is_better = is_better || a[k] < b[k];
    }
    return is_better;
}

int pareto_ranks(const double *points, int n, int n_objectives, int *ranks, struct err *err)
{
    int *counts = calloc((size_t)n + 1, sizeof(*counts)), left = n;
    if (!counts)
        return no_memory(err);
    for (int a = 0; a < n; a++) {
        ranks[a] = -1;
        for (int b = 0; b < n; b++)
            counts[a] += pareto_dominates(points + (size_t)b * (size_t)n_objectives,
                                          points + (size_t)a * (size_t)n_objectives, n_objectives);
    }
    for (int rank = 0; left > 0; rank++) {
        for (int a = 0; a < n; a++)
            if (ranks[a] < 0 && counts[a] == 0) {
                ranks[a] = rank;
                left--;
            }
        for (int a = 0; a < n; a++)
            for (int b = 0; b < n && ranks[a] == rank; b++)
                counts[b] -= pareto_dominates(points + (size_t)a * (size_t)n_objectives,
                                              points + (size_t)b * (size_t)n_objectives, n_objectives);
    }
    free(counts);
    return 0;
}

struct keyed {
    double key;
    int member;
};

static int compare_keyed(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key ? 1 : x->member - y->member;
}

int pareto_crowding(const double *points, const int *members, int n, int n_objectives, double *distances,
                    struct err *err)
{
    struct keyed *order = calloc((size_t)n + 1, sizeof(*order));
    if (!order)
        return no_memory(err);
    for (int i = 0; i < n; i++)
        distances[i] = 0;
    for (int k = 0; k < n_objectives; k++) {
        for (int i = 0; i < n; i++)
            order[i] = (struct keyed){points[(size_t)members[i] * (size_t)n_objectives + (size_t)k], i};
        qsort(order, (size_t)n, sizeof(*order), compare_keyed);
        double width = n > 0 ? order[n - 1].key - order[0].key : 0;
        for (int i = 0; i < n; i++) {
            if (i == 0 || i == n - 1)
                distances[order[i].member] = INFINITY;
            else if (width > 0)
                distances[order[i].member] += (order[i + 1].key - order[i - 1].key) / width;
        }
    }
    free(order);
    return 0;
}

/* Hypervolume ------------------------------------------------------------------------------------------------------ */

static int compare_pairs(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return x[0] < y[0] ? -1 : x[0] > y[0] ? 1 : x[1] < y[1] ? -1 : x[1] > y[1];
}

/* Of two objectives, rows (x, y): sorted, a staircase. */
static double staircase(double (*rows)[2], int n, const double *reference)
{
    double volume = 0, best = reference[1];
    qsort(rows, (size_t)n, sizeof(*rows), compare_pairs);
    for (int i = 0; i < n && rows[i][0] < reference[0]; i++)
        if (rows[i][1] < best) {
            volume += (reference[0] - rows[i][0]) * (best - rows[i][1]);
            best = rows[i][1];
        }
    return volume;
}

static int volume_of(const double *points, const int *members, int n, int width, int n_objectives,
                     const double *reference, double *volume, struct err *err)
{
    if (n_objectives == 1) {
        double best = reference[0];
        for (int i = 0; i < n; i++)
            best = fmin(best, points[(size_t)members[i] * (size_t)width]);
        *volume = reference[0] - best;
        return 0;
    }
    if (n_objectives == 2) {
        double(*rows)[2] = calloc((size_t)n + 1, sizeof(*rows));
        if (!rows)
            return no_memory(err);
        for (int i = 0; i < n; i++)
            memcpy(rows[i], points + (size_t)members[i] * (size_t)width, sizeof(*rows));
        *volume = staircase(rows, n, reference);
        free(rows);
        return 0;
    }
    /* Between two neighbouring values of the last objective the slice is what all points up to there dominate. */
    struct keyed *order = calloc((size_t)n + 1, sizeof(*order));
    int *inside = calloc((size_t)n + 1, sizeof(*inside)), rc = order && inside ? 0 : no_memory(err);
    *volume = 0;
    for (int i = 0; i < n && rc == 0; i++)
        order[i] = (struct keyed){points[(size_t)members[i] * (size_t)width + (size_t)n_objectives - 1], members[i]};
    if (rc == 0)
        qsort(order, (size_t)n, sizeof(*order), compare_keyed);
    for (int i = 0; i < n && rc == 0 && order[i].key < reference[n_objectives - 1]; i++) {
        double slice = 0,
               top = i + 1 < n ? fmin(order[i + 1].key, reference[n_objectives - 1]) : reference[n_objectives - 1];
        inside[i] = order[i].member;
        if (top > order[i].key)
            rc = volume_of(points, inside, i + 1, width, n_objectives - 1, reference, &slice, err);
        *volume += slice * (top - order[i].key);
    }
    free(order);
    free(inside);
    return rc;
}

int pareto_hypervolume(const double *points, int n, int n_objectives, const double *reference, double *volume,
                       struct err *err)
{
    int *members = calloc((size_t)n + 1, sizeof(*members)), kept = 0;
    if (!members)
        return no_memory(err);
    for (int i = 0; i < n; i++) {
        bool is_inside = true;
        for (int k = 0; k < n_objectives; k++)
            is_inside = is_inside && points[(size_t)i * (size_t)n_objectives + (size_t)k] < reference[k];
        if (is_inside)
            members[kept++] = i;
    }
    *volume = 0;
    int rc = kept ? volume_of(points, members, kept, n_objectives, n_objectives, reference, volume, err) : 0;
    free(members);
    return rc;
}
