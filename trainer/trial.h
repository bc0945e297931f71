/* One trial: what the job names, opened; and training, evaluation and checks on it. */
#ifndef TRAINER_TRIAL_H
#define TRAINER_TRIAL_H

#include <semaphore.h>
#include <stdatomic.h>

#include "trainer/dataset.h"
#include "trainer/frozen_prefix.h"
#include "trainer/method.h"
#include "trainer/optimizer.h"
#include "trainer/records.h"
#include "trainer/task.h"
#include "trainer/trial_job.h"
#include "trainer/trial_lane.h"

/* What can change the last bits of a result. */
struct fingerprint {
    char blas_version[128], blas_core[64], cpu[128], kernel_level[16], compute[16];
};

/* The word to go on, said by the watcher of standard input. */
struct go {
    sem_t said;         /* posted by `go`, by what asks the trial to end, and at the end of the input */
    atomic_bool is_all; /* nobody is there to say it any more */
};

/* The progress of training: all that a checkpoint holds beside tensors. */
struct progress {
    int64_t step;      /* optimiser steps done */
    int64_t best_step; /* of the best validation so far; −1: none yet */
    double best_value;
    int64_t bad_evaluations; /* since the best */
    bool is_stopped_early;
    double summed_tokens; /* trained so far */
};

struct trial {
    struct trial_job *job;
    struct records *records;
    atomic_bool *stop; /* set when the trial is asked to end */
    struct go *go;     /* NULL: never waited for */
    bool trap_nan;

    struct arena arena, step_arena;
    double check_seconds[TRIAL_JOB_MAX_CHECKS]; /* of the processor, of each of the job's checks */
    struct tokenizer *tokenizer;
    char *cache_folder; /* token_cache.h; NULL: none */
    struct rows train_rows, validation_rows, test_rows;
    size_t n_augmented; /* of train_rows: the altered copies at its end */
    struct labels labels;
    void *task_state;                       /* what the task keeps for the trial (trial arena) */
    struct dataset train, validation, test; /* test.count 0: none */
    real *class_weights;
    struct token_kinds token_kinds;
    struct model model;
    struct tape tape;      /* lane 0's */
    struct halves *halves; /* of both lanes; NULL: computes in fp32 */
    struct arena halves_arena;
    struct lanes lanes;
    struct frozen_prefix prefix; /* of both lanes; 0 layers: there is none */
    struct optimizer optimizer;
    struct schedule schedule;
    double learning_rate, label_smoothing;
    int batch_size, accumulation, max_tokens;
    int64_t steps_per_epoch, total_steps;
    uint32_t *order; /* of the epoch being trained */
    int64_t order_epoch;
    real **best;    /* a copy of each trained tensor at the best validation; NULL entries for the others */
    void *best_map; /* many megabytes of them lie in a file, so that they take memory only while they are copied */
    size_t best_bytes;
    struct progress progress;
    char model_hash[HASH_HEX_SIZE], tokenizer_hash[HASH_HEX_SIZE], data_hash[HASH_HEX_SIZE];
    struct fingerprint fingerprint;
    size_t estimated_bytes;
};

/* Reads data, tokenizer and model, attaches the methods, checks the hashes the job expects. Closed also after a
 * failure. ERR_NOMEM when the memory limit is too small, with the estimate. */
int trial_open(struct trial *trial, struct trial_job *job, struct records *records, atomic_bool *stop,
               struct err *err) MUST_CHECK;
/* Opens model, adapter (settings.init_adapter) and the rows of `input` as the test split, for trial_predict; nothing
 * else of a trial. The job's task, settings, model and threads are read, and trial->labels, which the caller has set.
 * Closed also after a failure. */
int trial_open_to_predict(struct trial *trial, struct trial_job *job, const char *input, struct err *err) MUST_CHECK;
void trial_close(struct trial *trial);
/* Trains from the job's checkpoint or from the start, evaluates, checks, saves; sends every record. 0 when finished or
 * stopped. */
int trial_run(struct trial *trial, struct err *err) MUST_CHECK;

/* Pieces of it --------------------------------------------------------------------------------------------------- */

/* A batch of examples packed in packing->arena, with what the task learns from them. NULL when the arena is full. */
const struct batch *trial_pack(const struct task_kind *task, const struct packing *packing);
/* Opens the job's model and attaches the methods; `original`: of the model whose data it shares, or NULL. */
int trial_open_model(struct trial *trial, struct model *model, struct arena *arena, const struct params *original,
                     struct err *err) MUST_CHECK;
/* Whether its micro-batches are cut into groups (trial_lane.h). */
bool trial_divides(const struct trial *trial);
/* Keeps the trained weights as the best ones, or makes the best ones the trained weights again. */
void trial_keep_best(struct trial *trial);
void trial_restore_best(struct trial *trial);
/* Predictions of all examples, in `arena`. */
int trial_predict(struct trial *trial, const struct dataset *dataset, struct predictions *predictions,
                  struct arena *arena, struct err *err) MUST_CHECK;
/* Predicts, and sends the evaluation record and its points. `predictions` lie in `arena`. */
int trial_evaluate(struct trial *trial, const char *split, bool is_final, struct arena *arena, struct metrics *metrics,
                   struct err *err) MUST_CHECK;
/* Whether the job's checks apply to the model, and whether their files can be read: ERR_UNSUPPORTED, ERR_FORMAT. */
int trial_check_fits(struct trial *trial, struct err *err) MUST_CHECK;
/* Processor time of all threads of this process, seconds. */
double trial_processor_seconds(void);
/* Runs the job's checks with the weights as they are, sends their records. */
int trial_check(struct trial *trial, struct err *err) MUST_CHECK;
/* After a validation: points of the checks that are followed over training. */
int trial_check_follow(struct trial *trial, struct err *err) MUST_CHECK;
/* Forward and backward of one micro-batch, dropout on: examples [first, first + n) of the epoch's order; `micro_step`
 * counts over the whole run. Adds share · loss to *loss and share · gradient to every trained parameter's. */
int trial_micro_batch(struct trial *trial, uint32_t micro_step, size_t first, size_t n, double share, double *loss,
                      struct err *err) MUST_CHECK;
/* Which optimiser step lies in which epoch, and how many batches it takes. */
int64_t trial_epoch_of(const struct trial *trial, int64_t step);

/* Checkpoints: <output>/<attempt>-<step>.checkpoint, written tmp + fsync + rename, never overwritten. */
int checkpoint_write(struct trial *trial, struct err *err) MUST_CHECK;
/* Reads the job's `resume` into the trial; *bit_exact: the fingerprint is the one it was written under. ERR_FORMAT for
 * a damaged file or another trial's. */
int checkpoint_read(struct trial *trial, const char *path, bool *bit_exact, struct err *err) MUST_CHECK;

/* What computes here; compute is "fp32". */
void fingerprint_take(struct fingerprint *fingerprint);

#endif
