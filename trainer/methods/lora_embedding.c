/* LoRA at an embedding: y = E[ids] + s A[:, ids]ᵀ Bᵀ, with the roles of A and B swapped: A (r, tokens) starts at 0.
 * A tied output embedding is not touched.   Hu et al. 2021, arXiv:2106.09685; layout as in Hugging Face PEFT */
#include "trainer/methods/lora.h"

static struct value *embed(void *state, struct pass *pass, const int32_t *ids, struct value *x)
{
    const struct lora *lora = state;
    if (!x)
        return NULL;
    struct value *low = op_embedding_columns(pass->tape, &lora->a->value, ids, x->rows, x->layout);
    return op_add_scaled(pass->tape, x, op_linear(pass->tape, low, &lora->b->value, NULL), lora->scaling);
}

int lora_embedding_attach(struct model *model, struct site *site, const cJSON *settings, uint64_t seed, struct err *err)
{
    struct lora *lora = arena_calloc(model->params.arena, 1, sizeof(*lora));
    if (!lora)
        return err_set(err, ERR_NOMEM, "no memory for LoRA at '%s'", site->name);
    lora_read(lora, site, settings);
    int rc =
        method_add(model, &lora->a, (struct method_param){"lora", site->layer, lora->rank, model->vocab_size, false},
                   err, "%s.lora_embedding_A", site->name);
    if (rc == 0)
        rc = method_add(model, &lora->b, (struct method_param){"lora", site->layer, site->out, lora->rank, false}, err,
                        "%s.lora_embedding_B", site->name);
    if (rc < 0)
        return rc;
    method_init_normal(lora->b, seed, 1);
    const struct hook hook = {.embed = embed, .state = lora};
    return site_hook(site, model->params.arena, &hook, err);
}
