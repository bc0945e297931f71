/* LoRA: y = W x + b + s B A dropout(x), s = α/r or α/√r.   Hu et al. 2021, arXiv:2106.09685, 4.1; rank-stabilised
 * scaling: Kalajdzievski 2023, arXiv:2312.03732; another learning rate for B: Hayou et al. 2024, arXiv:2402.12354 */
#include "trainer/methods/lora.h"

#include <string.h>

#include "common/json.h"

static struct value *lora_output(void *state, struct pass *pass, struct value *x, struct value *y)
{
    const struct lora *lora = state;
    return op_add_scaled(pass->tape, y, lora_update(lora, pass, x), lora->scaling);
}

static int attach_site(struct model *model, struct site *site, const cJSON *settings, uint64_t seed, struct err *err)
{
    struct lora *lora = arena_calloc(model->params.arena, 1, sizeof(*lora));
    if (!lora)
        return err_set(err, ERR_NOMEM, "no memory for LoRA at '%s'", site->name);
    int rc = lora_add(model, lora, site, settings, "lora", ".weight", err);
    if (rc < 0)
        return rc;
    lora_init(lora, settings, seed);
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
        if (lora_wants(model, settings, site))
            rc = attach_site(model, site, settings, seed, err);
        else if (site->kind == SITE_EMBEDDING && setting_has_target(site, json_get(settings, "targets"), NULL))
            rc = lora_embedding_attach(model, site, settings, seed, err);
    }
    if (rc == 0 && strcmp(setting_text(settings, "lora_bias", "none"), "all") == 0)
        rc = train_all_biases(model, err);
    return rc;
}

static int lora_save(const struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    return lora_save_files(model, settings, "lora", "\"peft_type\":\"LORA\",", folder, err);
}

static int lora_load(struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    return lora_load_files(model, settings, "lora", folder, err);
}

const struct method_kind method_lora = {
    .name = "lora",
    .paper = "arXiv:2106.09685",
    .attach = lora_attach,
    .save = lora_save,
    .load = lora_load,
};
