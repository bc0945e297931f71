/* Reading a write-ahead log, frame by frame: see store_wal.h. */
#include "orchestrator/store_wal.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"

enum { HEADER_BYTES = 32, FRAME_BYTES = 24, PAGE_MIN = 512, PAGE_MAX = 65536 };

#define WAL_MAGIC UINT32_C(0x377f0682) /* the lowest bit says in which order checksums take bytes */

struct wal {
    FILE *file;
    unsigned char header[HEADER_BYTES];
    unsigned char *frame; /* one, with its page */
    uint32_t page_bytes;
    bool is_big_endian;
};

static uint32_t big(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static uint32_t little(const unsigned char *bytes)
{
    return (uint32_t)bytes[3] << 24 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[1] << 8 | bytes[0];
}

static void add_to_sum(const struct wal *wal, const unsigned char *bytes, size_t n, uint32_t sum[2])
{
    for (size_t i = 0; i < n; i += 8) {
        sum[0] += (wal->is_big_endian ? big(bytes + i) : little(bytes + i)) + sum[1];
        sum[1] += (wal->is_big_endian ? big(bytes + i + 4) : little(bytes + i + 4)) + sum[0];
    }
}

/* Reads the header; false: there is none, or it is no log that SQLite would read. */
static bool open_wal(struct wal *wal, const char *path, struct err *err)
{
    wal->file = fopen(path, "rbe");
    if (!wal->file || fread(wal->header, HEADER_BYTES, 1, wal->file) != 1)
        return false;
    uint32_t sum[2] = {0, 0}, magic = big(wal->header);
    wal->page_bytes = big(wal->header + 8);
    wal->is_big_endian = magic & 1;
    bool is_size =
        wal->page_bytes >= PAGE_MIN && wal->page_bytes <= PAGE_MAX && !(wal->page_bytes & (wal->page_bytes - 1));
    if ((magic & ~UINT32_C(1)) != WAL_MAGIC || !is_size)
        return false;
    add_to_sum(wal, wal->header, 24, sum);
    if (sum[0] != big(wal->header + 24) || sum[1] != big(wal->header + 28))
        return false;
    wal->frame = malloc(FRAME_BYTES + wal->page_bytes);
    if (!wal->frame)
        (void)!err_set(err, ERR_NOMEM, "no memory to read '%s'", path);
    return wal->frame != NULL;
}

/* Whether the frame in `wal` belongs to this log: its salts are the header's. Those of logs before it are others. */
static bool is_of_this_log(const struct wal *wal)
{
    return memcmp(wal->frame + 8, wal->header + 16, 8) == 0;
}

/* Whether its checksum is right, given that of the frame before it; `sum` becomes what the frame says. */
static bool is_whole(const struct wal *wal, uint32_t sum[2])
{
    add_to_sum(wal, wal->frame, 8, sum);
    add_to_sum(wal, wal->frame + FRAME_BYTES, wal->page_bytes, sum);
    bool is_right = sum[0] == big(wal->frame + 16) && sum[1] == big(wal->frame + 20);
    sum[0] = big(wal->frame + 16);
    sum[1] = big(wal->frame + 20);
    return is_right;
}

/* How many transactions end at the first spoilt frame, which is *spoilt (from 1), or behind it; 0 unless one of them is
 * followed by a frame that goes on from its checksum: what a failed commit left behind, and others wrote over in part,
 * does not. */
static int64_t count_lost(struct wal *wal, int64_t *spoilt)
{
    uint32_t sum[2] = {big(wal->header + 24), big(wal->header + 28)};
    int64_t n_ended = 0;
    bool is_proved = false, was_end = false;
    *spoilt = 0;
    for (int64_t i = 1; fread(wal->frame, FRAME_BYTES + wal->page_bytes, 1, wal->file) == 1; i++) {
        bool is_ours = is_of_this_log(wal), is_good = is_whole(wal, sum) && is_ours;
        if (!*spoilt && !is_good)
            *spoilt = i;
        is_proved = is_proved || (is_good && was_end);
        was_end = *spoilt && is_ours && big(wal->frame + 4) != 0;
        n_ended += was_end;
    }
    return is_proved ? n_ended : 0;
}

int store_wal_check(const char *path, struct err *err)
{
    struct wal wal = {0};
    struct text name = {0};
    int64_t spoilt = 0, n_lost = 0;
    struct err own = {0};
    text_printf(&name, "%s-wal", path);
    int rc = name.failed ? err_set(err, ERR_NOMEM, "no memory for the name of a log") : 0;
    if (rc == 0 && open_wal(&wal, name.data, &own))
        n_lost = count_lost(&wal, &spoilt);
    if (rc == 0 && own.code < 0)
        rc = err_set(err, own.code, "%s", own.message);
    if (rc == 0 && n_lost > 0)
        rc = err_set(err, ERR_STORE,
                     "store '%s' is damaged: page %lld of its write-ahead log '%s' is spoilt, and %lld transactions "
                     "lie behind it; `nightsweep recover` saves what comes before",
                     path, (long long)spoilt, name.data, (long long)n_lost);
    free(wal.frame);
    if (wal.file)
        fclose(wal.file);
    text_done(&name);
    return rc;
}
