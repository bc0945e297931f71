/* SHA-256 through libcrypto: identities, and what files are verified by. Hex digests are lower case. */
#ifndef COMMON_HASH_H
#define COMMON_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

enum { HASH_HEX_SIZE = 65 };

/* A SHA-256 digest (32 bytes) in hex. */
void hash_hex(const unsigned char *digest, char hex[HASH_HEX_SIZE]);
void hash_bytes(const void *data, size_t n, char hex[HASH_HEX_SIZE]);
/* The same in pieces, and the digest itself: begin, add …, end. Allocates nothing and cannot fail. */
enum { HASH_DIGEST_BYTES = 32 };
struct hash {
    uint64_t state[16];
};
void hash_begin(struct hash *hash);
void hash_add(struct hash *hash, const void *data, size_t n);
void hash_end(struct hash *hash, unsigned char digest[HASH_DIGEST_BYTES]);
/* Hash of a file's content, read in pieces. */
int hash_file(const char *path, char hex[HASH_HEX_SIZE], struct err *err) MUST_CHECK;
/* The same, but remembered in `cache_path` by device, inode, size and modification time in nanoseconds, so that a
 * 90 MB model is hashed once. A missing or damaged cache is rebuilt; failing to write it is no error. cache_path NULL:
 * nothing is remembered. */
int hash_file_cached(const char *path, const char *cache_path, char hex[HASH_HEX_SIZE], struct err *err) MUST_CHECK;
/* Hash of a model folder: over config.json and every .safetensors and .gguf file (names and hashes, in order of name).
 * With cache_path (may be NULL) the files' hashes are cached. */
int hash_model(const char *folder, const char *cache_path, char hex[HASH_HEX_SIZE], struct err *err) MUST_CHECK;

/* ERR_NOT_FOUND for a model folder without tokenizer.json, with how to make one. */
int hash_no_tokenizer(const char *folder, struct err *err);
/* Hash of <folder>/tokenizer.json, or of the folder's GGUF file without one, cached when cache_path is not NULL. */
int hash_tokenizer(const char *folder, const char *cache_path, char hex[HASH_HEX_SIZE], struct err *err) MUST_CHECK;
/* Hash of a folder: over the names below it and the hashes of its regular files, in order of name; hidden files are
 * left out. ERR_NOT_FOUND when there is no such folder or no file in it. */
int hash_folder(const char *folder, const char *cache_path, char hex[HASH_HEX_SIZE], struct err *err) MUST_CHECK;

#endif
