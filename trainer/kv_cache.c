/* A list of entries, one an attention: a block of rows a sequence. */
#include "trainer/kv_cache.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_ENTRIES = 1024 };

struct entry {
    const void *key;
    bool is_fixed;
    int k_cols, v_cols, rows; /* rows: of a fixed entry */
    real *k, *v;
};

struct kv_cache {
    struct entry entries[MAX_ENTRIES];
    int n_entries, n_sequences, capacity, rows, added;
    bool failed;
};

int kv_cache_open(struct kv_cache **cache, int n_sequences, int capacity, struct err *err)
{
    struct kv_cache *made = calloc(1, sizeof(*made));
    if (!made)
        return err_set(err, ERR_NOMEM, "no memory for a cache of keys and values");
    made->n_sequences = n_sequences;
    made->capacity = capacity;
    *cache = made;
    return 0;
}

void kv_cache_close(struct kv_cache *cache)
{
    for (int i = 0; cache && i < cache->n_entries; i++) {
        free(cache->entries[i].k);
        free(cache->entries[i].v);
    }
    free(cache);
}

int kv_cache_rows(const struct kv_cache *cache)
{
    return cache->rows;
}

int kv_cache_end_pass(struct kv_cache *cache, struct err *err)
{
    if (cache->failed)
        return err_set(err, ERR_NOMEM, "no memory for keys and values of %d rows", cache->capacity);
    cache->rows += cache->added;
    cache->added = 0;
    return 0;
}

void kv_cache_rewind(struct kv_cache *cache, int rows)
{
    if (rows < cache->rows)
        cache->rows = rows;
}

static size_t rows_bytes(const struct kv_cache *cache, int cols)
{
    return (size_t)cache->rows * (size_t)cols * sizeof(real);
}

static real *sequence(const struct kv_cache *cache, real *block, int cols, int index)
{
    return block + (size_t)index * (size_t)cache->capacity * (size_t)cols;
}

static void reorder_block(const struct kv_cache *cache, real *block, int cols, const int *from, real *scratch)
{
    size_t bytes = rows_bytes(cache, cols), n = (size_t)cache->rows * (size_t)cols;
    for (int i = 0; i < cache->n_sequences; i++)
        memcpy(scratch + (size_t)i * n, sequence(cache, block, cols, from[i]), bytes);
    for (int i = 0; i < cache->n_sequences; i++)
        memcpy(sequence(cache, block, cols, i), scratch + (size_t)i * n, bytes);
}

int kv_cache_reorder(struct kv_cache *cache, const int *from, struct err *err)
{
    int widest = 1;
    bool is_same = true;
    for (int i = 0; i < cache->n_sequences; i++)
        is_same = is_same && from[i] == i;
    if (is_same || cache->rows == 0)
        return 0;
    for (int i = 0; i < cache->n_entries; i++) {
        widest = cache->entries[i].k_cols > widest ? cache->entries[i].k_cols : widest;
        widest = cache->entries[i].v_cols > widest ? cache->entries[i].v_cols : widest;
    }
    real *scratch = malloc((size_t)cache->n_sequences * rows_bytes(cache, widest));
    if (!scratch)
        return err_set(err, ERR_NOMEM, "no memory to reorder keys and values");
    for (int i = 0; i < cache->n_entries; i++) {
        struct entry *entry = &cache->entries[i];
        if (entry->is_fixed)
            continue;
        reorder_block(cache, entry->k, entry->k_cols, from, scratch);
        reorder_block(cache, entry->v, entry->v_cols, from, scratch);
    }
    free(scratch);
    return 0;
}

int kv_cache_spread(struct kv_cache *cache, struct err *err)
{
    int *from = calloc((size_t)cache->n_sequences + 1, sizeof(*from));
    int rc = from ? kv_cache_reorder(cache, from, err) : err_set(err, ERR_NOMEM, "no memory");
    free(from);
    return rc;
}

/* Entries ---------------------------------------------------------------------------------------------------------- */

static struct entry *find(struct kv_cache *cache, const void *key)
{
    for (int i = 0; i < cache->n_entries; i++)
        if (cache->entries[i].key == key)
            return &cache->entries[i];
    return NULL;
}

static struct entry *add(struct kv_cache *cache, const void *key, size_t rows, const struct value *k,
                         const struct value *v)
{
    if (cache->n_entries == MAX_ENTRIES)
        return NULL;
    struct entry *entry = &cache->entries[cache->n_entries];
    *entry = (struct entry){.key = key, .k_cols = k->cols, .v_cols = v->cols};
    entry->k = calloc(rows * (size_t)k->cols + 1, sizeof(real));
    entry->v = calloc(rows * (size_t)v->cols + 1, sizeof(real));
    cache->n_entries++; /* closed with the others also when memory is short */
    return entry->k && entry->v ? entry : NULL;
}

static struct layout *layout_of(struct tape *tape, int n_segments, int n_rows)
{
    struct layout *layout = tape_alloc(tape, "cache", sizeof(*layout));
    struct segment *segments = tape_alloc(tape, "cache", (size_t)n_segments * sizeof(*segments));
    if (!layout || !segments)
        return NULL;
    memset(segments, 0, (size_t)n_segments * sizeof(*segments));
    *layout = (struct layout){.n_segments = n_segments, .n_rows = n_rows, .segments = segments};
    return layout;
}

/* Copies each sequence's new rows behind its old ones. */
static void append(const struct kv_cache *cache, real *block, const struct value *rows)
{
    for (int s = 0; s < rows->layout->n_segments; s++) {
        const struct segment *segment = &rows->layout->segments[s];
        memcpy(sequence(cache, block, rows->cols, s) + (size_t)cache->rows * (size_t)rows->cols,
               rows->data + (size_t)segment->first * (size_t)rows->cols,
               (size_t)segment->rows * (size_t)rows->cols * sizeof(real));
    }
}

static struct value *attend(struct pass *pass, struct entry *entry, struct value *q, struct value *k, struct value *v,
                            struct attention *attention)
{
    struct kv_cache *cache = pass->cache;
    int n = k->layout->n_segments, added = k->layout->segments[0].rows, rows = cache->rows + added;
    struct layout *layout = layout_of(pass->tape, n, cache->n_sequences * cache->capacity);
    if (!layout)
        return NULL;
    append(cache, entry->k, k);
    append(cache, entry->v, v);
    cache->added = added;
    struct segment *segments = (struct segment *)(uintptr_t)layout->segments;
    for (int s = 0; s < n; s++)
        segments[s] = (struct segment){.first = s * cache->capacity, .rows = rows, .keys = rows};
    struct value *keys = tape_constant(pass->tape, entry->k, layout->n_rows, entry->k_cols, layout);
    struct value *values = tape_constant(pass->tape, entry->v, layout->n_rows, entry->v_cols, layout);
    attention->is_continued = true;
    return op_attention(pass->tape, q, keys, values, attention);
}

struct value *kv_attention(struct pass *pass, const void *key, struct value *q, struct value *k, struct value *v,
                           struct attention *attention)
{
    struct kv_cache *cache = pass->cache;
    if (!cache || !q || !k || !v)
        return op_attention(pass->tape, q, k, v, attention);
    struct entry *entry = find(cache, key);
    if (!entry)
        entry = add(cache, key, (size_t)cache->n_sequences * (size_t)cache->capacity, k, v);
    bool fits = entry != NULL && k->layout->n_segments <= cache->n_sequences;
    for (int s = 0; fits && s < k->layout->n_segments; s++) /* all sequences grow alike */
        fits = k->layout->segments[s].rows == k->layout->segments[0].rows;
    if (!fits || k->layout->segments[0].rows > cache->capacity - cache->rows) {
        cache->failed = true;
        return op_attention(pass->tape, q, k, v, attention); /* so that the pass can end; its result is not used */
    }
    return attend(pass, entry, q, k, v, attention);
}

void kv_keep(struct pass *pass, const void *key, struct value **k, struct value **v)
{
    struct kv_cache *cache = pass->cache;
    if (!cache || !*k || !*v)
        return;
    struct entry *entry = add(cache, key, (size_t)(*k)->rows, *k, *v);
    if (!entry) {
        cache->failed = true;
        return;
    }
    entry->is_fixed = true;
    entry->rows = (*k)->rows;
    memcpy(entry->k, (*k)->data, (size_t)(*k)->rows * (size_t)(*k)->cols * sizeof(real));
    memcpy(entry->v, (*v)->data, (size_t)(*v)->rows * (size_t)(*v)->cols * sizeof(real));
}

bool kv_recall(struct pass *pass, const void *key, struct value **k, struct value **v)
{
    struct entry *entry = pass->cache && pass->cache->rows > 0 ? find(pass->cache, key) : NULL;
    struct layout *layout = entry ? layout_of(pass->tape, pass->batch->decoder_layout.n_segments, entry->rows) : NULL;
    if (!layout)
        return false;
    struct segment *segments = (struct segment *)(uintptr_t)layout->segments;
    for (int s = 0; s < layout->n_segments; s++)
        segments[s] = (struct segment){.rows = entry->rows, .keys = entry->rows};
    *k = tape_constant(pass->tape, entry->k, entry->rows, entry->k_cols, layout);
    *v = tape_constant(pass->tape, entry->v, entry->rows, entry->v_cols, layout);
    return true;
}

struct value *kv_memory(struct pass *pass)
{
    static real nothing;
    bool is_kept = pass->cache && pass->cache->rows > 0;
    return is_kept ? tape_constant(pass->tape, &nothing, 1, 1, NULL) : NULL;
}
