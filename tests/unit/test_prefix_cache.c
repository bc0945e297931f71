/* Activations kept in a file: what was added comes back, also from other processes; what was cut, changed, killed half
 * way or removed does not, and is made again; the bound and a full disk are kept to. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/temp.h"
#include "trainer/prefix_cache.h"

enum { BLOCK = 1000, HEADER = 64, ENTRY = 64 + BLOCK, LARGE = 1 << 30 };

static struct temp temp;
static const unsigned char file_key[PREFIX_KEY_BYTES] = {7};

static void make_key(unsigned char key[PREFIX_KEY_BYTES], int i)
{
    memset(key, 0, PREFIX_KEY_BYTES);
    memcpy(key, &i, sizeof(i));
}

static void make_block(unsigned char *block, int i)
{
    for (int k = 0; k < BLOCK; k++)
        block[k] = (unsigned char)(i * 31 + k * 7 + k / 256);
}

static void add(struct prefix_cache *cache, int i)
{
    unsigned char key[PREFIX_KEY_BYTES], block[BLOCK];
    make_key(key, i);
    make_block(block, i);
    prefix_cache_add(cache, key, block, BLOCK);
}

/* Whether block i is there; one that is there is right. */
static bool has(struct prefix_cache *cache, int i)
{
    unsigned char key[PREFIX_KEY_BYTES], block[BLOCK], found[BLOCK];
    make_key(key, i);
    make_block(block, i);
    bool is_found = prefix_cache_get(cache, key, found, BLOCK);
    cr_assert(!is_found || memcmp(found, block, BLOCK) == 0, "block %d is another", i);
    return is_found;
}

static int count(struct prefix_cache *cache, int n)
{
    int found = 0;
    for (int i = 0; i < n; i++)
        found += has(cache, i);
    return found;
}

static struct prefix_cache *open_file(void)
{
    struct prefix_cache *cache = prefix_cache_open(temp.folder, file_key, LARGE);
    cr_assert_not_null(cache);
    return cache;
}

static const char *file_path(void)
{
    static char path[TEMP_PATH_SIZE];
    char pattern[TEMP_PATH_SIZE + 16];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/07*.prefix", temp.folder);
    cr_assert_eq(glob(pattern, 0, NULL, &found), 0);
    cr_assert_eq(found.gl_pathc, 1);
    snprintf(path, sizeof(path), "%s", found.gl_pathv[0]);
    globfree(&found);
    return path;
}

static long file_bytes(void)
{
    struct stat st;
    cr_assert_eq(stat(file_path(), &st), 0);
    return (long)st.st_size;
}

static void fill(int n)
{
    struct prefix_cache *cache = open_file();
    for (int i = 0; i < n; i++)
        add(cache, i);
    prefix_cache_close(cache);
}

static void write_at(long offset, const void *data, size_t n)
{
    int fd = open(file_path(), O_WRONLY);
    cr_assert(fd >= 0 && pwrite(fd, data, n, offset) == (ssize_t)n && close(fd) == 0);
}

static void setup(void)
{
    temp_open(&temp);
}

static void teardown(void)
{
    temp_close(&temp);
}

TestSuite(prefix_cache, .init = setup, .fini = teardown);

Test(prefix_cache, gives_what_was_added_and_nothing_else)
{
    unsigned char key[PREFIX_KEY_BYTES], block[BLOCK];
    struct prefix_cache *cache = open_file();
    cr_assert_eq(count(cache, 3000), 0);
    for (int i = 0; i < 2000; i++)
        add(cache, i);
    cr_assert_eq(count(cache, 3000), 2000);
    add(cache, 5); /* a second time: nothing happens */
    prefix_cache_close(cache);
    cr_assert_eq(file_bytes(), HEADER + 2000 * ENTRY);
    cache = open_file();
    cr_assert_eq(count(cache, 3000), 2000);
    make_key(key, 5);
    cr_assert(!prefix_cache_get(cache, key, block, BLOCK - 1), "of another length");
    prefix_cache_close(cache);
    cr_assert(!prefix_cache_get(NULL, key, block, BLOCK));
    cr_assert_null(prefix_cache_open(NULL, file_key, LARGE));
    cr_assert_null(prefix_cache_open("/nonexistent", file_key, LARGE));
}

Test(prefix_cache, sees_what_others_add)
{
    struct prefix_cache *a = open_file(), *b = open_file();
    add(a, 1);
    cr_assert(has(b, 1));
    add(b, 2);
    add(b, 1);
    cr_assert(has(a, 2));
    prefix_cache_close(a);
    prefix_cache_close(b);
    cr_assert_eq(file_bytes(), HEADER + 2 * ENTRY);
}

/* Each child goes through all blocks from another one on; what it does not find it adds. */
static void churn(int first, int n)
{
    struct prefix_cache *cache = open_file();
    for (int i = 0; i < n; i++)
        if (!has(cache, (first + i) % n))
            add(cache, (first + i) % n);
    prefix_cache_close(cache);
}

Test(prefix_cache, takes_two_writers)
{
    enum { N = 1500 };
    int status;
    pid_t children[2];
    for (int c = 0; c < 2; c++)
        if ((children[c] = fork()) == 0) {
            churn(c * N / 2, N);
            _exit(0);
        }
    for (int c = 0; c < 2; c++)
        cr_assert(waitpid(children[c], &status, 0) == children[c] && status == 0);
    churn(0, N); /* what was left out while the other wrote */
    struct prefix_cache *cache = open_file();
    cr_assert_eq(count(cache, N), N);
    prefix_cache_close(cache);
    cr_assert_eq(file_bytes(), HEADER + N * ENTRY, "each block once");
}

static void *churn_thread(void *context)
{
    struct prefix_cache *cache = context;
    for (int i = 0; i < 500; i++)
        if (!has(cache, i))
            add(cache, i);
    return NULL;
}

Test(prefix_cache, takes_two_threads)
{
    struct prefix_cache *cache = open_file();
    pthread_t other;
    cr_assert_eq(pthread_create(&other, NULL, churn_thread, cache), 0);
    churn_thread(cache);
    pthread_join(other, NULL);
    cr_assert_eq(count(cache, 500), 500);
    prefix_cache_close(cache);
}

Test(prefix_cache, survives_killed_writers)
{
    enum { N = 4000 };
    for (int round = 0; round < 10; round++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            churn(0, N);
            _exit(0);
        }
        const struct timespec pause = {.tv_nsec = 1000000L * (round + 1)};
        nanosleep(&pause, NULL);
        kill(child, SIGKILL);
        cr_assert_eq(waitpid(child, &status, 0), child);
    }
    churn(0, N);
    struct prefix_cache *cache = open_file();
    cr_assert_eq(count(cache, N), N);
    prefix_cache_close(cache);
}

/* The file ends at every kind of place in its last entry: that one is made again, those in front of it stay. */
Test(prefix_cache, takes_up_a_torn_file)
{
    const long kept[] = {1, 8, 40, 63, 64, 65, 64 + BLOCK - 1};
    for (size_t k = 0; k < sizeof(kept) / sizeof(kept[0]); k++) {
        fill(10);
        cr_assert_eq(truncate(file_path(), HEADER + 9 * ENTRY + kept[k]), 0);
        struct prefix_cache *reader = open_file();
        cr_assert_eq(count(reader, 10), 9, "%ld bytes of the last", kept[k]);
        fill(10);
        cr_assert_eq(count(reader, 10), 10, "after the repair");
        prefix_cache_close(reader);
        cr_assert_eq(file_bytes(), HEADER + 10 * ENTRY);
    }
    /* Blocks of a file that a crash of the machine left without content. */
    char zeros[2 * ENTRY] = {0};
    write_at(HEADER + 8 * ENTRY, zeros, sizeof(zeros));
    struct prefix_cache *cache = open_file();
    cr_assert_eq(count(cache, 10), 8);
    prefix_cache_close(cache);
    fill(10);
    cr_assert_eq(file_bytes(), HEADER + 10 * ENTRY);
}

Test(prefix_cache, notices_damage)
{
    fill(10);
    struct prefix_cache *cache = open_file();
    write_at(HEADER + 3 * ENTRY + 64 + 500, "XXXX", 4); /* a block's bytes */
    write_at(HEADER + 5 * ENTRY + 16, "YY", 2);         /* its checksum */
    write_at(HEADER + 7 * ENTRY + 40, "ZZ", 2);         /* its key */
    cr_assert(!has(cache, 3) && !has(cache, 5) && !has(cache, 7));
    cr_assert_eq(count(cache, 10), 7);
    add(cache, 3);
    add(cache, 5);
    add(cache, 7);
    cr_assert_eq(count(cache, 10), 10);
    prefix_cache_close(cache);
    cache = open_file();
    cr_assert_eq(count(cache, 10), 10, "the later ones count");
    prefix_cache_close(cache);
    write_at(0, "NOTOURS!", 8); /* begun anew */
    cache = open_file();
    cr_assert_eq(count(cache, 10), 0);
    add(cache, 1);
    cr_assert(has(cache, 1));
    prefix_cache_close(cache);
}

Test(prefix_cache, survives_removal_and_truncation_in_use)
{
    fill(10);
    struct prefix_cache *cache = open_file();
    cr_assert_eq(truncate(file_path(), HEADER + 4 * ENTRY + 100), 0);
    cr_assert_eq(count(cache, 10), 4);
    add(cache, 9); /* not into a file that somebody cut */
    cr_assert_eq(count(cache, 10), 4);
    prefix_cache_close(cache);
    fill(10);
    cache = open_file();
    cr_assert_eq(unlink(file_path()), 0);
    cr_assert_eq(count(cache, 10), 10);
    add(cache, 11); /* nobody would find it */
    cr_assert(!has(cache, 11));
    prefix_cache_close(cache);
    fill(3);
    cr_assert_eq(file_bytes(), HEADER + 3 * ENTRY);
}

Test(prefix_cache, does_not_wait_for_a_writer)
{
    fill(3);
    struct prefix_cache *cache = open_file();
    int fd = open(file_path(), O_RDWR);
    cr_assert(fd >= 0 && flock(fd, LOCK_EX) == 0);
    add(cache, 7);
    cr_assert(has(cache, 2) && !has(cache, 7));
    close(fd);
    add(cache, 7);
    cr_assert(has(cache, 7));
    prefix_cache_close(cache);
}

/* A write that stops in the middle, as on a full disk: nothing of it stays, the process goes on without adding. */
Test(prefix_cache, takes_a_full_disk)
{
    struct rlimit limit = {HEADER + 4 * ENTRY + ENTRY / 2, RLIM_INFINITY};
    struct prefix_cache *cache = open_file();
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (int i = 0; i < 10; i++)
        add(cache, i);
    cr_assert_eq(count(cache, 10), 4);
    cr_assert_eq(file_bytes(), HEADER + 4 * ENTRY);
    limit.rlim_cur = RLIM_INFINITY;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    prefix_cache_close(cache);
}

static void age(const char *path, time_t seconds)
{
    const struct timespec then[2] = {{.tv_sec = time(NULL) - seconds}, {.tv_sec = time(NULL) - seconds}};
    cr_assert_eq(utimensat(AT_FDCWD, path, then, 0), 0);
}

Test(prefix_cache, keeps_to_its_bound)
{
    const unsigned char other_key[PREFIX_KEY_BYTES] = {9};
    enum { BOUND = 20 * ENTRY };
    fill(10);
    struct prefix_cache *cache = prefix_cache_open(temp.folder, other_key, BOUND);
    for (int i = 0; i < 30; i++)
        add(cache, i);
    cr_assert_eq(count(cache, 30), 9, "both files together");
    prefix_cache_close(cache);
    age(file_path(), 2 * PREFIX_CACHE_GRACE_SECONDS);
    cache = prefix_cache_open(temp.folder, other_key, BOUND);
    for (int i = 0; i < 30; i++)
        add(cache, i);
    cr_assert_eq(count(cache, 30), 19, "what nobody used for long made room");
    prefix_cache_close(cache);
    char pattern[TEMP_PATH_SIZE + 16];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*.prefix", temp.folder);
    cr_assert(glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc == 1);
    globfree(&found);
}

Test(prefix_cache, reads_its_bound)
{
    struct err err;
    uint64_t bytes = 0;
    unsetenv("NIGHTSWEEP_CACHE_BYTES");
    cr_assert(prefix_cache_bound(&bytes, &err) == 0 && bytes == PREFIX_CACHE_BYTES);
    setenv("NIGHTSWEEP_CACHE_BYTES", "1000000", 1);
    cr_assert(prefix_cache_bound(&bytes, &err) == 0 && bytes == 1000000);
    const char *const wrong[] = {"", "12x", "-1", " 5", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        setenv("NIGHTSWEEP_CACHE_BYTES", wrong[i], 1);
        cr_assert_eq(prefix_cache_bound(&bytes, &err), ERR_USAGE, "'%s'", wrong[i]);
        cr_assert(strstr(err.message, "NIGHTSWEEP_CACHE_BYTES") != NULL);
    }
}
