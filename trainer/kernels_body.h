/* The kernels' one source, compiled once per instruction set (KERNELS_LEVEL names it).
 *
 * Loops are written so that the compiler vectorises them; sums run in LANES partial sums in a fixed order, since a
 * compiler may not reorder a float sum by itself. exp is a polynomial of our own: the library's is no vector code. */
#include <float.h>
#include <math.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "trainer/kernels.h"
#include "trainer/ops.h"

enum { LANES = 32 };

#define PASTE_(a, b) a##b
#define PASTE(a, b)  PASTE_(a, b)
#define TEXT_(a)     #a
#define TEXT(a)      TEXT_(a)

static real lanes_sum(const real *lanes)
{
    real half[LANES];
    memcpy(half, lanes, sizeof(half));
    for (int n = LANES / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++)
            half[i] += half[i + n];
    return half[0];
}

static real dot(const real *restrict a, const real *restrict b, size_t n)
{
    real lanes[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lanes[l] += a[i + l] * b[i + l];
    for (int l = 0; i < n; i++, l++)
        lanes[l] += a[i] * b[i];
    return lanes_sum(lanes);
}

static real sum(const real *restrict a, size_t n)
{
    real lanes[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lanes[l] += a[i + l];
    for (int l = 0; i < n; i++, l++)
        lanes[l] += a[i];
    return lanes_sum(lanes);
}

static real max_of(const real *restrict a, size_t n)
{
    real best = a[0];
    for (size_t i = 1; i < n; i++)
        best = a[i] > best ? a[i] : best;
    return best;
}

static void axpy(real *restrict y, const real *restrict x, real a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static void scale(real *restrict y, const real *restrict x, real a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = a * x[i];
}

static void add_scaled(real *restrict y, const real *restrict a, const real *restrict b, real s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] + s * b[i];
}

static void add(real *y, const real *a, const real *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}

static void multiply(real *y, const real *a, const real *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] * b[i];
}

static void multiply_add(real *restrict y, const real *restrict a, const real *restrict b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += a[i] * b[i];
}

#ifdef REAL_DOUBLE
static inline real fast_exp(real x)
{
    return exp(x);
}
static inline real fast_erf(real x)
{
    return erf(x);
}
static inline real erf_with(real x, real exp_of_square)
{
    (void)exp_of_square;
    return erf(x);
}
static inline real fast_tanh(real x)
{
    return tanh(x);
}
#else
/* exp(x) = 2^k exp(r), |r| ≤ ln 2 / 2, exp(r) by its Taylor polynomial of degree 7; the scale 2^k in two factors, so
 * that subnormal results come out gradually. */
static inline float fast_exp(float x)
{
    const float log2e = 1.44269504088896341f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    x = x > 88.7f ? 88.7f : x < -103.0f ? -103.0f : x;
    float k = rintf(x * log2e);
    float r = x - k * ln2_high - k * ln2_low;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    int half = (int)k / 2, rest = (int)k - half;
    union {
        unsigned i; /* of NaN, half and rest are anything: only an unsigned shift is defined for all of it */
        float f;
    } a = {.i = (unsigned)(half + 127) << 23}, b = {.i = (unsigned)(rest + 127) << 23};
    return p * a.f * b.f;
}

/* erf by Abramowitz & Stegun 7.1.26 has only 1.5e-7 absolute error and bad relative error near 0: below 1 the Taylor
 * series is used, above it 1 − exp(−x²)·Q(1/(1 + p x)). Both are evaluated and selected, so that the loop vectorises.
 */
static inline float erf_with(float x, float exp_of_square)
{
    float a = fabsf(x), s = a * a;
    float series = 1.0f / 6894720.0f; /* Σ (−1)^n x^(2n+1) / (n! (2n+1)), n = 9 … 0 */
    series = 1.0f / 685440.0f - s * series;
    series = 1.0f / 75600.0f - s * series;
    series = 1.0f / 9360.0f - s * series;
    series = 1.0f / 1320.0f - s * series;
    series = 1.0f / 216.0f - s * series;
    series = 1.0f / 42.0f - s * series;
    series = 1.0f / 10.0f - s * series;
    series = 1.0f / 3.0f - s * series;
    series = 1.0f - s * series;
    series *= 1.12837916709551257f * a;
    float t = 1.0f / (1.0f + 0.3275911f * a);
    float q = 1.061405429f;
    q = q * t - 1.453152027f;
    q = q * t + 1.421413741f;
    q = q * t - 0.284496736f;
    q = q * t + 0.254829592f;
    float tail = 1.0f - q * t * exp_of_square; /* exp(−x²) */
    float y = a < 1.0f ? series : tail;
    return copysignf(y, x);
}
static inline float fast_erf(float x)
{
    return erf_with(x, fast_exp(-x * x));
}

/* tanh(x) = (1 − e^(−2|x|))/(1 + e^(−2|x|)); near 0, where that cancels, its Taylor polynomial. */
static inline float fast_tanh(float x)
{
    float a = fabsf(x), s = a * a;
    float e = fast_exp(-2.0f * a);
    float large = (1.0f - e) / (1.0f + e);
    float small = a * (1.0f + s * (-1.0f / 3 + s * (2.0f / 15 + s * (-17.0f / 315 + s * (62.0f / 2835)))));
    return copysignf(a < 0.25f ? small : large, x);
}
#endif

static real exp_sum(real *y, const real *x, real shift, size_t n)
{
    real lanes[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) {
            y[i + l] = fast_exp(x[i + l] - shift);
            lanes[l] += y[i + l];
        }
    if (i < n) { /* the rest as one more vector: rows of attention are often shorter than one */
        real rest[LANES] = {0};
        memcpy(rest, x + i, (n - i) * sizeof(real));
        for (int l = 0; l < LANES; l++)
            rest[l] = fast_exp(rest[l] - shift);
        for (size_t l = 0; l < LANES; l++)
            lanes[l] += l < n - i ? rest[l] : 0;
        memcpy(y + i, rest, (n - i) * sizeof(real));
    }
    return lanes_sum(lanes);
}

static void layer_norm(real *restrict y, const real *restrict x, const real *restrict gamma, const real *restrict beta,
                       double epsilon, size_t n, real *mean, real *inverse)
{
    real lanes[LANES] = {0};
    real m = sum(x, n) / (real)n;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lanes[l] += (x[i + l] - m) * (x[i + l] - m);
    for (int l = 0; i < n; i++, l++)
        lanes[l] += (x[i] - m) * (x[i] - m);
    real r = (real)(1.0 / sqrt((double)(lanes_sum(lanes) / (real)n) + epsilon));
    for (i = 0; i < n; i++)
        y[i] = gamma[i] * ((x[i] - m) * r) + beta[i];
    *mean = m;
    *inverse = r;
}

/* With x̂ = (x − mean) r and g = dy γ:  dx = r (g − mean(g) − x̂ mean(g x̂)). */
static void layer_norm_backward(real *restrict dx, real *restrict dgamma, real *restrict dbeta, const real *restrict dy,
                                const real *restrict x, const real *restrict gamma, real mean, real inverse, size_t n,
                                int is_first)
{
    real lanes_g[LANES] = {0}, lanes_gx[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) {
            real g = dy[i + l] * gamma[i + l];
            lanes_g[l] += g;
            lanes_gx[l] += g * ((x[i + l] - mean) * inverse);
        }
    for (int l = 0; i < n; i++, l++) {
        real g = dy[i] * gamma[i];
        lanes_g[l] += g;
        lanes_gx[l] += g * ((x[i] - mean) * inverse);
    }
    real mean_g = lanes_sum(lanes_g) / (real)n, mean_gx = lanes_sum(lanes_gx) / (real)n;
    if (dgamma)
        for (i = 0; i < n; i++)
            dgamma[i] += dy[i] * ((x[i] - mean) * inverse);
    if (dbeta)
        for (i = 0; i < n; i++)
            dbeta[i] += dy[i];
    if (!dx)
        return;
    if (is_first)
        for (i = 0; i < n; i++)
            dx[i] = inverse * (dy[i] * gamma[i] - mean_g - (x[i] - mean) * inverse * mean_gx);
    else
        for (i = 0; i < n; i++)
            dx[i] += inverse * (dy[i] * gamma[i] - mean_g - (x[i] - mean) * inverse * mean_gx);
}

static void rms_norm(real *restrict y, const real *restrict x, const real *restrict gamma, double epsilon, size_t n,
                     real *inverse)
{
    real r = (real)(1 / sqrt((double)dot(x, x, n) / (double)n + epsilon));
    for (size_t i = 0; i < n; i++)
        y[i] = gamma[i] * (x[i] * r);
    *inverse = r;
}

/* With x̂ = x r and g = dy γ:  dx = r (g − x̂ mean(g x̂)). */
static void rms_norm_backward(real *restrict dx, real *restrict dgamma, const real *restrict dy, const real *restrict x,
                              const real *restrict gamma, real inverse, size_t n, int is_first)
{
    real lanes[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lanes[l] += dy[i + l] * gamma[i + l] * x[i + l];
    for (int l = 0; i < n; i++, l++)
        lanes[l] += dy[i] * gamma[i] * x[i];
    real mean = lanes_sum(lanes) * inverse * inverse / (real)n;
    if (dgamma)
        for (i = 0; i < n; i++)
            dgamma[i] += dy[i] * (x[i] * inverse);
    if (dx && is_first)
        for (i = 0; i < n; i++)
            dx[i] = inverse * (dy[i] * gamma[i] - x[i] * mean);
    else if (dx)
        for (i = 0; i < n; i++)
            dx[i] += inverse * (dy[i] * gamma[i] - x[i] * mean);
}

static inline real sigmoid(real x)
{
    return 1 / (1 + fast_exp(-x));
}

#define ROOT_2_OVER_PI ((real)0.79788456080286535588)
#define GELU_CUBIC     ((real)0.044715)

static inline real gelu(real x)
{
    return (real)0.5 * x * (1 + fast_erf(x * (real)0.70710678118654752440));
}
/* exp(−x²/2) is in the density and in erf's tail: computed once. */
static inline real gelu_slope(real x)
{
    real e = fast_exp((real)-0.5 * x * x);
    real cdf = (real)0.5 * (1 + erf_with(x * (real)0.70710678118654752440, e));
    return cdf + x * (real)0.39894228040143267794 * e;
}
static inline real gelu_new(real x)
{
    return (real)0.5 * x * (1 + fast_tanh(ROOT_2_OVER_PI * (x + GELU_CUBIC * x * x * x)));
}
static inline real gelu_new_slope(real x)
{
    real t = fast_tanh(ROOT_2_OVER_PI * (x + GELU_CUBIC * x * x * x));
    real inner = ROOT_2_OVER_PI * (1 + 3 * GELU_CUBIC * x * x);
    return (real)0.5 * (1 + t) + (real)0.5 * x * (1 - t * t) * inner;
}
static inline real silu(real x)
{
    return x * sigmoid(x);
}
static inline real silu_slope(real x)
{
    real s = sigmoid(x);
    return s * (1 + x * (1 - s));
}
static inline real relu(real x)
{
    return x > 0 ? x : 0;
}
static inline real relu_slope(real x)
{
    return x > 0 ? 1 : 0;
}
static inline real tanh_slope(real x)
{
    real t = fast_tanh(x);
    return 1 - t * t;
}
static inline real sigmoid_slope(real x)
{
    real s = sigmoid(x);
    return s * (1 - s);
}

#define EACH(f)                                                                                                        \
    for (size_t i = 0; i < n; i++)                                                                                     \
        y[i] = f(x[i]);                                                                                                \
    break

static void activation_forward(real *restrict y, const real *restrict x, int activation, size_t n)
{
    switch ((enum activation)activation) {
    case ACTIVATION_RELU:
        EACH(relu);
    case ACTIVATION_GELU:
        EACH(gelu);
    case ACTIVATION_GELU_NEW:
        EACH(gelu_new);
    case ACTIVATION_SILU:
        EACH(silu);
    case ACTIVATION_TANH:
        EACH(fast_tanh);
    case ACTIVATION_SIGMOID:
        EACH(sigmoid);
    }
}

/* dx may be dy: no restrict, but the compiler is told that elements do not wait for each other. */
#define EACH_SLOPE(f)                                                                                                  \
    if (is_first) {                                                                                                    \
        _Pragma("GCC ivdep") for (size_t i = 0; i < n; i++) dx[i] = dy[i] * f(x[i]);                                   \
    } else {                                                                                                           \
        _Pragma("GCC ivdep") for (size_t i = 0; i < n; i++) dx[i] += dy[i] * f(x[i]);                                  \
    }                                                                                                                  \
    break

static void activation_backward(real *dx, const real *dy, const real *x, int activation, size_t n, int is_first)
{
    switch ((enum activation)activation) {
    case ACTIVATION_RELU:
        EACH_SLOPE(relu_slope);
    case ACTIVATION_GELU:
        EACH_SLOPE(gelu_slope);
    case ACTIVATION_GELU_NEW:
        EACH_SLOPE(gelu_new_slope);
    case ACTIVATION_SILU:
        EACH_SLOPE(silu_slope);
    case ACTIVATION_TANH:
        EACH_SLOPE(tanh_slope);
    case ACTIVATION_SIGMOID:
        EACH_SLOPE(sigmoid_slope);
    }
}

static void adamw(real *restrict p, const real *restrict g, real *restrict m, real *restrict v, struct adamw_step step,
                  size_t n)
{
    real decay = 1 - step.learning_rate * step.weight_decay;
    for (size_t i = 0; i < n; i++) {
        m[i] = step.beta1 * m[i] + step.rest1 * g[i];
        v[i] = step.beta2 * v[i] + step.rest2 * g[i] * g[i];
        real m_hat = m[i] / step.correction1, v_hat = v[i] / step.correction2;
#ifdef REAL_DOUBLE
        p[i] = decay * p[i] - step.learning_rate * m_hat / (sqrt(v_hat) + step.epsilon);
#else
        p[i] = decay * p[i] - step.learning_rate * m_hat / (sqrtf(v_hat) + step.epsilon);
#endif
    }
}

static void adamw_decay(real *p, struct adamw_step step, size_t n)
{
    real decay = 1 - step.learning_rate * step.weight_decay;
    for (size_t i = 0; i < n; i++)
        p[i] *= decay;
}

/* Philox4x32-10 for BLOCKS counters at a time, word by word, so that the rounds vectorise. */
enum { BLOCKS = 16 };

#ifdef __AVX512F__
/* Both halves of the 64-bit products of 16 words with one. */
static inline void multiply_words(__m512i a, __m512i b, __m512i *high, __m512i *low)
{
    __m512i even = _mm512_mul_epu32(a, b), odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), b);
    *low = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
    *high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
}

static inline void store_quarters(uint32_t *out, __m512i x)
{
    _mm_storeu_si128((__m128i *)(void *)out, _mm512_extracti32x4_epi32(x, 0));
    _mm_storeu_si128((__m128i *)(void *)(out + 16), _mm512_extracti32x4_epi32(x, 1));
    _mm_storeu_si128((__m128i *)(void *)(out + 32), _mm512_extracti32x4_epi32(x, 2));
    _mm_storeu_si128((__m128i *)(void *)(out + 48), _mm512_extracti32x4_epi32(x, 3));
}

/* The same words as the portable code, written out for 512 bits. */
static void random_blocks(struct rng rng, uint32_t step, uint32_t example, uint32_t site, uint32_t element,
                          uint32_t out[4 * BLOCKS])
{
    const __m512i m0 = _mm512_set1_epi64(0xd2511f53), m1 = _mm512_set1_epi64(0xcd9e8d57);
    __m512i c0 = _mm512_set1_epi32((int)step), c1 = _mm512_set1_epi32((int)example), c2 = _mm512_set1_epi32((int)site);
    __m512i c3 = _mm512_add_epi32(_mm512_set1_epi32((int)element),
                                  _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
    uint32_t k0 = rng.key[0], k1 = rng.key[1];
    for (int round = 0; round < 10; round++) {
        __m512i high0, low0, high1, low1;
        multiply_words(c0, m0, &high0, &low0);
        multiply_words(c2, m1, &high1, &low1);
        c0 = _mm512_xor_si512(_mm512_xor_si512(high1, c1), _mm512_set1_epi32((int)k0));
        c2 = _mm512_xor_si512(_mm512_xor_si512(high0, c3), _mm512_set1_epi32((int)k1));
        c1 = low1;
        c3 = low0;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    /* From four words of 16 blocks to 16 blocks of four words. */
    __m512i a = _mm512_unpacklo_epi32(c0, c1), b = _mm512_unpackhi_epi32(c0, c1);
    __m512i c = _mm512_unpacklo_epi32(c2, c3), d = _mm512_unpackhi_epi32(c2, c3);
    store_quarters(out, _mm512_unpacklo_epi64(a, c));
    store_quarters(out + 4, _mm512_unpackhi_epi64(a, c));
    store_quarters(out + 8, _mm512_unpacklo_epi64(b, d));
    store_quarters(out + 12, _mm512_unpackhi_epi64(b, d));
}
#else
static void random_blocks(struct rng rng, uint32_t step, uint32_t example, uint32_t site, uint32_t element,
                          uint32_t out[4 * BLOCKS])
{
    uint32_t c0[BLOCKS], c1[BLOCKS], c2[BLOCKS], c3[BLOCKS], k0 = rng.key[0], k1 = rng.key[1];
    for (uint32_t i = 0; i < BLOCKS; i++) {
        c0[i] = step;
        c1[i] = example;
        c2[i] = site;
        c3[i] = element + i;
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            uint64_t p0 = (uint64_t)0xd2511f53u * c0[i], p1 = (uint64_t)0xcd9e8d57u * c2[i];
            c0[i] = (uint32_t)(p1 >> 32) ^ c1[i] ^ k0;
            c1[i] = (uint32_t)p1;
            c2[i] = (uint32_t)(p0 >> 32) ^ c3[i] ^ k1;
            c3[i] = (uint32_t)p0;
        }
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    for (int i = 0; i < BLOCKS; i++) {
        out[4 * i] = c0[i];
        out[4 * i + 1] = c1[i];
        out[4 * i + 2] = c2[i];
        out[4 * i + 3] = c3[i];
    }
}
#endif

static void random_words(struct rng rng, uint32_t step, uint32_t example, uint32_t site, uint32_t *out, size_t n)
{
    size_t i = 0;
    for (; i + 4 * BLOCKS <= n; i += 4 * BLOCKS)
        random_blocks(rng, step, example, site, (uint32_t)(i / 4), out + i);
    if (i < n) {
        uint32_t words[4 * BLOCKS];
        random_blocks(rng, step, example, site, (uint32_t)(i / 4), words);
        memcpy(out + i, words, (n - i) * sizeof(*out));
    }
}

static void keep_mask(struct rng rng, uint32_t step, uint32_t example, uint32_t site, uint32_t threshold,
                      uint8_t *is_kept, size_t n)
{
    enum { ELEMENTS = 8 * BLOCKS };
    for (size_t i = 0; i < n; i += ELEMENTS) {
        uint32_t words[4 * BLOCKS];
        uint8_t kept[ELEMENTS];
        random_blocks(rng, step, example, site, (uint32_t)(i / 8), words);
        for (int k = 0; k < 4 * BLOCKS; k++) {
            kept[2 * k] = (words[k] & 0xffffu) >= threshold;
            kept[2 * k + 1] = (words[k] >> 16) >= threshold;
        }
        memcpy(is_kept + i, kept, n - i < ELEMENTS ? n - i : ELEMENTS);
    }
}

static void mask(real *y, const real *x, const uint8_t *is_kept, real factor, size_t n, int is_first)
{
    if (is_first) {
        _Pragma("GCC ivdep") for (size_t i = 0; i < n; i++) y[i] = is_kept[i] ? x[i] * factor : 0;
    } else {
        _Pragma("GCC ivdep") for (size_t i = 0; i < n; i++) y[i] += is_kept[i] ? x[i] * factor : 0;
    }
}

static void to_bf16(uint16_t *restrict y, const real *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float value = (float)x[i];
        uint32_t bits;
        memcpy(&bits, &value, sizeof(bits));
        const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
        y[i] = (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
    }
}

const struct kernels PASTE(kernels_, KERNELS_LEVEL) = {
    .level = TEXT(KERNELS_LEVEL),
    .dot = dot,
    .sum = sum,
    .max = max_of,
    .axpy = axpy,
    .scale = scale,
    .add_scaled = add_scaled,
    .add = add,
    .multiply = multiply,
    .multiply_add = multiply_add,
    .exp_sum = exp_sum,
    .layer_norm = layer_norm,
    .layer_norm_backward = layer_norm_backward,
    .rms_norm = rms_norm,
    .rms_norm_backward = rms_norm_backward,
    .activation = activation_forward,
    .activation_backward = activation_backward,
    .random_words = random_words,
    .keep_mask = keep_mask,
    .mask = mask,
    .to_bf16 = to_bf16,
    .adamw = adamw,
    .adamw_decay = adamw_decay,
};
