/* ΔW through the site's own forward pass: what it does to the unit vectors is its weight. */
#include "trainer/weight_change.h"

#include <math.h>
#include <string.h>

#include "trainer/svd.h"

/* Relative to ‖W‖ in single precision: above it a difference is none of rounding. */
#define ROUNDING 1e-5

double effective_rank(const double *s, int n)
{
    double sum = 0, entropy = 0;
    for (int i = 0; i < n; i++)
        sum += s[i];
    if (!(sum > 0))
        return NAN;
    for (int i = 0; i < n; i++)
        if (s[i] > 0)
            entropy -= s[i] / sum * log(s[i] / sum);
    return exp(entropy);
}

static double squares(const real *a, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)a[i];
    return sum;
}

static bool is_hooked(const struct site *site)
{
    for (const struct hook *hook = site->hooks; hook; hook = hook->next)
        if (hook->weight || hook->input || hook->output || hook->embed)
            return true;
    return false;
}

/* A layout of n sequences of one row: nothing of one row reaches another. */
static const struct layout *single_rows(struct tape *tape, int n)
{
    struct layout *layout = tape_alloc(tape, "weight_change", sizeof(*layout));
    struct segment *segments = tape_alloc(tape, "weight_change", (size_t)n * sizeof(*segments));
    for (int i = 0; layout && segments && i < n; i++)
        segments[i] = (struct segment){i, 1, 1, 0, (uint32_t)i};
    if (!layout || !segments)
        return NULL;
    *layout = (struct layout){.n_segments = n, .n_rows = n, .segments = segments};
    return layout;
}

struct probing {
    struct arena arena;
    struct tape tape;
    struct batch batch;
    struct pass pass;
};

static const struct layout *begin(struct probing *probing, struct model *model, int n_rows)
{
    tape_begin(&probing->tape, &probing->arena);
    const struct layout *layout = single_rows(&probing->tape, n_rows);
    if (layout)
        probing->batch.layout = *layout;
    probing->pass = (struct pass){.tape = &probing->tape, .model = model, .batch = &probing->batch};
    return layout;
}

/* The site's results for the unit vectors, for zero, and for the sum of the unit vectors over √in: (in + 2, out). NULL:
 * the tape has failed. */
static const real *respond(struct probing *probing, struct model *model, struct site *site)
{
    size_t in = (size_t)site->in, rows = in + 2;
    const struct layout *layout = begin(probing, model, (int)rows);
    real *units = layout ? tape_alloc(&probing->tape, "weight_change", rows * in * sizeof(*units)) : NULL;
    if (!units)
        return NULL;
    memset(units, 0, rows * in * sizeof(*units));
    for (size_t i = 0; i < in; i++) {
        units[i * in + i] = 1;
        units[(in + 1) * in + i] = (real)(1 / sqrt((double)in));
    }
    struct value *y =
        site_linear(&probing->pass, site, tape_constant(&probing->tape, units, (int)rows, (int)in, layout));
    return y ? y->data : NULL;
}

/* W'(i, o) − W(i, o) into delta (in, out); the weight taken off is stored as the site's, or none (NULL). Whether the
 * response to the last row is the one that a linear map has. */
static bool subtract(const struct site *site, const real *y, const real *weight, double *delta)
{
    size_t in = (size_t)site->in, out = (size_t)site->out;
    double off = 0, size = 0;
    const real *zero = y + in * out, *sum = zero + out;
    for (size_t o = 0; o < out; o++) {
        double total = 0;
        for (size_t i = 0; i < in; i++) {
            double response = (double)y[i * out + o] - (double)zero[o];
            double w = !weight ? 0 : (double)weight[site->is_transposed ? i * out + o : o * in + i];
            delta[i * out + o] = response - w;
            total += response;
            size += response * response;
        }
        double difference = (double)sum[o] - (double)zero[o] - total / sqrt((double)in);
        off += difference * difference;
    }
    return off <= 1e-6 * size + 1e-20;
}

/* A packed weight is frozen: it is what it was. */
static bool is_packed(const struct site *site)
{
    return !site->weight->value.data;
}

/* The response with the site's weight and bias taken out, for a moment. NULL: no memory, or the tape has failed. */
static const real *respond_alone(struct probing *probing, struct model *model, struct site *site, struct arena *arena)
{
    real *weight = site->weight->value.data, *bias = site->bias ? site->bias->value.data : NULL;
    real *zeros = arena_calloc(arena, (size_t)site->in * (size_t)site->out, sizeof(*zeros));
    if (!zeros)
        return NULL;
    site->weight->value.data = zeros;
    if (bias)
        site->bias->value.data = zeros;
    const real *y = respond(probing, model, site);
    site->weight->value.data = weight;
    if (bias)
        site->bias->value.data = bias;
    return y;
}

static int responded(struct probing *probing, const struct site *site, const real *y, struct err *err)
{
    int rc = tape_check(&probing->tape, err);
    return rc == 0 && !y ? err_set(err, ERR_NOMEM, "no memory for the change of '%s'", site->name) : rc;
}

/* Through the hooks. First as it stands; then, when taking weight and bias out takes out exactly W, without them: what
 * is left is ΔW without their rounding. */
static int hooked_delta(struct probing *probing, struct model *model, struct site *site, const real *original,
                        double *delta, struct arena *arena, bool *is_affine, struct err *err)
{
    size_t n = (size_t)site->in * (size_t)site->out;
    double rounding = 0, *alone = delta + n;
    const real *y = respond(probing, model, site);
    int rc = responded(probing, site, y, err);
    if (rc < 0)
        return rc;
    *is_affine = subtract(site, y, original, delta);
    if (!is_packed(site) && memcmp(site->weight->value.data, original, n * sizeof(*original)) != 0)
        return 0;
    y = respond_alone(probing, model, site, arena);
    if ((rc = responded(probing, site, y, err)) < 0)
        return rc;
    (void)subtract(site, y, NULL, alone);
    for (size_t i = 0; i < n; i++)
        rounding += (alone[i] - delta[i]) * (alone[i] - delta[i]);
    if (rounding <= ROUNDING * ROUNDING * squares(original, n))
        memcpy(delta, alone, n * sizeof(*delta));
    return 0;
}

static void plain_delta(const struct site *site, const real *original, double *delta)
{
    const real *now = site->weight->value.data;
    for (size_t i = 0; i < (size_t)site->in * (size_t)site->out; i++)
        delta[i] = (double)now[i] - (double)original[i];
}

int weight_change_site(struct model *model, struct site *site, const real *original, bool wants_rank,
                       struct arena *arena, struct weight_change *change, struct err *err)
{
    size_t n = (size_t)site->in * (size_t)site->out;
    struct probing probing = {0};
    *change = (struct weight_change){.squared_weight = squares(original, n), .effective_rank = NAN, .is_affine = true};
    bool hooked = is_hooked(site);
    if (!hooked && (is_packed(site) || site->weight->value.data == original))
        return 0;
    struct arena_mark mark = arena_mark(arena);
    int smaller = site->in < site->out ? site->in : site->out, rc = 0;
    double *delta = arena_alloc(arena, (2 * n + (size_t)smaller) * sizeof(*delta));
    if (!delta)
        return err_set(err, ERR_NOMEM, "no memory for the change of '%s'", site->name);
    if (hooked)
        rc = hooked_delta(&probing, model, site, original, delta, arena, &change->is_affine, err);
    else
        plain_delta(site, original, delta);
    for (size_t i = 0; i < n && rc == 0; i++)
        change->squared_change += delta[i] * delta[i];
    if (rc == 0 && !change->is_affine)
        change->squared_change = NAN;
    if (rc == 0 && wants_rank && change->squared_change > 0) {
        /* Rows and columns may change places: the singular values are the same. */
        rc = svd_values(site->out, site->in, delta, delta + 2 * n, err);
        change->effective_rank = rc == 0 ? effective_rank(delta + 2 * n, smaller) : (double)NAN;
    }
    arena_done(&probing.arena);
    arena_rewind(arena, mark);
    return rc;
}

enum { IDS_AT_ONCE = 512 };

/* What the site makes of tokens first … first + n − 1, (n, width), until the next call. NULL: the tape has failed. */
static const real *embed_rows(struct probing *probing, struct model *model, struct site *site, int first, int n)
{
    const struct layout *layout = begin(probing, model, n);
    int32_t *ids = tape_alloc(&probing->tape, "weight_change", (size_t)n * sizeof(*ids));
    for (int i = 0; ids && i < n; i++)
        ids[i] = first + i;
    struct value *x = ids ? op_embedding(&probing->tape, &site->weight->value, ids, n, layout) : NULL;
    for (struct hook *hook = site->hooks; hook; hook = hook->next)
        if (hook->embed)
            x = hook->embed(hook->state, &probing->pass, ids, x);
    return x ? x->data : NULL;
}

int weight_change_embedding(struct model *model, struct site *site, const real *original, struct weight_change *change,
                            struct err *err)
{
    struct probing probing = {0};
    int tokens = site->weight->value.rows, width = site->weight->value.cols, rc = 0;
    *change = (struct weight_change){
        .squared_weight = squares(original, (size_t)tokens * (size_t)width), .effective_rank = NAN, .is_affine = true};
    if (!is_hooked(site) && (is_packed(site) || site->weight->value.data == original))
        return 0;
    for (int first = 0; first < tokens && rc == 0; first += IDS_AT_ONCE) {
        int n = tokens - first < IDS_AT_ONCE ? tokens - first : IDS_AT_ONCE;
        const real *x = embed_rows(&probing, model, site, first, n);
        rc = tape_check(&probing.tape, err);
        for (size_t i = 0; rc == 0 && x && i < (size_t)n * (size_t)width; i++) {
            double difference = (double)x[i] - (double)original[(size_t)first * (size_t)width + i];
            change->squared_change += difference * difference;
        }
    }
    arena_done(&probing.arena);
    return rc;
}

int weight_folded(struct model *model, struct site *site, real *weight, real *bias, bool *is_affine,
                  struct arena *arena, struct err *err)
{
    size_t in = (size_t)site->in, out = (size_t)site->out;
    struct probing probing = {0};
    struct arena_mark mark = arena_mark(arena);
    double *folded = arena_alloc(arena, in * out * sizeof(*folded)); /* (in, out) */
    if (!folded)
        return err_set(err, ERR_NOMEM, "no memory to fold '%s'", site->name);
    const real *y = respond(&probing, model, site);
    int rc = responded(&probing, site, y, err);
    if (rc == 0) {
        *is_affine = subtract(site, y, NULL, folded);
        memcpy(bias, y + in * out, out * sizeof(*bias));
        for (size_t i = 0; i < in; i++)
            for (size_t o = 0; o < out; o++)
                weight[site->is_transposed ? i * out + o : o * in + i] = (real)folded[i * out + o];
    }
    arena_done(&probing.arena);
    arena_rewind(arena, mark);
    return rc;
}

int weight_folded_rows(struct model *model, struct site *site, int first, int n, real *rows, struct err *err)
{
    struct probing probing = {0};
    const real *x = embed_rows(&probing, model, site, first, n);
    int rc = responded(&probing, site, x, err);
    if (rc == 0)
        memcpy(rows, x, (size_t)n * (size_t)site->weight->value.cols * sizeof(*rows));
    arena_done(&probing.arena);
    return rc;
}
