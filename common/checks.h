/* The kinds of checks and what a definition says about each: a row a kind, read by the definition, the job and the
 * trainer. The measurement itself is the trainer's (trainer/check.h), what its items mean the coordinator's
 * (check_items.h). */
#ifndef COMMON_CHECKS_H
#define COMMON_CHECKS_H

#include <stdbool.h>

enum { CHECK_MAX_OPTIONS = 4 };

struct check_option {
    const char *name; /* NULL ends the list */
    bool is_required;
    const char *what; /* "the column of the test rows with the group" */
};

struct check_info {
    const char *name;
    bool has_file;                                      /* an item file is needed; else none is allowed */
    bool needs_test;                                    /* it measures on the test rows */
    struct check_option options[CHECK_MAX_OPTIONS + 1]; /* texts of its own, beside kind, file and items */
};

extern const struct check_info checks_table[];         /* ends with a name of NULL */
const struct check_info *check_find(const char *kind); /* NULL when unknown */
/* The kinds' names, NULL-terminated, for text_nearest. */
const char *const *check_names(void);

#endif
