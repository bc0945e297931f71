/* Named crash points: the moments between two steps of which a kill may leave one.
 *
 * NIGHTSWEEP_CRASH_AT=NAME[:N] ends the process with SIGKILL when it comes by the point for the N-th time (1), and
 * NIGHTSWEEP_CRASH_MARK=FILE makes that happen once: the crash leaves FILE, and where FILE is nothing crashes. Without
 * the variables a point costs a comparison. tests/e2e/crash_points.sh kills at each and compares what comes of it;
 * `nightsweep --crash-points` prints the table. */
#ifndef COMMON_CRASH_H
#define COMMON_CRASH_H

/* X(constant, name, what comes by: a `run` (coordinator, worker or trainer) or another command, what stands where) */
#define CRASH_POINTS(X)                                                                                                \
    X(CRASH_FILE_WRITTEN, "file_written", "run", "a file is written under its temporary name")                         \
    X(CRASH_FILE_RENAMED, "file_renamed", "run", "it has its name, the folder is not synced")                          \
    X(CRASH_SWEEP_ADDED, "sweep_added", "run", "the sweep has its row, and no trials")                                 \
    X(CRASH_TRIALS_ADDED, "trials_added", "run", "and its trials; nothing runs")                                       \
    X(CRASH_STORE_CREATED, "store_created", "run", "the store's tables are made and not committed")                    \
    X(CRASH_RECOVERING, "recovering", "recovery", "attempts of a dead run are closed, and not committed")              \
    X(CRASH_BATCH_TAKEN, "batch_taken", "run", "the store's thread has operations, none is carried out")               \
    X(CRASH_BATCH_RUN, "batch_run", "run", "they are carried out and not committed")                                   \
    X(CRASH_BATCH_COMMITTED, "batch_committed", "run", "they are committed, and nobody knows")                         \
    X(CRASH_BATCH_KNOWN, "batch_known", "run", "the loop has acted upon them")                                         \
    X(CRASH_PROPOSED, "proposed", "run", "search or stopping rule have handed out a trial; not on disk")               \
    X(CRASH_ATTEMPT_BEGUN, "attempt_begun", "run", "an attempt has its row, and is not sent")                          \
    X(CRASH_INHERITED, "inherited", "run", "a parent's checkpoint is linked, and has no row")                          \
    X(CRASH_ATTEMPT_SENT, "attempt_sent", "run", "the attempt is sent")                                                \
    X(CRASH_RECORD_TAKEN, "record_taken", "run", "a record is read, and what comes of it submitted")                   \
    X(CRASH_CHECKPOINT_REPLACED, "checkpoint_replaced", "run", "a checkpoint counts, the older file is there")         \
    X(CRASH_CHECKPOINT_REMOVED, "checkpoint_removed", "run", "the older file is gone")                                 \
    X(CRASH_TRIAL_THROUGH, "trial_through", "run", "a trial is through, its checkpoint is there")                      \
    X(CRASH_ATTEMPT_FREED, "attempt_freed", "run", "a process is gone, its end is submitted")                          \
    X(CRASH_RUN_OVER, "run_over", "run", "nothing is left to do; checks are not paired")                               \
    X(CRASH_CHECKS_PAIRED, "checks_paired", "run", "they are; the sweep is not COMPLETE")                              \
    X(CRASH_WORKER_STARTED, "worker_started", "run", "a worker is there, and has said nothing")                        \
    X(CRASH_TRAINER_STARTED, "trainer_started", "run", "it has started a trainer, without its job")                    \
    X(CRASH_RECORD_READ, "record_read", "run", "a trainer's record is read, and not passed on")                        \
    X(CRASH_EXIT_SEEN, "exit_seen", "run", "a trainer's end is seen, and not told")                                    \
    X(CRASH_EXIT_TOLD, "exit_told", "run", "it is told")                                                               \
    X(CRASH_JOB_READ, "job_read", "run", "a trainer has its job, and said nothing")                                    \
    X(CRASH_TRAINING, "training", "run", "a trainer has begun to train")                                               \
    X(CRASH_STEP_DONE, "step_done", "run", "a step is done, its points may not be sent")                               \
    X(CRASH_EVALUATED, "evaluated", "run", "an evaluation is sent; no checkpoint has it")                              \
    X(CRASH_CHECKPOINT_WRITTEN, "checkpoint_written", "run", "a checkpoint has its name, and no record")               \
    X(CRASH_CHECKPOINT_SENT, "checkpoint_sent", "run", "its record is sent")                                           \
    X(CRASH_TRAINED, "trained", "run", "the last step is done")                                                        \
    X(CRASH_CHECKED, "checked", "run", "checks are sent")                                                              \
    X(CRASH_ADAPTER_SAVED, "adapter_saved", "run", "the adapter is saved, its files have no records")                  \
    X(CRASH_ARTIFACTS_SENT, "artifacts_sent", "run", "they have; the result is not sent")                              \
    X(CRASH_RESULT_SENT, "result_sent", "run", "the result is sent, the process still there")                          \
    X(CRASH_BACKED_UP, "backed_up", "migration", "an older store is backed up, and not migrated")                      \
    X(CRASH_MIGRATING, "migrating", "migration", "it is migrated and not committed")                                   \
    X(CRASH_MIGRATED, "migrated", "migration", "it is committed")                                                      \
    X(CRASH_ORIGIN_MADE, "origin_made", "stages", "a later stage's model is there, and has no row")                    \
    X(CRASH_GC_FOUND, "gc_found", "gc", "what goes is known, and all there")                                           \
    X(CRASH_GC_ROW_GONE, "gc_row_gone", "gc", "a checkpoint's row is gone, its file is there")                         \
    X(CRASH_DELETED, "deleted", "delete", "a sweep's rows are gone, its files are there")                              \
    X(CRASH_IMPORT_PLACED, "import_placed", "import", "its folder is there, and nothing in it")                        \
    X(CRASH_IMPORT_FILES, "import_files", "import", "its files are there, its rows are not committed")                 \
    X(CRASH_IMPORT_COMMITTED, "import_committed", "import", "its rows are, the folder bears its mark still")

#define CRASH_CONSTANT(constant, name, where, state) constant,
enum crash_point { CRASH_POINTS(CRASH_CONSTANT) CRASH_POINT_COUNT };
#undef CRASH_CONSTANT

struct crash_point_info {
    const char *name, *where, *state;
};
extern const struct crash_point_info crash_points[CRASH_POINT_COUNT];

void crash_at(enum crash_point point);

#endif
