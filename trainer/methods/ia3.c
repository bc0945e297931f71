/* IA3: learned factors on keys, values and the feed-forward's inner activations.
 *     attention: y = (W x + b) ⊙ l, l (out);   feed-forward module: y = W (x ⊙ l) + b, l (in);   l starts at 1.
 * Liu et al. 2022, arXiv:2205.05638, 3.3 */
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "trainer/methods/lora.h"

struct ia3 {
    struct param *factors;
};

static struct value *ia3_apply(void *state, struct pass *pass, struct value *x)
{
    struct ia3 *ia3 = state;
    struct value *row = op_reshape(pass->tape, &ia3->factors->value, 1, (int)param_size(ia3->factors));
    return op_multiply_row(pass->tape, x, row);
}

static struct value *ia3_output(void *state, struct pass *pass, struct value *x, struct value *y)
{
    (void)x;
    return ia3_apply(state, pass, y);
}

/* By default keys, values and the feed-forward's last linear layer, whatever the model calls them. */
static bool is_default(const struct site *site)
{
    return strcmp(site->role, "key") == 0 || strcmp(site->role, "value") == 0 || strcmp(site->role, "output") == 0 ||
           strcmp(site->role, "query_key_value") == 0;
}

static bool wants(const struct model *model, const cJSON *settings, const struct site *site)
{
    const cJSON *targets = json_get(settings, "targets");
    return site->kind == SITE_LINEAR && setting_has_layer(model, settings, site->layer) &&
           (targets ? setting_has_target(site, targets, NULL) : is_default(site));
}

static bool is_feed_forward(const cJSON *settings, const struct site *site)
{
    const cJSON *modules = json_get(settings, "feed_forward_targets");
    if (modules || json_get(settings, "targets"))
        return modules && setting_has_target(site, modules, NULL);
    return strcmp(site->role, "output") == 0;
}

static int attach_site(struct model *model, struct site *site, const cJSON *settings, struct err *err)
{
    struct ia3 *ia3 = arena_calloc(model->params.arena, 1, sizeof(*ia3));
    bool is_inner = is_feed_forward(settings, site);
    if (!ia3)
        return err_set(err, ERR_NOMEM, "no memory for IA3 at '%s'", site->name);
    /* PEFT stores a column for outputs and a row for inputs. */
    struct method_param what = {"ia3", site->layer, is_inner ? 1 : site->out, is_inner ? site->in : 1, false};
    int rc = method_add(model, &ia3->factors, what, err, "%s.ia3_l", site->name);
    if (rc < 0)
        return rc;
    method_init_fill(ia3->factors, 1);
    ia3->factors->never_decays = true; /* it would be pulled to 0, its neutral value is 1 */
    const struct hook hook = {
        .input = is_inner ? ia3_apply : NULL, .output = is_inner ? NULL : ia3_output, .state = ia3};
    return site_hook(site, model->params.arena, &hook, err);
}

static int ia3_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    (void)seed;
    int rc = 0;
    for (size_t i = 0; i < model->n_sites && rc == 0; i++)
        if (wants(model, settings, model->sites[i]))
            rc = attach_site(model, model->sites[i], settings, err);
    return rc;
}

static void add_feed_forward(struct text *json, const struct model *model, const cJSON *settings)
{
    bool is_first = true;
    text_add(json, ",\"feedforward_modules\":[");
    for (size_t i = 0; i < model->n_sites; i++) {
        if (!wants(model, settings, model->sites[i]) || !is_feed_forward(settings, model->sites[i]))
            continue;
        text_add(json, is_first ? "" : ",");
        text_add_json(json, model->sites[i]->name);
        is_first = false;
    }
    text_add(json, "]");
}

static int ia3_save(const struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    struct text json = {0};
    char *path = file_join(folder, "adapter_model.safetensors");
    int rc = path ? method_file_write(model, "ia3", "base_model.model.", true, path, err)
                  : err_set(err, ERR_NOMEM, "no memory to save IA3");
    free(path);
    if (rc < 0)
        return rc;
    text_printf(&json, "{\"peft_type\":\"IA3\",\"task_type\":\"%s\",\"inference_mode\":true", method_task_type(model));
    lora_add_targets(&json, model, "ia3_l");
    add_feed_forward(&json, model, settings);
    text_printf(&json, ",\"modules_to_save\":%s,\"base_model_name_or_path\":null,\"revision\":null}",
                model->n_classes > 0 ? "[\"classifier\",\"score\"]" : "null");
    return method_file_write_text(folder, "adapter_config.json", &json, err);
}

static int ia3_load(struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    (void)settings;
    char *path = file_join(folder, "adapter_model.safetensors");
    int rc = path ? method_file_read(model, "ia3", path, err) : err_set(err, ERR_NOMEM, "no memory to load IA3");
    free(path);
    return rc;
}

const struct method_kind method_ia3 = {
    .name = "ia3", .paper = "arXiv:2205.05638", .attach = ia3_attach, .save = ia3_save, .load = ia3_load};
