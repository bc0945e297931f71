/* Advice out of measurements. */
#include "orchestrator/advise.h"

#include <math.h>
#include <string.h>

#include "orchestrator/printable.h"
#include "orchestrator/summary.h"

enum { EARLIER_RESAMPLES = 100, OWN_RESAMPLES = 2000 };

/* Choosing ----------------------------------------------------------------------------------------------------------
 */

static void add_size(struct text *out, double bytes)
{
    if (bytes < 1 << 20)
        text_printf(out, "%.0f KiB", ceil(bytes / 1024));
    else
        text_printf(out, "%.1f MiB", bytes / (1 << 20));
}

/* Whether `value` is over a limit, or not known where there is one. */
static bool is_over(double limit, double value)
{
    return limit > 0 && !(value <= limit);
}

bool advice_refuses(const struct advice_limits *limits, const struct compare_configuration *x, struct text *reason)
{
    const double values[] = {x->axes[AXIS_BYTES], x->peak_bytes > 0 ? x->peak_bytes : (double)NAN,
                             x->axes[AXIS_SECONDS]};
    const double most[] = {limits->bytes, limits->memory_bytes, limits->seconds};
    static const char *const words[] = {"stores", "needs", "takes"};
    for (int i = 0; i < 3; i++) {
        if (!is_over(most[i], values[i]))
            continue;
        if (!isfinite(values[i]))
            text_printf(reason, "what it %s was not measured", words[i]);
        else if (i == 2)
            text_printf(reason, "takes %.1f s a trial", values[i]);
        else {
            text_printf(reason, "%s ", words[i]);
            add_size(reason, values[i]);
            text_add(reason, i == 1 ? " of memory" : "");
        }
        return true;
    }
    return false;
}

static bool is_better(const struct comparison *c, const struct compare_configuration *a,
                      const struct compare_configuration *b)
{
    return c->is_maximized ? a->axes[AXIS_SCORE] > b->axes[AXIS_SCORE] : a->axes[AXIS_SCORE] < b->axes[AXIS_SCORE];
}

static struct interval score_of(const struct compare_configuration *x)
{
    double values[COMPARE_MAX_SEEDS];
    for (int i = 0; i < x->n_trials; i++)
        values[i] = x->trials[i].value;
    return stats_student(values, x->n_trials, 0.95);
}

static int method_of(const struct comparison *c, const struct compare_configuration *x)
{
    for (int i = 0; i < c->n_methods; i++)
        if (text_equal(c->methods[i].chosen->method, x->method))
            return i;
    return 0;
}

static bool is_admitted(const struct advice *a, const struct compare_configuration *x)
{
    struct text reason = {0};
    bool is_refused = advice_refuses(&a->limits, x, &reason);
    text_done(&reason);
    return !is_refused;
}

static void choose(struct advice *a)
{
    const struct comparison *c = &a->comparison;
    a->n_configurations = c->n_configurations;
    for (int i = 0; i < c->n_configurations; i++) {
        const struct compare_configuration *x = &c->configurations[i];
        if (!is_admitted(a, x))
            continue;
        a->n_admitted++;
        if (x->is_complete && (!a->chosen || is_better(c, x, a->chosen)))
            a->chosen = x;
    }
    if (!a->chosen)
        return;
    a->method = method_of(c, a->chosen);
    a->score = score_of(a->chosen);
}

/* Of the methods that were tested against the chosen one and not told apart, the one that stores least. */
static void find_cheaper(struct advice *a)
{
    const struct comparison *c = &a->comparison;
    a->cheaper = -1;
    if (!a->chosen || c->methods[a->method].chosen != a->chosen)
        return;
    double least = a->chosen->axes[AXIS_BYTES];
    for (int i = 0; i < c->n_pairs; i++) {
        const struct compare_pair *pair = &c->pairs[i];
        int other = pair->a == a->method ? pair->b : pair->b == a->method ? pair->a : -1;
        if (other < 0 || !(pair->adjusted_p >= 0.05))
            continue;
        const struct compare_configuration *x = c->methods[other].chosen;
        if (is_admitted(a, x) && x->axes[AXIS_BYTES] < least) {
            least = x->axes[AXIS_BYTES];
            a->cheaper = other;
        }
    }
}

/* Earlier sweeps ----------------------------------------------------------------------------------------------------
 */

static void add_earlier(struct advice *a, const struct comparison *c, const char *sweep)
{
    if (a->n_earlier == ADVICE_MAX_EARLIER || !text_equal(c->metric, a->comparison.metric) ||
        !text_equal(c->goal, a->comparison.goal))
        return;
    for (int i = 0; i < c->n_methods; i++) {
        if (!text_equal(c->methods[i].chosen->method, a->chosen->method))
            continue;
        double behind = fabs(c->methods[0].validation.mean - c->methods[i].validation.mean);
        a->earlier[a->n_earlier++] = (struct advice_earlier){
            sweep, i + 1, c->n_methods, c->methods[i].validation, c->methods[0].label, i > 0 ? behind : 0};
        return;
    }
}

static int look_back(struct store *store, struct advice *a, struct arena *arena, struct err *err)
{
    const char *const *names = NULL;
    const struct compare_options options = {.margin = 0.01, .resamples = EARLIER_RESAMPLES};
    int rc = store_sweep_names(store, arena, &names, err);
    for (int i = 0; rc == 0 && names[i]; i++) {
        struct comparison c;
        if (text_equal(names[i], a->sweep))
            continue;
        rc = compare_sweeps(store, &names[i], 1, &options, arena, &c, err);
        if (rc == 0)
            add_earlier(a, &c, names[i]);
        else if (rc == ERR_USAGE) /* nothing of it is finished */
            rc = 0;
    }
    return rc;
}

static int newest_sweep(struct store *store, struct arena *arena, const char **sweep, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int rc = 0;
    if (sqlite3_prepare_v2(store_database(store),
                           "SELECT s.name FROM sweep s WHERE EXISTS (SELECT 1 FROM trial t WHERE t.sweep_id = s.id AND"
                           " t.state = 'COMPLETE') ORDER BY s.id DESC LIMIT 1",
                           -1, &row, NULL) != SQLITE_OK)
        return err_set(err, ERR_STORE, "%s: cannot read the sweeps: %s", store_path(store),
                       sqlite3_errmsg(store_database(store)));
    if (sqlite3_step(row) == SQLITE_ROW)
        *sweep = arena_strdup(arena, (const char *)sqlite3_column_text(row, 0));
    else
        rc = err_set(err, ERR_USAGE, "advise: no trial in '%s' is finished yet", store_path(store));
    sqlite3_finalize(row);
    return rc == 0 && !*sweep ? err_set(err, ERR_NOMEM, "no memory for advice") : rc;
}

int advise(struct store *store, const char *sweep, const struct advice_limits *limits, struct arena *arena,
           struct advice *advice, struct err *err)
{
    const struct compare_options options = {.margin = 0.01, .resamples = OWN_RESAMPLES};
    int rc = 0;
    *advice = (struct advice){.sweep = sweep, .limits = *limits, .cheaper = -1};
    if (!sweep)
        rc = newest_sweep(store, arena, &advice->sweep, err);
    if (rc == 0)
        rc = compare_sweeps(store, &advice->sweep, 1, &options, arena, &advice->comparison, err);
    if (rc < 0)
        return rc;
    choose(advice);
    find_cheaper(advice);
    return advice->chosen ? look_back(store, advice, arena, err) : 0;
}

/* As text ------------------------------------------------------------------------------------------------------------
 */

static void add_configuration(struct text *out, const struct compare_configuration *x)
{
    printable_add(out, x->method);
    text_printf(out, " (configuration %lld", (long long)x->number);
    if (!text_equal(x->parameters, "{}")) {
        text_add(out, ": ");
        printable_add(out, x->parameters);
    }
    text_add_char(out, ')');
}

static void add_costs(struct text *out, const struct compare_configuration *x)
{
    text_printf(out, "%.0f parameters trained", x->axes[AXIS_PARAMETERS]);
    if (isfinite(x->axes[AXIS_BYTES])) {
        text_add(out, ", ");
        add_size(out, x->axes[AXIS_BYTES]);
        text_add(out, " stored");
    }
    if (x->peak_bytes > 0) {
        text_add(out, ", ");
        add_size(out, x->peak_bytes);
        text_add(out, " of memory");
    }
    if (isfinite(x->axes[AXIS_SECONDS]))
        text_printf(out, ", %.1f s a trial", x->axes[AXIS_SECONDS]);
}

static void add_pairs(struct text *out, const struct advice *a)
{
    const struct comparison *c = &a->comparison;
    if (c->methods[a->method].chosen != a->chosen) {
        text_add(out,
                 "    it is not its method's best configuration, which is over the limits: pairs were not tested\n");
        return;
    }
    for (int i = 0; i < c->n_pairs; i++) {
        const struct compare_pair *pair = &c->pairs[i];
        if (pair->a != a->method && pair->b != a->method)
            continue;
        text_add(out, "    against ");
        printable_add(out, c->methods[pair->a == a->method ? pair->b : pair->a].label);
        text_add(out, ": ");
        compare_add_verdict(out, c, pair);
        text_printf(out, ", difference %+.4f", pair->a == a->method ? pair->difference.mean : -pair->difference.mean);
        if (isfinite(pair->adjusted_p))
            text_printf(out, ", p %.4f (Holm)", pair->adjusted_p);
        text_add_char(out, '\n');
    }
}

/* A method's configurations that the limits keep out, if they keep out its best. */
static void add_excluded(struct text *out, const struct advice *a)
{
    const struct comparison *c = &a->comparison;
    struct text reason = {0};
    int n = 0;
    for (int i = 0; i < c->n_methods; i++) {
        text_reset(&reason);
        if (!advice_refuses(&a->limits, c->methods[i].chosen, &reason))
            continue;
        text_add(out, n++ ? "    " : "  kept out by the limits:\n    ");
        printable_add(out, c->methods[i].label);
        text_printf(out, ", best of its method, %.4f on validation: %s\n", c->methods[i].validation.mean,
                    reason.data ? reason.data : "");
    }
    text_done(&reason);
}

static void add_back(struct text *out, const struct advice *a)
{
    if (a->n_earlier == 0) {
        text_add(out, "  no other sweep of this store has the method and the objective: nothing to look back on\n");
        return;
    }
    text_add(out, "  in other sweeps:\n");
    for (int i = 0; i < a->n_earlier; i++) {
        const struct advice_earlier *e = &a->earlier[i];
        text_add(out, "    '");
        printable_add(out, e->sweep);
        text_printf(out, "': number %d of %d methods, ", e->rank, e->n_methods);
        summary_add_interval(out, e->score);
        if (e->rank > 1) {
            text_printf(out, ", %.4f behind ", e->behind);
            printable_add(out, e->best);
        }
        text_add_char(out, '\n');
    }
}

static void add_cheaper(struct text *out, const struct advice *a)
{
    if (a->cheaper < 0)
        return;
    const struct compare_configuration *x = a->comparison.methods[a->cheaper].chosen;
    text_add(out, "  cheaper, and not to be told apart: ");
    add_configuration(out, x);
    text_add(out, ", ");
    add_costs(out, x);
    text_add_char(out, '\n');
}

void advice_add_text(struct text *out, const struct advice *a)
{
    const struct comparison *c = &a->comparison;
    if (!a->chosen) {
        text_printf(out, "nothing fits: all %d configurations of '", a->n_configurations);
        printable_add(out, a->sweep);
        text_add(out, "' are over the limits\n");
        add_excluded(out, a);
        return;
    }
    text_add(out, "take ");
    add_configuration(out, a->chosen);
    text_add(out, "\n  ");
    printable_add(out, c->metric);
    text_add(out, " in '");
    printable_add(out, a->sweep);
    text_add(out, "': ");
    summary_add_interval(out, a->score);
    text_printf(out, ", the best of %d configurations within the limits (of %d)\n  ", a->n_admitted,
                a->n_configurations);
    add_costs(out, a->chosen);
    text_add_char(out, '\n');
    const struct compare_method *m = &c->methods[a->method];
    if (m->chosen == a->chosen && m->fit.verdict != FIT_UNKNOWN) {
        text_add(out, "  ");
        fit_add_words(out, &m->fit, m->chosen->method, m->chosen->settings);
        text_add_char(out, '\n');
    }
    if (m->chosen == a->chosen && isfinite(m->kept))
        text_printf(out, "  knowledge kept, by %s: %.1f %%\n", m->kept_by, 100 * m->kept);
    text_add(out, c->n_pairs > 0 ? "  evidence:\n" : "");
    add_pairs(out, a);
    add_cheaper(out, a);
    add_excluded(out, a);
    add_back(out, a);
}

/* As JSON ------------------------------------------------------------------------------------------------------------
 */

static void add_number(struct text *out, const char *key, double value)
{
    text_printf(out, ",\"%s\":", key);
    if (isfinite(value))
        text_add_double(out, value);
    else
        text_add(out, "null");
}

static void add_method_json(struct text *out, const struct compare_configuration *x)
{
    text_add(out, "{\"method\":");
    printable_add_json(out, x->method);
    text_printf(out, ",\"configuration\":%lld,\"parameters\":%s,\"seeds\":%d", (long long)x->number, x->parameters,
                x->n_trials);
    add_number(out, "score", x->axes[AXIS_SCORE]);
    for (int axis = AXIS_PARAMETERS; axis < AXIS_BIAS; axis++)
        add_number(out, compare_axis_names[axis], x->axes[axis]);
    add_number(out, "peak_bytes", x->peak_bytes > 0 ? x->peak_bytes : (double)NAN);
    text_add_char(out, '}');
}

void advice_add_json(struct text *out, const struct advice *a)
{
    const struct comparison *c = &a->comparison;
    struct text words = {0};
    text_add(out, "{\"v\":1,\"sweep\":");
    printable_add_json(out, a->sweep);
    text_add(out, ",\"metric\":");
    printable_add_json(out, c->metric);
    text_add(out, ",\"advice\":");
    if (a->chosen)
        add_method_json(out, a->chosen);
    else
        text_add(out, "null");
    text_printf(out, ",\"admitted\":%d,\"configurations\":%d,\"cheaper\":", a->n_admitted, a->n_configurations);
    if (a->cheaper >= 0)
        add_method_json(out, c->methods[a->cheaper].chosen);
    else
        text_add(out, "null");
    bool is_best = a->chosen && c->methods[a->method].chosen == a->chosen;
    if (is_best)
        fit_add_words(&words, &c->methods[a->method].fit, a->chosen->method, a->chosen->settings);
    text_add(out, ",\"fit\":");
    printable_add_json(out, is_best ? fit_names[c->methods[a->method].fit.verdict] : "unknown");
    text_add(out, ",\"fit_words\":");
    printable_add_json(out, words.data ? words.data : "");
    text_add(out, ",\"earlier\":[");
    for (int i = 0; i < a->n_earlier; i++) {
        const struct advice_earlier *e = &a->earlier[i];
        text_add(out, i ? ",{\"sweep\":" : "{\"sweep\":");
        printable_add_json(out, e->sweep);
        text_printf(out, ",\"rank\":%d,\"methods\":%d", e->rank, e->n_methods);
        add_number(out, "score", e->score.mean);
        add_number(out, "behind", e->behind);
        text_add_char(out, '}');
    }
    text_add(out, "]}\n");
    text_done(&words);
}
