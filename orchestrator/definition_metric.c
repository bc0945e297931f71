/* Metrics that decide something, held against what trials of this definition report: a rule or a constraint over a
 * metric that nobody reports would decide nothing, without a word. */
#include <stdio.h>
#include <string.h>

#include "common/checks.h"
#include "orchestrator/definition_internal.h"

enum { REPORTED_MAX = CHECKS_MAX * 8 + 16 };

/* What trials report at the end; names of checks' metrics are texts of the arena. `open` are the groups of checks that
 * name some of their metrics themselves (a column, an item set). */
struct reported {
    const char *names[REPORTED_MAX + 1];
    const char *open[CHECKS_MAX + 1];
    int n, n_open;
};

static void add_check(struct definition_reader *r, const struct check_info *info, struct reported *out)
{
    bool is_open = !info->metrics || strcmp(info->name, "group_fairness") == 0;
    if (is_open)
        out->open[out->n_open++] = info->group;
    for (int i = 0; !is_open && info->metrics[i] && out->n < REPORTED_MAX; i++) {
        size_t size = strlen(info->group) + strlen(info->metrics[i]) + 2;
        char *name = arena_calloc(&r->definition->arena, size, 1);
        if (!name)
            return;
        snprintf(name, size, "%s/%s", info->group, info->metrics[i]);
        out->names[out->n++] = name;
    }
}

static void list(struct definition_reader *r, struct reported *out)
{
    const struct definition *d = r->definition;
    const char *const *validation = task_reports(d->task_info, false);
    for (; *validation; validation++)
        out->names[out->n++] = *validation;
    for (int i = 0; i < d->n_checks; i++) {
        /* A check that was refused has no kind. */
        const struct check_info *info = d->checks[i].kind ? check_find(d->checks[i].kind) : NULL;
        if (info)
            add_check(r, info, out);
    }
}

static bool is_reported(const struct reported *reported, const char *metric)
{
    for (int i = 0; i < reported->n_open; i++) {
        size_t n = strlen(reported->open[i]);
        if (strncmp(metric, reported->open[i], n) == 0 && metric[n] == '/')
            return true;
    }
    for (int i = 0; i < reported->n; i++)
        if (strcmp(metric, reported->names[i]) == 0)
            return true;
    return false;
}

static void add_unreported(struct definition_reader *r, const char *where, const char *metric, const char *what,
                           const char *const *names)
{
    const char *near = text_nearest(metric, names);
    problems_add(&r->problems, "%s: '%s' is %s%s%s%s", where, metric, what, near ? "; nearest is '" : "",
                 near ? near : "", near ? "'" : "");
}

static void check_constraint(struct definition_reader *r, int i, struct reported *reported)
{
    const struct definition *d = r->definition;
    const char *metric = d->constraints[i].metric, *names[REPORTED_MAX + 65] = {0};
    char where[64];
    int n = 0;
    if (!metric || is_reported(reported, metric))
        return;
    snprintf(where, sizeof(where), "constraints[%d]", i);
    for (int k = 0; k < reported->n; k++)
        names[n++] = reported->names[k];
    for (int k = 0; k < d->space.n_parameters && k < 64; k++)
        names[n++] = d->space.parameters[k].name;
    add_unreported(r, where, metric,
                   strchr(metric, '/') ? "reported neither by validation nor by a check of this definition"
                                       : "neither a parameter nor a metric that trials report",
                   names);
}

void definition_check_reported(struct definition_reader *r)
{
    const struct definition *d = r->definition;
    struct reported validation = {0}, reported = {0};
    if (d->is_free)
        return;
    list(r, &reported);
    for (int i = 0; i < d->n_constraints; i++)
        check_constraint(r, i, &reported);
    for (int i = 0; i < reported.n && text_starts_with(reported.names[i], "validation/"); i++)
        validation.names[validation.n++] = reported.names[i];
    if (d->stopping.kind && d->stopping.metric && !is_reported(&validation, d->stopping.metric))
        add_unreported(r, "stopping.metric", d->stopping.metric, "reported by no trial in the course of training",
                       validation.names);
}
