/* Tokens kept in files: the same as encoding, also after damage; nothing for others' rows. */
#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/temp.h"
#include "trainer/token_cache.h"

static struct err err;

static void add_rows(struct rows *rows, int n, const char *last)
{
    static char texts[700][32];
    for (int i = 0; i < n; i++) {
        snprintf(texts[i], sizeof(texts[i]), "w%d w%d %s", 6 + i % 60, 9 + i % 50, i == n - 1 ? last : "w7");
        struct row row = {.text = texts[i], .label = i % 2 ? "yes" : "no", .line = (uint32_t)i + 1};
        cr_assert_eq(rows_add(rows, row, &err), 0);
    }
}

static void expect_equal(const struct dataset *a, const struct dataset *b)
{
    cr_assert_eq(a->count, b->count);
    cr_assert_eq(a->n_tokens, b->n_tokens);
    cr_assert_eq(a->n_truncated, b->n_truncated);
    cr_assert_str_eq(a->sha256, b->sha256);
    for (size_t i = 0; i < a->count; i++) {
        const struct example *x = &a->examples[i], *y = &b->examples[i];
        cr_assert(x->n_tokens == y->n_tokens && x->label == y->label, "example %zu", i);
        cr_assert_eq(memcmp(x->ids, y->ids, (size_t)x->n_tokens * sizeof(*x->ids)), 0, "example %zu", i);
        cr_assert_eq(memcmp(x->type_ids, y->type_ids, (size_t)x->n_tokens), 0, "example %zu", i);
    }
}

/* One byte of every file is another. */
static void damage(const char *folder)
{
    char pattern[TEMP_PATH_SIZE + 16];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*.tokens", folder);
    cr_assert_eq(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        FILE *file = fopen(found.gl_pathv[i], "r+b");
        cr_assert(file && fseek(file, 100, SEEK_SET) == 0 && fputc('X', file) == 'X' && fclose(file) == 0);
    }
    globfree(&found);
}

Test(token_cache, gives_what_encoding_gives)
{
    struct temp temp;
    temp_open(&temp);
    const char *folder = temp.folder;
    struct rows rows = {.path = strdup("test")}, others = {.path = strdup("others")};
    struct labels labels;
    struct tokenizer *tokenizer;
    struct dataset plain, first, again, repaired, other;
    add_rows(&rows, 600, "w8");
    cr_assert_eq(tokenizer_open(&tokenizer, "tests/golden/cases/models/bert", &err), 0, "%s", err.message);
    cr_assert_eq(labels_make(&labels, &rows, &err), 0);
    cr_assert_eq(dataset_encode(&plain, &rows, &labels, tokenizer, 5, &err), 0, "%s", err.message);
    cr_assert_eq(dataset_encode_cached(&first, &rows, &labels, tokenizer, "t", 5, folder, &err), 0);
    cr_assert_eq(dataset_encode_cached(&again, &rows, &labels, tokenizer, "t", 5, folder, &err), 0);
    damage(folder);
    cr_assert_eq(dataset_encode_cached(&repaired, &rows, &labels, tokenizer, "t", 5, folder, &err), 0);
    expect_equal(&first, &plain);
    expect_equal(&again, &plain);
    expect_equal(&repaired, &plain);
    add_rows(&others, 600, "w9");
    cr_assert_eq(dataset_encode_cached(&other, &others, &labels, tokenizer, "t", 5, folder, &err), 0);
    cr_expect_str_neq(other.sha256, plain.sha256);
    dataset_done(&plain);
    dataset_done(&first);
    dataset_done(&again);
    dataset_done(&repaired);
    dataset_done(&other);
    labels_done(&labels);
    rows_done(&rows);
    rows_done(&others);
    tokenizer_close(tokenizer);
    temp_close(&temp);
}
