/* What the files that read GGUF share. */
#ifndef TRAINER_GGUF_INTERNAL_H
#define TRAINER_GGUF_INTERNAL_H

#include "common/arena.h"
#include "common/file.h"
#include "trainer/gguf.h"

enum entry_kind { ENTRY_NUMBER, ENTRY_BOOL, ENTRY_TEXT, ENTRY_NUMBERS, ENTRY_TEXTS };

struct entry {
    const char *key;
    enum entry_kind kind;
    double number;
    const char *text;
    struct gguf_list list;
};

struct gguf {
    struct arena arena; /* names, texts, lists */
    struct file_map map;
    int file;
    struct entry *entries;
    size_t n_entries;
    struct tensor *tensors; /* under the file's own names */
    size_t n_tensors;
};

const struct entry *gguf_entry(const struct gguf *gguf, const char *key); /* NULL: none */

/* Our name of a tensor as GGUF has it; false when it has none. */
bool gguf_own_name(const char *name, char *out, size_t size);
/* What tokenizer.ggml.pre calls the way a tokenizer.json cuts texts. ERR_UNSUPPORTED when it has no name. */
int gguf_splitting_name(const cJSON *tokenizer, const char **name, struct err *err) MUST_CHECK;

#endif
