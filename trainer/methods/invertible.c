/* Invertible adapters: with x = (x1, x2), y1 = x1 + F(x2), y2 = x2 + G(y1); F and G linear, f, linear.
 * Dinh et al. 2015, arXiv:1410.8516 (NICE); Pfeiffer et al. 2020, arXiv:2005.00052, 3.2.3 (MAD-X) */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "trainer/methods/adapter.h"

struct subnet {
    struct param *in, *in_bias, *out, *out_bias;
};

struct invertible {
    int first, second; /* widths of x1 and x2 */
    enum activation activation;
    struct subnet f, g;
};

static struct value *subnet(struct tape *tape, const struct invertible *invertible, const struct subnet *net,
                            struct value *x)
{
    x = op_activation(tape, op_linear(tape, x, &net->in->value, &net->in_bias->value), invertible->activation);
    return op_linear(tape, x, &net->out->value, &net->out_bias->value);
}

static struct value *forward(void *state, struct pass *pass, struct value *x)
{
    const struct invertible *inv = state;
    struct tape *tape = pass->tape;
    struct value *x1 = op_columns(tape, x, 0, inv->first), *x2 = op_columns(tape, x, inv->first, inv->second);
    struct value *y1 = op_add(tape, x1, subnet(tape, inv, &inv->f, x2));
    return op_beside(tape, y1, op_add(tape, x2, subnet(tape, inv, &inv->g, y1)));
}

static struct value *backward(void *state, struct pass *pass, struct value *y)
{
    const struct invertible *inv = state;
    struct tape *tape = pass->tape;
    struct value *y1 = op_columns(tape, y, 0, inv->first), *y2 = op_columns(tape, y, inv->first, inv->second);
    struct value *x2 = op_add_scaled(tape, y2, subnet(tape, inv, &inv->g, y1), -1);
    return op_beside(tape, op_add_scaled(tape, y1, subnet(tape, inv, &inv->f, x2), -1), x2);
}

static int add_subnet(struct model *model, const struct adapter_spec *spec, struct subnet *net, int in, int out,
                      const char *name, uint64_t seed, struct err *err)
{
    char prefix[128], path[256];
    int hidden = (int)floor(in / spec->inverse_reduction);
    method_prefix(model, prefix, sizeof(prefix));
    snprintf(path, sizeof(path), "%s.invertible_adapters.%s.%s", prefix, spec->name, name);
    struct {
        struct param **param;
        int rows, cols;
        const char *part;
    } const parts[] = {{&net->in, hidden, in, "0.weight"},
                       {&net->in_bias, 0, hidden, "0.bias"},
                       {&net->out, out, hidden, "2.weight"},
                       {&net->out_bias, 0, out, "2.bias"}};
    if (hidden < 1)
        return err_set(err, ERR_UNSUPPORTED, "settings.inverse_reduction: %g leaves nothing of %d channels",
                       spec->inverse_reduction, in);
    for (size_t i = 0; i < 4; i++) {
        struct method_param what = {spec->method, -1, parts[i].rows, parts[i].cols, spec->is_frozen};
        int rc = method_add(model, parts[i].param, what, err, "%s.%s", path, parts[i].part);
        if (rc < 0)
            return rc;
        if (parts[i].rows > 0)
            method_init_normal(*parts[i].param, seed, 0.02);
    }
    return 0;
}

int invertible_add(struct model *model, const struct adapter_spec *spec, uint64_t seed, struct err *err)
{
    struct invertible *inv = arena_calloc(model->params.arena, 1, sizeof(*inv));
    int first = model->hidden_size / 2, second = model->hidden_size - first, rc = 0;
    if (!inv)
        return err_set(err, ERR_NOMEM, "no memory for an invertible adapter");
    inv->first = first;
    inv->second = second;
    inv->activation = (enum activation)activation_from_name(spec->activation);
    rc = add_subnet(model, spec, &inv->f, second, first, "F", seed, err);
    if (rc == 0)
        rc = add_subnet(model, spec, &inv->g, first, second, "G", seed, err);
    bool has_place = false;
    for (size_t i = 0; i < model->n_sites && rc == 0; i++) {
        struct site *site = model->sites[i];
        bool is_in = strcmp(site->role, "embeddings") == 0, is_out = strcmp(site->role, "output") == 0;
        const struct hook hook = {.replace = is_in ? forward : backward, .state = inv};
        if (site->kind != SITE_BLOCK || !(is_in || is_out))
            continue;
        has_place = has_place || is_in;
        rc = site_hook(site, model->params.arena, &hook, err);
    }
    return rc == 0 && !has_place ? err_set(err, ERR_UNSUPPORTED, "this model has no place for an invertible adapter")
                                 : rc;
}
