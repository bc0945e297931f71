/* Language modelling: the next token of a text or of an answer to it (causal), or the tokens of a second text, given
 * the first (seq2seq). The loss is the sum of the tokens' −log p over the number of labelled tokens. */
#include "common/json.h"
#include "trainer/chat.h"
#include "trainer/language_data.h"
#include "trainer/methods/method_file.h"
#include "trainer/task.h"
#include "trainer/trial.h"

static int encode(const struct trial *trial, struct dataset *dataset, const struct rows *rows, struct err *err)
{
    struct language_ids ids;
    struct chat chat = {0};
    const char *template = setting_text(trial->job->settings, "chat_template", NULL);
    int rc = language_ids_read(&ids, &trial->model, err);
    if (rc == 0 && template)
        rc = chat_open(&chat, template, trial->job->model, err);
    if (rc == 0)
        rc = language_encode(dataset, rows, trial->tokenizer, trial->model.task, &ids, template ? &chat : NULL,
                             trial->max_tokens, err);
    chat_close(&chat);
    return rc;
}

/* What a chat template needs is a question and its answer. */
static int begin(struct trial *trial, struct err *err)
{
    bool has_answers = trial->model.task == TASK_CAUSAL && json_get(trial->job->task, "target");
    return !json_get(trial->job->settings, "chat_template") || has_answers
               ? 0
               : err_set(err, ERR_USAGE, "settings.chat_template: it takes a causal task with a target, the answer");
}

static bool pack(const struct packing *packing, struct batch *batch)
{
    return language_pack(batch, packing->examples, packing->indices, packing->first, packing->n, packing->arena);
}

static double weight(const struct packing *packing, const struct example *example, uint32_t index)
{
    (void)packing;
    (void)index;
    return language_predicted(example);
}

static struct value *loss(struct pass *pass, struct loss_options options, struct task_result *result)
{
    struct targets targets;
    struct value *x = pass->model->kind->decode(pass);
    bool is_next = pass->model->task == TASK_CAUSAL;
    if (!x || !targets_find(pass, x->layout, pass->batch->labels, is_next, &targets))
        return NULL;
    x = site_replace(pass, pass->model->output, op_select_rows(pass->tape, x, targets.rows, targets.n));
    return task_token_loss(pass, x, &targets, options, result);
}

const struct task_kind task_causal = {
    .name = "causal",
    .model_task = TASK_CAUSAL,
    .begin = begin,
    .encode = encode,
    .pack = pack,
    .weight = weight,
    .loss = loss,
    .start = task_token_start,
    .keep = task_token_keep,
    .measure = task_token_measure,
    .add_answer = task_token_answer,
};

const struct task_kind task_seq2seq = {
    .name = "seq2seq",
    .model_task = TASK_SEQ2SEQ,
    .begin = begin,
    .encode = encode,
    .pack = pack,
    .weight = weight,
    .loss = loss,
    .start = task_token_start,
    .keep = task_token_keep,
    .measure = task_token_measure,
    .add_answer = task_token_answer,
};
