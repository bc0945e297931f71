/* Words of a text, and the memory for encoding. */
#include <stdlib.h>
#include <string.h>

#include "trainer/tokenizer_parts.h"

static bool reserve(struct pieces *pieces, size_t n)
{
    if (pieces->failed || n > TOKENIZER_MAX_TEXT || pieces->n > TOKENIZER_MAX_TEXT) {
        pieces->failed = true;
        return false;
    }
    if (pieces->n + n <= pieces->capacity)
        return true;
    size_t capacity = pieces->capacity ? pieces->capacity : 1024;
    while (capacity < pieces->n + n)
        capacity *= 2;
    char *grown = realloc(pieces->text, capacity);
    pieces->failed = grown == NULL;
    if (!grown)
        return false;
    pieces->text = grown;
    pieces->capacity = capacity;
    return true;
}

void pieces_add_text(struct pieces *pieces, const char *text, size_t n)
{
    if (n == 0 || !reserve(pieces, n))
        return;
    memcpy(pieces->text + pieces->n, text, n);
    pieces->n += n;
}

void pieces_end_word(struct pieces *pieces, size_t start)
{
    if (pieces->failed || pieces->n <= start)
        return;
    if (pieces->n_spans == pieces->spans_capacity) {
        size_t capacity = pieces->spans_capacity ? 2 * pieces->spans_capacity : 128;
        struct span *grown = realloc(pieces->spans, capacity * sizeof(*grown));
        pieces->failed = grown == NULL;
        if (!grown)
            return;
        pieces->spans = grown;
        pieces->spans_capacity = capacity;
    }
    pieces->spans[pieces->n_spans++] = (struct span){start, pieces->n - start};
}

void pieces_add(struct pieces *pieces, const char *text, size_t n)
{
    size_t start = pieces->n;
    pieces_add_text(pieces, text, n);
    pieces_end_word(pieces, start);
}

void pieces_reset(struct pieces *pieces)
{
    pieces->n = pieces->n_spans = 0;
}

void pieces_done(struct pieces *pieces)
{
    free(pieces->text);
    free(pieces->spans);
    *pieces = (struct pieces){0};
}

void *workspace_memory(struct workspace *work, size_t bytes)
{
    if (bytes <= work->memory_bytes)
        return work->memory;
    size_t grown = bytes < ((size_t)1 << 32) ? bytes + bytes / 2 : bytes;
    free(work->memory);
    work->memory = malloc(grown);
    work->memory_bytes = work->memory ? grown : 0;
    work->failed = work->failed || !work->memory;
    return work->memory;
}
