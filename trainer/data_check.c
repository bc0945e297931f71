/* Looking over the data: counts by split, duplicates, leakage between splits, conflicting labels. */
#include "trainer/data_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "trainer/dataset.h"
#include "trainer/duplicates.h"
#include "trainer/label_errors.h"
#include "trainer/rows.h"
#include "trainer/tokenizer.h"

enum { SPLITS = 3, EXAMPLES = 5, LABELS_SHOWN = 1000 };

static const char *const split_names[SPLITS] = {"train", "validation", "test"};

struct data {
    struct arena arena;
    struct rows rows[SPLITS];
    size_t start[SPLITS + 1]; /* of a split in the list of all rows */
    const char **texts;       /* of all rows: the text, and the second one behind it */
    const char **labels;
    struct duplicates duplicates;
    uint32_t *next; /* the next row equal to this one; UINT32_MAX: none */
};

static void data_done(struct data *data)
{
    for (int s = 0; s < SPLITS; s++)
        rows_done(&data->rows[s]);
    arena_done(&data->arena);
}

static int split_of(const struct data *data, size_t row)
{
    int s = 0;
    while (row >= data->start[s + 1])
        s++;
    return s;
}

static int read_splits(struct data *data, const cJSON *task, struct err *err)
{
    int rc = 0;
    size_t n = 0;
    for (int s = 0; s < SPLITS && rc == 0; s++) {
        const char *path = NULL;
        data->start[s] = n;
        rc = json_opt_string(task, split_names[s], "task", &path, err);
        if (rc == 0 && path)
            rc = rows_read(&data->rows[s], path, task, 0, err);
        n += data->rows[s].count;
    }
    data->start[SPLITS] = n;
    data->texts = arena_alloc(&data->arena, (n + 1) * sizeof(*data->texts));
    data->labels = arena_alloc(&data->arena, (n + 1) * sizeof(*data->labels));
    if (rc == 0 && (!data->texts || !data->labels))
        rc = err_set(err, ERR_NOMEM, "no memory for %zu rows", n);
    for (size_t i = 0; i < n && rc == 0; i++) {
        int s = split_of(data, i);
        const struct row *row = &data->rows[s].items[i - data->start[s]];
        data->labels[i] = data->rows[s].lacks_classes ? "" : row->label;
        data->texts[i] = row->pair ? arena_printf(&data->arena, "%s\n%s", row->text, row->pair) : row->text;
        if (!data->texts[i])
            rc = err_set(err, ERR_NOMEM, "no memory for %zu rows", n);
    }
    return rc;
}

/* Labels and lengths ----------------------------------------------------------------------------------------------- */

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Each label with its count, the entropy as a share of the largest possible, and largest by smallest count. */
static int add_labels(struct text *out, const struct data *data, int s, struct err *err)
{
    size_t n = data->rows[s].count, kinds = 0, most = 0, least = n;
    const char **sorted = malloc((n + 1) * sizeof(*sorted));
    double entropy = 0;
    if (!sorted)
        return err_set(err, ERR_NOMEM, "no memory for %zu labels", n);
    memcpy(sorted, data->labels + data->start[s], n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), compare_strings);
    text_add(out, ",\"labels\":{");
    for (size_t i = 0, next; i < n; i = next) {
        for (next = i + 1; next < n && strcmp(sorted[next], sorted[i]) == 0;)
            next++;
        size_t count = next - i;
        most = count > most ? count : most;
        least = count < least ? count : least;
        entropy -= (double)count / (double)n * log((double)count / (double)n);
        if (kinds++ < LABELS_SHOWN) {
            text_add(out, kinds > 1 ? "," : "");
            text_add_json(out, sorted[i]);
            text_printf(out, ":%zu", count);
        }
    }
    text_printf(out, "},\"classes\":%zu,\"balance\":", kinds);
    text_add_double(out, kinds > 1 ? entropy / log((double)kinds) : 0);
    text_add(out, ",\"largest_by_smallest\":");
    text_add_double(out, least > 0 ? (double)most / (double)least : 0);
    free(sorted);
    return 0;
}

static int compare_sizes(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* Smallest, median, 95 % and largest of a sorted list. */
static void add_sizes(struct text *out, const char *name, size_t *sizes, size_t n)
{
    qsort(sizes, n, sizeof(*sizes), compare_sizes);
    text_printf(out, ",\"%s\":{\"min\":%zu,\"median\":%zu,\"p95\":%zu,\"max\":%zu}", name, sizes[0], sizes[n / 2],
                sizes[n * 95 / 100], sizes[n - 1]);
}

static int add_lengths(struct text *out, const struct data *data, int s, const struct tokenizer *tokenizer,
                       int max_tokens, struct err *err)
{
    size_t n = data->rows[s].count, truncated = 0;
    size_t *sizes = malloc((n + 1) * sizeof(*sizes));
    struct arena arena = {0};
    int rc = sizes ? 0 : err_set(err, ERR_NOMEM, "no memory for %zu lengths", n);
    for (size_t i = 0; i < n && rc == 0; i++) {
        const char *c = data->texts[data->start[s] + i];
        for (sizes[i] = 0; *c; c++)
            sizes[i] += ((unsigned char)*c & 0xc0) != 0x80;
    }
    if (rc == 0)
        add_sizes(out, "characters", sizes, n);
    for (size_t i = 0; i < n && rc == 0 && tokenizer; i++) {
        const struct row *row = &data->rows[s].items[i];
        struct encoding encoding;
        arena_reset(&arena);
        rc = tokenizer_encode(tokenizer, row->text, row->pair, max_tokens, &arena, &encoding, err);
        sizes[i] = rc == 0 ? (size_t)encoding.n : 0;
        truncated += rc == 0 && encoding.is_truncated;
    }
    if (rc == 0 && tokenizer) {
        add_sizes(out, "tokens", sizes, n);
        text_printf(out, ",\"max_tokens\":%d,\"truncated\":%zu", max_tokens, truncated);
    }
    free(sizes);
    arena_done(&arena);
    return rc;
}

/* Duplicates ------------------------------------------------------------------------------------------------------- */

/* Lists of equal rows, in their order. */
static int link_equal(struct data *data, struct err *err)
{
    size_t n = data->start[SPLITS];
    uint32_t *last = arena_alloc(&data->arena, (n + 1) * sizeof(*last));
    data->next = arena_alloc(&data->arena, (n + 1) * sizeof(*data->next));
    if (!last || !data->next)
        return err_set(err, ERR_NOMEM, "no memory for the duplicates of %zu rows", n);
    for (size_t i = 0; i < n; i++) {
        uint32_t first = data->duplicates.first[i];
        data->next[i] = UINT32_MAX;
        if (first != i)
            data->next[last[first]] = (uint32_t)i;
        last[first] = (uint32_t)i;
    }
    return 0;
}

/* marks[i]: row i has an earlier row that is equal (1) or nearly equal (2) in the split whose first rows of each group
 * of equal ones are `first_in`; 0: none. `earlier` is that row. */
static void mark(const struct data *data, uint8_t *marks, uint32_t *earlier, const uint32_t *first_in)
{
    const struct duplicates *d = &data->duplicates;
    size_t n = data->start[SPLITS];
    for (size_t i = 0; i < n; i++) {
        uint32_t first = first_in[d->first[i]];
        bool is_equal = first != UINT32_MAX && first < i;
        marks[i] = is_equal;
        earlier[i] = first;
    }
    for (size_t p = 0; p < d->n_pairs; p++) {
        uint32_t ends[2] = {d->pairs[p].a, d->pairs[p].b};
        for (int k = 0; k < 2; k++) {
            uint32_t here = first_in[ends[k]];
            /* Every row equal to the other end is near to a row of this split. */
            for (uint32_t i = ends[1 - k]; here != UINT32_MAX && i != UINT32_MAX; i = data->next[i])
                if (marks[i] == 0 && here < i) {
                    marks[i] = 2;
                    earlier[i] = here;
                }
        }
    }
}

static void add_place(struct text *out, const struct data *data, size_t row)
{
    int s = split_of(data, row);
    text_printf(out, "{\"split\":\"%s\",\"line\":%u}", split_names[s], data->rows[s].items[row - data->start[s]].line);
}

/* Rows of split `to` with an equal or nearly equal row earlier in split `from`. */
static void add_overlap(struct text *out, const struct data *data, int from, int to, const uint8_t *marks,
                        const uint32_t *earlier)
{
    size_t equal = 0, near = 0, shown = 0;
    struct text examples = {0};
    for (size_t i = data->start[to]; i < data->start[to + 1]; i++) {
        equal += marks[i] == 1;
        near += marks[i] == 2;
        if (marks[i] && shown++ < EXAMPLES) {
            text_add(&examples, shown > 1 ? ",[" : "[");
            add_place(&examples, data, earlier[i]);
            text_add_char(&examples, ',');
            add_place(&examples, data, i);
            text_add_char(&examples, ']');
        }
    }
    text_printf(out, "{\"from\":\"%s\",\"to\":\"%s\",\"equal\":%zu,\"near\":%zu,\"examples\":[%s]}", split_names[from],
                split_names[to], equal, near, examples.data ? examples.data : "");
    out->failed = out->failed || examples.failed;
    text_done(&examples);
}

static int add_overlaps(struct text *out, const struct data *data, struct err *err)
{
    size_t n = data->start[SPLITS];
    uint8_t *marks = malloc(n + 1);
    uint32_t *earlier = malloc(2 * (n + 1) * sizeof(*earlier)), *first_in = earlier ? earlier + n + 1 : NULL;
    const char *separator = "";
    int rc = marks && earlier ? 0 : err_set(err, ERR_NOMEM, "no memory for the duplicates of %zu rows", n);
    text_add(out, ",\"duplicates\":[");
    for (int from = 0; from < SPLITS && rc == 0; from++) {
        memset(first_in, 0xff, (n + 1) * sizeof(*first_in)); /* UINT32_MAX */
        for (size_t i = data->start[from + 1]; i-- > data->start[from];)
            first_in[data->duplicates.first[i]] = (uint32_t)i;
        mark(data, marks, earlier, first_in);
        for (int to = from; to < SPLITS; to++)
            if (data->rows[from].count && data->rows[to].count) {
                text_add(out, separator);
                add_overlap(out, data, from, to, marks, earlier);
                separator = ",";
            }
    }
    text_add(out, "]");
    free(marks);
    free(earlier);
    return rc;
}

/* Texts that are equal, or nearly, and have different labels. */
static void add_conflicts(struct text *out, const struct data *data)
{
    const struct duplicates *d = &data->duplicates;
    size_t equal = 0, near = 0, shown = 0;
    struct text examples = {0};
    for (size_t i = 0; i < data->start[SPLITS]; i++)
        if (strcmp(data->labels[i], data->labels[d->first[i]]) != 0) {
            equal++;
            if (shown++ < EXAMPLES) {
                text_add(&examples, shown > 1 ? ",[" : "[");
                add_place(&examples, data, d->first[i]);
                text_add_char(&examples, ',');
                add_place(&examples, data, i);
                text_add_char(&examples, ']');
            }
        }
    for (size_t p = 0; p < d->n_pairs; p++)
        near += strcmp(data->labels[d->pairs[p].a], data->labels[d->pairs[p].b]) != 0;
    text_printf(out, ",\"label_conflicts\":{\"equal\":%zu,\"near\":%zu,\"examples\":[%s]}", equal, near,
                examples.data ? examples.data : "");
    out->failed = out->failed || examples.failed;
    text_done(&examples);
}

/* Likely label errors ---------------------------------------------------------------------------------------------- */

static void add_likely(struct text *out, const struct data *data, const struct labels *labels, const int *classes,
                       const struct label_errors *e, size_t n)
{
    text_printf(out, "{\"rows\":%zu,\"model_accuracy\":", n);
    text_add_double(out, e->accuracy);
    text_printf(out, ",\"likely\":%zu,\"examples\":[", e->n_likely);
    for (size_t i = 0; i < e->n_likely && i < EXAMPLES; i++) {
        uint32_t row = e->order[i];
        const double *p = e->probabilities + (size_t)row * (size_t)labels->count;
        text_printf(out, "%s{\"line\":%u,\"label\":", i ? "," : "", data->rows[0].items[row].line);
        text_add_json(out, labels->names[classes[row]]);
        text_add(out, ",\"suggested\":");
        text_add_json(out, labels->names[e->suggested[row]]);
        text_add(out, ",\"p_label\":");
        text_add_double(out, p[classes[row]]);
        text_add(out, ",\"p_suggested\":");
        text_add_double(out, p[e->suggested[row]]);
        text_add_char(out, '}');
    }
    text_add(out, "]}");
}

/* Of the training rows; null where there are too few of them or too many classes. */
static int add_label_errors(struct text *out, struct data *data, struct err *err)
{
    size_t n = data->rows[0].count;
    struct labels labels = {0};
    struct label_errors errors;
    int *classes = arena_calloc(&data->arena, n + 1, sizeof(*classes));
    text_add(out, ",\"label_errors\":");
    if (!classes)
        return err_set(err, ERR_NOMEM, "no memory for %zu labels", n);
    bool is_done = n >= LABEL_ERRORS_MIN_ROWS && labels_make(&labels, &data->rows[0], NULL) == 0 &&
                   labels.count <= LABEL_ERRORS_MAX_CLASSES;
    int rc = 0;
    for (size_t i = 0; i < n && is_done; i++)
        classes[i] = labels_find(&labels, data->labels[i]);
    if (is_done)
        rc = label_errors_find(&errors, data->texts, classes, data->duplicates.first, n, labels.count, &data->arena,
                               err);
    if (is_done && rc == 0)
        add_likely(out, data, &labels, classes, &errors, n);
    else
        text_add(out, "null");
    labels_done(&labels);
    return rc;
}

static int add_splits(struct text *out, const struct data *data, const struct tokenizer *tokenizer, int max_tokens,
                      struct err *err)
{
    int rc = 0;
    const char *separator = "";
    text_add(out, "{\"v\":1,\"type\":\"data\",\"splits\":[");
    for (int s = 0; s < SPLITS && rc == 0; s++) {
        if (data->rows[s].count == 0)
            continue;
        text_printf(out, "%s{\"split\":\"%s\",\"rows\":%zu", separator, split_names[s], data->rows[s].count);
        rc = add_labels(out, data, s, err);
        if (rc == 0)
            rc = add_lengths(out, data, s, tokenizer, max_tokens, err);
        text_add_char(out, '}');
        separator = ",";
    }
    text_add(out, "]");
    return rc;
}

int data_check(const cJSON *request, struct text *out, struct err *err)
{
    struct data data = {0};
    struct tokenizer *tokenizer = NULL;
    const cJSON *task = NULL;
    const char *model = NULL;
    int64_t max_tokens = 0;
    int rc = json_get_object(request, "task", "request", &task, err);
    if (rc == 0)
        rc = json_opt_string(request, "model", "request", &model, err);
    if (rc == 0)
        rc = json_opt_int64(request, "max_tokens", "request", &max_tokens, err);
    if (rc == 0 && model && max_tokens > 0)
        rc = tokenizer_open(&tokenizer, model, err);
    if (rc == 0)
        rc = read_splits(&data, task, err);
    if (rc == 0)
        rc = duplicates_find(&data.duplicates, data.texts, data.start[SPLITS], &data.arena, err);
    if (rc == 0)
        rc = link_equal(&data, err);
    if (rc == 0)
        rc = add_splits(out, &data, tokenizer, (int)max_tokens, err);
    if (rc == 0)
        rc = add_overlaps(out, &data, err);
    if (rc == 0) {
        add_conflicts(out, &data);
        rc = add_label_errors(out, &data, err);
        text_add(out, "}\n");
    }
    tokenizer_close(tokenizer);
    data_done(&data);
    return rc == 0 && out->failed ? err_set(err, ERR_NOMEM, "no memory for the findings") : rc;
}
