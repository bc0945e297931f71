/* Group fairness on the test rows: does the model select, hit and miss alike in every group (docs/checks.md)? */
#include <stdlib.h>
#include <string.h>

#include "common/fairness.h"
#include "common/json.h"
#include "trainer/check.h"

enum { GROUPS_MAX = 256 };

/* Which group each test row belongs to. */
struct groups {
    struct rows rows; /* label: the group */
    struct labels names;
    int *of_row;
    const char *column;
    int positive; /* class that counts as selected */
};

static void groups_done(struct groups *groups)
{
    free(groups->of_row);
    labels_done(&groups->names);
    rows_done(&groups->rows);
}

/* The test file read once more, with the group's column in the place of the label. */
static int read_groups(struct trial *trial, struct groups *groups, struct err *err)
{
    const struct trial_job *job = trial->job;
    cJSON *task = cJSON_Duplicate(job->task, true);
    size_t n = trial->test_rows.count;
    if (!task || !cJSON_ReplaceItemInObjectCaseSensitive(task, "label", cJSON_CreateString(groups->column))) {
        cJSON_Delete(task);
        return err_set(err, ERR_NOMEM, "no memory for the groups");
    }
    int rc = rows_read(&groups->rows, job->test, task, n, err);
    cJSON_Delete(task);
    if (rc == 0 && groups->rows.count != n)
        rc = err_set(err, ERR_DATA, "'%s' changed while it was read", job->test);
    if (rc == 0 && (rc = labels_make(&groups->names, &groups->rows, err)) < 0)
        err_wrap(err, "column '%s' as groups", groups->column);
    if (rc == 0 && groups->names.count > GROUPS_MAX)
        rc = err_set(err, ERR_DATA, "column '%s' of '%s' names %d groups, at most %d were expected", groups->column,
                     job->test, groups->names.count, GROUPS_MAX);
    if (rc == 0 && !(groups->of_row = calloc(n + 1, sizeof(*groups->of_row))))
        rc = err_set(err, ERR_NOMEM, "no memory for the groups of %zu rows", n);
    for (size_t i = 0; i < n && rc == 0; i++)
        groups->of_row[i] = labels_find(&groups->names, groups->rows.items[i].label);
    return rc;
}

static int read_options(const struct trial *trial, const struct trial_check *check, struct groups *groups,
                        struct err *err)
{
    const char *positive = NULL;
    int rc = json_get_string(check->options, "group", "check", &groups->column, err);
    if (rc == 0)
        rc = json_opt_string(check->options, "positive", "check", &positive, err);
    if (rc < 0)
        return rc;
    if (!trial->job->test)
        return err_set(err, ERR_USAGE, "the task has no test file, whose groups would be compared");
    groups->positive = positive ? labels_find(&trial->labels, positive) : trial->labels.count - 1;
    if (groups->positive >= 0)
        return 0;
    const char *nearest = text_nearest(positive, trial->labels.names);
    return err_set(err, ERR_USAGE, "positive: '%s' is no label of the training data%s%s%s", positive,
                   nearest ? "; nearest is '" : "", nearest ? nearest : "", nearest ? "'" : "");
}

/* Column names stand in names of curves: what is not a plain character becomes '_'. */
static void point(struct trial *trial, const char *column, const char *metric, double value)
{
    char plain[64], name[160];
    snprintf(plain, sizeof(plain), "%s", column);
    for (char *c = plain; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.", *c))
            *c = '_';
    snprintf(name, sizeof(name), "bias/%s/%s", plain, metric);
    records_point(trial->records, name, trial->progress.best_step, value);
}

/* [group, label is positive, predicted positive] an item. */
static void send_result(struct trial *trial, const struct trial_check *check, const struct groups *groups,
                        const struct predictions *p)
{
    struct fairness_group counts[GROUPS_MAX] = {0};
    struct text items = {0}, set = {0};
    char hash[HASH_HEX_SIZE];
    text_printf(&set, "%s %zu:%s", trial->test.sha256, strlen(groups->column), groups->column);
    for (size_t i = 0; i < p->n; i++) {
        struct fairness_group *group = &counts[groups->of_row[i]];
        bool is_positive = p->labels[i] == groups->positive, is_selected = p->predicted[i] == groups->positive;
        group->items++;
        group->positives += is_positive;
        group->selected += is_selected;
        group->true_selected += is_positive && is_selected;
        text_printf(&items, "%s[%d,%d,%d]", i ? "," : "", groups->of_row[i], is_positive, is_selected);
        text_printf(&set, " %d,%d", groups->of_row[i], is_positive);
    }
    hash_bytes(set.data ? set.data : "", set.len, hash);
    for (const char *const *m = fairness_metrics; *m; m++)
        point(trial, groups->column, *m, fairness_metric(*m, counts, groups->names.count));
    struct text *line = check_begin(trial, check);
    text_add(line, ",\"metrics\":{");
    for (const char *const *m = fairness_metrics; *m; m++) {
        struct text number = {0};
        records_add_number(&number, *m, fairness_metric(*m, counts, groups->names.count));
        text_add(line, number.data ? number.data + (m == fairness_metrics) : "");
        text_done(&number);
    }
    text_add(line, "},\"groups\":[");
    for (int g = 0; g < groups->names.count; g++) {
        text_add(line, g ? ",{\"name\":" : "{\"name\":");
        text_add_json(line, groups->names.names[g]);
        text_printf(line, ",\"items\":%.0f,\"positives\":%.0f,\"selected\":%.0f,\"true_selected\":%.0f}",
                    counts[g].items, counts[g].positives, counts[g].selected, counts[g].true_selected);
    }
    text_add(line, "]");
    records_add_int(line, "n_items", (int64_t)p->n);
    records_add_text(line, "item_set_sha256", hash);
    text_printf(line, ",\"items\":[%s]", items.failed || !items.data ? "" : items.data);
    line->failed = line->failed || items.failed || set.failed;
    records_send(trial->records);
    text_done(&items);
    text_done(&set);
}

static int run(struct trial *trial, const struct trial_check *check, struct err *err)
{
    struct arena arena = {0};
    struct groups groups = {0};
    struct predictions predictions;
    int rc = read_options(trial, check, &groups, err);
    if (rc == 0)
        rc = read_groups(trial, &groups, err);
    if (rc == 0)
        rc = trial_predict(trial, &trial->test, &predictions, &arena, err);
    if (rc == 0)
        send_result(trial, check, &groups, &predictions);
    groups_done(&groups);
    arena_done(&arena);
    return rc;
}

const struct check_kind check_group_fairness = {.name = "group_fairness", .run = run};
