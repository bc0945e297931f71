/* Faults on request: the n-th allocation or the n-th call to the file system of this process fails.
 *
 * faults.c defines malloc, write, fsync and the like itself and passes them on to the C library, so that calls of
 * SQLite, cJSON and libcrypto count as ours do. Linked into a test it is steered by the functions below; preloaded as
 * faults.so into a program, by the environment:
 *   FAULTS_PROGRAM   only in programs of this name (as in /proc/self/comm: 15 characters)
 *   FAULTS_FULL      while this file exists, every write to a regular file fails with ENOSPC
 *   FAULTS_BROKEN    while this file exists, every write to a regular file fails with EIO
 *   FAULTS_CLOCK     so many seconds as this file says are added to the time of day */
#ifndef TESTS_SUPPORT_FAULTS_H
#define TESTS_SUPPORT_FAULTS_H

#include <stdbool.h>

enum fault_kind {
    FAULT_NONE,
    FAULT_ALLOCATION,     /* NULL, errno ENOMEM */
    FAULT_OWN_ALLOCATION, /* the same, leaving out those of SQLite and libcrypto: thousands that end in one place of
                             ours */
    FAULT_IO,             /* −1 and the errno given */
    FAULT_SHORT,          /* the write takes half of what it was given */
    FAULT_INTERRUPT       /* −1, EINTR */
};

/* From now on counts calls of that kind (allocations; or opens, reads, writes, syncs, renames, …) and lets the n-th,
 * from 1, fail, and with `stays` all later ones too. n 0: only counts. */
void faults_start(enum fault_kind kind, long n, int error, bool stays);
/* The same, but each call fails by chance, one in so many: several of a run, and the same ones with the same seed. */
void faults_scatter(enum fault_kind kind, unsigned long seed, unsigned long one_in, int error);
/* Ends that; how many calls there were. */
long faults_stop(void);
/* Blocks of memory that are allocated and not freed. */
long faults_blocks(void);

#endif
