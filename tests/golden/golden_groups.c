/* A case's parameter groups: which tensors decay, and whose learning rate is multiplied. */
#include <regex.h>
#include <string.h>

#include "common/json.h"
#include "tests/golden/golden.h"

/* Whether the pattern is found anywhere in the name, as Python's re.search. \w and \d are written out: POSIX has no \d.
 */
static int search(const char *pattern, const char *name, bool *is_found, struct err *err)
{
    struct text own = {0};
    regex_t regex;
    for (const char *p = pattern; *p; p++) {
        if (p[0] == '\\' && p[1] == 'd') {
            text_add(&own, "[0-9]");
            p++;
        } else if (p[0] == '\\' && p[1] == 'w') {
            text_add(&own, "[A-Za-z0-9_]");
            p++;
        } else if (p[0] == '(' && p[1] == '?' && p[2] == ':') {
            text_add(&own, "(");
            p += 2;
        } else {
            text_add_char(&own, *p);
        }
    }
    int rc = own.failed || regcomp(&regex, own.len ? own.data : "", REG_EXTENDED | REG_NOSUB) != 0
                 ? err_set(err, ERR_UNSUPPORTED, "the pattern '%s' is not understood", pattern)
                 : 0;
    if (rc == 0) {
        *is_found = regexec(&regex, name, 0, NULL, 0) == 0;
        regfree(&regex);
    }
    text_done(&own);
    return rc;
}

int golden_match(const cJSON *patterns, const char *name, const cJSON **found, struct err *err)
{
    bool is_found = false;
    int rc = 0;
    *found = NULL;
    for (const cJSON *item = patterns ? patterns->child : NULL; rc == 0 && item && !is_found; item = item->next) {
        struct text whole = {0};
        const char *pattern = cJSON_IsString(item) ? item->valuestring : item->string;
        if (!cJSON_IsString(item)) /* PEFT's patterns: the whole of a module's path, or what follows a dot */
            text_printf(&whole, "^(.*\\.)?(%s)$", pattern);
        rc = search(whole.data ? whole.data : pattern, name, &is_found, err);
        *found = is_found ? item : NULL;
        text_done(&whole);
    }
    return rc;
}

int golden_groups(struct params *params, const cJSON *optim, struct err *err)
{
    const cJSON *found;
    for (size_t i = 0; i < params->count; i++) {
        struct param *param = params->items[i];
        int rc = golden_match(json_get(optim, "no_decay"), param->name, &found, err);
        param->is_bias_or_norm = found != NULL;
        param->never_decays = false;
        param->learning_rate_factor = 1;
        const cJSON *groups = json_get(optim, "lr_groups");
        for (const cJSON *group = groups ? groups->child : NULL; rc == 0 && group; group = group->next) {
            bool is_found = false;
            rc = search(json_get(group, "match")->valuestring, param->name, &is_found, err);
            if (is_found)
                param->learning_rate_factor = json_get(group, "lr_mult")->valuedouble;
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}
