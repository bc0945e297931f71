/* Gates: their tensors and their values. */
#include "trainer/methods/gate.h"

#include <string.h>

bool gate_is_wanted(const cJSON *settings)
{
    return strcmp(setting_text(settings, "gating", "none"), "none") != 0;
}

int gate_add(struct model *model, struct gate *gate, const char *method, const struct site *site, int heads,
             const cJSON *settings, uint64_t seed, const char *name, struct err *err)
{
    bool is_adapterhub = strcmp(setting_text(settings, "gating", "none"), "adapterhub") == 0;
    int rc = method_add(model, &gate->weight, (struct method_param){method, site->layer, heads, site->in, false}, err,
                        "%s.weight", name);
    if (rc == 0)
        rc = method_add(model, &gate->bias, (struct method_param){method, site->layer, 0, heads, false}, err, "%s.bias",
                        name);
    if (rc < 0)
        return rc;
    method_init_normal(gate->weight, seed, 0.02);
    gate->is_causal = !is_adapterhub && (model->task == TASK_CAUSAL || site->is_decoder);
    model->carries_padding = model->carries_padding || is_adapterhub;
    return 0;
}

struct value *gate_values(const struct gate *gate, struct pass *pass, struct value *x)
{
    struct value *z = op_linear(pass->tape, x, &gate->weight->value, &gate->bias->value);
    return op_sequence_mean(pass->tape, op_activation(pass->tape, z, ACTIVATION_SIGMOID), gate->is_causal);
}
