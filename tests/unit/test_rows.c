/* Rows: the three formats as they are written in practice, and what each kind of malformed file is told. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/json.h"
#include "tests/support/temp.h"
#include "trainer/rows.h"

static cJSON *task_of(const char *text)
{
    cJSON *task = NULL;
    struct err err = {0};
    cr_assert_eq(json_parse(text, strlen(text), &task, &err), 0, "%s", err.message);
    return task;
}

static int read_bytes(struct rows *rows, const char *name, const void *data, size_t n, const char *task_text,
                      size_t max_rows, struct err *err)
{
    struct temp temp;
    temp_open(&temp);
    temp_write(&temp, name, data, n);
    cJSON *task = task_of(task_text);
    int rc = rows_read(rows, temp_path(&temp, name), task, max_rows, err);
    json_free(task);
    temp_close(&temp);
    return rc;
}

#define PLAIN "{\"text\":\"text\",\"label\":\"label\"}"
#define PAIRS "{\"text\":\"text\",\"text_pair\":\"other\",\"label\":\"label\"}"

static void check_row(const struct rows *rows, size_t i, const char *text, const char *label, uint32_t line)
{
    cr_assert_lt(i, rows->count);
    cr_expect_str_eq(rows->items[i].text, text);
    cr_expect_str_eq(rows->items[i].label, label);
    cr_expect_eq(rows->items[i].line, line, "row %zu stands in line %u", i, rows->items[i].line);
}

static struct rows good(const char *name, const char *data, const char *task)
{
    struct rows rows = {0};
    struct err err = {0};
    cr_assert_eq(read_bytes(&rows, name, data, strlen(data), task, 0, &err), 0, "%s", err.message);
    return rows;
}

Test(rows, json_lines_keep_labels_as_text)
{
    struct rows rows = good("a.jsonl",
                            "\xEF\xBB\xBF{\"text\":\"fine \\u00e9 \\\"day\\\"\",\"label\":\"good\"}\r\n"
                            "\n"
                            "  {\"label\":1,\"text\":\"x\",\"more\":[1,2]}\n"
                            "{\"label\":-3.0,\"text\":\"y\"}\n"
                            "{\"label\":true,\"text\":\"z\"}",
                            PLAIN);
    cr_assert_eq(rows.count, 4);
    check_row(&rows, 0, "fine \xC3\xA9 \"day\"", "good", 1);
    check_row(&rows, 1, "x", "1", 3);
    check_row(&rows, 2, "y", "-3", 4);
    check_row(&rows, 3, "z", "true", 5);
    cr_expect_null(rows.items[0].pair);
    rows_done(&rows);
}

Test(rows, csv_follows_rfc_4180)
{
    struct rows rows = good("a.csv",
                            "\xEF\xBB\xBFid,\"label\",other,text\r\n"
                            "1,good,\"a, b\",\"two\r\nlines, \"\"quoted\"\"\"\r\n"
                            "\r\n"
                            "2,bad,,\"5\"\" pipe\"\r\n"
                            "3,\"bad\",\"\",\"last\"\r",
                            PAIRS);
    cr_assert_eq(rows.count, 3);
    check_row(&rows, 0, "two\r\nlines, \"quoted\"", "good", 2);
    cr_expect_str_eq(rows.items[0].pair, "a, b");
    check_row(&rows, 1, "5\" pipe", "bad", 5);
    cr_expect_str_eq(rows.items[1].pair, "");
    check_row(&rows, 2, "last", "bad", 6);
    rows_done(&rows);
}

Test(rows, tsv_takes_quotes_and_commas)
{
    struct rows rows = good("a.tsv", "text\tlabel\n\"a\tb\nc\"\t0\none, two\t1\n", PLAIN);
    cr_assert_eq(rows.count, 2);
    check_row(&rows, 0, "a\tb\nc", "0", 2);
    check_row(&rows, 1, "one, two", "1", 4);
    rows_done(&rows);
}

Test(rows, the_task_can_name_the_format)
{
    struct rows rows =
        good("a.txt", "text\tlabel\nx\t0\n", "{\"text\":\"text\",\"label\":\"label\",\"format\":\"tsv\"}");
    check_row(&rows, 0, "x", "0", 2);
    rows_done(&rows);
}

/* What stands behind the last wanted row is not looked at, in all formats. */
Test(rows, max_rows_takes_them_from_the_top)
{
    static const char *const files[][2] = {
        {"a.csv", "text,label\nx,0\ny,1\nwrong\n"},
        {"a.jsonl", "{\"text\":\"x\",\"label\":0}\n{\"text\":\"y\",\"label\":1}\nwrong\n"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct rows rows = {0};
        struct err err = {0};
        const char *data = files[i][1];
        cr_assert_eq(read_bytes(&rows, files[i][0], data, strlen(data), PLAIN, 2, &err), 0, "%s", err.message);
        cr_expect_eq(rows.count, 2);
        cr_expect_str_eq(rows.items[1].label, "1");
        rows_done(&rows);
    }
}

Test(rows, more_rows_than_one_growth)
{
    struct text text = {0};
    text_add(&text, "text,label\n");
    for (int i = 0; i < 1000; i++)
        text_printf(&text, "row %d,%d\n", i, i % 2);
    struct rows rows = good("a.csv", text.data, PLAIN);
    cr_assert_eq(rows.count, 1000);
    check_row(&rows, 999, "row 999", "1", 1001);
    rows_done(&rows);
    text_done(&text);
}

Test(rows, malformed_files_are_refused_with_their_line)
{
    static const struct {
        const char *name, *data;
        size_t n; /* 0: strlen */
        const char *task, *expected;
    } cases[] = {
        {"a.jsonl", "{\"text\":\"x\",\"label\":0}\n{\"text\":\"b\xFFy\",\"label\":0}\n", 0, PLAIN,
         "line 2: byte 11 of the line is not valid UTF-8"},
        {"a.csv", "text,label\nx,0\ny\xC3,0\n", 0, PLAIN, "line 3: byte 2 of the line is not valid UTF-8"},
        {"a.csv", "\xFF\xFEt\0e\0", 6, PLAIN, "line 1: byte 1 of the line is not valid UTF-8"},
        {"a.csv", "text,label\nx\0y,0\n", 17, PLAIN, "line 2: byte 2 of the line is a NUL"},
        {"a.jsonl", "{\"text\":\"x\\u0000\",\"label\":0}\n", 0, PLAIN, "line 1: "},
        {"a.jsonl", "{\"text\":\"x\",\"label\":0}\n{\"text\":\"x\"", 0, PLAIN, "line 2: "},
        {"a.jsonl", "{\"text\":\"x\",\"label\":0} {}\n", 0, PLAIN, "line 1: "},
        {"a.jsonl", "{\"text\":\"x\",\"text\":\"y\",\"label\":0}\n", 0, PLAIN, "line 1: "},
        {"a.jsonl", "[{\"text\":\"x\",\"label\":0}]\n", 0, PLAIN, "line 1: an object was expected"},
        {"a.jsonl", "{\"txet\":\"x\",\"label\":0}\n", 0, PLAIN, "line 1: there is no field 'text'; nearest is 'txet'"},
        {"a.jsonl", "{\"label\":0}\n", 0, PLAIN, "line 1: there is no field 'text'"},
        {"a.jsonl", "{\"text\":7,\"label\":0}\n", 0, PLAIN, "line 1: a text was expected in field 'text'"},
        {"a.jsonl", "{\"text\":null,\"label\":0}\n", 0, PLAIN, "line 1: a text was expected in field 'text'"},
        {"a.jsonl", "\n{\"text\":\"\",\"label\":0}\n", 0, PLAIN, "line 2: the text is empty"},
        {"a.jsonl", "{\"text\":\" \\n\",\"label\":0}\n", 0, PLAIN, "line 1: the text is empty"},
        {"a.jsonl", "{\"text\":\"x\"}\n", 0, PLAIN, "line 1: there is no field 'label'"},
        {"a.jsonl", "{\"text\":\"x\",\"label\":null}\n", 0, PLAIN,
         "line 1: a text or a whole number was expected in field 'label'"},
        {"a.jsonl", "{\"text\":\"x\",\"label\":0.5}\n", 0, PLAIN,
         "line 1: a text or a whole number was expected in field 'label'"},
        {"a.jsonl", "{\"text\":\"x\",\"label\":[1]}\n", 0, PLAIN,
         "line 1: a text or a whole number was expected in field 'label'"},
        {"a.jsonl", "{\"text\":\"x\",\"label\":\"\"}\n", 0, PLAIN, "line 1: the label is empty"},
        {"a.jsonl", "{\"text\":\"x\",\"label\":0}\n", 0, PAIRS, "line 1: there is no field 'other'"},
        {"a.jsonl", "\n \r\n", 0, PLAIN, "there are no rows in it"},
        {"a.jsonl", "", 0, PLAIN, "there are no rows in it"},
        {"a.csv", "", 0, PLAIN, "line 1: there is no column 'text'"},
        {"a.csv", "text,label\n", 0, PLAIN, "there are no rows in it"},
        {"a.csv", "txt,label\nx,0\n", 0, PLAIN, "line 1: there is no column 'text'; nearest is 'txt'"},
        {"a.csv", "text,text,label\nx,y,0\n", 0, PLAIN, "line 1: the header has more than one column 'text'"},
        {"a.csv", "text,label\nx,0\ny\n", 0, PLAIN, "line 3: 1 fields, the header has 2"},
        {"a.csv", "text,label\n\"a\nb\",0\nx,y,0\n", 0, PLAIN, "line 4: 3 fields, the header has 2"},
        {"a.csv", "text,label\nx,0\n\"open,1\ny,0\n", 0, PLAIN, "line 3: a quote is never closed"},
        {"a.csv", "text,label\n\"x\"y,0\n", 0, PLAIN, "line 2: text follows a closing quote"},
        {"a.csv", "text,label\n5\" pipe,0\n", 0, PLAIN, "line 2: a quote stands inside a field without quotes"},
        {"a.csv", "text,label\n,0\n", 0, PLAIN, "line 2: the text is empty"},
        {"a.tsv", "text\tlabel\nx\t\n", 0, PLAIN, "line 2: the label is empty"},
        {"a.tsv", "text,label\nx,0\n", 0, PLAIN, "line 1: there is no column 'text'"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct rows rows = {0};
        struct err err = {0};
        size_t n = cases[i].n ? cases[i].n : strlen(cases[i].data);
        int rc = read_bytes(&rows, cases[i].name, cases[i].data, n, cases[i].task, 0, &err);
        cr_expect_eq(rc, ERR_DATA, "case %zu gives %s", i, err_name(rc));
        cr_expect(strstr(err.message, cases[i].expected), "case %zu: %s", i, err.message);
        cr_expect(strstr(err.message, cases[i].name), "case %zu names no file: %s", i, err.message);
        rows_done(&rows);
    }
}

Test(rows, too_many_columns_are_refused)
{
    struct text text = {0};
    for (int i = 0; i < ROWS_MAX_COLUMNS; i++)
        text_add(&text, "c,");
    text_add(&text, "text\n");
    struct rows rows = {0};
    struct err err = {0};
    cr_assert_eq(read_bytes(&rows, "a.csv", text.data, text.len, PLAIN, 0, &err), ERR_DATA);
    cr_expect(strstr(err.message, "more than 1024 fields"), "%s", err.message);
    rows_done(&rows);
    text_done(&text);
}

Test(rows, wrong_requests_have_codes_of_their_own)
{
    static const struct {
        const char *name, *task;
        int code;
        const char *expected;
    } cases[] = {
        {"a.txt", PLAIN, ERR_USAGE, "its format is not known by its name"},
        {"a.csv", "{\"text\":\"text\",\"label\":\"label\",\"format\":\"xml\"}", ERR_USAGE, "set task.format"},
        {"a.csv", "{\"text\":\"text\"}", ERR_FORMAT, "label"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct rows rows = {0};
        struct err err = {0};
        cr_expect_eq(read_bytes(&rows, cases[i].name, "text,label\nx,0\n", 15, cases[i].task, 0, &err), cases[i].code);
        cr_expect(strstr(err.message, cases[i].expected), "%s", err.message);
        rows_done(&rows);
    }
    struct rows rows = {0};
    struct err err = {0};
    cJSON *task = task_of(PLAIN);
    cr_expect_eq(rows_read(&rows, "/nonexistent/a.csv", task, 0, &err), ERR_NOT_FOUND);
    cr_expect(strstr(err.message, "/nonexistent/a.csv"), "%s", err.message);
    rows_done(&rows);
    json_free(task);
}
