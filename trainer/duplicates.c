/* Finding duplicates: normalise, sort for the equal ones, hash shingles into bands for candidates, verify. */
#include "trainer/duplicates.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "common/text.h"

enum { SHINGLE = 5, ROWS_PER_BAND = DUPLICATES_PERMUTATIONS / DUPLICATES_BANDS };

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory to look for duplicates");
}

/* NFC, case folded, runs of white space as one space, none at the ends. In `arena`, NULL without memory. */
static char *normalize(const char *text, struct arena *arena)
{
    utf8proc_uint8_t *folded = NULL;
    utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)strlen(text), &folded,
                                      UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD);
    if (n < 0)
        return NULL;
    char *out = arena_alloc(arena, (size_t)n + 1);
    size_t used = 0;
    for (utf8proc_ssize_t i = 0; out && i < n; i++) {
        bool is_space = folded[i] == ' ' || (folded[i] >= '\t' && folded[i] <= '\r');
        if (!is_space)
            out[used++] = (char)folded[i];
        else if (used > 0 && out[used - 1] != ' ')
            out[used++] = ' ';
    }
    free(folded);
    if (!out)
        return NULL;
    used -= used > 0 && out[used - 1] == ' ';
    out[used] = '\0';
    return out;
}

/* splitmix64's finaliser. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

static int compare_hashes(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Hashes of all runs of five characters (of the whole text when it is shorter), sorted, each once. */
static uint64_t *shingle(const char *text, size_t *count, struct arena *arena)
{
    size_t bytes = strlen(text), n_characters = 0, n = 0;
    uint32_t *characters = arena_alloc(arena, (bytes + 1) * sizeof(*characters));
    uint64_t *hashes = arena_alloc(arena, (bytes + 1) * sizeof(*hashes));
    if (!characters || !hashes)
        return NULL;
    for (size_t at = 0, length; at < bytes; at += length)
        characters[n_characters++] = utf8_decode(text + at, bytes - at, &length);
    size_t width = n_characters < SHINGLE ? n_characters : SHINGLE;
    for (size_t i = 0; i + width <= n_characters && width > 0; i++) {
        uint64_t hash = width;
        for (size_t k = 0; k < width; k++)
            hash = mix(hash + 0x9e3779b97f4a7c15U + characters[i + k]);
        hashes[n++] = hash;
    }
    qsort(hashes, n, sizeof(*hashes), compare_hashes);
    size_t unique = 0;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || hashes[i] != hashes[i - 1])
            hashes[unique++] = hashes[i];
    *count = unique;
    return hashes;
}

static double jaccard(const uint64_t *a, size_t n_a, const uint64_t *b, size_t n_b)
{
    size_t both = 0;
    for (size_t i = 0, j = 0; i < n_a && j < n_b;) {
        uint64_t x = a[i], y = b[j];
        both += x == y;
        i += x <= y;
        j += y <= x;
    }
    return n_a + n_b > 0 ? (double)both / (double)(n_a + n_b - both) : 1;
}

int duplicates_similarity(const char *a, const char *b, double *out, struct err *err)
{
    struct arena arena = {0};
    size_t n_a = 0, n_b = 0;
    char *x = normalize(a, &arena), *y = normalize(b, &arena);
    uint64_t *of_a = x ? shingle(x, &n_a, &arena) : NULL, *of_b = y ? shingle(y, &n_b, &arena) : NULL;
    int rc = of_a && of_b ? 0 : no_memory(err);
    if (rc == 0)
        *out = jaccard(of_a, n_a, of_b, n_b);
    arena_done(&arena);
    return rc;
}

/* Equal texts ------------------------------------------------------------------------------------------------------ */

static int compare_texts(const void *a, const void *b, void *context)
{
    const char *const *texts = context;
    uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    int order = strcmp(texts[i], texts[j]);
    return order ? order : (i > j) - (i < j);
}

static int find_equal(struct duplicates *out, char **texts, size_t n, struct arena *arena, struct err *err)
{
    uint32_t *order = malloc((n + 1) * sizeof(*order));
    out->first = arena_alloc(arena, (n + 1) * sizeof(*out->first));
    if (!order || !out->first) {
        free(order);
        return no_memory(err);
    }
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    qsort_r(order, n, sizeof(*order), compare_texts, texts);
    for (size_t k = 0; k < n; k++) {
        bool is_same = k > 0 && strcmp(texts[order[k]], texts[order[k - 1]]) == 0;
        out->first[order[k]] = is_same ? out->first[order[k - 1]] : order[k];
    }
    free(order);
    return 0;
}

/* Candidates ------------------------------------------------------------------------------------------------------- */

struct key {
    uint64_t hash;
    uint32_t text;
};

static int compare_keys(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    return x->hash != y->hash ? (x->hash > y->hash) - (x->hash < y->hash) : (x->text > y->text) - (x->text < y->text);
}

/* A text's key in every band: the hash of the band's four minima. */
static void add_keys(uint64_t *keys, const uint64_t *shingles, size_t n)
{
    for (int band = 0; band < DUPLICATES_BANDS; band++) {
        uint64_t key = (uint64_t)band;
        for (int row = 0; row < ROWS_PER_BAND; row++) {
            uint64_t seed = mix((uint64_t)(band * ROWS_PER_BAND + row) + 1), least = UINT64_MAX;
            for (size_t i = 0; i < n; i++) {
                uint64_t hash = mix(shingles[i] ^ seed);
                least = hash < least ? hash : least;
            }
            key = mix(key ^ least) + least;
        }
        keys[band] = key;
    }
}

struct candidates {
    uint64_t *items; /* a << 32 | b */
    size_t n, capacity;
};

static int add_candidate(struct candidates *candidates, uint32_t a, uint32_t b)
{
    if (candidates->n == candidates->capacity) {
        size_t capacity = candidates->capacity ? 2 * candidates->capacity : 1024;
        uint64_t *grown = realloc(candidates->items, capacity * sizeof(*grown));
        if (!grown)
            return ERR_NOMEM;
        candidates->items = grown;
        candidates->capacity = capacity;
    }
    candidates->items[candidates->n++] = (uint64_t)a << 32 | b;
    return 0;
}

/* Texts that share a band's key, each with those in front of it. */
static int add_band(struct candidates *candidates, struct key *keys, size_t n)
{
    int rc = 0;
    qsort(keys, n, sizeof(*keys), compare_keys);
    for (size_t i = 1, start = 0; i < n && rc == 0; i++) {
        if (keys[i].hash != keys[i - 1].hash)
            start = i;
        size_t from = i - start > DUPLICATES_MAX_GROUP ? i - DUPLICATES_MAX_GROUP : start;
        for (size_t k = from; k < i && rc == 0; k++)
            rc = add_candidate(candidates, keys[k].text, keys[i].text);
    }
    return rc;
}

static int find_candidates(struct candidates *candidates, char **texts, const uint32_t *list, size_t n, struct err *err)
{
    uint64_t *all = malloc((n + 1) * DUPLICATES_BANDS * sizeof(*all));
    struct key *keys = malloc((n + 1) * sizeof(*keys));
    struct arena scratch = {0};
    int rc = all && keys ? 0 : ERR_NOMEM;
    for (size_t i = 0; i < n && rc == 0; i++) {
        size_t count = 0;
        arena_reset(&scratch);
        uint64_t *shingles = shingle(texts[list[i]], &count, &scratch);
        rc = shingles ? 0 : ERR_NOMEM;
        if (rc == 0)
            add_keys(all + i * DUPLICATES_BANDS, shingles, count);
    }
    for (int band = 0; band < DUPLICATES_BANDS && rc == 0; band++) {
        for (size_t i = 0; i < n; i++)
            keys[i] = (struct key){all[i * DUPLICATES_BANDS + (size_t)band], list[i]};
        rc = add_band(candidates, keys, n);
    }
    free(all);
    free(keys);
    arena_done(&scratch);
    return rc < 0 ? no_memory(err) : 0;
}

/* Keeps the candidates that are near indeed. Sorted by the first text, whose shingles then serve all its partners. */
static int verify(struct duplicates *out, struct candidates *candidates, char **texts, struct arena *arena,
                  struct err *err)
{
    struct arena scratch = {0};
    struct arena_mark mark = arena_mark(&scratch);
    uint64_t *of_a = NULL;
    size_t n_a = 0, n_b = 0;
    int rc = 0;
    qsort(candidates->items, candidates->n, sizeof(*candidates->items), compare_hashes);
    out->pairs = arena_alloc(arena, (candidates->n + 1) * sizeof(*out->pairs));
    if (!out->pairs)
        return no_memory(err);
    for (size_t i = 0; i < candidates->n && rc == 0; i++) {
        uint32_t a = (uint32_t)(candidates->items[i] >> 32), b = (uint32_t)candidates->items[i];
        if (i > 0 && candidates->items[i] == candidates->items[i - 1])
            continue;
        if (i == 0 || a != (uint32_t)(candidates->items[i - 1] >> 32)) {
            arena_reset(&scratch);
            of_a = shingle(texts[a], &n_a, &scratch);
            mark = arena_mark(&scratch);
        }
        arena_rewind(&scratch, mark);
        uint64_t *of_b = of_a ? shingle(texts[b], &n_b, &scratch) : NULL;
        rc = of_b ? 0 : no_memory(err);
        double similarity = rc == 0 ? jaccard(of_a, n_a, of_b, n_b) : 0;
        if (rc == 0 && similarity >= DUPLICATES_SIMILARITY)
            out->pairs[out->n_pairs++] = (struct near_pair){a, b, similarity};
    }
    arena_done(&scratch);
    return rc;
}

int duplicates_find(struct duplicates *duplicates, const char *const *texts, size_t n, struct arena *arena,
                    struct err *err)
{
    struct duplicates out = {0};
    struct candidates candidates = {0};
    char **normal = arena_alloc(arena, (n + 1) * sizeof(*normal));
    uint32_t *list = arena_alloc(arena, (n + 1) * sizeof(*list));
    size_t n_list = 0;
    int rc = normal && list ? 0 : no_memory(err);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = (normal[i] = normalize(texts[i], arena)) ? 0 : no_memory(err);
    if (rc == 0)
        rc = find_equal(&out, normal, n, arena, err);
    for (size_t i = 0; i < n && rc == 0; i++)
        if (out.first[i] == i)
            list[n_list++] = (uint32_t)i;
    if (rc == 0 && n_list <= DUPLICATES_MAX_NEAR)
        rc = find_candidates(&candidates, normal, list, n_list, err);
    if (rc == 0 && candidates.n > 0)
        rc = verify(&out, &candidates, normal, arena, err);
    free(candidates.items);
    if (rc == 0)
        *duplicates = out;
    return rc;
}
