/* Operations: everything that is ever written into the store, each a tagged struct.
 *
 * A *group* is an array of operations that happens whole or not at all: a trial's end is one group of end_attempt,
 * artifacts, objective values and move_trial. Groups are given to store_thread_submit while a sweep runs, or to
 * store_apply before and after.
 *
 *     struct store_op ops[] = {
 *         {.kind = STORE_END_ATTEMPT, .end_attempt = {.attempt_id = 12, .state = ATTEMPT_COMPLETE, …}},
 *         {.kind = STORE_OBJECTIVE_VALUE, .objective_value = {.trial_id = 7, .position = 0, .value = 0.91}},
 *         {.kind = STORE_MOVE_TRIAL, .move_trial = {.trial_id = 7, .to = TRIAL_COMPLETE, .value = known_real(0.91)}},
 *     };
 *
 * Operations that carry an attempt_id are records of that attempt and are refused (ERR_CANCELED) unless the attempt is
 * RUNNING: a superseded trainer cannot write. They are idempotent: a row that is there already must be equal, else the
 * first one stays, an event 'nondeterministic' is written, and the result counts it. Values that are no finite numbers
 * are stored as NULL. */
#ifndef ORCHESTRATOR_STORE_OP_H
#define ORCHESTRATOR_STORE_OP_H

#include "common/json.h"
#include "orchestrator/store.h"

enum store_op_kind {
    STORE_ADD_SWEEP,         /* store_sweep: sweep (state is OPEN) */
    STORE_ADD_OBJECTIVE,     /* after the sweep; position 0 first */
    STORE_INPUT,             /* what it is trained on; replaces the role's row */
    STORE_ADD_ORIGIN,        /* what its trials start from */
    STORE_SET_DEFINITION,    /* an accepted extension of the definition */
    STORE_SET_SWEEP_STATE,   /* COMPLETE and STOPPED set finished_at, OPEN clears it */
    STORE_ADD_CONFIGURATION, /* store_configuration */
    STORE_ADD_TRIAL,         /* store_trial: WAITING, before anything is sent */
    STORE_PARAMETER_VALUE,   /* of a trial, for queries by value */
    STORE_MOVE_TRIAL,        /* the one transition of a trial's state; ERR_INTERNAL when it is not allowed. COMPLETE and
                              * PRUNED drop the checkpoint: the result has its path */
    STORE_REUSE_TRIAL,       /* WAITING → COMPLETE with the results of an equal trial; see struct store_reuse */
    STORE_BEGIN_ATTEMPT,     /* attempt RUNNING and trial → RUNNING */
    STORE_START_ATTEMPT,     /* the trainer's `started`: environment and sizes */
    STORE_END_ATTEMPT,       /* closes the attempt: its later records are refused */
    STORE_EXIT_ATTEMPT,      /* how the process ended, of an attempt in any state */
    STORE_POINTS,            /* a batch of curve points */
    STORE_EVALUATION,
    STORE_BIAS_CHECK,
    STORE_DROP_ITEMS,
    STORE_INHERIT_CHECKPOINT, /* a trial's own copy of another's checkpoint; nothing when it has one */
    STORE_CHECKPOINT,         /* the newest one; the result has the path of the one it replaces */
    STORE_ARTIFACT,
    STORE_OBJECTIVE_VALUE,
    STORE_DECISION,
    STORE_EVENT,
    STORE_CANCEL, /* what a person asks for; see struct store_choice */
    STORE_RETRY,
    STORE_ARCHIVE,
    STORE_UNARCHIVE,
    STORE_DELETE,
    STORE_OP_KINDS
};

struct store_objective {
    int64_t sweep_id;
    int position; /* 0: its value is trial.value */
    const char *metric;
    bool is_maximized;
};

struct store_input {
    int64_t sweep_id;
    const char *role;                                     /* model, train, validation, test */
    const char *path, *sha256, *license, *license_source; /* license and its source: NULL, nothing says */
};

struct store_origin {
    int64_t sweep_id;
    const char *role; /* model, init_adapter */
    const char *seed; /* its digits, or "all" */
    const char *from_sweep;
    int64_t from_trial;
    const char *from_identity, *path, *sha256;
};

struct store_set_definition {
    int64_t sweep_id;
    const char *definition, *definition_sha256;
};

struct store_set_sweep_state {
    int64_t sweep_id;
    enum sweep_state state;
};

/* A number when `text` is NULL, else text (lists as JSON text). */
struct store_parameter_value {
    int64_t trial_id;
    const char *name;
    const char *text;
    double number;
};

struct store_move_trial {
    int64_t trial_id;
    enum trial_state to;
    enum trial_reason reason;   /* exactly with TRIAL_FAILED */
    const char *message;        /* the reason in words, or NULL */
    struct optional_real value; /* of the first objective, with TRIAL_COMPLETE */
    struct optional_int steps;  /* optimiser steps of the whole trial, once final; absent: as counted */
    struct optional_int stored_bytes;
};

/* Looks for a COMPLETE trial of the same identity, in any sweep. When there is one, its value, points, evaluations,
 * bias checks (without before), objective values and, if the sweeps share their output folder, artifacts are copied
 * and the trial becomes COMPLETE; result.reused_trial_id says which. When there is none nothing happens, and
 * reused_trial_id is 0. */
struct store_reuse {
    int64_t trial_id;
};

struct store_begin_attempt {
    int64_t id, trial_id; /* id from store_new_id: the wire's `attempt` */
    const char *worker;   /* host and worker number */
    int slot;
    bool may_reuse; /* as STORE_REUSE_TRIAL first: when that finds an equal trial, nothing begins */
};

struct store_environment {
    const char *program_version, *git_commit, *blas_version, *blas_core, *cpu, *kernel_level, *compute;
    const char *model_sha256, *tokenizer_sha256, *data_sha256, *definition_sha256;
};

struct store_start_attempt {
    int64_t attempt_id;
    struct store_environment environment; /* no member NULL; one row for equal ones */
    int64_t resumed_step;
    bool is_bit_exact;
    struct optional_int total_steps, trained_parameters;
    struct optional_real flops;
};

struct store_end_attempt {
    int64_t attempt_id;
    enum attempt_state state; /* not RUNNING */
    enum trial_reason reason; /* exactly with ATTEMPT_FAILED */
    const char *cause;        /* without a reason: what took it away, ATTEMPT_PREEMPTED and the like, or NULL */
    const char *message;      /* or NULL */
    struct optional_real seconds, tokens_per_second;
    struct optional_int peak_bytes;
};

/* What is absent stays as it is. */
struct store_exit_attempt {
    int64_t attempt_id;
    struct optional_int exit_status, signal, peak_bytes;
    struct optional_real seconds;
    const char *log_tail;
};

struct store_point {
    const char *name;
    int64_t step;
    double value; /* not finite: NULL in the store */
};

/* In step order. Raises trial.steps to the largest step in it. */
struct store_points {
    int64_t attempt_id;
    const struct store_point *points;
    size_t n;
};

struct store_evaluation {
    int64_t attempt_id;
    const char *split;
    int64_t step;
    bool is_final;
    int64_t n_items;
    const char *metrics; /* JSON */
    const char *item_set_sha256;
    const void *items; /* per item: docs/store.md. NULL: none */
    size_t items_bytes;
};

/* attempt_id 0: the coordinator filling in before, delta, low and high of a row that is there (or
 * adding one to a finished trial), by trial_id. Otherwise trial_id is ignored. before, delta and the interval of an
 * existing row are replaced when they are known; `after` of an existing row stays. */
struct store_bias_check {
    int64_t attempt_id, trial_id;
    const char *check_name, *metric;
    int64_t n_items;
    struct optional_real before, delta, low, high;
    double after;
    const char *item_set_sha256;
    const char *items; /* JSON or NULL */
};

/* Empties the items of a check's rows that know their before; the baselines keep theirs, for trials to come. */
struct store_drop_items {
    int64_t sweep_id;
    const char *check_name;
};

struct store_checkpoint {
    int64_t attempt_id;
    int64_t step;
    const char *path;
    int64_t bytes;
    const char *sha256;
};

struct store_inherit_checkpoint {
    int64_t trial_id, parent_id;
    const char *path; /* of the copy */
};

/* attempt_id 0: of trial_id, whose files the coordinator has put there itself (copied from an equal trial). A row of
 * the same path with another content is replaced, since the file was. */
struct store_artifact {
    int64_t attempt_id, trial_id;
    const char *kind, *path; /* path below the sweep's output folder */
    int64_t bytes;
    const char *sha256;
};

struct store_objective_value {
    int64_t trial_id;
    int position;
    double value; /* finite */
};

struct store_decision {
    int64_t sweep_id;
    int64_t trial_id; /* 0: of the sweep */
    const char *rule;
    struct optional_int step;
    const char *action; /* propose, continue, pause, resume, prune, stop */
    const char *reason;
};

struct store_event {
    int64_t sweep_id, trial_id; /* 0: none */
    const char *kind, *message;
};

/* What a person asks for, by the names they know. ERR_NOT_FOUND when there is no such sweep or trial, ERR_USAGE when
 * the trial is in no state for it; result.n_changed says how many trials were concerned.
 *
 * cancel: WAITING and PAUSED trials become PRUNED with `reason` as their message, a decision of the rule 'person', and
 * a record for the search. Without a trial all of the sweep, which is STOPPED. ERR_BUSY when a chosen trial is RUNNING:
 * its attempt must be closed first.
 * archive, unarchive: the sweep is left out of lists, or back in them; results stay.
 * delete: the sweep goes with all its rows, in one transaction with an event 'deleted' that says where its files lie:
 * {"sweep":…,"folder":…}. ERR_BUSY when one of its trials is RUNNING.
 * retry: FAILED trials become WAITING; the attempts they had count for no retry any more. The sweep is OPEN again. */
struct store_choice {
    const char *sweep;
    int64_t trial; /* number; 0: all of the sweep */
    const char *reason;
};

struct store_op {
    enum store_op_kind kind;
    union {
        struct store_sweep sweep;
        struct store_objective objective;
        struct store_input input;
        struct store_origin origin;
        struct store_set_definition set_definition;
        struct store_set_sweep_state set_sweep_state;
        struct store_configuration configuration;
        struct store_trial trial;
        struct store_parameter_value parameter_value;
        struct store_move_trial move_trial;
        struct store_reuse reuse;
        struct store_begin_attempt begin_attempt;
        struct store_start_attempt start_attempt;
        struct store_end_attempt end_attempt;
        struct store_exit_attempt exit_attempt;
        struct store_points points;
        struct store_evaluation evaluation;
        struct store_bias_check bias_check;
        struct store_drop_items drop_items;
        struct store_inherit_checkpoint inherit_checkpoint;
        struct store_checkpoint checkpoint;
        struct store_artifact artifact;
        struct store_objective_value objective_value;
        struct store_decision decision;
        struct store_event event;
        struct store_choice choice;
    };
};

/* What a group came to. Texts are valid as long as the result (during `done`, or until the next store_apply). */
struct store_result {
    int rc;                     /* 0: committed, all of it. Otherwise nothing of it is in the store. */
    const char *message;        /* of rc, "" when 0 */
    const char *replaced_path;  /* the checkpoint's file that counts no more, to be deleted now; NULL: none */
    int64_t reused_trial_id;    /* reuse_trial: whose results were taken; 0: none */
    const char *reused_metrics; /* … and what it reported, JSON: objectives, bias/…, seconds, parameters */
    int64_t n_changed;          /* cancel, retry: trials */
    int64_t nondeterministic;   /* rows that were there with another value */
};

/* Runs a group as one transaction, at once, on the calling thread. `result` may be NULL. Not while a store thread runs.
 * ERR_STORE when the storage fails (full disk, I/O), ERR_CANCELED for a record of a closed attempt, ERR_NUMERIC for a
 * value that must be finite, ERR_FORMAT for a metric's name that cannot be one, ERR_INTERNAL for a transition,
 * reference or missing text that is our bug. */
int store_apply(struct store *store, const struct store_op *ops, size_t n, struct store_result *result,
                struct err *err) MUST_CHECK;
/* The same for more operations than are held at once: parts of one transaction, all or none of it. After
 * store_apply_begin comes store_apply_end in any case; `has_failed` undoes everything. */
int store_apply_begin(struct store *store, struct err *err) MUST_CHECK;
int store_apply_part(struct store *store, const struct store_op *ops, size_t n, struct err *err) MUST_CHECK;
int store_apply_end(struct store *store, bool has_failed, struct err *err) MUST_CHECK;

/* Canonical JSON text in the arena, as parameters and settings are kept; NULL without memory. */
const char *store_canonical(struct arena *arena, const cJSON *json);
/* The operation that keeps one searched value of a trial: a number, a text, or a list as JSON text (in the arena; else
 * borrowed from `item`). ERR_NOMEM. */
int store_value_op(struct store_op *op, int64_t trial_id, const cJSON *item, struct arena *arena,
                   struct err *err) MUST_CHECK;

/* "move_trial": for messages. */
const char *store_op_name(enum store_op_kind kind);

#endif
