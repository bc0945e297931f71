/* Lanes: opening, running and summing them. */
#include "trainer/trial_lane.h"

#include <assert.h>
#include <string.h>

#include "trainer/halves.h"
#include "trainer/kernels.h"
#include "trainer/trial.h"

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

int lanes_run(struct trial *trial, int n_lanes,
              void (*task)(struct trial *trial, struct lane *lane, int index, void *context), void *context,
              struct err *err)
{
    struct lanes *lanes = &trial->lanes;
    bool shares = n_lanes > 1 && lanes->has_thread;
    if (trial->halves) /* between two calls the optimiser was at work, or the best weights came back */
        halves_changed(trial->halves);
    for (int i = 0; i < TRIAL_LANES; i++) {
        lanes->items[i].rc = 0;
        lanes->items[i].loss = 0;
        lanes->items[i].n_tokens = 0;
    }
    if (shares) {
        pthread_mutex_lock(&lanes->mutex);
        lanes->context = context;
        lanes->task = task;
        pthread_cond_broadcast(&lanes->changed);
        pthread_mutex_unlock(&lanes->mutex);
    }
    task(trial, &lanes->items[0], 0, context);
    if (shares) {
        pthread_mutex_lock(&lanes->mutex);
        while (lanes->task)
            pthread_cond_wait(&lanes->changed, &lanes->mutex);
        pthread_mutex_unlock(&lanes->mutex);
    } else if (n_lanes > 1 && lanes->items[0].rc == 0) {
        task(trial, &lanes->items[1], 1, context);
    }
    for (int i = 0; i < n_lanes; i++)
        if (lanes->items[i].rc < 0) {
            if (err)
                *err = lanes->items[i].err;
            return lanes->items[i].rc;
        }
    return 0;
}

void lanes_reduce(struct trial *trial)
{
    enum { BLOCK = 4096 };
    struct params *own = &trial->model.params, *second = &trial->lanes.second.params;
    for (size_t i = 0; i < own->count; i++) {
        if (!own->items[i]->is_trained)
            continue;
        real *sum = own->items[i]->value.grad, *part = second->items[i]->value.grad;
        for (size_t n = param_size(own->items[i]), at = 0; at < n; at += BLOCK) {
            size_t left = n - at < BLOCK ? n - at : BLOCK;
            kernels()->add(sum + at, sum + at, part + at, left);
            memset(part + at, 0, left * sizeof(real));
        }
    }
}
