/* Lanes: the two halves of a micro-batch, each with a model of its own on the same weights.
 *
 * A micro-batch is cut into groups of whole sequences by its number of tokens alone (TRIAL_GROUP_TOKENS), so that the
 * memory of a step does not grow with the batch. The first half of the groups belongs to lane 0, which is the trial's
 * own model; the second half to lane 1, whose parameters share the data and have gradients of their own. Gradients of a
 * lane add up in the order of its groups, then lane 1's are added to lane 0's. limits.threads only decides who computes
 * a lane: results are the same bits with one thread and with two. */
#ifndef TRAINER_TRIAL_LANE_H
#define TRAINER_TRIAL_LANE_H

#include <pthread.h>

#include "trainer/model.h"

enum {
    TRIAL_LANES = 2,
    TRIAL_GROUP_TOKENS = 512,    /* a group has at most about so many: matrix products gain nothing from more */
    TRIAL_UNDIVIDED_TOKENS = 256 /* a micro-batch of fewer is one group */
};

struct trial;

struct lane {
    struct model *model;
    struct tape *tape;
    struct arena *step; /* with one thread both lanes use the same: one follows the other */
    /* What the lane's groups gave. */
    double loss;
    size_t n_tokens;
    int rc;
    struct err err;
};

struct lanes {
    struct lane items[TRIAL_LANES];
    /* Lane 1's own; its parameters and sites are in `arena`. */
    struct model second;
    struct tape tape;
    struct arena arena, step;
    bool has_thread;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct crew crew;
    bool shares; /* the trained parameters are many enough */
    /* What the thread is asked for; NULL: nothing. */
    void (*task)(struct trial *trial, struct lane *lane, int index, void *context);
    void *context;
    bool is_ended;
};

/* How many groups a micro-batch of so many sequences and tokens is cut into: 1, or an even number. */
size_t lanes_groups(size_t n_sequences, size_t n_tokens);
/* Opens lane 1 beside the trial's own model, and the second thread if the job has one. */
int lanes_open(struct trial *trial, struct err *err) MUST_CHECK;
void lanes_close(struct trial *trial);
/* Runs the task for both lanes (only lane 0 when n_lanes is 1) and waits; the first lane's error. */
int lanes_run(struct trial *trial, int n_lanes,
              void (*task)(struct trial *trial, struct lane *lane, int index, void *context), void *context,
              struct err *err) MUST_CHECK;
/* Adds lane 1's gradients to lane 0's and zeroes them. */
void lanes_reduce(struct trial *trial);
/* The trial's threads for work over its parameters; NULL when there is one, or when the work is too small for two. */
const struct crew *lanes_crew(const struct trial *trial);

#endif
