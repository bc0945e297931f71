/* Running checks: the table of kinds, and the record all of them send. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "common/checks.h"
#include "trainer/check.h"

const struct check_kind *const check_kinds[] = {
    &check_counterfactual, &check_group_fairness, &check_weights, &check_perplexity, &check_probe,       &check_weat,
    &check_crows_pairs,    &check_stereoset,      &check_bbq,     &check_safety,     &check_translation, NULL};

struct text *check_begin(struct trial *trial, const struct trial_check *check)
{
    struct text *line = records_begin(trial->records, "check");
    records_add_text(line, "name", check->name);
    records_add_text(line, "kind", check->kind);
    records_add_int(line, "step", trial->progress.best_step);
    return line;
}

void check_point(struct trial *trial, const struct trial_check *check, const char *metric, double value)
{
    const struct check_info *info = check_find(check->kind);
    char name[160];
    int number = 1;
    for (const struct trial_check *other = trial->job->checks; other < check; other++)
        number += strcmp(other->kind, check->kind) == 0;
    snprintf(name, sizeof(name), number > 1 ? "%s/%s.%d" : "%s/%s", info->group, metric, number);
    records_point(trial->records, name, trial->progress.best_step, value);
}

static void add_items(struct text *line, const double *items, size_t n, int width)
{
    text_add(line, ",\"items\":[");
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < width; k++) {
            double value = items[i * (size_t)width + (size_t)k];
            text_add(line, k ? "," : i ? ",[" : "[");
            if (isfinite(value))
                text_add_double(line, value);
            else
                text_add(line, "null");
            text_add(line, k == width - 1 ? "]" : "");
        }
    text_add(line, "]");
}

void check_send_metrics(struct trial *trial, const struct trial_check *check, const char *const *metrics,
                        const double *items, size_t n, const char *item_set_sha256)
{
    const struct check_info *info = check_find(check->kind);
    for (const char *const *name = metrics; *name; name++) {
        double value = info->metric(*name, items, (int)n, NULL);
        if (isfinite(value)) /* what is undefined has no point */
            check_point(trial, check, *name, value);
    }
    struct text *line = check_begin(trial, check);
    text_add(line, ",\"metrics\":");
    for (const char *const *name = metrics; *name; name++) {
        double value = info->metric(*name, items, (int)n, NULL);
        text_printf(line, "%s\"%s\":", name == metrics ? "{" : ",", *name);
        if (isfinite(value))
            text_add_double(line, value);
        else
            text_add(line, "null");
    }
    text_add(line, "}");
    records_add_int(line, "n_items", (int64_t)n);
    records_add_text(line, "item_set_sha256", item_set_sha256);
    add_items(line, items, n, info->width);
    records_send(trial->records);
}

void check_send(struct trial *trial, const struct trial_check *check, const double *items, size_t n,
                const char *item_set_sha256)
{
    check_send_metrics(trial, check, check_find(check->kind)->metrics, items, n, item_set_sha256);
}

static const struct check_kind *kind_of(const struct trial_check *check)
{
    for (const struct check_kind *const *kind = check_kinds; *kind; kind++)
        if (strcmp((*kind)->name, check->kind) == 0)
            return *kind;
    return NULL;
}

static int run_timed(struct trial *trial, const struct check_kind *kind, int index, struct err *err)
{
    double before = trial_processor_seconds();
    int rc = kind->run(trial, &trial->job->checks[index], err);
    trial->check_seconds[index] = trial_processor_seconds() - before;
    return rc;
}

enum check_moment { CHECK_FITS, CHECK_RUN, CHECK_FOLLOW };

static int each_check(struct trial *trial, enum check_moment moment, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < trial->job->n_checks && rc == 0; i++) {
        const struct trial_check *check = &trial->job->checks[i];
        const struct check_kind *kind = kind_of(check);
        if (!kind) /* trial_job_parse knows the kinds */
            rc = err_set(err, ERR_INTERNAL, "kind '%s' has no row", check->kind);
        else if (moment == CHECK_RUN)
            rc = run_timed(trial, kind, i, err);
        else if (moment == CHECK_FITS && kind->fits)
            rc = kind->fits(trial, check, err);
        else if (moment == CHECK_FOLLOW && kind->follow)
            rc = kind->follow(trial, check, err);
        if (rc < 0)
            err_wrap(err, "check '%s'", check->name);
    }
    return rc;
}

int trial_check_fits(struct trial *trial, struct err *err)
{
    return each_check(trial, CHECK_FITS, err);
}

int trial_check(struct trial *trial, struct err *err)
{
    return each_check(trial, CHECK_RUN, err);
}

int trial_check_follow(struct trial *trial, struct err *err)
{
    return each_check(trial, CHECK_FOLLOW, err);
}
