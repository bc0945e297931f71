/* Columns of a data file, by its first rows. */
#include "orchestrator/data_look.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/file.h"
#include "common/json.h"

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory to look at data");
}

void look_done(struct look *look)
{
    for (int i = 0; i < look->n_columns; i++) {
        for (int k = 0; k < look->columns[i].n_distinct; k++)
            free(look->columns[i].distinct[k]);
        free(look->columns[i].name);
    }
    *look = (struct look){0};
}

static int find_column(struct look *look, const char *name, struct look_column **column, struct err *err)
{
    for (int i = 0; i < look->n_columns; i++)
        if (text_equal(look->columns[i].name, name)) {
            *column = &look->columns[i];
            return 0;
        }
    *column = NULL;
    if (look->n_columns == LOOK_MAX_COLUMNS)
        return 0; /* further columns are not looked at */
    char *copy = strdup(name);
    if (!copy)
        return no_memory(err);
    *column = &look->columns[look->n_columns++];
    **column = (struct look_column){.name = copy};
    return 0;
}

static int note_value(struct look *look, const char *name, const char *value, bool is_number, struct err *err)
{
    struct look_column *column = NULL;
    double number;
    int rc = find_column(look, name, &column, err);
    if (rc < 0 || !column || !*value)
        return rc;
    column->n_filled++;
    column->n_numbers += is_number || text_parse_double(value, &number, NULL) == 0;
    column->characters += (double)strlen(value);
    for (int i = 0; i < column->n_distinct; i++)
        if (text_equal(column->distinct[i], value))
            return 0;
    if (column->n_distinct == LOOK_MAX_DISTINCT)
        return 0;
    column->distinct[column->n_distinct] = strdup(value);
    if (!column->distinct[column->n_distinct])
        return no_memory(err);
    column->n_distinct++;
    return 0;
}

/* JSON lines ---------------------------------------------------------------------------------------------------------
 */

static int note_member(struct look *look, const cJSON *item, struct err *err)
{
    struct text text = {0};
    if (cJSON_IsString(item))
        text_add(&text, item->valuestring);
    else if (cJSON_IsNumber(item) || cJSON_IsBool(item))
        json_add(&text, item);
    int rc = text.failed ? no_memory(err)
                         : note_value(look, item->string, text.data ? text.data : "", cJSON_IsNumber(item), err);
    text_done(&text);
    return rc;
}

static int look_at_json(struct look *look, char *data, size_t n, struct err *err)
{
    int64_t line = 0;
    int rc = 0;
    for (size_t at = 0, end; at < n && rc == 0 && look->n_rows < LOOK_MAX_ROWS; at = end + 1) {
        char *newline = memchr(data + at, '\n', n - at);
        cJSON *row = NULL;
        end = newline ? (size_t)(newline - data) : n;
        line++;
        if (strspn(data + at, " \t\r") >= end - at)
            continue;
        rc = json_parse(data + at, end - at, &row, err);
        if (rc == 0 && !cJSON_IsObject(row))
            rc = err_set(err, ERR_DATA, "%s, an object was expected", json_type_name(row));
        if (rc < 0)
            err_wrap(err, "line %lld", (long long)line);
        for (const cJSON *item = row ? row->child : NULL; item && rc == 0; item = item->next)
            rc = note_member(look, item, err);
        json_free(row);
        look->n_rows += rc == 0;
    }
    return rc;
}

/* CSV and TSV --------------------------------------------------------------------------------------------------------
 */

/* The next field, quotes as in RFC 4180; *is_last: it ends its row. */
static size_t read_field(const char *data, size_t n, size_t at, char separator, struct text *field, bool *is_last)
{
    bool is_quoted = at < n && data[at] == '"';
    text_reset(field);
    at += is_quoted;
    for (; at < n; at++) {
        if (is_quoted && data[at] == '"' && at + 1 < n && data[at + 1] == '"')
            at++;
        else if (is_quoted && data[at] == '"') {
            is_quoted = false;
            continue;
        } else if (!is_quoted && (data[at] == separator || data[at] == '\n'))
            break;
        if (is_quoted || data[at] != '\r')
            text_add_char(field, data[at]);
    }
    *is_last = at >= n || data[at] == '\n';
    return at + 1;
}

static int look_at_rows(struct look *look, const char *data, size_t n, char separator, struct err *err)
{
    struct text field = {0};
    size_t at = 0;
    int rc = 0, n_header = 0;
    bool is_last = false;
    while (at < n && !is_last && rc == 0) {
        struct look_column *column;
        at = read_field(data, n, at, separator, &field, &is_last);
        rc = field.failed ? no_memory(err) : find_column(look, field.data ? field.data : "", &column, err);
        n_header++;
    }
    while (at < n && rc == 0 && look->n_rows < LOOK_MAX_ROWS) {
        int c = 0;
        is_last = false;
        for (; at < n && !is_last && rc == 0; c++) {
            at = read_field(data, n, at, separator, &field, &is_last);
            if (c < look->n_columns)
                rc = field.failed ? no_memory(err)
                                  : note_value(look, look->columns[c].name, field.data ? field.data : "", false, err);
        }
        if (rc == 0 && c != n_header && !(c == 1 && field.len == 0))
            rc = err_set(err, ERR_DATA, "row %lld has %d fields, the header %d", (long long)look->n_rows + 1, c,
                         n_header);
        look->n_rows += rc == 0;
    }
    text_done(&field);
    return rc;
}

/* The file -----------------------------------------------------------------------------------------------------------
 */

int look_at(struct look *look, const char *path, int64_t *bytes, struct err *err)
{
    struct file_map map = {0};
    bool is_json = text_ends_with(path, ".jsonl") || text_ends_with(path, ".json");
    bool is_csv = text_ends_with(path, ".csv"), is_tsv = text_ends_with(path, ".tsv");
    if (!is_json && !is_csv && !is_tsv)
        return err_set(err, ERR_UNSUPPORTED, "'%s': a file that ends with .jsonl, .csv or .tsv was expected", path);
    int rc = file_map_open(&map, path, err);
    if (rc < 0)
        return rc;
    size_t n = map.len < LOOK_MAX_BYTES ? map.len : LOOK_MAX_BYTES;
    *bytes = (int64_t)map.len;
    look->is_whole = n == map.len;
    while (!look->is_whole && n > 0 && map.data[n - 1] != '\n') /* the last row may be cut */
        n--;
    char *data = malloc(n + 1);
    if (data && n > 0)
        memcpy(data, map.data, n);
    file_map_close(&map);
    if (!data)
        return no_memory(err);
    data[n] = '\0';
    size_t mark = n >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    size_t valid = utf8_valid_prefix(data, n);
    if (valid < n)
        rc = err_set(err, ERR_DATA, "byte %zu is no UTF-8", valid + 1);
    if (rc == 0)
        rc = is_json ? look_at_json(look, data + mark, n - mark, err)
                     : look_at_rows(look, data + mark, n - mark, is_csv ? ',' : '\t', err);
    if (rc == 0 && look->n_rows == 0)
        rc = err_set(err, ERR_DATA, "there are no rows in it");
    free(data);
    look->is_whole = look->is_whole && look->n_rows < LOOK_MAX_ROWS;
    return rc < 0 ? err_wrap(err, "'%s'", path) : 0;
}

/* Guessing -----------------------------------------------------------------------------------------------------------
 */

static int by_name(const struct look *look, const char *const *names, int other)
{
    for (; *names; names++)
        for (int i = 0; i < look->n_columns; i++)
            if (i != other && strcasecmp(look->columns[i].name, *names) == 0)
                return i;
    return -1;
}

static double mean_length(const struct look_column *column)
{
    return column->n_filled ? column->characters / (double)column->n_filled : 0;
}

/* Few different, short values, each seen several times on average. */
static bool is_like_label(const struct look *look, const struct look_column *column)
{
    return column->n_distinct >= 2 && column->n_distinct < LOOK_MAX_DISTINCT && mean_length(column) <= 40 &&
           (double)column->n_distinct * 4 <= (double)look->n_rows && column->n_filled == look->n_rows;
}

static int best_label(const struct look *look)
{
    int best = -1;
    for (int i = 0; i < look->n_columns; i++)
        if (is_like_label(look, &look->columns[i]) &&
            (best < 0 || look->columns[i].n_distinct < look->columns[best].n_distinct))
            best = i;
    return best;
}

static int longest(const struct look *look, int other)
{
    int best = -1;
    for (int i = 0; i < look->n_columns; i++) {
        const struct look_column *column = &look->columns[i];
        if (i == other || column->n_filled == 0 || column->n_numbers * 2 > column->n_filled)
            continue;
        if (best < 0 || mean_length(column) > mean_length(&look->columns[best]))
            best = i;
    }
    return best;
}

void look_guess(const struct look *look, struct look_roles *roles)
{
    static const char *const labels[] = {"label", "labels", "class", "category", "sentiment", "stars", "rating", NULL};
    static const char *const texts[] = {"text",     "sentence", "review", "content", "document", "sentence1", "premise",
                                        "question", "source",   "prompt", "input",   "tweet",    NULL};
    static const char *const pairs[] = {"text_pair", "sentence2", "hypothesis", "context", "passage", NULL};
    static const char *const targets[] = {"target",  "answer",   "completion",  "output",
                                          "summary", "response", "translation", NULL};
    *roles = (struct look_roles){-1, -1, -1, -1};
    roles->label = by_name(look, labels, -1);
    if (roles->label >= 0 && look->columns[roles->label].n_distinct >= LOOK_MAX_DISTINCT)
        roles->label = -1; /* a label of hundreds of values is none */
    roles->target = by_name(look, targets, -1);
    if (roles->label < 0 && roles->target < 0)
        roles->label = best_label(look);
    int taken = roles->label >= 0 ? roles->label : roles->target;
    roles->text = by_name(look, texts, taken);
    if (roles->text < 0)
        roles->text = longest(look, taken);
    if (roles->label >= 0) {
        roles->target = -1;
        roles->pair = by_name(look, pairs, roles->text);
    } else if (roles->target < 0 && look->n_columns == 2) /* two languages: "en" and "de" */
        roles->target = roles->text >= 0 ? longest(look, roles->text) : -1;
    if (roles->label < 0 && look->n_columns == 2 && roles->target >= 0 && roles->text > roles->target) {
        int swap = roles->text; /* the first column is what is given */
        bool is_named = by_name(look, targets, -1) >= 0 || by_name(look, texts, -1) >= 0;
        if (!is_named) {
            roles->text = roles->target;
            roles->target = swap;
        }
    }
}
