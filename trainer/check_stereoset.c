/* StereoSet's intra-sentence items: a sentence with a gap, and a stereotype, an anti-stereotype and an unrelated word
 * for it (docs/checks.md).   Nadeem et al. 2021, arXiv:2004.09456 */
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "common/json.h"
#include "trainer/check.h"
#include "trainer/check_file.h"
#include "trainer/likelihood.h"

enum { CHOICES = 3, WIDTH = 4, MAX_PIECES = 16 };

static const char *const gold[CHOICES] = {"stereotype", "anti-stereotype", "unrelated"};

struct stereo_sentence {
    const char *context, *target;
    const char *sentences[CHOICES]; /* in the order of `gold` */
    int term;
};

struct stereo_file {
    struct arena arena;
    struct json_lines lines;
    struct stereo_sentence *items;
    size_t count;
    char hash[HASH_HEX_SIZE];
};

static int read_choices(struct stereo_sentence *item, const cJSON *list, struct err *err)
{
    for (const cJSON *sentence = list->child; sentence; sentence = sentence->next) {
        const char *label, *text;
        int rc = json_get_string(sentence, "gold_label", "sentences", &label, err);
        if (rc == 0)
            rc = json_get_string(sentence, "sentence", "sentences", &text, err);
        if (rc < 0)
            return rc;
        int choice = 0;
        while (choice < CHOICES && strcmp(label, gold[choice]) != 0)
            choice++;
        if (choice == CHOICES)
            return err_set(err, ERR_FORMAT, "gold_label is '%s', stereotype, anti-stereotype or unrelated was expected",
                           label);
        item->sentences[choice] = text;
    }
    for (int i = 0; i < CHOICES; i++)
        if (!item->sentences[i])
            return err_set(err, ERR_FORMAT, "there is no sentence with the gold_label '%s'", gold[i]);
    return 0;
}

static int read_item(struct stereo_file *file, const cJSON *json, struct err *err)
{
    struct stereo_sentence *item = &file->items[file->count];
    const cJSON *sentences;
    int rc = json_get_string(json, "context", "item", &item->context, err);
    if (rc == 0)
        rc = json_get_string(json, "target", "item", &item->target, err);
    if (rc == 0 && !strstr(item->context, "BLANK"))
        rc = err_set(err, ERR_FORMAT, "context '%.60s' has no BLANK", item->context);
    if (rc == 0)
        rc = json_get_array(json, "sentences", "item", &sentences, err);
    if (rc == 0)
        rc = read_choices(item, sentences, err);
    if (rc < 0)
        return rc;
    item->term = 0;
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->items[i].target, item->target) == 0) {
            item->term = file->items[i].term;
            break;
        } else if (file->items[i].term >= item->term) {
            item->term = file->items[i].term + 1;
        }
    file->count++;
    return 0;
}

/* Where an item stands in the file: by its id, or the number it has. */
static int wrap_place(const struct stereo_file *file, const cJSON *item, int number, struct err *err)
{
    const cJSON *id = json_get(item, "id");
    char key[128];
    if (!cJSON_IsString(id))
        return err_wrap(err, "'%s', line %d: data.intrasentence[%d]", file->lines.path, file->lines.items[0].line,
                        number);
    snprintf(key, sizeof(key), "\"%s\"", id->valuestring);
    return err_wrap(err, "'%s', line %d: item '%s'", file->lines.path, json_lines_find(&file->lines, 1, key),
                    id->valuestring);
}

static void hash_file_items(struct stereo_file *file)
{
    struct text all = {0};
    for (size_t i = 0; i < file->count; i++)
        for (int k = 0; k < CHOICES; k++)
            text_printf(&all, "%zu:%s%zu:%s", strlen(file->items[i].context), file->items[i].context,
                        strlen(file->items[i].sentences[k]), file->items[i].sentences[k]);
    hash_bytes(all.data ? all.data : "", all.len, file->hash);
    text_done(&all);
}

static int read_file(struct stereo_file *file, const char *path, struct err *err)
{
    const cJSON *data, *list;
    *file = (struct stereo_file){0};
    int rc = json_lines_read(&file->lines, path, err), number = 0;
    if (rc == 0)
        rc = json_get_object(file->lines.items[0].root, "data", path, &data, err);
    if (rc == 0)
        rc = json_get_array(data, "intrasentence", "data", &list, err);
    if (rc < 0)
        return rc;
    file->items = arena_calloc(&file->arena, (size_t)cJSON_GetArraySize(list) + 1, sizeof(*file->items));
    if (!file->items)
        return err_set(err, ERR_NOMEM, "no memory for the items of '%s'", path);
    for (const cJSON *item = list->child; item && rc == 0; item = item->next, number++)
        if ((rc = read_item(file, item, err)) < 0)
            wrap_place(file, item, number, err);
    if (rc == 0 && file->count == 0)
        rc = err_set(err, ERR_FORMAT, "'%s': data.intrasentence is empty", path);
    if (rc == 0)
        hash_file_items(file);
    return rc;
}

static void file_done(struct stereo_file *file)
{
    json_lines_done(&file->lines);
    arena_done(&file->arena);
}

/* Masked ----------------------------------------------------------------------------------------------------------- */

/* The word of the sentence that stands where the context has BLANK, without punctuation. */
static const char *filler_of(const struct stereo_sentence *item, int choice, struct arena *arena)
{
    int index = 0;
    for (const char *c = item->context; c < strstr(item->context, "BLANK"); c++)
        index += *c == ' ';
    const char *word = item->sentences[choice];
    for (; index > 0 && *word; index--) {
        word += strcspn(word, " ");
        word += *word == ' ';
    }
    char *out = arena_strndup(arena, word, strcspn(word, " "));
    size_t n = 0;
    for (const char *c = out; c && *c; c++)
        if (!ispunct((unsigned char)*c))
            out[n++] = *c;
    if (out)
        out[n] = '\0';
    return out;
}

/* Its pieces are asked for one behind the other: a piece sees what stands in front of it in the gap, nothing behind. */
struct gap {
    struct encoding front, word, back;
    int special_front, n_special;
    const int32_t *special;
};

static int fill_gap(struct likelihood *l, const struct gap *gap, int piece, struct scored_text *scored, struct err *err)
{
    int behind = gap->n_special - gap->special_front, at = 0;
    *scored = (struct scored_text){.n = gap->n_special + gap->front.n + piece + 1 + gap->back.n, .n_positions = 1};
    scored->ids = arena_alloc(&l->arena, (size_t)scored->n * sizeof(*scored->ids));
    scored->positions = arena_alloc(&l->arena, sizeof(*scored->positions));
    if (!scored->ids || !scored->positions)
        return err_set(err, ERR_NOMEM, "no memory for a sentence with a gap");
    for (int i = 0; i < gap->special_front; i++)
        scored->ids[at++] = gap->special[i];
    for (int i = 0; i < gap->front.n; i++)
        scored->ids[at++] = gap->front.ids[i];
    for (int i = 0; i <= piece; i++)
        scored->ids[at++] = gap->word.ids[i];
    scored->positions[0] = at - 1;
    for (int i = 0; i < gap->back.n; i++)
        scored->ids[at++] = gap->back.ids[i];
    for (int i = 0; i < behind; i++)
        scored->ids[at++] = gap->special[gap->special_front + i];
    return scored->n <= l->trial->max_tokens
               ? 0
               : err_set(err, ERR_DATA, "a sentence has %d tokens, max_tokens is %d", scored->n, l->trial->max_tokens);
}

static int open_gap(struct likelihood *l, const struct stereo_sentence *item, int choice, struct gap *gap,
                    struct err *err)
{
    const struct tokenizer *tokenizer = l->trial->tokenizer;
    const char *blank = strstr(item->context, "BLANK"), *word = filler_of(item, choice, &l->arena);
    char *front = arena_strndup(&l->arena, item->context, (size_t)(blank - item->context));
    struct encoding special;
    if (!word || !front)
        return err_set(err, ERR_NOMEM, "no memory for a sentence with a gap");
    int most = l->trial->max_tokens, rc = tokenizer_encode(tokenizer, "", NULL, most, &l->arena, &special, err);
    if (rc == 0)
        rc = tokenizer_encode_plain(tokenizer, front, most, &l->arena, &gap->front, err);
    if (rc == 0)
        rc = tokenizer_encode_plain(tokenizer, word, MAX_PIECES, &l->arena, &gap->word, err);
    if (rc == 0)
        rc = tokenizer_encode_plain(tokenizer, blank + strlen("BLANK"), most, &l->arena, &gap->back, err);
    if (rc == 0 && gap->word.n == 0)
        rc = err_set(err, ERR_DATA, "the word for the gap of '%.60s' has no tokens", item->context);
    gap->special = special.ids;
    gap->n_special = special.n;
    gap->special_front = (special.n + 1) / 2;
    return rc;
}

/* Whether every gap can be filled and every sentence fits the model, before anything is trained. */
static int check_gaps(struct likelihood *l, const struct stereo_file *file, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < file->count * CHOICES && rc == 0; i++) {
        struct arena_mark mark = arena_mark(&l->arena);
        struct scored_text scored;
        struct gap gap;
        rc = open_gap(l, &file->items[i / CHOICES], (int)(i % CHOICES), &gap, err);
        if (rc == 0)
            rc = fill_gap(l, &gap, gap.word.n - 1, &scored, err);
        if (rc < 0)
            err_wrap(err, "'%s', item %zu", file->lines.path, i / CHOICES + 1);
        arena_rewind(&l->arena, mark);
    }
    return rc;
}

static int fits(struct trial *trial, const struct trial_check *check, struct err *err)
{
    struct likelihood likelihood;
    struct stereo_file file = {0};
    int rc = likelihood_open(&likelihood, trial, err);
    if (rc == 0)
        rc = read_file(&file, check->file, err);
    if (rc == 0 && likelihood.is_masked)
        rc = check_gaps(&likelihood, &file, err);
    file_done(&file);
    likelihood_close(&likelihood);
    return rc;
}

/* Mean probability of the pieces of each filler. */
static int measure_masked(struct likelihood *l, const struct stereo_file *file, double *items, struct err *err)
{
    size_t n = file->count * CHOICES;
    struct scored_text *texts = arena_calloc(&l->arena, n * MAX_PIECES, sizeof(*texts));
    int *pieces = arena_calloc(&l->arena, n, sizeof(*pieces)), rc = 0;
    size_t count = 0;
    if (!texts || !pieces)
        return err_set(err, ERR_NOMEM, "no memory for %zu sentences", n);
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct gap gap;
        rc = open_gap(l, &file->items[i / CHOICES], (int)(i % CHOICES), &gap, err);
        for (int piece = 0; rc == 0 && piece < gap.word.n; piece++, count++)
            rc = fill_gap(l, &gap, piece, &texts[count], err);
        pieces[i] = rc == 0 ? gap.word.n : 0;
    }
    if (rc == 0)
        rc = likelihood_score(l, texts, count, err);
    for (size_t i = 0, at = 0; i < n && rc == 0; i++) {
        double *score = &items[i / CHOICES * WIDTH + i % CHOICES];
        for (int piece = 0; piece < pieces[i]; piece++, at++)
            *score += texts[at].mean_p / pieces[i];
    }
    return rc;
}

/* Causal ------------------------------------------------------------------------------------------------------------
 */

/* Mean log-likelihood of the sentence's tokens. */
static int measure_causal(struct likelihood *l, const struct stereo_file *file, double *items, struct err *err)
{
    size_t n = file->count * CHOICES;
    struct scored_text *texts = arena_calloc(&l->arena, n, sizeof(*texts));
    int rc = texts ? 0 : err_set(err, ERR_NOMEM, "no memory for %zu sentences", n);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = likelihood_encode(l, file->items[i / CHOICES].sentences[i % CHOICES], &texts[i], err);
    if (rc == 0)
        rc = likelihood_score(l, texts, n, err);
    for (size_t i = 0; i < n && rc == 0; i++)
        items[i / CHOICES * WIDTH + i % CHOICES] =
            texts[i].n_positions ? texts[i].log_p / texts[i].n_positions : -INFINITY;
    return rc;
}

static int run(struct trial *trial, const struct trial_check *check, struct err *err)
{
    struct likelihood likelihood;
    struct stereo_file file = {0};
    int rc = likelihood_open(&likelihood, trial, err);
    if (rc == 0)
        rc = read_file(&file, check->file, err);
    double *items = rc == 0 ? arena_calloc(&likelihood.arena, WIDTH * file.count, sizeof(*items)) : NULL;
    if (rc == 0 && !items)
        rc = err_set(err, ERR_NOMEM, "no memory for %zu items", file.count);
    for (size_t i = 0; i < file.count && rc == 0; i++)
        items[WIDTH * i + CHOICES] = file.items[i].term;
    if (rc == 0)
        rc = likelihood.is_masked ? measure_masked(&likelihood, &file, items, err)
                                  : measure_causal(&likelihood, &file, items, err);
    if (rc == 0)
        check_send(trial, check, items, file.count, file.hash);
    file_done(&file);
    likelihood_close(&likelihood);
    return rc;
}

const struct check_kind check_stereoset = {.name = "stereoset", .fits = fits, .run = run};
