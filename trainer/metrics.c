/* Metrics of classification and of language models. */
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
static void f1_scores(struct metrics *m)
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
    m->macro_f1 = present ? sum / present : 0;
}

/* Each token counts the same, whatever item it is in. */
static struct metrics language_metrics(const struct predictions *p)
{
    double loss = 0, n = 0;
    for (size_t i = 0; i < p->n; i++) {
        loss += (double)p->losses[i] * p->n_tokens[i];
        n += p->n_tokens[i];
    }
    loss = n > 0 ? loss / n : NAN;
    return (struct metrics){.is_language = true,
                            .loss = loss,
                            .perplexity = exp(loss),
                            .accuracy = NAN,
                            .macro_f1 = NAN,
                            .ece = NAN,
                            .adaptive_ece = NAN,
                            .brier = NAN};
}

int metrics_compute(struct metrics *metrics, const struct predictions *p, struct arena *arena, struct err *err)
{
    struct metrics m = {.n_classes = p->n_classes};
    double correct = 0, loss = 0;
    if (p->n_tokens) {
        *metrics = language_metrics(p);
        return 0;
    }
    m.f1 = arena_calloc(arena, (size_t)p->n_classes, sizeof(*m.f1));
    m.confusion = arena_calloc(arena, (size_t)p->n_classes * (size_t)p->n_classes, sizeof(*m.confusion));
    if (!m.f1 || !m.confusion)
        return err_set(err, ERR_NOMEM, "no memory for the metrics of %d classes", p->n_classes);
    for (size_t i = 0; i < p->n; i++) {
        m.confusion[p->labels[i] * p->n_classes + p->predicted[i]]++;
        correct += p->labels[i] == p->predicted[i];
        loss += (double)p->losses[i];
    }
    m.accuracy = correct / (double)p->n;
    m.loss = loss / (double)p->n;
    m.ece = expected_calibration_error(p);
    m.brier = brier_score(p);
    int rc = adaptive_calibration_error(p, &m.adaptive_ece, arena, err);
    if (rc < 0)
        return rc;
    f1_scores(&m);
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

void metrics_add_json(struct text *json, const struct metrics *m, const struct labels *labels)
{
    if (m->is_language) {
        text_add(json, "{\"loss\":");
        add_number(json, m->loss);
        text_add(json, ",\"perplexity\":");
        add_number(json, m->perplexity);
        text_add(json, "}");
        return;
    }
    text_add(json, "{\"accuracy\":");
    add_number(json, m->accuracy);
    text_add(json, ",\"macro_f1\":");
    add_number(json, m->macro_f1);
    text_add(json, ",\"loss\":");
    add_number(json, m->loss);
    text_add(json, ",\"ece\":");
    add_number(json, m->ece);
    text_add(json, ",\"adaptive_ece\":");
    add_number(json, m->adaptive_ece);
    text_add(json, ",\"brier\":");
    add_number(json, m->brier);
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
    text_add(json, "]}");
}

const char *const *metrics_names(const struct metrics *metrics)
{
    static const char *const of_classes[] = {"accuracy", "loss", "macro_f1", "ece", NULL};
    static const char *const of_tokens[] = {"loss", "perplexity", NULL};
    return metrics->is_language ? of_tokens : of_classes;
}

double metrics_get(const struct metrics *m, const char *name)
{
    return strcmp(name, "accuracy") == 0                       ? m->accuracy
           : strcmp(name, "loss") == 0                         ? m->loss
           : strcmp(name, "macro_f1") == 0                     ? m->macro_f1
           : strcmp(name, "ece") == 0                          ? m->ece
           : strcmp(name, "adaptive_ece") == 0                 ? m->adaptive_ece
           : strcmp(name, "brier") == 0                        ? m->brier
           : m->is_language && strcmp(name, "perplexity") == 0 ? m->perplexity
                                                               : NAN;
}
