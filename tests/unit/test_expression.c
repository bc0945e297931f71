/* Expressions: precedence, functions, names, refusals with their place. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "common/text.h"
#include "orchestrator/expression.h"

static int look_up(const char *name, double *value, void *context, struct err *err)
{
    (void)context;
    if (strcmp(name, "rank") == 0)
        *value = 8;
    else if (strcmp(name, "adapter_size") == 0)
        *value = 200;
    else
        return err_set(err, ERR_USAGE, "unknown name '%s'", name);
    return 0;
}

static int evaluate(const char *text, double *value, struct err *err)
{
    struct arena arena = {0};
    struct expression *expression = NULL;
    int rc = expression_parse(text, &arena, &expression, err);
    if (rc == 0)
        rc = expression_evaluate(expression, look_up, NULL, value, err);
    arena_done(&arena);
    return rc;
}

Test(expression, values)
{
    static const struct {
        const char *text;
        double value;
    } cases[] = {
        {"2 * rank", 16},         {"min(512, 4 * adapter_size)", 512},
        {"1 + 2 * 3", 7},         {"(1 + 2) * 3", 9},
        {"10 - 3 - 2", 5},        {"48 / 4 / 2", 6},
        {"-2 ** 2", -4},          {"2 ** 3 ** 2", 512},
        {"2 ** -1", 0.5},         {"- - rank", 8},
        {"17 % 5 * 2", 4},        {"max(1, rank, 3)", 8},
        {"floor(2.7)", 2},        {"ceil(2.1)", 3},
        {"round(2.5)", 3},        {"sqrt(rank * 2)", 4},
        {"log(exp(1))", 1},       {"abs(-1e-3)", 0.001},
        {".5e1+1.", 6},           {" rank\t", 8},
        {"min(rank)", 8},         {"rank*-1", -8},
        {"1e3 + 2E+2", 1200},     {"7 - -2", 9},
        {"min(max(1,2),3)*2", 4}, {"(-2) ** 2", 4},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        double value = NAN;
        struct err err = {0};
        cr_expect_eq(evaluate(cases[i].text, &value, &err), 0, "%s: %s", cases[i].text, err.message);
        cr_expect_float_eq(value, cases[i].value, 1e-12, "%s gave %.17g", cases[i].text, value);
    }
}

Test(expression, refusals_name_the_place_and_what_was_expected)
{
    static const struct {
        const char *text, *message;
        int code;
    } cases[] = {
        {"2 * )", "character 5: a number, a name or '(' was expected, ')' was found", ERR_USAGE},
        {"", "character 1: a number, a name or '(' was expected, the end was found", ERR_USAGE},
        {"(2 * rank", "character 10: an operator or ')' was expected, the end was found", ERR_USAGE},
        {"2 rank", "character 3: an operator or the end was expected, 'r' was found", ERR_USAGE},
        {"2 × 3", "'×' was found", ERR_USAGE},
        {"flor(2)", "character 1: unknown function 'flor', nearest is 'floor'", ERR_USAGE},
        {"sqrt(2, 3)", "'sqrt' takes 1 argument, 2 were found", ERR_USAGE},
        {"min()", "character 5: a number", ERR_USAGE},
        {"min(1 2)", "character 7: ',' or ')' was expected", ERR_USAGE},
        {"1.2.3", "'1.2.3' is not a number", ERR_USAGE},
        {"1e999", "'1e999' is not a number", ERR_USAGE},
        {"rnk + 1", "unknown name 'rnk'", ERR_USAGE},
        {"1 / (rank - 8)", "division by 0", ERR_NUMERIC},
        {"5 % 0", "division by 0", ERR_NUMERIC},
        {"log(0)", "log of 0 is not a finite number", ERR_NUMERIC},
        {"sqrt(-1)", "sqrt of -1", ERR_NUMERIC},
        {"(-8) ** 0.5", "-8 ** 0.5 is not a finite number", ERR_NUMERIC},
        {"10 ** 400", "not a finite number", ERR_NUMERIC},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        double value = 0;
        struct err err = {0};
        cr_expect_eq(evaluate(cases[i].text, &value, &err), cases[i].code, "%s: %s", cases[i].text, err.message);
        cr_expect(strstr(err.message, cases[i].message), "%s: %s", cases[i].text, err.message);
    }
}

/* `open` n times, "1", `close` n times. */
static int evaluate_nested(const char *open, const char *close, int n, struct err *err)
{
    struct text text = {0};
    double value = 0;
    for (int i = 0; i < n; i++)
        text_add(&text, open);
    text_add(&text, "1");
    for (int i = 0; i < n; i++)
        text_add(&text, close);
    int rc = evaluate(text.data, &value, err);
    text_done(&text);
    return rc;
}

Test(expression, depth_and_length_are_bounded)
{
    struct err err = {0};
    cr_expect_eq(evaluate_nested("(", ")", 31, &err), 0, "%s", err.message);
    cr_expect_eq(evaluate_nested("(", ")", 32, &err), ERR_USAGE);
    cr_expect(strstr(err.message, "32 levels"), "%s", err.message);
    cr_expect_eq(evaluate_nested("-", "", 400, &err), ERR_USAGE);
    cr_expect_eq(evaluate_nested("2**", "", 300, &err), ERR_USAGE);
    cr_expect_eq(evaluate_nested("1+", "", 500, &err), 0, "a chain is not nesting: %s", err.message);
    cr_expect_eq(evaluate_nested("1+", "", 600, &err), ERR_USAGE);
    cr_expect(strstr(err.message, "1201 characters, at most 1024"), "%s", err.message);
}

static int note_name(const char *name, void *context)
{
    text_printf(context, "%s ", name);
    return strcmp(name, "stop") == 0 ? 7 : 0;
}

Test(expression, each_name_visits_names_but_not_functions)
{
    struct arena arena = {0};
    struct expression *expression = NULL;
    struct text names = {0};
    struct err err;
    cr_assert_eq(expression_parse("min(rank, 2 * -alpha) ** min", &arena, &expression, &err), 0);
    cr_expect_eq(expression_each_name(expression, note_name, &names), 0);
    cr_expect_str_eq(names.data, "rank alpha min ");
    cr_assert_eq(expression_parse("rank + stop + alpha", &arena, &expression, &err), 0);
    text_reset(&names);
    cr_expect_eq(expression_each_name(expression, note_name, &names), 7);
    cr_expect_str_eq(names.data, "rank stop ");
    text_done(&names);
    arena_done(&arena);
}
