/* A pointer runs over the line; whatever is not as expected makes it NULL, and everything behind that does nothing. */
#include "common/points.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"

enum {
    NUMBER_BYTES = 64,
    RECENT_NAMES = 8,   /* a batch has a few names in turn */
    INT_MAX_DIGITS = 15 /* below 2^53 whatever they are */
};

static const char *take(const char *at, const char *end, const char *expected)
{
    size_t n = strlen(expected);
    return at && (size_t)(end - at) >= n && memcmp(at, expected, n) == 0 ? at + n : NULL;
}

static const char *take_int(const char *at, const char *end, int64_t *out)
{
    const char *begin = at;
    int64_t value = 0;
    if (!at)
        return NULL;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        if (at - begin >= INT_MAX_DIGITS)
            return NULL;
        value = 10 * value + (*at - '0');
    }
    if (at == begin || (*begin == '0' && at - begin > 1))
        return NULL;
    *out = value;
    return at;
}

static const char *take_name(const char *at, const char *end, struct point *point)
{
    at = take(at, end, "\"");
    point->name = at;
    for (; at && at < end && *at != '"'; at++)
        if (*at < 0x20 || *at > 0x7e || *at == '\\')
            return NULL;
    if (!at)
        return NULL;
    point->name_len = (size_t)(at - point->name);
    return take(at, end, "\"");
}

static const char *skip_digits(const char *at, const char *end, int *n)
{
    for (*n = 0; at < end && *at >= '0' && *at <= '9'; at++)
        ++*n;
    return at;
}

/* A number as JSON has it, or null. */
static const char *take_value(const char *at, const char *end, double *out)
{
    const char *begin = at, *null = take(at, end, "null");
    char number[NUMBER_BYTES];
    int whole, digits = 1;
    *out = (double)NAN;
    if (!at || null)
        return null;
    at += at < end && *at == '-';
    const char *first = at;
    at = skip_digits(at, end, &whole);
    if (whole == 0 || (whole > 1 && *first == '0'))
        return NULL;
    bool is_whole = true;
    if (at < end && *at == '.') {
        is_whole = false;
        at = skip_digits(at + 1, end, &digits);
    }
    if (digits > 0 && at < end && (*at == 'e' || *at == 'E')) {
        is_whole = false;
        at++;
        at += at < end && (*at == '+' || *at == '-');
        at = skip_digits(at, end, &digits);
    }
    size_t n = (size_t)(at - begin);
    if (digits == 0 || (is_whole && whole > INT_MAX_DIGITS) || n >= sizeof(number))
        return NULL;
    memcpy(number, begin, n);
    number[n] = '\0';
    return text_parse_double(number, out, NULL) == 0 ? at : NULL;
}

static struct point *add(struct points *out)
{
    if (out->n == out->capacity) {
        size_t larger = out->capacity ? 2 * out->capacity : 128;
        struct point *moved = realloc(out->points, larger * sizeof(*moved));
        if (!moved)
            return NULL;
        out->points = moved;
        out->capacity = larger;
    }
    return &out->points[out->n++];
}

static void share_name(struct points *out)
{
    struct point *point = &out->points[out->n - 1];
    for (size_t back = 1; back <= RECENT_NAMES && back < out->n; back++) {
        const struct point *before = point - back;
        if (before->name_len == point->name_len && memcmp(before->name, point->name, point->name_len) == 0) {
            point->name = before->name;
            return;
        }
    }
}

static const char *take_point(const char *at, const char *end, struct points *out)
{
    struct point *point = add(out);
    if (!point)
        return NULL;
    at = take_name(take(at, end, "["), end, point);
    at = take_int(take(at, end, ","), end, &point->step);
    at = take_value(take(at, end, ","), end, &point->value);
    at = take(at, end, "]");
    if (at)
        share_name(out);
    return at;
}

bool points_parse(const char *line, size_t len, struct points *out)
{
    const char *end = line + len, *next;
    int64_t seq;
    out->n = 0;
    const char *at = take(line, end, "{\"v\":1,\"type\":\"points\",\"attempt\":");
    at = take_int(at, end, &out->attempt);
    at = take_int(take(at, end, ",\"seq\":"), end, &seq);
    at = take(at, end, ",\"points\":[");
    if (at && at < end && *at != ']')
        do {
            at = take_point(at, end, out);
            next = take(at, end, ",");
            at = next ? next : at;
        } while (next);
    bool is_read = take(at, end, "]}") == end;
    if (!is_read)
        out->n = 0;
    return is_read;
}

void points_end_names(struct points *points)
{
    for (size_t i = 0; i < points->n; i++)
        ((char *)points->points[i].name)[points->points[i].name_len] = '\0';
}

void points_done(struct points *points)
{
    free(points->points);
    *points = (struct points){0};
}
