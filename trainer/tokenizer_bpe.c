/* Byte-pair encoding: a word begins as its characters, and the pair that was merged first in training is merged first,
 * the leftmost of equals.   Sennrich et al. 2016, arXiv:1508.07909
 *
 * Characters that are not in the vocabulary become the tokens of their bytes (byte fallback), else the unknown token,
 * else nothing. Byte-level alphabets need no fallback: every byte is a character. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "trainer/tokenizer_parts.h"

enum { MAX_MERGES = 1 << 22, MAX_AFFIX = 16, DIRECT_CODES = 512, FEW_SYMBOLS = 24 };

struct merge {
    uint64_t pair;    /* ids of left and right; NO_PAIR: the place is free */
    int32_t rank, id; /* when it is merged, and to what */
};
#define NO_PAIR UINT64_MAX

struct bpe {
    struct merge *merges; /* open addressing */
    size_t mask;
    int32_t direct[DIRECT_CODES]; /* id of a code point by itself, −1: none */
    int32_t bytes[256];           /* id of <0x00> … <0xFF>, −1: none */
    const char *prefix, *suffix;  /* of what is not a word's start; of a word's end */
    size_t n_prefix, n_suffix;
    bool falls_back, fuses_unknown, ignores_merges;
};

/* Merges ----------------------------------------------------------------------------------------------------------- */

static uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static size_t place_of(const struct bpe *bpe, uint64_t pair)
{
    size_t at = (size_t)((pair * 0x9e3779b97f4a7c15u) >> 29) & bpe->mask;
    while (bpe->merges[at].pair != pair && bpe->merges[at].pair != NO_PAIR)
        at = (at + 1) & bpe->mask;
    return at;
}

static const struct merge *find_merge(const struct bpe *bpe, int32_t left, int32_t right)
{
    const struct merge *merge = &bpe->merges[place_of(bpe, pair_of(left, right))];
    return merge->pair == NO_PAIR ? NULL : merge;
}

static int open_merges(struct tokenizer *t, struct bpe *bpe, size_t n, struct err *err)
{
    size_t size = 64;
    if (n > MAX_MERGES)
        return err_set(err, ERR_FORMAT, "model.merges: %zu, at most %d are read", n, MAX_MERGES);
    while (size < 2 * n)
        size *= 2;
    bpe->merges = arena_alloc(&t->arena, size * sizeof(*bpe->merges));
    if (!bpe->merges)
        return err_set(err, ERR_NOMEM, "no memory for %zu merges", n);
    for (size_t i = 0; i < size; i++)
        bpe->merges[i].pair = NO_PAIR;
    bpe->mask = size - 1;
    return 0;
}

/* A pair that is there already keeps the later rank, as a map does that is filled in order. */
static int add_merge(struct tokenizer *t, struct bpe *bpe, int32_t rank, const char *left, const char *right,
                     struct err *err)
{
    const struct token *a = vocabulary_find(t, left, strlen(left)), *b = vocabulary_find(t, right, strlen(right));
    if (!a || !b)
        return err_set(err, ERR_FORMAT, "model.merges: merge %d: '%s' is not in the vocabulary", rank,
                       a ? right : left);
    size_t skipped = b->n >= bpe->n_prefix ? bpe->n_prefix : 0, n = a->n + b->n - skipped;
    char *whole = malloc(n + 1);
    if (!whole)
        return err_set(err, ERR_NOMEM, "no memory for a merge");
    memcpy(whole, left, a->n);
    memcpy(whole + a->n, right + skipped, b->n - skipped);
    whole[n] = '\0';
    const struct token *made = vocabulary_find(t, whole, n);
    int rc = made ? 0 : err_set(err, ERR_FORMAT, "model.merges: merge %d: '%s' is not in the vocabulary", rank, whole);
    if (made) {
        uint64_t pair = pair_of(a->id, b->id);
        bpe->merges[place_of(bpe, pair)] = (struct merge){pair, rank, made->id};
    }
    free(whole);
    return rc;
}

static int read_merge(struct tokenizer *t, struct bpe *bpe, int32_t rank, const cJSON *item, struct err *err)
{
    const cJSON *left = cJSON_IsArray(item) ? item->child : NULL, *right = left ? left->next : NULL;
    if (right && !right->next && cJSON_IsString(left) && cJSON_IsString(right))
        return add_merge(t, bpe, rank, left->valuestring, right->valuestring, err);
    const char *space = cJSON_IsString(item) ? strchr(item->valuestring, ' ') : NULL;
    if (!space || strchr(space + 1, ' '))
        return err_set(err, ERR_FORMAT, "model.merges: merge %d: two texts were expected", rank);
    char *first = strndup(item->valuestring, (size_t)(space - item->valuestring));
    int rc = first ? add_merge(t, bpe, rank, first, space + 1, err) : err_set(err, ERR_NOMEM, "no memory for a merge");
    free(first);
    return rc;
}

static int read_merges(struct tokenizer *t, struct bpe *bpe, const cJSON *json, struct err *err)
{
    const cJSON *list;
    int32_t rank = 0;
    int rc = json_get_array(json, "merges", "model", &list, err);
    if (rc == 0)
        rc = open_merges(t, bpe, (size_t)cJSON_GetArraySize(list), err);
    for (const cJSON *item = rc == 0 ? list->child : NULL; item && rc == 0; item = item->next)
        rc = read_merge(t, bpe, rank++, item, err);
    return rc;
}

/* Reading ---------------------------------------------------------------------------------------------------------- */

static void find_direct(const struct tokenizer *t, struct bpe *bpe)
{
    for (int code = 0; code < DIRECT_CODES; code++) {
        char text[4];
        const struct token *token = code ? vocabulary_find(t, text, utf8_encode((uint32_t)code, text)) : NULL;
        bpe->direct[code] = token ? token->id : -1;
    }
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        snprintf(text, sizeof(text), "<0x%02X>", (unsigned)byte);
        const struct token *token = vocabulary_find(t, text, 6);
        bpe->bytes[byte] = token ? token->id : -1;
    }
}

static int read_affix(struct tokenizer *t, const cJSON *json, const char *key, const char **affix, size_t *n,
                      struct err *err)
{
    const char *given = "";
    int rc = json_opt_string(json, key, "model", &given, err);
    if (rc == 0 && strlen(given) > MAX_AFFIX)
        rc = err_set(err, ERR_FORMAT, "model.%s: '%s' is longer than %d bytes", key, given, MAX_AFFIX);
    if (rc == 0 && !(*affix = arena_strdup(&t->arena, given)))
        rc = err_set(err, ERR_NOMEM, "no memory for the tokenizer");
    *n = rc == 0 ? strlen(given) : 0;
    return rc;
}

static int read_options(struct tokenizer *t, struct bpe *bpe, const cJSON *json, struct err *err)
{
    const char *unknown = NULL;
    double dropout = 0;
    int rc = json_opt_string(json, "unk_token", "model", &unknown, err);
    if (rc == 0 && unknown && unknown[0])
        rc = vocabulary_id(t, unknown, "model.unk_token", &t->unknown, err);
    if (rc == 0)
        rc = json_opt_double(json, "dropout", "model", &dropout, err);
    if (rc == 0 && dropout != 0)
        rc = err_set(err, ERR_UNSUPPORTED, "model.dropout: %g, merges that are left out by chance are not built in",
                     dropout);
    if (rc == 0)
        rc = read_affix(t, json, "continuing_subword_prefix", &bpe->prefix, &bpe->n_prefix, err);
    if (rc == 0)
        rc = read_affix(t, json, "end_of_word_suffix", &bpe->suffix, &bpe->n_suffix, err);
    if (rc == 0)
        rc = json_opt_bool(json, "fuse_unk", "model", &bpe->fuses_unknown, err);
    if (rc == 0)
        rc = json_opt_bool(json, "byte_fallback", "model", &bpe->falls_back, err);
    return rc < 0 ? rc : json_opt_bool(json, "ignore_merges", "model", &bpe->ignores_merges, err);
}

static int bpe_read(struct tokenizer *t, const cJSON *json, struct err *err)
{
    const cJSON *vocabulary;
    struct bpe *bpe = arena_calloc(&t->arena, 1, sizeof(*bpe));
    int rc = bpe ? json_get_object(json, "vocab", "model", &vocabulary, err)
                 : err_set(err, ERR_NOMEM, "no memory for the tokenizer");
    if (rc == 0)
        rc = vocabulary_read(t, vocabulary, err);
    if (rc == 0)
        rc = read_options(t, bpe, json, err);
    if (rc == 0)
        rc = read_merges(t, bpe, json, err);
    if (rc < 0)
        return rc;
    find_direct(t, bpe);
    t->model = bpe;
    return 0;
}

/* Encoding --------------------------------------------------------------------------------------------------------- */

struct symbols {
    int32_t *ids, *previous, *next; /* neighbours, −1: none; an id of −1 was merged into the one in front */
    int32_t *ranks, *merged;        /* of the pair with the next one, and what it becomes */
    size_t n;
};

static bool open_symbols(const struct tokenizer *t, struct symbols *symbols, size_t n_bytes)
{
    size_t n = n_bytes + 1; /* a symbol a byte at most: no character gives more tokens than it has bytes */
    int32_t *memory = workspace_memory(t->work, 5 * n * sizeof(int32_t));
    *symbols = (struct symbols){memory, memory + n, memory + 2 * n, memory + 3 * n, memory + 4 * n, 0};
    return memory != NULL;
}

static int32_t character_id(const struct tokenizer *t, const struct bpe *bpe, const char *text, size_t n, bool is_first,
                            bool is_last)
{
    char whole[4 + 2 * MAX_AFFIX];
    size_t before = is_first ? 0 : bpe->n_prefix, behind = is_last ? bpe->n_suffix : 0, length;
    uint32_t code = utf8_decode(text, n, &length);
    if (before + behind == 0 && code < DIRECT_CODES)
        return bpe->direct[code];
    memcpy(whole, bpe->prefix, before);
    memcpy(whole + before, text, n);
    memcpy(whole + before + n, bpe->suffix, behind);
    const struct token *token = vocabulary_find(t, whole, before + n + behind);
    return token ? token->id : -1;
}

/* The bytes of a character as tokens; false when one of them is not in the vocabulary. */
static bool fall_back(const struct bpe *bpe, const char *text, size_t n, struct symbols *symbols)
{
    for (size_t i = 0; i < n; i++)
        if (bpe->bytes[(unsigned char)text[i]] < 0)
            return false;
    for (size_t i = 0; i < n; i++)
        symbols->ids[symbols->n++] = bpe->bytes[(unsigned char)text[i]];
    return true;
}

/* An unknown token waits for the next known character, so that one that follows can be fused with it. */
static void begin(const struct tokenizer *t, const struct bpe *bpe, const char *word, size_t n, struct symbols *symbols)
{
    bool waits = false;
    for (size_t at = 0, length; at < n; at += length) {
        utf8_decode(word + at, n - at, &length);
        int32_t id = character_id(t, bpe, word + at, length, at == 0, at + length == n);
        if (id < 0 && bpe->falls_back && fall_back(bpe, word + at, length, symbols))
            continue;
        if (id < 0 && t->unknown < 0)
            continue;
        if (waits && !(id < 0 && bpe->fuses_unknown))
            symbols->ids[symbols->n++] = t->unknown;
        waits = id < 0;
        if (id >= 0)
            symbols->ids[symbols->n++] = id;
    }
    if (waits)
        symbols->ids[symbols->n++] = t->unknown;
}

static void look_up(const struct bpe *bpe, struct symbols *s, int32_t at)
{
    const struct merge *merge = at >= 0 && s->next[at] >= 0 ? find_merge(bpe, s->ids[at], s->ids[s->next[at]]) : NULL;
    if (at < 0)
        return;
    s->ranks[at] = merge ? merge->rank : INT32_MAX;
    s->merged[at] = merge ? merge->id : -1;
}

/* Merges the symbol with its next one and looks up its two new pairs. */
static void merge_at(const struct bpe *bpe, struct symbols *s, int32_t at)
{
    int32_t gone = s->next[at];
    s->ids[at] = s->merged[at];
    s->next[at] = s->next[gone];
    if (s->next[gone] >= 0)
        s->previous[s->next[gone]] = at;
    s->ids[gone] = -1;
    look_up(bpe, s, at);
    look_up(bpe, s, s->previous[at]);
}

static void merge_few(const struct bpe *bpe, struct symbols *s)
{
    for (;;) {
        int32_t best = 0;
        for (int32_t i = 0; i >= 0; i = s->next[i])
            if (s->ranks[i] < s->ranks[best])
                best = i;
        if (s->ranks[best] == INT32_MAX)
            return;
        merge_at(bpe, s, best);
    }
}

/* A heap of pairs, lowest rank and then leftmost first; entries that a merge made stale are dropped when they come. */
struct entry {
    int32_t rank, at, id;
};

struct heap {
    struct entry *entries;
    size_t n;
};

static bool is_before(const struct entry *a, const struct entry *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void heap_push(struct heap *heap, const struct symbols *s, int32_t at)
{
    if (at < 0 || s->ranks[at] == INT32_MAX)
        return;
    const struct entry entry = {s->ranks[at], at, s->merged[at]};
    size_t i = heap->n++;
    for (; i > 0 && is_before(&entry, &heap->entries[(i - 1) / 2]); i = (i - 1) / 2)
        heap->entries[i] = heap->entries[(i - 1) / 2];
    heap->entries[i] = entry;
}

static struct entry heap_pop(struct heap *heap)
{
    struct entry top = heap->entries[0], last = heap->entries[--heap->n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < heap->n; i = child) {
        if (child + 1 < heap->n && is_before(&heap->entries[child + 1], &heap->entries[child]))
            child++;
        if (!is_before(&heap->entries[child], &last))
            break;
        heap->entries[i] = heap->entries[child];
    }
    heap->entries[i] = last;
    return top;
}

static bool merge_many(const struct bpe *bpe, struct symbols *s)
{
    /* n − 1 pairs at first, and at most two new ones a merge. */
    struct heap heap = {.entries = malloc(3 * s->n * sizeof(struct entry))};
    if (!heap.entries)
        return false;
    for (size_t i = 0; i < s->n; i++)
        heap_push(&heap, s, (int32_t)i);
    while (heap.n > 0) {
        struct entry top = heap_pop(&heap);
        if (s->ids[top.at] < 0 || s->ranks[top.at] != top.rank || s->merged[top.at] != top.id)
            continue;
        merge_at(bpe, s, top.at);
        heap_push(&heap, s, top.at);
        heap_push(&heap, s, s->previous[top.at]);
    }
    free(heap.entries);
    return true;
}

static void merge_symbols(const struct tokenizer *t, const struct bpe *bpe, struct symbols *s)
{
    for (size_t i = 0; i < s->n; i++) {
        s->previous[i] = (int32_t)i - 1;
        s->next[i] = i + 1 < s->n ? (int32_t)i + 1 : -1;
    }
    for (size_t i = 0; i < s->n; i++)
        look_up(bpe, s, (int32_t)i);
    if (s->n <= FEW_SYMBOLS)
        merge_few(bpe, s);
    else if (!merge_many(bpe, s))
        t->work->failed = true;
}

static void bpe_encode(const struct tokenizer *t, const char *word, size_t n, struct codes *ids)
{
    const struct bpe *bpe = t->model;
    struct symbols symbols;
    const struct token *whole = bpe->ignores_merges ? vocabulary_find(t, word, n) : NULL;
    if (whole) {
        codes_add(ids, whole->id);
        return;
    }
    if (!open_symbols(t, &symbols, n))
        return;
    begin(t, bpe, word, n, &symbols);
    if (symbols.n == 0)
        return;
    merge_symbols(t, bpe, &symbols);
    for (int32_t i = 0; i >= 0; i = symbols.next[i])
        codes_add(ids, symbols.ids[i]);
}

const struct model_type tokenizer_bpe = {"BPE", bpe_read, bpe_encode, true};
