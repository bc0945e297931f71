/* Items of checks out of the store, and the metrics of their kind (common/checks.h). */
#include "orchestrator/check_items.h"

#include <math.h>
#include <string.h>

#include "common/json.h"

static const struct check_info *find_kind(const char *check_name)
{
    const char *colon = strrchr(check_name, ':');
    return check_find(colon ? colon + 1 : check_name);
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
    const struct check_info *kind = find_kind(check_name);
    cJSON *json = NULL;
    *items = (struct check_items){.kind = kind};
    if (!text || !kind || kind->width == 0 || json_parse(text, strlen(text), &json, NULL) < 0)
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
    return items->n == n_items && n_items > 0 ? items->kind->metric(items->metric, items->values, n_items, weights)
                                              : (double)NAN;
}
