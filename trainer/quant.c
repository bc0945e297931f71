/* Expanding blocks. Products and sums stand in the order of the reference, so results are equal to the last bit. */
#include "trainer/quant.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

static float half_to_float(const unsigned char *bytes)
{
    unsigned half = (unsigned)bytes[0] | (unsigned)bytes[1] << 8;
    uint32_t exponent = half >> 10 & 31, fraction = half & 1023, sign = (uint32_t)(half & 0x8000) << 16;
    if (exponent == 0) {
        float magnitude = (float)fraction * 0x1p-24F;
        return sign ? -magnitude : magnitude;
    }
    /* The exponent's bias is 15 there and 127 here; 31 stands for infinity and NaN. */
    uint32_t bits = sign | (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13;
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void expand_f32(const unsigned char *block, real *out)
{
    float value;
    memcpy(&value, block, sizeof(value));
    *out = (real)value;
}

static void expand_f64(const unsigned char *block, real *out)
{
    double value;
    memcpy(&value, block, sizeof(value));
    *out = (real)value;
}

static void expand_f16(const unsigned char *block, real *out)
{
    *out = (real)half_to_float(block);
}

static void expand_bf16(const unsigned char *block, real *out)
{
    const unsigned char wide[4] = {0, 0, block[0], block[1]};
    expand_f32(wide, out);
}

/* d | 16 bytes: the low halves are elements 0-15, the high ones 16-31; each stands for q − 8. */
static void expand_q4_0(const unsigned char *block, real *out)
{
    float d = half_to_float(block);
    for (int i = 0; i < 16; i++) {
        out[i] = (real)(d * (float)((block[2 + i] & 15) - 8));
        out[i + 16] = (real)(d * (float)((block[2 + i] >> 4) - 8));
    }
}

/* d | m | 16 bytes: d q + m. */
static void expand_q4_1(const unsigned char *block, real *out)
{
    float d = half_to_float(block), m = half_to_float(block + 2);
    for (int i = 0; i < 16; i++) {
        out[i] = (real)(d * (float)(block[4 + i] & 15) + m);
        out[i + 16] = (real)(d * (float)(block[4 + i] >> 4) + m);
    }
}

static void expand_q8_0(const unsigned char *block, real *out)
{
    float d = half_to_float(block);
    for (int i = 0; i < 32; i++)
        out[i] = (real)(d * (float)(signed char)block[2 + i]);
}

/* Eight scales and eight minima of 6 bits in 12 bytes. */
static void unpack_scales(const unsigned char *packed, float *scales, float *minima)
{
    for (int i = 0; i < 4; i++) {
        scales[i] = (float)(packed[i] & 63);
        minima[i] = (float)(packed[i + 4] & 63);
        scales[i + 4] = (float)((packed[i + 8] & 15) | (packed[i] >> 6) << 4);
        minima[i + 4] = (float)((packed[i + 8] >> 4) | (packed[i + 4] >> 6) << 4);
    }
}

/* d | minimum | 12 bytes of scales | 128 bytes: eight groups of 32, d scale q − minimum. */
static void expand_q4_k(const unsigned char *block, real *out)
{
    float d = half_to_float(block), m = half_to_float(block + 2), scales[8], minima[8];
    unpack_scales(block + 4, scales, minima);
    for (int group = 0; group < 8; group++) {
        const unsigned char *q = block + 16 + 32 * (group / 2);
        float scale = d * scales[group], minimum = m * minima[group];
        for (int i = 0; i < 32; i++)
            out[32 * group + i] = (real)(scale * (float)(group % 2 ? q[i] >> 4 : q[i] & 15) - minimum);
    }
}

/* 128 bytes of low halves | 64 of high pairs | 16 scales | d: sixteen groups of 16, d scale (q − 32). */
static void expand_q6_k(const unsigned char *block, real *out)
{
    const signed char *scales = (const signed char *)(block + 192);
    float d = half_to_float(block + 208);
    for (int i = 0; i < 256; i++) {
        int half = i / 128, quarter = i / 32 % 4, at = i % 32;
        unsigned low = block[64 * half + 32 * (quarter % 2) + at];
        low = quarter < 2 ? low & 15 : low >> 4;
        unsigned high = (unsigned)block[128 + 32 * half + at] >> (2 * quarter) & 3;
        float scale = d * (float)scales[i / 16];
        out[i] = (real)(scale * (float)((int)(low | high << 4) - 32));
    }
}

static const struct {
    struct quant quant;
    void (*expand)(const unsigned char *block, real *out);
} types[] = {
    [TENSOR_F32] = {{"F32", 1, 4}, expand_f32},        [TENSOR_F16] = {{"F16", 1, 2}, expand_f16},
    [TENSOR_BF16] = {{"BF16", 1, 2}, expand_bf16},     [TENSOR_F64] = {{"F64", 1, 8}, expand_f64},
    [TENSOR_Q8_0] = {{"Q8_0", 32, 34}, expand_q8_0},   [TENSOR_Q4_0] = {{"Q4_0", 32, 18}, expand_q4_0},
    [TENSOR_Q4_1] = {{"Q4_1", 32, 20}, expand_q4_1},   [TENSOR_Q4_K] = {{"Q4_K", 256, 144}, expand_q4_k},
    [TENSOR_Q6_K] = {{"Q6_K", 256, 210}, expand_q6_k},
};

const struct quant *quant_of(enum tensor_type type)
{
    assert((size_t)type < sizeof(types) / sizeof(types[0]));
    return &types[type].quant;
}

void quant_expand(enum tensor_type type, const unsigned char *blocks, size_t n_blocks, real *out)
{
    const struct quant *quant = quant_of(type);
    for (size_t i = 0; i < n_blocks; i++)
        types[type].expand(blocks + i * quant->bytes, out + i * quant->elements);
}
