/* Products with weights that stay as their file stores them, against those of the expanded weight. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "common/rng.h"
#include "trainer/gemm.h"
#include "trainer/packed.h"
#include "trainer/quant.h"
#include "trainer/safetensors.h"

/* 600 rows of 1,024: three panels, the last one shorter. */
enum { ROWS = 600, COLS = 1024, TOKENS = 5 };

static unsigned char blocks[ROWS * COLS * 2];
static real expanded[ROWS * COLS], x[TOKENS * COLS], packed_y[TOKENS * COLS], plain_y[TOKENS * COLS];
static struct rng_stream draw;
static struct arena arena;
static struct tape tape;

static void setup(void)
{
    draw = rng_stream(rng_make(5, RNG_INIT), 0, 0, 0);
    tape_begin(&tape, &arena);
    for (size_t i = 0; i < TOKENS * COLS; i++)
        x[i] = (real)rng_normal(&draw);
}

static void teardown(void)
{
    arena_done(&arena);
}

TestSuite(packed, .init = setup, .fini = teardown);

static void put_half(unsigned char *at, unsigned half)
{
    at[0] = (unsigned char)(half & 255);
    at[1] = (unsigned char)(half >> 8);
}

/* Random blocks whose scales are small: 0x2800 is 2^-5 as a half, 0x3c80 0.0156 as a bfloat16. */
static struct tensor make(enum tensor_type type, int heads)
{
    const struct quant *quant = quant_of(type);
    size_t n_blocks = (size_t)ROWS * COLS / quant->elements;
    for (size_t i = 0; i < n_blocks * quant->bytes; i++)
        blocks[i] = (unsigned char)(rng_uniform(&draw) * 256);
    for (size_t i = 0; i < n_blocks; i++) {
        unsigned char *block = blocks + i * quant->bytes;
        if (type == TENSOR_BF16)
            put_half(block, 0x3c80 + (unsigned)(rng_uniform(&draw) * 128));
        else
            put_half(block + (type == TENSOR_Q6_K ? 208 : 0), 0x2800);
        if (type == TENSOR_Q4_1 || type == TENSOR_Q4_K)
            put_half(block + 2, 0x2400);
    }
    return (struct tensor){.name = "w",
                           .type = type,
                           .n_dims = 2,
                           .shape = {ROWS, COLS},
                           .n = (size_t)ROWS * COLS,
                           .data = blocks,
                           .bytes = n_blocks * quant->bytes,
                           .interleaved_heads = heads};
}

static void expect_same_product(const struct tensor *tensor, bool transposes, real beta)
{
    struct value w = {.packed = tensor, .rows = ROWS, .cols = COLS, .is_parameter = true};
    int k = transposes ? COLS : ROWS, n = transposes ? ROWS : COLS;
    for (int i = 0; i < TOKENS * n; i++)
        packed_y[i] = plain_y[i] = (real)i;
    cr_assert(weight_gemm(&tape, transposes, TOKENS, x, &w, beta, packed_y));
    gemm(false, transposes, TOKENS, n, k, 1, x, k, expanded, COLS, beta, plain_y, n);
    for (int i = 0; i < TOKENS * n; i++)
        cr_assert(fabs((double)packed_y[i] - (double)plain_y[i]) < 1e-3 * (1 + fabs((double)plain_y[i])),
                  "%s, %d: %g, expanded %g", quant_of(tensor->type)->name, i, (double)packed_y[i], (double)plain_y[i]);
}

Test(packed, products_equal_those_of_the_expanded_weight)
{
    static const enum tensor_type types[] = {TENSOR_BF16, TENSOR_Q8_0, TENSOR_Q4_0,
                                             TENSOR_Q4_1, TENSOR_Q4_K, TENSOR_Q6_K};
    struct err err = {0};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        for (int heads = 0; heads <= 10; heads += 10) {
            struct tensor tensor = make(types[i], heads);
            cr_assert(packed_is_possible(&tensor));
            cr_assert_eq(safetensors_read(&tensor, expanded, &err), 0);
            for (int j = 0; j < 4; j++)
                expect_same_product(&tensor, j % 2, (real)(j / 2));
        }
}

Test(packed, rows_are_those_of_the_expanded_weight_bit_for_bit)
{
    struct err err = {0};
    struct tensor tensor = make(TENSOR_Q4_1, 6);
    struct value w = {.packed = &tensor, .rows = ROWS, .cols = COLS};
    cr_assert_eq(safetensors_read(&tensor, expanded, &err), 0);
    for (int first = 0; first + 4 <= ROWS; first += 3) {
        weight_rows(&w, first, 4, packed_y);
        cr_assert_arr_eq(packed_y, expanded + (size_t)first * COLS, 4 * COLS * sizeof(real), "rows from %d", first);
    }
    w.data = expanded;
    weight_rows(&w, 7, 1, packed_y);
    cr_expect_arr_eq(packed_y, expanded + 7 * COLS, COLS * sizeof(real));
}

Test(packed, what_is_float_already_no_matrix_or_too_wide_does_not_stay_packed)
{
    struct tensor tensor = make(TENSOR_Q4_0, 0);
    cr_expect(packed_is_possible(&tensor));
    tensor.n_dims = 1;
    cr_expect_not(packed_is_possible(&tensor));
    tensor.n_dims = 2;
    tensor.shape[1] = PACKED_PANEL + 32;
    cr_expect_not(packed_is_possible(&tensor));
    tensor.shape[1] = COLS + 8;
    cr_expect_not(packed_is_possible(&tensor), "a row ends within a block");
    tensor.shape[1] = COLS;
    tensor.type = TENSOR_OTHER;
    cr_expect_not(packed_is_possible(&tensor));
}

Test(packed, without_room_for_a_panel_the_tape_fails)
{
    struct tensor tensor = make(TENSOR_Q4_0, 0);
    struct value w = {.packed = &tensor, .rows = ROWS, .cols = COLS};
    struct err err = {0};
    arena.limit_bytes = 1;
    cr_expect_not(weight_gemm(&tape, true, TOKENS, x, &w, 0, packed_y));
    cr_expect_eq(tape_check(&tape, &err), ERR_NOMEM);
}
