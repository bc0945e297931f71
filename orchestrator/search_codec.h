/* Configurations as points: what model-based search computes with.
 *
 * Each case of each parameter that has to be chosen is a *dimension*. A point has a double a dimension: of a category
 * the position in its list (0, 1, …), of a number its place in [0, 1] after the scale (log ranges in the logarithm,
 * normals through their distribution function, whole and quantised ranges and lists of rising numbers in cells of equal
 * width), and NaN where the dimension does not exist beside the other values. Expressions have no dimension: they
 * follow. */
#ifndef ORCHESTRATOR_SEARCH_CODEC_H
#define ORCHESTRATOR_SEARCH_CODEC_H

#include "common/rng.h"
#include "orchestrator/space.h"

struct codec_dimension {
    int parameter, case_index;
    const struct distribution *distribution;
    bool is_category; /* unordered; else a number in [0, 1] */
    double n_values;  /* of categories and of numbers with cells; 0: continuous */
    double low, high; /* of ranges: the scaled ends, cells included; of normals: shares below the bounds */
};

struct codec_pattern; /* which dimensions exist beside which values: remembered */

struct codec {
    const struct space *space;
    struct codec_dimension *dimensions;
    int n;
    int *first;        /* of each parameter: its first dimension; n_parameters + 1 entries */
    bool *decides;     /* of each dimension: whether others exist by its value */
    bool has_patterns; /* some dimension may not exist */
    int n_keys;
    struct codec_pattern *patterns;
    struct arena *arena;
};

/* Keeps `space` and `arena` (borrowed). ERR_NOMEM. */
int codec_init(struct codec *codec, const struct space *space, struct arena *arena, struct err *err) MUST_CHECK;
/* Fills every dimension from the prior: the parameter's own distribution; u are codec->n numbers in [0, 1). */
void codec_from_uniform(const struct codec *codec, const double *u, double *x);
/* Moves each value to the nearest that can be taken and sets what does not exist to NaN. ERR_USAGE when the values
 * have no configuration (an expression without a value there). Every dimension must have a value. */
int codec_settle(struct codec *codec, double *x, struct err *err) MUST_CHECK;
/* The nearest value that dimension j can take. */
double codec_snap(const struct codec *codec, int j, double x);
/* The number that a value of dimension j stands for, and the place of a number; not of lists. */
double codec_number(const struct codec *codec, int j, double x);
double codec_place(const struct codec *codec, int j, double number);
/* The configuration of a settled point; owned by the caller. */
int codec_decode(const struct codec *codec, const double *x, cJSON **configuration, struct err *err) MUST_CHECK;
/* The point of a configuration. Parameters that are missing are taken from `fallback` (every dimension has a value).
 * ERR_USAGE for a name that does not exist or does not apply, and for a value that cannot be taken. */
int codec_encode(struct codec *codec, const cJSON *configuration, const double *fallback, double *x,
                 struct err *err) MUST_CHECK;

#endif
