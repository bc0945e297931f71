/* Products, kernels and the roofline that follows from them. */
#include "trainer/bench_command.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/text.h"
#include "trainer/gemm.h"
#include "trainer/gemm_bf16.h"
#include "trainer/kernels.h"
#include "trainer/model.h"
#include "trainer/ops.h"
#include "trainer/trial_lane.h"

enum {
    TOKENS = TRIAL_GROUP_TOKENS, /* rows of a product: a group of a micro-batch */
    RANK = 8,
    ELEMENTS = 4 << 20, /* of each array that a kernel runs over: 16 MiB, past the caches of a core */
    MAX_SHAPES = 24,
    SAMPLES = 5,
    MAX_MATRIX = 64 << 20 /* elements of a weight that is measured; larger ones are left out */
};
#define SAMPLE_SECONDS 0.012

/* The linear layers of equal size, and what attention needs to know. */
struct shape {
    int in, out, count;
    double forward, input, weight; /* GFLOP/s, measured */
};

struct sizes {
    const char *name;
    struct shape shapes[MAX_SHAPES];
    int n, n_layers, n_heads, hidden, inner;
};

struct rates {
    double best, triad; /* GFLOP/s of the library's best product; GB/s */
    double attention;   /* GFLOP/s of the two products of attention, 20 tokens */
};

struct bench {
    real *a, *b, *c; /* ELEMENTS each, or as large as the largest product needs */
    size_t capacity;
    struct text out;
    bool is_first; /* the next member of an array stands behind no comma */
};

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Processor seconds of one call: the best of a few samples, each of as many calls as fill its time. */
static double seconds_of(void (*call)(struct bench *bench, void *context), struct bench *bench, void *context)
{
    double best = INFINITY;
    call(bench, context); /* warm-up */
    for (int i = 0; i < SAMPLES; i++) {
        double began = processor_seconds(), passed = 0;
        int n = 0;
        do {
            call(bench, context);
            n++;
            passed = processor_seconds() - began;
        } while (passed < SAMPLE_SECONDS);
        best = passed / n < best ? passed / n : best;
    }
    return best;
}

static void next_member(struct bench *bench)
{
    text_add(&bench->out, bench->is_first ? "" : ",");
    bench->is_first = false;
}

static void begin_array(struct bench *bench, const char *name)
{
    text_printf(&bench->out, ",\"%s\":[", name);
    bench->is_first = true;
}

static void add_number(struct bench *bench, const char *name, double value)
{
    text_printf(&bench->out, ",\"%s\":", name);
    text_add_double(&bench->out, value);
}

/* Products -----------------------------------------------------------------------------------------------------------
 */

struct product {
    bool transpose_a, transpose_b, is_half;
    int m, n, k, lda, ldb, ldc;
};

static void multiply(struct bench *bench, void *context)
{
    const struct product *p = context;
    if (p->is_half) {
        bool done = gemm_bf16(p->transpose_a, p->transpose_b, p->m, p->n, p->k, (const uint16_t *)bench->a,
                              (const uint16_t *)bench->b, NULL, false, bench->c);
        (void)done; /* of no memory: the sizes are small */
        return;
    }
    gemm(p->transpose_a, p->transpose_b, p->m, p->n, p->k, 1, bench->a, p->lda, bench->b, p->ldb, 0, bench->c, p->ldc);
}

static double gflops(struct bench *bench, struct product product)
{
    return 2e-9 * product.m * product.n * product.k / seconds_of(multiply, bench, &product);
}

/* op(a) op(b), dense. */
static struct product dense(bool transpose_a, bool transpose_b, int m, int n, int k, bool is_half)
{
    return (struct product){transpose_a, transpose_b, is_half, m, n, k, transpose_a ? m : k, transpose_b ? k : n, n};
}

static void add_product(struct bench *bench, const char *what, const struct product *p, double rate, double best)
{
    next_member(bench);
    text_printf(&bench->out, "{\"product\":\"%s\",\"m\":%d,\"n\":%d,\"k\":%d", what, p->m, p->n, p->k);
    add_number(bench, "gflops", rate);
    add_number(bench, "share", rate / best);
    text_add_char(&bench->out, '}');
}

static double measure_product(struct bench *bench, const char *what, struct product product, double best)
{
    double rate = gflops(bench, product);
    add_product(bench, what, &product, rate, best);
    return rate;
}

static double best_square(struct bench *bench, bool is_half)
{
    static const int sides[] = {384, 512, 768, 1024};
    double best = 0;
    for (size_t i = 0; i < sizeof(sides) / sizeof(sides[0]); i++) {
        double rate = gflops(bench, dense(false, false, sides[i], sides[i], sides[i], is_half));
        best = rate > best ? rate : best;
    }
    return best;
}

static void measure_shapes(struct bench *bench, struct sizes *sizes, double best, bool is_half)
{
    for (int i = 0; i < sizes->n; i++) {
        struct shape *s = &sizes->shapes[i];
        s->forward = measure_product(bench, "linear forward", dense(false, true, TOKENS, s->out, s->in, is_half), best);
        s->input =
            measure_product(bench, "linear input gradient", dense(false, false, TOKENS, s->in, s->out, is_half), best);
        s->weight =
            measure_product(bench, "linear weight gradient", dense(true, false, s->out, s->in, TOKENS, is_half), best);
    }
}

/* Narrow products of LoRA and those of attention, whose operands are columns of wider matrices. */
static void measure_narrow(struct bench *bench, const struct sizes *sizes, struct rates *rates)
{
    int hidden = sizes->hidden, size = hidden / sizes->n_heads;
    measure_product(bench, "LoRA down", dense(false, true, TOKENS, RANK, hidden, false), rates->best);
    measure_product(bench, "LoRA up", dense(false, true, TOKENS, hidden, RANK, false), rates->best);
    for (int length = 20; length <= 128; length += 108) {
        struct product scores = {false, true, false, length, length, size, hidden, hidden, length},
                       mix = {false, false, false, length, size, length, length, hidden, hidden};
        double s = measure_product(bench, "attention scores", scores, rates->best);
        double m = measure_product(bench, "attention mix", mix, rates->best);
        if (length == 20)
            rates->attention = 2 / (1 / s + 1 / m);
    }
}

/* Kernels ------------------------------------------------------------------------------------------------------------
 */

enum { WIDTH = 384 }; /* of the kernels that work row by row */

static void run_triad(struct bench *b, void *context)
{
    (void)context;
    kernels()->add_scaled(b->c, b->a, b->b, (real)0.5, ELEMENTS);
}

static void run_add(struct bench *b, void *context)
{
    (void)context;
    kernels()->add(b->c, b->a, b->b, ELEMENTS);
}

static void run_axpy(struct bench *b, void *context)
{
    (void)context;
    kernels()->axpy(b->c, b->a, (real)1e-6, ELEMENTS);
}

static void run_exp(struct bench *b, void *context)
{
    (void)context;
    for (size_t i = 0; i + WIDTH <= ELEMENTS; i += WIDTH)
        kernels()->exp_sum(b->c + i, b->a + i, 1, WIDTH);
}

static void run_layer_norm(struct bench *b, void *context)
{
    (void)context;
    real mean, inverse;
    for (size_t i = 0; i + WIDTH <= ELEMENTS; i += WIDTH)
        kernels()->layer_norm(b->c + i, b->a + i, b->b, b->b + WIDTH, 1e-12, WIDTH, &mean, &inverse);
}

static void run_layer_norm_backward(struct bench *b, void *context)
{
    (void)context;
    for (size_t i = 0; i + WIDTH <= ELEMENTS; i += WIDTH)
        kernels()->layer_norm_backward(b->c + i, NULL, NULL, b->b + i, b->a + i, b->b, (real)0.1, 1, WIDTH, 1);
}

static void run_rms_norm(struct bench *b, void *context)
{
    (void)context;
    real inverse;
    for (size_t i = 0; i + WIDTH <= ELEMENTS; i += WIDTH)
        kernels()->rms_norm(b->c + i, b->a + i, b->b, 1e-6, WIDTH, &inverse);
}

static void run_gelu(struct bench *b, void *context)
{
    (void)context;
    kernels()->activation(b->c, b->a, ACTIVATION_GELU, ELEMENTS);
}

static void run_gelu_backward(struct bench *b, void *context)
{
    (void)context;
    kernels()->activation_backward(b->c, b->b, b->a, ACTIVATION_GELU, ELEMENTS, 1);
}

static void run_mask(struct bench *b, void *context)
{
    (void)context;
    kernels()->mask(b->c, b->a, (const uint8_t *)b->b, (real)1.1, ELEMENTS, 1);
}

static void run_keep_mask(struct bench *b, void *context)
{
    (void)context;
    kernels()->keep_mask(rng_make(1, RNG_DROPOUT), 0, 0, 0, 6554, (uint8_t *)b->c, ELEMENTS);
}

static void run_to_bf16(struct bench *b, void *context)
{
    (void)context;
    kernels()->to_bf16((uint16_t *)b->c, b->a, ELEMENTS);
}

/* Parameters, gradients and both moments share the three arrays: a quarter of the elements each. */
static void run_adamw(struct bench *b, void *context)
{
    (void)context;
    const struct adamw_step step = {(real)1e-4, 0, (real)0.9, (real)0.999, (real)1e-8, (real)0.1, (real)0.001, 1, 1};
    size_t n = ELEMENTS / 2;
    kernels()->adamw(b->c, b->a, b->b, b->b + n, step, n);
}

static const struct kernel_row {
    const char *name;
    void (*run)(struct bench *bench, void *context);
    double bytes; /* read and written an element of ELEMENTS */
} kernel_rows[] = {
    {"add", run_add, 12},
    {"axpy", run_axpy, 12},
    {"exp and sum (softmax)", run_exp, 8},
    {"layer norm", run_layer_norm, 8},
    {"layer norm backward", run_layer_norm_backward, 12},
    {"RMS norm", run_rms_norm, 8},
    {"GELU", run_gelu, 8},
    {"GELU backward", run_gelu_backward, 12},
    {"dropout mask applied", run_mask, 9},
    {"dropout mask drawn", run_keep_mask, 1},
    {"float to bf16", run_to_bf16, 6},
    {"AdamW", run_adamw, 14},
};

/* Arrays are filled anew in front of each: some kernels write what the next would read as something else. */
static void fill(struct bench *bench)
{
    for (size_t i = 0; i < bench->capacity; i++) {
        bench->a[i] = (real)(i % 97) / 97 - (real)0.5;
        bench->b[i] = (real)(i % 89) / 89;
        bench->c[i] = 0;
    }
}

static void measure_kernels(struct bench *bench, double triad)
{
    begin_array(bench, "kernels");
    for (size_t i = 0; i < sizeof(kernel_rows) / sizeof(kernel_rows[0]); i++) {
        const struct kernel_row *row = &kernel_rows[i];
        double rate = 1e-9 * row->bytes * ELEMENTS / seconds_of(row->run, bench, NULL);
        next_member(bench);
        text_printf(&bench->out, "{\"kernel\":\"%s\"", row->name);
        add_number(bench, "gb_per_second", rate);
        add_number(bench, "share", rate / triad);
        text_add_char(&bench->out, '}');
    }
    text_add_char(&bench->out, ']');
}

/* Roofline -----------------------------------------------------------------------------------------------------------
 */

/* Bytes that the passes between the products move for a token and layer, forward and backward: two residual sums with
 * norm (16, 12 a hidden value), two dropouts (9, 9), the activation (8, 12 an inner value), gradients that add up. */
static double bytes_per_token(const struct sizes *sizes)
{
    double hidden = sizes->hidden, inner = sizes->inner;
    return sizes->n_layers * (2 * (16 + 12 + 9 + 9) * hidden + (8 + 12) * inner + 4 * 12 * hidden);
}

/* Seconds of a token's products at the measured rates, or all at `best`. Gradients of inputs stop above the lowest
 * layer's own; only full fine-tuning has those of weights. */
static double product_seconds(const struct sizes *sizes, const struct rates *rates, bool is_full, bool at_best)
{
    double seconds = 0, below = sizes->n_layers > 0 ? 1 - 0.5 / sizes->n_layers : 1;
    for (int i = 0; i < sizes->n; i++) {
        const struct shape *s = &sizes->shapes[i];
        double flops = 2e-9 * s->in * s->out * s->count;
        double forward = at_best ? rates->best : s->forward, input = at_best ? rates->best : s->input;
        seconds += flops / forward + below * flops / input;
        if (is_full)
            seconds += flops / (at_best ? rates->best : s->weight);
    }
    double attention = 3 * 4e-9 * 20 * sizes->hidden * sizes->n_layers; /* forward once, backward twice */
    return seconds + attention / (at_best ? rates->best : rates->attention);
}

static void add_roofline(struct bench *bench, const struct sizes *sizes, const struct rates *rates, const char *compute)
{
    for (int is_full = 0; is_full < 2; is_full++) {
        double memory = 1e-9 * bytes_per_token(sizes) / rates->triad;
        next_member(bench);
        text_printf(&bench->out, "{\"method\":\"%s\",\"compute\":\"%s\"", is_full ? "full" : "lora", compute);
        add_number(bench, "ceiling", 1 / product_seconds(sizes, rates, is_full, true));
        add_number(bench, "estimate", 1 / (product_seconds(sizes, rates, is_full, false) + memory));
        text_add_char(&bench->out, '}');
    }
}

/* Shapes -------------------------------------------------------------------------------------------------------------
 */

static const struct sizes minilm = {
    "the shapes of MiniLM-L6",
    {{.in = 384, .out = 384, .count = 24}, {.in = 384, .out = 1536, .count = 6}, {.in = 1536, .out = 384, .count = 6}},
    3,
    6,
    12,
    384,
    1536};

static void count_shape(struct sizes *sizes, const struct site *site)
{
    int i = 0;
    while (i < sizes->n && (sizes->shapes[i].in != site->in || sizes->shapes[i].out != site->out))
        i++;
    if (i == MAX_SHAPES || (size_t)site->in * (size_t)site->out > MAX_MATRIX)
        return;
    sizes->n = i == sizes->n ? i + 1 : sizes->n;
    sizes->shapes[i].in = site->in;
    sizes->shapes[i].out = site->out;
    sizes->shapes[i].count++;
    sizes->inner = site->out > sizes->inner && site->layer >= 0 ? site->out : sizes->inner;
}

static int read_sizes(struct sizes *sizes, const char *folder, struct err *err)
{
    struct arena arena = {0};
    struct model model = {0};
    int rc = ERR_UNSUPPORTED;
    for (int task = TASK_CLASSIFICATION; task <= TASK_SEQ2SEQ && rc == ERR_UNSUPPORTED; task++) {
        struct model_options options = {.task = (enum model_task)task, .pooling = "mean", .n_classes = 2};
        model_close(&model);
        model = (struct model){0};
        rc = model_open(&model, folder, &options, &arena, err);
    }
    if (rc == 0) {
        *sizes = (struct sizes){.name = folder, .n_layers = model.n_layers, .hidden = model.hidden_size};
        for (size_t i = 0; i < model.n_sites; i++) {
            const struct site *site = model.sites[i];
            if (site->kind == SITE_LINEAR)
                count_shape(sizes, site);
            if (site->kind == SITE_ATTENTION)
                sizes->n_heads = site->n_heads;
        }
        if (sizes->n == 0 || sizes->n_heads == 0)
            rc = err_set(err, ERR_UNSUPPORTED, "'%s' has no linear layers with attention to measure", folder);
    }
    model_close(&model);
    arena_done(&arena);
    return rc;
}

static int open_arrays(struct bench *bench, const struct sizes *sizes, struct err *err)
{
    bench->capacity = ELEMENTS;
    for (int i = 0; i < sizes->n; i++) {
        const struct shape *s = &sizes->shapes[i];
        size_t wide = (size_t)(s->in > s->out ? s->in : s->out) * TOKENS, weight = (size_t)s->in * (size_t)s->out;
        bench->capacity = wide > bench->capacity ? wide : bench->capacity;
        bench->capacity = weight > bench->capacity ? weight : bench->capacity;
    }
    bench->a = calloc(bench->capacity, sizeof(real));
    bench->b = calloc(bench->capacity, sizeof(real));
    bench->c = calloc(bench->capacity, sizeof(real));
    if (!bench->a || !bench->b || !bench->c)
        return err_set(err, ERR_NOMEM, "no memory for three arrays of %zu values", bench->capacity);
    return 0;
}

static void measure(struct bench *bench, struct sizes *sizes)
{
    struct rates fp32 = {0}, half = {0};
    struct sizes in_half = *sizes;
    bool has_half = gemm_bf16_open(NULL) == 0;
    fill(bench);
    fp32.best = best_square(bench, false);
    fp32.triad = half.triad = 12e-9 * ELEMENTS / seconds_of(run_triad, bench, NULL);
    text_add(&bench->out, "{\"model\":");
    text_add_json(&bench->out, sizes->name);
    text_printf(&bench->out, ",\"tokens\":%d", TOKENS);
    add_number(bench, "best_gflops", fp32.best);
    add_number(bench, "triad_gb_per_second", fp32.triad);
    begin_array(bench, "products");
    measure_shapes(bench, sizes, fp32.best, false);
    measure_narrow(bench, sizes, &fp32);
    text_add_char(&bench->out, ']');
    if (has_half) {
        memset(bench->a, 0, bench->capacity * sizeof(real)); /* as halves, any pattern that is no NaN */
        memset(bench->b, 0, bench->capacity * sizeof(real));
        half.best = best_square(bench, true);
        half.attention = fp32.attention; /* attention stays fp32 */
        add_number(bench, "best_bf16_gflops", half.best);
        begin_array(bench, "bf16_products");
        measure_shapes(bench, &in_half, half.best, true);
        text_add_char(&bench->out, ']');
        fill(bench);
    }
    measure_kernels(bench, fp32.triad);
    begin_array(bench, "roofline");
    add_roofline(bench, sizes, &fp32, "fp32");
    if (has_half)
        add_roofline(bench, &in_half, &half, "bf16");
    text_add(&bench->out, "]}");
}

int bench_command(const char *folder, FILE *out, struct err *err)
{
    struct bench bench = {0};
    struct sizes sizes = minilm;
    gemm_set_threads(1);
    int rc = folder ? read_sizes(&sizes, folder, err) : 0;
    if (rc == 0)
        rc = open_arrays(&bench, &sizes, err);
    if (rc == 0) {
        measure(&bench, &sizes);
        rc = bench.out.failed ? err_set(err, ERR_NOMEM, "no memory for the answer") : 0;
    }
    if (rc == 0)
        fprintf(out, "%s\n", bench.out.data);
    text_done(&bench.out);
    free(bench.a);
    free(bench.b);
    free(bench.c);
    return rc;
}
