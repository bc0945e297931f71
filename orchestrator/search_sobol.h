/* Sobol points with nested uniform scrambling. */
#ifndef ORCHESTRATOR_SEARCH_SOBOL_H
#define ORCHESTRATOR_SEARCH_SOBOL_H

#include <stdint.h>

enum { SOBOL_DIMENSIONS = 128 };

/* Component `dimension` of the index-th point as a 32-bit fraction, not scrambled. Sobol 1967 with the direction
 * numbers of Joe and Kuo 2008 ("Constructing Sobol sequences with better two-dimensional projections"), in Gray code
 * order as they are usually listed. dimension < SOBOL_DIMENSIONS. */
uint32_t sobol_component(uint32_t index, int dimension);
/* The index-th point (n dimensions) in [0, 1), scrambled by `seed` (Owen 1995 by hashing, Burley 2020). Dimensions
 * beyond SOBOL_DIMENSIONS are plain random numbers. */
void sobol_point(uint64_t seed, uint32_t index, double *u, int n);

#endif
