/* What all programs share (files, hashes, JSON, lines, statistics, scores), with each allocation and each call to the
 * file system failing in turn: a result is the one of a run without, otherwise there is an error with a message; no
 * memory is left. */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/association.h"
#include "common/bleu.h"
#include "common/chrf.h"
#include "common/file.h"
#include "common/hash.h"
#include "common/json.h"
#include "common/line.h"
#include "common/points.h"
#include "common/settings.h"
#include "tests/support/faults/paths.h"
#include "tests/support/temp.h"

static struct temp temp;
static struct err err;
static char folder[TEMP_PATH_SIZE + 256];

static void setup(void)
{
    static const char *const files[][2] = {{"model/config.json", "{}"},
                                           {"model/tokenizer.json", "{\"a\": 1}"},
                                           {"model/model.safetensors", "weights"},
                                           {"model/sub/b.txt", "b"}};
    temp_open(&temp);
    cr_assert_eq(file_make_folders(temp_path(&temp, "model/sub"), &err), 0, "%s", err.message);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        temp_write(&temp, files[i][0], files[i][1], strlen(files[i][1]));
    snprintf(folder, sizeof(folder), "%s", temp_path(&temp, "model"));
}

static void teardown(void)
{
    temp_close(&temp);
}

TestSuite(faults_common, .init = setup, .fini = teardown, .timeout = 600);

static int out_of_memory(struct err *problem)
{
    return err_set(problem, ERR_NOMEM, "no memory for a text of the test");
}

/* Files --------------------------------------------------------------------------------------------------------------
 */

/* The files of an earlier run are there: what is made is made again. */
static int folders_path(const void *context, struct err *problem)
{
    (void)context;
    int rc = file_make_folders(temp_path(&temp, "made/a/b"), problem);
    if (rc == 0)
        rc = file_write_atomic(temp_path(&temp, "made/a/b/c"), "text", 4, problem);
    if (rc == 0)
        rc = file_remove_tree(temp_path(&temp, "made"), problem);
    if (rc == 0)
        cr_expect_not(file_exists(temp_path(&temp, "made")));
    return rc;
}

static int reading_path(const void *context, struct err *problem)
{
    char *data = NULL, *absolute = NULL;
    size_t n = 0;
    struct file_map map = {0};
    (void)context;
    int rc = file_read(temp_path(&temp, "model/model.safetensors"), 100, &data, &n, problem);
    if (rc == 0)
        cr_expect(n == 7 && memcmp(data, "weights", 8) == 0);
    if (rc == 0)
        rc = file_map_open(&map, temp_path(&temp, "model/model.safetensors"), problem);
    if (rc == 0)
        cr_expect(map.len == 7 && memcmp(map.data, "weights", 7) == 0);
    file_map_close(&map);
    if (rc == 0)
        rc = file_absolute(temp_path(&temp, "model/sub/.."), &absolute, problem);
    if (rc == 0)
        cr_expect(text_ends_with(absolute, "/model"), "%s", absolute);
    if (rc == 0)
        rc = file_check_descriptors(3, problem);
    free(absolute);
    free(data);
    return rc;
}

static int scratch_path(const void *context, struct err *problem)
{
    void *memory = NULL;
    (void)context;
    int rc = file_scratch_map(temp.folder, 8192, &memory, problem);
    if (rc == 0) {
        memset(memory, 7, 8192);
        munmap(memory, 8192);
    }
    return rc;
}

/* Hashes of four kinds, without a cache and through one. */
static int hashes_path(const void *context, struct err *problem)
{
    static char kept[4][HASH_HEX_SIZE];
    char found[4][HASH_HEX_SIZE] = {0}, cache[TEMP_PATH_SIZE + 256];
    const char *cached = NULL;
    if (context) {
        snprintf(cache, sizeof(cache), "%s", temp_path(&temp, "cache"));
        cached = cache;
    }
    int rc = hash_model(folder, cached, found[0], problem);
    if (rc == 0)
        rc = hash_tokenizer(folder, cached, found[1], problem);
    if (rc == 0)
        rc = hash_folder(folder, cached, found[2], problem);
    if (rc == 0)
        rc = hash_file_cached(temp_path(&temp, "model/config.json"), cached, found[3], problem);
    for (int i = 0; rc == 0 && i < 4; i++) {
        if (!kept[i][0])
            memcpy(kept[i], found[i], HASH_HEX_SIZE);
        cr_expect_str_eq(found[i], kept[i], "hash %d is another one", i);
    }
    return rc;
}

/* Texts --------------------------------------------------------------------------------------------------------------
 */

static int json_path(const void *context, struct err *problem)
{
    static const char text[] = "{\"b\": [1, 2.5, true, null, \"\\u00e9\"], \"a\": {\"d\": 1, \"c\": [[]]}}";
    cJSON *root = NULL;
    struct text canonical = {0};
    (void)context;
    int rc = json_parse(text, strlen(text), &root, problem);
    if (rc == 0)
        json_add_canonical(&canonical, root);
    if (rc == 0 && canonical.failed)
        rc = out_of_memory(problem);
    if (rc == 0)
        cr_expect_str_eq(canonical.data, "{\"a\":{\"c\":[[]],\"d\":1},\"b\":[1,2.5,true,null,\"\xc3\xa9\"]}");
    text_done(&canonical);
    json_free(root);
    return rc;
}

static int settings_path(const void *context, struct err *problem)
{
    static const char text[] = "{\"method\": [\"lora\", \"bitfit\"], \"rank\": 4, \"epochs\": 2, \"schedule\": "
                               "\"linear\", \"targets\": [\"query\"], \"class_weights\": {\"a\": 2}}";
    cJSON *given = NULL, *resolved = NULL, *own = NULL;
    struct text canonical = {0};
    static char kept[1024];
    (void)context;
    int rc = json_parse(text, strlen(text), &given, problem);
    if (rc == 0)
        rc = settings_resolve(given, "settings", &resolved, problem);
    if (rc == 0 && !(own = settings_without_defaults(resolved)))
        rc = out_of_memory(problem);
    if (rc == 0)
        json_add_canonical(&canonical, own);
    if (rc == 0)
        rc = json_check_memory(problem);
    if (rc == 0 && canonical.failed)
        rc = out_of_memory(problem);
    if (rc == 0 && !kept[0])
        snprintf(kept, sizeof(kept), "%s", canonical.data);
    if (rc == 0)
        cr_expect_str_eq(canonical.data, kept, "other settings");
    text_done(&canonical);
    json_free(own);
    json_free(resolved);
    json_free(given);
    return rc;
}

static int count_line(char *line, size_t n, void *context, struct err *problem)
{
    (void)line;
    (void)problem;
    *(size_t *)context += n;
    return 0;
}

static int lines_path(const void *context, struct err *problem)
{
    static const char *const parts[] = {"one\ntw", "o\n", "\nthr", "ee", "\n"};
    struct line_splitter lines = {0};
    size_t bytes = 0;
    int rc = 0;
    (void)context;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && rc == 0; i++)
        rc = line_splitter_feed(&lines, parts[i], strlen(parts[i]), count_line, &bytes, problem);
    if (rc == 0)
        rc = line_splitter_end(&lines, problem);
    if (rc == 0)
        cr_expect_eq(bytes, 11);
    line_splitter_done(&lines);
    return rc;
}

/* Without memory a line of points is "another line": the reader goes the long way. */
static int points_path(const void *context, struct err *problem)
{
    static const char line[] =
        "{\"v\":1,\"type\":\"points\",\"attempt\":7,\"seq\":3,\"points\":[[\"a\",1,0.5],[\"b\",2,null]]}";
    struct points points = {0};
    (void)context;
    bool is_taken = points_parse(line, strlen(line), &points);
    cr_expect_eq(points.n, is_taken ? 2 : 0);
    points_done(&points);
    return is_taken ? 0 : out_of_memory(problem);
}

/* Scores -------------------------------------------------------------------------------------------------------------
 */

static int translation_path(const void *context, struct err *problem)
{
    static const char *const references[] = {"the cat sat on a mat", "a cat sat on the mat, \xe4\xb8\xad"};
    struct bleu bleu = {0};
    struct chrf chrf = {.word_orders = CHRF_WORD_ORDERS};
    (void)context;
    int rc = bleu_add(&bleu, "the cat sat on the mat", references, 2, problem);
    if (rc == 0)
        rc = chrf_add(&chrf, "the cat sat on the mat", references, 2, problem);
    static double kept[2];
    if (rc == 0 && kept[0] == 0) {
        kept[0] = bleu_score(&bleu);
        kept[1] = chrf_score(&chrf);
    }
    if (rc == 0)
        cr_expect(bleu_score(&bleu) == kept[0] && chrf_score(&chrf) == kept[1], "other scores");
    return rc;
}

static int association_path(const void *context, struct err *problem)
{
    static const double x[] = {1, 0, 0.9, 0.1}, y[] = {0, 1, 0.1, 0.9}, a[] = {1, 0.1, 0.8, 0}, b[] = {0.1, 1, 0, 0.7};
    const struct association sets = {
        .x = x, .y = y, .a = a, .b = b, .n_x = 2, .n_y = 2, .n_a = 2, .n_b = 2, .width = 2};
    static const struct stereo_item items[] = {{3, 1, 0, 0}, {1, 2, 0, 1}, {2, 1, 3, 1}};
    struct association_result result;
    struct stereo_scores scores;
    (void)context;
    int rc = association_test(&sets, 1000, 1, &result, problem);
    if (rc == 0)
        cr_expect(result.is_exact && result.effect_size > 1 && fabs(result.p - 1.0 / 6) < 1e-12, "p %g", result.p);
    if (rc == 0)
        rc = association_test(&sets, 3, 1, &result, problem);
    if (rc == 0)
        cr_expect_not(result.is_exact);
    if (rc == 0)
        rc = stereo_scores(items, 3, NULL, &scores, problem);
    if (rc == 0)
        cr_expect_float_eq(scores.ss, 75, 1e-12);
    return rc;
}

static const struct fault_path paths[] = {
    {"folders", folders_path, NULL},         {"reading", reading_path, NULL},
    {"scratch", scratch_path, NULL},         {"hashes", hashes_path, NULL},
    {"cached hashes", hashes_path, "cache"}, {"JSON", json_path, NULL},
    {"settings", settings_path, NULL},       {"lines", lines_path, NULL},
    {"points", points_path, NULL},           {"translation", translation_path, NULL},
    {"association", association_path, NULL},
};
enum { N_PATHS = sizeof(paths) / sizeof(paths[0]) };

#ifndef NIGHTSWEEP_ASAN /* the sanitizers have a malloc of their own */
Test(faults_common, every_allocation)
{
    for (int i = 0; i < N_PATHS; i++)
        fault_each(&paths[i], FAULT_OWN_ALLOCATION, ENOMEM, 1000);
    fault_each(&paths[3], FAULT_ALLOCATION, ENOMEM, 1000); /* libcrypto's too */
}
#endif

Test(faults_common, every_call_to_the_file_system)
{
    for (int i = 0; i < N_PATHS; i++)
        fault_each(&paths[i], FAULT_IO, EIO, 1000);
}
