/* Features of texts, and the linear probe on them. */
#include "trainer/features.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_TOKENS = 512 };

int features_fit(const struct trial *trial, struct err *err)
{
    const struct model_kind *kind = trial->model.kind;
    if (kind->encode || (kind->decode && !kind->is_seq2seq))
        return 0;
    return err_set(err, ERR_UNSUPPORTED, "the hidden states of a '%s' model are not to be had", kind->name);
}

static const struct batch *pack(const struct encoding *encodings, size_t n, struct arena *arena)
{
    size_t rows = 0;
    int at = 0;
    for (size_t i = 0; i < n; i++)
        rows += (size_t)encodings[i].n;
    struct batch *batch = arena_calloc(arena, 1, sizeof(*batch));
    struct segment *segments = arena_alloc(arena, n * sizeof(*segments));
    int32_t *ids = arena_alloc(arena, rows * sizeof(*ids));
    if (!batch || !segments || !ids)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        segments[i] = (struct segment){at, encodings[i].n, encodings[i].n, 0, (uint32_t)i};
        memcpy(ids + at, encodings[i].ids, (size_t)encodings[i].n * sizeof(*ids));
        at += encodings[i].n;
    }
    *batch = (struct batch){.layout = {.n_segments = (int)n, .n_rows = at, .segments = segments}, .ids = ids};
    return batch;
}

static int compute_batch(struct trial *trial, struct arena *step, const struct encoding *encodings, size_t n,
                         double *out, struct err *err)
{
    struct tape tape = {0};
    const struct model_kind *kind = trial->model.kind;
    tape_begin(&tape, step);
    const struct batch *batch = pack(encodings, n, step);
    if (!batch)
        return err_set(err, ERR_NOMEM, "no memory for the features of %zu texts", n);
    struct pass pass = {.tape = &tape, .model = &trial->model, .batch = batch};
    struct value *x = kind->encode ? kind->encode(&pass) : kind->decode(&pass);
    x = op_mean_rows(&tape, x);
    int rc = tape_check(&tape, err);
    for (size_t i = 0; i < n * (size_t)trial->model.hidden_size && rc == 0; i++)
        out[i] = (double)x->data[i];
    return rc;
}

int features_compute(struct trial *trial, const char *const *texts, size_t n, double *out, struct err *err)
{
    struct arena arena = {0}, step = {0};
    struct encoding *encodings = arena_calloc(&arena, n + 1, sizeof(*encodings));
    int rc = encodings ? 0 : err_set(err, ERR_NOMEM, "no memory for %zu texts", n);
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = tokenizer_encode(trial->tokenizer, texts[i], NULL, trial->max_tokens, &arena, &encodings[i], err);
        if (rc == 0 && encodings[i].n == 0)
            rc = err_set(err, ERR_DATA, "nothing is left of the text '%.40s'", texts[i]);
    }
    for (size_t first = 0, count; first < n && rc == 0; first += count) {
        int tokens = encodings[first].n;
        for (count = 1; first + count < n && tokens + encodings[first + count].n <= BATCH_TOKENS; count++)
            tokens += encodings[first + count].n;
        rc = compute_batch(trial, &step, encodings + first, count, out + first * (size_t)trial->model.hidden_size, err);
    }
    arena_done(&step);
    arena_done(&arena);
    return rc;
}

/* The probe -------------------------------------------------------------------------------------------------------- */

void dposv_(const char *uplo, const int *n, const int *n_rhs, double *a, const int *lda, double *b, const int *ldb,
            int *info, size_t uplo_length);
void dgemm_(const char *transpose_a, const char *transpose_b, const int *m, const int *n, const int *k,
            const double *alpha, const double *a, const int *lda, const double *b, const int *ldb, const double *beta,
            double *c, const int *ldc, size_t, size_t);

/* mean and 1/deviation of each feature (0 without variance). */
static void scale_of(const double *x, int n, int d, double *mean, double *scale)
{
    for (int j = 0; j < d; j++) {
        double sum = 0, squares = 0;
        for (int i = 0; i < n; i++)
            sum += x[(size_t)i * (size_t)d + (size_t)j];
        mean[j] = sum / n;
        for (int i = 0; i < n; i++) {
            double off = x[(size_t)i * (size_t)d + (size_t)j] - mean[j];
            squares += off * off;
        }
        scale[j] = squares > 1e-20 * n ? 1 / sqrt(squares / n) : 0;
    }
}

static void apply_scale(const double *x, int n, int d, const double *mean, const double *scale, double *z)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < d; j++)
            z[(size_t)i * (size_t)d + (size_t)j] = (x[(size_t)i * (size_t)d + (size_t)j] - mean[j]) * scale[j];
}

/* Everything LAPACK sees is column-major: z (n, d) by rows is (d, n) to it. */
static int solve(const double *z, const int *label, int n, int d, int n_classes, double lambda, double *gram,
                 double *weights, double *prior, struct err *err)
{
    double share = 1.0 / n, zero = 0;
    int info = 0;
    for (int c = 0; c < n_classes; c++)
        prior[c] = 0;
    for (int i = 0; i < n; i++)
        prior[label[i]] += share;
    dgemm_("N", "T", &d, &d, &n, &share, z, &d, z, &d, &zero, gram, &d, 1, 1);
    for (int j = 0; j < d; j++)
        gram[(size_t)j * (size_t)d + (size_t)j] += lambda;
    memset(weights, 0, (size_t)d * (size_t)n_classes * sizeof(*weights));
    for (int i = 0; i < n; i++)
        for (int j = 0; j < d; j++) /* Zᵀ(Y − mean) = ZᵀY: Z has mean 0 */
            weights[(size_t)label[i] * (size_t)d + (size_t)j] += share * z[(size_t)i * (size_t)d + (size_t)j];
    dposv_("L", &d, &n_classes, gram, &d, weights, &d, &info, 1);
    return info == 0 ? 0 : err_set(err, ERR_NUMERIC, "the probe's equations cannot be solved");
}

static void answer(const double *z, int n, int d, int n_classes, const double *weights, const double *prior,
                   int *predicted)
{
    for (int i = 0; i < n; i++) {
        double best = -INFINITY;
        for (int c = 0; c < n_classes; c++) {
            double sum = prior[c];
            for (int j = 0; j < d; j++)
                sum += weights[(size_t)c * (size_t)d + (size_t)j] * z[(size_t)i * (size_t)d + (size_t)j];
            if (sum > best) {
                best = sum;
                predicted[i] = c;
            }
        }
    }
}

int probe_predict(const double *x, const int *label, int n_train, int d, int n_classes, double lambda,
                  const double *test, int n_test, int *predicted, struct err *err)
{
    struct arena arena = {0};
    size_t width = (size_t)d, larger = (size_t)(n_train > n_test ? n_train : n_test);
    double *z = arena_alloc(&arena, (larger * width + 1) * sizeof(*z));
    double *gram = arena_alloc(&arena, width * width * sizeof(*gram));
    double *weights = arena_alloc(&arena, width * (size_t)n_classes * sizeof(*weights));
    double *mean = arena_alloc(&arena, (2 * width + (size_t)n_classes) * sizeof(*mean));
    int rc = z && gram && weights && mean ? 0 : err_set(err, ERR_NOMEM, "no memory for a probe of %d features", d);
    if (rc == 0) {
        double *scale = mean + d, *prior = scale + d;
        scale_of(x, n_train, d, mean, scale);
        apply_scale(x, n_train, d, mean, scale, z);
        rc = solve(z, label, n_train, d, n_classes, lambda, gram, weights, prior, err);
        if (rc == 0) {
            apply_scale(test, n_test, d, mean, scale, z);
            answer(z, n_test, d, n_classes, weights, prior, predicted);
        }
    }
    arena_done(&arena);
    return rc;
}
