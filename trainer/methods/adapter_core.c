/* Bottleneck adapters: their tensors and their place. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "trainer/methods/adapter.h"
#include "trainer/methods/adapterhub_file.h"
#include "trainer/safetensors.h"

#define NORM_EPSILON 1e-5 /* of the layer norms in front of and behind an adapter: PyTorch's default */

/* Forward ---------------------------------------------------------------------------------------------------------- */

static struct value *apply(const struct adapter *adapter, struct tape *tape, const struct adapter_weight *part,
                           struct value *x)
{
    if (part->weight)
        return op_linear(tape, x, &part->weight->value, &part->bias->value);
    struct value *w =
        op_phm_weight(tape, &adapter->rule->value, &part->left->value, &part->right->value, adapter->spec->phm_rank);
    return op_linear_transposed(tape, x, w, &part->bias->value);
}

static struct value *scale(struct tape *tape, const struct adapter *adapter, struct value *x)
{
    if (!adapter->scaling)
        return adapter->spec->fixed_scaling == 1 ? x : op_scale(tape, x, adapter->spec->fixed_scaling);
    return param_size(adapter->scaling) == 1 ? op_multiply_scalar(tape, x, &adapter->scaling->value)
                                             : op_multiply_row(tape, x, &adapter->scaling->value);
}

struct value *adapter_input(const struct adapter *adapter, struct pass *pass, struct value *h, struct value *z)
{
    const struct site *site = adapter->site;
    if (adapter->spec->placement == PLACEMENT_HOULSBY || adapter->spec->placement == PLACEMENT_SEQUENTIAL)
        return h;
    if (adapter->spec->placement == PLACEMENT_PARALLEL)
        return z;
    return site->norm_weight ? op_add_layer_norm(pass->tape, h, z, &site->norm_weight->value, &site->norm_bias->value,
                                                 site->norm_epsilon)
                             : op_add(pass->tape, h, z);
}

struct value *adapter_up(const struct adapter *adapter, struct pass *pass, struct value *x)
{
    struct tape *tape = pass->tape;
    enum activation activation = (enum activation)activation_from_name(adapter->spec->activation);
    if (adapter->norm_before)
        x = op_layer_norm(tape, x, &adapter->norm_before->value, &adapter->norm_before_bias->value, NORM_EPSILON);
    x = op_activation(tape, apply(adapter, tape, &adapter->down, x), activation);
    return scale(tape, adapter, apply(adapter, tape, &adapter->up, x));
}

static struct value *adapter_sublayer(void *state, struct pass *pass, struct value *h, struct value *z)
{
    const struct adapter *adapter = state;
    struct tape *tape = pass->tape;
    struct value *u = adapter_input(adapter, pass, h, z);
    struct value *x = op_dropout(tape, adapter_up(adapter, pass, u), adapter->spec->dropout, adapter->dropout_site);
    if (adapter->gate.weight)
        x = op_multiply_column(tape, x, gate_values(&adapter->gate, pass, u));
    if (adapter->norm_after)
        x = op_layer_norm(tape, x, &adapter->norm_after->value, &adapter->norm_after_bias->value, NORM_EPSILON);
    return op_add(tape, h, x);
}

int adapter_hook(struct model *model, struct adapter *list, struct err *err)
{
    int rc = 0;
    for (struct adapter *adapter = list; adapter && rc == 0; adapter = adapter->next) {
        const struct hook hook = {.sublayer = adapter_sublayer, .state = adapter};
        rc = site_hook(adapter->site, model->params.arena, &hook, err);
    }
    return rc;
}

/* Tensors ---------------------------------------------------------------------------------------------------------- */

/* A tensor below the site, as AdapterHub names it. */
static int add_param(struct model *model, const struct adapter *adapter, struct param **param, int rows, int cols,
                     const char *part, struct err *err)
{
    const struct adapter_spec *spec = adapter->spec;
    struct method_param what = {spec->method, adapter->site->layer, rows, cols, spec->is_frozen};
    return method_add(model, param, what, err, "%s.adapters.%s.%s", adapter->site->name, spec->name, part);
}

static int add_norm(struct model *model, const struct adapter *adapter, struct param **weight, struct param **bias,
                    const char *name, struct err *err)
{
    char part[64];
    snprintf(part, sizeof(part), "%s.weight", name);
    int rc = add_param(model, adapter, weight, 0, adapter->site->out, part, err);
    snprintf(part, sizeof(part), "%s.bias", name);
    if (rc == 0)
        rc = add_param(model, adapter, bias, 0, adapter->site->out, part, err);
    if (rc == 0)
        method_init_fill(*weight, 1);
    return rc;
}

/* Factors n × (in/n) × rank and n × rank × (out/n), uniform as Glorot's. */
static int add_factors(struct model *model, const struct adapter *adapter, struct adapter_weight *weight, int in,
                       int out, const char *part, uint64_t seed, struct err *err)
{
    const struct adapter_spec *spec = adapter->spec;
    int n = spec->phm_dim, k = spec->phm_rank;
    char name[512];
    const int64_t left[3] = {n, in / n, k}, right[3] = {n, k, out / n};
    snprintf(name, sizeof(name), "%s.adapters.%s.%s.W_left", adapter->site->name, spec->name, part);
    int rc = method_add_shape(model, &weight->left, spec->method, adapter->site->layer, 3, left, name, err);
    snprintf(name, sizeof(name), "%s.adapters.%s.%s.W_right", adapter->site->name, spec->name, part);
    if (rc == 0)
        rc = method_add_shape(model, &weight->right, spec->method, adapter->site->layer, 3, right, name, err);
    if (rc < 0)
        return rc;
    method_init_uniform(weight->left, seed, sqrt(6.0 / (in / n + k)));
    method_init_uniform(weight->right, seed, sqrt(6.0 / (out / n + k)));
    snprintf(name, sizeof(name), "%s.b", part);
    return add_param(model, adapter, &weight->bias, 0, out, name, err);
}

static int add_weight(struct model *model, const struct adapter *adapter, struct adapter_weight *weight, int in,
                      int out, const char *part, uint64_t seed, struct err *err)
{
    char name[64];
    if (adapter->spec->phm_dim)
        return add_factors(model, adapter, weight, in, out, part, seed, err);
    snprintf(name, sizeof(name), "%s.weight", part);
    int rc = add_param(model, adapter, &weight->weight, out, in, name, err);
    snprintf(name, sizeof(name), "%s.bias", part);
    return rc < 0 ? rc : add_param(model, adapter, &weight->bias, 0, out, name, err);
}

/* As AdapterHub: "bert" N(0, 0.02) with zero biases; parallel ("mam_adapter"): uniform ±1/√in down, zero up. */
static void init(struct adapter *adapter, uint64_t seed)
{
    struct param *down = adapter->down.weight, *up = adapter->up.weight;
    if (adapter->scaling)
        method_init_fill(adapter->scaling, 1);
    if (!down)
        return;
    if (adapter->spec->placement == PLACEMENT_PARALLEL) {
        method_init_uniform(down, seed, 1 / sqrt((double)down->value.cols));
    } else {
        method_init_normal(down, seed, 0.02);
        method_init_normal(up, seed, 0.02);
    }
}

static int add_params(struct model *model, struct adapter *adapter, const cJSON *settings, uint64_t seed,
                      struct err *err)
{
    const struct adapter_spec *spec = adapter->spec;
    int d = adapter->site->out, b = spec->size, rc = 0;
    char name[512];
    if (spec->norm_before)
        rc = add_norm(model, adapter, &adapter->norm_before, &adapter->norm_before_bias, "adapter_norm_before", err);
    if (rc == 0)
        rc = add_weight(model, adapter, &adapter->down, d, b, spec->norm_before ? "adapter_down.1" : "adapter_down.0",
                        seed, err);
    if (rc == 0)
        rc = add_weight(model, adapter, &adapter->up, b, d, "adapter_up", seed, err);
    if (rc == 0 && spec->norm_after)
        rc = add_norm(model, adapter, &adapter->norm_after, &adapter->norm_after_bias, "adapter_norm_after", err);
    if (rc == 0 && spec->scaling)
        rc = add_param(model, adapter, &adapter->scaling, 0, strcmp(spec->scaling, "channel") == 0 ? d : 1, "scaling",
                       err);
    snprintf(name, sizeof(name), "%s.adapters.%s.gate", adapter->site->name, spec->name);
    if (rc == 0 && spec->is_gated)
        rc = gate_add(model, &adapter->gate, spec->method, adapter->site, 1, settings, seed, name, err);
    if (rc == 0)
        init(adapter, seed);
    return rc;
}

/* A: normal(0, 0.01), one for all adapters. */
static int add_rule(struct model *model, const struct adapter_spec *spec, struct param **rule, uint64_t seed,
                    struct err *err)
{
    char prefix[128], name[256];
    int n = spec->phm_dim;
    const int64_t shape[3] = {n, n, n};
    if (n == 0)
        return 0;
    if (model->hidden_size % n != 0 || spec->size % n != 0)
        return err_set(err, ERR_UNSUPPORTED,
                       "settings.phm_dim: %d divides not both the model's width %d and adapter_size %d", n,
                       model->hidden_size, spec->size);
    method_prefix(model, prefix, sizeof(prefix));
    snprintf(name, sizeof(name), "%s.shared_parameters.%s.phm_rule", prefix, spec->name);
    int rc = method_add_shape(model, rule, spec->method, -1, 3, shape, name, err);
    if (rc == 0)
        method_init_normal(*rule, seed, 0.01);
    return rc;
}

static bool goes_to(const struct adapter_spec *spec, const struct model *model, const cJSON *settings,
                    const struct site *site)
{
    if (site->kind != SITE_SUBLAYER ||
        (strcmp(site->role, "feed_forward") != 0 && spec->placement != PLACEMENT_HOULSBY))
        return false;
    for (int i = 0; i < spec->n_leave_out; i++)
        if (spec->leave_out[i] == site->layer)
            return false;
    return spec->leave_out || setting_has_layer(model, settings, site->layer);
}

int adapter_add(struct model *model, const struct adapter_spec *spec, const cJSON *settings, uint64_t seed,
                struct adapter **list, struct err *err)
{
    struct param *rule = NULL;
    int rc = add_rule(model, spec, &rule, seed, err);
    *list = NULL;
    for (size_t i = 0; i < model->n_sites && rc == 0; i++) {
        if (!goes_to(spec, model, settings, model->sites[i]))
            continue;
        struct adapter *adapter = *list = arena_calloc(model->params.arena, 1, sizeof(*adapter));
        if (!adapter)
            return err_set(err, ERR_NOMEM, "no memory for the adapter at '%s'", model->sites[i]->name);
        adapter->spec = spec;
        adapter->site = model->sites[i];
        adapter->rule = rule;
        adapter->dropout_site = rng_site(model->sites[i]->name) + 1;
        rc = add_params(model, adapter, settings, seed, err);
        list = &adapter->next;
    }
    return rc;
}

/* Specs ------------------------------------------------------------------------------------------------------------ */

void adapter_spec_of_settings(const cJSON *settings, const char *method, struct adapter_spec *spec)
{
    const char *placement = setting_text(settings, "adapter_placement", "pfeiffer");
    bool is_compacter = strcmp(method, "compacter") == 0, is_houlsby = strcmp(placement, "houlsby") == 0;
    bool is_parallel = strcmp(placement, "parallel") == 0;
    *spec = (struct adapter_spec){
        .method = method,
        .name = "nightsweep",
        .placement = is_houlsby                             ? PLACEMENT_HOULSBY
                     : is_parallel                          ? PLACEMENT_PARALLEL
                     : strcmp(placement, "sequential") == 0 ? PLACEMENT_SEQUENTIAL
                                                            : PLACEMENT_PFEIFFER,
        .size = (int)setting_number(settings, "adapter_size", 64),
        .activation = setting_text(settings, "activation",
                                   is_compacter ? "gelu"
                                   : is_houlsby ? "silu"
                                                : "relu"),
        .norm_before = setting_flag(settings, "adapter_norm_before"),
        .norm_after = setting_flag(settings, "adapter_norm_after"),
        .is_gated = gate_is_wanted(settings),
        .scaling = setting_text(settings, "adapter_scaling", NULL),
        .fixed_scaling = setting_number(settings, "adapter_scaling", is_parallel ? 4 : 1),
        .dropout = setting_number(settings, "method_dropout", 0),
        .phm_dim = is_compacter ? (int)setting_number(settings, "phm_dim", 4) : 0,
        .phm_rank = (int)setting_number(settings, "phm_rank", 1),
        .inverse_reduction =
            setting_flag(settings, "adapter_invertible") ? setting_number(settings, "inverse_reduction", 2) : 0,
    };
}

static const char *flag(bool value)
{
    return value ? "true" : "false";
}

/* The factor f for which AdapterHub's size, Python's d // f, is the bottleneck's: 32 // (32 / 5) is 4. */
static double reduction_factor(int d, int size)
{
    double factor = (double)d / size;
    while ((d - fmod(d, factor)) / factor < size - 0.5)
        factor = nextafter(factor, 0);
    return factor;
}

void adapter_add_config(struct text *json, const struct model *model, const struct adapter_spec *spec,
                        const cJSON *settings)
{
    enum placement placement = spec->placement;
    text_printf(json, "{\"mh_adapter\":%s,\"output_adapter\":true,\"is_parallel\":%s,\"original_ln_before\":%s",
                flag(placement == PLACEMENT_HOULSBY), flag(placement == PLACEMENT_PARALLEL),
                flag(placement == PLACEMENT_PFEIFFER));
    text_printf(json, ",\"original_ln_after\":true,\"residual_before_ln\":true,\"adapter_residual_before_ln\":false");
    text_printf(json, ",\"ln_before\":%s,\"ln_after\":%s,\"non_linearity\":\"%s\",\"reduction_factor\":",
                flag(spec->norm_before), flag(spec->norm_after),
                strcmp(spec->activation, "silu") == 0 ? "swish" : spec->activation);
    text_add_double(json, reduction_factor(model->hidden_size, spec->size));
    text_add(json, ",\"scaling\":");
    if (spec->scaling)
        text_add_json(json, spec->scaling);
    else /* AdapterHub takes a number without a point for the name of a kind */
        text_printf(json, spec->fixed_scaling == floor(spec->fixed_scaling) ? "%.1f" : "%.17g", spec->fixed_scaling);
    text_add(json, ",\"dropout\":");
    text_add_double(json, spec->dropout);
    text_printf(json, ",\"init_weights\":\"%s\",\"use_gating\":%s,\"cross_adapter\":false",
                placement == PLACEMENT_PARALLEL ? "mam_adapter" : "bert", flag(spec->is_gated));
    text_printf(json, ",\"phm_layer\":%s,\"phm_dim\":%d,\"phm_rank\":%d,\"inv_adapter\":%s", flag(spec->phm_dim > 0),
                spec->phm_dim ? spec->phm_dim : 4, spec->phm_rank, spec->inverse_reduction > 0 ? "\"nice\"" : "null");
    text_add(json, ",\"inv_adapter_reduction_factor\":");
    if (spec->inverse_reduction > 0)
        text_add_double(json, spec->inverse_reduction);
    else
        text_add(json, "null");
    adapterhub_add_leave_out(json, model, settings);
    text_add(json, "}");
}

/* Saved adapters --------------------------------------------------------------------------------------------------- */

/* Options that must have these values; those of AdapterHub's standard configurations do. */
static int check_options(const cJSON *config, struct err *err)
{
    static const struct {
        const char *key;
        bool value;
    } options[] = {{"output_adapter", true},     {"original_ln_after", true},
                   {"residual_before_ln", true}, {"adapter_residual_before_ln", false},
                   {"phm_layer", false},         {"use_gating", false},
                   {"cross_adapter", false}};
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        const cJSON *item = json_get(config, options[i].key);
        if (item && !cJSON_IsNull(item) && cJSON_IsTrue(item) != options[i].value)
            return err_set(err, ERR_UNSUPPORTED,
                           "adapter_config.json: '%s' other than %s is not built in for a frozen "
                           "adapter",
                           options[i].key, flag(options[i].value));
    }
    return cJSON_IsNumber(json_get(config, "reduction_factor"))
               ? 0
               : err_set(err, ERR_UNSUPPORTED, "adapter_config.json: reduction_factor is no number");
}

static int read_placement(const cJSON *config, struct adapter_spec *spec, struct err *err)
{
    bool is_double = cJSON_IsTrue(json_get(config, "mh_adapter"));
    bool is_parallel = cJSON_IsTrue(json_get(config, "is_parallel"));
    bool is_normed = cJSON_IsTrue(json_get(config, "original_ln_before"));
    if (is_double && (is_parallel || is_normed))
        return err_set(err, ERR_UNSUPPORTED, "adapter_config.json: this combination of places is not built in");
    spec->placement = is_double     ? PLACEMENT_HOULSBY
                      : is_parallel ? PLACEMENT_PARALLEL
                      : is_normed   ? PLACEMENT_PFEIFFER
                                    : PLACEMENT_SEQUENTIAL;
    return 0;
}

static int read_leave_out(const cJSON *config, struct adapter_spec *spec, struct arena *arena, struct err *err)
{
    const cJSON *list = json_get(config, "leave_out");
    int *layers = arena_calloc(arena, (size_t)cJSON_GetArraySize(list) + 1, sizeof(*layers));
    if (!layers)
        return err_set(err, ERR_NOMEM, "no memory for the adapter's layers");
    for (const cJSON *item = list ? list->child : NULL; item; item = item->next) {
        if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= 1 << 20))
            return err_set(err, ERR_FORMAT, "leave_out: a layer's number was expected");
        layers[spec->n_leave_out++] = (int)item->valuedouble;
    }
    spec->leave_out = layers;
    return 0;
}

int adapter_spec_of_folder(struct model *model, const char *folder, int index, struct adapter_spec *spec,
                           struct err *err)
{
    cJSON *file = NULL;
    struct arena *arena = model->params.arena;
    char *path = file_join(folder, "adapter_config.json");
    int rc = path ? json_read_file(path, &file, err) : err_set(err, ERR_NOMEM, "no memory for '%s'", folder);
    free(path);
    if (rc < 0)
        return rc;
    const cJSON *config = json_get(file, "config");
    const char *name = setting_text(file, "name", "nightsweep");
    const char *activation = setting_text(config, "non_linearity", "relu");
    const char *scaling = setting_text(config, "scaling", NULL);
    bool is_nice = strcmp(setting_text(config, "inv_adapter", ""), "nice") == 0;
    if ((rc = check_options(config, err)) < 0 || (rc = read_placement(config, spec, err)) < 0)
        goto out;
    spec->method = "frozen";
    spec->is_frozen = true;
    /* One name an adapter: ours are all called the same. */
    spec->name = strcmp(name, "nightsweep") == 0 ? arena_printf(arena, "frozen%d", index) : arena_strdup(arena, name);
    spec->size = (int)fmax(1, floor(model->hidden_size / setting_number(config, "reduction_factor", 16)));
    spec->activation = arena_strdup(arena, strcmp(activation, "swish") == 0 ? "silu" : activation);
    spec->norm_before = setting_flag(config, "ln_before");
    spec->norm_after = setting_flag(config, "ln_after");
    spec->scaling = scaling ? arena_strdup(arena, scaling) : NULL;
    spec->fixed_scaling = setting_number(config, "scaling", 1);
    spec->inverse_reduction = is_nice ? setting_number(config, "inv_adapter_reduction_factor", 2) : 0;
    rc = read_leave_out(config, spec, arena, err);
    if (rc == 0 && activation_from_name(spec->activation) < 0)
        rc = err_set(err, ERR_UNSUPPORTED, "adapter_config.json: non_linearity '%s' is not built in", activation);
out:
    json_free(file);
    return rc < 0 ? err_wrap(err, "'%s'", folder) : 0;
}

/* The tensor of the file that a parameter is, whatever the adapter is called there. */
static const struct tensor *find_tensor(const struct safetensors *file, const struct param *param)
{
    char own[512], theirs[512];
    method_file_name(param->name, own, sizeof(own));
    for (size_t i = 0; i < safetensors_count(file); i++) {
        method_file_name(safetensors_at(file, i)->name, theirs, sizeof(theirs));
        if (strcmp(own, theirs) == 0)
            return safetensors_at(file, i);
    }
    return NULL;
}

static int read_frozen(struct model *model, size_t first, const char *folder, struct err *err)
{
    struct safetensors *file = NULL;
    char *path = file_join(folder, "adapter.safetensors");
    int rc = path ? safetensors_open(&file, path, err) : err_set(err, ERR_NOMEM, "no memory for '%s'", folder);
    for (size_t i = first; rc == 0 && i < model->params.count; i++) {
        struct param *param = model->params.items[i];
        if (param->origin != PARAM_METHOD || !param->method || strcmp(param->method, "frozen") != 0)
            continue;
        const struct tensor *tensor = find_tensor(file, param);
        if (!tensor)
            rc = err_set(err, ERR_NOT_FOUND, "'%s': no tensor for '%s'", folder, param->name);
        else if (tensor->n != param_size(param))
            rc = err_set(err, ERR_FORMAT, "'%s': tensor '%s' has %zu elements, %zu were expected", folder, tensor->name,
                         tensor->n, param_size(param));
        else
            rc = safetensors_read(tensor, param->value.data, err);
    }
    safetensors_close(file);
    free(path);
    return rc;
}

static size_t count_before_head(const struct model *model)
{
    size_t n = 0;
    while (n < model->params.count && model->params.items[n]->origin != PARAM_HEAD)
        n++;
    return n;
}

int adapter_add_folder(struct model *model, const char *folder, int index, const cJSON *settings, struct adapter **list,
                       struct err *err)
{
    struct adapter_spec *spec = arena_calloc(model->params.arena, 1, sizeof(*spec));
    size_t first = count_before_head(model); /* parameters of methods are added here */
    int rc = spec ? adapter_spec_of_folder(model, folder, index, spec, err)
                  : err_set(err, ERR_NOMEM, "no memory for '%s'", folder);
    if (rc == 0)
        rc = adapter_add(model, spec, settings, 0, list, err);
    if (rc == 0 && spec->inverse_reduction > 0)
        rc = invertible_add(model, spec, 0, err);
    return rc < 0 ? rc : read_frozen(model, first, folder, err);
}
