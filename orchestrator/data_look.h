/* A first look at a data file: its columns, and what each is likely for. Reads from the top, at most LOOK_MAX_BYTES and
 * LOOK_MAX_ROWS; JSON lines, CSV and TSV by the name's ending. */
#ifndef ORCHESTRATOR_DATA_LOOK_H
#define ORCHESTRATOR_DATA_LOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

enum { LOOK_MAX_BYTES = 4 << 20, LOOK_MAX_ROWS = 4000, LOOK_MAX_COLUMNS = 64, LOOK_MAX_DISTINCT = 200 };

struct look_column {
    char *name;
    int64_t n_filled, n_numbers; /* rows with a value; with one that is a number */
    double characters;           /* sum of the values' lengths */
    int n_distinct;              /* LOOK_MAX_DISTINCT: that many or more */
    char *distinct[LOOK_MAX_DISTINCT];
};

/* Zeroed: empty. */
struct look {
    struct look_column columns[LOOK_MAX_COLUMNS];
    int n_columns;
    int64_t n_rows;
    bool is_whole; /* the file was read to its end */
};

/* ERR_NOT_FOUND, ERR_UNSUPPORTED for another ending, ERR_DATA with the line. Done also after a failure. */
int look_at(struct look *look, const char *path, int64_t *bytes, struct err *err) MUST_CHECK;
void look_done(struct look *look);

/* What the columns are for; indices, −1: none. */
struct look_roles {
    int text, pair, label, target; /* target: what is to be produced from the text */
};
/* By the columns' names where they are usual ones, else by what is in them: few different short values are a label, the
 * longest values the text. */
void look_guess(const struct look *look, struct look_roles *roles);

#endif
