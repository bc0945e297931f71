/* What passes through the worker: the check of a trainer's line, the end of its log, and the worker's own messages. */
#ifndef WORKER_RELAY_H
#define WORKER_RELAY_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/text.h"

enum { RELAY_TAIL_BYTES = 4096 };

/* The last RELAY_TAIL_BYTES of a stream; zeroed it is empty. */
struct relay_tail {
    char bytes[2 * RELAY_TAIL_BYTES]; /* twice as many, so that moving them down is rare */
    size_t len;
    size_t dropped; /* bytes of the stream that are no longer in `bytes` */
};

void relay_tail_add(struct relay_tail *tail, const char *data, size_t n);
/* Appends the last RELAY_TAIL_BYTES as valid UTF-8: a character cut at the front goes, every other byte that does not
 * belong to one becomes U+FFFD, and so does NUL. */
void relay_tail_text(const struct relay_tail *tail, struct text *out);

/* Whether `line` is a record of `attempt`: a JSON object with that integer as `attempt` and a text as `type`, which
 * is not one of the worker's own types. ERR_FORMAT says what was found. */
int relay_check(const char *line, size_t len, int64_t attempt, struct err *err) MUST_CHECK;

/* How an attempt ended, as the `ended` line says it. */
struct relay_end {
    int64_t attempt, slot;
    int64_t exit_status; /* 0 when a signal ended it */
    int signal;          /* 0: none */
    const char *reason;  /* "timeout", "out_of_memory", "crashed", or NULL: left out */
    double seconds;
    uint64_t peak_bytes; /* largest resident size seen; 0: it ended before it was looked at */
    bool has_joules;     /* the machine counts energy (energy.h); else nothing is said */
    double joules;
    const char *log_tail; /* valid UTF-8 */
};

/* The worker's lines, each with its newline, appended to `out`. `marker` may be NULL: no file was named. */
/* `missing`: files that cannot be read here, ends with NULL. */
void relay_add_hello(struct text *out, const char *host, int64_t pid, int slots, const char *marker,
                     const char *const *missing);
void relay_add_heartbeat(struct text *out, double cpu_seconds);
void relay_add_ended(struct text *out, const struct relay_end *end);

#endif
