/* StereoSet's items: a sentence with a gap, and a stereotype, an anti-stereotype and an unrelated word for it
 * (intra-sentence); or a sentence and three that may follow it (inter-sentence). docs/checks.md   Nadeem et al. 2021,
 * arXiv:2004.09456 */
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
    bool follows; /* inter-sentence: the sentences stand behind the context, which has no gap */
};

struct stereo_file {
    struct arena arena;
    struct json_lines lines;
    struct stereo_sentence *items;
    size_t count;
    char hash[HASH_HEX_SIZE];
};

static const char *const parts[] = {"intrasentence", "intersentence"};

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

static int read_item(struct stereo_file *file, const cJSON *json, bool follows, struct err *err)
{
    struct stereo_sentence *item = &file->items[file->count];
    const cJSON *sentences;
    int rc = json_get_string(json, "context", "item", &item->context, err);
    if (rc == 0)
        rc = json_get_string(json, "target", "item", &item->target, err);
    item->follows = follows;
    if (rc == 0 && !follows && !strstr(item->context, "BLANK"))
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
static int wrap_place(const struct stereo_file *file, const cJSON *item, const char *part, int number, struct err *err)
{
    const cJSON *id = json_get(item, "id");
    char key[128];
    if (!cJSON_IsString(id))
        return err_wrap(err, "'%s', line %d: data.%s[%d]", file->lines.path, file->lines.items[0].line, part, number);
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

/* Adds the items of a list; NULL: of one that the file does not have. */
static int read_list(struct stereo_file *file, const cJSON *list, const char *part, struct err *err)
{
    int number = 0, rc = 0;
    bool follows = text_equal(part, parts[1]);
    for (const cJSON *item = list ? list->child : NULL; item && rc == 0; item = item->next, number++)
        if ((rc = read_item(file, item, follows, err)) < 0)
            wrap_place(file, item, part, number, err);
    return rc;
}

/* Which lists: "intrasentence" (unless said otherwise), "intersentence" or "both". */
static int read_part(const struct trial_check *check, bool wanted[2], struct err *err)
{
    const char *part = parts[0];
    int rc = json_opt_string(check->options, "part", "check", &part, err);
    for (int i = 0; i < 2; i++)
        wanted[i] = text_equal(part, parts[i]) || text_equal(part, "both");
    return rc == 0 && !wanted[0] && !wanted[1]
               ? err_set(err, ERR_USAGE, "part: '%s', intrasentence, intersentence or both was expected", part)
               : rc;
}

static int read_file(struct stereo_file *file, const struct trial_check *check, struct err *err)
{
    const cJSON *data = NULL, *lists[2] = {0};
    const char *path = check->file;
    bool wanted[2] = {0};
    size_t most = 1;
    *file = (struct stereo_file){0};
    int rc = read_part(check, wanted, err);
    if (rc == 0)
        rc = json_lines_read(&file->lines, path, err);
    if (rc == 0)
        rc = json_get_object(file->lines.items[0].root, "data", path, &data, err);
    for (int i = 0; i < 2 && rc == 0; i++) {
        rc = wanted[i] ? json_get_array(data, parts[i], "data", &lists[i], err) : 0;
        most += lists[i] ? (size_t)cJSON_GetArraySize(lists[i]) : 0;
    }
    if (rc < 0)
        return rc;
    file->items = arena_calloc(&file->arena, most, sizeof(*file->items));
    if (!file->items)
        return err_set(err, ERR_NOMEM, "no memory for the items of '%s'", path);
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = read_list(file, lists[i], parts[i], err);
    if (rc == 0 && file->count == 0)
        rc = err_set(err, ERR_FORMAT, "'%s': data.%s is empty", path, parts[wanted[0] ? 0 : 1]);
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
        if (file->items[i / CHOICES].follows)
            continue;
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
        rc = read_file(&file, check, err);
    if (rc == 0 && likelihood.is_masked)
        rc = check_gaps(&likelihood, &file, err);
    file_done(&file);
    likelihood_close(&likelihood);
    return rc;
}

/* Both ------------------------------------------------------------------------------------------------------------- */

/* One choice of an item as the texts that are asked for; *n of them. */
static int encode_choice(struct likelihood *l, const struct stereo_sentence *item, int choice,
                         struct scored_text *texts, int *n, struct err *err)
{
    const char *sentence = item->sentences[choice];
    *n = 1;
    if (item->follows) {
        const char *answer = arena_printf(&l->arena, l->is_masked ? "%s" : " %s", sentence);
        return answer ? likelihood_encode_answer(l, item->context, answer, texts, err)
                      : err_set(err, ERR_NOMEM, "no memory for a sentence");
    }
    if (!l->is_masked)
        return likelihood_encode(l, sentence, texts, err);
    struct gap gap;
    int rc = open_gap(l, item, choice, &gap, err);
    *n = rc == 0 ? gap.word.n : 0;
    for (int piece = 0; rc == 0 && piece < *n; piece++)
        rc = fill_gap(l, &gap, piece, &texts[piece], err);
    return rc;
}

/* Masked, in a gap: mean probability of the pieces; else mean log-likelihood of the sentence's tokens. */
static double score_of(const struct scored_text *texts, int n, bool is_gap)
{
    double sum = 0;
    for (int i = 0; i < n && is_gap; i++)
        sum += texts[i].mean_p / n;
    if (is_gap)
        return sum;
    return texts[0].n_positions ? texts[0].log_p / texts[0].n_positions : -INFINITY;
}

static int measure(struct likelihood *l, const struct stereo_file *file, double *items, struct err *err)
{
    size_t n = file->count * CHOICES, count = 0;
    struct scored_text *texts = arena_calloc(&l->arena, n * MAX_PIECES, sizeof(*texts));
    int *pieces = arena_calloc(&l->arena, n, sizeof(*pieces)), rc = 0;
    if (!texts || !pieces)
        return err_set(err, ERR_NOMEM, "no memory for %zu sentences", n);
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = encode_choice(l, &file->items[i / CHOICES], (int)(i % CHOICES), &texts[count], &pieces[i], err);
        count += (size_t)pieces[i];
    }
    if (rc == 0)
        rc = likelihood_score(l, texts, count, err);
    for (size_t i = 0, at = 0; i < n && rc == 0; at += (size_t)pieces[i], i++)
        items[i / CHOICES * WIDTH + i % CHOICES] =
            score_of(&texts[at], pieces[i], l->is_masked && !file->items[i / CHOICES].follows);
    return rc;
}

static int run(struct trial *trial, const struct trial_check *check, struct err *err)
{
    struct likelihood likelihood;
    struct stereo_file file = {0};
    int rc = likelihood_open(&likelihood, trial, err);
    if (rc == 0)
        rc = read_file(&file, check, err);
    double *items = rc == 0 ? arena_calloc(&likelihood.arena, WIDTH * file.count, sizeof(*items)) : NULL;
    if (rc == 0 && !items)
        rc = err_set(err, ERR_NOMEM, "no memory for %zu items", file.count);
    for (size_t i = 0; i < file.count && rc == 0; i++)
        items[WIDTH * i + CHOICES] = file.items[i].term;
    if (rc == 0)
        rc = measure(&likelihood, &file, items, err);
    if (rc == 0)
        check_send(trial, check, items, file.count, file.hash);
    file_done(&file);
    likelihood_close(&likelihood);
    return rc;
}

const struct check_kind check_stereoset = {.name = "stereoset", .fits = fits, .run = run};
