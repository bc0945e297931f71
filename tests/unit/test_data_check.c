/* Duplicates against all pairs compared, and a task's findings with everything planted that they must find. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/rng.h"
#include "tests/support/temp.h"
#include "trainer/data_check.h"
#include "trainer/duplicates.h"

enum { TEXTS = 200, TEXT_BYTES = 200 };

Test(data_check, every_pair_that_is_near_is_found_and_no_other)
{
    /* Families of texts that differ in more and more letters: similarities from 0 to 1. */
    static char texts[TEXTS][TEXT_BYTES + 1];
    const char *list[TEXTS];
    struct rng_stream stream = rng_stream(rng_make(5, RNG_SPLIT), 0, 0, 0);
    for (int i = 0; i < TEXTS; i++) {
        for (int k = 0; k < TEXT_BYTES; k++)
            texts[i][k] = i % 10 ? texts[i - 1][k] : (char)('a' + rng_below(&stream, 26));
        for (uint32_t k = 0; i % 10 && k < (uint32_t)(i / 10); k++)
            texts[i][rng_below(&stream, TEXT_BYTES)] = (char)('a' + rng_below(&stream, 26));
        list[i] = texts[i];
    }
    struct arena arena = {0};
    struct duplicates found;
    struct err err = {0};
    cr_assert_eq(duplicates_find(&found, list, TEXTS, &arena, &err), 0, "%s", err.message);
    size_t near = 0, next = 0;
    for (uint32_t a = 0; a < TEXTS; a++)
        for (uint32_t b = a + 1; b < TEXTS; b++) {
            double similarity;
            cr_assert_eq(duplicates_similarity(list[a], list[b], &similarity, &err), 0);
            if (found.first[a] != a || found.first[b] != b || similarity < DUPLICATES_SIMILARITY)
                continue;
            near++;
            while (next < found.n_pairs && (found.pairs[next].a != a || found.pairs[next].b != b))
                next++;
            cr_expect_lt(next, found.n_pairs, "%u and %u, similarity %g, are missing", a, b, similarity);
        }
    cr_expect_eq(near, found.n_pairs);
    cr_expect_gt(near, 50, "%zu near pairs", near);
    arena_done(&arena);
}

Test(data_check, similarity_by_hand)
{
    double similarity = 0;
    struct err err;
    /* abcde bcdef against abcde bcdeg: one of three. */
    cr_assert_eq(duplicates_similarity("abcdef", "abcdeg", &similarity, &err), 0);
    cr_expect_float_eq(similarity, 1.0 / 3, 1e-15);
    /* Case, white space and the Unicode form do not count. */
    cr_assert_eq(duplicates_similarity("Caf\xc3\xa9  au\tlait ", "cafe\xcc\x81 AU lait", &similarity, &err), 0);
    cr_expect_float_eq(similarity, 1, 0);
    cr_assert_eq(duplicates_similarity("abc", "abd", &similarity, &err), 0);
    cr_expect_float_eq(similarity, 0, 0, "texts shorter than a shingle are one shingle");
    cr_assert_eq(duplicates_similarity("", " ", &similarity, &err), 0);
    cr_expect_float_eq(similarity, 1, 0);
}

/* The task ----------------------------------------------------------------------------------------------------------
 */

static const char long_text[] =
    "a long enough sentence about a film that was watched twice on a rainy evening in spring";

static cJSON *check_files(const char *train, const char *test)
{
    struct temp temp;
    struct err err = {0};
    struct text out = {0};
    cJSON *request = NULL, *findings = NULL;
    char json[2 * TEMP_PATH_SIZE + 512];
    temp_open(&temp);
    temp_write(&temp, "train.jsonl", train, strlen(train));
    temp_write(&temp, "test.jsonl", test, strlen(test));
    snprintf(json, sizeof(json),
             "{\"task\":{\"kind\":\"classification\",\"train\":\"%.4000s/train.jsonl\",\"validation\":null,\"test\":"
             "\"%.4000s/test.jsonl\",\"text\":\"text\",\"label\":\"label\"}}",
             temp.folder, temp.folder);
    cr_assert_eq(json_parse(json, strlen(json), &request, &err), 0, "%s", err.message);
    cr_assert_eq(data_check(request, &out, &err), 0, "%s", err.message);
    cr_assert_eq(json_parse(out.data, out.len, &findings, &err), 0, "%s in %s", err.message, out.data);
    json_free(request);
    text_done(&out);
    temp_close(&temp);
    return findings;
}

static double number(const cJSON *object, const char *key)
{
    const cJSON *value = json_get(object, key);
    cr_assert(cJSON_IsNumber(value), "'%s' is no number", key);
    return value->valuedouble;
}

Test(data_check, everything_planted_is_found)
{
    char train[2048], test[2048];
    snprintf(train, sizeof(train),
             "{\"text\":\"%s\",\"label\":1}\n" /* line 1 */
             "{\"text\":\"bad film\",\"label\":0}\n"
             "{\"text\":\"Bad  FILM\",\"label\":1}\n" /* equal to line 2, another label */
             "{\"text\":\"fine\",\"label\":1}\n",
             long_text);
    snprintf(test, sizeof(test),
             "{\"text\":\"%s!\",\"label\":0}\n" /* nearly line 1, another label */
             "{\"text\":\"fine\",\"label\":1}\n"
             "{\"text\":\"something else\",\"label\":0}\n",
             long_text);
    cJSON *findings = check_files(train, test);
    const cJSON *split = json_get(findings, "splits")->child, *duplicates = json_get(findings, "duplicates");
    cr_expect_eq(number(split, "rows"), 4);
    cr_expect_eq(number(json_get(split, "labels"), "1"), 3);
    /* Entropy of 3/4, 1/4 in bits. */
    cr_expect_float_eq(number(split, "balance"), 0.8112781244591328, 1e-12);
    cr_expect_eq(number(split, "largest_by_smallest"), 3);
    cr_expect_eq(number(json_get(split, "characters"), "min"), 4);
    cr_expect_eq(cJSON_GetArraySize(duplicates), 3, "train-train, train-test, test-test");
    const cJSON *own = duplicates->child, *leak = own->next;
    cr_expect(number(own, "equal") == 1 && number(own, "near") == 0);
    cr_expect(number(leak, "equal") == 1 && number(leak, "near") == 1, "%g, %g", number(leak, "equal"),
              number(leak, "near"));
    const cJSON *example = json_get(leak, "examples")->child;
    cr_expect_str_eq(json_get(example->child, "split")->valuestring, "train");
    cr_expect_eq(number(example->child, "line"), 1);
    cr_expect_eq(number(example->child->next, "line"), 1);
    const cJSON *conflicts = json_get(findings, "label_conflicts");
    cr_expect(number(conflicts, "equal") == 1 && number(conflicts, "near") == 1);
    json_free(findings);
}

Test(data_check, clean_data_has_no_findings)
{
    cJSON *findings = check_files("{\"text\":\"one\",\"label\":0}\n", "{\"text\":\"two\",\"label\":1}\n");
    const cJSON *overlap;
    cJSON_ArrayForEach(overlap, json_get(findings, "duplicates"))
        cr_expect(number(overlap, "equal") == 0 && number(overlap, "near") == 0);
    cr_expect_eq(number(json_get(findings, "label_conflicts"), "equal"), 0);
    cr_expect(cJSON_IsNull(json_get(findings, "label_errors")), "too few rows to say");
    json_free(findings);
}

Test(data_check, a_turned_label_is_named_with_its_line)
{
    struct text train = {0};
    for (int i = 0; i < 80; i++)
        text_printf(&train, "{\"text\":\"take %d of it was %s\",\"label\":%d}\n", i, i % 2 ? "dull" : "lovely",
                    (i % 2 == 0) != (i == 40));
    cJSON *findings = check_files(train.data, "{\"text\":\"two\",\"label\":1}\n");
    const cJSON *errors = json_get(findings, "label_errors"), *first = json_get(errors, "examples")->child;
    cr_expect_eq(number(errors, "rows"), 80);
    cr_assert_not_null(first);
    cr_expect_eq(number(first, "line"), 41);
    cr_expect_str_eq(json_get(first, "label")->valuestring, "0");
    cr_expect_str_eq(json_get(first, "suggested")->valuestring, "1");
    json_free(findings);
    text_done(&train);
}
