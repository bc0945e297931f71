/* Packing floats: half precision, and blocks of 32 small integers with a scale (Q8_0). */
#include <math.h>
#include <string.h>

#include "trainer/quant.h"

/* Round to nearest, ties to even; beyond the largest half: infinity. */
static uint16_t float_to_half(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
    if (magnitude >= 0x7F800000) /* infinity, NaN */
        return (uint16_t)(sign | 0x7C00 | (magnitude > 0x7F800000 ? 0x200 : 0));
    if (magnitude >= 0x47800000)
        return (uint16_t)(sign | 0x7C00);
    if (magnitude < 0x38800000) { /* below the smallest normal half: multiples of 2^-24 */
        float scaled;
        memcpy(&scaled, &magnitude, sizeof(scaled));
        return (uint16_t)(sign | (uint32_t)lrintf(scaled * 16777216.0F));
    }
    uint32_t rounded = magnitude + 0xFFF + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (rounded - 0x38000000) >> 13);
}

static void put_half(unsigned char *out, float value)
{
    uint16_t half = float_to_half(value);
    out[0] = (unsigned char)(half & 255);
    out[1] = (unsigned char)(half >> 8);
}

static void pack_q8_0(const real *in, unsigned char *out)
{
    float largest = 0;
    for (int i = 0; i < 32; i++)
        largest = fmaxf(largest, fabsf((float)in[i]));
    float scale = largest / 127, inverse = scale > 0 ? 1 / scale : 0;
    put_half(out, scale);
    for (int i = 0; i < 32; i++)
        out[2 + i] = (unsigned char)(signed char)roundf((float)in[i] * inverse);
}

bool quant_can_pack(enum tensor_type type)
{
    return type == TENSOR_F32 || type == TENSOR_F16 || type == TENSOR_Q8_0;
}

void quant_pack(enum tensor_type type, const real *in, size_t n_blocks, unsigned char *out)
{
    const struct quant *quant = quant_of(type);
    for (size_t i = 0; i < n_blocks; i++, in += quant->elements, out += quant->bytes) {
        float value = (float)in[0];
        if (type == TENSOR_Q8_0)
            pack_q8_0(in, out);
        else if (type == TENSOR_F16)
            put_half(out, value);
        else
            memcpy(out, &value, sizeof(value));
    }
}
