/* Evaluation items, and the metrics that can be computed again from them for any weighting of the items. */
#include <math.h>
#include <string.h>

#include "orchestrator/compare_internal.h"

enum { MAX_CLASSES = 256, ITEM_HEAD = 12 };

/* Four sums, so that additions need not wait for each other. */
static double weighted_mean(const void *row, const uint32_t *weights, int n)
{
    const struct compare_items *items = row;
    double sums[4] = {0};
    int i = 0;
    for (; i + 4 <= n; i += 4)
        for (int k = 0; k < 4; k++)
            sums[k] += weights[i + k] * items->values[i + k];
    for (; i < n; i++)
        sums[0] += weights[i] * items->values[i];
    return (sums[0] + sums[1] + sums[2] + sums[3]) / n;
}

/* Of language models, whose items have no classes and their number of tokens as label: each token counts the same. */
static double token_loss(const struct compare_items *items, const uint32_t *weights, int n)
{
    double sum = 0, tokens = 0;
    for (int i = 0; i < n; i++) {
        sum += (double)weights[i] * items->labels[i] * (double)items->losses[i];
        tokens += (double)weights[i] * items->labels[i];
    }
    return tokens > 0 ? sum / tokens : (double)NAN;
}

static double weighted_loss(const void *row, const uint32_t *weights, int n)
{
    const struct compare_items *items = row;
    return items->n_classes > 0 ? weighted_mean(row, weights, n) : token_loss(items, weights, n);
}

static double weighted_perplexity(const void *row, const uint32_t *weights, int n)
{
    return exp(token_loss(row, weights, n));
}

/* Mean F1 over the classes that occur as label or prediction, as the trainer's. */
static double weighted_macro_f1(const void *row, const uint32_t *weights, int n)
{
    const struct compare_items *items = row;
    double hits[MAX_CLASSES] = {0}, occurrences[MAX_CLASSES] = {0}, sum = 0;
    int present = 0;
    for (int i = 0; i < n; i++) {
        occurrences[items->labels[i]] += weights[i];
        occurrences[items->predicted[i]] += weights[i];
        hits[items->labels[i]] += items->labels[i] == items->predicted[i] ? weights[i] : 0;
    }
    for (int c = 0; c < items->n_classes; c++)
        if (occurrences[c] > 0) {
            sum += 2 * hits[c] / occurrences[c];
            present++;
        }
    return present ? sum / present : 0;
}

static double item_accuracy(const struct compare_items *items, int i)
{
    return items->labels[i] == items->predicted[i];
}

static double item_loss(const struct compare_items *items, int i)
{
    return (double)items->losses[i];
}

static double item_brier(const struct compare_items *items, int i)
{
    double sum = 0;
    for (int c = 0; c < items->n_classes; c++) {
        double off =
            (double)items->probabilities[(size_t)i * (size_t)items->n_classes + (size_t)c] - (c == items->labels[i]);
        sum += off * off;
    }
    return sum;
}

static const struct {
    const char *name;
    stats_metric *metric;
    double (*item)(const struct compare_items *items, int i); /* of metrics that are means */
} metrics[] = {
    {"accuracy", weighted_mean, item_accuracy}, {"loss", weighted_loss, item_loss},
    {"perplexity", weighted_perplexity, NULL},  {"brier", weighted_mean, item_brier},
    {"macro_f1", weighted_macro_f1, NULL},      {"mse", weighted_loss, NULL},
};

enum { N_METRICS = sizeof(metrics) / sizeof(metrics[0]) };

stats_metric *compare_metric(const char *name)
{
    for (int i = 0; i < N_METRICS; i++)
        if (text_equal(metrics[i].name, name))
            return metrics[i].metric;
    return NULL;
}

static void add_values(struct compare_items *items, const char *metric)
{
    for (int m = 0; m < N_METRICS; m++)
        for (int i = 0; text_equal(metrics[m].name, metric) && metrics[m].item && i < items->n; i++)
            items->values[i] = metrics[m].item(items, i);
}

/* Classes a label or prediction can be: what a blob says is not trusted as an index. */
static bool has_good_classes(const struct compare_items *items, const char *metric)
{
    bool is_of_tokens = text_equal(metric, "perplexity") || text_equal(metric, "mse");
    if (items->n_classes == 0 ? !is_of_tokens && !text_equal(metric, "loss") : is_of_tokens)
        return false;
    for (int i = 0; i < items->n; i++)
        if (items->labels[i] < 0 ||
            (items->n_classes > 0 && (items->labels[i] >= items->n_classes || items->predicted[i] < 0 ||
                                      items->predicted[i] >= items->n_classes)))
            return false;
    return true;
}

/* int32 label, int32 prediction, float32 loss, C float32 probabilities an item, little endian as this machine. */
static int decode(const unsigned char *blob, size_t bytes, int64_t n, const char *metric, struct arena *arena,
                  struct compare_items **out, struct err *err)
{
    *out = NULL;
    if (!blob || n <= 0 || bytes % (size_t)n != 0 || bytes / (size_t)n < ITEM_HEAD ||
        bytes / (size_t)n > ITEM_HEAD + 4 * MAX_CLASSES || (bytes / (size_t)n - ITEM_HEAD) % 4 != 0)
        return 0;
    size_t size = bytes / (size_t)n, classes = (size - ITEM_HEAD) / 4, count = (size_t)n;
    struct compare_items *items = arena_calloc(arena, 1, sizeof(*items));
    int32_t *labels = arena_alloc(arena, 2 * count * sizeof(*labels));
    float *losses = arena_alloc(arena, count * (1 + classes) * sizeof(*losses));
    double *values = arena_calloc(arena, count, sizeof(*values));
    if (!items || !labels || !losses || !values)
        return err_set(err, ERR_NOMEM, "no memory for %lld items", (long long)n);
    for (size_t i = 0; i < count; i++) {
        memcpy(&labels[i], blob + i * size, 4);
        memcpy(&labels[count + i], blob + i * size + 4, 4);
        memcpy(&losses[i], blob + i * size + 8, 4);
        memcpy(&losses[count + i * classes], blob + i * size + ITEM_HEAD, 4 * classes);
    }
    *items = (struct compare_items){(int)n, (int)classes, labels, labels + count, losses, losses + count, values};
    *out = has_good_classes(items, metric) ? items : NULL;
    return 0;
}

int compare_read_items(struct store *store, int64_t trial_id, const char *split, const char *metric,
                       struct arena *arena, struct compare_items **items, const char **set, struct err *err)
{
    sqlite3_stmt *row = NULL;
    *items = NULL;
    *set = NULL;
    if (sqlite3_prepare_v2(store_database(store),
                           "SELECT items, n_items, item_set_sha256 FROM evaluation WHERE trial_id = ?1 AND split = ?2"
                           " AND is_final AND items IS NOT NULL AND item_set_sha256 IS NOT NULL"
                           " ORDER BY step DESC LIMIT 1",
                           -1, &row, NULL) != SQLITE_OK)
        return err_set(err, ERR_STORE, "%s: cannot read the items: %s", store_path(store),
                       sqlite3_errmsg(store_database(store)));
    sqlite3_bind_int64(row, 1, trial_id);
    sqlite3_bind_text(row, 2, split, -1, SQLITE_STATIC);
    int rc = 0;
    if (sqlite3_step(row) == SQLITE_ROW) {
        const unsigned char *blob = sqlite3_column_blob(row, 0);
        rc =
            decode(blob, (size_t)sqlite3_column_bytes(row, 0), sqlite3_column_int64(row, 1), metric, arena, items, err);
        if (rc == 0 && *items) {
            add_values(*items, metric);
            *set = arena_strdup(arena, (const char *)sqlite3_column_text(row, 2));
            rc = *set ? 0 : err_set(err, ERR_NOMEM, "no memory for a hash");
        }
    }
    sqlite3_finalize(row);
    return rc;
}
