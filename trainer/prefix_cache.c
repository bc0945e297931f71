/* "NSPREFX1" | 24 zero bytes | the file's key | entries: mark | u64 bytes | u64 checksum | u64 0 | key | the bytes */
#include "trainer/prefix_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "common/cache.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/text.h"

static const char magic[8] = {'N', 'S', 'P', 'R', 'E', 'F', 'X', '1'};
static const char mark[8] = {'N', 'S', 'E', 'N', 'T', 'R', 'Y', '1'};
static const char suffix[] = CACHE_PREFIX_SUFFIX;

enum { FIRST_SLOTS = 1024, ENTRIES_MAX = 1 << 24, LOCK_TRIES = 100 };

#define BLOCK_BYTES_MAX (1ULL << 32)
#define RECOUNT_BYTES   (32ULL << 20) /* others' files are counted again each time ours has grown so much */

struct file_header {
    char magic[8];
    char zero[24];
    unsigned char key[PREFIX_KEY_BYTES];
};

struct entry_header {
    char mark[8];
    uint64_t bytes, checksum, zero;
    unsigned char key[PREFIX_KEY_BYTES];
};

/* Where an entry is; offset 0: an empty slot; DAMAGED: its bytes are not what they were. */
enum { DAMAGED = 1 };

struct slot {
    unsigned char key[PREFIX_KEY_BYTES];
    uint64_t offset;
};

struct prefix_cache {
    pthread_mutex_t mutex;
    int fd;
    char *folder, *name; /* of the file in it */
    uint64_t max_bytes, others_bytes, counted_at;
    uint64_t tail; /* entries are known up to here */
    struct slot *slots;
    size_t n_slots, n_entries;
    bool is_closed_for_adding;
};

/* Four lanes over 8 bytes each: every change of one word changes it. */
static uint64_t checksum(const unsigned char *key, const void *data, size_t n)
{
    const uint64_t prime = 0x9e3779b185ebca87ULL;
    uint64_t lanes[4], word[4];
    const unsigned char *at = data;
    memcpy(lanes, key, sizeof(lanes));
    for (size_t i = 0; i < n; i += sizeof(word)) {
        if (n - i < sizeof(word))
            memset(word, 0, sizeof(word));
        memcpy(word, at + i, n - i < sizeof(word) ? n - i : sizeof(word));
        for (int k = 0; k < 4; k++) {
            lanes[k] = (lanes[k] ^ word[k]) * prime;
            lanes[k] ^= lanes[k] >> 29;
        }
    }
    uint64_t sum = n;
    for (int k = 0; k < 4; k++)
        sum = ((sum << 17 | sum >> 47) ^ lanes[k]) * prime;
    return sum;
}

/* The list of entries ------------------------------------------------------------------------------------------------
 */

static struct slot *slot_of(struct slot *slots, size_t n_slots, const unsigned char *key)
{
    uint64_t hash;
    memcpy(&hash, key, sizeof(hash)); /* keys are digests */
    size_t at = hash & (n_slots - 1);
    while (slots[at].offset && memcmp(slots[at].key, key, PREFIX_KEY_BYTES) != 0)
        at = (at + 1) & (n_slots - 1);
    return &slots[at];
}

static bool grow(struct prefix_cache *cache)
{
    size_t n = cache->n_slots ? 2 * cache->n_slots : FIRST_SLOTS;
    struct slot *slots = cache->n_entries < ENTRIES_MAX ? calloc(n, sizeof(*slots)) : NULL;
    if (!slots) {
        cache->is_closed_for_adding = true;
        return false;
    }
    for (size_t i = 0; i < cache->n_slots; i++)
        if (cache->slots[i].offset)
            *slot_of(slots, n, cache->slots[i].key) = cache->slots[i];
    free(cache->slots);
    cache->slots = slots;
    cache->n_slots = n;
    return true;
}

/* A later entry of the same key stands in for an earlier one: that was damaged. */
static bool list(struct prefix_cache *cache, const unsigned char *key, uint64_t offset)
{
    if (2 * (cache->n_entries + 1) > cache->n_slots && !grow(cache))
        return false;
    struct slot *slot = slot_of(cache->slots, cache->n_slots, key);
    cache->n_entries += slot->offset == 0;
    memcpy(slot->key, key, PREFIX_KEY_BYTES);
    slot->offset = offset;
    return true;
}

static uint64_t find(const struct prefix_cache *cache, const unsigned char *key)
{
    return cache->n_slots ? slot_of(cache->slots, cache->n_slots, key)->offset : 0;
}

static uint64_t file_size(const struct prefix_cache *cache, bool *is_named)
{
    struct stat st;
    if (fstat(cache->fd, &st) < 0)
        return 0;
    if (is_named)
        *is_named = st.st_nlink > 0;
    return (uint64_t)st.st_size;
}

/* Lists what other writers added: all whole entries from the tail on. False when something else follows them. */
static bool list_new(struct prefix_cache *cache, uint64_t size)
{
    struct entry_header entry;
    while (cache->tail < size) {
        if (pread(cache->fd, &entry, sizeof(entry), (off_t)cache->tail) != (ssize_t)sizeof(entry) ||
            memcmp(entry.mark, mark, sizeof(mark)) != 0 || entry.bytes > BLOCK_BYTES_MAX ||
            cache->tail + sizeof(entry) + entry.bytes > size || !list(cache, entry.key, cache->tail))
            return false;
        cache->tail += sizeof(entry) + entry.bytes;
    }
    return true;
}

/* Room ------------------------------------------------------------------------------------------------------------- */

struct other {
    char name[HASH_HEX_SIZE + sizeof(suffix)];
    uint64_t bytes;
    time_t used;
};

/* The files of other keys: their bytes together, and the one unused for longest. */
static uint64_t count_others(const struct prefix_cache *cache, struct other *oldest)
{
    DIR *folder = opendir(cache->folder);
    uint64_t total = 0;
    *oldest = (struct other){0};
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        struct stat st;
        if (strlen(entry->d_name) >= sizeof(oldest->name) || !text_ends_with(entry->d_name, suffix) ||
            strcmp(entry->d_name, cache->name) == 0 || fstatat(dirfd(folder), entry->d_name, &st, 0) < 0)
            continue;
        total += (uint64_t)st.st_size;
        if (!oldest->name[0] || st.st_mtime < oldest->used) {
            memcpy(oldest->name, entry->d_name, strlen(entry->d_name) + 1); /* it fits: looked at above */
            oldest->bytes = (uint64_t)st.st_size;
            oldest->used = st.st_mtime;
        }
    }
    if (folder)
        closedir(folder);
    return total;
}

/* Whether the file may grow to `size`; files that nobody used for a while make room. */
static bool has_room(struct prefix_cache *cache, uint64_t size)
{
    bool is_old = size + cache->others_bytes > cache->max_bytes || size > cache->counted_at + RECOUNT_BYTES;
    while (is_old) {
        struct other oldest;
        cache->others_bytes = count_others(cache, &oldest);
        cache->counted_at = size;
        is_old = size + cache->others_bytes > cache->max_bytes && oldest.name[0] &&
                 oldest.used + PREFIX_CACHE_GRACE_SECONDS < time(NULL);
        char *path = is_old ? file_join(cache->folder, oldest.name) : NULL;
        is_old = path && unlink(path) == 0;
        free(path);
    }
    return size + cache->others_bytes <= cache->max_bytes;
}

/* Opening ---------------------------------------------------------------------------------------------------------- */

int prefix_cache_bound(uint64_t *bytes, struct err *err)
{
    const char *given = getenv("NIGHTSWEEP_CACHE_BYTES");
    char *end = NULL;
    errno = 0;
    unsigned long long number = given ? strtoull(given, &end, 10) : PREFIX_CACHE_BYTES;
    if (given && (given[0] < '0' || given[0] > '9' || *end || errno))
        return err_set(err, ERR_USAGE, "NIGHTSWEEP_CACHE_BYTES: '%s', a number of bytes was expected", given);
    *bytes = number;
    return 0;
}

/* Who holds it does so for microseconds, unless it was stopped. */
static bool lock_soon(int fd)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return false;
        nanosleep(&pause, NULL);
    }
    return false;
}

/* Makes the header of a new file; one that begins otherwise is begun anew. Under the lock. */
static bool begin_file(struct prefix_cache *cache, const unsigned char *key)
{
    struct file_header header = {0}, found;
    memcpy(header.magic, magic, sizeof(magic));
    memcpy(header.key, key, sizeof(header.key));
    if (pread(cache->fd, &found, sizeof(found), 0) == (ssize_t)sizeof(found) &&
        memcmp(&found, &header, sizeof(found)) == 0)
        return true;
    return ftruncate(cache->fd, 0) == 0 && pwrite(cache->fd, &header, sizeof(header), 0) == (ssize_t)sizeof(header);
}

struct prefix_cache *prefix_cache_open(const char *folder, const unsigned char *key, uint64_t max_bytes)
{
    struct prefix_cache *cache = folder ? calloc(1, sizeof(*cache)) : NULL;
    char hex[HASH_HEX_SIZE];
    struct text name = {0};
    if (!cache)
        return NULL;
    hash_hex(key, hex);
    text_printf(&name, "%s%s", hex, suffix);
    pthread_mutex_init(&cache->mutex, NULL);
    cache->name = name.failed ? NULL : name.data;
    cache->folder = strdup(folder);
    char *path = cache->name ? file_join(folder, cache->name) : NULL;
    cache->fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    free(path);
    bool is_open = cache->folder && cache->fd >= 0 && lock_soon(cache->fd);
    if (is_open) {
        is_open = begin_file(cache, key);
        (void)flock(cache->fd, LOCK_UN);
    }
    if (!is_open) {
        prefix_cache_close(cache);
        return NULL;
    }
    (void)futimens(cache->fd, NULL); /* used now: see has_room */
    struct other oldest;
    cache->max_bytes = max_bytes;
    cache->others_bytes = count_others(cache, &oldest);
    cache->tail = cache->counted_at = sizeof(struct file_header);
    (void)list_new(cache, file_size(cache, NULL));
    return cache;
}

void prefix_cache_close(struct prefix_cache *cache)
{
    if (!cache)
        return;
    if (cache->fd >= 0)
        close(cache->fd);
    pthread_mutex_destroy(&cache->mutex);
    free(cache->folder);
    free(cache->name);
    free(cache->slots);
    free(cache);
}

/* Reading and adding ----------------------------------------------------------------------------------------------- */

/* Where the key's entry is, in this process's list or among what others added since; 0 or DAMAGED: nowhere. */
static uint64_t look(struct prefix_cache *cache, const unsigned char *key)
{
    uint64_t offset = find(cache, key);
    if (offset > DAMAGED)
        return offset;
    (void)list_new(cache, file_size(cache, NULL));
    return find(cache, key);
}

static bool read_entry(const struct prefix_cache *cache, uint64_t offset, const unsigned char *key, void *data,
                       size_t bytes)
{
    struct entry_header entry;
    const struct iovec parts[2] = {{&entry, sizeof(entry)}, {data, bytes}};
    return preadv(cache->fd, parts, 2, (off_t)offset) == (ssize_t)(sizeof(entry) + bytes) &&
           memcmp(entry.mark, mark, sizeof(mark)) == 0 && entry.bytes == bytes &&
           memcmp(entry.key, key, PREFIX_KEY_BYTES) == 0 && entry.checksum == checksum(key, data, bytes);
}

bool prefix_cache_get(struct prefix_cache *cache, const unsigned char *key, void *data, size_t bytes)
{
    if (!cache)
        return false;
    pthread_mutex_lock(&cache->mutex);
    uint64_t offset = look(cache, key);
    pthread_mutex_unlock(&cache->mutex);
    if (offset <= DAMAGED)
        return false;
    if (read_entry(cache, offset, key, data, bytes))
        return true;
    pthread_mutex_lock(&cache->mutex);
    if (find(cache, key) == offset)
        slot_of(cache->slots, cache->n_slots, key)->offset = DAMAGED;
    pthread_mutex_unlock(&cache->mutex);
    return false;
}

/* Behind the last whole entry, under the lock: whatever else is there, no reader has listed. */
static void append(struct prefix_cache *cache, const unsigned char *key, const void *data, size_t bytes)
{
    struct entry_header entry = {.bytes = bytes, .checksum = checksum(key, data, bytes)};
    const struct iovec parts[2] = {{&entry, sizeof(entry)}, {(void *)(uintptr_t)data, bytes}};
    bool is_named = false;
    uint64_t size = file_size(cache, &is_named);
    if (!is_named || size < cache->tail) { /* removed, or cut by somebody: the next trainer makes it anew */
        cache->is_closed_for_adding = true;
        return;
    }
    if (!list_new(cache, size) && (cache->is_closed_for_adding || ftruncate(cache->fd, (off_t)cache->tail) < 0))
        return;
    if (!has_room(cache, cache->tail + sizeof(entry) + bytes))
        return;
    memcpy(entry.mark, mark, sizeof(mark));
    memcpy(entry.key, key, PREFIX_KEY_BYTES);
    if (pwritev(cache->fd, parts, 2, (off_t)cache->tail) == (ssize_t)(sizeof(entry) + bytes)) {
        cache->is_closed_for_adding = !list(cache, key, cache->tail);
        cache->tail += sizeof(entry) + bytes;
    } else {
        cache->is_closed_for_adding = true; /* a full disk */
        (void)!ftruncate(cache->fd, (off_t)cache->tail);
    }
}

void prefix_cache_add(struct prefix_cache *cache, const unsigned char *key, const void *data, size_t bytes)
{
    if (!cache || bytes == 0 || bytes > BLOCK_BYTES_MAX)
        return;
    pthread_mutex_lock(&cache->mutex);
    if (!cache->is_closed_for_adding && flock(cache->fd, LOCK_EX | LOCK_NB) == 0) {
        if (look(cache, key) <= DAMAGED)
            append(cache, key, data, bytes);
        (void)flock(cache->fd, LOCK_UN);
    }
    pthread_mutex_unlock(&cache->mutex);
}
