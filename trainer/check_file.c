/* Item files of checks. */
#include "trainer/check_file.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "trainer/dataset.h"

enum { FILE_MAX_BYTES = 256 << 20 };

static int read_rows(struct rows *rows, const char *path, const char *text, const char *pair, const char *label,
                     struct err *err)
{
    cJSON *task = cJSON_CreateObject();
    bool is_made = task && cJSON_AddStringToObject(task, "text", text) &&
                   (!pair || cJSON_AddStringToObject(task, "text_pair", pair)) &&
                   cJSON_AddStringToObject(task, label ? "label" : "kind", label ? label : "causal");
    int rc = is_made ? rows_read(rows, path, task, 0, err) : err_set(err, ERR_NOMEM, "no memory for '%s'", path);
    cJSON_Delete(task);
    if (rc == 0 && rows->count == 0)
        rc = err_set(err, ERR_DATA, "'%s' has no rows", path);
    return rc;
}

int check_rows_read(struct rows *rows, const char *path, const char *text, const char *pair, const char *label,
                    struct err *err)
{
    return read_rows(rows, path, text, pair, label, err);
}

int check_texts_read(struct rows *rows, const char *path, const char *text, struct err *err)
{
    return read_rows(rows, path, text, NULL, NULL, err);
}

void check_rows_hash(const struct rows *rows, char hex[HASH_HEX_SIZE])
{
    dataset_hash(rows, hex);
}

/* Reads one value that starts at `at`; *end: behind it. */
static int read_value(struct json_lines *lines, size_t at, size_t *end, int line, struct err *err)
{
    struct json_line *grown = realloc(lines->items, (lines->count + 1) * sizeof(*grown));
    const char *stop = NULL;
    if (!grown)
        return err_set(err, ERR_NOMEM, "no memory for '%s'", lines->path);
    lines->items = grown;
    grown[lines->count] = (struct json_line){.line = line};
    cJSON *probe = cJSON_ParseWithLengthOpts(lines->data + at, lines->len - at, &stop, false);
    cJSON_Delete(probe);
    size_t n = probe && stop ? (size_t)(stop - (lines->data + at)) : lines->len - at;
    int rc = json_parse(lines->data + at, n, &grown[lines->count].root, err);
    if (rc < 0) {
        if (!probe && stop && stop > lines->data + at)
            for (const char *c = lines->data + at; c < stop; c++)
                line += *c == '\n';
        return err_wrap(err, "'%s', line %d", lines->path, line);
    }
    lines->count++;
    *end = at + n;
    return 0;
}

int json_lines_read(struct json_lines *lines, const char *path, struct err *err)
{
    *lines = (struct json_lines){.path = path};
    int line = 1, rc = file_read(path, FILE_MAX_BYTES, &lines->data, &lines->len, err);
    size_t at = 0;
    while (rc == 0) {
        for (; at < lines->len && isspace((unsigned char)lines->data[at]); at++)
            line += lines->data[at] == '\n';
        if (at >= lines->len)
            break;
        size_t end = at;
        rc = read_value(lines, at, &end, line, err);
        for (; rc == 0 && at < end; at++)
            line += lines->data[at] == '\n';
    }
    return rc == 0 && lines->count == 0 ? err_set(err, ERR_DATA, "'%s' is empty", path) : rc;
}

void json_lines_done(struct json_lines *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        json_free(lines->items[i].root);
    free(lines->items);
    free(lines->data);
    *lines = (struct json_lines){0};
}

int json_lines_find(const struct json_lines *lines, int from, const char *text)
{
    int line = 1;
    const char *found = NULL;
    for (const char *c = lines->data; c < lines->data + lines->len; c++) {
        if (line >= from && !found &&
            (found = memmem(c, (size_t)(lines->data + lines->len - c), text, strlen(text))) == NULL)
            return from;
        if (found && c == found)
            return line;
        line += *c == '\n';
    }
    return from;
}
