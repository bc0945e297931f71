/* A convolutional text classifier: layers x ← LN(x + W relu(V [x_{t−w} … x_{t+w}])), windows of kernel_size rows around
 * each token, zeros beyond the text.   Kim 2014, arXiv:1408.5882; residual layers: Conneau et al. 2016,
 * arXiv:1606.01781
 *
 * config.json: kernel_size (odd, default 3) beside what layer_stack.h reads. Tensors of a layer: window.{weight
 * (inner_size, kernel_size·d), bias}, a linear site over the window's rows one behind the other (PyTorch's Conv1d
 * weight (inner, d, k) with its last two dimensions swapped). */
#include <stdio.h>

#include "trainer/models/layer_stack.h"

struct window {
    struct site *site;
    int size;
};

static int load_layer(struct model *model, int layer, int inner, const char *name, void **own, int *width,
                      struct err *err)
{
    struct window *window = arena_calloc(model->params.arena, 1, sizeof(*window));
    char part[96];
    if (!window)
        return err_set(err, ERR_NOMEM, "no memory for '%s'", name);
    int rc = model_config_int(model, "kernel_size", 3, &window->size, err);
    if (rc == 0 && (window->size % 2 == 0 || window->size > 255))
        rc = err_set(err, ERR_FORMAT, "config.json: 'kernel_size' is %d, an odd number from 1 to 255 was expected",
                     window->size);
    snprintf(part, sizeof(part), "%s.window", name);
    *own = window;
    *width = inner;
    return rc < 0 ? rc
                  : model_linear(model, &window->site, "intermediate", layer, window->size * model->hidden_size, inner,
                                 part, err);
}

static struct value *forward(struct pass *pass, const void *own, struct value *x)
{
    const struct window *window = own;
    x = site_linear(pass, window->site, op_window(pass->tape, x, window->size));
    return op_activation(pass->tape, x, ACTIVATION_RELU);
}

static const struct layer_stack family = {.load_layer = load_layer, .forward = forward};

static int load(struct model *model, const struct model_options *options, struct err *err)
{
    return layer_stack_load(model, &family, options, err);
}

const struct model_kind model_text_cnn = {
    .name = "text_cnn",
    .model_types = (const char *const[]){"text_cnn", NULL},
    .lora_targets = (const char *const[]){"window", "output", NULL},
    .runs_layers = true,
    .token_head = "classifier",
    .token_dropout = "dropout",
    .load = load,
    .classify = layer_stack_classify,
    .encode = layer_stack_encode,
};
