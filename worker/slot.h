/* One trainer process at a time: spawned, fed, listened to, held to its limits, and reported when it is gone.
 *
 *   free ──slot_start──▶ running ──process gone, its streams read to their end──▶ closing ──▶ on_ended, free again
 *
 * Each slot_start is followed by exactly one on_ended, after the last on_line of the attempt; it may come within
 * slot_start. */
#ifndef WORKER_SLOT_H
#define WORKER_SLOT_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/line.h"
#include "worker/command.h"
#include "worker/energy.h"
#include "worker/relay.h"

struct slot;

struct slot_owner {
    const char *trainer; /* the program; kept */
    void *context;
    /* A checked record, without its newline; line[len] may be overwritten. */
    void (*on_line)(struct slot *slot, char *line, size_t len);
    /* The attempt is over and the slot free for the next. `end` and its texts are valid during the call. */
    void (*on_ended)(struct slot *slot, const struct relay_end *end);
};

enum { SLOT_READ_BYTES = 64 << 10, SLOT_DRAIN_SECONDS = 5, SLOT_DOUBT_MS = 40, SLOT_RESERVED_BYTES = 512 << 20 };

struct slot {
    uv_loop_t *loop;
    const struct slot_owner *owner;
    int number; /* from 1 */

    bool is_busy;
    bool is_paused;     /* its output is not read: ours is not taken */
    bool is_abandoned;  /* nobody wants its output any more */
    bool is_refused;    /* it sent a line that is no record: the rest is not read */
    bool has_exited;    /* the process is gone, or never was */
    bool out_has_ended; /* its standard output is read to the end, or given up */
    bool log_has_ended;
    int64_t attempt;
    struct command_limits limits;
    uint64_t started_ns, exited_ns, draining_ns; /* uv_hrtime */
    uint64_t peak_bytes;
    struct energy_meter energy;
    int64_t exit_status;
    int signal;
    const char *reason; /* the first one found, a literal, or NULL */
    struct err message; /* what the worker adds to the log */

    uv_process_t process;
    uv_pipe_t in, out, log; /* the trainer's standard input, output and error output */
    int open_handles;
    struct line_splitter lines;
    struct relay_tail tail;
    char buffer[SLOT_READ_BYTES]; /* one read at a time: both streams use it */
};

/* Storage is the caller's; `owner` is kept. */
void slot_init(struct slot *slot, uv_loop_t *loop, const struct slot_owner *owner, int number);
/* Releases memory; the slot must be free. */
void slot_done(struct slot *slot);

/* Spawns the trainer for a start command (the slot is free). What goes wrong is told by on_ended. */
void slot_start(struct slot *slot, const struct command *command);
/* Asks the trainer to write a checkpoint and end; nothing when the slot is free. */
void slot_stop(struct slot *slot);
/* Tells the trainer to go on after a validation; nothing when the slot is free. */
void slot_go(struct slot *slot);
/* SIGKILL; nothing when the slot is free or the process gone. */
void slot_kill(struct slot *slot);
/* SIGKILL, and what it wrote is no longer waited for. */
void slot_abandon(struct slot *slot);
/* The same because the worker has to go: no fault of the trainer's. */
void slot_interrupt(struct slot *slot);
/* Stops or goes on reading the trainer's output. */
void slot_pause(struct slot *slot, bool is_paused);
/* Looks at memory and time, kills what is beyond its limits; call it several times a second. */
void slot_watch(struct slot *slot);

/* Reads VmHWM, the largest resident size so far, from the text of /proc/<pid>/status; 0 when it is not in it. */
uint64_t slot_parse_peak(const char *status);

/* CPU seconds of the trainer that runs now; 0: none does. */
double slot_cpu_seconds(const struct slot *slot);
/* Reads user and system time from the text of /proc/<pid>/stat, in clock ticks; 0 when they are not in it. */
uint64_t slot_parse_cpu(const char *stat);

#endif
