/* What the files of the search space share. `values` is always an object of the fixed settings and of what was chosen
 * so far. */
#ifndef ORCHESTRATOR_SPACE_INTERNAL_H
#define ORCHESTRATOR_SPACE_INTERNAL_H

#include "orchestrator/space.h"

/* Position of the parameter in `space`, or -1. */
int space_find(const struct space *space, const char *name);
/* What may stand under the name: the setting, or of a free space what its parameters and settings bring; NULL:
 * unknown. */
const struct setting *space_setting(const struct space *space, const char *name);
/* Whether the value equals `wanted`, or is a list that contains it. */
bool space_value_matches(const cJSON *value, const cJSON *wanted);
/* The case that applies beside `values`; NULL: the parameter does not exist. */
const struct distribution *space_case(const struct space *space, const struct parameter *parameter,
                                      const cJSON *values);
/* Distance of neighbouring values of a range: quantum, 1 of ints, 0 when it is continuous. */
double space_step(const struct distribution *distribution);
/* How many values a range with steps has (at most 2^53). */
double space_steps(const struct distribution *distribution);
/* The k-th value of a range with steps. */
double space_step_value(const struct distribution *distribution, double k);
/* The value of an expression beside `values`, checked; ERR_USAGE with the parameter's name. */
int space_evaluate(const struct parameter *parameter, const struct distribution *distribution, const cJSON *values,
                   cJSON **value, struct err *err) MUST_CHECK;
/* Adds a value (taken also on failure) under the parameter's name. */
int space_put(cJSON *values, const struct parameter *parameter, cJSON *value, struct err *err) MUST_CHECK;
/* A copy of the fixed settings to choose beside. */
int space_start(const struct space *space, cJSON **values, struct err *err) MUST_CHECK;
/* Moves what was chosen out of `values` into a new object, in order. */
int space_finish(const struct space *space, cJSON *values, cJSON **configuration, struct err *err) MUST_CHECK;
/* Puts all that must hold between parameters into `problems` and brings them into evaluation order. ERR_NOMEM. */
int space_check(struct space *space, struct arena *arena, struct problems *problems, struct err *err) MUST_CHECK;
/* Calls on_name for each name the parameter's cases look at: conditions, expressions, and what decides whether its
 * setting applies. */
void space_each_dependency(const struct parameter *parameter,
                           void (*on_name)(const char *name, bool in_expression, void *context), void *context);

#endif
