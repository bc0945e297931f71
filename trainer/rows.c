/* Reading data files. */
#include "trainer/rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"

enum format { FORMAT_JSONL, FORMAT_CSV, FORMAT_TSV };

struct columns {
    const char *text, *pair, *label;
};

struct reader {
    struct rows *rows;
    struct columns columns;
    char *data;
    size_t n, at;
    size_t max_rows;
    uint32_t line;
};

int rows_add(struct rows *rows, struct row row, struct err *err)
{
    if (rows->count == ROWS_MAX)
        return err_set(err, ERR_DATA, "'%s': more than %d rows", rows->path, ROWS_MAX);
    if (rows->count == rows->capacity) {
        size_t capacity = rows->capacity ? 2 * rows->capacity : 1024;
        struct row *grown = realloc(rows->items, capacity * sizeof(*grown));
        if (!grown)
            return err_set(err, ERR_NOMEM, "no memory for %zu rows", capacity);
        rows->items = grown;
        rows->capacity = capacity;
    }
    rows->items[rows->count++] = row;
    return 0;
}

void rows_done(struct rows *rows)
{
    arena_done(&rows->arena);
    free(rows->items);
    free(rows->path);
    *rows = (struct rows){0};
}

static int fail(const struct reader *r, uint32_t line, struct err *err, const char *what, const char *name)
{
    return err_set(err, ERR_DATA, "'%s', line %u: %s%s%s%s", r->rows->path, line, what, name ? " '" : "",
                   name ? name : "", name ? "'" : "");
}

/* "there is no field 'text'; nearest is 'txet'" */
static int missing(const struct reader *r, uint32_t line, const char *what, const char *name, const char *const *names,
                   struct err *err)
{
    const char *near = text_nearest(name, names);
    return err_set(err, ERR_DATA, "'%s', line %u: there is no %s '%s'%s%s%s", r->rows->path, line, what, name,
                   near ? "; nearest is '" : "", near ? near : "", near ? "'" : "");
}

/* Adds a row of borrowed strings after the checks that all formats share. */
static int add_row(struct reader *r, uint32_t line, const char *text, const char *pair, const char *label,
                   struct err *err)
{
    struct arena *arena = &r->rows->arena;
    struct row row = {.line = line};
    if (text[strspn(text, " \t\r\n")] == '\0')
        return fail(r, line, err, "the text is empty", NULL);
    if (r->columns.label && label[0] == '\0')
        return fail(r, line, err, "the label is empty", NULL);
    if (!r->columns.label && pair && pair[0] == '\0')
        return fail(r, line, err, "the target is empty", NULL);
    row.text = arena_strdup(arena, text);
    row.pair = pair ? arena_strdup(arena, pair) : NULL;
    row.label = arena_strdup(arena, label);
    if (!row.text || !row.label || (pair && !row.pair))
        return err_set(err, ERR_NOMEM, "'%s': no memory for its rows", r->rows->path);
    return rows_add(r->rows, row, err);
}

static bool is_full(const struct reader *r)
{
    return r->max_rows && r->rows->count == r->max_rows;
}

/* JSON lines ------------------------------------------------------------------------------------------------------- */

static int missing_field(const struct reader *r, const cJSON *object, const char *key, struct err *err)
{
    const char *names[ROWS_MAX_COLUMNS + 1];
    size_t n = 0;
    for (const cJSON *member = object->child; member && n < ROWS_MAX_COLUMNS; member = member->next)
        names[n++] = member->string;
    names[n] = NULL;
    return missing(r, r->line, "field", key, names, err);
}

static int json_text(const struct reader *r, const cJSON *object, const char *key, const char **out, struct err *err)
{
    const cJSON *item = json_get(object, key);
    if (!item)
        return missing_field(r, object, key, err);
    if (!cJSON_IsString(item))
        return fail(r, r->line, err, "a text was expected in field", key);
    *out = item->valuestring;
    return 0;
}

/* Labels are texts, whole numbers or flags. */
static int json_label(const struct reader *r, const cJSON *object, char number[32], const char **out, struct err *err)
{
    const cJSON *item = json_get(object, r->columns.label);
    if (!item)
        return missing_field(r, object, r->columns.label, err);
    if (cJSON_IsString(item)) {
        *out = item->valuestring;
    } else if (cJSON_IsBool(item)) {
        *out = cJSON_IsTrue(item) ? "true" : "false";
    } else if (cJSON_IsNumber(item) && item->valuedouble == floor(item->valuedouble) &&
               fabs(item->valuedouble) < 1e15) {
        snprintf(number, 32, "%lld", (long long)item->valuedouble);
        *out = number;
    } else {
        return fail(r, r->line, err, "a text or a whole number was expected in field", r->columns.label);
    }
    return 0;
}

static int read_json_line(struct reader *r, const char *line, size_t n, struct err *err)
{
    cJSON *object = NULL;
    const char *text = NULL, *pair = NULL, *label = "";
    char number[32];
    int rc = json_parse(line, n, &object, err);
    if (rc < 0)
        return err_set(err, ERR_DATA, "'%s', line %u: %s", r->rows->path, r->line, err ? strdupa(err->message) : "");
    if (!cJSON_IsObject(object))
        rc = fail(r, r->line, err, "an object was expected", NULL);
    if (rc == 0)
        rc = json_text(r, object, r->columns.text, &text, err);
    if (rc == 0 && r->columns.pair)
        rc = json_text(r, object, r->columns.pair, &pair, err);
    if (rc == 0 && r->columns.label)
        rc = json_label(r, object, number, &label, err);
    if (rc == 0)
        rc = add_row(r, r->line, text, pair, label, err);
    json_free(object);
    return rc;
}

static int read_jsonl(struct reader *r, struct err *err)
{
    int rc = 0;
    for (r->line = 1; rc == 0 && r->at < r->n && !is_full(r); r->line++) {
        const char *line = r->data + r->at, *end = memchr(line, '\n', r->n - r->at);
        size_t n = end ? (size_t)(end - line) : r->n - r->at;
        r->at += n + 1;
        while (n > 0 && (line[n - 1] == '\r' || line[n - 1] == ' ' || line[n - 1] == '\t'))
            n--;
        if (n > 0)
            rc = read_json_line(r, line, n, err);
    }
    return rc;
}

/* CSV and TSV ------------------------------------------------------------------------------------------------------ */

/* A record's fields, unquoted in place: they never grow. */
struct record {
    char *fields[ROWS_MAX_COLUMNS];
    int n;
    uint32_t line;
};

/* One field; *end tells what ended it: the separator, '\n', or 0 at the end of the file. */
static int read_field(struct reader *r, char separator, char **field, char *end, struct err *err)
{
    char *in = r->data + r->at, *limit = r->data + r->n, *out = in;
    bool is_quoted = in < limit && *in == '"';
    uint32_t first = r->line;
    *field = out;
    if (is_quoted) {
        for (in++;; in++) {
            if (in == limit)
                return fail(r, first, err, "a quote is never closed", NULL);
            if (*in == '"' && (in + 1 == limit || in[1] != '"'))
                break;
            r->line += *in == '\n';
            in += *in == '"';
            *out++ = *in;
        }
        in++;
        if (in < limit && *in == '\r' && (in + 1 == limit || in[1] == '\n'))
            in++;
        if (in < limit && *in != separator && *in != '\n')
            return fail(r, r->line, err, "text follows a closing quote", NULL);
    } else {
        while (in < limit && *in != separator && *in != '\n') {
            if (*in == '"' && separator == ',')
                return fail(r, r->line, err, "a quote stands inside a field without quotes", NULL);
            *out++ = *in++;
        }
        if (out > *field && out[-1] == '\r' && (in == limit || *in == '\n'))
            out--;
    }
    *end = in < limit ? *in : '\0';
    r->at = (size_t)(in - r->data) + (in < limit);
    *out = '\0'; /* the separator's place, or the NUL behind the file */
    return 0;
}

static int read_record(struct reader *r, char separator, struct record *record, struct err *err)
{
    char end = separator;
    record->n = 0;
    record->line = r->line;
    while (end == separator) {
        if (record->n == ROWS_MAX_COLUMNS)
            return fail(r, r->line, err, "there are more than 1024 fields", NULL);
        int rc = read_field(r, separator, &record->fields[record->n], &end, err);
        if (rc < 0)
            return rc;
        record->n++;
    }
    r->line += end == '\n';
    return 0;
}

static int find_column(const struct reader *r, const struct record *header, const char *name, int *index,
                       struct err *err)
{
    const char *names[ROWS_MAX_COLUMNS + 1] = {0};
    int found = 0;
    for (int i = 0; i < header->n; i++) {
        names[i] = header->fields[i];
        if (strcmp(header->fields[i], name) == 0) {
            *index = i;
            found++;
        }
    }
    if (found > 1)
        return fail(r, header->line, err, "the header has more than one column", name);
    return found ? 0 : missing(r, header->line, "column", name, names, err);
}

static int read_table(struct reader *r, char separator, struct err *err)
{
    struct record *header = calloc(2, sizeof(*header)), *record;
    int text = 0, pair = 0, label = 0;
    if (!header)
        return err_set(err, ERR_NOMEM, "no memory to read '%s'", r->rows->path);
    record = header + 1;
    r->line = 1;
    int rc = read_record(r, separator, header, err);
    if (rc == 0)
        rc = find_column(r, header, r->columns.text, &text, err);
    if (rc == 0 && r->columns.pair)
        rc = find_column(r, header, r->columns.pair, &pair, err);
    if (rc == 0 && r->columns.label)
        rc = find_column(r, header, r->columns.label, &label, err);
    while (rc == 0 && r->at < r->n && !is_full(r)) {
        rc = read_record(r, separator, record, err);
        if (rc == 0 && record->n == 1 && record->fields[0][0] == '\0')
            continue; /* an empty line */
        if (rc == 0 && record->n != header->n)
            rc = err_set(err, ERR_DATA, "'%s', line %u: %d fields, the header has %d", r->rows->path, record->line,
                         record->n, header->n);
        if (rc == 0)
            rc = add_row(r, record->line, record->fields[text], r->columns.pair ? record->fields[pair] : NULL,
                         r->columns.label ? record->fields[label] : "", err);
    }
    free(header);
    return rc;
}

/* All formats ------------------------------------------------------------------------------------------------------ */

static int check_bytes(const struct reader *r, struct err *err)
{
    size_t valid = utf8_valid_prefix(r->data, r->n);
    const char *nul = memchr(r->data, '\0', r->n);
    size_t bad = nul && (size_t)(nul - r->data) < valid ? (size_t)(nul - r->data) : valid;
    uint32_t line = 1;
    size_t start = 0;
    if (bad == r->n)
        return 0;
    for (size_t i = 0; i < bad; i++)
        if (r->data[i] == '\n') {
            line++;
            start = i + 1;
        }
    return err_set(err, ERR_DATA, "'%s', line %u: byte %zu of the line is %s", r->rows->path, line, bad - start + 1,
                   r->data[bad] ? "not valid UTF-8" : "a NUL");
}

/* Language models have no labels: what is to be learned is a second text, or the text itself. */
static int read_columns(struct columns *columns, const cJSON *task, struct err *err)
{
    const char *kind = "classification";
    int rc = json_get_string(task, "text", "task", &columns->text, err);
    if (rc == 0)
        rc = json_opt_string(task, "kind", "task", &kind, err);
    if (rc == 0 && text_equal(kind, "seq2seq"))
        return json_get_string(task, "target", "task", &columns->pair, err);
    if (rc == 0 && text_equal(kind, "causal"))
        return json_opt_string(task, "target", "task", &columns->pair, err);
    if (rc == 0)
        rc = json_opt_string(task, "text_pair", "task", &columns->pair, err);
    if (rc == 0 && cJSON_IsNull(json_get(task, "label"))) /* new rows, to be predicted */
        return 0;
    return rc < 0 ? rc : json_get_string(task, "label", "task", &columns->label, err);
}

static int find_format(const char *path, const cJSON *task, enum format *format, struct err *err)
{
    const char *name = NULL;
    int rc = json_opt_string(task, "format", "task", &name, err);
    if (rc < 0)
        return rc;
    if (name ? text_equal(name, "jsonl") : text_ends_with(path, ".jsonl") || text_ends_with(path, ".json"))
        *format = FORMAT_JSONL;
    else if (name ? text_equal(name, "csv") : text_ends_with(path, ".csv"))
        *format = FORMAT_CSV;
    else if (name ? text_equal(name, "tsv") : text_ends_with(path, ".tsv"))
        *format = FORMAT_TSV;
    else
        return err_set(err, ERR_USAGE,
                       "'%s': its format is not known by its name; set task.format to jsonl, csv or tsv", path);
    return 0;
}

int rows_read(struct rows *rows, const char *path, const cJSON *task, size_t max_rows, struct err *err)
{
    struct reader r = {.rows = rows, .max_rows = max_rows};
    enum format format = FORMAT_JSONL;
    *rows = (struct rows){.path = strdup(path)};
    int rc = rows->path ? 0 : err_set(err, ERR_NOMEM, "no memory to read '%s'", path);
    if (rc == 0)
        rc = read_columns(&r.columns, task, err);
    if (rc == 0)
        rc = find_format(path, task, &format, err);
    if (rc == 0)
        rc = file_read(path, ROWS_MAX_FILE_BYTES, &r.data, &r.n, err);
    if (rc == 0)
        rc = check_bytes(&r, err);
    if (rc == 0 && r.n >= 3 && memcmp(r.data, "\xef\xbb\xbf", 3) == 0)
        r.at = 3;
    if (rc == 0)
        rc = format == FORMAT_JSONL ? read_jsonl(&r, err) : read_table(&r, format == FORMAT_CSV ? ',' : '\t', err);
    if (rc == 0 && rows->count == 0)
        rc = err_set(err, ERR_DATA, "'%s': there are no rows in it", path);
    free(r.data);
    return rc;
}
