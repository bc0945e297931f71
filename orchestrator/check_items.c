/* Items of checks: a row a kind, with how many numbers an item has and how its metrics come out of them. */
#include "orchestrator/check_items.h"

#include <math.h>
#include <string.h>

#include "common/fairness.h"
#include "common/json.h"
#include "orchestrator/bias_before.h"

enum { GROUPS_MAX = 256 };

struct check_items_kind {
    const char *name;
    int width;
    double (*metric)(const struct check_items *items, const uint32_t *weights);
};

static double weight_of(const uint32_t *weights, int i)
{
    return weights ? weights[i] : 1;
}

/* [flipped, difference]: every metric is a mean over the pairs. */
static double counterfactual(const struct check_items *items, const uint32_t *weights)
{
    double sum = 0, count = 0;
    for (int i = 0; i < items->n; i++) {
        struct bias_item item = {items->values[2 * i], items->values[2 * i + 1]};
        sum += weight_of(weights, i) * bias_item_value(items->metric, item);
        count += weight_of(weights, i);
    }
    return sum / count;
}

/* [group, label is positive, predicted positive]. A resample without a group has no gap between the groups. */
static double group_fairness(const struct check_items *items, const uint32_t *weights)
{
    struct fairness_group groups[GROUPS_MAX] = {0};
    int n_groups = 0;
    for (int i = 0; i < items->n; i++) {
        const double *v = items->values + 3 * (size_t)i;
        if (!(v[0] >= 0 && v[0] < GROUPS_MAX))
            return NAN;
        struct fairness_group *group = &groups[(int)v[0]];
        double weight = weight_of(weights, i);
        n_groups = (int)v[0] >= n_groups ? (int)v[0] + 1 : n_groups;
        group->items += weight;
        group->positives += weight * v[1];
        group->selected += weight * v[2];
        group->true_selected += weight * v[1] * v[2];
    }
    return fairness_metric(items->metric, groups, n_groups);
}

static const struct check_items_kind kinds[] = {
    {"counterfactual", 2, counterfactual},
    {"group_fairness", 3, group_fairness},
};

static const struct check_items_kind *find_kind(const char *check_name)
{
    const char *colon = strrchr(check_name, ':');
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(colon ? colon + 1 : check_name, kinds[i].name) == 0)
            return &kinds[i];
    return NULL;
}

/* Whether all members are lists of `width` numbers; copies them. */
static bool copy_values(const cJSON *list, int width, double *values)
{
    for (const cJSON *item = list->child; item; item = item->next) {
        const cJSON *number = cJSON_IsArray(item) ? item->child : NULL;
        for (int k = 0; k < width; k++, number = number->next) {
            if (!cJSON_IsNumber(number))
                return false;
            *values++ = number->valuedouble;
        }
        if (number)
            return false;
    }
    return true;
}

int check_items_read(struct check_items *items, const char *check_name, const char *text, struct arena *arena,
                     struct err *err)
{
    const struct check_items_kind *kind = find_kind(check_name);
    cJSON *json = NULL;
    *items = (struct check_items){.kind = kind};
    if (!text || !kind || json_parse(text, strlen(text), &json, NULL) < 0)
        return 0;
    int n = cJSON_IsArray(json) ? cJSON_GetArraySize(json) : 0;
    double *values = arena_calloc(arena, (size_t)n * (size_t)kind->width + 1, sizeof(*values));
    if (values && n > 0 && copy_values(json, kind->width, values)) {
        items->values = values;
        items->n = n;
    }
    json_free(json);
    return values ? 0 : err_set(err, ERR_NOMEM, "no memory for the items of a check");
}

double check_items_metric(const void *row, const uint32_t *weights, int n_items)
{
    const struct check_items *items = row;
    return items->n == n_items && n_items > 0 ? items->kind->metric(items, weights) : (double)NAN;
}
