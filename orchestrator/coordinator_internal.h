/* What the coordinator's files share: its state. coordinator.c runs the loop and the slots, coordinator_attempt.c the
 * life of an attempt, coordinator_record.c what trainers report, coordinator_study.c what search and stopping rule make
 * of it, coordinator_control.c what people ask for while it works. */
#ifndef ORCHESTRATOR_COORDINATOR_INTERNAL_H
#define ORCHESTRATOR_COORDINATOR_INTERNAL_H

#include "common/table.h"
#include "orchestrator/control.h"
#include "orchestrator/coordinator.h"
#include "orchestrator/loop.h"
#include "orchestrator/pool.h"
#include "orchestrator/study.h"

enum {
    WORKER_STARTS_MAX = 5, /* in a row without a trial that ended in between */
    WORKER_LOSSES_MAX = 5, /* of one trial: it may be what ends the worker */
    COORDINATOR_FILES_MAX = 64,
    TICK_MS = 250,          /* how often the display and the clock are looked at */
    STORE_RETRY_SECONDS = 2 /* after a full disk */
};

/* A trial as it is worked on. Its rows are in the store; this is what dispatch needs. */
struct live_trial {
    const struct store_trial *stored;
    int index;
    int64_t study_trial;       /* its number in the study; 0: none */
    int64_t told_step;         /* the newest step that the study knows */
    struct live_trial *parent; /* whose checkpoint of parent_step it goes on from, when it has none itself; or NULL */
    int64_t parent_step;
    const char *method;     /* "lora+prompt" */
    const char *settings;   /* canonical JSON */
    const char *parameters; /* "rank 4, learning_rate 0.001" */
    enum trial_state state;
    bool is_wanted, is_baseline;
    bool has_heirs;             /* is a parent */
    bool has_folder;            /* it may have files: of an earlier attempt, or of another store */
    bool is_out;                /* in a slot */
    bool is_settled;            /* state is what the study says; the store has WAITING still */
    int failures;               /* attempts that count as retries */
    int losses;                 /* workers that ended while it ran, in this run */
    double seconds;             /* of its attempts so far */
    int64_t trained_parameters; /* 0: not known yet */
    char *checkpoint;           /* path of the newest committed one; heap, or NULL */
    char *checkpoint_sha256;    /* checked before it is used; heap, or NULL: not known */
    int64_t checkpoint_step;
};

enum slot_state { SLOT_FREE, SLOT_RESERVED, SLOT_RUNNING };

/* RESERVED: the store is asked for a reuse or the attempt's row; RUNNING: until the worker says `ended`. */
struct coordinator_slot {
    enum slot_state state;
    struct pool *pool; /* whose slot it is */
    int number;        /* in its worker, from 1 */
    struct live_trial *trial;
    int64_t attempt;
    bool is_closed;        /* the attempt's end is submitted: later records are not its own */
    enum trial_state goal; /* once stopped: WAITING, or what the stopping rule decided: PAUSED, PRUNED */
    char goal_reason[512];
    cJSON *held_report; /* of the end of its generation: the study hears of it with the checkpoint of that step … */
    int64_t held_step;  /* … from which others may go on; NULL: none */
    cJSON *outcomes;    /* "bias/flip_rate" …: what checks reported, for constraints on results */
    uint64_t started_ns;
    double seconds, tokens_per_second, peak_bytes; /* of `finished` */
    int64_t first_step;                            /* it went on from */
    struct progress_slot shown;
    char shown_parameters[160];
    UT_hash_handle by_attempt, by_identity; /* while it is not free */
};

struct coordinator_request {
    struct control_client *client;
    cJSON *json;
};

struct coordinator {
    const struct coordinator_options *options;
    const struct definition *definition;
    struct loop loop;
    struct pool *pools; /* a worker each */
    int n_pools;
    struct store_thread *thread;
    struct live_trial **trials;
    bool has_folders;                      /* of trials, at the start */
    int n_trials, trials_capacity, next;   /* the lowest index that may be WAITING */
    int64_t n_in_state[TRIAL_STATE_COUNT]; /* wanted trials; kept by coordinator_set_state */
    struct study *study;                   /* NULL: the store has every trial from the start */
    struct live_trial **by_study;          /* by the study's number − 1 */
    int n_by_study, by_study_capacity;
    bool may_ask;                      /* something changed since the study had nothing to hand out */
    struct known_configuration *known; /* by the study's number − 1: id in the store */
    int n_known, known_capacity;
    int64_t last_configuration, last_trial; /* numbers */
    struct coordinator_slot *slots;
    int n_slots, n_busy;
    struct coordinator_slot *by_attempt;  /* those that are not free … */
    struct coordinator_slot *by_identity; /* … and of what trial, when equal trials share their result */
    int slots_each, slots_made;           /* of a worker: that are used; that have a row in `slots` */
    double deadline_seconds;              /* from the start; 0: none */
    struct control control;
    struct coordinator_request requests[CONTROL_CLIENTS_MAX]; /* that wait until no slot is reserved */
    int n_requests;
    bool is_taking; /* them */
    struct arena arena;
    char *marker_path;
    const char *files[COORDINATOR_FILES_MAX + 1]; /* that trainers will read, ends with NULL */
    char marker[HASH_HEX_SIZE];
    uint64_t started_ns, retry_ns;
    bool is_due;            /* something may be handed out, or all is done: looked at before the loop waits */
    bool has_started;       /* what is not yet sent */
    bool is_stopping;       /* nothing new is started; what runs checkpoints … */
    const char *stop_cause; /* … for this: ATTEMPT_ASKED and the like */
    bool is_paused;         /* nothing is started until it is resumed */
    bool is_canceled;       /* the sweep, by a person */
    bool is_killing;        /* what runs is ended at once */
    bool is_interrupted;
    bool is_quitting; /* all is done: the worker is told to go */
    bool is_held;     /* the store waits for room on the disk */
    bool is_closing;
    double reserved_wall, reserved_cpu; /* of budgets of time: what is in the store as used */
    double trained_seconds;             /* of the trials that completed in this run … */
    int64_t n_trained;                  /* … and how many */
    struct optional_real best;
    int rc;
    struct err err;
};

/* coordinator.c */
void coordinator_fail(struct coordinator *c, int rc, const struct err *err);
/* Submits; `done` gets the slot's coordinator as context. Failing is the end of the run. */
void coordinator_submit(struct coordinator *c, const struct store_op *ops, size_t n, store_done_fn done, void *context);
/* Whether any worker is running. */
bool coordinator_has_worker(const struct coordinator *c);
/* Stops or goes on reading all workers' lines. */
void coordinator_pause(struct coordinator *c, bool is_paused);
/* Before the loop waits, hands out what can be handed out, and ends when nothing is left. */
void coordinator_dispatch(struct coordinator *c);
/* The slot that is reserved for an attempt or runs it, or NULL. */
struct coordinator_slot *coordinator_find_attempt(struct coordinator *c, int64_t attempt);
void coordinator_event(struct coordinator *c, const struct live_trial *trial, const char *kind, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Every change of a trial's state goes through here: the display counts states, and there may be many trials. */
void coordinator_set_state(struct coordinator *c, struct live_trial *trial, enum trial_state state);
/* A value of the first objective: the best so far is shown. */
void coordinator_note_value(struct coordinator *c, double value);
/* Adds a trial behind the others; NULL (and the run has failed) without memory. */
struct live_trial *coordinator_add_trial(struct coordinator *c, const struct store_trial *stored, const char *settings,
                                         const char *parameters, bool is_baseline);

/* Nothing new is started, running trials write their checkpoints. `cause`: of the attempts that end so
 * (trial_state.h). */
void coordinator_stop(struct coordinator *c, const char *cause, const char *kind, const char *message);

/* coordinator_budget.c: stops the run when a budget of time is used up; call it several times a second. */
void budget_watch(struct coordinator *c);
/* Writes what was really used: the run ends in good order. */
void budget_settle(struct coordinator *c);

/* coordinator_control.c: a request came (control.h); those whose time has come are carried out; the rest are refused.
 */
void coordinator_on_request(struct control_client *client, cJSON *request, void *context);
void coordinator_take_requests(struct coordinator *c);
void coordinator_refuse_requests(struct coordinator *c);

/* coordinator_show.c ------------------------------------------------------------------------------------------------
 */

/* "lora+prompt" of the settings' method; "rank 4, learning_rate 0.001": the searched values but the method. In the
 * arena; "" when there is nothing to say. */
const char *coordinator_method_name(struct coordinator *c, const char *settings);
const char *coordinator_describe(struct coordinator *c, const char *parameters);
void coordinator_show(struct coordinator *c);

/* coordinator_attempt.c: from WAITING to RUNNING and to the end */

/* The folder of a trial's files, <output folder>/<number>; heap, NULL without memory. */
char *attempt_folder(const struct coordinator *c, const struct live_trial *trial);
/* From here the trial may be handed out again. */
void attempt_set_waiting(struct coordinator *c, struct live_trial *trial);
void attempt_reserve(struct coordinator *c, struct coordinator_slot *slot, struct live_trial *trial);
/* Finds all slots again that are not free: they have moved. ERR_NOMEM. */
int attempt_index_slots(struct coordinator *c, struct err *err) MUST_CHECK;
/* `finished`: the trial is COMPLETE. `values`: of each objective. */
void attempt_complete(struct coordinator *c, struct coordinator_slot *slot, const double *values, const char *message,
                      struct optional_int steps, struct optional_int stored_bytes);
/* Fails the attempt; the trial waits again or is FAILED. */
void attempt_fail(struct coordinator *c, struct coordinator_slot *slot, enum trial_reason reason, const char *message);
/* Stopped on request or interrupted with its worker: no fault of the trial, which waits again. `cause`: trial_state.h;
 * NULL: a decision about the trial. */
void attempt_suspend(struct coordinator *c, struct coordinator_slot *slot, enum attempt_state state, const char *cause,
                     const char *message);
/* Removes the file of a checkpoint that counts no more, once that is committed. */
void attempt_on_through(const struct store_result *result, void *context);
/* The worker says that the process is gone: the slot is free. */
void attempt_ended(struct coordinator *c, struct coordinator_slot *slot, const cJSON *message);
/* The worker is gone with all it ran. */
void attempt_lost(struct coordinator *c, struct coordinator_slot *slot, const char *why);

/* Whether a trial that has not begun goes on from this one's checkpoint, which must stay as it is until then. */
bool attempt_is_awaited(const struct coordinator *c, const struct live_trial *trial);
/* Removes checkpoints of trials that need none: their deletion was lost with an earlier run. */
void attempt_remove_leftovers(struct coordinator *c);
/* Whether there are folders of trials, at the start. */
bool attempt_find_folders(const struct coordinator *c);

/* coordinator_record.c: a trainer's record. ERR_FORMAT when it is none: the attempt is then failed. */
int record_take(struct coordinator *c, struct coordinator_slot *slot, const char *type, const cJSON *record,
                struct err *err) MUST_CHECK;

/* The same for a line of curve points (common/points.h). */
int record_take_points(struct coordinator *c, struct coordinator_slot *slot, const struct points *points,
                       struct err *err) MUST_CHECK;

/* coordinator_study.c ------------------------------------------------------------------------------------------- */

struct known_configuration {
    int64_t id;
    const char *settings; /* canonical JSON; NULL: loaded when it is needed no more */
};

enum { STUDY_OPS_MAX = 4 };

/* Takes up what the study knows at the start: which trial is which. */
int study_take_up(struct coordinator *c, struct err *err) MUST_CHECK;
/* The next trial that search or stopping rule hand out, its rows submitted; NULL: none now. */
struct live_trial *study_next(struct coordinator *c);
/* Whether something decides about the trial at each evaluation, so that it waits for the word. */
bool study_decides(const struct coordinator *c, const struct live_trial *trial);
/* An intermediate evaluation: asks the trainer to stop or tells it to go on. At the end of a generation it is held
 * until the step's checkpoint comes, and both are committed together: what the study knows of, another trial can go on
 * from. */
void study_report(struct coordinator *c, struct coordinator_slot *slot, int64_t step, const cJSON *metrics);
/* Submits a checkpoint together with the report that waits for it; false when none does. */
bool study_report_held(struct coordinator *c, struct coordinator_slot *slot, const struct store_op *checkpoint,
                       store_done_fn done, void *context);
/* A trainer says how many steps its trial has: a budget of steps reserves no more. */
void study_note_length(struct coordinator *c, const struct live_trial *trial, int64_t steps);
/* Ops that belong into the group of a trial's end, so that study and store cannot differ; `record` keeps their text.
 * metrics NULL: it failed. How many. */
size_t study_end_ops(struct coordinator *c, const struct live_trial *trial, const cJSON *metrics, struct text *record,
                     struct store_op *ops);
/* After everything: paused trials that nobody promoted are PRUNED. */
void study_close(struct coordinator *c);

#endif
