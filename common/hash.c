/* SHA-256 by libcrypto, which uses the processor's SHA instructions. Its older interface is taken because it allocates
 * nothing: a hash cannot fail. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "common/hash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "common/text.h"

void hash_hex(const unsigned char *digest, char hex[HASH_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 32; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[64] = '\0';
}

_Static_assert(sizeof(SHA256_CTX) <= sizeof(struct hash), "struct hash holds libcrypto's state");

void hash_begin(struct hash *hash)
{
    SHA256_Init((SHA256_CTX *)hash->state);
}

void hash_add(struct hash *hash, const void *data, size_t n)
{
    SHA256_Update((SHA256_CTX *)hash->state, data, n);
}

void hash_end(struct hash *hash, unsigned char digest[HASH_DIGEST_BYTES])
{
    SHA256_Final(digest, (SHA256_CTX *)hash->state);
}

void hash_bytes(const void *data, size_t n, char hex[HASH_HEX_SIZE])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Update(&context, data, n);
    SHA256_Final(digest, &context);
    hash_hex(digest, hex);
}

/* Read, not mapped: a file that is cut off meanwhile is an error or another hash, and no signal to whoever asks. */
int hash_file(const char *path, char hex[HASH_HEX_SIZE], struct err *err)
{
    unsigned char digest[SHA256_DIGEST_LENGTH], piece[64 << 10];
    SHA256_CTX context;
    ssize_t n = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, "'%s': cannot be opened", path);
    SHA256_Init(&context);
    while ((n = read(fd, piece, sizeof(piece))) != 0) {
        if (n > 0)
            SHA256_Update(&context, piece, (size_t)n);
        else if (errno != EINTR)
            break;
    }
    int rc = n < 0 ? err_set_errno(err, "'%s': cannot be read", path) : 0;
    close(fd);
    if (rc < 0)
        return rc;
    SHA256_Final(digest, &context);
    hash_hex(digest, hex);
    return 0;
}

enum { CACHE_MAX_BYTES = 1 << 20, KEY_SIZE = 128 };

/* What a file's hash is remembered by; one cache line is the key, a space and the digest. */
static int cache_key(const char *path, char key[KEY_SIZE], struct err *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return err_set_errno(err, "'%s': cannot be read", path);
    snprintf(key, KEY_SIZE, "%llu:%llu:%llu:%lld.%09ld ", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
             (unsigned long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    return 0;
}

static bool is_digest(const char *s)
{
    return strlen(s) >= 64 && strspn(s, "0123456789abcdef") >= 64 && (s[64] == '\n' || s[64] == '\0');
}

int hash_file_cached(const char *path, const char *cache_path, char hex[HASH_HEX_SIZE], struct err *err)
{
    char key[KEY_SIZE];
    char *cache = NULL;
    size_t len = 0;
    if (!cache_path)
        return hash_file(path, hex, err);
    int rc = cache_key(path, key, err);
    if (rc < 0)
        return rc;
    if (file_read(cache_path, CACHE_MAX_BYTES, &cache, &len, NULL) < 0)
        cache = NULL;
    const char *found = cache ? strstr(cache, key) : NULL;
    if (found && (found == cache || found[-1] == '\n') && is_digest(found + strlen(key))) {
        memcpy(hex, found + strlen(key), 64);
        hex[64] = '\0';
        free(cache);
        return 0;
    }
    rc = hash_file(path, hex, err);
    if (rc == 0) {
        struct text grown = {0};
        if (cache && len < CACHE_MAX_BYTES / 2)
            text_add_n(&grown, cache, len);
        text_printf(&grown, "%s%s\n", key, hex);
        if (!grown.failed && file_write_fleeting(cache_path, grown.data, grown.len, NULL) < 0)
            rc = 0; /* remembering is a convenience */
        text_done(&grown);
    }
    free(cache);
    return rc;
}

/* A folder could not be listed. */
static int no_folder(const char *folder, const char *what, struct err *err)
{
    return errno == ENOENT || errno == ENOTDIR
               ? err_set(err, ERR_NOT_FOUND, "'%s': there is no such %s folder", folder, what)
               : err_set_errno(err, "'%s'", folder);
}

static int is_hashed(const struct dirent *entry)
{
    return text_equal(entry->d_name, "config.json") || text_ends_with(entry->d_name, ".safetensors") ||
           text_ends_with(entry->d_name, ".gguf");
}

int hash_model(const char *folder, const char *cache_path, char hex[HASH_HEX_SIZE], struct err *err)
{
    struct dirent **entries = NULL;
    struct text all = {0};
    int rc = 0, n = scandir(folder, &entries, is_hashed, alphasort);
    if (n < 0)
        return no_folder(folder, "model", err);
    for (int i = 0; i < n; i++) {
        char own[HASH_HEX_SIZE];
        char *path = file_join(folder, entries[i]->d_name);
        if (rc == 0)
            rc = path ? hash_file_cached(path, cache_path, own, err)
                      : err_set(err, ERR_NOMEM, "no memory to hash '%s'", folder);
        if (rc == 0)
            text_printf(&all, "%s %s\n", entries[i]->d_name, own);
        free(path);
        free(entries[i]);
    }
    free(entries);
    if (rc == 0 && n == 0)
        rc = err_set(err, ERR_NOT_FOUND, "'%s' has neither config.json nor weights", folder);
    if (rc == 0 && all.failed)
        rc = err_set(err, ERR_NOMEM, "no memory to hash '%s'", folder);
    if (rc == 0)
        hash_bytes(all.data, all.len, hex);
    text_done(&all);
    return rc;
}

int hash_no_tokenizer(const char *folder, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND,
                   "'%s' has no tokenizer.json; the transformers library writes one with "
                   "AutoTokenizer.from_pretrained(folder, use_fast=True).save_pretrained(folder)",
                   folder);
}

static int is_gguf(const struct dirent *entry)
{
    return text_ends_with(entry->d_name, ".gguf");
}

/* Where the tokenizer is described: tokenizer.json, else the first GGUF file; NULL: nowhere, or no memory. */
static char *tokenizer_path(const char *folder)
{
    struct dirent **entries = NULL;
    char *path = file_join(folder, "tokenizer.json");
    if (!path || file_exists(path))
        return path;
    free(path);
    int n = scandir(folder, &entries, is_gguf, alphasort);
    path = n > 0 ? file_join(folder, entries[0]->d_name) : NULL;
    for (int i = 0; i < n; i++)
        free(entries[i]);
    free(entries);
    return path;
}

int hash_tokenizer(const char *folder, const char *cache_path, char hex[HASH_HEX_SIZE], struct err *err)
{
    char *path = tokenizer_path(folder);
    int rc = path ? hash_file_cached(path, cache_path, hex, err) : hash_no_tokenizer(folder, err);
    free(path);
    return rc;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* Adds "path hash" lines of all files below base/below. */
static int add_folder(struct text *all, const char *base, const char *below, const char *cache_path, struct err *err)
{
    struct dirent **entries = NULL;
    char *folder = below[0] ? file_join(base, below) : strdup(base);
    int rc = 0, n = folder ? scandir(folder, &entries, is_visible, alphasort) : -1;
    if (n < 0)
        rc = folder ? no_folder(folder, "adapter", err) : err_set(err, ERR_NOMEM, "no memory to hash '%s'", base);
    for (int i = 0; i < n; i++) {
        char own[HASH_HEX_SIZE];
        char *name = below[0] ? file_join(below, entries[i]->d_name) : strdup(entries[i]->d_name);
        char *path = name ? file_join(base, name) : NULL;
        if (rc == 0 && !path)
            rc = err_set(err, ERR_NOMEM, "no memory to hash '%s'", base);
        else if (rc == 0 && file_is_folder(path))
            rc = add_folder(all, base, name, cache_path, err);
        else if (rc == 0 && (rc = hash_file_cached(path, cache_path, own, err)) == 0)
            text_printf(all, "%s %s\n", name, own);
        free(name);
        free(path);
        free(entries[i]);
    }
    free(entries);
    free(folder);
    return rc;
}

int hash_folder(const char *folder, const char *cache_path, char hex[HASH_HEX_SIZE], struct err *err)
{
    struct text all = {0};
    int rc = add_folder(&all, folder, "", cache_path, err);
    if (rc == 0 && all.failed)
        rc = err_set(err, ERR_NOMEM, "no memory to hash '%s'", folder);
    if (rc == 0 && all.len == 0)
        rc = err_set(err, ERR_NOT_FOUND, "'%s' has no files", folder);
    if (rc == 0)
        hash_bytes(all.data, all.len, hex);
    text_done(&all);
    return rc;
}
