/* Metrics, their formulas and their JSON. */
#include "trainer/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ECE_BINS = 15 };

static double expected_calibration_error(const struct predictions *p)
{
    double confidence[ECE_BINS] = {0}, correct[ECE_BINS] = {0}, total = 0;
    for (size_t i = 0; i < p->n; i++) {
        double c = (double)p->probabilities[i * (size_t)p->n_classes + (size_t)p->predicted[i]];
        if (isnan(c))
            return c;                          /* it belongs into no bin */
        int bin = (int)ceil(c * ECE_BINS) - 1; /* bins are open below and closed above */
        bin = bin < 0 ? 0 : bin >= ECE_BINS ? ECE_BINS - 1 : bin;
        confidence[bin] += c;
        correct[bin] += p->labels[i] == p->predicted[i];
    }
    for (int b = 0; b < ECE_BINS; b++)
        total += fabs(correct[b] - confidence[b]);
    return total / (double)p->n;
}

struct confidence {
    double value;
    int is_correct;
};

/* Right answers behind wrong ones of equal confidence, so that the order of the items does not matter. */
static int compare_confidences(const void *a, const void *b)
{
    const struct confidence *x = a, *y = b;
    return x->value < y->value ? -1 : x->value > y->value ? 1 : x->is_correct - y->is_correct;
}

/* Bin b holds the sorted items from ⌊b·n/15⌋ on; with fewer items than bins some are empty. */
static int adaptive_calibration_error(const struct predictions *p, double *out, struct arena *arena, struct err *err)
{
    struct confidence *sorted = arena_alloc(arena, (p->n + 1) * sizeof(*sorted));
    double total = 0;
    if (!sorted)
        return err_set(err, ERR_NOMEM, "no memory for the calibration of %zu items", p->n);
    for (size_t i = 0; i < p->n; i++) {
        double c = (double)p->probabilities[i * (size_t)p->n_classes + (size_t)p->predicted[i]];
        if (isnan(c)) {
            *out = c;
            return 0;
        }
        sorted[i] = (struct confidence){c, p->labels[i] == p->predicted[i]};
    }
    qsort(sorted, p->n, sizeof(*sorted), compare_confidences);
    for (size_t b = 0; b < ECE_BINS; b++) {
        double gap = 0;
        for (size_t i = b * p->n / ECE_BINS; i < (b + 1) * p->n / ECE_BINS; i++)
            gap += sorted[i].is_correct - sorted[i].value;
        total += fabs(gap);
    }
    *out = total / (double)p->n;
    return 0;
}

static double brier_score(const struct predictions *p)
{
    double sum = 0;
    for (size_t i = 0; i < p->n; i++)
        for (int c = 0; c < p->n_classes; c++) {
            double off = (double)p->probabilities[i * (size_t)p->n_classes + (size_t)c] - (c == p->labels[i]);
            sum += off * off;
        }
    return sum / (double)p->n;
}

/* F1 = 2 TP / (2 TP + FP + FN) of each class. */
static double f1_scores(struct metrics *m)
{
    int present = 0, n = m->n_classes;
    double sum = 0;
    for (int c = 0; c < n; c++) {
        int64_t of_label = 0, of_prediction = 0, hit = m->confusion[c * n + c];
        for (int k = 0; k < n; k++) {
            of_label += m->confusion[c * n + k];
            of_prediction += m->confusion[k * n + c];
        }
        m->f1[c] = of_label + of_prediction ? 2.0 * (double)hit / (double)(of_label + of_prediction) : 0;
        present += of_label + of_prediction > 0;
        sum += m->f1[c];
    }
    return present ? sum / present : 0;
}

void metrics_begin(struct metrics *metrics, const char *task)
{
    *metrics = (struct metrics){.task = task_find(task)};
    for (int i = 0; i < TASK_MAX_METRICS; i++)
        metrics->values[i] = NAN;
}

void metrics_set(struct metrics *metrics, const char *name, double value)
{
    const struct task_metric *metric = task_metric(metrics->task, name);
    if (metric)
        metrics->values[metric - metrics->task->metrics] = value;
}

double metrics_get(const struct metrics *metrics, const char *name)
{
    const struct task_metric *metric = task_metric(metrics->task, name);
    return metric ? metrics->values[metric - metrics->task->metrics] : NAN;
}

void metrics_of_tokens(struct metrics *metrics, const struct predictions *p)
{
    double loss = 0, n = 0;
    for (size_t i = 0; i < p->n; i++) {
        loss += (double)p->losses[i] * p->n_tokens[i];
        n += p->n_tokens[i];
    }
    loss = n > 0 ? loss / n : NAN;
    metrics_set(metrics, "loss", loss);
    metrics_set(metrics, "perplexity", exp(loss));
}

int metrics_of_classes(struct metrics *metrics, const struct predictions *p, struct arena *arena, struct err *err)
{
    struct metrics m = *metrics;
    double correct = 0, loss = 0, adaptive_ece = NAN;
    m.n_classes = p->n_classes;
    m.f1 = arena_calloc(arena, (size_t)p->n_classes, sizeof(*m.f1));
    m.confusion = arena_calloc(arena, (size_t)p->n_classes * (size_t)p->n_classes, sizeof(*m.confusion));
    if (!m.f1 || !m.confusion)
        return err_set(err, ERR_NOMEM, "no memory for the metrics of %d classes", p->n_classes);
    for (size_t i = 0; i < p->n; i++) {
        m.confusion[p->labels[i] * p->n_classes + p->predicted[i]]++;
        correct += p->labels[i] == p->predicted[i];
        loss += (double)p->losses[i];
    }
    int rc = adaptive_calibration_error(p, &adaptive_ece, arena, err);
    if (rc < 0)
        return rc;
    metrics_set(&m, "accuracy", correct / (double)p->n);
    metrics_set(&m, "macro_f1", f1_scores(&m));
    metrics_set(&m, "loss", loss / (double)p->n);
    metrics_set(&m, "ece", expected_calibration_error(p));
    metrics_set(&m, "adaptive_ece", adaptive_ece);
    metrics_set(&m, "brier", brier_score(p));
    *metrics = m;
    return 0;
}

static void add_number(struct text *json, double value)
{
    if (isfinite(value))
        text_add_double(json, value);
    else
        text_add(json, "null");
}

static void add_classes(struct text *json, const struct metrics *m, const struct labels *labels)
{
    text_add(json, ",\"f1\":{");
    for (int c = 0; c < m->n_classes; c++) {
        text_add(json, c ? "," : "");
        text_add_json(json, labels->names[c]);
        text_add(json, ":");
        add_number(json, m->f1[c]);
    }
    text_add(json, "},\"confusion\":[");
    for (int c = 0; c < m->n_classes; c++) {
        text_add(json, c ? ",[" : "[");
        for (int k = 0; k < m->n_classes; k++)
            text_printf(json, "%s%lld", k ? "," : "", (long long)m->confusion[c * m->n_classes + k]);
        text_add(json, "]");
    }
    text_add(json, "]");
}

void metrics_add_json(struct text *json, const struct metrics *m, const struct labels *labels)
{
    for (int i = 0; m->task->metrics[i].name; i++) {
        text_printf(json, "%s\"%s\":", i ? "," : "{", m->task->metrics[i].name);
        add_number(json, m->values[i]);
    }
    if (m->f1)
        add_classes(json, m, labels);
    text_add(json, "}");
}

/* Numbers ---------------------------------------------------------------------------------------------------------- */

struct ranked_number {
    double value;
    size_t index;
};

static int compare_values(const void *a, const void *b)
{
    const struct ranked_number *x = a, *y = b;
    return (x->value > y->value) - (x->value < y->value);
}

/* Ranks from 1; equal values share the mean of theirs. */
static bool rank_numbers(const real *values, size_t n, double *ranks, struct arena *arena)
{
    struct ranked_number *sorted = arena_alloc(arena, (n + 1) * sizeof(*sorted));
    if (!sorted)
        return false;
    for (size_t i = 0; i < n; i++)
        sorted[i] = (struct ranked_number){(double)values[i], i};
    qsort(sorted, n, sizeof(*sorted), compare_values);
    for (size_t first = 0, end; first < n; first = end) {
        for (end = first + 1; end < n && sorted[end].value == sorted[first].value; end++)
            ;
        for (size_t i = first; i < end; i++)
            ranks[sorted[i].index] = ((double)first + (double)end + 1) / 2;
    }
    return true;
}

/* 0 where one side does not vary: nothing is known of how they go together. */
static double correlation(const double *x, const double *y, size_t n)
{
    double mean_x = 0, mean_y = 0, xy = 0, xx = 0, yy = 0;
    for (size_t i = 0; i < n; i++) {
        mean_x += x[i] / (double)n;
        mean_y += y[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        xy += (x[i] - mean_x) * (y[i] - mean_y);
        xx += (x[i] - mean_x) * (x[i] - mean_x);
        yy += (y[i] - mean_y) * (y[i] - mean_y);
    }
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
}

int metrics_of_numbers(struct metrics *metrics, const struct predictions *p, struct arena *arena, struct err *err)
{
    double *x = arena_alloc(arena, (p->n + 1) * sizeof(*x)), *y = arena_alloc(arena, (p->n + 1) * sizeof(*y)), loss = 0;
    if (!x || !y)
        return err_set(err, ERR_NOMEM, "no memory for the metrics of %zu numbers", p->n);
    for (size_t i = 0; i < p->n; i++) {
        loss += (double)p->losses[i] / (double)p->n;
        x[i] = (double)p->values[i];
        y[i] = (double)p->targets[i];
    }
    metrics_set(metrics, "loss", loss);
    metrics_set(metrics, "mse", loss);
    metrics_set(metrics, "pearson", correlation(x, y, p->n));
    if (!rank_numbers(p->values, p->n, x, arena) || !rank_numbers(p->targets, p->n, y, arena))
        return err_set(err, ERR_NOMEM, "no memory for the metrics of %zu numbers", p->n);
    metrics_set(metrics, "spearman", correlation(x, y, p->n));
    return 0;
}
