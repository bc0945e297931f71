/* Functions beside the suite of functions.py. Everything is minimised; optima are 0. */
#ifndef BENCH_SEARCH_FUNCTIONS_HELD_H
#define BENCH_SEARCH_FUNCTIONS_HELD_H

#include "common/json.h"

double held_levy(const cJSON *configuration);
double held_griewank(const cJSON *configuration);
double held_styblinski(const cJSON *configuration);
/* A branch for each optimizer. */
double held_optimizer(const cJSON *configuration);
/* Whole numbers, categories and numbers. */
double held_mixture(const cJSON *configuration);
/* The loss after a step; what ends best is not what leads early. */
double held_crossing(const cJSON *configuration, double step);

#endif
