/* The page: what it is made of cannot be broken by names in the store, and its columns hold what the store holds. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/json.h"
#include "orchestrator/export_columns.h"
#include "orchestrator/export_curves.h"
#include "orchestrator/export_page.h"
#include "tests/support/store_rows.h"
#include "tests/support/temp.h"

static struct temp temp;
static struct store *store;

static void open_store(void)
{
    temp_open(&temp);
    store = rows_open(temp_path(&temp, "page.db"));
}
static void close_store(void)
{
    store_close(store);
    temp_close(&temp);
}
TestSuite(export_page, .init = open_store, .fini = close_store);

/* The columns of a query, as JSON. */
static cJSON *columns_of(const char *sql, bool may_round)
{
    struct text out = {0};
    struct err err = {0};
    cJSON *root = NULL;
    cr_assert_eq(export_columns(&out, "rows", store, sql, 1, may_round, &err), 0, "%s", err.message);
    struct text whole = {0};
    text_printf(&whole, "{%s}", out.data + 1);
    cr_assert_eq(json_parse(whole.data, whole.len, &root, &err), 0, "%s: %s", err.message, whole.data);
    text_done(&out);
    text_done(&whole);
    return root;
}

static const cJSON *column(const cJSON *root, const char *name)
{
    const cJSON *found = json_get(json_get(json_get(root, "rows"), "columns"), name);
    cr_assert_not_null(found, "no column '%s'", name);
    return found;
}

static void *decode(const cJSON *spec, const char *type, size_t bytes)
{
    unsigned char *data = NULL;
    size_t n = 0;
    const char *base64 = NULL;
    struct err err = {0};
    cr_assert_eq(json_get_string(spec, type, "column", &base64, &err), 0, "%s", err.message);
    cr_assert_eq(text_decode_base64(base64, strlen(base64), &data, &n, &err), 0, "%s", err.message);
    cr_assert_eq(n, bytes, "%s: %zu bytes", type, n);
    return data;
}

Test(export_page, columns_take_the_narrowest_form_that_loses_nothing)
{
    cJSON *root =
        columns_of("SELECT column1 AS small, column2 AS wide, column3 AS part, column4 AS word, column5 AS mixed,"
                   " column6 AS same, column7 AS none, column8 AS negative FROM (VALUES"
                   " (1, 70000, 0.1, 'b', 3, 'x', NULL, -1), (255, 0, NULL, NULL, 'three', 'x', NULL, 2),"
                   " (0, 1, 1e300, 'a', NULL, 'x', NULL, 0), (7, 2, -0.5, 'b', 0.25, 'x', NULL, 0))",
                   false);
    unsigned char *small = decode(column(root, "small"), "u8", 4);
    cr_expect_eq(memcmp(small, "\1\377\0\7", 4), 0);
    uint32_t *wide = decode(column(root, "wide"), "u32", 16);
    cr_expect(wide[0] == 70000 && wide[1] == 0 && wide[3] == 2);
    double *part = decode(column(root, "part"), "f64", 32);
    cr_expect(part[0] == 0.1 && isnan(part[1]) && part[2] == 1e300 && part[3] == -0.5);
    unsigned char *word = decode(json_get(column(root, "word"), "codes"), "u8", 4);
    cr_expect_eq(memcmp(word, "\1\0\2\1", 4), 0);
    double *mixed = decode(column(root, "mixed"), "f64", 32);
    unsigned char *codes = decode(json_get(column(root, "mixed"), "codes"), "u8", 4);
    cr_expect(mixed[0] == 3 && codes[0] == 0 && codes[1] == 1 && codes[2] == 0 && isnan(mixed[2]) && mixed[3] == 0.25);
    float *negative = decode(column(root, "negative"), "f32", 16);
    cr_expect(negative[0] == -1 && negative[1] == 2);
    cr_expect_str_eq(json_get(column(root, "same"), "all")->valuestring, "x");
    cr_expect(cJSON_IsNull(json_get(column(root, "none"), "all")));
    void *blocks[] = {small, wide, part, word, mixed, codes, negative};
    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
        free(blocks[i]);
    json_free(root);
}

Test(export_page, rounding_keeps_seven_digits_but_never_blurs_differences)
{
    cJSON *root = columns_of("SELECT column1 AS score, column2 AS time, column3 AS wide, column4 AS tiny FROM (VALUES"
                             " (0.123456789, 1772402400.25, 16777217, 1e-40), (0.9, 1772402401.5, NULL, 1),"
                             " (NULL, 1772402500, 3, 2.5))",
                             true);
    float *score = decode(column(root, "score"), "f32", 12);
    cr_expect(score[0] == 0.123456789F && score[1] == 0.9F && isnan(score[2]));
    double *time = decode(column(root, "time"), "f64", 24);
    cr_expect(time[0] == 1772402400.25 && time[1] == 1772402401.5);
    double *wide = decode(column(root, "wide"), "f64", 24);
    cr_expect(wide[0] == 16777217 && isnan(wide[1]));
    double *tiny = decode(column(root, "tiny"), "f64", 24);
    cr_expect(tiny[0] == 1e-40);
    void *blocks[] = {score, time, wide, tiny};
    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
        free(blocks[i]);
    json_free(root);
}

Test(export_page, many_texts_keep_their_codes)
{
    cJSON *root = columns_of("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 4999)"
                             " SELECT 'text ' || (i % 1000) AS word FROM n",
                             false);
    const cJSON *texts = json_get(column(root, "word"), "texts");
    unsigned char *codes = decode(json_get(column(root, "word"), "codes"), "u16", 10000);
    cr_assert_eq(cJSON_GetArraySize(texts), 1000);
    for (int i = 0; i < 5000; i += 37) {
        char expected[32];
        snprintf(expected, sizeof(expected), "text %d", i % 1000);
        int code = codes[2 * i] | codes[2 * i + 1] << 8;
        cr_expect_str_eq(cJSON_GetArrayItem(texts, code - 1)->valuestring, expected);
    }
    free(codes);
    json_free(root);
}

Test(export_page, thinning_keeps_the_ends_the_peak_and_where_it_diverged)
{
    enum { N = 5000 };
    static uint32_t steps[N], kept[N];
    static float values[N];
    for (uint32_t i = 0; i < N; i++) {
        steps[i] = i + 1;
        values[i] = i == 2345 ? 9.0F : 0.5F;
    }
    values[4000] = NAN;
    size_t n = export_thin(steps, values, N, 100, kept);
    cr_assert_eq(n, 100);
    bool has_peak = false, has_end = false;
    for (size_t i = 0; i < n; i++) {
        cr_expect(i == 0 || kept[i] > kept[i - 1], "order at %zu", i);
        has_peak = has_peak || kept[i] == 2345;
        has_end = has_end || kept[i] == 4000;
    }
    cr_expect(has_peak && has_end && kept[0] == 0 && kept[n - 1] == N - 1);
    cr_expect_eq(export_thin(steps, values, 7, 12, kept), 7);
    for (size_t limit = 3; limit < 40; limit++)
        for (size_t length = 1; length < 60; length++)
            cr_expect_leq(export_thin(steps, values, length, limit, kept), length < limit ? length : limit);
}

/* Between the first `from` after `start` and the next `to`; owned by the caller. */
static char *between(const char *page, const char *from, const char *to)
{
    const char *start = strstr(page, from);
    cr_assert_not_null(start, "no %s", from);
    start += strlen(from);
    const char *end = strstr(start, to);
    cr_assert_not_null(end, "no %s behind %s", to, from);
    return strndup(start, (size_t)(end - start));
}

static void expect_hash(const char *policy, const char *kind, const char *content)
{
    char hex[HASH_HEX_SIZE], *wanted = NULL;
    unsigned char bytes[32];
    struct text part = {0};
    hash_bytes(content, strlen(content), hex);
    for (size_t i = 0; i < 32; i++)
        bytes[i] = (unsigned char)strtoul((char[]){hex[2 * i], hex[2 * i + 1], '\0'}, &wanted, 16);
    text_printf(&part, "%s 'sha256-", kind);
    text_add_base64(&part, bytes, sizeof(bytes));
    cr_expect_not_null(strstr(policy, part.data), "%s is not in %s", part.data, policy);
    text_done(&part);
}

Test(export_page, names_cannot_leave_the_data)
{
    static const char evil[] = "</script><script>alert(1)</script><!-- \xe2\x80\xa8 @@page.js@@ \"'&";
    int64_t sweep = rows_sweep(store, "evil");
    int64_t trial = rows_trial(store, sweep, rows_configuration(store, sweep, 1), 1, 1);
    ROWS_APPLY(store,
               {.kind = STORE_PARAMETER_VALUE, .parameter_value = {.trial_id = trial, .name = evil, .text = evil}});
    rows_complete(store, trial, 0.75);
    struct text page = {0};
    struct err err = {0};
    cr_assert_eq(export_page(&page, store, (const char *const[]){"evil"}, 1, &err), 0, "%s", err.message);
    cr_expect_null(strstr(page.data, "alert(1)</script>"));
    cr_expect_null(strstr(page.data, "http://"));
    char *json = between(page.data, "id=\"data\">", "</script>");
    cJSON *root = NULL;
    cr_assert_eq(json_parse(json, strlen(json), &root, &err), 0, "%s", err.message);
    const cJSON *first = cJSON_GetArrayItem(json_get(root, "sweeps"), 0);
    const cJSON *names = json_get(json_get(json_get(json_get(first, "parameters"), "columns"), "value"), "all");
    cr_expect_str_eq(names->valuestring, evil);
    char *policy = between(page.data, "Content-Security-Policy\" content=\"", "\">");
    char *style = between(page.data, "<style>", "</style>"), *script = between(page.data, "<script>", "</script>");
    expect_hash(policy, "style-src", style);
    expect_hash(policy, "script-src", script);
    cr_expect_not_null(strstr(policy, "default-src 'none'"));
    cr_expect_null(strstr(policy, "unsafe"));
    free(json);
    free(policy);
    free(style);
    free(script);
    json_free(root);
    text_done(&page);
}

Test(export_page, unknown_sweep_is_named)
{
    struct text page = {0};
    struct err err = {0};
    cr_assert_eq(export_page(&page, store, (const char *const[]){"nobody"}, 1, &err), ERR_NOT_FOUND);
    cr_expect_not_null(strstr(err.message, "'nobody'"), "%s", err.message);
    text_done(&page);
}

Test(export_page, bytes_that_are_no_text_are_replaced)
{
    struct text out = {0};
    export_json_text(&out, "a\xff\0b\xc3", 5);
    cr_expect_str_eq(out.data, "\"a\xef\xbf\xbd\xef\xbf\xbd"
                               "b\xef\xbf\xbd\"");
    text_done(&out);
}
