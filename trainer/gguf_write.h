/* Writing GGUF files: a Llama, Mistral or Qwen2 model with its tokenizer in one file (gguf.h has the layout). */
#ifndef TRAINER_GGUF_WRITE_H
#define TRAINER_GGUF_WRITE_H

#include <cjson/cJSON.h>

#include "trainer/model.h"
#include "trainer/safetensors.h"

struct gguf_output {
    const char *path;
    const struct model *model; /* its parameters' values are written, those of methods left out */
    const cJSON *tokenizer;    /* tokenizer.json */
    const char *chat_template; /* Jinja; NULL: none */
    enum tensor_type type;     /* of matrices: F32, F16, Q8_0 (F16 where a row is no whole number of blocks) */
};

/* Vectors stay F32; rotary projections are put in GGUF's order. ERR_UNSUPPORTED names what such a file cannot say:
 * another family, a head that is no language model's, scaled rotations but linear ones, a tokenizer that is no
 * byte-level BPE of the known cuts. ERR_NUMERIC: a value that half precision does not hold. */
int gguf_write(const struct gguf_output *output, struct err *err) MUST_CHECK;

#endif
