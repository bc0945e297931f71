/* Extractive question answering: which stretch of the second text answers the question. A head with two outputs a
 * token: softmax over the sequence's tokens for where the answer starts, and for where it ends; the loss is the mean of
 * both. Devlin et al. 2018, arXiv:1810.04805, 4.2; exact match and F1 of Rajpurkar et al. 2016, arXiv:1606.05250, 6.1
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/task.h"
#include "trainer/task_head.h"
#include "trainer/tokenizer_text.h"
#include "trainer/trial.h"
#include "trainer/word_pieces.h"

enum { MAX_ANSWER_TOKENS = 30 };

/* Rows to tokens --------------------------------------------------------------------------------------------------- */

/* The first answer's bytes [*start, *end) of the context. */
static int find_answer(const struct row_encoding *a, int *start, int *end, struct err *err)
{
    const char *context = a->row->pair, *answer = a->row->list[0], *found = NULL;
    size_t n = strlen(answer), at = 0, length;
    for (int32_t left = a->row->start; left > 0 && context[at]; left--, at += length)
        (void)utf8_decode(context + at, strlen(context + at), &length);
    if (a->row->start >= 0 && strncmp(context + at, answer, n) == 0)
        found = context + at;
    else
        found = strstr(context, answer);
    if (n == 0 || !found)
        return err_set(err, ERR_DATA, "'%s', line %u: the answer '%.60s' does not stand in the second text",
                       a->rows->path, a->row->line, answer);
    *start = (int)(found - context);
    *end = *start + (int)n;
    return 0;
}

/* Question and special tokens: what stands in front of the context's tokens, and behind them. */
struct frame {
    struct encoding all; /* of the question and "a" */
    int n_front, n_a;
};

static int make_frame(struct row_encoding *a, struct frame *frame, struct err *err)
{
    struct encoding word;
    const struct tokenizer *tokenizer = a->trial->tokenizer;
    int most = a->trial->max_tokens;
    int rc = tokenizer_encode_plain(tokenizer, "a", most, &a->scratch, &word, err);
    if (rc == 0)
        rc = tokenizer_encode(tokenizer, a->row->text, "a", most / 2 + 1, &a->scratch, &frame->all, err);
    if (rc < 0)
        return rc;
    frame->n_a = word.n;
    frame->n_front = frame->all.n - word.n;
    while (frame->n_front > 0 &&
           memcmp(frame->all.ids + frame->n_front, word.ids, (size_t)word.n * sizeof(*word.ids)) != 0)
        frame->n_front--;
    return 0;
}

static void put(struct example *example, const struct frame *frame, int first, int n)
{
    for (int i = first; i < first + n; i++) {
        example->words[example->n_tokens] = -1;
        example->type_ids[example->n_tokens] = frame->all.type_ids[i];
        example->ids[example->n_tokens++] = frame->all.ids[i];
    }
}

/* Tokens of the answer, both ends included; of one that was cut off the first token of all. */
static void mark_answer(struct example *example, int start, int end)
{
    int first = -1, last = -1;
    for (int i = 0; i < example->n_tokens; i++) {
        const int32_t *unit = example->words[i] < 0 ? NULL : example->units + 2 * example->words[i];
        if (!unit)
            continue;
        if (first < 0 && unit[1] > start)
            first = i;
        if (unit[0] < end)
            last = i;
    }
    bool is_whole = first >= 0 && last >= first && example->units[2 * example->words[last] + 1] >= end;
    example->answer[0] = is_whole ? first : 0;
    example->answer[1] = is_whole ? last : 0;
}

static int alloc_example(struct dataset *dataset, size_t tokens, size_t units, struct example *example, struct err *err)
{
    struct arena *arena = &dataset->arena;
    *example = (struct example){.ids = arena_alloc(arena, (tokens + 1) * sizeof(int32_t)),
                                .type_ids = arena_alloc(arena, tokens + 1),
                                .words = arena_alloc(arena, (tokens + 1) * sizeof(int32_t)),
                                .units = arena_alloc(arena, (2 * units + 2) * sizeof(int32_t))};
    return example->ids && example->type_ids && example->words && example->units
               ? 0
               : err_set(err, ERR_NOMEM, "no memory for %zu tokens", tokens);
}

static int encode_row(struct row_encoding *a, struct err *err)
{
    struct example *example = &a->dataset->examples[a->dataset->count];
    struct text_unit *units = NULL;
    struct encoding context;
    struct frame frame = {0};
    int n_units = 0, start = 0, end = 0;
    if (!a->row->pair || (a->row->list_count == 0 && a->row->label[0]))
        return err_set(err, ERR_DATA, "'%s', line %u: there is no text to answer from", a->rows->path, a->row->line);
    int rc = a->row->list_count ? find_answer(a, &start, &end, err) : 0;
    if (rc == 0)
        rc = word_pieces_cut(a->trial->task_state, a->row->pair, &a->scratch, &units, &n_units, &context, err);
    if (rc == 0)
        rc = make_frame(a, &frame, err);
    if (rc == 0 && n_units == 0)
        rc = err_set(err, ERR_DATA, "'%s', line %u: the second text is empty", a->rows->path, a->row->line);
    int around = frame.all.n - frame.n_a, room = a->trial->max_tokens - around;
    if (rc == 0 && room < 1)
        rc = err_set(err, ERR_USAGE, "%d tokens leave no room for a text behind the question", a->trial->max_tokens);
    if (rc < 0)
        return rc;
    int kept = context.n < room ? context.n : room;
    rc = alloc_example(a->dataset, (size_t)(around + kept), (size_t)n_units, example, err);
    if (rc < 0)
        return rc;
    put(example, &frame, 0, frame.n_front);
    for (int u = 0; u < n_units; u++) {
        example->units[2 * u] = units[u].start;
        example->units[2 * u + 1] = units[u].end;
        for (int i = units[u].first; i < units[u].first + units[u].n && i < kept; i++) {
            example->words[example->n_tokens] = u;
            example->type_ids[example->n_tokens] = frame.all.type_ids[frame.n_front];
            example->ids[example->n_tokens++] = context.ids[i];
        }
    }
    put(example, &frame, frame.n_front + frame.n_a, frame.all.n - frame.n_front - frame.n_a);
    if (a->row->list_count)
        mark_answer(example, start, end);
    a->dataset->count++;
    a->dataset->n_tokens += (size_t)example->n_tokens;
    a->dataset->n_truncated += kept < context.n;
    return 0;
}

static int encode(const struct trial *trial, struct dataset *dataset, const struct rows *rows, struct err *err)
{
    return task_encode_rows(trial, dataset, rows, encode_row, err);
}

/* Training and prediction ------------------------------------------------------------------------------------------ */

static bool pack(const struct packing *packing, struct batch *batch)
{
    int32_t *places = arena_alloc(packing->arena, (2 * packing->n + 2) * sizeof(*places));
    uint32_t index;
    for (size_t i = 0; places && i < packing->n; i++)
        for (int k = 0; k < 2; k++)
            places[2 * i + (size_t)k] =
                batch->layout.segments[i].first + packing_example(packing, i, &index)->answer[k];
    batch->places = places;
    return places != NULL;
}

static struct value *loss(struct pass *pass, struct loss_options options, struct task_result *result)
{
    struct value *x = task_head_tokens(pass, task_hidden(pass));
    int n = pass->batch->layout.n_segments;
    real *losses = tape_alloc(pass->tape, "targets", (size_t)n * sizeof(*losses));
    if (!x || !losses)
        return NULL;
    if (result)
        *result = (struct task_result){.logits = x, .n = n, .losses = losses};
    return op_place_cross_entropy(pass->tape, x, pass->batch->places, options.divisor, losses);
}

static int start(const struct trial *trial, struct predictions *p, struct arena *arena, struct err *err)
{
    (void)trial;
    p->spans = arena_calloc(arena, 2 * p->n + 2, sizeof(*p->spans));
    return p->spans ? 0 : err_set(err, ERR_NOMEM, "no memory for %zu predictions", p->n);
}

/* Of the stretches of at most 30 tokens of the second text the one with the largest sum of its ends' logits. */
static void best_stretch(const struct value *x, const struct segment *segment, const int32_t *words, int32_t out[2])
{
    double best = -INFINITY;
    for (int s = 0; s < segment->keys; s++)
        for (int e = s; e < segment->keys && e < s + MAX_ANSWER_TOKENS && words[s] >= 0; e++) {
            double score = (double)x->data[2 * (segment->first + s)] + (double)x->data[2 * (segment->first + e) + 1];
            if (words[e] < 0 || score <= best)
                continue;
            best = score;
            out[0] = words[s];
            out[1] = words[e];
        }
}

/* Rows of hidden states to units of the context, −1 for the others. */
static const int32_t *units_of_rows(const struct value *x, int sequence, int first_row, const struct example *example,
                                    int32_t *words)
{
    const struct segment *segment = &x->layout->segments[sequence];
    for (int r = 0; r < segment->keys; r++) {
        int32_t origin = x->layout->origin ? x->layout->origin[segment->first + r] : segment->first + r;
        words[r] = origin < 0 ? -1 : example->words[origin - first_row];
    }
    return words;
}

static void keep(const struct trial *trial, const struct dataset *dataset, const struct batch *batch,
                 const struct task_result *result, struct predictions *p, size_t first, size_t n)
{
    const struct value *x = result->logits;
    (void)trial;
    for (size_t i = 0; i < n; i++) {
        const struct example *example = &dataset->examples[first + i];
        int32_t *words = calloc((size_t)x->layout->segments[i].keys + 1, sizeof(*words)), span[2] = {0, 0};
        if (words)
            best_stretch(x, &x->layout->segments[i],
                         units_of_rows(x, (int)i, batch->layout.segments[i].first, example, words), span);
        free(words);
        p->spans[2 * (first + i)] = example->units[2 * span[0]];
        p->spans[2 * (first + i) + 1] = example->units[2 * span[1] + 1];
        p->losses[first + i] = result->losses[i];
        p->labels[first + i] = 1;
        p->predicted[first + i] = -1;
    }
}

/* Metrics ---------------------------------------------------------------------------------------------------------- */

static bool is_article(const char *word)
{
    return strcmp(word, "a") == 0 || strcmp(word, "an") == 0 || strcmp(word, "the") == 0;
}

/* Lower case, ASCII punctuation off, articles off: words with one space between them. */
static bool normalize(const char *text, size_t n, struct text *out)
{
    struct codes codes = {0};
    struct text word = {0};
    for (size_t at = 0, length; at < n; at += length)
        codes_add(&codes, (int32_t)utf8_decode(text + at, n - at, &length));
    text_lowercase(&codes);
    for (size_t i = 0; i <= codes.n; i++) {
        int32_t code = i < codes.n ? codes.items[i] : ' ';
        char bytes[4];
        bool is_mark = code > ' ' && code < 127 && strchr("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", (char)code);
        if (!text_is_white_space(code)) {
            if (!is_mark)
                text_add_n(&word, bytes, utf8_encode((uint32_t)code, bytes));
            continue;
        }
        if (word.len && !is_article(word.data))
            text_printf(out, "%s%s", out->len ? " " : "", word.data);
        text_reset(&word);
    }
    bool is_done = !codes.failed && !word.failed && !out->failed;
    codes_done(&codes);
    text_done(&word);
    return is_done;
}

/* Moves to the next word of a normalised text; its length, 0 at the end. */
static size_t step(const char **at)
{
    *at += strspn(*at, " ");
    return strcspn(*at, " ");
}

static double f1_of(const char *found, const char *expected)
{
    size_t n_found = 0, n_expected = 0, n, m;
    double common = 0;
    for (const char *at = expected; (n = step(&at)); at += n)
        n_expected++;
    for (const char *at = found; (n = step(&at)); at += n) {
        size_t before = 0, there = 0;
        for (const char *other = found; other < at && (m = step(&other)); other += m)
            before += other < at && m == n && memcmp(other, at, n) == 0;
        for (const char *other = expected; (m = step(&other)); other += m)
            there += m == n && memcmp(other, at, n) == 0;
        common += before < there;
        n_found++;
    }
    if (n_found == 0 || n_expected == 0)
        return n_found == n_expected;
    return 2 * common / (double)(n_found + n_expected);
}

/* The best over the row's answers. */
static int score(const struct row *row, const int32_t span[2], double *exact, double *f1, struct err *err)
{
    struct text found = {0};
    bool is_done = normalize(row->pair + span[0], (size_t)(span[1] - span[0]), &found);
    *exact = *f1 = 0;
    for (int k = 0; k < row->list_count && is_done; k++) {
        struct text expected = {0};
        is_done = normalize(row->list[k], strlen(row->list[k]), &expected);
        const char *a = found.data ? found.data : "", *b = expected.data ? expected.data : "";
        *exact = fmax(*exact, is_done && strcmp(a, b) == 0);
        *f1 = fmax(*f1, is_done ? f1_of(a, b) : 0);
        text_done(&expected);
    }
    text_done(&found);
    return is_done ? 0 : err_set(err, ERR_NOMEM, "no memory to compare answers");
}

static int measure(const struct evaluated *evaluated, struct metrics *metrics, struct arena *arena, struct err *err)
{
    const struct predictions *p = evaluated->predictions;
    double exact = 0, f1 = 0, loss_sum = 0;
    int rc = 0;
    (void)arena;
    for (size_t i = 0; i < p->n && rc == 0; i++) {
        double own_exact, own_f1;
        rc = score(&evaluated->rows->items[i], p->spans + 2 * i, &own_exact, &own_f1, err);
        exact += own_exact;
        f1 += own_f1;
        loss_sum += (double)p->losses[i];
    }
    metrics_set(metrics, "exact_match", exact / (double)p->n);
    metrics_set(metrics, "f1", f1 / (double)p->n);
    metrics_set(metrics, "loss", loss_sum / (double)p->n);
    return rc;
}

static void add_answer(const struct evaluated *evaluated, size_t i, bool is_labelled, struct text *line)
{
    const struct row *row = &evaluated->rows->items[i];
    const int32_t *span = evaluated->predictions->spans + 2 * i;
    struct text found = {0};
    if (is_labelled && row->list_count) {
        text_add(line, ",\"label\":");
        text_add_json(line, row->list[0]);
    }
    text_add_n(&found, row->pair + span[0], (size_t)(span[1] - span[0]));
    text_add(line, ",\"predicted\":");
    text_add_json(line, found.data ? found.data : "");
    line->failed = line->failed || found.failed;
    text_done(&found);
}

const struct task_kind task_question_answering = {
    .name = "question_answering",
    .model_task = TASK_SPAN,
    .n_outputs = 2,
    .begin = task_begin_words,
    .encode = encode,
    .pack = pack,
    .weight = task_weight_one,
    .loss = loss,
    .start = start,
    .keep = keep,
    .measure = measure,
    .add_answer = add_answer,
};
