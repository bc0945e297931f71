/* Allocations and calls to the file system that fail on request: see faults.h. */
#include "tests/support/faults/faults.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static enum fault_kind kind;
static long calls, fail_at;
static int fail_with;
static bool is_lasting;
static unsigned long scatter_state, scatter_one_in; /* 0: none */
static _Atomic long blocks;

void faults_start(enum fault_kind new_kind, long n, int error, bool stays)
{
    calls = 0;
    fail_at = n;
    fail_with = error;
    is_lasting = stays;
    scatter_one_in = 0;
    kind = new_kind;
}

void faults_scatter(enum fault_kind new_kind, unsigned long seed, unsigned long one_in, int error)
{
    faults_start(FAULT_NONE, 0, error, false);
    scatter_state = seed * 0x9e3779b97f4a7c15UL | 1;
    scatter_one_in = one_in ? one_in : 1;
    kind = new_kind;
}

long faults_stop(void)
{
    kind = FAULT_NONE;
    return calls;
}

long faults_blocks(void)
{
    return blocks;
}

static bool is_due(void)
{
    calls++;
    if (scatter_one_in) {
        scatter_state ^= scatter_state << 13;
        scatter_state ^= scatter_state >> 7;
        scatter_state ^= scatter_state << 17;
        return scatter_state % scatter_one_in == 0;
    }
    return fail_at > 0 && (is_lasting ? calls >= fail_at : calls == fail_at);
}

/* The C library's function of that name. */
#define REAL(name)                                                                                                     \
    static __typeof__(&name) real;                                                                                     \
    if (!real)                                                                                                         \
    *(void **)(void *)&real = dlsym(RTLD_NEXT, #name)

/* Memory: not under the sanitizers, which have a malloc of their own ------------------------------------------------
 */

#if !defined(NIGHTSWEEP_ASAN) && !defined(__SANITIZE_THREAD__)

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *block);

/* Addresses of the libraries whose allocations FAULT_OWN_ALLOCATION leaves out. */
enum { MAX_RANGES = 16 };
static struct range {
    uintptr_t begin, end;
} ranges[MAX_RANGES];
static int n_ranges;

static int keep_library(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    (void)context;
    if (!strstr(info->dlpi_name, "libsqlite3") && !strstr(info->dlpi_name, "libcrypto"))
        return 0;
    for (int i = 0; i < info->dlpi_phnum && n_ranges < MAX_RANGES; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X)) {
            uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            ranges[n_ranges++] = (struct range){begin, begin + info->dlpi_phdr[i].p_memsz};
        }
    return 0;
}

static bool is_of_library(const void *caller)
{
    if (n_ranges == 0)
        dl_iterate_phdr(keep_library, NULL);
    for (int i = 0; i < n_ranges; i++)
        if ((uintptr_t)caller >= ranges[i].begin && (uintptr_t)caller < ranges[i].end)
            return true;
    return false;
}

static bool has_no_memory(const void *caller)
{
    bool counts = kind == FAULT_ALLOCATION || (kind == FAULT_OWN_ALLOCATION && !is_of_library(caller));
    if (!counts || !is_due())
        return false;
    errno = ENOMEM;
    return true;
}
#define HAS_NO_MEMORY() has_no_memory(__builtin_return_address(0))

static void *counted(void *block)
{
    blocks += block != NULL;
    return block;
}

void *malloc(size_t size)
{
    return HAS_NO_MEMORY() ? NULL : counted(__libc_malloc(size));
}

void *calloc(size_t n, size_t size)
{
    return HAS_NO_MEMORY() ? NULL : counted(__libc_calloc(n, size));
}

void *realloc(void *block, size_t size)
{
    if (HAS_NO_MEMORY())
        return NULL;
    void *moved = __libc_realloc(block, size);
    blocks += (moved != NULL) - (block != NULL);
    return moved;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return HAS_NO_MEMORY() ? NULL : counted(__libc_memalign(alignment, size));
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    void *block = HAS_NO_MEMORY() ? NULL : counted(__libc_memalign(alignment, size));
    if (!block)
        return ENOMEM;
    *out = block;
    return 0;
}

void free(void *block)
{
    blocks -= block != NULL;
    __libc_free(block);
}

#endif

/* Files -------------------------------------------------------------------------------------------------------------
 */

/* What the environment asks for: an errno while the file that it names exists, or 0. */
static int asked_for(int fd)
{
    static int is_read;
    static const char *full, *broken;
    struct stat info;
    if (!is_read) {
        const char *program = getenv("FAULTS_PROGRAM");
        char name[64] = "";
        REAL(open);
        int comm = real("/proc/self/comm", O_RDONLY | O_CLOEXEC);
        ssize_t n = comm >= 0 ? read(comm, name, sizeof(name) - 1) : 0;
        if (comm >= 0)
            close(comm);
        name[n > 0 ? n - 1 : 0] = '\0';
        is_read = 1;
        if (!program || strcmp(program, name) == 0) {
            full = getenv("FAULTS_FULL");
            broken = getenv("FAULTS_BROKEN");
        }
    }
    if (!full && !broken)
        return 0;
    int error = full && access(full, F_OK) == 0 ? ENOSPC : broken && access(broken, F_OK) == 0 ? EIO : 0;
    return error && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) ? error : 0;
}

static bool fails(void)
{
    if (kind != FAULT_IO || !is_due())
        return false;
    errno = fail_with;
    return true;
}

/* Of writes: −1 with errno, or how many of the n bytes go through. */
static ssize_t writable(int fd, size_t n)
{
    int error = asked_for(fd);
    if (error) {
        errno = error;
        return -1;
    }
    if (fails())
        return -1;
    if (kind == FAULT_SHORT && n > 1 && is_due())
        return (ssize_t)(n / 2);
    if (kind == FAULT_INTERRUPT && is_due()) {
        errno = EINTR;
        return -1;
    }
    return (ssize_t)n;
}

ssize_t write(int fd, const void *data, size_t n)
{
    REAL(write);
    ssize_t allowed = writable(fd, n);
    return allowed < 0 ? -1 : real(fd, data, (size_t)allowed);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t offset)
{
    REAL(pwrite);
    ssize_t allowed = writable(fd, n);
    return allowed < 0 ? -1 : real(fd, data, (size_t)allowed, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t offset)
{
    REAL(pwrite64);
    ssize_t allowed = writable(fd, n);
    return allowed < 0 ? -1 : real(fd, data, (size_t)allowed, offset);
}

ssize_t read(int fd, void *data, size_t n)
{
    REAL(read);
    return fails() ? -1 : real(fd, data, n);
}

ssize_t pread(int fd, void *data, size_t n, off_t offset)
{
    REAL(pread);
    return fails() ? -1 : real(fd, data, n, offset);
}

ssize_t pread64(int fd, void *data, size_t n, off64_t offset)
{
    REAL(pread64);
    return fails() ? -1 : real(fd, data, n, offset);
}

#define OPEN_MODE                                                                                                      \
    mode_t mode = 0;                                                                                                   \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                                               \
        va_list arguments;                                                                                             \
        va_start(arguments, flags);                                                                                    \
        mode = va_arg(arguments, mode_t);                                                                              \
        va_end(arguments);                                                                                             \
    }

int open(const char *path, int flags, ...)
{
    REAL(open);
    OPEN_MODE
    return fails() ? -1 : real(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    REAL(open64);
    OPEN_MODE
    return fails() ? -1 : real(path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
    REAL(openat);
    OPEN_MODE
    return fails() ? -1 : real(folder, path, flags, mode);
}

int fsync(int fd)
{
    REAL(fsync);
    return fails() ? -1 : real(fd);
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    return fails() ? -1 : real(fd);
}

int ftruncate(int fd, off_t size)
{
    REAL(ftruncate);
    return fails() ? -1 : real(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    REAL(ftruncate64);
    return fails() ? -1 : real(fd, size);
}

int rename(const char *from, const char *to)
{
    REAL(rename);
    return fails() ? -1 : real(from, to);
}

int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir);
    return fails() ? -1 : real(path, mode);
}

int fcntl(int fd, int command, ...)
{
    REAL(fcntl);
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return fails() ? -1 : real(fd, command, argument);
}

/* Closed all the same, as Linux does. */
int close(int fd)
{
    REAL(close);
    int rc = real(fd);
    return fails() ? -1 : rc;
}

int fstat(int fd, struct stat *out)
{
    REAL(fstat);
    return fails() ? -1 : real(fd, out);
}

DIR *opendir(const char *path)
{
    REAL(opendir);
    return fails() ? NULL : real(path);
}

char *realpath(const char *restrict path, char *restrict out)
{
    REAL(realpath);
    return fails() ? NULL : real(path, out);
}

int unlinkat(int folder, const char *path, int flags)
{
    REAL(unlinkat);
    return fails() ? -1 : real(folder, path, flags);
}

int mkostemp(char *path, int flags)
{
    REAL(mkostemp);
    return fails() ? -1 : real(path, flags);
}

int posix_fallocate(int fd, off_t offset, off_t n)
{
    REAL(posix_fallocate);
    return fails() ? fail_with : real(fd, offset, n);
}

void *mmap(void *address, size_t n, int protection, int flags, int fd, off_t offset)
{
    REAL(mmap);
    return fd >= 0 && fails() ? MAP_FAILED : real(address, n, protection, flags, fd, offset);
}

/* The time of day: only where it is preloaded ------------------------------------------------------------------------
 */

#ifdef FAULTS_PRELOADED

/* Seconds that are added to it now. */
static time_t clock_offset(void)
{
    static const char *path;
    static int is_read;
    char text[32] = "";
    if (!is_read)
        path = getenv("FAULTS_CLOCK");
    is_read = 1;
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    syscall(SYS_read, fd, text, sizeof(text) - 1);
    syscall(SYS_close, fd);
    return strtol(text, NULL, 10);
}

int clock_gettime(clockid_t id, struct timespec *now)
{
    int status = (int)syscall(SYS_clock_gettime, id, now);
    if (status == 0 && id == CLOCK_REALTIME)
        now->tv_sec += clock_offset();
    return status;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    *now = (struct timeval){precise.tv_sec, precise.tv_nsec / 1000};
    return 0;
}

#endif
