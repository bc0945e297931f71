/* BLEU, chrF and chrF++ against sacrebleu's scores (tests/stats/make_translation.py), and what they are made of. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "common/bleu.h"
#include "common/chrf.h"
#include "common/json.h"
#include "common/ngrams.h"

static void add_segments(const cJSON *corpus, struct bleu *bleu, struct chrf *chrf, struct chrf *chrf_words)
{
    const cJSON *hypotheses = json_get(corpus, "hypotheses"), *lists = json_get(corpus, "references"), *hypothesis;
    int i = 0;
    struct err err;
    cJSON_ArrayForEach(hypothesis, hypotheses)
    {
        const char *references[BLEU_MAX_REFERENCES];
        const cJSON *list;
        int n = 0;
        cJSON_ArrayForEach(list, lists) references[n++] = cJSON_GetArrayItem(list, i)->valuestring;
        cr_assert_eq(bleu_add(bleu, hypothesis->valuestring, references, n, &err), 0);
        cr_assert_eq(chrf_add(chrf, hypothesis->valuestring, references, n, &err), 0);
        cr_assert_eq(chrf_add(chrf_words, hypothesis->valuestring, references, n, &err), 0);
        i++;
    }
}

static void expect(const cJSON *corpus, const char *key, double got)
{
    double want = json_get(corpus, key)->valuedouble;
    cr_expect(fabs(got - want) <= 1e-9, "%s of '%s': %.15g, sacrebleu says %.15g", key,
              json_get(corpus, "name")->valuestring, got, want);
}

Test(translation_metrics, scores_equal_sacrebleus)
{
    cJSON *root = NULL;
    const cJSON *corpus;
    struct err err;
    int n = 0;
    cr_assert_eq(json_read_file("tests/stats/translation.json", &root, &err), 0, "%s", err.message);
    cJSON_ArrayForEach(corpus, json_get(root, "corpora"))
    {
        struct bleu bleu = {0};
        struct chrf chrf = {0}, chrf_words = {.word_orders = CHRF_WORD_ORDERS};
        add_segments(corpus, &bleu, &chrf, &chrf_words);
        expect(corpus, "bleu", bleu_score(&bleu));
        expect(corpus, "chrf", chrf_score(&chrf));
        expect(corpus, "chrf++", chrf_score(&chrf_words));
        n++;
    }
    cr_expect_geq(n, 16);
    json_free(root);
}

Test(translation_metrics, nothing_scores_nothing)
{
    struct bleu bleu = {0};
    struct chrf chrf = {0};
    struct err err;
    cr_expect_eq(bleu_score(&bleu), 0);
    cr_expect_eq(chrf_score(&chrf), 0);
    cr_expect_eq(bleu_add(&bleu, "a", NULL, 0, &err), ERR_USAGE);
}

Test(translation_metrics, tokens_by_hand)
{
    struct text out = {0};
    struct arena arena = {0};
    int n;
    bleu_tokenize(&out, "U.S. costs $1,000.50 (net)");
    struct word *words = ngrams_split(out.data, out.len, &n, &arena);
    static const char *const wanted[] = {"U", ".", "S", ".", "costs", "$", "1,000.50", "(", "net", ")"};
    cr_assert_eq(n, 10, "%d words: %s", n, out.data);
    for (int i = 0; i < n; i++)
        cr_expect(strlen(wanted[i]) == (size_t)words[i].bytes &&
                      memcmp(wanted[i], words[i].start, strlen(wanted[i])) == 0,
                  "word %d is not '%s': %s", i, wanted[i], out.data);
    text_done(&out);
    arena_done(&arena);
}

Test(translation_metrics, matches_are_clipped_by_the_reference_that_has_most)
{
    static const uint32_t a[] = {1, 1, 1, 2}, b[] = {1, 2, 2}, c[] = {1, 1, 3};
    struct arena arena = {0};
    struct ngrams x, others[2];
    struct err err;
    cr_assert_eq(ngrams_sort(&x, a, 4, 1, &arena, &err), 0);
    cr_assert_eq(ngrams_sort(&others[0], b, 3, 1, &arena, &err), 0);
    cr_assert_eq(ngrams_sort(&others[1], c, 3, 1, &arena, &err), 0);
    cr_expect_eq(ngrams_match(&x, others, 1), 2);
    cr_expect_eq(ngrams_match(&x, others, 2), 3);
    cr_assert_eq(ngrams_sort(&x, a, 4, 5, &arena, &err), 0);
    cr_expect_eq(x.n, 0);
    arena_done(&arena);
}
