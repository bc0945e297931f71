/* Minimisation of smooth functions of few variables in a box. */
#ifndef ORCHESTRATOR_SEARCH_MINIMIZE_H
#define ORCHESTRATOR_SEARCH_MINIMIZE_H

enum { MINIMIZE_MAX_VARIABLES = 512 };

/* Value and gradient at x. */
typedef double (*minimize_fn)(const double *x, double *gradient, void *context);

/* Moves x (n variables, low <= x <= high) downhill by limited-memory BFGS with projected steps (Byrd et al. 1995,
 * without the subspace step; memory 6) until the projected gradient is below `tolerance` or after max_calls values; the
 * value reached. x beyond MINIMIZE_MAX_VARIABLES stays as it is. */
double minimize_box(double *x, const double *low, const double *high, int n, minimize_fn function, void *context,
                    int max_calls, double tolerance);

#endif
