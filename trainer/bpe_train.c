/* Byte-pair encoding, learned. */
#include "trainer/bpe_train.h"

#include <stdlib.h>
#include <string.h>

#include "common/table.h"
#include "common/text.h"

/* A pair of neighbours: how often it occurs, and the words that have had it (some of them no longer). */
struct pair {
    int ids[2];
    int64_t count;
    uint32_t *words;
    int n_words, capacity;
    UT_hash_handle hh;
};

struct symbols {
    int *ids;
    int n;
    int64_t count;
};

struct learning {
    struct bpe_vocabulary *out;
    struct arena *arena;
    struct symbols *words;
    size_t n_words;
    struct pair *pairs;
    int first_id;
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory to learn a vocabulary");
}

/* Characters ---------------------------------------------------------------------------------------------------------
 */

static int compare_codes(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static size_t unique(uint32_t *codes, size_t n)
{
    size_t kept = 0;
    qsort(codes, n, sizeof(*codes), compare_codes);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || codes[kept - 1] != codes[i])
            codes[kept++] = codes[i];
    return kept;
}

/* All code points of the words, each once, in order; their number in *n. Heap. */
static uint32_t *find_characters(const struct bpe_word *words, size_t n_words, size_t *n)
{
    size_t capacity = 4096;
    uint32_t *codes = malloc(capacity * sizeof(*codes));
    *n = 0;
    for (size_t w = 0; w < n_words && codes; w++) {
        size_t left = strlen(words[w].text), length;
        for (const char *s = words[w].text; left > 0; s += length, left -= length) {
            if (*n == capacity && (*n = unique(codes, *n)) > capacity / 2) {
                uint32_t *moved = realloc(codes, 2 * capacity * sizeof(*codes));
                if (!moved) {
                    free(codes);
                    return NULL;
                }
                codes = moved;
                capacity *= 2;
            }
            codes[(*n)++] = utf8_decode(s, left, &length);
        }
    }
    if (codes)
        *n = unique(codes, *n);
    return codes;
}

static int add_characters(struct learning *l, const uint32_t *codes, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        char bytes[5] = {0};
        bytes[utf8_encode(codes[i], bytes)] = '\0';
        if (!(l->out->tokens[l->out->n_tokens++] = arena_strdup(l->arena, bytes)))
            return no_memory(err);
    }
    return 0;
}

static int split_words(struct learning *l, const struct bpe_word *words, const uint32_t *codes, size_t n_codes,
                       struct err *err)
{
    l->words = arena_calloc(l->arena, l->n_words + 1, sizeof(*l->words));
    if (!l->words)
        return no_memory(err);
    for (size_t w = 0; w < l->n_words; w++) {
        size_t left = strlen(words[w].text), length;
        struct symbols *symbols = &l->words[w];
        symbols->count = words[w].count;
        symbols->ids = arena_alloc(l->arena, (left + 1) * sizeof(*symbols->ids));
        if (!symbols->ids)
            return no_memory(err);
        for (const char *s = words[w].text; left > 0; s += length, left -= length) {
            uint32_t code = utf8_decode(s, left, &length);
            const uint32_t *at = bsearch(&code, codes, n_codes, sizeof(*codes), compare_codes);
            symbols->ids[symbols->n++] = l->first_id + (int)(at - codes);
        }
    }
    return 0;
}

/* Pairs --------------------------------------------------------------------------------------------------------------
 */

static int note_word(struct pair *pair, uint32_t word)
{
    if (pair->n_words > 0 && pair->words[pair->n_words - 1] == word)
        return 0;
    if (pair->n_words == pair->capacity) {
        int larger = pair->capacity ? 2 * pair->capacity : 4;
        uint32_t *moved = realloc(pair->words, (size_t)larger * sizeof(*moved));
        if (!moved)
            return -1;
        pair->words = moved;
        pair->capacity = larger;
    }
    pair->words[pair->n_words++] = word;
    return 0;
}

static int count_pair(struct learning *l, int left, int right, int64_t count, uint32_t word, struct err *err)
{
    int ids[2] = {left, right};
    struct pair *pair = NULL;
    HASH_FIND(hh, l->pairs, ids, sizeof(ids), pair);
    if (!pair) {
        pair = arena_calloc(l->arena, 1, sizeof(*pair));
        if (!pair)
            return no_memory(err);
        memcpy(pair->ids, ids, sizeof(ids));
        HASH_ADD(hh, l->pairs, ids, sizeof(ids), pair);
        if (!pair->hh.tbl)
            return no_memory(err);
    }
    pair->count += count;
    return count > 0 && note_word(pair, word) < 0 ? no_memory(err) : 0;
}

static int count_word(struct learning *l, uint32_t word, int sign, struct err *err)
{
    const struct symbols *symbols = &l->words[word];
    int rc = 0;
    for (int i = 0; i + 1 < symbols->n && rc == 0; i++)
        rc = count_pair(l, symbols->ids[i], symbols->ids[i + 1], sign * symbols->count, word, err);
    return rc;
}

/* The most frequent pair, of equals the one with the smaller ids; NULL below min_count. */
static struct pair *best_pair(struct learning *l, int64_t min_count)
{
    struct pair *best = NULL;
    for (struct pair *pair = l->pairs; pair; pair = pair->hh.next) {
        bool is_smaller =
            best && (pair->ids[0] != best->ids[0] ? pair->ids[0] < best->ids[0] : pair->ids[1] < best->ids[1]);
        if (pair->count > 0 && pair->count >= min_count &&
            (!best || pair->count > best->count || (pair->count == best->count && is_smaller)))
            best = pair;
    }
    return best;
}

static void join(struct symbols *symbols, const int ids[2], int merged)
{
    int kept = 0;
    for (int i = 0; i < symbols->n; i++) {
        bool is_pair = i + 1 < symbols->n && symbols->ids[i] == ids[0] && symbols->ids[i + 1] == ids[1];
        symbols->ids[kept++] = is_pair ? merged : symbols->ids[i];
        i += is_pair;
    }
    symbols->n = kept;
}

/* The id of the pair's text: a token may come about in two ways. */
static int find_token(const struct learning *l, const char *text)
{
    for (int i = 0; i < l->out->n_tokens; i++)
        if (strcmp(l->out->tokens[i], text) == 0)
            return i;
    return -1;
}

static int add_merge(struct learning *l, struct pair *pair, struct err *err)
{
    struct bpe_vocabulary *out = l->out;
    char *text = arena_printf(l->arena, "%s%s", out->tokens[pair->ids[0] - l->first_id],
                              out->tokens[pair->ids[1] - l->first_id]);
    if (!text)
        return no_memory(err);
    int known = find_token(l, text), merged = l->first_id + (known >= 0 ? known : out->n_tokens), rc = 0;
    if (known < 0)
        out->tokens[out->n_tokens++] = text;
    out->merges[out->n_merges++] = (struct bpe_merge){pair->ids[0], pair->ids[1], merged};
    int ids[2] = {pair->ids[0], pair->ids[1]}, n = pair->n_words;
    for (int i = 0; i < n && rc == 0; i++) {
        uint32_t word = pair->words[i];
        rc = count_word(l, word, -1, err);
        join(&l->words[word], ids, merged);
        if (rc == 0)
            rc = count_word(l, word, 1, err);
    }
    return rc;
}

static void forget(struct learning *l)
{
    for (struct pair *pair = l->pairs; pair; pair = pair->hh.next)
        free(pair->words);
    HASH_CLEAR(hh, l->pairs);
}

int bpe_train(struct bpe_vocabulary *out, const struct bpe_word *words, size_t n_words, int first_id, int max_tokens,
              int64_t min_count, struct arena *arena, struct err *err)
{
    struct learning l = {.out = out, .arena = arena, .n_words = n_words, .first_id = first_id};
    struct pair *pair;
    size_t n = 0;
    *out = (struct bpe_vocabulary){0};
    uint32_t *codes = find_characters(words, n_words, &n);
    int rc = codes ? 0 : no_memory(err);
    if (rc == 0 && n == 0)
        rc = err_set(err, ERR_DATA, "there are no words to learn a vocabulary from");
    if (rc == 0 && n > (size_t)max_tokens)
        rc = err_set(err, ERR_USAGE, "%d tokens do not hold the %zu characters of the texts", max_tokens, n);
    out->tokens = arena_calloc(arena, (size_t)max_tokens + 1, sizeof(*out->tokens));
    /* A token may come about in several ways: each of its merges is one. */
    size_t most_merges = 4 * (size_t)max_tokens + 1;
    out->merges = arena_calloc(arena, most_merges, sizeof(*out->merges));
    if (rc == 0 && (!out->tokens || !out->merges))
        rc = no_memory(err);
    if (rc == 0)
        rc = add_characters(&l, codes, n, err);
    if (rc == 0)
        rc = split_words(&l, words, codes, n, err);
    for (size_t w = 0; w < n_words && rc == 0; w++)
        rc = count_word(&l, (uint32_t)w, 1, err);
    while (rc == 0 && out->n_tokens < max_tokens && (size_t)out->n_merges < most_merges &&
           (pair = best_pair(&l, min_count)))
        rc = add_merge(&l, pair, err);
    forget(&l);
    free(codes);
    return rc;
}
