/* A bidirectional LSTM as text classifier: layers x ← LN(x + W [→h; ←h]).   Schuster & Paliwal 1997; Hochreiter &
 * Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735
 *
 * Gates in PyTorch's order i, f, g, o. Tensors of a layer beside those of layer_stack.h, for side = forward, backward:
 * <side>_input.{weight (4h, d), bias}, a linear site; <side>_recurrent.{weight (4h, h), bias}. h is inner_size. */
#include <stdio.h>

#include "trainer/models/layer_stack.h"

struct sides {
    struct site *input[2];
    struct param *weight[2], *bias[2]; /* recurrent */
};

static int load_layer(struct model *model, int layer, int inner, const char *name, void **own, int *width,
                      struct err *err)
{
    static const char *const sides[] = {"forward", "backward"};
    struct sides *made = arena_calloc(model->params.arena, 1, sizeof(*made));
    const int64_t weight[2] = {4 * inner, inner}, bias[1] = {4 * inner};
    int rc = made ? 0 : err_set(err, ERR_NOMEM, "no memory for '%s'", name);
    for (int side = 0; side < 2 && rc == 0; side++) {
        char part[96];
        snprintf(part, sizeof(part), "%s.%s_input", name, sides[side]);
        rc = model_linear(model, &made->input[side], "intermediate", layer, model->hidden_size, 4 * inner, part, err);
        snprintf(part, sizeof(part), "%s.%s_recurrent.weight", name, sides[side]);
        if (rc == 0)
            rc = model_tensor(model, &made->weight[side], layer, 2, weight, part, err);
        snprintf(part, sizeof(part), "%s.%s_recurrent.bias", name, sides[side]);
        if (rc == 0)
            rc = model_tensor(model, &made->bias[side], layer, 1, bias, part, err);
    }
    *own = made;
    *width = 2 * inner;
    return rc;
}

static struct value *forward(struct pass *pass, const void *own, struct value *x)
{
    const struct sides *sides = own;
    struct value *h[2];
    for (int side = 0; side < 2; side++) {
        const struct lstm lstm = {.hidden_weight = &sides->weight[side]->value,
                                  .hidden_bias = &sides->bias[side]->value,
                                  .is_reverse = side == 1};
        h[side] = op_lstm(pass->tape, site_linear(pass, sides->input[side], x), &lstm);
    }
    return op_beside(pass->tape, h[0], h[1]);
}

static const struct layer_stack family = {.load_layer = load_layer, .forward = forward};

static int load(struct model *model, const struct model_options *options, struct err *err)
{
    return layer_stack_load(model, &family, options, err);
}

const struct model_kind model_bilstm = {
    .name = "bilstm",
    .model_types = (const char *const[]){"bilstm", NULL},
    .lora_targets = (const char *const[]){"forward_input", "backward_input", NULL},
    .runs_layers = true,
    .token_head = "classifier",
    .token_dropout = "dropout",
    .load = load,
    .classify = layer_stack_classify,
    .encode = layer_stack_encode,
};
