/* A GGUF file as a model folder: its metadata as config.json and tokenizer.json, its tensors under the Hugging Face's
 * names with the rows of rotary projections in their order; and metadata that is missing or wrong. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "tests/support/gguf_file.h"
#include "tests/support/temp.h"
#include "trainer/gguf.h"
#include "trainer/tokenizer.h"

enum { WIDTH = 8, TOKENS = 6 };

static struct temp temp;
static struct err err;
static struct text file, entries;
static uint64_t n_entries;
static const char *left_out; /* this key is not written */

static void setup(void)
{
    temp_open(&temp);
}

static void teardown(void)
{
    text_done(&file);
    text_done(&entries);
    temp_close(&temp);
}

TestSuite(gguf_model, .init = setup, .fini = teardown);

/* Entries ------------------------------------------------------------------------------------------------------------
 */

static bool is_wanted(const char *key)
{
    bool is_out = left_out && strcmp(key, left_out) == 0;
    n_entries += !is_out;
    return !is_out;
}

static void add_text(const char *key, const char *value)
{
    if (is_wanted(key))
        gguf_put_text_entry(&entries, key, value);
}

static void add_number(const char *key, uint32_t value)
{
    if (is_wanted(key))
        gguf_put_number_entry(&entries, key, value);
}

static void add_bool(const char *key, bool value)
{
    if (!is_wanted(key))
        return;
    gguf_put_text(&entries, key);
    gguf_put_integer(&entries, 7, 4);
    gguf_put_integer(&entries, value, 1);
}

static void add_texts(const char *key, const char *const *texts)
{
    if (is_wanted(key))
        gguf_put_texts_entry(&entries, key, texts);
}

/* What every one has; the case's own come behind. */
static void begin(const char *architecture)
{
    static const char *const tokens[] = {"<s>", "a", "b", "ab", "</s>", "\xc4\xa0", NULL}, *const merges[] = {"a b",
                                                                                                              NULL};
    static const char *const sizes[] = {"embedding_length",     "block_count",    "feed_forward_length",
                                        "attention.head_count", "context_length", "attention.layer_norm_rms_epsilon"};
    static const uint32_t values[] = {WIDTH, 1, 16, 2, 128, 1};
    char key[128];
    text_reset(&entries);
    n_entries = 0;
    add_text("general.architecture", architecture);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        snprintf(key, sizeof(key), "%s.%s", architecture, sizes[i]);
        add_number(key, values[i]);
    }
    add_text("tokenizer.ggml.model", "gpt2");
    add_texts("tokenizer.ggml.tokens", tokens);
    add_texts("tokenizer.ggml.merges", merges);
}

static void put_rows(int rows)
{
    for (int i = 0; i < rows * WIDTH; i++) {
        float value = (float)(i / WIDTH);
        uint32_t bits;
        memcpy(&bits, &value, 4);
        gguf_put_integer(&file, bits, 4);
    }
}

/* The embedding, and a query and a key projection of `rows` rows, row r full of r. */
static void write_file(int rows)
{
    uint64_t embedding = TOKENS * WIDTH * 4, projection = (uint64_t)(rows * WIDTH * 4 + 31) / 32 * 32;
    gguf_put_header(&file, 3, n_entries);
    text_add_n(&file, entries.data, entries.len);
    gguf_put_tensor(&file, "token_embd.weight", WIDTH, TOKENS, 0, 0);
    gguf_put_tensor(&file, "blk.0.attn_q.weight", WIDTH, (uint64_t)rows, 0, embedding);
    gguf_put_tensor(&file, "blk.0.attn_k.weight", WIDTH, (uint64_t)rows, 0, embedding + projection);
    gguf_put_data(&file, 0);
    put_rows(TOKENS);
    put_rows(rows);
    gguf_put_data(&file, 0);
    put_rows(rows);
    cr_assert_not(file.failed || entries.failed);
    temp_write(&temp, "model.gguf", file.data, file.len);
}

/* What the file says of itself: config, then tokenizer. */
static int read_file(cJSON **config, cJSON **tokenizer)
{
    struct gguf *gguf = NULL;
    *config = *tokenizer = NULL;
    cr_assert_eq(gguf_open(&gguf, temp_path(&temp, "model.gguf"), &err), 0, "%s", err.message);
    int rc = gguf_config(gguf, config, &err);
    if (rc == 0)
        rc = gguf_tokenizer(gguf, tokenizer, &err);
    gguf_close(gguf);
    return rc;
}

static void refused(const char *expected)
{
    cJSON *config, *tokenizer;
    write_file(8);
    cr_expect_lt(read_file(&config, &tokenizer), 0, "'%s' was expected", expected);
    cr_expect(strstr(err.message, expected), "'%s' was expected: %s", expected, err.message);
    cr_expect_null(tokenizer);
    json_free(config);
}

/* Tests --------------------------------------------------------------------------------------------------------------
 */

Test(gguf_model, a_llama_with_all_it_can_say)
{
    cJSON *config, *json;
    struct tokenizer *tokenizer = NULL;
    struct arena arena = {0};
    struct encoding encoding;
    begin("llama");
    add_text("tokenizer.ggml.pre", "llama-bpe");
    add_text("llama.rope.scaling.type", "linear");
    add_number("llama.rope.scaling.factor", 4);
    add_number("llama.attention.head_count_kv", 2);
    add_number("tokenizer.ggml.bos_token_id", 0);
    add_number("tokenizer.ggml.eos_token_id", 4);
    add_bool("tokenizer.ggml.add_eos_token", true);
    write_file(8);
    cr_assert_eq(read_file(&config, &json), 0, "%s", err.message);
    const cJSON *scaling = json_get(config, "rope_scaling");
    cr_expect_str_eq(json_get(scaling, "rope_type")->valuestring, "linear");
    cr_expect_eq(json_get(scaling, "factor")->valuedouble, 4);
    cr_expect_eq(json_get(config, "num_key_value_heads")->valueint, 2);
    cr_expect_eq(json_get(config, "bos_token_id")->valueint, 0);
    cr_expect_eq(json_get(config, "eos_token_id")->valueint, 4);
    cr_expect(cJSON_IsTrue(json_get(config, "tie_word_embeddings")));
    cr_expect(cJSON_IsTrue(json_get(json_get(json, "model"), "ignore_merges")));
    json_free(config);
    json_free(json);
    /* A text and a pair between <s> and </s>. */
    cr_assert_eq(tokenizer_open(&tokenizer, temp.folder, &err), 0, "%s", err.message);
    cr_assert_eq(tokenizer_encode(tokenizer, "ab", NULL, 100, &arena, &encoding, &err), 0, "%s", err.message);
    static const int32_t single[] = {0, 3, 4}, pair[] = {0, 3, 4, 0, 1, 4};
    cr_assert_eq(encoding.n, 3);
    cr_expect_eq(memcmp(encoding.ids, single, sizeof(single)), 0);
    cr_assert_eq(tokenizer_encode(tokenizer, "ab", "a", 100, &arena, &encoding, &err), 0, "%s", err.message);
    cr_assert_eq(encoding.n, 6);
    cr_expect_eq(memcmp(encoding.ids, pair, sizeof(pair)), 0);
    arena_done(&arena);
    tokenizer_close(tokenizer);
}

/* llama.cpp stores the two halves of each head row by row in turn: 0, 2, 1, 3 of a head of four are 0 to 3 here. */
Test(gguf_model, rotary_rows_are_put_in_order)
{
    static const float wanted[] = {0, 2, 1, 3, 4, 6, 5, 7};
    struct safetensors *weights = NULL;
    real values[8 * WIDTH];
    begin("llama");
    write_file(8);
    cr_assert_eq(safetensors_open_model(&weights, temp.folder, &err), 0, "%s", err.message);
    const struct tensor *query = safetensors_find(weights, "model.layers.0.self_attn.q_proj.weight");
    cr_assert_not_null(query);
    cr_assert_not_null(safetensors_find(weights, "model.embed_tokens.weight"));
    cr_assert_eq(safetensors_read(query, values, &err), 0, "%s", err.message);
    for (int r = 0; r < 8; r++)
        cr_expect(values[r * WIDTH] == (real)wanted[r] && values[r * WIDTH + WIDTH - 1] == (real)wanted[r],
                  "row %d is %g", r, (double)values[r * WIDTH]);
    safetensors_close(weights);
    /* Qwen2's lie as they are used. */
    begin("qwen2");
    write_file(8);
    cr_assert_eq(safetensors_open_model(&weights, temp.folder, &err), 0, "%s", err.message);
    query = safetensors_find(weights, "model.layers.0.self_attn.q_proj.weight");
    cr_assert_not_null(query);
    cr_assert_eq(safetensors_read(query, values, &err), 0, "%s", err.message);
    for (int r = 0; r < 8; r++)
        cr_expect_eq(values[r * WIDTH], (real)r);
    safetensors_close(weights);
    begin("llama");
    write_file(6);
    cr_expect_eq(safetensors_open_model(&weights, temp.folder, &err), ERR_FORMAT);
    cr_expect(strstr(err.message, "'blk.0.attn_q.weight' has 6 rows, a multiple of 2 x 2 heads"), "%s", err.message);
}

Test(gguf_model, what_is_missing_or_wrong_is_named)
{
    static const char *const needed[] = {
        "llama.embedding_length",     "llama.block_count",     "llama.feed_forward_length",
        "llama.attention.head_count", "llama.context_length",  "llama.attention.layer_norm_rms_epsilon",
        "general.architecture",       "tokenizer.ggml.tokens", "tokenizer.ggml.merges"};
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        left_out = needed[i];
        begin("llama");
        add_text("tokenizer.ggml.pre", "gpt-2");
        refused(needed[i]);
    }
    left_out = "tokenizer.ggml.model";
    begin("llama");
    refused("tokenizer.ggml.model '', gpt2 (byte-level BPE) was expected");
    left_out = NULL;
    begin("mamba");
    refused("general.architecture 'mamba' is not built in");
    begin("llama");
    add_text("tokenizer.ggml.pre", "klingon");
    refused("klingon");
    begin("llama");
    add_text("llama.rope.scaling.type", "yarn");
    refused("'yarn', none or linear was expected");
    begin("llama");
    add_text("llama.rope.scaling.type", "linear");
    refused("'llama.rope.scaling.factor' is missing");
    begin("llama");
    add_text("tokenizer.ggml.pre", "gpt-2");
    add_bool("tokenizer.ggml.add_bos_token", true);
    refused("'tokenizer.ggml.bos_token_id', an id of 0 to 5 was expected");
    begin("llama");
    add_text("tokenizer.ggml.pre", "gpt-2");
    add_bool("tokenizer.ggml.add_eos_token", true);
    add_number("tokenizer.ggml.eos_token_id", 6);
    refused("'tokenizer.ggml.eos_token_id', an id of 0 to 5 was expected");
}

Test(gguf_model, each_way_to_cut_words)
{
    static const char *const ways[] = {"gpt-2", "smollm", "starcoder", "llama-bpe", "llama-v3", "qwen2"};
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        cJSON *config, *json;
        begin("llama");
        add_text("llama.rope.scaling.type", "none");
        add_text("tokenizer.ggml.pre", ways[i]);
        add_number("tokenizer.ggml.bos_token_id", 0);
        write_file(8);
        cr_assert_eq(read_file(&config, &json), 0, "%s: %s", ways[i], err.message);
        cr_expect_null(json_get(config, "rope_scaling"));
        const cJSON *normalizer = json_get(json, "normalizer");
        cr_expect_eq(cJSON_IsObject(normalizer), strcmp(ways[i], "qwen2") == 0, "%s: NFC", ways[i]);
        cr_expect_eq(json_get(json, "post_processor") != NULL, strncmp(ways[i], "llama", 5) == 0, "%s: <s>", ways[i]);
        json_free(config);
        json_free(json);
    }
}
