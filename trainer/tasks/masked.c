/* Masked language modelling: some tokens of a text are hidden and asked for. Of each text 15 % are chosen
 * (mask_probability), at least one; 80 % of them become the mask, 10 % a token drawn from the vocabulary, 10 % stay.
 * Every step draws anew, by (seed, step, example, token); an evaluation always hides the same, whatever the seed.
 * Devlin et al. 2018, arXiv:1810.04805, A.1; drawn anew: Liu et al. 2019, arXiv:1907.11692, 4.1 */
#include <string.h>

#include "common/json.h"
#include "trainer/mask_token.h"
#include "trainer/methods/method_file.h"
#include "trainer/task.h"
#include "trainer/task_head.h"
#include "trainer/trial.h"
#include "trainer/word_pieces.h"

struct masking {
    struct word_pieces pieces; /* how many special tokens stand around a text */
    int32_t mask_id;
    double probability;
};

static int begin(struct trial *trial, struct err *err)
{
    struct masking *masking = arena_calloc(&trial->arena, 1, sizeof(*masking));
    if (!masking)
        return err_set(err, ERR_NOMEM, "no memory for the task");
    trial->task_state = masking;
    masking->probability = setting_number(trial->job->settings, "mask_probability", 0.15);
    int rc = mask_token_find(trial->tokenizer, &masking->mask_id, NULL, err);
    return rc < 0 ? rc : word_pieces_open(&masking->pieces, trial->tokenizer, &trial->arena, err);
}

static int encode(const struct trial *trial, struct dataset *dataset, const struct rows *rows, struct err *err)
{
    const struct labels none = {0};
    return dataset_encode(dataset, rows, &none, trial->tokenizer, trial->max_tokens, err);
}

/* What is drawn for a token: whether it is asked for, what becomes of it, and which other token it may become. */
struct draw {
    double chance, fate;
    uint32_t other;
};

static struct draw draw_token(const struct packing *packing, uint32_t index, int token)
{
    bool is_evaluation = packing->step == TASK_EVALUATION_STEP;
    uint32_t words[4];
    rng_block(rng_make(is_evaluation ? 0 : packing->trial->job->seed, RNG_MASK), packing->step, index, 0,
              (uint32_t)token, words);
    return (struct draw){words[0] / 4294967296.0, words[1] / 4294967296.0, words[2]};
}

/* Labels of an example's tokens, and how many there are. `ids` (may be NULL) becomes what the model sees. */
static int mask(const struct packing *packing, const struct example *example, uint32_t index, int32_t *ids,
                int32_t *labels)
{
    const struct masking *masking = packing->trial->task_state;
    const struct word_pieces *pieces = &masking->pieces;
    int first = pieces->n_front, last = example->n_tokens - (pieces->n_special - pieces->n_front), n = 0,
        lowest = first;
    double least = 2;
    for (int i = first; i < last; i++) {
        double chance = draw_token(packing, index, i).chance;
        n += chance < masking->probability;
        if (chance < least) {
            least = chance;
            lowest = i;
        }
    }
    for (int i = first; ids && i < last; i++) {
        struct draw draw = draw_token(packing, index, i);
        if (draw.chance >= masking->probability && (n > 0 || i != lowest))
            continue;
        labels[i] = example->ids[i];
        if (draw.fate < 0.8)
            ids[i] = masking->mask_id;
        else if (draw.fate < 0.9)
            ids[i] = (int32_t)(((uint64_t)draw.other * (uint64_t)packing->trial->model.vocab_size) >> 32);
    }
    return n > 0 ? n : 1;
}

static bool pack(const struct packing *packing, struct batch *batch)
{
    size_t n = (size_t)batch->layout.n_rows;
    int32_t *ids = arena_alloc(packing->arena, (n + 1) * sizeof(*ids));
    int32_t *labels = arena_alloc(packing->arena, (n + 1) * sizeof(*labels));
    uint32_t index;
    if (!ids || !labels)
        return false;
    memcpy(ids, batch->ids, n * sizeof(*ids));
    for (size_t i = 0; i < n; i++)
        labels[i] = -100;
    for (size_t i = 0; i < packing->n; i++) {
        const struct example *example = packing_example(packing, i, &index);
        int first = batch->layout.segments[i].first;
        (void)mask(packing, example, index, ids + first, labels + first);
    }
    batch->ids = ids;
    batch->labels = labels;
    return true;
}

static double weight(const struct packing *packing, const struct example *example, uint32_t index)
{
    return mask(packing, example, index, NULL, NULL);
}

static struct value *loss(struct pass *pass, struct loss_options options, struct task_result *result)
{
    struct targets targets;
    struct value *x = task_hidden(pass);
    if (!x || !targets_find(pass, x->layout, pass->batch->labels, false, &targets))
        return NULL;
    x = task_head_masked(pass, op_select_rows(pass->tape, x, targets.rows, targets.n));
    return task_token_loss(pass, x, &targets, options, result);
}

const struct task_kind task_masked = {
    .name = "masked",
    .model_task = TASK_MASKED,
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
