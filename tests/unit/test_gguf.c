/* GGUF: what a small file says is read back, and one that lies is refused with the place. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "tests/support/temp.h"
#include "trainer/gguf.h"
#include "trainer/quant.h"
#include "trainer/tokenizer.h"

static struct temp temp;
static struct err err;
static struct text file;

static void setup(void)
{
    temp_open(&temp);
}

static void teardown(void)
{
    text_done(&file);
    temp_close(&temp);
}

TestSuite(gguf, .init = setup, .fini = teardown);

static void put_integer(uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        text_add_char(&file, (char)(value >> (8 * i) & 255));
}

static void put_text(const char *text)
{
    put_integer(strlen(text), 8);
    text_add(&file, text);
}

static void put_header(uint64_t n_tensors, uint64_t n_entries)
{
    text_reset(&file);
    text_add(&file, "GGUF");
    put_integer(3, 4);
    put_integer(n_tensors, 8);
    put_integer(n_entries, 8);
}

static void put_text_entry(const char *key, const char *value)
{
    put_text(key);
    put_integer(8, 4);
    put_text(value);
}

static void put_number_entry(const char *key, uint32_t value)
{
    put_text(key);
    put_integer(4, 4);
    put_integer(value, 4);
}

static void put_texts_entry(const char *key, const char *const *texts)
{
    size_t n = 0;
    while (texts[n])
        n++;
    put_text(key);
    put_integer(9, 4);
    put_integer(8, 4);
    put_integer(n, 8);
    for (size_t i = 0; i < n; i++)
        put_text(texts[i]);
}

static void put_tensor(const char *name, uint64_t cols, uint64_t rows, uint32_t type, uint64_t offset)
{
    put_text(name);
    put_integer(2, 4);
    put_integer(cols, 8);
    put_integer(rows, 8);
    put_integer(type, 4);
    put_integer(offset, 8);
}

static void put_data(size_t n)
{
    while (file.len % 32 != 0)
        text_add_char(&file, '\0');
    for (size_t i = 0; i < n; i++)
        text_add_char(&file, (char)(i % 7 == 1 ? 0x24 : i * 37 % 256));
}

static int open_file(struct gguf **gguf)
{
    cr_assert_not(file.failed);
    temp_write(&temp, "model.gguf", file.data, file.len);
    return gguf_open(gguf, temp_path(&temp, "model.gguf"), &err);
}

static void refused(const char *why, const char *expected)
{
    struct gguf *gguf = NULL;
    cr_assert_lt(open_file(&gguf), 0, "%s: was read", why);
    cr_expect(strstr(err.message, "model.gguf") && strstr(err.message, expected), "%s: '%s' is not in '%s'", why,
              expected, err.message);
}

Test(gguf, lies_are_refused_with_the_place)
{
    put_header(1, 0);
    put_tensor("a.weight", 32, 4, 3, 0);
    put_data(80);
    struct gguf *gguf = NULL;
    cr_assert_eq(open_file(&gguf), 0, "%s", err.message);
    gguf_close(gguf);
    file.len--;
    refused("a byte is missing", "tensor 'a.weight' takes 80 bytes from byte 0 of the data on, which has 79");
    put_header(1, 0);
    put_tensor("a.weight", 31, 4, 3, 0);
    put_data(80);
    refused("rows of no whole blocks", "tensor 'a.weight': rows of 31, a multiple of 32 was expected of Q4_1");
    put_header(1, 0);
    put_tensor("a.weight", 32, 4, 10, 0);
    put_data(80);
    refused("another type", "tensor 'a.weight': type 10 is not built in");
    put_header(1, 0);
    put_tensor("a.weight", 1ull << 31, 4, 0, 0);
    put_data(80);
    refused("a huge dimension", "tensor 'a.weight': a dimension of 2147483648");
    put_header(1, 0);
    put_tensor("a.weight", 1u << 30, 1u << 30, 0, 0);
    put_data(80);
    refused("more than there is", "tensor 'a.weight' takes 4611686018427387904 bytes");
    put_header(1, 0);
    put_tensor("a.weight", 32, 4, 3, 8);
    put_data(96);
    refused("between places", "tensor 'a.weight' begins at byte 8, a multiple of 32 was expected");
    put_header(1, 0);
    put_tensor("a.weight", 32, 4, 3, 1ull << 63);
    put_data(96);
    refused("far away", "tensor 'a.weight' takes 80 bytes from byte 9223372036854775808");
    put_header(2, 0);
    put_tensor("a.weight", 32, 4, 3, 0);
    put_tensor("b.weight", 32, 4, 3, 64);
    put_data(256);
    refused("one in the other", "tensor 'b.weight' begins 16 bytes inside tensor 'a.weight'");
    put_header(1ull << 40, 0);
    refused("many tensors", "1099511627776 tensors, at most");
    put_header(0, 1);
    put_text("key");
    put_integer(9, 4);
    put_integer(8, 4);
    put_integer(1ull << 61, 8);
    refused("a long list", "metadata 'key': a list of 2305843009213693952 items");
    put_header(0, 1);
    put_integer(1ull << 62, 8);
    refused("a long key", "metadata entry 0: 4611686018427387904 bytes are needed");
    put_header(0, 2);
    put_number_entry("key", 1);
    put_number_entry("key", 2);
    refused("a key twice", "metadata 'key' is there twice");
    put_header(0, 1);
    put_text("key");
    put_integer(77, 4);
    refused("a type that is none", "metadata 'key': type 77, 0 to 12 was expected");
    text_reset(&file);
    text_add(&file, "GGUF");
    put_integer(1, 4);
    refused("an old version", "version 1, 2 or 3 was expected");
    text_reset(&file);
    text_add(&file, "GG");
    refused("two bytes", "header: 4 bytes are needed");
}

/* Values of the reference (gguf 0.19.0) for blocks of the bytes of put_data. */
Test(gguf, blocks_are_expanded_as_the_reference_does)
{
    static const struct {
        enum tensor_type type;
        double sum, first, last;
    } known[] = {
        {TENSOR_F16, 0.015625, 0.015625, 0.015625},
        {TENSOR_BF16, 2.7755575615628914e-17, 2.7755575615628914e-17, 2.7755575615628914e-17},
        {TENSOR_Q8_0, 48.0625, 1.15625, -0.921875},
        {TENSOR_Q4_0, -14.859375, 0.03125, -0.015625},
        {TENSOR_Q4_1, 3941050.15625, 7464.0625, 7464.171875},
        {TENSOR_Q4_K, -6265952014.953125, -268704, -253775.375},
        {TENSOR_Q6_K, 337709.25, 648, -13.2890625},
    };
    put_data(32 + 210);
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        const struct quant *quant = quant_of(known[i].type);
        real out[256];
        double sum = 0;
        quant_expand(known[i].type, (const unsigned char *)file.data, 1, out);
        for (size_t k = 0; k < quant->elements; k++)
            sum += (double)out[k] * (double)(k + 1);
        cr_expect_float_eq(sum, known[i].sum, 1e-9 * (1 + known[i].sum * known[i].sum), "%s: %.17g", quant->name, sum);
        cr_expect_eq((double)out[0], known[i].first, "%s: %.17g", quant->name, (double)out[0]);
        cr_expect_eq((double)out[quant->elements - 1], known[i].last, "%s", quant->name);
    }
}

Test(gguf, tokenizer_and_configuration_come_out_of_the_metadata)
{
    static const char *const tokens[] = {"a", "b", "ab", "Ġ", "Ġa", "1", "<|end|>", NULL}, *const merges[] = {
                                                                                               "a b", "Ġ a", NULL};
    struct gguf *gguf = NULL;
    struct tokenizer *tokenizer = NULL;
    struct arena arena = {0};
    struct encoding encoding;
    cJSON *config = NULL;
    put_header(1, 12);
    put_text_entry("general.architecture", "qwen2");
    put_number_entry("qwen2.embedding_length", 32);
    put_number_entry("qwen2.block_count", 1);
    put_number_entry("qwen2.feed_forward_length", 64);
    put_number_entry("qwen2.attention.head_count", 4);
    put_number_entry("qwen2.context_length", 128);
    put_number_entry("qwen2.attention.layer_norm_rms_epsilon", 0);
    put_text_entry("tokenizer.ggml.model", "gpt2");
    put_text_entry("tokenizer.ggml.pre", "smollm");
    put_texts_entry("tokenizer.ggml.tokens", tokens);
    put_texts_entry("tokenizer.ggml.merges", merges);
    put_text("tokenizer.ggml.token_type");
    put_integer(9, 4);
    put_integer(5, 4);
    put_integer(7, 8);
    for (int i = 0; i < 7; i++)
        put_integer(i == 6 ? 3 : 1, 4);
    put_tensor("token_embd.weight", 32, 7, 0, 0);
    put_data(7 * 32 * 4);
    cr_assert_eq(open_file(&gguf), 0, "%s", err.message);
    cr_assert_eq(gguf_config(gguf, &config, &err), 0, "%s", err.message);
    cr_expect_str_eq(json_get(config, "model_type")->valuestring, "qwen2");
    cr_expect_eq(json_get(config, "vocab_size")->valueint, 7);
    cr_expect_eq(json_get(config, "max_position_embeddings")->valueint, 128);
    json_free(config);
    gguf_close(gguf);
    cr_assert_eq(tokenizer_open(&tokenizer, temp.folder, &err), 0, "%s", err.message);
    cr_assert_eq(tokenizer_encode(tokenizer, "ab a<|end|>11", NULL, 100, &arena, &encoding, &err), 0);
    static const int32_t expected[] = {2, 4, 6, 5, 5};
    cr_assert_eq(encoding.n, 5);
    cr_expect_eq(memcmp(encoding.ids, expected, sizeof(expected)), 0);
    tokenizer_close(tokenizer);
    arena_done(&arena);
}
