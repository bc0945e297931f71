/* JSON: what is accepted reads back the same from its canonical form, and from its plain one. */
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "tests/fuzz/fuzz.h"

static void read_again(const struct text *text, const cJSON *value)
{
    cJSON *again = NULL;
    struct err err;
    if (text->failed || json_parse(text->data, text->len, &again, &err) < 0)
        fuzz_fail("what was written is not read");
    if (!json_equal(value, again))
        fuzz_fail("what was written reads as another value");
    json_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cJSON *value = NULL;
    struct err err;
    struct text plain = {0}, canonical = {0};
    if (json_parse((const char *)data, size, &value, &err) < 0)
        return 0;
    json_add(&plain, value);
    read_again(&plain, value);
    json_add_canonical(&canonical, value);
    read_again(&canonical, value);
    text_done(&plain);
    text_done(&canonical);
    json_free(value);
    return 0;
}
