/* Limited-memory BFGS with projection onto a box. */
#include "orchestrator/search_minimize.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { MEMORY = 6 };

struct history {
    double s[MEMORY][MINIMIZE_MAX_VARIABLES], y[MEMORY][MINIMIZE_MAX_VARIABLES], rho[MEMORY];
    int n, next;
};

static double dot(const double *a, const double *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* direction = −H gradient over the free variables, H the inverse Hessian the history stands for. */
static void find_direction(const struct history *history, const double *gradient, const bool *is_free,
                           double *direction, int n)
{
    double a[MEMORY] = {0};
    for (int i = 0; i < n; i++)
        direction[i] = is_free[i] ? -gradient[i] : 0;
    for (int k = 0; k < history->n; k++) {
        int j = (history->next - 1 - k + 2 * MEMORY) % MEMORY;
        a[j] = history->rho[j] * dot(history->s[j], direction, n);
        for (int i = 0; i < n; i++)
            direction[i] -= a[j] * history->y[j][i];
    }
    if (history->n > 0) {
        int j = (history->next - 1 + MEMORY) % MEMORY;
        double scale = 1 / (history->rho[j] * dot(history->y[j], history->y[j], n));
        for (int i = 0; i < n; i++)
            direction[i] *= scale;
    }
    for (int k = history->n - 1; k >= 0; k--) {
        int j = (history->next - 1 - k + 2 * MEMORY) % MEMORY;
        double b = history->rho[j] * dot(history->y[j], direction, n);
        for (int i = 0; i < n; i++)
            direction[i] += (a[j] - b) * history->s[j][i];
    }
    for (int i = 0; i < n; i++)
        if (!is_free[i])
            direction[i] = 0;
}

static void remember(struct history *history, const double *s, const double *y, int n)
{
    double curvature = dot(s, y, n);
    if (curvature <= 1e-12 * sqrt(dot(s, s, n) * dot(y, y, n)))
        return;
    int j = history->next;
    memcpy(history->s[j], s, (size_t)n * sizeof(*s));
    memcpy(history->y[j], y, (size_t)n * sizeof(*y));
    history->rho[j] = 1 / curvature;
    history->next = (j + 1) % MEMORY;
    history->n += history->n < MEMORY;
}

double minimize_box(double *x, const double *low, const double *high, int n, minimize_fn function, void *context,
                    int max_calls, double tolerance)
{
    struct history history;
    double gradient[MINIMIZE_MAX_VARIABLES], direction[MINIMIZE_MAX_VARIABLES], next[MINIMIZE_MAX_VARIABLES];
    double next_gradient[MINIMIZE_MAX_VARIABLES], s[MINIMIZE_MAX_VARIABLES], y[MINIMIZE_MAX_VARIABLES];
    bool is_free[MINIMIZE_MAX_VARIABLES];
    history.n = history.next = 0;
    if (n > MINIMIZE_MAX_VARIABLES)
        return INFINITY;
    double value = function(x, gradient, context);
    int calls = 1;
    while (calls < max_calls && isfinite(value)) {
        double norm = 0;
        for (int i = 0; i < n; i++) {
            is_free[i] = !((x[i] <= low[i] && gradient[i] > 0) || (x[i] >= high[i] && gradient[i] < 0));
            norm = fmax(norm, is_free[i] ? fabs(gradient[i]) : 0);
        }
        if (norm <= tolerance)
            break;
        find_direction(&history, gradient, is_free, direction, n);
        double slope = dot(direction, gradient, n), length = sqrt(dot(direction, direction, n));
        if (!(slope < 0)) { /* the curvature remembered no longer fits */
            history.n = 0;
            find_direction(&history, gradient, is_free, direction, n);
            slope = dot(direction, gradient, n);
            length = sqrt(-slope);
        }
        /* A first step without curvature is a small one: a tenth of the box's unit at most. */
        double step = history.n == 0 && length > 0.1 ? 0.1 / length : 1, reached = value;
        bool is_better = false;
        for (int tries = 0; tries < 12 && calls < max_calls; tries++) {
            for (int i = 0; i < n; i++)
                next[i] = fmin(high[i], fmax(low[i], x[i] + step * direction[i]));
            reached = function(next, next_gradient, context);
            calls++;
            if (isfinite(reached) && reached <= value + 1e-4 * step * slope) {
                is_better = true;
                break;
            }
            double curve = 2 * (reached - value - step * slope);
            double best = isfinite(reached) && curve > 0 ? -slope * step * step / curve : 0;
            step = fmin(0.5 * step, fmax(0.1 * step, best));
        }
        if (!is_better)
            break;
        for (int i = 0; i < n; i++) {
            s[i] = next[i] - x[i];
            y[i] = next_gradient[i] - gradient[i];
        }
        remember(&history, s, y, n);
        double gain = value - reached;
        memcpy(x, next, (size_t)n * sizeof(*x));
        memcpy(gradient, next_gradient, (size_t)n * sizeof(*gradient));
        value = reached;
        if (gain <= 1e-10 * (fabs(value) + 1e-3))
            break;
    }
    return value;
}
