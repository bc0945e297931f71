/* The settings table: every name a trial can vary, once.
 *
 * A name is a *setting* when the definition fixes it and a *parameter* when the sweep searches it; both use the same
 * names. This table feeds the definition's parser and schema, `--help`, `plan`, the job the trainer reads, the trial's
 * identity and the page. A setting that does not apply (rank, when the method is full) does not exist: not in the
 * store, not in the job, not in the hash. */
#ifndef COMMON_SETTINGS_H
#define COMMON_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"
#include "common/json.h"

/* Which JSON values a setting takes; several bits where several make sense. */
enum setting_type {
    SETTING_NUMBER = 1 << 0,
    SETTING_INT = 1 << 1,
    SETTING_BOOL = 1 << 2,
    SETTING_CHOICE = 1 << 3,  /* one of `choices` */
    SETTING_CHOICES = 1 << 4, /* a list of `choices` without repeats */
    SETTING_TEXT = 1 << 5,
    SETTING_TEXT_LIST = 1 << 6,  /* a text or a list of texts */
    SETTING_INT_LIST = 1 << 7,   /* without repeats */
    SETTING_NUMBER_MAP = 1 << 8, /* an object of numbers */
    SETTING_SIZE_LIST = 1 << 9,  /* whole numbers in order, repeats allowed */
    SETTING_ANY = 1 << 10        /* whatever JSON has: names of a definition without a model */
};

struct setting {
    const char *name;
    const char *group; /* method, optimisation, data, evaluation, model: the order and headings of help and page */
    unsigned types;    /* enum setting_type bits */
    double min, max;   /* of numbers, list and map members; inclusive unless the flag says not */
    bool min_is_open, max_is_open;
    const char *const *choices; /* NULL-terminated */
    const char *default_json;   /* NULL: absent unless given (the model or the method's paper decides) */
    const char *when;           /* name of the setting it depends on, or NULL: always applies … */
    const char *when_values;    /* … and the values of that one, space-separated, under which it applies */
    const char *help;           /* one sentence, with the unit */
};

extern const struct setting settings_table[];
extern const size_t settings_count;

const struct setting *settings_find(const char *name); /* NULL when unknown */
/* All names, NULL-terminated, for text_nearest. */
const char *const *settings_names(void);
/* The names `method` accepts, NULL-terminated. */
const char *const *settings_methods(void);

/* Checks type and range of one value. ERR_USAGE: "settings.rank: 0 is below 1, the least allowed"; `where` is the JSON
 * path in front. */
int settings_check(const struct setting *setting, const cJSON *value, const char *where, struct err *err) MUST_CHECK;
/* Whether the setting applies beside these values (a list-valued condition holds when the list contains the value).
 * Conditions are followed to their root: momentum needs optimizer sgd. Values that are absent count as their default.
 */
bool settings_applies(const struct setting *setting, const cJSON *values);
/* The values that apply, each given or its default, in table order; unknown names and wrong values are errors under
 * `where`. Given values that do not apply are left out. *resolved is owned by the caller. */
int settings_resolve(const cJSON *given, const char *where, cJSON **resolved, struct err *err) MUST_CHECK;
/* Of resolved values those that are not the default: what the identity is made from. NULL without memory. */
cJSON *settings_without_defaults(const cJSON *resolved);
/* The default of a setting beside these values (the learning rate's depends on the method); NULL when it has none.
 * Owned by the caller. */
cJSON *settings_default(const struct setting *setting, const cJSON *values);

#endif
