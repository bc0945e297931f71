/* Classification through a cloze: the text goes into a template with a gap ("{text} It was {mask}."), and the classes
 * are words that may fill it. The loss is the cross entropy over the label words' logits at the gap, so nothing new is
 * trained: what few examples allow. Encoders fill their mask in; a causal model goes on with the text up to the gap.
 * Schick & Schütze 2020, arXiv:2001.07676; Gao et al. 2020, arXiv:2012.15723 */
#include <string.h>

#include "common/json.h"
#include "trainer/mask_token.h"
#include "trainer/task.h"
#include "trainer/task_head.h"
#include "trainer/trial.h"
#include "trainer/word_pieces.h"

enum { MANY_TOKENS = 1 << 20 };

static const char gap[] = "{mask}", text_place[] = "{text}", pair_place[] = "{text_pair}";

struct cloze {
    struct word_pieces pieces;
    const char *template;  /* causal: up to the gap, without the space in front of it */
    const char *mask_text; /* NULL: causal */
    int32_t mask_id;
    int32_t *words; /* token of each class's label word */
    int n_words;
};

static int head(const char *model_folder, enum model_task *out, struct err *err)
{
    const struct model_kind *kind;
    int rc = model_find_kind(model_folder, &kind, err);
    if (rc < 0)
        return rc;
    *out = kind->masked_head ? TASK_MASKED : TASK_CAUSAL; /* model_open refuses what has neither */
    return 0;
}

static int read_labels(struct trial *trial, struct err *err)
{
    return labels_make(&trial->labels, &trial->train_rows, err);
}

/* A class's word must be one token where the gap is. */
static int find_word(struct trial *trial, struct cloze *cloze, bool has_space, int label, struct err *err)
{
    const char *name = trial->labels.names[label], *word;
    struct encoding found;
    const cJSON *words = json_get(trial->job->task, "label_words"), *own = words ? json_get(words, name) : NULL;
    if (!cJSON_IsString(own))
        return err_set(err, ERR_USAGE, "task.label_words: there is no word for the label '%s'", name);
    word = own->valuestring;
    int rc = has_space ? word_pieces_encode(&cloze->pieces, word, strlen(word), &trial->arena, &found, err)
                       : tokenizer_encode_plain(trial->tokenizer, word, MANY_TOKENS, &trial->arena, &found, err);
    if (rc == 0 && found.n != 1)
        rc = err_set(err, ERR_USAGE,
                     "task.label_words: '%s', the word of label '%s', is %d tokens of this model's tokenizer, one was "
                     "expected",
                     word, name, found.n);
    if (rc == 0)
        cloze->words[cloze->n_words++] = found.ids[0];
    for (int c = 0; c < label && rc == 0; c++)
        if (cloze->words[c] == cloze->words[label])
            rc = err_set(err, ERR_USAGE, "task.label_words: the labels '%s' and '%s' have one and the same token",
                         trial->labels.names[c], name);
    return rc;
}

/* The template: of an encoder as it is, of a causal model what stands in front of the gap. */
static int read_template(struct trial *trial, struct cloze *cloze, bool *has_space, struct err *err)
{
    const char *template = NULL, *at;
    bool is_causal = trial->model.task == TASK_CAUSAL;
    int rc = json_get_string(trial->job->task, "template", "task", &template, err);
    if (rc < 0)
        return rc;
    if (!(at = strstr(template, gap)) || strstr(at + 1, gap) || !strstr(template, text_place))
        return err_set(err, ERR_USAGE, "task.template: '%s', one {mask} and at least one {text} were expected",
                       template);
    if (is_causal && (strstr(at, text_place) || strstr(at, pair_place)))
        return err_set(err, ERR_USAGE,
                       "task.template: '%s': a causal model sees nothing behind {mask}, all texts must stand in front",
                       template);
    *has_space = at > template && at[-1] == ' ';
    cloze->template =
        is_causal ? arena_printf(&trial->arena, "%.*s", (int)(at - template) - *has_space, template) : template;
    return cloze->template ? 0 : err_set(err, ERR_NOMEM, "no memory for a template");
}

static int begin(struct trial *trial, struct err *err)
{
    struct cloze *cloze = arena_calloc(&trial->arena, 1, sizeof(*cloze));
    bool has_space = false;
    if (!cloze || !(cloze->words = arena_calloc(&trial->arena, (size_t)trial->labels.count + 1, sizeof(int32_t))))
        return err_set(err, ERR_NOMEM, "no memory for the task");
    trial->task_state = cloze;
    int rc = word_pieces_open(&cloze->pieces, trial->tokenizer, &trial->arena, err);
    if (rc == 0)
        rc = read_template(trial, cloze, &has_space, err);
    if (rc == 0 && trial->model.task == TASK_MASKED)
        rc = mask_token_find(trial->tokenizer, &cloze->mask_id, &cloze->mask_text, err);
    for (int c = 0; c < trial->labels.count && rc == 0; c++)
        rc = find_word(trial, cloze, has_space, c, err);
    return rc;
}

/* Rows to tokens --------------------------------------------------------------------------------------------------- */

/* The first n words of a text: bytes. */
static size_t words_length(const char *text, size_t n)
{
    size_t at = strspn(text, " \t\r\n");
    for (; n > 0 && text[at]; n--) {
        at += strcspn(text + at, " \t\r\n");
        if (n > 1)
            at += strspn(text + at, " \t\r\n");
    }
    return at;
}

static size_t count_words(const char *text)
{
    size_t n = 0;
    for (size_t at = strspn(text, " \t\r\n"); text[at]; n++) {
        at += strcspn(text + at, " \t\r\n");
        at += strspn(text + at, " \t\r\n");
    }
    return n;
}

/* How many words of the texts go into the template. */
struct room {
    size_t text, pair;
};

static void fill(const struct cloze *cloze, const struct row *row, struct room room, struct text *out)
{
    for (const char *at = cloze->template; *at;) {
        if (text_starts_with(at, gap) && cloze->mask_text) {
            text_add(out, cloze->mask_text);
            at += sizeof(gap) - 1;
        } else if (text_starts_with(at, text_place)) {
            text_add_n(out, row->text, words_length(row->text, room.text));
            at += sizeof(text_place) - 1;
        } else if (text_starts_with(at, pair_place)) {
            text_add_n(out, row->pair ? row->pair : "", row->pair ? words_length(row->pair, room.pair) : 0);
            at += sizeof(pair_place) - 1;
        } else {
            text_add_char(out, *at++);
        }
    }
}

static int encode_room(const struct trial *trial, const struct row *row, struct room room, struct arena *arena,
                       struct encoding *out, struct err *err)
{
    struct text text = {0};
    fill(trial->task_state, row, room, &text);
    int rc = text.failed
                 ? err_set(err, ERR_NOMEM, "no memory for a text")
                 : tokenizer_encode(trial->tokenizer, text.data ? text.data : "", NULL, MANY_TOKENS, arena, out, err);
    text_done(&text);
    return rc;
}

/* Words give way from the end of the longer text until the template is whole within max_tokens. */
static int encode_fitting(const struct trial *trial, const struct row *row, struct arena *arena, struct encoding *out,
                          struct err *err)
{
    struct room room = {count_words(row->text), row->pair ? count_words(row->pair) : 0};
    int rc = encode_room(trial, row, room, arena, out, err);
    bool is_cut = false;
    while (rc == 0 && out->n > trial->max_tokens && room.text + room.pair > 0) {
        size_t over = (size_t)(out->n - trial->max_tokens), *longer = room.text >= room.pair ? &room.text : &room.pair;
        size_t cut = over / 4 > 0 ? over / 4 : 1; /* a word is rarely more than four tokens: never too many at once */
        *longer -= cut < *longer ? cut : *longer;
        is_cut = true;
        rc = encode_room(trial, row, room, arena, out, err);
    }
    out->is_truncated = is_cut;
    return rc;
}

static int find_gap(const struct trial *trial, const struct rows *rows, const struct row *row,
                    const struct encoding *tokens, int32_t *place, struct err *err)
{
    const struct cloze *cloze = trial->task_state;
    int n = 0;
    *place = tokens->n - 1; /* causal: the last token predicts what comes next */
    if (tokens->n == 0 || tokens->n > trial->max_tokens)
        return err_set(err, ERR_DATA, "'%s', line %u: the template alone is %d tokens, max_tokens is %d", rows->path,
                       row->line, tokens->n, trial->max_tokens);
    for (int i = 0; cloze->mask_text && i < tokens->n; i++)
        if (tokens->ids[i] == cloze->mask_id) {
            *place = i;
            n++;
        }
    return !cloze->mask_text || n == 1
               ? 0
               : err_set(err, ERR_DATA, "'%s', line %u: %d masks, one was expected: the text has one of its own",
                         rows->path, row->line, n);
}

static int encode_row(struct row_encoding *e, struct err *err)
{
    const struct trial *trial = e->trial;
    struct dataset *dataset = e->dataset;
    struct example *example = &dataset->examples[dataset->count];
    struct encoding tokens;
    int label = e->row->label[0] ? labels_find(&trial->labels, e->row->label) : 0;
    if (label < 0)
        return labels_unknown(e->rows, e->row, &trial->labels, err);
    int rc = encode_fitting(trial, e->row, &dataset->arena, &tokens, err);
    *example = (struct example){.label = label};
    if (rc == 0)
        rc = find_gap(trial, e->rows, e->row, &tokens, &example->answer[0], err);
    if (rc < 0)
        return rc;
    example->ids = tokens.ids;
    example->type_ids = tokens.type_ids;
    example->n_tokens = tokens.n;
    dataset->count++;
    dataset->n_tokens += (size_t)tokens.n;
    dataset->n_truncated += tokens.is_truncated;
    return 0;
}

static int encode(const struct trial *trial, struct dataset *dataset, const struct rows *rows, struct err *err)
{
    return task_encode_rows(trial, dataset, rows, encode_row, err);
}

static bool pack(const struct packing *packing, struct batch *batch)
{
    const struct cloze *cloze = packing->trial->task_state;
    int32_t *places = arena_alloc(packing->arena, (packing->n + 1) * sizeof(*places));
    uint32_t index;
    for (size_t i = 0; places && i < packing->n; i++)
        places[i] = batch->layout.segments[i].first + packing_example(packing, i, &index)->answer[0];
    batch->places = places;
    batch->words = cloze->words;
    batch->n_words = cloze->n_words;
    return places != NULL;
}

/* Loss ------------------------------------------------------------------------------------------------------------- */

/* Rows of hidden states that came from the batch's rows `places`, one a sequence: methods may have inserted rows. */
static const int32_t *rows_of(struct pass *pass, const struct layout *layout)
{
    int32_t *rows = tape_alloc(pass->tape, "gap", (size_t)layout->n_segments * sizeof(*rows));
    for (int s = 0; rows && s < layout->n_segments; s++) {
        const struct segment *segment = &layout->segments[s];
        rows[s] = pass->batch->places[s];
        for (int r = segment->first; layout->origin && r < segment->first + segment->rows; r++)
            if (layout->origin[r] == pass->batch->places[s])
                rows[s] = r;
    }
    return rows;
}

/* Columns `words` of logits over the vocabulary: (n, V) to (n, n_words). */
static struct value *take_words(struct pass *pass, struct value *logits)
{
    int n = pass->batch->n_words;
    real *one = tape_alloc(pass->tape, "gap", (size_t)n * (size_t)n * sizeof(*one));
    if (!one || !logits)
        return NULL;
    memset(one, 0, (size_t)n * (size_t)n * sizeof(*one));
    for (int i = 0; i < n; i++)
        one[i * n + i] = 1;
    struct value *picked = op_embedding_columns(pass->tape, logits, pass->batch->words, n, NULL);
    return op_matmul(pass->tape, picked, true, tape_constant(pass->tape, one, n, n, NULL), false);
}

/* With hooks on the output embedding its logits are formed whole; else only the label words' rows of it are used. */
static struct value *word_logits(struct pass *pass, struct value *x)
{
    struct site *site = pass->model->output_embedding;
    const struct batch *batch = pass->batch;
    if (site->hooks)
        return take_words(pass, site_linear(pass, site, x));
    struct value *w = op_embedding(pass->tape, &site->weight->value, batch->words, batch->n_words, NULL), *b = NULL;
    if (site->bias)
        b = op_reshape(pass->tape,
                       op_embedding_columns(pass->tape, &site->bias->value, batch->words, batch->n_words, NULL), 1,
                       batch->n_words);
    return op_linear(pass->tape, x, w, b);
}

static struct value *loss(struct pass *pass, struct loss_options options, struct task_result *result)
{
    struct value *x = task_hidden(pass);
    const int32_t *rows = x ? rows_of(pass, x->layout) : NULL;
    if (!rows)
        return NULL;
    x = op_select_rows(pass->tape, x, rows, x->layout->n_segments);
    x = pass->model->task == TASK_MASKED ? task_head_masked(pass, x) : site_replace(pass, pass->model->output, x);
    return task_class_loss(pass, word_logits(pass, x), options, result);
}

const struct task_kind task_cloze = {
    .name = "cloze",
    .head = head,
    .read_labels = read_labels,
    .begin = begin,
    .encode = encode,
    .pack = pack,
    .loss = loss,
    .start = task_class_start,
    .keep = task_class_keep,
    .measure = task_class_measure,
    .add_answer = task_class_answer,
};
