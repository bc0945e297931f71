/* Layer norm tuning: weights and biases of the layer norms.   Zhao et al. 2023, arXiv:2312.11420 */
#include "trainer/methods/method_file.h"

static int layer_norm_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    (void)seed;
    int rc = 0;
    for (size_t i = 0; i < model->params.count && rc == 0; i++) {
        struct param *param = model->params.items[i];
        if (param->origin == PARAM_BASE && param->is_norm && setting_has_layer(model, settings, param->layer))
            rc = param_train(&model->params, param, "layer_norm", err);
    }
    return rc;
}

const struct method_kind method_layer_norm = {
    .name = "layer_norm", .paper = "arXiv:2312.11420", .attach = layer_norm_attach};
