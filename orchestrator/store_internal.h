/* What the files of the store share: the connection, its prepared statements, transactions, errors.
 * Only orchestrator/store*.c and their tests include this. */
#ifndef ORCHESTRATOR_STORE_INTERNAL_H
#define ORCHESTRATOR_STORE_INTERNAL_H

#include "common/text.h"
#include "orchestrator/lock.h"
#include "orchestrator/store_op.h"

enum {
    STORE_STATEMENTS = 128, /* prepared statements kept; a power of two, well above the number of SQL texts */
    STORE_TIME_SIZE = 32,
    STORE_METRIC_NAME_MAX = 200,  /* bytes of a metric's name */
    STORE_METRIC_NAMES_MAX = 4096 /* different metrics in one store */
};

struct store_statement {
    const char *sql; /* the literal itself: its address is the key */
    sqlite3_stmt *handle;
};

struct metric_name; /* store_write_points.c */

struct store {
    sqlite3 *db;
    char *path;
    enum store_mode mode;
    struct lock lock;
    struct store_statement statements[STORE_STATEMENTS];
    struct metric_name *metric_names;    /* hash by name */
    struct text environment;             /* the one that an attempt began under last … */
    int64_t environment_id;              /* … and its row; 0: look */
    int64_t last_ids[STORE_TABLE_COUNT]; /* touched by the submitting side only */
    char now[STORE_TIME_SIZE];           /* of the transaction that is open */
    struct store_result result;          /* of the last store_apply */
};

/* The error of the last SQLite call, with the store's path and `what` in front. ERR_STORE when the storage failed,
 * ERR_NOMEM, ERR_INTERNAL when the statement or a constraint it broke is our bug. */
int store_fail(const struct store *store, const char *what, struct err *err);
/* Whether a failure leaves the transaction unusable: the storage or memory, not one operation. */
bool store_is_storage_failure(int rc);

/* Values bound to a statement's parameters, ?1 first. */
enum bind_type { BIND_NULL, BIND_INT, BIND_REAL, BIND_TEXT, BIND_BLOB };
struct bind {
    enum bind_type type;
    union {
        int64_t integer;
        double real;
        const void *data;
    };
    size_t bytes;
};
#define BINDS(...) (struct bind[]){__VA_ARGS__}, sizeof((struct bind[]){__VA_ARGS__}) / sizeof(struct bind)

struct bind bind_int(int64_t value);
struct bind bind_id(int64_t id);         /* 0 is NULL */
struct bind bind_real(double value);     /* not finite is NULL */
struct bind bind_text(const char *text); /* NULL is NULL; borrowed until the statement has run */
struct bind bind_blob(const void *data, size_t bytes);
struct bind bind_optional_int(struct optional_int value);
struct bind bind_optional_real(struct optional_real value);

/* The prepared statement of a string literal, reset; borrowed. Prepared once and found by the literal's address. */
int store_prepare(struct store *store, const char *sql, sqlite3_stmt **statement, struct err *err) MUST_CHECK;
/* Runs a statement that gives no rows. *changes (may be NULL) is the number of rows it touched. */
int store_run(struct store *store, const char *sql, const struct bind *binds, size_t n, int64_t *changes,
              struct err *err) MUST_CHECK;
/* Prepares and binds a query; rows come from store_step. */
int store_query(struct store *store, const char *sql, const struct bind *binds, size_t n, sqlite3_stmt **query,
                struct err *err) MUST_CHECK;
/* The next row: *has_row tells. After the last one, or a failure, the query is reset. */
int store_step(struct store *store, sqlite3_stmt *query, bool *has_row, struct err *err) MUST_CHECK;
/* A query's first row, by columns; *found false without one. Reset it (sqlite3_reset) after reading. */
int store_first(struct store *store, const char *sql, const struct bind *binds, size_t n, sqlite3_stmt **row,
                bool *found, struct err *err) MUST_CHECK;
/* Several statements without parameters, not kept. */
int store_exec(struct store *store, const char *sql, struct err *err) MUST_CHECK;

/* One transaction at a time; begin also takes the time that its rows get. */
int store_begin(struct store *store, struct err *err) MUST_CHECK;
int store_commit(struct store *store, struct err *err) MUST_CHECK;
void store_rollback(struct store *store);
/* A group inside the open transaction. When it is refused, the transaction is to be rolled back; with `is_alone`
 * nothing of it happened, and the transaction is as it was (that costs a copy of every page it touches). After a
 * storage failure the transaction is lost, and `result` is not filled. A zeroed result or an earlier one goes in;
 * store_result_done releases its texts. */
int store_run_group(struct store *store, const struct store_op *ops, size_t n, bool is_alone,
                    struct store_result *result, struct err *err) MUST_CHECK;
void store_result_done(struct store_result *result);
/* Makes it the result of a group that failed. */
void store_result_fail(struct store_result *result, int rc, const char *message);

/* One row a kind of operation. */
struct store_op_row {
    const char *name;
    int (*run)(struct store *store, const struct store_op *op, struct store_result *result, struct err *err);
    const size_t *texts; /* offsets in struct store_op of its texts, ends with 0 */
};
extern const struct store_op_row store_op_rows[STORE_OP_KINDS];

/* The trial of an attempt that may still write. ERR_CANCELED: closed, or never begun. */
int store_running_attempt(struct store *store, int64_t attempt_id, int64_t *trial_id, struct err *err) MUST_CHECK;
/* The one place where trial.state changes. ERR_INTERNAL when the table of states does not allow it. */
int store_move(struct store *store, const struct store_move_trial *move, struct err *err) MUST_CHECK;
/* ERR_INTERNAL unless exactly one row was changed: "there is no trial 7". */
int store_expect_one(int64_t changes, const char *what, int64_t id, struct err *err) MUST_CHECK;
/* Puts the path of the trial's checkpoint into the result unless it is `new_path`: that file counts no more. */
int store_read_replaced(struct store *store, int64_t trial_id, const char *new_path, struct store_result *result,
                        struct err *err) MUST_CHECK;
/* Writes the event 'nondeterministic' of a trial and counts it in the result. */
int store_note_difference(struct store *store, int64_t trial_id, int64_t rows, const char *message,
                          struct store_result *result, struct err *err) MUST_CHECK;

/* Forgets metric names that were added by what is being rolled back; remembers them after a commit. */
void store_names_rolled_back(struct store *store);
void store_names_committed(struct store *store);
void store_names_done(struct store *store);

/* The operations, by file. */
typedef int store_op_fn(struct store *store, const struct store_op *op, struct store_result *result, struct err *err);
store_op_fn store_run_add_sweep, store_run_add_objective, store_run_input, store_run_add_origin,
    store_run_set_definition, store_run_set_sweep_state, store_run_add_configuration, store_run_add_trial,
    store_run_parameter_value, store_run_decision, store_run_event;
store_op_fn store_run_move_trial, store_run_reuse_trial, store_run_begin_attempt, store_run_start_attempt,
    store_run_end_attempt, store_run_exit_attempt;
store_op_fn store_run_points, store_run_evaluation, store_run_bias_check, store_run_drop_items, store_run_checkpoint,
    store_run_inherit_checkpoint, store_run_artifact, store_run_objective_value;
store_op_fn store_run_cancel, store_run_retry, store_run_archive, store_run_unarchive, store_run_delete;

/* Creating and changing the schema. A migration brings a store from version `from` to from + 1. */
struct store_migration {
    int from;
    const char *sql;
};
int store_create_schema(struct store *store, struct err *err) MUST_CHECK;
/* Replaces the connection by one to a copy of the store in a temporary file that goes with it. */
int store_read_copy(struct store *store, struct err *err) MUST_CHECK;
/* From the file's version to `target`, each step one transaction, after a copy of the file as FILE.v<N>.bak (none of a
 * store that is only read: that is a copy already).
 * `migrations` has one row for each version from the file's to target - 1, in order. */
int store_migrate(struct store *store, const struct store_migration *migrations, size_t n, int target,
                  struct err *err) MUST_CHECK;
/* The migrations of this program. */
const struct store_migration *store_migrations(size_t *n);
/* Settles what a crash left: attempts RUNNING → INTERRUPTED and their trials → WAITING, one transaction, with an event
 * 'recovered' for each sweep concerned. */
int store_recover(struct store *store, struct err *err) MUST_CHECK;
/* Looks up the largest ids again: rows came in another way than by operations. */
int store_count_ids(struct store *store, struct err *err) MUST_CHECK;
/* ERR_STORE when a row refers to one that is not there. */
int store_check_references(struct store *store, struct err *err) MUST_CHECK;
/* The one number that a pragma or count gives. */
int store_read_number(struct store *store, const char *sql, int64_t *value, struct err *err) MUST_CHECK;

#endif
