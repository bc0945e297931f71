/* P-tuning: prompt tuning whose rows a small network makes, an MLP or a bidirectional LSTM with a linear head.
 * Liu et al. 2021, arXiv:2103.10385, 3.2 */
#include <string.h>

#include "common/json.h"
#include "trainer/methods/prompt.h"

static int p_tuning_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    bool is_lstm = strcmp(setting_text(settings, "prompt_encoder", "mlp"), "lstm") == 0;
    const struct prompt_shape shape = {
        .network = is_lstm ? PROMPT_LSTM : PROMPT_MLP,
        .rows = prompt_length(settings) * prompt_copies(model),
        .embedding = model->hidden_size,
        .hidden = (int)setting_number(settings, "prompt_hidden_size", model->hidden_size),
        .width = model->hidden_size,
        .lstm_layers = (int)setting_number(settings, "prompt_lstm_layers", 2),
    };
    struct prompt *prompt;
    int rc = prompt_new(model, settings, &method_p_tuning, &prompt, err);
    if (rc == 0)
        rc = prompt_encoder_add(model, &prompt->encoder, "p_tuning", shape, "prompt_encoder.embedding.weight",
                                "prompt_encoder.mlp_head", seed, err);
    return rc < 0 ? rc : prompt_insert(model, prompt, err);
}

static int p_tuning_save(const struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    const struct prompt *prompt = method_kept(model, &method_p_tuning);
    const struct prompt_shape *shape = &prompt->encoder.shape;
    struct text config = {0};
    text_printf(&config,
                "\"peft_type\":\"P_TUNING\",\"num_virtual_tokens\":%d,\"token_dim\":%d,\"encoder_hidden_size\":%d,"
                "\"encoder_reparameterization_type\":\"%s\",\"encoder_num_layers\":%d,\"encoder_dropout\":0.0,"
                "\"num_layers\":%d,\"num_transformer_submodules\":%d",
                prompt_length(settings), shape->width, shape->hidden, shape->network == PROMPT_LSTM ? "LSTM" : "MLP",
                shape->lstm_layers, model->n_layers, prompt_copies(model));
    return prompt_encoder_save(model, &prompt->encoder, "p_tuning", &config, folder, err);
}

static int p_tuning_load(struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    (void)settings;
    struct prompt *prompt = method_kept(model, &method_p_tuning);
    return prompt_encoder_load(model, &prompt->encoder, folder, err);
}

const struct method_kind method_p_tuning = {
    .name = "p_tuning",
    .paper = "arXiv:2103.10385",
    .attach = p_tuning_attach,
    .save = p_tuning_save,
    .load = p_tuning_load,
};
