/* GGUF: what a small file says is read back, and one that lies is refused with the place. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "tests/support/gguf_file.h"
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
    gguf_put_header(&file, 1, 0);
    gguf_put_tensor(&file, "a.weight", 32, 4, 3, 0);
    gguf_put_data(&file, 80);
    struct gguf *gguf = NULL;
    cr_assert_eq(open_file(&gguf), 0, "%s", err.message);
    gguf_close(gguf);
    file.len--;
    refused("a byte is missing", "tensor 'a.weight' takes 80 bytes from byte 0 of the data on, which has 79");
    gguf_put_header(&file, 1, 0);
    gguf_put_tensor(&file, "a.weight", 31, 4, 3, 0);
    gguf_put_data(&file, 80);
    refused("rows of no whole blocks", "tensor 'a.weight': rows of 31, a multiple of 32 was expected of Q4_1");
    gguf_put_header(&file, 1, 0);
    gguf_put_tensor(&file, "a.weight", 32, 4, 10, 0);
    gguf_put_data(&file, 80);
    refused("another type", "tensor 'a.weight': type 10 is not built in");
    gguf_put_header(&file, 1, 0);
    gguf_put_tensor(&file, "a.weight", 1ull << 31, 4, 0, 0);
    gguf_put_data(&file, 80);
    refused("a huge dimension", "tensor 'a.weight': a dimension of 2147483648");
    gguf_put_header(&file, 1, 0);
    gguf_put_tensor(&file, "a.weight", 1u << 30, 1u << 30, 0, 0);
    gguf_put_data(&file, 80);
    refused("more than there is", "tensor 'a.weight' takes 4611686018427387904 bytes");
    gguf_put_header(&file, 1, 0);
    gguf_put_tensor(&file, "a.weight", 32, 4, 3, 8);
    gguf_put_data(&file, 96);
    refused("between places", "tensor 'a.weight' begins at byte 8, a multiple of 32 was expected");
    gguf_put_header(&file, 1, 0);
    gguf_put_tensor(&file, "a.weight", 32, 4, 3, 1ull << 63);
    gguf_put_data(&file, 96);
    refused("far away", "tensor 'a.weight' takes 80 bytes from byte 9223372036854775808");
    gguf_put_header(&file, 2, 0);
    gguf_put_tensor(&file, "a.weight", 32, 4, 3, 0);
    gguf_put_tensor(&file, "b.weight", 32, 4, 3, 64);
    gguf_put_data(&file, 256);
    refused("one in the other", "tensor 'b.weight' begins 16 bytes inside tensor 'a.weight'");
    gguf_put_header(&file, 1ull << 40, 0);
    refused("many tensors", "1099511627776 tensors, at most");
    gguf_put_header(&file, 0, 1);
    gguf_put_text(&file, "key");
    gguf_put_integer(&file, 9, 4);
    gguf_put_integer(&file, 8, 4);
    gguf_put_integer(&file, 1ull << 61, 8);
    refused("a long list", "metadata 'key': a list of 2305843009213693952 items");
    gguf_put_header(&file, 0, 1);
    gguf_put_integer(&file, 1ull << 62, 8);
    refused("a long key", "metadata entry 0: 4611686018427387904 bytes are needed");
    gguf_put_header(&file, 0, 2);
    gguf_put_number_entry(&file, "key", 1);
    gguf_put_number_entry(&file, "key", 2);
    refused("a key twice", "metadata 'key' is there twice");
    gguf_put_header(&file, 0, 1);
    gguf_put_text(&file, "key");
    gguf_put_integer(&file, 77, 4);
    refused("a type that is none", "metadata 'key': type 77, 0 to 12 was expected");
    text_reset(&file);
    text_add(&file, "GGUF");
    gguf_put_integer(&file, 1, 4);
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
    gguf_put_data(&file, 32 + 210);
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
