/* Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate (Falkner et al. 2018): the good tenth of the
 * trials and the others become two mixtures of kernels, one a trial over all its dimensions at once; of points drawn
 * from the good mixture the one is proposed whose density there is largest against the density of the others.
 *
 * A dimension that does not exist at a trial has the prior's density there. Running trials count among the others
 * (constant liar). The kernels of all trials lie dimension after dimension, so that ten thousand cost a few
 * milliseconds; the density of the others is that of all less that of the good ones. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/search_kinds.h"
#include "orchestrator/search_pareto.h"
#include "orchestrator/study_internal.h"

enum { STARTUP = 10, CANDIDATES = 24, GOOD_MAX = 25, BLOCK = 512 };

struct kernels {
    int n, capacity, d;
    double *place;  /* (d, capacity): centre, of categories the position; what does not exist has factor 0 */
    double *factor; /* −1/(2σ²) */
    double *offset; /* log of the norm, that of a category's other values */
    double *same;   /* of categories: what equal values add to the offset */
    double width;   /* σ */
};

struct ranked {
    double violation, resource, score; /* sorted by these; resource turned so that more steps come first */
    int configuration;
};

struct tpe {
    struct kernels all;
    struct ranked *ranked; /* of one objective and seed: sorted */
    int n_ranked, capacity, n_seen, width_n;
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for the Parzen estimator");
}

static void kernels_done(struct kernels *k)
{
    free(k->place);
    free(k->factor);
    free(k->offset);
    free(k->same);
    *k = (struct kernels){0};
}

static void free_state(void *state)
{
    struct tpe *tpe = state;
    if (!tpe)
        return;
    kernels_done(&tpe->all);
    free(tpe->ranked);
    free(tpe);
}

/* Kernels ---------------------------------------------------------------------------------------------------------- */

/* The rule of thumb for d dimensions (Scott), no narrower than a hundredth. */
static double width_of(int n, int d)
{
    double width = 0.2 * pow(n > 0 ? n : 1, -1.0 / (d + 4));
    return fmax(width, 1.0 / fmin(100, n + 1.0));
}

static double below(double z)
{
    return 0.5 * erfc(-z * 0.70710678118654752440);
}

static size_t cell(const struct kernels *k, int j, int i)
{
    return (size_t)j * (size_t)k->capacity + (size_t)i;
}

static void set_kernel(const struct codec *codec, struct kernels *k, int i, const double *x)
{
    for (int j = 0; j < codec->n; j++) {
        const struct codec_dimension *dimension = &codec->dimensions[j];
        size_t at = cell(k, j, i);
        bool exists = !isnan(x[j]);
        double n = dimension->n_values;
        k->place[at] = exists ? x[j] : dimension->is_category ? -1 : 0;
        k->factor[at] = k->offset[at] = k->same[at] = 0;
        if (dimension->is_category) {
            /* One trial and the prior's one count. */
            k->offset[at] = exists ? log(0.5 / n) : -log(n);
            k->same[at] = exists ? log((1 + 1 / n) / 2) - k->offset[at] : 0;
        } else if (exists) {
            double inside = below((1 - x[j]) / k->width) - below(-x[j] / k->width);
            k->factor[at] = -0.5 / (k->width * k->width);
            k->offset[at] = -log(k->width * 2.50662827463100050242 * inside);
        }
    }
}

static int reserve(struct kernels *k, int n, int d, struct err *err)
{
    if (n <= k->capacity)
        return 0;
    struct kernels grown = {.n = k->n, .capacity = n + n / 2 + 64, .d = d, .width = k->width};
    size_t size = (size_t)grown.capacity * (size_t)d + 1;
    grown.place = calloc(size, sizeof(double));
    grown.factor = calloc(size, sizeof(double));
    grown.offset = calloc(size, sizeof(double));
    grown.same = calloc(size, sizeof(double));
    if (!grown.place || !grown.factor || !grown.offset || !grown.same) {
        kernels_done(&grown);
        return no_memory(err);
    }
    for (int j = 0; j < d && k->n > 0; j++) {
        size_t bytes = (size_t)k->n * sizeof(double), from = cell(k, j, 0), to = cell(&grown, j, 0);
        memcpy(grown.place + to, k->place + from, bytes);
        memcpy(grown.factor + to, k->factor + from, bytes);
        memcpy(grown.offset + to, k->offset + from, bytes);
        memcpy(grown.same + to, k->same + from, bytes);
    }
    kernels_done(k);
    *k = grown;
    return 0;
}

static int add_kernel(const struct codec *codec, struct kernels *k, const double *x, struct err *err)
{
    int rc = reserve(k, k->n + 1, codec->n, err);
    if (rc == 0)
        set_kernel(codec, k, k->n++, x);
    return rc;
}

/* sums[c] += Σ_i density of kernel i at candidate c, over the dimensions that exist there. (m, codec.n) points. */
static void add_densities(const struct codec *codec, const struct kernels *k, const double *points, int m, double *sums)
{
    double logs[BLOCK];
    for (int start = 0; start < k->n; start += BLOCK) {
        int n = k->n - start < BLOCK ? k->n - start : BLOCK;
        for (int c = 0; c < m; c++) {
            const double *x = points + (size_t)c * (size_t)codec->n;
            memset(logs, 0, sizeof(logs));
            for (int j = 0; j < codec->n; j++) {
                const double *place = k->place + cell(k, j, start), *factor = k->factor + cell(k, j, start);
                const double *offset = k->offset + cell(k, j, start), *same = k->same + cell(k, j, start);
                double value = x[j];
                if (isnan(value))
                    continue;
                if (codec->dimensions[j].is_category)
                    for (int i = 0; i < n; i++)
                        logs[i] += offset[i] + (place[i] == value ? same[i] : 0);
                else
                    for (int i = 0; i < n; i++)
                        logs[i] += offset[i] + factor[i] * (value - place[i]) * (value - place[i]);
            }
            double sum = 0;
            for (int i = 0; i < n; i++)
                sum += exp(logs[i]);
            sums[c] += sum;
        }
    }
}

static double prior_density(const struct codec *codec, const double *x)
{
    double product = 1;
    for (int j = 0; j < codec->n; j++)
        if (!isnan(x[j]) && codec->dimensions[j].is_category)
            product /= codec->dimensions[j].n_values;
    return product;
}

/* Ranking ---------------------------------------------------------------------------------------------------------- */

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    const double keys[][2] = {{x->violation, y->violation}, {x->resource, y->resource}, {x->score, y->score}};
    for (int i = 0; i < 3; i++)
        if (keys[i][0] != keys[i][1])
            return keys[i][0] < keys[i][1] ? -1 : 1;
    return x->configuration - y->configuration;
}

static struct ranked rank_trial(const struct study *study, const struct study_trial *trial)
{
    double max = study->definition->stopping.max_resource;
    bool is_whole = trial->state == TRIAL_COMPLETE || (max > 0 && (double)trial->step >= max);
    return (struct ranked){
        .violation = trial->state == TRIAL_FAILED ? INFINITY : study_violation(study, trial->outcomes),
        .resource = is_whole ? -INFINITY : -(double)trial->step,
        .score = trial->state == TRIAL_FAILED ? 0 : trial->scores[0],
        .configuration = trial->configuration,
    };
}

static int insert(struct tpe *tpe, struct ranked item, struct err *err)
{
    if (tpe->n_ranked == tpe->capacity) {
        int next = tpe->capacity ? tpe->capacity * 2 : 128;
        struct ranked *grown = realloc(tpe->ranked, (size_t)next * sizeof(*grown));
        if (!grown)
            return no_memory(err);
        tpe->ranked = grown;
        tpe->capacity = next;
    }
    int low = 0, high = tpe->n_ranked;
    while (low < high) {
        int middle = (low + high) / 2;
        if (compare_ranked(&tpe->ranked[middle], &item) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    memmove(tpe->ranked + low + 1, tpe->ranked + low, (size_t)(tpe->n_ranked - low) * sizeof(item));
    tpe->ranked[low] = item;
    tpe->n_ranked++;
    return 0;
}

/* Of several objectives the rank is the front's number, within a front the crowded come later. */
static int rank_fronts(struct study *study, struct study_row *rows, int n, struct tpe *tpe, struct arena *arena,
                       struct err *err)
{
    int m = study->n_objectives;
    double *points = arena_calloc(arena, (size_t)n * (size_t)m + 1, sizeof(double));
    double *crowding = arena_calloc(arena, (size_t)n + 1, sizeof(double));
    int *ranks = arena_calloc(arena, (size_t)n + 1, sizeof(int)),
        *members = arena_calloc(arena, (size_t)n + 1, sizeof(int));
    if (!points || !crowding || !ranks || !members)
        return no_memory(err);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < m; k++)
            points[i * m + k] = rows[i].is_failed ? INFINITY : rows[i].scores[k];
    int rc = pareto_ranks(points, n, m, ranks, err);
    for (int rank = 0, left = n; left > 0 && rc == 0; rank++) {
        int count = 0;
        for (int i = 0; i < n; i++)
            if (ranks[i] == rank)
                members[count++] = i;
        rc = pareto_crowding(points, members, count, m, crowding, err);
        for (int i = 0; i < count && rc == 0; i++) {
            const struct study_row *row = &rows[members[i]];
            rc = insert(
                tpe,
                (struct ranked){row->is_failed ? INFINITY : row->violation, rank, -crowding[i], row->configuration},
                err);
        }
        left -= count;
    }
    return rc;
}

/* With repeated seeds or several objectives everything is ranked anew. */
static int rank_rows(struct study *study, struct tpe *tpe, struct err *err)
{
    struct arena arena = {0};
    struct study_row *rows = NULL;
    int n = 0, rc = study_rows(study, study->n_finished, &arena, &rows, &n, err);
    tpe->n_ranked = tpe->all.n = 0;
    if (rc == 0 && study->n_objectives > 1)
        rc = rank_fronts(study, rows, n, tpe, &arena, err);
    for (int i = 0; i < n && rc == 0 && study->n_objectives == 1; i++)
        rc = insert(tpe,
                    (struct ranked){rows[i].is_failed ? INFINITY : rows[i].violation,
                                    rows[i].resource > 0 ? -rows[i].resource : -INFINITY, rows[i].scores[0],
                                    rows[i].configuration},
                    err);
    arena_done(&arena);
    return rc;
}

/* All kernels have one width, which changes with every quarter more trials. */
static int update(struct study *study, struct tpe *tpe, struct err *err)
{
    bool is_plain = study->n_objectives == 1 && study->definition->seeds == 1;
    int rc = 0, next = 1;
    while (next + next / 4 + 1 <= study->n_finished)
        next += next / 4 + 1;
    bool is_wider = next != tpe->width_n;
    tpe->width_n = next;
    tpe->all.width = width_of(next, study->codec.n);
    if (!is_plain) {
        rc = rank_rows(study, tpe, err);
        for (int i = 0; i < tpe->n_ranked && rc == 0; i++)
            rc = add_kernel(&study->codec, &tpe->all, study->configurations[tpe->ranked[i].configuration].x, err);
        return rc;
    }
    for (int i = 0; i < tpe->n_seen && is_wider; i++)
        set_kernel(&study->codec, &tpe->all, i,
                   study->configurations[study->trials[study->finished[i]]->configuration].x);
    for (; tpe->n_seen < study->n_finished && rc == 0; tpe->n_seen++) {
        const struct study_trial *trial = study->trials[study->finished[tpe->n_seen]];
        rc = insert(tpe, rank_trial(study, trial), err);
        if (rc == 0)
            rc = add_kernel(&study->codec, &tpe->all, study->configurations[trial->configuration].x, err);
    }
    return rc;
}

/* Proposing -------------------------------------------------------------------------------------------------------- */

static double draw_near(double centre, double width, struct rng_stream *stream)
{
    for (int i = 0; i < 20; i++) {
        double x = centre + width * rng_normal(stream);
        if (x >= 0 && x <= 1)
            return x;
    }
    return centre;
}

/* A draw from the good mixture: one of its kernels, or the prior. */
static void draw_good(struct study *study, const struct kernels *good, struct rng_stream *stream, double *x)
{
    int i = (int)rng_below(stream, (uint32_t)good->n + 1);
    study_draw(study, stream, x);
    for (int j = 0; j < study->codec.n && i < good->n; j++) {
        size_t at = cell(good, j, i);
        if (study->codec.dimensions[j].is_category) {
            if (good->same[at] > 0 && rng_uniform(stream) < 0.5)
                x[j] = good->place[at];
        } else if (good->factor[at] < 0) {
            x[j] = draw_near(good->place[at], good->width, stream);
        }
    }
}

/* Running trials, and the good ones under the width of all. */
static int split(struct study *study, const struct tpe *tpe, int n_good, struct kernels *good,
                 struct kernels *good_wide, struct kernels *running, struct err *err)
{
    int rc = 0;
    good->width = width_of(n_good, study->codec.n);
    good_wide->width = running->width = tpe->all.width;
    for (int i = 0; i < n_good && rc == 0; i++) {
        const double *x = study->configurations[tpe->ranked[i].configuration].x;
        rc = add_kernel(&study->codec, good, x, err);
        if (rc == 0)
            rc = add_kernel(&study->codec, good_wide, x, err);
    }
    for (int i = study->n_trials - 1, n = 0; i >= 0 && n < study->n_running && rc == 0; i--)
        if (study->trials[i]->state == TRIAL_RUNNING) {
            rc = add_kernel(&study->codec, running, study->configurations[study->trials[i]->configuration].x, err);
            n++;
        }
    return rc;
}

static int choose(struct study *study, const struct tpe *tpe, int attempt, double *x, struct err *err)
{
    int d = study->codec.n, m = 0, best = 0;
    int n_good = (int)fmin(GOOD_MAX, ceil(0.1 * tpe->n_ranked));
    struct kernels good = {0}, good_wide = {0}, running = {0};
    double *points = calloc((size_t)CANDIDATES * (size_t)d + 1, sizeof(double));
    double of_good[CANDIDATES] = {0}, of_all[CANDIDATES] = {0}, of_good_wide[CANDIDATES] = {0}, most = -INFINITY;
    struct rng_stream stream = study_stream(study, attempt);
    int rc = points ? split(study, tpe, n_good, &good, &good_wide, &running, err) : no_memory(err);
    for (int i = 0; i < CANDIDATES && rc == 0; i++) {
        struct err ignored;
        double *point = points + (size_t)m * (size_t)d;
        draw_good(study, &good, &stream, point);
        m += codec_settle(&study->codec, point, &ignored) == 0 && study_is_allowed(study, point);
    }
    if (rc == 0 && m == 0)
        study_draw(study, &stream, x);
    if (rc == 0 && m > 0) {
        add_densities(&study->codec, &good, points, m, of_good);
        add_densities(&study->codec, &good_wide, points, m, of_good_wide);
        add_densities(&study->codec, &tpe->all, points, m, of_all);
        add_densities(&study->codec, &running, points, m, of_all);
        int n_others = tpe->all.n - n_good + running.n;
        for (int c = 0; c < m; c++) {
            double prior = prior_density(&study->codec, points + (size_t)c * (size_t)d);
            double others = fmax(0, of_all[c] - of_good_wide[c]) + prior;
            double value = log((of_good[c] + prior) / (n_good + 1)) - log(others / (n_others + 1));
            if (value > most) {
                most = value;
                best = c;
            }
        }
        for (int j = 0; j < d; j++) {
            double value = points[(size_t)best * (size_t)d + (size_t)j];
            x[j] = isnan(value) ? study->codec.dimensions[j].is_category ? 0 : 0.5 : value;
        }
    }
    free(points);
    kernels_done(&good);
    kernels_done(&good_wide);
    kernels_done(&running);
    return rc;
}

static int suggest(struct study *study, int attempt, double *x, struct err *err)
{
    struct tpe *tpe = study->state;
    if (!tpe && !(study->state = tpe = calloc(1, sizeof(*tpe))))
        return no_memory(err);
    if (study->n_configurations < STARTUP || study->n_finished < 2)
        return search_sobol.suggest(study, attempt, x, err);
    int rc = update(study, tpe, err);
    return rc == 0 ? choose(study, tpe, attempt, x, err) : rc;
}

const struct search_kind search_tpe = {
    .name = "tpe",
    .help = "Parzen estimator: where good trials are dense and the others are not",
    .suggest = suggest,
    .free_state = free_state,
};
