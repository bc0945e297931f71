/* DistilBERT: BERT's encoder with fewer layers and without types and pooler, and a head of two layers on the first
 * token. Sanh et al. 2019, arXiv:1910.01108 */
#include <string.h>

#include "trainer/models/encoder.h"

struct distilbert {
    struct encoder encoder;
    struct param *dense_weight, *dense_bias, *out_weight, *out_bias;
};

static const struct encoder_names names = {
    .hidden_size = "dim",
    .n_layers = "n_layers",
    .n_heads = "n_heads",
    .intermediate_size = "hidden_dim",
    .activation = "activation",
    .dropout = "dropout",
    .attention_dropout = "attention_dropout",
    .classifier_dropout = "seq_classif_dropout",
    .layers = "transformer.layer",
    .query = "attention.q_lin",
    .key = "attention.k_lin",
    .value = "attention.v_lin",
    .attention = "attention",
    .attention_output = "attention.out_lin",
    .attention_norm = "sa_layer_norm",
    .attention_sublayer = "attention_adapters",
    .intermediate = "ffn.lin1",
    .output = "ffn.lin2",
    .output_norm = "output_layer_norm",
    .output_sublayer = "output_adapters",
};

/* Both layers are the head: it is new, or the model's own, as a whole. */
static int load_head(struct model *model, struct distilbert *distilbert, const struct model_options *options,
                     struct err *err)
{
    int d = model->hidden_size;
    const int64_t dense[2] = {d, d}, out[2] = {options->n_classes, d};
    int rc = model_head_tensor(model, &distilbert->dense_weight, options, 2, dense, "pre_classifier.weight", err);
    if (rc == 0)
        rc = model_head_tensor(model, &distilbert->dense_bias, options, 1, dense, "pre_classifier.bias", err);
    if (rc == 0)
        rc = model_head_tensor(model, &distilbert->out_weight, options, 2, out, "classifier.weight", err);
    return rc < 0 ? rc : model_head_tensor(model, &distilbert->out_bias, options, 1, out, "classifier.bias", err);
}

static int distilbert_load(struct model *model, const struct model_options *options, struct err *err)
{
    struct distilbert *distilbert = arena_calloc(model->params.arena, 1, sizeof(*distilbert));
    if (!distilbert)
        return err_set(err, ERR_NOMEM, "no memory for the model");
    model->state = distilbert;
    distilbert->encoder.names = &names;
    int rc = encoder_load(model, &distilbert->encoder, "distilbert", 0, false, options, err);
    model->n_classes = options->n_classes;
    bool has_sequence_head = options->task == TASK_CLASSIFICATION || options->task == TASK_CHOICE;
    return rc == 0 && has_sequence_head ? load_head(model, distilbert, options, err) : rc;
}

static struct value *distilbert_encode(struct pass *pass)
{
    return encoder_forward(pass, &((const struct distilbert *)pass->model->state)->encoder);
}

static struct value *distilbert_classify(struct pass *pass)
{
    const struct distilbert *distilbert = pass->model->state;
    struct tape *tape = pass->tape;
    struct value *x = encoder_forward(pass, &distilbert->encoder);
    x = strcmp(pass->model->pooling, "mean") == 0 ? op_mean_rows(tape, x) : op_first_rows(tape, x);
    x = op_linear(tape, x, &distilbert->dense_weight->value, &distilbert->dense_bias->value);
    x = op_activation(tape, x, ACTIVATION_RELU);
    x = op_dropout(tape, x, pass->model->classifier_dropout, distilbert->encoder.classifier_dropout_site);
    return op_linear(tape, x, &distilbert->out_weight->value, &distilbert->out_bias->value);
}

static const struct masked_names masked = {
    .dense = "vocab_transform",
    .norm = "vocab_layer_norm",
    .bias = "vocab_projector.bias",
    .output = "vocab_projector",
    .activation = "activation",
};

const struct model_kind model_distilbert = {
    .name = "distilbert",
    .model_types = (const char *const[]){"distilbert", NULL},
    .lora_targets = (const char *const[]){"q_lin", "v_lin", NULL},
    .prefix = "distilbert.",
    .runs_layers = true,
    .token_head = "classifier",
    .token_dropout = "dropout",
    .span_dropout = "qa_dropout",
    .masked_head = &masked,
    .chooses = true,
    .load = distilbert_load,
    .classify = distilbert_classify,
    .encode = distilbert_encode,
};
