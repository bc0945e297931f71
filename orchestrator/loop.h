/* What the coordinator has of the world beside its files: the time, its ticks, signals, and word from the store's
 * thread.
 *
 * With pool.h (the workers' processes) and control.h (people) this is all that tests/simulate/ replaces to run the
 * whole coordinator in one process, in a time of its own: nothing else of it looks at a clock, waits or starts
 * anything. */
#ifndef ORCHESTRATOR_LOOP_H
#define ORCHESTRATOR_LOOP_H

#include <stdbool.h>
#include <uv.h>

#include "common/err.h"

enum { LOOP_SIGNALS = 4 };

struct loop_options {
    void *context;
    uint64_t tick_ms;
    void (*on_news)(void *context); /* after loop_wake */
    void (*on_tick)(void *context); /* every tick_ms */
    /* SIGINT, SIGTERM, SIGUSR1 or SIGHUP (unless ignored) came. */
    void (*on_signal)(void *context, int number);
    void (*on_idle)(void *context); /* all that came is looked at, the loop is about to wait */
};

struct loop {
    uv_loop_t uv; /* for pool.h and control.h */
    uv_async_t news;
    uv_timer_t tick;
    uv_prepare_t idle;
    uv_signal_t signals[LOOP_SIGNALS];
    struct loop_options options;
};

/* False where the store has no thread of its own, and the loop calls store_thread_pump. */
extern const bool loop_has_threads;

int loop_open(struct loop *loop, const struct loop_options *options, struct err *err) MUST_CHECK;
/* Returns once loop_stop was called and all handles of others are closed. */
void loop_run(struct loop *loop);
/* Nothing of the options is called any more. */
void loop_stop(struct loop *loop);
void loop_close(struct loop *loop);
/* From any thread. */
void loop_wake(struct loop *loop);
/* Of a clock that only goes forward, whatever happens to the time of day. */
uint64_t loop_now_ns(void);

#endif
