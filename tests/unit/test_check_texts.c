/* Checks that ask a model about texts: a masked head planted so that its answers are known, shared tokens, the probe,
 * and malformed item files, which name file and line. */
#include <math.h>

#include "common/json.h"
#include "tests/support/small_trial.h"
#include "trainer/check.h"
#include "trainer/check_file.h"
#include "trainer/features.h"
#include "trainer/likelihood.h"
#include "trainer/matching.h"
#include "trainer/safetensors.h"

static struct small_trial small;
static char folder[64];

enum { HIDDEN = 32, MOST = 256 };

static void add_file(const char *name, const char *content)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    cr_assert_eq(file_write_atomic(path, content, strlen(content), NULL), 0);
}

static void copy_file(const char *name)
{
    char path[256], *data = NULL;
    size_t n = 0;
    snprintf(path, sizeof(path), "tests/golden/cases/models/bert/%s", name);
    cr_assert_eq(file_read(path, 1 << 24, &data, &n, NULL), 0);
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    cr_assert_eq(file_write_atomic(path, data, n, NULL), 0);
    free(data);
}

static int vocabulary;

/* The golden BERT with a head whose layer norm gives zeros: every answer is softmax(bias), whatever the body does.
 * A word level tokenizer with a mask; biases ln 4 for w6 and 0 for the others. */
static void make_model(void)
{
    struct safetensors *base = NULL;
    struct tensor_source sources[MOST];
    struct text tokens = {0};
    static real zeros[HIDDEN * HIDDEN], bias[4096];
    size_t n = 0;
    char path[256];
    snprintf(folder, sizeof(folder), "/tmp/nightsweep-masked-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    copy_file("config.json");
    cr_assert_eq(safetensors_open_model(&base, "tests/golden/cases/models/bert", NULL), 0);
    for (size_t i = 0; i < safetensors_count(base); i++) {
        const struct tensor *tensor = safetensors_at(base, i);
        sources[n++] = (struct tensor_source){tensor->name, tensor->n_dims, tensor->shape, safetensors_view(tensor)};
        if (strstr(tensor->name, "word_embeddings"))
            vocabulary = (int)tensor->shape[0];
    }
    static const int64_t square[] = {HIDDEN, HIDDEN}, vector[] = {HIDDEN};
    static int64_t words[1];
    words[0] = vocabulary;
    bias[6] = (real)log(4);
    const struct tensor_source head[] = {
        {"cls.predictions.transform.dense.weight", 2, square, zeros},
        {"cls.predictions.transform.dense.bias", 1, vector, zeros},
        {"cls.predictions.transform.LayerNorm.weight", 1, vector, zeros},
        {"cls.predictions.transform.LayerNorm.bias", 1, vector, zeros},
        {"cls.predictions.bias", 1, words, bias},
    };
    for (size_t i = 0; i < 5; i++)
        sources[n++] = head[i];
    snprintf(path, sizeof(path), "%s/model.safetensors", folder);
    cr_assert_eq(safetensors_write(path, sources, n, NULL), 0);
    safetensors_close(base);
    text_add(&tokens,
             "{\"added_tokens\":[{\"id\":4,\"content\":\"[MASK]\",\"special\":true}],\"normalizer\":null,"
             "\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"post_processor\":null,\"model\":{\"type\":"
             "\"WordLevel\",\"unk_token\":\"[UNK]\",\"vocab\":{\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,"
             "\"[MASK]\":4");
    for (int i = 5; i < vocabulary; i++)
        text_printf(&tokens, ",\"w%d\":%d", i, i);
    text_add(&tokens, "}}}");
    add_file("tokenizer.json", tokens.data);
    text_done(&tokens);
}

static int open_small(const char *model, struct err *err)
{
    return small_open(&small, model, "\"method\":\"linear_probe\"", err);
}

/* small_open's models lie below tests/golden/cases/models: the way from there. */
static void open_masked(void)
{
    struct err err = {0};
    char way[128];
    make_model();
    snprintf(way, sizeof(way), "../../../..%s%s", "/../../../../../../../../..", folder);
    cr_assert_eq(open_small(way, &err), 0, "%s", err.message);
}

static void close_masked(void)
{
    small_close(&small);
    cr_assert_eq(file_remove_tree(folder, NULL), 0);
}

Test(check_texts, a_masked_head_answers_as_planted)
{
    struct likelihood likelihood;
    struct scored_text texts[2];
    struct err err = {0};
    open_masked();
    cr_assert_eq(likelihood_open(&likelihood, &small.trial, &err), 0, "%s", err.message);
    cr_expect_eq(likelihood.head.mask_id, 4);
    cr_assert_eq(likelihood_encode(&likelihood, "w6 w7 w8", &texts[0], &err), 0);
    cr_assert_eq(likelihood_encode(&likelihood, "w6", &texts[1], &err), 0);
    cr_assert_eq(likelihood_score(&likelihood, texts, 2, &err), 0, "%s", err.message);
    /* p(w6) = 4/(V + 3), of each other word 1/(V + 3). */
    double all = vocabulary + 3.0;
    cr_expect_float_eq(texts[0].log_p, log(4 / all) + 2 * log(1 / all), 1e-5);
    cr_expect_float_eq(texts[0].mean_p, 2 / all, 1e-7);
    cr_expect_float_eq(texts[1].log_p, log(4 / all), 1e-6);
    likelihood_thin(&texts[0], 1);
    cr_expect(texts[0].n_positions == 1 && texts[0].positions[0] == 1, "the middle one");
    likelihood_close(&likelihood);
    close_masked();
}

static char sent[1 << 18];

static const cJSON *record_of(const struct check_kind *kind, const char *file, const char *options, cJSON **root)
{
    struct err err = {0};
    struct trial_check *check = small.job.checks;
    cJSON *own = cJSON_Parse(options);
    small.job.n_checks = 1;
    *check = (struct trial_check){.name = "0:check", .kind = kind->name, .file = file, .options = own};
    records_done(&small.records);
    fclose(small.out);
    memset(sent, 0, sizeof(sent));
    small.out = fmemopen(sent, sizeof(sent), "w");
    records_init(&small.records, small.out, 1);
    cr_assert_eq(kind->fits(&small.trial, check, &err), 0, "%s: %s", kind->name, err.message);
    cr_assert_eq(kind->run(&small.trial, check, &err), 0, "%s: %s", kind->name, err.message);
    fflush(small.out);
    cJSON_Delete(own);
    const char *line = strstr(sent, "{\"v\":1,\"type\":\"check\"");
    *root = cJSON_Parse(line ? line : "");
    cr_assert_not_null(*root, "%.300s", sent);
    return json_get(*root, "metrics");
}

static double metric_of(const struct check_kind *kind, const char *name, const char *content, const char *metric,
                        const char *options)
{
    char path[256];
    cJSON *root;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    add_file(name, content);
    const cJSON *value = json_get(record_of(kind, path, options, &root), metric);
    double number = cJSON_IsNumber(value) ? value->valuedouble : NAN;
    json_free(root);
    return number;
}

/* Only w6 is likelier than the others, by a factor of four: each check must find that, in the way it looks. */
Test(check_texts, every_check_finds_a_planted_preference)
{
    open_masked();
    double all = vocabulary + 3.0;
    cr_expect_float_eq(metric_of(&check_perplexity, "a.jsonl", "{\"text\":\"w6 w9\"}\n{\"text\":\"w6 w8\"}\n",
                                 "pseudo_perplexity", "{\"positions\":\"all\"}"),
                       all / 2, 1e-4 * all);
    /* w6 against w7 in the gap; w8 is unrelated: as likely as w7. */
    cr_expect_eq(metric_of(&check_stereoset, "b.json",
                           "{\"data\":{\"intrasentence\":[{\"id\":\"x\",\"target\":\"w9\",\"context\":\"w9 BLANK.\","
                           "\"sentences\":[{\"sentence\":\"w9 w7.\",\"gold_label\":\"anti-stereotype\"},{\"sentence\":"
                           "\"w9 w6.\",\"gold_label\":\"stereotype\"},{\"sentence\":\"w9 w8.\",\"gold_label\":"
                           "\"unrelated\"}]}]}}",
                           "ss", "{}"),
                 100);
    /* The same as sentences that follow: w6 is the likeliest, the other two are alike. */
    const char *follows =
        "{\"data\":{\"intrasentence\":[],\"intersentence\":[{\"id\":\"x\",\"target\":\"w9\",\"context\":\"w9 w10\","
        "\"sentences\":[{\"sentence\":\"w7\",\"gold_label\":\"anti-stereotype\"},{\"sentence\":\"w6\","
        "\"gold_label\":\"stereotype\"},{\"sentence\":\"w8\",\"gold_label\":\"unrelated\"}]}]}}";
    cr_expect_eq(metric_of(&check_stereoset, "f.json", follows, "ss", "{\"part\":\"intersentence\"}"), 100);
    cr_expect_eq(metric_of(&check_stereoset, "f.json", follows, "lms", "{\"part\":\"both\"}"), 50);
    /* The shared tokens are asked for: they are alike here, the pair is a tie, which is no stereotype. */
    cr_expect_eq(metric_of(&check_crows_pairs, "c.csv",
                           "sent_more,sent_less,stereo_antistereo\nw9 w6 w8,w9 w7 w8,stereo\n", "stereotype_share",
                           "{}"),
                 0);
    /* The answer w6 is chosen; it is the target of a negative question that the text does not decide. */
    const char *question =
        "{\"context\":\"w9 w10\",\"question\":\"w11\",\"context_condition\":\"ambig\","
        "\"question_polarity\":\"neg\",\"ans0\":\"w7\",\"ans1\":\"w6\",\"ans2\":\"w8\",\"label\":2,"
        "\"answer_info\":{\"ans0\":[\"w7\",\"m\"],\"ans1\":[\"w6\",\"F\"],\"ans2\":[\"w8\",\"unknown\"]},"
        "\"additional_metadata\":{\"stereotyped_groups\":[\"f\"]}}\n";
    cr_expect_float_eq(metric_of(&check_bbq, "d.jsonl", question, "bias_ambiguous", "{}"), 1, 1e-12);
    cr_expect(isnan(metric_of(&check_bbq, "d.jsonl", question, "accuracy_disambiguated", "{}")), "none such: null");
    close_masked();
}

/* A sample is the same one each time, a part of the file, and all of it when it is not larger. */
Test(check_texts, a_sample_of_pairs)
{
    cJSON *few, *again, *all;
    char path[256];
    struct text text = {0};
    open_masked();
    text_add(&text, "sent_more,sent_less,stereo_antistereo\n");
    for (int i = 10; i < 40; i++)
        text_printf(&text, "w6 w%d w%d,w7 w%d w%d,stereo\n", i, i + 1, i, i + 1);
    snprintf(path, sizeof(path), "%s/many.csv", folder);
    add_file("many.csv", text.data);
    text_done(&text);
    (void)record_of(&check_crows_pairs, path, "{\"sample\":\"20\"}", &few);
    (void)record_of(&check_crows_pairs, path, "{\"sample\":\"20\"}", &again);
    (void)record_of(&check_crows_pairs, path, "{\"sample\":\"200\"}", &all);
    const char *hashes[] = {json_get(few, "item_set_sha256")->valuestring,
                            json_get(again, "item_set_sha256")->valuestring,
                            json_get(all, "item_set_sha256")->valuestring};
    cr_expect_eq(json_get(few, "n_items")->valueint, 20);
    cr_expect_eq(json_get(all, "n_items")->valueint, 30);
    cr_expect_str_eq(hashes[0], hashes[1]);
    cr_expect_str_neq(hashes[0], hashes[2]);
    json_free(few);
    json_free(again);
    json_free(all);
    close_masked();
}

/* What is said of the file must be in the message, with the line. */
static void refused(const struct check_kind *kind, const char *name, const char *content, const char *options,
                    const char *expected)
{
    struct err err = {0};
    char path[256];
    cJSON *own = cJSON_Parse(options);
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    add_file(name, content);
    const struct trial_check check = {.name = "0:check", .kind = kind->name, .file = path, .options = own};
    cr_expect_lt(kind->fits(&small.trial, &check, &err), 0, "%s took %s", kind->name, content);
    cr_expect(strstr(err.message, expected), "%s: '%s' is not in '%s'", kind->name, expected, err.message);
    cJSON_Delete(own);
}

Test(check_texts, malformed_files_name_the_line)
{
    open_masked();
    refused(&check_perplexity, "t.jsonl", "{\"text\":\"w6\"}\n{\"txt\":\"w6\"}\n", "{}", "line 2");
    refused(&check_perplexity, "t.jsonl", "{\"text\":\"w6\"}\n", "{\"positions\":\"many\"}", "'many'");
    refused(&check_perplexity, "t.jsonl", "", "{}", "no rows");
    refused(&check_probe, "t.jsonl", "{\"text\":\"w6\",\"label\":1,\"split\":\"dev\"}\n", "{}",
            "line 1: split is 'dev', train or test");
    refused(&check_probe, "t.jsonl", "{\"text\":\"w6\",\"label\":1,\"split\":\"test\"}\n", "{}", "0 rows of train");
    refused(&check_crows_pairs, "t.csv", "sent_more,sent_less,stereo_antistereo\nw6,w7,stereo\nw6,w7,other\n", "{}",
            "line 3: stereo_antistereo is 'other'");
    refused(&check_crows_pairs, "t.csv", "sent_more,sent_less,stereo_antistereo\nw6,w6,stereo\n", "{}",
            "both sentences are the same");
    refused(&check_weat, "t.jsonl", "{\n\"targ1\":{\"examples\":[\"w6\"]},\n\"targ2\":{\"examples\":[]}}", "{}",
            "line 3: targ2.examples: the list is empty");
    refused(&check_weat, "t.jsonl", "{\"targ1\":\n oops}", "{}", "line 2");
    refused(&check_stereoset, "t.json",
            "{\"data\":{\"intrasentence\":[\n{\"id\":\"q7\",\"context\":\"w6 "
            "BLANK\",\"target\":\"w6\",\"sentences\":[]}]}}",
            "{}", "line 2: item 'q7'");
    refused(&check_stereoset, "t.json",
            "{\"data\":{\"intrasentence\":[{\"id\":\"q\",\"context\":\"w6\",\"target\":\"w6\"}]}}", "{}",
            "has no BLANK");
    refused(&check_stereoset, "t.json",
            "{\"data\":{\"intrasentence\":[{\"target\":\"w9\",\"context\":\"w9 w8 BLANK\",\"sentences\":[{\"sentence\":"
            "\"w9 w8 w7\",\"gold_label\":\"stereotype\"},{\"sentence\":\"w9\",\"gold_label\":\"anti-stereotype\"},"
            "{\"sentence\":\"w9 w8 w5\",\"gold_label\":\"unrelated\"}]}]}}",
            "{}", "item 1: the word for the gap of 'w9 w8 BLANK' has no tokens");
    refused(&check_stereoset, "t.json", "{\"data\":{\"intrasentence\":[]}}", "{\"part\":\"middle\"}", "part: 'middle'");
    refused(&check_stereoset, "t.json", "{\"data\":{\"intersentence\":[]}}", "{\"part\":\"intersentence\"}",
            "data.intersentence is empty");
    refused(&check_crows_pairs, "t.csv", "sent_more,sent_less,stereo_antistereo\nw6,w7,stereo\n",
            "{\"sample\":\"few\"}", "sample: 'few'");
    refused(&check_bbq, "t.jsonl", "{}", "{}", "line 1");
    refused(&check_bbq, "t.jsonl", "\n{\"context\":\"w\",\"question\":\"w\",\"context_condition\":\"vague\"}", "{}",
            "line 2: context_condition is 'vague', ambig or disambig");
    close_masked();
}

Test(check_texts, a_model_without_the_head_is_refused)
{
    struct err err = {0};
    const struct trial_check check = {.name = "0:perplexity", .kind = "perplexity", .file = "x"};
    cr_assert_eq(open_small("bert", &err), 0, "%s", err.message);
    cr_expect_eq(check_perplexity.fits(&small.trial, &check, &err), ERR_UNSUPPORTED);
    cr_expect(strstr(err.message, "cls.predictions.transform.dense.weight"), "%s", err.message);
    cr_expect_eq(check_bbq.fits(&small.trial, &check, &err), ERR_UNSUPPORTED);
    small_close(&small);
    cr_assert_eq(open_small("gpt2", &err), 0, "%s", err.message);
    cr_expect_eq(check_stereoset.fits(&small.trial, &check, &err), ERR_UNSUPPORTED);
    cr_expect(strstr(err.message, "that classifies has no head"), "%s", err.message);
    small_close(&small);
}

static int match(const int32_t *a, int n, const int32_t *b, int m, int32_t *in_a, int32_t *in_b)
{
    struct arena arena = {0};
    int count = matching_tokens(a, n, b, m, in_a, in_b, &arena);
    arena_done(&arena);
    return count;
}

Test(check_texts, shared_tokens_as_difflib_finds_them)
{
    const int32_t a[] = {2, 5, 6, 7, 8, 3}, b[] = {2, 9, 6, 7, 3}, none[] = {40, 41};
    int32_t in_a[6], in_b[6];
    cr_assert_eq(match(a, 6, b, 5, in_a, in_b), 4);
    cr_expect(in_a[0] == 0 && in_a[1] == 2 && in_a[2] == 3 && in_a[3] == 5);
    cr_expect(in_b[0] == 0 && in_b[1] == 2 && in_b[2] == 3 && in_b[3] == 4);
    cr_expect_eq(match(a, 6, none, 2, in_a, in_b), 0);
    cr_expect_eq(match(a, 0, b, 5, in_a, in_b), 0);
    /* Two equally long runs: the earliest in a, then in b. */
    const int32_t twice[] = {1, 2, 9, 1, 2}, once[] = {1, 2};
    cr_assert_eq(match(once, 2, twice, 5, in_a, in_b), 2);
    cr_expect(in_b[0] == 0 && in_b[1] == 1);
    cr_assert_eq(match(twice, 5, once, 2, in_a, in_b), 2);
    cr_expect(in_a[0] == 0 && in_a[1] == 1);
}

Test(check_texts, a_probe_by_hand)
{
    /* One feature tells the classes apart; one has no variance; a row far away follows the side it is on. */
    const double x[] = {1, 5, 3, 5, -1, 5, -3, 5}, test[] = {100, 5, -0.5, 5, 0.5, 7};
    const int label[] = {1, 1, 0, 0};
    int predicted[3];
    struct err err;
    cr_assert_eq(probe_predict(x, label, 4, 2, 2, 0.1, test, 3, predicted, &err), 0);
    cr_expect(predicted[0] == 1 && predicted[1] == 0 && predicted[2] == 1);
    /* Three rows of class 1 and one of class 0, all alike: the more frequent class. */
    const double same[] = {2, 2, 2, 2};
    const int skewed[] = {1, 1, 1, 0};
    cr_assert_eq(probe_predict(same, skewed, 4, 1, 2, 0.1, same, 1, predicted, &err), 0);
    cr_expect_eq(predicted[0], 1);
}
