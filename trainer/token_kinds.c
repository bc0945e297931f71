/* Tasks of rows and bands of frequency. */
#include "trainer/token_kinds.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int token_kinds_read(struct token_kinds *kinds, const struct rows *train, struct arena *arena, struct err *err)
{
    int n = 0;
    *kinds = (struct token_kinds){0};
    if (train->count == 0 || !train->items[0].task)
        return 0;
    const char **names = arena_alloc(arena, train->count * sizeof(*names));
    if (!names)
        return err_set(err, ERR_NOMEM, "no memory for the tasks of '%s'", train->path);
    for (size_t i = 0; i < train->count; i++)
        names[i] = train->items[i].task;
    qsort(names, train->count, sizeof(*names), compare_names);
    for (size_t i = 0; i < train->count; i++)
        if (n == 0 || strcmp(names[n - 1], names[i]) != 0)
            names[n++] = names[i];
    kinds->n_tasks = n;
    kinds->tasks = names;
    return 0;
}

int token_kinds_assign(const struct token_kinds *kinds, struct dataset *dataset, const struct rows *rows,
                       struct err *err)
{
    for (size_t i = 0; i < rows->count && kinds->n_tasks > 0; i++) {
        const char *name = rows->items[i].task;
        if (!name)
            return err_set(err, ERR_DATA,
                           "'%s', line %u: nothing says which task it belongs to (task.tasks names a column)",
                           rows->path, rows->items[i].line);
        const char **found = bsearch(&name, kinds->tasks, (size_t)kinds->n_tasks, sizeof(*kinds->tasks), compare_names);
        if (!found)
            return err_set(err, ERR_DATA, "'%s', line %u: no training row has the task '%s'", rows->path,
                           rows->items[i].line, name);
        dataset->examples[i].task = (int32_t)(found - (const char **)(uintptr_t)kinds->tasks);
    }
    return 0;
}

struct frequency {
    int64_t count;
    int32_t id;
};

static int compare_frequencies(const void *a, const void *b)
{
    const struct frequency *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count ? 1 : -1) : (x->id > y->id) - (x->id < y->id);
}

static int64_t count_tokens(const struct dataset *train, struct frequency *frequencies)
{
    int64_t total = 0;
    for (size_t i = 0; i < train->count; i++) {
        const struct example *example = &train->examples[i];
        for (int k = 0; k < example->n_tokens; k++)
            frequencies[example->ids[k]].count++;
        for (int k = 0; example->decoder_ids && k < example->n_targets; k++)
            frequencies[example->decoder_ids[k]].count++;
        total += example->n_tokens + (example->decoder_ids ? example->n_targets : 0);
    }
    return total;
}

int token_kinds_count(struct token_kinds *kinds, const struct dataset *train, int vocab_size, struct arena *arena,
                      struct err *err)
{
    struct frequency *frequencies = calloc((size_t)vocab_size, sizeof(*frequencies));
    uint8_t *bands = arena_alloc(arena, (size_t)vocab_size);
    if (!frequencies || !bands) {
        free(frequencies);
        return err_set(err, ERR_NOMEM, "no memory to count %d tokens", vocab_size);
    }
    for (int32_t id = 0; id < vocab_size; id++)
        frequencies[id].id = id;
    int64_t total = count_tokens(train, frequencies), seen = 0;
    qsort(frequencies, (size_t)vocab_size, sizeof(*frequencies), compare_frequencies);
    for (int i = 0; i < vocab_size; i++) {
        int64_t band = total > 0 ? seen * TOKEN_BANDS / total : 0;
        bands[frequencies[i].id] = (uint8_t)(band < TOKEN_BANDS ? band : TOKEN_BANDS - 1);
        seen += frequencies[i].count;
    }
    free(frequencies);
    kinds->bands = bands;
    return 0;
}
