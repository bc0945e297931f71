/* GGUF files as model folders: an accepted one's tensors are read, its configuration and tokenizer made and used. */
#include <cjson/cJSON.h>
#include <stdlib.h>

#include "common/arena.h"
#include "tests/fuzz/fuzz.h"
#include "trainer/gguf.h"
#include "trainer/tokenizer.h"

static void read_tensors(const char *folder, size_t size)
{
    struct safetensors *weights = NULL;
    struct err err;
    if (safetensors_open_model(&weights, folder, &err) < 0)
        return;
    for (size_t i = 0; i < safetensors_count(weights); i++) {
        const struct tensor *tensor = safetensors_at(weights, i);
        if (tensor->bytes > size)
            fuzz_fail("a tensor is larger than its file");
        real *values = malloc((tensor->n + 1) * sizeof(real));
        if (values && safetensors_read(tensor, values, &err) < 0)
            fuzz_fail("a tensor cannot be read");
        free(values);
    }
    safetensors_close(weights);
}

static void encode(const char *folder)
{
    struct tokenizer *tokenizer = NULL;
    struct arena arena = {0};
    struct encoding encoding;
    struct text text = {0};
    struct err err;
    if (tokenizer_open(&tokenizer, folder, &err) < 0)
        return;
    if (tokenizer_encode(tokenizer, "ab a<|end|> 12\n\u00e9", NULL, 64, &arena, &encoding, &err) == 0 &&
        tokenizer_decode(tokenizer, encoding.ids, (size_t)encoding.n, false, &text, &err) < 0)
        fuzz_fail("tokens of a text cannot be decoded");
    text_done(&text);
    arena_done(&arena);
    tokenizer_close(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf *gguf = NULL;
    cJSON *config = NULL;
    struct err err;
    if (gguf_open(&gguf, fuzz_file("model.gguf", data, size), &err) < 0)
        return 0;
    if (gguf_config(gguf, &config, &err) == 0)
        cJSON_Delete(config);
    gguf_close(gguf);
    read_tensors(fuzz_path("."), size);
    encode(fuzz_path("."));
    return 0;
}
