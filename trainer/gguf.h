/* GGUF files: metadata and tensors of one file, read through a map.
 *
 * Layout (versions 2 and 3, little endian): "GGUF" | u32 version | u64 tensors | u64 metadata entries | entries: key,
 * u32 type, value | tensors: name, u32 dimensions, u64 sizes (the fastest first), u32 type, u64 offset | padding |
 * data. A text is a u64 length and its bytes; offsets count from the data's start and are multiples of
 * general.alignment (32). */
#ifndef TRAINER_GGUF_H
#define TRAINER_GGUF_H

#include <cjson/cJSON.h>

#include "common/err.h"
#include "trainer/safetensors.h"

enum { GGUF_MAX_ENTRIES = 65536, GGUF_MAX_ITEMS = 1 << 23 };

struct gguf;

/* The path of the one GGUF file in a folder (heap, owned by the caller), or NULL in *path when there is none.
 * ERR_USAGE when there are several. */
int gguf_find(char **path, const char *folder, struct err *err) MUST_CHECK;
/* ERR_FORMAT names the file, the entry or tensor, what was found and what was expected; ERR_UNSUPPORTED for a version
 * or a tensor's type that is not built in. */
int gguf_open(struct gguf **gguf, const char *path, struct err *err) MUST_CHECK;
void gguf_close(struct gguf *gguf); /* NULL is fine */

/* Metadata: false when there is none of that key and kind. Texts may have any bytes but NUL and are NUL-terminated; all
 * live as long as the file is open. */
bool gguf_text(const struct gguf *gguf, const char *key, const char **out);
bool gguf_number(const struct gguf *gguf, const char *key, double *out);
bool gguf_bool(const struct gguf *gguf, const char *key, bool *out);
/* A list of texts, or of numbers (one of the two is NULL). */
struct gguf_list {
    const char *const *texts;
    const double *numbers;
    size_t n;
};
bool gguf_list(const struct gguf *gguf, const char *key, struct gguf_list *out);

/* As a model folder: what its config.json and tokenizer.json would say (owned by the caller), and its tensors under
 * their Hugging Face names. Llama, Mistral and Qwen2. ERR_UNSUPPORTED names the architecture or tokenizer that is not
 * built in. */
int gguf_config(const struct gguf *gguf, cJSON **config, struct err *err) MUST_CHECK;
int gguf_tokenizer(const struct gguf *gguf, cJSON **json, struct err *err) MUST_CHECK;
int gguf_add_tensors(const char *path, struct safetensors *weights, struct err *err) MUST_CHECK;

#endif
