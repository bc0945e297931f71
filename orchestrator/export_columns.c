/* Gathers a result set cell by cell, then writes each column in the smallest form that loses nothing. */
#include "orchestrator/export_columns.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Distinct texts in order of appearance. Open addressing: slots hold code or 0 for free. */
struct dictionary {
    struct text pool, json; /* the texts one after the other; the same as members of a JSON array */
    size_t *starts;         /* n + 1 offsets into pool */
    uint32_t *slots;
    uint32_t n, n_slots, capacity;
};

struct column {
    const char *name;
    double *numbers; /* NaN where the cell is NULL or a text */
    uint32_t *codes; /* 0 where it is no text */
    struct dictionary texts;
    bool has_null, has_number, has_fraction;
    double low, high, nearest; /* extremes, and the smallest size that is not 0 */
};

struct table {
    struct column *columns;
    int n_columns;
    size_t n, capacity;
    bool failed;
};

/* FNV-1a: short keys, no need of anything stronger. */
static uint32_t hash_text(const char *s, size_t n)
{
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (unsigned char)s[i]) * 16777619U;
    return hash;
}

static uint32_t *find_slot(const struct dictionary *d, const char *s, size_t n)
{
    uint32_t i = hash_text(s, n) & (d->n_slots - 1);
    for (;; i = (i + 1) & (d->n_slots - 1)) {
        uint32_t code = d->slots[i];
        if (code == 0)
            return &d->slots[i];
        size_t start = d->starts[code - 1];
        if (d->starts[code] - start == n && (n == 0 || memcmp(d->pool.data + start, s, n) == 0))
            return &d->slots[i];
    }
}

static bool dictionary_grow(struct dictionary *d)
{
    uint32_t n_slots = d->n_slots ? d->n_slots * 2 : 64;
    size_t *starts = realloc(d->starts, ((size_t)n_slots / 2 + 2) * sizeof(*starts));
    if (starts)
        d->starts = starts;
    uint32_t *slots = calloc(n_slots, sizeof(*slots));
    if (!starts || !slots) {
        free(slots);
        return false;
    }
    free(d->slots);
    d->slots = slots;
    d->n_slots = n_slots;
    if (d->n == 0)
        d->starts[0] = 0;
    for (uint32_t code = 1; code <= d->n; code++) {
        size_t start = d->starts[code - 1];
        *find_slot(d, d->pool.data + start, d->starts[code] - start) = code;
    }
    return true;
}

/* The text's code, from 1; 0 without memory. */
static uint32_t dictionary_code(struct dictionary *d, const char *s, size_t n)
{
    if (d->n + 1 > d->n_slots / 2 && !dictionary_grow(d))
        return 0;
    uint32_t *slot = find_slot(d, s, n);
    if (*slot != 0)
        return *slot;
    if (d->n > 0)
        text_add_char(&d->json, ',');
    export_json_text(&d->json, s, n);
    text_add_n(&d->pool, s, n);
    if (d->pool.failed || d->json.failed)
        return 0;
    *slot = ++d->n;
    d->starts[d->n] = d->pool.len;
    return *slot;
}

static void dictionary_done(struct dictionary *d)
{
    text_done(&d->pool);
    text_done(&d->json);
    free(d->starts);
    free(d->slots);
}

void export_json_text(struct text *out, const char *s, size_t n)
{
    struct text clean = {0};
    while (n > 0) {
        size_t valid = utf8_valid_prefix(s, n);
        size_t end = valid > 0 ? strnlen(s, valid) : 0; /* a NUL would end the JSON string early */
        text_add_n(&clean, s, end);
        s += end;
        n -= end;
        if (n > 0) {
            text_add(&clean, "\xef\xbf\xbd");
            s++;
            n--;
        }
    }
    if (clean.failed)
        out->failed = true;
    else
        text_add_json(out, clean.data ? clean.data : "");
    text_done(&clean);
}

int export_sql_error(struct store *store, const char *what, struct err *err)
{
    return err_set(err, ERR_STORE, "%s: cannot read %s: %s", store_path(store), what,
                   sqlite3_errmsg(store_database(store)));
}

int export_give(struct export_pieces *pieces, struct err *err)
{
    struct text *text = &pieces->text;
    int rc = text->failed ? err_set(err, ERR_NOMEM, "no memory for a page's data")
                          : pieces->take(text->data, text->len, pieces->context, err);
    text_done(text);
    return rc;
}

/* Gathering ----------------------------------------------------------------------------------------------------------
 */

static bool table_grow(struct table *table)
{
    size_t capacity = table->capacity ? table->capacity * 2 : 64;
    for (int c = 0; c < table->n_columns; c++) {
        struct column *column = &table->columns[c];
        double *numbers = realloc(column->numbers, capacity * sizeof(*numbers));
        column->numbers = numbers ? numbers : column->numbers;
        uint32_t *codes = realloc(column->codes, capacity * sizeof(*codes));
        column->codes = codes ? codes : column->codes;
        if (!numbers || !codes)
            return false;
    }
    table->capacity = capacity;
    return true;
}

static void add_number(struct column *column, size_t i, double value)
{
    column->numbers[i] = value;
    if (!isfinite(value)) {
        column->numbers[i] = NAN;
        column->has_null = true;
        return;
    }
    column->low = column->has_number ? fmin(column->low, value) : value;
    column->high = column->has_number ? fmax(column->high, value) : value;
    if (value != 0)
        column->nearest = column->nearest > 0 ? fmin(column->nearest, fabs(value)) : fabs(value);
    column->has_number = true;
    column->has_fraction = column->has_fraction || value != floor(value);
}

static bool add_cell(struct column *column, size_t i, sqlite3_stmt *row, int c)
{
    column->numbers[i] = NAN;
    column->codes[i] = 0;
    switch (sqlite3_column_type(row, c)) {
    case SQLITE_INTEGER:
    case SQLITE_FLOAT:
        add_number(column, i, sqlite3_column_double(row, c));
        return true;
    case SQLITE_NULL:
        column->has_null = true;
        return true;
    default: {
        const char *s = (const char *)sqlite3_column_text(row, c);
        column->codes[i] = s ? dictionary_code(&column->texts, s, (size_t)sqlite3_column_bytes(row, c)) : 0;
        return column->codes[i] != 0;
    }
    }
}

static void table_done(struct table *table)
{
    for (int c = 0; c < table->n_columns; c++) {
        free(table->columns[c].numbers);
        free(table->columns[c].codes);
        dictionary_done(&table->columns[c].texts);
    }
    free(table->columns);
}

static void gather(struct table *table, sqlite3_stmt *row)
{
    if (table->n == table->capacity && !table_grow(table))
        table->failed = true;
    for (int c = 0; c < table->n_columns && !table->failed; c++)
        table->failed = !add_cell(&table->columns[c], table->n, row, c);
    table->n++;
}

/* Writing ------------------------------------------------------------------------------------------------------------
 */

void export_whole_numbers(struct text *out, const uint32_t *numbers, size_t n)
{
    uint32_t high = 0;
    for (size_t i = 0; i < n; i++)
        high = numbers[i] > high ? numbers[i] : high;
    int width = high < 1U << 8 ? 1 : high < 1U << 16 ? 2 : 4;
    unsigned char *bytes = malloc(n * (size_t)width + 1);
    if (!bytes) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < n; i++)
        for (int b = 0; b < width; b++)
            bytes[i * (size_t)width + (size_t)b] = (unsigned char)(numbers[i] >> (8 * b));
    text_printf(out, "\"u%d\":\"", 8 * width);
    text_add_base64(out, bytes, n * (size_t)width);
    text_add_char(out, '"');
    free(bytes);
}

/* As float: whole numbers below 2^24 lose nothing; fractions are rounded to 7 digits, where that is allowed and does
 * not blur differences between the values (times of day would become minutes). */
static bool fits_float(const struct column *column, bool may_round)
{
    double size = fmax(fabs(column->low), fabs(column->high));
    if (!column->has_fraction)
        return size < 1 << 24;
    return may_round && size < 1e30 && column->nearest > 1e-30 && size < 1000 * (column->high - column->low);
}

static void add_floats(struct text *out, const struct column *column, size_t n)
{
    float *values = malloc(n * sizeof(*values) + 1);
    if (!values) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < n; i++)
        values[i] = (float)column->numbers[i];
    text_add(out, "\"f32\":\"");
    text_add_base64(out, values, n * sizeof(*values));
    text_add_char(out, '"');
    free(values);
}

static void add_numbers(struct text *out, const struct column *column, size_t n, bool may_round)
{
    bool is_whole = !column->has_null && column->texts.n == 0 && !column->has_fraction && column->low >= 0 &&
                    column->high <= UINT32_MAX;
    uint32_t *whole = is_whole ? malloc(n * sizeof(*whole) + 1) : NULL;
    if (whole) {
        for (size_t i = 0; i < n; i++)
            whole[i] = (uint32_t)column->numbers[i];
        export_whole_numbers(out, whole, n);
    } else if (fits_float(column, may_round)) {
        add_floats(out, column, n);
    } else {
        text_add(out, "\"f64\":\"");
        text_add_base64(out, column->numbers, n * sizeof(*column->numbers));
        text_add_char(out, '"');
    }
    free(whole);
}

/* {"all":value} where every row has the same. */
static bool add_constant(struct text *out, const struct column *column)
{
    if (!column->has_number && column->texts.n == 0) {
        text_add(out, "\"all\":null");
    } else if (column->has_null || (column->has_number && column->texts.n > 0) || column->texts.n > 1) {
        return false;
    } else if (column->texts.n == 1) {
        text_printf(out, "\"all\":%s", column->texts.json.data);
    } else if (column->low < column->high) {
        return false;
    } else {
        text_add(out, "\"all\":");
        text_add_double(out, column->low);
    }
    return true;
}

static void add_column(struct text *out, const struct column *column, size_t n, bool may_round)
{
    if (add_constant(out, column))
        return;
    if (column->has_number)
        add_numbers(out, column, n, may_round);
    if (column->texts.n == 0)
        return;
    text_printf(out, "%s\"texts\":[%s],\"codes\":{", column->has_number ? "," : "", column->texts.json.data);
    export_whole_numbers(out, column->codes, n);
    text_add_char(out, '}');
}

static void add_table(struct text *out, const char *key, const struct table *table, bool may_round)
{
    text_printf(out, ",\n\"%s\":{\"n\":%zu,\"columns\":{", key, table->n);
    for (int c = 0; c < table->n_columns; c++) {
        text_add(out, c ? "," : "");
        text_add_json(out, table->columns[c].name);
        text_add(out, ":{");
        add_column(out, &table->columns[c], table->n, may_round);
        text_add_char(out, '}');
    }
    text_add(out, "}}");
}

int export_columns(struct text *out, const char *key, struct store *store, const char *sql, int64_t sweep_id,
                   bool may_round, struct err *err)
{
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(store_database(store), sql, -1, &row, NULL) != SQLITE_OK)
        return export_sql_error(store, key, err);
    if (sqlite3_bind_parameter_count(row) > 0)
        sqlite3_bind_int64(row, 1, sweep_id);
    int step = SQLITE_ROW, rc = 0;
    struct table table = {.n_columns = sqlite3_column_count(row)};
    table.columns = calloc((size_t)table.n_columns, sizeof(*table.columns));
    table.failed = !table.columns;
    for (int c = 0; c < table.n_columns && !table.failed; c++)
        table.columns[c].name = sqlite3_column_name(row, c);
    while (!table.failed && (step = sqlite3_step(row)) == SQLITE_ROW)
        gather(&table, row);
    if (!table.failed && step != SQLITE_DONE)
        rc = export_sql_error(store, key, err);
    if (rc == 0 && !table.failed)
        add_table(out, key, &table, may_round);
    if (rc == 0 && (table.failed || out->failed))
        rc = err_set(err, ERR_NOMEM, "no memory for the %s of a sweep", key);
    if (table.columns)
        table_done(&table);
    sqlite3_finalize(row);
    return rc;
}
