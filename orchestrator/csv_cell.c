/* Quoting of CSV cells. */
#include "orchestrator/csv_cell.h"

#include <string.h>

void csv_cell_add(struct text *out, const char *s)
{
    if (!s)
        return;
    if (!strpbrk(s, ",\"\r\n")) {
        text_add(out, s);
        return;
    }
    text_add_char(out, '"');
    for (; *s; s++) {
        if (*s == '"')
            text_add_char(out, '"');
        text_add_char(out, *s);
    }
    text_add_char(out, '"');
}
