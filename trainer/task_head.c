/* Heads that families share. */
#include "trainer/task_head.h"

#include <stdio.h>
#include <string.h>

#include "common/json.h"

static int over_tokens(struct model *model, const struct model_options *options, struct err *err)
{
    bool is_span = options->task == TASK_SPAN;
    const char *name = is_span ? "qa_outputs" : model->kind->token_head;
    const char *key = is_span ? model->kind->span_dropout : model->kind->token_dropout;
    double fallback = model->kind->encode ? model->dropout : 0.1;
    const int64_t weight[2] = {options->n_classes, model->hidden_size}, bias[1] = {options->n_classes};
    struct task_head *head = model->head;
    char tensor[64];
    model->n_classes = options->n_classes;
    head->dropout_site = rng_site("classifier");
    int rc = key ? model_config_real(model, key, fallback, &head->dropout, err) : 0;
    if (key && options->dropout >= 0)
        head->dropout = options->dropout;
    snprintf(tensor, sizeof(tensor), "%s.weight", name);
    if (rc == 0)
        rc = model_head_tensor(model, &head->weight, options, 2, weight, tensor, err);
    snprintf(tensor, sizeof(tensor), "%s.bias", name);
    return rc < 0 ? rc : model_head_tensor(model, &head->bias, options, 1, bias, tensor, err);
}

static struct param *token_table(const struct model *model)
{
    for (size_t i = 0; i < model->n_sites; i++)
        if (model->sites[i]->kind == SITE_EMBEDDING)
            return model->sites[i]->weight;
    return NULL;
}

/* The decoder's weight is the token embedding unless the config says that it is not. */
static int masked_output(struct model *model, const struct masked_names *names, struct err *err)
{
    bool is_tied = true;
    char output[96];
    const int64_t shape[2] = {model->vocab_size, model->hidden_size}, bias[1] = {model->vocab_size};
    int rc = model_config_bool(model, "tie_word_embeddings", true, &is_tied, err);
    if (rc < 0)
        return rc;
    model->output = model_add_site(model, SITE_BLOCK, "output", model->n_layers, "output");
    struct site *site = model_add_site(model, SITE_LINEAR, "output_embedding", model->n_layers, "%s", names->output);
    if (!model->output || !site)
        return err_set(err, ERR_NOMEM, "no memory for the output embedding");
    site->out = model->vocab_size;
    site->weight = token_table(model);
    model->output_embedding = site;
    if (is_tied)
        return model_tensor(model, &site->bias, model->n_layers, 1, bias, names->bias, err);
    snprintf(output, sizeof(output), "%s.weight", names->output);
    rc = model_tensor(model, &site->weight, model->n_layers, 2, shape, output, err);
    snprintf(output, sizeof(output), "%s.bias", names->output);
    return rc < 0 ? rc : model_tensor(model, &site->bias, model->n_layers, 1, bias, output, err);
}

static int masked(struct model *model, struct err *err)
{
    const struct masked_names *names = model->kind->masked_head;
    struct task_head *head = model->head;
    int d = model->hidden_size;
    int rc = model_linear(model, &head->dense, "transform", model->n_layers, d, d, names->dense, err);
    if (rc == 0)
        rc = model_norm(model, &head->norm_weight, &head->norm_bias, model->n_layers, d, names->norm, err);
    if (rc == 0)
        rc = masked_output(model, names, err);
    if (rc == ERR_NOT_FOUND && err) {
        err_wrap(err, "'%s' carries no head that fills masked tokens in", model->folder);
        return err->code = ERR_UNSUPPORTED;
    }
    if (rc == 0)
        rc = model_config_real(model, "layer_norm_eps", 1e-12, &head->norm_epsilon, err);
    head->activation = ACTIVATION_GELU;
    if (rc == 0 && names->activation)
        rc = model_config_activation(model, names->activation, "gelu", &head->activation, err);
    return rc;
}

int task_head_load(struct model *model, const struct model_options *options, struct err *err)
{
    model->head = arena_calloc(model->params.arena, 1, sizeof(*model->head));
    if (!model->head)
        return err_set(err, ERR_NOMEM, "no memory for the head");
    return options->task == TASK_MASKED ? masked(model, err) : over_tokens(model, options, err);
}

struct value *task_head_tokens(struct pass *pass, struct value *hidden)
{
    const struct task_head *head = pass->model->head;
    struct value *x = op_dropout(pass->tape, hidden, head->dropout, head->dropout_site);
    return op_linear(pass->tape, x, &head->weight->value, &head->bias->value);
}

struct value *task_head_masked(struct pass *pass, struct value *hidden)
{
    const struct task_head *head = pass->model->head;
    struct value *x = op_activation(pass->tape, site_linear(pass, head->dense, hidden), head->activation);
    x = op_layer_norm(pass->tape, x, &head->norm_weight->value, &head->norm_bias->value, head->norm_epsilon);
    return site_replace(pass, pass->model->output, x);
}
