/* A worker process: started through the launcher's prefix, spoken to in lines, watched by its heartbeat. A coordinator
 * has one, or one a node.
 *
 * A worker is started with the slots it gets and a marker file; what it tells of the marker proves that both see the
 * same folder. Its standard input and output are the wire, its standard error is ours. */
#ifndef ORCHESTRATOR_POOL_H
#define ORCHESTRATOR_POOL_H

#include <uv.h>

#include "common/json.h"
#include "common/line.h"
#include "common/points.h"

enum {
    POOL_HELLO_SECONDS = 120,  /* a launcher may queue for a while before the worker speaks */
    POOL_SILENCE_SECONDS = 10, /* ten heartbeats missed: it hangs, and is killed … */
    POOL_NOTICE_MS = 1650,     /* … after it was noticed, within two of them */
    POOL_WATCH_LATE_MS = 1000, /* we were stopped ourselves: that its lines wait says nothing */
    POOL_READ_BYTES = 256 << 10,
    POOL_FLUSH_BYTES = 64 << 10 /* more than this does not wait for pool_flush */
};

struct pool;

struct pool_options {
    const char *launcher; /* command prefix, split at spaces; "{worker}" in it becomes `number`; NULL: none */
    int number;           /* of the worker, from 0 */
    const char *program;  /* the worker's path */
    const char *marker_path, *marker;
    const char *const *files; /* that trainers will read, ends with NULL: a worker that lacks one is refused */
    int slots;
    void *context;
    /* The worker has said hello and can be given work. */
    void (*on_ready)(struct pool *pool);
    /* A line of the worker: `ended` or a trainer's record. The message is valid during the call. */
    void (*on_message)(struct pool *pool, const char *type, const cJSON *message);
    /* No heartbeat came when it was due. */
    void (*on_silent)(struct pool *pool);
    /* Instead, for a line of curve points. */
    void (*on_points)(struct pool *pool, const struct points *points);
    /* It is gone, and everything it ran with it; `why` says how. pool_start may be called again from here. */
    void (*on_gone)(struct pool *pool, const char *why);
};

struct pool_worker; /* one process, from its start until all of its handles are closed */

struct pool {
    uv_loop_t *loop;
    struct pool_options options;
    struct pool_worker *worker; /* NULL: none */
    int n_starts;               /* since one of its trials ended */
    bool is_given_up;           /* it ended too often, and is not started again */
    bool is_ready;
    bool is_silent; /* noticed; it gets no work until it is heard again */
    uint64_t watched_ns;
    bool is_paused;                 /* its lines are not read for now */
    double cpu_seconds, cpu_before; /* of the trainers of this worker, and of those before it */
    char host[256];
};

/* `options` and the texts in it are kept (borrowed). */
void pool_init(struct pool *pool, uv_loop_t *loop, const struct pool_options *options);
/* Starts the worker; there is none now. ERR_IO when it cannot be started. */
int pool_start(struct pool *pool, struct err *err) MUST_CHECK;
/* Sends a line (newline added) with the next pool_flush, and empties the text. Nothing when there is no worker. */
void pool_send(struct pool *pool, struct text *line);
/* Writes what is to be sent: many lines, one call. */
void pool_flush(struct pool *pool);
/* Stops or goes on reading its lines: while the store is behind. */
void pool_pause(struct pool *pool, bool is_paused);
/* Asks it to end trainers and itself; on_gone follows. */
void pool_quit(struct pool *pool);
/* SIGKILL; on_gone follows. Its trainers end with it. */
void pool_kill(struct pool *pool);
/* Looks at the heartbeat; call it about once a second. */
void pool_watch(struct pool *pool);

#endif
