/* Expressions over parameters: "2 * rank", "min(512, 4 * adapter_size)".
 *
 * Grammar: numbers, names, + - * / % ** ( ), unary minus, and the functions min max floor ceil round sqrt log exp abs.
 * ** binds tighter than unary minus and to the right. Values are doubles. */
#ifndef ORCHESTRATOR_EXPRESSION_H
#define ORCHESTRATOR_EXPRESSION_H

#include <stddef.h>

#include "common/arena.h"
#include "common/err.h"

struct expression; /* lies in the arena it was parsed into */

/* ERR_USAGE: "character 5: a number, a name or '(' was expected, ')' was found". At most 32 levels deep. */
int expression_parse(const char *text, struct arena *arena, struct expression **expression, struct err *err) MUST_CHECK;
/* Calls on_name for each name used. Not 0 ends it and is returned. */
int expression_each_name(const struct expression *expression, int (*on_name)(const char *name, void *context),
                         void *context);
/* ERR_USAGE when look_up refuses a name, ERR_NUMERIC when the value is no finite number (division by 0). */
int expression_evaluate(const struct expression *expression,
                        int (*look_up)(const char *name, double *value, void *context, struct err *err), void *context,
                        double *value, struct err *err) MUST_CHECK;

#endif
