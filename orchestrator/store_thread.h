/* The store's thread: the only one that calls SQLite while a sweep runs.
 *
 * The event loop submits groups of operations (store_op.h) into a bounded queue, and hands over what it has gathered
 * before it waits: so that what came together is committed together. The thread takes all that is queued,
 * runs it in the order of submission in one transaction (group commit: one fsync for all), and calls `notify`; the
 * event loop then calls store_thread_drain, which calls each group's `done` in the order of submission. So `done` with
 * rc 0 means: on disk. Everything but `notify` happens on the event loop's thread, and every function here is called
 * from there.
 *
 * A group that is refused (ERR_CANCELED, ERR_NUMERIC, ERR_FORMAT, ERR_INTERNAL) leaves the others alone. When the
 * storage fails (disk full, I/O error) the whole transaction is rolled back and nothing later is tried, so that no
 * record overtakes a lost one: all groups, also those submitted afterwards, report ERR_STORE. With `holds_on_failure`
 * they are held instead, and the event loop decides: store_thread_retry or store_thread_give_up. */
#ifndef ORCHESTRATOR_STORE_THREAD_H
#define ORCHESTRATOR_STORE_THREAD_H

#include "orchestrator/store_op.h"

enum {
    STORE_GATHERED_BYTES = 256 << 10,  /* more than this is handed over at once */
    STORE_QUEUE_FULL_BYTES = 16 << 20, /* from here on store_thread_is_full: stop reading from workers */
    STORE_QUEUE_MAX_BYTES = 256 << 20  /* store_thread_submit refuses */
};

struct store_thread;

/* Called on the event loop's thread, from store_thread_drain or store_thread_stop. */
typedef void (*store_done_fn)(const struct store_result *result, void *context);

struct store_thread_options {
    void (*notify)(void *context); /* called on the store's thread when there is something to drain: uv_async_send */
    void *notify_context;
    store_done_fn on_error; /* for groups submitted without `done` that fail; may be NULL */
    void *on_error_context;
    bool holds_on_failure;
    bool is_pumped; /* there is no thread: store_thread_pump does its work */
};

/* Starts the thread. `store` is borrowed and must be open for writing; nobody else uses it until store_thread_stop. */
int store_thread_start(struct store_thread **thread, struct store *store, const struct store_thread_options *options,
                       struct err *err) MUST_CHECK;
/* Commits what is queued, ends the thread, drains the rest (calling each `done`) and frees; NULL is fine. A held queue
 * is given up. */
void store_thread_stop(struct store_thread *thread);

/* The next free id; see store_new_id. */
int64_t store_thread_new_id(struct store_thread *thread, enum store_table table);

/* Queues a group; ops and all they point to are copied. `done` may be NULL. Never waits.
 * ERR_NOMEM when the queue is at its maximum or memory is used up, ERR_INTERNAL for a malformed operation. */
int store_thread_submit(struct store_thread *thread, const struct store_op *ops, size_t n, store_done_fn done,
                        void *context, struct err *err) MUST_CHECK;
/* Lets the thread have what was submitted. */
void store_thread_hand_over(struct store_thread *thread);
/* More than STORE_QUEUE_FULL_BYTES wait: the caller stops reading from workers until a drain leaves it false. */
bool store_thread_is_full(const struct store_thread *thread);
/* Groups submitted whose `done` was not called yet. */
size_t store_thread_pending(const struct store_thread *thread);

/* Calls `done` of every group that is through. Submitting from within `done` is fine. */
void store_thread_drain(struct store_thread *thread);
/* Waits until everything submitted so far is through, and drains. Returns at once when the queue is held. */
void store_thread_flush(struct store_thread *thread);

/* Of one that is pumped: what the thread would do with what is queued now. False: nothing is, or it is held. */
bool store_thread_pump(struct store_thread *thread);

/* Whether the queue is held because the storage failed; the message is written into `err` (which may be NULL). */
bool store_thread_is_held(struct store_thread *thread, struct err *err);
/* Tries the held queue again, in the same order. */
void store_thread_retry(struct store_thread *thread);
/* Lets the held queue fail: every group in it, and every later one, reports ERR_STORE. */
void store_thread_give_up(struct store_thread *thread);

#endif
