/* The list of problems: its heading, and what happens when it is too long for a message. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "orchestrator/problems.h"

Test(problems, none_is_no_error)
{
    struct problems problems = {0};
    cr_expect_eq(problems_result(&problems, "a.json", NULL), 0);
    problems_done(&problems);
}

Test(problems, one_and_two)
{
    struct problems problems = {0};
    struct err err, first;
    err_set(&first, ERR_USAGE, "parameters.rank: 100%% wrong");
    problems_add_err(&problems, &first);
    cr_expect_eq(problems_result(&problems, "a.json", &err), ERR_USAGE);
    cr_expect_str_eq(err.message, "'a.json': 1 problem\nparameters.rank: 100% wrong");
    problems_add(&problems, "%s: %d", "seeds", 0);
    cr_expect_eq(problems_result(&problems, "a.json", &err), ERR_USAGE);
    cr_expect_str_eq(err.message, "'a.json': 2 problems\nparameters.rank: 100% wrong\nseeds: 0");
    problems_done(&problems);
}

Test(problems, a_hundred_are_listed)
{
    struct problems problems = {0};
    struct err err;
    for (int i = 0; i < 100; i++)
        problems_add(&problems,
                     "parameters.learning_rate[%d]: min 0.01 is above max 0.001; a range has the smaller first", i);
    cr_expect_eq(problems_result(&problems, "a.json", &err), ERR_USAGE);
    cr_expect(strstr(err.message, "'a.json': 100 problems\n"), "%s", err.message);
    cr_expect(strstr(err.message, "parameters.learning_rate[99]: "), "%s", err.message);
    problems_done(&problems);
}

Test(problems, a_list_too_long_for_a_message_ends_with_a_whole_line_and_says_so)
{
    struct problems problems = {0};
    struct err err;
    int lines = 0;
    for (int i = 0; i < 150; i++)
        problems_add(&problems, "parameters.rank.values[%d]: %0200d is below 1, the least allowed", i, 0);
    cr_expect_eq(problems.n, 150);
    cr_expect_null(strstr(problems.list.data, "values[100]"), "the list itself is bounded");
    cr_expect_eq(problems_result(&problems, "a.json", &err), ERR_USAGE);
    for (const char *c = strchr(err.message, '\n'); c; c = strchr(c + 1, '\n'))
        lines++;
    char head[64];
    snprintf(head, sizeof(head), "'a.json': 150 problems, the first %d are listed\n", lines);
    cr_expect_eq(strncmp(err.message, head, strlen(head)), 0, "%s", err.message);
    cr_expect(lines > 50 && lines < 100, "%d", lines);
    cr_expect_eq(strcmp(err.message + strlen(err.message) - 7, "allowed"), 0, "%s", err.message);
    problems_done(&problems);
}

Test(problems, an_unknown_name_is_answered_with_what_is_allowed_when_that_is_short)
{
    struct problems problems = {0};
    static const char *const few[] = {"rank", "alpha", NULL};
    const char *many[PROBLEMS_KNOWN_MAX + 2] = {0};
    for (int i = 0; i <= PROBLEMS_KNOWN_MAX; i++)
        many[i] = "rank";
    problems_add_unknown(&problems, "settings.rnak: is not known", "rnak", few);
    problems_add_unknown(&problems, "settings.rnak: is not known", "rnak", many);
    problems_add_unknown(&problems, "settings.momentum: is not known", "momentum", few);
    cr_expect_str_eq(problems.list.data, "settings.rnak: is not known; nearest is 'rank'; known are rank, alpha\n"
                                         "settings.rnak: is not known; nearest is 'rank'\n"
                                         "settings.momentum: is not known; known are rank, alpha\n");
    problems_done(&problems);
}
