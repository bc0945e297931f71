/* BitFit: all biases, or those of some modules.   Ben Zaken et al. 2022, arXiv:2106.10199 */
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/text.h"
#include "trainer/methods/method_file.h"

/* Whether the module a bias belongs to is one of the terms ("query", "intermediate.dense", or a part: "intermediate").
 */
static bool is_term(const char *name, const cJSON *terms)
{
    struct site module = {0};
    char path[512];
    snprintf(path, sizeof(path), "%.*s", (int)(strlen(name) - strlen(".bias")), name);
    module.name = path;
    return setting_has_target(&module, terms, NULL);
}

static int bitfit_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    (void)seed;
    const cJSON *terms = json_get(settings, "bias_terms");
    int rc = 0;
    for (size_t i = 0; i < model->params.count && rc == 0; i++) {
        struct param *param = model->params.items[i];
        if (param->origin != PARAM_BASE || !text_ends_with(param->name, ".bias"))
            continue;
        if (setting_has_layer(model, settings, param->layer) && (!terms || is_term(param->name, terms)))
            rc = param_train(&model->params, param, "bitfit", err);
    }
    return rc;
}

const struct method_kind method_bitfit = {.name = "bitfit", .paper = "arXiv:2106.10199", .attach = bitfit_attach};
