/* Text classifiers without attention. */
#include "trainer/models/layer_stack.h"

#include <stdio.h>
#include <string.h>

#include "trainer/frozen_prefix.h"

static int read_config(struct model *model, struct layer_stack *stack, const struct model_options *options, int *inner,
                       struct err *err)
{
    int rc = model_config_int(model, "vocab_size", -1, &model->vocab_size, err);
    if (rc == 0)
        rc = model_config_int(model, "hidden_size", -1, &model->hidden_size, err);
    if (rc == 0)
        rc = model_config_int(model, "num_hidden_layers", -1, &model->n_layers, err);
    if (rc == 0)
        rc = model_config_int(model, "inner_size", -1, inner, err);
    if (rc == 0)
        rc = model_config_int(model, "max_position_embeddings", 512, &model->max_positions, err);
    if (rc == 0)
        rc = model_config_real(model, "dropout", 0.1, &model->dropout, err);
    if (rc == 0)
        rc = model_config_real(model, "layer_norm_eps", 1e-5, &stack->norm_epsilon, err);
    if (rc == 0)
        rc = model_config_real(model, "initializer_range", 0.02, &model->initializer_range, err);
    if (rc < 0)
        return rc;
    if (model->vocab_size == 0 || model->hidden_size == 0 || model->n_layers == 0 || *inner == 0 ||
        model->max_positions == 0)
        return err_set(err, ERR_FORMAT,
                       "config.json: vocab_size, hidden_size, num_hidden_layers, inner_size and "
                       "max_position_embeddings must be above 0");
    model->dropout = options->dropout >= 0 ? options->dropout : model->dropout;
    model->classifier_dropout = model->dropout;
    return 0;
}

static int load_layer(struct model *model, struct layer_stack *stack, int index, int inner, struct err *err)
{
    struct stack_layer *layer = &stack->layers[index];
    char name[64], part[80];
    int width = 0, d = model->hidden_size;
    snprintf(name, sizeof(name), "layers.%d", index);
    int rc = stack->load_layer(model, index, inner, name, &layer->own, &width, err);
    snprintf(part, sizeof(part), "%s.output", name);
    if (rc == 0)
        rc = model_linear(model, &layer->output, "output", index, width, d, part, err);
    layer->dropout_site = rng_site(part);
    snprintf(part, sizeof(part), "%s.output_adapters", name);
    layer->sublayer = model_add_site(model, SITE_SUBLAYER, "feed_forward", index, "%s", part);
    layer->block = model_add_site(model, SITE_BLOCK, "layer", index, "%s", name);
    if (rc == 0 && (!layer->sublayer || !layer->block))
        rc = err_set(err, ERR_NOMEM, "no memory for '%s'", name);
    if (rc < 0)
        return rc;
    snprintf(part, sizeof(part), "%s.norm", name);
    layer->sublayer->norm_epsilon = stack->norm_epsilon;
    return model_norm(model, &layer->sublayer->norm_weight, &layer->sublayer->norm_bias, index, d, part, err);
}

static int load_head(struct model *model, struct layer_stack *stack, const struct model_options *options,
                     struct err *err)
{
    const int64_t weight[2] = {options->n_classes, model->hidden_size}, bias[1] = {options->n_classes};
    model->n_classes = options->n_classes;
    stack->head_dropout_site = rng_site("classifier");
    int rc = model_head_tensor(model, &stack->head_weight, options, 2, weight, "classifier.weight", err);
    return rc < 0 ? rc : model_head_tensor(model, &stack->head_bias, options, 1, bias, "classifier.bias", err);
}

int layer_stack_load(struct model *model, const struct layer_stack *family, const struct model_options *options,
                     struct err *err)
{
    struct layer_stack *stack = arena_calloc(model->params.arena, 1, sizeof(*stack));
    int inner = 0;
    if (!stack)
        return err_set(err, ERR_NOMEM, "no memory for the model");
    *stack = *family;
    model->state = stack;
    int rc = read_config(model, stack, options, &inner, err);
    const int64_t tokens[2] = {model->vocab_size, model->hidden_size};
    if (rc == 0)
        rc = model_tensor(model, &stack->tokens, -1, 2, tokens, "embedding.weight", err);
    if (rc < 0)
        return rc;
    stack->embedding = model_add_site(model, SITE_EMBEDDING, "embedding", -1, "embedding");
    stack->embeddings = model_add_site(model, SITE_BLOCK, "embeddings", -1, "embeddings");
    stack->layers = arena_calloc(model->params.arena, (size_t)model->n_layers, sizeof(*stack->layers));
    if (!stack->embedding || !stack->embeddings || !stack->layers)
        return err_set(err, ERR_NOMEM, "no memory for %d layers", model->n_layers);
    stack->embedding->weight = stack->tokens;
    stack->embedding_dropout_site = rng_site("embedding");
    for (int i = 0; i < model->n_layers && rc == 0; i++)
        rc = load_layer(model, stack, i, inner, err);
    return rc == 0 && options->task == TASK_CLASSIFICATION ? load_head(model, stack, options, err) : rc;
}

static struct value *layer_forward(struct pass *pass, int index, struct value *x, const void *context)
{
    const struct layer_stack *stack = context;
    const struct stack_layer *layer = &stack->layers[index];
    struct value *h = site_linear(pass, layer->output, stack->forward(pass, layer->own, x));
    h = op_dropout(pass->tape, h, pass->model->dropout, layer->dropout_site);
    return site_replace(pass, layer->block, site_sublayer(pass, layer->sublayer, h, x));
}

struct value *layer_stack_encode(struct pass *pass)
{
    const struct layer_stack *stack = pass->model->state;
    int first = pass_first_layer(pass);
    struct value *x;
    if (first > 0) {
        x = frozen_prefix_value(pass);
    } else {
        x = site_embedding(pass, stack->embedding, pass->batch->ids, &pass->batch->layout);
        x = op_dropout(pass->tape, x, pass->model->dropout, stack->embedding_dropout_site);
        x = site_replace(pass, stack->embeddings, x);
    }
    for (int i = first; i < pass_end_layer(pass); i++)
        x = pass_layer(pass, layer_forward, i, x, stack);
    return x;
}

struct value *layer_stack_classify(struct pass *pass)
{
    const struct layer_stack *stack = pass->model->state;
    struct value *x = layer_stack_encode(pass);
    x = strcmp(pass->model->pooling, "first") == 0 ? op_first_rows(pass->tape, x) : op_mean_rows(pass->tape, x);
    x = op_dropout(pass->tape, x, pass->model->classifier_dropout, stack->head_dropout_site);
    return op_linear(pass->tape, x, &stack->head_weight->value, &stack->head_bias->value);
}
