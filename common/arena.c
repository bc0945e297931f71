/* Blocks in a list, the next twice the size of the one before: a step that needs more than ever gets it in a few calls
 * to the heap, and none once it has seen its largest. */
#include "common/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(address, size)   ASAN_POISON_MEMORY_REGION(address, size)
#define UNPOISON(address, size) ASAN_UNPOISON_MEMORY_REGION(address, size)
#else
#define POISON(address, size)   ((void)(address), (void)(size))
#define UNPOISON(address, size) ((void)(address), (void)(size))
#endif

enum { ALIGNMENT = 64, FIRST_BLOCK = 4096, LARGEST_STEP = 16 << 20 };

struct arena_block {
    struct arena_block *next;
    size_t size, used; /* of the data behind this header */
};

/* The header takes one alignment unit, so that the data behind it is aligned. */
static unsigned char *block_data(struct arena_block *block)
{
    return (unsigned char *)block + ALIGNMENT;
}

void arena_init(struct arena *arena, size_t limit_bytes)
{
    *arena = (struct arena){.limit_bytes = limit_bytes};
}

/* A new block behind the current one, of at least `size` bytes. */
static struct arena_block *add_block(struct arena *arena, size_t size)
{
    size_t grown = arena->current ? arena->current->size * 2 : FIRST_BLOCK;
    if (grown > LARGEST_STEP)
        grown = LARGEST_STEP;
    if (grown < size)
        grown = size;
    if (grown > SIZE_MAX - ALIGNMENT)
        return NULL;
    struct arena_block *block = aligned_alloc(ALIGNMENT, grown + ALIGNMENT);
    if (!block && grown > size) /* memory is short: no more than what is asked for */
        block = aligned_alloc(ALIGNMENT, (grown = size) + ALIGNMENT);
    if (!block)
        return NULL;
    *block = (struct arena_block){.size = grown};
    POISON(block_data(block), grown);
    if (arena->current) {
        block->next = arena->current->next;
        arena->current->next = block;
    } else {
        arena->first = block;
    }
    arena->current = block;
    return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX - ALIGNMENT)
        return NULL;
    size_t rounded = size == 0 ? ALIGNMENT : (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (arena->limit_bytes && (rounded > arena->limit_bytes || arena->used_bytes > arena->limit_bytes - rounded))
        return NULL;
    struct arena_block *block = arena->current;
    while (block && block->size - block->used < rounded) {
        block = block->next;
        if (block)
            arena->current = block;
    }
    if (!block)
        block = add_block(arena, rounded);
    if (!block)
        return NULL;
    unsigned char *memory = block_data(block) + block->used;
    block->used += rounded;
    arena->used_bytes += rounded;
    if (arena->used_bytes > arena->peak_bytes)
        arena->peak_bytes = arena->used_bytes;
    UNPOISON(memory, size);
    return memory;
}

void *arena_calloc(struct arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    void *memory = arena_alloc(arena, bytes);
    if (memory)
        memset(memory, 0, bytes);
    return memory;
}

char *arena_strndup(struct arena *arena, const char *text, size_t n)
{
    char *copy = arena_alloc(arena, n + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text, n);
    copy[n] = '\0';
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int n = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *out = n < 0 ? NULL : arena_alloc(arena, (size_t)n + 1);
    if (out)
        vsnprintf(out, (size_t)n + 1, format, again);
    va_end(again);
    return out;
}

void arena_reset(struct arena *arena)
{
    for (struct arena_block *block = arena->first; block; block = block->next) {
        block->used = 0;
        POISON(block_data(block), block->size);
    }
    arena->current = arena->first;
    arena->used_bytes = 0;
}

struct arena_mark arena_mark(const struct arena *arena)
{
    return (struct arena_mark){arena->current, arena->current ? arena->current->used : 0, arena->used_bytes};
}

void arena_rewind(struct arena *arena, struct arena_mark mark)
{
    if (!mark.block) {
        arena_reset(arena);
        return;
    }
    POISON(block_data(mark.block) + mark.block_used, mark.block->size - mark.block_used);
    mark.block->used = mark.block_used;
    for (struct arena_block *block = mark.block->next; block; block = block->next) {
        block->used = 0;
        POISON(block_data(block), block->size);
    }
    arena->current = mark.block;
    arena->used_bytes = mark.used_bytes;
}

void arena_done(struct arena *arena)
{
    struct arena_block *next;
    for (struct arena_block *block = arena->first; block; block = next) {
        next = block->next;
        UNPOISON(block_data(block), block->size);
        free(block);
    }
    size_t limit = arena->limit_bytes;
    *arena = (struct arena){.limit_bytes = limit};
}
