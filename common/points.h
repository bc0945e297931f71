/* The one record whose cost counts: a line of curve points, read without building JSON.
 *
 * Reads exactly what our trainers write,
 *   {"v":1,"type":"points","attempt":7,"seq":3,"points":[["train/loss",1,0.5],["train/loss",2,null]]}
 * without spaces, escapes or bytes beyond ASCII in names, numbers as JSON has them. Every other spelling is left to
 * json_parse, which says what is wrong with it, or that nothing is: what both read, they read alike. */
#ifndef COMMON_POINTS_H
#define COMMON_POINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct point {
    const char *name; /* in the line; equal names near each other are one pointer */
    size_t name_len;
    int64_t step;
    double value; /* NaN for null */
};

/* A zeroed one is ready; it keeps its memory from line to line. */
struct points {
    struct point *points;
    size_t n, capacity;
    int64_t attempt;
};

/* False: it is another line, or there is no memory; `out` then holds nothing. The line is borrowed. */
bool points_parse(const char *line, size_t len, struct points *out);
/* Ends each name with NUL, in the line itself, which is JSON no more. */
void points_end_names(struct points *points);
void points_done(struct points *points);

#endif
