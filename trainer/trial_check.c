/* Running checks: the table of kinds, and the record all of them send. */
#include <stddef.h>
#include <string.h>

#include "trainer/check.h"

const struct check_kind *const check_kinds[] = {&check_counterfactual, &check_group_fairness, NULL};

struct text *check_begin(struct trial *trial, const struct trial_check *check)
{
    struct text *line = records_begin(trial->records, "check");
    records_add_text(line, "name", check->name);
    records_add_text(line, "kind", check->kind);
    records_add_int(line, "step", trial->progress.best_step);
    return line;
}

static int run_check(struct trial *trial, const struct trial_check *check, struct err *err)
{
    for (const struct check_kind *const *kind = check_kinds; *kind; kind++)
        if (strcmp((*kind)->name, check->kind) == 0)
            return (*kind)->run(trial, check, err);
    return err_set(err, ERR_INTERNAL, "kind '%s' has no row", check->kind); /* trial_job_parse knows the kinds */
}

int trial_check(struct trial *trial, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < trial->job->n_checks && rc == 0; i++)
        if ((rc = run_check(trial, &trial->job->checks[i], err)) < 0)
            err_wrap(err, "check '%s'", trial->job->checks[i].name);
    return rc;
}
