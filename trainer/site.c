/* Sites: hooks in attach order, and what models call. */
#include "trainer/site.h"

#include <string.h>

#include "trainer/model.h"

int site_hook(struct site *site, struct arena *trial, const struct hook *hook, struct err *err)
{
    struct hook *copy = arena_alloc(trial, sizeof(*copy));
    if (!copy)
        return err_set(err, ERR_NOMEM, "no memory for a hook at '%s'", site->name);
    *copy = *hook;
    copy->next = NULL;
    *site->hooks_end = copy;
    site->hooks_end = &copy->next;
    return 0;
}

struct value *site_linear(struct pass *pass, struct site *site, struct value *x)
{
    struct value *w = &site->weight->value, *b = site->bias ? &site->bias->value : NULL, *input = x;
    for (struct hook *hook = site->hooks; hook; hook = hook->next) {
        if (hook->weight)
            w = hook->weight(hook->state, pass, w);
        if (hook->input)
            input = hook->input(hook->state, pass, input);
    }
    struct value *y =
        site->is_transposed ? op_linear_transposed(pass->tape, input, w, b) : op_linear(pass->tape, input, w, b);
    for (struct hook *hook = site->hooks; hook; hook = hook->next)
        if (hook->output)
            y = hook->output(hook->state, pass, x, y);
    return y;
}

struct value *site_sublayer(struct pass *pass, struct site *site, struct value *h, struct value *z)
{
    for (struct hook *hook = site->hooks; hook; hook = hook->next)
        if (hook->sublayer)
            h = hook->sublayer(hook->state, pass, h, z);
    if (!site->norm_weight)
        return op_add(pass->tape, h, z);
    return op_add_layer_norm(pass->tape, h, z, &site->norm_weight->value, &site->norm_bias->value, site->norm_epsilon);
}

void site_attention(struct pass *pass, struct site *site, struct attention *attention)
{
    for (struct hook *hook = site->hooks; hook; hook = hook->next)
        if (hook->attention)
            hook->attention(hook->state, pass, attention);
}

struct value *site_replace(struct pass *pass, struct site *site, struct value *x)
{
    for (struct hook *hook = site->hooks; hook; hook = hook->next)
        if (hook->replace)
            x = hook->replace(hook->state, pass, x);
    return x;
}

bool site_matches(const struct site *site, const char *target)
{
    size_t n = strlen(site->name), m = strlen(target);
    if (n < m || strcmp(site->name + n - m, target) != 0)
        return false;
    return n == m || site->name[n - m - 1] == '.';
}
