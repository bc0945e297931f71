/* Probes: what the configurations of a plan cost, from a few timed steps of the real trainer before anything runs.
 *
 * Configurations whose settings differ only in what changes neither size nor time (learning rate, weight decay, seeds,
 * …) share one probe. A probe is a job with stop_after_steps: its `started` record has the counts, and the time from
 * that to `stopped` the seconds a step. As many run at a time as the sweep has slots, so that they share the machine
 * as the trials will. A configuration that the model refuses (BitFit on a model without biases) is found here. */
#ifndef ORCHESTRATOR_PROBE_H
#define ORCHESTRATOR_PROBE_H

#include "orchestrator/plan.h"

enum {
    PROBE_MAX_TIMED = 24,  /* probes that are run; of each method at least the first, as far as they go */
    PROBE_STEPS = 4,       /* timed steps */
    PROBE_MAX_SECONDS = 60 /* then a probe is ended and what it said until then counts */
};

/* Configurations of the same cost. Counts are −1 and seconds NaN until they are known. */
struct probe {
    const char *method;                     /* "lora"; several joined by '+'; "baseline" of the checks' baseline */
    const char *parameters;                 /* the searched values that make the cost: "rank 8" */
    const cJSON *settings;                  /* of the first configuration */
    uint64_t seed;                          /* of its first trial */
    int n_configurations, n_trials, n_open; /* open: still to be trained */
    bool is_timed;                          /* it is run itself */
    int like;                               /* else the probe of its method that stands for it, or −1 */
    int64_t trained_parameters, total_parameters, estimated_bytes, total_steps, steps_per_epoch;
    int64_t n_train, n_validation, n_test;
    bool recomputes; /* layers are computed again in backward, to keep within resources.memory */
    double tokens_per_second;
    char reason[32];                  /* of a refusal: "infeasible"; "" */
    char message[ERR_MESSAGE_SIZE];   /* of a refusal, or why it could not be timed */
    double spawned, started, stopped; /* seconds on one clock */
    int64_t n_steps;                  /* done when it stopped */
    bool is_whole;                    /* it finished: total_steps are no more than PROBE_STEPS */
};

struct probes {
    struct arena arena;
    struct probe *items; /* the baseline first, then in the order of proposal */
    int n, n_timed;
};

/* Groups the configurations; `is_open` (of each planned trial) says which are still to be trained. */
int probes_make(struct probes *probes, const struct plan *plan, const bool *is_open, struct err *err) MUST_CHECK;
void probes_done(struct probes *probes);

/* Called when `n_done` probes have ended. */
typedef void (*probe_progress_fn)(int n_done, int n, void *context);
/* Runs the timed ones, `slots` at a time, with the trainer beside this program, in a folder of their own below TMPDIR
 * that is removed. What single trainers answer is no error of this call; ERR_IO when none can be started, ERR_CANCELED
 * after SIGINT or SIGTERM, which end them. */
int probes_run(struct probes *probes, const struct plan *plan, int slots, probe_progress_fn on_progress, void *context,
               struct err *err) MUST_CHECK;
/* Takes a record that came at `now`. ERR_FORMAT for one that cannot be read. */
int probe_take_record(struct probe *probe, const char *line, size_t n, double now, struct err *err) MUST_CHECK;

/* The probe that says what this one costs: itself, the one it is like, or NULL. */
const struct probe *probe_source(const struct probes *probes, const struct probe *probe);
/* Seconds a step (without the validations that fell into the timed ones), and a whole trial of the definition: start,
 * steps, validations, test, checks. A forward pass alone is taken as 1 / (2 + share of trained parameters) of a
 * training step, as the trainer's flops are. NaN: not known. */
/* The last step before the end after which the trial is validated; 0: there is none. */
int64_t probe_last_validation(const struct probe *probe);
double probe_seconds_per_step(const struct probe *probe);
double probe_seconds_per_trial(const struct probe *probe, const struct definition *definition);
/* Of all open trials: seconds with `slots` at a time (NaN when of some probe they are not known), the largest memory of
 * a trial, bytes of adapters that stay and of checkpoints that are there at a time. */
struct probe_estimate {
    double seconds;
    int64_t memory_bytes, adapter_bytes, checkpoint_bytes;
    int n_unknown; /* open trials whose time is not known */
};
struct probe_estimate probes_estimate(const struct probes *probes, const struct definition *definition, int slots);

#endif
