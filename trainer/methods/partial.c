/* Partial fine-tuning: the top k layers whole, with what lies above them. */
#include "trainer/methods/method_file.h"

static int partial_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    (void)seed;
    int k = (int)setting_number(settings, "top_layers", 2), rc = 0;
    if (k > model->n_layers)
        return err_set(err, ERR_UNSUPPORTED, "settings.top_layers: %d, but the model has %d layers", k,
                       model->n_layers);
    for (size_t i = 0; i < model->params.count && rc == 0; i++) {
        struct param *param = model->params.items[i];
        if (param->origin == PARAM_BASE && param->layer >= model->n_layers - k)
            rc = param_train(&model->params, param, "partial", err);
    }
    return rc;
}

const struct method_kind method_partial = {.name = "partial", .paper = "", .attach = partial_attach};
