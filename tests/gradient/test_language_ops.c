/* The operations of language models against finite differences. */
#include "tests/gradient/gradient.h"

/* Options: 1 trained vocabulary, 2 bias, 4 smoothing, 8 a divisor of the caller's. */
static struct value *build_token_loss(struct tape *tape, struct problem *p)
{
    static const int32_t labels[] = {0, 10, 3, 3, 7, 1, 9, 2};
    struct loss_options options = {
        .labels = labels, .smoothing = p->option & 4 ? 0.1 : 0, .divisor = p->option & 8 ? 5 : 0};
    return op_token_cross_entropy(tape, &p->inputs[0], &p->inputs[1], p->option & 2 ? &p->inputs[2] : NULL, &options,
                                  NULL);
}

Test(gradient, token_cross_entropy)
{
    struct arena arena = {0};
    for (int option = 0; option < 16; option++) {
        struct problem p;
        begin(&p, build_token_loss, option);
        add_input(&p, &arena, 8, 5, true);
        add_input(&p, &arena, 11, 5, false);
        if (option & 2)
            add_input(&p, &arena, 1, 11, false);
        if (!(option & 1)) { /* frozen: no gradient, so it is no input of the check */
            p.inputs[1].needs_grad = false;
            p.n_inputs = 1;
        }
        check(&p, "token_cross_entropy");
    }
    arena_done(&arena);
}

/* The blocked loss is the plain one of the logits: also when there are several blocks. */
Test(gradient, token_cross_entropy_blocks)
{
    enum { N = 300, D = 3, V = 20011 }; /* a block of 32 MiB takes about 209 rows of doubles */
    struct arena arena = {0}, step = {0};
    struct problem p;
    int32_t labels[N];
    real losses[2][N], loss[2];
    begin(&p, NULL, 0);
    add_input(&p, &arena, N, D, false);
    add_input(&p, &arena, V, D, false);
    real *dx = arena_calloc(&arena, (size_t)N * D, sizeof(real)),
         *dw = arena_calloc(&arena, (size_t)V * D, sizeof(real));
    for (int i = 0; i < N; i++)
        labels[i] = (i * 7919) % V;
    for (int way = 0; way < 2; way++) {
        struct tape tape = {.is_training = true, .is_recording = true};
        struct loss_options options = {.labels = labels};
        tape_begin(&tape, &step);
        struct value *x = &p.inputs[0], *w = &p.inputs[1];
        struct value *value = way ? op_cross_entropy(&tape, op_linear(&tape, x, w, NULL), &options, losses[1], NULL)
                                  : op_token_cross_entropy(&tape, x, w, NULL, &options, losses[0]);
        tape_backward(&tape, value, 0.5);
        cr_assert_eq(tape_check(&tape, NULL), 0);
        loss[way] = value->data[0];
        for (int i = 0; i < N * D; i++)
            dx[i] += way ? -x->grad[i] : 2 * x->grad[i]; /* gradients add up: the first way's, then both ways' */
        for (int i = 0; i < V * D; i++)
            dw[i] += way ? -w->grad[i] : 2 * w->grad[i];
    }
    cr_assert(fabs((double)(loss[0] - loss[1])) < 1e-12);
    for (int i = 0; i < N; i++)
        cr_assert(fabs((double)(losses[0][i] - losses[1][i])) < 1e-12, "row %d", i);
    for (int i = 0; i < N * D; i++)
        cr_assert(fabs((double)dx[i]) < 1e-12, "x element %d", i);
    for (int i = 0; i < V * D; i++)
        cr_assert(fabs((double)dw[i]) < 1e-12, "w element %d", i);
    arena_done(&step);
    arena_done(&arena);
}

static struct value *build_select(struct tape *tape, struct problem *p)
{
    static const int32_t rows[] = {7, 0, 2, 2, 5, 7};
    return op_select_rows(tape, &p->inputs[0], rows, 6);
}

Test(gradient, select_rows)
{
    struct arena arena = {0};
    struct problem p;
    begin(&p, build_select, 0);
    add_input(&p, &arena, 8, 5, true);
    check(&p, "select_rows");
    arena_done(&arena);
}

/* Keys of another stream: three sequences of 2, 5 and 1 rows, the second with padding. */
static const struct segment key_segments[] = {{0, 2, 2, 0, 7}, {2, 5, 4, 0, 2}, {7, 1, 1, 0, 11}};
static const struct layout key_layout = {3, 8, key_segments, NULL};

/* Options: 1 grouped key-value heads, 2 extra keys, 4 dropout. */
static struct value *build_cross_attention(struct tape *tape, struct problem *p)
{
    struct attention attention = {
        .n_heads = 4,
        .n_kv_heads = p->option & 1 ? 2 : 4,
        .scale = 0.7,
        .dropout = p->option & 4 ? 0.3 : 0,
        .site = 5,
        .extra_keys = p->option & 2 ? &p->inputs[3] : NULL,
        .extra_values = p->option & 2 ? &p->inputs[4] : NULL,
    };
    return op_attention(tape, &p->inputs[0], &p->inputs[1], &p->inputs[2], &attention);
}

Test(gradient, cross_attention)
{
    struct arena arena = {0};
    for (int option = 0; option < 8; option++) {
        struct problem p;
        int kv = option & 1 ? 4 : 8;
        begin(&p, build_cross_attention, option);
        add_input(&p, &arena, 8, 8, true);
        add_input(&p, &arena, 8, kv, false);
        add_input(&p, &arena, 8, kv, false);
        p.inputs[1].layout = p.inputs[2].layout = &key_layout;
        if (option & 2) {
            add_input(&p, &arena, 2, kv, false);
            add_input(&p, &arena, 2, kv, false);
        }
        check(&p, "cross_attention");
    }
    arena_done(&arena);
}

/* Options: 1 causal (with one-sided distances), 2 extra keys, 4 a window of 2 keys. */
static struct value *build_biased_attention(struct tape *tape, struct problem *p)
{
    struct attention attention = {
        .n_heads = 2,
        .n_kv_heads = 2,
        .scale = 1,
        .is_causal = p->option & 1,
        .window = p->option & 4 ? 2 : 0,
        .bias = {.table = &p->inputs[3], .is_bidirectional = !(p->option & 1), .max_distance = 4},
        .extra_keys = p->option & 2 ? &p->inputs[4] : NULL,
        .extra_values = p->option & 2 ? &p->inputs[5] : NULL,
    };
    return op_attention(tape, &p->inputs[0], &p->inputs[1], &p->inputs[2], &attention);
}

Test(gradient, biased_attention)
{
    struct arena arena = {0};
    for (int option = 0; option < 8; option++) {
        struct problem p;
        begin(&p, build_biased_attention, option);
        for (int i = 0; i < 3; i++)
            add_input(&p, &arena, 8, 4, true);
        add_input(&p, &arena, 8, 2, false);
        if (option & 2) {
            add_input(&p, &arena, 2, 4, false);
            add_input(&p, &arena, 2, 4, false);
        }
        check(&p, "biased_attention");
    }
    arena_done(&arena);
}

static struct value *build_rms_norm(struct tape *tape, struct problem *p)
{
    struct value *x = &p->inputs[1], *y = op_rms_norm(tape, x, &p->inputs[0], 1e-5);
    return p->option ? op_add(tape, x, y) : y; /* dx is not the first */
}

Test(gradient, rms_norm)
{
    struct arena arena = {0};
    for (int option = 0; option < 2; option++) {
        struct problem p;
        begin(&p, build_rms_norm, option);
        add_input(&p, &arena, 1, 37, false);
        add_input(&p, &arena, 8, 37, true);
        check(&p, "rms_norm");
    }
    arena_done(&arena);
}

static struct value *build_gated(struct tape *tape, struct problem *p)
{
    struct value *gate = &p->inputs[0], *x = &p->inputs[1];
    struct value *y = op_gated(tape, gate, x, (enum activation)(p->option / 2));
    return p->option % 2 ? op_add(tape, op_add(tape, gate, x), y) : y;
}

Test(gradient, gated)
{
    struct arena arena = {0};
    for (int option = 0; option < 2 * ((int)ACTIVATION_SIGMOID + 1); option++) {
        struct problem p;
        begin(&p, build_gated, option);
        add_input(&p, &arena, 8, 6, true);
        add_input(&p, &arena, 8, 6, true);
        check(&p, "gated");
    }
    arena_done(&arena);
}

/* Two heads of 5 of which 4 are turned: the last column is passed on. */
static struct value *build_rotate(struct tape *tape, struct problem *p)
{
    static real cosines[16], sines[16];
    for (int i = 0; i < 16; i++) {
        cosines[i] = (real)(1.1 * cos(0.3 * i));
        sines[i] = (real)(1.1 * sin(0.3 * i));
    }
    const struct rotation rotation = {2, cosines, sines};
    struct value *x = &p->inputs[0], *y = op_rotate(tape, x, 2, &rotation);
    return p->option ? op_add(tape, x, y) : y;
}

Test(gradient, rotate)
{
    struct arena arena = {0};
    for (int option = 0; option < 2; option++) {
        struct problem p;
        begin(&p, build_rotate, option);
        add_input(&p, &arena, 8, 10, true);
        check(&p, "rotate");
    }
    arena_done(&arena);
}

/* Keys and queries turned by their positions give scores of their distance alone: shifting all positions of a causal
 * attention with grouped heads changes nothing. */
static struct value *rotated_attention(struct tape *tape, struct problem *p, int shift)
{
    real *angles = tape_alloc(tape, "test", 32 * sizeof(real));
    for (int s = 0; s < p->layout.n_segments; s++)
        for (int i = 0; i < p->layout.segments[s].rows; i++)
            for (int j = 0; j < 2; j++) {
                int at = 2 * (p->layout.segments[s].first + i) + j;
                angles[at] = (real)cos((i + shift) * (j ? 0.1 : 1.0));
                angles[16 + at] = (real)sin((i + shift) * (j ? 0.1 : 1.0));
            }
    const struct rotation rotation = {2, angles, angles + 16};
    struct attention attention = {.n_heads = 4, .n_kv_heads = 2, .scale = 0.5, .is_causal = true};
    return op_attention(tape, op_rotate(tape, &p->inputs[0], 4, &rotation),
                        op_rotate(tape, &p->inputs[1], 2, &rotation), &p->inputs[2], &attention);
}

static struct value *build_rotated_attention(struct tape *tape, struct problem *p)
{
    return rotated_attention(tape, p, 0);
}

Test(gradient, rotated_attention)
{
    struct arena arena = {0}, step = {0};
    struct problem p;
    begin(&p, build_rotated_attention, 0);
    add_input(&p, &arena, 8, 16, true);
    add_input(&p, &arena, 8, 8, true);
    add_input(&p, &arena, 8, 8, true);
    check(&p, "rotated_attention");
    struct tape tape = {.is_training = true};
    tape_begin(&tape, &step);
    struct value *a = rotated_attention(&tape, &p, 0), *b = rotated_attention(&tape, &p, 1000);
    for (int i = 0; i < 8 * 16; i++)
        cr_assert(fabs((double)(a->data[i] - b->data[i])) < 1e-10, "element %d", i);
    arena_done(&step);
    arena_done(&arena);
}

/* A bias of the keys moves all scores of a row by the same: its gradient is zero, not the rounding of a sum. Extra keys
 * without it make it count. */
static struct value *build_key_bias(struct tape *tape, struct problem *p)
{
    struct value *x = &p->inputs[0];
    struct value *qkv = op_linear(tape, x, &p->inputs[1], &p->inputs[2]);
    struct attention attention = {
        .n_heads = 2,
        .n_kv_heads = 2,
        .scale = 0.7,
        .is_causal = true,
        .extra_keys = p->option ? &p->inputs[3] : NULL,
        .extra_values = p->option ? &p->inputs[4] : NULL,
    };
    return op_attention(tape, op_columns(tape, qkv, 0, 4), op_columns(tape, qkv, 4, 4), op_columns(tape, qkv, 8, 4),
                        &attention);
}

Test(gradient, key_bias)
{
    struct arena arena = {0};
    for (int option = 0; option < 2; option++) {
        struct problem p;
        begin(&p, build_key_bias, option);
        add_input(&p, &arena, 8, 5, true);
        add_input(&p, &arena, 12, 5, false);
        add_input(&p, &arena, 1, 12, false);
        for (int i = 0; i < 2 && option; i++)
            add_input(&p, &arena, 2, 4, false);
        check(&p, "key_bias");
        for (int i = 4; i < 8; i++)
            cr_assert_eq(p.inputs[2].grad[i] == 0, option == 0, "bias %d", i);
    }
    arena_done(&arena);
}
