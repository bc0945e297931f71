/* Gaussian process regression: evidence with gradient, factorisation that grows, prediction. */
#include "orchestrator/search_gp_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/search_lapack.h"
#include "orchestrator/search_minimize.h"

static const double root5 = 2.23606797749978969;
static const double jitter = 1e-9;

double gp_fill(bool is_category, double value)
{
    return !isnan(value) ? value : is_category ? -1 : 0.5;
}

double gp_kernel(double squared_distance)
{
    double r = root5 * sqrt(squared_distance);
    return (1 + r + r * r / 3) * exp(-r);
}

/* Evidence --------------------------------------------------------------------------------------------------------- */

/* The prior: lengths around 0.3 √d + 0.1 within a factor of e^0.5 (Hvarfner et al. 2024: distances grow with √d, so
 * must lengths), s² around 1, noise anywhere between 1e-8 and 1e-1. */
static double prior_length(int d)
{
    return log(0.3 * sqrt((double)d) + 0.1);
}

static double add_prior(double value, double mean, double deviation, double *gradient)
{
    double z = (value - mean) / deviation;
    *gradient -= z / deviation;
    return -0.5 * z * z;
}

int gp_n_theta(int d, bool has_common)
{
    return has_common ? 2 * d + GP_EXTRA + 1 : d + GP_EXTRA;
}

/* λ_j and s² of the second kernel. */
static const double *common_of(const double *theta, int d)
{
    return theta + d + GP_EXTRA;
}

static double log_prior(const double *theta, int d, bool has_common, double *gradient)
{
    double sum = 0;
    for (int j = 0; j < d; j++)
        sum += add_prior(theta[j], -2 * prior_length(d), 1.0, &gradient[j]);
    sum += add_prior(theta[d + GP_SIGNAL], -0.5, 1.0, &gradient[d + GP_SIGNAL]);
    sum += add_prior(theta[d + GP_NOISE], -11.5, 4.0, &gradient[d + GP_NOISE]);
    for (int j = 0, at = d + GP_EXTRA; j < d && has_common; j++, at++)
        sum += add_prior(theta[at], -2 * prior_length(d), 1.0, &gradient[at]);
    if (has_common)
        sum += add_prior(theta[2 * d + GP_EXTRA], -2.5, 1.5, &gradient[2 * d + GP_EXTRA]);
    return sum;
}

double gp_log_prior(const double *theta, int d, bool has_common)
{
    double ignored[MINIMIZE_MAX_VARIABLES] = {0};
    return log_prior(theta, d, has_common, ignored);
}

void gp_start(int d, bool has_common, double scale, double *theta)
{
    for (int j = 0; j < d; j++)
        theta[j] = -2 * (prior_length(d) + log(scale));
    theta[d + GP_SIGNAL] = 0;
    theta[d + GP_NOISE] = -9;
    for (int j = 0; j < d && has_common; j++)
        theta[d + GP_EXTRA + j] = -2 * prior_length(d);
    if (has_common)
        theta[2 * d + GP_EXTRA] = -2;
}

/* Squared differences of every pair a dimension after the other: (d, pairs). */
static void fill_differences(const struct gp_data *data, double *differences)
{
    size_t at = 0;
    for (int j = 0; j < data->d; j++) {
        const double *x = data->x + (size_t)j * (size_t)data->n;
        for (int a = 1; a < data->n; a++)
            for (int b = 0; b < a; b++) {
                double delta = data->is_category[j] ? x[a] != x[b] : x[a] - x[b];
                differences[at++] = delta * delta;
            }
    }
}

/* One of the kernels added: its squared distances and dk/d(r²), by pairs. */
struct part {
    double *distances, *slopes;
};

struct evidence {
    const struct gp_data *data;
    int n_theta;
    double *differences, *matrix, *weights, *gradient;
    struct part own, common;
};

static bool part_init(struct part *part, size_t pairs, struct arena *scratch)
{
    part->distances = arena_alloc(scratch, pairs * sizeof(double));
    part->slopes = arena_alloc(scratch, pairs * sizeof(double));
    return part->distances && part->slopes;
}

static bool evidence_init(struct evidence *e, const struct gp_data *data, struct arena *scratch)
{
    size_t n = (size_t)data->n, pairs = n * (n - 1) / 2 + 1;
    int n_theta = gp_n_theta(data->d, data->is_common != NULL);
    *e = (struct evidence){
        .data = data,
        .n_theta = n_theta,
        .differences = arena_alloc(scratch, ((size_t)data->d * pairs + 1) * sizeof(double)),
        .matrix = arena_alloc(scratch, (n * n + 1) * sizeof(double)),
        .weights = arena_alloc(scratch, (n + 1) * sizeof(double)),
        .gradient = arena_alloc(scratch, (size_t)n_theta * sizeof(double)),
    };
    if (!e->differences || !e->matrix || !e->weights || !e->gradient || !part_init(&e->own, pairs, scratch) ||
        (data->is_common && !part_init(&e->common, pairs, scratch)))
        return false;
    fill_differences(data, e->differences);
    return true;
}

static void find_distances(const struct evidence *e, const double *theta, const bool *is_used, struct part *part)
{
    int n = e->data->n, d = e->data->d, pairs = n * (n - 1) / 2;
    double scales[MINIMIZE_MAX_VARIABLES];
    for (int j = 0; j < d; j++)
        scales[j] = is_used && !is_used[j] ? 0 : exp(theta[j]);
    if (pairs > 0)
        lapack()->dgemv(CblasColMajor, CblasNoTrans, pairs, d, 1, e->differences, pairs, scales, 1, 0, part->distances,
                        1);
}

static double pair_kernel(struct part *part, int p, double signal)
{
    double r = root5 * sqrt(part->distances[p]), decay = signal * exp(-r);
    part->slopes[p] = -5.0 / 6 * (1 + r) * decay;
    return (1 + r + r * r / 3) * decay;
}

/* K into the matrix (row-major lower). */
static void fill_kernel(struct evidence *e, const double *theta)
{
    int n = e->data->n, d = e->data->d;
    const bool *is_common = e->data->is_common;
    double signal = exp(theta[d + GP_SIGNAL]), noise = exp(theta[d + GP_NOISE]);
    double common = is_common ? exp(common_of(theta, d)[d]) : 0;
    find_distances(e, theta, NULL, &e->own);
    if (is_common)
        find_distances(e, common_of(theta, d), is_common, &e->common);
    int p = 0;
    for (int a = 0; a < n; a++) {
        double *row = e->matrix + (size_t)a * (size_t)n;
        for (int b = 0; b < a; b++, p++) {
            row[b] = pair_kernel(&e->own, p, signal);
            if (is_common)
                row[b] += pair_kernel(&e->common, p, common);
        }
        row[a] = signal + common + noise * e->data->noise[a] + jitter;
    }
}

/* Puts ½ tr(W dK/dθ) by one kernel's log λ into `gradient`, and returns it by its log s²; W a pair in `weights`. */
static double part_gradient(const struct evidence *e, struct part *part, const double *weights, const double *theta,
                            double trace, double *gradient)
{
    int n = e->data->n, d = e->data->d, pairs = n * (n - 1) / 2;
    double by_signal = 0;
    for (int p = 0; p < pairs; p++) {
        double r = root5 * sqrt(part->distances[p]);
        /* slope = −5/6 (1 + r) s² exp(−r), so the kernel follows from it. */
        by_signal += weights[p] * part->slopes[p] * (-6.0 / 5) / (1 + r) * (1 + r + r * r / 3);
        part->slopes[p] *= weights[p];
    }
    if (pairs > 0)
        lapack()->dgemv(CblasColMajor, CblasTrans, pairs, d, 1, e->differences, pairs, part->slopes, 1, 0, gradient, 1);
    for (int j = 0; j < d; j++)
        gradient[j] = pairs > 0 ? gradient[j] * exp(theta[j]) : 0;
    return by_signal + 0.5 * trace;
}

/* From W = ααᵀ − K⁻¹ (K⁻¹ in the matrix): d log p / dθ = ½ tr(W dK/dθ). */
static void fill_gradient(struct evidence *e, const double *theta)
{
    int n = e->data->n, d = e->data->d, p = 0;
    double signal = exp(theta[d + GP_SIGNAL]), noise = exp(theta[d + GP_NOISE]);
    double trace = 0, by_noise = 0;
    /* W by pairs goes where the matrix was: pair p is stored at or before the row it is read from. */
    double *weights = e->matrix;
    for (int a = 0; a < n; a++) {
        const double *row = e->matrix + (size_t)a * (size_t)n;
        double w = e->weights[a] * e->weights[a] - row[a];
        trace += w;
        by_noise += 0.5 * w * noise * e->data->noise[a];
        for (int b = 0; b < a; b++, p++)
            weights[p] = e->weights[a] * e->weights[b] - row[b];
    }
    e->gradient[d + GP_SIGNAL] = part_gradient(e, &e->own, weights, theta, trace * signal, e->gradient);
    e->gradient[d + GP_NOISE] = by_noise;
    if (!e->data->is_common)
        return;
    const double *common = common_of(theta, d);
    double *gradient = e->gradient + d + GP_EXTRA;
    gradient[d] = part_gradient(e, &e->common, weights, common, trace * exp(common[d]), gradient);
    for (int j = 0; j < d; j++)
        gradient[j] = e->data->is_common[j] ? gradient[j] : 0;
}

static double evaluate(struct evidence *e, const double *theta)
{
    int n = e->data->n, d = e->data->d, info = 0;
    double sum = -0.5 * n * log(2 * M_PI);
    fill_kernel(e, theta);
    lapack()->dpotrf("U", &n, e->matrix, &n, &info); /* row-major lower is column-major upper */
    if (info != 0)
        return -INFINITY;
    memcpy(e->weights, e->data->y, (size_t)n * sizeof(double));
    lapack()->dtrsv(CblasRowMajor, CblasLower, CblasNoTrans, CblasNonUnit, n, e->matrix, n, e->weights, 1);
    for (int a = 0; a < n; a++)
        sum -= 0.5 * e->weights[a] * e->weights[a] + log(e->matrix[(size_t)a * (size_t)n + (size_t)a]);
    lapack()->dtrsv(CblasRowMajor, CblasLower, CblasTrans, CblasNonUnit, n, e->matrix, n, e->weights, 1);
    lapack()->dpotri("U", &n, e->matrix, &n, &info);
    if (info != 0)
        return -INFINITY;
    fill_gradient(e, theta);
    return sum + log_prior(theta, d, e->data->is_common != NULL, e->gradient);
}

double gp_evidence(const struct gp_data *data, const double *theta, double *gradient, struct arena *scratch)
{
    struct arena_mark mark = arena_mark(scratch);
    struct evidence e;
    double value = evidence_init(&e, data, scratch) ? evaluate(&e, theta) : -INFINITY;
    if (gradient && isfinite(value))
        memcpy(gradient, e.gradient, (size_t)e.n_theta * sizeof(double));
    arena_rewind(scratch, mark);
    return value;
}

static double negative(const double *theta, double *gradient, void *context)
{
    struct evidence *e = context;
    double value = evaluate(e, theta);
    for (int j = 0; j < e->n_theta; j++)
        gradient[j] = -e->gradient[j];
    return -value;
}

double gp_fit(const struct gp_data *data, double *theta, int max_calls, struct arena *scratch)
{
    struct arena_mark mark = arena_mark(scratch);
    struct evidence e;
    double low[MINIMIZE_MAX_VARIABLES], high[MINIMIZE_MAX_VARIABLES], value = -INFINITY;
    int n_theta = gp_n_theta(data->d, data->is_common != NULL);
    for (int j = 0; j < n_theta; j++) {
        low[j] = -14;
        high[j] = 9;
    }
    low[data->d + GP_SIGNAL] = -6;
    high[data->d + GP_SIGNAL] = 6;
    low[data->d + GP_NOISE] = -20;
    high[data->d + GP_NOISE] = 1;
    high[n_theta - 1] = data->is_common ? 6 : high[n_theta - 1];
    if (evidence_init(&e, data, scratch))
        value = -minimize_box(theta, low, high, n_theta, negative, &e, max_calls, 1e-3);
    arena_rewind(scratch, mark);
    return value;
}

/* Conditioning ----------------------------------------------------------------------------------------------------- */

void gp_done(struct gp *gp)
{
    free(gp->theta);
    free(gp->scale);
    free(gp->common);
    free(gp->is_category);
    free(gp->x);
    free(gp->noise);
    free(gp->factor);
    free(gp->weights);
    free(gp->work);
    *gp = (struct gp){0};
}

static bool reserve(struct gp *gp, int n, int d)
{
    if (n <= gp->capacity && d == gp->d && gp->theta)
        return true;
    /* A multiple of 8: every row begins at the same alignment, on which the sums of BLAS kernels for old processors
     * depend, however the capacity came about. */
    size_t capacity = ((size_t)n + (size_t)n / 4 + 32 + 7) / 8 * 8, dims = (size_t)d;
    gp_done(gp);
    *gp = (struct gp){
        .d = d,
        .capacity = (int)capacity,
        .theta = calloc(2 * dims + 3, sizeof(double)),
        .scale = calloc(dims + 1, sizeof(double)),
        .common = calloc(dims + 1, sizeof(double)),
        .is_category = calloc(dims + 1, sizeof(bool)),
        .x = calloc(dims * capacity + 1, sizeof(double)),
        .noise = calloc(capacity, sizeof(double)),
        .factor = calloc(capacity * capacity, sizeof(double)),
        .weights = calloc(capacity, sizeof(double)),
        .work = calloc(5 * capacity, sizeof(double)),
    };
    return gp->theta && gp->scale && gp->common && gp->is_category && gp->x && gp->noise && gp->factor && gp->weights &&
           gp->work;
}

static double signal_of(const struct gp *gp)
{
    return exp(gp->theta[gp->d + GP_SIGNAL]) + (gp->has_common ? exp(common_of(gp->theta, gp->d)[gp->d]) : 0);
}

/* Squared distances of x to the first n rows. */
static void row_distances(const struct gp *gp, const double *scales, const double *x, size_t stride, int n, double *out)
{
    memset(out, 0, (size_t)n * sizeof(*out));
    for (int j = 0; j < gp->d; j++) {
        const double *column = gp->x + (size_t)j * (size_t)gp->capacity;
        double value = x[(size_t)j * stride], scale = scales[j];
        if (scale == 0)
            continue;
        if (gp->is_category[j])
            for (int i = 0; i < n; i++)
                out[i] += column[i] != value ? scale : 0;
        else
            for (int i = 0; i < n; i++)
                out[i] += scale * (column[i] - value) * (column[i] - value);
    }
}

/* out[i] = k(x, row i) for the first n rows; slopes and common_slopes (may be NULL) get dk/d(r²) of each kernel. x has
 * a value a dimension, `stride` apart. */
static void kernel_row(const struct gp *gp, const double *x, size_t stride, int n, double *out, double *slopes,
                       double *common_slopes)
{
    double signal = exp(gp->theta[gp->d + GP_SIGNAL]), *distances = gp->work + 4 * (size_t)gp->capacity;
    row_distances(gp, gp->scale, x, stride, n, out);
    for (int i = 0; i < n; i++) {
        double r = root5 * sqrt(out[i]), decay = signal * exp(-r);
        out[i] = (1 + r + r * r / 3) * decay;
        if (slopes)
            slopes[i] = -5.0 / 6 * (1 + r) * decay;
    }
    if (!gp->has_common)
        return;
    signal = exp(common_of(gp->theta, gp->d)[gp->d]);
    row_distances(gp, gp->common, x, stride, n, distances);
    for (int i = 0; i < n; i++) {
        double r = root5 * sqrt(distances[i]), decay = signal * exp(-r);
        out[i] += (1 + r + r * r / 3) * decay;
        if (common_slopes)
            common_slopes[i] = -5.0 / 6 * (1 + r) * decay;
    }
}

static double diagonal(const struct gp *gp, int i)
{
    return signal_of(gp) + exp(gp->theta[gp->d + GP_NOISE]) * gp->noise[i] + jitter;
}

static bool factorise_base(struct gp *gp, int n)
{
    int info = 0, lda = gp->capacity;
    for (int i = 0; i < n; i++) {
        double *row = gp->factor + (size_t)i * (size_t)lda;
        kernel_row(gp, gp->x + i, (size_t)lda, i, row, NULL, NULL);
        row[i] = diagonal(gp, i);
    }
    lapack()->dpotrf("U", &n, gp->factor, &lda, &info);
    return info == 0;
}

/* Row i of the factor: L l = k, l_ii = √(k_ii − l·l). A point that is known to the last digit leaves nothing: it gets
 * the jitter's share, so that the others keep their say. */
static void append_row(struct gp *gp, int i)
{
    double *row = gp->factor + (size_t)i * (size_t)gp->capacity, rest = diagonal(gp, i);
    kernel_row(gp, gp->x + i, (size_t)gp->capacity, i, row, NULL, NULL);
    if (i > 0)
        lapack()->dtrsv(CblasRowMajor, CblasLower, CblasNoTrans, CblasNonUnit, i, gp->factor, gp->capacity, row, 1);
    for (int k = 0; k < i; k++)
        rest -= row[k] * row[k];
    row[i] = sqrt(fmax(rest, jitter));
}

static bool same_row(const struct gp *gp, const struct gp_data *data, int i)
{
    for (int j = 0; j < gp->d; j++)
        if (gp->x[(size_t)j * (size_t)gp->capacity + (size_t)i] != data->x[(size_t)j * (size_t)data->n + (size_t)i])
            return false;
    return gp->noise[i] == data->noise[i];
}

static int same_rows(const struct gp *gp, const struct gp_data *data, const double *theta, int n_base)
{
    int n = 0;
    if (gp->n_base != n_base || gp->has_common != (data->is_common != NULL) ||
        memcmp(gp->theta, theta, (size_t)gp_n_theta(gp->d, gp->has_common) * sizeof(double)) != 0)
        return 0;
    while (n < gp->n && n < data->n && same_row(gp, data, n))
        n++;
    return n < n_base ? 0 : n;
}

bool gp_condition(struct gp *gp, const struct gp_data *data, const double *theta, int n_base)
{
    if (!reserve(gp, data->n, data->d))
        return false;
    int kept = same_rows(gp, data, theta, n_base);
    gp->has_common = data->is_common != NULL;
    memcpy(gp->theta, theta, (size_t)gp_n_theta(gp->d, gp->has_common) * sizeof(double));
    memcpy(gp->is_category, data->is_category, (size_t)gp->d * sizeof(bool));
    for (int j = 0; j < gp->d; j++) {
        gp->scale[j] = exp(theta[j]);
        gp->common[j] = gp->has_common && data->is_common[j] ? exp(common_of(theta, gp->d)[j]) : 0;
        memcpy(gp->x + (size_t)j * (size_t)gp->capacity, data->x + (size_t)j * (size_t)data->n,
               (size_t)data->n * sizeof(double));
    }
    memcpy(gp->noise, data->noise, (size_t)data->n * sizeof(double));
    gp->n_base = n_base;
    gp->n = data->n;
    if (kept == 0 && n_base > 0 && !factorise_base(gp, n_base)) {
        gp->n = 0;
        return false;
    }
    for (int i = kept > n_base ? kept : n_base; i < data->n; i++)
        append_row(gp, i);
    memcpy(gp->weights, data->y, (size_t)data->n * sizeof(double));
    lapack()->dtrsv(CblasRowMajor, CblasLower, CblasNoTrans, CblasNonUnit, gp->n, gp->factor, gp->capacity, gp->weights,
                    1);
    lapack()->dtrsv(CblasRowMajor, CblasLower, CblasTrans, CblasNonUnit, gp->n, gp->factor, gp->capacity, gp->weights,
                    1);
    return true;
}

/* Predicting ------------------------------------------------------------------------------------------------------- */

static double deviation_of(double variance, double signal)
{
    return sqrt(fmax(variance, 1e-12 * signal));
}

void gp_predict(struct gp *gp, const double *x, int m, double *mean, double *deviation, double *cross)
{
    double signal = signal_of(gp);
    int n = gp->n;
    for (int c = 0; c < m; c++) {
        double *row = cross + (size_t)c * (size_t)n;
        kernel_row(gp, x + c, (size_t)m, n, row, NULL, NULL);
        mean[c] = lapack()->ddot(n, row, 1, gp->weights, 1);
    }
    /* (m, n) row-major times L⁻ᵀ: each row becomes L⁻¹ k. */
    lapack()->dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, m, n, 1, gp->factor, gp->capacity,
                    cross, n);
    for (int c = 0; c < m; c++) {
        const double *row = cross + (size_t)c * (size_t)n;
        deviation[c] = deviation_of(signal - lapack()->ddot(n, row, 1, row, 1), signal);
    }
}

double gp_mean(struct gp *gp, const double *x)
{
    kernel_row(gp, x, 1, gp->n, gp->work, NULL, NULL);
    return lapack()->ddot(gp->n, gp->work, 1, gp->weights, 1);
}

void gp_predict_gradient(struct gp *gp, const double *x, double *mean, double *deviation, double *mean_gradient,
                         double *deviation_gradient)
{
    int n = gp->n;
    double signal = signal_of(gp);
    double *cross = gp->work, *slopes = cross + gp->capacity, *solved = slopes + gp->capacity;
    double *common_slopes = solved + gp->capacity;
    kernel_row(gp, x, 1, n, cross, slopes, common_slopes);
    memcpy(solved, cross, (size_t)n * sizeof(*solved));
    lapack()->dtrsv(CblasRowMajor, CblasLower, CblasNoTrans, CblasNonUnit, n, gp->factor, gp->capacity, solved, 1);
    *mean = lapack()->ddot(n, cross, 1, gp->weights, 1);
    *deviation = deviation_of(signal - lapack()->ddot(n, solved, 1, solved, 1), signal);
    lapack()->dtrsv(CblasRowMajor, CblasLower, CblasTrans, CblasNonUnit, n, gp->factor, gp->capacity, solved, 1);
    for (int j = 0; j < gp->d; j++) {
        const double *column = gp->x + (size_t)j * (size_t)gp->capacity;
        double by_mean = 0, by_variance = 0, common_by_mean = 0, common_by_variance = 0;
        for (int i = 0; i < n && !gp->is_category[j]; i++) {
            double delta = x[j] - column[i], slope = slopes[i] * delta;
            by_mean += slope * gp->weights[i];
            by_variance += slope * solved[i];
        }
        for (int i = 0; i < n && !gp->is_category[j] && gp->common[j] > 0; i++) {
            double delta = x[j] - column[i], slope = common_slopes[i] * delta;
            common_by_mean += slope * gp->weights[i];
            common_by_variance += slope * solved[i];
        }
        mean_gradient[j] = 2 * (gp->scale[j] * by_mean + gp->common[j] * common_by_mean);
        deviation_gradient[j] = -2 * (gp->scale[j] * by_variance + gp->common[j] * common_by_variance) / *deviation;
    }
}
