/* What the trainer reads (models, tokenizers, data, item files, jobs), with each allocation and each call to the file
 * system failing in turn: what is read all the same is what is read without, otherwise there is an error with a
 * message; no memory is left. FAULTS_STRIDE=1 takes every allocation. */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/json.h"
#include "tests/support/faults/paths.h"
#include "tests/support/gguf_file.h"
#include "tests/support/temp.h"
#include "trainer/check_file.h"
#include "trainer/counterfactual.h"
#include "trainer/dataset.h"
#include "trainer/gguf.h"
#include "trainer/model.h"
#include "trainer/token_cache.h"

static struct temp temp;
static struct err err;

static void write_text(const char *name, const char *text)
{
    temp_write(&temp, name, text, strlen(text));
}

static void make_folder(const char *name)
{
    cr_assert_eq(file_make_folders(temp_path(&temp, name), &err), 0, "%s", err.message);
}

/* The file of a folder by itself, by the fixture's name of each tokenizer. */
static void write_tokenizers(void)
{
    cJSON *kinds = NULL;
    char name[256];
    int n = 0;
    cr_assert_eq(json_read_file("tests/fixtures/tokenizer-kinds.json", &kinds, &err), 0, "%s", err.message);
    for (const cJSON *json = json_get(kinds, "tokenizers")->child; json; json = json->next, n++) {
        struct text text = {0};
        snprintf(name, sizeof(name), "kind-%d", n);
        make_folder(name);
        snprintf(name, sizeof(name), "kind-%d/tokenizer.json", n);
        json_add(&text, json);
        temp_write(&temp, name, text.data, text.len);
        text_done(&text);
    }
    json_free(kinds);
}

static void write_gguf(void)
{
    static const char *const tokens[] = {"a", "b", "ab", "Ġ", "Ġa", "1", "<|end|>", NULL}, *const merges[] = {
                                                                                               "a b", "Ġ a", NULL};
    struct text file = {0};
    gguf_put_header(&file, 1, 12);
    gguf_put_text_entry(&file, "general.architecture", "qwen2");
    gguf_put_number_entry(&file, "qwen2.embedding_length", 32);
    gguf_put_number_entry(&file, "qwen2.block_count", 1);
    gguf_put_number_entry(&file, "qwen2.feed_forward_length", 64);
    gguf_put_number_entry(&file, "qwen2.attention.head_count", 4);
    gguf_put_number_entry(&file, "qwen2.context_length", 128);
    gguf_put_number_entry(&file, "qwen2.attention.layer_norm_rms_epsilon", 0);
    gguf_put_text_entry(&file, "tokenizer.ggml.model", "gpt2");
    gguf_put_text_entry(&file, "tokenizer.ggml.pre", "smollm");
    gguf_put_texts_entry(&file, "tokenizer.ggml.tokens", tokens);
    gguf_put_texts_entry(&file, "tokenizer.ggml.merges", merges);
    gguf_put_text(&file, "tokenizer.ggml.token_type");
    gguf_put_integer(&file, 9, 4);
    gguf_put_integer(&file, 5, 4);
    gguf_put_integer(&file, 7, 8);
    for (int i = 0; i < 7; i++)
        gguf_put_integer(&file, i == 6 ? 3 : 1, 4);
    gguf_put_tensor(&file, "token_embd.weight", 32, 7, 0, 0);
    gguf_put_data(&file, 7 * 32 * 4);
    make_folder("gguf");
    temp_write(&temp, "gguf/model.gguf", file.data, file.len);
    text_done(&file);
}

/* One tensor of n elements, all zeros. */
static void write_shard(const char *file, const char *tensor, int n)
{
    struct text text = {0}, header = {0};
    text_printf(&header, "{\"%s\":{\"dtype\":\"F32\",\"shape\":[%d],\"data_offsets\":[0,%d]}}", tensor, n, 4 * n);
    for (int i = 0; i < 8; i++)
        text_add_char(&text, (char)(header.len >> (8 * i) & 255));
    text_add(&text, header.data);
    for (int i = 0; i < 4 * n; i++)
        text_add_char(&text, '\0');
    temp_write(&temp, file, text.data, text.len);
    text_done(&text);
    text_done(&header);
}

static void setup(void)
{
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1);
    temp_open(&temp);
    setenv("NIGHTSWEEP_CACHE", temp_path(&temp, "cache"), 1);
    write_tokenizers();
    write_gguf();
    make_folder("shards");
    write_shard("shards/one.safetensors", "a", 3);
    write_shard("shards/two.safetensors", "b", 5);
    write_text("shards/model.safetensors.index.json",
               "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}");
    write_text("rows.jsonl", "{\"text\":\"w7 w8\",\"label\":\"x\",\"pair\":\"w9\"}\n"
                             "{\"text\":\"w9\",\"label\":true,\"pair\":\"w6\"}\n"
                             "{\"text\":\"w11\",\"label\":true,\"pair\":\"w6\"}\n"
                             "{\"text\":\"w10 \\u00e9\",\"label\":\"x\",\"pair\":\"w6\"}\n");
    write_text("rows.csv", "pair,label,text\nw9,x,\"w7 \"\"w8\"\"\"\n\"w6\nw6\",y,w9\nw1,x,w2\nw3,y,w4\n");
    write_text("rows.tsv", "text\tlabel\tpair\nw7 w8\tx\tw9\nw9\ty\tw6\nw1\tx\tw2\nw3\ty\tw4\n");
    write_text("lines.json", "{\"a\": [1, {\"b\": \"c\"}]}\n\n{\"d\": \"\\u00e9\"}\n");
    write_text("items.json", "{\"kind\": \"counterfactual\", \"templates\": [\"{who} is {a}.\"], \"lists\": {\"who\": "
                             "[[\"she\", \"he\"]]}, \"slots\": {\"a\": [\"one\", \"two\"]}, \"swaps\": [[\"mother\", "
                             "\"father\"], [\"her\", \"his\"]]}");
}

static void teardown(void)
{
    temp_close(&temp);
}

TestSuite(faults_read, .init = setup, .fini = teardown, .timeout = 1200);

/* The paths ---------------------------------------------------------------------------------------------------------
 */

/* What was read first must be read every time. */
static void expect_same(struct text *found, const char *name, char *kept, size_t size)
{
    if (!kept[0])
        snprintf(kept, size, "%s", found->data ? found->data : "");
    else
        cr_expect_str_eq(found->data ? found->data : "", kept, "%s: another result", name);
}

static int model_path(const void *context, struct err *problem)
{
    char folder[128];
    struct arena arena = {0};
    struct model model = {0};
    const struct model_options options = {.task = strcmp(context, "m2m") == 0 ? TASK_SEQ2SEQ : TASK_CLASSIFICATION,
                                          .pooling = "mean",
                                          .n_classes = 2,
                                          .dropout = -1,
                                          .attention_dropout = -1,
                                          .seed = 1};
    snprintf(folder, sizeof(folder), "tests/golden/cases/models/%s", (const char *)context);
    int rc = model_open(&model, folder, &options, &arena, problem);
    if (rc == 0)
        cr_expect_gt(model.n_layers, 0);
    model_close(&model);
    arena_done(&arena);
    return rc;
}

static int encode_with(const struct tokenizer *tokenizer, struct text *found, struct err *problem)
{
    struct arena arena = {0};
    struct encoding encoding = {0};
    struct text decoded = {0};
    int rc =
        tokenizer_encode(tokenizer, "The ab caf\xc3\xa9 w7 12\n\xe4\xb8\xad", NULL, 64, &arena, &encoding, problem);
    for (int i = 0; rc == 0 && i < encoding.n; i++)
        text_printf(found, "%d ", encoding.ids[i]);
    if (rc == 0)
        rc = tokenizer_decode(tokenizer, encoding.ids, (size_t)encoding.n, true, &decoded, problem);
    if (rc == 0 && (decoded.failed || found->failed))
        rc = err_set(problem, ERR_NOMEM, "no memory for a text of the test");
    if (rc == 0)
        text_printf(found, "= %s", decoded.data ? decoded.data : "");
    text_done(&decoded);
    arena_done(&arena);
    return rc;
}

static struct tokenizer_case {
    const char *folder;
    char kept[1024]; /* what it made of the text first */
} tokenizers[] = {{"kind-0", ""}, {"kind-1", ""}, {"kind-2", ""}, {"kind-3", ""},
                  {"kind-4", ""}, {"kind-5", ""}, {"gguf", ""}};

static int tokenizer_path(const void *context, struct err *problem)
{
    struct tokenizer_case *own = &tokenizers[*(const int *)context];
    struct tokenizer *tokenizer = NULL;
    struct text found = {0};
    int rc = tokenizer_open(&tokenizer, temp_path(&temp, own->folder), problem);
    if (rc == 0)
        rc = encode_with(tokenizer, &found, problem);
    if (rc == 0 && !found.failed)
        expect_same(&found, own->folder, own->kept, sizeof(own->kept));
    else if (rc == 0)
        rc = err_set(problem, ERR_NOMEM, "no memory for a text of the test");
    text_done(&found);
    tokenizer_close(tokenizer);
    return rc;
}

static int gguf_path(const void *context, struct err *problem)
{
    struct gguf *gguf = NULL;
    cJSON *config = NULL;
    (void)context;
    int rc = gguf_open(&gguf, temp_path(&temp, "gguf/model.gguf"), problem);
    if (rc == 0)
        rc = gguf_config(gguf, &config, problem);
    if (rc == 0)
        cr_expect_eq(json_get(config, "vocab_size")->valueint, 7);
    json_free(config);
    gguf_close(gguf);
    return rc;
}

static int shards_path(const void *context, struct err *problem)
{
    struct safetensors *file = NULL;
    real values[5] = {1, 1, 1, 1, 1};
    (void)context;
    int rc = safetensors_open_model(&file, temp_path(&temp, "shards"), problem);
    const struct tensor *b = rc == 0 ? safetensors_find(file, "b") : NULL;
    if (rc == 0)
        cr_assert(b && b->n == 5 && safetensors_find(file, "a"));
    if (rc == 0)
        rc = safetensors_read(b, values, problem);
    if (rc == 0)
        cr_expect(values[0] == 0 && values[4] == 0);
    safetensors_close(file);
    return rc;
}

static int write_path(const void *context, struct err *problem)
{
    static const real values[] = {1, 2, 3};
    static const int64_t shape[] = {3};
    const struct tensor_source sources[] = {{"a", 1, shape, values}, {"b", 1, shape, values}};
    (void)context;
    return safetensors_write(temp_path(&temp, "out.safetensors"), sources, 2, problem);
}

static const char rows_task[] = "{\"text\":\"text\",\"text_pair\":\"pair\",\"label\":\"label\"}";

/* Rows, their classes, a split, and their tokens. */
static int rows_path(const void *context, struct err *problem)
{
    static cJSON *task;
    struct rows rows = {0}, held_back = {0};
    struct labels labels = {0};
    struct dataset dataset = {0};
    static struct tokenizer *tokenizer;
    if (!task)
        task = cJSON_Parse(rows_task);
    if (!tokenizer)
        cr_assert_eq(tokenizer_open(&tokenizer, "tests/golden/cases/models/bert", &err), 0, "%s", err.message);
    int rc = rows_read(&rows, temp_path(&temp, context), task, 0, problem);
    if (rc == 0)
        rc = labels_make(&labels, &rows, problem);
    if (rc == 0)
        cr_expect(labels.count == 2 && rows.count >= 2, "%d labels", labels.count);
    if (rc == 0)
        rc = dataset_encode_cached(&dataset, &rows, &labels, tokenizer, "hash", 16, NULL, problem);
    if (rc == 0)
        cr_expect_eq(dataset.count, rows.count);
    if (rc == 0)
        rc = dataset_split(&rows, &held_back, problem);
    if (rc == 0)
        rc = dataset_keep_fraction(&rows, 0.9, problem);
    if (rc == 0)
        cr_expect_geq(rows.count, 1);
    dataset_done(&dataset);
    labels_done(&labels);
    rows_done(&held_back);
    rows_done(&rows);
    return rc;
}

static int lines_path(const void *context, struct err *problem)
{
    struct json_lines lines = {0};
    (void)context;
    int rc = json_lines_read(&lines, temp_path(&temp, "lines.json"), problem);
    if (rc == 0)
        cr_expect(lines.count == 2 && lines.items[1].line == 3);
    json_lines_done(&lines);
    return rc;
}

static int swaps_path(const void *context, struct err *problem)
{
    struct row sentences[] = {{.text = "My mother and her cat.", .label = "1", .line = 1},
                              {.text = "Nobody.", .label = "0", .line = 2}};
    struct rows test = {.items = sentences, .count = 2};
    struct counterfactual set;
    struct arena arena = {0};
    (void)context;
    int rc = counterfactual_read(&set, temp_path(&temp, "items.json"), &test, &arena, problem);
    if (rc == 0)
        cr_expect_eq(set.count, 2, "%zu pairs: one of the template, one of a sentence", set.count);
    arena_done(&arena);
    return rc;
}

static const struct fault_path paths[] = {
    {"bert", model_path, "bert"},
    {"gpt2", model_path, "gpt2"},
    {"llama", model_path, "llama"},
    {"m2m", model_path, "m2m"},
    {"roberta", model_path, "roberta"},
    {"tokenizer 0", tokenizer_path, &(const int){0}},
    {"tokenizer 1", tokenizer_path, &(const int){1}},
    {"tokenizer 2", tokenizer_path, &(const int){2}},
    {"tokenizer 3", tokenizer_path, &(const int){3}},
    {"tokenizer 4", tokenizer_path, &(const int){4}},
    {"tokenizer 5", tokenizer_path, &(const int){5}},
    {"tokenizer 6", tokenizer_path, &(const int){6}},
    {"gguf", gguf_path, NULL},
    {"shards", shards_path, NULL},
    {"written weights", write_path, NULL},
    {"JSON lines", rows_path, "rows.jsonl"},
    {"CSV", rows_path, "rows.csv"},
    {"TSV", rows_path, "rows.tsv"},
    {"item lines", lines_path, NULL},
    {"swapped words", swaps_path, NULL},
};
enum { N_PATHS = sizeof(paths) / sizeof(paths[0]) };

#ifndef NIGHTSWEEP_ASAN /* the sanitizers have a malloc of their own */
Test(faults_read, every_allocation)
{
    for (int i = 0; i < N_PATHS; i++)
        cr_expect_geq(fault_each(&paths[i], FAULT_OWN_ALLOCATION, ENOMEM, 1000), 1);
}
#endif

Test(faults_read, every_call_to_the_file_system)
{
    for (int i = 0; i < N_PATHS; i++)
        cr_expect_geq(fault_each(&paths[i], FAULT_IO, EIO, 250), 1);
}
