/* LoRA: y = W x + b + s B A dropout(x), s = α/r or α/√r.   Hu et al. 2021, arXiv:2106.09685, 4.1; rank-stabilised
 * scaling: Kalajdzievski 2023, arXiv:2312.03732; another learning rate for B: Hayou et al. 2024, arXiv:2402.12354 */
#include "trainer/methods/lora.h"

#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "trainer/methods/adapterhub_file.h"

/* The update of part `index` of a fused projection: its own rows of A and B. */
static struct value *part_update(const struct lora *lora, struct tape *tape, struct value *dropped, int index)
{
    int width = lora->site->out / 3;
    struct value *a = op_row_range(tape, &lora->a->value, index * lora->rank, lora->rank);
    struct value *b = op_row_range(tape, &lora->b->value, index * width, width);
    return op_linear(tape, op_linear(tape, dropped, a, NULL), b, NULL);
}

/* A gate stands instead of the scaling. */
static struct value *scaled(const struct lora *lora, struct tape *tape, struct value *update, struct value *gates,
                            int index)
{
    return gates ? op_multiply_column(tape, update, op_columns(tape, gates, index, 1))
                 : op_scale(tape, update, lora->scaling);
}

static struct value *lora_output(void *state, struct pass *pass, struct value *x, struct value *y)
{
    const struct lora *lora = state;
    struct tape *tape = pass->tape;
    if (!lora->parts && !lora->gate.weight)
        return op_add_scaled(tape, y, lora_update(lora, pass, x), lora->scaling);
    struct value *gates = lora->gate.weight ? gate_values(&lora->gate, pass, x) : NULL;
    if (!lora->parts)
        return op_add(tape, y, scaled(lora, tape, lora_update(lora, pass, x), gates, 0));
    struct value *dropped = op_dropout(tape, x, lora->dropout, lora->dropout_site);
    for (int part = 0, index = 0; part < 3; part++) {
        if (!(lora->parts & 1u << part))
            continue;
        struct value *update = scaled(lora, tape, part_update(lora, tape, dropped, index), gates, index);
        y = op_add_at_columns(tape, y, update, part * (lora->site->out / 3));
        index++;
    }
    return y;
}

/* What PEFT has no form for is kept in AdapterHub's. */
static bool is_adapterhub(const struct model *model, const cJSON *settings)
{
    for (size_t i = 0; i < model->n_sites; i++)
        if (lora_wants(model, settings, model->sites[i]) && lora_parts(model->sites[i], settings))
            return true;
    return gate_is_wanted(settings);
}

static int attach_site(struct model *model, struct site *site, const cJSON *settings, uint64_t seed, struct err *err)
{
    struct lora *lora = arena_calloc(model->params.arena, 1, sizeof(*lora));
    char name[512];
    if (!lora)
        return err_set(err, ERR_NOMEM, "no memory for LoRA at '%s'", site->name);
    lora->parts = lora_parts(site, settings);
    int rc = lora_add(model, lora, site, settings, "lora", is_adapterhub(model, settings) ? NULL : ".weight", err);
    snprintf(name, sizeof(name), "%s.loras.nightsweep.gate", site->name);
    if (rc == 0 && gate_is_wanted(settings))
        rc = gate_add(model, &lora->gate, "lora", site, lora->parts ? __builtin_popcount(lora->parts) : 1, settings,
                      seed, name, err);
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

/* "q" of query, as AdapterHub calls it; of the sites' roles and parts. */
static void add_matrices(struct text *config, const struct model *model, const cJSON *settings)
{
    static const char *const roles[] = {"query", "key", "value"};
    bool is_first = true;
    text_add(config, ",\"attn_matrices\":[");
    for (unsigned p = 0; p < 3; p++) {
        bool is_in = false;
        for (size_t i = 0; i < model->n_sites; i++)
            is_in =
                is_in ||
                (lora_wants(model, settings, model->sites[i]) &&
                 (strcmp(model->sites[i]->role, roles[p]) == 0 || (lora_parts(model->sites[i], settings) & 1u << p)));
        if (is_in)
            text_printf(config, "%s\"%c\"", is_first ? "" : ",", roles[p][0]);
        is_first = is_first && !is_in;
    }
    text_add(config, "]");
}

static int lora_save(const struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    struct text config = {0};
    if (!is_adapterhub(model, settings))
        return lora_save_files(model, settings, "lora", "\"peft_type\":\"LORA\",", folder, err);
    text_printf(&config, "{\"architecture\":\"lora\",\"r\":%d,\"use_gating\":%s,\"alpha\":",
                (int)setting_number(settings, "rank", 8), gate_is_wanted(settings) ? "true" : "false");
    text_add_double(&config, setting_number(settings, "alpha", 16));
    text_add(&config, ",\"dropout\":");
    text_add_double(&config, setting_number(settings, "method_dropout", 0));
    text_add(&config, ",\"composition_mode\":\"add\",\"init_weights\":\"lora\",\"selfattn_lora\":true,"
                      "\"intermediate_lora\":false,\"output_lora\":false");
    add_matrices(&config, model, settings);
    adapterhub_add_leave_out(&config, model, settings);
    text_add(&config, "}");
    return adapterhub_save(model, "lora", &config, folder, err);
}

static int lora_load(struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    return is_adapterhub(model, settings) ? adapterhub_load(model, "lora", folder, err)
                                          : lora_load_files(model, settings, "lora", folder, err);
}

const struct method_kind method_lora = {
    .name = "lora",
    .paper = "arXiv:2106.09685",
    .attach = lora_attach,
    .save = lora_save,
    .load = lora_load,
};
