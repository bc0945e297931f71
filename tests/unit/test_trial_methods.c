/* Every method in a whole trial: what it does not train keeps its bits, and dropout is where and what it should be. */
#include <math.h>

#include "common/json.h"
#include "tests/support/small_trial.h"
#include "trainer/kernels.h"

static struct err err;

/* Opens a small trial with more settings; false when the method is not for this model. */
static bool open_with(struct small_trial *small, const char *model, const char *settings, const char *more)
{
    char all[1024];
    snprintf(all, sizeof(all), "%s%s", more, settings);
    int rc = small_open(small, model, all, &err);
    if (rc == 0)
        return true;
    cr_expect_eq(rc, ERR_UNSUPPORTED, "%s, %s: %s", model, settings, err.message);
    small_close(small);
    return false;
}

/* Frozen tensors --------------------------------------------------------------------------------------------------- */

/* A key's bias shifts all scores of a query alike, which softmax does not see: its gradient is zero, and it stays. */
static bool must_move(const struct param *param)
{
    return param->is_trained && !text_ends_with(param->name, "key.bias") && !text_ends_with(param->name, "k_proj.bias");
}

static size_t trained_that_moved(const struct params *params, real *const *before)
{
    size_t n = 0;
    for (size_t i = 0; i < params->count; i++)
        n += must_move(params->items[i]) &&
             memcmp(before[i], params->items[i]->value.data, param_size(params->items[i]) * sizeof(real)) != 0;
    return n;
}

static int trains_only_its_own(const char *model, const char *settings)
{
    struct small_trial small;
    char before[65], after[65];
    if (!open_with(&small, model, settings, "\"learning_rate\":0.01,\"dropout\":0.1,"))
        return 0;
    struct params *params = &small.trial.model.params;
    real **start = arena_calloc(&small.trial.arena, params->count, sizeof(*start));
    size_t n_trained = 0;
    for (size_t i = 0; i < params->count; i++) {
        size_t bytes = param_size(params->items[i]) * sizeof(real);
        start[i] = arena_alloc(&small.trial.arena, bytes);
        memcpy(start[i], params->items[i]->value.data, bytes);
        n_trained += must_move(params->items[i]);
    }
    params_hash_frozen(params, before);
    cr_assert_eq(trial_run(&small.trial, &err), 0, "%s, %s: %s", model, settings, err.message);
    params_hash_frozen(params, after);
    cr_expect_str_eq(before, after, "%s, %s: a frozen tensor has changed", model, settings);
    size_t moved = trained_that_moved(params, start);
    /* An expert to which a gate sends no token in these few steps stays where it is. */
    cr_expect(moved == n_trained || (strstr(settings, "smoe") && moved > n_trained / 2),
              "%s, %s: %zu of %zu trained tensors moved", model, settings, moved, n_trained);
    small_close(&small);
    return 1;
}

Test(trial_methods, train_their_own_tensors_and_no_others)
{
    int n = 0;
    for (size_t i = 0; small_method(i); i++)
        n += trains_only_its_own("bert", small_method(i)) + trains_only_its_own("roberta", small_method(i));
    cr_assert_geq(n, 2 * N_SMALL_METHODS);
}

/* The hash must see a single bit, or the test above proves nothing. */
Test(trial_methods, the_hash_of_frozen_tensors_sees_one_bit)
{
    struct small_trial small;
    char before[65], after[65];
    cr_assert(open_with(&small, "bert", "\"method\":\"bitfit\"", ""));
    struct param *param = params_find(&small.trial.model.params, "bert.pooler.dense.weight");
    params_hash_frozen(&small.trial.model.params, before);
    real *copy = arena_alloc(&small.trial.arena, param_size(param) * sizeof(real)), *mapped = param->value.data;
    memcpy(copy, mapped, param_size(param) * sizeof(real));
    param->value.data = copy;
    copy[17] = nextafterf((float)copy[17], 10);
    params_hash_frozen(&small.trial.model.params, after);
    cr_expect_str_neq(before, after);
    param->value.data = mapped;
    small_close(&small);
}

/* Dropout ---------------------------------------------------------------------------------------------------------- */

/* Trained tensors a little off their start, where LoRA's B = 0 would hide what the method does. */
static void move_off_start(struct trial *trial)
{
    for (size_t i = 0; i < trial->model.params.count; i++) {
        struct param *param = trial->model.params.items[i];
        struct rng_stream stream = rng_stream(rng_make(3, RNG_INIT), 9, 0, rng_site(param->name));
        for (size_t k = 0; param->is_trained && k < param_size(param); k++)
            param->value.data[k] += (real)(0.1 * rng_normal(&stream));
    }
}

enum { N_LOGITS = 12 };

/* Logits of the first four examples; the number of dropouts that gradients flow through, in *n_dropouts. */
static void logits(struct trial *trial, bool is_training, uint32_t step, real out[N_LOGITS], int *n_dropouts)
{
    struct tape *tape = &trial->tape;
    tape->is_training = is_training;
    tape->is_recording = true;
    tape->step = step;
    tape_begin(tape, &trial->step_arena);
    struct pass pass = {.tape = tape, .model = &trial->model, .batch = small_pack(trial, 4)};
    struct value *y = trial->model.kind->classify(&pass);
    cr_assert_eq(tape_check(tape, &err), 0, "%s", err.message);
    cr_assert_eq(y->rows * y->cols, N_LOGITS);
    memcpy(out, y->data, N_LOGITS * sizeof(real));
    *n_dropouts = 0;
    for (const struct tape_node *node = tape->last; node; node = node->previous)
        *n_dropouts += strcmp(node->name, "dropout") == 0;
}

static bool equal(const real *a, const real *b)
{
    return memcmp(a, b, N_LOGITS * sizeof(real)) == 0;
}

static int dropout_of(const char *model, const char *settings)
{
    struct small_trial with, without;
    real train0[N_LOGITS], again[N_LOGITS], train1[N_LOGITS], eval[N_LOGITS], plain[N_LOGITS], plain_train[N_LOGITS];
    int n;
    char own[512];
    if (!open_with(&with, model, settings, "\"dropout\":0.3,\"attention_dropout\":0.2,"))
        return 0;
    move_off_start(&with.trial);
    logits(&with.trial, true, 4, train0, &n);
    logits(&with.trial, true, 4, again, &n);
    logits(&with.trial, true, 5, train1, &n);
    logits(&with.trial, false, 4, eval, &n);
    cr_expect_eq(n, 0, "%s, %s: dropout in evaluation", model, settings);
    cr_expect(equal(train0, again), "%s, %s: the mask is no pure function of the step", model, settings);
    cr_expect(!equal(train0, train1), "%s, %s: two steps have one mask", model, settings);
    cr_expect(!equal(train0, eval), "%s, %s: no dropout in training", model, settings);
    /* The same trial without any dropout: evaluation must not tell them apart, and training then is evaluation. */
    const char *method_dropout = strstr(settings, ",\"method_dropout\":0.");
    size_t at = method_dropout ? (size_t)(method_dropout - settings) : strlen(settings);
    snprintf(own, sizeof(own), "%.*s%s", (int)at, settings,
             method_dropout ? settings + at + strlen(",\"method_dropout\":0.1") : "");
    cr_assert(open_with(&without, model, own, "\"dropout\":0,\"attention_dropout\":0,"));
    move_off_start(&without.trial);
    logits(&without.trial, false, 4, plain, &n);
    logits(&without.trial, true, 4, plain_train, &n);
    cr_expect(equal(eval, plain), "%s, %s: evaluation depends on dropout", model, settings);
    cr_expect(equal(plain, plain_train), "%s, %s: training without dropout is not evaluation", model, settings);
    small_close(&with);
    small_close(&without);
    return 1;
}

Test(trial_methods, dropout_is_off_in_evaluation_and_pure_in_training)
{
    int n = 0;
    for (size_t i = 0; small_method(i); i++)
        n += dropout_of("bert", small_method(i)) + dropout_of("roberta", small_method(i));
    cr_assert_geq(n, 2 * N_SMALL_METHODS);
}

/* Dropouts that gradients flow through, with everything trained. Model: embeddings, two a layer, the head's (RoBERTa
 * has two); LoRA: one a module; adapter: one an adapter. */
Test(trial_methods, dropout_stands_where_it_should)
{
    static const struct {
        const char *model, *settings;
        int n;
    } cases[] = {
        {"bert", "\"method\":\"full\",\"dropout\":0.1", 1 + 2 * 2 + 1},
        {"roberta", "\"method\":\"full\",\"dropout\":0.1", 1 + 2 * 2 + 2},
        {"bert", "\"method\":\"full\",\"dropout\":0,\"attention_dropout\":0.5", 0},
        {"bert", "\"method\":[\"full\",\"lora\"],\"dropout\":0,\"method_dropout\":0.1", 2 * 2},
        {"bert", "\"method\":[\"full\",\"lora\"],\"dropout\":0.1,\"method_dropout\":0", 6},
        {"bert", "\"method\":[\"full\",\"lora\"],\"dropout\":0,\"method_dropout\":0.1,\"targets\":[\"dense\"]",
         2 * 3 + 1},
        {"bert",
         "\"method\":[\"full\",\"adapter\"],\"dropout\":0,\"method_dropout\":0.1,\"adapter_placement\":\"houlsby\"", 4},
        {"bert", "\"method\":[\"full\",\"adapter\"],\"dropout\":0,\"method_dropout\":0.1", 2},
        {"bert",
         "\"method\":[\"full\",\"adapter\"],\"dropout\":0.1,\"method_dropout\":0.1,\"adapter_placement\":\"parallel\"",
         8},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct small_trial small;
        real out[N_LOGITS];
        int n;
        cr_assert(open_with(&small, cases[i].model, cases[i].settings, ""));
        move_off_start(&small.trial);
        logits(&small.trial, true, 0, out, &n);
        cr_expect_eq(n, cases[i].n, "%s, %s: %d, %d were expected", cases[i].model, cases[i].settings, n, cases[i].n);
        small_close(&small);
    }
}

/* Sites one by one, against the formula ------------------------------------------------------------------------------
 */

static struct value *param_value(struct trial *trial, const char *site, const char *part)
{
    char name[512];
    snprintf(name, sizeof(name), "%s.%s", site, part);
    struct param *param = params_find(&trial->model.params, name);
    cr_assert_not_null(param, "%s", name);
    return &param->value;
}

static void expect_close(const struct value *found, const struct value *expected, const char *what)
{
    /* The same operations in the same order: the same bits, but for a factor of 1 that one of them leaves out. */
    for (int i = 0; i < found->rows * found->cols; i++)
        if (fabs((double)(found->data[i] - expected->data[i])) > 1e-6 * fmax(1, fabs((double)expected->data[i])))
            cr_assert_fail("%s: element %d is %.9g, %.9g was expected", what, i, (double)found->data[i],
                           (double)expected->data[i]);
}

static struct value *drawn(struct trial *trial, const struct batch *batch, int cols, uint32_t which)
{
    struct rng_stream stream = rng_stream(rng_make(8, RNG_INIT), which, 0, 0);
    struct value *x = tape_value(&trial->tape, "test", batch->layout.n_rows, cols, &batch->layout);
    for (int i = 0; i < x->rows * x->cols; i++)
        x->data[i] = (real)rng_normal(&stream);
    return x;
}

static const struct batch *begin(struct small_trial *small, const char *settings)
{
    cr_assert(open_with(small, "bert", settings, ""));
    move_off_start(&small->trial);
    small->trial.tape.is_training = true;
    small->trial.tape.is_recording = false;
    small->trial.tape.step = 6;
    tape_begin(&small->trial.tape, &small->trial.step_arena);
    return small_pack(&small->trial, 3);
}

Test(trial_methods, lora_drops_its_own_input_and_not_the_base_path)
{
    static const char site_name[] = "bert.encoder.layer.1.attention.self.query";
    struct small_trial small;
    const struct batch *batch =
        begin(&small, "\"method\":\"lora\",\"rank\":3,\"alpha\":5,\"method_dropout\":0.4,\"dropout\":0.9");
    struct pass pass = {.tape = &small.trial.tape, .model = &small.trial.model, .batch = batch};
    struct tape *tape = pass.tape;
    struct site *site = model_find_site(&small.trial.model, site_name);
    struct value *x = drawn(&small.trial, batch, 32, 1), *y = site_linear(&pass, site, x);
    struct value *dropped =
        op_dropout(tape, x, 0.4, rng_site("bert.encoder.layer.1.attention.self.query.lora_A.weight"));
    struct value *low = op_linear(tape, dropped, param_value(&small.trial, site_name, "lora_A.weight"), NULL);
    struct value *update = op_linear(tape, low, param_value(&small.trial, site_name, "lora_B.weight"), NULL);
    struct value *base = op_linear(tape, x, &site->weight->value, &site->bias->value);
    expect_close(y, op_add_scaled(tape, base, update, 5.0 / 3), "lora");
    small_close(&small);
}

static void check_adapter(const char *placement, const char *sublayer, const char *activation, double scaling)
{
    char settings[256];
    struct small_trial small;
    snprintf(
        settings, sizeof(settings),
        "\"method\":\"adapter\",\"adapter_size\":6,\"method_dropout\":0.4,\"dropout\":0.9,\"adapter_placement\":\"%s\"",
        placement);
    const struct batch *batch = begin(&small, settings);
    struct pass pass = {.tape = &small.trial.tape, .model = &small.trial.model, .batch = batch};
    struct tape *tape = pass.tape;
    struct site *site = NULL;
    for (size_t i = 0; i < small.trial.model.n_sites; i++)
        if (small.trial.model.sites[i]->kind == SITE_SUBLAYER &&
            strcmp(small.trial.model.sites[i]->name, sublayer) == 0)
            site = small.trial.model.sites[i];
    cr_assert_not_null(site);
    struct value *h = drawn(&small.trial, batch, 32, 1), *z = drawn(&small.trial, batch, 32, 2);
    struct value *y = site_sublayer(&pass, site, h, z);
    struct value *x = strcmp(placement, "parallel") == 0 ? z : h;
    if (strcmp(placement, "pfeiffer") == 0)
        x = op_layer_norm(tape, op_add(tape, h, z), &site->norm_weight->value, &site->norm_bias->value, 1e-12);
    x = op_linear(tape, x, param_value(&small.trial, sublayer, "adapters.nightsweep.adapter_down.0.weight"),
                  param_value(&small.trial, sublayer, "adapters.nightsweep.adapter_down.0.bias"));
    x = op_activation(tape, x, (enum activation)activation_from_name(activation));
    x = op_linear(tape, x, param_value(&small.trial, sublayer, "adapters.nightsweep.adapter_up.weight"),
                  param_value(&small.trial, sublayer, "adapters.nightsweep.adapter_up.bias"));
    x = op_dropout(tape, op_scale(tape, x, scaling), 0.4, rng_site(sublayer) + 1);
    x = op_add(tape, op_add(tape, h, x), z);
    expect_close(y, op_layer_norm(tape, x, &site->norm_weight->value, &site->norm_bias->value, 1e-12), placement);
    small_close(&small);
}

Test(trial_methods, adapters_drop_their_own_output)
{
    check_adapter("houlsby", "bert.encoder.layer.0.attention.output", "silu", 1);
    check_adapter("houlsby", "bert.encoder.layer.1.output", "silu", 1);
    check_adapter("pfeiffer", "bert.encoder.layer.1.output", "relu", 1);
    check_adapter("parallel", "bert.encoder.layer.0.output", "relu", 4);
}

/* The mask itself
 * ------------------------------------------------------------------------------------------------------ */

static const struct segment two[] = {{0, 40, 40, 0, 3}, {40, 60, 60, 0, 8}};
static const struct layout layout = {.n_segments = 2, .n_rows = 100, .segments = two};

static struct value *ones(struct tape *tape, int cols, const struct layout *of)
{
    struct value *x = tape_value(tape, "test", of->n_rows, cols, of);
    for (int i = 0; i < x->rows * x->cols; i++)
        x->data[i] = 1;
    return x;
}

Test(dropout, rate_and_scaling)
{
    static const double rates[] = {0.05, 0.1, 0.25, 0.5, 0.9};
    struct arena arena = {0};
    for (size_t r = 0; r < 5; r++) {
        struct tape tape = {.is_training = true, .dropout = rng_make(1, RNG_DROPOUT), .step = (uint32_t)r};
        tape_begin(&tape, &arena);
        struct value *y = op_dropout(&tape, ones(&tape, 100, &layout), rates[r], 5);
        real factor = (real)(1 / (1 - rates[r]));
        int n_zero = 0, n = y->rows * y->cols;
        for (int i = 0; i < n; i++) {
            cr_assert(y->data[i] == 0 || y->data[i] == factor, "%g", (double)y->data[i]);
            n_zero += y->data[i] == 0;
        }
        /* Five standard deviations of a binomial of 10,000 draws: one in two million by chance, and the seed is fixed.
         */
        double off = 5 * sqrt(rates[r] * (1 - rates[r]) / n);
        cr_expect(fabs((double)n_zero / n - rates[r]) < off, "rate %g: %d of %d", rates[r], n_zero, n);
    }
    arena_done(&arena);
}

Test(dropout, mask_hangs_on_step_example_site_and_place_only)
{
    struct arena arena = {0};
    /* The second sequence alone, at the front of another batch. */
    static const struct segment alone[] = {{0, 60, 60, 0, 8}};
    static const struct layout other = {.n_segments = 1, .n_rows = 60, .segments = alone};
    struct tape tape = {.is_training = true, .dropout = rng_make(1, RNG_DROPOUT), .step = 2};
    tape_begin(&tape, &arena);
    struct value *both = op_dropout(&tape, ones(&tape, 16, &layout), 0.5, 5);
    struct value *single = op_dropout(&tape, ones(&tape, 16, &other), 0.5, 5);
    cr_expect_arr_eq(both->data + 40 * 16, single->data, 60 * 16 * sizeof(real));
    cr_expect(memcmp(both->data, both->data + 40 * 16, 40 * 16 * sizeof(real)) != 0, "two examples have one mask");
    struct value *elsewhere = op_dropout(&tape, ones(&tape, 16, &layout), 0.5, 6);
    cr_expect(memcmp(both->data, elsewhere->data, 100 * 16 * sizeof(real)) != 0, "two sites have one mask");
    tape.step = 3;
    struct value *later = op_dropout(&tape, ones(&tape, 16, &layout), 0.5, 5);
    cr_expect(memcmp(both->data, later->data, 100 * 16 * sizeof(real)) != 0, "two steps have one mask");
    struct value *x = ones(&tape, 16, &layout);
    cr_expect_eq(op_dropout(&tape, x, 0, 5), x);
    tape.is_training = false;
    cr_expect_eq(op_dropout(&tape, x, 0.5, 5), x, "evaluation passes the value through");
    arena_done(&arena);
}

/* With equal scores every probability is 1/n; values of 1 make the output the sum of what is kept: k/(n (1 − rate)). */
Test(dropout, of_attention_probabilities)
{
    struct arena arena = {0};
    struct tape tape = {.is_training = true, .dropout = rng_make(1, RNG_DROPOUT), .step = 2};
    double rate = 0.25, kept = 0, drawn_in_all = 0;
    tape_begin(&tape, &arena);
    struct value *zero = tape_value(&tape, "test", 100, 8, &layout);
    memset(zero->data, 0, 800 * sizeof(real));
    struct attention attention = {.n_heads = 4, .n_kv_heads = 4, .scale = 1, .dropout = rate, .site = 9};
    struct value *y = op_attention(&tape, zero, zero, ones(&tape, 8, &layout), &attention);
    for (int i = 0; i < 100; i++)
        for (int h = 0; h < 4; h++) {
            double n = i < 40 ? 40 : 60, count = (double)y->data[i * 8 + 2 * h] * n * (1 - rate);
            cr_expect(fabs(count - round(count)) < 1e-3, "row %d, head %d: %g kept", i, h, count);
            kept += count;
            drawn_in_all += n;
        }
    cr_expect(fabs(kept / drawn_in_all - (1 - rate)) < 5 * sqrt(rate * (1 - rate) / drawn_in_all));
    tape.is_training = false;
    y = op_attention(&tape, zero, zero, ones(&tape, 8, &layout), &attention);
    for (int i = 0; i < 800; i++)
        cr_assert_float_eq(y->data[i], 1, 1e-6, "evaluation drops nothing");
    arena_done(&arena);
}
