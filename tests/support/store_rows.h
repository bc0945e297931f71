/* Rows that most tests of the store begin with, and one-line questions to it. */
#ifndef TESTS_SUPPORT_STORE_ROWS_H
#define TESTS_SUPPORT_STORE_ROWS_H

#include "orchestrator/store_op.h"

/* Opens for writing or ends the test. */
struct store *rows_open(const char *path);
/* Applies a group or ends the test with its message. */
void rows_apply(struct store *store, const struct store_op *ops, size_t n);
#define ROWS_APPLY(store, ...)                                                                                         \
    rows_apply(store, (struct store_op[]){__VA_ARGS__},                                                                \
               sizeof((struct store_op[]){__VA_ARGS__}) / sizeof(struct store_op))
/* Applies one operation, which must be refused with `code` and a message that contains `part`. */
void rows_refuse(struct store *store, struct store_op op, int code, const char *part);

/* A sweep with the objective validation/accuracy, maximized; its id. */
int64_t rows_sweep(struct store *store, const char *name);
/* A configuration with method lora and that number; its id. */
int64_t rows_configuration(struct store *store, int64_t sweep_id, int64_t number);
/* A WAITING trial of identity "id-<number>"; its id. */
int64_t rows_trial(struct store *store, int64_t sweep_id, int64_t configuration_id, int64_t number, int64_t seed);
/* A RUNNING attempt of a trial; its id. */
int64_t rows_attempt(struct store *store, int64_t trial_id);
/* begin_attempt, end_attempt and COMPLETE with that value. */
void rows_complete(struct store *store, int64_t trial_id, double value);

/* The first column of the first row as a number or text; ends the test when there is no row. NULL reads as NaN and
 * "NULL". The text is the caller's to free. */
double rows_number(struct store *store, const char *sql);
char *rows_text(struct store *store, const char *sql);

#endif
