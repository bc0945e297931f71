/* The coordinator's commands: one line of standard input each. */
#ifndef WORKER_COMMAND_H
#define WORKER_COMMAND_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/text.h"

enum { COMMAND_MAX_THREADS = 4096 };

enum command_kind { COMMAND_START, COMMAND_STOP, COMMAND_GO, COMMAND_KILL, COMMAND_QUIT, COMMAND_SLOTS };

/* What one trainer may use; 0 is no limit. */
struct command_limits {
    double time_seconds;
    uint64_t memory_bytes;
    int threads; /* of the job: at least 1 */
};

struct command {
    enum command_kind kind;
    int64_t attempt; /* start: above 0; stop, go and kill: 0 is all */
    int64_t slot;    /* start; slots: how many there are to be */
    struct command_limits limits;
    struct text job; /* start: the job as compact JSON with a newline, numbers exact */
};

/* Reads one line into the zeroed command; command_done releases it in either case. ERR_FORMAT for what is no command,
 * with the place. */
int command_parse(struct command *command, const char *line, size_t len, struct err *err) MUST_CHECK;
void command_done(struct command *command);

#endif
