/* RoBERTa and XLM-RoBERTa: BERT's encoder with positions behind the padding id, and a head of two layers on the first
 * token.   Liu et al. 2019, arXiv:1907.11692 */
#include <string.h>

#include "trainer/models/encoder.h"

struct roberta {
    struct encoder encoder;
    struct param *dense_weight, *dense_bias, *out_weight, *out_bias;
};

/* A choice is scored as BERT does: pooler, one linear layer. */
static int load_choice(struct model *model, struct roberta *roberta, const struct model_options *options,
                       struct err *err)
{
    const int64_t out[2] = {options->n_classes, model->hidden_size};
    int rc = model_head_tensor(model, &roberta->out_weight, options, 2, out, "classifier.weight", err);
    return rc < 0 ? rc : model_head_tensor(model, &roberta->out_bias, options, 1, out, "classifier.bias", err);
}

static int load_head(struct model *model, struct roberta *roberta, const struct model_options *options, struct err *err)
{
    int d = model->hidden_size;
    const int64_t dense[2] = {d, d}, out[2] = {options->n_classes, d};
    int rc = model_head_tensor(model, &roberta->dense_weight, options, 2, dense, "classifier.dense.weight", err);
    if (rc == 0)
        rc = model_head_tensor(model, &roberta->dense_bias, options, 1, dense, "classifier.dense.bias", err);
    if (rc == 0)
        rc = model_head_tensor(model, &roberta->out_weight, options, 2, out, "classifier.out_proj.weight", err);
    return rc < 0 ? rc : model_head_tensor(model, &roberta->out_bias, options, 1, out, "classifier.out_proj.bias", err);
}

static int roberta_load(struct model *model, const struct model_options *options, struct err *err)
{
    struct roberta *roberta = arena_calloc(model->params.arena, 1, sizeof(*roberta));
    bool has_pooler = options->task == TASK_CHOICE && strcmp(options->pooling, "pooler") == 0;
    int pad_id;
    if (!roberta)
        return err_set(err, ERR_NOMEM, "no memory for the model");
    model->state = roberta;
    int rc = model_config_int(model, "pad_token_id", 1, &pad_id, err);
    if (rc == 0)
        rc = encoder_load(model, &roberta->encoder, "roberta", pad_id + 1, has_pooler, options, err);
    if (rc == ERR_NOT_FOUND && err && strstr(err->message, "pooler"))
        return err_set(err, ERR_UNSUPPORTED, "the weights have no pooler; set pooling to \"mean\" or \"first\"");
    model->n_classes = options->n_classes;
    if (rc == 0 && options->task == TASK_CHOICE)
        return load_choice(model, roberta, options, err);
    return rc == 0 && options->task == TASK_CLASSIFICATION ? load_head(model, roberta, options, err) : rc;
}

static struct value *roberta_encode(struct pass *pass)
{
    return encoder_forward(pass, &((const struct roberta *)pass->model->state)->encoder);
}

static struct value *roberta_classify(struct pass *pass)
{
    const struct roberta *roberta = pass->model->state;
    struct tape *tape = pass->tape;
    double rate = pass->model->classifier_dropout;
    uint32_t site = roberta->encoder.classifier_dropout_site;
    struct value *x = encoder_forward(pass, &roberta->encoder);
    x = strcmp(pass->model->pooling, "mean") == 0 ? op_mean_rows(tape, x) : op_first_rows(tape, x);
    if (roberta->encoder.pooler)
        x = op_activation(tape, site_linear(pass, roberta->encoder.pooler, x), ACTIVATION_TANH);
    x = op_dropout(tape, x, rate, site);
    if (!roberta->dense_weight)
        return op_linear(tape, x, &roberta->out_weight->value, &roberta->out_bias->value);
    x = op_linear(tape, x, &roberta->dense_weight->value, &roberta->dense_bias->value);
    x = op_dropout(tape, op_activation(tape, x, ACTIVATION_TANH), rate, site + 1);
    return op_linear(tape, x, &roberta->out_weight->value, &roberta->out_bias->value);
}

static const struct masked_names masked = {
    .dense = "lm_head.dense",
    .norm = "lm_head.layer_norm",
    .bias = "lm_head.bias",
    .output = "lm_head.decoder",
};

const struct model_kind model_roberta = {
    .name = "roberta",
    .model_types = (const char *const[]){"roberta", "xlm-roberta", NULL},
    .lora_targets = (const char *const[]){"query", "value", NULL},
    .prefix = "roberta.",
    .runs_layers = true,
    .token_head = "classifier",
    .token_dropout = "classifier_dropout",
    .masked_head = &masked,
    .chooses = true,
    .load = roberta_load,
    .classify = roberta_classify,
    .encode = roberta_encode,
};
