/* BERT, MiniLM and others with its architecture: encoder, pooler, one linear layer as head.
 * Devlin et al. 2018, arXiv:1810.04805 */
#include <string.h>

#include "trainer/models/encoder.h"

struct bert {
    struct encoder encoder;
    struct param *head_weight, *head_bias;
};

static int bert_load(struct model *model, const struct model_options *options, struct err *err)
{
    struct bert *bert = arena_calloc(model->params.arena, 1, sizeof(*bert));
    if (!bert)
        return err_set(err, ERR_NOMEM, "no memory for the model");
    model->state = bert;
    bool has_sequence_head = options->task == TASK_CLASSIFICATION || options->task == TASK_CHOICE;
    bool has_pooler = has_sequence_head && strcmp(options->pooling, "pooler") == 0;
    int rc = encoder_load(model, &bert->encoder, "bert", 0, has_pooler, options, err);
    if (rc == ERR_NOT_FOUND && err && strstr(err->message, "pooler"))
        return err_set(err, ERR_UNSUPPORTED, "the weights have no pooler; set pooling to \"mean\" or \"first\"");
    if (rc < 0 || !has_sequence_head)
        return rc;
    model->n_classes = options->n_classes;
    const int64_t shape[2] = {options->n_classes, model->hidden_size};
    rc = model_head_tensor(model, &bert->head_weight, options, 2, shape, "classifier.weight", err);
    return rc < 0 ? rc : model_head_tensor(model, &bert->head_bias, options, 1, shape, "classifier.bias", err);
}

static struct value *bert_encode(struct pass *pass)
{
    return encoder_forward(pass, &((const struct bert *)pass->model->state)->encoder);
}

static struct value *bert_classify(struct pass *pass)
{
    const struct bert *bert = pass->model->state;
    struct tape *tape = pass->tape;
    struct value *x = encoder_forward(pass, &bert->encoder);
    if (strcmp(pass->model->pooling, "mean") == 0)
        x = op_mean_rows(tape, x);
    else
        x = op_first_rows(tape, x);
    if (bert->encoder.pooler)
        x = op_activation(tape, site_linear(pass, bert->encoder.pooler, x), ACTIVATION_TANH);
    x = op_dropout(tape, x, pass->model->classifier_dropout, bert->encoder.classifier_dropout_site);
    return op_linear(tape, x, &bert->head_weight->value, &bert->head_bias->value);
}

static const struct masked_names masked = {
    .dense = "cls.predictions.transform.dense",
    .norm = "cls.predictions.transform.LayerNorm",
    .bias = "cls.predictions.bias",
    .output = "cls.predictions.decoder",
    .activation = "hidden_act",
};

const struct model_kind model_bert = {
    .name = "bert",
    .model_types = (const char *const[]){"bert", NULL},
    .lora_targets = (const char *const[]){"query", "value", NULL},
    .prefix = "bert.",
    .runs_layers = true,
    .token_head = "classifier",
    .token_dropout = "classifier_dropout",
    .masked_head = &masked,
    .chooses = true,
    .load = bert_load,
    .classify = bert_classify,
    .encode = bert_encode,
};
