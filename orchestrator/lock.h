/* A lock held by one process at a time, as a file of its own.
 *
 * The lock is the kernel's (fcntl on the open file description), so it ends with its holder however that ends, and a
 * file left behind by a crash locks nothing. The file is opened close-on-exec: programs that the holder starts do not
 * keep the lock alive. It contains the holder's pid and host, for the message that the second one gets. The file is
 * never removed: removing it would let a third process lock a new file of the same name beside the second. */
#ifndef ORCHESTRATOR_LOCK_H
#define ORCHESTRATOR_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

enum { LOCK_HOST_SIZE = 256 };

/* A zeroed struct lock is one that is not held. */
struct lock {
    int fd;
    bool is_held;
};

/* Takes the lock without waiting; creates the file when it is missing.
 * ERR_BUSY when somebody holds it: "'runs/x.db.lock' is held by process 123 on host 'node1'"; ERR_IO, ERR_NOT_FOUND. */
int lock_acquire(struct lock *lock, const char *path, struct err *err) MUST_CHECK;
/* Gives it back; fine for one that is not held. */
void lock_release(struct lock *lock);

struct lock_holder {
    bool is_held;
    int64_t pid; /* 0: the holder has not written it yet */
    char host[LOCK_HOST_SIZE];
};

/* Who holds the lock now. A missing file is a lock that nobody holds. */
int lock_query(const char *path, struct lock_holder *holder, struct err *err) MUST_CHECK;

#endif
