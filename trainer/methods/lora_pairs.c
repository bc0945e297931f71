/* Pairs A, B at linear sites, and PEFT's files of them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "trainer/gemm.h"
#include "trainer/methods/lora.h"

bool lora_wants(const struct model *model, const cJSON *settings, const struct site *site)
{
    return site->kind == SITE_LINEAR && setting_has_layer(model, settings, site->layer) &&
           (setting_has_target(site, json_get(settings, "targets"), model->kind->lora_targets) ||
            lora_parts(site, settings) != 0);
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

void lora_read(struct lora *lora, const struct site *site, const cJSON *settings)
{
    double alpha = from_pattern(site, json_get(settings, "alpha_pattern"), setting_number(settings, "alpha", 16));
    int rank = (int)from_pattern(site, json_get(settings, "rank_pattern"), setting_number(settings, "rank", 8));
    lora->site = site;
    lora->rank = rank;
    lora->scaling = alpha / (setting_flag(settings, "rank_stabilized") ? sqrt((double)rank) : (double)rank);
    lora->dropout = setting_number(settings, "method_dropout", 0);
}

unsigned lora_parts(const struct site *site, const cJSON *settings)
{
    static const char *const names[] = {"query", "key", "value"};
    const cJSON *targets = json_get(settings, "targets");
    unsigned parts = 0;
    if (strcmp(site->role, "query_key_value") != 0)
        return 0;
    for (const cJSON *item = cJSON_IsArray(targets) ? targets->child : targets; item;
         item = cJSON_IsArray(targets) ? item->next : NULL)
        for (unsigned p = 0; p < 3; p++)
            if (cJSON_IsString(item) && strcmp(item->valuestring, names[p]) == 0)
                parts |= 1u << p;
    return parts;
}

int lora_add(struct model *model, struct lora *lora, const struct site *site, const cJSON *settings, const char *method,
             const char *suffix, struct err *err)
{
    const char *between = suffix ? "" : "loras.nightsweep.", *end = suffix ? suffix : "";
    int n = lora->parts ? __builtin_popcount(lora->parts) : 1, out = lora->parts ? n * (site->out / 3) : site->out;
    lora_read(lora, site, settings);
    int rc = method_add(model, &lora->a, (struct method_param){method, site->layer, n * lora->rank, site->in, false},
                        err, "%s.%slora_A%s", site->name, between, end);
    if (rc < 0)
        return rc;
    lora->dropout_site = rng_site(lora->a->name);
    rc = method_add(model, &lora->b, (struct method_param){method, site->layer, out, lora->rank, false}, err,
                    "%s.%slora_B%s", site->name, between, end);
    if (rc == 0)
        lora->b->learning_rate_factor = setting_number(settings, "lora_b_learning_rate_factor", 1);
    return rc;
}

void lora_init(struct lora *lora, const cJSON *settings, uint64_t seed)
{
    if (strcmp(setting_text(settings, "lora_init", "kaiming"), "gaussian") == 0)
        method_init_normal(lora->a, seed, 1.0 / lora->rank);
    else
        method_init_uniform(lora->a, seed, 1 / sqrt((double)lora->site->in));
}

struct value *lora_update(const struct lora *lora, struct pass *pass, struct value *x)
{
    struct value *dropped = op_dropout(pass->tape, x, lora->dropout, lora->dropout_site);
    struct value *low = op_linear(pass->tape, dropped, &lora->a->value, NULL);
    return op_linear(pass->tape, low, &lora->b->value, NULL);
}

void lora_project_weight(const struct site *site, const real *weight, const real *a, int rank, real *out)
{
    gemm(site->is_transposed, true, site->out, rank, site->in, 1, weight, site->is_transposed ? site->out : site->in, a,
         site->in, 0, out, rank);
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
void lora_add_targets(struct text *json, const struct model *model, const char *part)
{
    bool is_first = true;
    text_add(json, ",\"target_modules\":[");
    for (size_t i = 0; i < model->n_sites; i++) {
        char name[512], plain[512], embedding[512]; /* AdaLoRA's tensors have no ".weight" */
        snprintf(name, sizeof(name), "%s.%s", model->sites[i]->name, part);
        snprintf(plain, sizeof(plain), "%s.lora_A", model->sites[i]->name);
        snprintf(embedding, sizeof(embedding), "%s.lora_embedding_A", model->sites[i]->name);
        if (!params_find(&model->params, name) && !params_find(&model->params, plain) &&
            !params_find(&model->params, embedding))
            continue;
        text_add(json, is_first ? "" : ",");
        text_add_json(json, model->sites[i]->name);
        is_first = false;
    }
    text_add(json, "]");
}

static bool has_transposed(const struct model *model)
{
    for (size_t i = 0; i < model->n_sites; i++)
        if (model->sites[i]->is_transposed)
            return true;
    return false;
}

/* AdaLoRA's tensors have no ".weight" behind them. */
static const char *tensor_of(const struct model *model)
{
    for (size_t i = 0; i < model->params.count; i++)
        if (text_ends_with(model->params.items[i]->name, ".lora_A"))
            return "lora_A";
    return "lora_A.weight";
}

int lora_save_files(const struct model *model, const cJSON *settings, const char *method, const char *extra,
                    const char *folder, struct err *err)
{
    char *path = file_join(folder, "adapter_model.safetensors");
    int rc = path ? method_file_write(model, method, "base_model.model.", true, path, err)
                  : err_set(err, ERR_NOMEM, "no memory to save '%s'", method);
    free(path);
    return rc < 0 ? rc : lora_save_config(model, settings, extra, folder, err);
}

int lora_save_config(const struct model *model, const cJSON *settings, const char *extra, const char *folder,
                     struct err *err)
{
    struct text json = {0};
    text_printf(&json, "{%s\"task_type\":\"%s\",\"inference_mode\":true,\"r\":%d,\"lora_alpha\":", extra,
                method_task_type(model), (int)setting_number(settings, "rank", 8));
    text_add_double(&json, setting_number(settings, "alpha", 16));
    text_add(&json, ",\"lora_dropout\":");
    text_add_double(&json, setting_number(settings, "method_dropout", 0));
    text_printf(&json, ",\"use_rslora\":%s,\"bias\":\"%s\",\"fan_in_fan_out\":%s",
                setting_flag(settings, "rank_stabilized") ? "true" : "false",
                setting_text(settings, "lora_bias", "none"), has_transposed(model) ? "true" : "false");
    lora_add_targets(&json, model, tensor_of(model));
    add_pattern(&json, settings, "rank_pattern");
    add_pattern(&json, settings, "alpha_pattern");
    text_printf(&json, ",\"modules_to_save\":%s,\"base_model_name_or_path\":null,\"revision\":null}",
                model->n_classes > 0 ? "[\"classifier\",\"score\"]" : "null");
    return method_file_write_text(folder, "adapter_config.json", &json, err);
}

/* The config of a saved LoRA must say what the job says: rank and alpha change what the tensors mean. */
static int check_config(const cJSON *config, const cJSON *settings, const char *method, struct err *err)
{
    const char *type;
    double rank, alpha;
    bool is_dora = cJSON_IsTrue(json_get(config, "use_dora"));
    int rc = json_get_string(config, "peft_type", "adapter_config.json", &type, err);
    if (rc == 0)
        rc = json_get_double(config, "r", "adapter_config.json", &rank, err);
    if (rc == 0)
        rc = json_get_double(config, "lora_alpha", "adapter_config.json", &alpha, err);
    if (rc < 0)
        return rc;
    if (strcmp(type, "LORA") != 0)
        return err_set(err, ERR_UNSUPPORTED, "adapter_config.json: peft_type '%s', LORA was expected", type);
    if (is_dora != (strcmp(method, "dora") == 0))
        return err_set(err, ERR_FORMAT, "adapter_config.json: use_dora is %s, the job's method is '%s'",
                       is_dora ? "true" : "false", method);
    if (cJSON_IsTrue(json_get(config, "use_rslora")) != setting_flag(settings, "rank_stabilized"))
        return err_set(err, ERR_FORMAT, "adapter_config.json: use_rslora is another than the job's rank_stabilized");
    if (rank != setting_number(settings, "rank", 8) || alpha != setting_number(settings, "alpha", 16))
        return err_set(err, ERR_FORMAT, "adapter_config.json: rank %g and alpha %g, the job has %g and %g", rank, alpha,
                       setting_number(settings, "rank", 8), setting_number(settings, "alpha", 16));
    return 0;
}

int lora_load_files(struct model *model, const cJSON *settings, const char *method, const char *folder, struct err *err)
{
    cJSON *config = NULL;
    char *config_path = file_join(folder, "adapter_config.json");
    char *path = file_join(folder, "adapter_model.safetensors");
    int rc = config_path && path ? json_read_file(config_path, &config, err)
                                 : err_set(err, ERR_NOMEM, "no memory to load '%s'", method);
    if (rc == 0)
        rc = check_config(config, settings, method, err);
    if (rc == 0)
        rc = method_file_read(model, method, path, err);
    json_free(config);
    free(config_path);
    free(path);
    return rc;
}
