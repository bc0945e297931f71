/* From AdapterHub's configurations to our settings. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "tests/golden/golden.h"
#include "trainer/ops.h"

/* AdapterHub counts the layers to leave out. */
static void keep_layers(cJSON *settings, const cJSON *leave_out, int n_layers)
{
    cJSON *layers = cJSON_AddArrayToObject(settings, "layers");
    for (int layer = 0; layer < n_layers; layer++) {
        bool is_out = false;
        for (const cJSON *item = leave_out->child; item; item = item->next)
            is_out = is_out || item->valuedouble == layer;
        if (!is_out)
            cJSON_AddItemToArray(layers, cJSON_CreateNumber(layer));
    }
}

static int activation(cJSON *settings, const cJSON *adapter, const char *fallback, struct err *err)
{
    const char *name = json_get(adapter, "non_linearity") ? golden_text_of(adapter, "non_linearity") : fallback;
    if (activation_from_name(name) < 0)
        return golden_unsupported("non_linearity", name, err);
    cJSON_AddStringToObject(settings, "activation", strcmp(name, "swish") == 0 ? "silu" : name);
    return 0;
}

static int bottleneck(cJSON *settings, const cJSON *adapter, const cJSON *config, const char **method, struct err *err)
{
    static const struct {
        const char *base, *placement, *activation;
        double reduction;
        bool is_compacter, is_invertible;
    } bases[] = {
        {"double_seq_bn", "houlsby", "swish", 16, false, false},   {"seq_bn", "pfeiffer", "relu", 16, false, false},
        {"par_bn", "parallel", "relu", 2, false, false},           {"compacter", "houlsby", "gelu", 32, true, false},
        {"compacter++", "pfeiffer", "gelu", 32, true, false},      {"seq_bn_inv", "pfeiffer", "relu", 16, false, true},
        {"double_seq_bn_inv", "houlsby", "swish", 16, false, true}};
    for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
        if (strcmp(bases[i].base, golden_text_of(adapter, "base")) != 0)
            continue;
        const cJSON *factor = json_get(adapter, "reduction_factor");
        if (factor && !cJSON_IsNumber(factor))
            return golden_unsupported("reduction_factor of", "single layers", err);
        double width = golden_number_of(config, "hidden_size",
                                        golden_number_of(config, "n_embd", golden_number_of(config, "d_model", 0)));
        double size = fmax(1, floor(width / golden_number_of(adapter, "reduction_factor", bases[i].reduction)));
        cJSON_AddStringToObject(settings, "adapter_placement", bases[i].placement);
        cJSON_AddNumberToObject(settings, "adapter_size", size);
        golden_copy_as(settings, "adapter_norm_before", adapter, "ln_before");
        golden_copy_as(settings, "adapter_norm_after", adapter, "ln_after");
        golden_copy_as(settings, "adapter_scaling", adapter, "scaling");
        *method = bases[i].is_compacter ? "compacter" : "adapter";
        if (bases[i].is_compacter) {
            golden_copy_as(settings, "phm_dim", adapter, "phm_dim");
            golden_copy_as(settings, "phm_rank", adapter, "phm_rank");
        }
        cJSON_AddBoolToObject(settings, "adapter_invertible", bases[i].is_invertible);
        golden_copy_as(settings, "inverse_reduction", adapter, "inv_adapter_reduction_factor");
        int rc = activation(settings, adapter, bases[i].activation, err);
        return rc < 0 ? rc
                      : golden_check_keys(adapter,
                                          "base reduction_factor non_linearity ln_before ln_after scaling leave_out "
                                          "use_gating phm_dim phm_rank inv_adapter_reduction_factor ",
                                          err);
    }
    return golden_unsupported("adapter", golden_text_of(adapter, "base"), err);
}

static int lora(cJSON *settings, const cJSON *adapter, struct err *err)
{
    golden_copy_as(settings, "rank", adapter, "r");
    golden_copy_as(settings, "alpha", adapter, "alpha");
    cJSON *targets = cJSON_AddArrayToObject(settings, "targets");
    cJSON_AddItemToArray(targets, cJSON_CreateString("query"));
    cJSON_AddItemToArray(targets, cJSON_CreateString("value"));
    return golden_check_keys(adapter, "base r alpha leave_out use_gating ", err);
}

static int prefix(cJSON *settings, const cJSON *adapter, struct err *err)
{
    bool is_flat = strcmp(golden_text_of(adapter, "base"), "prefix_tuning_flat") == 0;
    cJSON_AddNumberToObject(settings, "prompt_length", golden_number_of(adapter, "prefix_length", 30));
    cJSON_AddNumberToObject(settings, "prompt_hidden_size", golden_number_of(adapter, "bottleneck_size", 512));
    cJSON_AddBoolToObject(settings, "prefix_mlp", !is_flat);
    cJSON_AddStringToObject(settings, "prefix_positions", "kept");
    if (json_get(adapter, "non_linearity") && strcmp(golden_text_of(adapter, "non_linearity"), "tanh") != 0)
        return golden_unsupported("prefix non_linearity", golden_text_of(adapter, "non_linearity"), err);
    return golden_check_keys(adapter, "base prefix_length bottleneck_size non_linearity leave_out use_gating ", err);
}

static int prompt(cJSON *settings, const cJSON *adapter, struct err *err)
{
    bool is_behind = strcmp(golden_text_of(adapter, "combine"), "prefix_after_bos") == 0;
    cJSON_AddNumberToObject(settings, "prompt_length", golden_number_of(adapter, "prompt_length", 10));
    cJSON_AddStringToObject(settings, "prompt_position", is_behind ? "behind_first" : "first");
    cJSON_AddStringToObject(settings, "prompt_space", "hidden");
    return golden_check_keys(adapter, "base prompt_length combine ", err);
}

/* One configuration: its method and its settings. */
static int component(cJSON *settings, const cJSON *adapter, const cJSON *config, const char **method, struct err *err)
{
    const char *base = golden_text_of(adapter, "base");
    const cJSON *leave_out = json_get(adapter, "leave_out");
    if (leave_out && leave_out->child && !json_get(settings, "layers"))
        keep_layers(settings, leave_out,
                    (int)golden_number_of(config, "num_hidden_layers", golden_number_of(config, "n_layer", 0)));
    if (cJSON_IsTrue(json_get(adapter, "use_gating")) && !json_get(settings, "gating"))
        cJSON_AddStringToObject(settings, "gating", "adapterhub");
    *method = strcmp(base, "lora") == 0                 ? "lora"
              : strncmp(base, "prefix_tuning", 13) == 0 ? "prefix"
              : strcmp(base, "prompt_tuning") == 0      ? "prompt"
                                                        : "adapter";
    return strcmp(*method, "lora") == 0     ? lora(settings, adapter, err)
           : strcmp(*method, "prefix") == 0 ? prefix(settings, adapter, err)
           : strcmp(*method, "prompt") == 0 ? prompt(settings, adapter, err)
                                            : bottleneck(settings, adapter, config, method, err);
}

/* Settings are shared by the methods of a list: configurations that differ in what they share are not built in. */
static int check_shared(const cJSON *adapters, const char *key, struct err *err)
{
    for (const cJSON *item = adapters->child; item; item = item->next) {
        const cJSON *a = json_get(adapters->child, key), *b = json_get(item, key);
        if ((a != NULL) != (b != NULL) || (a && !json_equal(a, b)))
            return golden_unsupported("a list of configurations with different", key, err);
    }
    return 0;
}

/* Adapters a and b of a composition are saved beside each other. */
static int composition(cJSON *settings, const cJSON *spec, const char *folder, const cJSON *config, struct err *err)
{
    const char *compose = golden_text_of(spec, "compose"), *method;
    bool is_stack = strcmp(compose, "stack") == 0;
    if ((!is_stack && strcmp(compose, "fuse") != 0) || cJSON_IsTrue(json_get(spec, "train_both")))
        return golden_unsupported("composition", compose, err);
    char *init = file_join(folder, "init_adapter"), *a = file_join(init, "a"), *b = file_join(init, "b");
    cJSON *folders = cJSON_AddArrayToObject(settings, is_stack ? "stacked_on" : "fused_adapters");
    cJSON_AddItemToArray(folders, cJSON_CreateString(a));
    if (!is_stack)
        cJSON_AddItemToArray(folders, cJSON_CreateString(b));
    free(init);
    free(a);
    free(b);
    int rc = component(settings, json_get(spec, "adapter"), config, &method, err);
    if (rc == 0 && strcmp(method, "adapter") != 0)
        rc = golden_unsupported("composition of", method, err);
    cJSON_AddStringToObject(settings, "method", is_stack ? "adapter" : "fusion");
    cJSON_AddNumberToObject(settings, "fusion_regularization", 0); /* AdapterHub's trainer adds it, not its model */
    return rc;
}

int golden_adapters(cJSON *settings, const cJSON *spec, const char *folder, const cJSON *config, struct err *err)
{
    const cJSON *adapter = json_get(spec, "adapter");
    const char *method;
    if (json_get(spec, "compose") && strcmp(golden_text_of(spec, "compose"), "single") != 0)
        return composition(settings, spec, folder, config, err);
    if (!cJSON_IsArray(adapter)) {
        int rc = component(settings, adapter, config, &method, err);
        cJSON_AddStringToObject(settings, "method", method);
        return rc;
    }
    cJSON *methods = cJSON_AddArrayToObject(settings, "method");
    int rc = check_shared(adapter, "leave_out", err);
    if (rc == 0)
        rc = check_shared(adapter, "use_gating", err);
    for (const cJSON *item = adapter->child; item && rc == 0; item = item->next) {
        rc = component(settings, item, config, &method, err);
        cJSON_AddItemToArray(methods, cJSON_CreateString(method));
    }
    return rc;
}
