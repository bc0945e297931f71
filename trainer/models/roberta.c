/* RoBERTa and XLM-RoBERTa: BERT's encoder with positions behind the padding id, and a head of two layers on the first
 * token.   Liu et al. 2019, arXiv:1907.11692 */
#include <string.h>

#include "trainer/models/encoder.h"

struct roberta {
    struct encoder encoder;
    struct param *dense_weight, *dense_bias, *out_weight, *out_bias;
};

static int roberta_load(struct model *model, const struct model_options *options, struct err *err)
{
    struct roberta *roberta = arena_calloc(model->params.arena, 1, sizeof(*roberta));
    int pad_id;
    if (!roberta)
        return err_set(err, ERR_NOMEM, "no memory for the model");
    model->state = roberta;
    int rc = model_config_int(model, "pad_token_id", 1, &pad_id, err);
    if (rc == 0)
        rc = encoder_load(model, &roberta->encoder, "roberta", pad_id + 1, false, options, err);
    if (rc < 0)
        return rc;
    model->n_classes = options->n_classes;
    int d = model->hidden_size;
    const int64_t dense[2] = {d, d}, out[2] = {options->n_classes, d};
    rc = model_head_tensor(model, &roberta->dense_weight, options, 2, dense, "classifier.dense.weight", err);
    if (rc == 0)
        rc = model_head_tensor(model, &roberta->dense_bias, options, 1, dense, "classifier.dense.bias", err);
    if (rc == 0)
        rc = model_head_tensor(model, &roberta->out_weight, options, 2, out, "classifier.out_proj.weight", err);
    if (rc == 0)
        rc = model_head_tensor(model, &roberta->out_bias, options, 1, out, "classifier.out_proj.bias", err);
    return rc;
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
    x = op_dropout(tape, x, rate, site);
    x = op_linear(tape, x, &roberta->dense_weight->value, &roberta->dense_bias->value);
    x = op_dropout(tape, op_activation(tape, x, ACTIVATION_TANH), rate, site + 1);
    return op_linear(tape, x, &roberta->out_weight->value, &roberta->out_bias->value);
}

const struct model_kind model_roberta = {
    .name = "roberta",
    .model_types = (const char *const[]){"roberta", "xlm-roberta", NULL},
    .lora_targets = (const char *const[]){"query", "value", NULL},
    .prefix = "roberta.",
    .runs_layers = true,
    .load = roberta_load,
    .classify = roberta_classify,
    .encode = roberta_encode,
};
