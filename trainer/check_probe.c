/* A probe on another task: what a linear classifier can still read in the model's features (docs/checks.md). */
#include <stdlib.h>
#include <string.h>

#include "trainer/check.h"
#include "trainer/check_file.h"
#include "trainer/features.h"

#define LAMBDA 0.1

/* The file's rows: texts, labels, and which of them are for training the probe. */
struct probe_rows {
    struct rows rows, splits; /* splits: the same rows with their split in the place of the label */
    struct labels labels;
    size_t n_train, n_test;
    char hash[HASH_HEX_SIZE];
};

static void probe_rows_done(struct probe_rows *probe)
{
    labels_done(&probe->labels);
    rows_done(&probe->rows);
    rows_done(&probe->splits);
}

static bool is_train(const struct probe_rows *probe, size_t i)
{
    return strcmp(probe->splits.items[i].label, "train") == 0;
}

static int count_splits(struct probe_rows *probe, const char *path, struct err *err)
{
    for (size_t i = 0; i < probe->rows.count; i++) {
        const struct row *row = &probe->splits.items[i];
        if (!is_train(probe, i) && strcmp(row->label, "test") != 0)
            return err_set(err, ERR_DATA, "'%s', line %u: split is '%s', train or test was expected", path, row->line,
                           row->label);
        probe->n_train += is_train(probe, i);
    }
    probe->n_test = probe->rows.count - probe->n_train;
    if (probe->n_train == 0 || probe->n_test == 0)
        return err_set(err, ERR_DATA, "'%s' has %zu rows of train and %zu of test, some of both were expected", path,
                       probe->n_train, probe->n_test);
    return 0;
}

static int read_file(struct probe_rows *probe, const char *path, struct err *err)
{
    *probe = (struct probe_rows){0};
    int rc = check_rows_read(&probe->rows, path, "text", NULL, "label", err);
    if (rc == 0)
        rc = check_rows_read(&probe->splits, path, "text", NULL, "split", err);
    if (rc == 0 && probe->rows.count != probe->splits.count)
        rc = err_set(err, ERR_DATA, "'%s' changed while it was read", path);
    if (rc == 0)
        rc = count_splits(probe, path, err);
    if (rc == 0 && (rc = labels_make(&probe->labels, &probe->rows, err)) < 0)
        err_wrap(err, "'%s'", path);
    if (rc == 0)
        check_rows_hash(&probe->rows, probe->hash);
    return rc;
}

static int fits(struct trial *trial, const struct trial_check *check, struct err *err)
{
    struct probe_rows probe = {0};
    int rc = features_fit(trial, err);
    if (rc == 0)
        rc = read_file(&probe, check->file, err);
    probe_rows_done(&probe);
    return rc;
}

/* Rows of train first, then those of test, each in the file's order. */
static int measure(struct trial *trial, const struct probe_rows *probe, double *items, struct arena *arena,
                   struct err *err)
{
    size_t n = probe->rows.count, d = (size_t)trial->model.hidden_size, at[2] = {0, probe->n_train};
    const char **texts = arena_alloc(arena, n * sizeof(*texts));
    int *labels = arena_alloc(arena, n * sizeof(*labels)), *predicted = arena_alloc(arena, n * sizeof(*predicted));
    double *features = arena_alloc(arena, n * d * sizeof(*features));
    if (!texts || !labels || !predicted || !features)
        return err_set(err, ERR_NOMEM, "no memory for the features of %zu texts", n);
    for (size_t i = 0; i < n; i++) {
        size_t place = at[!is_train(probe, i)]++;
        texts[place] = probe->rows.items[i].text;
        labels[place] = labels_find(&probe->labels, probe->rows.items[i].label);
    }
    int rc = features_compute(trial, texts, n, features, err);
    if (rc == 0)
        rc = probe_predict(features, labels, (int)probe->n_train, (int)d, probe->labels.count, LAMBDA,
                           features + probe->n_train * d, (int)probe->n_test, predicted, err);
    for (size_t i = 0; i < probe->n_test && rc == 0; i++)
        items[i] = predicted[i] == labels[probe->n_train + i];
    return rc;
}

static int run(struct trial *trial, const struct trial_check *check, struct err *err)
{
    struct probe_rows probe;
    struct arena arena = {0};
    int rc = read_file(&probe, check->file, err);
    double *items = rc == 0 ? arena_calloc(&arena, probe.n_test, sizeof(*items)) : NULL;
    if (rc == 0 && !items)
        rc = err_set(err, ERR_NOMEM, "no memory for %zu rows", probe.n_test);
    if (rc == 0)
        rc = measure(trial, &probe, items, &arena, err);
    if (rc == 0)
        check_send(trial, check, items, probe.n_test, probe.hash);
    arena_done(&arena);
    probe_rows_done(&probe);
    return rc;
}

const struct check_kind check_probe = {.name = "probe", .fits = fits, .run = run};
