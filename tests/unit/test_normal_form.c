/* Unicode normal forms of texts. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/normal_form.h"

static void expect_form(const char *form, const char *text, const char *expected)
{
    struct text out = {0};
    struct err err = {0};
    cr_assert_eq(normal_form_add(&out, form, text, &err), 0, "%s", err.message);
    cr_expect_str_eq(out.data ? out.data : "", expected, "%s of '%s'", form, text);
    text_done(&out);
}

/* UAX 15's own examples: A with ring and the Angstrom sign, s with two dots, the ligature fi. */
Test(normal_form, examples_of_the_standard)
{
    expect_form("NFC", "A\xcc\x8a", "\xc3\x85");
    expect_form("NFD", "\xc3\x85", "A\xcc\x8a");
    expect_form("NFC", "\xe2\x84\xab", "\xc3\x85");
    expect_form("NFC", "s\xcc\x87\xcc\xa3", "\xe1\xb9\xa9");
    expect_form("NFD", "\xe1\xb9\xa9", "s\xcc\xa3\xcc\x87");
    expect_form("NFC", "\xef\xac\x81", "\xef\xac\x81");
    expect_form("NFKC", "\xef\xac\x81", "fi");
    expect_form("NFKD", "\xef\xac\x81\xc3\x85", "fiA\xcc\x8a");
    expect_form("none", "A\xcc\x8a", "A\xcc\x8a");
    expect_form("NFC", "", "");
}

Test(normal_form, other_names_are_refused)
{
    struct text out = {0};
    struct err err = {0};
    cr_expect_eq(normal_form_add(&out, "NFKB", "a", &err), ERR_USAGE);
    cr_expect(strstr(err.message, "'NFKB', none, NFC, NFD, NFKC or NFKD was expected"), "%s", err.message);
    text_done(&out);
}
