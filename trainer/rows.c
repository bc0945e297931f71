/* Reading data files. */
#include "trainer/rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "common/tasks.h"

enum format { FORMAT_JSONL, FORMAT_CSV, FORMAT_TSV };

struct column {
    const char *name; /* in the file */
    enum task_slot slot;
    enum task_value value;
    bool is_target;
};

struct reader {
    struct rows *rows;
    struct column columns[ROWS_MAX_LIST + TASK_MAX_KEYS];
    int n_columns;
    const char *list[ROWS_MAX_LIST]; /* of the row at work */
    bool is_table;
    uint32_t cell_line; /* where the row at work starts */
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

/* Cells ------------------------------------------------------------------------------------------------------------ */

static int no_memory(const struct reader *r, struct err *err)
{
    return err_set(err, ERR_NOMEM, "'%s': no memory for its rows", r->rows->path);
}

static int wrong(const struct reader *r, const struct column *column, struct err *err, const char *expected)
{
    return err_set(err, ERR_DATA, "'%s', line %u: %s was expected in %s '%s'", r->rows->path, r->cell_line, expected,
                   r->is_table ? "column" : "field", column->name);
}

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '\0';
}

static int put_text(struct reader *r, struct row *row, const struct column *column, const char *value, struct err *err)
{
    const char *kept = arena_strdup(&r->rows->arena, value);
    if (!kept)
        return no_memory(r, err);
    if (column->slot == TASK_LIST) {
        if (row->list_count == ROWS_MAX_LIST)
            return wrong(r, column, err, "a list of at most 64 texts");
        r->list[row->list_count++] = kept;
    } else {
        *(column->slot == TASK_TEXT   ? &row->text
          : column->slot == TASK_PAIR ? &row->pair
          : column->slot == TASK_NAME ? &row->task
                                      : &row->label) = kept;
    }
    return 0;
}

static int put_number(struct reader *r, struct row *row, const struct column *column, double value, struct err *err)
{
    char number[32];
    if (!isfinite(value))
        return wrong(r, column, err, "a number");
    snprintf(number, sizeof(number), "%.17g", value);
    return put_text(r, row, column, number, err);
}

/* Words with one space between them. */
static int put_words(struct reader *r, struct row *row, const struct column *column, const char *value, struct err *err)
{
    char *words = arena_strdup(&r->rows->arena, value), *end = words;
    if (!words)
        return no_memory(r, err);
    for (const char *at = value + strspn(value, " \t\r\n"); *at; at += strspn(at, " \t\r\n")) {
        size_t n = strcspn(at, " \t\r\n");
        if (end > words)
            *end++ = ' ';
        memmove(end, at, n);
        end += n;
        at += n;
    }
    *end = '\0';
    *(column->slot == TASK_TEXT ? &row->text : &row->label) = words;
    return 0;
}

/* A cell of a table. */
static int put_cell(struct reader *r, struct row *row, const struct column *column, const char *value, struct err *err)
{
    char *end = NULL;
    switch (column->value) {
    case VALUE_NUMBER: {
        double number = strtod(value, &end);
        return is_blank(value) || !is_blank(end) ? wrong(r, column, err, "a number")
                                                 : put_number(r, row, column, number, err);
    }
    case VALUE_WORDS:
        return put_words(r, row, column, value, err);
    case VALUE_CHOICES:
        return wrong(r, column, err, "a list, which a table does not have (name a column for each choice),");
    default:
        return put_text(r, row, column, value, err);
    }
}

static int put_json_words(struct reader *r, struct row *row, const struct column *column, const cJSON *list,
                          struct err *err)
{
    struct text words = {0};
    int rc = 0;
    for (const cJSON *word = list->child; word && rc == 0; word = word->next) {
        bool is_word = cJSON_IsString(word) && word->valuestring[0] && !strpbrk(word->valuestring, " \t\r\n");
        if (!is_word)
            rc = wrong(r, column, err, "a list of words without white space");
        else
            text_printf(&words, "%s%s", words.len ? " " : "", word->valuestring);
    }
    if (rc == 0)
        rc = words.failed ? no_memory(r, err) : put_words(r, row, column, words.data ? words.data : "", err);
    text_done(&words);
    return rc;
}

static int put_json_list(struct reader *r, struct row *row, const struct column *column, const cJSON *list,
                         struct err *err)
{
    int rc = 0;
    for (const cJSON *item = list->child; item && rc == 0; item = item->next)
        rc = cJSON_IsString(item) ? put_text(r, row, column, item->valuestring, err)
                                  : wrong(r, column, err, "a list of texts");
    return rc;
}

/* One text, several, or SQuAD's object of them with where they start. */
static int put_json_answers(struct reader *r, struct row *row, const struct column *column, const cJSON *item,
                            struct err *err)
{
    const cJSON *starts = cJSON_IsObject(item) ? json_get(item, "answer_start") : NULL;
    const cJSON *texts = cJSON_IsObject(item) ? json_get(item, "text") : item;
    if (cJSON_IsArray(starts) && cJSON_IsNumber(starts->child) && starts->child->valuedouble >= 0 &&
        starts->child->valuedouble < INT32_MAX)
        row->start = (int32_t)starts->child->valuedouble;
    if (cJSON_IsString(texts))
        return put_text(r, row, column, texts->valuestring, err);
    return cJSON_IsArray(texts) ? put_json_list(r, row, column, texts, err)
                                : wrong(r, column, err, "a text or a list of texts");
}

/* Labels are texts, whole numbers or flags. */
static int put_json_label(struct reader *r, struct row *row, const struct column *column, const cJSON *item,
                          struct err *err)
{
    char number[32];
    if (cJSON_IsString(item))
        return put_text(r, row, column, item->valuestring, err);
    if (cJSON_IsBool(item))
        return put_text(r, row, column, cJSON_IsTrue(item) ? "true" : "false", err);
    if (!cJSON_IsNumber(item) || item->valuedouble != floor(item->valuedouble) || fabs(item->valuedouble) >= 1e15)
        return fail(r, r->line, err, "a text or a whole number was expected in field", column->name);
    snprintf(number, sizeof(number), "%lld", (long long)item->valuedouble);
    return put_text(r, row, column, number, err);
}

static int put_json(struct reader *r, struct row *row, const struct column *column, const cJSON *item, struct err *err)
{
    switch (column->value) {
    case VALUE_LABEL:
        return put_json_label(r, row, column, item, err);
    case VALUE_NUMBER:
        return cJSON_IsNumber(item)   ? put_number(r, row, column, item->valuedouble, err)
               : cJSON_IsString(item) ? put_cell(r, row, column, item->valuestring, err)
                                      : wrong(r, column, err, "a number");
    case VALUE_WORDS:
        return cJSON_IsArray(item)    ? put_json_words(r, row, column, item, err)
               : cJSON_IsString(item) ? put_words(r, row, column, item->valuestring, err)
                                      : wrong(r, column, err, "a list of words, or a text");
    case VALUE_CHOICES:
        return cJSON_IsArray(item) ? put_json_list(r, row, column, item, err)
                                   : wrong(r, column, err, "a list of texts");
    case VALUE_ANSWERS:
        return put_json_answers(r, row, column, item, err);
    default:
        return cJSON_IsString(item) ? put_text(r, row, column, item->valuestring, err)
                                    : fail(r, r->line, err, "a text was expected in field", column->name);
    }
}

/* Adds a row after the checks that all formats share. */
static int add_row(struct reader *r, struct row row, struct err *err)
{
    row.line = r->cell_line;
    if (!row.label)
        row.label = "";
    for (int i = 0; i < r->n_columns; i++) {
        const struct column *column = &r->columns[i];
        if (column->slot == TASK_TEXT && is_blank(row.text))
            return fail(r, row.line, err, "the text is empty", NULL);
        if (column->slot == TASK_LABEL && row.label[0] == '\0')
            return fail(r, row.line, err, "the label is empty", NULL);
        if (column->slot == TASK_PAIR && column->is_target && row.pair[0] == '\0')
            return fail(r, row.line, err, "the target is empty", NULL);
        if (column->slot == TASK_NAME && row.task[0] == '\0')
            return fail(r, row.line, err, "the name of the task is empty", NULL);
    }
    if (row.list_count > 0) {
        const char **list = arena_calloc(&r->rows->arena, (size_t)row.list_count + 1, sizeof(*list));
        if (!list)
            return no_memory(r, err);
        memcpy(list, r->list, (size_t)row.list_count * sizeof(*list));
        row.list = list;
    }
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

static int read_json_line(struct reader *r, const char *line, size_t n, struct err *err)
{
    cJSON *object = NULL;
    struct row row = {.start = -1};
    int rc = json_parse(line, n, &object, err);
    if (rc < 0)
        return err_set(err, ERR_DATA, "'%s', line %u: %s", r->rows->path, r->line, err ? strdupa(err->message) : "");
    r->cell_line = r->line;
    if (!cJSON_IsObject(object))
        rc = fail(r, r->line, err, "an object was expected", NULL);
    for (int i = 0; i < r->n_columns && rc == 0; i++) {
        const cJSON *item = json_get(object, r->columns[i].name);
        rc = item ? put_json(r, &row, &r->columns[i], item, err) : missing_field(r, object, r->columns[i].name, err);
    }
    if (rc == 0)
        rc = add_row(r, row, err);
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

/* The index in the header of each column. */
static int find_columns(const struct reader *r, const struct record *header, int *indices, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < r->n_columns && rc == 0; i++)
        rc = find_column(r, header, r->columns[i].name, &indices[i], err);
    return rc;
}

static int add_record(struct reader *r, const struct record *record, const int *indices, struct err *err)
{
    struct row row = {.start = -1};
    int rc = 0;
    r->cell_line = record->line;
    for (int i = 0; i < r->n_columns && rc == 0; i++)
        rc = put_cell(r, &row, &r->columns[i], record->fields[indices[i]], err);
    return rc < 0 ? rc : add_row(r, row, err);
}

static int read_table(struct reader *r, char separator, struct err *err)
{
    struct record *header = calloc(2, sizeof(*header)), *record;
    int indices[ROWS_MAX_LIST + TASK_MAX_KEYS];
    if (!header)
        return err_set(err, ERR_NOMEM, "no memory to read '%s'", r->rows->path);
    record = header + 1;
    r->line = 1;
    r->is_table = true;
    int rc = read_record(r, separator, header, err);
    if (rc == 0)
        rc = find_columns(r, header, indices, err);
    while (rc == 0 && r->at < r->n && !is_full(r)) {
        rc = read_record(r, separator, record, err);
        if (rc == 0 && record->n == 1 && record->fields[0][0] == '\0')
            continue; /* an empty line */
        if (rc == 0 && record->n != header->n)
            rc = err_set(err, ERR_DATA, "'%s', line %u: %d fields, the header has %d", r->rows->path, record->line,
                         record->n, header->n);
        if (rc == 0)
            rc = add_record(r, record, indices, err);
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

static int add_column(struct reader *r, const struct task_key *key, const cJSON *name, struct err *err)
{
    if (!cJSON_IsString(name))
        return err_set(err, ERR_FORMAT, "task.%s: %s was found, the name of a column was expected", key->name,
                       json_type_name(name));
    if (r->n_columns == ROWS_MAX_LIST)
        return err_set(err, ERR_FORMAT, "task.%s: more than %d columns", key->name, ROWS_MAX_LIST);
    r->columns[r->n_columns++] = (struct column){.name = name->valuestring,
                                                 .slot = key->slot,
                                                 .value = key->value,
                                                 .is_target = text_equal(key->name, "target")};
    return 0;
}

/* Of a key that names several columns each holds one text. */
static int add_columns(struct reader *r, const struct task_key *key, const cJSON *names, struct err *err)
{
    struct task_key each = *key;
    int rc = 0;
    each.value = VALUE_TEXT;
    for (const cJSON *name = names->child; name && rc == 0; name = name->next)
        rc = add_column(r, &each, name, err);
    return rc;
}

static int read_columns(struct reader *r, const cJSON *task, struct err *err)
{
    const char *kind = "classification";
    int rc = json_opt_string(task, "kind", "task", &kind, err);
    const struct task_info *info = rc == 0 ? task_find(kind) : NULL;
    if (rc == 0 && !info)
        rc = err_set(err, ERR_UNSUPPORTED, "task.kind: '%s', %s was expected", kind, task_list(task_names()));
    for (const struct task_key *key = rc == 0 ? info->keys : NULL; key && key->name && rc == 0; key++) {
        const cJSON *name = json_get(task, key->name);
        if (key->slot == TASK_OPTION || cJSON_IsNull(name) || (!name && !key->is_required)) /* null: to be predicted */
            continue;
        if (!name)
            rc = err_set(err, ERR_FORMAT, "task: '%s' is missing", key->name);
        else if (key->value == VALUE_CHOICES && cJSON_IsArray(name))
            rc = add_columns(r, key, name, err);
        else
            rc = add_column(r, key, name, err);
    }
    r->rows->lacks_classes = info && !info->has_classes;
    return rc;
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
        rc = read_columns(&r, task, err);
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
