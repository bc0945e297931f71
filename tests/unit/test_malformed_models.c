/* Model folders that are wrong in one place each (tests/fixtures/malformed-models.json): refused, with that place
 * named.
 *
 * Every case is the golden cases' BERT with one file changed: `config` and `tokenizer` are merge patches (null removes
 * a member), *_raw is the file's text, *_hex its bytes; `header` and `data` make a safetensors file of that header and
 * so many zero bytes; `weights_name` is the name of the weights' file instead of model.safetensors. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "tests/support/temp.h"
#include "trainer/model.h"
#include "trainer/tokenizer.h"

#define MODEL "tests/golden/cases/models/bert/"

static struct temp temp;
static struct err err;

/* Patches objects member by member. */
static void merge(cJSON *json, const cJSON *patch)
{
    for (const cJSON *item = patch->child; item; item = item->next) {
        cJSON *own = cJSON_GetObjectItemCaseSensitive(json, item->string);
        if (cJSON_IsObject(own) && cJSON_IsObject(item)) {
            merge(own, item);
            continue;
        }
        cJSON_DeleteItemFromObjectCaseSensitive(json, item->string);
        if (!cJSON_IsNull(item))
            cJSON_AddItemToObject(json, item->string, cJSON_Duplicate(item, true));
    }
}

static void write_hex(const char *name, const char *hex)
{
    char bytes[1024];
    size_t n = strlen(hex) / 2;
    cr_assert_lt(n, sizeof(bytes));
    for (size_t i = 0; i < n; i++) {
        const char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        bytes[i] = (char)strtol(pair, NULL, 16);
    }
    temp_write(&temp, name, bytes, n);
}

static void copy(const char *name)
{
    char path[256], *data = NULL;
    size_t n = 0;
    snprintf(path, sizeof(path), MODEL "%s", name);
    cr_assert_eq(file_read(path, 1 << 20, &data, &n, &err), 0, "%s", err.message);
    temp_write(&temp, name, data, n);
    free(data);
}

/* config.json or tokenizer.json: the model's, patched or replaced. */
static void write_text_file(const cJSON *test, const char *member, const char *name)
{
    char key[64], path[256];
    const cJSON *patch = json_get(test, member), *raw, *hex;
    snprintf(key, sizeof(key), "%s_raw", member);
    raw = json_get(test, key);
    snprintf(key, sizeof(key), "%s_hex", member);
    hex = json_get(test, key);
    if (hex) {
        write_hex(name, hex->valuestring);
    } else if (raw) {
        temp_write(&temp, name, raw->valuestring, strlen(raw->valuestring));
    } else {
        cJSON *json = NULL;
        struct text text = {0};
        snprintf(path, sizeof(path), MODEL "%s", name);
        cr_assert_eq(json_read_file(path, &json, &err), 0, "%s", err.message);
        if (patch)
            merge(json, patch);
        json_add(&text, json);
        temp_write(&temp, name, text.data, text.len);
        text_done(&text);
        json_free(json);
    }
}

static void write_weights(const cJSON *test)
{
    const cJSON *hex = json_get(test, "weights_hex"), *header = json_get(test, "header");
    const cJSON *own_name = json_get(test, "weights_name");
    const char *name = own_name ? own_name->valuestring : "model.safetensors";
    if (hex) {
        write_hex(name, hex->valuestring);
    } else if (header) {
        struct text file = {0};
        size_t n = strlen(header->valuestring);
        for (int i = 0; i < 8; i++)
            text_add_char(&file, (char)(n >> (8 * i) & 255));
        text_add(&file, header->valuestring);
        for (int i = 0; i < json_get(test, "data")->valueint; i++)
            text_add_char(&file, '\0');
        temp_write(&temp, name, file.data, file.len);
        text_done(&file);
    } else {
        copy("model.safetensors");
    }
}

static int open_all(void)
{
    struct arena arena = {0};
    struct model model = {0};
    struct tokenizer *tokenizer = NULL;
    struct model_options options = {
        .pooling = "pooler", .n_classes = 2, .dropout = -1, .attention_dropout = -1, .seed = 1};
    int rc = model_open(&model, temp.folder, &options, &arena, &err);
    if (rc == 0)
        rc = tokenizer_open(&tokenizer, temp.folder, &err);
    tokenizer_close(tokenizer);
    model_close(&model);
    arena_done(&arena);
    return rc;
}

static void check_case(const cJSON *test)
{
    const char *why = json_get(test, "why")->valuestring;
    temp_open(&temp);
    err = (struct err){0};
    write_text_file(test, "config", "config.json");
    write_text_file(test, "tokenizer", "tokenizer.json");
    write_weights(test);
    int rc = open_all();
    cr_expect_lt(rc, 0, "%s: was accepted", why);
    for (const cJSON *part = json_get(test, "expect")->child; rc < 0 && part; part = part->next)
        cr_expect(strstr(err.message, part->valuestring), "%s: '%s' is not in: %s", why, part->valuestring,
                  err.message);
    temp_close(&temp);
}

Test(malformed_models, each_is_refused_with_the_place)
{
    cJSON *cases = NULL;
    int n = 0;
    cr_assert_eq(json_read_file("tests/fixtures/malformed-models.json", &cases, &err), 0, "%s", err.message);
    for (const cJSON *test = cases->child; test; test = test->next, n++)
        check_case(test);
    json_free(cases);
    cr_assert_geq(n, 100);
}

Test(malformed_models, the_unchanged_one_is_accepted)
{
    temp_open(&temp);
    copy("config.json");
    copy("tokenizer.json");
    copy("model.safetensors");
    cr_expect_eq(open_all(), 0, "%s", err.message);
    temp_close(&temp);
}
