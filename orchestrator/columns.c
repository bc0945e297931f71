/* Cells are kept as text until all widths are known. */
#include "orchestrator/columns.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/printable.h"
#include "orchestrator/summary.h"

/* Takes the text. */
static void push(struct columns *columns, struct text *cell)
{
    if (columns->n_cells == columns->capacity && !columns->failed) {
        size_t capacity = columns->capacity ? 2 * columns->capacity : 64;
        char **grown = realloc(columns->cells, capacity * sizeof(*grown));
        if (grown) {
            columns->cells = grown;
            columns->capacity = capacity;
        }
        columns->failed = !grown;
    }
    text_add(cell, ""); /* an empty cell is a string too */
    columns->failed = columns->failed || cell->failed;
    if (columns->failed)
        text_done(cell);
    else
        columns->cells[columns->n_cells++] = text_take(cell);
}

void columns_init(struct columns *columns, int n, const char *const *titles)
{
    *columns = (struct columns){.n = n < COLUMNS_MAX ? n : COLUMNS_MAX};
    for (int i = 0; i < columns->n; i++) {
        columns->is_right[i] = titles[i][0] == '>';
        columns_add(columns, titles[i] + columns->is_right[i]);
    }
}

void columns_done(struct columns *columns)
{
    for (size_t i = 0; i < columns->n_cells; i++)
        free(columns->cells[i]);
    free(columns->cells);
    *columns = (struct columns){0};
}

void columns_add(struct columns *columns, const char *cell)
{
    struct text text = {0};
    printable_add(&text, cell ? cell : "-");
    push(columns, &text);
}

void columns_printf(struct columns *columns, const char *format, ...)
{
    va_list args;
    char line[1024];
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    columns_add(columns, line);
}

void columns_add_count(struct columns *columns, int64_t count)
{
    struct text text = {0};
    if (count < 0)
        text_add(&text, "-");
    else
        summary_add_count(&text, count);
    push(columns, &text);
}

static void pad(struct text *out, size_t n)
{
    while (n-- > 0)
        text_add_char(out, ' ');
}

static void write_row(struct text *out, const struct columns *columns, size_t first, const size_t *widths)
{
    for (int c = 0; c < columns->n && first + (size_t)c < columns->n_cells; c++) {
        const char *cell = columns->cells[first + (size_t)c];
        size_t space = widths[c] - printable_width(cell);
        pad(out, columns->is_right[c] ? space : 0);
        text_add(out, cell);
        if (c + 1 < columns->n)
            pad(out, (columns->is_right[c] ? 0 : space) + 2);
    }
    while (out->len > 0 && out->data[out->len - 1] == ' ')
        out->data[--out->len] = '\0';
    text_add_char(out, '\n');
}

void columns_write(struct text *out, const struct columns *columns, const char *indent)
{
    size_t widths[COLUMNS_MAX] = {0}, n = columns->n_cells;
    for (size_t i = 0; i < n; i++) {
        size_t width = printable_width(columns->cells[i]), *widest = &widths[i % (size_t)columns->n];
        *widest = width > *widest ? width : *widest;
    }
    for (size_t first = 0; first < n; first += (size_t)columns->n) {
        text_add(out, indent);
        write_row(out, columns, first, widths);
    }
    out->failed = out->failed || columns->failed;
}
