/* Quantised tensors: blocks of small integers with common scales, expanded to float. */
#ifndef TRAINER_QUANT_H
#define TRAINER_QUANT_H

#include <stddef.h>

#include "trainer/safetensors.h"

/* Elements and bytes of a block: 1 and 4 for F32, 32 and 20 for Q4_1. */
struct quant {
    const char *name;
    size_t elements, bytes;
};
const struct quant *quant_of(enum tensor_type type);
/* Expands n_blocks blocks into out (n_blocks · elements), bit for bit as the reference (gguf, in float). For any type
 * that holds floats. */
void quant_expand(enum tensor_type type, const unsigned char *blocks, size_t n_blocks, real *out);
/* The way back, for F32, F16 (to nearest, ties to even) and Q8_0 (as the reference: scale of the block's largest /
 * 127). */
bool quant_can_pack(enum tensor_type type);
void quant_pack(enum tensor_type type, const real *in, size_t n_blocks, unsigned char *out);

#endif
