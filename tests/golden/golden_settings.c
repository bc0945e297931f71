/* From a case's configuration to our settings. */
#include <math.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "common/text.h"
#include "tests/golden/golden.h"

const char *golden_text_of(const cJSON *object, const char *key)
{
    const cJSON *item = json_get(object, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

double golden_number_of(const cJSON *object, const char *key, double fallback)
{
    const cJSON *item = json_get(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : fallback;
}

void golden_copy_as(cJSON *to, const char *name, const cJSON *from, const char *key)
{
    const cJSON *item = json_get(from, key);
    if (item && !cJSON_IsNull(item))
        cJSON_AddItemToObject(to, name, cJSON_Duplicate(item, true));
}

int golden_unsupported(const char *what, const char *name, struct err *err)
{
    return err_set(err, ERR_UNSUPPORTED, "%s '%s' is not built in", what, name);
}

static bool is_word(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *w = words; *w; w += strcspn(w, " "), w += strspn(w, " "))
        if (strcspn(w, " ") == n && strncmp(w, word, n) == 0)
            return true;
    return false;
}

/* Every key of a configuration must be one we understand (or null): a case with more is another method. */
int golden_check_keys(const cJSON *config, const char *known, struct err *err)
{
    for (const cJSON *item = config->child; item; item = item->next)
        if (!cJSON_IsNull(item) && !is_word(known, item->string))
            return golden_unsupported("option", item->string, err);
    return 0;
}

static void optimiser(cJSON *settings, const cJSON *optim)
{
    const cJSON *betas = json_get(optim, "betas");
    golden_copy_as(settings, "optimizer", optim, "optimizer");
    golden_copy_as(settings, "learning_rate", optim, "lr");
    golden_copy_as(settings, "weight_decay", optim, "weight_decay");
    golden_copy_as(settings, "epsilon", optim, "eps");
    golden_copy_as(settings, "momentum", optim, "momentum");
    golden_copy_as(settings, "clip", optim, "clip");
    golden_copy_as(settings, "schedule", optim, "schedule");
    golden_copy_as(settings, "warmup", optim, "warmup_steps");
    cJSON_AddNumberToObject(settings, "beta1", betas->child->valuedouble);
    cJSON_AddNumberToObject(settings, "beta2", betas->child->next->valuedouble);
}

/* The modules whose biases the case trains. */
static void bias_terms(cJSON *settings, const cJSON *spec)
{
    cJSON *terms = cJSON_AddArrayToObject(settings, "bias_terms");
    for (const cJSON *item = json_get(spec, "trainable")->child; item; item = item->next) {
        char *module = item->valuestring;
        size_t n = strlen(module);
        if (strncmp(module, "classifier", 10) == 0 || n < 5)
            continue;
        char *copy = strndup(module, n - strlen(".bias"));
        cJSON_AddItemToArray(terms, cJSON_CreateString(copy));
        cJSON_free(copy);
    }
}

static int base_method(cJSON *settings, const cJSON *spec, const cJSON *config, struct err *err)
{
    const char *method = golden_text_of(spec, "method");
    if (strcmp(method, "partial_topk") == 0) {
        cJSON_AddStringToObject(settings, "method", "partial");
        /* The reference's partial tuning of an encoder-decoder model never reaches into the encoder. */
        double k = golden_number_of(json_get(spec, "hp"), "k", 0);
        cJSON_AddNumberToObject(settings, "top_layers", fmin(k, golden_number_of(config, "decoder_layers", k)));
        if (cJSON_IsFalse(json_get(json_get(spec, "hp"), "final")))
            return golden_unsupported("partial_topk", "final: false", err);
    } else if (strcmp(method, "bitfit_subset") == 0) {
        cJSON_AddStringToObject(settings, "method", "bitfit");
        bias_terms(settings, spec);
    } else if (strcmp(method, "full") == 0 || strcmp(method, "linear_probe") == 0 || strcmp(method, "bitfit") == 0) {
        cJSON_AddStringToObject(settings, "method", method);
    } else {
        return golden_unsupported("method", method, err);
    }
    return 0;
}

/* PEFT's kinds: the names their keys have here, the tensor that tells which modules they went to, and further keys that
 * say nothing else. */
static const struct peft_kind {
    const char *type, *method, *tensor;
    const char *names[8][2];
    const char *others;
} peft_kinds[] = {
    {"LORA",
     "lora",
     ".lora_A.weight",
     {{"r", "rank"},
      {"lora_alpha", "alpha"},
      {"lora_dropout", "method_dropout"},
      {"use_rslora", "rank_stabilized"},
      {"bias", "lora_bias"}},
     "target_modules exclude_modules layers_to_transform layers_pattern rank_pattern alpha_pattern use_dora "
     "init_lora_weights fan_in_fan_out "},
    {"ADALORA",
     "adalora",
     ".lora_A",
     {{"init_r", "rank"},
      {"target_r", "target_rank"},
      {"lora_alpha", "alpha"},
      {"lora_dropout", "method_dropout"},
      {"orth_reg_weight", "orthogonality_weight"}},
     "target_modules exclude_modules layers_to_transform layers_pattern total_step tinit tfinal deltaT beta1 beta2 "
     "fan_in_fan_out "},
    {"VERA",
     "vera",
     ".vera_lambda_d",
     {{"r", "rank"}, {"vera_dropout", "method_dropout"}},
     "target_modules layers_to_transform layers_pattern d_initial projection_prng_key save_projection fan_in_fan_out "},
    {"IA3",
     "ia3",
     ".ia3_l",
     {{"feedforward_modules", "feed_forward_targets"}},
     "target_modules exclude_modules fan_in_fan_out "},
    {"PROMPT_TUNING", "prompt", NULL, {{"num_virtual_tokens", "prompt_length"}}, "prompt_tuning_init "},
    {"PREFIX_TUNING",
     "prefix",
     NULL,
     {{"num_virtual_tokens", "prompt_length"},
      {"prefix_projection", "prefix_mlp"},
      {"encoder_hidden_size", "prompt_hidden_size"}},
     "num_layers "},
    {"P_TUNING",
     "p_tuning",
     NULL,
     {{"num_virtual_tokens", "prompt_length"}, {"encoder_hidden_size", "prompt_hidden_size"}},
     "encoder_reparameterization_type encoder_num_layers encoder_dropout "},
};

/* The modules that a case's method went to, in full, with the rank and alpha that PEFT's patterns give each: what PEFT
 * makes of its targets (lists, regular expressions, "all-linear", layers) is not ours to repeat. */
static int peft_modules(cJSON *settings, const cJSON *spec, const char *tensor, struct err *err)
{
    static const char *const names[][2] = {{"rank_pattern", "rank"}, {"alpha_pattern", "alpha"}};
    const cJSON *peft = json_get(spec, "peft"), *found;
    cJSON *targets = tensor ? cJSON_AddArrayToObject(settings, "targets") : NULL;
    for (size_t p = 0; p < 2; p++)
        cJSON_AddObjectToObject(settings, names[p][0]);
    for (const cJSON *item = json_get(spec, "trainable")->child; tensor && item; item = item->next) {
        static const char embedding[] = ".lora_embedding_A";
        size_t n = strlen(item->valuestring), m = strlen(tensor);
        if (text_ends_with(item->valuestring, embedding))
            m = strlen(embedding);
        else if (n < m || strcmp(item->valuestring + n - m, tensor) != 0)
            continue;
        char *module = strndup(item->valuestring, n - m);
        cJSON_AddItemToArray(targets, cJSON_CreateString(module));
        int rc = 0;
        for (size_t p = 0; p < 2 && rc == 0; p++) {
            rc = golden_match(json_get(peft, names[p][0]), module, &found, err);
            if (rc == 0 && found)
                cJSON_AddNumberToObject(cJSON_GetObjectItem(settings, names[p][0]), module, found->valuedouble);
        }
        cJSON_free(module);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* AdaLoRA's schedule in shares of the steps; a case that does not give it runs fewer steps than ranks are kept. */
static void allocation(cJSON *settings, const cJSON *peft)
{
    double total = golden_number_of(peft, "total_step", 1);
    bool is_given = json_get(peft, "tinit") != NULL;
    cJSON_AddNumberToObject(settings, "allocation_warmup", is_given ? golden_number_of(peft, "tinit", 0) / total : 1);
    cJSON_AddNumberToObject(settings, "allocation_final", golden_number_of(peft, "tfinal", 0) / total);
    cJSON_AddNumberToObject(settings, "allocation_every", golden_number_of(peft, "deltaT", 1));
    golden_copy_as(settings, "allocation_beta1", peft, "beta1");
    golden_copy_as(settings, "allocation_beta2", peft, "beta2");
}

/* Values that make it another method than the one the kind says. */
static int peft_variants(cJSON *settings, const cJSON *peft, const char **method, struct err *err)
{
    const cJSON *start = json_get(peft, "init_lora_weights");
    if (cJSON_IsTrue(json_get(peft, "use_dora")))
        *method = "dora";
    if (cJSON_IsString(start) && strcmp(start->valuestring, "pissa") == 0)
        *method = "pissa";
    else if (cJSON_IsString(start) && strcmp(start->valuestring, "gaussian") == 0)
        cJSON_AddStringToObject(settings, "lora_init", "gaussian");
    else if (cJSON_IsString(start))
        return golden_unsupported("init_lora_weights", start->valuestring, err);
    const char *network = golden_text_of(peft, "encoder_reparameterization_type");
    if (strcmp(*method, "p_tuning") == 0) { /* PEFT's default is the MLP, whose layers it does not count */
        cJSON_AddStringToObject(settings, "prompt_encoder", strcmp(network, "LSTM") == 0 ? "lstm" : "mlp");
        golden_copy_as(settings, "prompt_lstm_layers", peft, "encoder_num_layers");
        if (golden_number_of(peft, "encoder_dropout", 0) > 0)
            return golden_unsupported("encoder_dropout", "above 0", err);
    }
    if (strcmp(*method, "adalora") == 0)
        allocation(settings, peft);
    return 0;
}

static int check_peft_keys(const struct peft_kind *kind, const cJSON *peft, struct err *err)
{
    struct text known = {0};
    text_printf(&known, "task_type peft_type modules_to_save %s", kind->others);
    for (size_t i = 0; i < 8 && kind->names[i][0]; i++)
        text_printf(&known, "%s ", kind->names[i][0]);
    int rc = known.failed ? err_set(err, ERR_NOMEM, "no memory") : golden_check_keys(peft, known.data, err);
    text_done(&known);
    return rc;
}

static int layer_norms(cJSON *settings, const cJSON *peft, struct err *err)
{
    const cJSON *targets = json_get(peft, "target_modules");
    if (!cJSON_IsArray(targets) || !targets->child || strcmp(targets->child->valuestring, "LayerNorm") != 0)
        return golden_unsupported("LN_TUNING of", "some layer norms", err);
    cJSON_AddStringToObject(settings, "method", "layer_norm");
    return golden_check_keys(peft, "task_type peft_type target_modules ", err);
}

static int peft_method(cJSON *settings, const cJSON *spec, struct err *err)
{
    const cJSON *peft = json_get(spec, "peft");
    const char *type = golden_text_of(peft, "peft_type");
    if (strcmp(type, "LN_TUNING") == 0)
        return layer_norms(settings, peft, err);
    for (size_t k = 0; k < sizeof(peft_kinds) / sizeof(peft_kinds[0]); k++) {
        const struct peft_kind *kind = &peft_kinds[k];
        const char *method = kind->method;
        if (strcmp(kind->type, type) != 0)
            continue;
        for (size_t i = 0; i < 8 && kind->names[i][0]; i++)
            golden_copy_as(settings, kind->names[i][1], peft, kind->names[i][0]);
        int rc = check_peft_keys(kind, peft, err);
        if (rc == 0)
            rc = peft_modules(settings, spec, kind->tensor, err);
        if (rc == 0)
            rc = peft_variants(settings, peft, &method, err);
        cJSON_AddStringToObject(settings, "method", method);
        return rc;
    }
    return golden_unsupported("method", type, err);
}

/* The reference's hand-written hypernetwork and mixture of experts. */
static int hyper_method(cJSON *settings, const cJSON *hp, struct err *err)
{
    cJSON_AddStringToObject(settings, "method", "hyper_lora");
    golden_copy_as(settings, "rank", hp, "r");
    golden_copy_as(settings, "alpha", hp, "alpha");
    golden_copy_as(settings, "hyper_embedding_size", hp, "te");
    golden_copy_as(settings, "hyper_tasks", hp, "tasks");
    golden_copy_as(settings, "hyper_task", hp, "task");
    golden_copy_as(settings, "hyper_hidden_size", hp, "hid");
    return golden_check_keys(hp, "r alpha te tasks task hid ", err);
}

static int smoe_method(cJSON *settings, const cJSON *hp, struct err *err)
{
    cJSON_AddStringToObject(settings, "method", "smoe");
    golden_copy_as(settings, "expert_size", hp, "bottleneck");
    const int strata[2] = {(int)golden_number_of(hp, "E1", 0), (int)golden_number_of(hp, "E2", 0)};
    cJSON_AddItemToObject(settings, "strata", cJSON_CreateIntArray(strata, 2));
    cJSON_AddNumberToObject(settings, "balance_weight", golden_number_of(hp, "aux_weight", 0));
    return golden_check_keys(hp, "bottleneck E1 E2 aux_weight ", err);
}

/* The reference's hand-written modules: bottlenecks on the sublayers' own outputs. */
static int hand_method(cJSON *settings, const cJSON *spec, struct err *err)
{
    const char *method = golden_text_of(spec, "method");
    const cJSON *hp = json_get(spec, "hp");
    bool is_houlsby = strcmp(method, "houlsby") == 0;
    if (strcmp(method, "hyper_lora") == 0)
        return hyper_method(settings, hp, err);
    if (strcmp(method, "smoe_adapter") == 0)
        return smoe_method(settings, hp, err);
    if (!is_houlsby && strcmp(method, "pfeiffer") != 0)
        return golden_unsupported("method", method, err);
    cJSON_AddStringToObject(settings, "method", "adapter");
    cJSON_AddStringToObject(settings, "adapter_placement", is_houlsby ? "houlsby" : "sequential");
    golden_copy_as(settings, "adapter_size", hp, "bottleneck");
    golden_copy_as(settings, "activation", hp, "act");
    golden_copy_as(settings, "adapter_scaling", hp, "scale");
    return golden_check_keys(hp, "bottleneck act scale ", err);
}

int golden_settings(const cJSON *spec, const char *folder, cJSON **settings, struct err *err)
{
    const char *engine = golden_text_of(spec, "engine");
    cJSON *config = NULL, *out = cJSON_CreateObject();
    char *model_folder = file_join(folder, golden_text_of(spec, "model_dir"));
    char *path = file_join(model_folder, "config.json");
    int rc = json_read_file(path, &config, err);
    if (rc == 0 && strcmp(engine, "hf") == 0)
        rc = base_method(out, spec, config, err);
    else if (rc == 0 && strcmp(engine, "peft") == 0)
        rc = peft_method(out, spec, err);
    else if (rc == 0 && strcmp(engine, "adapters") == 0)
        rc = golden_adapters(out, spec, folder, config, err);
    else if (rc == 0 && strcmp(engine, "hand") == 0)
        rc = hand_method(out, spec, err);
    else if (rc == 0)
        rc = golden_unsupported("method", golden_text_of(spec, "method"), err);
    if (rc == 0)
        optimiser(out, json_get(spec, "optim"));
    json_free(config);
    cJSON_free(path);
    cJSON_free(model_folder);
    if (rc < 0)
        cJSON_Delete(out);
    else
        *settings = out;
    return rc;
}
