/* LoRA: y = W x + b + s B A dropout(x), s = α/r or α/√r.   Hu et al. 2021, arXiv:2106.09685, 4.1; rank-stabilised
 * scaling: Kalajdzievski 2023, arXiv:2312.03732 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "trainer/methods/method_file.h"

struct lora {
    struct param *a, *b; /* (r, in), (out, r) */
    double scaling, dropout;
    uint32_t dropout_site;
};

static struct value *lora_output(void *state, struct pass *pass, struct value *x, struct value *y)
{
    const struct lora *lora = state;
    struct value *dropped = op_dropout(pass->tape, x, lora->dropout, lora->dropout_site);
    struct value *low = op_linear(pass->tape, dropped, &lora->a->value, NULL);
    return op_add_scaled(pass->tape, y, op_linear(pass->tape, low, &lora->b->value, NULL), lora->scaling);
}

/* The value of the longest key of a pattern that the site's name ends with. */
static double from_pattern(const struct site *site, const cJSON *pattern, double fallback)
{
    size_t longest = 0;
    for (const cJSON *item = pattern ? pattern->child : NULL; item; item = item->next)
        if (site_matches(site, item->string) && strlen(item->string) > longest) {
            longest = strlen(item->string);
            fallback = item->valuedouble;
        }
    return fallback;
}

/* A: uniform ±1/√in (Kaiming's with a = √5) or normal with deviation 1/r; B: 0, so that training starts at the model.
 */
static void init(struct param *a, const cJSON *settings, int in, int rank, uint64_t seed)
{
    struct rng_stream stream = rng_stream(rng_make(seed, RNG_INIT), 0, 0, rng_site(a->name));
    bool is_gaussian = strcmp(setting_text(settings, "lora_init", "kaiming"), "gaussian") == 0;
    for (size_t i = 0; i < param_size(a); i++)
        a->value.data[i] =
            (real)(is_gaussian ? rng_normal(&stream) / rank : (2 * rng_uniform(&stream) - 1) / sqrt((double)in));
}

static int add_pair(struct model *model, struct site *site, struct lora *lora, int rank, struct err *err)
{
    char name[512];
    const int64_t a[2] = {rank, site->in}, b[2] = {site->out, rank};
    snprintf(name, sizeof(name), "%s.lora_A.weight", site->name);
    lora->a = params_add(&model->params, name, 2, a, NULL, PARAM_METHOD);
    lora->dropout_site = rng_site(name);
    snprintf(name, sizeof(name), "%s.lora_B.weight", site->name);
    lora->b = params_add(&model->params, name, 2, b, NULL, PARAM_METHOD);
    if (!lora->a || !lora->b)
        return err_set(err, ERR_NOMEM, "no memory for LoRA at '%s'", site->name);
    lora->a->layer = lora->b->layer = site->layer;
    int rc = param_train(&model->params, lora->a, "lora", err);
    return rc < 0 ? rc : param_train(&model->params, lora->b, "lora", err);
}

static int attach_site(struct model *model, struct site *site, const cJSON *settings, uint64_t seed, struct err *err)
{
    struct lora *lora = arena_calloc(model->params.arena, 1, sizeof(*lora));
    int rank = (int)from_pattern(site, json_get(settings, "rank_pattern"), setting_number(settings, "rank", 8));
    double alpha = from_pattern(site, json_get(settings, "alpha_pattern"), setting_number(settings, "alpha", 16));
    if (!lora)
        return err_set(err, ERR_NOMEM, "no memory for LoRA at '%s'", site->name);
    int rc = add_pair(model, site, lora, rank, err);
    if (rc < 0)
        return rc;
    lora->scaling = alpha / (setting_flag(settings, "rank_stabilized") ? sqrt((double)rank) : (double)rank);
    lora->dropout = setting_number(settings, "method_dropout", 0);
    lora->b->learning_rate_factor = setting_number(settings, "lora_b_learning_rate_factor", 1);
    init(lora->a, settings, site->in, rank, seed);
    if (site->bias && strcmp(setting_text(settings, "lora_bias", "none"), "lora_only") == 0)
        rc = param_train(&model->params, site->bias, "lora", err);
    const struct hook hook = {.output = lora_output, .state = lora};
    return rc < 0 ? rc : site_hook(site, model->params.arena, &hook, err);
}

static int train_all_biases(struct model *model, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < model->params.count && rc == 0; i++)
        if (model->params.items[i]->origin == PARAM_BASE && text_ends_with(model->params.items[i]->name, ".bias"))
            rc = param_train(&model->params, model->params.items[i], "lora", err);
    return rc;
}

static int lora_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < model->n_sites && rc == 0; i++) {
        struct site *site = model->sites[i];
        if (site->kind == SITE_LINEAR && setting_has_layer(model, settings, site->layer) &&
            setting_has_target(site, json_get(settings, "targets"), model->kind->lora_targets))
            rc = attach_site(model, site, settings, seed, err);
    }
    if (rc == 0 && strcmp(setting_text(settings, "lora_bias", "none"), "all") == 0)
        rc = train_all_biases(model, err);
    return rc;
}

/* PEFT's files ----------------------------------------------------------------------------------------------------- */

static void add_pattern(struct text *json, const cJSON *settings, const char *name)
{
    const cJSON *pattern = json_get(settings, name);
    text_printf(json, ",\"%s\":", name);
    if (pattern)
        json_add_canonical(json, pattern);
    else
        text_add(json, "{}");
}

/* Full module names: a bare "output.dense" would match the attention's too. */
static void add_targets(struct text *json, const struct model *model)
{
    bool is_first = true;
    text_add(json, ",\"target_modules\":[");
    for (size_t i = 0; i < model->n_sites; i++) {
        char name[512];
        snprintf(name, sizeof(name), "%s.lora_A.weight", model->sites[i]->name);
        if (!params_find(&model->params, name))
            continue;
        text_add(json, is_first ? "" : ",");
        text_add_json(json, model->sites[i]->name);
        is_first = false;
    }
    text_add(json, "]");
}

static int lora_save(const struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    struct text json = {0};
    char *path = file_join(folder, "adapter_model.safetensors");
    int rc = path ? method_file_write(model, "lora", "base_model.model.", true, path, err)
                  : err_set(err, ERR_NOMEM, "no memory to save LoRA");
    free(path);
    if (rc < 0)
        return rc;
    text_printf(&json,
                "{\"peft_type\":\"LORA\",\"task_type\":\"SEQ_CLS\",\"inference_mode\":true,\"r\":%d,\"lora_alpha\":",
                (int)setting_number(settings, "rank", 8));
    text_add_double(&json, setting_number(settings, "alpha", 16));
    text_add(&json, ",\"lora_dropout\":");
    text_add_double(&json, setting_number(settings, "method_dropout", 0));
    text_printf(&json, ",\"use_rslora\":%s,\"bias\":\"%s\",\"fan_in_fan_out\":false",
                setting_flag(settings, "rank_stabilized") ? "true" : "false",
                setting_text(settings, "lora_bias", "none"));
    add_targets(&json, model);
    add_pattern(&json, settings, "rank_pattern");
    add_pattern(&json, settings, "alpha_pattern");
    text_add(&json,
             ",\"modules_to_save\":[\"classifier\",\"score\"],\"base_model_name_or_path\":null,\"revision\":null}");
    return method_file_write_text(folder, "adapter_config.json", &json, err);
}

/* The config of a saved LoRA must say what the job says: rank and alpha change what the tensors mean. */
static int check_config(const cJSON *config, const cJSON *settings, struct err *err)
{
    const char *type;
    double rank, alpha;
    int rc = json_get_string(config, "peft_type", "adapter_config.json", &type, err);
    if (rc == 0)
        rc = json_get_double(config, "r", "adapter_config.json", &rank, err);
    if (rc == 0)
        rc = json_get_double(config, "lora_alpha", "adapter_config.json", &alpha, err);
    if (rc < 0)
        return rc;
    if (strcmp(type, "LORA") != 0)
        return err_set(err, ERR_UNSUPPORTED, "adapter_config.json: peft_type '%s', LORA was expected", type);
    if (rank != setting_number(settings, "rank", 8) || alpha != setting_number(settings, "alpha", 16))
        return err_set(err, ERR_FORMAT, "adapter_config.json: rank %g and alpha %g, the job has %g and %g", rank, alpha,
                       setting_number(settings, "rank", 8), setting_number(settings, "alpha", 16));
    return 0;
}

static int lora_load(struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    cJSON *config = NULL;
    char *config_path = file_join(folder, "adapter_config.json");
    char *path = file_join(folder, "adapter_model.safetensors");
    int rc = config_path && path ? json_read_file(config_path, &config, err)
                                 : err_set(err, ERR_NOMEM, "no memory to load LoRA");
    if (rc == 0)
        rc = check_config(config, settings, err);
    if (rc == 0)
        rc = method_file_read(model, "lora", path, err);
    json_free(config);
    free(config_path);
    free(path);
    return rc;
}

const struct method_kind method_lora = {
    .name = "lora",
    .paper = "arXiv:2106.09685",
    .attach = lora_attach,
    .save = lora_save,
    .load = lora_load,
};
