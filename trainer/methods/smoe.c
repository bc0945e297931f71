/* A stratified mixture of experts: tokens that a gate sends to an expert of a lower stratum go on to the next gate, so
 * that a token's capacity is 1 … K passes, as it needs; with one stratum a plain mixture. smoe_mixture.c has the
 * passes. adapter, lora: bottlenecks y = W₂ ReLU(W₁ x + b₁) + b₂, or pairs y = α/r B A x, behind each layer, the model
 * frozen; an expert reads the norm of its own stratum; the second matrix starts at 0, so training starts at the model.
 *   feed_forward: experts shaped like the feed-forward take its place in every second layer of encoder and decoder (its
 *     norm is the first gate's, as the paper has it) and start as copies of it, or from the seed.
 * Xu et al. 2023, arXiv:2305.02176, 3 */
#include "trainer/methods/smoe.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"

/* All mixtures of a model, for measure. */
struct smoe {
    int n;
    struct mixture *items;
};

static bool is_kind(const cJSON *settings, const char *kind)
{
    return strcmp(setting_text(settings, "expert_kind", "adapter"), kind) == 0;
}

/* Attaching -------------------------------------------------------------------------------------------------------- */

static int add(struct model *model, const struct mixture *mixture, struct param **param, int rows, int cols,
               const char *base, struct err *err, const char *name)
{
    return method_add(model, param, (struct method_param){"smoe", mixture->layer, rows, cols, false}, err, "%s.smoe.%s",
                      base, name);
}

static int add_expert(struct model *model, const struct mixture *mixture, const cJSON *settings, const char *base,
                      int stratum, int index, struct err *err)
{
    struct expert *expert = &mixture->experts[mixture->firsts[stratum] + index];
    const bool is_whole = is_kind(settings, "feed_forward"), has_bias = !is_kind(settings, "lora");
    const struct {
        struct param **param;
        int rows, cols;
        const char *part;
    } parts[] = {{&expert->first, mixture->inner, mixture->width, is_whole ? "fc1.weight" : "down.weight"},
                 {&expert->first_bias, 0, mixture->inner, is_whole ? "fc1.bias" : "down.bias"},
                 {&expert->second, mixture->width, mixture->inner, is_whole ? "fc2.weight" : "up.weight"},
                 {&expert->second_bias, 0, mixture->width, is_whole ? "fc2.bias" : "up.bias"}};
    int rc = 0;
    for (size_t i = 0; i < 4 && rc == 0; i++) {
        char name[64];
        snprintf(name, sizeof(name), "e%d.%d.%s", stratum + 1, index, parts[i].part);
        if (parts[i].rows > 0 || has_bias)
            rc = add(model, mixture, parts[i].param, parts[i].rows, parts[i].cols, base, err, name);
    }
    return rc;
}

static int add_stratum(struct model *model, struct mixture *mixture, const cJSON *settings, const char *base,
                       int stratum, uint64_t seed, struct err *err)
{
    bool has_norm = stratum > 0 || !is_kind(settings, "feed_forward");
    int d = mixture->width, rc = 0;
    char name[64];
    for (int i = 0; i < 2 && has_norm && rc == 0; i++) {
        snprintf(name, sizeof(name), "ln%d.%s", stratum + 1, i ? "bias" : "weight");
        rc = add(model, mixture, i ? &mixture->norm_bias[stratum] : &mixture->norm[stratum], 0, d, base, err, name);
    }
    snprintf(name, sizeof(name), "g%d.weight", stratum + 1);
    if (rc == 0)
        rc = add(model, mixture, &mixture->gate[stratum], mixture->n_experts - mixture->firsts[stratum], d, base, err,
                 name);
    for (int e = 0; e < mixture->sizes[stratum] && rc == 0; e++)
        rc = add_expert(model, mixture, settings, base, stratum, e, err);
    if (rc < 0)
        return rc;
    if (has_norm)
        method_init_fill(mixture->norm[stratum], 1);
    method_init_normal(mixture->gate[stratum], seed, 0.02);
    return 0;
}

/* Settings that all mixtures of the trial share. */
static int read_mixture(struct mixture *mixture, const cJSON *settings, struct err *err)
{
    const cJSON *strata = json_get(settings, "strata"), *size = strata ? strata->child : NULL;
    *mixture = (struct mixture){.top = (int)setting_number(settings, "expert_top", 1),
                                .capacity = setting_number(settings, "expert_capacity", 0),
                                .masking = setting_number(settings, "expert_masking", 0),
                                .balance_weight = setting_number(settings, "balance_weight", 0.01),
                                .scaling = 1,
                                .has_activation = !is_kind(settings, "lora"),
                                .activation = ACTIVATION_RELU};
    for (; size; size = size->next) {
        if (mixture->n_strata == SMOE_MAX_STRATA)
            return err_set(err, ERR_UNSUPPORTED, "settings.strata: more than %d strata", SMOE_MAX_STRATA);
        mixture->firsts[mixture->n_strata] = mixture->n_experts;
        mixture->sizes[mixture->n_strata++] = (int)size->valuedouble;
        mixture->n_experts += (int)size->valuedouble;
    }
    if (mixture->n_experts == 0)
        return err_set(err, ERR_UNSUPPORTED, "settings.strata: it names no experts");
    if (mixture->top > mixture->n_experts)
        return err_set(err, ERR_UNSUPPORTED, "settings.expert_top: %d of %d experts", mixture->top, mixture->n_experts);
    return 0;
}

static int make_mixture(struct model *model, struct mixture *mixture, const cJSON *settings, const char *base,
                        uint64_t seed, struct err *err)
{
    struct arena *arena = model->params.arena;
    const struct token_kinds *kinds = model->token_kinds;
    mixture->site = rng_site(base) + 17;
    mixture->experts = arena_calloc(arena, (size_t)mixture->n_experts, sizeof(*mixture->experts));
    mixture->counts.experts = arena_calloc(arena, (size_t)mixture->n_experts, sizeof(int64_t));
    mixture->counts.tasks =
        kinds && kinds->n_tasks ? arena_calloc(arena, (size_t)kinds->n_tasks, sizeof(struct token_count)) : NULL;
    if (!mixture->experts || !mixture->counts.experts || (kinds && kinds->n_tasks && !mixture->counts.tasks))
        return err_set(err, ERR_NOMEM, "no memory for experts at '%s'", base);
    int rc = 0;
    for (int stratum = 0; stratum < mixture->n_strata && rc == 0; stratum++)
        rc = add_stratum(model, mixture, settings, base, stratum, seed, err);
    return rc;
}

/* Values of a token in all passes together, for the estimate of memory; FLOPs of one pass through the first gate. */
static void set_costs(struct site *site, const struct mixture *mixture)
{
    int inner = mixture->top * (2 * mixture->inner + 4 * mixture->width);
    for (int gate = 0; gate < mixture->n_strata; gate++)
        site->method_width += 5 * mixture->width + 4 * (mixture->n_experts - mixture->firsts[gate]) + inner;
    site->method_flops =
        2.0 * mixture->width * mixture->n_experts + 4.0 * mixture->top * mixture->width * mixture->inner;
}

/* Behind a layer --------------------------------------------------------------------------------------------------- */

static struct value *behind_layer(void *state, struct pass *pass, struct value *x)
{
    return op_add(pass->tape, x, mixture_update(state, pass, x, NULL));
}

static int attach_behind(struct model *model, struct mixture *mixture, struct site *site, const cJSON *settings,
                         uint64_t seed, struct err *err)
{
    mixture->width = site->out;
    mixture->inner = (int)setting_number(settings, "expert_size", 16);
    mixture->layer = site->layer;
    mixture->is_decoder = site->is_decoder;
    mixture->normalises_by_expert = true;
    if (is_kind(settings, "lora"))
        mixture->scaling = setting_number(settings, "expert_alpha", 16) / mixture->inner;
    int rc = make_mixture(model, mixture, settings, site->name, seed, err);
    for (int e = 0; e < mixture->n_experts && rc == 0; e++) /* the second matrix stays 0 */
        method_init_linear(mixture->experts[e].first, mixture->experts[e].first_bias, seed);
    set_costs(site, mixture);
    const struct hook hook = {.replace = behind_layer, .state = mixture};
    return rc < 0 ? rc : site_hook(site, model->params.arena, &hook, err);
}

/* In a feed-forward's place ---------------------------------------------------------------------------------------- */

static struct value *in_place(void *state, struct pass *pass, struct value *h, struct value *x)
{
    struct mixture *mixture = state;
    mixture->dropout = pass->model->dropout;
    return mixture_update(mixture, pass, x, h);
}

/* The linear site of that role in a layer. */
static struct site *linear_of(const struct model *model, int layer, const char *role)
{
    for (size_t i = 0; i < model->n_sites; i++)
        if (model->sites[i]->kind == SITE_LINEAR && model->sites[i]->layer == layer &&
            strcmp(model->sites[i]->role, role) == 0)
            return model->sites[i];
    return NULL;
}

static int copy_tensor(struct model *model, const struct param *to, struct param *from, struct err *err)
{
    int rc = param_expand(&model->params, from, err);
    if (rc == 0)
        memcpy(to->value.data, from->value.data, param_size(from) * sizeof(real));
    return rc;
}

static int start_whole(struct model *model, const struct mixture *mixture, const struct site *up,
                       const struct site *down, const cJSON *settings, uint64_t seed, struct err *err)
{
    bool copies = strcmp(setting_text(settings, "expert_init", "copied"), "copied") == 0;
    int rc = 0;
    if (copies && mixture->inner != up->out)
        return err_set(err, ERR_UNSUPPORTED,
                       "settings.expert_inner_size: %d, but copies of '%s' are %d wide (expert_init \"seeded\" goes "
                       "with any)",
                       mixture->inner, up->name, up->out);
    for (int e = 0; e < mixture->n_experts && rc == 0; e++) {
        const struct expert *expert = &mixture->experts[e];
        if (!copies) {
            method_init_normal(expert->first, seed, model->initializer_range);
            method_init_normal(expert->second, seed, model->initializer_range);
            continue;
        }
        rc = copy_tensor(model, expert->first, up->weight, err);
        if (rc == 0)
            rc = copy_tensor(model, expert->second, down->weight, err);
        if (rc == 0)
            rc = copy_tensor(model, expert->first_bias, up->bias, err);
        if (rc == 0)
            rc = copy_tensor(model, expert->second_bias, down->bias, err);
    }
    return rc;
}

static int attach_in_place(struct model *model, struct mixture *mixture, struct site *site, const cJSON *settings,
                           uint64_t seed, struct err *err)
{
    struct site *up = linear_of(model, site->layer, "intermediate"), *down = linear_of(model, site->layer, "output");
    char base[256];
    snprintf(base, sizeof(base), "%.*s", (int)(strrchr(site->name, '.') - site->name), site->name);
    mixture->width = site->out;
    mixture->inner = (int)setting_number(settings, "expert_inner_size", site->inner);
    mixture->layer = site->layer;
    mixture->is_decoder = site->is_decoder;
    mixture->activation = site->activation;
    int rc = make_mixture(model, mixture, settings, base, seed, err);
    if (rc == 0)
        rc = start_whole(model, mixture, up, down, settings, seed, err);
    set_costs(site, mixture);
    const struct hook hook = {.feed_forward = in_place, .state = mixture};
    if (rc == 0)
        rc = site_replace_linear(up, err);
    if (rc == 0)
        rc = site_replace_linear(down, err);
    return rc < 0 ? rc : site_hook(site, model->params.arena, &hook, err);
}

/* Which layers ----------------------------------------------------------------------------------------------------- */

/* Every so manieth layer of its stack: the 2nd, 4th, … by 2. `layers` chooses by itself. */
static bool takes_layer(const struct model *model, const cJSON *settings, const struct site *site, int number)
{
    double interval = setting_number(settings, "expert_interval", is_kind(settings, "feed_forward") ? 2 : 1);
    return setting_has_layer(model, settings, site->layer) &&
           (json_get(settings, "layers") || number % (int)interval == 0);
}

static int smoe_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    bool is_whole = is_kind(settings, "feed_forward");
    int numbers[2] = {0, 0}, rc = 0;
    struct smoe *smoe = arena_calloc(model->params.arena, 1, sizeof(*smoe));
    struct mixture *items = arena_calloc(model->params.arena, (size_t)model->n_layers + 1, sizeof(*items)), common;
    if (!smoe || !items)
        return err_set(err, ERR_NOMEM, "no memory for smoe");
    smoe->items = items;
    rc = read_mixture(&common, settings, err);
    for (size_t i = 0; i < model->n_sites && rc == 0; i++) {
        struct site *site = model->sites[i];
        bool fits = is_whole ? site->kind == SITE_SUBLAYER && strcmp(site->role, "feed_forward") == 0 && site->inner > 0
                             : site->kind == SITE_BLOCK && strcmp(site->role, "layer") == 0;
        if (!fits || !takes_layer(model, settings, site, ++numbers[site->is_decoder]))
            continue;
        struct mixture *mixture = &items[smoe->n++];
        *mixture = common;
        rc = is_whole ? attach_in_place(model, mixture, site, settings, seed, err)
                      : attach_behind(model, mixture, site, settings, seed, err);
    }
    if (rc == 0 && is_whole && numbers[0] + numbers[1] == 0)
        rc = err_set(err, ERR_UNSUPPORTED,
                     "settings.expert_kind: feed_forward takes the place of feed-forwards in models of the BART and "
                     "M2M100 families, this one is '%s'",
                     model->kind->name);
    return rc < 0 ? rc : method_keep(model, &method_smoe, smoe, err);
}

/* Measuring -------------------------------------------------------------------------------------------------------- */

static void add_count(struct token_count *sum, const struct token_count *part)
{
    sum->tokens += part->tokens;
    sum->passes += part->passes;
}

/* Counts of one layer in all lanes into `sum` (whose lists have room), and starts them anew. */
static void take_counts(struct mixture_counts *sum, struct mixture *mixture, int n_tasks)
{
    struct mixture_counts *own = &mixture->counts;
    add_count(&sum->all, &own->all);
    for (int band = 0; band < TOKEN_BANDS; band++)
        add_count(&sum->bands[band], &own->bands[band]);
    for (int task = 0; own->tasks && task < n_tasks; task++)
        add_count(&sum->tasks[task], &own->tasks[task]);
    for (int e = 0; e < mixture->n_experts; e++)
        sum->experts[e] += own->experts[e];
    sum->choices += own->choices;
    sum->overflowed += own->overflowed;
    sum->flops += own->flops;
    sum->entropy += own->entropy;
    sum->balance += own->balance;
    sum->calls += own->calls;
    struct mixture_counts empty = {.tasks = own->tasks, .experts = own->experts};
    memset(empty.experts, 0, (size_t)mixture->n_experts * sizeof(*empty.experts));
    if (empty.tasks)
        memset(empty.tasks, 0, (size_t)n_tasks * sizeof(*empty.tasks));
    *own = empty;
}

struct measurement {
    method_measure_fn add;
    void *context;
};

static void __attribute__((format(printf, 3, 4)))
say(const struct measurement *m, double value, const char *format, ...)
{
    char name[160];
    va_list list;
    va_start(list, format);
    vsnprintf(name, sizeof(name), format, list);
    va_end(list);
    m->add(m->context, name, value);
}

static void say_capacity(const struct measurement *m, const struct token_count *count, const char *what,
                         const char *which)
{
    if (count->tokens > 0)
        say(m, (double)count->passes / (double)count->tokens, "capacity%s%s", what, which);
}

/* Load of a layer's experts: each one's share of the choices, their spread, and how many got none. */
static void say_load(const struct measurement *m, const struct mixture *mixture, const int64_t *experts)
{
    int64_t sum = 0, unused = 0;
    double squares = 0, mean;
    for (int e = 0; e < mixture->n_experts; e++) {
        sum += experts[e];
        unused += experts[e] == 0;
    }
    if (sum == 0)
        return;
    mean = (double)sum / mixture->n_experts;
    for (int stratum = 0; stratum < mixture->n_strata; stratum++)
        for (int k = 0; k < mixture->sizes[stratum]; k++) {
            double load = (double)experts[mixture->firsts[stratum] + k];
            squares += (load - mean) * (load - mean);
            say(m, load / (double)sum, "expert_load/layer%d/%d.%d", mixture->layer, stratum + 1, k);
        }
    say(m, sqrt(squares / mixture->n_experts) / mean, "expert_load_variation/layer%d", mixture->layer);
    say(m, (double)unused, "unused_experts/layer%d", mixture->layer);
}

static void say_all(const struct measurement *m, const struct mixture_counts *sum, const struct token_kinds *kinds,
                    bool is_detailed)
{
    say_capacity(m, &sum->all, "", "");
    if (sum->choices > 0) {
        say(m, (double)sum->overflowed / (double)sum->choices, "expert_overflow");
        say(m, ldexp((double)sum->entropy, -32) / (double)sum->all.passes, "gate_entropy");
        say(m, (double)sum->flops, "expert_flops");
    }
    if (sum->calls > 0)
        say(m, sum->balance / (double)sum->calls, "balance_loss");
    for (int band = 0; is_detailed && kinds && band < TOKEN_BANDS; band++) {
        char number[16];
        snprintf(number, sizeof(number), "%d", band + 1);
        say_capacity(m, &sum->bands[band], "/frequency/", number);
    }
    for (int task = 0; is_detailed && kinds && task < kinds->n_tasks; task++)
        say_capacity(m, &sum->tasks[task], "/task/", kinds->tasks[task]);
}

static void smoe_measure(struct model *const *models, int n_models, bool is_detailed, method_measure_fn add_value,
                         void *context)
{
    const struct smoe *smoe = method_kept(models[0], &method_smoe);
    const struct token_kinds *kinds = models[0]->token_kinds;
    const struct measurement m = {add_value, context};
    int n_tasks = kinds ? kinds->n_tasks : 0;
    struct arena arena = {0};
    struct mixture_counts sum = {.tasks = arena_calloc(&arena, (size_t)n_tasks + 1, sizeof(*sum.tasks))};
    for (int i = 0; i < smoe->n && sum.tasks; i++) {
        const struct mixture *mixture = &smoe->items[i];
        struct token_count before = sum.all;
        sum.experts = arena_calloc(&arena, (size_t)mixture->n_experts, sizeof(*sum.experts));
        for (int lane = 0; lane < n_models && sum.experts; lane++)
            take_counts(&sum, &((struct smoe *)method_kept(models[lane], &method_smoe))->items[i], n_tasks);
        if (!is_detailed || !sum.experts)
            continue;
        char number[16];
        snprintf(number, sizeof(number), "%d", mixture->layer);
        const struct token_count own = {sum.all.tokens - before.tokens, sum.all.passes - before.passes};
        say_capacity(&m, &own, "/layer/", number);
        say_load(&m, mixture, sum.experts);
    }
    say_all(&m, &sum, kinds, is_detailed);
    arena_done(&arena);
}

const struct method_kind method_smoe = {.name = "smoe",
                                        .spans_layers = true,
                                        .paper = "arXiv:2305.02176",
                                        .looks_at_batch = true,
                                        .attach = smoe_attach,
                                        .measure = smoe_measure};
