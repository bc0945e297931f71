/* Full fine-tuning: everything is trained. */
#include "trainer/method.h"

static int full_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    (void)settings;
    (void)seed;
    int rc = 0;
    for (size_t i = 0; i < model->params.count && rc == 0; i++)
        if (model->params.items[i]->origin == PARAM_BASE)
            rc = param_train(&model->params, model->params.items[i], "full", err);
    return rc;
}

const struct method_kind method_full = {.name = "full", .paper = "", .attach = full_attach};
