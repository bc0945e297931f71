/* Lines that pass and lines the worker writes itself. */
#include "worker/relay.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "common/json.h"
#include "common/points.h"
#include "common/version.h"

void relay_tail_add(struct relay_tail *tail, const char *data, size_t n)
{
    if (n > RELAY_TAIL_BYTES) {
        tail->dropped += tail->len + n - RELAY_TAIL_BYTES;
        tail->len = 0;
        data += n - RELAY_TAIL_BYTES;
        n = RELAY_TAIL_BYTES;
    }
    if (tail->len + n > sizeof(tail->bytes)) {
        size_t drop = tail->len - RELAY_TAIL_BYTES;
        memmove(tail->bytes, tail->bytes + drop, RELAY_TAIL_BYTES);
        tail->len = RELAY_TAIL_BYTES;
        tail->dropped += drop;
    }
    memcpy(tail->bytes + tail->len, data, n);
    tail->len += n;
}

void relay_tail_text(const struct relay_tail *tail, struct text *out)
{
    size_t skip = tail->len > RELAY_TAIL_BYTES ? tail->len - RELAY_TAIL_BYTES : 0;
    const char *s = tail->bytes + skip, *end = tail->bytes + tail->len;
    bool is_cut = tail->dropped + skip > 0;
    for (int i = 0; is_cut && i < 3 && s < end && ((unsigned char)*s & 0xc0) == 0x80; i++)
        s++;
    while (s < end) {
        size_t valid = utf8_valid_prefix(s, (size_t)(end - s));
        const char *nul = memchr(s, '\0', valid);
        if (nul)
            valid = (size_t)(nul - s);
        text_add_n(out, s, valid);
        s += valid;
        if (s < end) {
            text_add(out, "\xef\xbf\xbd");
            s++;
        }
    }
}

static int check_type(const char *type, struct err *err)
{
    static const char *const own[] = {"hello", "heartbeat", "ended"};
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (text_equal(type, own[i]))
            return err_set(err, ERR_FORMAT, "a record of type '%s', which only the worker sends", type);
    return 0;
}

/* Curve points are most of what passes: told from their spelling, without building JSON. */
static bool is_points_of(const char *line, size_t len, int64_t attempt)
{
    struct points points = {0};
    bool is_good = points_parse(line, len, &points) && points.attempt == attempt;
    points_done(&points);
    return is_good;
}

int relay_check(const char *line, size_t len, int64_t attempt, struct err *err)
{
    if (is_points_of(line, len, attempt))
        return 0;
    cJSON *record = NULL;
    int64_t found = 0;
    const char *type = NULL;
    int rc = json_parse(line, len, &record, err);
    if (rc == 0 && !cJSON_IsObject(record))
        rc = err_set(err, ERR_FORMAT, "%s, an object was expected", json_type_name(record));
    if (rc == 0)
        rc = json_get_string(record, "type", "record", &type, err);
    if (rc == 0)
        rc = check_type(type, err);
    if (rc == 0)
        rc = json_get_int64(record, "attempt", "record", &found, err);
    if (rc == 0 && found != attempt)
        rc = err_set(err, ERR_FORMAT, "a record of attempt %" PRId64 ", attempt %" PRId64 " was expected", found,
                     attempt);
    json_free(record);
    return rc;
}

void relay_add_hello(struct text *out, const char *host, int64_t pid, int slots, const char *marker,
                     const char *const *missing)
{
    text_add(out, "{\"v\":1,\"type\":\"hello\",\"version\":");
    text_add_json(out, version_program());
    text_add(out, ",\"host\":");
    text_add_json(out, host);
    text_printf(out, ",\"pid\":%" PRId64 ",\"slots\":%d,\"marker\":", pid, slots);
    if (marker)
        text_add_json(out, marker);
    else
        text_add(out, "null");
    text_add(out, ",\"missing\":[");
    for (const char *const *path = missing; *path; path++) {
        text_add(out, path == missing ? "" : ",");
        text_add_json(out, *path);
    }
    text_add(out, "]}\n");
}

void relay_add_heartbeat(struct text *out, double cpu_seconds)
{
    text_add(out, "{\"v\":1,\"type\":\"heartbeat\",\"cpu_seconds\":");
    text_add_double(out, cpu_seconds);
    text_add(out, "}\n");
}

void relay_add_ended(struct text *out, const struct relay_end *end)
{
    text_printf(out,
                "{\"v\":1,\"type\":\"ended\",\"attempt\":%" PRId64 ",\"slot\":%" PRId64 ",\"exit_status\":%" PRId64
                ",\"signal\":%d",
                end->attempt, end->slot, end->exit_status, end->signal);
    if (end->reason) {
        text_add(out, ",\"reason\":");
        text_add_json(out, end->reason);
    }
    text_add(out, ",\"seconds\":");
    text_add_double(out, end->seconds);
    text_printf(out, ",\"peak_bytes\":%" PRIu64, end->peak_bytes);
    if (end->has_joules) {
        text_add(out, ",\"joules\":");
        text_add_double(out, end->joules);
    }
    text_add(out, ",\"log_tail\":");
    text_add_json(out, end->log_tail);
    text_add(out, "}\n");
}
