/* Counterfactual pairs: templates, swaps in free sentences, their orientation, and the project's own item file. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/json.h"
#include "tests/support/temp.h"
#include "trainer/counterfactual.h"

#define OWN_FILE "sweeps/checks/names.json"

static int read_items(struct counterfactual *set, const char *json, const struct rows *test, struct arena *arena,
                      struct err *err)
{
    struct temp temp;
    temp_open(&temp);
    temp_write(&temp, "items.json", json, strlen(json));
    int rc = counterfactual_read(set, temp_path(&temp, "items.json"), test, arena, err);
    temp_close(&temp);
    return rc;
}

#define ITEMS                                                                                                          \
    "{\"kind\":\"counterfactual\",\"lists\":{\"kin\":[[\"aunt\",\"uncle\"],[\"wife\",\"husband\"]]},"                  \
    "\"slots\":{\"She\":[\"She\",\"He\"],\"object\":[\"her\",\"him\"]},"                                               \
    "\"templates\":[\"My {kin} left.\",\"{She} said so; ask {object}.\"],"                                             \
    "\"swaps\":[[\"she\",\"he\"],[\"actress\",\"actor\"]]}"

static void check_pair(const struct counterfactual *set, size_t i, const char *first, const char *second)
{
    cr_assert_lt(i, set->count);
    cr_expect_str_eq(set->pairs[i].first, first);
    cr_expect_str_eq(set->pairs[i].second, second);
}

Test(counterfactual, templates_are_filled_with_every_pair)
{
    struct arena arena = {0};
    struct counterfactual set;
    struct err err = {0};
    cr_assert_eq(read_items(&set, ITEMS, NULL, &arena, &err), 0, "%s", err.message);
    cr_assert_eq(set.count, 3);
    cr_expect_eq(set.n_templates, 3);
    check_pair(&set, 0, "My aunt left.", "My uncle left.");
    check_pair(&set, 1, "My wife left.", "My husband left.");
    check_pair(&set, 2, "She said so; ask her.", "He said so; ask him.");
    arena_done(&arena);
}

/* Whatever of the two stands in the test set, the pair's first sentence is the female one. */
Test(counterfactual, test_sentences_join_in_the_lists_order)
{
    struct row items[] = {{.text = "The actor is good.", .label = "1", .line = 1},
                          {.text = "Nothing to swap.", .label = "0", .line = 2},
                          {.text = "She hit the actor!", .label = "0", .line = 3}};
    struct rows test = {.items = items, .count = 3};
    struct arena arena = {0};
    struct counterfactual set, without;
    struct err err = {0};
    cr_assert_eq(read_items(&set, ITEMS, &test, &arena, &err), 0, "%s", err.message);
    cr_assert_eq(set.count, 5);
    cr_expect_eq(set.n_templates, 3);
    check_pair(&set, 3, "The actress is good.", "The actor is good.");
    check_pair(&set, 4, "She hit the actor!", "He hit the actress!");
    cr_assert_eq(read_items(&without, ITEMS, NULL, &arena, &err), 0);
    cr_expect_str_neq(set.item_set_sha256, without.item_set_sha256);
    arena_done(&arena);
}

Test(counterfactual, swaps_keep_word_borders_and_case)
{
    static const char *const cases[][2] = {
        {"she saw HER film", "he saw HIS film"},
        {"I saw her.", "I saw him."},
        {"I saw her", "I saw him"},
        {"I saw her, twice", "I saw him, twice"},
        {"saw her in the rain", "saw him in the rain"},
        {"her 3 films , none of them her .", "his 3 films , none of them him ."},
        {"Her (best) film", "His (best) film"},
        {"his film saw him", "her film saw her"},
        {"HE's an ACTOR", "SHE's an ACTRESS"},
        {"the actor-director", "the actress-director"},
        {"\xC3\xA9she caf\xC3\xA9he actorly", NULL},
        {"the theatre helper", NULL},
        {"", NULL},
    };
    struct arena arena = {0};
    struct err err = {0};
    cJSON *swaps = NULL;
    const char *json = "[[\"she\",\"he\"],[\"actress\",\"actor\"]]";
    cr_assert_eq(json_parse(json, strlen(json), &swaps, &err), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const char *out = "unset";
        bool starts_first = false;
        cr_assert_eq(counterfactual_swap(cases[i][0], swaps, &arena, &out, &starts_first, &err), 0);
        if (cases[i][1])
            cr_expect(out && strcmp(out, cases[i][1]) == 0, "'%s' became '%s'", cases[i][0], out ? out : "(none)");
        else
            cr_expect_null(out, "'%s' became '%s'", cases[i][0], out);
    }
    json_free(swaps);
    arena_done(&arena);
}

Test(counterfactual, wrong_item_files_are_refused)
{
#define HEAD "{\"kind\":\"counterfactual\","
    static const struct {
        const char *json;
        int code;
        const char *expected;
    } cases[] = {
        {"{\"templates\":[]}", ERR_FORMAT, "'kind' is missing"},
        {"{\"kind\":\"other\",\"templates\":[]}", ERR_FORMAT, "counterfactual was expected"},
        {HEAD "\"lists\":{}}", ERR_FORMAT, "templates"},
        {HEAD "\"templates\":[]}", ERR_DATA, "no sentence pair"},
        {HEAD "\"templates\":[7]}", ERR_FORMAT, "a text was expected"},
        {HEAD "\"templates\":[\"\"]}", ERR_FORMAT, "two equal sentences"},
        {HEAD "\"templates\":[\"No word.\"]}", ERR_FORMAT, "two equal sentences"},
        {HEAD "\"templates\":[\"My {kin}.\"]}", ERR_FORMAT, "'{kin}' is neither"},
        {HEAD "\"templates\":[\"My {kin\"]}", ERR_FORMAT, "names nothing"},
        {HEAD "\"templates\":[\"My {}\"]}", ERR_FORMAT, "names nothing"},
        {HEAD "\"lists\":{\"kin\":[[\"aunt\"]]},\"templates\":[\"My {kin}.\"]}", ERR_FORMAT, "two words"},
        {HEAD "\"lists\":{\"kin\":[\"aunt\"]},\"templates\":[\"My {kin}.\"]}", ERR_FORMAT, "two words"},
        {HEAD "\"slots\":{\"it\":[\"a\",\"b\"]},\"templates\":[\"{it}\"],\"swaps\":[[\"she\",1]]}", ERR_FORMAT,
         "swaps: a list of two words"},
        {HEAD "\"slots\":{\"it\":[\"a\",\"b\"]},\"templates\":[\"{it}\"],\"swaps\":{}}", ERR_FORMAT, "swaps"},
        {"[", ERR_FORMAT, "items.json"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct arena arena = {0};
        struct counterfactual set;
        struct err err = {0};
        int rc = read_items(&set, cases[i].json, NULL, &arena, &err);
        cr_expect_eq(rc, cases[i].code, "case %zu gives %s: %s", i, err_name(rc), err.message);
        cr_expect(strstr(err.message, cases[i].expected), "case %zu: %s", i, err.message);
        cr_expect(strstr(err.message, "items.json"), "case %zu names no file: %s", i, err.message);
        arena_done(&arena);
    }
    struct arena arena = {0};
    struct counterfactual set;
    struct err err = {0};
    cr_expect_eq(counterfactual_read(&set, "/nonexistent.json", NULL, &arena, &err), ERR_NOT_FOUND);
    arena_done(&arena);
}

/* The file the ready sweeps use: as many pairs as docs/checks.md says, none twice, no brace left. */
Test(counterfactual, own_file_gives_distinct_pairs)
{
    struct arena arena = {0};
    struct counterfactual set;
    struct err err = {0};
    cr_assert_eq(counterfactual_read(&set, OWN_FILE, NULL, &arena, &err), 0, "%s", err.message);
    cr_expect_eq(set.count, 408, "%zu pairs", set.count);
    for (size_t i = 0; i < set.count; i++) {
        cr_expect_null(strpbrk(set.pairs[i].first, "{}"), "%s", set.pairs[i].first);
        cr_expect_str_neq(set.pairs[i].first, set.pairs[i].second);
        for (size_t k = 0; k < i; k++)
            cr_expect_str_neq(set.pairs[i].first, set.pairs[k].first);
    }
    arena_done(&arena);
}
