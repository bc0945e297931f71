/* Labels, splits, samples and tokens. */
#include "trainer/dataset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"

/* Labels ----------------------------------------------------------------------------------------------------------- */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int compare_numbers(const void *a, const void *b)
{
    int64_t x = 0, y = 0;
    if (text_parse_int64(*(const char *const *)a, &x, NULL) < 0 ||
        text_parse_int64(*(const char *const *)b, &y, NULL) < 0)
        return compare_texts(a, b);
    return x != y ? (x > y) - (x < y) : compare_texts(a, b); /* "1" and "+1" */
}

int labels_make(struct labels *labels, const struct rows *train, struct err *err)
{
    const char **names = calloc(train->count + 1, sizeof(*names));
    int64_t number;
    bool are_numbers = true;
    size_t n = 0;
    if (!names)
        return err_set(err, ERR_NOMEM, "no memory for the labels of '%s'", train->path);
    for (size_t i = 0; i < train->count; i++)
        names[i] = train->items[i].label;
    qsort(names, train->count, sizeof(*names), compare_texts);
    for (size_t i = 0; i < train->count; i++)
        if (n == 0 || strcmp(names[n - 1], names[i]) != 0)
            names[n++] = names[i];
    names[n] = NULL;
    for (size_t i = 0; i < n; i++)
        are_numbers = are_numbers && text_parse_int64(names[i], &number, NULL) == 0;
    if (are_numbers)
        qsort(names, n, sizeof(*names), compare_numbers);
    *labels = (struct labels){names, (int)n};
    if (n < 2)
        return err_set(err, ERR_DATA, "'%s': all rows have the label '%s', at least two are needed", train->path,
                       n ? names[0] : "");
    if (n > LABELS_MAX)
        return err_set(err, ERR_DATA, "'%s': %zu labels, at most %d are expected of a classification", train->path, n,
                       LABELS_MAX);
    return 0;
}

static bool all_known(const struct labels *labels, const struct labels *head, const char **unknown)
{
    for (int c = 0; c < labels->count; c++)
        if (labels_find(head, labels->names[c]) < 0) {
            *unknown = labels->names[c];
            return false;
        }
    return true;
}

/* "0", "1", … or, with id2label, what it calls them. */
static int name_head(struct labels *head, const cJSON *id2label, int n_classes, struct arena *arena, struct err *err)
{
    for (int c = 0; c < n_classes; c++) {
        const char *number = arena_printf(arena, "%d", c);
        const cJSON *name = number && id2label ? json_get(id2label, number) : NULL;
        head->names[c] = cJSON_IsString(name) ? arena_strdup(arena, name->valuestring) : number;
        if (!head->names[c])
            return err_set(err, ERR_NOMEM, "no memory for the labels of the head");
    }
    head->names[n_classes] = NULL;
    head->count = n_classes;
    return 0;
}

int labels_order_as_head(struct labels *labels, const cJSON *id2label, int n_classes, struct arena *arena,
                         struct err *err)
{
    struct labels head = {.names = calloc((size_t)n_classes + 1, sizeof(*head.names))};
    const char *unknown = NULL;
    int rc = head.names ? name_head(&head, id2label, n_classes, arena, err)
                        : err_set(err, ERR_NOMEM, "no memory for the labels of the head");
    bool fits = rc == 0 && all_known(labels, &head, &unknown);
    if (rc == 0 && !fits && id2label) { /* data may number the classes where the config names them */
        rc = name_head(&head, NULL, n_classes, arena, err);
        fits = rc == 0 && all_known(labels, &head, &unknown);
        if (rc == 0 && !fits)
            rc = name_head(&head, id2label, n_classes, arena, err);
    }
    if (rc == 0 && !fits) {
        struct text known = {0};
        for (int c = 0; c < n_classes && c < 20; c++)
            text_printf(&known, "%s'%s'", c ? ", " : "", head.names[c]);
        rc = err_set(err, ERR_DATA, "label '%s' of the data is none of the model's head: %s%s", unknown,
                     known.failed ? "" : known.data, n_classes > 20 ? ", …" : "");
        text_done(&known);
    }
    if (rc < 0) {
        labels_done(&head);
        return rc;
    }
    labels_done(labels);
    *labels = head;
    return 0;
}

void labels_done(struct labels *labels)
{
    free(labels->names);
    *labels = (struct labels){0};
}

int labels_find(const struct labels *labels, const char *name)
{
    for (int c = 0; c < labels->count; c++)
        if (strcmp(labels->names[c], name) == 0)
            return c;
    return -1;
}

/* Splits and samples ----------------------------------------------------------------------------------------------- */

struct ranked {
    const char *label;
    char hash[HASH_HEX_SIZE];
    uint32_t index, draw;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    int by_label = strcmp(x->label, y->label), by_hash = strcmp(x->hash, y->hash);
    if (by_label)
        return by_label;
    if (x->draw != y->draw)
        return x->draw < y->draw ? -1 : 1;
    return by_hash ? by_hash : (x->index > y->index) - (x->index < y->index);
}

/* All rows by label, then by draw (0 without a generator), then by the hash of their text. */
static struct ranked *rank_rows(const struct rows *rows, struct rng_stream *stream)
{
    struct ranked *ranked = calloc(rows->count ? rows->count : 1, sizeof(*ranked));
    for (size_t i = 0; ranked && i < rows->count; i++) {
        ranked[i] = (struct ranked){.label = rows->lacks_classes ? "" : rows->items[i].label, .index = (uint32_t)i};
        ranked[i].draw = stream ? rng_next(stream) : 0;
        hash_bytes(rows->items[i].text, strlen(rows->items[i].text), ranked[i].hash);
    }
    if (ranked)
        qsort(ranked, rows->count, sizeof(*ranked), compare_ranked);
    return ranked;
}

static size_t same_label(const struct ranked *ranked, size_t count, size_t start)
{
    size_t end = start;
    while (end < count && strcmp(ranked[end].label, ranked[start].label) == 0)
        end++;
    return end;
}

/* Keeps the rows marked, in the file's order; the others go to `rest` when it is not NULL. */
static int keep_marked(struct rows *rows, const bool *is_kept, struct rows *rest, struct err *err)
{
    size_t n = 0;
    int rc = 0;
    for (size_t i = 0; i < rows->count && rc == 0; i++) {
        if (is_kept[i])
            rows->items[n++] = rows->items[i];
        else if (rest)
            rc = rows_add(rest, rows->items[i], err);
    }
    rows->count = n;
    return rc;
}

static int compare_hashes(const void *a, const void *b)
{
    return strcmp(((const struct ranked *)a)->hash, ((const struct ranked *)b)->hash);
}

/* A text that is in validation under one label leaves training under all: else it would be seen there. */
static void join_equal_texts(struct ranked *ranked, size_t count, bool *is_kept)
{
    qsort(ranked, count, sizeof(*ranked), compare_hashes);
    for (size_t start = 0, end; start < count; start = end) {
        bool all_kept = true;
        for (end = start; end < count && compare_hashes(&ranked[start], &ranked[end]) == 0; end++)
            all_kept = all_kept && is_kept[ranked[end].index];
        for (size_t i = start; i < end && !all_kept; i++)
            is_kept[ranked[i].index] = false;
    }
}

/* Every label needs a row on both sides. Validation has one: the cut is rounded up. */
static int check_training_part(const struct rows *train, struct ranked *ranked, const bool *is_kept, struct err *err)
{
    qsort(ranked, train->count, sizeof(*ranked), compare_ranked);
    for (size_t start = 0, end; start < train->count; start = end) {
        bool has_kept = false;
        end = same_label(ranked, train->count, start);
        for (size_t i = start; i < end; i++)
            has_kept = has_kept || is_kept[ranked[i].index];
        if (!has_kept)
            return err_set(err, ERR_DATA,
                           "'%s': label '%s' has %zu row%s, too few to take validation rows from; give a validation "
                           "file",
                           train->path, ranked[start].label, end - start, end - start == 1 ? "" : "s");
    }
    return 0;
}

int dataset_split(struct rows *train, struct rows *validation, struct err *err)
{
    struct ranked *ranked = rank_rows(train, NULL);
    bool *is_kept = calloc(train->count ? train->count : 1, sizeof(bool));
    int rc = ranked && is_kept ? 0 : err_set(err, ERR_NOMEM, "no memory to split '%s'", train->path);
    *validation = (struct rows){.path = strdup(train->path), .lacks_classes = train->lacks_classes};
    for (size_t start = 0, end; rc == 0 && start < train->count; start = end) {
        end = same_label(ranked, train->count, start);
        for (size_t i = start + (end - start + 9) / 10; i < end; i++)
            is_kept[ranked[i].index] = true;
    }
    if (rc == 0) {
        join_equal_texts(ranked, train->count, is_kept);
        rc = check_training_part(train, ranked, is_kept, err);
    }
    if (rc == 0)
        rc = keep_marked(train, is_kept, validation, err);
    free(ranked);
    free(is_kept);
    return rc;
}

int dataset_keep_fraction(struct rows *rows, double fraction, struct err *err)
{
    struct ranked *ranked = rank_rows(rows, NULL);
    bool *is_kept = calloc(rows->count ? rows->count : 1, sizeof(bool));
    int rc = ranked && is_kept ? 0 : err_set(err, ERR_NOMEM, "no memory to sample '%s'", rows->path);
    for (size_t start = 0, end; rc == 0 && start < rows->count; start = end) {
        end = same_label(ranked, rows->count, start);
        size_t n = (size_t)ceil(fraction * (double)(end - start) - 1e-9);
        for (size_t i = start; i < end && i < start + (n ? n : 1); i++)
            is_kept[ranked[i].index] = true;
    }
    if (rc == 0)
        rc = keep_marked(rows, is_kept, NULL, err);
    free(ranked);
    free(is_kept);
    return rc;
}

int dataset_keep_per_class(struct rows *rows, int k, uint64_t seed, const char *setting, struct err *err)
{
    struct rng_stream stream = rng_stream(rng_make(seed, RNG_FEW_SHOT), 0, 0, 0);
    struct ranked *ranked = rank_rows(rows, &stream);
    bool *is_kept = calloc(rows->count ? rows->count : 1, sizeof(bool));
    int rc = ranked && is_kept ? 0 : err_set(err, ERR_NOMEM, "no memory to sample '%s'", rows->path);
    for (size_t start = 0, end; rc == 0 && start < rows->count; start = end) {
        end = same_label(ranked, rows->count, start);
        if (end - start < (size_t)k)
            rc = err_set(err, ERR_DATA, "'%s': label '%s' has %zu rows, %s is %d", rows->path, ranked[start].label,
                         end - start, setting, k);
        for (size_t i = start; rc == 0 && i < start + (size_t)k; i++)
            is_kept[ranked[i].index] = true;
    }
    if (rc == 0)
        rc = keep_marked(rows, is_kept, NULL, err);
    free(ranked);
    free(is_kept);
    return rc;
}

void dataset_hash(const struct rows *rows, char hex[HASH_HEX_SIZE])
{
    struct text all = {0};
    for (size_t i = 0; i < rows->count; i++) {
        const struct row *row = &rows->items[i];
        text_printf(&all, "%zu:%s%zu:%s%zu:%s", strlen(row->text), row->text, row->pair ? strlen(row->pair) : 0,
                    row->pair ? row->pair : "", strlen(row->label), row->label);
        for (int k = 0; k < row->list_count; k++)
            text_printf(&all, "%zu:%s", strlen(row->list[k]), row->list[k]);
    }
    hash_bytes(all.data ? all.data : "", all.len, hex);
    text_done(&all);
}

/* Examples --------------------------------------------------------------------------------------------------------- */

int labels_unknown(const struct rows *rows, const struct row *row, const struct labels *labels, struct err *err)
{
    struct text known = {0};
    for (int c = 0; c < labels->count && c < 20; c++)
        text_printf(&known, "%s'%s'", c ? ", " : "", labels->names[c]);
    int rc =
        err_set(err, ERR_DATA, "'%s', line %u: label '%s' is not among those of the training data: %s%s", rows->path,
                row->line, row->label, known.failed ? "" : known.data, labels->count > 20 ? ", …" : "");
    text_done(&known);
    return rc;
}

static int encode_row(struct dataset *dataset, const struct rows *rows, const struct row *row,
                      const struct labels *labels, const struct tokenizer *tokenizer, int max_tokens, struct err *err)
{
    struct encoding encoding;
    struct example *example = &dataset->examples[dataset->count];
    int label = row->label[0] && labels->count > 0 ? labels_find(labels, row->label)
                                                   : 0; /* without a label: its loss means nothing */
    if (label < 0)
        return labels_unknown(rows, row, labels, err);
    int rc = tokenizer_encode(tokenizer, row->text, row->pair, max_tokens, &dataset->arena, &encoding, err);
    if (rc < 0)
        return rc;
    if (encoding.n <= tokenizer_special_tokens(tokenizer, row->pair != NULL))
        return err_set(err, ERR_DATA, "'%s', line %u: the text is empty (nothing is left of it for the model)",
                       rows->path, row->line);
    *example =
        (struct example){.ids = encoding.ids, .type_ids = encoding.type_ids, .n_tokens = encoding.n, .label = label};
    dataset->count++;
    dataset->n_tokens += (size_t)encoding.n;
    dataset->n_truncated += encoding.is_truncated;
    return 0;
}

int dataset_begin(struct dataset *dataset, const struct rows *rows, struct err *err)
{
    *dataset = (struct dataset){0};
    dataset->examples = arena_calloc(&dataset->arena, rows->count ? rows->count : 1, sizeof(*dataset->examples));
    dataset_hash(rows, dataset->sha256);
    return dataset->examples ? 0 : err_set(err, ERR_NOMEM, "no memory for %zu examples", rows->count);
}

int dataset_encode(struct dataset *dataset, const struct rows *rows, const struct labels *labels,
                   const struct tokenizer *tokenizer, int max_tokens, struct err *err)
{
    int rc = dataset_begin(dataset, rows, err);
    for (size_t i = 0; i < rows->count && rc == 0; i++)
        rc = encode_row(dataset, rows, &rows->items[i], labels, tokenizer, max_tokens, err);
    return rc;
}

void dataset_done(struct dataset *dataset)
{
    arena_done(&dataset->arena);
    *dataset = (struct dataset){0};
}

void dataset_order(uint32_t *order, uint32_t n, uint64_t seed, uint32_t epoch, bool shuffles)
{
    struct rng_stream stream = rng_stream(rng_make(seed, RNG_ORDER), epoch, 0, 0);
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    if (shuffles)
        rng_shuffle(&stream, order, n);
}

int dataset_class_weights(const struct dataset *train, const struct labels *labels, const cJSON *setting,
                          struct arena *arena, real **weights, struct err *err)
{
    bool is_map = cJSON_IsObject(setting);
    *weights = NULL;
    if (!is_map && !(cJSON_IsString(setting) && strcmp(setting->valuestring, "balanced") == 0))
        return 0;
    real *w = arena_calloc(arena, (size_t)labels->count, sizeof(*w));
    if (!w)
        return err_set(err, ERR_NOMEM, "no memory for class weights");
    for (size_t i = 0; i < train->count && !is_map; i++)
        w[train->examples[i].label] += 1;
    for (int c = 0; c < labels->count; c++)
        w[c] = is_map ? 1 : w[c] > 0 ? (real)train->count / ((real)labels->count * w[c]) : 0;
    for (const cJSON *item = is_map ? setting->child : NULL; item; item = item->next) {
        int c = labels_find(labels, item->string);
        if (c < 0)
            return err_set(err, ERR_USAGE, "settings.class_weights: '%s' is no label of the training data",
                           item->string);
        w[c] = (real)item->valuedouble;
    }
    *weights = w;
    return 0;
}
