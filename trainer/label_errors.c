/* Likely label errors. */
#include "trainer/label_errors.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EPOCHS = 6, WIDTH = 1 << LABEL_ERRORS_BITS, MOST_WORDS = 512 };

#define LEARNING_RATE 0.5

/* Features -----------------------------------------------------------------------------------------------------------
 */

/* The features of a text: which, each worth 1/√n. */
struct features {
    uint32_t *items;
    uint32_t n;
};

/* FNV-1a of the lower-cased bytes. */
static uint32_t hash_word(const char *word, size_t n, uint32_t hash)
{
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (uint32_t)tolower((unsigned char)word[i])) * 16777619u;
    return hash;
}

static uint32_t slot_of(uint32_t hash)
{
    return (hash ^ hash >> LABEL_ERRORS_BITS) & (WIDTH - 1);
}

static bool is_of_word(char c)
{
    return isalnum((unsigned char)c) || (unsigned char)c >= 0x80 || c == '\'';
}

static int read_features(struct features *features, const char *text, struct arena *arena, struct err *err)
{
    uint32_t items[2 * MOST_WORDS], n = 0, before = 0;
    bool has_before = false;
    for (const char *c = text; *c && n + 2 <= 2 * MOST_WORDS;) {
        size_t length = 0;
        while (*c && !is_of_word(*c))
            c++;
        while (is_of_word(c[length]))
            length++;
        if (length == 0)
            break;
        uint32_t hash = hash_word(c, length, 2166136261u);
        items[n++] = slot_of(hash);
        if (has_before)
            items[n++] = slot_of(hash_word(c, length, before * 31 + 7));
        before = hash;
        has_before = true;
        c += length;
    }
    features->n = n;
    features->items = arena_alloc(arena, ((size_t)n + 1) * sizeof(*items));
    if (!features->items)
        return err_set(err, ERR_NOMEM, "no memory for the features of a text");
    memcpy(features->items, items, n * sizeof(*items));
    return 0;
}

/* The model ----------------------------------------------------------------------------------------------------------
 */

struct regression {
    double *weights; /* (WIDTH + 1, C): the last row is the bias */
    int n_classes;
};

static void predict(const struct regression *r, const struct features *features, double *p)
{
    int classes = r->n_classes;
    double largest = -INFINITY, sum = 0, value = features->n ? 1 / sqrt(features->n) : 0;
    for (int c = 0; c < classes; c++)
        p[c] = r->weights[(size_t)WIDTH * (size_t)classes + (size_t)c];
    for (uint32_t k = 0; k < features->n; k++)
        for (int c = 0; c < classes; c++)
            p[c] += value * r->weights[(size_t)features->items[k] * (size_t)classes + (size_t)c];
    for (int c = 0; c < classes; c++)
        largest = p[c] > largest ? p[c] : largest;
    for (int c = 0; c < classes; c++)
        sum += p[c] = exp(p[c] - largest);
    for (int c = 0; c < classes; c++)
        p[c] /= sum;
}

static void learn(struct regression *r, const struct features *features, int label, double rate, double *p)
{
    int classes = r->n_classes;
    double value = features->n ? 1 / sqrt(features->n) : 0;
    predict(r, features, p);
    for (int c = 0; c < classes; c++)
        p[c] = rate * ((c == label) - p[c]);
    for (uint32_t k = 0; k < features->n; k++)
        for (int c = 0; c < classes; c++)
            r->weights[(size_t)features->items[k] * (size_t)classes + (size_t)c] += value * p[c];
    for (int c = 0; c < classes; c++)
        r->weights[(size_t)WIDTH * (size_t)classes + (size_t)c] += 0.1 * p[c];
}

static uint32_t mixed(uint32_t x)
{
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

/* Rows in an order that has nothing to do with the file's, which may be sorted by label. */
static uint32_t *make_order(size_t n, struct arena *arena)
{
    uint32_t *order = arena_alloc(arena, (n + 1) * sizeof(*order));
    for (size_t i = 0; order && i < n; i++) {
        size_t j = mixed((uint32_t)i) % (i + 1);
        order[i] = order[j];
        order[j] = (uint32_t)i;
    }
    return order;
}

static int cross_validate(double *probabilities, const struct features *features, const int *labels,
                          const uint32_t *groups, size_t n, int n_classes, struct arena *arena, struct err *err)
{
    size_t size = ((size_t)WIDTH + 1) * (size_t)n_classes;
    struct regression r = {arena_alloc(arena, size * sizeof(double)), n_classes};
    uint32_t *order = make_order(n, arena);
    double *p = arena_alloc(arena, (size_t)n_classes * sizeof(*p));
    if (!r.weights || !order || !p)
        return err_set(err, ERR_NOMEM, "no memory to look for label errors in %zu rows", n);
    for (uint32_t fold = 0; fold < LABEL_ERRORS_FOLDS; fold++) {
        memset(r.weights, 0, size * sizeof(double));
        for (int epoch = 0; epoch < EPOCHS; epoch++)
            for (size_t i = 0; i < n; i++)
                if (mixed(groups[order[i]]) % LABEL_ERRORS_FOLDS != fold)
                    learn(&r, &features[order[i]], labels[order[i]], LEARNING_RATE / (1 + epoch), p);
        for (size_t i = 0; i < n; i++)
            if (mixed(groups[i]) % LABEL_ERRORS_FOLDS == fold)
                predict(&r, &features[i], probabilities + i * (size_t)n_classes);
    }
    return 0;
}

/* Judging ------------------------------------------------------------------------------------------------------------
 */

static int set_thresholds(struct label_errors *e, const int *labels, size_t n, int n_classes, struct arena *arena,
                          struct err *err)
{
    size_t *counts = arena_calloc(arena, (size_t)n_classes, sizeof(*counts));
    e->thresholds = arena_calloc(arena, (size_t)n_classes, sizeof(*e->thresholds));
    if (!counts || !e->thresholds)
        return err_set(err, ERR_NOMEM, "no memory for %d classes", n_classes);
    for (size_t i = 0; i < n; i++) {
        e->thresholds[labels[i]] += e->probabilities[i * (size_t)n_classes + (size_t)labels[i]];
        counts[labels[i]]++;
    }
    for (int c = 0; c < n_classes; c++)
        e->thresholds[c] = counts[c] ? e->thresholds[c] / (double)counts[c] : (double)NAN;
    return 0;
}

struct ranked {
    double confidence;
    uint32_t row;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->confidence < y->confidence || x->confidence > y->confidence)
        return x->confidence < y->confidence ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* By p of the label. */
static int rank_likely(struct label_errors *e, const int *labels, size_t n, int n_classes, struct arena *arena,
                       struct err *err)
{
    struct ranked *ranked = arena_alloc(arena, (n + 1) * sizeof(*ranked));
    e->order = arena_alloc(arena, (n + 1) * sizeof(*e->order));
    if (!ranked || !e->order)
        return err_set(err, ERR_NOMEM, "no memory for %zu rows", n);
    e->n_likely = 0;
    for (size_t i = 0; i < n; i++)
        if (e->suggested[i] >= 0)
            ranked[e->n_likely++] =
                (struct ranked){e->probabilities[i * (size_t)n_classes + (size_t)labels[i]], (uint32_t)i};
    qsort(ranked, e->n_likely, sizeof(*ranked), compare_ranked);
    for (size_t i = 0; i < e->n_likely; i++)
        e->order[i] = ranked[i].row;
    return 0;
}

int label_errors_judge(struct label_errors *e, const double *probabilities, const int *labels, size_t n, int n_classes,
                       struct arena *arena, struct err *err)
{
    size_t right = 0;
    *e = (struct label_errors){.probabilities = (double *)(uintptr_t)probabilities};
    e->suggested = arena_alloc(arena, (n + 1) * sizeof(*e->suggested));
    if (!e->suggested)
        return err_set(err, ERR_NOMEM, "no memory for %zu rows", n);
    int rc = set_thresholds(e, labels, n, n_classes, arena, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        const double *p = probabilities + i * (size_t)n_classes;
        int best = 0, confident = -1;
        for (int c = 0; c < n_classes; c++) {
            best = p[c] > p[best] ? c : best;
            if (p[c] >= e->thresholds[c] && (confident < 0 || p[c] > p[confident]))
                confident = c;
        }
        right += best == labels[i];
        e->suggested[i] = confident == labels[i] ? -1 : confident;
    }
    e->accuracy = n > 0 ? (double)right / (double)n : (double)NAN;
    return rc == 0 ? rank_likely(e, labels, n, n_classes, arena, err) : rc;
}

int label_errors_find(struct label_errors *errors, const char *const *texts, const int *labels, const uint32_t *groups,
                      size_t n, int n_classes, struct arena *arena, struct err *err)
{
    struct features *features = arena_calloc(arena, n + 1, sizeof(*features));
    double *probabilities = arena_calloc(arena, n * (size_t)n_classes + 1, sizeof(*probabilities));
    int rc =
        features && probabilities ? 0 : err_set(err, ERR_NOMEM, "no memory to look for label errors in %zu rows", n);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = read_features(&features[i], texts[i], arena, err);
    if (rc == 0)
        rc = cross_validate(probabilities, features, labels, groups, n, n_classes, arena, err);
    return rc == 0 ? label_errors_judge(errors, probabilities, labels, n, n_classes, arena, err) : rc;
}
