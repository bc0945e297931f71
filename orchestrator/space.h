/* The search space: parameters, their distributions, conditions and expressions.
 *
 * A parameter has one or several *cases*; the first whose condition holds for the values chosen before it applies, and
 * where none holds the parameter does not exist. Parameters are kept in an order in which each comes after those its
 * conditions and expressions name. A *configuration* is a JSON object of the parameters that exist, in that order. */
#ifndef ORCHESTRATOR_SPACE_H
#define ORCHESTRATOR_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/json.h"
#include "common/rng.h"
#include "common/settings.h"
#include "orchestrator/expression.h"
#include "orchestrator/problems.h"

enum distribution_kind {
    DISTRIBUTION_VALUES,     /* {"values": […], "probabilities": […]} */
    DISTRIBUTION_RANGE,      /* {"min", "max", "scale": linear|log, "quantum", "type": float|int} */
    DISTRIBUTION_NORMAL,     /* {"distribution": "normal", "mean", "deviation"}; min and max cut it */
    DISTRIBUTION_LOG_NORMAL, /* exp of a normal with that mean and deviation */
    DISTRIBUTION_EXPRESSION  /* {"expression": "2 * rank"} */
};

struct condition { /* parameter or setting `name` has one of `values` (a list value: contains one) */
    const char *name;
    const cJSON *values; /* array; borrowed from the definition */
};

struct distribution {
    enum distribution_kind kind;
    struct condition *conditions; /* all must hold */
    int n_conditions;
    const cJSON *values; /* array; borrowed */
    double *probabilities;
    int n_values;
    double min, max, quantum, mean, deviation; /* quantum 0: none */
    bool has_min, has_max;                     /* of normal and log-normal */
    bool is_log, is_int;
    struct expression *expression;
};

struct parameter {
    const char *name;
    const struct setting *setting;
    struct distribution *cases;
    int n_cases;
};

struct space {
    struct parameter *parameters; /* in evaluation order */
    int n_parameters;
    const cJSON *settings; /* fixed values, for conditions on settings; borrowed from the definition */
    bool is_free;          /* names are the definition's own: the settings table says nothing about them */
};

/* Reads definition.parameters into `space` (arena's memory; the JSON is borrowed). Reports every error found into
 * `problems` with its JSON path: unknown names (with the nearest), a name that is in settings too, unknown keys, min
 * above max, log with min <= 0, values the setting does not take (settings_check), probabilities that do not fit,
 * conditions on unknown names or values nobody can take, circles, expressions over later or missing names, options of a
 * method that cannot be chosen. 0 also when there were problems; ERR_NOMEM. */
int space_read(struct space *space, const cJSON *parameters, const cJSON *settings, struct arena *arena,
               struct problems *problems, struct err *err) MUST_CHECK;
/* The same with names and values of the definition's own, for trials that are trained elsewhere. */
int space_read_free(struct space *space, const cJSON *parameters, const cJSON *settings, struct arena *arena,
                    struct problems *problems, struct err *err) MUST_CHECK;
/* Draws a configuration; *configuration is owned by the caller. ERR_USAGE when an expression has no value or one that
 * the setting refuses. */
int space_draw(const struct space *space, struct rng_stream *stream, cJSON **configuration, struct err *err) MUST_CHECK;
/* How many configurations a grid has, counting conditions; -1 when some parameter is a range without quantum. Ranges
 * with a quantum and int ranges are enumerated. At most INT64_MAX. */
int64_t space_grid_size(const struct space *space);
/* The index-th configuration of the grid, 0 <= index < size; the last parameter varies fastest. */
int space_grid_at(const struct space *space, int64_t index, cJSON **configuration, struct err *err) MUST_CHECK;

#endif
