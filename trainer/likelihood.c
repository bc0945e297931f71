/* Likelihoods of texts. */
#include "trainer/likelihood.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "trainer/language_data.h"
#include "trainer/mask_token.h"
#include "trainer/safetensors.h"

enum { BATCH_TOKENS = 512 };

/* The masked head ------------------------------------------------------------------------------------------------- */

/* What the families call its tensors. The output embedding is the token embedding unless it has a tensor of its own. */
static const struct head_names {
    const char *kind, *dense, *norm, *bias, *output, *words, *activation; /* activation: the key of config.json */
} head_names[] = {
    {"bert", "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias",
     "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight", "hidden_act"},
    {"roberta", "lm_head.dense", "lm_head.layer_norm", "lm_head.bias", "lm_head.decoder.weight",
     "roberta.embeddings.word_embeddings.weight", NULL},
    {"distilbert", "vocab_transform", "vocab_layer_norm", "vocab_projector.bias", "vocab_projector.weight",
     "distilbert.embeddings.word_embeddings.weight", "activation"},
};

static const struct head_names *find_names(const struct model *model)
{
    for (size_t i = 0; i < sizeof(head_names) / sizeof(head_names[0]); i++)
        if (strcmp(head_names[i].kind, model->kind->name) == 0)
            return &head_names[i];
    return NULL;
}

static const struct tensor *find_tensor(const struct model *model, const char *name)
{
    const struct tensor *tensor = safetensors_find(model->weights, name);
    size_t n = model->kind->prefix ? strlen(model->kind->prefix) : 0;
    return tensor || n == 0 || strncmp(name, model->kind->prefix, n) != 0 ? tensor
                                                                          : safetensors_find(model->weights, name + n);
}

/* A tensor of the folder as a value, mapped or copied into the arena. */
static int take(struct likelihood *l, const char *name, int rows, int cols, struct value *value, struct err *err)
{
    const struct model *model = &l->trial->model;
    const struct tensor *tensor = find_tensor(model, name);
    if (!tensor)
        return err_set(
            err, ERR_UNSUPPORTED,
            "'%s' carries no masked language model's head (there is no tensor '%s'): there is nothing to ask "
            "for a word",
            model->folder, name);
    if (tensor->n != (size_t)rows * (size_t)cols)
        return err_set(err, ERR_FORMAT, "'%s': tensor '%s' has %zu numbers, %d x %d were expected", model->folder, name,
                       tensor->n, rows, cols);
    real *data = (real *)(uintptr_t)safetensors_view(tensor);
    *value = (struct value){.data = data, .rows = rows, .cols = cols};
    if (data)
        return 0;
    value->data = arena_alloc(&l->arena, tensor->n * sizeof(real));
    return value->data ? safetensors_read(tensor, value->data, err)
                       : err_set(err, ERR_NOMEM, "no memory for tensor '%s'", name);
}

static int take_pair(struct likelihood *l, const char *name, int rows, int cols, struct value *weight,
                     struct value *bias, struct err *err)
{
    char full[160];
    snprintf(full, sizeof(full), "%s.weight", name);
    int rc = take(l, full, rows, cols, weight, err);
    snprintf(full, sizeof(full), "%s.bias", name);
    return rc < 0 ? rc : take(l, full, 1, cols, bias, err);
}

static int open_masked(struct likelihood *l, struct err *err)
{
    const struct model *model = &l->trial->model;
    struct masked_head *head = &l->head;
    const struct head_names *names = model->kind->encode ? find_names(model) : NULL;
    int d = model->hidden_size, rc = 0;
    if (!names)
        return err_set(err, ERR_UNSUPPORTED, "a '%s' model that classifies has no head that predicts tokens",
                       model->kind->name);
    rc = take_pair(l, names->dense, d, d, &head->dense_weight, &head->dense_bias, err);
    if (rc == 0)
        rc = take_pair(l, names->norm, 1, d, &head->norm_weight, &head->norm_bias, err);
    if (rc == 0)
        rc = take(l, names->bias, 1, model->vocab_size, &head->bias, err);
    if (rc == 0)
        rc = take(l, find_tensor(model, names->output) ? names->output : names->words, model->vocab_size, d,
                  &head->words, err);
    if (rc == 0)
        rc = model_config_real(model, "layer_norm_eps", 1e-12, &head->norm_epsilon, err);
    head->activation = ACTIVATION_GELU;
    if (rc == 0 && names->activation)
        rc = model_config_activation(model, names->activation, "gelu", &head->activation, err);
    return rc < 0 ? rc : mask_token_find(l->trial->tokenizer, &head->mask_id, NULL, err);
}

/* Both ------------------------------------------------------------------------------------------------------------ */

int likelihood_open(struct likelihood *l, struct trial *trial, struct err *err)
{
    *l = (struct likelihood){
        .trial = trial, .is_masked = trial->job->model_task != TASK_CAUSAL && trial->job->model_task != TASK_SEQ2SEQ};
    if (l->is_masked)
        return open_masked(l, err);
    if (trial->job->model_task != TASK_CAUSAL)
        return err_set(err, ERR_UNSUPPORTED, "a sequence to sequence model has no likelihood of a text alone");
    return 0;
}

void likelihood_close(struct likelihood *l)
{
    arena_done(&l->arena);
    arena_done(&l->step);
    *l = (struct likelihood){0};
}

/* Positions first … last − 1. */
static int add_positions(struct likelihood *l, struct scored_text *scored, int first, int last, struct err *err)
{
    scored->positions = arena_alloc(&l->arena, (size_t)(scored->n + 1) * sizeof(*scored->positions));
    if (!scored->positions)
        return err_set(err, ERR_NOMEM, "no memory for a text of %d tokens", scored->n);
    for (int i = first; i < last; i++)
        scored->positions[scored->n_positions++] = i;
    return 0;
}

int likelihood_encode(struct likelihood *l, const char *text, struct scored_text *scored, struct err *err)
{
    const struct tokenizer *tokenizer = l->trial->tokenizer;
    struct encoding encoding;
    int rc = tokenizer_encode(tokenizer, text, NULL, l->trial->max_tokens, &l->arena, &encoding, err);
    if (rc < 0)
        return rc;
    *scored = (struct scored_text){.ids = encoding.ids, .n = encoding.n};
    int special = tokenizer_special_tokens(tokenizer, false), in_front = (special + 1) / 2;
    return l->is_masked ? add_positions(l, scored, in_front, scored->n - (special - in_front), err)
                        : add_positions(l, scored, 1, scored->n, err);
}

/* The prompt gives way, from its front. */
static int join(struct likelihood *l, struct encoding front, struct encoding back, struct scored_text *scored,
                struct err *err)
{
    int over = front.n + back.n - l->trial->max_tokens, cut = over < 0 ? 0 : over < front.n ? over : front.n;
    front.ids += cut;
    front.n -= cut;
    *scored = (struct scored_text){.n = front.n + back.n};
    scored->ids = arena_alloc(&l->arena, (size_t)(scored->n + 1) * sizeof(*scored->ids));
    if (!scored->ids)
        return err_set(err, ERR_NOMEM, "no memory for a text of %d tokens", scored->n);
    if (front.n)
        memcpy(scored->ids, front.ids, (size_t)front.n * sizeof(*scored->ids));
    if (back.n)
        memcpy(scored->ids + front.n, back.ids, (size_t)back.n * sizeof(*scored->ids));
    return 0;
}

int likelihood_encode_answer(struct likelihood *l, const char *prompt, const char *answer, struct scored_text *scored,
                             struct err *err)
{
    const struct tokenizer *tokenizer = l->trial->tokenizer;
    struct encoding front, back;
    int most = l->trial->max_tokens, rc = tokenizer_encode_plain(tokenizer, answer, most, &l->arena, &back, err);
    if (rc == 0)
        rc = tokenizer_encode(tokenizer, prompt, l->is_masked ? answer : NULL, most, &l->arena, &front, err);
    if (rc == 0 && l->is_masked)
        *scored = (struct scored_text){.ids = front.ids, .n = front.n};
    else if (rc == 0)
        rc = join(l, front, back, scored, err);
    if (rc < 0)
        return rc;
    int last = scored->n - (l->is_masked && tokenizer_special_tokens(tokenizer, true) > 0); /* the one that ends all */
    int first = last - back.n, lowest = l->is_masked ? 0 : 1;
    return add_positions(l, scored, first > lowest ? first : lowest, last, err);
}

void likelihood_thin(struct scored_text *scored, int most)
{
    if (most <= 0 || scored->n_positions <= most)
        return;
    for (int i = 0; i < most; i++)
        scored->positions[i] = scored->positions[(2 * i + 1) * scored->n_positions / (2 * most)];
    scored->n_positions = most;
}

/* Masked: a sequence a position ------------------------------------------------------------------------------------ */

/* One sequence of a batch: which text, and its how-manieth position. */
struct question {
    size_t text;
    int index;
};

static const struct batch *pack_masked(struct likelihood *l, const struct scored_text *texts,
                                       const struct question *questions, int n)
{
    struct arena *arena = &l->step;
    int rows = 0;
    for (int i = 0; i < n; i++)
        rows += texts[questions[i].text].n;
    struct batch *batch = arena_calloc(arena, 1, sizeof(*batch));
    struct segment *segments = arena_alloc(arena, (size_t)n * sizeof(*segments));
    int32_t *ids = arena_alloc(arena, (size_t)rows * sizeof(*ids));
    if (!batch || !segments || !ids)
        return NULL;
    for (int i = 0, at = 0; i < n; i++) {
        const struct scored_text *text = &texts[questions[i].text];
        segments[i] = (struct segment){at, text->n, text->n, 0, (uint32_t)i};
        memcpy(ids + at, text->ids, (size_t)text->n * sizeof(*ids));
        ids[at + text->positions[questions[i].index]] = l->head.mask_id;
        at += text->n;
    }
    *batch = (struct batch){.layout = {.n_segments = n, .n_rows = rows, .segments = segments}, .ids = ids};
    return batch;
}

/* The row of the hidden states that belongs to row `wanted` of the batch: methods may have inserted rows. */
static int32_t row_of(const struct layout *layout, int sequence, int32_t wanted)
{
    const struct segment *segment = &layout->segments[sequence];
    for (int r = segment->first; layout->origin && r < segment->first + segment->rows; r++)
        if (layout->origin[r] == wanted)
            return r;
    return wanted;
}

static int ask(struct likelihood *l, struct scored_text *texts, const struct question *questions, int n,
               struct err *err)
{
    struct tape tape = {0};
    struct masked_head *head = &l->head;
    tape_begin(&tape, &l->step);
    const struct batch *batch = pack_masked(l, texts, questions, n);
    int32_t *rows = arena_alloc(&l->step, (size_t)n * sizeof(*rows)), *labels = arena_alloc(&l->step, (size_t)n * 4);
    real *losses = arena_alloc(&l->step, (size_t)n * sizeof(*losses));
    if (!batch || !rows || !labels || !losses)
        return err_set(err, ERR_NOMEM, "no memory to ask for %d tokens", n);
    struct pass pass = {.tape = &tape, .model = &l->trial->model, .batch = batch};
    struct value *x = l->trial->model.kind->encode(&pass);
    for (int i = 0; x && i < n; i++) {
        const struct scored_text *text = &texts[questions[i].text];
        int32_t position = text->positions[questions[i].index];
        rows[i] = row_of(x->layout, i, batch->layout.segments[i].first + position);
        labels[i] = text->ids[position];
    }
    x = op_select_rows(&tape, x, rows, n);
    x = op_activation(&tape, op_linear(&tape, x, &head->dense_weight, &head->dense_bias), head->activation);
    x = op_layer_norm(&tape, x, &head->norm_weight, &head->norm_bias, head->norm_epsilon);
    struct loss_options options = {.labels = labels};
    (void)op_token_cross_entropy(&tape, x, &head->words, &head->bias, &options, losses);
    int rc = tape_check(&tape, err);
    for (int i = 0; i < n && rc == 0; i++) {
        struct scored_text *text = &texts[questions[i].text];
        text->log_p -= (double)losses[i];
        text->mean_p += exp(-(double)losses[i]) / text->n_positions;
    }
    return rc;
}

static int score_masked(struct likelihood *l, struct scored_text *texts, size_t n, struct err *err)
{
    struct question questions[BATCH_TOKENS];
    int count = 0, tokens = 0, rc = 0;
    for (size_t t = 0; t < n && rc == 0; t++)
        for (int i = 0; i < texts[t].n_positions && rc == 0; i++) {
            if (count > 0 && (count == BATCH_TOKENS || tokens + texts[t].n > BATCH_TOKENS)) {
                rc = ask(l, texts, questions, count, err);
                count = tokens = 0;
            }
            questions[count++] = (struct question){t, i};
            tokens += texts[t].n;
        }
    return rc == 0 && count > 0 ? ask(l, texts, questions, count, err) : rc;
}

/* Causal: a sequence a text ---------------------------------------------------------------------------------------- */

static int score_causal(struct likelihood *l, struct scored_text *texts, size_t n, struct err *err)
{
    struct dataset dataset = {.count = n};
    struct predictions predictions;
    struct arena arena = {0};
    dataset.examples = arena_calloc(&arena, n + 1, sizeof(*dataset.examples));
    int rc = dataset.examples ? 0 : err_set(err, ERR_NOMEM, "no memory for %zu texts", n);
    for (size_t i = 0; i < n && rc == 0; i++) {
        int32_t *targets = arena_alloc(&arena, (size_t)(texts[i].n + 1) * sizeof(*targets));
        uint8_t *types = arena_calloc(&arena, (size_t)texts[i].n + 1, 1);
        if (!targets || !types) {
            rc = err_set(err, ERR_NOMEM, "no memory for %zu texts", n);
            break;
        }
        for (int k = 0; k < texts[i].n; k++)
            targets[k] = -100;
        for (int k = 0; k < texts[i].n_positions; k++)
            targets[texts[i].positions[k]] = texts[i].ids[texts[i].positions[k]];
        dataset.examples[i] = (struct example){.ids = texts[i].ids,
                                               .type_ids = types,
                                               .n_tokens = texts[i].n,
                                               .targets = targets,
                                               .n_targets = texts[i].n};
    }
    if (rc == 0)
        rc = trial_predict(l->trial, &dataset, &predictions, &arena, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        texts[i].log_p = -(double)predictions.losses[i] * predictions.n_tokens[i];
        texts[i].mean_p = NAN;
    }
    arena_done(&arena);
    return rc;
}

int likelihood_score(struct likelihood *l, struct scored_text *texts, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++)
        texts[i].log_p = texts[i].mean_p = 0;
    if (n == 0)
        return 0;
    return l->is_masked ? score_masked(l, texts, n, err) : score_causal(l, texts, n, err);
}
