/* A GGUF file in memory, put together part by part: see gguf_file.h. */
#include "tests/support/gguf_file.h"

#include <string.h>

void gguf_put_integer(struct text *file, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        text_add_char(file, (char)(value >> (8 * i) & 255));
}

void gguf_put_text(struct text *file, const char *text)
{
    gguf_put_integer(file, strlen(text), 8);
    text_add(file, text);
}

void gguf_put_header(struct text *file, uint64_t n_tensors, uint64_t n_entries)
{
    text_reset(file);
    text_add(file, "GGUF");
    gguf_put_integer(file, 3, 4);
    gguf_put_integer(file, n_tensors, 8);
    gguf_put_integer(file, n_entries, 8);
}

void gguf_put_text_entry(struct text *file, const char *key, const char *value)
{
    gguf_put_text(file, key);
    gguf_put_integer(file, 8, 4);
    gguf_put_text(file, value);
}

void gguf_put_number_entry(struct text *file, const char *key, uint32_t value)
{
    gguf_put_text(file, key);
    gguf_put_integer(file, 4, 4);
    gguf_put_integer(file, value, 4);
}

void gguf_put_texts_entry(struct text *file, const char *key, const char *const *texts)
{
    size_t n = 0;
    while (texts[n])
        n++;
    gguf_put_text(file, key);
    gguf_put_integer(file, 9, 4);
    gguf_put_integer(file, 8, 4);
    gguf_put_integer(file, n, 8);
    for (size_t i = 0; i < n; i++)
        gguf_put_text(file, texts[i]);
}

void gguf_put_tensor(struct text *file, const char *name, uint64_t cols, uint64_t rows, uint32_t type, uint64_t offset)
{
    gguf_put_text(file, name);
    gguf_put_integer(file, 2, 4);
    gguf_put_integer(file, cols, 8);
    gguf_put_integer(file, rows, 8);
    gguf_put_integer(file, type, 4);
    gguf_put_integer(file, offset, 8);
}

void gguf_put_data(struct text *file, size_t n)
{
    while (file->len % 32 != 0)
        text_add_char(file, '\0');
    for (size_t i = 0; i < n; i++)
        text_add_char(file, (char)(i % 7 == 1 ? 0x24 : i * 37 % 256));
}
