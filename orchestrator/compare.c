/* Choosing on validation, comparing on test: from configurations to methods, pairs and verdicts. */
#include "orchestrator/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/stats_budget.h"
#include "common/stats_order.h"
#include "orchestrator/compare_internal.h"

const char *const compare_axis_names[AXIS_COUNT] = {"score", "trained_parameters", "stored_bytes", "seconds",
                                                    "bias",  "forgetting"};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for a comparison");
}

/* Configurations and fronts ---------------------------------------------------------------------------------------- */

/* Sums to means, and which configurations have all their method's seeds. */
static void close_configurations(struct comparison *c)
{
    for (int i = 0; i < c->n_configurations; i++) {
        struct compare_configuration *x = &c->configurations[i];
        for (int axis = 0; axis < AXIS_COUNT; axis++)
            x->axes[axis] /= x->n_trials;
        x->is_complete = true;
        for (int j = 0; j < c->n_configurations; j++) {
            const struct compare_configuration *y = &c->configurations[j];
            if (y->sweep == x->sweep && y->n_trials > x->n_trials && text_equal(x->method, y->method))
                x->is_complete = false;
        }
    }
}

static double cost(const struct comparison *c, const struct compare_configuration *x, int axis)
{
    return axis == AXIS_SCORE && c->is_maximized ? -x->axes[axis] : x->axes[axis];
}

/* The front over score and the axes of the list, into on_front[slot]. */
static int add_front(struct comparison *c, const int *axes, int n_axes, int slot, struct err *err)
{
    int n = c->n_configurations;
    double *points = calloc((size_t)n * (size_t)n_axes + 1, sizeof(*points));
    bool *on_front = calloc((size_t)n + 1, sizeof(*on_front));
    for (int i = 0; points && i < n; i++)
        for (int x = 0; x < n_axes; x++)
            points[i * n_axes + x] = cost(c, &c->configurations[i], axes[x]);
    if (points && on_front)
        stats_pareto(points, n, n_axes, on_front);
    for (int i = 0; on_front && i < n; i++)
        c->configurations[i].on_front[slot] = on_front[i];
    bool failed = !points || !on_front;
    free(points);
    free(on_front);
    return failed ? no_memory(err) : 0;
}

static bool is_known_everywhere(const struct comparison *c, int axis)
{
    for (int i = 0; i < c->n_configurations; i++)
        if (isnan(c->configurations[i].axes[axis]))
            return false;
    return true;
}

static int add_fronts(struct comparison *c, struct err *err)
{
    int all[AXIS_COUNT], n = 0, rc = 0;
    for (int axis = 0; axis < AXIS_COUNT && rc == 0; axis++) {
        if (is_known_everywhere(c, axis))
            all[n++] = axis;
        if (axis != AXIS_SCORE)
            rc = add_front(c, (const int[]){AXIS_SCORE, axis}, 2, axis, err);
    }
    return rc == 0 ? add_front(c, all, n, AXIS_SCORE, err) : rc;
}

/* Methods ---------------------------------------------------------------------------------------------------------- */

/* Fewer seeds lose: one lucky seed would win. */
static bool is_better(const struct comparison *c, const struct compare_configuration *a,
                      const struct compare_configuration *b)
{
    if (a->n_trials != b->n_trials)
        return a->n_trials > b->n_trials;
    return cost(c, a, AXIS_SCORE) < cost(c, b, AXIS_SCORE);
}

/* Methods that train whole layers of the model, or only what is put on top of it. */
static bool is_traditional(const char *method)
{
    return text_equal(method, "full") || text_equal(method, "partial") || text_equal(method, "linear_probe");
}

static struct compare_method *find_method(struct comparison *c, const struct compare_configuration *x)
{
    for (int i = 0; i < c->n_methods; i++)
        if (c->methods[i].chosen->sweep == x->sweep && text_equal(c->methods[i].chosen->method, x->method))
            return &c->methods[i];
    return NULL;
}

static int choose(struct comparison *c, struct arena *arena, struct err *err)
{
    c->methods = arena_calloc(arena, COMPARE_MAX_METHODS, sizeof(*c->methods));
    if (!c->methods)
        return no_memory(err);
    for (int i = 0; i < c->n_configurations; i++) {
        struct compare_configuration *x = &c->configurations[i];
        struct compare_method *method = find_method(c, x);
        if (!method && c->n_methods == COMPARE_MAX_METHODS)
            return err_set(err, ERR_UNSUPPORTED, "compare: more than %d methods", COMPARE_MAX_METHODS);
        if (!method) {
            method = &c->methods[c->n_methods++];
            method->chosen = x;
            method->is_traditional = is_traditional(x->method);
            method->label = c->n_sweeps > 1 ? arena_printf(arena, "%s: %s", c->sweeps[x->sweep], x->method) : x->method;
            if (!method->label)
                return no_memory(err);
        } else if (is_better(c, x, method->chosen)) {
            method->chosen = x;
        }
        method->n_configurations++;
    }
    return 0;
}

/* Best first. Insertion sort, so that equal ones keep their order. */
static void sort_methods(struct comparison *c)
{
    for (int i = 1; i < c->n_methods; i++) {
        struct compare_method method = c->methods[i];
        int j = i;
        for (; j > 0 && cost(c, method.chosen, AXIS_SCORE) < cost(c, c->methods[j - 1].chosen, AXIS_SCORE); j--)
            c->methods[j] = c->methods[j - 1];
        c->methods[j] = method;
    }
}

enum field { FIELD_VALIDATION, FIELD_TEST, FIELD_GAP };

static double field_of(const struct compare_trial *trial, enum field field)
{
    return field == FIELD_VALIDATION ? trial->value : field == FIELD_TEST ? trial->test : trial->gap;
}

/* Student's interval over the trials that have the value. */
static struct interval interval_of(const struct compare_configuration *x, enum field field)
{
    double values[COMPARE_MAX_SEEDS];
    int n = 0;
    for (int i = 0; i < x->n_trials; i++)
        if (!isnan(field_of(&x->trials[i], field)))
            values[n++] = field_of(&x->trials[i], field);
    return stats_student(values, n, 0.95);
}

/* What a search over k of the method's configurations can expect to find; only those with all their seeds. */
static int add_expected_best(const struct comparison *c, struct compare_method *method, struct arena *arena,
                             struct err *err)
{
    double *means = arena_alloc(arena, (size_t)method->n_configurations * sizeof(*means));
    method->expected_best = arena_alloc(arena, (size_t)method->n_configurations * sizeof(*means));
    if (!means || !method->expected_best)
        return no_memory(err);
    for (int i = 0; i < c->n_configurations; i++) {
        const struct compare_configuration *x = &c->configurations[i];
        if (x->is_complete && x->sweep == method->chosen->sweep && text_equal(x->method, method->chosen->method))
            means[method->n_expected++] = x->axes[AXIS_SCORE];
    }
    stats_expected_best(means, method->n_expected, !c->is_maximized, method->expected_best);
    return 0;
}

static int describe_methods(struct store *store, struct comparison *c, struct arena *arena, struct err *err)
{
    int rc = 0;
    c->uses_test = true;
    for (int i = 0; i < c->n_methods && rc == 0; i++) {
        struct compare_method *method = &c->methods[i];
        rc = compare_read_chosen(store, method, arena, err);
        if (rc == 0)
            rc = add_expected_best(c, method, arena, err);
        method->validation = interval_of(method->chosen, FIELD_VALIDATION);
        method->test = interval_of(method->chosen, FIELD_TEST);
        method->gap = interval_of(method->chosen, FIELD_GAP);
        c->uses_test = c->uses_test && method->test.n == method->chosen->n_trials;
    }
    return rc;
}

/* Pairs ------------------------------------------------------------------------------------------------------------ */

static double score_of(const struct comparison *c, const struct compare_trial *trial)
{
    return c->uses_test ? trial->test : trial->value;
}

static int scores_of(const struct comparison *c, const struct compare_configuration *x, double *out)
{
    for (int i = 0; i < x->n_trials; i++)
        out[i] = score_of(c, &x->trials[i]);
    return x->n_trials;
}

/* Trials of equal seeds; their number. Both lists are sorted by seed. */
static int match(const struct compare_configuration *a, const struct compare_configuration *b, int *of_a, int *of_b)
{
    int n = 0;
    for (int i = 0, j = 0; i < a->n_trials && j < b->n_trials;) {
        int64_t x = a->trials[i].seed, y = b->trials[j].seed;
        if (x == y) {
            of_a[n] = i;
            of_b[n++] = j;
        }
        i += x <= y;
        j += y <= x;
    }
    return n;
}

static void add_difference(const struct comparison *c, struct compare_pair *pair, const int *of_a, const int *of_b)
{
    const struct compare_configuration *a = c->methods[pair->a].chosen, *b = c->methods[pair->b].chosen;
    double x[COMPARE_MAX_SEEDS], y[COMPARE_MAX_SEEDS];
    int n = pair->n_seeds;
    for (int i = 0; i < n; i++) {
        x[i] = score_of(c, &a->trials[of_a[i]]);
        y[i] = score_of(c, &b->trials[of_b[i]]);
    }
    if (n > 0)
        pair->difference = stats_paired(x, y, n);
    int n_a = scores_of(c, a, x), n_b = scores_of(c, b, y);
    if (n == 0)
        pair->difference = stats_welch(x, n_a, y, n_b);
    pair->seeds_p = stats_difference_p(pair->difference);
    pair->detectable = stats_detectable(pair->difference, 0.05, 0.8);
    pair->cohen_d = stats_cohen_d(x, n_a, y, n_b);
    pair->cliff_delta = stats_cliff_delta(x, n_a, y, n_b);
}

static int add_order(const struct comparison *c, struct compare_pair *pair, struct err *err)
{
    double x[COMPARE_MAX_SEEDS], y[COMPARE_MAX_SEEDS], sign = c->is_maximized ? 1 : -1;
    int n_a = scores_of(c, c->methods[pair->a].chosen, x), n_b = scores_of(c, c->methods[pair->b].chosen, y);
    for (int i = 0; i < n_a; i++)
        x[i] *= sign;
    for (int i = 0; i < n_b; i++)
        y[i] *= sign;
    int rc =
        stats_almost_order(x, n_a, y, n_b, c->order_confidence, COMPARE_ORDER_RESAMPLES, c->seed, &pair->order_ab, err);
    return rc == 0 ? stats_almost_order(y, n_b, x, n_a, c->order_confidence, COMPARE_ORDER_RESAMPLES, c->seed,
                                        &pair->order_ba, err)
                   : rc;
}

static int add_items(const struct comparison *c, struct compare_pair *pair, const int *of_a, const int *of_b,
                     const double *means, int n_rows, struct err *err)
{
    const struct compare_configuration *a = c->methods[pair->a].chosen, *b = c->methods[pair->b].chosen;
    int rows_a[COMPARE_MAX_SEEDS], rows_b[COMPARE_MAX_SEEDS];
    for (int i = 0; i < pair->n_seeds; i++) {
        rows_a[i] = a->trials[of_a[i]].row;
        rows_b[i] = b->trials[of_b[i]].row;
        if (rows_a[i] < 0 || rows_b[i] < 0)
            return 0;
    }
    pair->has_items = pair->n_seeds > 0 && means;
    return pair->has_items ? stats_resampled_difference(means, n_rows, c->resamples, rows_a, rows_b, pair->n_seeds,
                                                        c->seed, &pair->items, err)
                           : 0;
}

static int add_pair(struct comparison *c, struct compare_pair *pair, const double *means, int n_rows, struct err *err)
{
    int of_a[COMPARE_MAX_SEEDS], of_b[COMPARE_MAX_SEEDS];
    pair->n_seeds = match(c->methods[pair->a].chosen, c->methods[pair->b].chosen, of_a, of_b);
    add_difference(c, pair, of_a, of_b);
    int rc = add_order(c, pair, err);
    if (rc == 0)
        rc = add_items(c, pair, of_a, of_b, means, n_rows, err);
    pair->p = pair->has_items ? pair->items.p : pair->seeds_p;
    return rc;
}

static int add_pairs(struct comparison *c, const double *means, int n_rows, struct arena *arena, struct err *err)
{
    int n = c->n_methods * (c->n_methods - 1) / 2, rc = 0;
    double *p = arena_alloc(arena, ((size_t)n + 1) * sizeof(*p));
    c->pairs = arena_calloc(arena, (size_t)n + 1, sizeof(*c->pairs));
    if (!p || !c->pairs)
        return no_memory(err);
    /* Bonferroni over the pairs: each at 1 − 0.05/n, so that all statements hold together at 95 %. */
    c->order_confidence = 1 - 0.05 / (n > 0 ? n : 1);
    for (int a = 0; a < c->n_methods; a++)
        for (int b = a + 1; b < c->n_methods && rc == 0; b++) {
            struct compare_pair *pair = &c->pairs[c->n_pairs];
            pair->a = a;
            pair->b = b;
            rc = add_pair(c, pair, means, n_rows, err);
            p[c->n_pairs++] = pair->p;
        }
    stats_holm(p, c->n_pairs);
    for (int i = 0; i < c->n_pairs; i++)
        c->pairs[i].adjusted_p = p[i];
    return rc;
}

/* Items ------------------------------------------------------------------------------------------------------------ */

/* The items of all chosen trials that were tested on the same items as the first one: rows[0 .. *n). */
static int read_rows(struct store *store, struct comparison *c, const char *metric, const void **rows, int *n,
                     struct arena *arena, struct err *err)
{
    const char *first = NULL;
    for (int i = 0; i < c->n_methods; i++)
        for (int k = 0; k < c->methods[i].chosen->n_trials; k++) {
            struct compare_trial *trial = &c->methods[i].chosen->trials[k];
            struct compare_items *items = NULL;
            const char *set = NULL;
            int rc = compare_read_items(store, trial->id, c->uses_test ? "test" : "validation", metric, arena, &items,
                                        &set, err);
            if (rc < 0)
                return rc;
            if (!items || (first && (strcmp(first, set) != 0 || items->n != c->n_items)))
                continue;
            first = set;
            c->n_items = items->n;
            trial->row = *n;
            rows[(*n)++] = items;
        }
    return 0;
}

static int compare_methods(struct store *store, struct comparison *c, struct arena *arena, struct err *err)
{
    const char *slash = strchr(c->metric, '/'), *metric = slash ? slash + 1 : c->metric;
    stats_metric *compute = compare_metric(metric);
    int n_trials = 0, n_rows = 0, rc = 0;
    for (int i = 0; i < c->n_methods; i++)
        n_trials += c->methods[i].chosen->n_trials;
    const void **rows = arena_calloc(arena, (size_t)n_trials + 1, sizeof(*rows));
    double *means = NULL;
    if (!rows)
        return no_memory(err);
    if (compute)
        rc = read_rows(store, c, metric, rows, &n_rows, arena, err);
    if (rc == 0 && n_rows > 0 && !(means = malloc((size_t)n_rows * (size_t)c->resamples * sizeof(*means))))
        rc = no_memory(err);
    if (rc == 0 && means)
        rc = stats_resample(compute, rows, n_rows, c->n_items, c->resamples, c->seed, means, err);
    if (rc == 0)
        rc = add_pairs(c, means, n_rows, arena, err);
    free(means);
    return rc;
}

/* Non-inferiority -------------------------------------------------------------------------------------------------- */

static int find_reference(struct comparison *c, const char *name, struct err *err)
{
    const char *names[COMPARE_MAX_METHODS + 1] = {0};
    c->reference = -1;
    for (int i = 0; i < c->n_methods; i++) {
        const char *wanted = name ? name : "full";
        names[i] = c->methods[i].label;
        if ((text_equal(names[i], wanted) || text_equal(c->methods[i].chosen->method, wanted)) && c->reference < 0)
            c->reference = i;
    }
    if (c->reference >= 0 || !name)
        return 0;
    const char *nearest = text_nearest(name, names);
    return err_set(err, ERR_USAGE, "compare: --reference: '%.80s' is no method with a finished trial%s%s", name,
                   nearest ? ", nearest is " : "", nearest ? nearest : "");
}

/* "Not inferior" when everything there is to test with says so: the t test over seeds and the bootstrap's bound. */
static void judge(struct compare_inferiority *x, double margin)
{
    bool has_t = !isnan(x->inferior_p), has_items = !isnan(x->low90);
    bool t_says = !has_t || x->inferior_p < 0.05, items_say = !has_items || x->low90 > -margin;
    x->verdict = !has_t && !has_items ? -1 : t_says && items_say;
    x->is_equivalent = x->verdict > 0 && (!has_t || x->tost_p < 0.05) && (!has_items || x->high90 < margin);
}

static int add_inferiority(struct comparison *c, struct arena *arena, struct err *err)
{
    c->inferiority = arena_calloc(arena, (size_t)c->n_methods + 1, sizeof(*c->inferiority));
    if (!c->inferiority)
        return no_memory(err);
    for (int i = 0; i < c->n_pairs && c->reference >= 0; i++) {
        const struct compare_pair *pair = &c->pairs[i];
        if (pair->a != c->reference && pair->b != c->reference)
            continue;
        /* Turned to "method − reference, more is better". */
        bool is_flipped = (pair->a == c->reference) == c->is_maximized;
        struct difference d = pair->difference;
        d.mean = is_flipped ? -d.mean : d.mean;
        struct compare_inferiority *x = &c->inferiority[c->n_inferiority++];
        *x = (struct compare_inferiority){.method = pair->a == c->reference ? pair->b : pair->a,
                                          .pair = i,
                                          .inferior_p = stats_inferior_p(d, c->margin),
                                          .tost_p = stats_tost_p(d, c->margin),
                                          .low90 = NAN,
                                          .high90 = NAN};
        if (pair->has_items) {
            x->low90 = is_flipped ? -pair->items.high90 : pair->items.low90;
            x->high90 = is_flipped ? -pair->items.low90 : pair->items.high90;
        }
        judge(x, c->margin);
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------------------------------ */

int compare_sweeps(struct store *store, const char *const *sweeps, int n_sweeps, const struct compare_options *options,
                   struct arena *arena, struct comparison *comparison, struct err *err)
{
    struct comparison c = {.margin = options->margin, .resamples = options->resamples};
    int rc = 0;
    c.sweeps = arena_calloc(arena, (size_t)n_sweeps + 1, sizeof(*c.sweeps));
    if (!c.sweeps)
        return no_memory(err);
    for (int i = 0; i < n_sweeps && rc == 0; i++)
        rc = compare_read_sweep(store, sweeps[i], arena, &c, err);
    if (rc == 0 && c.n_configurations == 0)
        rc = err_set(err, ERR_USAGE, "compare: no trial of '%s'%s is finished yet", sweeps[0],
                     n_sweeps > 1 ? " and the others" : "");
    if (rc < 0)
        return rc;
    close_configurations(&c);
    rc = add_fronts(&c, err);
    if (rc == 0)
        rc = choose(&c, arena, err);
    if (rc == 0) {
        sort_methods(&c);
        rc = find_reference(&c, options->reference, err);
    }
    if (rc == 0)
        rc = describe_methods(store, &c, arena, err);
    if (rc == 0)
        rc = compare_add_sizes(store, &c, arena, err);
    if (rc == 0)
        rc = compare_add_cells(store, &c, arena, err);
    if (rc == 0)
        rc = compare_methods(store, &c, arena, err);
    if (rc == 0)
        rc = add_inferiority(&c, arena, err);
    if (rc == 0)
        *comparison = c;
    return rc;
}
