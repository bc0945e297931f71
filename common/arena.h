/* Arenas: memory by lifetime (sweep > trial > step). Allocation is a pointer bump; everything goes at
 * once at reset or done. Blocks are kept over a reset, so an arena that has seen its largest step
 * allocates nothing from the heap again. Under ASan, reset poisons what it hands back. */
#ifndef COMMON_ARENA_H
#define COMMON_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

struct arena_block;

struct arena {
    struct arena_block *first, *current;
    size_t used_bytes;  /* handed out since the last reset */
    size_t peak_bytes;  /* largest used_bytes ever */
    size_t limit_bytes; /* 0: none. An allocation beyond it fails. */
};

/* A zeroed struct arena is a valid empty one; arena_init only sets the limit. */
void arena_init(struct arena *arena, size_t limit_bytes);
/* `size` bytes, 64-byte aligned, uninitialised; NULL when the limit or the heap is used up. */
void *arena_alloc(struct arena *arena, size_t size) __attribute__((malloc, alloc_size(2)));
/* The same, zeroed. `count * size` is checked for overflow. */
void *arena_calloc(struct arena *arena, size_t count, size_t size);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t n);
char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Everything handed out becomes invalid; the blocks stay for the next round. */
void arena_reset(struct arena *arena);
/* A point to rewind to: what was handed out after arena_mark becomes invalid with arena_rewind. */
struct arena_mark {
    struct arena_block *block;
    size_t block_used, used_bytes;
};
struct arena_mark arena_mark(const struct arena *arena);
void arena_rewind(struct arena *arena, struct arena_mark mark);
/* Frees all blocks; the arena is empty and usable afterwards. */
void arena_done(struct arena *arena);

#endif
