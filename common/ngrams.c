/* Sorting and matching n-grams. */
#include "common/ngrams.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"

static int compare_starts(const void *a, const void *b, void *context)
{
    const struct ngrams *ngrams = context;
    const uint32_t *x = ngrams->units + *(const int *)a, *y = ngrams->units + *(const int *)b;
    for (int i = 0; i < ngrams->order; i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}

int ngrams_sort(struct ngrams *ngrams, const uint32_t *units, int n_units, int order, struct arena *arena,
                struct err *err)
{
    struct ngrams out = {.units = units, .order = order, .n = n_units >= order ? n_units - order + 1 : 0};
    out.starts = arena_alloc(arena, ((size_t)out.n + 1) * sizeof(*out.starts));
    if (!out.starts)
        return err_set(err, ERR_NOMEM, "no memory for %d n-grams", out.n);
    for (int i = 0; i < out.n; i++)
        out.starts[i] = i;
    qsort_r(out.starts, (size_t)out.n, sizeof(*out.starts), compare_starts, &out);
    *ngrams = out;
    return 0;
}

static int compare_across(const struct ngrams *a, int i, const struct ngrams *b, int j)
{
    const uint32_t *x = a->units + a->starts[i], *y = b->units + b->starts[j];
    for (int k = 0; k < a->order; k++)
        if (x[k] != y[k])
            return x[k] < y[k] ? -1 : 1;
    return 0;
}

/* How often the i-th n-gram of a stands in b, from *at on, which moves behind it. */
static int count_in(const struct ngrams *a, int i, const struct ngrams *b, int *at)
{
    int count = 0;
    while (*at < b->n && compare_across(a, i, b, *at) > 0)
        (*at)++;
    for (; *at < b->n && compare_across(a, i, b, *at) == 0; (*at)++)
        count++;
    return count;
}

enum { OTHERS_MAX = 64 };

int64_t ngrams_match(const struct ngrams *a, const struct ngrams *others, int n_others)
{
    int at[OTHERS_MAX] = {0};
    int64_t sum = 0;
    for (int i = 0, next; i < a->n; i = next) {
        int most = 0;
        for (next = i + 1; next < a->n && compare_across(a, i, a, next) == 0;)
            next++;
        for (int o = 0; o < n_others && o < OTHERS_MAX; o++) {
            int count = count_in(a, i, &others[o], &at[o]);
            most = count > most ? count : most;
        }
        sum += next - i < most ? next - i : most;
    }
    return sum;
}

/* Units ------------------------------------------------------------------------------------------------------------ */

bool text_is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

uint32_t *ngrams_characters(const char *text, size_t n, int *n_units, struct arena *arena)
{
    uint32_t *units = arena_alloc(arena, (n + 1) * sizeof(*units));
    int count = 0;
    for (size_t at = 0, length; units && at < n; at += length) {
        uint32_t c = utf8_decode(text + at, n - at, &length);
        if (!text_is_space(c))
            units[count++] = c;
    }
    *n_units = count;
    return units;
}

struct word *ngrams_split(const char *text, size_t n, int *n_words, struct arena *arena)
{
    struct word *words = arena_alloc(arena, (n / 2 + 2) * sizeof(*words));
    int count = 0;
    bool is_inside = false;
    for (size_t at = 0, length; words && at < n; at += length) {
        bool is_space = text_is_space(utf8_decode(text + at, n - at, &length));
        if (!is_space && !is_inside)
            words[count++] = (struct word){text + at, 0};
        if (!is_space)
            words[count - 1].bytes += (int)length;
        is_inside = !is_space;
    }
    *n_words = count;
    return words;
}

static int compare_words(const void *a, const void *b)
{
    const struct word *x = *(const struct word *const *)a, *y = *(const struct word *const *)b;
    int shorter = x->bytes < y->bytes ? x->bytes : y->bytes, order = memcmp(x->start, y->start, (size_t)shorter);
    return order ? order : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* A word's number is the position of the first word equal to it in the sorted list of all. */
static uint32_t number_of(const struct word *const *sorted, int n, const struct word *word)
{
    int low = 0, high = n;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (compare_words(&sorted[middle], &word) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return (uint32_t)low;
}

int ngrams_number(const struct word *const *lists, const int *counts, int n_lists, uint32_t **units,
                  struct arena *arena, struct err *err)
{
    int total = 0, n = 0;
    for (int l = 0; l < n_lists; l++)
        total += counts[l];
    const struct word **sorted = arena_alloc(arena, ((size_t)total + 1) * sizeof(*sorted));
    bool failed = !sorted;
    for (int l = 0; l < n_lists && !failed; l++) {
        units[l] = arena_alloc(arena, ((size_t)counts[l] + 1) * sizeof(**units));
        failed = !units[l];
        for (int i = 0; i < counts[l]; i++)
            sorted[n++] = &lists[l][i];
    }
    if (failed)
        return err_set(err, ERR_NOMEM, "no memory for %d words", total);
    qsort(sorted, (size_t)total, sizeof(const struct word *), compare_words);
    for (int l = 0; l < n_lists; l++)
        for (int i = 0; i < counts[l]; i++)
            units[l][i] = number_of(sorted, total, &lists[l][i]);
    return 0;
}
