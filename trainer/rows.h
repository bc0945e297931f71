/* Data files: JSON lines, CSV and TSV, read whole, checked row by row. */
#ifndef TRAINER_ROWS_H
#define TRAINER_ROWS_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/err.h"

enum { ROWS_MAX_FILE_BYTES = 1 << 30, ROWS_MAX = 1 << 27, ROWS_MAX_COLUMNS = 1024, ROWS_MAX_LIST = 64 };

struct row {
    const char *text, *pair; /* pair: NULL without a second text column; language models: the target */
    const char *label;       /* as text: an integer label 1 is "1", true is "true", a list of words has spaces between
                              * them; tasks without one: "" */
    const char *task;        /* which of several this row belongs to; NULL: the data does not say */
    uint32_t line;           /* where it starts, from 1 */
    const char *const *list; /* choices, answers: NULL-terminated; NULL: the task has none */
    int list_count;
    int32_t start; /* of the first answer in the second text, in characters; −1: not said */
};

struct rows {
    struct arena arena;
    char *path;
    struct row *items;
    size_t count, capacity;
    bool lacks_classes; /* labels are no classes: rows are not split and sampled label by label */
};

/* Reads a file; the columns are those that the task of its kind has (common/tasks.h) and the definition names; a null
 * `label` reads rows without what is to be predicted. The format is the task's `format` or by the name's ending (.jsonl
 * .json .csv .tsv). At most max_rows from the top (0: all). CSV and TSV have a header line and quotes as in RFC 4180,
 * newlines inside quotes included; a byte order mark is skipped. ERR_DATA: "'file', line 17: …"; ERR_NOT_FOUND. Done
 * also after a failure. */
int rows_read(struct rows *rows, const char *path, const cJSON *task, size_t max_rows, struct err *err) MUST_CHECK;
void rows_done(struct rows *rows);
/* Adds a row whose strings stay the caller's. */
int rows_add(struct rows *rows, struct row row, struct err *err) MUST_CHECK;

#endif
