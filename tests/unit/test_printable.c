/* Tests of orchestrator/printable and orchestrator/columns: nothing that steers a terminal gets through. */
#include "orchestrator/printable.h"

#include <criterion/criterion.h>
#include <string.h>

#include "common/json.h"
#include "orchestrator/columns.h"

Test(printable, escapes)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"plain, äöü 日本 😀", "plain, äöü 日本 😀"},
        {"", ""},
        {"\x1b[31mred", "\\x1b[31mred"},
        {"a\nb\tc\rd", "a\\nb\\tc\\rd"},
        {"\x01\x7f", "\\x01\\x7f"},
        {"\xc2\x9b"
         "31m",
         "\\x9b31m"}, /* CSI as one C1 control */
        {"\xe2\x80\xae"
         "gpj",
         "\\u202egpj"}, /* writing turned round */
        {"\xe2\x81\xa6x", "\\u2066x"},
        {"\xff\xc3(", "\\xff\\xc3("},
        {"\xe2\x82", "\\xe2\\x82"}, /* cut off */
        {"\xc0\x80", "\\xc0\\x80"}, /* overlong */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct text out = {0};
        text_add(&out, "");
        printable_add(&out, cases[i].in);
        cr_assert_str_eq(out.data, cases[i].out, "%s", out.data);
        text_done(&out);
    }
}

/* Whatever the bytes are, no control byte comes out. */
Test(printable, every_pair_of_bytes)
{
    struct text out = {0};
    for (int a = 1; a < 256; a++)
        for (int b = 1; b < 256; b++) {
            const char in[] = {(char)a, (char)b, 'x', '\0'};
            text_reset(&out);
            printable_add(&out, in);
            cr_assert_eq(utf8_valid_prefix(out.data, out.len), out.len, "%d %d", a, b);
            for (size_t i = 0; i < out.len; i++)
                cr_assert((unsigned char)out.data[i] >= 0x20 && out.data[i] != 0x7f, "%d %d", a, b);
            cr_assert_null(strstr(out.data, "\xc2\x9b"), "%d %d", a, b);
        }
    text_done(&out);
}

Test(printable, lines_and_json)
{
    struct text out = {0};
    printable_add_lines(&out, "one\n\x1b[2J\n\nlast", "> ");
    cr_assert_str_eq(out.data, "> one\n> \\x1b[2J\n> \n> last\n");
    text_reset(&out);
    printable_add_json(&out, "a\xff\"b");
    cr_assert_str_eq(out.data, "\"a\xef\xbf\xbd\\\"b\"");
    cJSON *json = NULL;
    cr_assert_eq(json_parse(out.data, out.len, &json, NULL), 0);
    json_free(json);
    text_done(&out);
    cr_assert_eq(printable_width("a→ü"), 3);
}

Test(columns, align)
{
    static const char *const titles[] = {"name", ">count", "note"};
    struct columns columns;
    struct text out = {0};
    columns_init(&columns, 3, titles);
    columns_add(&columns, "ü");
    columns_add_count(&columns, 1234567);
    columns_add(&columns, "\x1b[1m");
    columns_add(&columns, "longer");
    columns_add_count(&columns, -1);
    columns_add(&columns, NULL);
    columns_write(&out, &columns, " ");
    cr_assert_str_eq(out.data,
                     " name        count  note\n"
                     " ü       1,234,567  \\x1b[1m\n"
                     " longer          -  -\n",
                     "%s", out.data);
    columns_done(&columns);
    text_done(&out);
}
