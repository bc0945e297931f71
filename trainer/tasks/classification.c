/* Classification: a class for a text, or for two; cross entropy of the logits of a head. */
#include "trainer/task.h"
#include "trainer/token_cache.h"
#include "trainer/trial.h"

static int read_labels(struct trial *trial, struct err *err)
{
    return labels_make(&trial->labels, &trial->train_rows, err);
}

static int encode(const struct trial *trial, struct dataset *dataset, const struct rows *rows, struct err *err)
{
    return dataset_encode_cached(dataset, rows, &trial->labels, trial->tokenizer, trial->tokenizer_hash,
                                 trial->max_tokens, trial->cache_folder, err);
}

static struct value *loss(struct pass *pass, struct loss_options options, struct task_result *result)
{
    return task_class_loss(pass, pass->model->kind->classify(pass), options, result);
}

const struct task_kind task_classification = {
    .name = "classification",
    .model_task = TASK_CLASSIFICATION,
    .read_labels = read_labels,
    .encode = encode,
    .loss = loss,
    .start = task_class_start,
    .keep = task_class_keep,
    .measure = task_class_measure,
    .add_answer = task_class_answer,
};
