/* tokenizer.json: an accepted one encodes texts, a pair of them, and one that is cut. */
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "trainer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const texts[] = {"", " ", "the quick Brown fox",
                                        "[CLS] na\xc3\xafve \xe4\xb8\xad\xe6\x96\x87 a##b",
                                        "caf\xc3\xa9\xcc\x81 \xf0\x9f\x98\x80 w0 w1 w2 w3 w4 w5 w6 w7 w8 w9"};
    struct tokenizer *tokenizer = NULL;
    struct err err;
    fuzz_file("tokenizer.json", data, size);
    if (tokenizer_open(&tokenizer, fuzz_path("."), &err) < 0)
        return 0;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct arena arena = {.limit_bytes = 16 << 20};
        struct encoding encoding = {0};
        int max_tokens = 3 + (int)i * 4;
        const char *pair = i % 2 ? texts[i - 1] : NULL;
        if (tokenizer_encode(tokenizer, texts[i], pair, max_tokens, &arena, &encoding, &err) == 0) {
            if (encoding.n > max_tokens)
                fuzz_fail("more tokens than were asked for");
            for (int t = 0; t < encoding.n; t++)
                if (encoding.ids[t] < 0 || encoding.ids[t] >= tokenizer_vocab_size(tokenizer))
                    fuzz_fail("a token beyond the vocabulary");
        }
        if (tokenizer_encode_plain(tokenizer, texts[i], 8, &arena, &encoding, &err) == 0 && encoding.n > 8)
            fuzz_fail("more plain tokens than were asked for");
        arena_done(&arena);
    }
    tokenizer_close(tokenizer);
    return 0;
}
