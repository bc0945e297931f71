/* A GGUF file in memory, put together part by part in the order of the format: header, entries, tensors, data. */
#ifndef TESTS_SUPPORT_GGUF_FILE_H
#define TESTS_SUPPORT_GGUF_FILE_H

#include <stdint.h>

#include "common/text.h"

/* Little-endian; a text with its length in front. */
void gguf_put_integer(struct text *file, uint64_t value, int bytes);
void gguf_put_text(struct text *file, const char *text);
/* Empties `file`. */
void gguf_put_header(struct text *file, uint64_t n_tensors, uint64_t n_entries);
void gguf_put_text_entry(struct text *file, const char *key, const char *value);
void gguf_put_number_entry(struct text *file, const char *key, uint32_t value);
/* `texts` end with NULL. */
void gguf_put_texts_entry(struct text *file, const char *key, const char *const *texts);
/* A matrix of that GGML type, `offset` bytes behind where the data begin. */
void gguf_put_tensor(struct text *file, const char *name, uint64_t cols, uint64_t rows, uint32_t type, uint64_t offset);
/* n bytes that are no zeros, at the next multiple of 32. */
void gguf_put_data(struct text *file, size_t n);

#endif
