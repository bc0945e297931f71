/* VeRA: y = W x + λ_b ⊙ (B (λ_d ⊙ (A dropout(x)))) with frozen random A (r, in), B (out, r) that all sites share; only
 * the vectors λ_d (r) and λ_b (out) are trained. Smaller sites use the first columns of A and the first rows of B.
 * Kopiczko et al. 2024, arXiv:2310.11454, 3.1-3.3 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "trainer/methods/lora.h"
#include "trainer/safetensors.h"

#define D_INITIAL 0.1

struct vera {
    const struct site *site;
    struct param *a, *b, *lambda_d, *lambda_b;
    double dropout;
    uint32_t dropout_site;
};

static struct value *vera_output(void *state, struct pass *pass, struct value *x, struct value *y)
{
    const struct vera *vera = state;
    struct tape *tape = pass->tape;
    struct value *a = &vera->a->value, *b = &vera->b->value;
    if (vera->site->in < a->cols)
        a = op_columns(tape, a, 0, vera->site->in);
    if (vera->site->out < b->rows)
        b = op_row_range(tape, b, 0, vera->site->out);
    struct value *low = op_linear(tape, op_dropout(tape, x, vera->dropout, vera->dropout_site), a, NULL);
    low = op_multiply_row(tape, low, &vera->lambda_d->value);
    return op_add(tape, y, op_multiply_row(tape, op_linear(tape, low, b, NULL), &vera->lambda_b->value));
}

static int add_shared(struct model *model, const cJSON *settings, struct vera *shared, uint64_t seed, struct err *err)
{
    int rank = (int)setting_number(settings, "rank", 8), in = 0, out = 0;
    for (size_t i = 0; i < model->n_sites; i++) {
        if (!lora_wants(model, settings, model->sites[i]))
            continue;
        in = model->sites[i]->in > in ? model->sites[i]->in : in;
        out = model->sites[i]->out > out ? model->sites[i]->out : out;
    }
    if (in == 0)
        return err_set(err, ERR_UNSUPPORTED, "VeRA: no linear module of this model matches the targets");
    int rc = method_add(model, &shared->a, (struct method_param){"vera", -1, rank, in, true}, err, "vera_A");
    if (rc == 0)
        rc = method_add(model, &shared->b, (struct method_param){"vera", -1, out, rank, true}, err, "vera_B");
    if (rc < 0)
        return rc;
    method_init_uniform(shared->a, seed, sqrt(6.0 / in)); /* Kaiming's with gain √2 */
    method_init_uniform(shared->b, seed, sqrt(6.0 / rank));
    return 0;
}

static int attach_site(struct model *model, struct site *site, const cJSON *settings, const struct vera *shared,
                       struct err *err)
{
    struct vera *vera = arena_calloc(model->params.arena, 1, sizeof(*vera));
    if (!vera)
        return err_set(err, ERR_NOMEM, "no memory for VeRA at '%s'", site->name);
    *vera = *shared;
    vera->site = site;
    vera->dropout = setting_number(settings, "method_dropout", 0);
    int rank = shared->a->value.rows;
    int rc = method_add(model, &vera->lambda_d, (struct method_param){"vera", site->layer, 0, rank, false}, err,
                        "%s.vera_lambda_d", site->name);
    if (rc == 0)
        rc = method_add(model, &vera->lambda_b, (struct method_param){"vera", site->layer, 0, site->out, false}, err,
                        "%s.vera_lambda_b", site->name);
    if (rc < 0)
        return rc;
    vera->dropout_site = rng_site(vera->lambda_d->name);
    method_init_fill(vera->lambda_d, D_INITIAL);
    const struct hook hook = {.output = vera_output, .state = vera};
    return site_hook(site, model->params.arena, &hook, err);
}

static int vera_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    struct vera shared = {0};
    int rc = add_shared(model, settings, &shared, seed, err);
    for (size_t i = 0; i < model->n_sites && rc == 0; i++)
        if (lora_wants(model, settings, model->sites[i]))
            rc = attach_site(model, model->sites[i], settings, &shared, err);
    return rc;
}

static const char *key_of(const struct param *param)
{
    return param->origin == PARAM_METHOD && strncmp(param->name, "vera_", 5) == 0 ? "base_model." : "base_model.model.";
}

static int vera_save(const struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    struct text json = {0};
    char *path = file_join(folder, "adapter_model.safetensors");
    int rc = path ? method_file_write_as(model, "vera", key_of, true, path, err)
                  : err_set(err, ERR_NOMEM, "no memory to save VeRA");
    free(path);
    if (rc < 0)
        return rc;
    text_printf(&json,
                "{\"peft_type\":\"VERA\",\"task_type\":\"%s\",\"inference_mode\":true,\"r\":%d,\"d_initial\":%g,"
                "\"projection_prng_key\":0,\"save_projection\":true,\"bias\":\"none\",\"vera_dropout\":",
                method_task_type(model), (int)setting_number(settings, "rank", 8), D_INITIAL);
    text_add_double(&json, setting_number(settings, "method_dropout", 0));
    lora_add_targets(&json, model, "vera_lambda_d");
    text_printf(&json, ",\"modules_to_save\":%s,\"base_model_name_or_path\":null,\"revision\":null}",
                model->n_classes > 0 ? "[\"classifier\",\"score\"]" : "null");
    return method_file_write_text(folder, "adapter_config.json", &json, err);
}

static int vera_load(struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    (void)settings;
    char *path = file_join(folder, "adapter_model.safetensors");
    int rc = path ? method_file_read(model, "vera", path, err) : err_set(err, ERR_NOMEM, "no memory to load VeRA");
    free(path);
    return rc;
}

const struct method_kind method_vera = {
    .name = "vera", .paper = "arXiv:2310.11454", .attach = vera_attach, .save = vera_save, .load = vera_load};
