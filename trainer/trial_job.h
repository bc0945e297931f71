/* The job: everything that decides a trial's result, as it comes over standard input (schemas/job.schema.json). */
#ifndef TRAINER_TRIAL_JOB_H
#define TRAINER_TRIAL_JOB_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "trainer/model.h"

enum { TRIAL_JOB_MAX_CHECKS = 16 };

struct task_kind;

struct trial_check {
    const char *name, *kind;
    const char *file;     /* NULL for a kind without items of its own */
    const cJSON *options; /* the check's object: what its kind alone has (common/checks.h) */
};

/* Strings point into `root`. */
struct trial_job {
    cJSON *root;
    int64_t attempt;
    const char *identity, *output, *resume; /* resume: NULL to start anew */
    const char *model;
    const struct task_kind *task_kind;
    enum model_task model_task;            /* the head it takes */
    const cJSON *task, *hashes, *settings; /* hashes may be NULL */
    const char *train, *validation, *test; /* validation, test: NULL when there is no such file */
    uint64_t seed;
    const char *metric; /* of the objective, without "validation/" */
    bool is_maximized;
    struct trial_check checks[TRIAL_JOB_MAX_CHECKS];
    int n_checks;
    uint64_t memory_bytes; /* 0: no limit */
    int threads;
    double checkpoint_seconds;
    int64_t stop_after_steps; /* 0: off */
    int64_t pause_at_step;    /* a checkpoint and the end at that step; 0: off */
    bool waits;               /* after every validation but the last, for `go` or `stop` */
    const char *parent;       /* identity of the trial whose checkpoint `resume` may be; NULL: none */
};

/* Parses and checks a job, its settings through the settings table. ERR_FORMAT or ERR_USAGE with the JSON path. Done
 * also after a failure. */
int trial_job_parse(struct trial_job *job, const char *text, size_t n, struct err *err) MUST_CHECK;
void trial_job_done(struct trial_job *job);
/* Sets task_kind and model_task from `task` and, where the model decides, `model`. ERR_UNSUPPORTED for a kind that is
 * not built in. */
int trial_job_read_kind(struct trial_job *job, struct err *err) MUST_CHECK;

#endif
