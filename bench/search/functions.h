/* The test functions of functions.py in C. Everything is minimised. */
#ifndef BENCH_SEARCH_FUNCTIONS_H
#define BENCH_SEARCH_FUNCTIONS_H

#include <stdint.h>

#include "common/json.h"

struct function {
    const char *name;
    double (*first)(const cJSON *configuration);
    double (*second)(const cJSON *configuration);             /* NULL: one objective */
    double optimum, noise;                                    /* of one objective */
    double reference[2];                                      /* of two: for the hypervolume */
    double (*curve)(const cJSON *configuration, double step); /* of those with a learning curve; else NULL */
};

extern const struct function functions[]; /* ends with a NULL name */

/* Standard normal keyed by (seed, trial, step). */
double functions_noise(uint64_t seed, uint64_t trial, uint64_t step);
/* Noise-free loss of `curve` after a step. */
double functions_curve(const cJSON *configuration, double step);

#endif
