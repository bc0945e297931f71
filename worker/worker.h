/* The worker: commands from standard input, trainers in slots, records to standard output.
 *
 * One loop, one thread. Nothing is remembered on disk: a worker that is gone takes its trainers with it, and the
 * coordinator starts their attempts again elsewhere. */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "common/err.h"

enum {
    WORKER_MAX_SLOTS = 1024,
    WORKER_HEARTBEAT_MS = 1000,
    WORKER_WATCH_MS = 100,        /* how often memory and time are looked at */
    WORKER_PAUSE_BYTES = 8 << 20, /* output that waits to be taken, above which trainers are not read … */
    WORKER_GO_ON_BYTES = 1 << 20, /* … and below which they are again */
    WORKER_MARKER_MAX_BYTES = 4096,
    WORKER_LEAVE_SECONDS = 5, /* how long the end may take */
    WORKER_DESCRIPTORS = 8,   /* that its loop takes, about */
    WORKER_FILES_MAX = 64
};

struct worker_options {
    int slots;
    int heartbeat_ms;
    const char *marker;                  /* path of the marker file, or NULL */
    const char *trainer;                 /* path of the trainer's program */
    const char *files[WORKER_FILES_MAX]; /* that trainers will read: hello names those that are not here */
    int n_files;
};

/* Serves file descriptors 0 and 1 until told to quit, or standard input ends (both 0). Trainers do not outlive it.
 * ERR_FORMAT for a command that is none, ERR_USAGE for standard input that is no pipe, socket or terminal. */
int worker_run(const struct worker_options *options, struct err *err) MUST_CHECK;

#endif
