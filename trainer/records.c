/* Writing records. */
#include "trainer/records.h"

#include <math.h>

void records_init(struct records *records, FILE *out, int64_t attempt)
{
    *records = (struct records){.out = out, .attempt = attempt};
}

void records_done(struct records *records)
{
    text_done(&records->points);
    text_done(&records->line);
}

static void begin(struct records *records, const char *type)
{
    text_reset(&records->line);
    text_printf(&records->line, "{\"v\":1,\"type\":\"%s\",\"attempt\":%lld,\"seq\":%lld", type,
                (long long)records->attempt, (long long)++records->seq);
}

void records_send(struct records *records)
{
    text_add(&records->line, "}\n");
    if (records->line.failed || fwrite(records->line.data, 1, records->line.len, records->out) != records->line.len ||
        fflush(records->out) != 0)
        records->failed = true;
}

void records_flush(struct records *records)
{
    if (records->points.len == 0)
        return;
    begin(records, "points");
    text_add(&records->line, ",\"points\":[");
    text_add_n(&records->line, records->points.data, records->points.len);
    text_add(&records->line, "]");
    text_reset(&records->points);
    records_send(records);
}

struct text *records_begin(struct records *records, const char *type)
{
    records_flush(records);
    begin(records, type);
    return &records->line;
}

static void add_value(struct text *text, double value)
{
    if (isfinite(value))
        text_add_double(text, value);
    else
        text_add(text, "null");
}

void records_point(struct records *records, const char *name, int64_t step, double value)
{
    text_printf(&records->points, "%s[\"%s\",%lld,", records->points.len ? "," : "", name, (long long)step);
    add_value(&records->points, value);
    text_add(&records->points, "]");
}

void records_add_text(struct text *line, const char *name, const char *value)
{
    text_printf(line, ",\"%s\":", name);
    text_add_json(line, value);
}

void records_add_number(struct text *line, const char *name, double value)
{
    text_printf(line, ",\"%s\":", name);
    add_value(line, value);
}

void records_add_int(struct text *line, const char *name, int64_t value)
{
    text_printf(line, ",\"%s\":%lld", name, (long long)value);
}
