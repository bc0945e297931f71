/* A lock held by one process at a time, as a file of its own: see lock.h. */
#include "orchestrator/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* One byte far behind the text, so that the text can be read by anybody, also where locks are mandatory. */
enum { LOCK_BYTE = 1 << 20, LOCK_TEXT_MAX = LOCK_HOST_SIZE + 32 };

static struct flock whole_lock(short type)
{
    struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = LOCK_BYTE, .l_len = 1};
    return range;
}

/* "pid host\n" into holder; a file that says something else leaves pid 0. */
static void read_holder(int fd, struct lock_holder *holder)
{
    char text[LOCK_TEXT_MAX];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    intmax_t pid = 0;
    char host[LOCK_HOST_SIZE];
    if (sscanf(text, "%jd %255s", &pid, host) == 2 && pid > 0) {
        holder->pid = pid;
        memcpy(holder->host, host, sizeof holder->host);
    }
}

static int write_holder(int fd, const char *path, struct err *err)
{
    char host[LOCK_HOST_SIZE] = "unknown", text[LOCK_TEXT_MAX];
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0')
        memcpy(host, "unknown", sizeof "unknown");
    int n = snprintf(text, sizeof text, "%jd %s\n", (intmax_t)getpid(), host);
    if (ftruncate(fd, 0) != 0)
        return err_set_errno(err, "cannot write the lock file '%s'", path);
    for (int at = 0; at < n;) {
        ssize_t written = pwrite(fd, text + at, (size_t)(n - at), at);
        if (written < 0 && errno != EINTR)
            return err_set_errno(err, "cannot write the lock file '%s'", path);
        at += written > 0 ? (int)written : 0;
    }
    return 0;
}

static int busy(int fd, const char *path, struct err *err)
{
    struct lock_holder holder = {0};
    read_holder(fd, &holder);
    if (holder.pid == 0)
        return err_set(err, ERR_BUSY, "'%s' is held by another process that is just starting", path);
    return err_set(err, ERR_BUSY, "'%s' is held by process %" PRId64 " on host '%s'", path, holder.pid, holder.host);
}

int lock_acquire(struct lock *lock, const char *path, struct err *err)
{
    int rc = 0;
    struct flock range = whole_lock(F_WRLCK);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return err_set_errno(err, "cannot open the lock file '%s'", path);
    if (fcntl(fd, F_OFD_SETLK, &range) != 0)
        rc = errno == EAGAIN || errno == EACCES ? busy(fd, path, err) : err_set_errno(err, "cannot lock '%s'", path);
    if (rc == 0)
        rc = write_holder(fd, path, err);
    if (rc != 0) {
        close(fd);
        return rc;
    }
    lock->fd = fd;
    lock->is_held = true;
    return 0;
}

void lock_release(struct lock *lock)
{
    if (!lock->is_held)
        return;
    /* Emptied before the lock goes, so that it never names a process that has given it back. */
    if (ftruncate(lock->fd, 0) != 0)
        errno = 0; /* a stale name in a free lock misleads nobody: lock_query asks the kernel */
    close(lock->fd);
    *lock = (struct lock){0};
}

int lock_query(const char *path, struct lock_holder *holder, struct err *err)
{
    int rc = 0;
    struct lock_holder found = {0};
    struct flock range = whole_lock(F_WRLCK);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        *holder = found;
        return 0;
    }
    if (fd < 0)
        return err_set_errno(err, "cannot open the lock file '%s'", path);
    if (fcntl(fd, F_OFD_GETLK, &range) != 0)
        rc = err_set_errno(err, "cannot ask for the lock on '%s'", path);
    found.is_held = range.l_type != F_UNLCK;
    if (rc == 0 && found.is_held)
        read_holder(fd, &found);
    close(fd);
    if (rc == 0)
        *holder = found;
    return rc;
}
