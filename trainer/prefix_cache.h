/* Activations that many trials need, kept in a file: one block of bytes a key, shared by all trainers of a machine.
 *
 * A file is a header and entries behind each other, only ever added to. A reader lists the entries it finds whole and
 * reads a block with one call into memory of its own: nothing is mapped, so that a file that is cut, damaged or removed
 * while it is in use costs a computation and never a crash, and the pages in memory are the same for all trainers. An
 * entry counts when key, length and checksum fit its bytes; what a killed writer left half is overwritten by the next.
 * Writers take turns by a lock on the file and do not wait for it. Safe to use from several threads. */
#ifndef TRAINER_PREFIX_CACHE_H
#define TRAINER_PREFIX_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

enum {
    PREFIX_KEY_BYTES = 32,
    PREFIX_CACHE_GRACE_SECONDS = 3600 /* a file used since then is not removed to make room */
};
#define PREFIX_CACHE_BYTES (4ULL << 30) /* all files of a folder together, unless NIGHTSWEEP_CACHE_BYTES says other */

struct prefix_cache;

/* The bound of a folder's files: NIGHTSWEEP_CACHE_BYTES or PREFIX_CACHE_BYTES. ERR_USAGE when it is no number. */
int prefix_cache_bound(uint64_t *bytes, struct err *err) MUST_CHECK;
/* The file of `key` (32 bytes: everything that decides what its blocks are) in `folder`, made when it is missing. NULL
 * when there is no folder, or it cannot be written: then nothing is kept. */
struct prefix_cache *prefix_cache_open(const char *folder, const unsigned char *key, uint64_t max_bytes);
void prefix_cache_close(struct prefix_cache *cache);
/* Fills `data` with the block of that key and length. False when there is none, or it is damaged; `data` is anything
 * then. cache NULL: false. */
bool prefix_cache_get(struct prefix_cache *cache, const unsigned char *key, void *data, size_t bytes);
/* Adds a block, unless it is there by now, another writer is at work, the bound is reached or the disk full. */
void prefix_cache_add(struct prefix_cache *cache, const unsigned char *key, const void *data, size_t bytes);

#endif
