/* "NSTOKEN1" | SHA-256 of what follows | u64 rows, tokens, truncated rows | i32 tokens of each row | i32 ids | u8 types
 */
#include "trainer/token_cache.h"

#include <dirent.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/text.h"

static const char magic[8] = {'N', 'S', 'T', 'O', 'K', 'E', 'N', '1'};

enum { DIGEST_BYTES = 32, HEADER_BYTES = sizeof(magic) + DIGEST_BYTES };

struct counts {
    uint64_t rows, tokens, truncated;
};

static char *path_of(const char *folder, const char *tokenizer_hash, int max_tokens, const struct rows *rows)
{
    struct text key = {0};
    char name[HASH_HEX_SIZE + 8], texts[HASH_HEX_SIZE];
    dataset_hash(rows, texts);
    text_printf(&key, "%s %d %s", tokenizer_hash, max_tokens, texts);
    if (key.failed) {
        text_done(&key);
        return NULL;
    }
    hash_bytes(key.data, key.len, name);
    text_done(&key);
    memcpy(name + HASH_HEX_SIZE - 1, ".tokens", 8);
    return file_join(folder, name);
}

static bool is_whole(const struct file_map *map, struct counts *counts)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (map->len < HEADER_BYTES + sizeof(*counts) || memcmp(map->data, magic, sizeof(magic)) != 0)
        return false;
    if (EVP_Digest(map->data + HEADER_BYTES, map->len - HEADER_BYTES, digest, NULL, EVP_sha256(), NULL) != 1 ||
        memcmp(digest, map->data + sizeof(magic), DIGEST_BYTES) != 0)
        return false;
    memcpy(counts, map->data + HEADER_BYTES, sizeof(*counts));
    return counts->rows <= ROWS_MAX && counts->tokens <= map->len &&
           map->len == HEADER_BYTES + sizeof(*counts) + 4 * counts->rows + 5 * counts->tokens;
}

/* False when it is not these rows' or memory is short; the arena may hold some of it then. */
static bool take(struct dataset *dataset, const struct file_map *map, const struct rows *rows,
                 const struct labels *labels)
{
    struct counts counts;
    if (!is_whole(map, &counts) || counts.rows != rows->count)
        return false;
    const unsigned char *lengths = map->data + HEADER_BYTES + sizeof(counts);
    int32_t *ids = arena_alloc(&dataset->arena, counts.tokens * sizeof(*ids));
    uint8_t *types = arena_alloc(&dataset->arena, counts.tokens);
    dataset->examples = arena_calloc(&dataset->arena, counts.rows, sizeof(*dataset->examples));
    if (!ids || !types || !dataset->examples)
        return false;
    memcpy(ids, lengths + 4 * counts.rows, 4 * counts.tokens);
    memcpy(types, lengths + 4 * counts.rows + 4 * counts.tokens, counts.tokens);
    size_t at = 0;
    for (size_t i = 0; i < rows->count; i++) {
        int32_t n;
        int label = labels_find(labels, rows->items[i].label);
        memcpy(&n, lengths + 4 * i, 4);
        if (label < 0 || n < 0 || (uint64_t)n > counts.tokens - at)
            return false;
        dataset->examples[i] = (struct example){.ids = ids + at, .type_ids = types + at, .n_tokens = n, .label = label};
        at += (size_t)n;
    }
    dataset->count = rows->count;
    dataset->n_tokens = counts.tokens;
    dataset->n_truncated = counts.truncated;
    return at == counts.tokens;
}

static bool is_full(const char *folder)
{
    DIR *entries = opendir(folder);
    int n = 0;
    while (entries && readdir(entries))
        n++;
    if (entries)
        closedir(entries);
    return n > TOKEN_CACHE_MAX_FILES;
}

static void keep(const char *path, const struct dataset *dataset)
{
    struct counts counts = {dataset->count, dataset->n_tokens, dataset->n_truncated};
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    struct text out = {0};
    text_add_n(&out, magic, sizeof(magic));
    text_add_n(&out, (const char *)digest, DIGEST_BYTES);
    text_add_n(&out, (const char *)&counts, sizeof(counts));
    for (size_t i = 0; i < dataset->count; i++)
        text_add_n(&out, (const char *)&dataset->examples[i].n_tokens, 4);
    for (size_t i = 0; i < dataset->count; i++)
        text_add_n(&out, (const char *)dataset->examples[i].ids, 4 * (size_t)dataset->examples[i].n_tokens);
    for (size_t i = 0; i < dataset->count; i++)
        text_add_n(&out, (const char *)dataset->examples[i].type_ids, (size_t)dataset->examples[i].n_tokens);
    if (!out.failed &&
        EVP_Digest(out.data + HEADER_BYTES, out.len - HEADER_BYTES, digest, NULL, EVP_sha256(), NULL) == 1) {
        memcpy(out.data + sizeof(magic), digest, DIGEST_BYTES);
        int ignored = file_write_atomic(path, out.data, out.len, NULL); /* keeping is a convenience */
        (void)ignored;
    }
    text_done(&out);
}

int dataset_encode_cached(struct dataset *dataset, const struct rows *rows, const struct labels *labels,
                          const struct tokenizer *tokenizer, const char *tokenizer_hash, int max_tokens,
                          const char *folder, struct err *err)
{
    struct file_map map = {0};
    char *path =
        folder && rows->count >= TOKEN_CACHE_MIN_ROWS ? path_of(folder, tokenizer_hash, max_tokens, rows) : NULL;
    *dataset = (struct dataset){0};
    bool is_found = path && file_map_open(&map, path, NULL) == 0 && take(dataset, &map, rows, labels);
    file_map_close(&map);
    if (is_found) {
        dataset_hash(rows, dataset->sha256);
        free(path);
        return 0;
    }
    dataset_done(dataset);
    int rc = dataset_encode(dataset, rows, labels, tokenizer, max_tokens, err);
    if (rc == 0 && path && !is_full(folder))
        keep(path, dataset);
    free(path);
    return rc;
}
