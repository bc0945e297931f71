/* Tokenizers: token for token what the reference library makes of hostile texts
 * (tests/support/make_tokenizer_cases.py). */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "tests/support/temp.h"
#include "trainer/tokenizer.h"

static struct temp temp;
static struct err err;
static cJSON *fixture;

static void setup(void)
{
    temp_open(&temp);
    cr_assert_eq(json_read_file("tests/fixtures/tokenizer-cases.json", &fixture, &err), 0, "%s", err.message);
}

static void teardown(void)
{
    json_free(fixture);
    temp_close(&temp);
}

TestSuite(tokenizer, .init = setup, .fini = teardown);

static void write_json(const cJSON *json)
{
    struct text text = {0};
    json_add(&text, json);
    cr_assert_not(text.failed);
    temp_write(&temp, "tokenizer.json", text.data, text.len);
    text_done(&text);
}

/* The fixture's tokenizer of that name with the vocabulary they share. */
static cJSON *described(const char *name)
{
    cJSON *json = cJSON_Duplicate(json_get(json_get(fixture, "tokenizers"), name), true);
    cJSON *model = cJSON_GetObjectItem(json, "model");
    cr_assert_not_null(model, "%s", name);
    cJSON_AddItemToObject(model, "vocab", cJSON_Duplicate(json_get(fixture, "vocabulary"), true));
    return json;
}

static struct tokenizer *open_named(const char *name)
{
    struct tokenizer *tokenizer = NULL;
    cJSON *json = described(name);
    write_json(json);
    cJSON_Delete(json);
    cr_assert_eq(tokenizer_open(&tokenizer, temp.folder, &err), 0, "%s: %s", name, err.message);
    return tokenizer;
}

static void add_list(struct text *out, const int32_t *ids, const uint8_t *types, int n)
{
    for (int i = 0; i < n; i++)
        text_printf(out, "%s%d", i ? " " : "", types ? types[i] : ids[i]);
}

static void add_expected(struct text *out, const cJSON *list)
{
    for (const cJSON *item = list->child; item; item = item->next)
        text_printf(out, "%s%d", item == list->child ? "" : " ", item->valueint);
}

static void check_case(const struct tokenizer *tokenizer, const cJSON *test, int number)
{
    const cJSON *text = test->child->next, *pair = text->next, *max_tokens = pair->next, *ids = max_tokens->next;
    struct arena arena = {0};
    struct encoding encoding;
    struct text found = {0}, expected = {0}, types = {0}, expected_types = {0};
    int rc = tokenizer_encode(tokenizer, text->valuestring, cJSON_IsString(pair) ? pair->valuestring : NULL,
                              max_tokens->valueint, &arena, &encoding, &err);
    cr_assert_eq(rc, 0, "case %d: %s", number, err.message);
    add_list(&found, encoding.ids, NULL, encoding.n);
    add_expected(&expected, ids);
    add_list(&types, NULL, encoding.type_ids, encoding.n);
    add_expected(&expected_types, ids->next);
    cr_expect(text_equal(found.data ? found.data : "", expected.data ? expected.data : ""),
              "case %d (%s): '%s' gave %s, %s was expected", number, test->child->valuestring, text->valuestring,
              found.data ? found.data : "nothing", expected.data ? expected.data : "nothing");
    cr_expect(text_equal(types.data ? types.data : "", expected_types.data ? expected_types.data : ""),
              "case %d (%s): '%s': type ids", number, test->child->valuestring, text->valuestring);
    text_done(&found);
    text_done(&expected);
    text_done(&types);
    text_done(&expected_types);
    arena_done(&arena);
}

Test(tokenizer, equals_the_reference_token_for_token)
{
    struct tokenizer *tokenizer = NULL;
    const char *name = "";
    int n = 0;
    for (const cJSON *test = json_get(fixture, "cases")->child; test; test = test->next, n++) {
        if (strcmp(name, test->child->valuestring) != 0) {
            tokenizer_close(tokenizer);
            name = test->child->valuestring;
            tokenizer = open_named(name);
        }
        check_case(tokenizer, test, n);
    }
    tokenizer_close(tokenizer);
    cr_assert_gt(n, 500);
}

Test(tokenizer, without_a_post_processor_adds_nothing)
{
    struct tokenizer *tokenizer = open_named("no special tokens");
    struct arena arena = {0};
    struct encoding encoding;
    cr_expect_eq(tokenizer_special_tokens(tokenizer, false), 0);
    cr_expect_eq(tokenizer_special_tokens(tokenizer, true), 0);
    cr_assert_eq(tokenizer_encode(tokenizer, "\n ", NULL, 1, &arena, &encoding, &err), 0);
    cr_expect_eq(encoding.n, 0);
    tokenizer_close(tokenizer);
    tokenizer = open_named("uncased");
    cr_expect_eq(tokenizer_special_tokens(tokenizer, false), 2);
    cr_expect_eq(tokenizer_special_tokens(tokenizer, true), 3);
    cr_assert_eq(tokenizer_encode(tokenizer, "a", NULL, 1, &arena, &encoding, &err), ERR_USAGE);
    cr_expect_str_eq(err.message, "1 tokens do not hold the 2 special ones");
    tokenizer_close(tokenizer);
    arena_done(&arena);
}

Test(tokenizer, missing_file_says_how_to_make_it)
{
    struct tokenizer *tokenizer = NULL;
    cr_assert_eq(tokenizer_open(&tokenizer, temp.folder, &err), ERR_NOT_FOUND);
    cr_expect(strstr(err.message, "has no tokenizer.json") && strstr(err.message, "save_pretrained"), "%s",
              err.message);
    cr_expect_null(tokenizer);
}

/* Byte-level BPE, BPE with byte fallback, Unigram: bench/tokenizer/kinds.py. */
static void check_kind(const struct tokenizer *tokenizer, const char *name, const cJSON *test, int number)
{
    const cJSON *ids = test->child->next, *decoded = ids->next;
    struct arena arena = {0};
    struct encoding encoding;
    struct text found = {0}, expected = {0}, text = {0};
    int rc = tokenizer_encode(tokenizer, test->child->valuestring, NULL, 100000, &arena, &encoding, &err);
    cr_assert_eq(rc, 0, "%s, case %d: %s", name, number, err.message);
    add_list(&found, encoding.ids, NULL, encoding.n);
    add_expected(&expected, ids);
    cr_expect(text_equal(found.data ? found.data : "", expected.data ? expected.data : ""),
              "%s, case %d: '%s' gave %s, %s was expected", name, number, test->child->valuestring,
              found.data ? found.data : "nothing", expected.data ? expected.data : "nothing");
    cr_assert_eq(tokenizer_decode(tokenizer, encoding.ids, (size_t)encoding.n, false, &text, &err), 0);
    cr_expect(text_equal(text.data ? text.data : "", decoded->valuestring), "%s, case %d: decoded '%s', '%s' expected",
              name, number, text.data ? text.data : "", decoded->valuestring);
    text_done(&found);
    text_done(&expected);
    text_done(&text);
    arena_done(&arena);
}

Test(tokenizer, kinds_equal_the_reference_both_ways)
{
    cJSON *kinds = NULL;
    int n = 0;
    cr_assert_eq(json_read_file("tests/fixtures/tokenizer-kinds.json", &kinds, &err), 0, "%s", err.message);
    for (const cJSON *json = json_get(kinds, "tokenizers")->child; json; json = json->next) {
        struct tokenizer *tokenizer = NULL;
        write_json(json);
        cr_assert_eq(tokenizer_open(&tokenizer, temp.folder, &err), 0, "%s: %s", json->string, err.message);
        const cJSON *cases = json_get(json_get(kinds, "cases"), json->string);
        for (int round = 0; round < 2; round++) /* the second time from the cache of words */
            for (const cJSON *test = cases->child; test; test = test->next)
                check_kind(tokenizer, json->string, test, n++);
        tokenizer_close(tokenizer);
    }
    json_free(kinds);
    cr_assert_gt(n, 400);
}

/* What is wrong with each is said with its place. */
Test(tokenizer, damaged_descriptions_are_refused)
{
    static const struct {
        const char *json, *message;
    } damaged[] = {
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", "'b' is not in the vocabulary"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"aa\"]}}", "two texts were expected"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\",\"a\"]]}}",
         "'aa' is not in the vocabulary"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":3000000},\"merges\":[]}}", "an id from 0 to"},
        {"{\"model\":{\"type\":\"BPE\",\"dropout\":0.1,\"vocab\":{\"a\":0},\"merges\":[]}}", "model.dropout"},
        {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":1,\"vocab\":[[\"a\",0]]}}", "model.unk_id"},
        {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"a\",0],[\"a\",1]]}}", "is there twice"},
        {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"a\"]]}}", "a text and its score"},
        {"{\"model\":{\"type\":\"Morse\"}}", "'Morse' is not built in (WordPiece, WordLevel, BPE and Unigram are)"},
        {"{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"a\",\"vocab\":{\"a\":0}},\"pre_tokenizer\":{\"type\":"
         "\"Split\",\"pattern\":{\"Regex\":\"(a\"},\"behavior\":\"Isolated\"}}",
         "the pattern is not understood at byte 2"},
        {"{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"a\",\"vocab\":{\"a\":0}},\"normalizer\":{\"type\":"
         "\"Precompiled\",\"precompiled_charsmap\":\"/////wAAAAA=\"}}",
         "a trie of 4294967295 bytes in 8 bytes"},
        {"{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"a\",\"vocab\":{\"a\":0}},\"decoder\":{\"type\":\"CTC\"}}",
         "decoder: 'CTC' is not built in"},
    };
    for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
        struct tokenizer *tokenizer = NULL;
        temp_write(&temp, "tokenizer.json", damaged[i].json, strlen(damaged[i].json));
        cr_assert_lt(tokenizer_open(&tokenizer, temp.folder, &err), 0, "%s was read", damaged[i].json);
        cr_expect(strstr(err.message, damaged[i].message), "%s: '%s' was expected", err.message, damaged[i].message);
        cr_expect_null(tokenizer);
    }
}
