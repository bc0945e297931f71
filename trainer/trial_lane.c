/* Lanes: opening, running and summing them. */
#include "trainer/trial_lane.h"

#include <assert.h>
#include <string.h>

#include "trainer/halves.h"
#include "trainer/kernels.h"
#include "trainer/trial.h"

/* Trained elements from which waking the other thread is worth it. */
enum { SHARED_ELEMENTS = 1 << 18 };

size_t lanes_groups(size_t n_sequences, size_t n_tokens)
{
    if (n_tokens < TRIAL_UNDIVIDED_TOKENS || n_sequences < 2)
        return 1;
    size_t groups = 2 * ((n_tokens + 2 * TRIAL_GROUP_TOKENS - 1) / (2 * TRIAL_GROUP_TOKENS));
    return groups < n_sequences ? groups : n_sequences - n_sequences % 2;
}

static void *work(void *context)
{
    struct trial *trial = context;
    struct lanes *lanes = &trial->lanes;
    pthread_mutex_lock(&lanes->mutex);
    while (!lanes->is_ended) {
        if (!lanes->task) {
            pthread_cond_wait(&lanes->changed, &lanes->mutex);
            continue;
        }
        pthread_mutex_unlock(&lanes->mutex);
        lanes->task(trial, &lanes->items[1], 1, lanes->context);
        pthread_mutex_lock(&lanes->mutex);
        lanes->task = NULL;
        pthread_cond_broadcast(&lanes->changed);
    }
    pthread_mutex_unlock(&lanes->mutex);
    return NULL;
}

/* Both threads at the task, or this one at both lanes. */
static void run_both(struct trial *trial,
                     void (*task)(struct trial *trial, struct lane *lane, int index, void *context), void *context)
{
    struct lanes *lanes = &trial->lanes;
    if (!lanes->has_thread) {
        task(trial, &lanes->items[0], 0, context);
        if (lanes->items[0].rc == 0)
            task(trial, &lanes->items[1], 1, context);
        return;
    }
    pthread_mutex_lock(&lanes->mutex);
    lanes->context = context;
    lanes->task = task;
    pthread_cond_broadcast(&lanes->changed);
    pthread_mutex_unlock(&lanes->mutex);
    task(trial, &lanes->items[0], 0, context);
    pthread_mutex_lock(&lanes->mutex);
    while (lanes->task)
        pthread_cond_wait(&lanes->changed, &lanes->mutex);
    pthread_mutex_unlock(&lanes->mutex);
}

int lanes_run(struct trial *trial, int n_lanes,
              void (*task)(struct trial *trial, struct lane *lane, int index, void *context), void *context,
              struct err *err)
{
    struct lanes *lanes = &trial->lanes;
    if (trial->halves) /* between two calls the optimiser was at work, or the best weights came back */
        halves_changed(trial->halves);
    for (int i = 0; i < TRIAL_LANES; i++) {
        lanes->items[i].rc = 0;
        lanes->items[i].loss = 0;
        lanes->items[i].n_tokens = 0;
    }
    if (n_lanes > 1)
        run_both(trial, task, context);
    else
        task(trial, &lanes->items[0], 0, context);
    for (int i = 0; i < n_lanes; i++)
        if (lanes->items[i].rc < 0) {
            if (err)
                *err = lanes->items[i].err;
            return lanes->items[i].rc;
        }
    return 0;
}

/* Work in shares ----------------------------------------------------------------------------------------------------
 */

struct shared_work {
    share_fn fn;
    void *work;
};

static void run_share(struct trial *trial, struct lane *lane, int index, void *context)
{
    const struct shared_work *shared = context;
    (void)trial, (void)lane;
    shared->fn(shared->work, (struct work_share){index, TRIAL_LANES});
}

static void run_shares(void *members, share_fn fn, void *work)
{
    run_both(members, run_share, &(struct shared_work){fn, work});
}

const struct crew *lanes_crew(const struct trial *trial)
{
    return trial->lanes.has_thread && trial->lanes.shares ? &trial->lanes.crew : NULL;
}

static void reduce_block(void *context, const struct param_block *block)
{
    const struct params *second = context;
    const struct value *from = &second->items[block->index]->value;
    if (!param_block_is_touched(from, block))
        return;
    real *sum = block->param->value.grad + block->at, *part = from->grad + block->at;
    kernels()->add(sum, sum, part, block->n);
    memset(part, 0, block->n * sizeof(real));
}

static void reduce_share(void *work, struct work_share share)
{
    struct trial *trial = work;
    params_each_block(&trial->model.params, share, reduce_block, &trial->lanes.second.params);
}

void lanes_reduce(struct trial *trial)
{
    struct params *own = &trial->model.params, *second = &trial->lanes.second.params;
    crew_run(lanes_crew(trial), reduce_share, trial);
    for (size_t i = 0; i < own->count; i++) {
        uint8_t *marks = own->items[i]->value.row_marks, *others = second->items[i]->value.row_marks;
        for (int row = 0; marks && row < own->items[i]->value.rows; row++) {
            marks[row] |= others[row];
            others[row] &= (uint8_t)~ROW_TOUCHED;
        }
    }
}

/* Opening and closing --------------------------------------------------------------------------------------------- */

/* The same sites and methods once more, on the data of the first. */
static int open_second(struct trial *trial, struct err *err)
{
    struct lanes *lanes = &trial->lanes;
    struct params *own = &lanes->second.params, *original = &trial->model.params;
    int rc = trial_open_model(trial, &lanes->second, &lanes->arena, original, err);
    if (rc < 0)
        return rc;
    assert(own->count == original->count);
    for (size_t i = 0; i < own->count; i++) {
        assert(strcmp(own->items[i]->name, original->items[i]->name) == 0);
        own->items[i]->value.data = original->items[i]->value.data;
        own->items[i]->value.row_file = original->items[i]->value.row_file;
    }
    return 0;
}

int lanes_open(struct trial *trial, struct err *err)
{
    struct lanes *lanes = &trial->lanes;
    int rc = open_second(trial, err);
    if (rc < 0)
        return rc;
    lanes->tape = trial->tape;
    lanes->items[0] = (struct lane){.model = &trial->model, .tape = &trial->tape, .step = &trial->step_arena};
    lanes->items[1] = (struct lane){.model = &lanes->second, .tape = &lanes->tape, .step = &trial->step_arena};
    if (trial->job->threads < 2)
        return 0;
    lanes->items[1].step = &lanes->step;
    pthread_mutex_init(&lanes->mutex, NULL);
    pthread_cond_init(&lanes->changed, NULL);
    if (pthread_create(&lanes->thread, NULL, work, trial) != 0)
        return err_set(err, ERR_NOMEM, "the second thread cannot be started");
    lanes->has_thread = true;
    lanes->shares = params_count_trained(&trial->model.params) >= SHARED_ELEMENTS;
    lanes->crew = (struct crew){run_shares, trial};
    return 0;
}

void lanes_close(struct trial *trial)
{
    struct lanes *lanes = &trial->lanes;
    if (lanes->has_thread) {
        pthread_mutex_lock(&lanes->mutex);
        lanes->is_ended = true;
        pthread_cond_broadcast(&lanes->changed);
        pthread_mutex_unlock(&lanes->mutex);
        pthread_join(lanes->thread, NULL);
        pthread_cond_destroy(&lanes->changed);
        pthread_mutex_destroy(&lanes->mutex);
    }
    model_close(&lanes->second);
    arena_done(&lanes->step);
    arena_done(&lanes->arena);
}
