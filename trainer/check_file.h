/* What checks read their item files with. */
#ifndef TRAINER_CHECK_FILE_H
#define TRAINER_CHECK_FILE_H

#include "common/hash.h"
#include "trainer/rows.h"

/* Rows of a data file (JSON lines, CSV, TSV) by the names of its columns; `pair` may be NULL. ERR_DATA names file and
 * line. Done also after a failure. */
int check_rows_read(struct rows *rows, const char *path, const char *text, const char *pair, const char *label,
                    struct err *err) MUST_CHECK;
/* The same without labels. */
int check_texts_read(struct rows *rows, const char *path, const char *text, struct err *err) MUST_CHECK;
/* Hash of the rows in order: texts, pairs and labels. */
void check_rows_hash(const struct rows *rows, char hex[HASH_HEX_SIZE]);

/* A file of JSON, or of JSON lines: its objects with the line each starts in. */
struct json_line {
    cJSON *root;
    int line;
};
struct json_lines {
    const char *path;
    char *data;
    size_t len;
    struct json_line *items;
    size_t count;
};
/* ERR_FORMAT: "'file', line 3: …"; ERR_NOT_FOUND. `path` is kept. Done also after a failure. */
int json_lines_read(struct json_lines *lines, const char *path, struct err *err) MUST_CHECK;
void json_lines_done(struct json_lines *lines);
/* The line that holds the first `text` behind line `from`, or `from`: to name a place inside a large object. */
int json_lines_find(const struct json_lines *lines, int from, const char *text);

#endif
