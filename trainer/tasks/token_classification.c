/* Token classification: a tag for each word (named entities, parts of speech). A linear head over every token; a word's
 * tag is learned and read at its first token.   Devlin et al. 2018, arXiv:1810.04805, 5.3 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/task.h"
#include "trainer/task_head.h"
#include "trainer/trial.h"
#include "trainer/word_pieces.h"

/* The texts between spaces of a row's label or text. */
struct words {
    const char *at;
    size_t n; /* bytes of the word at `at`; 0: there are no more */
};

static struct words first_word(const char *text)
{
    return (struct words){text, strcspn(text, " ")};
}

static struct words next_word(struct words word)
{
    const char *at = word.at + word.n + (word.at[word.n] == ' ');
    return (struct words){at, strcspn(at, " ")};
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t count_words(const char *text)
{
    size_t n = 0;
    for (struct words word = first_word(text); word.n; word = next_word(word))
        n++;
    return n;
}

/* All tags of the training rows, sorted. */
static int read_labels(struct trial *trial, struct err *err)
{
    const struct rows *rows = &trial->train_rows;
    size_t n = 0, n_tags = 0;
    for (size_t i = 0; i < rows->count; i++)
        n += count_words(rows->items[i].label);
    const char **tags = calloc(n + 1, sizeof(*tags));
    if (!tags)
        return err_set(err, ERR_NOMEM, "no memory for the tags of '%s'", rows->path);
    trial->labels = (struct labels){tags, 0};
    for (size_t i = 0, k = 0; i < rows->count; i++)
        for (struct words tag = first_word(rows->items[i].label); tag.n; tag = next_word(tag))
            if (!(tags[k++] = arena_printf(&trial->arena, "%.*s", (int)tag.n, tag.at)))
                return err_set(err, ERR_NOMEM, "no memory for the tags of '%s'", rows->path);
    qsort(tags, n, sizeof(*tags), compare_texts);
    for (size_t i = 0; i < n; i++)
        if (n_tags == 0 || strcmp(tags[n_tags - 1], tags[i]) != 0)
            tags[n_tags++] = tags[i];
    tags[n_tags] = NULL;
    trial->labels.count = (int)n_tags;
    if (n_tags < 2 || n_tags > LABELS_MAX)
        return err_set(err, ERR_DATA, "'%s': %zu different tags, 2 to %d were expected", rows->path, n_tags,
                       LABELS_MAX);
    return 0;
}

static int find_tag(const struct row_encoding *t, struct words tag, int32_t *label, struct err *err)
{
    const struct labels *labels = &t->trial->labels;
    for (*label = 0; *label < labels->count; ++*label)
        if (strlen(labels->names[*label]) == tag.n && memcmp(labels->names[*label], tag.at, tag.n) == 0)
            return 0;
    return err_set(err, ERR_DATA, "'%s', line %u: tag '%.*s' is not among those of the training data", t->rows->path,
                   t->row->line, (int)tag.n, tag.at);
}

static int alloc_example(struct row_encoding *t, size_t room, struct example *example, struct err *err)
{
    struct arena *arena = &t->dataset->arena;
    *example = (struct example){.ids = arena_alloc(arena, (room + 1) * sizeof(int32_t)),
                                .type_ids = arena_calloc(arena, room + 1, 1),
                                .targets = arena_alloc(arena, (room + 1) * sizeof(int32_t)),
                                .words = arena_alloc(arena, (room + 1) * sizeof(int32_t)),
                                .tags = arena_calloc(arena, room + 1, sizeof(int32_t))};
    return example->ids && example->type_ids && example->targets && example->words && example->tags
               ? 0
               : err_set(err, ERR_NOMEM, "no memory for %zu tokens", room);
}

static void add_token(struct example *example, int32_t id, int32_t label, int32_t word)
{
    example->ids[example->n_tokens] = id;
    example->words[example->n_tokens] = word;
    example->targets[example->n_tokens++] = label;
}

/* Words that no longer fit are cut off; their tags count as missed when they are measured. */
static int add_words(struct row_encoding *t, size_t room, struct example *example, struct err *err)
{
    bool is_labelled = t->row->label[0] != '\0';
    struct words tag = first_word(t->row->label);
    int rc = 0;
    for (struct words word = first_word(t->row->text); word.n && rc == 0; word = next_word(word)) {
        struct encoding part;
        int32_t label = -100;
        rc = word_pieces_encode(t->trial->task_state, word.at, word.n, &t->scratch, &part, err);
        if (rc == 0 && is_labelled)
            rc = find_tag(t, tag, &label, err);
        if (rc == 0 && (size_t)example->n_tokens + (size_t)part.n > room) {
            t->dataset->n_truncated++;
            break;
        }
        for (int i = 0; i < part.n && rc == 0; i++)
            add_token(example, part.ids[i], i == 0 ? label : -100, i == 0 ? example->n_words : -1);
        example->n_words++;
        tag = next_word(tag);
    }
    return rc;
}

static int encode_row(struct row_encoding *t, struct err *err)
{
    struct example *example = &t->dataset->examples[t->dataset->count];
    const struct word_pieces *p = t->trial->task_state;
    size_t words = count_words(t->row->text), tags = count_words(t->row->label), most = (size_t)t->trial->max_tokens;
    if (t->row->label[0] && words != tags)
        return err_set(err, ERR_DATA, "'%s', line %u: %zu words and %zu tags, a tag for each word was expected",
                       t->rows->path, t->row->line, words, tags);
    if (most <= (size_t)p->n_special)
        return err_set(err, ERR_USAGE, "%zu tokens do not hold the %d special ones", most, p->n_special);
    int rc = alloc_example(t, most, example, err);
    for (int i = 0; rc == 0 && i < p->n_front; i++)
        add_token(example, p->special[i], -100, -1);
    if (rc == 0)
        rc = add_words(t, most - (size_t)(p->n_special - p->n_front), example, err);
    if (rc == 0 && example->n_tokens == p->n_front)
        rc = err_set(err, ERR_DATA, "'%s', line %u: no word fits into %zu tokens", t->rows->path, t->row->line, most);
    for (int i = p->n_front; rc == 0 && i < p->n_special; i++)
        add_token(example, p->special[i], -100, -1);
    example->n_targets = example->n_tokens;
    t->dataset->n_tokens += (size_t)example->n_tokens;
    t->dataset->count++;
    return rc;
}

static int encode(const struct trial *trial, struct dataset *dataset, const struct rows *rows, struct err *err)
{
    return task_encode_rows(trial, dataset, rows, encode_row, err);
}

static bool pack(const struct packing *packing, struct batch *batch)
{
    int32_t *labels = arena_alloc(packing->arena, ((size_t)batch->layout.n_rows + 1) * sizeof(*labels));
    uint32_t index;
    for (size_t i = 0; labels && i < packing->n; i++) {
        const struct example *example = packing_example(packing, i, &index);
        memcpy(labels + batch->layout.segments[i].first, example->targets, (size_t)example->n_tokens * sizeof(*labels));
    }
    batch->labels = labels;
    return labels != NULL;
}

static double weight(const struct packing *packing, const struct example *example, uint32_t index)
{
    int n = 0;
    (void)packing;
    (void)index;
    for (int i = 0; i < example->n_tokens; i++)
        n += example->targets[i] >= 0;
    return n;
}

/* All rows have logits: those without a label tell what is predicted where no label is known. */
static struct value *loss(struct pass *pass, struct loss_options options, struct task_result *result)
{
    struct value *x = task_head_tokens(pass, task_hidden(pass));
    if (!x)
        return NULL;
    int32_t *labels = tape_alloc(pass->tape, "targets", (size_t)x->rows * sizeof(*labels));
    for (int i = 0; labels && i < x->rows; i++) {
        int32_t origin = x->layout->origin ? x->layout->origin[i] : i;
        labels[i] = origin < 0 ? -100 : pass->batch->labels[origin];
    }
    if (!labels)
        return NULL;
    options.labels = labels;
    return task_class_loss(pass, x, options, result);
}

static int start(const struct trial *trial, struct predictions *p, struct arena *arena, struct err *err)
{
    p->tags = arena_calloc(arena, p->n + 1, sizeof(*p->tags));
    return p->tags ? task_token_start(trial, p, arena, err)
                   : err_set(err, ERR_NOMEM, "no memory for %zu predictions", p->n);
}

static int most_likely(const struct value *x, int row)
{
    const real *values = x->data + (size_t)row * (size_t)x->cols;
    int best = 0;
    for (int c = 1; c < x->cols; c++)
        best = values[c] > values[best] ? c : best;
    return best;
}

static void keep(const struct trial *trial, const struct dataset *dataset, const struct batch *batch,
                 const struct task_result *result, struct predictions *p, size_t first, size_t n)
{
    const struct value *x = result->logits;
    (void)trial;
    for (size_t i = 0; i < n; i++) {
        const struct segment *segment = &x->layout->segments[i];
        const struct example *example = &dataset->examples[first + i];
        int begin_row = batch->layout.segments[i].first, labelled = 0;
        real sum = 0;
        for (int r = segment->first; r < segment->first + segment->keys; r++) {
            int32_t origin = x->layout->origin ? x->layout->origin[r] : r;
            int32_t word = origin < 0 ? -1 : example->words[origin - begin_row];
            if (word >= 0)
                example->tags[word] = most_likely(x, r);
            labelled += word >= 0 && batch->labels[origin] >= 0;
            sum += result->losses[r];
        }
        p->tags[first + i] = example->tags;
        p->n_tokens[first + i] = p->labels[first + i] = labelled;
        p->losses[first + i] = labelled ? sum / (real)labelled : 0;
        p->predicted[first + i] = -1;
    }
}

/* Entities ---------------------------------------------------------------------------------------------------------
 * A stretch of words of one type, by the marks in front of a tag's hyphen: B begins one, I, E and M go on, S is one by
 * itself, L ends one; a tag without a mark that is no "O" is of its own type and goes on. As seqeval's default. */

struct span {
    int first, last;
    const char *type; /* NULL: none */
};

static char mark_of(const char *tag)
{
    return tag[0] && tag[1] == '-' ? tag[0] : strcmp(tag, "O") == 0 ? 'O' : 'I';
}

static const char *type_of(const char *tag)
{
    return tag[0] && tag[1] == '-' ? tag + 2 : strcmp(tag, "O") == 0 ? "" : tag;
}

static bool ends_before(const char *previous, const char *tag)
{
    char a = mark_of(previous), b = mark_of(tag);
    if (a == 'O')
        return false;
    return a == 'E' || a == 'S' || a == 'L' || b == 'B' || b == 'S' || b == 'O' ||
           strcmp(type_of(previous), type_of(tag)) != 0;
}

static bool begins_at(const char *previous, const char *tag)
{
    char a = mark_of(previous), b = mark_of(tag);
    if (b == 'O')
        return false;
    return b == 'B' || b == 'S' || a == 'E' || a == 'S' || a == 'L' || a == 'O' ||
           strcmp(type_of(previous), type_of(tag)) != 0;
}

struct tag_list {
    const char *const *tags;
    int n;
};

/* The entity that begins at or behind `from`; type NULL: there is none. */
static struct span next_span(struct tag_list list, int from)
{
    for (int i = from; i < list.n; i++) {
        if (!begins_at(i ? list.tags[i - 1] : "O", list.tags[i]))
            continue;
        int last = i;
        while (last + 1 < list.n && !ends_before(list.tags[last], list.tags[last + 1]))
            last++;
        return (struct span){i, last, type_of(list.tags[i])};
    }
    return (struct span){0};
}

static bool has_span(struct tag_list list, struct span wanted)
{
    for (struct span span = next_span(list, 0); span.type; span = next_span(list, span.first + 1))
        if (span.first == wanted.first && span.last == wanted.last && strcmp(span.type, wanted.type) == 0)
            return true;
    return false;
}

struct counts {
    double words, hits, expected, found, both;
};

static void count(struct counts *counts, struct tag_list expected, struct tag_list found)
{
    for (int i = 0; i < expected.n; i++) {
        counts->words++;
        counts->hits += strcmp(expected.tags[i], found.tags[i]) == 0;
    }
    for (struct span span = next_span(expected, 0); span.type; span = next_span(expected, span.first + 1))
        counts->expected++;
    for (struct span span = next_span(found, 0); span.type; span = next_span(found, span.first + 1)) {
        counts->found++;
        counts->both += has_span(expected, span);
    }
}

/* Words that were cut off are predicted as "O", or as what no tag is when the data has no "O". */
static int count_row(const struct evaluated *e, size_t i, struct counts *counts, struct err *err)
{
    struct arena arena = {0};
    const struct row *row = &e->rows->items[i];
    size_t n = count_words(row->label), k = 0;
    const char **expected = arena_alloc(&arena, (2 * n + 1) * sizeof(*expected)), **found = expected + n;
    int rc = expected ? 0 : err_set(err, ERR_NOMEM, "no memory for %zu tags", n);
    for (struct words tag = first_word(row->label); tag.n && rc == 0; tag = next_word(tag), k++) {
        bool is_cut = (int)k >= e->dataset->examples[i].n_words;
        expected[k] = arena_printf(&arena, "%.*s", (int)tag.n, tag.at);
        found[k] = is_cut ? "O" : e->trial->labels.names[e->predictions->tags[i][k]];
        rc = expected[k] ? 0 : err_set(err, ERR_NOMEM, "no memory for %zu tags", n);
    }
    if (rc == 0)
        count(counts, (struct tag_list){expected, (int)n}, (struct tag_list){found, (int)n});
    arena_done(&arena);
    return rc;
}

static int measure(const struct evaluated *evaluated, struct metrics *metrics, struct arena *arena, struct err *err)
{
    struct counts c = {0};
    int rc = 0;
    (void)arena;
    for (size_t i = 0; i < evaluated->predictions->n && rc == 0; i++)
        rc = count_row(evaluated, i, &c, err);
    metrics_of_tokens(metrics, evaluated->predictions);
    metrics_set(metrics, "accuracy", c.words > 0 ? c.hits / c.words : 0);
    metrics_set(metrics, "precision", c.found > 0 ? c.both / c.found : 0);
    metrics_set(metrics, "recall", c.expected > 0 ? c.both / c.expected : 0);
    metrics_set(metrics, "f1", c.found + c.expected > 0 ? 2 * c.both / (c.found + c.expected) : 0);
    return rc;
}

static void add_answer(const struct evaluated *evaluated, size_t i, bool is_labelled, struct text *line)
{
    const struct example *example = &evaluated->dataset->examples[i];
    struct text tags = {0};
    if (is_labelled) {
        text_add(line, ",\"label\":");
        text_add_json(line, evaluated->rows->items[i].label);
    }
    for (int k = 0; k < example->n_words; k++)
        text_printf(&tags, "%s%s", k ? " " : "", evaluated->trial->labels.names[evaluated->predictions->tags[i][k]]);
    text_add(line, ",\"predicted\":");
    text_add_json(line, tags.data ? tags.data : "");
    line->failed = line->failed || tags.failed;
    text_done(&tags);
}

const struct task_kind task_token_classification = {
    .name = "token_classification",
    .model_task = TASK_TOKENS,
    .read_labels = read_labels,
    .begin = task_begin_words,
    .encode = encode,
    .pack = pack,
    .weight = weight,
    .loss = loss,
    .start = start,
    .keep = keep,
    .measure = measure,
    .add_answer = add_answer,
};
