/* Heads that families share: a linear layer over every token (tags, ends of answers), and the head with which encoders
 * are trained to fill masked tokens in. Tensors are called as transformers calls them.
 * Devlin et al. 2018, arXiv:1810.04805, 4.2, 5.3 and A.1 */
#ifndef TRAINER_TASK_HEAD_H
#define TRAINER_TASK_HEAD_H

#include "trainer/model.h"

struct task_head {
    struct param *weight, *bias; /* over tokens: (n_outputs, hidden), (n_outputs) */
    double dropout;              /* in front of it */
    uint32_t dropout_site;
    /* masked tokens: y = decoder(norm(f(dense(x)))); the decoder is model->output_embedding */
    struct site *dense;
    struct param *norm_weight, *norm_bias;
    double norm_epsilon;
    enum activation activation;
};

/* Adds the head that options->task asks for; the body's parameters are there. Heads over tokens are new or the model's
 * own, as options say; the masked one is the model's own and belongs to the base. ERR_UNSUPPORTED when the folder has
 * none. */
int task_head_load(struct model *model, const struct model_options *options, struct err *err) MUST_CHECK;
/* Logits (rows, n_outputs) of hidden states. */
struct value *task_head_tokens(struct pass *pass, struct value *hidden);
/* What goes into the output embedding, of hidden states at masked tokens. */
struct value *task_head_masked(struct pass *pass, struct value *hidden);

#endif
