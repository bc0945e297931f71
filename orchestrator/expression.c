/* Expressions over parameters: a recursive-descent parser into a tree, and its evaluation. */
#include "orchestrator/expression.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"

/* Chains like 1+1+1 nest to the left without counting as levels; the length bounds the recursion over them. */
enum { EXPRESSION_MAX_LENGTH = 1024, EXPRESSION_MAX_LEVELS = 32, MAX_ARGUMENTS = 16 };

enum node_kind { NODE_NUMBER, NODE_NAME, NODE_NEGATE, NODE_BINARY, NODE_CALL };

enum function {
    FUNCTION_MIN,
    FUNCTION_MAX,
    FUNCTION_FLOOR,
    FUNCTION_CEIL,
    FUNCTION_ROUND,
    FUNCTION_SQRT,
    FUNCTION_LOG,
    FUNCTION_EXP,
    FUNCTION_ABS,
    N_FUNCTIONS
};
static const char *const function_names[N_FUNCTIONS + 1] = {"min",  "max", "floor", "ceil", "round",
                                                            "sqrt", "log", "exp",   "abs",  NULL};

struct expression {
    enum node_kind kind;
    double number;
    const char *name;
    char operation; /* + - * / % and ^ for ** */
    enum function function;
    int n;
    struct expression *arguments[]; /* operands of NODE_NEGATE and NODE_BINARY too */
};

struct parser {
    const char *text;
    size_t at; /* bytes read */
    int level;
    struct arena *arena;
    struct err *err;
};

static int parse_sum(struct parser *parser, struct expression **out);

static void skip_space(struct parser *parser)
{
    parser->at += strspn(parser->text + parser->at, " \t\r\n");
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static int expected(struct parser *parser, const char *what)
{
    skip_space(parser);
    const char *rest = parser->text + parser->at;
    if (!*rest)
        return err_set(parser->err, ERR_USAGE, "character %zu: %s was expected, the end was found", parser->at + 1,
                       what);
    size_t length = 1; /* a whole UTF-8 character: the message must stay valid text */
    while (((unsigned char)rest[length] & 0xC0) == 0x80)
        length++;
    return err_set(parser->err, ERR_USAGE, "character %zu: %s was expected, '%.*s' was found", parser->at + 1, what,
                   (int)length, rest);
}

static int new_node(struct parser *parser, enum node_kind kind, int n, struct expression **out)
{
    struct expression *node = arena_calloc(parser->arena, 1, sizeof(*node) + (size_t)n * sizeof(node->arguments[0]));
    if (!node)
        return err_set(parser->err, ERR_NOMEM, "no memory for an expression");
    node->kind = kind;
    node->n = n;
    *out = node;
    return 0;
}

static int parse_number(struct parser *parser, struct expression **out)
{
    const char *s = parser->text + parser->at;
    size_t n = strspn(s, "0123456789.");
    if (s[n] == 'e' || s[n] == 'E') {
        size_t sign = s[n + 1] == '+' || s[n + 1] == '-' ? 1 : 0;
        if (is_digit(s[n + 1 + sign]))
            n += 1 + sign + strspn(s + n + 1 + sign, "0123456789");
    }
    char *digits = arena_strndup(parser->arena, s, n);
    double value = 0;
    if (!digits)
        return err_set(parser->err, ERR_NOMEM, "no memory for an expression");
    if (text_parse_double(digits, &value, NULL) < 0)
        return err_set(parser->err, ERR_USAGE, "character %zu: '%s' is not a number", parser->at + 1, digits);
    int rc = new_node(parser, NODE_NUMBER, 0, out);
    if (rc < 0)
        return rc;
    (*out)->number = value;
    parser->at += n;
    return 0;
}

static int find_function(struct parser *parser, const char *name, size_t at, enum function *function)
{
    for (int i = 0; i < N_FUNCTIONS; i++)
        if (strcmp(function_names[i], name) == 0) {
            *function = (enum function)i;
            return 0;
        }
    const char *near = text_nearest(name, function_names);
    return err_set(parser->err, ERR_USAGE,
                   "character %zu: unknown function '%s'%s%s%s; known are min max floor ceil round sqrt log exp abs",
                   at + 1, name, near ? ", nearest is '" : "", near ? near : "", near ? "'" : "");
}

/* The arguments behind "name(", and the closing bracket. */
static int parse_call(struct parser *parser, const char *name, size_t name_at, struct expression **out)
{
    struct expression *arguments[MAX_ARGUMENTS];
    enum function function = FUNCTION_MIN;
    int n = 0, rc = find_function(parser, name, name_at, &function);
    if (rc < 0)
        return rc;
    for (;;) {
        if (n == MAX_ARGUMENTS)
            return err_set(parser->err, ERR_USAGE, "character %zu: more than %d arguments", parser->at + 1,
                           MAX_ARGUMENTS);
        if ((rc = parse_sum(parser, &arguments[n++])) < 0)
            return rc;
        skip_space(parser);
        if (parser->text[parser->at] != ',')
            break;
        parser->at++;
    }
    if (parser->text[parser->at] != ')')
        return expected(parser, "',' or ')'");
    parser->at++;
    if (n > 1 && function != FUNCTION_MIN && function != FUNCTION_MAX)
        return err_set(parser->err, ERR_USAGE, "character %zu: '%s' takes 1 argument, %d were found", name_at + 1, name,
                       n);
    if ((rc = new_node(parser, NODE_CALL, n, out)) < 0)
        return rc;
    (*out)->function = function;
    memcpy((*out)->arguments, arguments, (size_t)n * sizeof(arguments[0]));
    return 0;
}

static int parse_name(struct parser *parser, struct expression **out)
{
    size_t start = parser->at, n = 0;
    while (is_letter(parser->text[start + n]) || is_digit(parser->text[start + n]))
        n++;
    char *name = arena_strndup(parser->arena, parser->text + start, n);
    if (!name)
        return err_set(parser->err, ERR_NOMEM, "no memory for an expression");
    parser->at += n;
    skip_space(parser);
    if (parser->text[parser->at] == '(') {
        parser->at++;
        return parse_call(parser, name, start, out);
    }
    int rc = new_node(parser, NODE_NAME, 0, out);
    if (rc == 0)
        (*out)->name = name;
    return rc;
}

static int parse_primary(struct parser *parser, struct expression **out)
{
    skip_space(parser);
    char c = parser->text[parser->at];
    if (is_digit(c) || c == '.')
        return parse_number(parser, out);
    if (is_letter(c))
        return parse_name(parser, out);
    if (c != '(')
        return expected(parser, "a number, a name or '('");
    parser->at++;
    int rc = parse_sum(parser, out);
    if (rc < 0)
        return rc;
    skip_space(parser);
    if (parser->text[parser->at] != ')')
        return expected(parser, "an operator or ')'");
    parser->at++;
    return 0;
}

static int join(struct parser *parser, char operation, struct expression *left, struct expression *right,
                struct expression **out)
{
    int rc = new_node(parser, NODE_BINARY, 2, out);
    if (rc < 0)
        return rc;
    (*out)->operation = operation;
    (*out)->arguments[0] = left;
    (*out)->arguments[1] = right;
    return 0;
}

/* unary = '-' unary | primary [ '**' unary ]; the only place besides brackets where levels are counted, since every
 * nesting passes through it. */
static int parse_unary(struct parser *parser, struct expression **out)
{
    struct expression *operand = NULL, *exponent = NULL;
    int rc;
    skip_space(parser);
    if (++parser->level > EXPRESSION_MAX_LEVELS)
        return err_set(parser->err, ERR_USAGE, "character %zu: more than %d levels deep", parser->at + 1,
                       EXPRESSION_MAX_LEVELS);
    if (parser->text[parser->at] == '-') {
        parser->at++;
        if ((rc = parse_unary(parser, &operand)) < 0 || (rc = new_node(parser, NODE_NEGATE, 1, out)) < 0)
            return rc;
        (*out)->arguments[0] = operand;
    } else {
        if ((rc = parse_primary(parser, &operand)) < 0)
            return rc;
        *out = operand;
        skip_space(parser);
        if (strncmp(parser->text + parser->at, "**", 2) == 0) {
            parser->at += 2;
            if ((rc = parse_unary(parser, &exponent)) < 0 || (rc = join(parser, '^', operand, exponent, out)) < 0)
                return rc;
        }
    }
    parser->level--;
    return 0;
}

/* Operands of `parse_operand` joined from the left by any of `operations`. */
static int parse_chain(struct parser *parser, const char *operations,
                       int (*parse_operand)(struct parser *, struct expression **), struct expression **out)
{
    struct expression *left = NULL, *right = NULL;
    int rc = parse_operand(parser, &left);
    while (rc == 0) {
        skip_space(parser);
        char c = parser->text[parser->at];
        if (c == '\0' || !strchr(operations, c))
            break;
        parser->at++;
        rc = parse_operand(parser, &right);
        if (rc == 0)
            rc = join(parser, c, left, right, &left);
    }
    if (rc == 0)
        *out = left;
    return rc;
}

static int parse_product(struct parser *parser, struct expression **out)
{
    return parse_chain(parser, "*/%", parse_unary, out);
}

static int parse_sum(struct parser *parser, struct expression **out)
{
    return parse_chain(parser, "+-", parse_product, out);
}

int expression_parse(const char *text, struct arena *arena, struct expression **expression, struct err *err)
{
    struct parser parser = {.text = text, .arena = arena, .err = err};
    struct expression *root = NULL;
    if (strlen(text) > EXPRESSION_MAX_LENGTH)
        return err_set(err, ERR_USAGE, "the expression has %zu characters, at most %d are allowed", strlen(text),
                       EXPRESSION_MAX_LENGTH);
    int rc = parse_sum(&parser, &root);
    if (rc < 0)
        return rc;
    skip_space(&parser);
    if (text[parser.at])
        return expected(&parser, "an operator or the end");
    *expression = root;
    return 0;
}

int expression_each_name(const struct expression *expression, int (*on_name)(const char *name, void *context),
                         void *context)
{
    int rc = expression->kind == NODE_NAME ? on_name(expression->name, context) : 0;
    for (int i = 0; i < expression->n && rc == 0; i++)
        rc = expression_each_name(expression->arguments[i], on_name, context);
    return rc;
}

static double apply_operation(char operation, double a, double b)
{
    switch (operation) {
    case '+':
        return a + b;
    case '-':
        return a - b;
    case '*':
        return a * b;
    case '/':
        return a / b;
    case '%':
        return fmod(a, b);
    default:
        return pow(a, b);
    }
}

static double apply_function(enum function function, const double *values, int n)
{
    double best = values[0];
    switch (function) {
    case FUNCTION_FLOOR:
        return floor(values[0]);
    case FUNCTION_CEIL:
        return ceil(values[0]);
    case FUNCTION_ROUND:
        return round(values[0]);
    case FUNCTION_SQRT:
        return sqrt(values[0]);
    case FUNCTION_LOG:
        return log(values[0]);
    case FUNCTION_EXP:
        return exp(values[0]);
    case FUNCTION_ABS:
        return fabs(values[0]);
    default:
        for (int i = 1; i < n; i++)
            if (function == FUNCTION_MIN ? values[i] < best : values[i] > best)
                best = values[i];
        return best;
    }
}

/* What was computed, for the message of a value that is no number: "division by 0" says more than "not finite". */
static int not_finite(const struct expression *node, const double *values, struct err *err)
{
    if (node->kind == NODE_BINARY && (node->operation == '/' || node->operation == '%') && values[1] == 0)
        return err_set(err, ERR_NUMERIC, "division by 0");
    if (node->kind == NODE_CALL)
        return err_set(err, ERR_NUMERIC, "%s of %.17g is not a finite number", function_names[node->function],
                       values[0]);
    if (node->kind == NODE_BINARY)
        return err_set(err, ERR_NUMERIC, "%.17g %s %.17g is not a finite number", values[0],
                       node->operation == '^' ? "**" : (char[]){node->operation, '\0'}, values[1]);
    return err_set(err, ERR_NUMERIC, "'%s' is not a finite number", node->name ? node->name : "the value");
}

int expression_evaluate(const struct expression *expression,
                        int (*look_up)(const char *name, double *value, void *context, struct err *err), void *context,
                        double *value, struct err *err)
{
    double values[MAX_ARGUMENTS] = {0}, result = 0;
    int rc = 0;
    for (int i = 0; i < expression->n && rc == 0; i++)
        rc = expression_evaluate(expression->arguments[i], look_up, context, &values[i], err);
    if (rc == 0 && expression->kind == NODE_NAME)
        rc = look_up(expression->name, &result, context, err);
    if (rc < 0)
        return rc;
    if (expression->kind == NODE_NUMBER)
        result = expression->number;
    else if (expression->kind == NODE_NEGATE)
        result = -values[0];
    else if (expression->kind == NODE_BINARY)
        result = apply_operation(expression->operation, values[0], values[1]);
    else if (expression->kind == NODE_CALL)
        result = apply_function(expression->function, values, expression->n);
    if (!isfinite(result))
        return not_finite(expression, values, err);
    *value = result;
    return 0;
}
