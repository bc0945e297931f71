/* The table of checks. */
#include "common/checks.h"

#include <stddef.h>

#include "common/text.h"

const struct check_info checks_table[] = {
    {.name = "counterfactual", .has_file = true},
    {.name = "group_fairness",
     .needs_test = true,
     .options = {{"group", true, "the column of the test rows that names the group"},
                 {"positive", false, "the label that counts as selected (default: the last class)"}}},
    {.name = NULL},
};

enum { N_CHECKS = sizeof(checks_table) / sizeof(checks_table[0]) };

const struct check_info *check_find(const char *kind)
{
    for (const struct check_info *info = checks_table; info->name; info++)
        if (text_equal(info->name, kind))
            return info;
    return NULL;
}

const char *const *check_names(void)
{
    static const char *names[N_CHECKS];
    for (int i = 0; i < N_CHECKS; i++)
        names[i] = checks_table[i].name;
    return names;
}
