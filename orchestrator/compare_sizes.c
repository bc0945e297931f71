/* What training took from the model, and how far training and validation part with fewer training rows. */
#include <math.h>
#include <string.h>

#include "orchestrator/compare_internal.h"

static bool is_kind(const struct compare_check *check, const char *kind)
{
    const char *colon = strrchr(check->name, ':');
    return text_equal(colon ? colon + 1 : check->name, kind);
}

/* Mean over the checks of that kind of after/before, or before/after of what grows with loss; a gain keeps all. */
static double mean_kept(const struct compare_method *m, const char *kind, bool grows)
{
    double sum = 0;
    int n = 0;
    for (int i = 0; i < m->n_checks; i++) {
        const struct compare_check *check = &m->checks[i];
        bool is_asked = is_kind(check, kind) && !text_equal(check->metric, "bits_per_byte");
        if (!is_asked || !(check->before > 0 && check->after > 0))
            continue;
        sum += fmin(1, grows ? check->before / check->after : check->after / check->before);
        n++;
    }
    return n > 0 ? sum / n : (double)NAN;
}

void compare_kept(struct compare_method *m)
{
    m->kept = mean_kept(m, "probe", false);
    m->kept_by = isnan(m->kept) ? NULL : "probe";
    if (m->kept_by)
        return;
    m->kept = mean_kept(m, "perplexity", true);
    m->kept_by = isnan(m->kept) ? NULL : "perplexity";
}

static double mean_gap(const struct compare_configuration *x)
{
    double sum = 0;
    int n = 0;
    for (int i = 0; i < x->n_trials; i++)
        if (!isnan(x->trials[i].gap)) {
            sum += x->trials[i].gap;
            n++;
        }
    return n > 0 ? sum / n : (double)NAN;
}

static struct compare_size *find_size(struct comparison *c, const struct compare_configuration *x)
{
    for (int i = 0; i < c->n_sizes; i++)
        if (text_equal(c->sizes[i].label, x->size))
            return &c->sizes[i];
    return NULL;
}

static int add_size(struct comparison *c, const struct compare_configuration *x, struct arena *arena, struct err *err)
{
    int at = c->n_sizes;
    double *gaps = arena_calloc(arena, (size_t)c->n_methods, sizeof(*gaps));
    if (!gaps)
        return err_set(err, ERR_NOMEM, "no memory for a comparison");
    for (int i = 0; i < c->n_methods; i++)
        gaps[i] = NAN;
    for (; at > 0 && c->sizes[at - 1].order > x->size_order; at--)
        c->sizes[at] = c->sizes[at - 1];
    c->sizes[at] = (struct compare_size){x->size, x->size_order, gaps};
    c->n_sizes++;
    return 0;
}

/* The best configuration of a method and size, by validation. */
static struct compare_configuration *best_of(struct comparison *c, const struct compare_method *m, const char *size)
{
    struct compare_configuration *best = NULL;
    for (int i = 0; i < c->n_configurations; i++) {
        struct compare_configuration *x = &c->configurations[i];
        if (x->sweep != m->chosen->sweep || !text_equal(x->method, m->chosen->method) || !text_equal(x->size, size))
            continue;
        if (!best || (x->axes[AXIS_SCORE] > best->axes[AXIS_SCORE]) == c->is_maximized)
            best = x;
    }
    return best;
}

int compare_add_sizes(struct store *store, struct comparison *c, struct arena *arena, struct err *err)
{
    int rc = 0;
    c->sizes = arena_calloc(arena, (size_t)c->n_configurations + 1, sizeof(*c->sizes));
    if (!c->sizes)
        return err_set(err, ERR_NOMEM, "no memory for a comparison");
    for (int i = 0; i < c->n_configurations && rc == 0; i++)
        if (!find_size(c, &c->configurations[i]))
            rc = add_size(c, &c->configurations[i], arena, err);
    if (c->n_sizes < 2)
        c->n_sizes = 0;
    for (int s = 0; s < c->n_sizes && rc == 0; s++)
        for (int m = 0; m < c->n_methods && rc == 0; m++) {
            struct compare_configuration *x = best_of(c, &c->methods[m], c->sizes[s].label);
            if (x && (rc = compare_read_gaps(store, x, err)) == 0)
                c->sizes[s].gaps[m] = mean_gap(x);
        }
    return rc;
}
