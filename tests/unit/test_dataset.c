/* Data sets: labels, the split, samples, identity, weights, order and encoding. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "tests/support/temp.h"
#include "trainer/dataset.h"

static void add(struct rows *rows, const char *text, const char *label)
{
    struct err err = {0};
    if (!rows->path)
        rows->path = strdup("train.csv");
    struct row row = {.text = arena_strdup(&rows->arena, text),
                      .label = arena_strdup(&rows->arena, label),
                      .line = (uint32_t)rows->count + 2};
    cr_assert_eq(rows_add(rows, row, &err), 0, "%s", err.message);
}

/* `n` rows of different texts: 3 of 4 are label a, the others b. */
static struct rows many(int n)
{
    struct rows rows = {0};
    char text[32];
    for (int i = 0; i < n; i++) {
        snprintf(text, sizeof(text), "text %d", i);
        add(&rows, text, i % 4 ? "a" : "b");
    }
    return rows;
}

static size_t count_label(const struct rows *rows, const char *label)
{
    size_t n = 0;
    for (size_t i = 0; i < rows->count; i++)
        n += strcmp(rows->items[i].label, label) == 0;
    return n;
}

static bool has_text(const struct rows *rows, const char *text)
{
    for (size_t i = 0; i < rows->count; i++)
        if (strcmp(rows->items[i].text, text) == 0)
            return true;
    return false;
}

static void check_file_order(const struct rows *rows)
{
    for (size_t i = 1; i < rows->count; i++)
        cr_expect_lt(rows->items[i - 1].line, rows->items[i].line);
}

static void check_labels(const char *const *given, const char *const *expected)
{
    struct rows rows = {0};
    struct labels labels;
    struct err err = {0};
    for (int i = 0; given[i]; i++)
        add(&rows, "x", given[i]);
    cr_assert_eq(labels_make(&labels, &rows, &err), 0, "%s", err.message);
    for (int c = 0; c < labels.count; c++) {
        cr_expect_str_eq(labels.names[c], expected[c]);
        cr_expect_eq(labels_find(&labels, expected[c]), c);
    }
    cr_expect_null(expected[labels.count]);
    cr_expect_eq(labels_find(&labels, "unseen"), -1);
    labels_done(&labels);
    rows_done(&rows);
}

Test(dataset, labels_are_sorted_as_numbers_or_as_bytes)
{
    check_labels((const char *[]){"10", "9", "-1", "9", NULL}, (const char *[]){"-1", "9", "10", NULL});
    check_labels((const char *[]){"10", "9", "x", NULL}, (const char *[]){"10", "9", "x", NULL});
    check_labels((const char *[]){"b", "B", "\xC3\xA4", "a", NULL}, (const char *[]){"B", "a", "b", "\xC3\xA4", NULL});
}

Test(dataset, one_label_is_too_few)
{
    struct rows rows = {0};
    struct labels labels;
    struct err err = {0};
    add(&rows, "x", "only");
    add(&rows, "y", "only");
    cr_expect_eq(labels_make(&labels, &rows, &err), ERR_DATA);
    cr_expect(strstr(err.message, "'only', at least two"), "%s", err.message);
    labels_done(&labels);
    rows_done(&rows);
}

Test(dataset, split_takes_a_tenth_of_each_label)
{
    struct rows train = many(204), validation;
    struct err err = {0};
    cr_assert_eq(dataset_split(&train, &validation, &err), 0, "%s", err.message);
    cr_expect_eq(count_label(&validation, "a"), 16); /* ⌈153 / 10⌉ */
    cr_expect_eq(count_label(&validation, "b"), 6);  /* ⌈51 / 10⌉ */
    cr_expect_eq(train.count + validation.count, 204);
    check_file_order(&train);
    check_file_order(&validation);
    for (size_t i = 0; i < validation.count; i++)
        cr_expect_not(has_text(&train, validation.items[i].text));
    rows_done(&validation);
    rows_done(&train);
}

/* The side of a row depends on the texts alone, not on where they stand. */
Test(dataset, split_does_not_depend_on_the_order)
{
    struct rows train = many(80), validation, turned = {0}, turned_validation;
    struct err err = {0};
    for (size_t i = train.count; i-- > 0;)
        add(&turned, train.items[i].text, train.items[i].label);
    cr_assert_eq(dataset_split(&train, &validation, &err), 0);
    cr_assert_eq(dataset_split(&turned, &turned_validation, &err), 0);
    cr_expect_eq(validation.count, turned_validation.count);
    for (size_t i = 0; i < validation.count; i++)
        cr_expect(has_text(&turned_validation, validation.items[i].text));
    rows_done(&validation);
    rows_done(&turned_validation);
    rows_done(&train);
    rows_done(&turned);
}

/* Each text three times, under both labels: no text may be on both sides. */
Test(dataset, split_keeps_equal_texts_together)
{
    struct rows train = {0}, validation;
    struct err err = {0};
    char text[32];
    for (int i = 0; i < 120; i++) {
        snprintf(text, sizeof(text), "text %d", i % 40);
        add(&train, text, i < 80 ? "a" : "b");
    }
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof(text), "more %d", i);
        add(&train, text, "b");
    }
    cr_assert_eq(dataset_split(&train, &validation, &err), 0, "%s", err.message);
    cr_expect_geq(validation.count, 22);
    for (size_t i = 0; i < validation.count; i++)
        cr_expect_not(has_text(&train, validation.items[i].text), "%s", validation.items[i].text);
    rows_done(&validation);
    rows_done(&train);
}

Test(dataset, split_refuses_a_label_that_training_would_lose)
{
    struct rows train = many(40), validation;
    struct err err = {0};
    add(&train, "alone", "rare");
    cr_expect_eq(dataset_split(&train, &validation, &err), ERR_DATA);
    cr_expect(strstr(err.message, "label 'rare' has 1 row, too few"), "%s", err.message);
    rows_done(&validation);
    rows_done(&train);
}

/* A smaller share is a part of the larger one, and each label keeps its share. */
Test(dataset, fraction_is_stratified_and_nested)
{
    struct rows small = many(200), large = many(200);
    struct err err = {0};
    cr_assert_eq(dataset_keep_fraction(&small, 0.1, &err), 0);
    cr_assert_eq(dataset_keep_fraction(&large, 0.3, &err), 0);
    cr_expect_eq(count_label(&small, "a"), 15);
    cr_expect_eq(count_label(&small, "b"), 5);
    cr_expect_eq(count_label(&large, "a"), 45);
    cr_expect_eq(count_label(&large, "b"), 15);
    check_file_order(&large);
    for (size_t i = 0; i < small.count; i++)
        cr_expect(has_text(&large, small.items[i].text));
    cr_assert_eq(dataset_keep_fraction(&small, 1e-6, &err), 0);
    cr_expect_eq(small.count, 2, "one row of each label stays");
    rows_done(&small);
    rows_done(&large);
}

Test(dataset, few_shot_draws_k_of_each_label_by_the_seed)
{
    struct rows one = many(200), same = many(200), other = many(200);
    char hash_one[HASH_HEX_SIZE], hash_same[HASH_HEX_SIZE], hash_other[HASH_HEX_SIZE];
    struct err err = {0};
    cr_assert_eq(dataset_keep_per_class(&one, 8, 1, "examples_per_class", &err), 0);
    cr_assert_eq(dataset_keep_per_class(&same, 8, 1, "examples_per_class", &err), 0);
    cr_assert_eq(dataset_keep_per_class(&other, 8, 2, "examples_per_class", &err), 0);
    cr_expect_eq(count_label(&one, "a"), 8);
    cr_expect_eq(count_label(&one, "b"), 8);
    check_file_order(&one);
    dataset_hash(&one, hash_one);
    dataset_hash(&same, hash_same);
    dataset_hash(&other, hash_other);
    cr_expect_str_eq(hash_one, hash_same);
    cr_expect_str_neq(hash_one, hash_other);
    cr_expect_eq(dataset_keep_per_class(&one, 9, 1, "examples_per_class", &err), ERR_DATA);
    cr_expect(strstr(err.message, "has 8 rows, examples_per_class is 9"), "%s", err.message);
    rows_done(&one);
    rows_done(&same);
    rows_done(&other);
}

/* Borders, order, pairs and labels matter. */
Test(dataset, hash_tells_items_apart)
{
    struct row sets[][2] = {
        {{.text = "ab", .pair = "c", .label = "0", .line = 1}, {.text = "d", .label = "1", .line = 2}},
        {{.text = "a", .pair = "bc", .label = "0", .line = 1}, {.text = "d", .label = "1", .line = 2}},
        {{.text = "d", .label = "1", .line = 1}, {.text = "ab", .pair = "c", .label = "0", .line = 2}},
        {{.text = "ab", .pair = "c", .label = "1", .line = 1}, {.text = "d", .label = "1", .line = 2}},
        {{.text = "ab", .pair = "c", .label = "01", .line = 1}, {.text = "d", .label = "1", .line = 2}},
        {{.text = "abc", .label = "0", .line = 1}, {.text = "d", .label = "1", .line = 2}},
    };
    enum { N_SETS = sizeof(sets) / sizeof(*sets) };
    char hashes[N_SETS][HASH_HEX_SIZE], again[HASH_HEX_SIZE];
    for (int i = 0; i < N_SETS; i++) {
        struct rows rows = {.items = sets[i], .count = 2};
        dataset_hash(&rows, hashes[i]);
        for (int k = 0; k < i; k++)
            cr_expect_str_neq(hashes[i], hashes[k], "sets %d and %d", i, k);
        sets[i][0].line = 99;
        dataset_hash(&rows, again);
        cr_expect_str_eq(hashes[i], again, "the line is no part of an item");
    }
}

Test(dataset, order_is_a_permutation_by_seed_and_epoch)
{
    enum { N = 50 };
    uint32_t orders[4][N];
    bool seen[N] = {false};
    dataset_order(orders[0], N, 7, 0, true);
    dataset_order(orders[1], N, 7, 0, true);
    dataset_order(orders[2], N, 7, 1, true);
    dataset_order(orders[3], N, 8, 0, true);
    cr_expect_eq(memcmp(orders[0], orders[1], sizeof(orders[0])), 0);
    cr_expect_neq(memcmp(orders[0], orders[2], sizeof(orders[0])), 0);
    cr_expect_neq(memcmp(orders[0], orders[3], sizeof(orders[0])), 0);
    for (int i = 0; i < N; i++) {
        cr_assert_lt(orders[0][i], (uint32_t)N);
        cr_expect_not(seen[orders[0][i]]);
        seen[orders[0][i]] = true;
    }
    dataset_order(orders[0], N, 7, 0, false);
    for (uint32_t i = 0; i < N; i++)
        cr_expect_eq(orders[0][i], i);
}

static int weigh(const char *setting_text, real **weights, struct arena *arena, struct err *err)
{
    static const char *names[] = {"bad", "fair", "good", NULL};
    struct example examples[6] = {{.label = 0}, {.label = 0}, {.label = 0}, {.label = 1}, {.label = 1}, {.label = 2}};
    struct dataset train = {.examples = examples, .count = 6};
    struct labels labels = {names, 3};
    cJSON *setting = NULL;
    cr_assert_eq(json_parse(setting_text, strlen(setting_text), &setting, err), 0, "%s", err->message);
    int rc = dataset_class_weights(&train, &labels, setting, arena, weights, err);
    json_free(setting);
    return rc;
}

Test(dataset, class_weights_are_balanced_or_the_maps)
{
    struct arena arena = {0};
    struct err err = {0};
    real *weights;
    cr_assert_eq(weigh("\"none\"", &weights, &arena, &err), 0);
    cr_expect_null(weights);
    cr_assert_eq(weigh("\"balanced\"", &weights, &arena, &err), 0);
    cr_expect_float_eq(weights[0], 6.0 / (3 * 3), 1e-6);
    cr_expect_float_eq(weights[1], 6.0 / (3 * 2), 1e-6);
    cr_expect_float_eq(weights[2], 6.0 / (3 * 1), 1e-6);
    cr_assert_eq(weigh("{\"good\":2.5,\"bad\":0}", &weights, &arena, &err), 0);
    cr_expect_eq(weights[0], 0);
    cr_expect_eq(weights[1], 1);
    cr_expect_eq(weights[2], (real)2.5);
    cr_expect_eq(weigh("{\"goood\":2}", &weights, &arena, &err), ERR_USAGE);
    cr_expect(strstr(err.message, "'goood' is no label"), "%s", err.message);
    arena_done(&arena);
}

/* A word-level vocabulary: enough to see ids, cuts and errors. */
#define TOKENIZER                                                                                                      \
    "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[],\"normalizer\":null,"               \
    "\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"post_processor\":null,\"decoder\":null,"                       \
    "\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"[UNK]\":0,\"a\":1,\"b\":2,\"c\":3},\"unk_token\":\"[UNK]\"}}"

static struct tokenizer *open_tokenizer(void)
{
    struct temp temp;
    struct tokenizer *tokenizer = NULL;
    struct err err = {0};
    temp_open(&temp);
    temp_write(&temp, "tokenizer.json", TOKENIZER, strlen(TOKENIZER));
    cr_assert_eq(tokenizer_open(&tokenizer, temp.folder, &err), 0, "%s", err.message);
    temp_close(&temp);
    return tokenizer;
}

Test(dataset, encode_gives_tokens_labels_and_the_hash)
{
    static const char *names[] = {"no", "yes", NULL};
    struct labels labels = {names, 2};
    struct tokenizer *tokenizer = open_tokenizer();
    struct rows rows = {0};
    struct dataset dataset;
    struct err err = {0};
    char hash[HASH_HEX_SIZE];
    add(&rows, "c a", "yes");
    add(&rows, "b d a c", "no");
    cr_assert_eq(dataset_encode(&dataset, &rows, &labels, tokenizer, 3, &err), 0, "%s", err.message);
    cr_assert_eq(dataset.count, 2);
    cr_expect_eq(dataset.examples[0].label, 1);
    cr_expect_eq(dataset.examples[1].label, 0);
    cr_expect_eq(dataset.examples[0].n_tokens, 2);
    cr_expect_eq(dataset.examples[0].ids[0], 3);
    cr_expect_eq(dataset.examples[0].ids[1], 1);
    cr_expect_eq(dataset.examples[1].n_tokens, 3);
    cr_expect_eq(dataset.examples[1].ids[1], 0);
    cr_expect_eq(dataset.n_tokens, 5);
    cr_expect_eq(dataset.n_truncated, 1);
    dataset_hash(&rows, hash);
    cr_expect_str_eq(dataset.sha256, hash);
    dataset_done(&dataset);
    rows_done(&rows);
    tokenizer_close(tokenizer);
}

Test(dataset, encode_refuses_an_unknown_label_with_its_line)
{
    static const char *names[] = {"no", "yes", NULL};
    struct labels labels = {names, 2};
    struct tokenizer *tokenizer = open_tokenizer();
    struct rows rows = {0};
    struct dataset dataset;
    struct err err = {0};
    add(&rows, "a", "yes");
    add(&rows, "a", "maybe");
    cr_expect_eq(dataset_encode(&dataset, &rows, &labels, tokenizer, 3, &err), ERR_DATA);
    cr_expect(strstr(err.message, "'train.csv', line 3: label 'maybe'"), "%s", err.message);
    cr_expect(strstr(err.message, "'no', 'yes'"), "%s", err.message);
    dataset_done(&dataset);
    rows_done(&rows);
    tokenizer_close(tokenizer);
}
