/* Bottleneck adapters: a(x) = dropout(s (W_up f(W_down x + b_down) + b_up)).
 *
 * houlsby: after attention and after the feed-forward, h' = h + a(h).       Houlsby et al. 2019, arXiv:1902.00751, 2.1
 * pfeiffer: after the feed-forward, on the layer norm of the sum, h' = h + a(LN(h + z)).
 *                                                                           Pfeiffer et al. 2021, arXiv:2005.00247, 3
 * sequential: after the feed-forward, h' = h + a(h).
 * parallel: beside the feed-forward, h' = h + a(z), s = 4.                  He et al. 2022, arXiv:2110.04366, 3.3 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "trainer/methods/adapterhub_file.h"

enum placement { PLACEMENT_HOULSBY, PLACEMENT_PFEIFFER, PLACEMENT_PARALLEL, PLACEMENT_SEQUENTIAL };

struct adapter {
    enum placement placement;
    struct site *site;
    struct param *down, *down_bias, *up, *up_bias;
    struct param *norm_before, *norm_before_bias, *norm_after, *norm_after_bias; /* NULL: none */
    struct param *scaling;                                                       /* learned: (1) or (1, d); else NULL */
    double fixed_scaling, dropout;
    enum activation activation;
    uint32_t dropout_site;
};

#define NORM_EPSILON 1e-5 /* of the layer norms in front of and behind an adapter: PyTorch's default */

static struct value *scale(struct tape *tape, const struct adapter *adapter, struct value *x)
{
    if (!adapter->scaling)
        return adapter->fixed_scaling == 1 ? x : op_scale(tape, x, adapter->fixed_scaling);
    return param_size(adapter->scaling) == 1 ? op_multiply_scalar(tape, x, &adapter->scaling->value)
                                             : op_multiply_row(tape, x, &adapter->scaling->value);
}

static struct value *adapter_sublayer(void *state, struct pass *pass, struct value *h, struct value *z)
{
    const struct adapter *adapter = state;
    const struct site *site = adapter->site;
    struct tape *tape = pass->tape;
    struct value *x = adapter->placement == PLACEMENT_PARALLEL ? z : h;
    if (adapter->placement == PLACEMENT_PFEIFFER)
        x = site->norm_weight
                ? op_add_layer_norm(tape, h, z, &site->norm_weight->value, &site->norm_bias->value, site->norm_epsilon)
                : op_add(tape, h, z);
    if (adapter->norm_before)
        x = op_layer_norm(tape, x, &adapter->norm_before->value, &adapter->norm_before_bias->value, NORM_EPSILON);
    x = op_activation(tape, op_linear(tape, x, &adapter->down->value, &adapter->down_bias->value), adapter->activation);
    x = scale(tape, adapter, op_linear(tape, x, &adapter->up->value, &adapter->up_bias->value));
    x = op_dropout(tape, x, adapter->dropout, adapter->dropout_site);
    if (adapter->norm_after)
        x = op_layer_norm(tape, x, &adapter->norm_after->value, &adapter->norm_after_bias->value, NORM_EPSILON);
    return op_add(tape, h, x);
}

/* A trained tensor below the site, as AdapterHub names it. */
static int add_param(struct model *model, const struct site *site, struct param **param, int rows, int cols,
                     const char *part, struct err *err)
{
    return method_add(model, param, (struct method_param){"adapter", site->layer, rows, cols, false}, err,
                      "%s.adapters.nightsweep.%s", site->name, part);
}

/* As AdapterHub: "bert" N(0, 0.02) with zero biases; parallel ("mam_adapter"): uniform ±1/√in down, zero up. */
static void init(struct adapter *adapter, uint64_t seed)
{
    if (adapter->placement == PLACEMENT_PARALLEL) {
        method_init_uniform(adapter->down, seed, 1 / sqrt((double)adapter->down->value.cols));
    } else {
        method_init_normal(adapter->down, seed, 0.02);
        method_init_normal(adapter->up, seed, 0.02);
    }
    if (adapter->norm_before)
        method_init_fill(adapter->norm_before, 1);
    if (adapter->norm_after)
        method_init_fill(adapter->norm_after, 1);
    if (adapter->scaling)
        method_init_fill(adapter->scaling, 1);
}

static int add_params(struct model *model, struct adapter *adapter, const cJSON *settings, struct err *err)
{
    const struct site *site = adapter->site;
    int d = site->out, b = (int)setting_number(settings, "adapter_size", 64), rc = 0;
    bool before = setting_flag(settings, "adapter_norm_before"), after = setting_flag(settings, "adapter_norm_after");
    const char *scaling = setting_text(settings, "adapter_scaling", NULL);
    if (before)
        rc = add_param(model, site, &adapter->norm_before, 0, d, "adapter_norm_before.weight", err);
    if (rc == 0 && before)
        rc = add_param(model, site, &adapter->norm_before_bias, 0, d, "adapter_norm_before.bias", err);
    if (rc == 0)
        rc = add_param(model, site, &adapter->down, b, d, before ? "adapter_down.1.weight" : "adapter_down.0.weight",
                       err);
    if (rc == 0)
        rc = add_param(model, site, &adapter->down_bias, 0, b, before ? "adapter_down.1.bias" : "adapter_down.0.bias",
                       err);
    if (rc == 0)
        rc = add_param(model, site, &adapter->up, d, b, "adapter_up.weight", err);
    if (rc == 0)
        rc = add_param(model, site, &adapter->up_bias, 0, d, "adapter_up.bias", err);
    if (rc == 0 && after)
        rc = add_param(model, site, &adapter->norm_after, 0, d, "adapter_norm_after.weight", err);
    if (rc == 0 && after)
        rc = add_param(model, site, &adapter->norm_after_bias, 0, d, "adapter_norm_after.bias", err);
    if (rc == 0 && scaling)
        rc = add_param(model, site, &adapter->scaling, 0, strcmp(scaling, "channel") == 0 ? d : 1, "scaling", err);
    return rc;
}

static enum placement read_placement(const cJSON *settings)
{
    const char *name = setting_text(settings, "adapter_placement", "pfeiffer");
    return strcmp(name, "houlsby") == 0      ? PLACEMENT_HOULSBY
           : strcmp(name, "parallel") == 0   ? PLACEMENT_PARALLEL
           : strcmp(name, "sequential") == 0 ? PLACEMENT_SEQUENTIAL
                                             : PLACEMENT_PFEIFFER;
}

static const char *activation_name(const cJSON *settings)
{
    return setting_text(settings, "activation", read_placement(settings) == PLACEMENT_HOULSBY ? "silu" : "relu");
}

static double fixed_scaling(const cJSON *settings)
{
    return setting_number(settings, "adapter_scaling", read_placement(settings) == PLACEMENT_PARALLEL ? 4 : 1);
}

static int attach_site(struct model *model, struct site *site, const cJSON *settings, uint64_t seed, struct err *err)
{
    struct adapter *adapter = arena_calloc(model->params.arena, 1, sizeof(*adapter));
    if (!adapter)
        return err_set(err, ERR_NOMEM, "no memory for the adapter at '%s'", site->name);
    *adapter = (struct adapter){
        .placement = read_placement(settings),
        .site = site,
        .fixed_scaling = fixed_scaling(settings),
        .dropout = setting_number(settings, "method_dropout", 0),
        .activation = (enum activation)activation_from_name(activation_name(settings)),
        .dropout_site = rng_site(site->name) + 1,
    };
    int rc = add_params(model, adapter, settings, err);
    if (rc < 0)
        return rc;
    init(adapter, seed);
    const struct hook hook = {.sublayer = adapter_sublayer, .state = adapter};
    return site_hook(site, model->params.arena, &hook, err);
}

static int adapter_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    bool both = read_placement(settings) == PLACEMENT_HOULSBY;
    int rc = 0;
    for (size_t i = 0; i < model->n_sites && rc == 0; i++) {
        struct site *site = model->sites[i];
        if (site->kind == SITE_SUBLAYER && setting_has_layer(model, settings, site->layer) &&
            (strcmp(site->role, "feed_forward") == 0 || both))
            rc = attach_site(model, site, settings, seed, err);
    }
    return rc;
}

/* AdapterHub's files ----------------------------------------------------------------------------------------------- */

static const char *flag(bool value)
{
    return value ? "true" : "false";
}

static void add_config(struct text *json, const struct model *model, const cJSON *settings)
{
    enum placement placement = read_placement(settings);
    const char *scaling = setting_text(settings, "adapter_scaling", NULL), *activation = activation_name(settings);
    text_printf(json, "{\"mh_adapter\":%s,\"output_adapter\":true,\"is_parallel\":%s,\"original_ln_before\":%s",
                flag(placement == PLACEMENT_HOULSBY), flag(placement == PLACEMENT_PARALLEL),
                flag(placement == PLACEMENT_PFEIFFER));
    text_printf(json, ",\"original_ln_after\":true,\"residual_before_ln\":true,\"adapter_residual_before_ln\":false");
    text_printf(json, ",\"ln_before\":%s,\"ln_after\":%s,\"non_linearity\":\"%s\",\"reduction_factor\":",
                flag(setting_flag(settings, "adapter_norm_before")), flag(setting_flag(settings, "adapter_norm_after")),
                strcmp(activation, "silu") == 0 ? "swish" : activation);
    text_add_double(json, model->hidden_size / setting_number(settings, "adapter_size", 64));
    text_add(json, ",\"scaling\":");
    if (scaling)
        text_add_json(json, scaling);
    else
        text_add_double(json, fixed_scaling(settings));
    text_add(json, ",\"dropout\":");
    text_add_double(json, setting_number(settings, "method_dropout", 0));
    text_printf(json, ",\"init_weights\":\"%s\",\"use_gating\":false,\"inv_adapter\":null,\"cross_adapter\":false",
                placement == PLACEMENT_PARALLEL ? "mam_adapter" : "bert");
    adapterhub_add_leave_out(json, model, settings);
    text_add(json, "}");
}

static int adapter_save(const struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    struct text config = {0};
    add_config(&config, model, settings);
    return adapterhub_save(model, "adapter", &config, folder, err);
}

static int adapter_load(struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    (void)settings;
    return adapterhub_load(model, "adapter", folder, err);
}

const struct method_kind method_adapter = {
    .name = "adapter",
    .paper = "arXiv:1902.00751, arXiv:2005.00247, arXiv:2110.04366",
    .attach = adapter_attach,
    .save = adapter_save,
    .load = adapter_load,
};
