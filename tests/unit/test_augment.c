/* Augmentation: each operation by what it may and may not do, ties to the seed, and the training split alone. */
#include "trainer/augment.h"

#include <math.h>

#include "tests/support/small_trial.h"

static struct arena arena;
static struct synonyms *synonyms;
static char folder[64];

static void setup(void)
{
    snprintf(folder, sizeof(folder), "/tmp/nightsweep-augment-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void teardown(void)
{
    synonyms_free(synonyms);
    arena_done(&arena);
    cr_assert_eq(file_remove_tree(folder, NULL), 0);
}

TestSuite(augment, .init = setup, .fini = teardown);

static const char *add_file(const char *name, const char *content)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    cr_assert_eq(file_write_atomic(path, content, strlen(content), NULL), 0);
    return path;
}

static const char *altered(const char *text, enum augment_operation operation, double rate, uint64_t seed, uint32_t row)
{
    return augment_text(text, operation, rate, synonyms, seed, 0, row, &arena);
}

/* How many words two texts have at different places, or −1 when their numbers differ. */
static int differing(const char *a, const char *b)
{
    char x[512], y[512], *s, *t;
    int n = 0;
    snprintf(x, sizeof(x), "%s", a);
    snprintf(y, sizeof(y), "%s", b);
    char *p = strtok_r(x, " ", &s), *q = strtok_r(y, " ", &t);
    for (; p && q; p = strtok_r(NULL, " ", &s), q = strtok_r(NULL, " ", &t))
        n += strcmp(p, q) != 0;
    return p || q ? -1 : n;
}

static int count(const char *text)
{
    int n = *text != '\0';
    for (; *text; text++)
        n += *text == ' ';
    return n;
}

static const char ten[] = "a b c d e f g h i j";

Test(augment, operations_alter_as_much_as_asked)
{
    struct err err;
    cr_assert_eq(synonyms_read(&synonyms, add_file("s", "# list\n a: alpha , first\nc: gamma\n"), &err), 0);
    for (uint32_t row = 0; row < 50; row++) {
        cr_expect_eq(differing(ten, altered(ten, AUGMENT_SWAP, 0.1, 1, row)), 2, "one swap moves two words");
        cr_expect_eq(count(altered(ten, AUGMENT_CUTOUT, 0.3, 1, row)), 7);
        cr_expect_eq(count(altered(ten, AUGMENT_INSERT, 0.2, 1, row)), 12);
        const char *text = altered("A, b c.", AUGMENT_SYNONYM, 1, 1, row);
        cr_expect(strcmp(text, "Alpha, b gamma.") == 0 || strcmp(text, "First, b gamma.") == 0,
                  "capital and punctuation stay: %s", text);
        cr_expect_str_eq(altered("b d", AUGMENT_SYNONYM, 1, 1, row), "b d", "the list has neither");
        cr_expect_str_eq(altered("b d", AUGMENT_INSERT, 1, 1, row), "b d");
        cr_expect_str_eq(altered(ten, AUGMENT_COPY, 1, 1, row), ten);
        cr_expect_eq(count(altered(ten, AUGMENT_DELETE, 1, 1, row)), 1, "one word stays");
        cr_expect_str_eq(altered("a", AUGMENT_CUTOUT, 1, 1, row), "a");
        cr_expect_str_eq(altered("a", AUGMENT_SWAP, 1, 1, row), "a");
        cr_expect_str_eq(altered("", AUGMENT_DELETE, 1, 1, row), "");
    }
}

Test(augment, deletion_keeps_its_rate)
{
    double words = 0;
    for (uint32_t row = 0; row < 2000; row++)
        words += count(altered(ten, AUGMENT_DELETE, 0.2, 3, row));
    /* 20,000 words, each kept with 0.8: five deviations of the share. */
    cr_expect_float_eq(words / 20000, 0.8, 5 * sqrt(0.16 / 20000));
}

Test(augment, draws_are_of_the_seed_and_the_row)
{
    int same_seed = 0, same_row = 0;
    for (uint32_t row = 0; row < 20; row++) {
        cr_expect_str_eq(altered(ten, AUGMENT_SWAP, 0.3, 1, row), altered(ten, AUGMENT_SWAP, 0.3, 1, row));
        same_seed += strcmp(altered(ten, AUGMENT_SWAP, 0.3, 1, row), altered(ten, AUGMENT_SWAP, 0.3, 2, row)) == 0;
        same_row += strcmp(altered(ten, AUGMENT_SWAP, 0.3, 1, row), altered(ten, AUGMENT_SWAP, 0.3, 1, row + 1)) == 0;
    }
    cr_expect(same_seed < 5 && same_row < 5);
}

static void refused(const char *content, const char *expected)
{
    struct err err = {0};
    cr_expect_eq(synonyms_read(&synonyms, add_file("s", content), &err), ERR_DATA);
    cr_expect(strstr(err.message, expected), "%s", err.message);
}

Test(augment, malformed_lists_name_the_line)
{
    refused("good: fine\nbad\n", "line 2: 'bad' has no ':'");
    refused("good: fine\n\ngood: nice\n", "line 3: 'good' stands there twice");
    refused("good: ,\n", "line 1: a word and at least one synonym");
    refused("# nothing\n", "has no words");
}

/* What opens a trial with these settings: how many rows each split has. */
static int open_with(struct small_trial *small, const char *settings, struct err *err)
{
    char all[512];
    snprintf(all, sizeof(all), "\"method\":\"linear_probe\",%s", settings);
    return small_open(small, "bert", all, err);
}

Test(augment, only_the_training_rows_get_copies)
{
    struct small_trial small;
    struct err err = {0};
    cr_assert_eq(open_with(&small, "\"augmentation\":[\"swap\",\"delete\"],\"augmentation_copies\":3", &err), 0, "%s",
                 err.message);
    cr_expect_eq(small.trial.train.count, 12 * 4);
    cr_expect_eq(small.trial.n_augmented, 36);
    cr_expect_eq(small.trial.validation.count, 6);
    for (size_t i = 0; i < 12; i++) {
        cr_expect_str_eq(small.trial.train_rows.items[12 + i].label, small.trial.train_rows.items[i].label);
        cr_expect_eq(count(small.trial.train_rows.items[12 + i].text), count(small.trial.train_rows.items[i].text),
                     "the first copies are swaps");
    }
    small_close(&small);
    cr_assert_eq(open_with(&small, "\"augmentation\":\"none\"", &err), 0, "%s", err.message);
    cr_expect(small.trial.train.count == 12 && small.trial.n_augmented == 0);
    small_close(&small);
}

Test(augment, back_translation_is_another_column)
{
    struct small_trial small;
    struct err err = {0};
    struct rows rows = {0};
    size_t added = 0;
    const char *path = add_file("t.jsonl", "{\"text\":\"a b\",\"label\":1,\"back\":\"b of a\"}\n"
                                           "{\"text\":\"c\",\"label\":0,\"back\":\"see\"}\n");
    cJSON *task = cJSON_Parse("{\"text\":\"text\",\"label\":\"label\"}"),
          *settings = cJSON_Parse("{\"augmentation\":\"back_translation\",\"augmentation_column\":\"back\"}");
    cr_assert_eq(rows_read(&rows, path, task, 1, &err), 0, "%s", err.message);
    cr_assert_eq(augment_rows(&rows, path, task, settings, 1, &added, &err), 0, "%s", err.message);
    cr_expect(added == 1 && rows.count == 2);
    cr_expect_str_eq(rows.items[1].text, "b of a");
    cr_expect_str_eq(rows.items[1].label, "1");
    rows_done(&rows);
    cJSON_Delete(task);
    cJSON_Delete(settings);
    cr_expect_eq(open_with(&small, "\"augmentation\":\"back_translation\"", &err), ERR_USAGE);
    cr_expect(strstr(err.message, "augmentation_column"), "%s", err.message);
    small_close(&small);
    cr_expect_eq(open_with(&small, "\"augmentation\":\"synonym\"", &err), ERR_USAGE);
    cr_expect(strstr(err.message, "augmentation_words"), "%s", err.message);
    small_close(&small);
}

Test(augment, the_list_that_comes_with_the_program_can_be_read)
{
    struct err err = {0};
    cr_assert_eq(synonyms_read(&synonyms, "sweeps/synonyms.txt", &err), 0, "%s", err.message);
    cr_expect_str_neq(altered("The film was good.", AUGMENT_SYNONYM, 1, 1, 1), "The film was good.");
}
