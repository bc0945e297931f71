/* Aligned columns: how the commands show lists. */
#ifndef ORCHESTRATOR_COLUMNS_H
#define ORCHESTRATOR_COLUMNS_H

#include "common/text.h"

enum { COLUMNS_MAX = 20 };

struct columns {
    int n;
    bool is_right[COLUMNS_MAX]; /* aligned right */
    char **cells;               /* row by row */
    size_t n_cells, capacity;
    bool failed; /* without memory: nothing more is added, and columns_add_to marks its text as failed */
};

/* n columns with titles; one that begins with '>' is aligned right. Zeroed storage or done. */
void columns_init(struct columns *columns, int n, const char *const *titles);
void columns_done(struct columns *columns);
/* The next cell, made printable; NULL is "-". */
void columns_add(struct columns *columns, const char *cell);
void columns_printf(struct columns *columns, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "1,234"; a negative count is "-". */
void columns_add_count(struct columns *columns, int64_t count);
/* Appends the table, each line behind `indent`. */
void columns_write(struct text *out, const struct columns *columns, const char *indent);

#endif
