/* Products of bfloat16 numbers on oneDNN, opened with dlopen: who computes in fp32 neither needs nor loads it.
 *
 * A product of given sizes is a "primitive", code that oneDNN makes for it in 0.1 to 0.3 ms and some 80 KB. Batches
 * have ever new numbers of rows, so a thread keeps the primitives it used last and drops the oldest. */
#include "trainer/gemm_bf16.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/kernels.h"

#if defined(__has_include) && !defined(REAL_DOUBLE)
#if __has_include(<dnnl.h>)
#define HAS_DNNL
#include <dnnl.h>
#endif
#endif

#ifdef HAS_DNNL
#if DNNL_VERSION_MAJOR == 2

enum { KEPT = 256 }; /* primitives a thread keeps: about 20 MB */

/* The functions of the library that are called, by name. */
#define FUNCTIONS(X)                                                                                                   \
    X(version)                                                                                                         \
    X(engine_create)                                                                                                   \
    X(stream_create)                                                                                                   \
    X(stream_destroy)                                                                                                  \
    X(set_primitive_cache_capacity)                                                                                    \
    X(memory_desc_init_by_tag)                                                                                         \
    X(memory_desc_get_size)                                                                                            \
    X(matmul_desc_init)                                                                                                \
    X(post_ops_create)                                                                                                 \
    X(post_ops_append_sum)                                                                                             \
    X(post_ops_destroy)                                                                                                \
    X(primitive_attr_create)                                                                                           \
    X(primitive_attr_destroy)                                                                                          \
    X(primitive_attr_set_post_ops)                                                                                     \
    X(primitive_attr_set_scratchpad_mode)                                                                              \
    X(primitive_desc_create)                                                                                           \
    X(primitive_desc_destroy)                                                                                          \
    X(primitive_desc_query_md)                                                                                         \
    X(primitive_create)                                                                                                \
    X(primitive_destroy)                                                                                               \
    X(primitive_execute)                                                                                               \
    X(memory_create)                                                                                                   \
    X(memory_destroy)                                                                                                  \
    X(memory_set_data_handle)

static struct {
#define DECLARE(name) __typeof__(dnnl_##name) *name;
    FUNCTIONS(DECLARE)
#undef DECLARE
} dnnl;

static dnnl_engine_t engine;
static char library[32] = "";

struct product {
    bool transpose_a, transpose_b, adds, has_bias;
    int m, n, k;
    uint64_t used; /* when, by the thread's count; 0: nothing is kept here */
    dnnl_primitive_t primitive;
    dnnl_memory_t a, b, bias, c, scratch;
    size_t scratch_bytes;
};

/* A thread's own: oneDNN's streams and memory objects are not shared. */
struct thread_state {
    dnnl_stream_t stream;
    uint64_t count;
    void *scratch;
    size_t scratch_bytes;
    struct product products[KEPT];
};

static pthread_key_t thread_key;

static void product_done(struct product *product)
{
    dnnl_memory_t memories[] = {product->a, product->b, product->bias, product->c, product->scratch};
    for (size_t i = 0; i < sizeof(memories) / sizeof(memories[0]); i++)
        if (memories[i])
            dnnl.memory_destroy(memories[i]);
    if (product->primitive)
        dnnl.primitive_destroy(product->primitive);
    *product = (struct product){0};
}

static void thread_done(void *context)
{
    struct thread_state *state = context;
    for (int i = 0; i < KEPT; i++)
        product_done(&state->products[i]);
    if (state->stream)
        dnnl.stream_destroy(state->stream);
    free(state->scratch);
    free(state);
}

static struct thread_state *thread_state(void)
{
    struct thread_state *state = pthread_getspecific(thread_key);
    if (state)
        return state;
    state = calloc(1, sizeof(*state));
    if (state && (dnnl.stream_create(&state->stream, engine, dnnl_stream_default_flags) != dnnl_success ||
                  pthread_setspecific(thread_key, state) != 0)) {
        thread_done(state);
        return NULL;
    }
    return state;
}

struct descriptions {
    dnnl_memory_desc_t a, b, bias, c;
};

/* The primitive's description; NULL when the library refuses. */
static dnnl_primitive_desc_t describe(const struct product *p, struct descriptions *d)
{
    dnnl_dims_t a_dims = {p->m, p->k}, b_dims = {p->k, p->n}, bias_dims = {1, p->n}, c_dims = {p->m, p->n};
    dnnl_matmul_desc_t matmul;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_post_ops_t post_ops = NULL;
    dnnl_primitive_desc_t description = NULL;
    bool is_well =
        dnnl.memory_desc_init_by_tag(&d->a, 2, a_dims, dnnl_bf16, p->transpose_a ? dnnl_ba : dnnl_ab) == dnnl_success &&
        dnnl.memory_desc_init_by_tag(&d->b, 2, b_dims, dnnl_bf16, p->transpose_b ? dnnl_ba : dnnl_ab) == dnnl_success &&
        dnnl.memory_desc_init_by_tag(&d->c, 2, c_dims, dnnl_f32, dnnl_ab) == dnnl_success &&
        dnnl.memory_desc_init_by_tag(&d->bias, 2, bias_dims, dnnl_f32, dnnl_ab) == dnnl_success &&
        dnnl.matmul_desc_init(&matmul, &d->a, &d->b, p->has_bias ? &d->bias : NULL, &d->c) == dnnl_success &&
        dnnl.primitive_attr_create(&attributes) == dnnl_success &&
        dnnl.primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user) == dnnl_success &&
        dnnl.post_ops_create(&post_ops) == dnnl_success &&
        (!p->adds || dnnl.post_ops_append_sum(post_ops, 1) == dnnl_success) &&
        dnnl.primitive_attr_set_post_ops(attributes, post_ops) == dnnl_success &&
        dnnl.primitive_desc_create(&description, &matmul, attributes, engine, NULL) == dnnl_success;
    if (post_ops)
        dnnl.post_ops_destroy(post_ops);
    if (attributes)
        dnnl.primitive_attr_destroy(attributes);
    return is_well ? description : NULL;
}

static bool make(struct product *p)
{
    struct descriptions d;
    dnnl_primitive_desc_t description = describe(p, &d);
    if (!description)
        return false;
    const dnnl_memory_desc_t *scratch = dnnl.primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
    p->scratch_bytes = dnnl.memory_desc_get_size(scratch);
    bool is_well = dnnl.primitive_create(&p->primitive, description) == dnnl_success &&
                   dnnl.memory_create(&p->a, &d.a, engine, DNNL_MEMORY_NONE) == dnnl_success &&
                   dnnl.memory_create(&p->b, &d.b, engine, DNNL_MEMORY_NONE) == dnnl_success &&
                   dnnl.memory_create(&p->bias, &d.bias, engine, DNNL_MEMORY_NONE) == dnnl_success &&
                   dnnl.memory_create(&p->c, &d.c, engine, DNNL_MEMORY_NONE) == dnnl_success &&
                   dnnl.memory_create(&p->scratch, scratch, engine, DNNL_MEMORY_NONE) == dnnl_success;
    dnnl.primitive_desc_destroy(description);
    return is_well;
}

/* The thread's primitive for these sizes, made when it has none. */
static struct product *find(struct thread_state *state, const struct product *wanted)
{
    struct product *oldest = &state->products[0];
    for (int i = 0; i < KEPT; i++) {
        struct product *p = &state->products[i];
        if (p->used && p->m == wanted->m && p->n == wanted->n && p->k == wanted->k && p->adds == wanted->adds &&
            p->has_bias == wanted->has_bias && p->transpose_a == wanted->transpose_a &&
            p->transpose_b == wanted->transpose_b) {
            p->used = ++state->count;
            return p;
        }
        oldest = p->used < oldest->used ? p : oldest;
    }
    product_done(oldest);
    *oldest = *wanted;
    if (!make(oldest)) {
        product_done(oldest);
        return NULL;
    }
    oldest->used = ++state->count;
    return oldest;
}

static bool has_scratch(struct thread_state *state, size_t bytes)
{
    if (bytes <= state->scratch_bytes)
        return true;
    void *larger = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!larger)
        return false;
    free(state->scratch);
    state->scratch = larger;
    state->scratch_bytes = bytes;
    return true;
}

bool gemm_bf16(bool transpose_a, bool transpose_b, int m, int n, int k, const uint16_t *a, const uint16_t *b,
               const real *bias, bool adds, real *c)
{
    if (m == 0 || n == 0)
        return true;
    struct thread_state *state = thread_state();
    const struct product wanted = {.transpose_a = transpose_a,
                                   .transpose_b = transpose_b,
                                   .adds = adds,
                                   .has_bias = bias != NULL,
                                   .m = m,
                                   .n = n,
                                   .k = k};
    struct product *p = state ? find(state, &wanted) : NULL;
    if (!p || !has_scratch(state, p->scratch_bytes))
        return false;
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, p->a},
                                         {DNNL_ARG_WEIGHTS, p->b},
                                         {DNNL_ARG_DST, p->c},
                                         {DNNL_ARG_SCRATCHPAD, p->scratch},
                                         {DNNL_ARG_BIAS, p->bias}};
    return dnnl.memory_set_data_handle(p->a, (void *)a) == dnnl_success &&
           dnnl.memory_set_data_handle(p->b, (void *)b) == dnnl_success &&
           dnnl.memory_set_data_handle(p->bias, (void *)bias) == dnnl_success &&
           dnnl.memory_set_data_handle(p->c, c) == dnnl_success &&
           dnnl.memory_set_data_handle(p->scratch, state->scratch) == dnnl_success &&
           dnnl.primitive_execute(p->primitive, state->stream, bias ? 5 : 4, arguments) == dnnl_success;
}

static int load(struct err *err)
{
    if (strcmp(kernels()->level, "avx512") != 0)
        return err_set(err, ERR_UNSUPPORTED, "bf16 needs a processor with AVX-512, this one has %s", kernels()->level);
    setenv("OMP_NUM_THREADS", "1", 1); /* read when the library comes; threads are the trial's own */
    void *handle = dlopen("libdnnl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return err_set(err, ERR_UNSUPPORTED, "bf16 needs the library oneDNN, which is not installed (libdnnl2): %s",
                       dlerror());
    const void *missing = NULL;
#define FIND(name)                                                                                                     \
    *(void **)&dnnl.name = dlsym(handle, "dnnl_" #name);                                                               \
    missing = dnnl.name ? missing : "dnnl_" #name;
    FUNCTIONS(FIND)
#undef FIND
    if (missing || pthread_key_create(&thread_key, thread_done) != 0 ||
        dnnl.engine_create(&engine, dnnl_cpu, 0) != dnnl_success)
        return err_set(err, ERR_UNSUPPORTED, "bf16: the library oneDNN cannot be used%s%s",
                       missing ? ", it has no " : "", missing ? (const char *)missing : "");
    dnnl.set_primitive_cache_capacity(0); /* a thread keeps its own */
    const dnnl_version_t *version = dnnl.version();
    snprintf(library, sizeof(library), "oneDNN %d.%d.%d", version->major, version->minor, version->patch);
    return 0;
}
#define HAS_LOAD
#endif
#endif

#ifndef HAS_LOAD
static const char library[] = "";

static int load(struct err *err)
{
    return err_set(err, ERR_UNSUPPORTED, "bf16 needs oneDNN 2, this program was built without it (libdnnl-dev)");
}

bool gemm_bf16(bool transpose_a, bool transpose_b, int m, int n, int k, const uint16_t *a, const uint16_t *b,
               const real *bias, bool adds, real *c)
{
    (void)transpose_a, (void)transpose_b, (void)m, (void)n, (void)k, (void)a, (void)b, (void)bias, (void)adds, (void)c;
    return false;
}
#endif

int gemm_bf16_open(struct err *err)
{
    return library[0] ? 0 : load(err);
}

const char *gemm_bf16_library(void)
{
    return library;
}
