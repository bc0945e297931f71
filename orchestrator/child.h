/* A program that the command line starts and listens to: lines from its standard output, the end of its standard error.
 *
 * For programs that stand beside this one (trials of a sweep run in workers instead). Several may run in one event
 * loop. */
#ifndef ORCHESTRATOR_CHILD_H
#define ORCHESTRATOR_CHILD_H

#include <uv.h>

#include "common/line.h"

enum { CHILD_TAIL_BYTES = 4096, CHILD_HANDLES = 5 };

struct child;

struct child_options {
    const char *const *argv; /* ends with NULL; argv[0] is the name of a program beside this one */
    const char *input;       /* first on its standard input, which then stays open until it ends */
    size_t input_len;
    line_fn on_line; /* a line of its standard output; an error ends it; NULL: none may come */
    void (*on_end)(struct child *child, void *context); /* all is read and closed; may start another; may be NULL */
    void *context;
    double timeout_seconds; /* killed then; 0: none */
    bool shows_errors;      /* its standard error is ours; otherwise its last bytes are kept */
};

/* Valid once `on_end` was called or the loop has come to an end. Zeroed storage; must stay where it is. */
struct child {
    struct child_options options;
    int64_t exit_status;
    int signal; /* 0: it ended by itself */
    bool is_timed_out;
    struct err err; /* of on_line or of reading; code 0: none */
    char tail[CHILD_TAIL_BYTES + 1];
    size_t tail_len;
    /* Of its own. */
    uv_process_t process;
    uv_pipe_t in, out, errors;
    uv_timer_t timer;
    uv_write_t write;
    struct line_splitter lines;
    int n_busy, n_open;
    char buffer[65536];
};

/* Starts it in the loop. `options` is copied, what it points to is borrowed until the end. ERR_IO when it cannot be
 * started; nothing is left in the loop then but handles that close at its next turn. */
int child_start(struct child *child, uv_loop_t *loop, const struct child_options *options, struct err *err) MUST_CHECK;
/* Writes a line (with its newline) to its standard input, as long as that takes it. */
void child_send(struct child *child, const char *line);
void child_kill(struct child *child, int signal);
/* How it ended, when that was not well, in words: "ended with status 3: <last line of standard error>". 0 when exit
 * status is `most` or less and nothing else was wrong; else ERR_IO, or the error of on_line. */
int child_result(const struct child *child, int64_t most, struct err *err) MUST_CHECK;
/* One program from its start to its end, in an event loop of its own: child_start and child_result with 0. */
int child_run(const struct child_options *options, struct err *err) MUST_CHECK;

#endif
