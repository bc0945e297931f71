/* Tests of common/text and common/log: numbers, sizes, durations, escapes and base64 both ways, and what is refused. */
#include "common/text.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "common/log.h"
#include "tests/support/temp.h"

static struct err err;

static void expect_text(struct text *text, const char *wanted)
{
    cr_expect_str_eq(text->data ? text->data : "", wanted);
    text_done(text);
}

Test(text, doubles_are_the_shortest_that_read_back)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0"},
                 {-0.0, "0"},
                 {3, "3"},
                 {-0.25, "-0.25"},
                 {0.1, "0.1"},
                 {0.1 + 0.2, "0.30000000000000004"},
                 {1e-5, "1e-05"},
                 {1e300, "1e+300"},
                 {123456789012345, "123456789012345"},
                 {9007199254740994, "9007199254740994.0"},
                 {1e17, "1e+17"},
                 {5e-324, "4.94065645841247e-324"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct text text = {0};
        double back = NAN;
        text_add_double(&text, cases[i].value);
        cr_expect_eq(text_parse_double(text.data, &back, &err), 0, "%s", err.message);
        cr_expect_eq(back, cases[i].value, "%s", text.data);
        expect_text(&text, cases[i].text);
    }
}

Test(text, numbers_are_read_whole_or_refused)
{
    static const char *const doubles[] = {
        "",      "x",      "1x", "inf", "nan",   "0x10",
        "1e999", "-1e999", "1e", "--1", "1.2.3", "1111111111111111111111111111111111111111111111111111111111111111"};
    static const char *const integers[] = {"", "1.5", "1-2", "+", "9223372036854775808", "-9223372036854775809", " 1"};
    double number;
    int64_t whole;
    for (size_t i = 0; i < sizeof(doubles) / sizeof(doubles[0]); i++) {
        number = 7;
        cr_expect_eq(text_parse_double(doubles[i], &number, &err), ERR_FORMAT, "'%s'", doubles[i]);
        cr_expect_eq(number, 7, "'%s' changes the output", doubles[i]);
    }
    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
        whole = 7;
        int rc = text_parse_int64(integers[i], &whole, &err);
        cr_expect((rc == ERR_FORMAT && whole == 7) || strcmp(integers[i], "+") == 0, "'%s'", integers[i]);
    }
    cr_expect_eq(text_parse_int64("-9223372036854775808", &whole, &err), 0);
    cr_expect_eq(whole, INT64_MIN);
    cr_expect_eq(text_parse_double("-1.5E+2", &number, &err), 0);
    cr_expect_eq(number, -150);
}

Test(text, sizes_and_durations)
{
    static const struct {
        const char *text;
        double value; /* < 0: refused */
    } sizes[] = {{"0", 0},      {"512MiB", 536870912}, {"1.5KiB", 1536},    {"2kB", 2000}, {"1B", 1},
                 {"3TB", 3e12}, {"1TiB", 0x1p40},      {"GiB", -1},         {"1gib", -1},  {"-1", -1},
                 {"1 GiB", -1}, {"9e9", -1},           {"99999999TiB", -1}, {"1..5B", -1}, {"", -1}},
      durations[] = {{"45s", 45},         {"20m", 1200}, {"1h30m", 5400}, {"2d", 172800}, {"1.5h", 5400},
                     {"1d2h3m4s", 93784}, {"", -1},      {"30m1h", -1},   {"1m1m", -1},   {"1w", -1},
                     {"h", -1},           {"10", -1},    {"1h30", -1},    {"1h 30m", -1}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t bytes = 7;
        int rc = text_parse_bytes(sizes[i].text, &bytes, &err);
        cr_expect_eq(rc, sizes[i].value < 0 ? ERR_FORMAT : 0, "'%s'", sizes[i].text);
        cr_expect_eq((double)bytes, sizes[i].value < 0 ? 7 : sizes[i].value, "'%s'", sizes[i].text);
    }
    for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
        double seconds = 7;
        int rc = text_parse_duration(durations[i].text, &seconds, &err);
        cr_expect_eq(rc, durations[i].value < 0 ? ERR_FORMAT : 0, "'%s'", durations[i].text);
        cr_expect_eq(seconds, durations[i].value < 0 ? 7 : durations[i].value, "'%s'", durations[i].text);
    }
}

Test(text, escapes_for_json_and_html)
{
    struct text json = {0}, html = {0};
    text_add_json(&json, "a\"b\\c\n\t\r\x01\x7f\xc3\xa9");
    expect_text(&json, "\"a\\\"b\\\\c\\n\\t\\r\\u0001\\u007f\xc3\xa9\"");
    text_add_html(&html, "<a href='x'>\"&\"</a>");
    expect_text(&html, "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot;&lt;/a&gt;");
}

Test(text, base64_both_ways)
{
    static const char *const pairs[][2] = {
        {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}};
    static const char *const refused[] = {"Zg=", "Zg==Zg==", "Z===", "====", "Zg=a", "Z*8="};
    unsigned char *data;
    size_t n;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct text text = {0};
        text_add_base64(&text, pairs[i][0], strlen(pairs[i][0]));
        expect_text(&text, pairs[i][1]);
        cr_assert_eq(text_decode_base64(pairs[i][1], strlen(pairs[i][1]), &data, &n, &err), 0, "%s", err.message);
        cr_expect(n == strlen(pairs[i][0]) && memcmp(data, pairs[i][0], n) == 0, "%s", pairs[i][1]);
        free(data);
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        cr_expect_eq(text_decode_base64(refused[i], strlen(refused[i]), &data, &n, &err), ERR_FORMAT, "%s", refused[i]);
}

Test(text, utf8_of_every_length)
{
    static const uint32_t codes[] = {0x24, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff};
    static const char *const invalid[] = {"\x80",         "\xc1\xbf",         "\xe0\x9f\xbf",
                                          "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
                                          "\xf5",         "\xe2\x82",         "\xc3("};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        char out[4];
        size_t n = utf8_encode(codes[i], out), back;
        cr_expect_eq(utf8_valid_prefix(out, n), n, "U+%04X", codes[i]);
        cr_expect_eq(utf8_decode(out, n, &back), codes[i]);
        cr_expect_eq(back, n);
        cr_expect_eq(utf8_valid_prefix(out, n - 1), n == 1 ? 0 : 0, "cut off");
    }
    for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++) {
        size_t n;
        cr_expect_eq(utf8_valid_prefix(invalid[i], strlen(invalid[i])), 0, "case %zu", i);
        cr_expect_eq(utf8_decode(invalid[i], strlen(invalid[i]), &n), 0xfffd);
        cr_expect_eq(n, 1);
    }
}

Test(text, the_nearest_name)
{
    static const char *const names[] = {"learning_rate", "rank", "alpha", NULL};
    cr_expect_str_eq(text_nearest("lerning_rate", names), "learning_rate");
    cr_expect_str_eq(text_nearest("rnak", names), "rank", "two letters in the wrong order");
    cr_expect_null(text_nearest("temperature", names));
    cr_expect_null(text_nearest("lllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll", names));
}

Test(text, taken_and_empty)
{
    struct text text = {0};
    char *taken = text_take(&text);
    cr_assert_not_null(taken);
    cr_expect_str_eq(taken, "");
    free(taken);
    text_add(&text, "abc");
    text.failed = true;
    text_add(&text, "d");
    cr_expect_eq(text.len, 3, "a text that failed takes nothing more");
    cr_expect_null(text_take(&text));
}

Test(log, speaks_for_the_components_that_are_named)
{
    unsetenv("NIGHTSWEEP_DEBUG");
    cr_expect_not(log_enabled("worker"));
    setenv("NIGHTSWEEP_DEBUG", "scheduler,worker", 1);
    cr_expect(log_enabled("worker") && log_enabled("scheduler"));
    cr_expect_not(log_enabled("work"), "a part of a name");
    cr_expect_not(log_enabled("duler"));
    setenv("NIGHTSWEEP_DEBUG", "all", 1);
    cr_expect(log_enabled("anything"));
}

static void redirect(void)
{
    cr_redirect_stderr();
}

Test(log, a_line_on_standard_error, .init = redirect)
{
    char text[512] = "";
    setenv("NIGHTSWEEP_DEBUG", "worker", 1);
    log_debug("scheduler", "nothing of this");
    log_debug("worker", "slot %d", 7);
    fflush(stderr);
    FILE *said = cr_get_redirected_stderr();
    cr_assert_not_null(fgets(text, sizeof(text), said));
    cr_expect(strstr(text, " worker[") && strstr(text, "]: slot 7\n"), "%s", text);
}

Test(log, events_are_lines_of_json)
{
    struct temp temp;
    char *data = NULL;
    size_t n = 0;
    cJSON *first = NULL;
    temp_open(&temp);
    unsetenv("NIGHTSWEEP_TRACE");
    log_trace("worker", "lost", "");
    setenv("NIGHTSWEEP_TRACE", temp_path(&temp, "trace"), 1);
    log_trace("worker", "start \"x\"", "\"slot\":7");
    log_trace("worker", "end", "");
    cr_assert_eq(file_read(temp_path(&temp, "trace"), 4096, &data, &n, &err), 0, "%s", err.message);
    char *end = strchr(data, '\n');
    cr_assert_not_null(end);
    cr_assert_eq(json_parse(data, (size_t)(end - data), &first, &err), 0, "%s", err.message);
    cr_expect_eq(json_get(first, "slot")->valueint, 7);
    cr_expect_str_eq(json_get(first, "event")->valuestring, "start \"x\"");
    cr_expect(strstr(end, "\"event\":\"end\"}\n"), "%s", end);
    json_free(first);
    free(data);
    setenv("NIGHTSWEEP_TRACE", temp_path(&temp, "none/trace"), 1);
    log_trace("worker", "nowhere to go", ""); /* a trace that cannot be written stops nothing */
    cr_expect_not(file_exists(temp_path(&temp, "none")));
    temp_close(&temp);
}
