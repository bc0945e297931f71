/* The store's thread: a queue in, a queue out, one transaction for whatever waits.
 *
 * The loop gathers groups in a list of its own. Between the two threads there are three lists under one mutex: queued
 * (the loop appends what it gathered, the thread takes all), the batch (the thread's own while it works), completed
 * (the thread appends, the loop takes all). A group stays the same heap object on its way; the loop frees it after
 * `done`. */
#include "orchestrator/store_thread.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/crash.h"
#include "orchestrator/store_copy.h"
#include "orchestrator/store_internal.h"

struct group {
    struct group *next;
    struct store_op *ops;
    size_t n, bytes;
    store_done_fn done;
    void *context;
    struct store_result result;
};

struct group_list {
    struct group *first, *last;
};

struct store_thread {
    struct store *store;
    struct store_thread_options options;
    pthread_t thread;

    /* The loop's own. */
    size_t pending, pending_bytes;
    struct group_list gathered; /* submitted, and not handed over yet */
    size_t gathered_bytes;
    bool is_stopped;

    /* Under the mutex. */
    pthread_mutex_t mutex;
    pthread_cond_t work;    /* something was queued, or the state changed */
    pthread_cond_t through; /* a batch is through, or held */
    struct group_list queued, completed;
    bool is_working, is_stopping, is_held, has_failed;
    struct err failure; /* of is_held and has_failed */
};

static void list_append(struct group_list *list, struct group_list tail)
{
    if (tail.first == NULL)
        return;
    if (list->first == NULL)
        list->first = tail.first;
    else
        list->last->next = tail.first;
    list->last = tail.last;
}

static struct group_list list_take(struct group_list *list)
{
    struct group_list all = *list;
    *list = (struct group_list){0};
    return all;
}

static void group_free(struct group *group)
{
    store_result_done(&group->result);
    free(group->ops);
    free(group);
}

/* The thread
 * -----------------------------------------------------------------------------------------------------------
 */

static void fail_all(struct group_list batch, const struct err *failure)
{
    for (struct group *group = batch.first; group != NULL; group = group->next)
        store_result_fail(&group->result, failure->code, failure->message);
}

/* All groups in a transaction that stays open. Not one by one the first refusal ends it. A failure of the storage is
 * the batch's. */
static int run_groups(struct store *store, struct group_list batch, bool one_by_one, bool *is_refused, struct err *err)
{
    struct err refusal;
    int rc = store_begin(store, err);
    *is_refused = false;
    for (struct group *group = batch.first; rc == 0 && group != NULL; group = group->next) {
        rc = store_run_group(store, group->ops, group->n, one_by_one, &group->result, &refusal);
        if (store_is_storage_failure(rc))
            return err_set(err, rc, "%s", refusal.message);
        *is_refused = *is_refused || rc != 0;
        if (*is_refused && !one_by_one)
            return 0;
        rc = 0;
    }
    return rc;
}

/* One transaction. Groups that are refused know it from their result: there are few, and only then is the batch run
 * again in a way that can undo them one by one. */
static int run_batch(struct store *store, struct group_list batch, struct err *err)
{
    bool is_refused;
    crash_at(CRASH_BATCH_TAKEN);
    int rc = run_groups(store, batch, false, &is_refused, err);
    if (rc == 0 && is_refused) {
        store_rollback(store);
        rc = run_groups(store, batch, true, &is_refused, err);
    }
    crash_at(CRASH_BATCH_RUN);
    if (rc == 0)
        rc = store_commit(store, err);
    if (rc == 0)
        crash_at(CRASH_BATCH_COMMITTED);
    if (rc != 0) {
        store_rollback(store);
        /* Whatever it was, the transaction did not happen: that is the storage's failure for everybody in it. */
        rc = err->code = ERR_STORE;
    }
    return rc;
}

/* With the mutex: what to do with a batch that the storage refused. True: it went back to the front of the queue. */
static bool hold_batch(struct store_thread *thread, struct group_list batch, const struct err *failure)
{
    thread->failure = *failure;
    if (!thread->options.holds_on_failure || thread->is_stopping) {
        thread->has_failed = true;
        return false;
    }
    struct group_list later = list_take(&thread->queued);
    list_append(&batch, later);
    thread->queued = batch;
    thread->is_held = true;
    return true;
}

/* With the mutex, which it gives back while it works. */
static void work_once(struct store_thread *thread)
{
    struct err failure;
    struct group_list batch = list_take(&thread->queued);
    const bool had_failed = thread->has_failed;
    int rc = 0;
    thread->is_working = true;
    if (had_failed)
        failure = thread->failure;
    pthread_mutex_unlock(&thread->mutex);
    if (!had_failed)
        rc = run_batch(thread->store, batch, &failure);
    pthread_mutex_lock(&thread->mutex);
    bool is_held = rc != 0 && hold_batch(thread, batch, &failure);
    if (!is_held) {
        if (had_failed || rc != 0)
            fail_all(batch, &failure);
        list_append(&thread->completed, batch);
    }
    thread->is_working = false;
    pthread_cond_broadcast(&thread->through);
    pthread_mutex_unlock(&thread->mutex);
    if (thread->options.notify != NULL)
        thread->options.notify(thread->options.notify_context);
    pthread_mutex_lock(&thread->mutex);
}

static void *thread_main(void *context)
{
    struct store_thread *thread = context;
    pthread_mutex_lock(&thread->mutex);
    for (;;) {
        while (!thread->is_stopping && (thread->queued.first == NULL || thread->is_held))
            pthread_cond_wait(&thread->work, &thread->mutex);
        if (thread->queued.first == NULL)
            break;
        work_once(thread);
    }
    pthread_mutex_unlock(&thread->mutex);
    return NULL;
}

/* The event loop's side
 * ------------------------------------------------------------------------------------------------
 */

int store_thread_start(struct store_thread **thread, struct store *store, const struct store_thread_options *options,
                       struct err *err)
{
    sigset_t all, before;
    assert(store->mode == STORE_WRITE);
    struct store_thread *started = calloc(1, sizeof *started);
    if (started == NULL)
        return err_set(err, ERR_NOMEM, "no memory for the store's thread");
    started->store = store;
    started->options = *options;
    pthread_mutex_init(&started->mutex, NULL);
    pthread_cond_init(&started->work, NULL);
    pthread_cond_init(&started->through, NULL);
    /* Signals are the event loop's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = options->is_pumped ? 0 : pthread_create(&started->thread, NULL, thread_main, started);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) {
        free(started);
        return err_set(err, ERR_NOMEM, "cannot start the store's thread: %s", strerror(code));
    }
    *thread = started;
    return 0;
}

void store_thread_stop(struct store_thread *thread)
{
    if (thread == NULL)
        return;
    thread->is_stopped = true;
    store_thread_hand_over(thread);
    store_thread_give_up(thread);
    pthread_mutex_lock(&thread->mutex);
    thread->is_stopping = true;
    pthread_cond_signal(&thread->work);
    pthread_mutex_unlock(&thread->mutex);
    if (!thread->options.is_pumped)
        pthread_join(thread->thread, NULL);
    while (thread->options.is_pumped && store_thread_pump(thread))
        ;
    store_thread_drain(thread);
    assert(thread->pending == 0);
    pthread_cond_destroy(&thread->through);
    pthread_cond_destroy(&thread->work);
    pthread_mutex_destroy(&thread->mutex);
    free(thread);
}

int64_t store_thread_new_id(struct store_thread *thread, enum store_table table)
{
    return store_new_id(thread->store, table);
}

int store_thread_submit(struct store_thread *thread, const struct store_op *ops, size_t n, store_done_fn done,
                        void *context, struct err *err)
{
    if (thread->is_stopped)
        return err_set(err, ERR_CANCELED, "the store's thread has ended");
    if (thread->pending_bytes > STORE_QUEUE_MAX_BYTES)
        return err_set(err, ERR_NOMEM, "more than %d MiB wait to be written into the store",
                       STORE_QUEUE_MAX_BYTES >> 20);
    struct group *group = calloc(1, sizeof *group);
    if (group == NULL)
        return err_set(err, ERR_NOMEM, "no memory for a group of store operations");
    int rc = store_copy_ops(ops, n, &group->ops, &group->bytes, err);
    if (rc != 0) {
        free(group);
        return rc;
    }
    group->n = n;
    group->bytes += sizeof *group;
    group->done = done;
    group->context = context;
    group->result.message = "";
    thread->pending++;
    thread->pending_bytes += group->bytes;
    thread->gathered_bytes += group->bytes;
    list_append(&thread->gathered, (struct group_list){group, group});
    if (thread->gathered_bytes > STORE_GATHERED_BYTES)
        store_thread_hand_over(thread);
    return 0;
}

void store_thread_hand_over(struct store_thread *thread)
{
    if (thread->gathered.first == NULL)
        return;
    pthread_mutex_lock(&thread->mutex);
    list_append(&thread->queued, list_take(&thread->gathered));
    pthread_cond_signal(&thread->work);
    pthread_mutex_unlock(&thread->mutex);
    thread->gathered_bytes = 0;
}

bool store_thread_is_full(const struct store_thread *thread)
{
    return thread->pending_bytes > STORE_QUEUE_FULL_BYTES;
}

size_t store_thread_pending(const struct store_thread *thread)
{
    return thread->pending;
}

static void complete(struct store_thread *thread, struct group *group)
{
    thread->pending--;
    thread->pending_bytes -= group->bytes;
    if (group->done != NULL)
        group->done(&group->result, group->context);
    else if (group->result.rc != 0 && thread->options.on_error != NULL)
        thread->options.on_error(&group->result, thread->options.on_error_context);
    group_free(group);
}

void store_thread_drain(struct store_thread *thread)
{
    pthread_mutex_lock(&thread->mutex);
    struct group_list completed = list_take(&thread->completed);
    pthread_mutex_unlock(&thread->mutex);
    for (struct group *group = completed.first, *next; group != NULL; group = next) {
        next = group->next;
        complete(thread, group);
        crash_at(CRASH_BATCH_KNOWN);
    }
}

bool store_thread_pump(struct store_thread *thread)
{
    assert(thread->options.is_pumped);
    pthread_mutex_lock(&thread->mutex);
    bool has_work = thread->queued.first != NULL && !thread->is_held;
    if (has_work)
        work_once(thread);
    pthread_mutex_unlock(&thread->mutex);
    return has_work;
}

void store_thread_flush(struct store_thread *thread)
{
    store_thread_hand_over(thread);
    while (thread->options.is_pumped && store_thread_pump(thread))
        ;
    pthread_mutex_lock(&thread->mutex);
    while ((thread->queued.first != NULL || thread->is_working) && !thread->is_held)
        pthread_cond_wait(&thread->through, &thread->mutex);
    pthread_mutex_unlock(&thread->mutex);
    store_thread_drain(thread);
}

bool store_thread_is_held(struct store_thread *thread, struct err *err)
{
    pthread_mutex_lock(&thread->mutex);
    bool is_held = thread->is_held;
    if (is_held && err != NULL)
        *err = thread->failure;
    pthread_mutex_unlock(&thread->mutex);
    return is_held;
}

void store_thread_retry(struct store_thread *thread)
{
    pthread_mutex_lock(&thread->mutex);
    thread->is_held = thread->has_failed = false;
    pthread_cond_signal(&thread->work);
    pthread_mutex_unlock(&thread->mutex);
}

void store_thread_give_up(struct store_thread *thread)
{
    pthread_mutex_lock(&thread->mutex);
    if (thread->is_held)
        thread->has_failed = true;
    thread->is_held = false;
    pthread_cond_signal(&thread->work);
    pthread_mutex_unlock(&thread->mutex);
}
