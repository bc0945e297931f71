/* CMA-ES (Hansen 2016, arXiv:1604.00772) in the unit cube: a normal distribution that follows the better half of each
 * generation. A generation is the next λ trials to finish, whoever proposed them, so any number may run at once and a
 * restored study goes on where it was. Values beyond the cube are drawn again. Categories have no normal distribution:
 * they are copied from a good trial or drawn anew. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/search_kinds.h"
#include "orchestrator/search_lapack.h"
#include "orchestrator/study_internal.h"

enum { REDRAWS = 50 };
static const double first_sigma = 0.25;

struct cmaes {
    int d, lambda, mu, n_used; /* dimensions that are numbers; finished trials behind the state */
    int *dimension;            /* of the codec, by variable */
    double *weights, mu_effective, c_sigma, d_sigma, c_c, c_1, c_mu, chi;
    double *mean, sigma, *path_sigma, *path_c, *covariance, *axes, *lengths; /* C = B D² Bᵀ: axes B, lengths D */
    double *work;
    int generation;
    int best; /* configuration of the best trial, −1: none */
    double best_score;
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for CMA-ES");
}

static void set_rates(struct cmaes *s)
{
    double d = s->d, sum = 0, squares = 0;
    for (int i = 0; i < s->mu; i++)
        sum += s->weights[i] = log(s->lambda / 2.0 + 0.5) - log(i + 1.0);
    for (int i = 0; i < s->mu; i++) {
        s->weights[i] /= sum;
        squares += s->weights[i] * s->weights[i];
    }
    double m = s->mu_effective = 1 / squares;
    s->c_sigma = (m + 2) / (d + m + 5);
    s->d_sigma = 1 + 2 * fmax(0, sqrt((m - 1) / (d + 1)) - 1) + s->c_sigma;
    s->c_c = (4 + m / d) / (d + 4 + 2 * m / d);
    s->c_1 = 2 / ((d + 1.3) * (d + 1.3) + m);
    s->c_mu = fmin(1 - s->c_1, 2 * (m - 2 + 1 / m) / ((d + 2) * (d + 2) + m));
    s->chi = sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d * d));
}

static int init(struct study *study, struct err *err)
{
    struct cmaes *s = arena_calloc(&study->arena, 1, sizeof(*s));
    size_t n = (size_t)study->codec.n;
    if (!s)
        return no_memory(err);
    study->state = s;
    s->best = -1;
    s->dimension = arena_calloc(&study->arena, n + 1, sizeof(int));
    for (int j = 0; j < study->codec.n && s->dimension; j++)
        if (!study->codec.dimensions[j].is_category)
            s->dimension[s->d++] = j;
    size_t d = (size_t)s->d;
    s->lambda = 4 + (s->d > 0 ? (int)floor(3 * log(s->d)) : 0);
    s->mu = s->lambda / 2;
    s->weights = arena_calloc(&study->arena, (size_t)s->mu + 1, sizeof(double));
    s->mean = arena_calloc(&study->arena, d + 1, sizeof(double));
    s->path_sigma = arena_calloc(&study->arena, d + 1, sizeof(double));
    s->path_c = arena_calloc(&study->arena, d + 1, sizeof(double));
    s->covariance = arena_calloc(&study->arena, d * d + 1, sizeof(double));
    s->axes = arena_calloc(&study->arena, d * d + 1, sizeof(double));
    s->lengths = arena_calloc(&study->arena, d + 1, sizeof(double));
    s->work = arena_calloc(&study->arena, 4 * d + 64 * d + 64, sizeof(double));
    if (!s->dimension || !s->weights || !s->mean || !s->path_sigma || !s->path_c || !s->covariance || !s->axes ||
        !s->lengths || !s->work)
        return no_memory(err);
    s->sigma = first_sigma;
    for (size_t i = 0; i < d; i++) {
        s->mean[i] = 0.5;
        s->covariance[i * d + i] = s->axes[i * d + i] = s->lengths[i] = 1;
    }
    if (s->d > 0)
        set_rates(s);
    return 0;
}

/* Updating --------------------------------------------------------------------------------------------------------- */

struct member {
    double key;
    int configuration, order;
};

static int compare_members(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key ? 1 : x->order - y->order;
}

/* Variable i of a configuration; what does not exist there says nothing, so it is the mean. */
static double variable(const struct study *study, const struct cmaes *s, int configuration, int i)
{
    double x = study->configurations[configuration].x[s->dimension[i]];
    return isnan(x) ? s->mean[i] : x;
}

static void decompose(struct cmaes *s)
{
    int d = s->d, info = 0, room = 64 * d + 64;
    size_t size = (size_t)d * (size_t)d;
    memcpy(s->axes, s->covariance, size * sizeof(double));
    lapack()->dsyev("V", "U", &d, s->axes, &d, s->lengths, s->work, &room, &info);
    for (int i = 0; i < d; i++)
        s->lengths[i] = sqrt(fmax(s->lengths[i], 1e-20));
}

/* out = B f(D) Bᵀ v, f(D) = 1/D. Axes are column-major: column k is an eigenvector. */
static void whiten(const struct cmaes *s, const double *v, double *out)
{
    size_t d = (size_t)s->d;
    memset(out, 0, d * sizeof(double));
    for (size_t k = 0; k < d; k++) {
        double along = 0;
        for (size_t i = 0; i < d; i++)
            along += s->axes[k * d + i] * v[i];
        for (size_t i = 0; i < d; i++)
            out[i] += s->axes[k * d + i] * along / s->lengths[k];
    }
}

static void adapt(const struct study *study, struct cmaes *s, const struct member *members)
{
    size_t d = (size_t)s->d;
    double *step = s->work, *white = step + d, *y = white + d, norm = 0;
    memset(step, 0, d * sizeof(double));
    for (int k = 0; k < s->mu; k++)
        for (int i = 0; i < s->d; i++)
            step[i] += s->weights[k] * (variable(study, s, members[k].configuration, i) - s->mean[i]) / s->sigma;
    whiten(s, step, white);
    double keep = sqrt(s->c_sigma * (2 - s->c_sigma) * s->mu_effective);
    for (size_t i = 0; i < d; i++) {
        s->path_sigma[i] = (1 - s->c_sigma) * s->path_sigma[i] + keep * white[i];
        norm += s->path_sigma[i] * s->path_sigma[i];
    }
    norm = sqrt(norm);
    s->generation++;
    bool is_short = norm / sqrt(1 - pow(1 - s->c_sigma, 2.0 * s->generation)) < (1.4 + 2 / (s->d + 1.0)) * s->chi;
    double move = is_short ? sqrt(s->c_c * (2 - s->c_c) * s->mu_effective) : 0;
    for (size_t i = 0; i < d; i++)
        s->path_c[i] = (1 - s->c_c) * s->path_c[i] + move * step[i];
    double old = 1 - s->c_1 - s->c_mu + (is_short ? 0 : s->c_1 * s->c_c * (2 - s->c_c));
    for (size_t a = 0; a < d * d; a++)
        s->covariance[a] = old * s->covariance[a] + s->c_1 * s->path_c[a / d] * s->path_c[a % d];
    for (int k = 0; k < s->mu; k++) {
        for (int i = 0; i < s->d; i++)
            y[i] = (variable(study, s, members[k].configuration, i) - s->mean[i]) / s->sigma;
        for (size_t a = 0; a < d * d; a++)
            s->covariance[a] += s->c_mu * s->weights[k] * y[a / d] * y[a % d];
    }
    for (size_t i = 0; i < d; i++)
        s->mean[i] += s->sigma * step[i];
    s->sigma = fmin(1, s->sigma * exp(s->c_sigma / s->d_sigma * (norm / s->chi - 1)));
    decompose(s);
}

/* The first generation is spread evenly: its best is where the distribution starts. */
static void update(const struct study *study, struct cmaes *s)
{
    struct member members[64];
    int first = 2 * s->lambda;
    for (;;) {
        int size = s->n_used == 0 ? first : s->lambda;
        if (study->n_finished < s->n_used + size || size > 64)
            return;
        for (int k = 0; k < size; k++) {
            const struct study_trial *trial = study->trials[study->finished[s->n_used + k]];
            double violation = study_violation(study, trial->outcomes);
            double key = trial->state == TRIAL_FAILED
                             ? INFINITY
                             : trial->scores[0] + (violation > 0 ? 1e100 * (1 + violation) : 0);
            members[k] = (struct member){key, trial->configuration, k};
            if (s->best < 0 || key < s->best_score) {
                s->best = trial->configuration;
                s->best_score = key;
            }
        }
        qsort(members, (size_t)size, sizeof(*members), compare_members);
        if (s->n_used == 0)
            for (int i = 0; i < s->d; i++)
                s->mean[i] = variable(study, s, members[0].configuration, i);
        else if (s->d > 0)
            adapt(study, s, members);
        s->n_used += size;
    }
}

/* Proposing -------------------------------------------------------------------------------------------------------- */

static void sample(const struct cmaes *s, struct rng_stream *stream, double *x)
{
    size_t d = (size_t)s->d;
    double *z = s->work, *y = z + d;
    for (int tries = 0; tries < REDRAWS; tries++) {
        bool is_inside = true;
        for (size_t k = 0; k < d; k++)
            z[k] = rng_normal(stream) * s->lengths[k];
        for (size_t i = 0; i < d; i++) {
            y[i] = s->mean[i];
            for (size_t k = 0; k < d; k++)
                y[i] += s->sigma * s->axes[k * d + i] * z[k];
            is_inside = is_inside && y[i] >= 0 && y[i] <= 1;
        }
        if (is_inside)
            break;
    }
    for (size_t i = 0; i < d; i++)
        x[s->dimension[i]] = y[i] < 0 ? 0 : y[i] > 1 ? 1 : y[i];
}

static int suggest(struct study *study, int attempt, double *x, struct err *err)
{
    int rc = study->state ? 0 : init(study, err);
    struct cmaes *s = study->state;
    if (rc < 0)
        return rc;
    update(study, s);
    if (study->n_configurations < 2 * s->lambda || s->n_used == 0)
        return search_sobol.suggest(study, attempt, x, err);
    struct rng_stream stream = study_stream(study, attempt);
    study_draw(study, &stream, x);
    for (int j = 0; j < study->codec.n && s->best >= 0; j++) {
        double good = study->configurations[s->best].x[j];
        if (study->codec.dimensions[j].is_category && !isnan(good) && rng_uniform(&stream) < 0.7)
            x[j] = good;
    }
    if (s->d > 0)
        sample(s, &stream, x);
    return 0;
}

const struct search_kind search_cmaes = {
    .name = "cmaes",
    .help = "CMA-ES: a normal distribution that follows the better trials",
    .suggest = suggest,
    .prepare = lapack_load,
};
