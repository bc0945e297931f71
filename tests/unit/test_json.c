/* The fence around cJSON: what is refused, with its place; canonical text; typed readers. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/json.h"

static const struct {
    const char *text, *message;
} refused[] = {
    {"", "line 1, column 1: the text ends where a value was expected"},
    {"{\"a\":1} x", "line 1, column 9: more text behind the end"},
    {"{\"a\":1,\"a\":2}", "the key 'a' stands in an object twice"},
    {"{\"a\":1,\"\\u0061\":2}", "the key 'a' stands in an object twice"},
    {"[1,]", "line 1, column 4: a value was expected"},
    {"[01]", "must not start with 0"},
    {"[1e999]", "beyond the largest double"},
    {"[9007199254740993]", "beyond 2^53"},
    {"[1.]", "digits were expected behind the decimal point"},
    {"[1e]", "digits were expected in the exponent"},
    {"[NaN]", "a value was expected"},
    {"[+1]", "a value was expected"},
    {"[\"\\u0000\"]", "\\u0000 is not allowed"},
    {"[\"\\ud800\"]", "high surrogate"},
    {"[\"\\udc00\"]", "low surrogate"},
    {"[\"\\x\"]", "unknown escape"},
    {"[\"a\nb\"]", "control character"},
    {"[\"abc]", "a string that does not end"},
    {"{a:1}", "a string in double quotes was expected"},
    {"{\"a\" 1}", "':' was expected"},
    {"{\"a\":1 \"b\":2}", "',' or '}' was expected"},
    {"\n\n  [1 2]", "line 3, column 6: ',' or ']' was expected"},
    {"[\"\xff\"]", "not valid UTF-8"},
    {"\xef\xbb\xbf[]", "byte order mark"},
    {"[tru]", "a value was expected"},
};

Test(json, refuses_what_is_not_json_and_says_where)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct err err = {0};
        cJSON *root = NULL;
        int rc = json_parse(refused[i].text, strlen(refused[i].text), &root, &err);
        cr_assert_eq(rc, ERR_FORMAT, "'%s' was accepted", refused[i].text);
        cr_assert_null(root);
        cr_assert(strstr(err.message, refused[i].message), "'%s': '%s' does not say '%s'", refused[i].text, err.message,
                  refused[i].message);
    }
}

Test(json, refuses_depth_beyond_the_maximum)
{
    char text[2 * (JSON_MAX_DEPTH + 2)];
    struct err err = {0};
    cJSON *root = NULL;
    memset(text, '[', JSON_MAX_DEPTH + 2);
    memset(text + JSON_MAX_DEPTH + 2, ']', JSON_MAX_DEPTH + 2);
    cr_assert_eq(json_parse(text, sizeof(text), &root, &err), ERR_FORMAT);
    cr_assert(strstr(err.message, "nested more than 64 deep"), "%s", err.message);
    cr_assert_eq(json_parse(text + 2, sizeof(text) - 4, &root, &err), 0, "%s", err.message);
    json_free(root);
}

Test(json, canonical_text_sorts_keys_and_writes_equal_numbers_alike)
{
    const char *a = "{\"b\":[1.0,2e0,0.1],\"a\":{\"z\":null,\"y\":true}}";
    const char *b = "{ \"a\" : {\"y\":true,\"z\":null}, \"b\" : [1, 2, 1e-1] }";
    cJSON *x = NULL, *y = NULL;
    struct err err = {0};
    struct text out = {0};
    cr_assert_eq(json_parse(a, strlen(a), &x, &err), 0, "%s", err.message);
    cr_assert_eq(json_parse(b, strlen(b), &y, &err), 0, "%s", err.message);
    json_add_canonical(&out, x);
    cr_assert_str_eq(out.data, "{\"a\":{\"y\":true,\"z\":null},\"b\":[1,2,0.1]}");
    cr_assert(json_equal(x, y));
    text_done(&out);
    json_free(x);
    json_free(y);
}

Test(json, readers_are_case_sensitive_and_name_the_place)
{
    const char *text = "{\"Rank\":1,\"rank\":2.5,\"name\":null}";
    cJSON *root = NULL;
    struct err err = {0};
    int64_t number = 7;
    const char *name = "kept";
    cr_assert_eq(json_parse(text, strlen(text), &root, &err), 0);
    cr_assert_eq(json_get_int64(root, "rank", "settings", &number, &err), ERR_FORMAT);
    cr_assert_str_eq(err.message, "settings: 'rank' is a number, a whole number was expected");
    cr_assert_eq(number, 7);
    cr_assert_eq(json_get_int64(root, "Rank", "settings", &number, &err), 0);
    cr_assert_eq(number, 1);
    cr_assert_eq(json_opt_string(root, "name", "settings", &name, &err), 0);
    cr_assert_str_eq(name, "kept");
    cr_assert_eq(json_get_string(root, "missing", "settings", &name, &err), ERR_FORMAT);
    cr_assert_str_eq(err.message, "settings: 'missing' is missing, a text was expected");
    json_free(root);
}

static int parse_values(size_t n)
{
    struct text text = {0};
    struct err err = {0};
    cJSON *root = NULL;
    text_add(&text, "[0");
    for (size_t i = 2; i < n; i++)
        text_add(&text, ",0");
    text_add(&text, "]");
    int rc = json_parse(text.data, text.len, &root, &err);
    cr_expect_eq(rc == 0, n <= JSON_MAX_VALUES, "%zu values: %s", n, err.message);
    json_free(root);
    text_done(&text);
    return rc;
}

/* "[0,0,…" makes eighty bytes of memory out of two of text. */
Test(json, the_number_of_values_is_bounded)
{
    cr_expect_eq(parse_values(JSON_MAX_VALUES), 0);
    cr_expect_eq(parse_values(JSON_MAX_VALUES + 1), ERR_FORMAT);
}

/* A loss of 9e15 is a number like any other. */
Test(json, whole_doubles_beyond_2_53_read_back)
{
    static const double values[] = {
        9007199254740992.0, 9254744099292547.0, -9254744099292547.0, 12345678901234567.0, 1e17, 1e300};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct text text = {0};
        struct err err = {0};
        cJSON *root = NULL;
        text_add_double(&text, values[i]);
        cr_expect_eq(json_parse(text.data, text.len, &root, &err), 0, "%s: %s", text.data, err.message);
        cr_expect(root && root->valuedouble == values[i], "%s", text.data);
        json_free(root);
        text_done(&text);
    }
}
